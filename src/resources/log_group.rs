//! CloudWatch log groups of the functions, made before their first line so that retention and tags are ours (L13).

use async_trait::async_trait;
use futures_util::future::try_join_all;
use serde::Serialize;

use super::tags::{self, Tags};
use super::{Kind, Permission, fields};
use crate::aws::failure::{Failure, Outcome};
use crate::engine::graph::Key;
use crate::engine::observe::{Fields, Found, Owner};
use crate::engine::plan::Changes;
use crate::engine::scope::{Ctx, Scope};
use crate::functions::FUNCTIONS;

pub const LOG_GROUP: &str = "log-group";

pub struct LogGroupKind;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogGroup {
    /// None keeps the lines for ever.
    retention_days: Option<i32>,
    tags: Tags,
}

/// `/aws/lambda/<function>`
pub fn name_of(function: &str) -> String {
    format!("/aws/lambda/{function}")
}

pub fn key_of(scope: &Scope, function: &str) -> Key {
    Key::new(LOG_GROUP, name_of(&scope.config.function_name(function)))
}

/// Without the `:*` that some of the API's answers end in.
fn arn_of(scope: &Scope, name: &str) -> String {
    scope.arn("logs", &format!("log-group:{name}"))
}

#[async_trait]
impl Kind for LogGroupKind {
    fn name(&self) -> &'static str {
        LOG_GROUP
    }

    fn declare(&self, scope: &Scope) -> Vec<(Key, Vec<Key>)> {
        FUNCTIONS.iter().map(|function| (key_of(scope, function.name), vec![])).collect()
    }

    /// One look for all three: the names share a prefix.
    async fn find(&self, ctx: &Ctx, probe: &str, _parent: Option<&Found>) -> Result<Vec<Found>, Failure> {
        let wanted: Vec<Key> = self.declare(&ctx.scope).into_iter().map(|(key, _)| key).collect();
        let prefix = Key::new(LOG_GROUP, name_of(&format!("{probe}-")));
        let mut groups = Vec::new();
        let mut token = None;
        loop {
            let page = ctx
                .call("logs:DescribeLogGroups", &prefix, || {
                    ctx.aws
                        .logs
                        .describe_log_groups()
                        .log_group_name_prefix(&prefix.name)
                        .set_next_token(token.clone())
                        .send()
                })
                .await?;
            groups.extend(page.log_groups.unwrap_or_default());
            token = page.next_token;
            if token.is_none() {
                break;
            }
        }
        let ours = groups.into_iter().filter_map(|group| {
            let key = wanted.iter().find(|key| Some(key.name.as_str()) == group.log_group_name())?;
            let arn = group.log_group_arn().or(group.arn()).unwrap_or_default().trim_end_matches(":*").to_owned();
            Some((key.clone(), arn, group.retention_in_days()))
        });
        let found = try_join_all(ours.map(|(key, arn, retention_days)| async move {
            let tags = ctx
                .call("logs:ListTagsForResource", &key, || {
                    ctx.aws.logs.list_tags_for_resource().resource_arn(&arn).send()
                })
                .await
                .optional()?;
            // Deleted between the two looks.
            let Some(tags) = tags else { return Ok(None) };
            let all: Tags = tags.tags.unwrap_or_default().into_iter().collect();
            let owner = Owner::by_tags(&ctx.scope, &all);
            let (tags, _) = tags::split(all);
            let group = LogGroup { retention_days, tags };
            Ok::<_, Failure>(Some(Found { owner, ..Found::new(key, arn, fields(&group)) }))
        }))
        .await?;
        Ok(found.into_iter().flatten().collect())
    }

    fn wanted(&self, scope: &Scope, _name: &str) -> Fields {
        fields(&LogGroup { retention_days: Some(scope.config.log_retention_days), tags: scope.tags() })
    }

    async fn create(&self, ctx: &Ctx, name: &str) -> Result<String, Failure> {
        let key = Key::new(LOG_GROUP, name);
        let tags = ctx.scope.tags_at_creation();
        ctx.call("logs:CreateLogGroup", &key, || {
            ctx.aws
                .logs
                .create_log_group()
                .log_group_name(name)
                .set_tags(Some(tags.clone().into_iter().collect()))
                .send()
        })
        .await?;
        ctx.made(&key);
        retain(ctx, &key).await?;
        Ok(arn_of(&ctx.scope, name))
    }

    async fn update(&self, ctx: &Ctx, found: &Found, changes: &Changes) -> Result<(), Failure> {
        if changes.touches("retentionDays") {
            retain(ctx, &found.key).await?;
        }
        let (set, removed) = changes.entries("tags");
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

    async fn delete(&self, ctx: &Ctx, found: &Found) -> Result<(), Failure> {
        let name = &found.key.name;
        ctx.call("logs:DeleteLogGroup", &found.key, || ctx.aws.logs.delete_log_group().log_group_name(name).send())
            .await
            .gone()
    }

    fn permissions(&self, scope: &Scope) -> Vec<Permission> {
        let ours = arn_of(scope, &name_of(&format!("{}-*", scope.config.name)));
        vec![
            // Cannot be narrowed usefully: it lists by prefix.
            Permission::read(&["logs:DescribeLogGroups"], vec![scope.arn("logs", "log-group:*")]),
            Permission::read(&["logs:ListTagsForResource"], vec![ours.clone(), format!("{ours}:*")]),
            Permission::write(
                &[
                    "logs:CreateLogGroup",
                    "logs:DeleteLogGroup",
                    "logs:PutRetentionPolicy",
                    "logs:TagResource",
                    "logs:UntagResource",
                ],
                vec![ours.clone(), format!("{ours}:*")],
            ),
        ]
    }
}

async fn retain(ctx: &Ctx, key: &Key) -> Result<(), Failure> {
    let days = ctx.scope.config.log_retention_days;
    ctx.call("logs:PutRetentionPolicy", key, || {
        ctx.aws.logs.put_retention_policy().log_group_name(&key.name).retention_in_days(days).send()
    })
    .await
    .map(drop)
}
