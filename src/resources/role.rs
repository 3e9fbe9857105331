//! The functions' IAM roles: one each, so that each may do only what it must.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_iam::types::Tag;
use futures_util::future::try_join_all;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::tags::{self, Tags};
use super::{Kind, Part, Permission, Trace, fields, logical_id, role_policy};
use crate::aws::failure::{Failure, Outcome};
use crate::aws::pages;
use crate::engine::graph::Key;
use crate::engine::observe::{Fields, Found, Owner};
use crate::engine::plan::Changes;
use crate::engine::scope::{Ctx, Scope};
use crate::functions::{FUNCTIONS, Function};

pub const ROLE: &str = "role";

pub struct RoleKind;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Role {
    path: String,
    trust_policy: Value,
    permissions_boundary: Option<String>,
    tags: Tags,
}

/// Role names are global to the account, so the region is part of the name (I2).
pub fn key_of(scope: &Scope, function: &str) -> Key {
    Key::new(ROLE, format!("{}-{}-{function}", scope.config.name, scope.region))
}

/// The functions whose roles are ours to make: all but those with a role brought along (I7).
pub fn ours(scope: &Scope) -> impl Iterator<Item = &'static Function> {
    FUNCTIONS.iter().filter(|function| !scope.config.role_arns.contains_key(function.name))
}

/// The role that `function` runs as.
pub fn arn_of(scope: &Scope, function: &str) -> String {
    match scope.config.role_arns.get(function) {
        Some(arn) => arn.clone(),
        None => own_arn(scope, &key_of(scope, function).name),
    }
}

fn own_arn(scope: &Scope, name: &str) -> String {
    scope.arn("iam", &format!("role{}{name}", scope.config.role_path))
}

/// The roles of this deployment, and of those whose names begin with `<its name>-`, in this region.
pub fn pattern(scope: &Scope) -> String {
    own_arn(scope, &names(scope))
}

/// The same, and as IAM writes a role that is not there, or that it does not see yet: without its path (I11).
pub fn pattern_of_any(scope: &Scope) -> Vec<String> {
    vec![pattern(scope), scope.arn("iam", &format!("role/{}", names(scope)))]
}

fn names(scope: &Scope) -> String {
    format!("{}-*{}-*", scope.config.name, scope.region)
}

/// The roles that functions are given: ours, and those brought along.
fn passed(scope: &Scope) -> Vec<String> {
    let own = ours(scope).next().map(|_| pattern(scope));
    own.into_iter().chain(scope.config.role_arns.values().cloned()).collect()
}

/// That the role has the configured boundary, if there is one.
pub fn bounded(scope: &Scope) -> Option<Value> {
    let boundary = scope.config.permissions_boundary.as_ref()?;
    Some(json!({ "ArnEquals": { "iam:PermissionsBoundary": boundary } }))
}

/// The same principal in every partition (I10).
fn trust_policy() -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "Service": "lambda.amazonaws.com" },
            "Action": "sts:AssumeRole"
        }]
    })
}

/// A policy as IAM returns it, URL-encoded, in the form in which it can be compared: lists of one and single values
/// mean the same, and the order of actions means nothing.
pub fn parse_policy(text: &str) -> Value {
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

#[async_trait]
impl Kind for RoleKind {
    fn name(&self) -> &'static str {
        ROLE
    }

    fn declare(&self, scope: &Scope) -> Vec<(Key, Vec<Key>)> {
        ours(scope).map(|function| (key_of(scope, function.name), vec![])).collect()
    }

    fn probes(&self, scope: &Scope) -> Vec<String> {
        ours(scope).map(|function| key_of(scope, function.name).name).collect()
    }

    /// By name: listing roles omits their tags (I5).
    async fn find(&self, ctx: &Ctx, probe: &str, _parent: Option<&Found>) -> Result<Vec<Found>, Failure> {
        let key = Key::new(ROLE, probe);
        let answer =
            ctx.call("iam:GetRole", &key, || ctx.aws.iam.get_role().role_name(probe).send()).await.optional()?;
        let Some(role) = answer.and_then(|answer| answer.role) else { return Ok(vec![]) };
        let all = all_tags(&role);
        let owner = Owner::by_tags(&ctx.scope, &all);
        let (tags, _) = tags::split(all);
        let fields = fields(&Role {
            path: role.path().to_owned(),
            trust_policy: role.assume_role_policy_document().map_or(Value::Null, parse_policy),
            permissions_boundary: role
                .permissions_boundary()
                .and_then(|boundary| boundary.permissions_boundary_arn())
                .map(str::to_owned),
            tags,
        });
        let mut found = Found { owner, ..Found::new(key, role.arn(), fields) };
        found.attributes.insert("created", role.create_date().secs().to_string());
        Ok(vec![found])
    }

    fn wanted(&self, scope: &Scope, _name: &str) -> Fields {
        fields(&Role {
            path: scope.config.role_path.clone(),
            trust_policy: normal(trust_policy()),
            permissions_boundary: scope.config.permissions_boundary.clone(),
            tags: scope.tags(),
        })
    }

    fn immutable(&self) -> &'static [&'static str] {
        &["path"]
    }

    async fn create(&self, ctx: &Ctx, name: &str) -> Result<String, Failure> {
        let key = Key::new(ROLE, name);
        let tags: Vec<Tag> = ctx.scope.tags_at_creation().into_iter().filter_map(|(k, v)| tag(&k, &v)).collect();
        let created = ctx
            .call("iam:CreateRole", &key, || {
                ctx.aws
                    .iam
                    .create_role()
                    .role_name(name)
                    .path(&ctx.scope.config.role_path)
                    .assume_role_policy_document(trust_policy().to_string())
                    .set_permissions_boundary(ctx.scope.config.permissions_boundary.clone())
                    .set_tags(Some(tags.clone()))
                    .send()
            })
            .await?;
        Ok(created.role.map_or_else(|| own_arn(&ctx.scope, name), |role| role.arn))
    }

    async fn update(&self, ctx: &Ctx, found: &Found, changes: &Changes) -> Result<(), Failure> {
        let (key, iam) = (&found.key, &ctx.aws.iam);
        if changes.touches("trustPolicy") {
            ctx.call("iam:UpdateAssumeRolePolicy", key, || {
                iam.update_assume_role_policy().role_name(&key.name).policy_document(trust_policy().to_string()).send()
            })
            .await?;
        }
        if changes.touches("permissionsBoundary") {
            match &ctx.scope.config.permissions_boundary {
                Some(arn) => {
                    ctx.call("iam:PutRolePermissionsBoundary", key, || {
                        iam.put_role_permissions_boundary().role_name(&key.name).permissions_boundary(arn).send()
                    })
                    .await?;
                }
                None => {
                    ctx.call("iam:DeleteRolePermissionsBoundary", key, || {
                        iam.delete_role_permissions_boundary().role_name(&key.name).send()
                    })
                    .await?;
                }
            }
        }
        let (set, removed) = changes.entries("tags");
        if !set.is_empty() {
            let tags: Vec<Tag> = set.iter().filter_map(|(k, v)| tag(k, v)).collect();
            ctx.call("iam:TagRole", key, || iam.tag_role().role_name(&key.name).set_tags(Some(tags.clone())).send())
                .await?;
        }
        if !removed.is_empty() {
            ctx.call("iam:UntagRole", key, || {
                iam.untag_role().role_name(&key.name).set_tag_keys(Some(removed.clone())).send()
            })
            .await?;
        }
        Ok(())
    }

    /// Whatever was attached since we looked is taken off first; IAM may go on refusing for a while after (I3).
    async fn delete(&self, ctx: &Ctx, found: &Found) -> Result<(), Failure> {
        const BUDGET: Duration = Duration::from_secs(120);
        let key = &found.key;
        let begun = Instant::now();
        loop {
            let answer =
                ctx.call("iam:DeleteRole", key, || ctx.aws.iam.delete_role().role_name(&key.name).send()).await.gone();
            match answer {
                Err(failure) if failure.code == "DeleteConflict" && begun.elapsed() < BUDGET => {
                    role_policy::strip(ctx, &key.name).await?;
                    if !ctx.pause(Duration::from_millis(450)).await {
                        return Err(Failure::interrupted(failure.operation, &key.to_string()));
                    }
                }
                other => return other,
            }
        }
    }

    /// The roles of this region; listing them omits their tags (I5).
    async fn owners(&self, ctx: &Ctx) -> Result<Vec<Trace>, Failure> {
        let key = &Key::new(ROLE, "list");
        let endings = FUNCTIONS.map(|function| format!("-{}-{}", ctx.scope.region, function.name));
        let listed = pages::all(|marker| async move {
            let page = ctx
                .call("iam:ListRoles", key, || {
                    ctx.aws.iam.list_roles().path_prefix(&ctx.scope.config.role_path).set_marker(marker.clone()).send()
                })
                .await?;
            Ok(Some((page.roles, page.marker.filter(|_| page.is_truncated))))
        });
        let listed = listed.await?.unwrap_or_default();
        let of_region = listed.iter().map(|role| &role.role_name);
        let names = of_region.filter(|name| endings.iter().any(|ending| name.ends_with(ending)));
        let roles = try_join_all(names.map(|name| async move {
            let key = Key::new(ROLE, name);
            ctx.call("iam:GetRole", &key, || ctx.aws.iam.get_role().role_name(name).send()).await.optional()
        }))
        .await?;
        let roles = roles.into_iter().flatten().filter_map(|answer| answer.role);
        Ok(roles.filter_map(|role| Trace::of(&all_tags(&role))).collect())
    }

    fn template(&self, scope: &Scope) -> Vec<Part> {
        let part = |function: &Function| {
            let key = key_of(scope, function.name);
            let mut properties = json!({
                "RoleName": key.name,
                "Path": scope.config.role_path,
                "AssumeRolePolicyDocument": trust_policy(),
                "Tags": tags::listed(scope.tags())
            });
            if let Some(boundary) = &scope.config.permissions_boundary {
                properties["PermissionsBoundary"] = json!(boundary);
            }
            Part { key, logical_id: logical_id(function.name, "Role"), r#type: "AWS::IAM::Role", properties }
        };
        ours(scope).map(part).collect()
    }

    /// A configured boundary is a condition of whatever could make a role that may do more (I7).
    fn permissions(&self, scope: &Scope) -> Vec<Permission> {
        let of_region = format!("*-{}-*", scope.region);
        let all = vec![own_arn(scope, &of_region), scope.arn("iam", &format!("role/{of_region}"))];
        let mut permissions = vec![
            Permission::other(&["iam:ListRoles"], vec!["*".to_owned()]),
            Permission::other(&["iam:GetRole"], all),
            Permission::write(&["iam:PassRole"], passed(scope))
                .when(Some(json!({ "StringEquals": { "iam:PassedToService": "lambda.amazonaws.com" } }))),
        ];
        if ours(scope).next().is_none() {
            return permissions;
        }
        let roles = vec![pattern(scope)];
        let of_boundary: &[&str] = match scope.config.permissions_boundary {
            Some(_) => &["iam:PutRolePermissionsBoundary"],
            None => &["iam:DeleteRolePermissionsBoundary"],
        };
        permissions.extend([
            Permission::read(&["iam:GetRole"], pattern_of_any(scope)),
            Permission::write(&["iam:DeleteRole"], pattern_of_any(scope)),
            Permission::write(&["iam:TagRole", "iam:UntagRole", "iam:UpdateAssumeRolePolicy"], roles.clone()),
            Permission::write(&["iam:CreateRole"], roles.clone()).when(bounded(scope)),
            Permission::write(of_boundary, roles).when(bounded(scope)),
        ]);
        permissions
    }
}

fn all_tags(role: &aws_sdk_iam::types::Role) -> Tags {
    role.tags().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect()
}

fn tag(key: &str, value: &str) -> Option<Tag> {
    Tag::builder().key(key).value(value).build().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn policies_that_mean_the_same_are_the_same() {
        let encoded = "%7B%22Statement%22%3A%5B%7B%22Action%22%3A%5B%22b%22%2C%22a%22%5D%7D%5D%7D";
        assert_eq!(parse_policy(encoded), normal(json!({ "Statement": { "Action": ["a", "b"] } })));
        assert_eq!(normal(json!({ "Action": ["a"] })), normal(json!({ "Action": "a" })));
        assert_ne!(normal(json!({ "Action": "a" })), normal(json!({ "Action": "b" })));
    }

    proptest! {
        /// Whatever IAM answers, it is compared, not trusted.
        #[test]
        fn no_policy_text_panics(text in ".*") {
            parse_policy(&text);
        }
    }
}
