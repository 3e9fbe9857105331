//! Reads the log events of a Lambda function.

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use aws_config::SdkConfig;
use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_cloudwatchlogs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_cloudwatchlogs::error::BoxError;
use aws_sdk_cloudwatchlogs::error::ProvideErrorMetadata;
use aws_sdk_cloudwatchlogs::types::FilteredLogEvent;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::aws::failure::{Failure, Operation};
use crate::error::Result;

/// One event in the log of one function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEvent {
    /// Unique among all events of all groups.
    pub id: String,
    pub function: String,
    /// Milliseconds since 1970.
    pub at: i64,
    /// Without the newline at its end.
    pub message: String,
}

/// Whether Lambda itself wrote this about a call, as it does about every one.
pub fn is_routine(message: &str) -> bool {
    ["INIT_START", "START RequestId", "END RequestId", "REPORT RequestId"].iter().any(|sign| message.starts_with(sign))
}

/// The events of `function` from `from` (milliseconds since 1970) on, oldest first; `None` when it has no log group.
///
/// # Errors
/// With the service's code, `AccessDeniedException` for one.
pub async fn since(aws: &SdkConfig, function: &str, from: i64) -> Result<Option<Vec<LogEvent>>> {
    let group = format!("/aws/lambda/{function}");
    let mut pages = Client::new(aws)
        .filter_log_events()
        .log_group_name(&group)
        // The service takes no time before 1970.
        .start_time(from.max(0))
        .into_paginator()
        .send();
    let mut events = Vec::new();
    while let Some(page) = pages.next().await {
        match page {
            Ok(page) => events.extend(page.events.into_iter().flatten().map(|event| read(function, event))),
            Err(error) if error.code() == Some("ResourceNotFoundException") => return Ok(None),
            Err(error) => {
                let operation = Operation { service: "logs", name: "FilterLogEvents" };
                return Err(Failure::of(operation, &group, &error).cannot_read("log group"));
            }
        }
    }
    events.sort_by_key(|event| event.at);
    Ok(Some(events))
}

/// By how many milliseconds the clock of this machine is ahead of that of the service, by which events are told: 0 where they
/// agree as far as can be seen. `None` where no answer told. Costs a call.
pub async fn clock_ahead(aws: &SdkConfig, function: &str) -> Option<i64> {
    /// The date of an answer is in whole seconds, and the answer has been under way.
    const UNSEEN: i64 = 2_000;
    let date = Dated::default();
    let call = Client::new(aws).filter_log_events().log_group_name(format!("/aws/lambda/{function}")).limit(1);
    // An error has a date as well.
    let _ = call.customize().interceptor(date.clone()).send().await;
    let ahead = (OffsetDateTime::from(SystemTime::now()) - *date.0.get()?).whole_milliseconds();
    let ahead = i64::try_from(ahead).ok()?;
    Some(if ahead.abs() > UNSEEN { ahead } else { 0 })
}

/// Keeps the date of an answer.
#[derive(Clone, Debug, Default)]
struct Dated(Arc<OnceLock<OffsetDateTime>>);

impl Intercept for Dated {
    fn name(&self) -> &'static str {
        "Dated"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date") {
            // One that cannot be read says nothing.
            let _ = OffsetDateTime::parse(date, &Rfc2822).map(|date| self.0.set(date));
        }
        Ok(())
    }
}

fn read(function: &str, event: FilteredLogEvent) -> LogEvent {
    let at = event.timestamp.unwrap_or_default();
    let message = event.message.unwrap_or_default().trim_end().to_owned();
    // AWS gives every event an id; where an emulator gives none, stream, time and text tell events apart.
    let id = event.event_id.unwrap_or_else(|| format!("{} {at} {message}", event.log_stream_name.unwrap_or_default()));
    LogEvent { id, function: function.to_owned(), at, message }
}
