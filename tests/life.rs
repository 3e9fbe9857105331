//! The acceptance run, where it can be lived without a real AWS: on the model, and on a local AWS with real clients.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use acceptance::{Options, Place, Processes, Ran, Report, STACK, live};
use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_sdk_apigatewayv2::types::ProtocolType;
use chatctl::host::Interrupt;
use serde_json::{Value, json};
use support::{ACCOUNT, Account, Folder, Process, REGION, ministack};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use world::{Fault, Switches, Verdict, World};

/// The model, with `chatctl` in this process and under exactly the policy that it prints.
struct Model {
    world: World,
    sdk: SdkConfig,
    folder: Folder,
    interrupt: Interrupt,
    lacks: Option<&'static str>,
}

impl Model {
    fn of(world: &World) -> Self {
        Self {
            world: world.clone(),
            sdk: world.sdk_config(ACCOUNT, REGION),
            folder: Folder::new(),
            interrupt: Interrupt::default(),
            lacks: Some("the model has neither CloudFormation nor Access Analyzer"),
        }
    }
}

#[async_trait(?Send)]
impl Place for Model {
    async fn chatctl(&self, line: &str, limit: Option<Duration>) -> Ran {
        // On the heap: the whole program is one value, and the stack of a test is small.
        let run = Box::pin(Process::new(&self.world, line).run());
        let ended = match limit {
            Some(limit) => tokio::time::timeout(limit, run).await.ok(),
            None => Some(run.await),
        };
        let code = ended.as_ref().and_then(|ended| ended.exit).map(|exit| exit as u8);
        let (stdout, stderr) = ended.map(|ended| (ended.stdout, ended.stderr)).unwrap_or_default();
        Ran { code, stdout, stderr }
    }

    fn sdk(&self) -> &SdkConfig {
        &self.sdk
    }

    fn runs_as_printed(&self) -> bool {
        true
    }

    async fn run_as(&self, _credentials: Option<Credentials>) {}

    fn no_clients(&self) -> Option<&'static str> {
        Some("no client can connect to the model")
    }

    fn lacks(&self) -> Option<&'static str> {
        self.lacks
    }

    fn folder(&self) -> &Path {
        &self.folder.0
    }

    fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }
}

fn options(crowds: Vec<u32>, kills: &[u64]) -> Options {
    let kills = kills.iter().map(|after| Duration::from_millis(*after)).collect();
    Options { only: None, crowds, kills, idle: None, told: Box::new(|step| eprintln!("{step}")) }
}

/// Only the steps that have `name` in theirs. The interrupt comes as the step `until` begins.
fn only(name: &str, interrupt: &Interrupt, until: &'static str) -> Options {
    let interrupt = interrupt.clone();
    let told = move |step: &str| {
        if step == until {
            interrupt.raise();
        }
    };
    Options { only: Some(name.to_owned()), told: Box::new(told), ..options(vec![], &[]) }
}

fn ids_of(report: &Report, wanted: &str) -> Vec<String> {
    let facts = report.ledger.facts.iter().filter(|(_, _, verdict)| verdict.name() == wanted);
    facts.map(|(id, _, _)| id.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_life_on_the_model_goes_well_and_leaves_nothing() {
    let world = World::new(Switches::default());
    let model = Model::of(&world);
    let report = live(&model, &options(vec![], &[300, 2_000, 9_000])).await;
    assert!(report.is_well(), "{}", report.markdown());
    assert_eq!(world.everything(ACCOUNT), Vec::<String>::new());
    assert_eq!(report.ledger.untouched(), Vec::<String>::new());
    let told = ids_of(&report, "confirmed");
    assert_eq!(told, CONFIRMED_BY_THE_MODEL, "{}", report.markdown());
    assert!(!report.markdown().contains(ACCOUNT) && !report.json().to_string().contains(ACCOUNT));
}

/// What a life without clients can tell.
const CONFIRMED_BY_THE_MODEL: [&str; 45] = [
    "G3", "G4", "G5", "G6", "G7", "G9", "G10", "G11", "G12", "G14", "G15", "G17", "G22", "G25", "G26", "G29", "L1",
    "L3", "L4", "L5", "L6", "L9", "L11", "L12", "L13", "L18", "I1", "I2", "I3", "I5", "I9", "I10", "I11", "D3", "D6",
    "D8", "D10", "W1", "W3", "W6", "H9", "U1", "U4", "U5", "U6",
];

/// Whoever stops it, by Ctrl-C or otherwise, has nothing to remove.
#[tokio::test(start_paused = true)]
async fn a_life_that_is_interrupted_removes_everything_first() {
    let world = World::new(Switches::default());
    let model = Model::of(&world);
    let at = "what AWS refuses";
    let report = live(&model, &only("", &model.interrupt, at)).await;
    let steps: Vec<&str> = report.ledger.steps.iter().map(|step| step.name.as_str()).rev().take(2).collect();
    assert_eq!(steps, ["nothing stays", at]);
    assert!(world.effects().len() > 20, "it had made a deployment");
    assert_eq!(world.everything(ACCOUNT), Vec::<String>::new());
}

/// A local AWS, whose IAM knows no path and no name of what does not exist: so it enforces the actions alone.
struct Local {
    processes: Processes,
    folder: Folder,
}

#[async_trait(?Send)]
impl Place for Local {
    async fn chatctl(&self, line: &str, limit: Option<Duration>) -> Ran {
        self.processes.chatctl(line, limit).await
    }

    fn sdk(&self) -> &SdkConfig {
        self.processes.sdk()
    }

    fn policy(&self, printed: &str) -> String {
        // It asks for one action at that address, whether the reserve is set or taken away.
        let printed = printed.replace("DeleteFunctionConcurrency", "PutFunctionConcurrency");
        let mut policy: Value = serde_json::from_str(&printed).expect("a policy is JSON");
        for statement in policy["Statement"].as_array_mut().expect("it has statements") {
            *statement = json!({ "Effect": "Allow", "Action": statement["Action"], "Resource": "*" });
        }
        policy.to_string()
    }

    async fn run_as(&self, credentials: Option<Credentials>) {
        self.processes.run_as(credentials).await;
    }

    /// It gives an event source mapping no tags, so that nobody knows it as ours.
    fn settings_of_stack(&self, all: &str) -> String {
        all.replace("--delivery queue", "")
    }

    /// MiniStack's CloudFormation does not know all of API Gateway; what is left is live without the rest.
    fn template(&self, exported: &Value) -> Value {
        const UNKNOWN: [&str; 4] = ["Deployment", "IntegrationResponse", "Model", "RouteResponse"];
        let mut template = exported.clone();
        let resources = template["Resources"].as_object_mut().expect("a template has resources");
        let of_type = |resource: &Value, name: &str| resource["Type"] == format!("AWS::ApiGatewayV2::{name}");
        resources.retain(|_, resource| !UNKNOWN.iter().any(|name| of_type(resource, name)));
        resources["Stage"]["Properties"].as_object_mut().expect("a stage has properties").remove("DeploymentId");
        let left: BTreeSet<String> = resources.keys().cloned().collect();
        for resource in resources.values_mut() {
            resource["Properties"].as_object_mut().expect("it has properties").remove("RequestModels");
            if let Some(needs) = resource.get_mut("DependsOn").and_then(Value::as_array_mut) {
                needs.retain(|need| need.as_str().is_some_and(|need| left.contains(need)));
            }
        }
        template
    }

    fn forgives(&self, difference: &str) -> bool {
        OF_MINISTACK.contains(&difference)
    }

    fn folder(&self) -> &Path {
        &self.folder.0
    }

    fn interrupt(&self) -> &Interrupt {
        self.processes.interrupt()
    }
}

async fn local() -> (Local, Account) {
    let ministack = ministack().await;
    let account = ministack.account();
    let sdk = ministack.sdk_config(&account);
    let env = [
        ("PATH", std::env::var("PATH").unwrap_or_default()),
        ("AWS_ENDPOINT_URL", ministack.url().to_owned()),
        ("AWS_ACCESS_KEY_ID", account.clone()),
        ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
        ("AWS_REGION", chatctl::local::REGION.to_owned()),
    ];
    let env: BTreeMap<String, String> = env.map(|(name, value)| (name.to_owned(), value)).into();
    let program = env!("CARGO_BIN_EXE_chatctl").into();
    let folder = Folder::new();
    let processes = Processes::new(program, folder.0.clone(), env, sdk.clone(), Interrupt::default());
    (Local { processes, folder }, Account::new(&sdk))
}

/// How a stack of MiniStack's differs from what `up` makes, beside what it lacks: see `tests/export.rs`.
const OF_MINISTACK: [&str; 8] = [
    "update table acceptance-stack-connections: ttl",
    // Against an emulator `up` tells the functions where it is.
    "update function acceptance-stack-onConnect: environment.AWS_ENDPOINT_URL, environment.CHATCTL_CONNECTIONS_ENDPOINT",
    "update function acceptance-stack-onDisconnect: environment.AWS_ENDPOINT_URL, environment.CHATCTL_CONNECTIONS_ENDPOINT",
    "update function acceptance-stack-sendMessage: environment.AWS_ENDPOINT_URL, environment.CHATCTL_CONNECTIONS_ENDPOINT",
    // What was taken out.
    "update integration ping: answer",
    "update route ping: responds",
    "create deployment acceptance-stack: description",
    // It stores settings of routes as the template spells them, where its API reads none.
    "update stage on: deployment, routeThrottles.sendmessage, routeThrottles.shout, throttleBurst, throttleRate",
];

/// What clients tell beside.
const CONFIRMED_BY_A_LOCAL_AWS: [&str; 47] = [
    "G4", "G5", "G7", "G11", "G14", "G15", "G17", "G20", "G24", "G28", "G29", "G30", "L3", "L4", "L6", "L9", "L11",
    "L12", "L13", "I1", "I3", "I8", "I9", "I10", "I11", "I12", "D3", "D10", "Q5", "Q7", "S1", "H1", "H7", "H8", "H9",
    "H11", "H13", "H19", "H21", "F1", "F2", "F3", "P", "U1", "U4", "U5", "U6",
];

/// Where a local AWS is not AWS.
const REFUTED_BY_A_LOCAL_AWS: [&str; 21] = [
    "G3", "G6", "G8", "G9", "G10", "G12", "G18", "G21", "G22", "G23", "G25", "G26", "L18", "I2", "I5", "I6", "D8",
    "Q2", "Q3", "Q4", "H17",
];

/// Real processes, real clients, and an IAM that enforces.
#[tokio::test]
async fn a_life_on_the_local_aws_goes_well_and_leaves_nothing() {
    let (place, account) = local().await;
    let report = live(&place, &options(vec![50], &[150, 400])).await;
    let failed: Vec<_> = report.ledger.steps.iter().filter(|step| step.ended.is_err()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(ids_of(&report, "refuted"), REFUTED_BY_A_LOCAL_AWS, "{}", report.markdown());
    assert_eq!(account.contents().await, Vec::<String>::new());
    assert_eq!(ids_of(&report, "confirmed"), CONFIRMED_BY_A_LOCAL_AWS);
    assert_eq!(report.ledger.untouched(), Vec::<String>::new());
}

/// It stands where nobody but a run of this program removes it.
#[tokio::test]
async fn a_life_that_is_killed_beside_its_stack_is_removed_by_the_next() {
    let (place, account) = local().await;
    let lambda = account.lambda.clone();
    let stands = async {
        while lambda.get_function().function_name(format!("{STACK}-onConnect")).send().await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    // What is dropped does nothing more, and the processes that it has begun are killed.
    let whole = only("stack", place.interrupt(), "");
    tokio::select! {
        report = live(&place, &whole) => panic!("{}", report.markdown()),
        () = stands => {}
    }
    assert!(account.contents().await.len() > 30, "there is a deployment, and a stack");

    let second = "a role with exactly the printed policy";
    let report = live(&place, &only("stack", place.interrupt(), second)).await;
    let steps: Vec<&str> = report.ledger.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(steps, ["nothing is left of an earlier run", second, "nothing stays"]);
    assert!(report.is_well(), "{}", report.markdown());
    assert_eq!(account.contents().await, Vec::<String>::new());
}

/// An Access Analyzer that has something against each policy of an identity; there is no stack and no bucket here.
async fn critic() -> String {
    const FINDING: &str = r#"{"findings":[{"findingType":"ERROR","issueCode":"INVALID_ACTION","findingDetails":"There is no apigateway:TagResource."}]}"#;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there are free ports");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let mut client = BufReader::new(client);
            let (mut head, mut line) = (String::new(), String::new());
            while client.read_line(&mut line).await.expect("it can be read") > 2 {
                head += &std::mem::take(&mut line).to_lowercase();
            }
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or_default()];
            client.read_exact(&mut body).await.expect("it can be read");
            let is_of_identity = String::from_utf8_lossy(&body).contains("IDENTITY_POLICY");
            let (status, answer) = match (head.starts_with("post /policy/validation"), is_of_identity) {
                (true, true) => ("200 OK", FINDING),
                (true, false) => ("200 OK", r#"{"findings":[]}"#),
                (false, _) if head.starts_with("delete") => ("404 Not Found", "<Code>NoSuchBucket</Code>"),
                _ => ("400 Bad Request", "<Code>ValidationError</Code><Message>It does not exist</Message>"),
            };
            let answer =
                format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
            client.write_all(answer.as_bytes()).await.expect("it can be written");
        }
    });
    url
}

/// Whoever is told by Access Analyzer that a policy is wrong is told so by the report, and by the exit code.
#[tokio::test]
async fn what_access_analyzer_finds_refutes() {
    let world = World::new(support::brisk());
    let model = Model::of(&world);
    let sdk = model.sdk.to_builder().endpoint_url(critic().await).build();
    let model = Model { sdk, lacks: None, ..model };
    let report = live(&model, &only("Access Analyzer", &model.interrupt, "")).await;
    let failed: Vec<_> = report.ledger.steps.iter().filter(|step| step.ended.is_err()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(ids_of(&report, "refuted"), ["G16", "I14"], "{}", report.markdown());
    assert!(report.markdown().contains("INVALID_ACTION There is no apigateway:TagResource."), "{}", report.markdown());
    assert!(!report.is_well());
}

/// A deployment that cannot be removed keeps nothing else.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_removed_keeps_nothing_else_from_going() {
    let world = World::new(Switches::default());
    let model = Model::of(&world);
    let twin = aws_sdk_apigatewayv2::Client::new(&model.sdk).create_api().name(acceptance::TWIN);
    let twin = twin.protocol_type(ProtocolType::Websocket).route_selection_expression("$request.body.action");
    twin.send().await.unwrap();
    world.set_interceptor(|call| match call.operation {
        "ListTagsOfResource" | "DescribeTable" => {
            Verdict::FailBefore(Fault::status(400, "AccessDeniedException", "no"))
        }
        _ => Verdict::Pass,
    });
    model.interrupt.raise();
    let report = live(&model, &options(vec![], &[])).await;
    let [last] = report.ledger.steps.as_slice() else { panic!("{}", report.markdown()) };
    assert!(last.ended.as_ref().is_err_and(|why| why.contains("AccessDenied")), "{}", report.markdown());
    assert_eq!(world.everything(ACCOUNT), Vec::<String>::new());
}
