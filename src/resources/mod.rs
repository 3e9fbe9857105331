//! The kinds of resources. A new one is a file here and a line in `KINDS`.

pub mod alarm;
pub mod api;
pub mod authorizer;
pub mod authorizer_permission;
pub mod dead_letters;
pub mod deployment;
pub mod event_source_mapping;
pub mod function;
pub mod integration;
pub mod log_group;
pub mod model;
pub mod names;
pub mod permission;
mod policy_document;
pub mod queue;
pub mod role;
pub mod role_policy;
pub mod route;
pub mod stage;
pub mod table;
mod tags;

use crate::engine::graph::Kinds;

/// Every kind, after those that it needs. Roles are made first of all: until Lambda sees a new one is the longest
/// wait of a fresh `up` (L1).
pub const KINDS: Kinds = &[
    &role::RoleKind,
    &api::ApiKind,
    &role_policy::RolePolicyKind,
    &log_group::LogGroupKind,
    &alarm::AlarmKind,
    &table::TableKind,
    &queue::QueueKind,
    &function::FunctionKind,
    &event_source_mapping::EventSourceMappingKind,
    &authorizer::AuthorizerKind,
    &permission::PermissionKind,
    &authorizer_permission::AuthorizerPermissionKind,
    &integration::IntegrationKind,
    &model::ModelKind,
    &route::RouteKind,
    &deployment::DeploymentKind,
    &stage::StageKind,
];
