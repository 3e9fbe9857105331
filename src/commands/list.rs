//! `list`: the deployments of this account and region, as each service knows them: the tagging API is late (T1).

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{About, Nothing, Session, now};
use crate::engine::found::Found;
use crate::engine::kind::Kind;
use crate::engine::scope::Scope;
use crate::error::{Exit, Result};
use crate::report::text::{span, table};
use crate::resources::{KINDS, names, stage};

/// One deployment, whole or half made.
pub struct Deployment {
    pub name: String,
    /// None where there is nothing to connect to.
    pub stage: Option<String>,
    pub url: Option<String>,
    pub created: Option<OffsetDateTime>,
    pub expires_at: Option<OffsetDateTime>,
}

pub fn nothing() -> Nothing {
    Nothing { command: "list", about: About::Region, exit: Exit::Done, body: json!({ "deployments": [] }) }
}

/// # Errors
/// What cannot be read.
pub async fn list(session: &Session) -> Result<Exit> {
    let deployments = deployments(session).await?;
    let now = now(&session.sdk);
    if session.config().face.json {
        let rows: Vec<Value> = deployments.iter().map(json_row).collect();
        session.print_json("list", About::Region, BTreeMap::from([("deployments", json!(rows))]));
    } else if !deployments.is_empty() {
        let heading = ["NAME", "STAGE", "URL", "AGE", "EXPIRES"].map(str::to_owned).to_vec();
        let rows: Vec<Vec<String>> =
            std::iter::once(heading).chain(deployments.iter().map(|deployment| text_row(deployment, now))).collect();
        let out = &session.host.stdout;
        out.line(&table(&rows, out.columns()).join("\n"));
    }
    Ok(Exit::Done)
}

/// Every deployment that has left a trace: an API first of all, but a half-made one may lack it. When it expires is
/// what its API says, else its table, else the latest of the rest: only these two are renewed.
///
/// # Errors
/// What cannot be read.
pub async fn deployments(session: &Session) -> Result<Vec<Deployment>> {
    let identity = Some(session.ctx.identity().await?.clone());
    let ctx = &session.ctx.with(Scope { identity, ..Scope::clone(&session.ctx.scope) });
    let traces = try_join_all(
        KINDS
            .iter()
            .map(|kind| async move { Ok::<_, crate::aws::failure::Failure>((kind.name(), kind.signs(ctx).await?)) }),
    )
    .await?;
    let mut known: BTreeMap<String, (u8, Option<OffsetDateTime>, Option<Found>)> = BTreeMap::new();
    for (kind, trace) in
        traces.into_iter().flat_map(|(kind, traces)| traces.into_iter().map(move |trace| (kind, trace)))
    {
        let rank = match kind {
            names::API => 0,
            names::TABLE => 1,
            _ => 2,
        };
        let expires_at = trace.expires_at.and_then(|at| OffsetDateTime::parse(&at, &Rfc3339).ok());
        let entry = known.entry(trace.deployment).or_insert((u8::MAX, None, None));
        if rank < entry.0 || (rank == entry.0 && rank == 2 && expires_at > entry.1) {
            (entry.0, entry.1) = (rank, expires_at);
        }
        if entry.2.is_none() {
            entry.2 = trace.api;
        }
    }
    try_join_all(known.into_iter().map(|(name, (_, expires_at, api))| async move {
        let created = api.as_ref().and_then(|api| api.attribute("created")).and_then(|seconds| seconds.parse().ok());
        let stage = match &api {
            Some(api) => {
                // Looked at as if it were that of the deployment at hand.
                let within = ctx.knowing(&names::api(&ctx.scope), &api.id);
                stage::StageKind.find(&within, &name).await?.into_iter().next().map(|stage| stage.key.name)
            }
            None => None,
        };
        let url = stage.as_ref().zip(api.as_ref()).map(|(stage, api)| super::url_of(&ctx.scope, api, stage));
        let created = created.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
        Ok(Deployment { name, stage, url, created, expires_at })
    }))
    .await
}

fn json_row(deployment: &Deployment) -> Value {
    let date = |date: Option<OffsetDateTime>| date.and_then(|date| date.format(&Rfc3339).ok());
    json!({
        "name": deployment.name,
        "stage": deployment.stage,
        "url": deployment.url,
        "createdAt": date(deployment.created),
        "expiresAt": date(deployment.expires_at),
    })
}

fn text_row(deployment: &Deployment, now: OffsetDateTime) -> Vec<String> {
    let dash = || "-".to_owned();
    let expires =
        deployment.expires_at.map(|at| if at > now { format!("in {}", span(at - now)) } else { "expired".to_owned() });
    vec![
        deployment.name.clone(),
        deployment.stage.clone().unwrap_or_else(dash),
        deployment.url.clone().unwrap_or_else(|| "half made".to_owned()),
        deployment.created.map_or_else(dash, |at| span(now - at)),
        expires.unwrap_or_else(dash),
    ]
}
