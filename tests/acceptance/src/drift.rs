//! What somebody may do to the deployment by hand: one edit a line, of every kind.

use aws_sdk_iam::error::ProvideErrorMetadata;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use futures_util::future::{FutureExt, LocalBoxFuture};

use crate::ledger::said;
use crate::life::{Life, NAME};

pub type Edit = for<'a> fn(&'a mut Life<'_>) -> LocalBoxFuture<'a, Result<(), String>>;

/// Each is seen by `status` and repaired by the next `up`.
pub const EDITS: &[(&str, Edit)] = &[
    ("a role's policy is deleted", |life| {
        async move {
            let role = life.role();
            let policies = life.policies(&role).await?;
            let policy = policies.first().ok_or("the role has no policy")?;
            done(life.aws.iam.delete_role_policy().role_name(&role).policy_name(policy).send().await)
        }
        .boxed_local()
    }),
    ("a role gets a policy more", |life| {
        async move {
            let partition = life.partition().await?;
            let arn = format!("arn:{partition}:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole");
            done(life.aws.iam.attach_role_policy().role_name(life.role()).policy_arn(arn).send().await)
        }
        .boxed_local()
    }),
    ("a role gets a tag more", |life| {
        async move {
            let tag = aws_sdk_iam::types::Tag::builder().key("by").value("hand").build().map_err(|e| e.to_string())?;
            done(life.aws.iam.tag_role().role_name(life.role()).tags(tag).send().await)
        }
        .boxed_local()
    }),
    ("a function is made smaller", |life| {
        async move {
            let function = format!("{NAME}-onConnect");
            let update = life.aws.lambda.update_function_configuration().function_name(function).memory_size(128);
            let updated = update.send().await;
            if let Ok(updated) = &updated {
                let kept = updated.timeout() == Some(15) && updated.environment().is_some();
                life.ledger.is_so("L12", "what was not sent", kept, format!("timeout and variables kept: {kept}"));
            }
            done(updated)
        }
        .boxed_local()
    }),
    ("a function is deleted", |life| {
        async move {
            let deleted = life.aws.lambda.delete_function().function_name(format!("{NAME}-onDisconnect")).send().await;
            let group = format!("/aws/lambda/{NAME}-onDisconnect");
            let groups = life.aws.logs.describe_log_groups().log_group_name_prefix(group).send().await.map_err(said)?;
            let stays = !groups.log_groups().is_empty();
            life.ledger.is_so("L13", "a log group that stays", stays, format!("it stays: {stays}"));
            done(deleted)
        }
        .boxed_local()
    }),
    ("a permission is removed", |life| {
        async move {
            let remove = life.aws.lambda.remove_permission().function_name(format!("{NAME}-onConnect"));
            done(remove.statement_id("chatctl").send().await)
        }
        .boxed_local()
    }),
    ("a log group forgets its retention", |life| {
        async move {
            let group = format!("/aws/lambda/{NAME}-onConnect");
            done(life.aws.logs.delete_retention_policy().log_group_name(group).send().await)
        }
        .boxed_local()
    }),
    ("a log group is deleted", |life| {
        async move {
            done(life.aws.logs.delete_log_group().log_group_name(format!("/aws/lambda/{NAME}-onConnect")).send().await)
        }
        .boxed_local()
    }),
    ("the API selects routes by something else", |life| {
        async move {
            let update = life.aws.apigateway.update_api().api_id(life.api().await?);
            done(update.route_selection_expression("$request.body.verb").send().await)
        }
        .boxed_local()
    }),
    ("a route is deleted", |life| {
        async move {
            let (api, route) = (life.api().await?, life.route("sendmessage").await?);
            done(life.aws.apigateway.delete_route().api_id(api).route_id(route).send().await)
        }
        .boxed_local()
    }),
    ("an integration leads elsewhere", |life| {
        async move {
            let api = life.api().await?;
            let listed = life.integrations(&api).await?;
            let [first, .., last] = listed.as_slice() else { return Err("there are no two integrations".to_owned()) };
            let first = first.integration_id().ok_or("an integration has an id")?;
            let other = last.integration_uri().ok_or("an integration has a URI")?;
            let update = life.aws.apigateway.update_integration().api_id(&api).integration_id(first);
            done(update.integration_uri(other).send().await)
        }
        .boxed_local()
    }),
    ("the stage deploys by itself", |life| {
        async move {
            let update = life.aws.apigateway.update_stage().api_id(life.api().await?).stage_name("prod");
            done(update.auto_deploy(true).send().await)
        }
        .boxed_local()
    }),
    ("the table gets a tag more", |life| {
        async move {
            let arn = life.table_arn().await?;
            let tag = aws_sdk_dynamodb::types::Tag::builder().key("by").value("hand").build();
            let tag = tag.map_err(|error| error.to_string())?;
            done(life.aws.dynamodb.tag_resource().resource_arn(arn).tags(tag).send().await)
        }
        .boxed_local()
    }),
];

fn done<T, E>(answer: Result<T, SdkError<E, HttpResponse>>) -> Result<(), String>
where
    E: ProvideErrorMetadata,
{
    answer.map(drop).map_err(|error| format!("by hand: {}", said(error)))
}
