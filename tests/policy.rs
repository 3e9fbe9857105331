//! `policy`: what it prints is enough, and each action of it is needed.
//!
//! MiniStack checks each request of an IAM user against one action, on the ARN of what it is about. What else AWS
//! asks for within a call is listed in `IMPLIED`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::types::{AttributeValue, BillingMode, ProvisionedThroughput};
use aws_sdk_sqs::types::QueueAttributeName;
use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use support::settings;
use support::{ACCOUNT, Finished, Folder, Issuer, Ministack, chatctl, ministack, python_tools};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

/// What AWS asks for within another call, and no call of ours is named after: to pass a role, to create with tags,
/// and to see a function's tags, which GetFunction leaves out otherwise.
const IMPLIED: [&str; 5] =
    ["apigateway:PUT", "apigateway:TagResource", "apigateway:UntagResource", "iam:PassRole", "lambda:ListTags"];

/// Paths are not part of the ARNs by which MiniStack knows roles.
const SETTINGS: [&str; 4] = ["--role-path", "/", "--name", "p"];

struct Account {
    ministack: &'static Ministack,
    id: String,
    delivery: &'static str,
    /// The settings file, where there is one.
    config: Option<String>,
}

impl Account {
    async fn new() -> Self {
        let ministack = ministack().await;
        Self { ministack, id: ministack.account(), delivery: "direct", config: None }
    }

    /// With the deployment that has most.
    async fn with_queue() -> Self {
        Self { delivery: "queue", ..Self::new().await }
    }

    fn settings(&self) -> Vec<&str> {
        let config = self.config.iter().flat_map(|config| ["--config", config]);
        SETTINGS.into_iter().chain(["--delivery", self.delivery]).chain(config).collect()
    }

    async fn root(&self, args: &[&str]) -> Finished {
        self.run(&self.id, "local", args).await
    }

    /// A run by a new user with this policy.
    async fn with(&self, policy: &Value, args: &[&str]) -> Finished {
        let (key, secret) = self.user(policy).await;
        self.run(&key, &secret, args).await
    }

    async fn user(&self, policy: &Value) -> (String, String) {
        self.ministack.user_with_policy(&self.id, &for_ministack(policy).to_string()).await
    }

    async fn run(&self, key: &str, secret: &str, args: &[&str]) -> Finished {
        let run = chatctl(env!("CARGO_BIN_EXE_chatctl")).args(args.iter().copied().chain(self.settings()));
        run.credentials(self.ministack.url(), key, secret).run().await
    }

    async fn policy(&self, args: &[&str]) -> Value {
        printed(&[&["--account", &self.id, "--region", chatctl::local::REGION], &self.settings()[..], args].concat())
            .await
    }
}

/// In requests of these MiniStack finds no resource, so that only `*` allows them.
const NAMELESS: [&str; 7] = [
    "dynamodb:ListTagsOfResource",
    "dynamodb:TagResource",
    "dynamodb:UntagResource",
    "lambda:CreateEventSourceMapping",
    "lambda:CreateFunction",
    "lambda:DeleteEventSourceMapping",
    "lambda:UpdateEventSourceMapping",
];

/// The policy with what MiniStack cannot know in the words that it knows; nor does it know a role's boundary.
fn for_ministack(policy: &Value) -> Value {
    let mut policy = policy.clone();
    let allowed = actions(&policy);
    let nameless: Vec<&str> = NAMELESS.into_iter().filter(|action| allowed.contains(*action)).collect();
    let statements = policy["Statement"].as_array_mut().unwrap();
    // It knows no tags of what a call is about.
    statements.retain(|statement| statement["Effect"] == "Allow");
    let unknown = [("ArnEquals", "iam:PermissionsBoundary"), ("ArnLike", "lambda:FunctionArn")];
    for statement in statements.iter_mut().filter_map(Value::as_object_mut) {
        statement.retain(|key, value| {
            key != "Condition" || !unknown.iter().any(|(how, what)| value[how].get(what).is_some())
        });
    }
    if !nameless.is_empty() {
        statements.push(json!({ "Effect": "Allow", "Action": nameless, "Resource": "*" }));
    }
    policy
}

async fn printed(args: &[&str]) -> Value {
    let run = chatctl(env!("CARGO_BIN_EXE_chatctl")).args(["policy"]).args(args.iter().copied()).run().await;
    serde_json::from_str(&run.expect(0).stdout).unwrap()
}

fn texts(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .map_or_else(|| value.as_str().into_iter().collect(), |many| many.iter().filter_map(Value::as_str).collect())
}

fn statements(policy: &Value) -> &Vec<Value> {
    policy["Statement"].as_array().unwrap()
}

fn actions(policy: &Value) -> BTreeSet<String> {
    statements(policy).iter().flat_map(|statement| texts(&statement["Action"])).map(str::to_owned).collect()
}

fn without(policy: &Value, lacking: &[&str]) -> Value {
    let mut policy = policy.clone();
    for statement in policy["Statement"].as_array_mut().unwrap() {
        let left: Vec<&str> =
            texts(&statement["Action"]).into_iter().filter(|action| !lacking.contains(action)).collect();
        statement["Action"] = json!(left);
    }
    policy["Statement"].as_array_mut().unwrap().retain(|statement| statement["Action"] != json!([]));
    policy
}

#[tokio::test]
async fn the_policy_is_enough_for_every_verb() {
    let account = Account::with_queue().await;
    let policy = account.policy(&[]).await;
    let (key, secret) = account.user(&policy).await;
    let run = async |args: &[&str]| account.run(&key, &secret, args).await;
    run(&["up"]).await.expect(0);
    run(&["plan", "--exit-code"]).await.expect(0);
    run(&["up", "--log-retention-days", "30", "--tag", "team=chat", "--function-timeout", "20"]).await.expect(0);
    run(&["up"]).await.expect(0);
    run(&["verify"]).await.expect(0);
    run(&["logs"]).await.expect(0);
    run(&["list"]).await.expect(0);
    run(&["reap"]).await.expect(0);
    dead_letter(&account, "1").await;
    let redriven = run(&["redrive", "-o", "json"]).await.expect(0);
    assert_eq!(serde_json::from_str::<Value>(&redriven.stdout).unwrap()["moved"], 1);
    let read_only = account.policy(&["--read-only"]).await;
    account.with(&read_only, &["status"]).await.expect(0);
    account.with(&read_only, &["plan"]).await.expect(0);
    account.with(&read_only, &["down"]).await.expect(1);
    run(&["down"]).await.expect(0);
    run(&["status"]).await.expect(4);
}

/// All that an app of one's own may have; `edit` is what is in its place later.
fn own_app(folder: &Folder, edit: &str) -> String {
    let lambda = folder.0.join("lambda");
    fs::create_dir_all(&lambda).unwrap();
    for (name, content) in chatctl::handlers::embedded() {
        fs::write(lambda.join(name), content).unwrap();
    }
    let handler = "export const handler = async () => ({ statusCode: 200, body: 'joined' });\n";
    fs::write(lambda.join("join.mjs"), handler).unwrap();
    fs::write(lambda.join("leave.mjs"), handler).unwrap();
    let schema = json!({ "type": "object", "required": ["action"] });
    fs::write(folder.0.join("join.json"), schema.to_string()).unwrap();
    let config = folder.0.join("chatctl.toml");
    let fixed = "handlers = \"lambda/\"\n";
    fs::write(&config, format!("{fixed}{edit}")).unwrap();
    config.display().to_string()
}

const OWN: &str = r#"table-indexes = ["room"]
throttle-rate = 90
throttle-burst = 90
[routes.join]
table = "read-write"
posts = true
reply = true
schema = "join.json"
environment = { ROOM_SIZE = "50" }
rate = 50
burst = 100
[routes.leave]
table = "write"
[routes."$default"]
handler = "leave"
"#;

/// Every kind of it changed, and a function, an index and a schema less.
const EDITED: &str = r#"[routes.join]
table = "read"
memory = 512
rate = 60
burst = 60
[routes."$default"]
handler = "join"
"#;

#[tokio::test]
async fn the_policy_is_enough_for_every_verb_of_an_app_of_ones_own() {
    let mut issuer = Issuer::start().await;
    let file = Folder::new();
    fs::write(file.0.join("token"), issuer.token("one", json!({})).await).unwrap();
    let token = format!("@{}", file.0.join("token").display());
    let jwt = ["--authorizer", "jwt", "--jwt-issuer", &issuer.url, "--jwt-audience", "chat"];
    let cases: [(&str, &[&str], &[&str]); 2] = [("direct", &[], &[]), ("queue", &jwt, &["--token", &token])];
    for (delivery, settings, with_token) in cases {
        let folder = Folder::new();
        let config = Some(own_app(&folder, OWN));
        let account = Account { delivery, config, ..Account::new().await };
        let policy = account.policy(settings).await;
        let (key, secret) = account.user(&policy).await;
        let run = async |args: &[&str]| account.run(&key, &secret, &[args, settings].concat()).await;
        run(&["up"]).await.expect(0);
        run(&["plan", "--exit-code"]).await.expect(0);
        let own = ["verify", "--route", "join", "--send", r#"{"action":"join"}"#, "--expect", "joined"];
        run(&[&own[..], with_token].concat()).await.expect(0);
        run(&[&["logs", "--function", "join"], &[][..]].concat()).await.expect(0);
        run(&["list"]).await.expect(0);
        run(&["reap"]).await.expect(0);
        if delivery == "queue" {
            dead_letter(&account, "1").await;
            run(&["redrive"]).await.expect(0);
        }
        let read_only = account.policy(&[&["--read-only"], settings].concat()).await;
        account.with(&read_only, &[&["status"], settings].concat()).await.expect(0);
        own_app(&folder, EDITED);
        account.with(&read_only, &[&["plan", "--exit-code"], settings].concat()).await.expect(3);
        // Nothing of the app is in the policy, so that who may run one may run the next.
        assert_eq!(account.policy(settings).await, policy);
        run(&["up"]).await.expect(0);
        run(&["plan", "--exit-code"]).await.expect(0);
        run(&["down"]).await.expect(0);
        run(&["status"]).await.expect(4);
        // Whoever reaps may know nothing of the app.
        run(&["up", "--ttl", "1s"]).await.expect(0);
        own_app(&folder, "");
        while run(&["reap"]).await.expect(0).stdout.is_empty() {}
        run(&["status"]).await.expect(4);
    }
}

/// The policy is that of any app, each action of which is needed; what it allows beyond the functions of the walkthrough, one's own
/// functions need.
#[tokio::test]
async fn ones_own_functions_need_all_that_is_allowed_beyond_the_walkthrough() {
    let folder = Folder::new();
    let mut account = Account::new().await;
    let of_any_app = account.policy(&[]).await;
    account.config = Some(own_app(&folder, OWN));
    let policy = account.policy(&[]).await;
    assert_eq!(policy, of_any_app);
    let region = chatctl::local::REGION;
    let role = format!("role/p-*{region}-");
    for (pattern, names, told) in [
        ("function:p-", ["onConnect", "onDisconnect", "sendMessage"], "lambda:GetFunction"),
        ("log-group:/aws/lambda/p-", ["onConnect", "onDisconnect", "sendMessage"], "logs:CreateLogGroup"),
        (&role, ["onConnect", "onDisconnect", "sendMessage"], "iam:CreateRole"),
    ] {
        let mut narrow = policy.clone();
        for statement in narrow["Statement"].as_array_mut().unwrap() {
            let resources = texts(&statement["Resource"]).into_iter().flat_map(|resource| {
                match resource.strip_suffix('*').filter(|all| all.ends_with(pattern)) {
                    Some(all) => names.map(|name| format!("{all}{name}*")).to_vec(),
                    None => vec![resource.to_owned()],
                }
            });
            statement["Resource"] = json!(resources.collect::<Vec<_>>());
        }
        assert_ne!(narrow, policy, "{pattern}");
        denied(&account, &narrow, &[], &["up"], &[told]).await;
        account.root(&["down"]).await.expect(0);
    }
    account.with(&policy, &["up"]).await.expect(0);
}

/// A message that could not be delivered.
async fn dead_letter(account: &Account, group: &str) {
    let sqs = aws_sdk_sqs::Client::new(&account.ministack.sdk_config(&account.id));
    let url = sqs.get_queue_url().queue_name("p-dead-letters.fifo").send().await.unwrap().queue_url.unwrap();
    let body = json!({"text": "hello"}).to_string();
    let send = sqs.send_message().queue_url(url).message_body(body).message_group_id(group);
    send.message_deduplication_id(group).send().await.unwrap();
}

/// Runs `args` without `lacking`, and wants to be told that each call of `told` was denied.
async fn denied(account: &Account, policy: &Value, lacking: &[&str], args: &[&str], told: &[&str]) {
    let ended = account.with(&without(policy, lacking), args).await;
    let ended = if ended.code == Some(5) { ended.expect(5) } else { ended.expect(1) };
    for call in told {
        let says = ended.stderr.lines().any(|line| line.contains(call) && line.contains("AccessDenied"));
        assert!(says, "`{}` without {lacking:?} does not tell of {call}:\n{}", args.join(" "), ended.stderr);
    }
}

/// An account in which actions are shown to be needed, and which ones were.
struct Needs {
    account: Account,
    policy: Value,
    shown: BTreeSet<String>,
}

impl Needs {
    async fn new() -> Self {
        let account = Account::with_queue().await;
        let policy = account.policy(&[]).await;
        Self { account, policy, shown: BTreeSet::new() }
    }

    /// With a deployment made by `args`.
    async fn deployed(args: &[&str]) -> Self {
        let needs = Self::new().await;
        needs.account.root(args).await.expect(0);
        needs
    }

    fn need(&mut self, actions: &[&str]) {
        self.shown.extend(actions.iter().map(|action| (*action).to_owned()));
    }

    /// Siblings do not cancel one another, so that one run shows the need of several actions.
    async fn lacking(&mut self, actions: &[&str], args: &[&str]) {
        self.told(actions, args, actions).await;
    }

    async fn told(&mut self, actions: &[&str], args: &[&str], told: &[&str]) {
        denied(&self.account, &self.policy, actions, args, told).await;
        self.need(actions);
    }
}

/// In several accounts at once, because it takes its time to tell a denied write to a role from a missing role (I1).
#[tokio::test]
async fn every_action_is_needed() {
    let policy = Needs::new().await.policy;
    let (made, tagged, untagged, changed) =
        tokio::join!(needed_to_make_and_look(), needed_to_tag(), needed_to_untag(), needed_to_change_and_remove());
    let implied: BTreeSet<String> = IMPLIED.map(str::to_owned).into();
    let shown: BTreeSet<String> = [implied, made, tagged, untagged, changed].into_iter().flatten().collect();
    assert_eq!(shown, actions(&policy));
}

async fn needed_to_make_and_look() -> BTreeSet<String> {
    let mut needs = Needs::new().await;
    needs
        .told(
            &["iam:CreateRole", "logs:CreateLogGroup", "dynamodb:CreateTable", "apigateway:POST"],
            &["up"],
            &["iam:CreateRole", "logs:CreateLogGroup", "dynamodb:CreateTable", "apigateway:CreateApi"],
        )
        .await;
    needs.lacking(&["iam:PutRolePolicy", "logs:PutRetentionPolicy", "dynamodb:UpdateTimeToLive"], &["up"]).await;
    needs.lacking(&["lambda:CreateFunction", "sqs:CreateQueue"], &["up"]).await;
    needs.lacking(&["lambda:AddPermission", "lambda:CreateEventSourceMapping"], &["up"]).await;
    needs.account.root(&["up"]).await.expect(0);

    let reads = actions(&needs.account.policy(&["--read-only"]).await);
    // MiniStack has no such alarms (`runs/alarm.rs`).
    needs.need(&["cloudwatch:DescribeAlarms", "cloudwatch:ListTagsForResource", "cloudwatch:DeleteAlarms"]);
    let is_shown = |action: &&String| !IMPLIED.contains(&action.as_str()) && !action.starts_with("cloudwatch:");
    let of_status = reads.iter().filter(is_shown).map(|action| {
        let told = if action == "apigateway:GET" { "apigateway:GetApis" } else { action };
        (action.as_str(), "status", told)
    });
    let beyond = [
        ("dynamodb:ListTables", "list", "dynamodb:ListTables"),
        ("iam:ListRoles", "list", "iam:ListRoles"),
        ("dynamodb:Scan", "verify", "goes unchecked"),
        ("logs:FilterLogEvents", "logs", "cannot read log group"),
    ];
    let looks: Vec<_> = of_status.chain(beyond).collect();
    let Needs { account, policy, .. } = &needs;
    join_all(looks.iter().map(async |(action, verb, told)| {
        let ended = account.with(&without(policy, &[*action]), &[*verb]).await;
        // `verify` goes on, and says what it could not check.
        let does = ended.code == Some(0) && *verb != "verify";
        assert!(!does, "`{verb}` does without {action}: {}", ended.stdout);
        assert!(ended.stderr.contains(told), "`{verb}` without {action} does not tell of {told}:\n{}", ended.stderr);
    }))
    .await;
    for (action, ..) in &looks {
        needs.need(&[*action]);
    }

    dead_letter(&needs.account, "1").await;
    needs.lacking(&["sqs:ReceiveMessage"], &["redrive"]).await;
    needs.lacking(&["sqs:SendMessage"], &["redrive"]).await;
    // That one is hidden for a while from the next run.
    dead_letter(&needs.account, "2").await;
    needs.lacking(&["sqs:DeleteMessage"], &["redrive"]).await;
    needs.shown
}

const TAGGED: [&str; 3] = ["up", "--tag", "team=chat"];

/// A function is changed after its role and its log group, so only where those were.
async fn needed_to_tag() -> BTreeSet<String> {
    let mut needs = Needs::deployed(&["up"]).await;
    needs.lacking(&["dynamodb:TagResource", "logs:TagResource", "iam:TagRole"], &TAGGED).await;
    needs.lacking(&["lambda:TagResource", "sqs:TagQueue"], &TAGGED).await;
    needs.account.root(&TAGGED).await.expect(0);
    needs.shown
}

async fn needed_to_untag() -> BTreeSet<String> {
    let mut needs = Needs::deployed(&TAGGED).await;
    needs.lacking(&["dynamodb:UntagResource", "logs:UntagResource", "iam:UntagRole"], &["up"]).await;
    needs.lacking(&["lambda:UntagResource", "sqs:UntagQueue"], &["up"]).await;
    needs.account.root(&["up"]).await.expect(0);
    needs.shown
}

async fn needed_to_change_and_remove() -> BTreeSet<String> {
    let mut needs = Needs::deployed(&["up"]).await;
    let handlers = Folder::new();
    for (name, mut content) in chatctl::handlers::embedded() {
        content.extend(if name == "onConnect.mjs" { &b"// edited\n"[..] } else { b"" });
        fs::write(handlers.0.join(&name), content).unwrap();
    }
    let lambda = aws_sdk_lambda::Client::new(&needs.account.ministack.sdk_config(&needs.account.id));
    let brake = lambda.put_function_concurrency().function_name("p-onConnect").reserved_concurrent_executions(0);
    brake.send().await.unwrap();
    needs.lacking(&["lambda:DeleteFunctionConcurrency"], &["up"]).await;
    needs.account.root(&["up"]).await.expect(0);

    drift(&needs.account).await;
    let folder = handlers.0.display().to_string();
    let change = ["up", "--handlers", &folder, "--memory", "768", "--throttle-rate", "9", "--throttle-burst", "9"];
    let of_all = |stage| {
        [
            "iam:UpdateAssumeRolePolicy",
            "iam:DeleteRolePermissionsBoundary",
            "dynamodb:UpdateTable",
            stage,
            "lambda:RemovePermission",
            "sqs:SetQueueAttributes",
        ]
    };
    needs.told(&of_all("apigateway:PATCH"), &change, &of_all("apigateway:UpdateStage")).await;
    needs.lacking(&["lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration"], &change).await;
    needs.account.root(&["up"]).await.expect(0);
    stray_policies(&needs.account).await;
    needs.lacking(&["iam:DetachRolePolicy", "iam:DeleteRolePolicy"], &["up"]).await;

    // MiniStack lets everybody change and delete mappings.
    needs.need(&["lambda:DeleteEventSourceMapping", "lambda:UpdateEventSourceMapping"]);
    needs.lacking(&["lambda:DeleteFunction", "dynamodb:DeleteTable"], &["down"]).await;
    needs
        .told(
            &["logs:DeleteLogGroup", "apigateway:DELETE", "iam:DeleteRole", "sqs:DeleteQueue"],
            &["down"],
            &["logs:DeleteLogGroup", "apigateway:DeleteApi", "iam:DeleteRole", "sqs:DeleteQueue"],
        )
        .await;
    needs.account.root(&["down"]).await.expect(0);
    needs.shown
}

fn role(function: &str) -> String {
    format!("p-{}-{function}", chatctl::local::REGION)
}

/// Changes behind our back what `up` would change back by the calls that are rarely needed.
async fn drift(account: &Account) {
    let sdk = account.ministack.sdk_config(&account.id);
    let (iam, lambda) = (aws_sdk_iam::Client::new(&sdk), aws_sdk_lambda::Client::new(&sdk));
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
        "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]});
    let update = iam.update_assume_role_policy().role_name(role("onConnect")).policy_document(trust.to_string());
    update.send().await.unwrap();
    let boundary = iam.put_role_permissions_boundary().role_name(role("onDisconnect"));
    boundary.permissions_boundary("arn:aws:iam::aws:policy/ReadOnlyAccess").send().await.unwrap();
    let permission = lambda.add_permission().function_name("p-sendMessage").statement_id("stray");
    let permission = permission.action("lambda:InvokeFunction").principal("s3.amazonaws.com");
    permission.send().await.unwrap();
    let mappings = lambda.list_event_source_mappings().function_name("p-broadcast").send().await.unwrap();
    let mapping = mappings.event_source_mappings()[0].uuid().unwrap();
    lambda.update_event_source_mapping().uuid(mapping).batch_size(1).send().await.unwrap();
    let sqs = aws_sdk_sqs::Client::new(&sdk);
    let url = sqs.get_queue_url().queue_name("p-messages.fifo").send().await.unwrap().queue_url.unwrap();
    let attributes = sqs.set_queue_attributes().queue_url(url);
    attributes.attributes(QueueAttributeName::MessageRetentionPeriod, "600").send().await.unwrap();
    let throughput = ProvisionedThroughput::builder().read_capacity_units(1).write_capacity_units(1).build().unwrap();
    let table = aws_sdk_dynamodb::Client::new(&sdk).update_table().table_name("p-connections");
    table.billing_mode(BillingMode::Provisioned).provisioned_throughput(throughput).send().await.unwrap();
}

async fn stray_policies(account: &Account) {
    let iam = aws_sdk_iam::Client::new(&account.ministack.sdk_config(&account.id));
    let arn = "arn:aws:iam::aws:policy/ReadOnlyAccess";
    iam.attach_role_policy().role_name(role("onConnect")).policy_arn(arn).send().await.unwrap();
    let policy =
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]});
    let put = iam.put_role_policy().role_name(role("onDisconnect")).policy_name("stray");
    put.policy_document(policy.to_string()).send().await.unwrap();
}

/// A chat of one deployment, as its clients and its table see it.
struct Chat {
    url: String,
    dynamodb: aws_sdk_dynamodb::Client,
}

impl Chat {
    /// Whether a client gets in and stays, and what it then receives when it says something.
    async fn say(&self) -> Option<String> {
        let (mut socket, _) = connect_async(&self.url).await.ok()?;
        let hello = r#"{"action":"sendmessage","data":"hello"}"#;
        let mut answer = None;
        if socket.send(Message::text(hello)).await.is_ok()
            && let Some(Ok(Message::Text(text))) = socket.next().await
        {
            answer = Some(text.to_string());
            let _ = socket.close(None).await;
            while socket.next().await.is_some() {}
        }
        answer
    }

    async fn rows(&self) -> usize {
        let scan = self.dynamodb.scan().table_name("p-connections").consistent_read(true).send().await.unwrap();
        scan.items().len()
    }

    /// A connection that died long ago.
    async fn leave_a_dead_row(&self) {
        let long_ago = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - 600;
        let put =
            self.dynamodb.put_item().table_name("p-connections").item("connectionId", AttributeValue::S("dead".into()));
        put.item("connectedAt", AttributeValue::N(long_ago.to_string())).send().await.unwrap();
    }

    /// Waits until the table has `count` rows: the handler of `$disconnect` works on behind the client's back.
    async fn comes_to(&self, count: usize) -> bool {
        let look = async {
            while self.rows().await != count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), look).await.is_ok()
    }
}

#[tokio::test]
async fn handlers_need_each_statement_of_their_roles() {
    let account = Account::new().await;
    let url = account.root(&["up"]).await.expect(0).stdout.trim().to_owned();
    let sdk = account.ministack.sdk_config(&account.id);
    let (iam, dynamodb) = (aws_sdk_iam::Client::new(&sdk), aws_sdk_dynamodb::Client::new(&sdk));
    let chat = Chat { url, dynamodb };
    let document = async |function: &str| {
        let policy = iam.get_role_policy().role_name(role(function)).policy_name("chatctl").send().await.unwrap();
        let text = percent_encoding::percent_decode_str(policy.policy_document()).decode_utf8_lossy().into_owned();
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let put = async |function: &str, document: &Value| {
        let put = iam.put_role_policy().role_name(role(function)).policy_name("chatctl");
        put.policy_document(document.to_string()).send().await.unwrap();
    };

    chat.leave_a_dead_row().await;
    assert_eq!(chat.say().await.as_deref(), Some("hello"));
    assert!(chat.comes_to(0).await, "the chat leaves rows behind");

    let on_connect = document("onConnect").await;
    put("onConnect", &without(&on_connect, &["dynamodb:PutItem"])).await;
    assert_eq!(chat.say().await, None);
    assert_eq!(chat.rows().await, 0);
    put("onConnect", &on_connect).await;

    let send_message = document("sendMessage").await;
    for action in ["dynamodb:Scan", "execute-api:ManageConnections"] {
        put("sendMessage", &without(&send_message, &[action])).await;
        assert_ne!(chat.say().await.as_deref(), Some("hello"), "without {action}");
        assert!(chat.comes_to(0).await);
    }
    chat.leave_a_dead_row().await;
    put("sendMessage", &without(&send_message, &["dynamodb:DeleteItem"])).await;
    assert_eq!(chat.say().await.as_deref(), Some("hello"));
    assert!(chat.comes_to(1).await, "the dead row stays");
    put("sendMessage", &send_message).await;
    assert_eq!(chat.say().await.as_deref(), Some("hello"));
    assert!(chat.comes_to(0).await);

    let on_disconnect = document("onDisconnect").await;
    put("onDisconnect", &without(&on_disconnect, &["dynamodb:DeleteItem"])).await;
    assert_eq!(chat.say().await.as_deref(), Some("hello"));
    // The next one's message meets a handler that has been called before it: the row is still there.
    put("onDisconnect", &on_disconnect).await;
    assert_eq!(chat.say().await.as_deref(), Some("hello"));
    assert!(chat.comes_to(1).await, "the row of the first one stays");
}

/// A program of somebody's: posts `hello` to everybody, by the table or by an index of it.
const BACK_END: &str = "
import boto3, sys
endpoint, callback, key, secret, how = sys.argv[1:]
who = dict(region_name='us-east-1', aws_access_key_id=key, aws_secret_access_key=secret)
dynamodb = boto3.client('dynamodb', endpoint_url=endpoint, **who)
chat = boto3.client('apigatewaymanagementapi', endpoint_url=callback, **who)
if how == 'index':
    found = dynamodb.query(TableName='p-connections', IndexName='room', KeyConditionExpression='room = :room',
        ExpressionAttributeValues={':room': {'S': 'kitchen'}})
elif how == 'rows':
    found = dynamodb.query(TableName='p-connections', KeyConditionExpression='connectionId = :id',
        ExpressionAttributeValues={':id': {'S': 'x'}})
else:
    found = dynamodb.scan(TableName='p-connections')
for row in found['Items']:
    if how == 'cut':
        chat.delete_connection(ConnectionId=row['connectionId']['S'])
    else:
        chat.post_to_connection(ConnectionId=row['connectionId']['S'], Data=b'hello')
print(len(found['Items']))
";

#[tokio::test]
async fn another_back_end_posts_with_exactly_what_is_printed_for_it() {
    let account = Account::new().await;
    let absent = account.root(&["policy", "--sender"]).await.expect(4);
    assert!(absent.stderr.contains("there is no deployment `p`"), "{}", absent.stderr);
    assert_eq!(absent.stdout, "");
    let folder = Folder::new();
    let config = folder.0.join("chatctl.toml");
    fs::write(&config, "table-indexes = [\"room\"]\n").unwrap();
    let with_index = ["--config", config.to_str().unwrap()];
    let url = account.root(&[&["up"], &with_index[..]].concat()).await.expect(0).stdout.trim().to_owned();
    let status = account.root(&[&["status", "-o", "json"], &with_index[..]].concat()).await.expect(0);
    let callback = serde_json::from_str::<Value>(&status.stdout).unwrap()["callbackUrl"].as_str().unwrap().to_owned();
    assert!(callback.starts_with(account.ministack.url()) && callback.ends_with("/prod"), "{callback}");

    let printed = account.root(&[&["policy", "--sender"], &with_index[..]].concat()).await.expect(0);
    let policy: Value = serde_json::from_str(&printed.stdout).unwrap();
    let api = callback.rsplit('/').nth(1).unwrap();
    let table = format!("arn:aws:dynamodb:us-east-1:{}:table/p-connections", account.id);
    let posts = format!("arn:aws:execute-api:us-east-1:{}:{api}/prod/POST/@connections/*", account.id);
    let allowed = [
        ("dynamodb:Query", format!("{table}/index/room")),
        ("dynamodb:Scan", table),
        ("execute-api:ManageConnections", posts),
    ];
    let allowed = allowed.map(|(action, on)| json!({ "Effect": "Allow", "Action": action, "Resource": on }));
    assert_eq!(policy["Statement"], json!(allowed));

    let tools = python_tools().await;
    let post = async |policy: &Value, how: &str| {
        let (key, secret) = account.ministack.user_with_policy(&account.id, &policy.to_string()).await;
        let mut command = tools.command("python");
        command.args(["-c", BACK_END, account.ministack.url(), &callback, &key, &secret, how]);
        let output = command.output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned()).ok_or(said)
    };
    let (mut client, _) = connect_async(&url).await.unwrap();
    let dynamodb = aws_sdk_dynamodb::Client::new(&account.ministack.sdk_config(&account.id));
    let chat = Chat { url, dynamodb };
    assert!(chat.comes_to(1).await);
    assert_eq!(post(&policy, "table").await.as_deref(), Ok("1"));
    assert_eq!(client.next().await.unwrap().unwrap(), Message::text("hello"));
    assert_eq!(post(&policy, "index").await.as_deref(), Ok("0"), "nobody is in the kitchen");
    for how in ["cut", "rows"] {
        assert!(post(&policy, how).await.unwrap_err().contains("AccessDenied"), "{how}");
    }
    for (action, how) in
        [("dynamodb:Scan", "table"), ("dynamodb:Query", "index"), ("execute-api:ManageConnections", "table")]
    {
        assert!(
            post(&without(&policy, &[action]), how).await.unwrap_err().contains("AccessDenied"),
            "without {action}"
        );
    }
}

#[tokio::test]
async fn the_boundary_lets_the_chat_work_and_nothing_more() {
    let account = Account::new().await;
    let boundary = account.policy(&["--boundary"]).await;
    let sdk = account.ministack.sdk_config(&account.id);
    let iam = aws_sdk_iam::Client::new(&sdk);
    let create = async |name: &str, document: &Value| {
        let created = iam.create_policy().policy_name(name).policy_document(document.to_string()).send().await.unwrap();
        created.policy.unwrap().arn.unwrap()
    };
    let arn = create("boundary", &boundary).await;
    let bounded = ["--permissions-boundary", arn.as_str()];
    let policy = account.policy(&bounded).await;
    assert!(!actions(&policy).contains("iam:DeleteRolePermissionsBoundary"));
    let (key, secret) = account.user(&policy).await;
    let url = account.run(&key, &secret, &[&["up"], &bounded[..]].concat()).await.expect(0).stdout;
    account.run(&key, &secret, &[&["verify"], &bounded[..]].concat()).await.expect(0);
    let narrow = create("narrow", &without(&boundary, &["dynamodb:PutItem"])).await;
    account.root(&["up", "--permissions-boundary", &narrow]).await.expect(0);
    let chat = Chat { url: url.trim().to_owned(), dynamodb: aws_sdk_dynamodb::Client::new(&sdk) };
    assert_eq!(chat.say().await, None);
}

/// Every AWS operation that the code calls, as `service:Operation`.
fn calls() -> BTreeSet<String> {
    fn read(folder: &Path, all: &mut String) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                read(&entry.path(), all);
            } else {
                all.push_str(&fs::read_to_string(entry.path()).unwrap());
            }
        }
    }
    let mut source = String::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut source);
    // One call, or one a page.
    let calls = [".call(", ".call_upon(", ".all("].into_iter().flat_map(|call| source.split(call).skip(1));
    let literals = calls.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
    literals.map(str::to_owned).collect()
}

/// API Gateway's operations are authorized by the HTTP method.
fn action_of(call: &str) -> String {
    let Some(operation) = call.strip_prefix("apigateway:") else { return call.to_owned() };
    let methods = [
        ("Get", "GET"),
        ("Create", "POST"),
        ("Tag", "POST"),
        ("Update", "PATCH"),
        ("Delete", "DELETE"),
        ("Untag", "DELETE"),
    ];
    let (_, method) = methods.iter().find(|(verb, _)| operation.starts_with(verb)).unwrap();
    format!("apigateway:{method}")
}

const KEY: &str = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555";

/// All settings that change policies, each beside few others and beside many; and what makes the longest.
fn variants() -> Vec<String> {
    const LONGEST: &str =
        "--role-path /a/long/path/of/a/large/company/chatctl/ --name a-name-of-no-less-than-32-letter";
    let others = ["", LONGEST, "--read-only"].map(str::to_owned);
    [settings::lines(3, &[]), settings::lines(usize::MAX, &[]), others.into()].concat()
}

async fn variant(flags: &str) -> Value {
    printed(&["--region", "eu-central-1"].into_iter().chain(flags.split_whitespace()).collect::<Vec<_>>()).await
}

#[tokio::test]
async fn the_policy_is_what_the_code_calls() {
    let mut allowed = BTreeSet::new();
    for flags in variants() {
        allowed.extend(actions(&variant(&flags).await));
    }
    let mut used: BTreeSet<String> = calls().iter().map(|call| action_of(call)).collect();
    assert!(used.len() > 40, "the calls are not found in the source: {used:?}");
    // Everybody may, whatever their policies say.
    assert!(used.remove("sts:GetCallerIdentity"));
    // Made without a `Ctx`, by `verify` and `logs`.
    used.extend(["dynamodb:Scan", "logs:FilterLogEvents"].map(str::to_owned));
    used.extend(IMPLIED.map(str::to_owned));
    // By whoever signs the handshake, and by DynamoDB with a customer's key.
    used.insert("execute-api:Invoke".to_owned());
    used.extend(allowed.iter().filter(|action| action.starts_with("kms:")).cloned());
    assert_eq!(allowed, used);
}

#[tokio::test]
async fn policies_fit_and_parliament_finds_nothing() {
    let tools = python_tools().await;
    let mut policies = Vec::new();
    for flags in variants() {
        policies.push(variant(&flags).await);
        policies.push(variant(&format!("{flags} --account {ACCOUNT}")).await);
    }
    policies.push(variant("--boundary").await);
    policies.push(variant(&format!("--boundary --kms-key {KEY}")).await);
    let account = Account::new().await;
    account.root(&["up", "--kms-key", KEY]).await.expect(0);
    let sender = account.root(&["policy", "--sender", "--kms-key", KEY]).await.expect(0);
    policies.push(serde_json::from_str(&sender.stdout).unwrap());
    let iam = aws_sdk_iam::Client::new(&account.ministack.sdk_config(&account.id));
    for function in ["onConnect", "onDisconnect", "sendMessage"] {
        let policy = iam.get_role_policy().role_name(role(function)).policy_name("chatctl").send().await.unwrap();
        let text = percent_encoding::percent_decode_str(policy.policy_document()).decode_utf8_lossy().into_owned();
        policies.push(serde_json::from_str(&text).unwrap());
    }
    for policy in &policies {
        // A managed policy's limit, white space not counted.
        assert!(policy.to_string().len() <= 6_144, "{} characters", policy.to_string().len());
        assert!(statements(policy).iter().flat_map(|s| texts(&s["Action"])).all(|action| !action.contains('*')));
    }
    let check = "
import json, sys
from parliament import analyze_policy_string
for policy in json.load(sys.stdin):
    for finding in analyze_policy_string(json.dumps(policy)).findings:
        print(finding.issue, finding.detail)
";
    let mut command = tools.command("python");
    command.args(["-c", check]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stdin, json!(policies).to_string().as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success());
    let findings: BTreeSet<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    // AWS does deny by such names (G16), but they are in no list of actions that parliament has.
    let unknown =
        ["TagResource", "UntagResource"].map(|name| format!("UNKNOWN_ACTION Unknown action apigateway:{name}"));
    assert_eq!(findings, BTreeSet::from(unknown));
}

#[tokio::test]
async fn a_boundary_of_sixty_functions_still_fits_a_managed_policy() {
    const LONGEST: &str = "a-name-of-no-less-than-32-letter";
    let folder = Folder::new();
    let boundary = async |count: usize| {
        let routes = (0..count).map(|n| format!("[routes.own_handler_{n}]\ntable = \"read-write\"\nposts = true\n"));
        fs::write(folder.0.join("chatctl.toml"), routes.collect::<String>()).unwrap();
        let config = folder.0.join("chatctl.toml").display().to_string();
        let place = ["--boundary", "--account", "123456789012", "--region", "ap-southeast-1"];
        printed(&[&place[..], &["--name", LONGEST, "--config", &config]].concat()).await
    };
    let logs = |policy: &Value| -> Vec<String> {
        let of_logs = |statement: &&Value| texts(&statement["Action"]).contains(&"logs:PutLogEvents");
        statements(policy).iter().filter(of_logs).flat_map(|s| texts(&s["Resource"])).map(str::to_owned).collect()
    };
    let (few, many) = (boundary(3).await, boundary(60).await);
    assert_eq!(logs(&few).len(), 6, "as exact as there is room for");
    assert!(many.to_string().len() <= 6_144, "{} characters", many.to_string().len());
    assert_eq!(
        logs(&many),
        ["arn:aws:logs:ap-southeast-1:123456789012:log-group:/aws/lambda/NAME-*:*".replace("NAME", LONGEST)]
    );
    assert_eq!(actions(&many), actions(&few));
}

#[tokio::test]
async fn of_an_authorizers_function_the_policy_allows_its_permission_and_nothing_else() {
    let arn = "arn:aws:lambda:eu-central-1:123456789012:function:gate";
    let on_it = |policy: &Value| -> BTreeSet<String> {
        let named = statements(policy).iter().filter(|statement| texts(&statement["Resource"]).contains(&arn));
        named.flat_map(|statement| texts(&statement["Action"])).map(str::to_owned).collect()
    };
    let all = variant(&format!("--authorizer {arn}")).await;
    let three = ["lambda:AddPermission", "lambda:GetPolicy", "lambda:RemovePermission"].map(str::to_owned);
    assert_eq!(on_it(&all), three.into());
    let read = variant(&format!("--authorizer {arn} --read-only")).await;
    assert_eq!(on_it(&read), ["lambda:GetPolicy".to_owned()].into());
    // In another account only its owner may do that.
    let other = variant(&format!("--authorizer {arn} --account 999988887777")).await;
    assert_eq!(on_it(&other), BTreeSet::new());
}

#[tokio::test]
async fn what_is_no_account_or_repository_is_refused() {
    let refused = async |args: &[&str], word: &str| {
        let run = chatctl(env!("CARGO_BIN_EXE_chatctl")).args(["policy"]).args(args.iter().copied()).run().await;
        let ended = run.expect(2);
        assert!(ended.stdout.is_empty() && ended.stderr.contains(word), "{}", ended.stderr);
    };
    let region = ["--region", "eu-central-1"];
    let with = |args: &[&'static str]| [&region[..], args].concat();
    refused(&[], "region").await;
    refused(&with(&["--account", "12345678901"]), "12 digits").await;
    refused(&with(&["--github", "acme/chat"]), "--account").await;
    for repository in ["acme", "acme/", "/chat", "acme/chat:", "acme/chat/x", "acme/c*"] {
        refused(&with(&["--account", "123456789012", "--github", repository]), "owner/repo").await;
    }
}

#[tokio::test]
async fn github_may_take_the_role_for_one_repository_alone() {
    let account = ["--account", "123456789012", "--region", "eu-central-1", "--github"];
    let open = printed(&[&account[..], &["acme/chat"]].concat()).await;
    let expected = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": {"Federated": "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {
            "StringEquals": {"token.actions.githubusercontent.com:aud": "sts.amazonaws.com"},
            "StringLike": {"token.actions.githubusercontent.com:sub": "repo:acme/chat:*"}}}]});
    assert_eq!(open, expected);
    let narrow = printed(&[&account[..], &["acme/chat:environment:prod"]].concat()).await;
    assert_eq!(
        statements(&narrow)[0]["Condition"],
        json!({"StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": "repo:acme/chat:environment:prod"}})
    );
    let two = ["acme/chat:pull_request", "--github", "acme/chat:ref:refs/heads/main", "--github", "acme/other"];
    let several = printed(&[&account[..], &two].concat()).await;
    let subjects = |at: usize, operator: &str| {
        statements(&several)[at]["Condition"][operator]["token.actions.githubusercontent.com:sub"].clone()
    };
    assert_eq!(
        subjects(0, "StringEquals"),
        json!(["repo:acme/chat:pull_request", "repo:acme/chat:ref:refs/heads/main"])
    );
    assert_eq!((statements(&several).len(), subjects(1, "StringLike")), (2, json!("repo:acme/other:*")));
}

#[tokio::test]
async fn the_partition_is_that_of_the_region() {
    for (region, partition) in [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov"), ("eu-central-1", "aws")] {
        let policy = printed(&["--region", region]).await;
        for resource in statements(&policy).iter().flat_map(|statement| texts(&statement["Resource"])) {
            assert!(resource == "*" || resource.starts_with(&format!("arn:{partition}:")), "{resource}");
        }
    }
}
