//! SQS: queues, their attributes and their tags, and the messages in those that keep an order.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::clock::Moment;
use crate::context::{Context, new_id};
use crate::fields::Fields;
use crate::operation::{Operations, Request, Wire, target};
use crate::place::{Place, dns_suffix};
use crate::reply::{Answer, Refusal, Reply};
use crate::rules::{self, spelled};
use crate::service::{Model, Protocol, Read, Refusals};
use crate::state::{Message, Queue, Role, Tags};

const OPERATIONS: Operations = &[
    ("CreateQueue", true),
    ("GetQueueUrl", false),
    ("GetQueueAttributes", false),
    ("SetQueueAttributes", true),
    ("DeleteQueue", true),
    ("TagQueue", true),
    ("UntagQueue", true),
    ("ListQueueTags", false),
    ("ReceiveMessage", true),
    ("SendMessage", true),
    ("DeleteMessage", true),
];

pub(crate) struct Sqs;

impl Model for Sqs {
    fn name(&self) -> &'static str {
        "sqs"
    }

    fn protocol(&self) -> Protocol {
        Protocol::Json("1.0")
    }

    fn read(&self, wire: &Wire<'_>) -> Read {
        target("AmazonSQS.", OPERATIONS, wire)
    }

    fn handle(&self, cx: &mut Context<'_>, operation: &'static str, fields: Fields) -> Answer {
        handle(cx, operation, fields)
    }

    fn named_by(&self) -> &'static [&'static str] {
        &["QueueName", "QueueUrl"]
    }

    fn refusals(&self) -> Refusals {
        Refusals {
            denied: (403, "AccessDeniedException"),
            throttled: (400, "RequestThrottled", "Rate exceeded"),
            expired: (403, "ExpiredToken"),
            skewed: (403, "InvalidSignatureException"),
            broken: "InternalFailure",
            unavailable: "ServiceUnavailable",
        }
    }

    fn error(&self, Refusal { code, message, .. }: &Refusal) -> Value {
        json!({ "__type": format!("com.amazonaws.sqs#{code}"), "message": message })
    }

    fn arn(&self, request: &Request, _: Option<&Role>) -> String {
        request.place.arn("sqs", request.resource.rsplit('/').next().unwrap_or_default())
    }

    fn tagging(&self) -> &'static [(&'static str, &'static str, &'static str)] {
        &[("CreateQueue", "tags", "sqs:TagQueue")]
    }
}

fn handle(cx: &mut Context<'_>, operation: &'static str, fields: Fields) -> Answer {
    match operation {
        "CreateQueue" => create(cx, fields),
        "GetQueueUrl" => get_url(cx, fields),
        "GetQueueAttributes" => get_attributes(cx, fields),
        "SetQueueAttributes" => set_attributes(cx, fields),
        "DeleteQueue" => delete(cx, fields),
        "TagQueue" => tag(cx, fields),
        "UntagQueue" => untag(cx, fields),
        "ListQueueTags" => list_tags(cx, fields),
        "SendMessage" => send(cx, fields),
        "ReceiveMessage" => receive(cx, fields),
        "DeleteMessage" => delete_message(cx, fields),
        other => unreachable!("{other} is not routed here"),
    }
}

fn bad_attribute(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "InvalidAttributeValue", message)
}

fn bad_parameter(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "InvalidParameterValue", message)
}

const RANGES: [(&str, i64, i64); 2] = [("VisibilityTimeout", 0, 43_200), ("MessageRetentionPeriod", 60, 1_209_600)];

/// One that is seen: a young one is not, and one that is gone still is (Q2).
fn queue<'a>(cx: &'a mut Context<'_>, name_or_url: &str) -> Result<&'a mut Queue, Refusal> {
    let now = cx.now;
    let name = name_or_url.rsplit('/').next().unwrap_or_default();
    let queue = cx.account.region(&cx.place.region).queues.get_mut(name);
    queue
        .filter(|queue| queue.seen_at <= now)
        .ok_or_else(|| Refusal::new(400, "QueueDoesNotExist", "The specified queue does not exist."))
}

fn check(cx: &mut Context<'_>, attributes: &BTreeMap<String, String>) -> Result<(), Refusal> {
    for (name, least, most) in RANGES {
        let Some(text) = attributes.get(name) else { continue };
        if !text.parse().is_ok_and(|number: i64| (least..=most).contains(&number)) {
            return Err(bad_attribute(format!("Invalid value for the parameter {name}.")));
        }
    }
    let Some(text) = attributes.get("RedrivePolicy") else { return Ok(()) };
    let policy: Value = serde_json::from_str(text).unwrap_or_default();
    let target = policy["deadLetterTargetArn"].as_str().and_then(|arn| arn.rsplit(':').next()).unwrap_or_default();
    let receives = policy["maxReceiveCount"].as_i64().unwrap_or_default();
    let exists = cx.account.region(&cx.place.region).queues.contains_key(target);
    if !exists || !(1..=1_000).contains(&receives) {
        return Err(bad_attribute(format!("Value {text} for parameter RedrivePolicy is invalid.")));
    }
    // The dead letters of a queue that keeps an order are one too.
    if !target.ends_with(".fifo") {
        return Err(bad_attribute("Dead letter queue must be same type of queue as the source."));
    }
    Ok(())
}

fn create(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.label("QueueName");
    let attributes = fields.text_map("Attributes").unwrap_or_default();
    let tags = fields.text_map("tags").unwrap_or_default();
    fields.done();
    let stem = name.strip_suffix(".fifo").unwrap_or(&name);
    if name.len() > 80 || stem.is_empty() || !spelled(stem, "-_") {
        return Err(bad_parameter(
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        ));
    }
    if (attributes.get("FifoQueue").map(String::as_str) == Some("true")) != name.ends_with(".fifo") {
        return Err(bad_parameter("The name of a FIFO queue must end with .fifo"));
    }
    check(cx, &attributes)?;
    if let Some(fault) = rules::tags_fault(&tags) {
        return Err(bad_parameter(fault));
    }
    let (now, seen_at) = (cx.now, cx.now + cx.switches.queue_creating);
    let Place { account, region } = cx.place;
    let url = format!("https://sqs.{region}.{}/{account}/{name}", dns_suffix(region));
    let arn = cx.place.arn("sqs", &name);
    let region = cx.account.region(region);
    if region.gone_queues.get(&name).is_some_and(|until| now < *until) {
        let message =
            "You must wait 60 seconds after deleting a queue before you can create another with the same name.";
        return Err(Refusal::new(400, "QueueDeletedRecently", message));
    }
    // The same queue again is no fault.
    if let Some(known) = region.queues.get(&name) {
        if attributes.iter().all(|(name, value)| known.attributes.get(name) == Some(value)) {
            return Ok(Reply::json(200, json!({ "QueueUrl": known.url })));
        }
        let message = "A queue already exists with the same name and a different value for an attribute";
        return Err(Refusal::new(400, "QueueNameExists", message));
    }
    let queue = Queue { name: name.clone(), url: url.clone(), arn, attributes, tags, seen_at, ..Queue::default() };
    region.queues.insert(name, queue);
    Ok(Reply::json(200, json!({ "QueueUrl": url })))
}

fn get_url(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.label("QueueName");
    fields.done();
    Ok(Reply::json(200, json!({ "QueueUrl": queue(cx, &name)?.url })))
}

/// What a read gives now.
fn shown(queue: &Queue, now: Moment) -> (BTreeMap<String, String>, Tags) {
    match &queue.old {
        Some(old) if now < queue.shown_at => old.clone(),
        _ => (queue.attributes.clone(), queue.tags.clone()),
    }
}

fn get_attributes(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let url = fields.label("QueueUrl");
    let wanted = fields.texts("AttributeNames").unwrap_or_default();
    fields.done();
    assert!(wanted == ["All"], "world: attributes are read all at once");
    let now = cx.now;
    let queue = queue(cx, &url)?;
    let (mut attributes, _) = shown(queue, now);
    attributes.insert("QueueArn".to_owned(), queue.arn.clone());
    let hidden = queue.messages.iter().filter(|message| message.hidden_until > now).count();
    let counts = [("Messages", queue.messages.len() - hidden), ("MessagesNotVisible", hidden)];
    for (of, count) in counts {
        attributes.entry(format!("ApproximateNumberOf{of}")).or_insert_with(|| count.to_string());
    }
    Ok(Reply::json(200, json!({ "Attributes": attributes })))
}

/// The queue, after it was noted what reads still give for a while.
fn written<'a>(cx: &'a mut Context<'_>, url: &str) -> Result<&'a mut Queue, Refusal> {
    let (now, lag) = (cx.now, cx.switches.queue_lag);
    let queue = queue(cx, url)?;
    queue.old = Some(shown(queue, now));
    queue.shown_at = now + lag;
    Ok(queue)
}

fn set_attributes(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let (url, new) = (fields.label("QueueUrl"), fields.text_map("Attributes").unwrap_or_default());
    fields.done();
    check(cx, &new)?;
    let attributes = &mut written(cx, &url)?.attributes;
    // One of the two ways to encrypt, the last that was set.
    if new.contains_key("SqsManagedSseEnabled") {
        attributes.remove("KmsMasterKeyId");
    }
    if new.contains_key("KmsMasterKeyId") {
        attributes.remove("SqsManagedSseEnabled");
    }
    attributes.extend(new);
    Ok(Reply::json(200, json!({})))
}

fn delete(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let url = fields.label("QueueUrl");
    fields.done();
    let (seen_until, kept_until) = (cx.now + cx.switches.queue_lag, cx.now + cx.switches.queue_name_kept);
    let queue = queue(cx, &url)?;
    queue.deleted_at.get_or_insert(seen_until);
    let name = queue.name.clone();
    let (now, region) = (cx.now, cx.account.region(&cx.place.region));
    region.gone_queues.entry(name).and_modify(|until| *until = kept_until.max(*until)).or_insert(kept_until);
    region.queues.retain(|_, queue| queue.deleted_at.is_none_or(|at| now < at));
    Ok(Reply::json(200, json!({})))
}

fn tag(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let (url, new) = (fields.label("QueueUrl"), fields.text_map("Tags").unwrap_or_default());
    fields.done();
    let mut all = queue(cx, &url)?.tags.clone();
    all.extend(new);
    if let Some(fault) = rules::tags_fault(&all) {
        return Err(bad_parameter(fault));
    }
    written(cx, &url)?.tags = all;
    Ok(Reply::json(200, json!({})))
}

fn untag(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let (url, keys) = (fields.label("QueueUrl"), fields.texts("TagKeys").unwrap_or_default());
    fields.done();
    written(cx, &url)?.tags.retain(|key, _| !keys.contains(key));
    Ok(Reply::json(200, json!({})))
}

fn list_tags(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let url = fields.label("QueueUrl");
    fields.done();
    let now = cx.now;
    let (_, tags) = shown(queue(cx, &url)?, now);
    Ok(Reply::json(200, json!({ "Tags": tags })))
}

/// Sent again under the same id within this time, a message is dropped, and nobody is told (Q8).
const SAME_MESSAGE: Moment = Moment::from_secs(300);

fn send(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let (url, body) = (fields.label("QueueUrl"), fields.label("MessageBody"));
    let (group, deduplication) = (fields.label("MessageGroupId"), fields.label("MessageDeduplicationId"));
    fields.done();
    let (now, id) = (cx.now, new_id(cx.ids, 32));
    let queue = queue(cx, &url)?;
    queue.sent.retain(|_, until| *until > now);
    if queue.sent.insert(deduplication, now + SAME_MESSAGE).is_none() {
        queue.messages.push(Message { id: id.clone(), body, group, ..Message::default() });
    }
    Ok(Reply::json(200, json!({ "MessageId": id })))
}

fn receive(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let url = fields.label("QueueUrl");
    let most = fields.number("MaxNumberOfMessages").unwrap_or(1);
    let seconds = fields.number("VisibilityTimeout").and_then(|seconds| u64::try_from(seconds).ok());
    let wanted = fields.texts("MessageSystemAttributeNames").unwrap_or_default();
    fields.done();
    assert!(wanted == ["MessageGroupId"], "world: the group is the one attribute that is asked for");
    let now = cx.now;
    let handle = new_id(cx.ids, 32);
    let queue = queue(cx, &url)?;
    let hidden_until = now + Moment::from_secs(seconds.unwrap_or(30));
    // Nothing of a group while something of it is out (Q7).
    let out: Vec<String> =
        queue.messages.iter().filter(|m| m.hidden_until > now).map(|message| message.group.clone()).collect();
    let free = queue.messages.iter_mut().filter(|message| !out.contains(&message.group));
    let taken = free.take(usize::try_from(most).unwrap_or_default()).map(|message| {
        message.hidden_until = hidden_until;
        message.handle = format!("{handle}-{}", message.id);
        json!({
            "MessageId": message.id,
            "ReceiptHandle": message.handle,
            "Body": message.body,
            "Attributes": { "MessageGroupId": message.group }
        })
    });
    let messages: Vec<Value> = taken.collect();
    // An empty list is left out.
    Ok(Reply::json(200, if messages.is_empty() { json!({}) } else { json!({ "Messages": messages }) }))
}

fn delete_message(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let (url, handle) = (fields.label("QueueUrl"), fields.label("ReceiptHandle"));
    fields.done();
    let now = cx.now;
    let queue = queue(cx, &url)?;
    if queue.messages.iter().any(|message| message.handle == handle && message.hidden_until <= now) {
        return Err(bad_parameter("The receipt handle has expired."));
    }
    queue.messages.retain(|message| message.handle != handle);
    Ok(Reply::json(200, json!({})))
}
