//! Lambda's event source mappings, of queues alone: what feeds a function.

use serde_json::{Value, json};

use crate::clock::Moment;
use crate::context::{Context, limit, page};
use crate::fields::Fields;
use crate::lambda::{bare_name, conflict, invalid};
use crate::reply::{Answer, Refusal, Reply};
use crate::rules::{self, Arn};
use crate::state::Mapping;

pub(crate) fn mapping<'a>(cx: &'a mut Context<'_>, id: &str) -> Result<&'a mut Mapping, Refusal> {
    let missing = Refusal::new(404, "ResourceNotFoundException", "The resource you requested does not exist.");
    cx.account.region(&cx.place.region).mappings.get_mut(id).ok_or(missing)
}

pub(crate) fn create(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let id = format!("{:08x}-0000-4000-8000-{:012x}", cx.ids.u32(..), cx.ids.u64(..1 << 48));
    let mapping = Mapping {
        arn: cx.place.arn("lambda", &format!("event-source-mapping:{id}")),
        id,
        function: bare_name(&fields.label("FunctionName")).to_owned(),
        source: fields.label("EventSourceArn"),
        enabled: fields.flag("Enabled").unwrap_or(true),
        batch_size: fields.number("BatchSize").unwrap_or(10),
        responses: fields.texts("FunctionResponseTypes").unwrap_or_default(),
        tags: fields.text_map("Tags").unwrap_or_default(),
        settled_at: cx.now + cx.switches.mapping_settling,
        is_new: true,
        deleted_at: None,
    };
    fields.done();
    check(cx, &mapping)?;
    if let Some(fault) = rules::tags_fault(&mapping.tags) {
        return Err(invalid(fault));
    }
    let (now, region) = (cx.now, cx.account.region(&cx.place.region));
    let is_same = |other: &&Mapping| other.source == mapping.source && other.function == mapping.function;
    if let Some(known) = region.mappings.values().find(is_same) {
        return Err(conflict(format!(
            "An event source mapping with SQS arn (\" {} \") and function (\" {} \") already exists. Please update or \
             delete the existing mapping with UUID {}",
            known.source, known.function, known.id
        )));
    }
    let view = view(&mapping, now);
    region.mappings.insert(mapping.id.clone(), mapping);
    Ok(Reply::json(202, view))
}

fn check(cx: &mut Context<'_>, mapping: &Mapping) -> Result<(), Refusal> {
    // A batch of a queue that keeps an order has ten messages at most.
    if !(1..=10).contains(&mapping.batch_size) {
        return Err(invalid(format!("Batch size {} is out of range for a FIFO queue", mapping.batch_size)));
    }
    let (now, seen) = (cx.now, cx.switches.mapping_sees_policy);
    let region = cx.account.region(&cx.place.region);
    let Some(function) = region.functions.get(&mapping.function) else {
        return Err(Refusal::new(404, "ResourceNotFoundException", "Function does not exist"));
    };
    let (role, timeout) = (function.role.clone(), function.timeout_seconds);
    let name = Arn::read(&mapping.source).map(|arn| arn.rest.to_owned()).unwrap_or_default();
    let Some(queue) = region.queues.get(&name) else {
        return Err(invalid(format!("Error occurred while ReceiveMessage. SQS Error: {name} does not exist")));
    };
    // Q1
    let visibility: i64 = queue.attributes.get("VisibilityTimeout").and_then(|text| text.parse().ok()).unwrap_or(30);
    if visibility < timeout {
        return Err(invalid(format!(
            "Queue visibility timeout: {visibility} seconds is less than Function timeout: {timeout} seconds"
        )));
    }
    // Q3
    let may = rules::role_by_arn(cx.account, &role).is_some_and(|role| {
        let mut policies = role.inline.values().filter(|policy| policy.written + seen <= now);
        let receives = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];
        policies.any(|policy| receives.iter().all(|action| policy.document.contains(action)))
    });
    if !may {
        return Err(invalid("The function execution role does not have permissions to call ReceiveMessage on SQS"));
    }
    Ok(())
}

pub(crate) fn list(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let (marker, limit) = (fields.text("Marker"), limit(fields.number("MaxItems"), cx.switches));
    let (function, source) = (fields.text("FunctionName"), fields.text("EventSourceArn"));
    fields.done();
    let now = cx.now;
    let mappings = &cx.account.region(&cx.place.region).mappings;
    let page = page(mappings, marker, limit, |_, mapping| {
        function.as_deref().is_none_or(|name| bare_name(name) == mapping.function)
            && source.as_ref().is_none_or(|source| *source == mapping.source)
    });
    let mappings: Vec<Value> = page.items.iter().map(|(_, mapping)| view(mapping, now)).collect();
    Ok(Reply::json(200, json!({ "EventSourceMappings": mappings, "NextMarker": page.next })))
}

/// Q4
fn check_settled(mapping: &Mapping, now: Moment) -> Result<(), Refusal> {
    if now < mapping.settled_at || mapping.deleted_at.is_some() {
        let message = "Cannot update the event source mapping because it is in use.";
        return Err(Refusal::new(400, "ResourceInUseException", message));
    }
    Ok(())
}

pub(crate) fn update(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let id = fields.label("UUID");
    let (now, settled_at) = (cx.now, cx.now + cx.switches.mapping_settling);
    let old = mapping(cx, &id)?;
    check_settled(old, now)?;
    let mut changed = old.clone();
    changed.enabled = fields.flag("Enabled").unwrap_or(changed.enabled);
    changed.batch_size = fields.number("BatchSize").unwrap_or(changed.batch_size);
    changed.responses = fields.texts("FunctionResponseTypes").unwrap_or(changed.responses);
    (changed.settled_at, changed.is_new) = (settled_at, false);
    fields.done();
    check(cx, &changed)?;
    let view = view(&changed, now);
    *mapping(cx, &id)? = changed;
    Ok(Reply::json(202, view))
}

pub(crate) fn delete(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let id = fields.label("UUID");
    fields.done();
    let (now, gone_at) = (cx.now, cx.now + cx.switches.mapping_settling * 2);
    let mapping = mapping(cx, &id)?;
    check_settled(mapping, now)?;
    mapping.deleted_at = Some(gone_at);
    let view = view(mapping, now);
    cx.account.region(&cx.place.region).mappings.retain(|_, mapping| mapping.deleted_at.is_none_or(|at| now < at));
    Ok(Reply::json(202, view))
}

fn view(mapping: &Mapping, now: Moment) -> Value {
    let place = mapping.arn.split(":event-source-mapping:").next().unwrap_or_default();
    json!({
        "UUID": mapping.id,
        "EventSourceMappingArn": mapping.arn,
        "EventSourceArn": mapping.source,
        "FunctionArn": format!("{place}:function:{}", mapping.function),
        "BatchSize": mapping.batch_size,
        "MaximumBatchingWindowInSeconds": 0,
        "FunctionResponseTypes": mapping.responses,
        "State": mapping.state(now),
        "StateTransitionReason": "USER_INITIATED",
    })
}
