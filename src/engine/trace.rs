//! What a run spends its time on: its tasks, what each of them waited for, and the AWS calls that each made.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::engine::key::Key;

/// One AWS call as it was made; several tries of the SDK count as one.
#[derive(Clone, Debug)]
pub struct Call {
    pub operation: &'static str,
    pub from: Instant,
    pub to: Instant,
}

/// A look at one place, or a step of a plan.
#[derive(Clone, Debug)]
pub struct Task {
    /// A present participle: `creating`.
    pub doing: &'static str,
    pub key: Key,
    /// Observations and plans take turns; all of one phase ends before the next begins.
    pub phase: usize,
    /// Indexes of the tasks of this phase that had to end before this one could begin.
    pub after: Vec<usize>,
    pub from: Instant,
    /// None while it goes on, and for good if the run ended before it.
    pub to: Option<Instant>,
    pub calls: Vec<Call>,
}

/// Everything that one run has done so far.
#[derive(Default)]
pub struct Trace(Mutex<State>);

#[derive(Default)]
struct State {
    phase: usize,
    tasks: Vec<Task>,
}

impl Trace {
    /// All that comes from now on waits for all that has been.
    pub fn begin_phase(&self) {
        self.state().phase += 1;
    }

    /// Does `work` as a task of its own, which is told its index; that is for the tasks that come after it, too.
    pub async fn task<T>(
        &self,
        doing: &'static str,
        key: Key,
        after: Vec<usize>,
        work: impl AsyncFnOnce(usize) -> T,
    ) -> (usize, T) {
        let at = {
            let mut state = self.state();
            let (phase, from) = (state.phase, Instant::now());
            state.tasks.push(Task { doing, key, phase, after, from, to: None, calls: Vec::new() });
            state.tasks.len() - 1
        };
        let done = work(at).await;
        self.state().tasks[at].to = Some(Instant::now());
        (at, done)
    }

    /// The task `at` had to wait for its turn, which the task `before` has just left.
    pub fn turn_after(&self, at: usize, before: Option<usize>) {
        let mut state = self.state();
        state.tasks[at].from = Instant::now();
        state.tasks[at].after.extend(before);
    }

    /// A call on behalf of `task`, if of any.
    pub fn record(&self, task: Option<usize>, call: Call) {
        if let Some(at) = task {
            self.state().tasks[at].calls.push(call);
        }
    }

    pub fn tasks(&self) -> Vec<Task> {
        self.state().tasks.clone()
    }

    /// A panic elsewhere leaves the list whole, so a poisoned lock is still good.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The chain of tasks that decided how long the run took, first to last: before each stands the one that ended last
/// among those that it waited for.
pub fn critical_path(tasks: &[Task]) -> Vec<usize> {
    let last_of = |candidates: &mut dyn Iterator<Item = usize>| candidates.max_by_key(|at| tasks[*at].to);
    let mut path: Vec<usize> = last_of(&mut (0..tasks.len())).into_iter().collect();
    while let Some(at) = path.last().copied() {
        let task = &tasks[at];
        let earlier_phase = (0..tasks.len()).filter(|other| tasks[*other].phase + 1 == task.phase);
        let before = match task.after.as_slice() {
            [] => last_of(&mut earlier_phase.into_iter()),
            after => last_of(&mut after.iter().copied()),
        };
        match before {
            Some(before) => path.push(before),
            None => break,
        }
    }
    path.reverse();
    path
}

/// How many of `calls` had to follow one another: the most of which no two overlap.
pub fn in_a_row(calls: &[Call]) -> usize {
    let mut by_end: Vec<&Call> = calls.iter().collect();
    by_end.sort_by_key(|call| call.to);
    let mut free = None;
    by_end
        .into_iter()
        .filter(|call| {
            let follows = free.is_none_or(|free| call.from >= free);
            if follows {
                free = Some(call.to);
            }
            follows
        })
        .count()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_critical_path_goes_through_what_was_waited_for() {
        let trace = Trace::default();
        let key = |name: &str| Key::new("test", name);
        let sleep = |ms| tokio::time::sleep(Duration::from_millis(ms));
        trace.begin_phase();
        tokio::join!(
            trace.task("looking", key("slow"), vec![], async |_| sleep(30).await),
            trace.task("looking", key("quick"), vec![], async |_| sleep(10).await),
        );
        trace.begin_phase();
        let (first, ()) = trace.task("creating", key("first"), vec![], async |_| sleep(10).await).await;
        tokio::join!(
            trace.task("creating", key("beside"), vec![], async |_| sleep(15).await),
            trace.task("creating", key("second"), vec![first], async |second| {
                sleep(10).await;
                let call = Call { operation: "x:Call", from: Instant::now(), to: Instant::now() };
                trace.record(Some(second), call);
                sleep(10).await;
            }),
        );
        let tasks = trace.tasks();
        let names: Vec<&str> = critical_path(&tasks).iter().map(|at| tasks[*at].key.name.as_str()).collect();
        assert_eq!(names, ["slow", "first", "second"]);
        assert_eq!(tasks.iter().map(|task| task.calls.len()).collect::<Vec<_>>(), [0, 0, 0, 0, 1]);
    }

    #[test]
    fn calls_that_overlap_do_not_follow_one_another() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let call = |(from, to)| Call { operation: "x:Call", from: at(from), to: at(to) };
        let row = |times: &[(u64, u64)]| in_a_row(&times.iter().copied().map(call).collect::<Vec<_>>());
        assert_eq!(row(&[]), 0);
        assert_eq!(row(&[(0, 10), (10, 20)]), 2);
        assert_eq!(row(&[(0, 10), (5, 20), (12, 30)]), 2);
        assert_eq!(row(&[(0, 30), (0, 10), (10, 20)]), 2);
    }
}
