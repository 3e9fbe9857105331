//! The roles that `docs/ci.md` makes, made by its own commands: each workflow may take its own and can do its work with it,
//! and what a branch, a fork, a neighbour or a preview may not do, it cannot.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use aws_sdk_iam::error::{ProvideErrorMetadata, SdkError};
use chatctl::error::Exit;
use serde_json::{Value, json};
use support::{ACCOUNT, Folder, Process, REGION, assert_nothing_left, assert_whole, python_tools, run};
use world::{Caller, World};

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");
const GITHUB: &str = "token.actions.githubusercontent.com";
const GITLAB: &str = "gitlab.com";

/// Stands for `aws` and `gh`: notes what it is told to do.
const NOTE: &str = r#"#!/usr/bin/env python3
import json, os, sys
with open(os.environ["NOTES"], "a") as notes:
    notes.write(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]) + "\n")
"#;

/// An account in which somebody has followed a chapter of `docs/ci.md`.
struct Account {
    world: World,
    /// The variables of the repository, those of its environment too.
    vars: BTreeMap<String, String>,
}

/// The shell commands of a chapter, for the model's account and region.
fn commands(chapter: &str) -> String {
    let page = fs::read_to_string(Path::new(REPOSITORY).join("docs/ci.md")).unwrap();
    let (_, rest) = page.split_once(&format!("\n{chapter}\n")).unwrap_or_else(|| panic!("no chapter {chapter}"));
    let (_, rest) = rest.split_once("```sh\n").unwrap();
    let (block, _) = rest.split_once("```").unwrap();
    let block =
        block.replace("123456789012", ACCOUNT).replace("AWS_REGION=eu-central-1", &format!("AWS_REGION={REGION}"));
    block.replace("OWNER/REPO", "us/chat").replace("GROUP/PROJECT", "us/chat")
}

/// What the commands tell `aws` and `gh`.
fn told(chapter: &str) -> Vec<Vec<String>> {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    for name in ["aws", "gh"] {
        fs::write(folder.0.join(name), NOTE).unwrap();
        fs::set_permissions(folder.0.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_chatctl"), folder.0.join("chatctl")).unwrap();
    let notes = folder.0.join("notes");
    let ended = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &commands(chapter)])
        .current_dir(&folder.0)
        .env_clear()
        .env("PATH", format!("{}:{}", folder.0.display(), std::env::var("PATH").unwrap()))
        .env("NOTES", &notes)
        .output()
        .unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    fs::read_to_string(notes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn option<'a>(line: &'a [String], name: &str) -> &'a str {
    let at = line.iter().position(|word| word == name).unwrap_or_else(|| panic!("no {name} in {line:?}"));
    &line[at + 1]
}

impl Account {
    async fn new(chapter: &str) -> Self {
        // Before there is a model, whose seed would give every test the same folder.
        let told = told(chapter);
        let world = World::new(support::brisk());
        let iam = aws_sdk_iam::Client::new(&world.sdk_config(ACCOUNT, REGION));
        let mut vars = BTreeMap::new();
        for line in told {
            let words: Vec<&str> = line.iter().take(3).map(String::as_str).collect();
            match words[..] {
                ["aws", "iam", "create-open-id-connect-provider"] | ["gh", "api", "--method"] => {}
                ["aws", "iam", "create-policy"] => {
                    let arn = format!("arn:aws:iam::{ACCOUNT}:policy/{}", option(&line, "--policy-name"));
                    let document = option(&line, "--policy-document").to_owned();
                    assert!(document.split_whitespace().collect::<String>().len() <= 6_144);
                    world.edit(|state| {
                        let account = state.account(ACCOUNT);
                        account.managed_policies.insert(arn.clone());
                        account.boundaries.insert(arn, document);
                    });
                }
                ["aws", "iam", "create-role"] => {
                    let create = iam.create_role().role_name(option(&line, "--role-name"));
                    let trust = option(&line, "--assume-role-policy-document");
                    create.assume_role_policy_document(trust).send().await.unwrap();
                }
                ["aws", "iam", "put-role-policy"] => {
                    let put = iam.put_role_policy().role_name(option(&line, "--role-name"));
                    let put = put.policy_name(option(&line, "--policy-name"));
                    put.policy_document(option(&line, "--policy-document")).send().await.unwrap();
                }
                ["gh", "variable", "set"] => {
                    vars.insert(line[3].clone(), option(&line, "--body").to_owned());
                }
                _ => panic!("what does {line:?} do?"),
            }
        }
        Self { world, vars }
    }

    /// Somebody with a token of GitHub's for this subject, as the role that a variable names.
    fn github(&self, variable: &str, subject: &str) -> Option<Caller> {
        let arn = self.vars.get(variable).unwrap_or_else(|| panic!("nobody sets {variable}"));
        self.with_token(arn.rsplit('/').next().unwrap(), GITHUB, "sts.amazonaws.com", subject)
    }

    fn with_token(&self, role: &str, issuer: &str, audience: &str, subject: &str) -> Option<Caller> {
        let provider = format!("arn:aws:iam::{ACCOUNT}:oidc-provider/{issuer}");
        let claims = [(format!("{issuer}:aud"), audience), (format!("{issuer}:sub"), subject)];
        self.world.assume(ACCOUNT, role, &provider, &claims)
    }

    async fn run(&self, line: &str, by: &Caller, env: &BTreeMap<String, String>) -> support::Ended {
        // The model has no clients.
        let process = Process::new(&self.world, &line.replace("--verify", "")).by(by.clone());
        env.iter().fold(process, |process, (name, value)| process.env(name, value)).run().await
    }
}

/// The templates of a folder, read by a real reader of YAML, by name.
fn templates(folder: &str) -> BTreeMap<String, Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let script =
        "import json, sys, yaml; print(json.dumps([yaml.load(open(p), yaml.BaseLoader) for p in sys.argv[1:]]))";
    let files: Vec<_> = fs::read_dir(Path::new(REPOSITORY).join("templates").join(folder)).unwrap().collect();
    let files: Vec<_> = files.into_iter().map(|file| file.unwrap().path()).collect();
    let output = runtime.block_on(async {
        python_tools().await.command("python").args(["-c", script]).args(&files).output().await.unwrap()
    });
    let read: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    files.iter().map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).zip(read).collect()
}

/// The model's time stands still while nothing waits for it.
fn in_the_model(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(work);
}

/// As GitHub writes it for this event: the environment if there is one, else the event or the branch.
fn subject(event: &str, job: &Value) -> String {
    let environment = &job["environment"];
    match (environment["name"].as_str().or(environment.as_str()), event) {
        (Some(environment), _) => format!("repo:us/chat:environment:{environment}"),
        (None, "pull_request") => "repo:us/chat:pull_request".to_owned(),
        (None, "push" | "schedule" | "workflow_dispatch") => "repo:us/chat:ref:refs/heads/main".to_owned(),
        (None, other) => panic!("what subject has the event {other}?"),
    }
}

fn filled(text: &str, vars: &BTreeMap<String, String>) -> String {
    let text = text.replace("${{ github.event.number }}", "7");
    let Some((before, rest)) = text.split_once("${{ vars.") else { return text };
    let (name, after) = rest.split_once(" }}").unwrap();
    let value = vars.get(name).unwrap_or_else(|| panic!("nobody sets {name}"));
    format!("{before}{value}{}", filled(after, vars))
}

#[test]
fn every_workflow_may_take_its_role_and_do_its_work_with_it() {
    let workflows = templates("github");
    assert_eq!(workflows.keys().collect::<Vec<_>>(), ["deploy", "drift", "plan", "preview", "reap"]);
    in_the_model(async {
        let account = Account::new("### The roles").await;
        let mut commands = 0;
        // A preview is made before it is removed, and one is left to reap.
        for name in ["plan", "deploy", "preview", "plan", "drift", "reap"] {
            let workflow = &workflows[name];
            let (_, job) = workflow["jobs"].as_object().unwrap().iter().next().unwrap();
            let env: BTreeMap<String, String> = job["env"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, value)| (name.clone(), filled(value.as_str().unwrap(), &account.vars)))
                .collect();
            let steps = job["steps"].as_array().unwrap();
            let assumes = steps.iter().find_map(|step| step["with"]["role-to-assume"].as_str()).unwrap();
            let variable = assumes.trim_start_matches("${{ vars.").trim_end_matches(" }}");
            let verbs: Vec<String> = steps
                .iter()
                .filter_map(|step| {
                    let verb = step["with"]["verb"].as_str().filter(|verb| *verb != "install")?;
                    Some(filled(
                        &format!("{verb} {}", step["with"]["args"].as_str().unwrap_or_default()),
                        &account.vars,
                    ))
                })
                .collect();
            for event in workflow["on"].as_object().unwrap().keys() {
                let by = account.github(variable, &subject(event, job));
                let by = by.unwrap_or_else(|| panic!("{name} upon {event} may not take {variable}"));
                for line in &verbs {
                    account.run(line, &by, &env).await.expect(Exit::Done);
                    commands += 1;
                }
            }
            if name == "preview" {
                account
                    .run(
                        "up --name pr-8 --ttl 1m",
                        &account.github(variable, "repo:us/chat:pull_request").unwrap(),
                        &env,
                    )
                    .await
                    .expect(Exit::Done);
                tokio::time::sleep(std::time::Duration::from_secs(90)).await;
            }
        }
        assert!(commands >= 10, "only {commands} were run");
        assert_whole(&account.world, "chat");
        let left = account.world.everything(ACCOUNT).join("\n");
        assert!(!left.contains("pr-7") && !left.contains("pr-8"), "{left}");
    });
}

/// A fork has no token, and GitHub gives those of the repository to nothing that it runs upon `pull_request`.
#[test]
fn no_workflow_works_for_a_fork() {
    for (name, workflow) in templates("github") {
        let events = workflow["on"].as_object().unwrap();
        assert!(!events.contains_key("pull_request_target") && !events.contains_key("workflow_run"), "{name}");
        if events.contains_key("pull_request") {
            for job in workflow["jobs"].as_object().unwrap().values() {
                assert_eq!(job["if"], "github.event.pull_request.head.repo.full_name == github.repository", "{name}");
            }
        }
    }
}

#[test]
fn every_job_of_gitlab_may_take_its_role_and_do_its_work_with_it() {
    let pipeline = templates("gitlab").remove("chat").unwrap();
    in_the_model(async {
        let account = Account::new("## GitLab CI").await;
        let policy = |name: &str| format!("arn:aws:iam::{ACCOUNT}:policy/chatctl-{name}");
        let vars = BTreeMap::from([
            ("$AWS_DEPLOY_ROLE_ARN", "chatctl-deploy".to_owned()),
            ("$AWS_PREVIEW_ROLE_ARN", "chatctl-preview".to_owned()),
            ("$CHATCTL_BOUNDARY", policy("chat")),
            ("$CHATCTL_PREVIEW_BOUNDARY", policy("mr")),
        ]);
        for (job, branch) in
            [("chat", "main"), ("chat-preview", "topic"), ("chat-preview-stop", "topic"), ("chat-reap", "main")]
        {
            let job = &pipeline[job];
            let given = |name: &str| job["variables"][name].as_str().map(|value| vars[value].clone());
            let token = |role: &str, branch: &str| {
                let subject = format!("project_path:us/chat:ref_type:branch:ref:{branch}");
                account.with_token(
                    role,
                    GITLAB,
                    pipeline[".chatctl"]["id_tokens"]["AWS_ID_TOKEN"]["aud"].as_str().unwrap(),
                    &subject,
                )
            };
            let role = given("AWS_ROLE_ARN").unwrap();
            let by = token(&role, branch).unwrap_or_else(|| panic!("{branch} may not take {role}"));
            assert!(token("chatctl-deploy", "topic").is_none());
            let env = given("CHATCTL_PERMISSIONS_BOUNDARY")
                .into_iter()
                .map(|arn| ("CHATCTL_PERMISSIONS_BOUNDARY".to_owned(), arn))
                .collect();
            let lines: Vec<&str> = job["script"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let lines = lines.iter().filter_map(|line| line.split_once("chatctl "));
            for (_, line) in lines.filter(|(_, line)| !line.starts_with("verify")) {
                let line = line.trim_end_matches(')').replace('"', "").replace("$CI_MERGE_REQUEST_IID", "7");
                let line = line.split_once(" --junit").map_or(line.clone(), |(line, _)| line.to_owned());
                account.run(&line, &by, &env).await.expect(Exit::Done);
            }
        }
        assert_whole(&account.world, "chat");
        assert!(!account.world.everything(ACCOUNT).join("\n").contains("mr-7"));
    });
}

#[test]
fn who_is_no_workflow_of_ours_takes_no_role() {
    in_the_model(async {
        let account = Account::new("### The roles").await;
        let may = |variable: &str, subject: &str| account.github(variable, subject).is_some();
        let strangers = [
            "repo:us/chat:ref:refs/heads/topic",
            "repo:us/chat:ref:refs/tags/main",
            "repo:us/chat:environment:staging",
            "repo:us/chat2:ref:refs/heads/main",
            "repo:them/chat:pull_request",
            "repo:us/chat:environment:production2",
            "repo:us/chat:*",
            "",
        ];
        for variable in ["AWS_ROLE_ARN", "AWS_PREVIEW_ROLE_ARN", "AWS_READ_ROLE_ARN"] {
            for subject in strangers {
                assert!(!may(variable, subject), "{subject} may take {variable}");
            }
            for (audience, issuer) in [("https://github.com/us", GITHUB), ("sts.amazonaws.com", GITLAB)] {
                let role = account.vars[variable].rsplit('/').next().unwrap();
                assert!(account.with_token(role, issuer, audience, "repo:us/chat:pull_request").is_none());
            }
        }
        // What a pull request runs is what the pull request says: it is not production, and neither is `main` by itself.
        assert!(!may("AWS_ROLE_ARN", "repo:us/chat:pull_request"));
        assert!(!may("AWS_ROLE_ARN", "repo:us/chat:ref:refs/heads/main"));
        assert!(!may("AWS_PREVIEW_ROLE_ARN", "repo:us/chat:environment:production"));
    });
}

#[track_caller]
fn denied<T, E: ProvideErrorMetadata>(what: &str, answer: Result<T, SdkError<E>>) {
    let error = answer.err().unwrap_or_else(|| panic!("{what} was let through"));
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
    assert!(code.starts_with("AccessDenied"), "{what} failed with {code}");
}

/// The deployment of production, and somebody with the role of previews beside it.
async fn production() -> (Account, Caller, BTreeMap<String, String>) {
    let account = Account::new("### The roles").await;
    let deploy = account.github("AWS_ROLE_ARN", "repo:us/chat:environment:production").unwrap();
    let bounded =
        |name: &str| BTreeMap::from([("CHATCTL_PERMISSIONS_BOUNDARY".to_owned(), account.vars[name].clone())]);
    account.run("up", &deploy, &bounded("CHATCTL_BOUNDARY")).await.expect(Exit::Done);
    let preview = account.github("AWS_PREVIEW_ROLE_ARN", "repo:us/chat:pull_request").unwrap();
    let env = bounded("CHATCTL_PREVIEW_BOUNDARY");
    account.run("up --name pr-7", &preview, &env).await.expect(Exit::Done);
    (account, preview, env)
}

#[test]
fn the_preview_role_leaves_the_deployment_of_production_alone() {
    in_the_model(async {
        let (account, preview, env) = production().await;
        let before = account.world.everything(ACCOUNT);
        for line in ["down", "up --memory 1024", "up", "reap --name chat"] {
            let ended = account.run(line, &preview, &env).await;
            assert!(line.starts_with("reap") || ended.exit == Some(Exit::Failed), "{line}: {ended:?}");
        }
        let sdk = account.world.sdk_config_of(ACCOUNT, REGION, "eve", preview.clone());
        let lambda = aws_sdk_lambda::Client::new(&sdk);
        let name = "chat-sendMessage";
        denied("a deletion", lambda.delete_function().function_name(name).send().await);
        denied("code", lambda.update_function_code().function_name(name).s3_bucket("code").s3_key("k").send().await);
        denied("a permission", lambda.remove_permission().function_name(name).statement_id("chatctl").send().await);
        let dynamodb = aws_sdk_dynamodb::Client::new(&sdk);
        denied("a deletion", dynamodb.delete_table().table_name("chat-connections").send().await);
        let logs = aws_sdk_cloudwatchlogs::Client::new(&sdk);
        denied("a deletion", logs.delete_log_group().log_group_name("/aws/lambda/chat-onConnect").send().await);
        let apigateway = aws_sdk_apigatewayv2::Client::new(&sdk);
        let api = |name: &str| account.world.edit(|state| state.region(ACCOUNT, REGION).apis_named(name)[0].id.clone());
        denied("a deletion", apigateway.delete_api().api_id(api("chat")).send().await);
        denied("a change", apigateway.update_api().api_id(api("chat")).name("mine").send().await);
        let iam = aws_sdk_iam::Client::new(&sdk);
        let role = format!("chat-{REGION}-sendMessage");
        denied("a deletion", iam.delete_role().role_name(&role).send().await);
        let open = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})
            .to_string();
        for role in [role.as_str(), "chatctl-deploy", "chatctl-preview", "chatctl-read"] {
            denied(
                "a policy",
                iam.put_role_policy().role_name(role).policy_name("p").policy_document(&open).send().await,
            );
            denied("trust", iam.update_assume_role_policy().role_name(role).policy_document(&open).send().await);
        }
        assert_eq!(account.world.everything(ACCOUNT), before);
        account.run("down --name pr-7", &preview, &env).await.expect(Exit::Done);
        assert_whole(&account.world, "chat");
    });
}

#[test]
fn nobody_gets_out_of_the_boundary() {
    in_the_model(async {
        let (account, preview, env) = production().await;
        let sdk = account.world.sdk_config_of(ACCOUNT, REGION, "eve", preview.clone());
        let (iam, lambda) = (aws_sdk_iam::Client::new(&sdk), aws_sdk_lambda::Client::new(&sdk));
        let ours = format!("pr-7-{REGION}-onConnect");
        let boundary = iam.delete_role_permissions_boundary().role_name(&ours);
        denied("to take it off", boundary.send().await);
        for other in ["arn:aws:iam::aws:policy/AdministratorAccess", &account.vars["CHATCTL_BOUNDARY"]] {
            let put = iam.put_role_permissions_boundary().role_name(&ours).permissions_boundary(other);
            denied("another one", put.send().await);
            denied("a managed policy", iam.attach_role_policy().role_name(&ours).policy_arn(other).send().await);
            let create = iam.create_role().role_name(format!("pr-9-{REGION}-x")).path("/chatctl/");
            let create = create.assume_role_policy_document(trust()).permissions_boundary(other);
            denied("a role within another one", create.send().await);
        }
        let create = iam.create_role().role_name(format!("pr-9-{REGION}-x")).path("/chatctl/");
        denied("a role without one", create.assume_role_policy_document(trust()).send().await);
        // Roles of others are not given to functions.
        for role in ["chatctl-deploy", &format!("chatctl/chat-{REGION}-sendMessage")] {
            let change = lambda.update_function_configuration().function_name("pr-7-onConnect");
            denied("a role", change.role(format!("arn:aws:iam::{ACCOUNT}:role/{role}")).send().await);
        }
        let flags = format!("up --name pr-7 --role-arn onConnect=arn:aws:iam::{ACCOUNT}:role/chatctl-deploy");
        account.run(&flags, &preview, &env).await.expect(Exit::Failed);

        // Everything on everything is what it may write, and no more than the boundary is what comes of it.
        let open = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})
            .to_string();
        iam.put_role_policy().role_name(&ours).policy_name("chatctl").policy_document(&open).send().await.unwrap();
        let function = account.world.as_role(ACCOUNT, &ours);
        let table = |name: &str| format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}-connections");
        assert!(function.can("dynamodb:Scan", &table("pr-7")), "the boundary leaves the previews' own");
        for (action, resource) in [
            ("dynamodb:Scan", table("chat")),
            ("dynamodb:DeleteTable", table("pr-7")),
            ("iam:PutRolePolicy", format!("arn:aws:iam::{ACCOUNT}:role/chatctl-deploy")),
            ("iam:DeleteRolePermissionsBoundary", format!("arn:aws:iam::{ACCOUNT}:role/chatctl/{ours}")),
            ("iam:CreatePolicyVersion", account.vars["CHATCTL_PREVIEW_BOUNDARY"].clone()),
            ("lambda:UpdateFunctionCode", format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:chat-onConnect")),
            ("sts:AssumeRole", format!("arn:aws:iam::{ACCOUNT}:role/chatctl-deploy")),
            ("s3:GetObject", "arn:aws:s3:::secrets/all".to_owned()),
        ] {
            assert!(!function.can(action, &resource), "{action} on {resource}");
        }
        assert!(!preview.can("iam:CreatePolicyVersion", &account.vars["CHATCTL_PREVIEW_BOUNDARY"]));
    });
}

fn trust() -> &'static str {
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#
}

/// Each function does what it declares, on what belongs to its deployment.
#[test]
fn the_functions_roles_can_do_only_what_they_declare() {
    in_the_model(async {
        let world = World::new(support::brisk());
        run(&world, "up").await.expect(Exit::Done);
        let api = world.edit(|state| state.region(ACCOUNT, REGION).apis_named("chat")[0].id.clone());
        let table = format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/chat-connections");
        let posts = format!("arn:aws:execute-api:{REGION}:{ACCOUNT}:{api}/prod/POST/@connections/x");
        let log = |function: &str| {
            format!("arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/chat-{function}:log-stream:s")
        };
        let other = |arn: &str| {
            arn.replace("chat-connections", "chat2-connections").replace(&api, "other").replace("/prod/", "/beta/")
        };
        let declared = |function: &str| -> Vec<(&str, String)> {
            let table_actions: &[&str] = match function {
                "onConnect" => &["dynamodb:PutItem"],
                "onDisconnect" => &["dynamodb:DeleteItem"],
                _ => &["dynamodb:Scan", "dynamodb:DeleteItem"],
            };
            let mut all: Vec<(&str, String)> = table_actions.iter().map(|action| (*action, table.clone())).collect();
            all.extend(["logs:CreateLogStream", "logs:PutLogEvents"].map(|action| (action, log(function))));
            all.extend((function == "sendMessage").then(|| ("execute-api:ManageConnections", posts.clone())));
            all
        };
        let actions = [
            "dynamodb:PutItem",
            "dynamodb:DeleteItem",
            "dynamodb:Scan",
            "dynamodb:GetItem",
            "dynamodb:DeleteTable",
            "execute-api:ManageConnections",
            "execute-api:Invoke",
            "logs:CreateLogStream",
            "logs:PutLogEvents",
            "logs:DeleteLogGroup",
            "iam:PassRole",
            "iam:PutRolePolicy",
            "lambda:InvokeFunction",
            "sts:AssumeRole",
            "s3:GetObject",
        ];
        let functions = ["onConnect", "onDisconnect", "sendMessage"];
        let mut resources = vec![table.clone(), posts.clone(), other(&table), other(&posts), "*".to_owned()];
        resources.extend(functions.map(log));
        resources.push(posts.replace("/POST/", "/DELETE/"));
        for function in functions {
            let role = world.as_role(ACCOUNT, &format!("chat-{REGION}-{function}"));
            let declared = declared(function);
            for action in actions {
                for resource in &resources {
                    let expected = declared.iter().any(|(may, on)| *may == action && on == resource);
                    assert_eq!(role.can(action, resource), expected, "{function}: {action} on {resource}");
                }
            }
        }
        run(&world, "down").await.expect(Exit::Done);
        assert_nothing_left(&world);
    });
}
