//! Clients of a deployed chat: one that proves it, one for the terminal, one for the browser.

pub mod page;
pub mod session;
pub mod verify;
