//! The promises of the contract on a real local AWS that enforces IAM: real processes, real sockets.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use support::{
    Account, Chatctl, Client, Finished, Folder, Issuer, Ministack, Proxy, chatctl, eventually, ministack, moto,
    moto_with_deployments,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

const PROGRAM: &str = env!("CARGO_BIN_EXE_chatctl");

/// An account of its own, and the binary at work in it.
struct Bench {
    ministack: &'static Ministack,
    id: String,
    account: Account,
}

impl Bench {
    async fn new() -> Self {
        let ministack = ministack().await;
        let id = ministack.account();
        let account = Account::new(&ministack.sdk_config(&id));
        Self { ministack, id, account }
    }

    fn command(&self, line: &str) -> Chatctl {
        chatctl(PROGRAM).args(line.split_whitespace()).account(self.ministack, &self.id)
    }

    async fn run(&self, line: &str) -> Finished {
        self.command(line).run().await
    }

    /// Runs `up` and returns the URL.
    async fn up(&self, flags: &str) -> String {
        self.run(&format!("up {flags}")).await.expect(0).stdout.trim_end().to_owned()
    }
}

/// What one deployment named `name` is, as `Account::contents` has it.
fn one_deployment(name: &str) -> Vec<String> {
    let mut contents: Vec<String> = ["$connect", "$disconnect", "sendmessage"].map(|key| format!("route {key}")).into();
    contents.extend(["integration"; 3].map(str::to_owned));
    for function in ["onConnect", "onDisconnect", "sendMessage"] {
        contents.push(format!("function {name}-{function}"));
        contents.push(format!("permission {name}-{function}"));
        contents.push(format!("log-group /aws/lambda/{name}-{function}"));
        contents.push(format!("role {name}-us-east-1-{function}"));
    }
    contents.extend([
        format!("api {name}"),
        "deployment".to_owned(),
        "stage prod".to_owned(),
        format!("table {name}-connections"),
    ]);
    contents.sort();
    contents
}

#[tokio::test]
async fn up_makes_exactly_one_deployment_that_chats_and_down_leaves_nothing() {
    let bench = Bench::new().await;
    let up = bench.run("up").await.expect(0);
    assert_eq!(up.stdout.lines().count(), 1, "stdout is the URL alone: {}", up.stdout);
    let url = up.stdout.trim_end();
    assert!(url.starts_with("ws://127.0.0.1:") && url.ends_with("/prod"), "{url}");
    assert_eq!(bench.account.contents().await, one_deployment("chat"));

    let (mut ada, mut bob) = (Client::connect(url).await, Client::connect(url).await);
    eventually("both are in the table", || async { bench.account.connections("chat-connections").await.len() == 2 })
        .await;
    ada.say("hello").await;
    assert_eq!((ada.hear().await, bob.hear().await), ("hello".to_owned(), "hello".to_owned()));
    bob.leave().await;
    eventually("one is left", || async { bench.account.connections("chat-connections").await.len() == 1 }).await;
    ada.say("alone").await;
    assert_eq!(ada.hear().await, "alone");

    bench.run("status").await.expect(0);
    let down = bench.run("down").await.expect(0);
    assert_eq!(down.stdout, "");
    assert_eq!(bench.account.contents().await, Vec::<String>::new());
    bench.run("down").await.expect(0);
    bench.run("status").await.expect(4);
}

#[tokio::test]
async fn a_ping_is_answered_to_its_sender_alone_while_the_setting_says_so() {
    let bench = Bench::new().await;
    let url = bench.up("--keep-alive").await;
    let (mut ada, mut bob) = (Client::connect(&url).await, Client::connect(&url).await);
    ada.send(r#"{"action":"ping"}"#).await;
    assert_eq!(ada.hear().await, r#"{"chatctl":{"pong":true}}"#);
    ada.say("hello").await;
    assert_eq!((ada.hear().await, bob.hear().await), ("hello".to_owned(), "hello".to_owned()));
    bench.run("status --keep-alive").await.expect(0);
    bench.run("status").await.expect(3);
    bench.up("").await;
    assert_eq!(bench.account.contents().await, one_deployment("chat"));
    bench.run("status").await.expect(0);
    bench.up("--keep-alive").await;
    bench.run("down").await.expect(0);
    assert_eq!(bench.account.contents().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_queue_takes_messages_to_everybody_in_one_order_and_down_leaves_nothing() {
    let bench = Bench::new().await;
    let url = bench.up("--delivery queue").await;
    let mut expected = one_deployment("chat");
    expected.extend(
        [
            "function chat-broadcast",
            "log-group /aws/lambda/chat-broadcast",
            "mapping chat-broadcast",
            "queue chat-dead-letters.fifo",
            "queue chat-messages.fifo",
            "role chat-us-east-1-broadcast",
        ]
        .map(str::to_owned),
    );
    expected.sort();
    assert_eq!(bench.account.contents().await, expected);
    bench.run("status --delivery queue").await.expect(0);
    bench.run("plan --exit-code --delivery queue").await.expect(0);
    bench.run("verify --delivery queue").await.expect(0);

    let (mut ada, mut bob) = (Client::connect(&url).await, Client::connect(&url).await);
    eventually("both are in the table", || async {
        let rows = bench.account.connections("chat-connections").await;
        rows.iter().filter(|id| !id.starts_with('#')).count() == 2
    })
    .await;
    ada.send(r#"{"action":"sendmessage"}"#).await;
    assert!(ada.hear().await.contains("no "));
    for number in 0..20 {
        ada.say(&number.to_string()).await;
        bob.say(&format!("{number}'")).await;
    }
    let mut first = Vec::new();
    let mut second = Vec::new();
    for _ in 0..40 {
        first.push(ada.hear().await);
        second.push(bob.hear().await);
    }
    assert_eq!(first, second, "one order for everybody");
    assert_eq!(first.iter().collect::<std::collections::BTreeSet<_>>().len(), 40, "each message once: {first:?}");

    bench.run("down --delivery queue").await.expect(0);
    assert_eq!(bench.account.contents().await, Vec::<String>::new());
}

/// What is said and heard in a chat whose members talk until they are told to stop.
#[derive(Default)]
struct Talk {
    stop: AtomicBool,
    said: Mutex<Vec<String>>,
    heard: Mutex<BTreeMap<&'static str, Vec<String>>>,
}

impl Talk {
    /// Says something eight times a second; ends when it hears `END`.
    async fn join(self: Arc<Self>, url: String, name: &'static str) {
        let (mut to, mut from) = connect_async(url).await.unwrap().0.split();
        let mut pause = tokio::time::interval(Duration::from_millis(125));
        for number in 0.. {
            tokio::select! {
                _ = pause.tick() => {
                    if self.stop.load(Ordering::Relaxed) {
                        continue;
                    }
                    let text = format!("{name} {number}");
                    let frame = serde_json::json!({ "action": "sendmessage", "data": text });
                    self.said.lock().unwrap().push(text);
                    to.send(Message::text(frame.to_string())).await.expect("the connection is open");
                }
                frame = from.next() => match frame {
                    Some(Ok(Message::Text(text))) if text == END => return,
                    Some(Ok(Message::Text(text))) => self.heard.lock().unwrap().entry(name).or_default().push(text.to_string()),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    other => panic!("{name}'s connection is gone: {other:?}"),
                },
            }
        }
    }

    /// How much everybody has heard.
    fn heard(&self) -> usize {
        let heard = self.heard.lock().unwrap();
        if heard.len() < NAMES.len() { 0 } else { heard.values().map(Vec::len).min().unwrap() }
    }
}

const NAMES: [&str; 3] = ["ada", "bob", "cy"];
const END: &str = "that is all";

/// From one way of delivery to the other and back while everybody talks: each hears everything once, and nobody is
/// disconnected.
#[tokio::test]
async fn the_way_of_delivery_is_changed_under_load_without_loss_or_doubles() {
    let bench = Bench::new().await;
    let url = bench.up("").await;
    let talk = Arc::new(Talk::default());
    let talkers = NAMES.map(|name| tokio::spawn(talk.clone().join(url.clone(), name)));
    for settings in ["--delivery queue", "", "--delivery queue", ""] {
        let before = talk.heard();
        eventually("they talk", async || talk.heard() > before + 50).await;
        bench.up(settings).await;
    }
    let before = talk.heard();
    eventually("they talk on", async || talk.heard() > before + 50).await;
    talk.stop.store(true, Ordering::Relaxed);
    let all_heard = async {
        while talk.heard() < talk.said.lock().unwrap().len() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // What is missing after that is told below.
    let _ = tokio::time::timeout(Duration::from_secs(20), all_heard).await;
    Client::connect(&url).await.say(END).await;
    for talker in talkers {
        talker.await.expect("it stayed connected");
    }
    let said = talk.said.lock().unwrap().clone();
    for (name, heard) in &*talk.heard.lock().unwrap() {
        let times = |text: &String| heard.iter().filter(|other| *other == text).count();
        let lost: Vec<_> = said.iter().filter(|text| times(text) == 0).collect();
        let doubled: Vec<_> = said.iter().filter(|text| times(text) > 1).collect();
        let strange: Vec<_> = heard.iter().filter(|text| !said.contains(text)).collect();
        let nothing = Vec::<&String>::new();
        assert_eq!((lost, doubled, strange), (nothing.clone(), nothing.clone(), nothing), "{name}, of {}", said.len());
    }
    bench.run("down").await.expect(0);
    assert_eq!(bench.account.contents().await, Vec::<String>::new());
}

/// SQS itself moves them to the dead letters: nobody feeds the worker, and somebody else receives them in vain.
#[tokio::test]
async fn what_went_to_the_dead_letters_is_told_by_status_and_delivered_after_a_redrive() {
    let bench = Bench::new().await;
    let url = bench.up("--delivery queue").await;
    let mut ada = Client::connect(&url).await;
    ada.say("first").await;
    assert_eq!(ada.hear().await, "first");

    let sdk = bench.ministack.sdk_config(&bench.id);
    let lambda = aws_sdk_lambda::Client::new(&sdk);
    let mappings = lambda.list_event_source_mappings().function_name("chat-broadcast").send().await.unwrap();
    let mapping = mappings.event_source_mappings()[0].uuid().unwrap();
    lambda.update_event_source_mapping().uuid(mapping).enabled(false).send().await.unwrap();
    let sqs = &bench.account.sqs;
    let queue = sqs.get_queue_url().queue_name("chat-messages.fifo").send().await.unwrap().queue_url.unwrap();
    for text in ["one", "two", "three"] {
        ada.say(text).await;
    }
    let receive = async || {
        let received = sqs.receive_message().queue_url(&queue).visibility_timeout(0).max_number_of_messages(10);
        received.send().await.unwrap().messages.unwrap_or_default().len()
    };
    eventually("all three wait", async || receive().await == 3).await;
    eventually("nobody is given them any more", async || receive().await == 0).await;

    bench.up("--delivery queue").await;
    let status = bench.run("status --delivery queue").await.expect(0);
    assert!(status.stdout.contains("\n3 messages could not be delivered\n"), "{}", status.stdout);
    let redriven = bench.run("redrive -o json").await.expect(0);
    let redriven: Value = serde_json::from_str(&redriven.stdout).unwrap();
    assert_eq!((&redriven["moved"], &redriven["left"]), (&3.into(), &0.into()));
    ada.say("last").await;
    assert_eq!(ada.hear_until("last").await, ["one", "two", "three", "last"]);
    bench.run("down").await.expect(0);
}

#[tokio::test]
async fn up_again_makes_no_write_and_few_calls() {
    let bench = Bench::new().await;
    let proxy = Proxy::start(bench.ministack.url(), Duration::from_millis(50)).await;
    let through =
        |line: &str| chatctl(PROGRAM).args(line.split_whitespace()).credentials(&proxy.url, &bench.id, "local");
    let first = through("up").run().await.expect(0);
    let fresh = proxy.take();
    assert!(fresh.iter().any(support::Call::is_write));
    assert!(fresh.len() <= 75, "a fresh `up` took {} calls", fresh.len());

    let second = through("up").run().await.expect(0);
    let again = proxy.take();
    assert_eq!(second.stdout, first.stdout);
    let writes: Vec<String> = again.iter().filter(|call| call.is_write()).map(support::Call::name).collect();
    assert_eq!(writes, Vec::<String>::new());
    assert!(again.len() <= 31, "an `up` that changes nothing took {} calls", again.len());

    through("status").run().await.expect(0);
    through("plan --exit-code").run().await.expect(0);
    assert!(!proxy.take().iter().any(support::Call::is_write), "status and plan only read");
}

#[tokio::test]
async fn down_of_one_of_three_leaves_the_others_chatting() {
    let bench = Bench::new().await;
    let urls = [bench.up("--name one").await, bench.up("--name two").await, bench.up("--name one-two").await];
    let mut ada = Client::connect(&urls[1]).await;
    let mut bob = Client::connect(&urls[2]).await;
    bench.run("down --name one").await.expect(0);

    let mut left = [one_deployment("two"), one_deployment("one-two")].concat();
    left.sort();
    assert_eq!(bench.account.contents().await, left);
    ada.say("two").await;
    assert_eq!(ada.hear().await, "two");
    bob.say("three").await;
    assert_eq!(bob.hear().await, "three");
    bench.run("status --name two").await.expect(0);
}

#[tokio::test]
async fn up_deploys_again_iff_routes_or_integrations_changed() {
    let bench = Bench::new().await;
    bench.up("").await;
    let deployment = || async {
        let api = bench.account.apigateway.get_apis().send().await.expect("listed").items()[0]
            .api_id()
            .expect("an id")
            .to_owned();
        let stages = bench.account.apigateway.get_stages().api_id(&api).send().await.expect("listed");
        (api, stages.items()[0].deployment_id().expect("a deployment").to_owned())
    };
    let (api, first) = deployment().await;
    bench.up("--function-timeout 20 --tag team=blue").await;
    let shown = "--api-name Ours --description temporary";
    bench.up(&format!("--function-timeout 20 --tag team=blue {shown}")).await;
    let named = bench.account.apigateway.get_api().api_id(&api).send().await.expect("it exists");
    assert_eq!((named.name(), named.description()), (Some("Ours"), Some("temporary")));
    bench.up("--function-timeout 20 --tag team=blue").await;
    let named = bench.account.apigateway.get_api().api_id(&api).send().await.expect("it exists");
    assert_eq!((named.name(), named.description().unwrap_or_default()), (Some("chat"), ""));
    assert_eq!(deployment().await.1, first, "functions, tags and names need no new deployment");

    let routes = bench.account.apigateway.get_routes().api_id(&api).send().await.expect("listed");
    let route = routes.items().iter().find(|route| route.route_key() == Some("sendmessage")).expect("it exists");
    let update = bench.account.apigateway.update_route().api_id(&api).route_id(route.route_id().expect("an id"));
    update.target("integrations/elsewhere").send().await.expect("updated");
    bench.run("status --function-timeout 20 --tag team=blue").await.expect(3);
    bench.up("--function-timeout 20 --tag team=blue").await;
    let (_, second) = deployment().await;
    assert_ne!(second, first, "a repaired route is deployed");
    let deployments = bench.account.apigateway.get_deployments().api_id(&api).send().await.expect("listed");
    assert_eq!(deployments.items().len(), 1, "the old deployment is pruned");
}

#[tokio::test]
async fn drift_is_shown_planned_and_repaired() {
    let bench = Bench::new().await;
    bench.up("").await;
    let account = &bench.account;
    let api =
        account.apigateway.get_apis().send().await.expect("listed").items()[0].api_id().expect("an id").to_owned();
    let role = "chat-us-east-1-sendMessage";
    account
        .lambda
        .remove_permission()
        .function_name("chat-onConnect")
        .statement_id("chatctl")
        .send()
        .await
        .expect("removed");
    account.apigateway.create_route().api_id(&api).route_key("stray").send().await.expect("created");
    account
        .iam
        .put_role_policy()
        .role_name(role)
        .policy_name("stray")
        .policy_document(ALLOW_ALL)
        .send()
        .await
        .expect("put");
    let environment = aws_sdk_lambda::types::Environment::builder().variables("TABLE_NAME", "elsewhere").build();
    let update = account.lambda.update_function_configuration().function_name("chat-sendMessage");
    update.environment(environment).send().await.expect("updated");
    account
        .logs
        .put_retention_policy()
        .log_group_name("/aws/lambda/chat-onConnect")
        .retention_in_days(3)
        .send()
        .await
        .expect("put");

    let status = bench.run("status -o json").await.expect(3);
    let status: Value = serde_json::from_str(&status.stdout).expect("one JSON document");
    assert_eq!(status["state"], "drifted");
    let wrong: Vec<String> = status["resources"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|resource| resource["state"] != "ready")
        .map(|resource| format!("{} {} {}", resource["state"], resource["kind"], resource["name"]).replace('"', ""))
        .collect();
    assert_eq!(
        wrong,
        [
            "differs log-group /aws/lambda/chat-onConnect",
            "differs function chat-sendMessage",
            "missing permission chat-onConnect",
            "stray role-policy chat-us-east-1-sendMessage/stray",
            "stray route stray",
        ]
    );
    let plan = bench.run("plan --exit-code").await.expect(3).stdout;
    assert!(plan.contains("environment.TABLE_NAME: elsewhere → chat-connections"), "{plan}");
    assert!(plan.contains("retentionDays: 3 → 14"), "{plan}");
    bench.up("").await;
    bench.run("status").await.expect(0);
    assert_eq!(account.contents().await, one_deployment("chat"));
}

const ALLOW_ALL: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;

#[tokio::test]
async fn a_foreign_look_alike_is_refused_by_every_verb_and_not_touched() {
    let bench = Bench::new().await;
    bench.account.logs.create_log_group().log_group_name("/aws/lambda/chat-onConnect").send().await.expect("created");
    for verb in ["up", "down", "plan", "status"] {
        let refused = bench.run(verb).await.expect(1);
        assert!(refused.stderr.contains("/aws/lambda/chat-onConnect"), "{}", refused.stderr);
        assert_eq!(refused.stdout, "");
    }
    assert_eq!(bench.account.contents().await, ["log-group /aws/lambda/chat-onConnect"]);
}

/// Eight processes on an empty account: exactly one deployment, and whoever exits 0 printed the survivor's URL.
#[tokio::test]
async fn eight_ups_at_once_make_one_deployment() {
    let bench = Bench::new().await;
    let mut runs = Vec::new();
    for _ in 0..8 {
        runs.push(bench.command("up").start().await);
    }
    let mut urls = Vec::new();
    for run in runs {
        let ended = run.finish().await;
        match ended.code {
            Some(0) => urls.push(ended.stdout),
            code => assert!(code == Some(1) && ended.stderr.contains("error: "), "{code:?}\n{}", ended.stderr),
        }
    }
    assert_eq!(bench.account.contents().await, one_deployment("chat"));
    let survivor = bench.run("up").await.expect(0).stdout;
    assert!(!urls.is_empty());
    assert!(urls.iter().all(|url| *url == survivor), "{urls:?}, but the survivor is {survivor}");
    bench.run("down").await.expect(0);
    assert_eq!(bench.account.contents().await, Vec::<String>::new());
}

#[tokio::test]
async fn after_up_against_down_the_next_run_converges() {
    let bench = Bench::new().await;
    for next in ["up", "down"] {
        bench.up("").await;
        let (up, down) = (bench.command("up --tag race=1").start().await, bench.command("down").start().await);
        let (up, down) = (up.finish().await, down.finish().await);
        for ended in [&up, &down] {
            assert!(matches!(ended.code, Some(0 | 1)), "{ended:?}");
        }
        bench.run(next).await.expect(0);
        let expected = if next == "up" { one_deployment("chat") } else { vec![] };
        assert_eq!(bench.account.contents().await, expected);
    }
}

/// A real SIGKILL at a sample of calls, counted on the wire: the next run converges.
#[tokio::test]
async fn a_killed_up_is_continued_and_a_killed_down_too() {
    let bench = Bench::new().await;
    let proxy = Proxy::start(bench.ministack.url(), Duration::from_millis(5)).await;
    for calls in [3, 12, 17, 24, 31, 38, 45] {
        for verb in ["up", "down"] {
            proxy.take();
            let run = chatctl(PROGRAM).args([verb]).credentials(&proxy.url, &bench.id, "local").start().await;
            let enough = async {
                while proxy.calls().len() < calls {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            // A run that makes fewer calls ends by itself.
            if tokio::time::timeout(Duration::from_secs(2), enough).await.is_ok() {
                run.signal(Signal::SIGKILL);
            }
            run.finish().await;
            bench.run(verb).await.expect(0);
            let expected = if verb == "up" { one_deployment("chat") } else { vec![] };
            assert_eq!(bench.account.contents().await, expected, "{verb} killed after {calls} calls");
        }
    }
}

#[tokio::test]
async fn an_interrupt_ends_the_run_soon_and_names_what_exists() {
    let bench = Bench::new().await;
    let proxy = Proxy::start(bench.ministack.url(), Duration::from_millis(200)).await;
    let run = chatctl(PROGRAM).args(["up"]).credentials(&proxy.url, &bench.id, "local").start().await;
    eventually("writes have begun", || async { proxy.calls().iter().any(support::Call::is_write) }).await;
    let raised = std::time::Instant::now();
    run.signal(Signal::SIGINT);
    let ended = run.finish().await.expect(130);
    assert!(raised.elapsed() < Duration::from_secs(5), "it took {:?}", raised.elapsed());
    assert!(ended.stderr.contains("exists now: "), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
    bench.run("up").await.expect(0);
    assert_eq!(bench.account.contents().await, one_deployment("chat"));
}

/// While clients chat, new handler code and a changed setting drop no connection and lose no message.
#[tokio::test]
async fn an_update_loses_no_message_and_no_connection() {
    let bench = Bench::new().await;
    let url = bench.up("").await;
    let (mut ada, mut bob) = (Client::connect(&url).await, Client::connect(&url).await);
    ada.say("first").await;
    assert_eq!(bob.hear().await, "first");
    let run = bench.command("up --function-timeout 20 --tag changed=yes").start().await;
    let update = tokio::spawn(run.finish());
    let mut said = vec![];
    while !update.is_finished() {
        let text = format!("message {}", said.len());
        ada.say(&text).await;
        said.push(text);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    update.await.expect("no panic").expect(0);
    ada.say("last").await;
    said.push("last".to_owned());
    let mut heard = bob.hear_until("last").await;
    heard.sort();
    said.sort();
    assert_eq!(heard, said);
}

#[tokio::test]
async fn garbage_neither_crashes_a_handler_nor_blocks_the_next_message() {
    let bench = Bench::new().await;
    let url = bench.up("").await;
    let mut ada = Client::connect(&url).await;
    let deep = format!(r#"{{"action":"sendmessage","data":{}1{}}}"#, "[".repeat(400), "]".repeat(400));
    let large = format!(r#"{{"action":"sendmessage","data":"{}"}}"#, "x".repeat(30_000));
    let frames = [
        "no JSON",
        r#"{"action":"sendmessage","data":"\ud800"}"#,
        r#"{"action":"sendmessage","data":{"a":[1,null,"🦀"]}}"#,
        r#"{"action":"sendmessage"}"#,
        r#"{"action":"sendmessage","data":null}"#,
        &deep,
        &large,
    ];
    for (count, frame) in frames.iter().enumerate() {
        ada.send(frame).await;
        let marker = format!("still here after {count}");
        ada.say(&marker).await;
        ada.hear_until(&marker).await;
    }
}

/// Faults in AWS's own formats, made by a proxy between the real binary and the local AWS.
#[tokio::test]
async fn faults_on_the_way_are_ridden_out() {
    let bench = Bench::new().await;
    let rules = "[
        {service: iam, operation: CreateRole, times: 1, error: {code: ServiceFailure, status: 500}},
        {service: iam, operation: PutRolePolicy, times: 1, error: {code: Throttling, status: 400}},
        {service: dynamodb, operation: CreateTable, times: 1, error: {code: ThrottlingException, status: 400}},
        {service: lambda, operation: CreateFunction, times: 2, error: {code: TooManyRequestsException, status: 429}}
    ]";
    let faulty = support::microburst(bench.ministack.url(), rules).await;
    let through = Proxy::start(&faulty.url, Duration::ZERO).await;
    for verb in ["up", "down"] {
        chatctl(PROGRAM).args([verb]).credentials(&through.url, &bench.id, "local").run().await.expect(0);
        let expected = if verb == "up" { one_deployment("chat") } else { vec![] };
        assert_eq!(bench.account.contents().await, expected);
    }
    let refused = through.calls().iter().filter(|call| call.status.is_some_and(|status| status >= 400)).count();
    assert!(refused >= 5, "only {refused} faults");
}

/// moto knows no deployments of WebSocket APIs: `up` says so, and `down` removes what there is all the same. It does not
/// know GetAuthorizers either, and breaks off with a 500, which AWS's own services do at times: tried for 40 s, it would end
/// every run before that. So here it answers that there are none.
#[tokio::test]
async fn an_emulator_that_lacks_a_call_is_named_and_left_clean() {
    let moto = moto().await;
    let run = |verb: &str| chatctl(PROGRAM).args([verb]).credentials(&moto.url, "AKIDEXAMPLE", "secret").run();
    let up = run("up").await.expect(1);
    for said in ["apigateway:CreateDeployment", "does not know this call", "exists now: "] {
        assert!(up.stderr.contains(said), "no `{said}` in {}", up.stderr);
    }
    run("down").await.expect(0);
    run("status").await.expect(4);
}

/// Another model of AWS, by other authors. It knows no UpdateStage, no change of a function's architecture and no tags of a
/// stage, so that no setting here takes any of these.
#[tokio::test]
async fn a_deployment_lives_on_moto_too() {
    const SETTINGS: &str = "--memory 512 --log-retention-days 30 --ttl 1h --reserved-concurrency 5 --delivery queue \
        --api-name Chat --description tried --role-path /own/";
    let moto = moto_with_deployments().await;
    let run = |line: &str| {
        let args = line.split_whitespace().map(str::to_owned);
        chatctl(PROGRAM).args(args).credentials(&moto.url, "AKIDEXAMPLE", "secret").run()
    };
    for settings in ["", SETTINGS, ""] {
        run(&format!("up {settings}")).await.expect(0);
        run(&format!("status {settings}")).await.expect(0);
        // It would end with 3 if there were a change.
        run(&format!("plan --exit-code {settings}")).await.expect(0);
    }
    run("down").await.expect(0);
    run("status").await.expect(4);
}

#[tokio::test]
async fn handlers_that_are_gone_keep_nobody_from_down() {
    let bench = Bench::new().await;
    bench.up("").await;
    bench.run("status --handlers nowhere").await.expect(2);
    bench.run("down --handlers nowhere").await.expect(0);
    assert_eq!(bench.account.contents().await, Vec::<String>::new());
}

/// A handler of one's own for the route `join`: remembers the room in the table, and tells its sender who is there.
fn join_handler(greeting: &str) -> String {
    format!(
        "import {{ connectionsEndpoint, dynamodb, payload, postToConnection }} from './aws.mjs';

export async function handler({{ requestContext, body }}) {{
  const {{ connectionId }} = requestContext;
  const values = {{ ':room': {{ S: JSON.parse(body).room }} }};
  await dynamodb('UpdateItem', {{
    TableName: process.env.TABLE_NAME,
    Key: {{ connectionId: {{ S: connectionId }} }},
    UpdateExpression: 'SET room = :room',
    ExpressionAttributeValues: values,
  }});
  const {{ Items }} = await dynamodb('Query', {{
    TableName: process.env.TABLE_NAME,
    IndexName: 'room',
    KeyConditionExpression: 'room = :room',
    ExpressionAttributeValues: values,
  }});
  const text = `{greeting}, ${{Items.length}} of ${{process.env.ROOM_SIZE}}`;
  await postToConnection(connectionsEndpoint(requestContext), connectionId, payload(text)).answer;
  return {{ statusCode: 200 }};
}}
"
    )
}

const JOIN: &str = r#"handlers = "lambda/"
table-indexes = ["room"]

[routes.join]
table = "read-write"
posts = true
environment = { ROOM_SIZE = "50" }
"#;

#[tokio::test]
async fn a_route_of_ones_own_comes_changes_and_goes_while_others_chat() {
    let (bench, folder) = (Bench::new().await, Folder::new());
    let run = async |line: &str| bench.command(line).cwd(&folder.0).run().await.expect(0).stdout;
    run("init").await;
    let write = |name: &str, text: &str| std::fs::write(folder.0.join(name), text).expect("written");
    write("lambda/join.mjs", &join_handler("welcome"));
    write("chatctl.toml", "handlers = \"lambda/\"\n");
    let url = run("up").await.trim_end().to_owned();
    let (mut ada, mut bob) = (Client::connect(&url).await, Client::connect(&url).await);

    // Everything that ada says while the app changes is heard by bob, in its place.
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let chatting = tokio::spawn(async move {
        let mut said = 0;
        while stopped.try_recv().is_err() {
            ada.say(&format!("message {said}")).await;
            assert_eq!(ada.hear().await, format!("message {said}"));
            assert_eq!(bob.hear().await, format!("message {said}"));
            said += 1;
        }
        said
    });

    write("chatctl.toml", JOIN);
    assert_eq!(run("up").await.trim_end(), url);
    let mut carl = Client::connect(&url).await;
    let answer = async |carl: &mut Client, start: &str| loop {
        let heard = carl.hear().await;
        if heard.starts_with(start) {
            return heard;
        }
    };
    carl.send(r#"{"action":"join","room":"kitchen"}"#).await;
    assert_eq!(answer(&mut carl, "welcome").await, "welcome, 1 of 50");
    write("lambda/join.mjs", &join_handler("hello"));
    run("up").await;
    carl.send(r#"{"action":"join","room":"kitchen"}"#).await;
    assert_eq!(answer(&mut carl, "hello").await, "hello, 1 of 50");
    let returning =
        join_handler("hi").replace("return { statusCode: 200 }", "return { statusCode: 200, body: 'done' }");
    write("lambda/join.mjs", &returning);
    write("chatctl.toml", &format!("{}reply = true\n\n[routes.leave]\nhandler = \"join\"\n", JOIN.replace("50", "60")));
    run("up").await;
    carl.send(r#"{"action":"join","room":"kitchen"}"#).await;
    assert_eq!(answer(&mut carl, "hi").await, "hi, 1 of 60");
    assert_eq!(answer(&mut carl, "done").await, "done");
    carl.leave().await;

    write("chatctl.toml", "handlers = \"lambda/\"\n");
    run("up").await;
    stop.send(()).expect("they chat still");
    let said = chatting.await.expect("nothing was lost");
    assert!(said > 5, "only {said} messages");
    assert_eq!(bench.account.contents().await, one_deployment("chat"));
}

/// The status of a handshake, without a connection that comes of it; by hand, because clients want what they offer named.
async fn status(url: &str, headers: &str) -> String {
    let (host, path) = url.trim_start_matches("ws://").split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let request = format!(
        "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{key}\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).rsplit(' ').next().unwrap().to_owned()
}

/// What the row of every connection says of who it is.
async fn principals(bench: &Bench) -> Vec<String> {
    let items = aws_sdk_dynamodb::Client::new(&bench.ministack.sdk_config(&bench.id));
    let items = items.scan().table_name("chat-connections").send().await.unwrap().items.unwrap_or_default();
    let names = items.iter().map(|row| row.get("principal").and_then(|name| name.as_s().ok()).cloned());
    names.map(|name| name.unwrap_or_default()).collect()
}

#[tokio::test]
async fn only_who_has_a_token_of_the_issuer_gets_in_and_the_row_says_who_it_is() {
    let (bench, mut issuer) = (Bench::new().await, Issuer::start().await);
    let open = bench.up("").await;
    let mut before = Client::connect(&open).await;
    let jwt = format!("--authorizer jwt --jwt-audience chat --jwt-issuer {}", issuer.url);
    let url = bench.up(&jwt).await;
    bench.run(&format!("status {jwt}")).await.expect(0);
    bench.run(&format!("plan --exit-code {jwt}")).await.expect(0);
    let added: Vec<String> =
        bench.account.contents().await.into_iter().filter(|thing| !one_deployment("chat").contains(thing)).collect();
    let ours = ["function chat-authorizer", "log-group /aws/lambda/chat-authorizer", "permission chat-authorizer"];
    assert_eq!(added, [&ours[..], &["role chat-us-east-1-authorizer"]].concat());

    let good = issuer.token("one", json!({})).await;
    let mut alice = Client::connect(&format!("{url}?token={good}")).await;
    alice.say("hello").await;
    // Who was there before the authorizer still is.
    assert_eq!((alice.hear().await, before.hear().await), ("hello".to_owned(), "hello".to_owned()));
    let mut names = principals(&bench).await;
    names.sort();
    assert_eq!(names, ["", "alice"]);

    for (claims, key) in [
        (json!({ "exp": 1 }), "one"),
        (json!({ "aud": "other" }), "one"),
        (json!({ "iss": "https://issuer.example" }), "one"),
        (json!({}), "two"),
    ] {
        let token = issuer.token(key, claims.clone()).await;
        assert_eq!(status(&format!("{url}?token={token}"), "").await, "403", "{claims} {key}");
    }
    for query in ["", "?token=", "?token2=x", "?Token=x"] {
        assert_eq!(status(&format!("{url}{query}"), "").await, "401", "{query}");
    }
    for wrong in [&good[1..], "x", "a.b.c"] {
        assert_eq!(status(&format!("{url}?token={wrong}"), "").await, "403", "{wrong}");
    }
    assert_eq!(status(&format!("{url}?token={good}&token={good}"), "").await, "403");
    assert_eq!(principals(&bench).await.len(), 2, "who was refused has met no handler");

    // By a token of whom `verify` is.
    let folder = Folder::new();
    std::fs::write(folder.0.join("token"), issuer.token("one", json!({ "sub": "verifier" })).await).unwrap();
    bench.command(&format!("verify {jwt} --token @token")).cwd(&folder.0).run().await.expect(0);
    std::fs::write(folder.0.join("expired"), issuer.token("one", json!({ "exp": 1 })).await).unwrap();
    let refused = bench.command(&format!("verify {jwt} --token @expired")).cwd(&folder.0).run().await.expect(5);
    let says = refused.stderr.contains("HTTP 403") && refused.stderr.contains("because of its token: it has expired\n");
    assert!(says && !refused.stderr.contains("tries"), "{}", refused.stderr);
    let told = bench.run(&format!("logs --function authorizer {jwt}")).await.expect(0).stdout;
    assert!(told.contains("a token was refused") && told.contains("it has expired"), "{told}");
    assert!(!told.contains("alice") && !told.contains(&good[20..60]), "{told}");

    bench.up("").await;
    alice.say("still here").await;
    alice.hear_until("still here").await;
    before.hear_until("still here").await;
    Client::connect(&url).await;
    assert_eq!(bench.account.contents().await, one_deployment("chat"));
    bench.up(&jwt).await;
    bench.run("down").await.expect(0);
    assert_eq!(bench.account.contents().await, Vec::<String>::new());
}

/// The local AWS names no subprotocol in return, so that the handshake is done by hand.
#[tokio::test]
async fn a_token_may_be_in_a_header_or_offered_as_a_subprotocol() {
    let (bench, mut issuer) = (Bench::new().await, Issuer::start().await);
    let jwt = format!("--authorizer jwt --jwt-audience chat --jwt-issuer {}", issuer.url);
    let (good, bad) = (issuer.token("one", json!({})).await, issuer.token("one", json!({ "exp": 1 })).await);
    let url = bench.up(&format!("{jwt} --jwt-token header:Authorization")).await;
    let mut code = Vec::new();
    for header in [
        format!("Authorization: Bearer {good}\r\n"),
        format!("authorization: Bearer {good}\r\n"),
        format!("Authorization: Bearer {bad}\r\n"),
        String::new(),
    ] {
        code.push(status(&url, &header).await);
    }
    code.push(status(&format!("{url}?token={good}"), "").await);
    assert_eq!(code, ["101", "101", "403", "403", "403"]);

    let url = bench.up(&format!("{jwt} --jwt-token protocol")).await;
    let mut code = Vec::new();
    for offers in [format!("chat, bearer.{good}"), format!("bearer.{bad}"), "chat".to_owned(), String::new()] {
        let header = if offers.is_empty() { offers } else { format!("Sec-WebSocket-Protocol: {offers}\r\n") };
        code.push(status(&url, &header).await);
    }
    assert_eq!(code, ["101", "403", "403", "401"]);
}
