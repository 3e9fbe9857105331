//! The JSON Schema of `chatctl.toml`, by which editors complete and check it: made of the settings' own definitions, and
//! shipped as `templates/chatctl.schema.json`, which this keeps up to date.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::authorizer::LONGEST;
use super::checks::{
    API_NAME, ARCHITECTURES, COLORS, CONCURRENCY, DELIVERIES, DELIVERY_RATES, DESCRIPTION, FUNCTION_TIMEOUT, MEMORY,
    MESSAGE_SIZES, OUTPUTS, RATES, RETENTION_DAYS,
};
use super::routes::{INDEX_NAME, MOST_INDEXES};
use super::{Name, Settings};
use crate::app::{FunctionName, RouteKey};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/templates/chatctl.schema.json");

/// What types do not say, by the numbers and words that the program checks. The words of draft 4, which is what the
/// editors' TOML server knows.
fn rules() -> Value {
    let range = |(from, to): (i32, i32)| json!({ "minimum": from, "maximum": to });
    let length = |(from, to): (usize, usize)| json!({ "minLength": from, "maxLength": to });
    let spelled = |pattern: &str, most: usize| json!({ "pattern": pattern, "maxLength": most });
    let one_of = |words: &[&str]| json!({ "enum": words });
    let handler = spelled("^[A-Za-z][A-Za-z0-9_]*$", FunctionName::MAX);
    json!({
        "properties": {
            "name": spelled("^[A-Za-z0-9][A-Za-z0-9_-]*$", Name::MAX),
            "stage": spelled("^[A-Za-z0-9_-]+$", 128),
            "api-name": length(API_NAME),
            "description": length(DESCRIPTION),
            "jwt-issuer": { "pattern": "^https?://[!-~]+$", "maxLength": LONGEST },
            "jwt-audience": { "pattern": "^[!-~]+$", "maxLength": LONGEST },
            "jwt-token": { "pattern": "^((query|header):[A-Za-z0-9._-]{1,64}|protocol)$" },
            "throttle-rate": range(RATES),
            "throttle-burst": range(RATES),
            "message-rate": range(RATES),
            "message-burst": range(RATES),
            "message-size": range(MESSAGE_SIZES),
            "delivery": one_of(DELIVERIES),
            "delivery-rate": range(DELIVERY_RATES),
            "reserved-concurrency": range(CONCURRENCY),
            "memory": range(MEMORY),
            "function-timeout": range(FUNCTION_TIMEOUT),
            "architecture": one_of(ARCHITECTURES),
            "runtime": { "pattern": "^nodejs[0-9]+\\.x$" },
            "alarm-topic": spelled("^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}$", 512),
            "log-retention-days": { "enum": RETENTION_DAYS },
            "role-path": { "pattern": "^/([A-Za-z0-9/_+=,.@-]*/)?$", "maxLength": 512 },
            "output": one_of(OUTPUTS),
            "color": one_of(COLORS),
            "table-indexes": {
                "items": { "pattern": "^[A-Za-z0-9_]*$", "minLength": INDEX_NAME.0, "maxLength": INDEX_NAME.1 },
                "maxItems": MOST_INDEXES,
                "uniqueItems": true
            },
            "routes": {
                "additionalProperties": {
                    "properties": {
                        "handler": handler,
                        "memory": range(MEMORY),
                        "timeout": range(FUNCTION_TIMEOUT),
                        "rate": range(RATES),
                        "burst": range(RATES)
                    },
                    "dependencies": { "rate": ["burst"], "burst": ["rate"] }
                }
            }
        },
        "dependencies": {
            "jwt-issuer": ["authorizer"],
            "jwt-audience": ["authorizer"],
            "jwt-token": ["authorizer"],
            "throttle-rate": ["throttle-burst"],
            "throttle-burst": ["throttle-rate"]
        }
    })
}

/// The keys that a route may have: one of API Gateway's, or one of the user's own.
fn route_keys() -> String {
    format!(r"^(\$(connect|disconnect|default)|[A-Za-z0-9][A-Za-z0-9_./-]{{0,{}}})$", RouteKey::MAX - 1)
}

fn schema() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = serde_json::to_value(settings.into_generator().into_root_schema_for::<Settings>()).unwrap();
    tidy(&mut schema);
    merge(&mut schema, rules());
    // What has a pattern for its keys has nothing beside it.
    let routes = &mut schema["properties"]["routes"];
    let route = routes["additionalProperties"].take();
    routes["patternProperties"] = json!({ route_keys(): route });
    routes["additionalProperties"] = json!(false);
    schema["$schema"] = json!("http://json-schema.org/draft-04/schema#");
    schema["title"] = json!("Settings of chatctl");
    schema["description"] = json!("chatctl.toml: what one deployment is to be");
    schema
}

/// Without what a file in TOML cannot hold, and in its words: there is no null, and a setting is no flag.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            // One of these names may also be a setting, which is described by a table of its own.
            entries.retain(|key, value| match key.as_str() {
                "default" => value.get("type").is_some(),
                "format" => value.is_object(),
                _ => true,
            });
            if let Some(Value::Array(types)) = entries.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    entries.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(choices)) = entries.get("anyOf").cloned() {
                let some = choices.into_iter().find(|choice| choice["type"] != "null");
                entries.remove("anyOf");
                if let Some(Value::Object(some)) = some {
                    for (key, value) in some {
                        entries.entry(key).or_insert(value);
                    }
                }
            }
            if let Some(Value::Array(values)) = entries.get_mut("enum") {
                values.retain(|value| !value.is_null());
            }
            if let Some(Value::String(text)) = entries.get_mut("description") {
                *text = text.replace("--", "").replace('\n', " ");
            }
            entries.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// Adds `more` to `value`, which has a place for each of its objects.
fn merge(value: &mut Value, more: Value) {
    match (value, more) {
        (Value::Object(known), Value::Object(more)) => {
            for (key, more) in more {
                assert!(known.contains_key(&key) || !more.is_object() || key == "dependencies", "there is no `{key}`");
                merge(known.entry(key).or_insert_with(|| json!(Map::new())), more);
            }
        }
        (value, more) => *value = more,
    }
}

#[test]
fn the_schema_that_is_shipped_is_that_of_the_settings() {
    let made = format!("{:#}\n", schema());
    if option_env!("UPDATE_SNAPSHOTS").is_some_and(|set| !set.is_empty()) {
        return std::fs::write(FILE, made).unwrap();
    }
    let shipped = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(shipped == made, "{FILE} is out of date; UPDATE_SNAPSHOTS=1 makes it anew");
}
