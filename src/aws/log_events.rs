//! Reads the log events of a Lambda function.

use aws_config::SdkConfig;
use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::error::ProvideErrorMetadata;
use aws_sdk_cloudwatchlogs::types::FilteredLogEvent;

use crate::aws::failure::{Failure, Operation};
use crate::error::{Error, Result};

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
                let failure = Failure::of(operation, &group, &error);
                let message = format!("cannot read log group `{group}`: {}", failure.message);
                return Err(Error { message, ..failure.into() });
            }
        }
    }
    events.sort_by_key(|event| event.at);
    Ok(Some(events))
}

fn read(function: &str, event: FilteredLogEvent) -> LogEvent {
    let at = event.timestamp.unwrap_or_default();
    let message = event.message.unwrap_or_default().trim_end().to_owned();
    // AWS gives every event an id; where an emulator gives none, stream, time and text tell events apart.
    let id = event.event_id.unwrap_or_else(|| format!("{} {at} {message}", event.log_stream_name.unwrap_or_default()));
    LogEvent { id, function: function.to_owned(), at, message }
}
