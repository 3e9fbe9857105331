//! What AWS's own service models demand of a request: a member that is missing, too long, out of range, misspelt or not
//! among the values makes the model panic, as AWS would refuse it.
//!
//! The demands are in `service-models.json`, which `service-models.py` takes from botocore.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use fancy_regex::Regex;
use serde_json::{Map, Value};

use crate::operation::Wire;
use crate::service::Service;

static MODELS: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../service-models.json")).expect("world: the service models are JSON")
});

/// Panics at a request that AWS's model refuses.
pub(crate) fn check(service: Service, operation: &str, wire: &Wire<'_>, members: &Map<String, Value>) {
    if let Err(refused) = checked(service, operation, wire, members) {
        panic!("world: AWS's own model refuses {}:{operation}: {refused}", service.name());
    }
}

fn checked(service: Service, operation: &str, wire: &Wire<'_>, members: &Map<String, Value>) -> Result<(), String> {
    let model = &MODELS["services"][service.model().model_name()];
    let known = &model["operations"][operation];
    let uri = known["uri"].as_str().ok_or("service-models.json does not have it")?;
    let Some(input) = known["input"].as_str() else {
        return Ok(());
    };
    let model = Model { shapes: &model["shapes"], labels: labels(uri, wire.path) };
    model.structure(&model.shapes[input], members, "")
}

/// What stands in the path at the places of `/v2/apis/{apiId}`.
fn labels<'a>(uri: &'a str, path: &'a str) -> HashMap<&'a str, String> {
    let places = uri.split('/').map(|part| part.strip_prefix('{').and_then(|part| part.strip_suffix('}')));
    let label = |(place, part): (Option<&'a str>, &'a str)| Some((place?, crate::operation::decode(part)));
    places.zip(path.split('/')).filter_map(label).collect()
}

struct Model<'a> {
    shapes: &'a Value,
    labels: HashMap<&'a str, String>,
}

impl Model<'_> {
    fn structure(&self, shape: &Value, given: &Map<String, Value>, within: &str) -> Result<(), String> {
        let members = shape["members"].as_object().into_iter().flatten();
        let required = shape["required"].as_array().map_or(&[][..], Vec::as_slice);
        for (name, member) in members {
            let name_on_wire = member["as"].as_str().unwrap_or(name);
            let label = match member["in"].as_str() {
                Some("uri") => self.labels.get(name_on_wire).map(|label| Value::String(label.clone())),
                // None that we send.
                Some("header") => continue,
                _ => None,
            };
            let value = label.as_ref().or_else(|| given.get(name_on_wire)).filter(|value| !value.is_null());
            let path = format!("{within}{name}");
            match value {
                Some(value) => self.value(member["shape"].as_str().unwrap_or_default(), value, &path)?,
                None if required.iter().any(|required| required == name) => {
                    return Err(format!("`{path}` is required"));
                }
                None => {}
            }
        }
        Ok(())
    }

    fn value(&self, shape: &str, value: &Value, path: &str) -> Result<(), String> {
        let shape = &self.shapes[shape];
        let part = |part: &str| shape[part].as_str().unwrap_or_default();
        match (part("type"), value) {
            ("structure", Value::Object(members)) => self.structure(shape, members, &format!("{path}."))?,
            ("list", Value::Array(items)) => {
                range(shape, items.len() as f64, path, "items")?;
                for (at, item) in items.iter().enumerate() {
                    self.value(part("member"), item, &format!("{path}[{at}]"))?;
                }
            }
            // A list of one in a query string.
            ("list", Value::String(_)) => self.value(part("member"), value, path)?,
            ("map", Value::Object(entries)) => {
                range(shape, entries.len() as f64, path, "entries")?;
                for (key, value) in entries {
                    self.value(part("key"), &Value::String(key.clone()), &format!("a key of {path}"))?;
                    self.value(part("value"), value, &format!("{path}.{key}"))?;
                }
            }
            ("string", Value::String(text)) => string(shape, text, path)?,
            ("integer" | "long" | "double" | "float", value) => {
                // In a query string and in a query body all is text.
                let number = value.as_f64().or_else(|| value.as_str()?.parse().ok());
                range(shape, number.ok_or_else(|| format!("`{path}` is no number: {value}"))?, path, "")?;
            }
            ("boolean", Value::Bool(_)) | ("blob", Value::String(_)) => {}
            ("boolean", Value::String(text)) if text == "true" || text == "false" => {}
            (wanted, value) => return Err(format!("`{path}` is no {wanted}: {value}")),
        }
        Ok(())
    }
}

fn range(shape: &Value, number: f64, path: &str, unit: &str) -> Result<(), String> {
    let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
    match (shape["min"].as_f64(), shape["max"].as_f64()) {
        (Some(min), _) if number < min => Err(format!("`{path}` has {number}{unit}, less than {min}")),
        (_, Some(max)) if number > max => Err(format!("`{path}` has {number}{unit}, more than {max}")),
        _ => Ok(()),
    }
}

fn string(shape: &Value, text: &str, path: &str) -> Result<(), String> {
    range(shape, text.chars().count() as f64, path, "characters")?;
    if let Some(pattern) = shape["pattern"].as_str()
        && !matches(pattern, text)
    {
        return Err(format!("`{path}` is `{text}`, which `{pattern}` does not match"));
    }
    match shape["enum"].as_array() {
        Some(values) if !values.iter().any(|value| value == text) => Err(format!("`{path}` has no value `{text}`")),
        _ => Ok(()),
    }
}

/// Whether the whole text matches, as the services read their patterns.
fn matches(pattern: &str, text: &str) -> bool {
    static READ: LazyLock<Mutex<HashMap<String, Regex>>> = LazyLock::new(Mutex::default);
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    let regex = read.entry(pattern.to_owned()).or_insert_with(|| {
        // Java's name for it.
        let ours = pattern.replace("\\p{Print}", "[[:print:]]");
        Regex::new(&format!("^(?:{ours})$")).unwrap_or_else(|error| panic!("world: pattern `{pattern}`: {error}"))
    });
    regex.is_match(text).unwrap_or_else(|error| panic!("world: pattern `{pattern}`: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(service: Service, operation: &str, path: &str, members: Value) -> Option<String> {
        let wire = Wire { method: "POST", path, query: "", target: None, body: b"" };
        checked(service, operation, &wire, members.as_object().expect("an object")).err()
    }

    #[test]
    fn what_the_models_of_aws_refuse_is_refused() {
        let authorizer = json!({ "authorizerType": "REQUEST", "name": "chat" });
        let role = |name: &str, tag: &str| json!({ "RoleName": name, "AssumeRolePolicyDocument": "{}", "Tags": [{ "Key": tag, "Value": "" }] });
        let group = |name: &str| json!({ "logGroupName": name, "retentionInDays": 14 });
        for (service, operation, path, members, said) in [
            (
                Service::ApiGateway,
                "CreateAuthorizer",
                "/v2/apis/a1/authorizers",
                authorizer,
                "`IdentitySource` is required",
            ),
            (
                Service::Iam,
                "CreateRole",
                "/",
                role("a b", "k"),
                "`RoleName` is `a b`, which `[\\w+=,.@-]+` does not match",
            ),
            (Service::Iam, "CreateRole", "/", role(&"a".repeat(65), "k"), "`RoleName` has 65 characters, more than 64"),
            (Service::Iam, "CreateRole", "/", role("a", "ä#"), "`Tags[0].Key` is `ä#`"),
            (Service::Iam, "GetRole", "/", json!({}), "`RoleName` is required"),
            (
                Service::Lambda,
                "UpdateFunctionConfiguration",
                "/2015-03-31/functions/f/configuration",
                json!({ "Timeout": 0 }),
                "`Timeout` has 0, less than 1",
            ),
            (
                Service::ApiGateway,
                "CreateApi",
                "/v2/apis",
                json!({ "name": "chat", "protocolType": "TCP" }),
                "`ProtocolType` has no value `TCP`",
            ),
            (Service::Lambda, "GetFunction", "/2015-03-31/functions/a%20b", json!({}), "`FunctionName` is `a b`"),
            (
                Service::Lambda,
                "UpdateFunctionConfiguration",
                "/2015-03-31/functions/f/configuration",
                json!({ "Environment": { "Variables": { "1": "" } } }),
                "`a key of Environment.Variables` is `1`",
            ),
            (Service::Logs, "PutRetentionPolicy", "/", group("a b"), "`logGroupName` is `a b`"),
            (
                Service::DynamoDb,
                "TagResource",
                "/",
                json!({ "ResourceArn": "a", "Tags": [{ "Key": "" , "Value": "" }] }),
                "`Tags[0].Key` has 0 characters, less than 1",
            ),
            (
                Service::ApiGateway,
                "CreateApi",
                "/v2/apis",
                json!({ "name": "", "protocolType": "WEBSOCKET" }),
                "`Name` has 0 characters, less than 1",
            ),
        ] {
            let refused = refused(service, operation, path, members.clone());
            let refused = refused.unwrap_or_default();
            assert!(refused.starts_with(said), "{operation} {members}: {refused}");
        }
        let whole = json!({ "authorizerType": "REQUEST", "name": "chat", "identitySource": [] });
        assert_eq!(refused(Service::ApiGateway, "CreateAuthorizer", "/v2/apis/a1/authorizers", whole), None);
        assert_eq!(refused(Service::Iam, "CreateRole", "/", role("a", "team/ü")), None);
    }

    #[test]
    fn every_pattern_can_be_read() {
        for service in MODELS["services"].as_object().expect("services").values() {
            for shape in service["shapes"].as_object().expect("shapes").values() {
                if let Some(pattern) = shape["pattern"].as_str() {
                    matches(pattern, "");
                }
            }
        }
    }
}
