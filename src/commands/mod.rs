//! One file a verb.

pub mod chat;
pub mod logs;
pub mod open;
pub mod verify;
