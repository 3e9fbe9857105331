//! `reap`: `down` for every deployment whose time is over.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Session, list, now};
use crate::config::Name;
use crate::engine::observe::{Patience, observe};
use crate::engine::{Wish, converge};
use crate::error::{Error, Exit, Result};

/// Removes them one after another, past those that fail, and fails at the end if one did.
///
/// # Errors
/// What cannot be read; the interrupt; that some were not removed.
pub async fn reap(session: &Session, dry_run: bool) -> Result<Exit> {
    let now = now(&session.sdk);
    let expired = list::deployments(session).await?.into_iter().filter(|d| d.expires_at.is_some_and(|at| at <= now));
    let json = session.config().face.json;
    let (mut reaped, mut failed): (Vec<Value>, Vec<Error>) = (vec![], vec![]);
    for deployment in expired {
        let name = deployment.name;
        match remove(session, &name, now, dry_run).await {
            Ok(false) => session.ctx.reporter.note(&format!("`{name}` was renewed in the meantime")),
            Ok(true) => {
                if !json {
                    session.host.stdout.line(&name);
                }
                reaped.push(
                    json!({ "name": name, "expiredAt": deployment.expires_at.and_then(|at| at.format(&Rfc3339).ok()) }),
                );
            }
            Err(error) if error.exit == Exit::Interrupted => return Err(error),
            Err(error) => {
                session.ctx.reporter.note(&format!("error: `{name}`: {}", error.message));
                failed.push(Error { message: format!("`{name}`: {}", error.message), ..error });
            }
        }
    }
    let Some(first) = failed.first() else {
        if json {
            session.print_json("reap", BTreeMap::from([("reaped", json!(reaped)), ("dryRun", json!(dry_run))]));
        }
        return Ok(Exit::Done);
    };
    let messages: Vec<&str> = failed.iter().map(|error| error.message.as_str()).collect();
    let mut error = Error::failed(&first.code, format!("{} not reaped: {}", failed.len(), messages.join("; ")));
    error.hint.clone_from(&first.hint);
    error.leftovers = failed.iter().flat_map(|error| error.leftovers.clone()).collect();
    Err(error)
}

/// Removes one, unless it turns out to have been renewed; says whether it was still expired.
async fn remove(session: &Session, name: &str, now: OffsetDateTime, dry_run: bool) -> Result<bool> {
    let one = session.of(Name::parse(name)?);
    let observed = observe(&one.ctx, &one.graph, Patience::None).await?;
    let is_over = |at: String| OffsetDateTime::parse(&at, &Rfc3339).is_ok_and(|at| at <= now);
    if !one.expires_at(&observed).is_none_or(is_over) {
        return Ok(false);
    }
    if !dry_run {
        converge(&one.ctx, &one.graph, Wish::Absent).await?;
    }
    Ok(true)
}
