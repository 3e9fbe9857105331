//! The functions' IAM roles: one each, so that each may do only what it must.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_iam::types::Tag;
use futures_util::future::try_join_all;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::tags::{self, Tags};
use super::{log_group, names, policy_document, role_policy};
use crate::app::{Function, FunctionName};
use crate::aws::failure::{Class, Failure, Outcome};
use crate::engine::change::{Change, Differences};
use crate::engine::found::{Fields, Found, Owner, fields};
use crate::engine::key::Key;
use crate::engine::kind::{Facts, Kind, Part, Permission, Resource, Sign, TakenBack, Wanted};
use crate::engine::run::Ctx;
use crate::engine::scope::Scope;

pub struct RoleKind;

/// So many roles tell of their deployment, which has one a function.
const ENOUGH: usize = 3;

/// The role of a function.
struct FunctionRole(FunctionName);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RoleSpec {
    path: String,
    trust_policy: Value,
    permissions_boundary: Option<String>,
    tags: Tags,
}

/// The roles that functions are given: ours, and those brought along.
fn passed(scope: &Scope) -> Vec<String> {
    let own = names::with_own_role(scope).next().map(|_| names::role_pattern(scope));
    own.into_iter().chain(scope.config.role_arns.values().cloned()).collect()
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

#[async_trait]
impl Kind for RoleKind {
    fn facts(&self) -> Facts {
        Facts {
            immutable: &["path"],
            referred_to_by: &[names::FUNCTION],
            // I1
            is_shown_late: true,
            ..Facts::of(names::ROLE)
        }
    }

    fn declare(&self, scope: &Scope) -> Vec<Wanted> {
        // By its log group it is found when it is wanted no more; those of the walkthrough are looked for anyway.
        let wanted = |function: &Function| {
            let is_found = function.is_of_walkthrough();
            let needs = if is_found { vec![] } else { vec![names::log_group(scope, &function.name)] };
            Wanted::new(names::role(scope, &function.name), needs, FunctionRole(function.name.clone()))
        };
        names::with_own_role(scope).map(wanted).collect()
    }

    fn probes(&self, scope: &Scope) -> Vec<String> {
        names::with_own_role(scope).map(|function| names::role(scope, &function.name).name).collect()
    }

    /// Those of functions that are wanted no more, unless all roles are brought along: then there may be no right to look.
    fn hinted(&self, scope: &Scope, found: &[Found]) -> Vec<String> {
        if names::with_own_role(scope).next().is_none() {
            return vec![];
        }
        names::once_wanted(scope, found).iter().map(|name| names::role(scope, name).name).collect()
    }

    /// By name: listing roles omits their tags (I5).
    async fn find(&self, ctx: &Ctx, probe: &str) -> Result<Vec<Found>, Failure> {
        let key = Key::new(names::ROLE, probe);
        let Some(role) = role_policy::look_at_role(ctx, &key).await? else { return Ok(vec![]) };
        let all = all_tags(&role);
        let owner = Owner::by_tags(&ctx.scope, &all);
        let (tags, _) = tags::split(all);
        let fields = fields(&RoleSpec {
            path: role.path().to_owned(),
            trust_policy: role.assume_role_policy_document().map_or(Value::Null, policy_document::parse),
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

    fn taken_back(&self, change: &Change) -> Option<TakenBack> {
        let taken = TakenBack { setting: "permissions-boundary", now: "what the roles may do is no longer bounded" };
        change.turns("permissionsBoundary", &Value::Null).then_some(taken)
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
                Err(failure)
                    if failure.code == "DeleteConflict"
                        && !failure.message.contains("instance profile")
                        && begun.elapsed() < BUDGET =>
                {
                    role_policy::strip(ctx, &key.name).await?;
                    if !ctx.pause(Duration::from_secs(1)).await {
                        return Err(Failure::interrupted(failure.operation, &key.to_string()));
                    }
                }
                other => return other,
            }
        }
    }

    /// The roles of this region; listing them omits their tags (I5).
    async fn signs(&self, ctx: &Ctx) -> Result<Vec<Sign>, Failure> {
        let key = &Key::new(names::ROLE, "list");
        let listed = ctx.all(
            "iam:ListRoles",
            key,
            |marker| ctx.aws.iam.list_roles().path_prefix(&ctx.scope.config.role_path).set_marker(marker).send(),
            |page| (page.roles, page.marker.filter(|_| page.is_truncated)),
        );
        let listed = listed.await?;
        let mut by_deployment: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for name in listed.iter().map(|role| role.role_name()) {
            if let Some(deployment) = names::deployment_of_role(&ctx.scope, name) {
                by_deployment.entry(deployment).or_default().push(name);
            }
        }
        let names = by_deployment.values().flat_map(|roles| roles.iter().take(ENOUGH));
        let roles = try_join_all(names.map(|name| async move {
            let key = Key::new(names::ROLE, *name);
            ctx.call("iam:GetRole", &key, || ctx.aws.iam.get_role().role_name(*name).send()).await.optional()
        }))
        .await?;
        let roles = roles.into_iter().flatten().filter_map(|answer| answer.role);
        Ok(roles.filter_map(|role| Sign::of(&all_tags(&role))).collect())
    }

    /// A configured boundary is a condition of whatever could make a role that may do more (I7).
    fn permissions(&self, scope: &Scope) -> Vec<Permission> {
        let of_region = format!("*-{}-*", scope.region);
        let all = vec![names::role_arn(scope, &of_region), scope.arn("iam", &format!("role/{of_region}"))];
        let mut permissions = vec![
            Permission::other(&["iam:ListRoles"], vec!["*".to_owned()]),
            Permission::other(&["iam:GetRole"], all),
            Permission::write(&["iam:PassRole"], passed(scope))
                .when(Some(json!({ "StringEquals": { "iam:PassedToService": "lambda.amazonaws.com" } }))),
        ];
        if names::with_own_role(scope).next().is_none() {
            return permissions;
        }
        let roles = vec![names::role_pattern(scope)];
        let of_boundary: &[&str] = match scope.config.permissions_boundary {
            Some(_) => &["iam:PutRolePermissionsBoundary"],
            None => &["iam:DeleteRolePermissionsBoundary"],
        };
        permissions.extend([
            Permission::read(&["iam:GetRole"], names::any_role_pattern(scope)),
            Permission::write(&["iam:DeleteRole"], names::any_role_pattern(scope)),
            Permission::write(&["iam:TagRole", "iam:UntagRole", "iam:UpdateAssumeRolePolicy"], roles.clone()),
            Permission::write(&["iam:CreateRole"], roles.clone()).when(role_policy::bounded(scope)),
            Permission::write(of_boundary, roles).when(role_policy::bounded(scope)),
        ]);
        permissions
    }
}

#[async_trait]
impl Resource for FunctionRole {
    fn wanted(&self, scope: &Scope) -> Fields {
        fields(&RoleSpec {
            path: scope.config.role_path.clone(),
            trust_policy: policy_document::normal(trust_policy()),
            permissions_boundary: scope.config.permissions_boundary.clone(),
            tags: scope.tags(),
        })
    }

    async fn create(&self, ctx: &Ctx, key: &Key) -> Result<String, Failure> {
        let tags: Vec<Tag> = ctx.scope.tags_at_creation().into_iter().filter_map(|(k, v)| tag(&k, &v)).collect();
        log_group::registered(ctx, &self.0, key).await?;
        let created = ctx
            .call("iam:CreateRole", key, || {
                ctx.aws
                    .iam
                    .create_role()
                    .role_name(&key.name)
                    .path(&ctx.scope.config.role_path)
                    .assume_role_policy_document(trust_policy().to_string())
                    .set_permissions_boundary(ctx.scope.config.permissions_boundary.clone())
                    .set_tags(Some(tags.clone()))
                    .send()
            })
            .await?;
        Ok(created.role.map_or_else(|| names::role_arn(&ctx.scope, &key.name), |role| role.arn))
    }

    async fn update(&self, ctx: &Ctx, found: &Found, differences: &Differences) -> Result<(), Failure> {
        match change(ctx, &found.key, differences).await {
            Err(failure) => Err(role_policy::judged(ctx, &found.key, failure).await),
            Ok(()) => Ok(()),
        }
    }

    fn template(&self, scope: &Scope, key: &Key) -> Vec<Part> {
        let mut properties = json!({
            "RoleName": key.name,
            "Path": scope.config.role_path,
            "AssumeRolePolicyDocument": trust_policy(),
            "Tags": tags::listed(scope.tags())
        });
        if let Some(boundary) = &scope.config.permissions_boundary {
            properties["PermissionsBoundary"] = json!(boundary);
        }
        let logical_id = names::logical_id(self.0.as_str(), "Role");
        vec![Part { logical_id, r#type: "AWS::IAM::Role", properties }]
    }
}

fn all_tags(role: &aws_sdk_iam::types::Role) -> Tags {
    role.tags().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect()
}

async fn change(ctx: &Ctx, key: &Key, differences: &Differences) -> Result<(), Failure> {
    let iam = &ctx.aws.iam;
    if differences.touches("trustPolicy") {
        ctx.call("iam:UpdateAssumeRolePolicy", key, || {
            iam.update_assume_role_policy().role_name(&key.name).policy_document(trust_policy().to_string()).send()
        })
        .await?;
    }
    if differences.touches("permissionsBoundary") {
        match &ctx.scope.config.permissions_boundary {
            Some(arn) => {
                ctx.call("iam:PutRolePermissionsBoundary", key, || {
                    iam.put_role_permissions_boundary().role_name(&key.name).permissions_boundary(arn).send()
                })
                .await
                .map_err(|failure| lasting(failure, arn))?;
            }
            None => {
                ctx.call("iam:DeleteRolePermissionsBoundary", key, || {
                    iam.delete_role_permissions_boundary().role_name(&key.name).send()
                })
                .await?;
            }
        }
    }
    let (set, removed) = differences.entries("tags");
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

/// It is the boundary that is not there, not the role, and no other look will find it.
fn lasting(failure: Failure, boundary: &str) -> Failure {
    let is_boundary = failure.class == Class::NotFound && failure.message.contains(boundary);
    if is_boundary { Failure { class: Class::Other, ..failure } } else { failure }
}

fn tag(key: &str, value: &str) -> Option<Tag> {
    Tag::builder().key(key).value(value).build().ok()
}
