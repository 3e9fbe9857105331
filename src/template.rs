//! The deployment as a CloudFormation template, folded over the kinds.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::aws::endpoints::Endpoints;
use crate::aws::identity::Identity;
use crate::config::Config;
use crate::engine::change::{Action, Change};
use crate::engine::graph::Graph;
use crate::engine::key::Key;
use crate::engine::kind::{Part, REFERENCE, Wanted, reference};
use crate::engine::scope::Scope;
use crate::error::{Error, Result};
use crate::handlers::{Bundles, inline};
use crate::host::{self, lines, visible};
use crate::resources::{KINDS, names};

/// Where the functions' code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the template itself; only for the handlers that are built in.
    Inline,
    /// Zips in a bucket, which two parameters name.
    Zips,
}

/// The scope of a template. Region, partition and account are references, which CloudFormation fills in.
pub fn scope(config: Config, bundles: Bundles) -> Scope {
    let mut scope = Scope::new(config, reference("AWS::Region"), Endpoints::default(), None, bundles);
    let (partition, account) = (reference("AWS::Partition"), reference("AWS::AccountId"));
    scope.identity = Some(Identity { partition, account });
    scope
}

/// The template. An id that AWS will choose is a reference by the time another kind asks for it, as in a run.
///
/// # Errors
/// A usage error: a setting that CloudFormation would not take as it is.
pub fn template(scope: &Scope, source: Source) -> Result<Value> {
    let graph = Graph::declare(KINDS, scope);
    let mut scope = scope.clone();
    let mut parts = Vec::new();
    for Wanted { key, resource, .. } in graph.wanted() {
        for part in resource.template(&scope, key) {
            // What belongs to a resource follows it under the same key, and is not what others refer to.
            scope.ids.entry(key.clone()).or_insert_with(|| reference(&part.logical_id));
            check(&part)?;
            parts.push((key, part));
        }
    }
    let scope = &scope;
    let ids: BTreeMap<&Key, String> = parts.iter().map(|(key, part)| (*key, part.logical_id.clone())).collect();
    let mut chain = in_a_row(&graph, &parts);
    let resources: Map<String, Value> = parts
        .into_iter()
        .map(|(key, part)| {
            let needs = needs(&graph, &ids, &mut chain, key, &part);
            (part.logical_id.clone(), resource(scope, needs, key, part, source))
        })
        .collect();
    let stage = &scope.config.stage;
    let [api, region, suffix] = ["Api", "AWS::Region", "AWS::URLSuffix"].map(reference);
    let url = format!("wss://{api}.execute-api.{region}.{suffix}/{stage}");
    let mut template = json!({
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": format!("WebSocket chat `{}`, exported by chatctl {}", scope.config.name, env!("CARGO_PKG_VERSION")),
        "Resources": resources,
        "Outputs": { "Url": { "Description": "Where clients connect", "Value": substituted(json!(url)) } }
    });
    if source == Source::Zips {
        template["Parameters"] = json!({
            "CodeBucket": { "Type": "String", "Description": "The bucket with the functions' zips" },
            "CodePrefix": { "Type": "String", "Default": "", "Description": "What their keys begin with" }
        });
    }
    Ok(template)
}

/// That CloudFormation, which knows no way to write it, has nothing to look up where a text is meant (F3).
fn check(part: &Part) -> Result<()> {
    const LOOKUP: &str = "{{resolve:";
    if part.properties.to_string().contains(LOOKUP) {
        let Part { logical_id, .. } = part;
        let what = format!("CloudFormation would look up what begins with `{LOOKUP}` in `{logical_id}`");
        return Err(Error::usage(what).hint("`up` takes such a text as it is; a template cannot have it"));
    }
    Ok(())
}

/// For each part that shares a lane, which CloudFormation knows nothing of, the one before it there (G24).
fn in_a_row(graph: &Graph, parts: &[(&Key, Part)]) -> BTreeMap<String, String> {
    let (mut last, mut before) = (BTreeMap::new(), BTreeMap::new());
    for (key, Part { logical_id, .. }) in parts {
        let lane = graph.kind(key).lane(&Change::new(Action::Create, (*key).clone(), None));
        if let Some(previous) = lane.and_then(|lane| last.insert(lane, logical_id.clone())) {
            before.insert(logical_id.clone(), previous);
        }
    }
    before
}

/// What must stand before `part`; what it refers to, CloudFormation makes first by itself.
fn needs(
    graph: &Graph,
    ids: &BTreeMap<&Key, String>,
    chain: &mut BTreeMap<String, String>,
    key: &Key,
    part: &Part,
) -> BTreeSet<String> {
    let text = part.properties.to_string();
    let needs = graph.needs(key).iter().filter_map(|need| ids.get(need).cloned());
    needs.chain(chain.remove(&part.logical_id)).filter(|id| !text.contains(&reference(id))).collect()
}

fn resource(scope: &Scope, depends_on: BTreeSet<String>, key: &Key, part: Part, source: Source) -> Value {
    let mut properties = part.properties;
    let mut inlined = None;
    let mut functions = scope.config.app.functions().iter();
    if let Some(function) = functions.find(|f| source == Source::Inline && names::function(scope, &f.name) == *key) {
        properties["Handler"] = json!("index.handler");
        inlined = Some(json!({ "ZipFile": inline(function) }));
    }
    let mut properties = substituted(properties);
    if let Some(inlined) = inlined {
        properties["Code"] = inlined;
    }
    let mut resource = json!({ "Type": part.r#type, "Properties": properties });
    if !depends_on.is_empty() {
        resource["DependsOn"] = json!(depends_on);
    }
    resource
}

/// Texts with references as the functions of CloudFormation that fill them in.
fn substituted(value: Value) -> Value {
    let [open, close] = REFERENCE;
    match value {
        Value::String(text) if text.contains(open) => match whole_reference(&text) {
            Some(id) => json!({ "Ref": id }),
            None => json!({ "Fn::Sub": text.replace("${", "${!").replace(open, "${").replace(close, "}") }),
        },
        Value::Array(items) => items.into_iter().map(substituted).collect(),
        Value::Object(entries) => entries.into_iter().map(|(key, value)| (key, substituted(value))).collect(),
        other => other,
    }
}

fn whole_reference(text: &str) -> Option<&str> {
    let [open, close] = REFERENCE;
    let id = text.strip_prefix(open)?.strip_suffix(close)?;
    (!id.contains(open)).then_some(id)
}

/// As YAML, in the order in which people read templates.
pub fn yaml(template: &Value) -> String {
    let mut text = String::new();
    block(&mut text, template, 0);
    text
}

/// What comes first; everything else follows by name.
const ORDER: [&str; 10] = [
    "AWSTemplateFormatVersion",
    "Description",
    "Parameters",
    "Resources",
    "Type",
    "DependsOn",
    "Version",
    "Sid",
    "Effect",
    "Key",
];

fn block(text: &mut String, value: &Value, indent: usize) {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by_key(|(key, _)| ORDER.iter().position(|first| first == key).unwrap_or(ORDER.len()));
            for (key, value) in entries {
                text.push_str(&format!("{pad}{}:", scalar(key)));
                nested(text, value, indent);
            }
        }
        Value::Array(items) => {
            for item in items {
                let mut inner = String::new();
                nested(&mut inner, item, indent);
                // What an entry begins with stands beside its dash.
                text.push_str(&format!("{pad}- {}", inner.trim_start()));
            }
        }
        other => text.push_str(&format!("{pad}{}\n", inline_of(other))),
    }
}

/// What follows a key or a dash.
fn nested(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(entries) if !entries.is_empty() && function_of_cloudformation(value).is_none() => {
            text.push('\n');
            block(text, value, indent + 2);
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            block(text, value, indent + 2);
        }
        Value::String(lines) if is_block(lines) => {
            text.push_str(" |\n");
            for line in lines.lines() {
                let pad = if line.is_empty() { 0 } else { indent + 2 };
                text.push_str(&format!("{}{line}\n", " ".repeat(pad)));
            }
        }
        other => text.push_str(&format!(" {}\n", inline_of(other))),
    }
}

fn inline_of(value: &Value) -> String {
    match function_of_cloudformation(value) {
        Some((tag, argument)) => format!("{tag} {}", scalar(argument)),
        None => value.as_str().map_or_else(|| value.to_string(), scalar),
    }
}

fn function_of_cloudformation(value: &Value) -> Option<(&'static str, &str)> {
    let entries = value.as_object().filter(|entries| entries.len() == 1)?;
    let (name, argument) = entries.iter().next()?;
    let tag = match name.as_str() {
        "Ref" => "!Ref",
        "Fn::Sub" => "!Sub",
        _ => return None,
    };
    Some((tag, argument.as_str()?))
}

/// Whether it is lines that people read, of which a block of YAML loses nothing.
fn is_block(text: &str) -> bool {
    let is_plain = |line: &str| visible(line) == line && line.trim_end() == line;
    text.starts_with(|c: char| !c.is_whitespace())
        && text.ends_with('\n')
        && !text.ends_with("\n\n")
        && text.split('\n').all(is_plain)
        && lines(text) == text
}

/// Plain where no reader of YAML could take it for anything but a text.
fn scalar(text: &str) -> String {
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
        && !["true", "false", "yes", "no", "on", "off", "null", "y", "n"].contains(&text.to_lowercase().as_str());
    let is_type = text.starts_with("AWS::") && text.chars().all(|c| c.is_ascii_alphanumeric() || c == ':');
    if is_word || is_type { text.to_owned() } else { host::yaml(&Value::from(text).to_string()) }
}
