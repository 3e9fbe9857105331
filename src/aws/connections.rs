//! Reads the connection table: who is connected, as far as the chat knows.

use std::collections::BTreeSet;

use aws_config::SdkConfig;

use crate::aws::failure::{Failure, Operation};
use crate::error::Result;

/// The ids of all connections in `table`.
///
/// The read is consistent, so that it sees a connection made just before (H10), and asks for the ids alone.
///
/// # Errors
/// With the service's code, `AccessDeniedException` for one.
pub async fn ids(aws: &SdkConfig, table: &str) -> Result<BTreeSet<String>> {
    let mut pages = aws_sdk_dynamodb::Client::new(aws)
        .scan()
        .table_name(table)
        .projection_expression("connectionId")
        .consistent_read(true)
        .into_paginator()
        .items()
        .send();
    let mut ids = BTreeSet::new();
    while let Some(item) = pages.next().await {
        let scan = Operation { service: "dynamodb", name: "Scan" };
        let mut item = item.map_err(|error| Failure::of(scan, table, &error).cannot_read("table"))?;
        if let Some(id) = item.remove("connectionId").and_then(|id| id.as_s().ok().cloned()) {
            ids.insert(id);
        }
    }
    Ok(ids)
}
