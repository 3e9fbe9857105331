//! How fast a run could have been: the longest chain of calls that had to follow one another.
//!
//! Which those are, the run itself tells (`--timings`): calls of one task that did not overlap, tasks that waited for
//! others, and observations and plans, which take turns. How long each took, the proxy saw: everything between two
//! calls is the tool's own time and not part of the floor.

use std::collections::BTreeMap;
use std::time::Duration;

use support::Call as Wire;

use crate::run::{Call, Run, Task};

/// What a run cannot be faster than.
pub struct Floor {
    /// The most calls that had to follow one another.
    pub chain: usize,
    /// The longest that calls, and the waits for the emulator to get something ready, add up to one after another.
    pub time: Duration,
}

/// `delay` is what the proxy adds to a call, `pending` how long the emulator lets a new function wait.
pub fn floor(run: &Run, wires: &[Wire], delay: Duration, pending: Duration) -> Floor {
    let took = durations(run, wires);
    let (mut chains, mut times) = (vec![0; run.tasks.len()], vec![Duration::ZERO; run.tasks.len()]);
    // What a task waited for began before it.
    let mut order: Vec<usize> = (0..run.tasks.len()).collect();
    order.sort_by(|a, b| run.tasks[*a].from_ms.total_cmp(&run.tasks[*b].from_ms));
    for at in order {
        let task = &run.tasks[at];
        let before = |other: &usize| match task.after.as_slice() {
            [] => run.tasks[*other].phase < task.phase,
            after => after.contains(other),
        };
        let before: Vec<usize> = (0..run.tasks.len()).filter(before).collect();
        let mut ready = before.iter().map(|at| times[*at]).max().unwrap_or_default();
        if let Some(created) = creation_of(run, task) {
            // The call that finds it ready may be under way while it gets ready.
            ready = ready.max(times[created] + pending.saturating_sub(delay));
        }
        let rounds = rounds(&task.calls, &took[at]);
        chains[at] = before.iter().map(|at| chains[*at]).max().unwrap_or_default() + rounds.len();
        times[at] = ready + rounds.iter().sum::<Duration>();
    }
    Floor { chain: chains.into_iter().max().unwrap_or_default(), time: times.into_iter().max().unwrap_or_default() }
}

/// The step before it that made the function that `task` looks at.
fn creation_of(run: &Run, task: &Task) -> Option<usize> {
    let is_look = task.kind == "function" && task.doing == "looking at";
    let made = |other: &Task| {
        other.phase < task.phase && other.doing == "creating" && (&other.kind, &other.name) == (&task.kind, &task.name)
    };
    run.tasks.iter().position(made).filter(|_| is_look)
}

/// What follows one another within a task: calls side by side take as long as the longest, and of looks that were
/// repeated until something was ready only the last was needed.
fn rounds(calls: &[Call], took: &[Duration]) -> Vec<Duration> {
    let mut order: Vec<usize> = (0..calls.len()).collect();
    order.sort_by(|a, b| calls[*a].from_ms.total_cmp(&calls[*b].from_ms));
    let mut rounds: Vec<(&str, f64, Duration)> = Vec::new();
    for at in order {
        let Call { operation, from_ms, to_ms } = &calls[at];
        match rounds.last_mut() {
            Some((_, until, longest)) if from_ms < until => {
                *until = until.min(*to_ms);
                *longest = took[at].max(*longest);
            }
            Some(last) if last.0 == operation => *last = (operation, *to_ms, took[at]),
            _ => rounds.push((operation, *to_ms, took[at])),
        }
    }
    rounds.into_iter().map(|(_, _, longest)| longest).collect()
}

/// How long each call of each task was on the wire. Within one service, answers came in the order in which the run
/// got them.
fn durations(run: &Run, wires: &[Wire]) -> Vec<Vec<Duration>> {
    let mut by_service: BTreeMap<&str, Vec<&Wire>> = BTreeMap::new();
    for wire in wires {
        by_service.entry(wire.service.as_deref().unwrap_or_default()).or_default().push(wire);
    }
    let mut took: Vec<Vec<Duration>> = run.tasks.iter().map(|task| vec![Duration::ZERO; task.calls.len()]).collect();
    for (service, mut wires) in by_service {
        wires.sort_by_key(|wire| wire.ended);
        let mut calls: Vec<(f64, usize, usize)> = Vec::new();
        for (at, task) in run.tasks.iter().enumerate() {
            for (nth, call) in task.calls.iter().enumerate() {
                if call.operation.split(':').next() == Some(service) {
                    calls.push((call.to_ms, at, nth));
                }
            }
        }
        calls.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert_eq!(calls.len(), wires.len(), "the run and the wire tell of as many calls of {service}");
        for ((_, at, nth), wire) in calls.into_iter().zip(wires) {
            took[at][nth] = wire.ended.map(|ended| ended - wire.began).unwrap_or_default();
        }
    }
    took
}
