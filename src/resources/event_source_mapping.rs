//! The mapping by which Lambda feeds the worker from the queue of messages.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_lambda::types::FunctionResponseType;
use futures_util::future::try_join_all;
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::tags::{self, Tags};
use super::{function, names, queue};
use crate::app::QueueEnd;
use crate::aws::failure::{Failure, Operation, Outcome};
use crate::engine::change::{Action, Change, Differences};
use crate::engine::found::{Fields, Found, Owner, fields};
use crate::engine::key::Key;
use crate::engine::kind::{Facts, Kind, Part, Permission, Resource, TakenBack, Wanted};
use crate::engine::run::Ctx;
use crate::engine::scope::Scope;
use crate::engine::wait::Wait;
use crate::error::Code;

/// Messages that the worker takes to everybody in one go: the most that a FIFO queue hands out at once.
const BATCH: i32 = 10;

pub struct EventSourceMappingKind;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MappingSpec {
    source: String,
    enabled: bool,
    batch_size: i32,
    /// That the worker says which messages it has not delivered.
    responses: Vec<String>,
    tags: Tags,
}

fn spec(scope: &Scope) -> MappingSpec {
    MappingSpec {
        source: names::queue_arn(scope, &names::messages(scope)),
        enabled: true,
        batch_size: BATCH,
        responses: vec![FunctionResponseType::ReportBatchItemFailures.as_str().to_owned()],
        tags: scope.tags(),
    }
}

#[async_trait]
impl Kind for EventSourceMappingKind {
    fn facts(&self) -> Facts {
        Facts { immutable: &["source"], ..Facts::of(names::EVENT_SOURCE_MAPPING) }
    }

    fn declare(&self, scope: &Scope) -> Vec<Wanted> {
        let worker = scope.config.app.at_queue(QueueEnd::Receives);
        let needs = worker.map(|worker| vec![names::messages(scope), names::function(scope, &worker.name)]);
        needs.map(|needs| Wanted::new(names::event_source_mapping(scope), needs, Self)).into_iter().collect()
    }

    fn probes(&self, scope: &Scope) -> Vec<String> {
        self.declare(scope).into_iter().map(|wanted| wanted.key.name).collect()
    }

    /// That of a worker that is wanted no more.
    fn hinted(&self, scope: &Scope, found: &[Found]) -> Vec<String> {
        let hinted = names::worker_once_wanted(scope, found).then(|| names::event_source_mapping(scope).name);
        hinted.into_iter().collect()
    }

    async fn find(&self, ctx: &Ctx, probe: &str) -> Result<Vec<Found>, Failure> {
        let key = &Key::new(names::EVENT_SOURCE_MAPPING, probe);
        let mappings = ctx.all(
            "lambda:ListEventSourceMappings",
            key,
            |marker| ctx.aws.lambda.list_event_source_mappings().function_name(probe).set_marker(marker).send(),
            |page| (page.event_source_mappings.unwrap_or_default(), page.next_marker),
        );
        let source = names::queue_arn(&ctx.scope, &names::messages(&ctx.scope));
        // The same queue of this account, which may be unknown yet; others that feed the worker are not ours.
        let queue = source.rsplit(':').next().unwrap_or_default();
        let mappings = mappings.await.optional()?.unwrap_or_default().into_iter();
        let ours = mappings.filter(|mapping| mapping.event_source_arn().is_some_and(|arn| arn.ends_with(queue)));
        let found = try_join_all(ours.map(|mapping| async move {
            let arn = mapping.event_source_mapping_arn().unwrap_or_default();
            // Deleted between the two looks.
            let Some(all) = tags_of(ctx, key, arn).await? else { return Ok(None) };
            let owner = Owner::by_tags(&ctx.scope, &all);
            let (tags, _) = tags::split(all);
            let state = mapping.state().unwrap_or_default();
            let responses = mapping.function_response_types().iter().map(|response| response.as_str().to_owned());
            let fields = fields(&MappingSpec {
                source: mapping.event_source_arn().unwrap_or_default().to_owned(),
                enabled: matches!(state, "Creating" | "Enabling" | "Enabled" | "Updating"),
                batch_size: mapping.batch_size().unwrap_or_default(),
                responses: responses.collect(),
                tags,
            });
            let mut found = Found { owner, ..Found::new(key.clone(), mapping.uuid().unwrap_or_default(), fields) };
            let is_settled = matches!(state, "Enabled" | "Disabled");
            found.settling = (!is_settled).then(|| format!("the mapping, which is {state}"));
            found.attributes.insert("arn", arn.to_owned());
            Ok::<_, Failure>(Some(found))
        }))
        .await?;
        Ok(found.into_iter().flatten().collect())
    }

    fn taken_back(&self, change: &Change) -> Option<TakenBack> {
        let taken = TakenBack { setting: "delivery", now: "messages no longer go through a queue" };
        (change.action == Action::Delete).then_some(taken)
    }

    async fn delete(&self, ctx: &Ctx, found: &Found) -> Result<(), Failure> {
        let key = &found.key;
        if self.declare(&ctx.scope).is_empty() {
            run_empty(ctx, key).await?;
        }
        ctx.call("lambda:DeleteEventSourceMapping", key, || {
            ctx.aws.lambda.delete_event_source_mapping().uuid(&found.id).send()
        })
        .await
        .gone()?;
        ctx.waiting(key, "the mapping to be gone");
        let wait = Wait {
            look: Operation { service: "lambda", name: "ListEventSourceMappings" },
            step: self.facts().look_again,
            budget: Duration::from_secs(120),
            too_long: "the mapping has not gone in time",
        };
        ctx.until(key, wait, || async { Ok(self.find(ctx, &key.name).await?.is_empty()) }).await
    }

    fn permissions(&self, scope: &Scope) -> Vec<Permission> {
        // AWS chooses their ids, so it is the function that tells ours.
        let mappings = vec![scope.arn("lambda", "event-source-mapping:*")];
        let of_ours = json!({ "ArnLike": { "lambda:FunctionArn": names::function_pattern(scope) } });
        // Without a queue, what it takes to find and remove one that was wanted before.
        let mut all = vec![
            Permission::read(&["lambda:ListEventSourceMappings"], vec!["*".to_owned()]),
            Permission::read(&["lambda:ListTags"], mappings.clone()),
            Permission::write(&["lambda:DeleteEventSourceMapping"], mappings.clone()).when(Some(of_ours.clone())),
        ];
        if !self.declare(scope).is_empty() {
            let (create, update) = (&["lambda:CreateEventSourceMapping"], &["lambda:UpdateEventSourceMapping"]);
            // For a creation IAM knows no resource but `*`.
            all.push(Permission::write(create, vec!["*".to_owned()]).when(Some(of_ours.clone())));
            all.push(Permission::write(update, mappings.clone()).when(Some(of_ours)));
            all.push(Permission::write(&["lambda:TagResource", "lambda:UntagResource"], mappings));
        }
        all
    }
}

#[async_trait]
impl Resource for EventSourceMappingKind {
    fn wanted(&self, scope: &Scope) -> Fields {
        fields(&spec(scope))
    }

    async fn create(&self, ctx: &Ctx, key: &Key) -> Result<String, Failure> {
        queue::confirm(ctx).await?;
        let spec = spec(&ctx.scope);
        let created = ctx
            .call("lambda:CreateEventSourceMapping", key, || {
                ctx.aws
                    .lambda
                    .create_event_source_mapping()
                    .function_name(&key.name)
                    .event_source_arn(&spec.source)
                    .batch_size(spec.batch_size)
                    .function_response_types(FunctionResponseType::ReportBatchItemFailures)
                    .set_tags(Some(ctx.scope.tags_at_creation().into_iter().collect()))
                    .send()
            })
            .await?;
        Ok(created.uuid.unwrap_or_default())
    }

    async fn update(&self, ctx: &Ctx, found: &Found, differences: &Differences) -> Result<(), Failure> {
        let (key, lambda) = (&found.key, &ctx.aws.lambda);
        if ["enabled", "batchSize", "responses"].iter().any(|field| differences.touches(field)) {
            let spec = spec(&ctx.scope);
            ctx.call("lambda:UpdateEventSourceMapping", key, || {
                lambda
                    .update_event_source_mapping()
                    .uuid(&found.id)
                    .enabled(spec.enabled)
                    .batch_size(spec.batch_size)
                    .function_response_types(FunctionResponseType::ReportBatchItemFailures)
                    .send()
            })
            .await?;
        }
        function::retag(ctx, key, found.attribute("arn").unwrap_or_default(), differences).await
    }

    fn template(&self, scope: &Scope, key: &Key) -> Vec<Part> {
        let spec = spec(scope);
        let properties = json!({
            "FunctionName": key.name,
            "EventSourceArn": spec.source,
            "BatchSize": spec.batch_size,
            "FunctionResponseTypes": spec.responses,
            "Tags": tags::listed(spec.tags)
        });
        vec![Part {
            logical_id: "BroadcastEventSourceMapping".to_owned(),
            r#type: "AWS::Lambda::EventSourceMapping",
            properties,
        }]
    }
}

/// Waits until everything that was sent has been delivered, where messages are to go another way from now on: until
/// `sendMessage` sends nothing to the queue any more, and the queue has been empty for a while.
async fn run_empty(ctx: &Ctx, key: &Key) -> Result<(), Failure> {
    const BUDGET: Duration = Duration::from_secs(300);
    let operation = Operation { service: "sqs", name: "GetQueueAttributes" };
    // What SQS counts is right a minute after the last change (Q2).
    let still = Duration::from_secs(if ctx.scope.endpoints.emulator.is_some() { 5 } else { 60 });
    let begun = Instant::now();
    let mut empty_since = None;
    // Where the API goes too, there is nobody to deliver to.
    while ctx.run.book.stands(&names::api(&ctx.scope)) {
        let Some(waiting) = queue::waiting(ctx, &names::messages(&ctx.scope)).await? else { return Ok(()) };
        if waiting > 0 || function::sends_to_queue(ctx).await? {
            empty_since = None;
        } else if empty_since.get_or_insert_with(Instant::now).elapsed() >= still {
            return Ok(());
        }
        ctx.run.reporter.waiting(&key.to_string(), "the queue to run empty");
        if begun.elapsed() > BUDGET {
            let why = format!("{waiting} messages are still in the queue, so it was not removed");
            return Err(Failure::ours(operation, &key.to_string(), Code::Timeout, &why));
        }
        if !ctx.pause(Duration::from_secs(1)).await {
            return Err(Failure::interrupted(operation, &key.to_string()));
        }
    }
    Ok(())
}

/// `None` where the mapping has gone.
async fn tags_of(ctx: &Ctx, key: &Key, arn: &str) -> Result<Option<Tags>, Failure> {
    let answer =
        ctx.call("lambda:ListTags", key, || ctx.aws.lambda.list_tags().resource(arn).send()).await.optional()?;
    Ok(answer.map(|answer| answer.tags.unwrap_or_default().into_iter().collect()))
}
