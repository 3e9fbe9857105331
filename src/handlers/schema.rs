//! The schemas of messages as API Gateway takes them: JSON Schema of draft 4, and not all of it (G31).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::app::App;
use crate::error::{Error, Result};

/// Characters of a model, as API Gateway counts them.
const LARGEST: usize = 32 * 1024;

/// What stands behind a keyword.
enum Form {
    Anything,
    Text,
    Flag,
    Number,
    Count,
    Type,
    Values,
    Names,
    Schema,
    Schemas,
    SchemaOrSchemas,
    SchemaOrFlag,
    ByName,
    Dependencies,
    Reference,
}

fn form(keyword: &str) -> Option<Form> {
    Some(match keyword {
        "default" => Form::Anything,
        "$schema" | "id" | "title" | "description" | "pattern" | "format" => Form::Text,
        "uniqueItems" | "exclusiveMinimum" | "exclusiveMaximum" => Form::Flag,
        "minimum" | "maximum" | "multipleOf" => Form::Number,
        "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" => Form::Count,
        "type" => Form::Type,
        "enum" => Form::Values,
        "required" => Form::Names,
        "not" => Form::Schema,
        "allOf" | "anyOf" | "oneOf" => Form::Schemas,
        "items" => Form::SchemaOrSchemas,
        "additionalItems" | "additionalProperties" => Form::SchemaOrFlag,
        "properties" | "patternProperties" | "definitions" => Form::ByName,
        "dependencies" => Form::Dependencies,
        "$ref" => Form::Reference,
        _ => return None,
    })
}

/// Reads the schema of each route that names one.
///
/// # Errors
/// A usage error with its place: a file that cannot be read, that is no JSON, or that API Gateway would refuse.
pub fn read(app: &mut App) -> Result<()> {
    for schema in app.schemas_mut() {
        let text = text(&schema.path).map_err(|error| {
            Error::usage(format!("{}: cannot read `{}`: {error}", schema.declared_at, schema.path.display()))
        })?;
        schema.content = Some(parse(&schema.path, &text)?);
    }
    Ok(())
}

fn text(path: &Path) -> std::io::Result<String> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is no regular file"));
    }
    // With room for white space, which does not count.
    let most = 8 * LARGEST;
    let mut text = String::new();
    File::open(path)?.take(most as u64 + 1).read_to_string(&mut text)?;
    if text.len() > most { Err(std::io::Error::other("it has more than 256 KB")) } else { Ok(text) }
}

fn parse(path: &Path, text: &str) -> Result<Value> {
    let place = |line: usize, column: usize| format!("{}:{line}:{column}", path.display());
    let schema: Value = serde_json::from_str(text).map_err(|error| {
        let why = error.to_string();
        let why = why.split(" at line ").next().unwrap_or_default();
        Error::usage(format!("{}: {why}", place(error.line(), error.column())))
    })?;
    if let Err(Fault { keyword, rule }) = check(&schema) {
        let at = keyword.and_then(|keyword| position(text, &keyword)).unwrap_or(0);
        let before = &text[..at];
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        return Err(Error::usage(format!("{}: {rule}", place(before.matches('\n').count() + 1, column)))
            .hint("API Gateway takes JSON Schema of draft 4"));
    }
    let length = schema.to_string().chars().count();
    if length > LARGEST {
        let rule = format!("the schema has {length} characters, and API Gateway takes 32,768");
        return Err(Error::usage(format!("{}: {rule}", place(1, 1))));
    }
    Ok(schema)
}

/// Where `keyword` first is a key.
fn position(text: &str, keyword: &str) -> Option<usize> {
    let quoted = Value::from(keyword).to_string();
    let mut places = text.match_indices(&quoted);
    places.find(|(at, _)| text[at + quoted.len()..].trim_start().starts_with(':')).map(|(at, _)| at)
}

struct Fault {
    keyword: Option<String>,
    rule: String,
}

fn check(schema: &Value) -> Result<(), Fault> {
    let Some(entries) = schema.as_object() else {
        return Err(Fault { keyword: None, rule: "a schema is an object".to_owned() });
    };
    for (keyword, value) in entries {
        let fault = |rule: String| Err(Fault { keyword: Some(keyword.clone()), rule });
        let Some(form) = form(keyword) else {
            return fault(format!("draft 4 has no `{keyword}`"));
        };
        let is_all = |items: &Value, fits: fn(&Value) -> bool| {
            items.as_array().is_some_and(|items| !items.is_empty() && items.iter().all(fits))
        };
        let wants = match form {
            Form::Anything => None,
            Form::Text => (!value.is_string()).then_some("a text"),
            Form::Flag => (!value.is_boolean()).then_some("`true` or `false`"),
            Form::Number => (!value.is_number()).then_some("a number"),
            Form::Count => (!value.is_u64()).then_some("a whole number of at least 0"),
            Form::Type => (!is_type(value) && !is_all(value, is_type))
                .then_some("`string`, `number`, `integer`, `boolean`, `object`, `array` or `null`, or a list of such"),
            Form::Values => (!is_all(value, |_| true)).then_some("a list of values"),
            Form::Names => (!are_names(value)).then_some("a list of names, each once"),
            Form::Reference => (!value.as_str().is_some_and(|to| to.starts_with('#')))
                .then_some("a reference within the schema, such as `#/definitions/room`"),
            Form::Schema => {
                check(value)?;
                None
            }
            Form::Schemas => {
                value.as_array().into_iter().flatten().try_for_each(check)?;
                (!is_all(value, Value::is_object)).then_some("a list of schemas")
            }
            Form::SchemaOrSchemas => match value {
                Value::Array(items) => {
                    items.iter().try_for_each(check)?;
                    None
                }
                one => {
                    check(one)?;
                    None
                }
            },
            Form::SchemaOrFlag => {
                if !value.is_boolean() {
                    check(value)?;
                }
                None
            }
            Form::ByName => {
                value.as_object().into_iter().flatten().try_for_each(|(_, one)| check(one))?;
                (!value.is_object()).then_some("a schema a name")
            }
            Form::Dependencies => {
                let others = value.as_object().into_iter().flatten().filter(|(_, one)| !are_names(one));
                others.into_iter().try_for_each(|(_, one)| check(one))?;
                (!value.is_object()).then_some("a schema or a list of names a name")
            }
        };
        if let Some(wants) = wants {
            return fault(format!("`{keyword}` takes {wants}"));
        }
    }
    Ok(())
}

fn is_type(value: &Value) -> bool {
    const TYPES: [&str; 7] = ["string", "number", "integer", "boolean", "object", "array", "null"];
    value.as_str().is_some_and(|text| TYPES.contains(&text))
}

fn are_names(value: &Value) -> bool {
    let names = value.as_array().filter(|names| !names.is_empty() && names.iter().all(Value::is_string));
    names.is_some_and(|names| names.iter().filter_map(Value::as_str).collect::<BTreeSet<_>>().len() == names.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        parse(Path::new("x.json"), text).map_or_else(|error| error.message, |_| "fine".to_owned())
    }

    #[test]
    fn what_api_gateway_refuses_is_told_with_its_line() {
        for (text, says) in [
            ("{\n  \"type\": \"object\",\n}", "x.json:3:1: trailing comma"),
            ("", "x.json:1:0: EOF while parsing a value"),
            ("[]", "x.json:1:1: a schema is an object"),
            ("{\n  \"const\": 1\n}", "x.json:2:3: draft 4 has no `const`"),
            ("{ \"properties\": { \"const\": { \"const\": 1 } } }", "x.json:1:19: draft 4 has no `const`"),
            ("{\n\"type\": \"text\"}", "x.json:2:1: `type` takes `string`, "),
            ("{\"required\": true}", "x.json:1:2: `required` takes a list of names, each once"),
            ("{\"exclusiveMinimum\": 1}", "x.json:1:2: `exclusiveMinimum` takes `true` or `false`"),
            ("{\"properties\": {\"room\": {\n\"maxLength\": -1}}}", "x.json:2:1: `maxLength` takes a whole number"),
            ("{\"items\": [{\"if\": {}}]}", "x.json:1:13: draft 4 has no `if`"),
            ("{\"$ref\": \"other.json\"}", "x.json:1:2: `$ref` takes a reference within the schema"),
            ("{\"not\": 1}", "x.json:1:1: a schema is an object"),
        ] {
            let told = told(text);
            assert!(told.starts_with(says), "{text}: {told}");
        }
        let large = format!("{{\"title\": \"{}\"}}", "x".repeat(LARGEST));
        assert!(told(&large).contains("API Gateway takes 32,768"), "{}", told(&large));
    }

    #[test]
    fn all_of_draft_4_is_taken() {
        let text = r##"{
            "$schema": "http://json-schema.org/draft-04/schema#", "title": "Join", "type": ["object", "null"],
            "definitions": { "room": { "type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[a-z]+$" } },
            "properties": {
                "action": { "enum": ["join"] }, "room": { "$ref": "#/definitions/room" },
                "seats": { "type": "integer", "minimum": 0, "exclusiveMinimum": true, "multipleOf": 2, "default": 2 },
                "names": { "type": "array", "items": { "type": "string", "format": "email" }, "uniqueItems": true },
                "pair": { "items": [{}, {}], "additionalItems": false, "minItems": 2 }
            },
            "patternProperties": { "^x-": {} }, "additionalProperties": { "not": { "type": "null" } },
            "required": ["action", "room"], "dependencies": { "seats": ["room"], "pair": { "minProperties": 3 } },
            "anyOf": [{}], "allOf": [{}], "oneOf": [{}]
        }"##;
        assert_eq!(told(text), "fine");
        let wide = format!("{{\n{}}}", " ".repeat(100_000));
        assert_eq!(told(&wide), "fine", "white space does not count");
    }
}
