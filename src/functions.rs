//! The three functions of the walkthrough: which route calls each, and what each may do.

/// One of the functions; `name` is its entry file in `lambda/` and the last part of its AWS name.
#[derive(Debug)]
pub struct Function {
    pub name: &'static str,
    pub route_key: &'static str,
    /// The DynamoDB actions it may take on the connection table.
    pub table_actions: &'static [&'static str],
    /// Whether it may post to every client through `@connections` (I8).
    pub posts_to_connections: bool,
}

pub const FUNCTIONS: [Function; 3] = [
    Function {
        name: "onConnect",
        route_key: "$connect",
        table_actions: &["dynamodb:PutItem"],
        posts_to_connections: false,
    },
    Function {
        name: "onDisconnect",
        route_key: "$disconnect",
        table_actions: &["dynamodb:DeleteItem"],
        posts_to_connections: false,
    },
    Function {
        name: "sendMessage",
        route_key: "sendmessage",
        table_actions: &["dynamodb:Scan", "dynamodb:DeleteItem"],
        posts_to_connections: true,
    },
];
