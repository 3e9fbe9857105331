//! `open`: the deployed chat in the browser.

use std::sync::Arc;

use super::{Session, target};
use crate::chat::page::{self, OpenOptions};
use crate::cli;
use crate::error::{Exit, Result};

/// # Errors
/// When the page cannot be served.
pub async fn open(session: &Session, flags: &cli::Open) -> Result<Exit> {
    let (endpoint, keep_alive) = target::to_stay(session, &flags.target).await?;
    session.deadline.lift();
    let options = OpenOptions { browser: !flags.no_browser, keep_alive, json: session.config().face.json };
    let place = Arc::new(target::Whereabouts::of(session, &flags.target));
    page::open(&session.host, &endpoint, place, options).await
}
