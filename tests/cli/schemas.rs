//! Every JSON document has a schema, and every schema is closed: what it does not describe does not fit.

use std::collections::BTreeSet;
use std::fs;

use chatctl::arguments;
use chatctl::resources::KINDS;
use serde_json::{Value, json};
use support::schema::{fits, schemas};

/// Verbs whose output is no document of their own: a conversation, what `up` prints, IAM's own JSON, a script, a page, another schema.
const WITHOUT: [&str; 6] = ["chat", "dev", "policy", "completions", "man", "schema"];

/// The verbs without verbs below them, as their schemas are named.
fn verbs(command: &clap::Command, before: &str) -> BTreeSet<String> {
    let below = command.get_subcommands().map(|verb| (verb, format!("{before}{}", verb.get_name())));
    below
        .flat_map(
            |(verb, name)| {
                if verb.has_subcommands() { verbs(verb, &format!("{name}-")) } else { BTreeSet::from([name]) }
            },
        )
        .collect()
}

fn schema(name: &str) -> Value {
    let path = schemas().join(format!("{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// Everything within a schema, itself included.
fn parts(schema: &Value) -> Vec<&Value> {
    let inner: Vec<&Value> = match schema {
        Value::Object(map) => map.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => vec![],
    };
    std::iter::once(schema).chain(inner.into_iter().flat_map(parts)).collect()
}

#[test]
fn every_verb_that_prints_json_has_a_schema_of_its_own() {
    let verbs = verbs(&arguments::command(), "");
    assert!(WITHOUT.iter().all(|verb| verbs.contains(*verb)), "a verb is gone");
    for verb in verbs.iter().filter(|verb| !WITHOUT.contains(&verb.as_str())) {
        let schema = schema(verb);
        // A line of a log stands alone.
        if verb != "logs" {
            assert_eq!(schema["properties"]["command"], json!({ "const": verb.replace('-', " ") }));
            assert_eq!(schema["properties"]["schema"], json!({ "$ref": "common.json#/$defs/schema" }), "{verb}");
        }
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{verb}");
    }
}

#[test]
fn what_no_schema_describes_does_not_fit() {
    let verbs = verbs(&arguments::command(), "");
    let described = verbs.iter().map(String::as_str).filter(|verb| !WITHOUT.contains(verb));
    for name in described.chain(["common", "error"]) {
        let schema = schema(name);
        let mut objects = 0;
        for part in parts(&schema).into_iter().filter(|part| part.get("properties").is_some_and(Value::is_object)) {
            assert_eq!(part["additionalProperties"], false, "{name}: {part:#}");
            objects += 1;
        }
        assert!(objects > 0, "{name}");
    }
    let document = json!({ "schema": "chatctl/1", "command": "local stop", "stopped": true });
    assert_eq!(fits("local-stop", &document), Ok(()));
    for (key, value) in [("new", json!(1)), ("stopped", json!("yes")), ("schema", json!("chatctl/2"))] {
        let mut other = document.clone();
        other[key] = value;
        assert!(fits("local-stop", &other).is_err(), "{other}");
    }
}

/// `UPDATE_SNAPSHOTS=1` writes a new one into them.
#[test]
fn the_schemas_know_every_kind_of_resource() {
    const AROUND: [&str; 2] = ["\"kind\": {\n      \"enum\": [\n", "\n      ],"];
    let path = schemas().join("common.json");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(AROUND[0]).unwrap();
    let (_, after) = rest.split_once(AROUND[1]).unwrap();
    let kinds: BTreeSet<String> = KINDS.iter().map(|kind| format!("        {:?}", kind.name())).collect();
    let kinds = kinds.into_iter().collect::<Vec<_>>().join(",\n");
    let made = [before, AROUND[0], &kinds, AROUND[1], after].concat();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some_and(|set| !set.is_empty()) {
        return fs::write(&path, made).unwrap();
    }
    assert_eq!(text, made);
}

/// The page is a table of all documents.
#[test]
fn every_schema_is_on_the_page() {
    let page = fs::read_to_string(schemas().join("../json.md")).unwrap();
    for verb in verbs(&arguments::command(), "").iter().filter(|verb| !WITHOUT.contains(&verb.as_str())) {
        assert!(page.contains(&format!("[`{}`](schema/{verb}.json)", verb.replace('-', " "))), "{verb}");
    }
}
