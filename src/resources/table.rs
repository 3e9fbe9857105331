//! The DynamoDB table that tracks connection ids.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, CreateGlobalSecondaryIndexAction, DeleteGlobalSecondaryIndexAction,
    GlobalSecondaryIndex, GlobalSecondaryIndexDescription, GlobalSecondaryIndexUpdate, IndexStatus, KeySchemaElement,
    KeyType, Projection, ProjectionType, ScalarAttributeType, SseSpecification, SseType, TableDescription, TableStatus,
    Tag, TimeToLiveSpecification, TimeToLiveStatus,
};
use futures_util::future::try_join_all;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::names;
use super::tags::{self, Tags};
use crate::aws::failure::{Failure, Operation, Outcome};
use crate::config::TABLE_SUFFIX;
use crate::engine::change::Differences;
use crate::engine::found::{Fields, Found, Owner, fields};
use crate::engine::key::Key;
use crate::engine::kind::{Facts, Kind, Part, Permission, Resource, Sign, Wanted};
use crate::engine::run::Ctx;
use crate::engine::scope::Scope;
use crate::engine::wait::Wait;

/// The attribute that holds when a row expires, in epoch seconds.
const TTL_ATTRIBUTE: &str = "expiresAt";

pub struct TableKind;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TableSpec {
    hash_key: String,
    billing_mode: String,
    /// Always on; by a key that AWS owns unless one is named.
    encryption: String,
    deletion_protection: bool,
    ttl: Option<String>,
    /// The global secondary indexes: what rows are found by beside their key.
    indexes: BTreeMap<String, String>,
    tags: Tags,
    expires_at: Option<String>,
}

#[async_trait]
impl Kind for TableKind {
    fn facts(&self) -> Facts {
        Facts {
            loss: Some("who is connected is forgotten, and hears nothing until they connect again"),
            immutable: &["hashKey"],
            ..Facts::of(names::TABLE)
        }
    }

    fn declare(&self, scope: &Scope) -> Vec<Wanted> {
        vec![Wanted::new(names::table(scope), vec![], Self)]
    }

    async fn find(&self, ctx: &Ctx, _probe: &str) -> Result<Vec<Found>, Failure> {
        let key = names::table(&ctx.scope);
        let Some(table) = describe(ctx, &key).await? else { return Ok(vec![]) };
        let arn = table.table_arn().unwrap_or_default().to_owned();
        let (tags, ttl) = tokio::try_join!(tags_of(ctx, &key, &arn), ttl_of(ctx, &key))?;
        // Deleted between the two looks, or just made (D9): another look will tell.
        let all = tags.unwrap_or_default();
        let busy = table.global_secondary_indexes().iter().find(|index| !is_active(index));
        let settling = match (table.table_status(), busy) {
            (Some(TableStatus::Active) | None, Some(index)) => {
                Some(format!("its index {}, which is being made or removed", index.index_name().unwrap_or_default()))
            }
            (Some(TableStatus::Active) | None, None) => {
                ctx.run.book.is_outdated(&key, &all).then(|| "its new tags to be seen".to_owned())
            }
            (Some(status), _) => Some(format!("the table, which is {}", status.as_str())),
        };
        let owner = match Owner::by_tags(&ctx.scope, &all) {
            // After any write of tags, AWS may show none for some seconds (D9).
            Owner::Foreign(why) if all.is_empty() => Owner::Unclear(why),
            owner => owner,
        };
        let is_protected = table.deletion_protection_enabled() == Some(true);
        let (tags, expires_at) = tags::split(all);
        let fields = fields(&TableSpec {
            hash_key: hash_key(&table),
            billing_mode: table
                .billing_mode_summary()
                .and_then(|summary| summary.billing_mode())
                .map_or("PROVISIONED", BillingMode::as_str)
                .to_owned(),
            encryption: table
                .sse_description()
                .and_then(|sse| sse.kms_master_key_arn())
                .unwrap_or(AWS_OWNED)
                .to_owned(),
            deletion_protection: is_protected,
            ttl,
            indexes: table.global_secondary_indexes().iter().map(shown).collect(),
            tags,
            expires_at,
        });
        let guarded = is_protected.then(|| "its deletion protection is on".to_owned());
        Ok(vec![Found { owner, settling, guarded, ..Found::new(key, arn, fields) }])
    }

    async fn delete(&self, ctx: &Ctx, found: &Found) -> Result<(), Failure> {
        let key = &found.key;
        let deleting = Some(&TableStatus::Deleting);
        let asked = ctx
            .call("dynamodb:DeleteTable", key, || ctx.aws.dynamodb.delete_table().table_name(&key.name).send())
            .await
            .optional()?;
        if asked.is_none() {
            return Ok(());
        }
        ctx.waiting(key, "the table to be gone");
        wait_until(ctx, key, |table| table.is_none_or(|table| table.table_status() != deleting)).await
    }

    async fn signs(&self, ctx: &Ctx) -> Result<Vec<Sign>, Failure> {
        let key = &Key::new(names::TABLE, "list");
        let names = ctx.all(
            "dynamodb:ListTables",
            key,
            |last| ctx.aws.dynamodb.list_tables().set_exclusive_start_table_name(last).send(),
            |page| (page.table_names.unwrap_or_default(), page.last_evaluated_table_name),
        );
        let names = names.await?;
        let tags = try_join_all(names.iter().filter(|name| name.ends_with(TABLE_SUFFIX)).map(|name| async move {
            let arn = ctx.scope.arn("dynamodb", &format!("table/{name}"));
            tags_of(ctx, &Key::new(names::TABLE, name), &arn).await
        }))
        .await?;
        Ok(tags.iter().flatten().filter_map(Sign::of).collect())
    }

    fn permissions(&self, scope: &Scope) -> Vec<Permission> {
        let table = vec![scope.arn("dynamodb", &format!("table/{}-*", scope.config.name))];
        let key = scope.config.kms_key.iter().map(|key| {
            let through = format!("dynamodb.{}.*", scope.region);
            Permission::write(KEY_ACTIONS, vec![key.clone()])
                .when(Some(json!({ "StringLike": { "kms:ViaService": through } })))
        });
        let mut all: Vec<Permission> = key.collect();
        all.extend([
            Permission::read(
                &["dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive", "dynamodb:ListTagsOfResource"],
                table.clone(),
            ),
            Permission::write(
                &[
                    "dynamodb:CreateTable",
                    "dynamodb:DeleteTable",
                    "dynamodb:TagResource",
                    "dynamodb:UntagResource",
                    "dynamodb:UpdateTable",
                    "dynamodb:UpdateTimeToLive",
                ],
                table.clone(),
            ),
            // `verify` looks whether a closed connection is gone.
            Permission::other(&["dynamodb:Scan"], table),
            Permission::other(&["dynamodb:ListTables"], vec!["*".to_owned()]),
            Permission::other(
                &["dynamodb:ListTagsOfResource"],
                vec![scope.arn("dynamodb", &format!("table/*{TABLE_SUFFIX}"))],
            ),
        ]);
        all
    }
}

#[async_trait]
impl Resource for TableKind {
    fn wanted(&self, scope: &Scope) -> Fields {
        fields(&TableSpec {
            hash_key: HASH_KEY.to_owned(),
            billing_mode: "PAY_PER_REQUEST".to_owned(),
            encryption: scope.config.kms_key.clone().unwrap_or_else(|| AWS_OWNED.to_owned()),
            deletion_protection: false,
            ttl: Some(TTL_ATTRIBUTE.to_owned()),
            indexes: scope.config.table_indexes.iter().map(|name| (name.clone(), by_all(name))).collect(),
            tags: scope.tags(),
            expires_at: scope.expires_at.clone(),
        })
    }

    async fn create(&self, ctx: &Ctx, key: &Key) -> Result<String, Failure> {
        let at_creation: Vec<_> = ctx.scope.tags_at_creation().into_iter().collect();
        let tags: Vec<Tag> = at_creation.iter().filter_map(|(k, v)| tag(k, v)).collect();
        let wanted = &ctx.scope.config.table_indexes;
        let definitions: Vec<_> = [KEY].into_iter().chain(wanted.iter().map(String::as_str)).filter_map(text).collect();
        let indexes: Vec<_> = wanted.iter().filter_map(|name| index(name)).collect();
        let created = ctx
            .call("dynamodb:CreateTable", key, || {
                ctx.aws
                    .dynamodb
                    .create_table()
                    .table_name(&key.name)
                    .set_attribute_definitions(Some(definitions.clone()))
                    .set_key_schema(Some(hashed_by(KEY)))
                    .set_global_secondary_indexes(Some(indexes.clone()).filter(|indexes| !indexes.is_empty()))
                    .billing_mode(BillingMode::PayPerRequest)
                    .set_sse_specification(ctx.scope.config.kms_key.as_deref().map(encrypted_by))
                    .set_tags(Some(tags.clone()))
                    .send()
            })
            .await?;
        ctx.run.book.made(key);
        ctx.run.book.tagged(key, &at_creation, &[]);
        let table = created.table_description;
        // TTL can be set only once the table is active (D1).
        if table.as_ref().and_then(|table| table.table_status()) != Some(&TableStatus::Active) {
            ctx.waiting(key, "the table to be active");
            wait_until(ctx, key, |table| table.is_some_and(|table| table.table_status() == Some(&TableStatus::Active)))
                .await?;
        }
        enable_ttl(ctx, key).await?;
        Ok(table.and_then(|table| table.table_arn).unwrap_or_else(|| names::table_arn(&ctx.scope)))
    }

    async fn update(&self, ctx: &Ctx, found: &Found, differences: &Differences) -> Result<(), Failure> {
        let key = &found.key;
        if ["billingMode", "encryption", "deletionProtection"].iter().any(|field| differences.touches(field)) {
            let encryption = differences.touches("encryption").then(|| match ctx.scope.config.kms_key.as_deref() {
                Some(arn) => encrypted_by(arn),
                None => SseSpecification::builder().enabled(false).build(),
            });
            ctx.call("dynamodb:UpdateTable", key, || {
                ctx.aws
                    .dynamodb
                    .update_table()
                    .table_name(&key.name)
                    .set_billing_mode(differences.touches("billingMode").then_some(BillingMode::PayPerRequest))
                    .set_sse_specification(encryption.clone())
                    .set_deletion_protection_enabled(differences.touches("deletionProtection").then_some(false))
                    .send()
            })
            .await?;
            wait_until(ctx, key, |table| table.is_some_and(|table| table.table_status() == Some(&TableStatus::Active)))
                .await?;
        }
        if differences.touches("indexes") {
            change_indexes(ctx, key, differences, found).await?;
        }
        if differences.touches("ttl") {
            repair_ttl(ctx, key, found.text("ttl")).await?;
        }
        let (set, removed) = tags::changed(&ctx.scope, differences);
        if !set.is_empty() {
            let tags: Vec<Tag> = set.iter().filter_map(|(k, v)| tag(k, v)).collect();
            ctx.call("dynamodb:TagResource", key, || {
                ctx.aws.dynamodb.tag_resource().resource_arn(&found.id).set_tags(Some(tags.clone())).send()
            })
            .await?;
        }
        if !removed.is_empty() {
            ctx.call("dynamodb:UntagResource", key, || {
                ctx.aws.dynamodb.untag_resource().resource_arn(&found.id).set_tag_keys(Some(removed.clone())).send()
            })
            .await?;
        }
        if !set.is_empty() || !removed.is_empty() {
            ctx.run.book.tagged(key, &set, &removed);
        }
        Ok(())
    }

    fn template(&self, scope: &Scope, _key: &Key) -> Vec<Part> {
        let hashed_by = |attribute: &str| json!([{ "AttributeName": attribute, "KeyType": "HASH" }]);
        let attributes = [KEY].into_iter().chain(scope.config.table_indexes.iter().map(String::as_str));
        let mut properties = json!({
            "TableName": scope.config.table_name(),
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions":
                attributes.map(|name| json!({ "AttributeName": name, "AttributeType": "S" })).collect::<Vec<_>>(),
            "KeySchema": hashed_by(KEY),
            "TimeToLiveSpecification": { "AttributeName": TTL_ATTRIBUTE, "Enabled": true },
            "Tags": tags::listed(scope.tags())
        });
        if let Some(key) = &scope.config.kms_key {
            properties["SSESpecification"] = json!({ "SSEEnabled": true, "SSEType": "KMS", "KMSMasterKeyId": key });
        }
        let index = |name: &String| json!({ "IndexName": name, "KeySchema": hashed_by(name), "Projection": { "ProjectionType": "ALL" } });
        let indexes: Vec<Value> = scope.config.table_indexes.iter().map(index).collect();
        if !indexes.is_empty() {
            properties["GlobalSecondaryIndexes"] = json!(indexes);
        }
        vec![Part { logical_id: "Table".to_owned(), r#type: "AWS::DynamoDB::Table", properties }]
    }
}

/// What DynamoDB does with a customer's key in the name of whoever creates or changes the table.
const KEY_ACTIONS: &[&str] = &[
    "kms:CreateGrant",
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
];

const KEY: &str = "connectionId";
const HASH_KEY: &str = "connectionId (S)";
const AWS_OWNED: &str = "by a key AWS owns";

/// An attribute that is a text.
fn text(name: &str) -> Option<AttributeDefinition> {
    AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build().ok()
}

fn hashed_by(attribute: &str) -> Vec<KeySchemaElement> {
    let element = KeySchemaElement::builder().attribute_name(attribute).key_type(KeyType::Hash).build();
    element.into_iter().collect()
}

fn of_all() -> Projection {
    Projection::builder().projection_type(ProjectionType::All).build()
}

/// An index by a text, which is called like it and has all attributes of the rows.
fn index(attribute: &str) -> Option<GlobalSecondaryIndex> {
    let index = GlobalSecondaryIndex::builder().index_name(attribute).set_key_schema(Some(hashed_by(attribute)));
    index.projection(of_all()).build().ok()
}

/// How such an index is shown.
fn by_all(attribute: &str) -> String {
    format!("{attribute}, all attributes")
}

fn shown(index: &GlobalSecondaryIndexDescription) -> (String, String) {
    let keys: Vec<&str> = index.key_schema().iter().map(KeySchemaElement::attribute_name).collect();
    let all = index.projection().and_then(|projection| projection.projection_type()) == Some(&ProjectionType::All);
    let keys = keys.join(" and ");
    let name = index.index_name().unwrap_or_default().to_owned();
    (name, if all { by_all(&keys) } else { format!("{keys}, some attributes") })
}

fn is_active(index: &GlobalSecondaryIndexDescription) -> bool {
    matches!(index.index_status(), Some(IndexStatus::Active) | None)
}

/// Whether the table takes changes, and so does each of its indexes (D10).
fn is_settled(table: &TableDescription) -> bool {
    table.table_status() == Some(&TableStatus::Active) && table.global_secondary_indexes().iter().all(is_active)
}

/// One after the other, as AWS takes them (D10); one that is another than we want is made anew.
async fn change_indexes(ctx: &Ctx, key: &Key, differences: &Differences, found: &Found) -> Result<(), Failure> {
    let (set, removed) = differences.entries("indexes");
    let there = found.fields.get("indexes");
    let is_there = |name: &str| there.is_some_and(|indexes| !indexes[name].is_null());
    let renewed = set.iter().map(|(name, _)| name).filter(|name| is_there(name));
    let deleted = removed.iter().chain(renewed).filter_map(|name| {
        let delete = DeleteGlobalSecondaryIndexAction::builder().index_name(name).build().ok()?;
        Some((None, GlobalSecondaryIndexUpdate::builder().delete(delete).build()))
    });
    let made = set.iter().filter_map(|(name, _)| {
        let create = CreateGlobalSecondaryIndexAction::builder().index_name(name).projection(of_all());
        let create = create.set_key_schema(Some(hashed_by(name))).build().ok()?;
        let definitions = [KEY, name.as_str()].into_iter().filter_map(text).collect::<Vec<_>>();
        Some((Some(definitions), GlobalSecondaryIndexUpdate::builder().create(create).build()))
    });
    for (definitions, update) in deleted.chain(made) {
        ctx.call("dynamodb:UpdateTable", key, || {
            let table = ctx.aws.dynamodb.update_table().table_name(&key.name);
            table
                .set_attribute_definitions(definitions.clone())
                .set_global_secondary_index_updates(Some(vec![update.clone()]))
                .send()
        })
        .await?;
        ctx.waiting(key, "its index to be made or removed");
        wait_until(ctx, key, |table| table.is_some_and(is_settled)).await?;
    }
    Ok(())
}

async fn describe(ctx: &Ctx, key: &Key) -> Result<Option<TableDescription>, Failure> {
    let answer = ctx
        .call("dynamodb:DescribeTable", key, || ctx.aws.dynamodb.describe_table().table_name(&key.name).send())
        .await
        .optional()?;
    Ok(answer.and_then(|answer| answer.table))
}

/// `None` where the table has gone.
async fn tags_of(ctx: &Ctx, key: &Key, arn: &str) -> Result<Option<Tags>, Failure> {
    let tags = ctx.all(
        "dynamodb:ListTagsOfResource",
        key,
        |token| ctx.aws.dynamodb.list_tags_of_resource().resource_arn(arn).set_next_token(token).send(),
        |page| (page.tags.unwrap_or_default(), page.next_token),
    );
    Ok(tags.await.optional()?.map(|tags| tags.into_iter().map(|tag| (tag.key, tag.value)).collect()))
}

/// The attribute that rows expire by (D7); being switched on counts as on (D8).
async fn ttl_of(ctx: &Ctx, key: &Key) -> Result<Option<String>, Failure> {
    let answer = ctx
        .call("dynamodb:DescribeTimeToLive", key, || {
            ctx.aws.dynamodb.describe_time_to_live().table_name(&key.name).send()
        })
        .await
        .optional()?;
    let ttl = answer.and_then(|answer| answer.time_to_live_description);
    Ok(ttl
        .filter(|ttl| matches!(ttl.time_to_live_status(), Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)))
        .and_then(|ttl| ttl.attribute_name))
}

async fn enable_ttl(ctx: &Ctx, key: &Key) -> Result<(), Failure> {
    match set_ttl(ctx, key, TTL_ATTRIBUTE, true).await {
        // An answer was lost and the call repeated: AWS refuses the second change (D8), but it is as we want it.
        Err(failure)
            if failure.code == "ValidationException" && ttl_of(ctx, key).await?.as_deref() == Some(TTL_ATTRIBUTE) =>
        {
            Ok(())
        }
        other => other,
    }
}

async fn set_ttl(ctx: &Ctx, key: &Key, attribute: &str, enabled: bool) -> Result<(), Failure> {
    let specification = TimeToLiveSpecification::builder().attribute_name(attribute).enabled(enabled).build().ok();
    ctx.call("dynamodb:UpdateTimeToLive", key, || {
        ctx.aws
            .dynamodb
            .update_time_to_live()
            .table_name(&key.name)
            .set_time_to_live_specification(specification.clone())
            .send()
    })
    .await
    .map(drop)
}

/// Switches the TTL to ours. AWS refuses a change within an hour of the last one: that is a warning, not a failure,
/// and `status` goes on saying it (D8).
async fn repair_ttl(ctx: &Ctx, key: &Key, now: &str) -> Result<(), Failure> {
    if !now.is_empty() {
        match set_ttl(ctx, key, now, false).await {
            Err(failure) if failure.code == "ValidationException" => {}
            other => other?,
        }
    }
    match enable_ttl(ctx, key).await {
        Err(failure) if failure.code == "ValidationException" => {
            ctx.defer(
                key,
                "ttl",
                &format!("AWS allows no change of the TTL within an hour of the last one; run `chatctl up` again after that ({})", failure.message),
            );
            Ok(())
        }
        other => other,
    }
}

/// Looks at the table until `done` says so.
async fn wait_until(
    ctx: &Ctx,
    key: &Key,
    done: impl Fn(Option<&TableDescription>) -> bool + Send + Sync,
) -> Result<(), Failure> {
    // Just made or just asked to go: for a while, not to be found means nothing (D1).
    const UNSEEN: Duration = Duration::from_secs(30);
    let wait = Wait {
        look: Operation { service: "dynamodb", name: "DescribeTable" },
        step: Duration::from_millis(450),
        budget: Duration::from_secs(300),
        too_long: "the table has not settled in time",
    };
    let begun = Instant::now();
    let look = || async {
        let table = describe(ctx, key).await?;
        let is_done = done(table.as_ref());
        let is_missing = !is_done && table.is_none() && begun.elapsed() > UNSEEN;
        if is_missing { Err(wait.timeout(key)) } else { Ok(is_done) }
    };
    ctx.until(key, wait, look).await
}

fn hash_key(table: &TableDescription) -> String {
    let types: HashMap<&str, &str> =
        table.attribute_definitions().iter().map(|a| (a.attribute_name(), a.attribute_type().as_str())).collect();
    let parts: Vec<String> = table
        .key_schema()
        .iter()
        .map(|element| {
            let name = element.attribute_name();
            format!("{name} ({})", types.get(name).unwrap_or(&"?"))
        })
        .collect();
    parts.join(", ")
}

fn encrypted_by(arn: &str) -> SseSpecification {
    SseSpecification::builder().enabled(true).sse_type(SseType::Kms).kms_master_key_id(arn).build()
}

fn tag(key: &str, value: &str) -> Option<Tag> {
    Tag::builder().key(key).value(value).build().ok()
}
