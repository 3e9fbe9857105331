//! Results and errors as the one JSON document of `-o json`.

use serde_json::{Value, json};

use crate::engine::plan::Plan;
use crate::error::Error;
use crate::host;

pub const SCHEMA: &str = "chatctl/1";

/// A result: `schema`, `command`, and what `body` has.
pub fn document(command: &str, body: Value) -> String {
    let mut document = json!({ "schema": SCHEMA, "command": command });
    if let (Value::Object(document), Value::Object(body)) = (&mut document, body) {
        document.extend(body);
    }
    host::json(&document.to_string())
}

pub fn error(error: &Error) -> String {
    host::json(&json!({ "schema": SCHEMA, "error": error }).to_string())
}

/// The changes of a plan, with the properties of each that differ.
pub fn changes(plan: &Plan) -> Value {
    plan.0
        .iter()
        .map(|change| {
            json!({
                "action": change.action,
                "kind": change.key.kind,
                "name": change.key.name,
                "differences": change.fields,
            })
        })
        .collect()
}
