//! What a handler works with: the account that the call lands in, the time, the rules.

use std::collections::BTreeMap;

use crate::caller::Caller;
use crate::clock::Moment;
use crate::place::Place;
use crate::state::Account;
use crate::switches::Switches;

pub(crate) struct Context<'a> {
    pub account: &'a mut Account,
    pub place: &'a Place,
    pub by: &'a Caller,
    pub switches: &'a Switches,
    pub now: Moment,
    pub ids: &'a mut fastrand::Rng,
}

impl Context<'_> {
    /// Ten characters, as API Gateway's ids are.
    pub fn id(&mut self) -> String {
        new_id(self.ids, 10)
    }
}

/// Letters and digits of a new id.
pub(crate) fn new_id(ids: &mut fastrand::Rng, length: usize) -> String {
    const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    (0..length).map(|_| char::from(ALPHABET[ids.usize(..ALPHABET.len())])).collect()
}

/// A page of a list: the items after `token`, at most `limit`, and the token of the next page (G5).
pub(crate) struct Page<'a, T> {
    pub items: Vec<(&'a String, &'a T)>,
    pub next: Option<String>,
}

/// `listed` says which items exist for a list at all.
pub(crate) fn page<'a, T>(
    all: &'a BTreeMap<String, T>,
    token: Option<String>,
    limit: usize,
    listed: impl Fn(&String, &T) -> bool,
) -> Page<'a, T> {
    use std::ops::Bound::{Excluded, Unbounded};
    let after = token.map_or(Unbounded, Excluded);
    let mut rest = all.range((after, Unbounded)).filter(|(key, item)| listed(key, item));
    let items: Vec<_> = rest.by_ref().take(limit).collect();
    let next = rest.next().and(items.last()).map(|(key, _)| (*key).clone());
    Page { items, next }
}

/// The page size to use: the caller's wish within the model's.
pub(crate) fn limit(wish: Option<i64>, switches: &Switches) -> usize {
    let most = switches.page_size.max(1);
    wish.and_then(|wish| usize::try_from(wish).ok()).filter(|wish| *wish > 0).map_or(most, |wish| wish.min(most))
}
