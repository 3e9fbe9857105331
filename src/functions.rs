//! The three functions of the walkthrough: which route calls each, and what each may do.

/// One of the functions; `name` is its entry file in `lambda/` and the last part of its AWS name.
#[derive(Debug)]
pub struct Function {
    pub name: &'static str,
    pub route_key: &'static str,
    /// The DynamoDB actions it may take on the connection table.
    pub table_actions: &'static [&'static str],
    /// MB, where the configuration names none. 512 is the least that serves 50,000 connections within the timeout, and
    /// costs no more than 256 from 1,000 on (`docs/performance-broadcast.md`); the others make one call each.
    pub memory: i32,
    /// Whether it may post to every client through `@connections` (I8).
    pub posts_to_connections: bool,
}

pub const FUNCTIONS: [Function; 3] = [
    Function {
        name: "onConnect",
        route_key: "$connect",
        table_actions: &["dynamodb:PutItem"],
        memory: 256,
        posts_to_connections: false,
    },
    Function {
        name: "onDisconnect",
        route_key: "$disconnect",
        table_actions: &["dynamodb:DeleteItem"],
        memory: 256,
        posts_to_connections: false,
    },
    Function {
        name: "sendMessage",
        route_key: "sendmessage",
        table_actions: &["dynamodb:Scan", "dynamodb:DeleteItem"],
        memory: 512,
        posts_to_connections: true,
    },
];
