//! `export`: a template that linters accept and that makes what `up` makes.
//!
//! MiniStack's CloudFormation does not know `AWS::ApiGatewayV2::Deployment`, so the deployment, and that the stage
//! points at it, is taken out of what it gets; its routes are live without. It does not set a table's TTL either.
//! moto's knows nothing of `AWS::ApiGatewayV2` at all, so what is left over is proven by cfn-lint's schemas alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Stdio;

use chatctl::engine::graph::Graph;
use chatctl::resources::KINDS;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample;
use serde_json::{Value, json};
use support::settings;
use support::{Folder, HOSTILE, Ministack, chatctl, is_harmless, ministack, python_tools};
use tokio::io::AsyncWriteExt;

/// All settings that change the template, each beside few others and beside many.
fn variants() -> Vec<String> {
    [settings::lines(3, &[]), settings::lines(usize::MAX, &[]), vec![String::new()]].concat()
}

async fn export(folder: &Folder, flags: &str) -> String {
    let run = chatctl(env!("CARGO_BIN_EXE_chatctl")).args(["export"]).args(flags.split_whitespace());
    run.cwd(&folder.0).run().await.expect(0).stdout
}

async fn exported(folder: &Folder, flags: &str) -> Value {
    let document: Value = serde_json::from_str(&export(folder, &format!("{flags} -o json")).await).unwrap();
    document["template"].clone()
}

/// Feeds `input` to a script and returns what it prints, as JSON.
async fn python(script: &str, input: Value) -> Value {
    let mut command = python_tools().await.command("python");
    command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.to_string().as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The templates in these files, as cfn-lint reads them.
async fn read(files: &[String]) -> Value {
    let script = "
import json, sys
from cfnlint.decode import cfn_yaml
print(json.dumps([cfn_yaml.load(file) for file in json.load(sys.stdin)]))
";
    python(script, json!(files)).await
}

#[tokio::test]
async fn cfn_lint_finds_nothing_and_reads_what_was_meant() {
    let folder = Folder::new();
    let routes = "table-indexes = [\"room\"]\n[routes.shout]\nhandler = \"sendMessage\"\nrate = 5\nburst = 9\nreply = true\nschema = \"shout.json\"\n\n[routes.\"$default\"]\nhandler = \"sendMessage\"\n";
    fs::write(folder.0.join("own.toml"), routes).unwrap();
    let schema = json!({ "type": "object", "properties": { "data": { "type": "string" } }, "required": ["data"] });
    fs::write(folder.0.join("shout.json"), schema.to_string()).unwrap();
    let (mut files, mut meant) = (Vec::new(), Vec::new());
    for (at, flags) in variants().into_iter().chain(["--config own.toml".to_owned()]).enumerate() {
        let file = folder.0.join(format!("{at}.yaml"));
        fs::write(&file, export(&folder, &flags).await).unwrap();
        files.push(file.display().to_string());
        meant.push(exported(&folder, &flags).await);
        let zips = format!("zips-{at}");
        let printed = export(&folder, &format!("{flags} --dir {zips}")).await;
        assert!(printed.lines().all(|path| folder.0.join(path).is_file()));
        files.push(folder.0.join(zips).join("template.yaml").display().to_string());
    }
    let lint = python_tools().await.command("cfn-lint").args(&files).output().await.unwrap();
    assert!(lint.status.success() && lint.stdout.is_empty(), "{}", String::from_utf8_lossy(&lint.stdout));
    let templates: Vec<String> = files.into_iter().step_by(2).collect();
    assert_eq!(read(&templates).await, json!(meant));
    let of_type = |kind: &str| -> Vec<&Value> {
        let resources = meant.iter().flat_map(|template| template["Resources"].as_object().unwrap().values());
        resources.filter(|resource| resource["Type"] == kind).collect()
    };
    let models = of_type("AWS::ApiGatewayV2::Model");
    assert!(!models.is_empty());
    for model in &models {
        let text = model["Properties"]["Schema"].as_str().unwrap();
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), schema);
    }
    let held = json!({ "$default": models[0]["Properties"]["Name"] });
    assert!(of_type("AWS::ApiGatewayV2::Route").iter().any(|route| route["Properties"]["RequestModels"] == held));
}

#[test]
fn all_that_is_wanted_is_in_the_template() {
    for flags in variants() {
        let scope = settings::scope(&flags);
        for wanted in Graph::declare(KINDS, &scope).wanted() {
            assert!(!wanted.resource.template(&scope, &wanted.key).is_empty(), "`{flags}`: {}", wanted.key);
        }
    }
}

/// What looks to CloudFormation, to YAML or to a terminal like something of theirs.
const HOSTILE_TO_TEMPLATES: [&str; 9] = [
    "${AWS::AccountId}",
    "${Api}",
    "a ${!Api} ${",
    "!Ref Api",
    "{{resolve}} {{other:x}}",
    "yes",
    "- a: b # c",
    "${Api} \u{1d173}##[x \u{fffe}",
    "'\"\\",
];

#[tokio::test]
async fn what_is_set_is_a_text_in_the_template_whatever_it_looks_like() {
    let account = "${AWS::AccountId}";
    let issuer = "https://issuer.example/${AWS::AccountId}";
    let written = Folder::new();
    let (mut files, mut meant) = (Vec::new(), Vec::new());
    for (at, hostile) in HOSTILE_TO_TEMPLATES.into_iter().enumerate() {
        let folder = Folder::new();
        // Of more than one line where there may be more.
        let lines = format!("{hostile}\n{hostile}");
        let schema = json!({
            "description": lines, "type": "object",
            "properties": { "Ref": { "enum": [hostile] }, "Fn::Sub": { "maxLength": 3 } }
        });
        fs::write(folder.0.join("shout.json"), schema.to_string()).unwrap();
        // JSON's strings are TOML's too.
        let settings = format!(
            "api-name = {0}\ndescription = {0}\nauthorizer = \"jwt\"\njwt-issuer = \"{issuer}\"\njwt-audience = \"{account}\"\n\
             [routes.shout]\nhandler = \"sendMessage\"\nschema = \"shout.json\"\nenvironment.HOSTILE = {1}\n",
            json!(hostile),
            json!(lines)
        );
        fs::write(folder.0.join("chatctl.toml"), settings).unwrap();
        let template = exported(&folder, "").await;
        let properties = |id: &str| &template["Resources"][id]["Properties"];
        assert_eq!((&properties("Api")["Name"], &properties("Api")["Description"]), (&json!(hostile), &json!(hostile)));
        assert_eq!(properties("SendMessageFunction")["Environment"]["Variables"]["HOSTILE"], lines);
        let of_tokens = &properties("AuthorizerFunction")["Environment"]["Variables"];
        assert_eq!((&of_tokens["JWT_ISSUER"], &of_tokens["JWT_AUDIENCE"]), (&json!(issuer), &json!(account)));
        let model = properties("ShoutActionModel")["Schema"].as_str().unwrap();
        assert_eq!(serde_json::from_str::<Value>(model).unwrap(), schema);

        let file = written.0.join(format!("{at}.yaml"));
        fs::write(&file, export(&folder, "").await).unwrap();
        files.push(file.display().to_string());
        meant.push(template);
    }
    assert_eq!(read(&files).await, json!(meant));
    // E1029 asks whether an `Fn::Sub` was forgotten, which CloudFormation does not.
    let lint = python_tools().await.command("cfn-lint").args(&files).args(["--ignore-checks", "E1029"]).output().await;
    let lint = lint.unwrap();
    assert!(lint.status.success(), "{}", String::from_utf8_lossy(&lint.stdout));
}

#[tokio::test]
async fn what_cloudformation_would_look_up_is_refused() {
    let folder = Folder::new();
    for settings in [
        "description = \"{{resolve:ssm:/secret}}\"",
        "[routes.shout]\nhandler = \"sendMessage\"\nenvironment.WORD = \"a {{resolve:secretsmanager:x}}\"",
    ] {
        fs::write(folder.0.join("chatctl.toml"), settings).unwrap();
        for args in [&["export"][..], &["export", "--dir", "out"]] {
            let run = chatctl(env!("CARGO_BIN_EXE_chatctl")).args(args.iter().copied()).cwd(&folder.0).run().await;
            let refused = run.expect(2);
            assert!(refused.stdout.is_empty() && refused.stderr.contains("`{{resolve:`"), "{}", refused.stderr);
            assert!(!folder.0.join("out").exists());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 8, ..ProptestConfig::default() })]

    /// Whatever texts, numbers and lists there are: the YAML says the same, and shows nothing else.
    #[test]
    fn yaml_says_the_same(values in vec(value(), 40)) {
        let texts: Vec<String> = values.iter().map(chatctl::template::yaml).collect();
        prop_assert!(texts.iter().all(|text| is_harmless(text) && chatctl::host::lines(text) == *text));
        let script = "
import json, sys, yaml
print(json.dumps([yaml.safe_load(text) for text in json.load(sys.stdin)]))
";
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        prop_assert_eq!(runtime.block_on(python(script, json!(texts))), json!(values));
    }
}

fn value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        any::<String>(),
        "[-a-z0-9 .:#&*!|>'\"%@`{}\\[\\],?\n\t~=<]{0,12}",
        "(yes|no|null|true|1e3|0x1f|1_0|12:30|2026-01-01|\\.inf|<<|=|~)\n?",
        sample::select(HOSTILE.to_vec()).prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        text.clone().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from)
    ];
    let object = leaf.prop_recursive(3, 12, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(text.clone(), inner, 0..4).prop_map(|entries| json!(entries)),
        ]
    });
    object.prop_map(|value| json!({ "value": value }))
}

/// CloudFormation makes side by side whatever does not depend on one another, and API Gateway refuses that (G24).
#[tokio::test]
async fn what_belongs_to_one_api_is_made_in_a_row() {
    let folder = Folder::new();
    for flags in variants() {
        let template = exported(&folder, &flags).await;
        let resources = template["Resources"].as_object().unwrap();
        let after = |id: &str| -> BTreeSet<String> {
            let text = resources[id].to_string();
            let named =
                |other: &&String| text.contains(&format!("\"{other}\"")) || text.contains(&format!("${{{other}}}"));
            resources.keys().filter(|other| *other != id).filter(named).cloned().collect()
        };
        for route in resources.values().filter(|resource| resource["Type"] == "AWS::ApiGatewayV2::Route") {
            let target = route["Properties"]["Target"]["Fn::Sub"].as_str().unwrap();
            let integration = target.strip_prefix("integrations/${").unwrap().trim_end_matches('}');
            assert_eq!(resources[integration]["Type"], "AWS::ApiGatewayV2::Integration", "{route}");
        }
        // All that is made before it, directly or not.
        let before = |id: &str| {
            let (mut reached, mut open) = (BTreeSet::new(), vec![id.to_owned()]);
            while let Some(id) = open.pop() {
                open.extend(after(&id).into_iter().filter(|other| reached.insert(other.clone())));
            }
            reached
        };
        let of_api = resources.iter().filter(|(_, resource)| {
            let kind = resource["Type"].as_str().unwrap();
            kind.starts_with("AWS::ApiGatewayV2::") && kind != "AWS::ApiGatewayV2::Api"
        });
        let of_api: Vec<&String> = of_api.map(|(id, _)| id).collect();
        assert!(of_api.len() >= 8, "{of_api:?}");
        for (at, one) in of_api.iter().enumerate() {
            for other in &of_api[at + 1..] {
                let ordered = before(one).contains(*other) != before(other).contains(*one);
                assert!(ordered, "{one} and {other} are made side by side");
            }
        }
    }
}

/// What is kept for messages is kept for them alone, whichever way they take.
#[tokio::test]
async fn runs_are_reserved_for_the_function_behind_messages_alone() {
    let folder = Folder::new();
    for delivery in ["direct", "queue"] {
        for (flags, kept) in [("", None), ("--reserved-concurrency 30", Some(json!(30)))] {
            let template = exported(&folder, &format!("--delivery {delivery} {flags}")).await;
            let resources = template["Resources"].as_object().unwrap().iter();
            let functions = resources.filter(|(_, resource)| resource["Type"] == "AWS::Lambda::Function");
            let reserving = functions.filter_map(|(id, function)| {
                Some((id.as_str(), function["Properties"].get("ReservedConcurrentExecutions")?.clone()))
            });
            let of_one: BTreeMap<_, _> = kept.into_iter().map(|runs| ("SendMessageFunction", runs)).collect();
            assert_eq!(reserving.collect::<BTreeMap<_, _>>(), of_one, "{delivery} {flags}");
        }
    }
}

#[tokio::test]
async fn handlers_of_ones_own_go_as_zips() {
    let folder = Folder::new();
    let run = |args: &[&str]| chatctl(env!("CARGO_BIN_EXE_chatctl")).args(args.iter().copied()).cwd(&folder.0).run();
    run(&["init"]).await.expect(0);
    let refused = run(&["export"]).await.expect(2);
    assert!(refused.stdout.is_empty() && refused.stderr.contains("--dir"), "{}", refused.stderr);
    let files = async || {
        let printed = run(&["export", "--dir", "out"]).await.expect(0).stdout;
        printed.lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let before = files().await;
    assert_eq!(before.len(), 4);
    let handler = folder.0.join("lambda/onConnect.mjs");
    fs::write(&handler, fs::read_to_string(&handler).unwrap() + "// edited\n").unwrap();
    // What is there is never written over, and a link is not followed.
    let template = folder.0.join("out/template.yaml");
    fs::write(&template, "mine").unwrap();
    let refused = run(&["export", "--dir", "out"]).await.expect(2);
    assert!(refused.stderr.contains("`out/template.yaml` exists already"), "{}", refused.stderr);
    assert_eq!(fs::read_to_string(&template).unwrap(), "mine");
    fs::remove_file(&template).unwrap();
    std::os::unix::fs::symlink(folder.0.join("elsewhere"), &template).unwrap();
    run(&["export", "--dir", "out"]).await.expect(2);
    assert!(!folder.0.join("elsewhere").exists());
    fs::remove_file(&template).unwrap();
    // Another name, so that CloudFormation sees the change.
    assert_eq!(files().await.intersection(&before).count(), 3);
}

const DEPLOY: &str = "
import json, sys, boto3
order = json.load(sys.stdin)
session = boto3.Session(aws_access_key_id=order['key'], aws_secret_access_key='x', region_name=order['region'])
client = lambda service: session.client(service, endpoint_url=order['url'])
s3 = client('s3')
bucket = 'code-' + order['key']
s3.create_bucket(Bucket=bucket)
for path, key in order['objects']:
    s3.put_object(Bucket=bucket, Key=key, Body=open(path, 'rb').read())
s3.put_object(Bucket=bucket, Key='template', Body=order['template'])
cloudformation = client('cloudformation')
cloudformation.create_stack(StackName='chat', Capabilities=['CAPABILITY_NAMED_IAM'],
    TemplateURL='/'.join([order['url'], bucket, 'template']),
    Parameters=[{'ParameterKey': name, 'ParameterValue': value} for name, value in order['parameters'].items()])
cloudformation.get_waiter('stack_create_complete').wait(StackName='chat', WaiterConfig={'Delay': 1, 'MaxAttempts': 60})
stack = cloudformation.describe_stacks(StackName='chat')['Stacks'][0]
print(json.dumps({output['OutputKey']: output['OutputValue'] for output in stack['Outputs']}))
";

struct Order<'a> {
    url: &'a str,
    key: &'a str,
    template: Value,
    objects: Vec<(String, String)>,
    parameters: Value,
}

async fn deploy(order: Order<'_>) -> Value {
    let input = json!({
        "url": order.url, "key": order.key, "region": chatctl::local::REGION, "template": order.template.to_string(),
        "objects": order.objects, "parameters": order.parameters,
    });
    python(DEPLOY, input).await
}

fn without_deployment(mut template: Value) -> Value {
    let resources = template["Resources"].as_object_mut().unwrap();
    resources.retain(|_, resource| resource["Type"] != "AWS::ApiGatewayV2::Deployment");
    resources["Stage"]["Properties"].as_object_mut().unwrap().remove("DeploymentId").unwrap();
    template
}

/// What `up` would still change of what the stack made: fields by resource.
async fn differences(ministack: &Ministack, account: &str, folder: &Folder) -> BTreeMap<String, BTreeSet<String>> {
    let plan = chatctl(env!("CARGO_BIN_EXE_chatctl")).args(["plan", "-o", "json"]).cwd(&folder.0);
    let plan: Value = serde_json::from_str(&plan.account(ministack, account).run().await.expect(0).stdout).unwrap();
    let of_change = |change: &Value| {
        let word = |key: &str| change[key].as_str().unwrap().to_owned();
        let fields =
            change["differences"].as_array().unwrap().iter().map(|field| field["field"].as_str().unwrap().to_owned());
        (format!("{} {} {}", word("action"), word("kind"), word("name")), fields.collect())
    };
    plan["changes"].as_array().unwrap().iter().map(of_change).collect()
}

async fn compare(template: Value, objects: Vec<(String, String)>, of_function: &[&str]) {
    let ministack = ministack().await;
    let (account, folder) = (ministack.account(), Folder::new());
    let template = without_deployment(template);
    let parameters = if objects.is_empty() {
        json!({})
    } else {
        json!({ "CodeBucket": format!("code-{account}"), "CodePrefix": "v1/" })
    };
    let outputs = deploy(Order { url: ministack.url(), key: &account, template, objects, parameters }).await;
    let url = outputs["Url"].as_str().unwrap();
    assert!(url.starts_with("wss://") && url.ends_with(".execute-api.us-east-1.amazonaws.com/prod"), "{url}");

    let mut differs = differences(ministack, &account, &folder).await;
    let lambda = aws_sdk_lambda::Client::new(&ministack.sdk_config(&account));
    for (function, route) in
        [("onConnect", "$connect"), ("onDisconnect", "$disconnect"), ("sendMessage", "sendmessage")]
    {
        let name = format!("chat-{function}");
        let fields = differs.remove(&format!("update function {name}")).unwrap();
        // Against an emulator `up` tells the functions where it is.
        let expected = ["environment.AWS_ENDPOINT_URL", "environment.CHATCTL_CONNECTIONS_ENDPOINT"];
        assert_eq!(fields, expected.iter().chain(of_function).map(|field| (*field).to_owned()).collect());

        // CloudFormation names the statement itself, so `up` would put its own in its place (F1).
        assert!(differs.remove(&format!("create permission {name}")).is_some());
        let stray = differs.keys().find(|change| change.starts_with(&format!("delete permission {name}/"))).unwrap();
        differs.remove(&stray.clone());
        let policy = lambda.get_policy().function_name(&name).send().await.unwrap().policy.unwrap();
        let policy: Value = serde_json::from_str(&policy).unwrap();
        let statement = &policy["Statement"][0];
        assert_eq!(statement["Principal"]["Service"], "apigateway.amazonaws.com");
        assert_eq!(statement["Action"], "lambda:InvokeFunction");
        let condition = statement["Condition"].to_string();
        let source = url.trim_start_matches("wss://").split('.').next().unwrap();
        assert!(condition.contains(&format!(":execute-api:us-east-1:{account}:{source}/*/{route}\"")), "{condition}");
    }
    let one = |field: &str| BTreeSet::from([field.to_owned()]);
    // What was taken out.
    assert!(differs.remove("create deployment chat").is_some());
    // And MiniStack's CloudFormation stores settings of routes as the template spells them, where its API reads none.
    let of_stage = BTreeSet::from(["deployment".to_owned(), "routeThrottles.sendmessage".to_owned()]);
    assert_eq!(differs.remove("update stage prod"), Some(of_stage));
    // MiniStack's CloudFormation passes over `TimeToLiveSpecification`.
    assert_eq!(differs.remove("update table chat-connections"), Some(one("ttl")));
    assert_eq!(differs, BTreeMap::new());

    let verify = chatctl(env!("CARGO_BIN_EXE_chatctl")).args(["verify"]).account(ministack, &account).run().await;
    verify.expect(0);
}

#[tokio::test]
async fn the_stack_is_what_up_makes_with_code_in_the_template() {
    let template = exported(&Folder::new(), "").await;
    compare(template, vec![], &["codeSha256", "handler"]).await;
}

#[tokio::test]
async fn the_stack_is_what_up_makes_with_zips_in_a_bucket() {
    let folder = Folder::new();
    let printed = export(&folder, "--dir out").await;
    // The template comes first.
    let zips = printed.lines().skip(1);
    let objects = zips.map(|path| (folder.0.join(path).display().to_string(), path.replace("out/", "v1/"))).collect();
    let script = "
import json, sys
from cfnlint.decode import cfn_yaml
print(json.dumps(cfn_yaml.load(json.load(sys.stdin))))
";
    let template = python(script, json!(folder.0.join("out/template.yaml"))).await;
    compare(template, objects, &[]).await;
}
