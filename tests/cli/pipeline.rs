//! What a pipeline gets, and the pipelines that we ship, run by a runner of our own against a local AWS.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chatctl::error::Exit;
use serde_json::{Value, json};
use support::{Folder, Ministack, Process, brisk, ministack, python_tools};
use world::World;

use super::run::chatctl;
use super::snapshot::{assert_snapshot, masked};

const PROGRAM: &str = env!("CARGO_BIN_EXE_chatctl");
const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

#[tokio::test]
async fn github_gets_outputs_and_a_summary() {
    let server = ministack().await;
    let account = server.account();
    let folder = Folder::new();
    let (outputs, summary) = (folder.0.join("outputs"), folder.0.join("summary"));
    fs::write(&outputs, "before=1\n").unwrap();
    let run = |line: &str| {
        chatctl(line)
            .aws(&server.sdk_config(&account))
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_OUTPUT", outputs.to_str().unwrap())
            .env("GITHUB_STEP_SUMMARY", summary.to_str().unwrap())
    };
    let up = run("up --name pr-42 --stage dev").run().await;
    assert_eq!(up.exit, Exit::Done, "{}", up.stderr);
    let url = up.stdout.trim();
    let api = url.rsplit('/').nth(1).unwrap();
    let callback = url.replace("ws://", "http://");
    // A local AWS has no console.
    let wanted = format!(
        "before=1\nname=pr-42\nstage=dev\nurl={url}\ncallback-url={callback}\nconsole-url=\napi-id={api}\nchanges="
    );
    let written = fs::read_to_string(&outputs).unwrap();
    let rest = written.strip_prefix(&wanted).unwrap_or_else(|| panic!("{written}"));
    let (changes, rest) = rest.split_once('\n').unwrap();
    assert!(changes.parse::<u32>().unwrap() > 10, "{written}");
    assert_eq!(rest, "state=ready\nexpires-at=\n");

    let lines = [
        ("up --name pr-42 --stage dev -o json", Exit::Done),
        ("plan --name pr-42 --stage dev --memory 1024", Exit::Done),
        ("status --name pr-42 --stage dev", Exit::Done),
        ("status --name pr-42 --stage dev --memory 1024", Exit::Differs),
        ("down --name pr-42 --stage dev -q", Exit::Done),
        ("down --name pr-42 --stage dev", Exit::Done),
    ];
    for (line, exit) in lines {
        let ended = run(line).run().await;
        assert_eq!(ended.exit, exit, "{line}\n{}", ended.stderr);
    }
    let host = server.url().trim_start_matches("http://");
    let text = fs::read_to_string(&summary).unwrap();
    assert_snapshot("summary", &masked(&text, &[(host, "<aws>"), (api, "<api>")]));
}

#[tokio::test]
async fn a_pipeline_that_cannot_be_told_is_no_failure() {
    let server = ministack().await;
    let run = chatctl("up").aws(&server.sdk_config(&server.account()));
    let run = run.env("GITHUB_OUTPUT", "no/such/folder").env("GITHUB_STEP_SUMMARY", ".");
    let ended = run.run().await;
    assert_eq!(ended.exit, Exit::Done, "{}", ended.stderr);
    assert!(ended.stdout.starts_with("ws://"));
    for variable in ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"] {
        let warning = format!("warning: cannot write to the file in `{variable}`: ");
        assert!(ended.stderr.contains(&warning), "{}", ended.stderr);
    }
}

/// On stderr, because stdout is for results; the runner reads commands from both.
#[tokio::test]
async fn errors_are_annotations_in_github_and_nowhere_else() {
    let run = || chatctl("up --memory").arg("100%\r\n::warning::x");
    let ended = run().env("GITHUB_ACTIONS", "true").run().await;
    assert_eq!((ended.exit, ended.stdout.as_str()), (Exit::Usage, ""));
    let annotations: Vec<&str> = ended.stderr.lines().filter(|line| line.starts_with("::error")).collect();
    assert_eq!(
        annotations,
        ["::error title=chatctl::invalid value `100%25\\r%0A\\::warning::x` for `--memory <MB>`: it takes a whole \
          number%0Ahint: `chatctl up --help` shows what there is"]
    );
    let commands = ended.stderr.lines().filter(|line| line.trim_start().starts_with("::")).count();
    assert_eq!(commands, 1, "what somebody typed is no command: {}", ended.stderr);
    let ended = run().run().await;
    assert!(!ended.stderr.contains("::error"), "{}", ended.stderr);
    let ended = chatctl("up --name").arg("a\u{1b}[31m").run().await;
    assert!(!ended.stderr.contains('\u{1b}'), "{:?}", ended.stderr);
    let ended = chatctl("up --name _x -o json").env("GITHUB_ACTIONS", "true").run().await;
    assert_eq!(ended.stdout.lines().count(), 1);
    assert!(ended.stderr.contains("::error title=chatctl::`_x` is not a valid name"), "{}", ended.stderr);
}

/// As in GitLab, and wherever else a job has a token of its own: `chatctl` assumes the role itself.
#[tokio::test]
async fn a_token_of_the_pipeline_is_enough_to_assume_a_role() {
    let server = ministack().await;
    let account = server.account();
    let folder = Folder::new();
    let token = folder.0.join("token");
    let claims =
        json!({ "iss": "https://gitlab.com", "aud": "https://gitlab.com", "sub": "project_path:us/chat:ref:main" });
    let encoded = |text: &str| base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, text);
    fs::write(&token, [r#"{"alg":"none"}"#, &claims.to_string(), "signature"].map(encoded).join(".")).unwrap();
    let role = format!("arn:aws:iam::{account}:role/deployer");
    let run = |line: &str| {
        support::chatctl(PROGRAM)
            .args(line.split(' '))
            .env("AWS_ENDPOINT_URL", server.url())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ROLE_ARN", &role)
            .env("AWS_WEB_IDENTITY_TOKEN_FILE", &token)
    };
    let refused = run("status").run().await.expect(1);
    assert!(refused.stderr.contains("failed with Credentials: AccessDenied: Not authorized"), "{}", refused.stderr);
    assert!(refused.stderr.contains("hint: the role does not trust the token"), "{}", refused.stderr);

    let iam = aws_sdk_iam::Client::new(&server.sdk_config(&account));
    let trust = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity",
        "Principal": { "Federated": format!("arn:aws:iam::{account}:oidc-provider/gitlab.com") },
        "Condition": { "StringLike": { "gitlab.com:sub": "project_path:us/chat:*" } } }] });
    let create = iam.create_role().role_name("deployer").assume_role_policy_document(trust.to_string());
    create.send().await.unwrap();
    let all = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "*", "Resource": "*" }] });
    let put = iam.put_role_policy().role_name("deployer").policy_name("all").policy_document(all.to_string());
    put.send().await.unwrap();
    let allowed = run("status").run().await.expect(4);
    assert!(allowed.stdout.contains(&account), "{}", allowed.stdout);
}

#[tokio::test]
async fn a_later_step_learns_what_plan_and_status_found() {
    let project = Project::new().await;
    let outputs = async |verb: &str, args: &str| {
        let names = ["changes", "to-create", "to-update", "to-delete", "state", "expires-at"];
        let handed_on = names.map(|name| (name.to_owned(), json!(format!("${{{{ steps.chat.outputs.{name} }}}}"))));
        let workflow = json!({ "jobs": { "job": {
            "steps": [{ "id": "chat", "uses": "OWNER/chatctl@main", "with": { "verb": verb, "args": args } }],
            "outputs": Value::from_iter(handed_on),
        } } });
        let file = project.folder.0.join("workflow.yml");
        fs::write(&file, workflow.to_string()).unwrap();
        let report = project.run(json!({ "kind": "github", "file": file, "github": {}, "vars": {} })).await;
        report["outputs"].clone()
    };
    let before = outputs("plan", "").await;
    let changes = before["changes"].as_str().unwrap().to_owned();
    assert!(changes.parse::<u32>().unwrap() > 10, "{before}");
    let plan = |create: &str, update: &str, delete: &str, all: &str| json!({ "changes": all, "to-create": create, "to-update": update, "to-delete": delete, "state": "", "expires-at": "" });
    assert_eq!(before, plan(&changes, "0", "0", &changes));
    assert_eq!(outputs("status", "").await["state"], "absent");
    let up = outputs("up", "--ttl 2h").await;
    assert_eq!((&up["changes"], &up["state"]), (&before["changes"], &json!("ready")));
    let status = outputs("status", "--ttl 2h").await;
    assert_eq!((&status["state"], &status["expires-at"]), (&up["state"], &up["expires-at"]));
    assert!(status["expires-at"].as_str().unwrap().ends_with('Z'), "{status}");
    assert_eq!(outputs("status", "--memory 1024").await["state"], "drifted");
    assert_eq!(outputs("plan", "--memory 1024").await["to-create"], "0");
    assert_ne!(outputs("plan", "--memory 1024").await["to-update"], "0");
    assert_eq!(outputs("plan", "--destroy").await["to-delete"], outputs("plan", "--destroy").await["changes"]);
}

/// Pipelines show https links, and no others.
#[tokio::test(start_paused = true)]
async fn a_pipeline_gets_a_link_to_the_console_of_its_partition() {
    let folder = Folder::new();
    let regions = [
        ("eu-central-1", "console.aws.amazon.com"),
        ("cn-north-1", "console.amazonaws.cn"),
        ("us-gov-west-1", "console.amazonaws-us-gov.com"),
    ];
    for (region, host) in regions {
        let (world, file) = (World::new(brisk()), folder.0.join(region));
        for line in ["up", "status"] {
            let run = Process::new(&world, line).region(region).env("GITHUB_OUTPUT", file.to_str().unwrap());
            let ended = run.run().await;
            assert_eq!(ended.exit, Some(Exit::Done), "{}", ended.stderr);
            let outputs = fs::read_to_string(&file).unwrap();
            let output =
                |name: &str| outputs.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
            let path = format!("apigateway/main/develop/routes?api={}&region={region}", output("api-id="));
            assert_eq!(output("callback-url="), output("url=").replace("wss://", "https://"), "{line}");
            assert!(output("callback-url=").ends_with(".amazonaws.com.cn/prod") == region.starts_with("cn-"), "{line}");
            assert_eq!(output("console-url="), format!("https://{region}.{host}/{path}"), "{line}");
        }
    }
}

/// A project whose pipelines are run: an account, a checkout, a machine with or without `chatctl`.
pub struct Project {
    server: &'static Ministack,
    pub account: String,
    pub folder: Folder,
    path: String,
    /// Where the action is.
    pub action: PathBuf,
    /// More variables of the machine.
    pub env: Value,
}

impl Project {
    /// With a `chatctl` on the path.
    pub async fn new() -> Self {
        let server = ministack().await;
        let folder = Folder::new();
        let bin = folder.0.join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(folder.0.join("workspace")).unwrap();
        std::os::unix::fs::symlink(PROGRAM, bin.join("chatctl")).unwrap();
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display());
        Self { server, account: server.account(), folder, path, action: REPOSITORY.into(), env: json!({}) }
    }

    /// With a `cargo` instead, which makes a `chatctl` in no time, and notes how it was called.
    pub async fn without_chatctl() -> Self {
        let project = Self::new().await;
        let bin = project.folder.0.join("bin");
        fs::remove_file(bin.join("chatctl")).unwrap();
        let script = format!(
            "#!/bin/sh\necho \"$@\" >> {}\nenv > {}\nwhile [ $# -gt 1 ]; do [ \"$1\" = --root ] && root=$2; shift; done\n\
             mkdir -p \"$root/bin\" && ln -s {PROGRAM} \"$root/bin/chatctl\"\n",
            project.folder.0.join("cargo.log").display(),
            project.folder.0.join("cargo.env").display()
        );
        write_program(&bin.join("cargo"), &script);
        project
    }

    pub async fn run(&self, mut request: Value) -> Value {
        let mut env = json!({
            "PATH": self.path,
            "HOME": self.folder.0,
            "AWS_ENDPOINT_URL": self.server.url(),
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": self.account,
            "AWS_SECRET_ACCESS_KEY": "local",
        });
        for (name, value) in self.env.as_object().unwrap() {
            env[name] = value.clone();
        }
        request["env"] = env;
        request["folder"] = json!(self.folder.0);
        request["workspace"] = json!(self.folder.0.join("workspace"));
        request["tools"] = json!(self.folder.0.join("tools"));
        request["action"] = json!(self.action);
        let runner = Path::new(REPOSITORY).join("tests/cli/runner.py");
        let mut command = python_tools().await.command("python");
        let output = command.arg(runner).arg(request.to_string()).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// A workflow of `templates/github`, upon an event.
    pub async fn github(&self, workflow: &str, event: Value) -> Value {
        let mut github = json!({ "repository": "us/chat", "event": event });
        github["event"]["number"] = json!(7);
        self.run(json!({
            "kind": "github",
            "file": template(&format!("github/{workflow}.yml")),
            "github": github,
            "vars": { "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/deployer", "AWS_REGION": "us-east-1" },
        }))
        .await
    }

    /// A job of `templates/gitlab/chat.yml`.
    async fn gitlab(&self, job: &str) -> Value {
        self.run(json!({
            "kind": "gitlab",
            "file": template("gitlab/chat.yml"),
            "job": job,
            "vars": {
                "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/deployer",
                "CHATCTL_REPOSITORY": "https://git.example/chatctl",
                "CHATCTL_COMMIT": "8577898",
                "AWS_ID_TOKEN": "token",
                "CI_MERGE_REQUEST_IID": "7",
            },
        }))
        .await
    }

    pub fn aws(&self) -> aws_config::SdkConfig {
        self.server.sdk_config(&self.account)
    }

    /// The names of what is deployed now.
    async fn deployed(&self) -> Vec<String> {
        let ended = chatctl("list -o json").aws(&self.aws()).run().await;
        let document: Value = serde_json::from_str(&ended.stdout).unwrap();
        let deployments = document["deployments"].as_array().unwrap();
        deployments.iter().map(|each| each["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Leaves one behind whose time is over.
    async fn leave_an_expired_one(&self) {
        let aws = self.aws();
        let up = chatctl("up --name pr-1 --ttl 1s").aws(&aws).run().await;
        assert_eq!(up.exit, Exit::Done, "{}", up.stderr);
        let deadline = Instant::now() + Duration::from_secs(30);
        while chatctl("reap --dry-run").aws(&aws).run().await.stdout != "pr-1\n" {
            assert!(Instant::now() < deadline, "it does not expire");
        }
    }
}

pub fn write_program(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

pub fn template(name: &str) -> PathBuf {
    Path::new(REPOSITORY).join("templates").join(name)
}

pub fn pull_request(action: &str, repository: &str) -> Value {
    json!({ "action": action, "pull_request": { "head": { "repo": { "full_name": repository } } } })
}

#[track_caller]
pub fn went_well(report: &Value) {
    assert_eq!(report["failed"], false, "{}", report["log"].as_str().unwrap());
}

#[tokio::test]
async fn the_deploy_workflow_deploys_and_hands_on_the_url() {
    let project = Project::new().await;
    let report = project.github("deploy", json!({})).await;
    went_well(&report);
    let url = report["outputs"]["url"].as_str().unwrap();
    assert!(url.starts_with("ws://") && url.ends_with("/prod"), "{report}");
    assert!(report["summary"].as_str().unwrap().contains("flowchart LR"), "{report}");
    assert_eq!(project.deployed().await, ["chat"]);
    let role = &report["used"][2];
    assert!(role["uses"].as_str().unwrap().starts_with("aws-actions/configure-aws-credentials@"), "{role}");
    assert_eq!(role["with"]["role-to-assume"], "arn:aws:iam::123456789012:role/deployer");
}

#[tokio::test]
async fn the_preview_workflow_follows_a_pull_request() {
    let project = Project::new().await;
    for action in ["opened", "synchronize"] {
        let report = project.github("preview", pull_request(action, "us/chat")).await;
        went_well(&report);
        assert!(report["outputs"]["url"].as_str().unwrap().starts_with("ws://"), "{report}");
        assert_eq!(project.deployed().await, ["pr-7"]);
    }
    went_well(&project.github("preview", pull_request("closed", "us/chat")).await);
    assert_eq!(project.deployed().await, [""; 0]);
    // A fork has no role, and nothing is run for it.
    let report = project.github("preview", pull_request("opened", "them/chat")).await;
    assert_eq!((&report["failed"], &report["used"]), (&json!(false), &json!([])));
}

#[tokio::test]
async fn the_reap_workflow_removes_what_has_expired() {
    let project = Project::new().await;
    project.leave_an_expired_one().await;
    went_well(&project.github("reap", json!({})).await);
    assert_eq!(project.deployed().await, [""; 0]);
}

#[tokio::test]
async fn the_plan_workflow_shows_what_a_pull_request_would_change() {
    let project = Project::new().await;
    let report = project.github("plan", pull_request("opened", "us/chat")).await;
    went_well(&report);
    assert!(report["summary"].as_str().unwrap().contains("## Plan for `chat` in us-east-1"), "{report}");
    assert!(report["outputs"]["changes"].as_str().unwrap().parse::<u32>().unwrap() > 10, "{report}");
    assert_eq!(project.deployed().await, [""; 0]);
    let report = project.github("plan", pull_request("opened", "them/chat")).await;
    assert_eq!((&report["failed"], &report["used"]), (&json!(false), &json!([])));
}

#[tokio::test]
async fn the_drift_workflow_keeps_one_issue_for_as_long_as_the_chat_differs() {
    let project = Project::new().await;
    let (log, issue) = (project.folder.0.join("gh.log"), project.folder.0.join("issue"));
    let gh = format!(
        "#!/bin/sh\n[ \"$1 $2\" = 'issue list' ] && {{ cat {issue} 2>/dev/null; exit 0; }}\necho \"$@\" >> {log}\n\
         case \"$1 $2\" in 'issue create') echo 5 > {issue} ;; 'issue close') rm {issue} ;; esac\n",
        issue = issue.display(),
        log = log.display()
    );
    write_program(&project.folder.0.join("bin/gh"), &gh);
    let calls = || {
        let calls = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(&log);
        calls
    };
    let run = "https://github.com/us/chat/actions/runs/9";
    let settings = project.folder.0.join("workspace/chatctl.toml");
    let drift = async || project.github("drift", json!({})).await;

    went_well(&project.github("deploy", json!({})).await);
    went_well(&drift().await);
    assert_eq!(calls(), "");
    fs::write(&settings, "memory = 1024\n").unwrap();
    went_well(&drift().await);
    let text = format!("The chat is drifted. What differs is in the summary of {run}");
    let opened = format!("issue create --title The chat is not as wanted --label chat-drift --body {text}\n");
    assert_eq!(calls(), format!("label create chat-drift --force\n{opened}"));
    went_well(&drift().await);
    assert_eq!(calls(), format!("issue edit 5 --body {text}\n"));
    fs::remove_file(&settings).unwrap();
    went_well(&drift().await);
    assert_eq!(calls(), format!("issue close 5 --comment It is as wanted again: {run}\n"));
    // That nothing could be seen is no drift, and not nothing.
    fs::write(&settings, "nmae = 1\n").unwrap();
    assert_eq!((&drift().await["failed"], calls()), (&json!(true), String::new()));
}

#[tokio::test]
async fn the_action_builds_what_it_does_not_find() {
    let project = Project::without_chatctl().await;
    let report = project.github("reap", json!({})).await;
    went_well(&report);
    let called = fs::read_to_string(project.folder.0.join("cargo.log")).unwrap();
    assert!(called.starts_with(&format!("install --locked --path {REPOSITORY} --root ")), "{called}");
    let environment = fs::read_to_string(project.folder.0.join("cargo.env")).unwrap();
    assert!(environment.contains("PATH=") && !environment.contains("AWS_"), "{environment}");
    let cache = &report["used"][2];
    assert!(cache["uses"].as_str().unwrap().starts_with("actions/cache@"), "{cache}");
    let role = report["used"]
        .as_array()
        .unwrap()
        .iter()
        .position(|each| each["uses"].as_str().unwrap().starts_with("aws-actions/"));
    assert_eq!(role, Some(3), "built before there is a role: {report}");
    assert!(cache["with"]["key"].as_str().unwrap().starts_with("chatctl-Linux-X64-"), "{cache}");
    assert!(called.contains(cache["with"]["path"].as_str().unwrap()), "{cache} {called}");
}

#[tokio::test]
async fn a_failing_step_fails_the_job_with_an_annotation() {
    let project = Project::new().await;
    fs::write(project.folder.0.join("workspace/chatctl.toml"), "nmae = \"x\"\n").unwrap();
    let report = project.github("deploy", json!({})).await;
    assert_eq!(report["failed"], true);
    let log = report["log"].as_str().unwrap();
    assert!(log.lines().any(|line| line.starts_with("::error title=chatctl::") && line.contains("nmae")), "{log}");
}

#[tokio::test]
async fn the_gitlab_jobs_deploy_preview_stop_and_reap() {
    let project = Project::new().await;
    let report = project.gitlab("chat").await;
    went_well(&report);
    assert!(report["outputs"]["CHAT_URL"].as_str().unwrap().ends_with("/prod"), "{report}");
    let cases = report["junit"].as_array().unwrap();
    assert!(cases.len() > 3 && cases.iter().all(|case| case[1] == true), "{report}");
    let preview = project.gitlab("chat-preview").await;
    went_well(&preview);
    assert_eq!(preview["junit"], report["junit"]);
    assert_eq!(project.deployed().await, ["chat", "mr-7"]);
    went_well(&project.gitlab("chat-preview-stop").await);
    project.leave_an_expired_one().await;
    went_well(&project.gitlab("chat-reap").await);
    assert_eq!(project.deployed().await, ["chat"]);
    let token = fs::metadata(project.folder.0.join("workspace/.chatctl/token")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&token.permissions()) & 0o777, 0o600);
}

#[tokio::test]
async fn a_failing_gitlab_job_fails() {
    let project = Project::new().await;
    fs::write(project.folder.0.join("workspace/chatctl.toml"), "nmae = \"x\"\n").unwrap();
    let report = project.gitlab("chat").await;
    assert_eq!((&report["failed"], &report["outputs"]), (&json!(true), &json!({})));
    assert_eq!(report["junit"], Value::Null, "nothing was verified");
}

#[tokio::test]
async fn a_gitlab_job_builds_what_it_does_not_find() {
    let project = Project::without_chatctl().await;
    went_well(&project.gitlab("chat-reap").await);
    let called = fs::read_to_string(project.folder.0.join("cargo.log")).unwrap();
    assert_eq!(called, "install --locked --git https://git.example/chatctl --rev 8577898 --root .chatctl chatctl\n");
    let environment = fs::read_to_string(project.folder.0.join("cargo.env")).unwrap();
    assert!(environment.contains("PATH=") && !environment.contains("AWS_"), "{environment}");
}

/// No rights that are not used, nothing that two runs do at once, and nothing of an event's own in a script. A branch's name
/// or a title in what a step is given would be options: of an event only its number goes there.
#[tokio::test]
async fn the_workflows_ask_for_little() {
    let script = "import json, sys, yaml; print(json.dumps([yaml.safe_load(open(path)) for path in sys.argv[1:]]))";
    let files = ["deploy", "preview", "reap", "plan", "drift"].map(|name| template(&format!("github/{name}.yml")));
    let mut command = python_tools().await.command("python");
    let output = command.args(["-c", script]).args(files).arg(Path::new(REPOSITORY).join("action.yml")).output();
    let parsed: Value = serde_json::from_slice(&output.await.unwrap().stdout).unwrap();
    let [workflows @ .., action] = parsed.as_array().unwrap().as_slice() else { panic!("{parsed}") };
    for workflow in workflows {
        assert_eq!(workflow["permissions"], json!({}));
        assert_eq!(workflow["concurrency"]["cancel-in-progress"], false);
        for job in workflow["jobs"].as_object().unwrap().values() {
            let mut rights = json!({ "contents": "read", "id-token": "write" });
            if workflow["name"] == "chat-drift" {
                rights["issues"] = json!("write");
            }
            assert_eq!(job["permissions"], rights);
            assert!(job["timeout-minutes"].is_u64());
        }
    }
    let pinned = |step: &Value| {
        let commit = step["uses"].as_str().and_then(|uses| Some(uses.split_once('@')?.1.to_owned()));
        commit.is_none_or(|commit| commit.len() == 40 && commit.chars().all(|digit| digit.is_ascii_hexdigit()))
    };
    let jobs = || workflows.iter().flat_map(|each| each["jobs"].as_object().unwrap().values());
    let given = jobs().map(|job| format!("{}{}", job["steps"], job["env"])).collect::<String>();
    for expression in given.split("${{ ").skip(1).map(|rest| rest.split(" }}").next().unwrap()) {
        let ours = ["github.event.number", "github.repository", "github.token"];
        let is_ours = expression.starts_with("vars.") || expression.starts_with("steps.") || ours.contains(&expression);
        assert!(is_ours, "{expression} is given to a step");
    }
    for step in jobs().chain([&action["runs"]]).flat_map(|job| job["steps"].as_array().unwrap()) {
        assert!(pinned(step), "not the commit: {step}");
        assert!(!step["run"].as_str().unwrap_or_default().contains("${{"), "{step}");
    }
}
