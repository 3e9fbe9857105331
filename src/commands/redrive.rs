//! `redrive`: what could not be delivered is sent again.

use std::cell::Cell;
use std::collections::BTreeMap;

use serde_json::json;

use super::{About, Session};
use crate::error::{Code, Error, Exit, Result};
use crate::progress::Ended;
use crate::report::text::messages;
use crate::resources::{dead_letters, names};

/// # Errors
/// That there is no queue; the interrupt and what failed, with how many messages were sent again before.
pub async fn redrive(session: &Session) -> Result<Exit> {
    let ctx = &session.ctx;
    let queue = names::dead_letters(&ctx.scope);
    let Some((from, to)) = dead_letters::queues(ctx).await? else {
        return Err(Error::failed(Code::NoQueue, format!("there is no queue `{}` here", queue.name))
            .hint("only messages that go through a queue can be sent again: `chatctl up --delivery queue`"));
    };
    let task = queue.to_string();
    ctx.run.reporter.begin(&task, "redriving");
    let moved = Cell::new(0);
    let ended = tokio::select! {
        ended = dead_letters::send_again(ctx, &from, &to, &moved) => ended.map_err(Error::from),
        () = ctx.run.interrupt.raised(2) => Err(Error::new(Exit::Interrupted, Code::Interrupted, "interrupted")),
    };
    let summary = format!("{} sent again", messages(moved.get()));
    let left = ended.map_err(|error| {
        ctx.run.reporter.end(&task, Ended::Failed(error.message.clone()));
        Error { message: format!("{}; {summary} before that", error.message), ..error }
            .hint("run the same command again")
    })?;
    ctx.run.reporter.end(&task, Ended::Done("redriven"));
    ctx.run.reporter.note(&format!("{summary}, {left} left in `{}`", queue.name));
    if left > 0 {
        session.hint("messages that came back failed again: see `chatctl logs --function broadcast`");
    }
    if session.config().face.json {
        session.print_json(
            "redrive",
            About::Deployment,
            BTreeMap::from([("moved", json!(moved.get())), ("left", json!(left))]),
        );
    }
    Ok(Exit::Done)
}
