//! `status`: how the deployment stands, by reads alone.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{About, Nothing, Session, now};
use crate::engine::change::{Action, Change, Difference};
use crate::engine::found::Observed;
use crate::engine::key::Key;
use crate::engine::observe::{Patience, observe};
use crate::engine::plan::Plan;
use crate::engine::scope::UNKNOWN;
use crate::engine::{Wish, plan};
use crate::error::{Exit, Result};
use crate::report::style::{Tone, paint};
use crate::report::text::{messages, span, state_of, table};
use crate::report::{difference, github};

/// One line of the table.
struct Row<'a> {
    key: &'a Key,
    state: &'static str,
    id: Option<&'a str>,
    change: Option<&'a Change>,
}

pub fn nothing() -> Nothing {
    Nothing {
        command: "status",
        about: About::Deployment,
        exit: Exit::Absent,
        body: json!({ "state": "absent", "url": null, "callbackUrl": null, "expiresAt": null, "resources": [] }),
    }
}

/// # Errors
/// What cannot be read, or stands in the way.
pub async fn status(session: &Session) -> Result<Exit> {
    let observed = observe(&session.ctx, &session.graph, Patience::Glance).await?;
    let mut plan = plan(&session.ctx.scope, &session.graph, &observed, Wish::Present);
    leave_drift(&mut plan);
    let settling = observed.found.iter().any(|found| found.settling.is_some());
    let (state, exit) = match (observed.found.is_empty(), plan.is_empty() && !settling) {
        (true, _) => ("absent", Exit::Absent),
        (false, true) => ("ready", Exit::Done),
        (false, false) => ("drifted", Exit::Differs),
    };
    let mut rows = rows(session, &observed, &plan);
    // What asks for attention stands last, where one looks first.
    rows.sort_by_key(|row| ["ready", "pending"].iter().position(|calm| *calm == row.state).unwrap_or(2));
    if session.config().face.json {
        let resources: Vec<Value> = rows.iter().map(Row::json).collect();
        let url = session.url(&observed);
        let mut body = BTreeMap::from([
            ("state", json!(state)),
            ("url", json!(url)),
            ("callbackUrl", json!(session.callback_url(&observed))),
            ("expiresAt", json!(session.expires_at(&observed))),
            ("resources", json!(resources)),
        ]);
        body.extend(session.dead_letters(&observed).map(|count| ("deadLetters", json!(count))));
        session.print_json("status", About::Deployment, body);
    } else {
        print(session, &observed, &rows, state);
    }
    match exit {
        Exit::Differs => session.hint("`chatctl up` makes it as wanted, `chatctl plan` shows how"),
        Exit::Absent => session.hint("`chatctl up` creates it"),
        _ => {}
    }
    if session.dead_letters(&observed).is_some_and(|count| count > 0) {
        session.hint("`chatctl redrive` sends again what could not be delivered");
    }
    let (name, region) = (&session.config().name, &session.ctx.scope.region);
    let url = session.url(&observed).unwrap_or_default();
    let console_url = session.console_url(&observed).unwrap_or_default();
    let expires_at = session.expires_at(&observed).unwrap_or_default();
    let callback_url = session.callback_url(&observed).unwrap_or_default();
    let outputs = [
        ("state", state),
        ("url", &url),
        ("callback-url", &callback_url),
        ("console-url", &console_url),
        ("expires-at", &expires_at),
    ];
    session.tell_pipeline(&outputs, || {
        let cells = rows.iter().map(|row| {
            let what = row.differences().iter().map(|line| github::code(line)).collect::<Vec<_>>().join("<br>");
            [row.key.kind.to_owned(), github::code(&row.key.name), row.state.to_owned(), what]
        });
        let table = github::table(["kind", "name", "state", "what differs"], cells);
        format!("## `{name}` in {region}: {state}\n\n{table}{}\n", count(&rows))
    });
    Ok(exit)
}

/// What `up` would write, but is no drift: when it all expires, which every `up` sets anew, and what differs only
/// because something else does, such as a deployment of changed routes.
fn leave_drift(plan: &mut Plan) {
    let is_drift = |field: &Difference| field.field != "expiresAt" && field.to != UNKNOWN;
    for change in &mut plan.0 {
        change.fields.0.retain(is_drift);
    }
    plan.0.retain(|change| matches!(change.action, Action::Create | Action::Delete) || !change.fields.0.is_empty());
}

fn rows<'a>(session: &'a Session, observed: &'a Observed, plan: &'a Plan) -> Vec<Row<'a>> {
    let strays = observed.found.iter().map(|found| &found.key).filter(|key| !session.graph.contains(key));
    session
        .graph
        .keys()
        .chain(strays)
        .map(|key| {
            let found = observed.get(key);
            let change = plan.0.iter().find(|change| change.key == *key);
            let state = match found {
                Some(found) if found.settling.is_some() && change.is_none() => "pending",
                _ => state_of(change),
            };
            Row { key, state, id: found.map(|found| found.id.as_str()), change }
        })
        .collect()
}

/// How many are not as wanted; nothing where all are, or none is there.
fn count(rows: &[Row]) -> String {
    let off = rows.iter().filter(|row| row.state != "ready").count();
    let absent = rows.iter().all(|row| row.state == "missing");
    if off == 0 || absent { String::new() } else { format!("\n{off} of {} not as wanted\n", rows.len()) }
}

impl Row<'_> {
    /// A line a property that is not as it should be.
    fn differences(&self) -> Vec<String> {
        let change = self.change.filter(|_| self.state == "differs");
        change.map_or_else(Vec::new, |change| change.fields.0.iter().flat_map(difference::stated).collect())
    }

    fn json(&self) -> Value {
        let mut row = json!({ "kind": self.key.kind, "name": self.key.name, "state": self.state });
        if let Some(id) = self.id {
            row["id"] = json!(id);
        }
        if let Some(change) = self.change.filter(|_| self.state == "differs") {
            row["differences"] = json!(change.fields);
        }
        row
    }
}

fn print(session: &Session, observed: &Observed, rows: &[Row], state: &str) {
    let colored = session.colored();
    let scope = &session.ctx.scope;
    let account = session.ctx.run.identity().map_or("", |identity| identity.account.as_str());
    let mut text =
        format!("{} ({}, stage {}) in {} {account}\n", scope.config.name, state, scope.config.stage, scope.region);
    text.extend(scope.endpoints.told().map(|line| format!("{line}\n")));
    text.extend(session.callback_url(observed).map(|url| format!("back ends post to {url}\n")));
    text.push_str(&session.expires_at(observed).map_or_else(String::new, |at| left(session, &at)));
    let mut lines: Vec<Vec<String>> = Vec::new();
    for row in rows {
        lines.push(vec![row.key.kind.to_owned(), row.key.name.clone(), row.state.to_owned()]);
    }
    for (line, row) in table(&lines, session.host.stdout.columns()).iter().zip(rows) {
        let tone = match row.state {
            "ready" => Tone::Good,
            "missing" | "stray" => Tone::Bad,
            _ => Tone::Change,
        };
        let (line, below) =
            line.split_once('\n').map_or((line.as_str(), String::new()), |(line, below)| (line, format!("{below}\n")));
        let (head, _) = line.split_at(line.len() - row.state.len());
        text.push_str(&format!("{head}{}\n{below}", paint(colored, tone, row.state)));
        text.extend(row.differences().iter().map(|line| format!("    {line}\n")));
    }
    text.push_str(count(rows).trim_start());
    if let Some(count) = session.dead_letters(observed).filter(|count| *count > 0) {
        text.push_str(&format!("{} could not be delivered\n", messages(count)));
    }
    session.host.stdout.prose(text.trim_end());
    if let Some(url) = session.url(observed) {
        session.host.stdout.line(&url);
    }
}

fn left(session: &Session, at: &str) -> String {
    match OffsetDateTime::parse(at, &Rfc3339).ok().map(|at| at - now(&session.sdk)) {
        Some(left) if left.is_positive() => format!("expires at {at}, in {}\n", span(left)),
        _ => format!("expired at {at}\n"),
    }
}
