//! Progress where there is no terminal: a line when a step starts to wait and when it ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::host::Output;
use crate::progress::{Ended, Reporter};

/// The log of a CI job is never silent for longer than this (docs/guarantees.md).
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

pub struct Plain {
    out: Output,
    /// Whether steps that go well are told as well.
    is_complete: bool,
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
        Self::with_steps(out, true)
    }

    /// Of the steps, only those that fail or take long: for runs that come again and again.
    pub fn brief(out: Output) -> Self {
        Self::with_steps(out, false)
    }

    fn with_steps(out: Output, is_complete: bool) -> Self {
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
                        out.prose(&format!("{name}: still {}{what} ({})", task.doing, seconds(task.since)));
                        state.spoken = Some(Instant::now());
                    }
                }
            })
        });
        Self { out, is_complete, state, alive }
    }

    fn say(&self, state: &mut State, line: &str) {
        state.spoken = Some(Instant::now());
        self.out.prose(line);
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
                if self.is_complete {
                    self.say(state, &format!("{task}: waiting for {what}"));
                }
            }
        });
    }

    fn end(&self, task: &str, ended: Ended) {
        self.with(|state| {
            let took = state.tasks.remove(task).map_or_else(String::new, |task| format!(" ({})", seconds(task.since)));
            let line = match ended {
                Ended::Done(_) if !self.is_complete => return,
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

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use super::*;

    /// When each line was written.
    #[derive(Clone)]
    struct Clock(Arc<Mutex<Vec<(Duration, String)>>>, Instant);

    impl Write for Clock {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let line = String::from_utf8_lossy(bytes).into_owned();
            self.0.lock().unwrap().push((self.1.elapsed(), line));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn is_never_silent_for_more_than_15_seconds() {
        let clock = Clock(Arc::default(), Instant::now());
        let plain = Plain::new(Output::new(clock.clone(), false));
        plain.begin("table t", "creating");
        tokio::time::sleep(Duration::from_secs(5)).await;
        plain.begin("role r", "creating");
        plain.end("role r", Ended::Done("created"));
        tokio::time::sleep(Duration::from_secs(31)).await;
        plain.waiting("table t", "the table to be gone");
        tokio::time::sleep(Duration::from_secs(61)).await;
        plain.end("table t", Ended::Done("created"));

        let lines = clock.0.lock().unwrap().clone();
        let mut before = Duration::ZERO;
        for (at, line) in &lines {
            assert!(at.saturating_sub(before) <= Duration::from_secs(15), "silent from {before:?} to {at:?}: {line}");
            assert!(line.ends_with('\n') && line.trim_end().chars().all(|c| !c.is_control()), "{line:?}");
            before = *at;
        }
        assert_eq!(before, Duration::from_secs(97));
        let still: Vec<&str> = lines.iter().map(|(_, line)| line.trim_end()).filter(|l| l.contains("still")).collect();
        assert_eq!(still[0], "table t: still creating (15.0 s)");
        assert_eq!(still[3], "table t: still creating, waiting for the table to be gone (46.0 s)");
    }

    #[tokio::test(start_paused = true)]
    async fn says_nothing_while_there_is_nothing_to_do() {
        let clock = Clock(Arc::default(), Instant::now());
        let _plain = Plain::new(Output::new(clock.clone(), false));
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(clock.0.lock().unwrap().is_empty());
    }
}
