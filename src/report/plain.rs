//! Progress where there is no terminal: a line when a step starts to wait and when it ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::event::{Ended, Reporter};
use crate::host::Output;

/// The log of a CI job is never silent for longer than this; the contract says 15 s.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

pub struct Plain {
    out: Output,
    state: Arc<Mutex<State>>,
    /// Ends the signs of life with the reporter.
    alive: Option<tokio::task::JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    tasks: BTreeMap<String, Task>,
    spoken: Option<Instant>,
}

struct Task {
    since: Instant,
    doing: &'static str,
    waits: Option<String>,
}

impl Plain {
    pub fn new(out: Output) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let alive = tokio::runtime::Handle::try_current().ok().map(|runtime| {
            let (state, out) = (Arc::downgrade(&state), out.clone());
            runtime.spawn(async move {
                loop {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    let Some(state) = state.upgrade() else { return };
                    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                    let quiet = state.spoken.is_none_or(|at| at.elapsed() >= SIGN_OF_LIFE);
                    let oldest = state.tasks.iter().min_by_key(|(_, task)| task.since);
                    if let (true, Some((name, task))) = (quiet, oldest) {
                        let what =
                            task.waits.as_deref().map_or_else(String::new, |what| format!(", waiting for {what}"));
                        out.line(&format!("{name}: still {}{what} ({})", task.doing, seconds(task.since)));
                        state.spoken = Some(Instant::now());
                    }
                }
            })
        });
        Self { out, state, alive }
    }

    fn say(&self, state: &mut State, line: &str) {
        state.spoken = Some(Instant::now());
        self.out.line(line);
    }

    fn with(&self, act: impl FnOnce(&mut State)) {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        if let Some(alive) = &self.alive {
            alive.abort();
        }
    }
}

impl Reporter for Plain {
    fn begin(&self, task: &str, doing: &'static str) {
        self.with(|state| {
            state.spoken.get_or_insert_with(Instant::now);
            state.tasks.insert(task.to_owned(), Task { since: Instant::now(), doing, waits: None });
        });
    }

    fn waiting(&self, task: &str, what: &str) {
        self.with(|state| {
            let entry = state.tasks.entry(task.to_owned()).or_insert_with(|| Task {
                since: Instant::now(),
                doing: "settling",
                waits: None,
            });
            if entry.waits.as_deref() != Some(what) {
                entry.waits = Some(what.to_owned());
                self.say(state, &format!("{task}: waiting for {what}"));
            }
        });
    }

    fn end(&self, task: &str, ended: Ended) {
        self.with(|state| {
            let took = state.tasks.remove(task).map_or_else(String::new, |task| format!(" ({})", seconds(task.since)));
            let line = match ended {
                Ended::Done(what) => format!("{task}: {what}{took}"),
                Ended::Failed(why) => format!("{task}: failed{took}: {why}"),
                Ended::Skipped(why) => format!("{task}: skipped: {why}"),
            };
            self.say(state, &line);
        });
    }

    fn note(&self, text: &str) {
        self.with(|state| self.say(state, text));
    }
}

fn seconds(since: Instant) -> String {
    format!("{:.1} s", since.elapsed().as_secs_f64())
}
