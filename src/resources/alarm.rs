//! The alarm on what goes wrong in sending, where somebody is to be told of it.
//!
//! Whoever has none pays for none, and asks for none: that there is one, or may be, a tag says on the log group of the
//! function behind `sendmessage`, which every run looks at anyway. It is there before the alarm and goes after it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::types::{ComparisonOperator, Dimension, Metric, MetricAlarm, MetricDataQuery, MetricStat, Tag};
use serde::Serialize;
use serde_json::{Value, json};

use super::names;
use super::tags::{self, Tags};
use crate::app::{FunctionName, QueueEnd};
use crate::aws::failure::{Failure, Outcome};
use crate::engine::change::{Action, Change, Differences};
use crate::engine::found::{Fields, Found, Owner, fields};
use crate::engine::key::Key;
use crate::engine::kind::{Facts, Kind, Part, Permission, Resource, TakenBack, Wanted};
use crate::engine::run::Ctx;
use crate::engine::scope::Scope;
use crate::error::Error;

const NAME: &str = "alarm";

/// The tag by which a log group tells of it.
const MARK: &str = "chatctl:alarm";

const DESCRIPTION: &str = "a function behind sendmessage failed, or receivers missed a message";

/// Seconds.
const PERIOD: i32 = 60;

/// One bad minute of these is enough: the newest have no data yet, and count as none by then (W2).
const MINUTES: i32 = 5;

/// A minute in which more than this went wrong is bad.
const THRESHOLD: f64 = 0.0;

const NO_DATA: &str = "notBreaching";

/// The user's own, on the log group that has the mark beside our three.
const MOST_TAGS: usize = 46;

pub struct AlarmKind;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AlarmSpec {
    description: String,
    actions_enabled: bool,
    /// What is done when it goes off, when all is well again, and when it knows nothing.
    alarm_actions: Vec<String>,
    ok_actions: Vec<String>,
    insufficient_data_actions: Vec<String>,
    /// What it watches, by id.
    metrics: BTreeMap<String, Value>,
    comparison: String,
    threshold: f64,
    evaluation_periods: i32,
    datapoints_to_alarm: i32,
    missing_data: String,
    tags: Tags,
}

/// Shares the connection pool with all others.
fn client(ctx: &Ctx) -> Client {
    Client::new(&ctx.aws.sdk)
}

fn key(scope: &Scope) -> Key {
    Key::new(NAME, format!("{}-delivery", scope.config.name))
}

/// Who is told. The local AWS drops what such an alarm watches.
fn topic(scope: &Scope) -> Option<&String> {
    scope.config.alarm_topic.as_ref().filter(|_| scope.endpoints.emulator.is_none())
}

/// The functions that bring a message to everybody; the last of them posts it.
fn senders(scope: &Scope) -> Vec<&FunctionName> {
    let app = &scope.config.app;
    let behind_route = app.route("sendmessage").map(|route| &route.function);
    behind_route.into_iter().chain(app.at_queue(QueueEnd::Receives).map(|worker| &worker.name)).collect()
}

/// The tag of the log group of `function`, if it is to tell that there is an alarm.
pub fn mark(scope: &Scope, function: &FunctionName) -> Option<(String, String)> {
    let tells = topic(scope).is_some() && senders(scope).first() == Some(&function);
    tells.then(|| (MARK.to_owned(), "true".to_owned()))
}

/// What is counted: where CloudWatch has it, its name there, and of which function.
fn counted(scope: &Scope) -> Vec<(&'static str, &'static str, &FunctionName)> {
    let senders = senders(scope);
    let errors = senders.iter().map(|sender| ("AWS/Lambda", "Errors", *sender));
    // The worker hands back what it has not begun, so it leaves nobody out (`lambda/broadcast.mjs`).
    let missed: &[&str] = if senders.len() == 1 { &["failed", "left"] } else { &["failed"] };
    let missed = senders.last().into_iter().flat_map(|sender| missed.iter().map(|name| ("chatctl", *name, *sender)));
    errors.chain(missed).collect()
}

/// What CloudWatch is asked to watch: each count, of which a minute without data is none, and the sum of all.
fn queries(scope: &Scope) -> Vec<MetricDataQuery> {
    let query = MetricDataQuery::builder;
    let id = |name: &str, function: &FunctionName| format!("{}_{function}", name.to_lowercase());
    let counted = counted(scope);
    let sum: Vec<String> =
        counted.iter().map(|(_, name, function)| format!("FILL({}, 0)", id(name, function))).collect();
    let counts = counted.iter().map(|(namespace, name, function)| {
        let of = Dimension::builder().name("FunctionName").value(scope.config.function_name(function)).build();
        let metric = Metric::builder().namespace(*namespace).metric_name(*name).dimensions(of).build();
        let stat = MetricStat::builder().metric(metric).period(PERIOD).stat("Sum").build();
        query().id(id(name, function)).metric_stat(stat).return_data(false).build()
    });
    let sum = query().id("troubles").expression(sum.join(" + ")).label("troubles").return_data(true).build();
    counts.chain([sum]).collect()
}

/// A query as it is compared; CloudWatch may name our own account in it.
fn shown(query: &MetricDataQuery, account: &str) -> (String, Value) {
    let stat = query.metric_stat();
    let metric = stat.and_then(MetricStat::metric);
    let dimensions = metric.map(Metric::dimensions).unwrap_or_default().iter();
    let dimensions: BTreeMap<_, _> =
        dimensions.map(|of| (of.name().unwrap_or_default(), of.value().unwrap_or_default())).collect();
    let value = json!({
        "expression": query.expression(),
        "namespace": metric.and_then(Metric::namespace),
        "metric": metric.and_then(Metric::metric_name),
        "dimensions": dimensions,
        "stat": stat.and_then(MetricStat::stat),
        "unit": stat.and_then(MetricStat::unit).map(|unit| unit.as_str()),
        "period": stat.and_then(MetricStat::period).or(query.period()),
        "account": query.account_id().filter(|id| *id != account),
        "returnData": query.return_data().unwrap_or(true),
    });
    (query.id().unwrap_or_default().to_owned(), value)
}

fn all_shown(queries: &[MetricDataQuery], account: &str) -> BTreeMap<String, Value> {
    queries.iter().map(|query| shown(query, account)).collect()
}

fn spec(scope: &Scope) -> AlarmSpec {
    AlarmSpec {
        description: DESCRIPTION.to_owned(),
        actions_enabled: true,
        alarm_actions: topic(scope).cloned().into_iter().collect(),
        ok_actions: vec![],
        insufficient_data_actions: vec![],
        metrics: all_shown(&queries(scope), ""),
        comparison: ComparisonOperator::GreaterThanThreshold.as_str().to_owned(),
        threshold: THRESHOLD,
        evaluation_periods: MINUTES,
        datapoints_to_alarm: 1,
        missing_data: NO_DATA.to_owned(),
        tags: scope.tags(),
    }
}

#[async_trait]
impl Kind for AlarmKind {
    fn facts(&self) -> Facts {
        // W3
        Facts { marked_on: Some(names::LOG_GROUP), is_shown_late: true, ..Facts::of(NAME) }
    }

    fn check(&self, scope: &Scope) -> Result<Option<String>, Error> {
        let Some(arn) = &scope.config.alarm_topic else { return Ok(None) };
        if topic(scope).is_none() {
            return Ok(Some("an emulator is given no alarm; AWS is".to_owned()));
        }
        let tags = scope.config.tags.len();
        if tags > MOST_TAGS {
            return Err(Error::usage(format!("{tags} tags are too many: AWS allows 50, and with an alarm 4 are ours")));
        }
        // W4
        if arn.starts_with(&format!("arn:{}:sns:{}:", scope.partition(), scope.region)) {
            return Ok(None);
        }
        let why = format!("`{arn}` is no topic of {}, and an alarm tells only those of its own region", scope.region);
        Err(Error::usage(why).hint("name a topic of that region with `--alarm-topic`, or deploy where that one is"))
    }

    fn declare(&self, scope: &Scope) -> Vec<Wanted> {
        if topic(scope).is_none() {
            return vec![];
        }
        let needs = senders(scope).into_iter().map(|function| names::log_group(scope, function)).collect();
        vec![Wanted::new(key(scope), needs, Self)]
    }

    fn probes(&self, scope: &Scope) -> Vec<String> {
        self.declare(scope).into_iter().map(|wanted| wanted.key.name).collect()
    }

    /// One that is wanted no more, where a log group still tells of it.
    fn hinted(&self, scope: &Scope, found: &[Found]) -> Vec<String> {
        let mut groups = found.iter().filter(|found| found.key.kind == names::LOG_GROUP && found.owner == Owner::Ours);
        let is_marked = groups.any(|group| group.fields.get("tags").is_some_and(|tags| tags.get(MARK).is_some()));
        is_marked.then(|| key(scope).name).into_iter().collect()
    }

    async fn find(&self, ctx: &Ctx, probe: &str) -> Result<Vec<Found>, Failure> {
        let key = Key::new(NAME, probe);
        let is_wanted = !self.declare(&ctx.scope).is_empty();
        // W3
        let alarm = ctx.at_last(&key, is_wanted, || described(ctx, &key)).await?;
        let Some(alarm) = alarm else { return Ok(vec![]) };
        let arn = alarm.alarm_arn().unwrap_or_default();
        let tags = ctx
            .call("cloudwatch:ListTagsForResource", &key, || {
                client(ctx).list_tags_for_resource().resource_arn(arn).send()
            })
            .await
            .optional()?;
        // Deleted between the two looks.
        let Some(tags) = tags else { return Ok(vec![]) };
        let tags = tags.tags.unwrap_or_default().into_iter();
        let all: Tags = tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect();
        let owner = Owner::by_tags(&ctx.scope, &all);
        Ok(vec![Found { owner, ..Found::new(key, arn, fields(&found_spec(&alarm, tags::split(all).0))) }])
    }

    fn taken_back(&self, change: &Change) -> Option<TakenBack> {
        let taken = TakenBack { setting: "alarm-topic", now: "nobody is told when messages fail" };
        (change.action == Action::Delete).then_some(taken)
    }

    async fn delete(&self, ctx: &Ctx, found: &Found) -> Result<(), Failure> {
        let key = &found.key;
        ctx.call("cloudwatch:DeleteAlarms", key, || client(ctx).delete_alarms().alarm_names(&key.name).send())
            .await
            .gone()
    }

    fn permissions(&self, scope: &Scope) -> Vec<Permission> {
        let alarms = vec![scope.arn("cloudwatch", &format!("alarm:{}-*", scope.config.name))];
        // Without a topic, what it takes to find and remove one that was wanted before.
        let mut all = vec![
            Permission::read(&["cloudwatch:DescribeAlarms", "cloudwatch:ListTagsForResource"], alarms.clone()),
            Permission::write(&["cloudwatch:DeleteAlarms"], alarms.clone()),
        ];
        if !self.declare(scope).is_empty() {
            let actions = &["cloudwatch:PutMetricAlarm", "cloudwatch:TagResource", "cloudwatch:UntagResource"];
            all.push(Permission::write(actions, alarms));
        }
        all
    }
}

async fn described(ctx: &Ctx, key: &Key) -> Result<Option<MetricAlarm>, Failure> {
    let describe = || client(ctx).describe_alarms().alarm_names(&key.name).send();
    let answer = ctx.call("cloudwatch:DescribeAlarms", key, describe).await?;
    Ok(answer.metric_alarms.unwrap_or_default().pop())
}

fn found_spec(alarm: &MetricAlarm, tags: Tags) -> AlarmSpec {
    let account = alarm.alarm_arn().and_then(|arn| arn.split(':').nth(4)).unwrap_or_default();
    let evaluation_periods = alarm.evaluation_periods().unwrap_or_default();
    AlarmSpec {
        description: alarm.alarm_description().unwrap_or_default().to_owned(),
        actions_enabled: alarm.actions_enabled().unwrap_or(true),
        alarm_actions: alarm.alarm_actions().to_vec(),
        ok_actions: alarm.ok_actions().to_vec(),
        insufficient_data_actions: alarm.insufficient_data_actions().to_vec(),
        metrics: all_shown(alarm.metrics(), account),
        comparison: alarm.comparison_operator().map_or("", ComparisonOperator::as_str).to_owned(),
        threshold: alarm.threshold().unwrap_or_default(),
        evaluation_periods,
        datapoints_to_alarm: alarm.datapoints_to_alarm().unwrap_or(evaluation_periods),
        missing_data: alarm.treat_missing_data().unwrap_or("missing").to_owned(),
        tags,
    }
}

/// Makes it, or makes all of it but its tags as it is wanted: CloudWatch reads tags only of a new one (W1).
async fn put(ctx: &Ctx, key: &Key, tags: Option<Vec<Tag>>) -> Result<(), Failure> {
    let (spec, queries) = (spec(&ctx.scope), queries(&ctx.scope));
    ctx.call("cloudwatch:PutMetricAlarm", key, || {
        client(ctx)
            .put_metric_alarm()
            .alarm_name(&key.name)
            .alarm_description(&spec.description)
            .actions_enabled(spec.actions_enabled)
            .set_alarm_actions(Some(spec.alarm_actions.clone()))
            .set_metrics(Some(queries.clone()))
            .comparison_operator(ComparisonOperator::from(spec.comparison.as_str()))
            .threshold(spec.threshold)
            .evaluation_periods(spec.evaluation_periods)
            .datapoints_to_alarm(spec.datapoints_to_alarm)
            .treat_missing_data(&spec.missing_data)
            .set_tags(tags.clone())
            .send()
    })
    .await
    .map(drop)
}

#[async_trait]
impl Resource for AlarmKind {
    fn wanted(&self, scope: &Scope) -> Fields {
        fields(&spec(scope))
    }

    async fn create(&self, ctx: &Ctx, key: &Key) -> Result<String, Failure> {
        put(ctx, key, Some(listed(ctx.scope.tags_at_creation()))).await?;
        Ok(ctx.scope.arn("cloudwatch", &format!("alarm:{}", key.name)))
    }

    async fn update(&self, ctx: &Ctx, found: &Found, differences: &Differences) -> Result<(), Failure> {
        let (key, arn) = (&found.key, &found.id);
        if differences.0.iter().any(|difference| !difference.field.starts_with("tags.")) {
            put(ctx, key, None).await?;
        }
        let (set, removed) = differences.entries("tags");
        if !set.is_empty() {
            ctx.call("cloudwatch:TagResource", key, || {
                client(ctx).tag_resource().resource_arn(arn).set_tags(Some(listed(set.clone()))).send()
            })
            .await?;
        }
        if !removed.is_empty() {
            ctx.call("cloudwatch:UntagResource", key, || {
                client(ctx).untag_resource().resource_arn(arn).set_tag_keys(Some(removed.clone())).send()
            })
            .await?;
        }
        Ok(())
    }

    fn template(&self, scope: &Scope, key: &Key) -> Vec<Part> {
        let spec = spec(scope);
        let metrics: Vec<Value> = queries(scope).iter().map(in_template).collect();
        let properties = json!({
            "AlarmName": key.name,
            "AlarmDescription": spec.description,
            "AlarmActions": spec.alarm_actions,
            "Metrics": metrics,
            "ComparisonOperator": spec.comparison,
            "Threshold": spec.threshold,
            "EvaluationPeriods": spec.evaluation_periods,
            "DatapointsToAlarm": spec.datapoints_to_alarm,
            "TreatMissingData": spec.missing_data,
            "Tags": tags::listed(spec.tags)
        });
        vec![Part { logical_id: "DeliveryAlarm".to_owned(), r#type: "AWS::CloudWatch::Alarm", properties }]
    }
}

fn listed(tags: impl IntoIterator<Item = (String, String)>) -> Vec<Tag> {
    tags.into_iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

/// A query as CloudFormation has it.
fn in_template(query: &MetricDataQuery) -> Value {
    let mut json = json!({ "Id": query.id(), "ReturnData": query.return_data() });
    if let (Some(stat), Some(metric)) = (query.metric_stat(), query.metric_stat().and_then(MetricStat::metric)) {
        let dimensions = metric.dimensions().iter().map(|of| json!({ "Name": of.name(), "Value": of.value() }));
        json["MetricStat"] = json!({
            "Metric": {
                "Namespace": metric.namespace(),
                "MetricName": metric.metric_name(),
                "Dimensions": dimensions.collect::<Vec<_>>()
            },
            "Period": stat.period(),
            "Stat": stat.stat()
        });
    } else {
        json["Expression"] = json!(query.expression());
        json["Label"] = json!(query.label());
    }
    json
}
