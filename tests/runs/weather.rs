//! Seeded storms: drift, faults, kills, racing `up`s and `down`s of equal and different configurations, lists that lag,
//! slow tables, propagation from 0 to 60 s. After each, one quiet `up` converges.
//!
//! `WEATHER_SEEDS=2000 cargo test --test all runs::weather` runs more (a third of a second
//! each); `WEATHER_SEED=17` replays one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chatctl::error::Exit;
use fastrand::Rng;
use support::{ACCOUNT, Process, REGION, assert_nothing_left, problems, run};
use world::{Crowd, Fault, Switches, Verdict, World};

/// A figure of minutes: `.ci/run` has more.
const SEEDS: u64 = 100;

/// Seeds that once failed.
const REGRESSIONS: [u64; 4] = [100, 410, 742, 915];

const CONFIGS: [&str; 6] = [
    "",
    "--memory 1024 --tag team=blue",
    "--authorizer iam",
    "--ttl 1h --log-retention-days 30",
    "--delivery queue --tag team=blue",
    "--delivery queue --memory 1024",
];

fn switches(rng: &mut Rng, seed: u64) -> Switches {
    let seconds = |rng: &mut Rng, most: u64| Duration::from_millis(rng.u64(0..=most * 1_000));
    Switches {
        seed,
        page_size: rng.usize(2..50),
        latency: Duration::from_millis(rng.u64(5..200)),
        iam_propagation: seconds(rng, 60),
        iam_role_window: seconds(rng, 2),
        iam_policy_window: seconds(rng, 2),
        table_creating: seconds(rng, 20),
        table_deleting: seconds(rng, 25),
        table_window: seconds(rng, 1),
        table_tags_lag: seconds(rng, 20),
        queue_creating: seconds(rng, 3),
        queue_lag: seconds(rng, 60),
        mapping_settling: seconds(rng, 20),
        mapping_sees_policy: seconds(rng, 40),
        list_lag: if rng.bool() { seconds(rng, 3) } else { Duration::ZERO },
        ..Switches::default()
    }
}

fn fault(rng: &mut Rng) -> Verdict {
    let fault = match rng.u8(0..9) {
        0 | 1 => Fault::Throttle,
        2 => Fault::ServerError(500),
        3 => Fault::ServerError(503),
        4 => Fault::Reset,
        5 => Fault::HalfBody,
        6 => Fault::Timeout,
        7 => Fault::AccessDenied,
        _ => Fault::ExpiredToken,
    };
    // What a service refuses has no effect.
    let refused = matches!(fault, Fault::Throttle | Fault::AccessDenied | Fault::ExpiredToken);
    if refused || rng.bool() { Verdict::FailBefore(fault) } else { Verdict::FailAfter(fault) }
}

/// Somebody else's hand.
fn drift(world: &World, rng: &mut Rng) {
    let which = rng.u8(0..14);
    world.edit(|state| {
        let account = state.account(ACCOUNT);
        match which {
            0 => account.roles.retain(|name, _| !name.ends_with("onconnect")),
            1 => account.roles.values_mut().for_each(|role| role.inline.clear()),
            _ => {}
        }
        let region = account.region(REGION);
        match which {
            2 => region.functions.retain(|name, _| name != "chat-sendMessage"),
            3 => region.functions.values_mut().for_each(|function| function.policy.clear()),
            4 => region.log_groups.retain(|name, _| !name.ends_with("onConnect")),
            5 => region.apis.retain(|_, api| api.name != "chat"),
            6 => region.apis.values_mut().for_each(|api| api.stages.clear()),
            7 => region.apis.values_mut().for_each(|api| api.routes.retain(|_, route| route.route_key != "$connect")),
            8 => region.tables.retain(|name, _| name != "chat-connections"),
            9 => region.functions.values_mut().filter(|f| f.name.starts_with("chat-")).for_each(|function| {
                function.environment.insert("STRAY".to_owned(), "1".to_owned());
            }),
            10 => region.queues.retain(|name, _| name != "chat-messages.fifo"),
            11 => region.mappings.clear(),
            12 => region.mappings.values_mut().for_each(|mapping| mapping.enabled = false),
            13 => region.functions.retain(|name, _| name != "chat-broadcast"),
            _ => {}
        }
    });
}

/// One history; what is wrong at its end, if anything.
async fn storm(seed: u64) -> Result<(), String> {
    let mut rng = Rng::with_seed(seed);
    let world = World::new(switches(&mut rng, seed));
    world.populate(ACCOUNT, REGION, Crowd { apis: rng.usize(0..5), roles: 2, functions: 2, tables: 1, log_groups: 2 });
    let strangers = |world: &World| -> Vec<String> {
        world.everything(ACCOUNT).into_iter().filter(|line| !line.contains("chat")).collect()
    };
    let others = strangers(&world);
    let weather = Arc::new(Mutex::new(Rng::with_seed(seed ^ 0xdead_beef)));
    let (faults, deaths) = (rng.f64() * 0.04, rng.f64() * 0.004);
    world.set_interceptor(move |_| {
        let mut rng = weather.lock().expect("nobody panics here");
        match rng.f64() {
            roll if roll < deaths => {
                if rng.bool() {
                    Verdict::HangBefore
                } else {
                    Verdict::HangAfter
                }
            }
            roll if roll < deaths + faults => fault(&mut rng),
            roll if roll < deaths + faults + 0.05 => Verdict::Latency(Duration::from_millis(rng.u64(0..2_000))),
            _ => Verdict::Pass,
        }
    });
    for round in 0..rng.u32(1..4) {
        let lines: Vec<String> = (0..rng.usize(1..4))
            .map(|_| match rng.u8(0..4) {
                0 => "down".to_owned(),
                _ => format!("up --timeout 10m {}", CONFIGS[rng.usize(0..CONFIGS.len())]),
            })
            .collect();
        let runs = lines.iter().enumerate().map(|(n, line)| {
            let late = Duration::from_millis(rng.u64(0..8_000));
            let process = Process::new(&world, line).label(&format!("{round}-{n}"));
            async move {
                tokio::time::sleep(late).await;
                process.run().await
            }
        });
        for (ended, line) in futures_util::future::join_all(runs).await.iter().zip(&lines) {
            if let Some(exit) = ended.exit
                && !matches!(exit, Exit::Done | Exit::Failed)
            {
                return Err(format!("`{line}` ended with {exit:?}: {}", ended.stderr));
            }
        }
        if rng.bool() {
            drift(&world, &mut rng);
        }
    }
    world.clear_interceptor();
    world.switch(|switches| {
        switches.list_lag = Duration::ZERO;
        switches.table_tags_lag = Duration::ZERO;
        switches.queue_lag = Duration::ZERO;
    });
    // Whatever lagged has arrived, and the last change of the TTL is old enough for another (D8).
    tokio::time::sleep(Duration::from_secs(3_700)).await;
    let config = CONFIGS[rng.usize(0..CONFIGS.len())];
    let calm = run(&world, &format!("up {config}")).await;
    if calm.exit != Some(Exit::Done) {
        return Err(format!("the quiet `up {config}` ended with {:?}: {}", calm.exit, calm.stderr));
    }
    let wrong = problems(&world, "chat");
    if !wrong.is_empty() {
        return Err(format!("after the quiet `up {config}`: {wrong:#?}"));
    }
    let status = run(&world, &format!("status {config}")).await;
    if status.exit != Some(Exit::Done) {
        return Err(format!("status says: {}", status.stdout));
    }
    let down = run(&world, "down").await;
    if down.exit != Some(Exit::Done) {
        return Err(format!("the quiet `down` ended with {:?}: {}", down.exit, down.stderr));
    }
    assert_nothing_left(&world);
    if strangers(&world) != others {
        return Err("something foreign was written".to_owned());
    }
    Ok(())
}

/// A storm on a runtime of its own, so that its time is its own.
fn weather(seed: u64) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let storm = || runtime.expect("a runtime can be built").block_on(storm(seed));
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(storm)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.unwrap_or_else(|| "it panicked".to_owned()))
    })
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

#[test]
fn after_any_storm_one_quiet_up_converges() {
    if let Some(seed) = number("WEATHER_SEED") {
        return weather(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
    let seeds = number("WEATHER_SEEDS").unwrap_or(SEEDS);
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let failures = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some(seed) = REGRESSIONS.get(usize::try_from(n).unwrap_or(usize::MAX)).copied().or_else(|| {
                        let fresh = n - REGRESSIONS.len() as u64;
                        (fresh < seeds).then_some(fresh)
                    }) else {
                        return;
                    };
                    if let Err(why) = weather(seed) {
                        failed.store(true, Ordering::Relaxed);
                        failures.lock().expect("nobody panics here").push(format!("seed {seed}: {why}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("nobody panics here");
    assert!(failures.is_empty(), "replay with WEATHER_SEED:\n{}", failures.join("\n"));
    println!("{seeds} seeds");
}
