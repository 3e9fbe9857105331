//! Measures the release binary against a local AWS behind a proxy that makes every call slower.
//!
//! `cargo run -p provision [-- FOLDER]` prints the tables of `docs/performance.md`, and writes the plots into FOLDER.

mod floor;
mod pending;
mod plot;
mod run;

use std::path::{Path, PathBuf};
use std::time::Duration;

use support::{Ministack, Proxy, private_ministack};

use crate::floor::floor;

const DELAYS: [u64; 3] = [0, 50, 150];
const VERBS: [(&str, &str); 4] = [("fresh up", "up"), ("up again", "up"), ("status", "status"), ("down", "down")];
const RUNS: usize = 7;
/// Of an app of one's own, each with a function behind it.
const ROUTES: usize = 60;

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
        let lives = Lives { program: &program, ministack: &ministack, delay, pending, settings: &[] };
        plotted.extend(lives.medians("").await);
    }
    let app = run::app(&program, ROUTES).await;
    let config = app.0.join("chatctl.toml").display().to_string();
    for delay in DELAYS.map(Duration::from_millis) {
        let settings = &["--config", config.as_str()];
        let lives = Lives { program: &program, ministack: &ministack, delay, pending, settings };
        lives.medians(&format!(", {ROUTES} routes")).await;
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

/// Deployments of one kind, each from nothing to nothing.
struct Lives<'a> {
    program: &'a Path,
    ministack: &'a Ministack,
    delay: Duration,
    pending: Duration,
    settings: &'a [&'a str],
}

impl Lives<'_> {
    /// Prints a row a verb, and gives what is in the middle of each.
    async fn medians(&self, what: &str) -> Vec<(&'static str, Duration, Figures)> {
        let mut runs: [Vec<Figures>; VERBS.len()] = Default::default();
        for _ in 0..RUNS {
            for (of_verb, figures) in runs.iter_mut().zip(self.one().await) {
                of_verb.push(figures);
            }
        }
        let row = |((name, _), mut of_verb): (&(&'static str, &str), Vec<Figures>)| {
            of_verb.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
            let median = of_verb[RUNS / 2];
            println!(
                "| {name}{what} | {} ms | {} | {} | {} | {:.3} s | {:.3} s | {:.2} ({:.2} to {:.2}) |",
                self.delay.as_millis(),
                median.calls,
                median.writes,
                median.chain,
                median.wall.as_secs_f64(),
                median.floor.as_secs_f64(),
                median.ratio(),
                of_verb[0].ratio(),
                of_verb[RUNS - 1].ratio(),
            );
            (*name, self.delay, median)
        };
        VERBS.iter().zip(runs).map(row).collect()
    }

    /// A deployment in an account of its own.
    async fn one(&self) -> [Figures; VERBS.len()] {
        let proxy = Proxy::start(self.ministack.url(), self.delay).await;
        let account = self.ministack.account();
        let mut figures = Vec::new();
        for (_, verb) in VERBS {
            let run = run::run(self.program, &[&[verb], self.settings].concat(), &proxy.url, &account).await;
            let wires = proxy.take();
            let floor = floor(&run, &wires, self.delay, self.pending);
            let writes = wires.iter().filter(|wire| wire.is_write()).count();
            figures.push(Figures { calls: wires.len(), writes, chain: floor.chain, wall: run.wall, floor: floor.time });
        }
        figures.try_into().unwrap_or_else(|_| unreachable!("one a verb"))
    }
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
