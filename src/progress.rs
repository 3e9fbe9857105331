//! What the work tells of itself while it goes on; the faces in `report/` listen.

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// What was done, as a past participle: `created`.
    Done(&'static str),
    /// Why it failed.
    Failed(String),
    /// Why it was not begun.
    Skipped(String),
}

/// Listens to the work. A task is named as a person would: `table chat-connections`.
///
/// Calls come from several tasks at once, in the order of events within one task.
pub trait Reporter: Send + Sync {
    /// Work on `task` begins; `doing` is a present participle: `creating`.
    fn begin(&self, task: &str, doing: &'static str);
    /// `task` goes on, but now waits for something out of our hands: `the role to be assumable`.
    fn waiting(&self, task: &str, what: &str);
    fn end(&self, task: &str, ended: Ended);
    /// A line for people that belongs to no task.
    fn note(&self, text: &str);
    /// All that was begun is over, also what has not been heard of since: the listener may live on.
    fn settle(&self) {}
}
