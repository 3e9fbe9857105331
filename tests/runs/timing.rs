//! How long AWS itself makes a run wait, and that a run adds next to nothing to it: on the model of AWS, whose paused
//! time makes every figure exact.

use std::time::Duration;

use chatctl::error::Exit;
use futures_util::future::join_all;
use support::{ACCOUNT, Process, REGION};
use tokio::time::Instant;
use world::{Call, Crowd, Moment, Rate, Service, Switches, Verdict, World};

/// The most that waiting for something may add to the time that it takes.
const SLACK: Duration = Duration::from_millis(500);

/// AWS on an ordinary day, with pages as long as AWS's own.
fn aws(seed: u64) -> Switches {
    Switches { seed, page_size: 100, ..Switches::default() }
}

/// Runs `chatctl LINE`, which must succeed, and returns how long it took.
async fn timed(world: &World, line: &str) -> Duration {
    let began = Instant::now();
    Process::new(world, line).label(line).run().await.expect(Exit::Done);
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn runs_take_what_aws_takes() {
    for seed in 0..10 {
        let switches = aws(seed);
        let world = World::new(switches.clone());
        let call = switches.latency;
        // Look for the table, ask who we are, make a role; half a call later it exists. The function that uses it is
        // made once it can be, is seen to be active half a call after it is, and its policy is read.
        let floor = call * 4 + switches.iam_propagation + switches.function_pending;
        let took = timed(&world, "up").await;
        assert!(took <= floor + SLACK, "seed {seed}: up took {took:?}, AWS needs {floor:?}");
        // Look at what stands, and then at what is within; nothing else.
        for line in ["up", "status"] {
            assert_eq!(timed(&world, line).await, call * 2, "seed {seed}: {line}");
        }
        // Two looks, the table is asked to go, is gone half a call after it is, and the proof.
        let floor = call * 4 + switches.table_deleting;
        let took = timed(&world, "down").await;
        assert!(took <= floor + SLACK, "seed {seed}: down took {took:?}, AWS needs {floor:?}");
    }
}

/// For each `made` in the log, how long after `ready` the call `asked` came that could find it ready.
fn lateness(world: &World, calls: &[Call], made: &str, ready: Duration, asked: &str) -> Vec<Duration> {
    let half = aws(0).latency / 2;
    // What a role and its function have in common.
    let subject = |call: &Call| call.resource.rsplit('-').next().unwrap_or_default().to_owned();
    let effects = world.effects();
    let makers = effects.iter().filter(|call| call.operation == made);
    makers
        .map(|maker| {
            let ready: Moment = maker.start + half + ready;
            let asking = |call: &&Call| call.operation == asked && subject(call) == subject(maker);
            let seen = calls.iter().filter(asking).map(|call| call.start + half).filter(|at| *at >= ready).min();
            seen.unwrap_or_else(|| panic!("nobody asked with {asked} after {made}")).saturating_sub(ready)
        })
        .collect()
}

/// Not with the waiters of the SDK (D5, R4).
#[tokio::test(start_paused = true)]
async fn nothing_is_noticed_more_than_half_a_second_late() {
    for seed in 0..10 {
        let switches = aws(seed);
        let world = World::new(switches.clone());
        timed(&world, "up").await;
        timed(&world, "down").await;
        let calls = world.calls();
        for (made, ready, asked) in [
            ("CreateRole", switches.iam_propagation, "CreateFunction"),
            ("CreateFunction", switches.function_pending, "GetFunction"),
            ("CreateTable", switches.table_creating, "DescribeTable"),
            ("CreateDeployment", switches.deployment_pending, "GetDeployment"),
            ("DeleteTable", switches.table_deleting, "DescribeTable"),
        ] {
            let late = lateness(&world, &calls, made, ready, asked);
            assert!(!late.is_empty(), "{made} was never called");
            assert!(late.iter().all(|late| *late <= SLACK), "seed {seed}: {asked} after {made} came late: {late:?}");
        }
    }
}

/// Each try of a new function uploads it: with the time there are ever fewer (L1, L8).
#[tokio::test(start_paused = true)]
async fn a_role_that_takes_long_is_tried_ever_more_seldom() {
    let world = World::new(Switches { iam_propagation: Duration::from_secs(150), ..aws(1) });
    timed(&world, "up").await;
    let tries: Vec<Moment> =
        world.calls().iter().filter(|call| call.operation == "CreateFunction").map(|call| call.start).collect();
    let within = |from: u64, to: u64| tries.iter().filter(|at| (from..to).contains(&at.as_secs())).count();
    for second in 0..150 {
        assert!(within(second, second + 1) <= 10, "{} in second {second}", within(second, second + 1));
    }
    assert!(within(2, 12) >= 50, "{} in the first ten seconds", within(2, 12));
    assert!(within(130, 140) <= 18, "{} after two minutes", within(130, 140));
}

#[tokio::test(start_paused = true)]
async fn ten_at_once_share_the_quotas_of_the_account() {
    const RUNS: u32 = 10;
    for seed in 0..5 {
        let switches = aws(seed);
        let world = World::new(switches.clone());
        let lines: Vec<String> = (0..RUNS).map(|n| format!("up --name chat-{n}")).collect();
        let took = join_all(lines.iter().map(|line| timed(&world, line))).await.into_iter().max().unwrap_or_default();

        let calls = world.calls();
        let throttled = |call: &&Call| call.status == Some(429);
        let mut served: Vec<Moment> = Vec::new();
        let of_api = calls.iter().filter(|call| call.service == Service::ApiGateway);
        served.extend(of_api.clone().filter(|call| !throttled(call)).map(|call| call.start));
        let Some(Rate { per_second, burst }) = switches.apigateway_rate else { panic!("the quota is on") };
        for (n, at) in served.iter().enumerate() {
            let within = served[n..].iter().take_while(|other| **other < *at + Duration::from_secs(1)).count();
            assert!(within as f64 <= burst + per_second, "seed {seed}: {within} calls in the second after {at:?}");
        }
        // Together they ask no more often than they may, refused calls counted.
        let asked = of_api.count() as f64;
        let may = burst + per_second * took.as_secs_f64();
        assert!(asked <= may, "seed {seed}: {asked} calls in {took:?}, the quota allows {may}");

        // One deployment in 5 s; before the first, two looks and seven writes, after the last, its wait, the stage and
        // two looks.
        let Some(Rate { per_second, .. }) = switches.deployment_rate else { panic!("the quota is on") };
        let quota = Duration::from_secs_f64(f64::from(RUNS - 1) / per_second);
        let floor = quota + switches.latency * 13 + switches.deployment_pending;
        assert!(took <= floor.mul_f64(1.2), "seed {seed}: took {took:?}, the quotas allow {floor:?}");
    }
}

/// How many calls of each verb there are in an account with `apis` APIs of others, and how many of those list APIs.
async fn calls_of(verbs: &[&str], crowd: Crowd) -> Vec<(usize, usize)> {
    let world = World::new(Switches { function_pending: Duration::ZERO, ..aws(0) }.unthrottled());
    world.populate(ACCOUNT, REGION, crowd);
    let mut counted = Vec::new();
    for verb in verbs {
        world.clear_calls();
        timed(&world, verb).await;
        let calls = world.calls();
        // How often a young role is tried depends on the jitter.
        let counts = |call: &&Call| call.operation != "CreateFunction";
        let lists = calls.iter().filter(|call| call.operation == "GetApis").count();
        counted.push((calls.iter().filter(counts).count(), lists));
    }
    counted
}

#[tokio::test(start_paused = true)]
async fn what_others_have_costs_the_pages_of_one_list() {
    let verbs = ["up", "up", "status", "down"];
    // An `up` that changes something and a `down` look twice.
    let looks = [2, 1, 1, 2];
    let alone = calls_of(&verbs, Crowd::default()).await;
    for apis in [300, 3_000] {
        let crowd = Crowd { apis, roles: 1_000, functions: 1_000, tables: 100, log_groups: 1_000 };
        let crowded = calls_of(&verbs, crowd).await;
        for (nth, verb) in verbs.iter().enumerate() {
            let ((calls, lists), (before, _)) = (crowded[nth], alone[nth]);
            assert_eq!(calls - before, lists - looks[nth], "{verb} among {apis} APIs");
            assert!(lists <= looks[nth] * (apis / 100 + 1), "{verb} among {apis} APIs reads {lists} pages");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn timings_and_verbose_tell_of_every_call() {
    let world = World::new(support::brisk());
    let ended = Process::new(&world, "up --timings --verbose -o json").run().await.expect(Exit::Done);
    let timings = &ended.json()["timings"];
    let calls = timings.as_array().unwrap().iter().flat_map(|task| task["calls"].as_array().unwrap());
    let operation = |text: &str| text.split_once(':').unwrap().1.to_owned();
    let mut told: Vec<String> = calls.map(|call| operation(call["operation"].as_str().unwrap())).collect();
    let mut made: Vec<String> = world.calls().iter().map(|call| call.operation.to_owned()).collect();
    let line = |line: &str| Some(operation(line.split_once(" for ")?.0)).filter(|_| line.ends_with(" ms"));
    let mut noted: Vec<String> = ended.stderr.lines().filter_map(line).collect();
    for list in [&mut told, &mut made, &mut noted] {
        list.sort_unstable();
    }
    assert_eq!(told, made);
    assert_eq!(noted, made);
}

/// A run that waits says for what, and an AWS that is quick is not spoken of.
#[tokio::test(start_paused = true)]
async fn a_wait_is_told_and_so_is_its_end() {
    let world = World::new(aws(1));
    let up = Process::new(&world, "up -v").run().await.expect(Exit::Done);
    assert!(up.stderr.contains(": waiting for the role to be assumable by Lambda\n"), "{}", up.stderr);
    assert!(!up.stderr.contains("AWS: "), "{}", up.stderr);
    let slow = |call: &world::CallInfo| match call.operation {
        "GetApis" => Verdict::Latency(Duration::from_secs(20)),
        _ => Verdict::Pass,
    };
    world.set_interceptor(slow);
    let up = Process::new(&world, "up -v").run().await.expect(Exit::Done);
    assert!(up.stderr.contains("AWS: waiting for its answers\n"), "{}", up.stderr);
    assert!(up.stderr.contains("AWS: answered"), "{}", up.stderr);
}

/// It shows what is there at this moment, a table that is still being made for one.
#[tokio::test(start_paused = true)]
async fn status_waits_for_nothing_to_settle() {
    let world = World::new(aws(1));
    let made = world.clone();
    world.set_interceptor(move |_| {
        let is_made = made.effects().iter().any(|call| call.operation == "CreateTable");
        if is_made { Verdict::HangBefore } else { Verdict::Pass }
    });
    assert_eq!(Process::new(&world, "up").run().await.exit, None);
    world.clear_interceptor();
    let began = Instant::now();
    Process::new(&world, "status").run().await.expect(Exit::Differs);
    assert!(began.elapsed() < Duration::from_secs(3), "it took {:?}", began.elapsed());
}
