//! The model, as the real SDK meets it.

mod apigateway;
mod chat;
mod common;
mod dynamodb;
mod faults;
mod iam;
mod lambda;
mod logs;
