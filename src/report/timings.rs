//! What the time of a run went to, as a waterfall for people and as a list for machines.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::style::{Tone, paint};
use crate::engine::run::Ctx;
use crate::engine::trace::{Task, critical_path, in_a_row};

/// Columns of the waterfall.
const WIDTH: usize = 40;

/// One entry a task, in the order in which they began. Times are in milliseconds since the run began; `after` has the
/// indexes of the entries of the same phase that this one waited for, and a phase waits for the one before it.
pub fn json(ctx: &Ctx) -> Value {
    let tasks = ctx.run.trace.tasks();
    let critical: BTreeSet<usize> = critical_path(&tasks).into_iter().collect();
    let since = |at: Instant| milliseconds(at.duration_since(ctx.run.began));
    let entries = tasks.iter().enumerate().map(|(at, task)| {
        let calls = task.calls.iter();
        json!({
            "doing": task.doing,
            "kind": task.key.kind,
            "name": task.key.name,
            "phase": task.phase,
            "after": task.after,
            "fromMs": since(task.from),
            "toMs": task.to.map(since),
            "critical": critical.contains(&at),
            "calls": calls.map(|call| json!({
                "operation": call.operation,
                "fromMs": since(call.from),
                "toMs": since(call.to),
            })).collect::<Vec<_>>(),
        })
    });
    entries.collect()
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

/// A line a task: when it began, how long it took, `█` while a call was under way and `░` while it waited.
pub fn text(ctx: &Ctx, colored: bool) -> String {
    let tasks = ctx.run.trace.tasks();
    let path = critical_path(&tasks);
    let total = ctx.run.began.elapsed();
    let calls: usize = tasks.iter().map(|task| task.calls.len()).sum();
    let chain: usize = path.iter().map(|at| in_a_row(&tasks[*at].calls)).sum();
    let mut text = format!(
        "{:.2} s for {calls} calls; the {chain} calls in a row marked with ◆ took the longest\n",
        total.as_secs_f64()
    );
    for (at, task) in tasks.iter().enumerate() {
        let is_critical = path.contains(&at);
        let to = task.to.unwrap_or_else(|| ctx.run.began + total);
        let line = format!(
            "{:7.2} {:+7.2} s {} {} {} {}",
            task.from.duration_since(ctx.run.began).as_secs_f64(),
            to.duration_since(task.from).as_secs_f64(),
            if is_critical { '◆' } else { ' ' },
            bar(ctx.run.began, total, task, to),
            task.doing,
            task.key
        );
        text.push_str(&paint(colored, if is_critical { Tone::Strong } else { Tone::Quiet }, &line));
        text.push('\n');
    }
    text
}

fn bar(began: Instant, total: Duration, task: &Task, to: Instant) -> String {
    let column = |at: Instant| at.duration_since(began).as_secs_f64() / total.as_secs_f64().max(1e-9) * WIDTH as f64;
    let covers = |from: Instant, to: Instant, cell: usize| {
        let (from, to) = (column(from), column(to));
        from < cell as f64 + 1.0 && to > cell as f64
    };
    let cell = |cell| match cell {
        _ if task.calls.iter().any(|call| covers(call.from, call.to, cell)) => '█',
        _ if covers(task.from, to, cell) => '░',
        _ => ' ',
    };
    (0..WIDTH).map(cell).collect()
}
