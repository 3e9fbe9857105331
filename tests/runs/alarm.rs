//! The alarm on what goes wrong in sending: there with its setting alone, found again without it, and asked for by no run of a
//! deployment that has none.

use std::collections::BTreeMap;

use chatctl::error::Exit;
use serde_json::{Value, json};
use support::{ACCOUNT, Process, REGION, assert_nothing_left, assert_whole, run};
use world::{Alarm, Caller, Service, Switches, World};

const TOPIC: &str = "arn:aws:sns:eu-central-1:111122223333:oncall";
const UP: &str = "up --alarm-topic arn:aws:sns:eu-central-1:111122223333:oncall";
const STATUS: &str = "status --alarm-topic arn:aws:sns:eu-central-1:111122223333:oncall";

fn world() -> World {
    World::new(Switches::default())
}

/// As it was written last.
fn alarm(world: &World) -> Option<Alarm> {
    world.edit(|state| state.region(ACCOUNT, REGION).alarms.values().next().cloned())
}

fn edit(world: &World, edit: impl FnOnce(&mut Alarm)) {
    world.edit(|state| edit(state.region(ACCOUNT, REGION).alarms.values_mut().next().expect("there is one")));
}

/// The log groups that tell of an alarm.
fn marked(world: &World) -> Vec<String> {
    world.edit(|state| {
        let groups = state.region(ACCOUNT, REGION).log_groups.values();
        groups.filter(|group| group.tags.contains_key("chatctl:alarm")).map(|group| group.name.clone()).collect()
    })
}

fn writes(world: &World) -> Vec<&'static str> {
    world.effects().iter().map(|call| call.operation).collect()
}

/// The counts by their ids, and the id of what is returned with how it is made of them.
fn watched(alarm: &Alarm) -> (BTreeMap<String, String>, String) {
    let (mut counts, mut sum) = (BTreeMap::new(), String::new());
    for query in alarm.settings["Metrics"].as_array().expect("a list") {
        let Some(stat) = query.get("MetricStat") else {
            assert_eq!(query["ReturnData"], true);
            query["Expression"].as_str().expect("an expression").clone_into(&mut sum);
            continue;
        };
        assert_eq!((&query["ReturnData"], &stat["Period"], &stat["Stat"]), (&json!(false), &json!(60), &json!("Sum")));
        let Metric { namespace, name, function } = Metric::read(&stat["Metric"]);
        counts.insert(query["Id"].as_str().expect("an id").to_owned(), format!("{namespace} {name} {function}"));
    }
    (counts, sum)
}

struct Metric {
    namespace: String,
    name: String,
    function: String,
}

impl Metric {
    fn read(metric: &Value) -> Self {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let [dimension] = metric["Dimensions"].as_array().expect("a list").as_slice() else { panic!("{metric}") };
        assert_eq!(dimension["Name"], "FunctionName");
        Self {
            namespace: text(&metric["Namespace"]),
            name: text(&metric["MetricName"]),
            function: text(&dimension["Value"]),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_topic_nothing_of_cloudwatch_is_asked() {
    let world = world();
    for line in ["up", "up", "status", "plan", "list", "down"] {
        run(&world, line).await.expect(Exit::Done);
    }
    assert!(world.calls().iter().all(|call| call.service != Service::CloudWatch));
}

/// By the names under which Lambda and the handlers (`lambda/log.mjs`) count.
#[tokio::test(start_paused = true)]
async fn it_watches_who_brings_a_message_to_everybody_and_tells_one_topic() {
    let world = world();
    run(&world, UP).await.expect(Exit::Done);
    assert_whole(&world, "chat");
    let direct = alarm(&world).expect("it was made");
    let counts = [
        ("errors_sendMessage", "AWS/Lambda Errors chat-sendMessage"),
        ("failed_sendMessage", "chatctl failed chat-sendMessage"),
        ("left_sendMessage", "chatctl left chat-sendMessage"),
    ];
    let expected = BTreeMap::from(counts.map(|(id, count)| (id.to_owned(), count.to_owned())));
    let sum = "FILL(errors_sendMessage, 0) + FILL(failed_sendMessage, 0) + FILL(left_sendMessage, 0)";
    assert_eq!(watched(&direct), (expected, sum.to_owned()));
    let rest = [
        ("ActionsEnabled", json!(true)),
        ("AlarmActions", json!([TOPIC])),
        ("ComparisonOperator", json!("GreaterThanThreshold")),
        ("DatapointsToAlarm", json!(1)),
        ("EvaluationPeriods", json!(5)),
        ("Threshold", json!(0.0)),
        ("TreatMissingData", json!("notBreaching")),
    ];
    for (member, value) in rest {
        assert_eq!(direct.settings[member], value, "{member}");
    }
    let others = ["OKActions", "InsufficientDataActions"].map(|member| direct.settings.get(member).cloned());
    assert!(others.into_iter().flatten().all(|actions| actions == json!([])));
    assert_eq!(direct.arn, format!("arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:chat-delivery"));

    run(&world, &format!("{UP} --delivery queue")).await.expect(Exit::Done);
    let queue = alarm(&world).expect("it is there");
    let counts = [
        ("errors_broadcast", "AWS/Lambda Errors chat-broadcast"),
        ("errors_sendMessage", "AWS/Lambda Errors chat-sendMessage"),
        ("failed_broadcast", "chatctl failed chat-broadcast"),
    ];
    let expected = BTreeMap::from(counts.map(|(id, count)| (id.to_owned(), count.to_owned())));
    assert_eq!(watched(&queue).0, expected);
    for handlers in ["sendMessage.mjs", "broadcast.mjs"] {
        let code =
            chatctl::handlers::embedded().into_iter().find(|(name, _)| name == handlers).expect("it is built in").1;
        let code = String::from_utf8(code).expect("text");
        let counts = code.split("count({ ").nth(1).and_then(|rest| rest.split(" }").next()).expect("it counts");
        let counted: Vec<&str> = counts.split(", ").collect();
        assert!(counted.contains(&"failed"), "{counted:?}");
        assert_eq!(counted.contains(&"left"), handlers == "sendMessage.mjs", "{counted:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_comes_and_goes_with_its_setting_and_its_mark_is_there_before_and_after_it() {
    let world = world();
    run(&world, "up").await.expect(Exit::Done);
    world.clear_calls();
    run(&world, UP).await.expect(Exit::Done);
    assert_eq!(writes(&world), ["TagResource", "PutMetricAlarm"]);
    assert_eq!(marked(&world), ["/aws/lambda/chat-sendMessage"]);
    run(&world, STATUS).await.expect(Exit::Done);
    world.clear_calls();
    run(&world, UP).await.expect(Exit::Done);
    assert_eq!(writes(&world), Vec::<&str>::new());
    let asked = world.calls().iter().filter(|call| call.service == Service::CloudWatch).count();
    assert_eq!(asked, 2, "a run that changes nothing looks at it and at its tags");

    let plan = run(&world, "plan").await.expect(Exit::Done);
    assert!(plan.stdout.contains("alarm chat-delivery"), "{}", plan.stdout);
    world.clear_calls();
    let up = run(&world, "up").await.expect(Exit::Done);
    assert!(up.stderr.contains("warning: nobody is told when messages fail"), "{}", up.stderr);
    assert_eq!(writes(&world), ["DeleteAlarms", "UntagResource"]);
    assert_eq!((alarm(&world), marked(&world)), (None, vec![]));
    world.clear_calls();
    run(&world, "up").await.expect(Exit::Done);
    assert!(world.calls().iter().all(|call| call.service != Service::CloudWatch));

    run(&world, UP).await.expect(Exit::Done);
    // Flags are not remembered.
    run(&world, "down").await.expect(Exit::Done);
    assert_nothing_left(&world);
}

#[tokio::test(start_paused = true)]
async fn reap_and_list_know_it() {
    let world = world();
    run(&world, &format!("{UP} --ttl 1s --name pr-1")).await.expect(Exit::Done);
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    let listed = run(&world, "list").await.expect(Exit::Done);
    assert!(listed.stdout.contains("pr-1"), "{}", listed.stdout);
    run(&world, "reap --name pr").await.expect(Exit::Done);
    assert_nothing_left(&world);
}

/// Each by itself, and by one write.
#[tokio::test(start_paused = true)]
async fn each_property_is_repaired_alone() {
    type Edit = fn(&mut Alarm);
    let put: [(&str, Edit); 10] = [
        ("threshold", |alarm| alarm.settings["Threshold"] = json!(100.0)),
        ("alarmActions", |alarm| alarm.settings["AlarmActions"] = json!([])),
        ("alarmActions", |alarm| {
            alarm.settings["AlarmActions"] = json!([TOPIC, "arn:aws:sns:eu-central-1:111122223333:b"]);
        }),
        ("okActions", |alarm| drop(alarm.settings.insert("OKActions".to_owned(), json!([TOPIC])))),
        ("actionsEnabled", |alarm| alarm.settings["ActionsEnabled"] = json!(false)),
        ("description", |alarm| alarm.settings["AlarmDescription"] = json!("mine")),
        ("metrics.errors_sendMessage", |alarm| alarm.settings["Metrics"][0]["MetricStat"]["Stat"] = json!("Average")),
        ("metrics.troubles", |alarm| alarm.settings["Metrics"][3]["Expression"] = json!("FILL(left_sendMessage, 0)")),
        ("evaluationPeriods", |alarm| alarm.settings["EvaluationPeriods"] = json!(50)),
        ("missingData", |alarm| alarm.settings["TreatMissingData"] = json!("ignore")),
    ];
    let tags: [(&str, Edit, &str); 2] = [
        ("tags.stray", |alarm| drop(alarm.tags.insert("stray".to_owned(), "tag".to_owned())), "UntagResource"),
        ("tags.team", |alarm| drop(alarm.tags.remove("team")), "TagResource"),
    ];
    let (up, status) = (format!("{UP} --tag team=chat"), format!("{STATUS} --tag team=chat"));
    let world = world();
    run(&world, &up).await.expect(Exit::Done);
    for (field, tamper, repair) in put.map(|(field, edit)| (field, edit, "PutMetricAlarm")).into_iter().chain(tags) {
        edit(&world, tamper);
        let drifted = run(&world, &status).await.expect(Exit::Differs);
        assert!(drifted.stdout.contains(field), "{field}: {}", drifted.stdout);
        world.clear_calls();
        run(&world, &up).await.expect(Exit::Done);
        assert_eq!(writes(&world), [repair], "{field}");
        run(&world, &status).await.expect(Exit::Done);
    }
}

/// Without it nobody would find the alarm when it is wanted no more.
#[tokio::test(start_paused = true)]
async fn a_mark_that_somebody_took_off_is_put_back() {
    let world = world();
    run(&world, UP).await.expect(Exit::Done);
    world.edit(|state| {
        let groups = state.region(ACCOUNT, REGION).log_groups.values_mut();
        groups.for_each(|group| drop(group.tags.remove("chatctl:alarm")));
    });
    run(&world, STATUS).await.expect(Exit::Differs);
    run(&world, UP).await.expect(Exit::Done);
    assert_eq!(marked(&world), ["/aws/lambda/chat-sendMessage"]);
    run(&world, "up").await.expect(Exit::Done);
    assert_eq!((alarm(&world), marked(&world)), (None, vec![]));
}

/// An alarm that somebody makes while another run takes its mark away is not left without it.
#[tokio::test(start_paused = true)]
async fn who_takes_the_mark_away_looks_once_more() {
    let world = world();
    run(&world, UP).await.expect(Exit::Done);
    let made = alarm(&world).expect("it was made");
    world.edit(|state| state.region(ACCOUNT, REGION).alarms.clear());
    let (racing, looks) = (world.clone(), std::sync::atomic::AtomicUsize::new(0));
    world.set_interceptor(move |call| {
        // After the first look at it.
        if call.operation == "DescribeAlarms" && looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 1 {
            let made = made.clone();
            racing.edit(|state| state.region(ACCOUNT, REGION).alarms.insert(made.name.clone(), made));
        }
        world::Verdict::Pass
    });
    run(&world, "up").await.expect(Exit::Done);
    world.clear_interceptor();
    assert_eq!((alarm(&world), marked(&world)), (None, vec![]));
}

/// Refused before the first call; only the account may be another one's.
#[tokio::test(start_paused = true)]
async fn a_topic_that_no_alarm_can_tell_is_refused() {
    let world = world();
    for (topic, rule) in [
        ("arn:aws:sns:eu-central-1:111122223333:oncall.fifo", "FIFO"),
        ("arn:aws:sns:eu-central-1:111122223333:oncall:0b8f0b5e-0000-4000-8000-000000000000", "name of a topic"),
        ("arn:aws:sqs:eu-central-1:111122223333:oncall", "an ARN such as"),
        ("oncall", "an ARN such as"),
        ("arn:aws:sns:us-east-1:111122223333:oncall", "eu-central-1"),
        ("arn:aws-cn:sns:eu-central-1:111122223333:oncall", "eu-central-1"),
    ] {
        for verb in ["up", "plan", "status"] {
            let refused = run(&world, &format!("{verb} --alarm-topic {topic}")).await.expect(Exit::Usage);
            assert!(refused.stderr.contains(rule), "{topic}: {}", refused.stderr);
        }
    }
    assert!(world.calls().is_empty());
    // Who removes needs none.
    run(&world, "down --alarm-topic arn:aws:sns:us-east-1:111122223333:oncall").await.expect(Exit::Done);
    run(&world, "up --alarm-topic arn:aws:sns:eu-central-1:999988887777:oncall").await.expect(Exit::Done);
    let china = "up --alarm-topic arn:aws-cn:sns:cn-north-1:111122223333:oncall";
    Process::new(&world, china).region("cn-north-1").run().await.expect(Exit::Done);
}

/// What the local AWS cannot show (`tests/policy.rs`): each action of the policy is needed, and on no more than our alarms.
#[tokio::test(start_paused = true)]
async fn each_action_on_alarms_is_needed() {
    let printed = async |flags: &str| {
        let line = format!("policy --account {ACCOUNT} --region {REGION} {flags}");
        run(&world(), &line).await.expect(Exit::Done).json()
    };
    let with = printed(&UP[3..]).await;
    let of = |policy: &Value| -> Vec<String> {
        let statements = policy["Statement"].as_array().expect("a list").iter();
        let on_alarms = statements.filter(|statement| statement["Resource"].to_string().contains(":cloudwatch:"));
        on_alarms
            .flat_map(|statement| {
                assert_eq!(statement["Resource"], format!("arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:chat-*"));
                statement["Action"].as_array().cloned().unwrap_or_else(|| vec![statement["Action"].clone()])
            })
            .map(|action| action.as_str().expect("a text").to_owned())
            .collect()
    };
    let tagged = format!("{UP} --tag team=chat");
    let needs: [(&str, &[&str], &str); 6] = [
        ("DescribeAlarms", &[UP], STATUS),
        ("ListTagsForResource", &[UP], STATUS),
        ("PutMetricAlarm", &[], UP),
        ("TagResource", &[], UP),
        ("UntagResource", &[&tagged], UP),
        ("DeleteAlarms", &[UP], "down"),
    ];
    let mut all = of(&with);
    all.sort();
    let mut shown: Vec<String> = needs.iter().map(|(action, ..)| format!("cloudwatch:{action}")).collect();
    shown.sort();
    assert_eq!(all, shown);
    for (action, before, line) in needs {
        let world = world();
        for line in before {
            run(&world, line).await.expect(Exit::Done);
        }
        let mut lacking = with.clone();
        for statement in lacking["Statement"].as_array_mut().expect("a list") {
            let actions = statement["Action"].as_array().cloned().unwrap_or_else(|| vec![statement["Action"].clone()]);
            let left = actions.into_iter().filter(|known| *known != format!("cloudwatch:{action}"));
            statement["Action"] = left.collect();
        }
        let by = Caller::with([lacking.to_string().as_str()], "aws");
        let denied = Process::new(&world, line).by(by).run().await.expect(Exit::Failed);
        assert!(
            denied.stderr.contains("AccessDenied") && denied.stderr.contains(&format!("cloudwatch:{action}")),
            "{}",
            denied.stderr
        );
    }
    let mut without = of(&printed("").await);
    without.sort();
    assert_eq!(
        without,
        ["DeleteAlarms", "DescribeAlarms", "ListTagsForResource"].map(|action| format!("cloudwatch:{action}"))
    );
}
