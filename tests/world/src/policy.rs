//! Policy documents: what IAM refuses to store, and what a stored one allows.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::rules::covers;

/// One statement of a policy document.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    allows: bool,
    /// In lower case, since the case of actions means nothing; once here, for every call asks.
    actions: Vec<String>,
    resources: Vec<String>,
    services: Vec<String>,
    /// The identity providers whose tokens a trust policy takes.
    federated: Vec<String>,
    conditions: Vec<Condition>,
}

/// `{"StringEquals": {"key": [values]}}`
#[derive(Clone, Debug)]
struct Condition {
    operator: String,
    key: String,
    values: Vec<String>,
}

/// What conditions look at, by key in lower case: who passes what to whom, whose tags.
pub(crate) type Facts = BTreeMap<String, String>;

impl Condition {
    /// A key that is not there fits nothing, unless the operator says so.
    fn holds(&self, facts: &Facts) -> bool {
        let (operator, if_exists) = match self.operator.strip_suffix("IfExists") {
            Some(operator) => (operator, true),
            None => (self.operator.as_str(), false),
        };
        let fact = facts.get(&self.key.to_lowercase());
        let any = |fits: fn(&str, &str) -> bool| match fact {
            Some(fact) => self.values.iter().any(|value| fits(value, fact)),
            None => if_exists,
        };
        match operator {
            "StringEquals" => any(|value, fact| value == fact),
            "StringLike" | "ArnEquals" | "ArnLike" => any(covers),
            // What is not there is not like anything.
            "StringNotLike" => !any(covers),
            "Null" => self.values.iter().any(|value| (value == "true") == fact.is_none()),
            other => panic!("world: no condition operator `{other}` in this model"),
        }
    }
}

impl Grant {
    /// `action` in lower case.
    fn fits(&self, action: &str, resource: &str, facts: &Facts) -> bool {
        self.actions.iter().any(|pattern| covers(pattern, action))
            && self.resources.iter().any(|pattern| covers(pattern, resource))
            && self.conditions.iter().all(|condition| condition.holds(facts))
    }
}

/// Which kind of document.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Trust,
    Identity,
}

/// Reads a document, or says what IAM would say of it.
pub(crate) fn read(document: &str, kind: Kind, partition: &str) -> Result<Vec<Grant>, String> {
    let value: Value = serde_json::from_str(document).map_err(|_| "Syntax errors in policy.".to_owned())?;
    let members = value.as_object().ok_or("Syntax errors in policy.")?;
    if let Some(unknown) = members.keys().find(|key| !["Version", "Id", "Statement"].contains(&key.as_str())) {
        return Err(format!("Syntax errors in policy. Unknown member {unknown}"));
    }
    if !matches!(members.get("Version").and_then(Value::as_str), Some("2012-10-17" | "2008-10-17")) {
        return Err("The policy must contain a valid version string".to_owned());
    }
    let statements = match members.get("Statement") {
        Some(Value::Array(items)) if !items.is_empty() => items.as_slice(),
        Some(single @ Value::Object(_)) => std::slice::from_ref(single),
        _ => return Err("Syntax errors in policy. A statement is missing".to_owned()),
    };
    statements.iter().map(|statement| grant(statement, kind, partition)).collect()
}

fn grant(statement: &Value, kind: Kind, partition: &str) -> Result<Grant, String> {
    const KNOWN: [&str; 8] =
        ["Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Principal", "Condition"];
    let members = statement.as_object().ok_or("Syntax errors in policy.")?;
    if let Some(unknown) = members.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err(format!("Syntax errors in policy. Unknown member {unknown}"));
    }
    let allows = match members.get("Effect").and_then(Value::as_str) {
        Some("Allow") => true,
        Some("Deny") => false,
        other => return Err(format!("Invalid effect: {}", other.unwrap_or_default())),
    };
    let actions = texts(members.get("Action"));
    if actions.is_empty() && !members.contains_key("NotAction") {
        return Err("Policy statement must contain actions.".to_owned());
    }
    if let Some(bad) = actions.iter().find(|action| *action != "*" && !action.contains(':')) {
        return Err(format!("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc. Found {bad}"));
    }
    let resources = texts(members.get("Resource"));
    let (mut services, mut federated) = (Vec::new(), Vec::new());
    match kind {
        Kind::Trust => {
            if members.contains_key("Resource") || members.contains_key("NotResource") {
                return Err("Has prohibited field Resource".to_owned());
            }
            let Some(principal) = members.get("Principal") else {
                return Err("Missing required field Principal".to_owned());
            };
            services = texts(principal.get("Service"));
            federated = texts(principal.get("Federated"));
        }
        Kind::Identity => {
            if members.contains_key("Principal") {
                return Err("Policy document should not specify a principal.".to_owned());
            }
            if resources.is_empty() && !members.contains_key("NotResource") {
                return Err("Policy statement must contain resources.".to_owned());
            }
            for resource in resources.iter().filter(|resource| *resource != "*") {
                check_resource(resource, partition)?;
            }
        }
    }
    let conditions = conditions(members.get("Condition"))?;
    let actions = actions.iter().map(|action| action.to_lowercase()).collect();
    Ok(Grant { allows, actions, resources, services, federated, conditions })
}

fn conditions(block: Option<&Value>) -> Result<Vec<Condition>, String> {
    let Some(block) = block else { return Ok(Vec::new()) };
    let operators = block.as_object().ok_or("Syntax errors in policy. A condition is a map")?;
    let mut all = Vec::new();
    for (operator, keys) in operators {
        for (key, values) in keys.as_object().ok_or("Syntax errors in policy. A condition is a map")? {
            all.push(Condition { operator: operator.clone(), key: key.clone(), values: texts(Some(values)) });
        }
    }
    Ok(all)
}

fn check_resource(resource: &str, partition: &str) -> Result<(), String> {
    let mut parts = resource.splitn(6, ':');
    let (Some("arn"), Some(named), 4) = (parts.next(), parts.next(), parts.by_ref().count()) else {
        return Err(format!("Resource {resource} must be in ARN format or \"*\"."));
    };
    if named != "*" && named != partition {
        return Err(format!("Partition \"{named}\" is not valid for resource \"{resource}\"."));
    }
    Ok(())
}

fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// Whether the document lets the service assume the role.
pub(crate) fn trusts(document: &str, service: &str) -> bool {
    read(document, Kind::Trust, "").is_ok_and(|grants| {
        grants.iter().any(|grant| {
            grant.allows
                && grant.actions.iter().any(|action| covers(action, "sts:assumerole"))
                && grant.services.iter().any(|name| name == service)
        })
    })
}

/// Whether the document lets who has a token of the identity provider, with these claims, assume the role.
pub(crate) fn trusts_token(document: &str, provider: &str, claims: &Facts) -> bool {
    let grants = read(document, Kind::Trust, "").unwrap_or_default();
    let fits = |grant: &&Grant| {
        grant.actions.iter().any(|action| covers(action, "sts:assumerolewithwebidentity"))
            && grant.federated.iter().any(|name| name == provider)
            && grant.conditions.iter().all(|condition| condition.holds(claims))
    };
    let mut fitting = grants.iter().filter(fits).peekable();
    fitting.peek().is_some() && fitting.all(|grant| grant.allows)
}

/// Whether the documents together allow the action on the resource. A resource that ends with `*` asks for all of it.
pub(crate) fn allow<'a>(
    documents: impl IntoIterator<Item = &'a str>,
    partition: &str,
    action: &str,
    resource: &str,
) -> bool {
    let grants: Vec<Grant> =
        documents.into_iter().filter_map(|text| read(text, Kind::Identity, partition).ok()).flatten().collect();
    granted(&grants, action, resource, &Facts::new())
}

/// Whether something allows it, and nothing denies it.
pub(crate) fn granted(grants: &[Grant], action: &str, resource: &str, facts: &Facts) -> bool {
    let action = action.to_lowercase();
    let fitting = || grants.iter().filter(|grant| grant.fits(&action, resource, facts));
    fitting().any(|grant| grant.allows) && fitting().all(|grant| grant.allows)
}
