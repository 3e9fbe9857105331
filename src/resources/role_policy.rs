//! What each role may do: its one inline policy. Anything else that is attached to the role is too much.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_iam::types::Role;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{names, policy_document};
use crate::app::{App, Function, QueueEnd};
use crate::aws::failure::{Class, Failure, Outcome};
use crate::engine::change::{Change, Differences};
use crate::engine::found::{Fields, Found, fields};
use crate::engine::key::Key;
use crate::engine::kind::{Facts, Kind, Part, Permission, Resource, Wanted};
use crate::engine::run::Ctx;
use crate::engine::scope::Scope;

/// The name of the inline policy within its role.
const POLICY_NAME: &str = "chatctl";

/// What Lambda does with a queue in the name of the function that a mapping feeds, and what the worker itself does.
const RECEIVING: &[&str] =
    &["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"];

/// The key of the item where the worker notes how far it is (`lambda/receivers.mjs`).
const CHECKPOINT: &str = "#broadcast";

pub struct RolePolicyKind;

/// What a function may do.
struct FunctionPolicy(Function);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RolePolicySpec {
    document: Value,
}

/// Least privilege: the table actions it takes, its own log group, and, for the one that posts, `@connections` of
/// this stage by POST alone (I8).
pub fn document(scope: &Scope, function: &Function) -> Value {
    let log_group = names::log_group(scope, &function.name).name;
    let mut statements = Vec::new();
    if !function.table_actions.is_empty() {
        statements.push(json!({
            "Sid": "Connections",
            "Effect": "Allow",
            "Action": function.table_actions,
            "Resource": names::table_arn(scope)
        }));
    }
    // Whoever may ask the table may ask it by its indexes.
    if function.table_actions.contains(&"dynamodb:Query") && !scope.config.table_indexes.is_empty() {
        statements.push(json!({
            "Sid": "Indexes",
            "Effect": "Allow",
            "Action": ["dynamodb:Query", "dynamodb:Scan"],
            "Resource": format!("{}/index/*", names::table_arn(scope))
        }));
    }
    statements.push(json!({
        "Sid": "Logs",
        "Effect": "Allow",
        "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
        "Resource": scope.arn("logs", &format!("log-group:{log_group}:*"))
    }));
    if let Some(end) = function.queue_end {
        statements.push(json!({
            "Sid": "Queue",
            "Effect": "Allow",
            "Action": match end {
                QueueEnd::Sends => &["sqs:SendMessage"][..],
                QueueEnd::Receives => RECEIVING,
            },
            "Resource": names::queue_arn(scope, &names::messages(scope))
        }));
    }
    if function.queue_end == Some(QueueEnd::Receives) {
        statements.push(json!({
            "Sid": "Checkpoint",
            "Effect": "Allow",
            "Action": ["dynamodb:GetItem", "dynamodb:PutItem"],
            "Resource": names::table_arn(scope),
            "Condition": { "ForAllValues:StringEquals": { "dynamodb:LeadingKeys": [CHECKPOINT] } }
        }));
    }
    if function.posts_to_connections {
        let posts = format!("{}/{}/POST/@connections/*", names::api_id(scope), scope.config.stage);
        statements.push(json!({
            "Sid": "Post",
            "Effect": "Allow",
            "Action": "execute-api:ManageConnections",
            "Resource": scope.arn("execute-api", &posts)
        }));
    }
    if let Some(kms_key) = scope.config.kms_key.as_ref().filter(|_| !function.table_actions.is_empty()) {
        statements.push(json!({
            "Sid": "TableKey",
            "Effect": "Allow",
            "Action": ["kms:Decrypt"],
            "Resource": kms_key
        }));
        if function.queue_end == Some(QueueEnd::Sends) {
            // What is sent is encrypted in the sender's name (Q6).
            statements.push(json!({
                "Sid": "QueueKey",
                "Effect": "Allow",
                "Action": ["kms:GenerateDataKey"],
                "Resource": kms_key
            }));
        }
    }
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// What is put in the place of `found`: where messages come to be delivered in another way, what both ways need, since
/// the function goes on in the old one until it is changed. The next look finds more than is wanted, and that goes.
fn to_put(scope: &Scope, function: &Function, found: &Found) -> Value {
    let mut wanted = document(scope, function);
    let before = App::walkthrough(scope.config.delivery.other());
    let before = before.function(function.name.as_str()).map(|function| document(scope, function));
    let is_as_before = |before: &Value| found.fields.get("document") == Some(&policy_document::normal(before.clone()));
    if let Some(Value::Array(before)) = before.filter(is_as_before).map(|mut before| before["Statement"].take())
        && let Some(statements) = wanted["Statement"].as_array_mut()
    {
        let only_before: Vec<Value> = before.into_iter().filter(|statement| !statements.contains(statement)).collect();
        statements.extend(only_before);
    }
    wanted
}

/// That the role has the configured boundary, if there is one.
pub fn bounded(scope: &Scope) -> Option<Value> {
    let boundary = scope.config.permissions_boundary.as_ref()?;
    Some(json!({ "ArnEquals": { "iam:PermissionsBoundary": boundary } }))
}

#[async_trait]
impl Kind for RolePolicyKind {
    fn facts(&self) -> Facts {
        Facts {
            // IAM deletes no role that still has policies (I3).
            vanishes_with_parent: false,
            // I1
            is_shown_late: true,
            ..Facts::of(names::ROLE_POLICY).within(names::ROLE)
        }
    }

    fn declare(&self, scope: &Scope) -> Vec<Wanted> {
        names::with_own_role(scope)
            .map(|function| {
                let mut needs = vec![names::role(scope, &function.name)];
                needs.extend(function.posts_to_connections.then(|| names::api(scope)));
                Wanted::new(names::role_policy(scope, &function.name), needs, FunctionPolicy(function.clone()))
            })
            .collect()
    }

    async fn find(&self, ctx: &Ctx, probe: &str) -> Result<Vec<Found>, Failure> {
        let key = Key::new(names::ROLE_POLICY, probe);
        let (inline, attached, document) =
            tokio::try_join!(inline_names(ctx, &key), attached_arns(ctx, &key), document_of(ctx, &key))?;
        let mut found: Vec<Found> = document
            .map(|document| Found::new(key.clone(), POLICY_NAME, fields(&RolePolicySpec { document })))
            .into_iter()
            .collect();
        found.extend(strays(probe, inline, attached));
        Ok(found)
    }

    fn lane(&self, change: &Change) -> Option<String> {
        Some(format!("role {}", change.key.name.split('/').next().unwrap_or_default()))
    }

    async fn delete(&self, ctx: &Ctx, found: &Found) -> Result<(), Failure> {
        let Some(role) = &found.parent else { return Ok(()) };
        take_off(ctx, &role.name, found).await
    }

    fn permissions(&self, scope: &Scope) -> Vec<Permission> {
        if names::with_own_role(scope).next().is_none() {
            return vec![];
        }
        vec![
            Permission::read(
                &["iam:GetRolePolicy", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies"],
                names::any_role_pattern(scope),
            ),
            Permission::write(&["iam:DeleteRolePolicy", "iam:DetachRolePolicy"], names::any_role_pattern(scope)),
            Permission::write(&["iam:PutRolePolicy"], vec![names::role_pattern(scope)]).when(bounded(scope)),
        ]
    }
}

#[async_trait]
impl Resource for FunctionPolicy {
    fn wanted(&self, scope: &Scope) -> Fields {
        fields(&RolePolicySpec { document: policy_document::normal(document(scope, &self.0)) })
    }

    async fn create(&self, ctx: &Ctx, key: &Key) -> Result<String, Failure> {
        put(ctx, key, &document(&ctx.scope, &self.0)).await?;
        Ok(POLICY_NAME.to_owned())
    }

    async fn update(&self, ctx: &Ctx, found: &Found, _differences: &Differences) -> Result<(), Failure> {
        put(ctx, &found.key, &to_put(&ctx.scope, &self.0, found)).await
    }

    fn template(&self, scope: &Scope, _key: &Key) -> Vec<Part> {
        let Self(function) = self;
        let properties = json!({
            "PolicyName": POLICY_NAME,
            "Roles": [scope.id(&names::role(scope, &function.name))],
            "PolicyDocument": document(scope, function)
        });
        let logical_id = names::logical_id(function.name.as_str(), "Policy");
        vec![Part { logical_id, r#type: "AWS::IAM::Policy", properties }]
    }
}

async fn put(ctx: &Ctx, key: &Key, document: &Value) -> Result<(), Failure> {
    let document = document.to_string();
    let answer = ctx
        .call("iam:PutRolePolicy", key, || {
            let put = ctx.aws.iam.put_role_policy().role_name(&key.name).policy_name(POLICY_NAME);
            put.policy_document(&document).send()
        })
        .await;
    match answer {
        Err(failure) => Err(judged(ctx, key, failure).await),
        Ok(_) => Ok(()),
    }
}

/// The role as IAM shows it now, if it does.
pub async fn look_at_role(ctx: &Ctx, key: &Key) -> Result<Option<Role>, Failure> {
    let answer =
        ctx.call("iam:GetRole", key, || ctx.aws.iam.get_role().role_name(&key.name).send()).await.optional()?;
    Ok(answer.and_then(|answer| answer.role))
}

/// A role that was deleted is shown for so long (I1): only then can one tell that it is gone.
pub const ROLE_LATE: Duration = Duration::from_secs(25);

/// IAM denies a write to a role that is not there, for it knows it by its bare name alone (I11), and may go on showing it
/// for a while after it was deleted (I1): then it is missing rather than forbidden.
pub async fn judged(ctx: &Ctx, key: &Key, failure: Failure) -> Failure {
    if failure.class != Class::AccessDenied {
        return failure;
    }
    let begun = Instant::now();
    loop {
        if matches!(look_at_role(ctx, key).await, Ok(None)) {
            return Failure { class: Class::NotFound, ..failure };
        }
        // Seldom in the end; a real denial is told after this time.
        let waited = begun.elapsed();
        let left = ROLE_LATE.saturating_sub(waited);
        if left.is_zero() || !ctx.pause(waited.max(Duration::from_secs(1)).min(left)).await {
            return failure;
        }
    }
}

async fn document_of(ctx: &Ctx, key: &Key) -> Result<Option<Value>, Failure> {
    let answer = ctx
        .call("iam:GetRolePolicy", key, || {
            ctx.aws.iam.get_role_policy().role_name(&key.name).policy_name(POLICY_NAME).send()
        })
        .await
        .optional()?;
    Ok(answer.map(|answer| policy_document::parse(answer.policy_document())))
}

async fn inline_names(ctx: &Ctx, key: &Key) -> Result<Vec<String>, Failure> {
    let names = ctx.all(
        "iam:ListRolePolicies",
        key,
        |marker| ctx.aws.iam.list_role_policies().role_name(&key.name).set_marker(marker).send(),
        |page| (page.policy_names, page.marker.filter(|_| page.is_truncated)),
    );
    Ok(names.await.optional()?.unwrap_or_default())
}

async fn attached_arns(ctx: &Ctx, key: &Key) -> Result<Vec<String>, Failure> {
    let attached = ctx.all(
        "iam:ListAttachedRolePolicies",
        key,
        |marker| ctx.aws.iam.list_attached_role_policies().role_name(&key.name).set_marker(marker).send(),
        |page| (page.attached_policies.unwrap_or_default(), page.marker.filter(|_| page.is_truncated)),
    );
    Ok(attached.await.optional()?.unwrap_or_default().into_iter().filter_map(|policy| policy.policy_arn).collect())
}

/// All that is attached to the role besides our policy, each under a key of its own.
fn strays(role: &str, inline: Vec<String>, attached: Vec<String>) -> impl Iterator<Item = Found> {
    inline
        .into_iter()
        .filter(|name| name != POLICY_NAME)
        .chain(attached)
        .map(move |id| Found::new(Key::new(names::ROLE_POLICY, format!("{role}/{id}")), id, Fields::new()))
}

/// An inline policy is deleted; a managed one is somebody's, and only taken off our role.
async fn take_off(ctx: &Ctx, role: &str, found: &Found) -> Result<(), Failure> {
    let (iam, id) = (&ctx.aws.iam, &found.id);
    if id.starts_with("arn:") {
        ctx.call("iam:DetachRolePolicy", &found.key, || iam.detach_role_policy().role_name(role).policy_arn(id).send())
            .await
            .gone()
    } else {
        ctx.call("iam:DeleteRolePolicy", &found.key, || iam.delete_role_policy().role_name(role).policy_name(id).send())
            .await
            .gone()
    }
}

/// Takes everything off a role that is about to be deleted.
pub async fn strip(ctx: &Ctx, role: &str) -> Result<(), Failure> {
    let key = Key::new(names::ROLE_POLICY, role);
    let (inline, attached) = tokio::try_join!(inline_names(ctx, &key), attached_arns(ctx, &key))?;
    let ours = inline.iter().any(|name| name == POLICY_NAME).then(|| Found::new(key, POLICY_NAME, Fields::new()));
    for found in strays(role, inline, attached).chain(ours) {
        take_off(ctx, role, &found).await?;
    }
    Ok(())
}
