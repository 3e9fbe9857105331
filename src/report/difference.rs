//! How a property that differs is written, for a plan and for a status; policies statement by statement.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::engine::change::Difference;
use crate::host::visible;

/// How code is compared, and the only property whose values tell a person nothing.
pub const CODE: &str = "codeSha256";

/// What is going to happen to a property: `memory: 128 → 256`.
pub fn planned(field: &Difference) -> Vec<String> {
    let lines = match policies(field) {
        Some((gone, new)) => {
            let gone = gone.iter().map(|statement| format!("{}: - {statement}", field.field));
            gone.chain(new.iter().map(|statement| format!("{}: + {statement}", field.field))).collect()
        }
        None if field.field == CODE => vec!["code: new".to_owned()],
        None => vec![format!("{}: {} → {}", field.field, value(&field.from), value(&field.to))],
    };
    lines.iter().map(|line| visible(line)).collect()
}

/// How a property is, and how it should be: `memory is 128, should be 256`.
pub fn stated(field: &Difference) -> Vec<String> {
    let name = &field.field;
    let lines = match (policies(field), &field.from, &field.to) {
        (Some((too_much, missing)), ..) => {
            let too_much = too_much.iter().map(|statement| format!("{name} should not {statement}"));
            too_much.chain(missing.iter().map(|statement| format!("{name} should {statement}"))).collect()
        }
        (None, ..) if name == CODE => vec!["code is other than here".to_owned()],
        (None, Value::Null, to) => vec![format!("{name} is missing, should be {}", value(to))],
        (None, from, Value::Null) => vec![format!("{name} is {}, should not be there", value(from))],
        (None, from, to) => vec![format!("{name} is {}, should be {}", value(from), value(to))],
    };
    lines.iter().map(|line| visible(line)).collect()
}

fn value(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The statements that only what is has, and those that only what should be has, where both are policies.
fn policies(field: &Difference) -> Option<(Vec<String>, Vec<String>)> {
    let (from, to) = (statements(&field.from)?, statements(&field.to)?);
    let only = |these: &BTreeSet<String>, others| these.difference(others).cloned().collect::<Vec<_>>();
    let (gone, new) = (only(&from, &to), only(&to, &from));
    // What differs besides, such as the version, shows only in the whole.
    (!gone.is_empty() || !new.is_empty()).then_some((gone, new))
}

fn statements(policy: &Value) -> Option<BTreeSet<String>> {
    let policy: Value = serde_json::from_str(policy.as_str()?).ok()?;
    match policy.get("Statement")? {
        Value::Array(statements) => statements.iter().map(statement).collect(),
        single => statement(single).map(|single| BTreeSet::from([single])),
    }
}

/// `allow a:B, a:C on arn:…`, and whatever else the statement says as it stands there.
fn statement(statement: &Value) -> Option<String> {
    let mut rest = statement.as_object()?.clone();
    let mut take = |name: &str| rest.remove(name).map(|value| listed(&value));
    let effect = take("Effect")?.to_lowercase();
    let (action, resource, sid) = (take("Action"), take("Resource"), take("Sid"));
    let mut text = effect;
    for (before, value) in [(" ", action), (" on ", resource)] {
        text.extend(value.map(|value| format!("{before}{value}")));
    }
    if !rest.is_empty() {
        text.push_str(&format!(", {}", Value::Object(rest)));
    }
    text.extend(sid.map(|sid| format!(" ({sid})")));
    Some(text)
}

fn listed(value: &Value) -> String {
    match value {
        Value::Array(items) => items.iter().map(self::value).collect::<Vec<_>>().join(", "),
        single => self::value(single),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn changed(field: &str, from: Value, to: Value) -> Difference {
        Difference { field: field.to_owned(), from, to }
    }

    #[test]
    fn a_status_says_how_it_is_and_how_it_should_be() {
        for (from, to, planned_as, stated_as) in [
            (json!(1024), json!(256), "x: 1024 → 256", "x is 1024, should be 256"),
            (Value::Null, json!("chat"), "x: none → chat", "x is missing, should be chat"),
            (json!("(set)"), Value::Null, "x: (set) → none", "x is (set), should not be there"),
        ] {
            let field = changed("x", from, to);
            assert_eq!((planned(&field), stated(&field)), (vec![planned_as.to_owned()], vec![stated_as.to_owned()]));
        }
    }

    #[test]
    fn a_policy_is_told_by_the_statements_that_differ() {
        let policy = |statements: Value| json!(json!({ "Statement": statements, "Version": "1" }).to_string());
        let same = json!({ "Effect": "Allow", "Action": "a:Same", "Resource": "r" });
        let only = json!({ "Effect": "Allow", "Action": ["a:B", "a:C"], "Resource": "r", "Condition": { "Bool": {} } });
        let from = policy(json!([same, { "Effect": "Deny", "Action": "*", "Resource": "*", "Sid": "mine" }]));
        let field = changed("document", from, policy(json!([same, only])));
        assert_eq!(
            planned(&field),
            ["document: - deny * on * (mine)", "document: + allow a:B, a:C on r, {\"Condition\":{\"Bool\":{}}}",]
        );
        assert_eq!(
            stated(&field),
            [
                "document should not deny * on * (mine)",
                "document should allow a:B, a:C on r, {\"Condition\":{\"Bool\":{}}}",
            ]
        );
        let alone = changed("document", policy(same.clone()), policy(json!([same, only])));
        assert_eq!(planned(&alone).len(), 1, "one of one is a statement too");
    }

    #[test]
    fn what_is_no_policy_is_shown_whole() {
        let field = changed("document", json!("{"), json!("{\"Statement\":[]}"));
        assert_eq!(planned(&field), ["document: { → {\"Statement\":[]}"]);
    }

    #[test]
    fn code_is_not_told_by_its_hash() {
        let field = changed("codeSha256", json!("abc"), json!("def"));
        assert_eq!(
            (planned(&field), stated(&field)),
            (vec!["code: new".into()], vec!["code is other than here".into()])
        );
    }
}
