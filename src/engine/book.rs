//! What a run remembers of itself: what it has made, tagged and had to leave, and what stands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::found::{Found, Properties};
use crate::engine::key::Key;

/// How long a resource counts as young (I1).
const YOUNG: Duration = Duration::from_secs(30);

/// When tags were written, and which; `None` where one was removed.
type Written = (Instant, BTreeMap<String, Option<String>>);

/// Written by every step of a run, read by the looks and steps that follow.
#[derive(Default)]
pub struct Book(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    /// What this run has made and when, for the rules that forgive a young resource (I1).
    made: BTreeMap<Key, Instant>,
    /// The tags that this run has written: reads may be older (D9).
    tagged: BTreeMap<Key, Written>,
    /// What stands now, as far as this run knows: the leftovers, should it fail.
    standing: BTreeSet<Key>,
    /// What this run has removed: a racing run may have made meanwhile what only this tells of.
    removed: Vec<Found>,
    /// What this run has written already, where AWS may go on showing something else (L16).
    written: Properties,
    /// What AWS will not change now; `up` says so and ends well (D8).
    deferred: Properties,
}

impl Book {
    /// A new pass begins, in which `keys` exist.
    pub fn begin(&self, keys: BTreeSet<Key>) {
        self.entries().standing = keys;
    }

    /// This run has made `key`.
    pub fn made(&self, key: &Key) {
        let mut entries = self.entries();
        entries.made.insert(key.clone(), Instant::now());
        entries.standing.insert(key.clone());
    }

    /// This run has removed `found`.
    pub fn removed(&self, found: &Found) {
        let mut entries = self.entries();
        entries.made.remove(&found.key);
        entries.standing.remove(&found.key);
        entries.removed.push(found.clone());
    }

    /// This run has set and removed these tags of `key`.
    pub fn tagged(&self, key: &Key, set: &[(String, String)], removed: &[String]) {
        let set = set.iter().map(|(tag, value)| (tag.clone(), Some(value.clone())));
        let written = set.chain(removed.iter().map(|tag| (tag.clone(), None))).collect();
        self.entries().tagged.insert(key.clone(), (Instant::now(), written));
    }

    /// This run writes `field` of `key`; tells whether for the first time.
    pub fn writes(&self, key: &Key, field: &'static str) -> bool {
        self.entries().written.insert((key.clone(), field))
    }

    /// AWS refuses to change `field` of `key` now.
    pub fn deferred(&self, key: &Key, field: &'static str) {
        self.entries().deferred.insert((key.clone(), field));
    }

    /// Whether this run made `key` a moment ago.
    pub fn is_young(&self, key: &Key) -> bool {
        self.entries().made.get(key).is_some_and(|made| made.elapsed() < YOUNG)
    }

    /// Whether this run made `key` a moment ago, or what it belongs to and is named after.
    pub fn is_in_young(&self, key: &Key) -> bool {
        self.entries().made.iter().any(|(other, made)| key.is_at(&other.name) && made.elapsed() < YOUNG)
    }

    /// Whether `tags` of `key` are likely older than what this run has written: a matter of seconds.
    pub fn is_outdated(&self, key: &Key, tags: &BTreeMap<String, String>) -> bool {
        self.entries().tagged.get(key).is_some_and(|(at, written)| {
            at.elapsed() < YOUNG && written.iter().any(|(tag, value)| tags.get(tag) != value.as_ref())
        })
    }

    /// Whether `key` exists, as far as this run knows.
    pub fn stands(&self, key: &Key) -> bool {
        self.entries().standing.contains(key)
    }

    pub fn all_removed(&self) -> Vec<Found> {
        self.entries().removed.clone()
    }

    pub fn standing(&self) -> Vec<String> {
        self.entries().standing.iter().map(ToString::to_string).collect()
    }

    pub fn all_deferred(&self) -> Properties {
        self.entries().deferred.clone()
    }

    /// A panic elsewhere leaves these plain maps whole, so a poisoned lock is still good.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn young_is_what_was_made_a_moment_ago_and_what_is_named_after_it_and_nothing_else() {
        let book = Book::default();
        let role = Key::new("role", "chat-eu-central-1-join");
        let policy = Key::new("role-policy", "chat-eu-central-1-join");
        let other = Key::new("function", "chat-join");
        book.made(&role);
        let young = |key| (book.is_young(key), book.is_in_young(key));
        assert_eq!([&role, &policy, &other].map(young), [(true, true), (false, true), (false, false)]);
        tokio::time::sleep(YOUNG).await;
        assert_eq!([&role, &policy, &other].map(young), [(false, false); 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn tags_are_outdated_for_a_moment_where_they_differ_from_what_was_written() {
        let book = Book::default();
        let table = Key::new("table", "chat-connections");
        let tags = |tags: &[(&str, &str)]| tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        book.tagged(&table, &[("team".to_owned(), "blue".to_owned())], &["old".to_owned()]);
        let outdated = |shown: &[(&str, &str)]| book.is_outdated(&table, &tags(shown));
        assert!(outdated(&[]) && outdated(&[("team", "red")]) && outdated(&[("team", "blue"), ("old", "1")]));
        assert!(!outdated(&[("team", "blue"), ("of somebody", "else")]));
        tokio::time::sleep(YOUNG).await;
        assert!(!outdated(&[]));
    }
}
