//! `chatctl`: AWS's WebSocket chat walkthrough as one command.

pub mod engine;
pub mod error;
pub mod host;
pub mod local;
