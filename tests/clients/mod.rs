//! The clients of a deployed chat, and what they meet: real sockets, terminals and browsers, and a chat server that fails
//! as it is told.

mod browser;
mod chat;
mod chat_server;
mod dev;
mod examples;
mod hostile_page;
mod logs;
mod open;
mod page_of_apps;
mod proxy;
mod stage;
mod token;
mod tty;
mod verify;
