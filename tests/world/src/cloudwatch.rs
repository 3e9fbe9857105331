//! CloudWatch: alarms on metrics.

use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::fields::{Fields, tags_of};
use crate::operation::{Operations, Request, Wire, cbor};
use crate::reply::{Answer, Refusal, Reply};
use crate::rules::{self, Arn};
use crate::service::{Model, Protocol, Read, Refusals};
use crate::state::{Alarm, Role, Tags};

const OPERATIONS: Operations = &[
    ("PutMetricAlarm", true),
    ("DescribeAlarms", false),
    ("DeleteAlarms", true),
    ("TagResource", true),
    ("UntagResource", true),
    ("ListTagsForResource", false),
];

/// What the model keeps, and gives back, as it came.
const KEPT: [&str; 11] = [
    "ActionsEnabled",
    "AlarmActions",
    "AlarmDescription",
    "ComparisonOperator",
    "DatapointsToAlarm",
    "EvaluationPeriods",
    "InsufficientDataActions",
    "Metrics",
    "OKActions",
    "Threshold",
    "TreatMissingData",
];

pub(crate) struct CloudWatch;

impl Model for CloudWatch {
    fn name(&self) -> &'static str {
        "cloudwatch"
    }

    fn signing_name(&self) -> &'static str {
        "monitoring"
    }

    fn protocol(&self) -> Protocol {
        Protocol::Cbor
    }

    fn read(&self, wire: &Wire<'_>) -> Read {
        cbor("GraniteServiceVersion20100801", OPERATIONS, wire)
    }

    fn handle(&self, cx: &mut Context<'_>, operation: &'static str, fields: Fields) -> Answer {
        match operation {
            "PutMetricAlarm" => put(cx, fields),
            "DescribeAlarms" => describe(cx, fields),
            "DeleteAlarms" => delete(cx, fields),
            "TagResource" => tag(cx, fields),
            "UntagResource" => untag(cx, fields),
            "ListTagsForResource" => list_tags(cx, fields),
            other => unreachable!("{other} is not routed here"),
        }
    }

    fn named_by(&self) -> &'static [&'static str] {
        &["AlarmName", "AlarmNames", "ResourceARN"]
    }

    fn refusals(&self) -> Refusals {
        Refusals::of_query("InternalServiceFault")
    }

    fn arn(&self, request: &Request, _: Option<&Role>) -> String {
        match request.resource.as_str() {
            arn if arn.starts_with("arn:") => arn.to_owned(),
            name => request.place.arn("cloudwatch", &format!("alarm:{name}")),
        }
    }

    fn tagging(&self) -> &'static [(&'static str, &'static str, &'static str)] {
        &[("PutMetricAlarm", "Tags", "cloudwatch:TagResource")]
    }
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "ValidationError", message)
}

fn unknown(arn: &str) -> Refusal {
    Refusal::new(404, "ResourceNotFoundException", format!("Unknown alarm {arn}"))
}

fn name_of<'a>(cx: &Context<'_>, arn: &'a str) -> Result<&'a str, Refusal> {
    Arn::read(arn)
        .filter(|parts| parts.service == "cloudwatch" && parts.is_in(cx.place))
        .and_then(|parts| parts.rest.strip_prefix("alarm:"))
        .ok_or_else(|| unknown(arn))
}

fn alarm_by_arn<'a>(cx: &'a mut Context<'_>, arn: &str) -> Result<&'a mut Alarm, Refusal> {
    let name = name_of(cx, arn)?;
    cx.account.region(&cx.place.region).alarms.get_mut(name).ok_or_else(|| unknown(arn))
}

/// One that reads show: a young one they do not, and one that is gone they still do (W3).
fn shown<'a>(cx: &'a mut Context<'_>, name: &str) -> Option<&'a Alarm> {
    let (now, region) = (cx.now, cx.account.region(&cx.place.region));
    let gone = region.gone_alarms.get(name).map(|(_, alarm)| alarm);
    region.alarms.get(name).filter(|alarm| alarm.seen_at <= now).or(gone)
}

/// Makes one, or makes one anew of which the tags alone stay (W1).
fn put(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.label("AlarmName");
    let tags = tags_of(fields.tag_list("Tags").unwrap_or_default());
    let mut kept = Map::new();
    fields.keep(&KEPT, &mut kept);
    fields.done();
    check(cx, &kept)?;
    if let Some(fault) = rules::tags_fault(&tags) {
        return Err(invalid(fault));
    }
    let shown_at = cx.now + cx.switches.alarm_lag;
    let arn = cx.place.arn("cloudwatch", &format!("alarm:{name}"));
    let alarms = &mut cx.account.region(&cx.place.region).alarms;
    let alarm = match alarms.remove(&name) {
        Some(known) => {
            let old = Some((known.settings, known.tags.clone()));
            Alarm { settings: kept, old, shown_at, ..known }
        }
        None => Alarm { name: name.clone(), arn, settings: kept, tags, seen_at: shown_at, old: None, shown_at },
    };
    alarms.insert(name, alarm);
    Ok(Reply::json(200, json!({})))
}

fn check(cx: &Context<'_>, kept: &Map<String, Value>) -> Result<(), Refusal> {
    let list = |key: &str| kept.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    for action in ["AlarmActions", "OKActions", "InsufficientDataActions"].iter().flat_map(|key| list(key)) {
        let region = action.as_str().and_then(Arn::read).map(|arn| arn.region.to_owned()).unwrap_or_default();
        if region != cx.place.region {
            return Err(invalid(format!("Invalid region {region} specified. Only {} is supported.", cx.place.region)));
        }
    }
    let metrics = list("Metrics");
    assert!(!metrics.is_empty(), "world: an alarm on a lone metric is none that the model knows");
    let ids: Vec<&str> = metrics.iter().filter_map(|query| query["Id"].as_str()).collect();
    if metrics.iter().filter(|query| query["ReturnData"] != false).count() != 1 {
        return Err(invalid("Exactly one element of the metrics list should return data."));
    }
    for expression in metrics.iter().filter_map(|query| query["Expression"].as_str()) {
        let filled = expression.split("FILL(").skip(1).filter_map(|rest| rest.split(',').next());
        if let Some(unknown) = filled.into_iter().find(|id| !ids.contains(id)) {
            return Err(invalid(format!("Invalid metrics list: unknown id {unknown}")));
        }
    }
    let number = |key: &str| kept.get(key).and_then(Value::as_i64);
    if number("DatapointsToAlarm") > number("EvaluationPeriods") {
        return Err(invalid("DatapointsToAlarm must be less than or equal to EvaluationPeriods"));
    }
    Ok(())
}

fn describe(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let names = fields.texts("AlarmNames").unwrap_or_default();
    fields.done();
    assert!(!names.is_empty(), "world: alarms are looked at by name");
    let now = cx.now;
    let mut view = |name: &String| {
        let alarm = shown(cx, name)?;
        let mut view = Value::Object(alarm.shown(now).0.clone());
        view["AlarmName"] = json!(alarm.name);
        view["AlarmArn"] = json!(alarm.arn);
        view["StateValue"] = json!("OK");
        Some(view)
    };
    let views: Vec<Value> = names.iter().filter_map(&mut view).collect();
    Ok(Reply::json(200, json!({ "MetricAlarms": views, "CompositeAlarms": [] })))
}

fn delete(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let names = fields.texts("AlarmNames").unwrap_or_default();
    fields.done();
    let gone_at = cx.now + cx.switches.alarm_lag;
    let region = cx.account.region(&cx.place.region);
    for name in names {
        let Some(alarm) = region.alarms.remove(&name) else {
            return Err(Refusal::new(404, "ResourceNotFound", format!("Unknown alarm {name}")));
        };
        region.gone_alarms.insert(name, (gone_at, alarm));
    }
    Ok(Reply::json(200, json!({})))
}

fn tag(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let arn = fields.label("ResourceARN");
    let new = tags_of(fields.tag_list("Tags").unwrap_or_default());
    fields.done();
    let mut all = alarm_by_arn(cx, &arn)?.tags.clone();
    all.extend(new);
    if let Some(fault) = rules::tags_fault(&all) {
        return Err(invalid(fault));
    }
    retag(cx, &arn, all)
}

fn untag(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let arn = fields.label("ResourceARN");
    let keys = fields.texts("TagKeys").unwrap_or_default();
    fields.done();
    let mut left = alarm_by_arn(cx, &arn)?.tags.clone();
    left.retain(|key, _| !keys.contains(key));
    retag(cx, &arn, left)
}

fn retag(cx: &mut Context<'_>, arn: &str, tags: Tags) -> Answer {
    let shown_at = cx.now + cx.switches.alarm_lag;
    let alarm = alarm_by_arn(cx, arn)?;
    alarm.old = Some((alarm.settings.clone(), std::mem::replace(&mut alarm.tags, tags)));
    alarm.shown_at = shown_at;
    Ok(Reply::json(200, json!({})))
}

fn list_tags(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let arn = fields.label("ResourceARN");
    fields.done();
    let now = cx.now;
    let name = name_of(cx, &arn)?;
    let tags = shown(cx, name).ok_or_else(|| unknown(&arn))?.shown(now).1.iter();
    let tags: Vec<Value> = tags.map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
    Ok(Reply::json(200, json!({ "Tags": tags })))
}
