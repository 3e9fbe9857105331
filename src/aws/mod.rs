//! What is said to AWS, and how its answers are understood.

pub mod connections;
pub mod log_events;
