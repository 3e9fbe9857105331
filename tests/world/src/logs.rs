//! CloudWatch Logs: log groups, and the events in them.

use serde_json::{Value, json};

use crate::clock;
use crate::context::{Context, limit, page};
use crate::fields::Fields;
use crate::operation::{Operations, Request, Wire, target};
use crate::reply::{Answer, Refusal, Reply};
use crate::rules::{self, Arn, spelled};
use crate::service::{Model, Protocol, Read, Refusals};
use crate::state::{LogEvent, LogGroup, Role};

const RETENTIONS: [i64; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1_096, 1_827, 2_192, 2_557, 2_922, 3_288, 3_653];

const OPERATIONS: Operations = &[
    ("CreateLogGroup", true),
    ("DescribeLogGroups", false),
    ("PutRetentionPolicy", true),
    ("DeleteRetentionPolicy", true),
    ("DeleteLogGroup", true),
    ("TagResource", true),
    ("UntagResource", true),
    ("ListTagsForResource", false),
    ("FilterLogEvents", false),
];

pub(crate) struct Logs;

impl Model for Logs {
    fn name(&self) -> &'static str {
        "logs"
    }

    fn protocol(&self) -> Protocol {
        Protocol::Json("1.1")
    }

    fn read(&self, wire: &Wire<'_>) -> Read {
        target("Logs_20140328.", OPERATIONS, wire)
    }

    fn handle(&self, cx: &mut Context<'_>, operation: &'static str, fields: Fields) -> Answer {
        handle(cx, operation, fields)
    }

    fn named_by(&self) -> &'static [&'static str] {
        &["logGroupName", "resourceArn"]
    }

    fn refusals(&self) -> Refusals {
        Refusals {
            denied: (400, "AccessDeniedException"),
            throttled: (400, "ThrottlingException", "Rate exceeded"),
            expired: (400, "ExpiredTokenException"),
            skewed: (400, "InvalidSignatureException"),
            broken: "InternalFailure",
            unavailable: "ServiceUnavailableException",
        }
    }

    fn arn(&self, request: &Request, _: Option<&Role>) -> String {
        match request.resource.as_str() {
            arn if arn.starts_with("arn:") => arn.to_owned(),
            name => request.place.arn("logs", &format!("log-group:{name}:log-stream:")),
        }
    }

    fn tagging(&self) -> &'static [(&'static str, &'static str, &'static str)] {
        &[("CreateLogGroup", "tags", "logs:TagResource")]
    }
}

fn handle(cx: &mut Context<'_>, operation: &'static str, fields: Fields) -> Answer {
    match operation {
        "CreateLogGroup" => create(cx, fields),
        "DescribeLogGroups" => describe(cx, fields),
        "PutRetentionPolicy" => put_retention(cx, fields),
        "DeleteRetentionPolicy" => delete_retention(cx, fields),
        "DeleteLogGroup" => delete(cx, fields),
        "TagResource" => tag(cx, fields),
        "UntagResource" => untag(cx, fields),
        "ListTagsForResource" => list_tags(cx, fields),
        "FilterLogEvents" => filter_events(cx, fields),
        other => unreachable!("{other} is not routed here"),
    }
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "InvalidParameterException", message)
}

fn not_found() -> Refusal {
    Refusal::new(400, "ResourceNotFoundException", "The specified log group does not exist.")
}

fn group<'a>(cx: &'a mut Context<'_>, name: &str) -> Result<&'a mut LogGroup, Refusal> {
    cx.account.region(&cx.place.region).log_groups.get_mut(name).ok_or_else(not_found)
}

/// The group of an ARN.
fn group_by_arn<'a>(cx: &'a mut Context<'_>, arn: &str) -> Result<&'a mut LogGroup, Refusal> {
    let name = Arn::read(arn)
        .filter(|parts| parts.service == "logs" && parts.is_in(cx.place))
        .and_then(|parts| parts.rest.strip_prefix("log-group:"))
        .ok_or_else(|| invalid(format!("Invalid resourceArn: {arn}")))?;
    cx.account.region(&cx.place.region).log_groups.get_mut(name).ok_or_else(not_found)
}

fn create(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("logGroupName").unwrap_or_default();
    let group = LogGroup {
        arn: cx.place.arn("logs", &format!("log-group:{name}")),
        tags: fields.text_map("tags").unwrap_or_default(),
        class: fields.text("logGroupClass").unwrap_or_else(|| "STANDARD".to_owned()),
        deletion_protection: fields.flag("deletionProtectionEnabled").unwrap_or_default(),
        created: cx.now,
        name,
        ..LogGroup::default()
    };
    fields.done();
    let name = &group.name;
    if !(1..=512).contains(&name.len()) || !spelled(name, "_-/.#") {
        return Err(invalid(format!(
            "1 validation error detected: Value '{name}' at 'logGroupName' failed to satisfy constraint: Member must \
             satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+"
        )));
    }
    if let Some(fault) = rules::tags_fault(&group.tags) {
        return Err(invalid(fault));
    }
    let groups = &mut cx.account.region(&cx.place.region).log_groups;
    if groups.contains_key(name) {
        return Err(Refusal::new(400, "ResourceAlreadyExistsException", "The specified log group already exists"));
    }
    groups.insert(name.clone(), group);
    Ok(Reply::json(200, json!({})))
}

fn describe(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let prefix = fields.text("logGroupNamePrefix").unwrap_or_default();
    let pattern = fields.text("logGroupNamePattern").unwrap_or_default();
    let (token, limit) = (fields.text("nextToken"), limit(fields.number("limit"), cx.switches));
    fields.done();
    if !prefix.is_empty() && !pattern.is_empty() {
        return Err(invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters."));
    }
    let (now, lag) = (cx.now, cx.switches.list_lag);
    let region = cx.account.region(&cx.place.region);
    let policy = region.log_retention_policy;
    let page = page(&region.log_groups, token, limit, |name, group| {
        name.starts_with(&prefix) && name.contains(&pattern) && group.created + lag <= now
    });
    let groups: Vec<Value> = page
        .items
        .iter()
        .map(|(_, group)| {
            let mut view = json!({
                "arn": format!("{}:*", group.arn),
                "creationTime": clock::unix_seconds(group.created) * 1_000,
                "deletionProtectionEnabled": group.deletion_protection,
                "logGroupArn": group.arn,
                "logGroupClass": group.class,
                "logGroupName": group.name,
                "metricFilterCount": 0,
                "storedBytes": 0,
            });
            if let Some(days) = policy.or(group.retention_days) {
                view["retentionInDays"] = json!(days);
            }
            view
        })
        .collect();
    Ok(Reply::json(200, json!({ "logGroups": groups, "nextToken": page.next })))
}

fn put_retention(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("logGroupName").unwrap_or_default();
    let days = fields.number("retentionInDays").unwrap_or_default();
    fields.done();
    if !RETENTIONS.contains(&days) {
        return Err(invalid(format!(
            "Invalid retention value: {days}. Valid values are: [1, 3, 5, 7, 14, 30, 60, 90, …]"
        )));
    }
    group(cx, &name)?.retention_days = Some(days);
    Ok(Reply::empty(200))
}

fn delete_retention(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("logGroupName").unwrap_or_default();
    fields.done();
    group(cx, &name)?.retention_days = None;
    Ok(Reply::empty(200))
}

fn delete(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("logGroupName").unwrap_or_default();
    fields.done();
    if group(cx, &name)?.deletion_protection {
        return Err(Refusal::new(400, "ValidationException", "The log group is protected against deletion"));
    }
    cx.account.region(&cx.place.region).log_groups.remove(&name);
    Ok(Reply::empty(200))
}

fn tag(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let arn = fields.text("resourceArn").unwrap_or_default();
    let new = fields.text_map("tags").unwrap_or_default();
    fields.done();
    let group = group_by_arn(cx, &arn)?;
    let mut all = group.tags.clone();
    all.extend(new);
    if all.len() > 50 {
        return Err(Refusal::new(400, "TooManyTagsException", "Too many tags: a resource has no more than 50"));
    }
    if let Some(fault) = rules::tags_fault(&all) {
        return Err(invalid(fault));
    }
    group.tags = all;
    Ok(Reply::empty(200))
}

fn untag(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let arn = fields.text("resourceArn").unwrap_or_default();
    let keys = fields.texts("tagKeys").unwrap_or_default();
    fields.done();
    group_by_arn(cx, &arn)?.tags.retain(|key, _| !keys.contains(key));
    Ok(Reply::empty(200))
}

fn list_tags(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let arn = fields.text("resourceArn").unwrap_or_default();
    fields.done();
    let tags = &group_by_arn(cx, &arn)?.tags;
    Ok(Reply::json(200, json!({ "tags": tags })))
}

/// The events of a group in a span of time; the token is the number of events already given.
fn filter_events(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("logGroupName").unwrap_or_default();
    let (start, end) = (fields.number("startTime"), fields.number("endTime"));
    let pattern = fields.text("filterPattern").unwrap_or_default();
    let given: usize = fields.text("nextToken").and_then(|token| token.parse().ok()).unwrap_or_default();
    let limit = limit(fields.number("limit"), cx.switches);
    fields.flag("interleaved");
    fields.done();
    let word = pattern.trim_matches('"');
    let group = group(cx, &name)?;
    let fits = |event: &&LogEvent| {
        start.is_none_or(|start| event.timestamp >= start)
            && end.is_none_or(|end| event.timestamp < end)
            && event.message.contains(word)
    };
    let mut rest = group.events.iter().filter(fits).skip(given);
    let events: Vec<Value> = rest
        .by_ref()
        .take(limit)
        .map(|event| {
            json!({
                "eventId": event.id,
                "ingestionTime": event.timestamp,
                "logStreamName": event.stream,
                "message": event.message,
                "timestamp": event.timestamp,
            })
        })
        .collect();
    let next = rest.next().map(|_| (given + events.len()).to_string());
    Ok(Reply::json(200, json!({ "events": events, "nextToken": next, "searchedLogStreams": [] })))
}
