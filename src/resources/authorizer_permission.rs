//! Lets API Gateway call the authorizer's function, which is the user's: one statement on it, and nothing else, is ours
//! (G20).

use async_trait::async_trait;
use aws_sdk_lambda::config::{Builder, Region};

use super::names;
use super::permission::{Statement, statements};
use crate::aws::failure::{Class, Failure, Outcome};
use crate::engine::change::{Change, Differences};
use crate::engine::found::{Fields, Found, fields};
use crate::engine::key::Key;
use crate::engine::kind::{Facts, Kind, Part, Permission, Resource, Wanted};
use crate::engine::run::Ctx;
use crate::engine::scope::Scope;

pub struct AuthorizerPermissionKind;

/// Ours by its name alone, for a statement has no tags. Deployments of one name in two regions may share a function.
fn statement_id(scope: &Scope, function_arn: &str) -> String {
    let name = &scope.config.name;
    if region_of(function_arn) == scope.region {
        format!("chatctl-{name}")
    } else {
        format!("chatctl-{name}_{}", scope.region)
    }
}

fn region_of(arn: &str) -> &str {
    arn.split(':').nth(3).unwrap_or_default()
}

fn wanted(scope: &Scope) -> Statement {
    let authorizer = names::wanted_authorizer(scope).map(|key| scope.id(&key)).unwrap_or_default();
    Statement::for_api_gateway(scope, &format!("{}/authorizers/{authorizer}", names::api_id(scope)))
}

/// For the region that the function is in.
fn there(function_arn: &str) -> Builder {
    aws_sdk_lambda::Config::builder().region(Region::new(region_of(function_arn).to_owned()))
}

async fn look(ctx: &Ctx, function_arn: &str) -> Result<Option<Found>, Failure> {
    let key = Key::new(names::AUTHORIZER_PERMISSION, function_arn);
    let answer = ctx
        .call("lambda:GetPolicy", &key, || {
            let get = ctx.aws.lambda.get_policy().function_name(function_arn);
            get.customize().config_override(there(function_arn)).send()
        })
        .await
        .optional()?;
    let policy = answer.and_then(|answer| answer.policy).unwrap_or_default();
    let ours = statement_id(&ctx.scope, function_arn);
    let found = statements(&policy).into_iter().find(|(id, _)| *id == ours);
    Ok(found.map(|(id, statement)| Found::new(key, id, fields(&statement))))
}

/// What an authorizer that is going to go has left on its function. Where that cannot be seen, it is taken to be there,
/// so that taking it back is tried.
pub(super) async fn left_on(ctx: &Ctx, function_arn: &str) -> Result<Option<Found>, Failure> {
    if names::other_account(Some(ctx.identity().await?), function_arn).is_some() {
        return Ok(None);
    }
    match look(ctx, function_arn).await {
        Err(failure) if failure.class == Class::AccessDenied => {
            let key = Key::new(names::AUTHORIZER_PERMISSION, function_arn);
            Ok(Some(Found::new(key, statement_id(&ctx.scope, function_arn), Fields::new())))
        }
        found => found,
    }
}

#[async_trait]
impl Kind for AuthorizerPermissionKind {
    fn facts(&self) -> Facts {
        Facts {
            // What is left on another function goes when no stage uses its authorizer any more.
            referred_to_by: &[names::STAGE],
            ..Facts::of(names::AUTHORIZER_PERMISSION)
        }
    }

    /// Under the function's ARN.
    fn declare(&self, scope: &Scope) -> Vec<Wanted> {
        let needs = || [Some(names::api(scope)), names::wanted_authorizer(scope)].into_iter().flatten().collect();
        names::authorizer_permission(scope).map(|key| Wanted::new(key, needs(), Self)).into_iter().collect()
    }

    fn probes(&self, scope: &Scope) -> Vec<String> {
        names::authorizer_permission(scope).map(|key| key.name).into_iter().collect()
    }

    async fn find(&self, ctx: &Ctx, probe: &str) -> Result<Vec<Found>, Failure> {
        Ok(look(ctx, probe).await?.into_iter().collect())
    }

    /// Parallel policy writes to one function lose statements (L7).
    fn lane(&self, change: &Change) -> Option<String> {
        Some(format!("policy of {}", change.key.name))
    }

    async fn delete(&self, ctx: &Ctx, found: &Found) -> Result<(), Failure> {
        let (function, id) = (&found.key.name, &found.id);
        let removed = ctx.call("lambda:RemovePermission", &found.key, || {
            let remove = ctx.aws.lambda.remove_permission().function_name(function).statement_id(id);
            remove.customize().config_override(there(function)).send()
        });
        match removed.await.gone() {
            // The settings name it no more, and the policy that goes with them does neither.
            Err(failure) if failure.class == Class::AccessDenied && found.parent.is_some() => {
                ctx.run.reporter.note(&format!(
                    "warning: {}: cannot remove the statement that let an authorizer call it (it does no harm): `aws lambda \
                     remove-permission --region {} --function-name {function} --statement-id {id}` does",
                    found.key,
                    region_of(function)
                ));
                Ok(())
            }
            other => other,
        }
    }

    fn permissions(&self, scope: &Scope) -> Vec<Permission> {
        let Some(Key { name: function, .. }) = names::authorizer_permission(scope) else { return vec![] };
        vec![
            Permission::read(&["lambda:GetPolicy"], vec![function.clone()]),
            Permission::write(&["lambda:AddPermission", "lambda:RemovePermission"], vec![function]),
        ]
    }
}

#[async_trait]
impl Resource for AuthorizerPermissionKind {
    fn wanted(&self, scope: &Scope) -> Fields {
        fields(&wanted(scope))
    }

    async fn create(&self, ctx: &Ctx, key: &Key) -> Result<String, Failure> {
        let (id, wanted) = (statement_id(&ctx.scope, &key.name), wanted(&ctx.scope));
        let added = ctx.call("lambda:AddPermission", key, || {
            let add = ctx.aws.lambda.add_permission().function_name(&key.name).statement_id(&id);
            let add = add.action(&wanted.action).principal(&wanted.principal).source_arn(&wanted.source_arn);
            add.customize().config_override(there(&key.name)).send()
        });
        match added.await {
            Ok(_) => Ok(id),
            // The function is the user's: looking again does not bring it.
            Err(failure) if failure.class == Class::NotFound => Err(Failure { class: Class::Other, ..failure }),
            Err(failure) => Err(failure),
        }
    }

    /// There is no way to change a statement.
    async fn update(&self, ctx: &Ctx, found: &Found, _differences: &Differences) -> Result<(), Failure> {
        self.delete(ctx, found).await?;
        self.create(ctx, &found.key).await.map(drop)
    }

    fn template(&self, scope: &Scope, key: &Key) -> Vec<Part> {
        let properties = wanted(scope).properties(&key.name);
        vec![Part { logical_id: "AuthorizerPermission".to_owned(), r#type: "AWS::Lambda::Permission", properties }]
    }
}

/// The ARN of the function that an authorizer calls, if that is what it does.
pub(super) fn function_of(found: &Found) -> Option<&str> {
    let (_, function) = found.text("uri").split_once("/functions/")?;
    function.strip_suffix("/invocations").filter(|arn| arn.split(':').count() >= 7)
}
