//! `reap`: `down` for every deployment whose time is over.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{About, Session, list, now, warnings};
use crate::config::Name;
use crate::engine::Wish;
use crate::engine::found::Observed;
use crate::engine::observe::{Patience, observe};
use crate::engine::scope::EXPIRES_AT;
use crate::error::{Error, Exit, Result};
use crate::resources::{api, names};

/// The code of the refusal to remove what has not expired after all.
const ALIVE: &str = "Alive";

/// Removes them one after another, past those that fail, and fails at the end if one did.
///
/// # Errors
/// What cannot be read; the interrupt and the end of the time, with the names of all that are left; that some were not
/// removed.
pub async fn reap(session: &Session, dry_run: bool) -> Result<Exit> {
    let now = now(&session.sdk);
    let all = list::deployments(session).await?;
    let expired: Vec<_> = all.into_iter().filter(|d| d.expires_at.is_some_and(|at| at <= now)).collect();
    let json = session.config().face.json;
    let (mut reaped, mut failed): (Vec<Value>, Vec<(&str, Error)>) = (vec![], vec![]);
    for (at, deployment) in expired.iter().enumerate() {
        let name = deployment.name.as_str();
        match session.deadline.bound(remove(session, name, now, dry_run)).await {
            Err(error) if error.code == ALIVE => session.ctx.run.reporter.note(&format!("`{name}` {}", error.message)),
            Ok(()) => {
                if !json {
                    session.host.stdout.line(name);
                }
                reaped.push(
                    json!({ "name": name, "expiresAt": deployment.expires_at.and_then(|at| at.format(&Rfc3339).ok()) }),
                );
            }
            Err(error) if error.exit == Exit::Interrupted || error.code == "Deadline" => {
                let failed = failed.iter().map(|(name, _)| *name);
                let left = failed.chain(expired[at..].iter().map(|deployment| deployment.name.as_str()));
                return Err(Error { leftovers: left.map(deployment_named).collect(), ..error });
            }
            Err(error) => {
                session.ctx.run.reporter.note(&format!("error: `{name}`: {}", error.message));
                failed.push((name, error));
            }
        }
    }
    let Some((_, first)) = failed.first() else {
        if json {
            let body = BTreeMap::from([("reaped", json!(reaped)), ("dryRun", json!(dry_run))]);
            session.print_json("reap", About::Region, body);
        }
        return Ok(Exit::Done);
    };
    let messages: Vec<String> = failed.iter().map(|(name, error)| format!("`{name}`: {}", error.message)).collect();
    let mut error =
        Error::new(Exit::Failed, first.code.clone(), format!("{} not reaped: {}", failed.len(), messages.join("; ")));
    error.hint.clone_from(&first.hint);
    error.leftovers = failed.iter().flat_map(|(_, error)| error.leftovers.clone()).collect();
    Err(error)
}

fn deployment_named(name: &str) -> String {
    format!("deployment {name}")
}

/// Removes one, unless it turns out to live on.
async fn remove(session: &Session, name: &str, now: OffsetDateTime, dry_run: bool) -> Result<()> {
    let one = session.of(Name::parse(name)?);
    let may = async |observed: &Observed| refuse_living(session, &one, observed, now).await;
    if dry_run {
        return may(&observe(&one.ctx, &one.graph, Patience::Glance).await?).await;
    }
    warnings::converged(&one, Wish::Absent, may).await.map(drop)
}

/// Refuses to remove what was renewed since it was listed, or need not go any more. Only what surely says that its time is over goes.
async fn refuse_living(session: &Session, one: &Session, observed: &Observed, now: OffsetDateTime) -> Result<()> {
    let alive = |why: &str| Err(Error::new(Exit::Failed, ALIVE, why));
    match expiry(session, one, observed).await?.map(|at| OffsetDateTime::parse(&at, &Rfc3339)) {
        Some(Ok(at)) if at <= now => Ok(()),
        Some(Ok(_)) => alive("was renewed in the meantime"),
        Some(Err(_)) => alive("is left: its tag does not say when it expires"),
        None => alive("has no time to live any more"),
    }
}

/// When it expires, as the strongest of what there is says it now: the API by the tags themselves, since a list may show
/// those of its creation; else the table; else, where a run died early, the rest.
async fn expiry(session: &Session, one: &Session, observed: &Observed) -> Result<Option<String>> {
    let (ctx, scope) = (&one.ctx, &one.ctx.scope);
    if let Some(found) = one.api(observed) {
        let arn = names::api_arn(scope, &format!("/apis/{}", found.id));
        return Ok(api::tags_of(ctx, &found.key, &arn).await?.remove(EXPIRES_AT));
    }
    if observed.of_kind(names::TABLE).next().is_some() {
        return Ok(one.expires_at(observed));
    }
    let name = scope.config.name.as_str();
    let listed = list::deployments(session).await?.into_iter().find(|deployment| deployment.name == name);
    Ok(listed.and_then(|deployment| deployment.expires_at?.format(&Rfc3339).ok()))
}
