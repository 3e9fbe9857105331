//! Measures the release binary against a local AWS behind a proxy that makes every call slower.
//!
//! `cargo run -p provision [-- FOLDER]` prints the tables of `docs/performance.md`, and writes the plots into FOLDER.

mod floor;
mod pending;
mod plot;
mod run;

use std::path::PathBuf;
use std::time::Duration;

use support::{Ministack, Proxy, private_ministack};

use crate::floor::floor;

const DELAYS: [u64; 3] = [0, 50, 150];
const VERBS: [(&str, &str); 4] = [("fresh up", "up"), ("up again", "up"), ("status", "status"), ("down", "down")];
const RUNS: usize = 7;

/// One verb once, at one delay.
#[derive(Clone, Copy)]
struct Figures {
    calls: usize,
    writes: usize,
    chain: usize,
    wall: Duration,
    floor: Duration,
}

impl Figures {
    fn ratio(&self) -> f64 {
        self.wall.as_secs_f64() / self.floor.as_secs_f64()
    }
}

#[tokio::main]
async fn main() {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let program = run::release_binary();
    let ministack = private_ministack().await;
    let pending = pending::of_a_new_function(&ministack).await;

    println!("{}", machine());
    println!("a new function is pending for {:.3} s\n", pending.as_secs_f64());
    println!("| verb | added a call | calls | writes | longest chain | wall | floor | wall ÷ floor |");
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    let mut plotted = Vec::new();
    for delay in DELAYS.map(Duration::from_millis) {
        let mut runs: [Vec<Figures>; VERBS.len()] = Default::default();
        for _ in 0..RUNS {
            for (of_verb, figures) in runs.iter_mut().zip(life(&program, &ministack, delay, pending).await) {
                of_verb.push(figures);
            }
        }
        for ((name, _), of_verb) in VERBS.iter().zip(&mut runs) {
            of_verb.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
            let median = of_verb[RUNS / 2];
            println!(
                "| {name} | {} ms | {} | {} | {} | {:.3} s | {:.3} s | {:.2} ({:.2} to {:.2}) |",
                delay.as_millis(),
                median.calls,
                median.writes,
                median.chain,
                median.wall.as_secs_f64(),
                median.floor.as_secs_f64(),
                median.ratio(),
                of_verb[0].ratio(),
                of_verb[RUNS - 1].ratio(),
            );
            plotted.push((*name, delay, median));
        }
    }

    println!("\n| command | wall, median of 41 |\n|---|---:|");
    for args in [&["--version"][..], &["--help"], &["up", "--help"], &["completions", "zsh"], &["man"]] {
        let took = run::start_up(&program, args);
        println!("| `chatctl {}` | {:.1} ms |", args.join(" "), took.as_secs_f64() * 1e3);
    }
    let size = std::fs::metadata(&program).expect("the binary is there").len();
    println!("\nrelease binary: {:.1} MB", size as f64 / 1e6);
    let account = ministack.account();
    if let Some(peak) = run::peak_memory(&program, ministack.url(), &account).await {
        println!("peak memory of a fresh `up`: {:.1} MB", peak as f64 / 1e6);
    }
    if let Some(folder) = folder {
        plot::write(&folder, &plotted);
    }
}

/// A deployment from nothing to nothing, in an account of its own.
async fn life(
    program: &std::path::Path,
    ministack: &Ministack,
    delay: Duration,
    pending: Duration,
) -> [Figures; VERBS.len()] {
    let proxy = Proxy::start(ministack.url(), delay).await;
    let account = ministack.account();
    let mut figures = Vec::new();
    for (_, verb) in VERBS {
        let run = run::run(program, &[verb], &proxy.url, &account).await;
        let wires = proxy.take();
        let floor = floor(&run, &wires, delay, pending);
        let writes = wires.iter().filter(|wire| wire.is_write()).count();
        figures.push(Figures { calls: wires.len(), writes, chain: floor.chain, wall: run.wall, floor: floor.time });
    }
    figures.try_into().unwrap_or_else(|_| unreachable!("one a verb"))
}

/// What it was measured on.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{} {}, {cores} cores, {}; load average {} when it began; median of {RUNS} runs by ratio (least to most)",
        std::env::consts::OS,
        std::env::consts::ARCH,
        model.map_or("processor unknown", |(_, model)| model),
        load.split(' ').next().unwrap_or("unknown"),
    )
}
