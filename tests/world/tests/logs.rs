//! CloudWatch Logs, as the real SDK meets it in the model.

use super::common::*;
use world::LogEvent;

const GROUP: &str = "/aws/lambda/f";

#[tokio::test(start_paused = true)]
async fn a_group_is_given_back_as_it_was_made() {
    let (world, c) = world();
    let create = c.logs.create_log_group().log_group_name(GROUP).tags("chatctl:name", "chat");
    create.clone().send().await.unwrap();
    let again = create.send().await.unwrap_err();
    assert!(again.into_service_error().is_resource_already_exists_exception());
    let retention = |days| c.logs.put_retention_policy().log_group_name(GROUP).retention_in_days(days).send();
    assert!(retention(13).await.unwrap_err().into_service_error().is_invalid_parameter_exception());
    retention(14).await.unwrap();
    let listed = c.logs.describe_log_groups().log_group_name_prefix(GROUP).send().await.unwrap();
    let group = &listed.log_groups()[0];
    assert_eq!(group.retention_in_days(), Some(14));
    let arn = group.log_group_arn().unwrap();
    assert_eq!(group.arn().unwrap(), format!("{arn}:*"));
    c.logs.tag_resource().resource_arn(arn).tags("a", "1").send().await.unwrap();
    c.logs.untag_resource().resource_arn(arn).tag_keys("chatctl:name").send().await.unwrap();
    let tags = c.logs.list_tags_for_resource().resource_arn(arn).send().await.unwrap();
    assert_eq!(tags.tags().unwrap().keys().collect::<Vec<_>>(), ["a"]);
    c.logs.delete_retention_policy().log_group_name(GROUP).send().await.unwrap();
    c.logs.delete_log_group().log_group_name(GROUP).send().await.unwrap();
    let gone = c.logs.delete_log_group().log_group_name(GROUP).send().await.unwrap_err();
    assert!(gone.into_service_error().is_resource_not_found_exception());
    assert_eq!(world.everything(ACCOUNT), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn groups_are_listed_by_prefix_and_page() {
    let (world, c) = world();
    world.populate(ACCOUNT, REGION, world::Crowd { log_groups: 3, ..Default::default() });
    c.logs.create_log_group().log_group_name("/elsewhere").send().await.unwrap();
    let mut pages = c.logs.describe_log_groups().log_group_name_prefix("/aws/lambda/").into_paginator().send();
    let mut sizes = Vec::new();
    while let Some(page) = pages.next().await {
        sizes.push(page.unwrap().log_groups().len());
    }
    assert_eq!(sizes, [2, 1]);
}

#[tokio::test(start_paused = true)]
async fn events_are_filtered() {
    let (world, c) = world();
    let filter = || c.logs.filter_log_events().log_group_name(GROUP);
    refused(outcome(filter().send().await), "ResourceNotFoundException");
    c.logs.create_log_group().log_group_name(GROUP).send().await.unwrap();
    assert!(filter().send().await.unwrap().events().is_empty());
    world.edit(|state| {
        let group = state.region(ACCOUNT, REGION).log_groups.get_mut(GROUP).unwrap();
        group.events = (0..3)
            .map(|n| LogEvent { id: n.to_string(), stream: "s".into(), timestamp: n, message: format!("line {n}") })
            .collect();
    });
    let first = filter().start_time(1).limit(1).send().await.unwrap();
    assert_eq!(first.events()[0].message(), Some("line 1"));
    let second = filter().start_time(1).next_token(first.next_token().unwrap()).send().await.unwrap();
    assert_eq!((second.events()[0].message(), second.next_token()), (Some("line 2"), None));
}
