//! The one pipeline: graph, observe, plan, apply.

pub mod event;
