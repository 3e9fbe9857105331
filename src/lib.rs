//! `chatctl`: AWS's WebSocket chat walkthrough as one command.

pub mod aws;
pub mod commands;
pub mod engine;
pub mod error;
pub mod host;
pub mod websocket;
