//! Policy documents, in the one form in which those of ours and those that IAM returns can be compared.

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// A policy as IAM returns it, URL-encoded, in the form in which it can be compared: lists of one and single values
/// mean the same, and the order of actions means nothing.
pub fn parse(text: &str) -> Value {
    let decoded = percent_decode_str(text).decode_utf8_lossy();
    let parsed = serde_json::from_str(&decoded).or_else(|_| serde_json::from_str(text));
    parsed.map_or_else(|_| Value::String(text.to_owned()), normal)
}

/// One value for all spellings of the same policy, written as text so that it is compared and shown as one property.
pub fn normal(policy: Value) -> Value {
    fn unified(value: Value) -> Value {
        match value {
            Value::Array(items) => {
                let mut items: Vec<Value> = items.into_iter().map(unified).collect();
                if items.iter().all(Value::is_string) {
                    items.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
                }
                if items.len() == 1 { items.remove(0) } else { Value::Array(items) }
            }
            Value::Object(map) => Value::Object(map.into_iter().map(|(key, value)| (key, unified(value))).collect()),
            other => other,
        }
    }
    Value::String(unified(policy).to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn policies_that_mean_the_same_are_the_same() {
        let encoded = "%7B%22Statement%22%3A%5B%7B%22Action%22%3A%5B%22b%22%2C%22a%22%5D%7D%5D%7D";
        assert_eq!(parse(encoded), normal(json!({ "Statement": { "Action": ["a", "b"] } })));
        assert_eq!(normal(json!({ "Action": ["a"] })), normal(json!({ "Action": "a" })));
        assert_ne!(normal(json!({ "Action": "a" })), normal(json!({ "Action": "b" })));
    }

    proptest! {
        /// Whatever IAM answers, it is compared, not trusted.
        #[test]
        fn no_policy_text_panics(text in ".*") {
            parse(&text);
        }
    }
}
