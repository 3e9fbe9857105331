//! An account as text, in full: two dumps are equal iff nothing changed.

use std::collections::BTreeMap;
use std::fmt::Debug;

use crate::state::Account;

pub(crate) fn everything(account: &Account) -> Vec<String> {
    let mut lines = Vec::new();
    add(&mut lines, "role", "", &account.roles);
    for (name, region) in &account.regions {
        let at = format!("{name} ");
        add(&mut lines, "api", &at, &region.apis);
        add(&mut lines, "function", &at, &region.functions);
        add(&mut lines, "table", &at, &region.tables);
        add(&mut lines, "mapping", &at, &region.mappings);
        add(&mut lines, "queue", &at, &region.queues);
        add(&mut lines, "alarm", &at, &region.alarms);
        add(&mut lines, "log-group", &at, &region.log_groups);
    }
    lines
}

/// `kind region name content`, with no region for what is global.
fn add<T: Debug>(lines: &mut Vec<String>, kind: &str, at: &str, items: &BTreeMap<String, T>) {
    lines.extend(items.iter().map(|(name, item)| format!("{kind} {at}{name} {item:?}")));
}
