//! IAM policies derived from the kinds: the deployer's, the functions' boundary, another sender's, and the trust of GitHub
//! Actions.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::engine::kind::{Access, Permission};
use crate::engine::scope::Scope;
use crate::resources::{KINDS, names, role_policy};

/// Characters of a managed policy, white space not counted.
const LARGEST: usize = 6_144;

/// Whom a policy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Every verb.
    Full,
    /// `status` alone.
    ReadOnly,
}

/// One action on one resource under one condition. Statements are split into these, and those that share something are joined
/// again into fewer.
#[derive(Clone, Debug, PartialEq)]
struct Grant {
    action: String,
    resource: String,
    condition: Option<Value>,
}

/// What the identity that runs `chatctl` needs, of all kinds.
pub fn deployer(scope: &Scope, extent: Extent) -> Value {
    let permissions = KINDS.iter().flat_map(|kind| kind.permissions(scope));
    let wanted = permissions.filter(|permission| extent == Extent::Full || permission.access == Access::Read);
    let mut document = document(wanted.flat_map(grants).collect());
    if let (Extent::Full, Some(statements)) = (extent, document["Statement"].as_array_mut()) {
        statements.push(others_apis(scope));
    }
    document
}

/// The most that the functions' roles may ever do: what the role policies say, for every API, because no id is known
/// before there is an API (I7), and for the deployments whose names begin with `<this name>-` too.
pub fn boundary(scope: &Scope) -> Value {
    let mut scope = scope.clone();
    scope.ids.insert(names::api(&scope), "*".to_owned());
    let (own, family) = (format!("{}-", scope.config.name), format!("{}-*", scope.config.name));
    let statements = scope.config.app.functions().iter().flat_map(|function| {
        let mut policy = role_policy::document(&scope, function);
        match policy["Statement"].take() {
            Value::Array(statements) => statements,
            single => vec![single],
        }
    });
    let grants = statements.flat_map(|statement| {
        let condition = statement.get("Condition").cloned();
        let resources = texts(&statement["Resource"]);
        texts(&statement["Action"]).into_iter().flat_map(move |action| {
            let condition = condition.clone();
            resources.clone().into_iter().map(move |resource| (action.clone(), resource, condition.clone()))
        })
    });
    let is_key = |action: &str| action.starts_with("kms:");
    let mut grants: Vec<Grant> = grants
        .map(|(action, resource, condition)| {
            let resource = if is_key(&action) { resource } else { resource.replacen(&own, &family, 1) };
            Grant { action, resource, condition }
        })
        .collect();
    let exact = document(grants.clone());
    if exact.to_string().len() <= LARGEST {
        return exact;
    }
    // Of many functions, the log groups are told by what all their names begin with.
    let all = scope.arn("logs", &format!("log-group:{}:*", names::log_group_name(&family)));
    let logs: Vec<Grant> = grants.iter().filter(|grant| grant.action.starts_with("logs:")).cloned().collect();
    grants.extend(logs.into_iter().map(|grant| Grant { resource: all.clone(), ..grant }));
    document(grants)
}

/// What another back end needs to post to the connections of this deployment: who is there, and POST, as our own senders
/// have it (I8). The ids of what stands must be known.
pub fn sender(scope: &Scope) -> Value {
    let posts = format!("{}/{}/POST/@connections/*", names::api_id(scope), scope.config.stage);
    let table = names::table_arn(scope);
    let indexes = scope.config.table_indexes.iter().map(|index| format!("{table}/index/{index}"));
    let mut permissions = vec![
        Permission::other(&["execute-api:ManageConnections"], vec![scope.arn("execute-api", &posts)]),
        Permission::other(&["dynamodb:Query"], indexes.collect()),
        Permission::other(&["dynamodb:Scan"], vec![table]),
    ];
    permissions.extend(scope.config.kms_key.clone().map(|key| Permission::other(&["kms:Decrypt"], vec![key])));
    document(permissions.into_iter().flat_map(grants).collect())
}

/// Lets workflows take on the role: of each repository (`OWNER/REPO`) all of them, or those of a subject.
pub fn github_trust(scope: &Scope, workflows: &[(&str, Option<&str>)]) -> Value {
    const ISSUER: &str = "token.actions.githubusercontent.com";
    let (aud, sub) = (format!("{ISSUER}:aud"), format!("{ISSUER}:sub"));
    let with = |is_named: bool| -> BTreeSet<String> {
        let fitting = workflows.iter().filter(|(_, subject)| subject.is_some() == is_named);
        fitting.map(|(repository, subject)| format!("repo:{repository}:{}", subject.unwrap_or("*"))).collect()
    };
    let audience = json!({ aud.as_str(): "sts.amazonaws.com" });
    let mut conditions = Vec::new();
    let (named, open) = (with(true), with(false));
    if !named.is_empty() {
        // A `*` in a subject is a `*`, and nothing else.
        conditions.push(json!({ "StringEquals": { aud.as_str(): "sts.amazonaws.com", sub.as_str(): plain(named) } }));
    }
    if !open.is_empty() {
        conditions.push(json!({ "StringEquals": audience, "StringLike": { sub.as_str(): plain(open) } }));
    }
    let statements: Vec<Value> = conditions
        .into_iter()
        .map(|condition| {
            json!({
                "Effect": "Allow",
                "Principal": { "Federated": scope.arn("iam", &format!("oidc-provider/{ISSUER}")) },
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": condition
            })
        })
        .collect();
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// Where tags tell, an API of another deployment stays as it is. API Gateway knows an API by an id alone (G16), so that
/// nothing else can tell them apart; where AWS gives no tag to a call, this says nothing (G27).
fn others_apis(scope: &Scope) -> Value {
    const TAG: &str = "aws:ResourceTag/chatctl:name";
    let name = &scope.config.name;
    json!({
        "Effect": "Deny",
        "Action": ["apigateway:DELETE", "apigateway:PATCH", "apigateway:POST", "apigateway:PUT"],
        "Resource": names::api_arn(scope, "/apis/*"),
        "Condition": {
            "Null": { TAG: "false" },
            "StringNotLike": { TAG: [name.as_str(), &format!("{name}-*")] }
        }
    })
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        single => single.as_str().map(str::to_owned).into_iter().collect(),
    }
}

fn grants(permission: Permission) -> Vec<Grant> {
    let Permission { actions, resources, condition, .. } = permission;
    let grant = |action: &str, resource: &String| Grant {
        action: action.to_owned(),
        resource: resource.clone(),
        condition: condition.clone(),
    };
    actions.iter().flat_map(|action| resources.iter().map(move |resource| grant(action, resource))).collect()
}

/// Actions on resources under one condition.
type Statement = (BTreeSet<String>, BTreeSet<String>, Option<Value>);

/// As few statements as possible, by service, without what another grant covers.
fn document(grants: Vec<Grant>) -> Value {
    let is_covered = |grant: &Grant| {
        grants.iter().any(|other| {
            other.action == grant.action
                && other.resource != grant.resource
                && (other.condition.is_none() || other.condition == grant.condition)
                && covers(&other.resource, &grant.resource)
        })
    };
    let mut by_action: Vec<Statement> = Vec::new();
    for grant in grants.iter().filter(|grant| !is_covered(grant)) {
        let known = by_action
            .iter_mut()
            .find(|(actions, _, condition)| actions.contains(&grant.action) && *condition == grant.condition);
        match known {
            Some((_, resources, _)) => {
                resources.insert(grant.resource.clone());
            }
            None => by_action.push((
                [grant.action.clone()].into(),
                [grant.resource.clone()].into(),
                grant.condition.clone(),
            )),
        }
    }
    let mut statements: Vec<Statement> = Vec::new();
    for (actions, resources, condition) in by_action {
        match statements.iter_mut().find(|(_, r, c)| *r == resources && *c == condition) {
            Some((known, ..)) => known.extend(actions),
            None => statements.push((actions, resources, condition)),
        }
    }
    let mut statements = shortened(statements);
    statements.sort_by(|a, b| a.0.cmp(&b.0));
    let statements: Vec<Value> = statements
        .into_iter()
        .map(|(actions, resources, condition)| {
            let mut statement = json!({ "Effect": "Allow", "Action": plain(actions), "Resource": plain(resources) });
            if let Some(condition) = condition {
                statement["Condition"] = condition;
            }
            statement
        })
        .collect();
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// The same in fewer characters: where one statement has all resources of another, its actions go there, if that is shorter than to
/// name the resources twice.
fn shortened(mut statements: Vec<Statement>) -> Vec<Statement> {
    let size = |texts: &BTreeSet<String>| texts.iter().map(String::len).sum::<usize>();
    let goes = |from: &Statement, to: &Statement| {
        let is_shorter = from.1 == to.1 || size(&from.0) < size(&to.1);
        from.2 == to.2 && to.1.is_subset(&from.1) && is_shorter
    };
    let pair = |all: &[Statement]| {
        let pairs = (0..all.len()).flat_map(|from| (0..all.len()).map(move |to| (from, to)));
        pairs.into_iter().find(|(from, to)| from != to && goes(&all[*from], &all[*to]))
    };
    while let Some((from, to)) = pair(&statements) {
        let (actions, shared) = (statements[from].0.clone(), statements[to].1.clone());
        statements[to].0.extend(actions);
        statements[from].1.retain(|resource| !shared.contains(resource));
        statements.retain(|(_, resources, _)| !resources.is_empty());
    }
    statements
}

/// A list, or what is in it where that is one thing.
fn plain(set: BTreeSet<String>) -> Value {
    match set.len() {
        1 => json!(set.first()),
        _ => json!(set),
    }
}

/// Whether everything that `text`, itself perhaps a pattern, stands for is matched by `pattern`.
fn covers(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{BTreeSet, Statement, covers, shortened};

    #[test]
    fn what_is_said_in_fewer_characters_is_the_same() {
        let set = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<BTreeSet<String>>();
        let named = |number: usize| format!("arn:aws:iam::123456789012:role/{number}");
        let on = |numbers: &[usize]| numbers.iter().map(|number| named(*number)).collect::<BTreeSet<String>>();
        let said = |statements: &[Statement]| -> BTreeSet<(String, String)> {
            let pairs = statements.iter().flat_map(|(actions, resources, _)| {
                actions.iter().flat_map(|action| resources.iter().map(|resource| (action.clone(), resource.clone())))
            });
            pairs.collect()
        };
        let before: Vec<Statement> = vec![
            (set(&["iam:GetRole"]), on(&[1, 2, 3]), None),
            (set(&["iam:DeleteRole", "iam:TagRole"]), on(&[2, 3]), None),
            (set(&["iam:UpdateAssumeRolePolicy", "iam:UpdateRoleDescription"]), on(&[2, 4]), None),
            (set(&["iam:PassRole"]), on(&[2]), None),
        ];
        let after = shortened(before.clone());
        assert_eq!(said(&after), said(&before));
        let named_in =
            |all: &[Statement], number: usize| all.iter().filter(|one| one.1.contains(&named(number))).count();
        assert_eq!([1, 2, 3, 4].map(|number| named_in(&before, number)), [1, 4, 2, 1]);
        // One with too many actions to say them twice names its resource again.
        assert_eq!([1, 2, 3, 4].map(|number| named_in(&after, number)), [1, 3, 1, 1]);
    }

    #[test]
    fn patterns_cover_what_they_match() {
        for (pattern, text, expected) in [
            ("*", "arn:aws:iam::1:role/x", true),
            ("a*", "a", true),
            ("a*", "b", false),
            ("a*c", "abc", true),
            ("a*c", "ab*", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("a", "a", true),
            ("a", "a*", false),
            ("table/*-connections", "table/chat-connections", true),
            ("table/*-connections", "table/chat-*", false),
            ("role/*-eu-*", "role/chat-*", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(covers(pattern, text), expected, "{pattern} {text}");
        }
    }
}
