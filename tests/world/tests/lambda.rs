//! Lambda, as the real SDK meets it in the model.

use super::common::*;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Environment, LastUpdateStatus, Runtime, State};

/// A role that has spread, and a function that is ready.
async fn ready(c: &Clients) {
    c.create_role().await.unwrap();
    wait(10).await;
    c.create_function().await.unwrap();
    wait(3).await;
}

#[tokio::test(start_paused = true)]
async fn a_young_role_cannot_be_assumed() {
    let (_, c) = world();
    let error = "InvalidParameterValueException: The role defined for the function cannot be assumed by Lambda.";
    refused(c.create_function().await, error);
    c.create_role().await.unwrap();
    refused(c.create_function().await, error);
    wait(9).await;
    refused(c.create_function().await, error);
    wait(1).await;
    c.create_function().await.unwrap();
    refused(c.create_function().await, "ResourceConflictException: Function already exist: f");
}

#[tokio::test(start_paused = true)]
async fn a_pending_function_takes_permissions_only() {
    let (_, c) = world();
    c.create_role().await.unwrap();
    wait(10).await;
    let made = create_function(&c.lambda).send().await.unwrap();
    assert_eq!(made.state(), Some(&State::Pending));
    let update = || c.lambda.update_function_configuration().function_name("f").timeout(15);
    refused(outcome(update().send().await), "ResourceConflictException: The operation cannot be performed");
    let delete = c.lambda.delete_function().function_name("f").send().await.unwrap_err();
    assert!(delete.into_service_error().is_resource_conflict_exception());
    outcome(permission(&c, "one", "$connect").send().await).unwrap();
    wait(3).await;
    assert_eq!(update().send().await.unwrap().last_update_status(), Some(&LastUpdateStatus::InProgress));
    refused(
        outcome(update().send().await),
        "ResourceConflictException: The operation cannot be performed at this time. An update",
    );
    wait(2).await;
    update().send().await.unwrap();
}

fn permission(
    c: &Clients,
    sid: &str,
    route: &str,
) -> aws_sdk_lambda::operation::add_permission::builders::AddPermissionFluentBuilder {
    let add = c.lambda.add_permission().function_name("f").statement_id(sid).action("lambda:InvokeFunction");
    add.principal("apigateway.amazonaws.com")
        .source_arn(format!("arn:aws:execute-api:{REGION}:{ACCOUNT}:abc/*/{route}"))
}

#[tokio::test(start_paused = true)]
async fn a_function_is_given_back_as_it_was_made() {
    let (_, c) = world();
    ready(&c).await;
    let got = c.lambda.get_function().function_name("f").send().await.unwrap();
    assert_eq!(got.tags().unwrap()["chatctl:name"], "chat");
    let got = got.configuration().unwrap();
    assert_eq!(got.state(), Some(&State::Active));
    assert_eq!((got.memory_size(), got.timeout()), (Some(128), Some(3)));
    assert_eq!(got.environment().unwrap().variables().unwrap()["TABLE_NAME"], "t");
    assert_eq!(got.function_arn(), Some(FUNCTION_ARN));
    let code = got.code_sha256().unwrap().to_owned();
    let update =
        c.lambda.update_function_code().function_name("f").zip_file(Blob::new(*b"PK new")).send().await.unwrap();
    assert_ne!(update.code_sha256().unwrap(), code);
    let missing = c.lambda.get_function().function_name("g").send().await.unwrap_err();
    assert!(missing.into_service_error().is_resource_not_found_exception());
}

#[tokio::test(start_paused = true)]
async fn what_an_update_leaves_out_stays() {
    let (_, c) = world();
    ready(&c).await;
    let update = || c.lambda.update_function_configuration().function_name("f");
    let updated = update().memory_size(256).send().await.unwrap();
    assert_eq!(updated.environment().unwrap().variables().unwrap().len(), 1);
    wait(2).await;
    let empty = Environment::builder().set_variables(Some(Default::default())).build();
    let updated = update().environment(empty).send().await.unwrap();
    assert!(updated.environment().is_none());
    assert_eq!(updated.memory_size(), Some(256));
}

#[tokio::test(start_paused = true)]
async fn bad_functions_are_refused() {
    let (_, c) = world();
    c.create_role().await.unwrap();
    wait(10).await;
    let create = || create_function(&c.lambda);
    let old = create().runtime(Runtime::Nodejs20x).send().await;
    refused(outcome(old), "InvalidParameterValueException: The runtime parameter of nodejs20.x is no longer supported");
    let unknown = create().runtime(Runtime::from("nodejs99.x")).send().await;
    refused(outcome(unknown), "InvalidParameterValueException: Value nodejs99.x at 'runtime'");
    let elsewhere = ROLE_ARN.replace(ACCOUNT, "999999999999");
    refused(outcome(create().role(elsewhere).send().await), "AccessDeniedException: Cross-account");
    let region = Environment::builder().variables("AWS_REGION", "x").build();
    refused(outcome(create().environment(region).send().await), "InvalidParameterValueException: Lambda was unable");
}

#[tokio::test(start_paused = true)]
async fn permissions_are_statements_by_id() {
    let (world, c) = world();
    ready(&c).await;
    let none = c.lambda.get_policy().function_name("f").send().await.unwrap_err();
    assert!(none.into_service_error().is_resource_not_found_exception());
    let (first, second) = tokio::join!(permission(&c, "one", "$connect").send(), permission(&c, "two", "x").send());
    outcome(first).unwrap();
    refused(outcome(second), "ResourceConflictException: The function could not be updated due to a concurrent");
    refused(outcome(permission(&c, "one", "x").send().await), "ResourceConflictException: The statement id (one)");
    let policy = c.lambda.get_policy().function_name("f").send().await.unwrap();
    assert!(policy.policy().unwrap().contains(":abc/*/$connect"));
    c.lambda.remove_permission().function_name("f").statement_id("one").send().await.unwrap();
    let again = c.lambda.remove_permission().function_name("f").statement_id("one").send().await;
    refused(outcome(again), "ResourceNotFoundException");
    assert!(world.edit(|state| state.region(ACCOUNT, REGION).functions["f"].policy.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn deletion_takes_a_moment() {
    let (world, c) = world();
    ready(&c).await;
    c.lambda.delete_function().function_name("f").send().await.unwrap();
    let got = c.lambda.get_function().function_name("f").send().await.unwrap();
    assert_eq!(got.configuration().unwrap().state(), Some(&State::from("Deleting")));
    refused(c.create_function().await, "ResourceConflictException");
    wait(1).await;
    refused(
        outcome(c.lambda.get_function().function_name("f").send().await),
        "ResourceNotFoundException: Function not",
    );
    assert_eq!(world.everything(ACCOUNT).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn tags_are_reached_by_arn_and_lists_by_page() {
    let (world, c) = world();
    ready(&c).await;
    c.lambda.tag_resource().resource(FUNCTION_ARN).tags("a", "1").send().await.unwrap();
    c.lambda.untag_resource().resource(FUNCTION_ARN).tag_keys("chatctl:name").send().await.unwrap();
    let tags = c.lambda.list_tags().resource(FUNCTION_ARN).send().await.unwrap();
    assert_eq!(tags.tags().unwrap().keys().collect::<Vec<_>>(), ["a"]);
    world.populate(ACCOUNT, REGION, world::Crowd { functions: 4, ..Default::default() });
    let mut pages = c.lambda.list_functions().into_paginator().send();
    let mut sizes = Vec::new();
    while let Some(page) = pages.next().await {
        sizes.push(page.unwrap().functions().len());
    }
    assert_eq!(sizes, [2, 2, 1]);
}
