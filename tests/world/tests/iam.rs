//! IAM and STS, as the real SDK meets them in the model.

use std::time::Duration;

use super::common::*;
use aws_sdk_iam::types::Tag;
use world::Switches;

const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"dynamodb:PutItem","Resource":"arn:aws:dynamodb:eu-central-1:111122223333:table/t"}]}"#;

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_caller_tells_account_and_partition() {
    let (world, c) = world();
    let caller = c.sts.get_caller_identity().send().await.unwrap();
    assert_eq!(caller.account(), Some(ACCOUNT));
    assert!(caller.arn().unwrap().starts_with("arn:aws:sts::111122223333:"));
    for (region, partition) in [("us-gov-west-1", "aws-us-gov"), ("cn-north-1", "aws-cn")] {
        let there = Clients::new(&world.sdk_config(ACCOUNT, region));
        let caller = there.sts.get_caller_identity().send().await.unwrap();
        assert!(caller.arn().unwrap().starts_with(&format!("arn:{partition}:sts::")));
        let name = format!("r-{region}");
        let role = there.iam.create_role().role_name(name).assume_role_policy_document(TRUST).send().await.unwrap();
        assert!(role.role().unwrap().arn().starts_with(&format!("arn:{partition}:iam::")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_role_is_given_back_as_it_was_made() {
    let (_, c) = world();
    let create = c.iam.create_role().path("/chatctl/").role_name("Chat-r").assume_role_policy_document(TRUST);
    let create = create.tags(tag("chatctl:name", "chat")).description("<a & b>");
    let made = create.clone().send().await.unwrap();
    assert_eq!(made.role().unwrap().arn(), "arn:aws:iam::111122223333:role/chatctl/Chat-r");
    let again = create.send().await.unwrap_err();
    assert!(again.into_service_error().is_entity_already_exists_exception());
    // Names are the same in whatever case (I2).
    let got = c.iam.get_role().role_name("chat-R").send().await.unwrap();
    let got = got.role().unwrap();
    assert_eq!((got.role_name(), got.tags()[0].value()), ("Chat-r", "chat"));
    assert_eq!(got.description(), Some("<a & b>"));
    // URL-encoded, as from AWS.
    assert!(got.assume_role_policy_document().unwrap().starts_with("%7B%22Version%22"));
    let listed = c.iam.list_roles().path_prefix("/chatctl/").send().await.unwrap();
    assert!(listed.roles()[0].tags().is_empty());
    let missing = c.iam.get_role().role_name("nobody").send().await.unwrap_err();
    assert!(missing.into_service_error().is_no_such_entity_exception());
}

#[tokio::test(start_paused = true)]
async fn only_a_bare_role_can_be_deleted() {
    let (world, c) = world();
    c.create_role().await.unwrap();
    c.iam.put_role_policy().role_name("r").policy_name("p").policy_document(POLICY).send().await.unwrap();
    let got = c.iam.get_role_policy().role_name("r").policy_name("p").send().await.unwrap();
    assert!(got.policy_document().contains("dynamodb%3APutItem"));
    let of_aws = "arn:aws:iam::aws:policy/ReadOnlyAccess";
    c.iam.attach_role_policy().role_name("r").policy_arn(of_aws).send().await.unwrap();
    assert_eq!(c.iam.list_attached_role_policies().role_name("r").send().await.unwrap().attached_policies().len(), 1);
    let delete = || c.iam.delete_role().role_name("r").send();
    assert!(delete().await.unwrap_err().into_service_error().is_delete_conflict_exception());
    c.iam.detach_role_policy().role_name("r").policy_arn(of_aws).send().await.unwrap();
    assert_eq!(c.iam.list_role_policies().role_name("r").send().await.unwrap().policy_names(), ["p"]);
    refused(outcome(delete().await), "DeleteConflict: Cannot delete entity, must delete policies first.");
    c.iam.delete_role_policy().role_name("r").policy_name("p").send().await.unwrap();
    // It lingers (I3).
    refused(outcome(delete().await), "DeleteConflict");
    wait(1).await;
    assert!(
        c.iam.list_instance_profiles_for_role().role_name("r").send().await.unwrap().instance_profiles().is_empty()
    );
    delete().await.unwrap();
    assert_eq!(world.everything(ACCOUNT), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn documents_are_checked() {
    let (_, c) = world();
    let create = |trust: &str| c.iam.create_role().role_name("r").assume_role_policy_document(trust).send();
    refused(outcome(create(POLICY).await), "MalformedPolicyDocument: Has prohibited field Resource");
    refused(outcome(create("{").await), "MalformedPolicyDocument: Syntax errors in policy.");
    create(TRUST).await.unwrap();
    let put =
        |document: String| c.iam.put_role_policy().role_name("r").policy_name("p").policy_document(document).send();
    let elsewhere = put(POLICY.replace("arn:aws:", "arn:aws-cn:")).await;
    refused(outcome(elsewhere), "MalformedPolicyDocument: Partition \"aws-cn\" is not valid for resource");
    refused(outcome(put(TRUST.to_owned()).await), "MalformedPolicyDocument: Policy document should not specify");
    let large = POLICY.replace("dynamodb:PutItem", &format!("dynamodb:{}", "x".repeat(11_000)));
    refused(outcome(put(large).await), "LimitExceeded: Maximum policy size");
}

#[tokio::test(start_paused = true)]
async fn tags_of_roles_are_the_strictest() {
    let (_, c) = world();
    c.create_role().await.unwrap();
    let put = |tags: Vec<Tag>| c.iam.tag_role().role_name("r").set_tags(Some(tags)).send();
    refused(outcome(put(vec![tag("aws:k", "v")]).await), "ValidationError");
    refused(outcome(put(vec![tag("k", "v"), tag("K", "v")]).await), "InvalidInput: Duplicate tag keys");
    put(vec![tag("k", "v"), tag("l", "v"), tag("m", "v")]).await.unwrap();
    put(vec![tag("K", "w")]).await.unwrap();
    c.iam.untag_role().role_name("r").tag_keys("l").send().await.unwrap();
    let tags = c.iam.list_role_tags().role_name("r").send().await.unwrap();
    assert_eq!((tags.tags()[0].key(), tags.tags()[0].value(), tags.tags().len()), ("K", "w", 2));
}

#[tokio::test(start_paused = true)]
async fn a_boundary_must_exist() {
    let (world, c) = world();
    let boundary = format!("arn:aws:iam::{ACCOUNT}:policy/boundary");
    let create = c.iam.create_role().role_name("r").assume_role_policy_document(TRUST).permissions_boundary(&boundary);
    refused(outcome(create.clone().send().await), "NoSuchEntity: Scope ARN: arn:aws:iam::111122223333:policy/boundary");
    world.edit(|state| state.account(ACCOUNT).managed_policies.insert(boundary.clone()));
    let made = create.send().await.unwrap();
    let arn = made.role().unwrap().permissions_boundary().unwrap().permissions_boundary_arn();
    assert_eq!(arn, Some(boundary.as_str()));
    c.iam.delete_role_permissions_boundary().role_name("r").send().await.unwrap();
    assert!(world.edit(|state| state.account(ACCOUNT).role("r").unwrap().boundary.is_none()));
}

#[tokio::test(start_paused = true)]
async fn a_young_role_is_not_seen_if_wanted() {
    let (_, c) = with(Switches { iam_role_window: Duration::from_secs(1), ..Switches::default() });
    c.create_role().await.unwrap();
    refused(outcome(c.iam.get_role().role_name("r").send().await), "NoSuchEntity");
    let put = || c.iam.put_role_policy().role_name("r").policy_name("p").policy_document(POLICY).send();
    refused(outcome(put().await), "NoSuchEntity");
    refused(c.create_role().await, "EntityAlreadyExists");
    wait(1).await;
    put().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn racing_writes_to_one_role_are_refused() {
    let (_, c) = world();
    let (first, second) = tokio::join!(c.create_role(), c.create_role());
    first.unwrap();
    refused(second, "ConcurrentModification");
}
