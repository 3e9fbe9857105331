//! The difference between what is wanted and what exists, as changes in an order that works. Pure.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::engine::change::{Action, Change, Difference, Differences, root};
use crate::engine::found::{Fields, Found, Observed, Owner};
use crate::engine::graph::Graph;
use crate::engine::key::Key;
use crate::engine::kind::{Kind, Wanted};
use crate::engine::scope::Scope;

/// All there is to do. Empty means: as wanted.
#[derive(Default)]
pub struct Plan(pub Vec<Change>);

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What makes `observed` as wanted.
    ///
    /// Goes through the resources in the order in which they need one another, so that whatever refers to the id of
    /// one that will be made anew is seen to differ.
    pub fn to_wanted(scope: &Scope, graph: &Graph, observed: &Observed) -> Self {
        let mut scope = observed.within(scope);
        let strays = ours(observed).filter(|found| !graph.contains(&found.key));
        let mut changes: Vec<Change> =
            strays.map(|found| Change::new(Action::Delete, found.key.clone(), Some(found.clone()))).collect();
        let is_ours = |wanted: &&Wanted| observed.get(&wanted.key).is_none_or(|found| found.owner == Owner::Ours);
        for wanted in graph.wanted().filter(is_ours) {
            let key = &wanted.key;
            let found = observed.get(key).filter(|found| !lives_in_replaced(found, &changes));
            let Some(change) = change_of(&scope, graph, observed, wanted, found, &changes) else { continue };
            if change.action != Action::Update {
                scope.ids.remove(key);
                changes.extend(old_snapshot(graph, &change));
            }
            changes.push(change);
        }
        let order: Vec<Vec<usize>> = changes.iter().map(|change| after_for_wanted(graph, &changes, change)).collect();
        Self::ordered(changes, order)
    }

    /// What removes everything in `observed`.
    pub fn to_nothing(graph: &Graph, observed: &Observed) -> Self {
        let mut changes: Vec<Change> =
            ours(observed).map(|found| Change::new(Action::Delete, found.key.clone(), Some(found.clone()))).collect();
        for change in &mut changes {
            change.with = change
                .found
                .as_ref()
                .and_then(|found| found.parent.clone())
                .filter(|_| graph.kind(&change.key).facts().vanishes_with_parent);
        }
        let order: Vec<Vec<usize>> = changes.iter().map(|change| after_for_nothing(graph, &changes, change)).collect();
        Self::ordered(changes, order)
    }

    /// The same without some of the changes, for which nothing waits then.
    pub fn without(self, is_left_out: impl Fn(&Change) -> bool) -> Self {
        let kept: Vec<usize> = (0..self.0.len()).filter(|at| !is_left_out(&self.0[*at])).collect();
        let changes = self.0.into_iter().enumerate().filter(|(at, _)| kept.contains(at)).map(|(_, change)| {
            let after = change.after.iter().filter_map(|first| kept.binary_search(first).ok()).collect();
            Change { after, ..change }
        });
        Self(changes.collect())
    }

    fn ordered(changes: Vec<Change>, order: Vec<Vec<usize>>) -> Self {
        Self(changes.into_iter().zip(order).map(|(change, after)| Change { after, ..change }).collect())
    }
}

/// Nothing else may be touched, whatever was checked before.
fn ours(observed: &Observed) -> impl Iterator<Item = &Found> {
    observed.found.iter().filter(|found| found.owner == Owner::Ours)
}

/// What is different about one wanted resource, if anything, given the changes to what it needs.
fn change_of(
    scope: &Scope,
    graph: &Graph,
    observed: &Observed,
    wanted: &Wanted,
    found: Option<&Found>,
    before: &[Change],
) -> Option<Change> {
    let Wanted { key, resource, .. } = wanted;
    let (kind, wanted) = (graph.kind(key), resource.wanted(scope));
    let Some(found) = found else {
        let fields = difference(kind, &wanted, &Fields::new());
        return Some(Change { fields, ..Change::new(Action::Create, key.clone(), None) });
    };
    let mut fields = difference(kind, &wanted, &found.fields);
    let is_deferred = |field: &str| observed.deferred.iter().any(|(of, deferred)| of == key && *deferred == field);
    fields.0.retain(|change| !is_deferred(root(&change.field)));
    if let Some(why) = &found.broken {
        fields.0.push(Difference { field: "state".to_owned(), from: why.as_str().into(), to: "ready".into() });
    }
    let outdated = before.iter().any(|change| graph.snapshots_of(change).any(|snapshot| snapshot.name() == key.kind));
    let replaces =
        found.broken.is_some() || outdated || kind.facts().immutable.iter().any(|field| fields.touches(field));
    if fields.0.is_empty() && !replaces {
        return None;
    }
    let action = if replaces { Action::Replace } else { Action::Update };
    Some(Change { fields, ..Change::new(action, key.clone(), Some(found.clone())) })
}

/// Whether the value of a map's entry is none of ours to show: somebody set it by hand, and it may be a secret.
fn is_private(kind: &dyn Kind, field: &str, entry: &str, to: &Value) -> bool {
    match kind.shown_entries(field) {
        Some(shown) => !shown.contains(&entry),
        None => field == "tags" && to.is_null(),
    }
}

/// Stands for a value that is there and is not shown.
pub const SET: &str = "(set)";

/// The properties that differ; maps are compared entry by entry. Only what is wanted counts: AWS may say more.
fn difference(kind: &dyn Kind, wanted: &Fields, found: &Fields) -> Differences {
    let mut differences = Vec::new();
    let differs = |field: String, from: &Value, to: &Value| Difference { field, from: from.clone(), to: to.clone() };
    for (field, to) in wanted {
        let from = found.get(field).unwrap_or(&Value::Null);
        match (from, to) {
            (Value::Object(from), Value::Object(to)) => {
                let entries: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
                for entry in entries {
                    let (from, to) = (from.get(entry).unwrap_or(&Value::Null), to.get(entry).unwrap_or(&Value::Null));
                    let mask = json!(SET);
                    let shown = if !from.is_null() && is_private(kind, field, entry, to) { &mask } else { from };
                    differences.extend((from != to).then(|| differs(format!("{field}.{entry}"), shown, to)));
                }
            }
            _ => differences.extend((from != to).then(|| differs(field.clone(), from, to))),
        }
    }
    Differences(differences)
}

/// Whether this was found in something that is going to be replaced, and so goes with it.
fn lives_in_replaced(found: &Found, changes: &[Change]) -> bool {
    changes.iter().any(|change| change.action == Action::Replace && found.parent.as_ref() == Some(&change.key))
}

/// A resource that is a snapshot of others is made before the old one is deleted, once nothing uses that any more.
fn old_snapshot(graph: &Graph, change: &Change) -> Option<Change> {
    let found = change.found.as_ref().filter(|_| !graph.kind(&change.key).facts().snapshot_of.is_empty())?;
    let old = Found { key: Key::new(change.key.kind, &found.id), ..found.clone() };
    Some(Change::new(Action::Delete, old.key.clone(), Some(old)))
}

/// A wanted resource waits for what it needs; a stray is deleted when whatever may use it has been changed.
fn after_for_wanted(graph: &Graph, changes: &[Change], change: &Change) -> Vec<usize> {
    positions(changes, |other| {
        if other.key == change.key {
            return false;
        }
        if is_marked_on(graph, other, change) {
            return true;
        }
        if change.action != Action::Delete {
            let shows = graph.snapshots_of(other).any(|snapshot| snapshot.name() == change.key.kind);
            return shows || graph.needs(&change.key).contains(&other.key);
        }
        graph.kind(&change.key).facts().referred_to_by.contains(&other.key.kind)
    })
}

/// Things are deleted in the reverse of the order in which they were needed, children before parents; nobody says what
/// needs a stray, so it goes after all that may.
fn after_for_nothing(graph: &Graph, changes: &[Change], change: &Change) -> Vec<usize> {
    let is_stray = !graph.contains(&change.key);
    let referring = graph.kind(&change.key).facts().referred_to_by;
    positions(changes, |other| {
        if let Some(with) = &change.with {
            return other.key == *with;
        }
        let is_child = other.found.as_ref().and_then(|found| found.parent.as_ref()) == Some(&change.key);
        let refers = is_stray && referring.contains(&other.key.kind) || is_marked_on(graph, other, change);
        other.with.is_none() && (is_child || refers || graph.needs(&other.key).contains(&change.key))
    })
}

/// Whether `mark` takes away what tells of the one that `change` is about. One that is wanted may have its mark on several.
fn is_marked_on(graph: &Graph, change: &Change, mark: &Change) -> bool {
    let ends = change.action == Action::Delete || mark.action == Action::Delete;
    ends && graph.kind(&change.key).facts().marked_on == Some(mark.key.kind)
}

fn positions(changes: &[Change], mut is_first: impl FnMut(&Change) -> bool) -> Vec<usize> {
    changes.iter().enumerate().filter(|(_, other)| is_first(other)).map(|(at, _)| at).collect()
}
