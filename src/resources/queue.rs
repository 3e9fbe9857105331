//! The queue of messages, where messages go through one, and the queue of those that could not be delivered.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use serde::Serialize;
use serde_json::{Value, json};

use super::tags::{self, Tags};
use super::{log_group, names};
use crate::app::{QueueEnd, WORKER_TIMEOUT};
use crate::aws::failure::{Class, Failure, Operation, Outcome};
use crate::engine::change::Differences;
use crate::engine::found::{Fields, Found, Owner, fields};
use crate::engine::key::Key;
use crate::engine::kind::{Facts, Kind, Part, Permission, Resource, Wanted};
use crate::engine::run::Ctx;
use crate::engine::scope::Scope;
use crate::engine::wait::Wait;

/// How often a message is handed out before it counts as undeliverable: a worker that dies each time lets it go again
/// after 20 s, which makes five minutes (`lambda/broadcast.mjs`).
const MOST_RECEIVES: i32 = 15;

/// Seconds: four days, and the longest there is.
const RETENTION: i32 = 345_600;
const RETENTION_OF_THE_DEAD: i32 = 1_209_600;

/// What a queue gives for its encryption where no key is named.
const SQS_OWNED: &str = "by a key SQS owns";

pub struct QueueKind;

/// Shares the connection pool with all others.
pub fn client(ctx: &Ctx) -> Client {
    Client::new(&ctx.aws.sdk)
}

/// One of the two.
enum Queue {
    Messages,
    DeadLetters,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QueueSpec {
    /// Seconds. At least what the worker may take, or Lambda refuses the mapping (Q1).
    visibility_timeout: i32,
    /// Seconds
    retention: i32,
    encryption: String,
    /// Where undeliverable messages go, and after how many tries.
    dead_letter_queue: Option<String>,
    most_receives: Option<i32>,
    tags: Tags,
}

fn spec(scope: &Scope, queue: &Queue) -> QueueSpec {
    let is_dead_letters = matches!(queue, Queue::DeadLetters);
    QueueSpec {
        visibility_timeout: WORKER_TIMEOUT,
        retention: if is_dead_letters { RETENTION_OF_THE_DEAD } else { RETENTION },
        encryption: scope.config.kms_key.clone().unwrap_or_else(|| SQS_OWNED.to_owned()),
        dead_letter_queue: (!is_dead_letters).then(|| names::queue_arn(scope, &names::dead_letters(scope))),
        most_receives: (!is_dead_letters).then_some(MOST_RECEIVES),
        tags: scope.tags(),
    }
}

impl QueueSpec {
    fn redrive_policy(&self) -> Option<Value> {
        let arn = self.dead_letter_queue.as_ref()?;
        Some(json!({ "deadLetterTargetArn": arn, "maxReceiveCount": self.most_receives }))
    }

    /// The attributes as calls carry them, without those that only a new queue can be given.
    fn attributes(&self) -> HashMap<Attribute, String> {
        let mut attributes = HashMap::from([
            (Attribute::VisibilityTimeout, self.visibility_timeout.to_string()),
            (Attribute::MessageRetentionPeriod, self.retention.to_string()),
        ]);
        match self.encryption.as_str() {
            SQS_OWNED => attributes.insert(Attribute::SqsManagedSseEnabled, "true".to_owned()),
            key => attributes.insert(Attribute::KmsMasterKeyId, key.to_owned()),
        };
        attributes.extend(self.redrive_policy().map(|policy| (Attribute::RedrivePolicy, policy.to_string())));
        attributes
    }
}

#[async_trait]
impl Kind for QueueKind {
    fn facts(&self) -> Facts {
        Facts {
            // Nothing is sent to a stray, and nothing is left in it, when these have been changed.
            referred_to_by: &[names::EVENT_SOURCE_MAPPING, names::FUNCTION],
            ..Facts::of(names::QUEUE)
        }
    }

    fn declare(&self, scope: &Scope) -> Vec<Wanted> {
        let (messages, dead_letters) = (names::messages(scope), names::dead_letters(scope));
        let Some(registered) = names::registered_worker(scope) else { return vec![] };
        vec![
            Wanted::new(dead_letters.clone(), vec![registered.clone()], Queue::DeadLetters),
            Wanted::new(messages, vec![registered, dead_letters], Queue::Messages),
        ]
    }

    fn probes(&self, scope: &Scope) -> Vec<String> {
        self.declare(scope).into_iter().map(|wanted| wanted.key.name).collect()
    }

    /// Those of a worker that is wanted no more.
    fn hinted(&self, scope: &Scope, found: &[Found]) -> Vec<String> {
        let both = [names::messages(scope), names::dead_letters(scope)];
        if names::worker_once_wanted(scope, found) { both.map(|key| key.name).into() } else { vec![] }
    }

    async fn find(&self, ctx: &Ctx, probe: &str) -> Result<Vec<Found>, Failure> {
        let key = Key::new(names::QUEUE, probe);
        let is_wanted = !self.declare(&ctx.scope).is_empty();
        // Q2
        let url = ctx.at_last(&key, is_wanted, || url_of(ctx, &key)).await?;
        let Some(url) = url else { return Ok(vec![]) };
        let (attributes, tags) = tokio::try_join!(attributes_of(ctx, &key, &url), tags_of(ctx, &key, &url))?;
        // Deleted between the looks.
        let (Some(attributes), Some(all)) = (attributes, tags) else { return Ok(vec![]) };
        let owner = Owner::by_tags(&ctx.scope, &all);
        if let Some(arn) = attributes.get(&Attribute::QueueArn).filter(|_| owner == Owner::Ours) {
            ctx.run.learn_identity(arn);
        }
        let (tags, _) = tags::split(all);
        let number = |name| attributes.get(&name).and_then(|text| text.parse().ok());
        let redrive: Value = attributes
            .get(&Attribute::RedrivePolicy)
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        let receives = &redrive["maxReceiveCount"];
        let managed = attributes.get(&Attribute::SqsManagedSseEnabled).is_some_and(|text| text == "true");
        let fields = fields(&QueueSpec {
            visibility_timeout: number(Attribute::VisibilityTimeout).unwrap_or_default(),
            retention: number(Attribute::MessageRetentionPeriod).unwrap_or_default(),
            encryption: match attributes.get(&Attribute::KmsMasterKeyId) {
                Some(key) if !key.is_empty() => key.clone(),
                _ => if managed { SQS_OWNED } else { "none" }.to_owned(),
            },
            dead_letter_queue: redrive["deadLetterTargetArn"].as_str().map(str::to_owned),
            most_receives: receives
                .as_i64()
                .or_else(|| receives.as_str()?.parse().ok())
                .and_then(|count| i32::try_from(count).ok()),
            tags,
        });
        let waiting = counted(&attributes);
        let mut found = Found { owner, ..Found::new(key, url, fields) };
        found.attributes.insert(WAITING, waiting.to_string());
        Ok(vec![found])
    }

    async fn delete(&self, ctx: &Ctx, found: &Found) -> Result<(), Failure> {
        let key = &found.key;
        ctx.call("sqs:DeleteQueue", key, || client(ctx).delete_queue().queue_url(&found.id).send()).await.gone()?;
        self.seen(ctx, key, "the queue to be gone", |found| found.is_none()).await
    }

    fn permissions(&self, scope: &Scope) -> Vec<Permission> {
        let queues = vec![scope.arn("sqs", &format!("{}-*", scope.config.name))];
        // Without a queue, what it takes to find and remove one that was wanted before.
        let mut all = vec![
            Permission::read(&["sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ListQueueTags"], queues.clone()),
            Permission::write(&["sqs:DeleteQueue"], queues.clone()),
        ];
        if names::registered_worker(scope).is_some() {
            let actions = &["sqs:CreateQueue", "sqs:SetQueueAttributes", "sqs:TagQueue", "sqs:UntagQueue"];
            all.push(Permission::write(actions, queues));
            // What `redrive` does; with a customer's key SQS asks for it in our name (Q6).
            let of_family = |queue: &str| vec![scope.arn("sqs", &format!("{}-*{queue}", scope.config.name))];
            all.push(Permission::other(&["sqs:DeleteMessage", "sqs:ReceiveMessage"], of_family(names::DEAD_LETTERS)));
            all.push(Permission::other(&["sqs:SendMessage"], of_family(names::MESSAGES)));
            all.extend(scope.config.kms_key.iter().map(|key| {
                let through = format!("sqs.{}.*", scope.region);
                Permission::other(&["kms:Decrypt", "kms:GenerateDataKey"], vec![key.clone()])
                    .when(Some(json!({ "StringLike": { "kms:ViaService": through } })))
            }));
        }
        all
    }
}

#[async_trait]
impl Resource for Queue {
    fn wanted(&self, scope: &Scope) -> Fields {
        fields(&spec(scope, self))
    }

    async fn create(&self, ctx: &Ctx, key: &Key) -> Result<String, Failure> {
        let mut attributes = spec(&ctx.scope, self).attributes();
        attributes.insert(Attribute::FifoQueue, "true".to_owned());
        let tags: HashMap<String, String> = ctx.scope.tags_at_creation().into_iter().collect();
        let create = || {
            let create = client(ctx).create_queue().queue_name(&key.name);
            create.set_attributes(Some(attributes.clone())).set_tags(Some(tags.clone())).send()
        };
        let worker = ctx.scope.config.app.at_queue(QueueEnd::Receives);
        let registered = || async {
            let Some(worker) = worker else { return Ok(()) };
            log_group::registered(ctx, &worker.name, key).await
        };
        registered().await?;
        // One of its name that was deleted is waited for, for a minute (Q2).
        let is_gone = || async { registered().await.is_err_and(|failure| failure.is_moved_world()) };
        let created = ctx.call_upon("sqs:CreateQueue", key, create, Duration::from_secs(1), is_gone).await?;
        Ok(created.queue_url.unwrap_or_default())
    }

    async fn update(&self, ctx: &Ctx, found: &Found, differences: &Differences) -> Result<(), Failure> {
        let (key, url) = (&found.key, &found.id);
        let attributes = ["visibilityTimeout", "retention", "encryption", "deadLetterQueue", "mostReceives"];
        if attributes.iter().any(|field| differences.touches(field)) {
            let wanted = spec(&ctx.scope, self).attributes();
            ctx.call("sqs:SetQueueAttributes", key, || {
                client(ctx).set_queue_attributes().queue_url(url).set_attributes(Some(wanted.clone())).send()
            })
            .await?;
        }
        let (set, removed) = differences.entries("tags");
        if !set.is_empty() {
            ctx.call("sqs:TagQueue", key, || {
                client(ctx).tag_queue().queue_url(url).set_tags(Some(set.iter().cloned().collect())).send()
            })
            .await?;
        }
        if !removed.is_empty() {
            ctx.call("sqs:UntagQueue", key, || {
                client(ctx).untag_queue().queue_url(url).set_tag_keys(Some(removed.clone())).send()
            })
            .await?;
        }
        QueueKind
            .seen(ctx, key, "the queue's new settings to be seen", |found| {
                found.is_some_and(|found| changes_done(&self.wanted(&ctx.scope), found))
            })
            .await
    }

    fn template(&self, scope: &Scope, key: &Key) -> Vec<Part> {
        let spec = spec(scope, self);
        let mut properties = json!({
            "QueueName": key.name,
            "FifoQueue": true,
            "VisibilityTimeout": spec.visibility_timeout,
            "MessageRetentionPeriod": spec.retention,
            "Tags": tags::listed(spec.tags.clone())
        });
        match &scope.config.kms_key {
            Some(key) => properties["KmsMasterKeyId"] = json!(key),
            None => properties["SqsManagedSseEnabled"] = json!(true),
        }
        if let Some(policy) = spec.redrive_policy() {
            properties["RedrivePolicy"] = policy;
        }
        let logical_id = match self {
            Self::Messages => "Messages",
            Self::DeadLetters => "DeadLetters",
        };
        vec![Part { logical_id: logical_id.to_owned(), r#type: "AWS::SQS::Queue", properties }]
    }
}

impl QueueKind {
    /// Looks until it is so: what was written to a queue is seen everywhere within a minute (Q2).
    async fn seen(
        &self,
        ctx: &Ctx,
        key: &Key,
        what: &str,
        is_so: impl Fn(Option<&Found>) -> bool + Send + Sync,
    ) -> Result<(), Failure> {
        let wait = Wait {
            look: Operation { service: "sqs", name: "GetQueueAttributes" },
            step: self.facts().look_again,
            budget: Duration::from_secs(120),
            too_long: "the queue has not settled in time",
        };
        let look = || async {
            let is_so = is_so(self.find(ctx, &key.name).await?.first());
            if !is_so {
                ctx.waiting(key, what);
            }
            Ok(is_so)
        };
        ctx.until(key, wait, look).await
    }
}

/// Makes sure of both queues where nothing feeds from them yet: one that was found may have been deleted by a run that died, and
/// is then shown for a minute (Q2). Only a creation tells, which does nothing to a queue that is there.
pub async fn confirm(ctx: &Ctx) -> Result<(), Failure> {
    let scope = &ctx.scope;
    for (key, queue) in [(names::dead_letters(scope), Queue::DeadLetters), (names::messages(scope), Queue::Messages)] {
        if ctx.run.book.is_young(&key) {
            continue;
        }
        match queue.create(ctx, &key).await {
            Err(failure) if failure.class != Class::AlreadyExists => return Err(failure),
            _ => {}
        }
    }
    Ok(())
}

/// The attribute of a queue that was found: how many messages are in it, as far as SQS knows.
pub const WAITING: &str = "waiting";

/// How many messages are in the queue, as far as SQS knows; nothing where there is no queue.
pub async fn waiting(ctx: &Ctx, key: &Key) -> Result<Option<u64>, Failure> {
    let Some(url) = url_of(ctx, key).await? else { return Ok(None) };
    Ok(attributes_of(ctx, key, &url).await?.as_ref().map(counted))
}

/// Those that wait, those that are in somebody's hands, and those that are to wait later.
fn counted(attributes: &HashMap<Attribute, String>) -> u64 {
    let counts = [
        Attribute::ApproximateNumberOfMessages,
        Attribute::ApproximateNumberOfMessagesNotVisible,
        Attribute::ApproximateNumberOfMessagesDelayed,
    ];
    counts.iter().filter_map(|name| attributes.get(name)?.parse::<u64>().ok()).sum()
}

fn changes_done(wanted: &Fields, found: &Found) -> bool {
    wanted.iter().all(|(field, value)| found.fields.get(field) == Some(value))
}

async fn url_of(ctx: &Ctx, key: &Key) -> Result<Option<String>, Failure> {
    let answer = ctx
        .call("sqs:GetQueueUrl", key, || client(ctx).get_queue_url().queue_name(&key.name).send())
        .await
        .optional()?;
    Ok(answer.and_then(|answer| answer.queue_url))
}

async fn attributes_of(ctx: &Ctx, key: &Key, url: &str) -> Result<Option<HashMap<Attribute, String>>, Failure> {
    let answer = ctx
        .call("sqs:GetQueueAttributes", key, || {
            client(ctx).get_queue_attributes().queue_url(url).attribute_names(Attribute::All).send()
        })
        .await
        .optional()?;
    Ok(answer.map(|answer| answer.attributes.unwrap_or_default()))
}

async fn tags_of(ctx: &Ctx, key: &Key, url: &str) -> Result<Option<Tags>, Failure> {
    let answer =
        ctx.call("sqs:ListQueueTags", key, || client(ctx).list_queue_tags().queue_url(url).send()).await.optional()?;
    Ok(answer.map(|answer| answer.tags.unwrap_or_default().into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::MOST_RECEIVES;

    #[test]
    fn the_worker_knows_when_a_message_is_handed_out_for_the_last_time() {
        let worker = include_str!("../../lambda/broadcast.mjs");
        assert!(worker.contains(&format!("\nconst MOST_RECEIVES = {MOST_RECEIVES};\n")));
    }
}
