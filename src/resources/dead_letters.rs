//! The messages that could not be delivered, and how they are put behind those that wait now.
//!
//! It takes three calls that every queue has, not SQS's own task, which goes on when the run has ended (Q8). A run that
//! is killed in between leaves a message in both queues; the next one sends it again under the same id, upon which SQS
//! drops it.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use tokio::time::Instant;

use super::names;
use super::queue::{QueueKind, client, waiting};
use crate::aws::failure::{Failure, Operation};
use crate::engine::found::{Found, Owner};
use crate::engine::kind::Kind;
use crate::engine::run::Ctx;
use crate::error::Code;

const RECEIVE: Operation = Operation { service: "sqs", name: "ReceiveMessage" };

/// The most that SQS hands out at once.
const BATCH: i32 = 10;

/// For so long what was handed out to us is hidden from others, and, if we die, from ourselves. Seconds.
const HOLD: i32 = 30;

/// A queue that hands out nothing is empty when its count, which may be late (Q2), has been of another opinion for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The dead letters' queue and the one that they came from, where both are there.
///
/// # Errors
/// What cannot be read, and queues that are somebody else's.
pub async fn queues(ctx: &Ctx) -> Result<Option<(Found, Found)>, Failure> {
    let find = async |name: String| {
        let found = QueueKind.find(ctx, &name).await?.pop();
        match &found {
            Some(Found { key, owner: Owner::Foreign(why) | Owner::Unclear(why), .. }) => {
                Err(Failure::ours(RECEIVE, &key.to_string(), Code::NotOurs, format!("it is somebody else's: {why}")))
            }
            _ => Ok(found),
        }
    };
    let scope = &ctx.scope;
    let (from, to) = tokio::try_join!(find(names::dead_letters(scope).name), find(names::messages(scope).name))?;
    Ok(from.zip(to))
}

/// Moves what is in the queue `from` behind what is in `to`, oldest first, counts in `moved`, and says how much is left:
/// what came back while it went on, and what somebody else has in hand.
///
/// # Errors
/// The first call that fails; the interrupt.
pub async fn send_again(ctx: &Ctx, from: &Found, to: &Found, moved: &Cell<u64>) -> Result<u64, Failure> {
    let mut sent = BTreeSet::new();
    let mut idle = Instant::now();
    loop {
        let messages = received(ctx, from).await?;
        if messages.is_empty() {
            let left = waiting(ctx, &from.key).await?.unwrap_or_default();
            if left == 0 || idle.elapsed() > PATIENCE {
                return Ok(left);
            }
            ctx.waiting(&from.key, "messages that are in somebody's hands");
            if !ctx.pause(Duration::from_secs(1)).await {
                return Err(Failure::interrupted(RECEIVE, &from.key.to_string()));
            }
            continue;
        }
        for message in &messages {
            if message.message_id().is_some_and(|id| sent.contains(id)) {
                return Ok(waiting(ctx, &from.key).await?.unwrap_or_default());
            }
            if ctx.run.interrupt.is_raised() {
                return Err(Failure::interrupted(RECEIVE, &from.key.to_string()));
            }
            sent.extend(moved_one(ctx, from, to, message).await?);
            moved.set(moved.get() + 1);
        }
        idle = Instant::now();
    }
}

async fn received(ctx: &Ctx, from: &Found) -> Result<Vec<Message>, Failure> {
    let answer = ctx
        .call("sqs:ReceiveMessage", &from.key, || {
            client(ctx)
                .receive_message()
                .queue_url(&from.id)
                .max_number_of_messages(BATCH)
                .visibility_timeout(HOLD)
                .message_system_attribute_names(MessageSystemAttributeName::MessageGroupId)
                .send()
        })
        .await?;
    Ok(answer.messages.unwrap_or_default())
}

/// Gives the id that the message has from now on.
async fn moved_one(ctx: &Ctx, from: &Found, to: &Found, message: &Message) -> Result<Option<String>, Failure> {
    let group = message.attributes().and_then(|all| all.get(&MessageSystemAttributeName::MessageGroupId));
    let sent = ctx
        .call("sqs:SendMessage", &to.key, || {
            client(ctx)
                .send_message()
                .queue_url(&to.id)
                .set_message_body(message.body.clone())
                .set_message_group_id(group.cloned())
                .set_message_deduplication_id(message.message_id.clone())
                .send()
        })
        .await?;
    ctx.call("sqs:DeleteMessage", &from.key, || {
        let handle = message.receipt_handle.clone();
        client(ctx).delete_message().queue_url(&from.id).set_receipt_handle(handle).send()
    })
    .await?;
    Ok(sent.message_id)
}
