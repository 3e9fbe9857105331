//! DynamoDB's control plane, as the real SDK meets it in the model.

use super::common::*;
use aws_sdk_dynamodb::operation::create_table::builders::CreateTableFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, CreateGlobalSecondaryIndexAction, GlobalSecondaryIndexUpdate, KeySchemaElement,
    KeyType, Projection, ProjectionType, ScalarAttributeType, SseSpecification, TableStatus, Tag,
    TimeToLiveSpecification, TimeToLiveStatus,
};

fn create(c: &Clients) -> CreateTableFluentBuilder {
    let key = KeySchemaElement::builder().attribute_name("connectionId").key_type(KeyType::Hash).build().unwrap();
    let attribute = AttributeDefinition::builder().attribute_name("connectionId");
    let attribute = attribute.attribute_type(ScalarAttributeType::S).build().unwrap();
    let create = c.dynamodb.create_table().table_name("chat-connections").billing_mode(BillingMode::PayPerRequest);
    create.key_schema(key).attribute_definitions(attribute).tags(tag("chatctl:name", "chat"))
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build().unwrap()
}

async fn set_ttl(c: &Clients, enabled: bool) -> Result<(), String> {
    let wish = TimeToLiveSpecification::builder().attribute_name("expiresAt").enabled(enabled).build().unwrap();
    let update = c.dynamodb.update_time_to_live().table_name("chat-connections").time_to_live_specification(wish);
    outcome(update.send().await)
}

async fn status(c: &Clients) -> TableStatus {
    let table = c.dynamodb.describe_table().table_name("chat-connections").send().await.unwrap();
    table.table().unwrap().table_status().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn a_table_takes_its_time() {
    let (world, c) = world();
    let made = create(&c).send().await.unwrap();
    let arn = made.table_description().unwrap().table_arn().unwrap().to_owned();
    assert_eq!(status(&c).await, TableStatus::Creating);
    let again = create(&c).send().await.unwrap_err();
    assert!(again.into_service_error().is_resource_in_use_exception());
    refused(set_ttl(&c, true).await, "ResourceInUseException");
    refused(outcome(c.dynamodb.tag_resource().resource_arn(&arn).tags(tag("a", "1")).send().await), "ResourceInUse");
    let delete = || c.dynamodb.delete_table().table_name("chat-connections").send();
    assert!(delete().await.unwrap_err().into_service_error().is_resource_in_use_exception());
    wait(7).await;
    assert_eq!(status(&c).await, TableStatus::Active);
    c.dynamodb.tag_resource().resource_arn(&arn).tags(tag("a", "1")).send().await.unwrap();
    let tags = c.dynamodb.list_tags_of_resource().resource_arn(&arn).send().await.unwrap();
    assert_eq!(tags.tags().len(), 2);
    delete().await.unwrap();
    assert_eq!(status(&c).await, TableStatus::Deleting);
    refused(outcome(create(&c).send().await), "ResourceInUseException");
    wait(5).await;
    let gone = c.dynamodb.describe_table().table_name("chat-connections").send().await.unwrap_err();
    assert!(gone.into_service_error().is_resource_not_found_exception());
    assert_eq!(world.everything(ACCOUNT), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn the_time_to_live_changes_once_an_hour() {
    let (_, c) = world();
    create(&c).send().await.unwrap();
    wait(7).await;
    set_ttl(&c, true).await.unwrap();
    let ttl = async || {
        let ttl = c.dynamodb.describe_time_to_live().table_name("chat-connections").send().await.unwrap();
        ttl.time_to_live_description().unwrap().time_to_live_status().unwrap().clone()
    };
    assert_eq!(ttl().await, TimeToLiveStatus::Enabling);
    wait(60).await;
    assert_eq!(ttl().await, TimeToLiveStatus::Enabled);
    refused(set_ttl(&c, false).await, "ValidationException: Time to live has been modified multiple times");
    wait(3_600).await;
    refused(set_ttl(&c, true).await, "ValidationException: TimeToLive is already enabled");
    set_ttl(&c, false).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn tables_are_checked() {
    let (_, c) = world();
    refused(outcome(create(&c).table_name("x").send().await), "ValidationException");
    refused(outcome(create(&c).billing_mode(BillingMode::Provisioned).send().await), "ValidationException");
    let other = AttributeDefinition::builder().attribute_name("other").attribute_type(ScalarAttributeType::N);
    let unused = create(&c).attribute_definitions(other.build().unwrap()).send().await;
    refused(outcome(unused), "ValidationException: One or more parameter values were invalid: Number of attributes");
}

#[tokio::test(start_paused = true)]
async fn a_protected_table_stays() {
    let (_, c) = world();
    let encrypted = SseSpecification::builder().enabled(true).build();
    create(&c).sse_specification(encrypted).deletion_protection_enabled(true).send().await.unwrap();
    wait(7).await;
    let delete = || c.dynamodb.delete_table().table_name("chat-connections").send();
    refused(outcome(delete().await), "ValidationException: Resource cannot be deleted");
    let update = c.dynamodb.update_table().table_name("chat-connections").deletion_protection_enabled(false);
    let updated = update.send().await.unwrap();
    let table = updated.table_description().unwrap();
    assert_eq!(table.table_status(), Some(&TableStatus::Updating));
    assert!(table.sse_description().is_some());
    wait(2).await;
    delete().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn tables_are_listed_by_page() {
    let (world, c) = world();
    world.populate(ACCOUNT, REGION, world::Crowd { tables: 3, ..Default::default() });
    let mut pages = c.dynamodb.list_tables().into_paginator().send();
    let mut sizes = Vec::new();
    while let Some(page) = pages.next().await {
        sizes.push(page.unwrap().table_names().len());
    }
    assert_eq!(sizes, [2, 1]);
}

#[tokio::test(start_paused = true)]
async fn tags_are_late_after_each_write_of_them() {
    let (world, c) = world();
    world.switch(|switches| {
        switches.table_tags_lag = std::time::Duration::from_secs(20);
        switches.table_list_tags_rate = None;
    });
    let made = create(&c).send().await.unwrap();
    let arn = made.table_description().unwrap().table_arn().unwrap().to_owned();
    let seen = async || {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..60 {
            seen.insert(match c.dynamodb.list_tags_of_resource().resource_arn(&arn).send().await {
                Ok(tags) => tags.tags().len().to_string(),
                Err(error) => error.into_service_error().meta().code().unwrap_or_default().to_owned(),
            });
        }
        seen.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(seen().await, ["0", "1", "ResourceNotFoundException"]);
    wait(20).await;
    assert_eq!(seen().await, ["1"]);
    c.dynamodb.tag_resource().resource_arn(&arn).tags(tag("a", "1")).send().await.unwrap();
    assert_eq!(seen().await, ["0", "1", "2"]);
    wait(20).await;
    assert_eq!(seen().await, ["2"]);
    c.dynamodb.untag_resource().resource_arn(&arn).tag_keys("a").send().await.unwrap();
    assert_eq!(seen().await, ["0", "1", "2"]);
    wait(20).await;
    assert_eq!(seen().await, ["1"]);
}

#[tokio::test(start_paused = true)]
async fn indexes_of_a_table_change_one_at_a_time() {
    let (_, c) = world();
    create(&c).send().await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    let update = |names: &[&str]| {
        let mut update = c.dynamodb.update_table().table_name("chat-connections");
        for name in ["connectionId"].iter().chain(names) {
            let attribute = AttributeDefinition::builder().attribute_name(*name).attribute_type(ScalarAttributeType::S);
            update = update.attribute_definitions(attribute.build().unwrap());
        }
        for name in names {
            let key = KeySchemaElement::builder().attribute_name(*name).key_type(KeyType::Hash).build().unwrap();
            let all = Projection::builder().projection_type(ProjectionType::All).build();
            let create = CreateGlobalSecondaryIndexAction::builder().index_name(*name).key_schema(key).projection(all);
            let create = GlobalSecondaryIndexUpdate::builder().create(create.build().unwrap()).build();
            update = update.global_secondary_index_updates(create);
        }
        update.send()
    };
    assert!(outcome(update(&["room", "team"]).await).unwrap_err().starts_with("LimitExceededException"));
    update(&["room"]).await.unwrap();
    assert!(outcome(update(&["team"]).await).unwrap_err().starts_with("ResourceInUseException"));
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    update(&["team"]).await.unwrap();
}
