//! What is wanted: resources by key, and what each needs before it can be made.

use std::collections::BTreeMap;

use crate::engine::change::{Action, Change};
use crate::engine::found::Observed;
use crate::engine::key::Key;
use crate::engine::kind::{Kind, Wanted};
use crate::engine::scope::Scope;

/// The kinds that the engine works with, as it is handed them: each after those that it needs.
pub type Kinds = &'static [&'static dyn Kind];

/// Everything one deployment consists of, in the order of its kinds, each with the keys it needs.
pub struct Graph {
    pub kinds: Kinds,
    wanted: Vec<Wanted>,
    /// Where each is in `wanted`.
    places: BTreeMap<Key, usize>,
}

impl Graph {
    pub fn declare(kinds: Kinds, scope: &Scope) -> Self {
        let wanted: Vec<Wanted> = kinds.iter().flat_map(|kind| kind.declare(scope)).collect();
        let places = wanted.iter().enumerate().map(|(at, wanted)| (wanted.key.clone(), at)).collect();
        Self { kinds, wanted, places }
    }

    pub fn wanted(&self) -> impl Iterator<Item = &Wanted> {
        self.wanted.iter()
    }

    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.wanted.iter().map(|wanted| &wanted.key)
    }

    /// What is wanted under `key`, if anything is.
    pub fn get(&self, key: &Key) -> Option<&Wanted> {
        self.places.get(key).and_then(|at| self.wanted.get(*at))
    }

    pub fn contains(&self, key: &Key) -> bool {
        self.places.contains_key(key)
    }

    /// What must stand before `key` can be made; nothing for a key that is not wanted.
    pub fn needs(&self, key: &Key) -> &[Key] {
        self.get(key).map_or(&[], |wanted| wanted.needs.as_slice())
    }

    /// The wanted resource that `key` lives in.
    pub fn parent(&self, key: &Key) -> Option<&Key> {
        let kind = self.kind(key).facts().parent?;
        let mut parents = self.needs(key).iter().filter_map(|need| match need {
            need if need.kind == kind => Some(need),
            need => self.parent(need).filter(|parent| parent.kind == kind),
        });
        parents.next()
    }

    /// `observed`, with all of it under the keys that it is known by.
    pub fn identified(&self, scope: &Scope, mut observed: Observed) -> Observed {
        let mut scope = observed.within(scope);
        for kind in self.kinds {
            kind.identify(&scope, &mut observed);
            scope.ids = observed.ids();
        }
        observed
    }

    /// The kind of `key`.
    ///
    /// # Panics
    /// For a key that no kind has made, which cannot be.
    pub fn kind(&self, key: &Key) -> &'static dyn Kind {
        match self.kinds.iter().find(|kind| kind.name() == key.kind) {
            Some(kind) => *kind,
            None => unreachable!("no kind is called {}", key.kind),
        }
    }

    /// The kinds that are snapshots of what `change` changes: it is made before they are taken. What goes only when no
    /// snapshot uses it any more is part of none.
    pub fn snapshots_of(&self, change: &Change) -> impl Iterator<Item = &'static dyn Kind> {
        let (kind, is_delete) = (self.kind(&change.key), change.action == Action::Delete);
        self.kinds.iter().copied().filter(move |snapshot| {
            let outlives = is_delete && kind.facts().referred_to_by.contains(&snapshot.name());
            snapshot.facts().snapshot_of.contains(&kind.name()) && !outlives
        })
    }
}
