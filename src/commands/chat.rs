//! `chat`: the deployed chat in the terminal.

use super::{Session, target};
use crate::chat::session::{self, ChatOptions};
use crate::cli;
use crate::config::duration;
use crate::error::{Exit, Result};

/// # Errors
/// When the chat cannot be reached.
pub async fn chat(session: &Session, flags: &cli::Chat) -> Result<Exit> {
    let wait = duration("wait", &flags.wait)?;
    let (endpoint, keep_alive) = target::to_stay(session, &flags.target).await?;
    let options = ChatOptions { name: flags.alias.clone(), wait, keep_alive, color: session.colored() };
    session.deadline.lift();
    session::chat(&session.host, &endpoint, &target::Whereabouts::of(session, &flags.target), &options).await
}
