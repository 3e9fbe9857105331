//! CloudWatch log groups of the functions, made before their first line so that retention and tags are ours (L13). Made
//! first and deleted last, they also are the register of the functions that there have ever been.

use async_trait::async_trait;
use aws_sdk_cloudwatchlogs::types::LogGroup;
use futures_util::future::try_join_all;
use serde::Serialize;
use serde_json::{Value, json};

use super::tags::{self, Tags};
use super::{alarm, names};
use crate::app::{Function, FunctionName};
use crate::aws::failure::{Failure, Outcome};
use crate::engine::change::Differences;
use crate::engine::found::{Fields, Found, Owner, fields};
use crate::engine::key::Key;
use crate::engine::kind::{Facts, Kind, Part, Permission, Resource, Sign, Wanted};
use crate::engine::run::Ctx;
use crate::engine::scope::Scope;

pub struct LogGroupKind;

/// The logs of a function.
struct FunctionLogs(FunctionName);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogGroupSpec {
    /// None keeps the lines for ever.
    retention_days: Option<i32>,
    tags: Tags,
}

/// Without the `:*` that some of the API's answers end in.
fn arn_of(scope: &Scope, name: &str) -> String {
    scope.arn("logs", &format!("log-group:{name}"))
}

#[async_trait]
impl Kind for LogGroupKind {
    fn facts(&self) -> Facts {
        Facts {
            // By it all else of a function is found that is wanted no more.
            referred_to_by: &[names::EVENT_SOURCE_MAPPING, names::FUNCTION, names::QUEUE, names::ROLE],
            ..Facts::of(names::LOG_GROUP)
        }
    }

    fn declare(&self, scope: &Scope) -> Vec<Wanted> {
        let functions = scope.config.app.functions().iter();
        let names = functions.map(|function| function.name.clone());
        names.map(|name| Wanted::new(names::log_group(scope, &name), vec![], FunctionLogs(name))).collect()
    }

    /// One look for all: the names share a prefix. Those of functions that are wanted no more are found too.
    async fn find(&self, ctx: &Ctx, probe: &str) -> Result<Vec<Found>, Failure> {
        let groups = groups(ctx, &names::log_group_name(&format!("{probe}-"))).await?;
        let ours = groups.into_iter().filter_map(|group| {
            let function = names::function_of_log_group(&ctx.scope, group.log_group_name()?)?;
            let is_wanted = ctx.scope.config.app.function(function.as_str()).is_some();
            Some((group, is_wanted, ctx.scope.config.role_arns.contains_key(function.as_str())))
        });
        let found = try_join_all(ours.map(|(group, is_wanted, has_brought_role)| async move {
            let key = Key::new(names::LOG_GROUP, group.log_group_name().unwrap_or_default());
            // Deleted between the two looks.
            let Some(all) = tags_of(ctx, &group).await? else { return Ok(None) };
            // Such a role may let Lambda make one for late lines, when ours is gone (L13).
            let is_lambdas = has_brought_role && all.is_empty();
            let owner = if is_lambdas { Owner::Ours } else { Owner::by_tags(&ctx.scope, &all) };
            // Somebody else's that we do not need stands in nobody's way.
            if !is_wanted && owner != Owner::Ours {
                return Ok(None);
            }
            let (tags, _) = tags::split(all);
            let spec = LogGroupSpec { retention_days: group.retention_in_days(), tags };
            let is_protected = group.deletion_protection_enabled().unwrap_or_default();
            let guarded = is_protected.then(|| "its deletion protection is on".to_owned());
            Ok::<_, Failure>(Some(Found { owner, guarded, ..Found::new(key, arn_in(&group), fields(&spec)) }))
        }))
        .await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn delete(&self, ctx: &Ctx, found: &Found) -> Result<(), Failure> {
        let name = &found.key.name;
        ctx.call("logs:DeleteLogGroup", &found.key, || ctx.aws.logs.delete_log_group().log_group_name(name).send())
            .await
            .gone()
    }

    async fn signs(&self, ctx: &Ctx) -> Result<Vec<Sign>, Failure> {
        // Every deployment has most of these, and nobody knows what else another one has.
        let is_ours = |name: &str| Function::of_walkthrough().any(|function| name.ends_with(&format!("-{function}")));
        let groups = groups(ctx, &names::log_group_name("")).await?;
        let ours = groups.iter().filter(|group| group.log_group_name().is_some_and(is_ours));
        let tags = try_join_all(ours.map(|group| tags_of(ctx, group))).await?;
        Ok(tags.iter().flatten().filter_map(Sign::of).collect())
    }

    fn permissions(&self, scope: &Scope) -> Vec<Permission> {
        // What follows the name, `:*` or a stream, is covered by the star.
        let ours = arn_of(scope, &names::log_group_name(&format!("{}-*", scope.config.name)));
        let group = |function: FunctionName| arn_of(scope, &names::log_group_name(&format!("*-{function}")));
        let all = Function::of_walkthrough().map(group).collect();
        vec![
            // Takes no resource: it lists by prefix.
            Permission::read(&["logs:DescribeLogGroups"], vec!["*".to_owned()]),
            Permission::read(&["logs:ListTagsForResource"], vec![ours.clone()]),
            Permission::other(&["logs:ListTagsForResource"], all),
            Permission::other(&["logs:FilterLogEvents"], vec![ours.clone()]),
            Permission::write(
                &[
                    "logs:CreateLogGroup",
                    "logs:DeleteLogGroup",
                    "logs:PutRetentionPolicy",
                    "logs:TagResource",
                    "logs:UntagResource",
                ],
                vec![ours],
            ),
        ]
    }
}

#[async_trait]
impl Resource for FunctionLogs {
    fn wanted(&self, scope: &Scope) -> Fields {
        fields(&LogGroupSpec { retention_days: Some(scope.config.log_retention_days), tags: self.tags(scope) })
    }

    async fn create(&self, ctx: &Ctx, key: &Key) -> Result<String, Failure> {
        let mut tags = ctx.scope.tags_at_creation();
        tags.extend(self.tags(&ctx.scope));
        ctx.call("logs:CreateLogGroup", key, || {
            ctx.aws
                .logs
                .create_log_group()
                .log_group_name(&key.name)
                .set_tags(Some(tags.clone().into_iter().collect()))
                .send()
        })
        .await?;
        ctx.run.book.made(key);
        // Also where this run has made one of this name before, which somebody has removed.
        ctx.run.book.writes(key, "retentionDays");
        keep(ctx, key).await?;
        Ok(arn_of(&ctx.scope, &key.name))
    }

    async fn update(&self, ctx: &Ctx, found: &Found, differences: &Differences) -> Result<(), Failure> {
        if differences.touches("retentionDays") {
            let shown = found.fields.get("retentionDays").and_then(Value::as_i64);
            retain(ctx, &found.key, shown).await?;
        }
        let (set, removed) = differences.entries("tags");
        if !set.is_empty() {
            ctx.call("logs:TagResource", &found.key, || {
                let set = set.iter().cloned().collect();
                ctx.aws.logs.tag_resource().resource_arn(&found.id).set_tags(Some(set)).send()
            })
            .await?;
        }
        if !removed.is_empty() {
            ctx.call("logs:UntagResource", &found.key, || {
                ctx.aws.logs.untag_resource().resource_arn(&found.id).set_tag_keys(Some(removed.clone())).send()
            })
            .await?;
        }
        Ok(())
    }

    fn template(&self, scope: &Scope, key: &Key) -> Vec<Part> {
        let properties = json!({
            "LogGroupName": key.name,
            "RetentionInDays": scope.config.log_retention_days,
            "Tags": tags::listed(self.tags(scope))
        });
        let logical_id = names::logical_id(self.0.as_str(), "LogGroup");
        vec![Part { logical_id, r#type: "AWS::Logs::LogGroup", properties }]
    }
}

impl FunctionLogs {
    /// And what tells of more than the function.
    fn tags(&self, scope: &Scope) -> Tags {
        scope.tags().into_iter().chain(alarm::mark(scope, &self.0)).collect()
    }
}

/// Looked at right before `key`, which belongs to `function`, is made: another run may have removed, since this pass has
/// looked, the log group by which later runs find it.
///
/// # Errors
/// Where it is gone, or cannot be seen.
pub async fn registered(ctx: &Ctx, function: &FunctionName, key: &Key) -> Result<(), Failure> {
    let sign = names::log_group(&ctx.scope, function);
    let is_there = |groups: Vec<LogGroup>| groups.iter().any(|group| group.log_group_name() == Some(&sign.name));
    if !names::is_registered(function) || is_there(groups(ctx, &sign.name).await?) {
        return Ok(());
    }
    Err(Failure::moved(&key.to_string(), "its log group is gone, by which later runs find it"))
}

/// All log groups whose names begin with `prefix`, page by page.
async fn groups(ctx: &Ctx, prefix: &str) -> Result<Vec<LogGroup>, Failure> {
    let key = &Key::new(names::LOG_GROUP, prefix);
    let groups = ctx.all(
        "logs:DescribeLogGroups",
        key,
        |token| ctx.aws.logs.describe_log_groups().log_group_name_prefix(prefix).set_next_token(token).send(),
        |page| (page.log_groups.unwrap_or_default(), page.next_token),
    );
    groups.await
}

/// `None` where the group has gone.
async fn tags_of(ctx: &Ctx, group: &LogGroup) -> Result<Option<Tags>, Failure> {
    let key = Key::new(names::LOG_GROUP, group.log_group_name().unwrap_or_default());
    let arn = arn_in(group);
    let answer = ctx
        .call("logs:ListTagsForResource", &key, || ctx.aws.logs.list_tags_for_resource().resource_arn(&arn).send())
        .await
        .optional()?;
    Ok(answer.map(|answer| answer.tags.unwrap_or_default().into_iter().collect()))
}

fn arn_in(group: &LogGroup) -> String {
    group.log_group_arn().or(group.arn()).unwrap_or_default().trim_end_matches(":*").to_owned()
}

/// Where AWS goes on showing other days than this run has written, a policy of the account decides (L16).
async fn retain(ctx: &Ctx, key: &Key, shown: Option<i64>) -> Result<(), Failure> {
    let days = ctx.scope.config.log_retention_days;
    if !ctx.run.book.writes(key, "retentionDays") {
        let shown = shown.map_or_else(|| "for ever".to_owned(), |days| format!("for {days} days"));
        let why = format!("its logs are kept {shown}, not for {days}: a retention policy of the account decides");
        ctx.defer(key, "retentionDays", &why);
        return Ok(());
    }
    keep(ctx, key).await
}

async fn keep(ctx: &Ctx, key: &Key) -> Result<(), Failure> {
    let days = ctx.scope.config.log_retention_days;
    ctx.call("logs:PutRetentionPolicy", key, || {
        ctx.aws.logs.put_retention_policy().log_group_name(&key.name).retention_in_days(days).send()
    })
    .await
    .map(drop)
}
