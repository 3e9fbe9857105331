//! Which operation a request is: the wire formats read back into names and members.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::demands;
use crate::fields::Fields;
use crate::place::Place;
use crate::service::{Read, Service};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    pub service: Service,
    pub name: &'static str,
    pub write: bool,
}

/// A request as the model sees it.
pub(crate) struct Request {
    pub operation: Operation,
    pub place: Place,
    pub method: String,
    /// Undecoded, without the query.
    pub path: String,
    pub fields: Fields,
    /// The name that the call is about, for the log.
    pub resource: String,
    /// The SDK's attempt, from 1.
    pub attempt: u32,
}

/// What of an HTTP request names the operation.
pub(crate) struct Wire<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    /// `X-Amz-Target`
    pub target: Option<&'a str>,
    pub body: &'a [u8],
}

/// Reads a request; panics at one that the model does not know, for an answer would be a lie.
pub(crate) fn read(service: Service, wire: &Wire<'_>) -> (Operation, Fields, String) {
    let (name, write, map) = service.model().read(wire);
    demands::check(service, name, wire, &map);
    let resource = service.model().named_by().iter().find_map(|name| text(map.get(*name)?)).unwrap_or_default();
    let resource = resource.to_owned();
    (Operation { service, name, write }, Fields::new(name, map), resource)
}

/// The text, or the first one of several.
fn text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get(0)?.as_str())
}

/// The operations of a service, and which of them write.
pub(crate) type Operations = &'static [(&'static str, bool)];

fn known(table: Operations, name: &str) -> (&'static str, bool) {
    let known = table.iter().find(|(known, _)| *known == name);
    *known.unwrap_or_else(|| panic!("world: no operation `{name}` in this model, which has {table:?}"))
}

/// The protocols with the operation in a header.
pub(crate) fn target(prefix: &str, table: Operations, wire: &Wire<'_>) -> Read {
    let name = wire.target.and_then(|target| target.strip_prefix(prefix)).unwrap_or_default();
    let (name, write) = known(table, name);
    (name, write, json(wire.body))
}

fn json(body: &[u8]) -> Map<String, Value> {
    if body.is_empty() {
        return Map::new();
    }
    serde_json::from_slice(body).expect("world: the body is a JSON object")
}

/// The protocol with the operation in the path.
pub(crate) fn cbor(service: &str, table: Operations, wire: &Wire<'_>) -> Read {
    let name = wire.path.strip_prefix(&format!("/service/{service}/operation/")).unwrap_or_default();
    let (name, write) = known(table, name);
    (name, write, ciborium::from_reader(wire.body).expect("world: the body is a map in CBOR"))
}

/// The query protocol: `Tags.member.1.Key=…` becomes `"Tags": [{"Key": …}]`.
pub(crate) fn query(table: Operations, wire: &Wire<'_>) -> Read {
    let body = std::str::from_utf8(wire.body).expect("world: a query body is text");
    let mut map = Map::new();
    let mut name = String::new();
    for (key, value) in pairs(body) {
        match key.as_str() {
            "Action" => name = value,
            "Version" => {}
            _ => match key.split_once(".member.") {
                None => {
                    map.insert(key, Value::String(value));
                }
                Some((list, rest)) => insert_member(&mut map, list, rest, value),
            },
        }
    }
    let (name, write) = known(table, &name);
    (name, write, map)
}

fn insert_member(map: &mut Map<String, Value>, list: &str, rest: &str, value: String) {
    let Value::Array(items) = map.entry(list.to_owned()).or_insert_with(|| Value::Array(Vec::new())) else {
        panic!("world: `{list}` is both a member and a list");
    };
    match rest.split_once('.') {
        None => items.push(Value::String(value)),
        Some((index, member)) => {
            let index: usize = index.parse().expect("world: a list index");
            items.resize(items.len().max(index), Value::Object(Map::new()));
            items[index - 1][member] = Value::String(value);
        }
    }
}

fn pairs(text: &str) -> impl Iterator<Item = (String, String)> + '_ {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(&key.replace('+', " ")), decode(&value.replace('+', " ")))
    })
}

pub(crate) fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8().expect("world: percent-encoded UTF-8").into_owned()
}

/// A REST request: body, query and path members in one map; members of the path under the names given.
pub(crate) struct Rest<'a> {
    wire: &'a Wire<'a>,
    pub segments: Vec<&'a str>,
}

impl<'a> Rest<'a> {
    pub fn new(wire: &'a Wire<'a>) -> Self {
        Self { wire, segments: wire.path.split('/').filter(|segment| !segment.is_empty()).collect() }
    }

    pub fn is(&self, name: &'static str, labels: &[(&str, &str)]) -> Read {
        let mut map = json(self.wire.body);
        for (key, value) in pairs(self.wire.query) {
            match map.get_mut(&key) {
                // `tagKeys=a&tagKeys=b`
                Some(Value::Array(items)) => items.push(Value::String(value)),
                Some(first) => *first = Value::Array(vec![first.take(), Value::String(value)]),
                None => {
                    map.insert(key, Value::String(value));
                }
            }
        }
        for (key, value) in labels {
            map.insert((*key).to_owned(), Value::String(decode(value)));
        }
        (name, self.wire.method != "GET", map)
    }

    pub fn unknown(&self) -> ! {
        panic!("world: no {} {} in this model", self.wire.method, self.wire.path)
    }
}
