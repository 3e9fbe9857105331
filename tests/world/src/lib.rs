//! A model of AWS in memory: stateful, faithful where a provisioning program can notice, reached through the real
//! SDK's HTTP connector, and on tokio's time, so that a paused test is exact and takes no time.
//!
//! ```no_run
//! # async fn example() {
//! let world = world::World::new(world::Switches::default());
//! let config = world.sdk_config("111122223333", "eu-central-1");
//! // run the program with `config`, then look:
//! assert!(world.calls().iter().all(|call| call.status == Some(200)));
//! world.edit(|state| state.region("111122223333", "eu-central-1").functions.clear());
//! # }
//! ```
//!
//! What the model does not know (an operation, a member of a request) makes it panic: an answer would be a lie.

mod access;
mod apigateway;
mod caller;
mod calls;
mod clock;
mod cloudwatch;
mod connector;
mod context;
mod crowd;
mod demands;
mod dump;
mod dynamodb;
mod fault;
mod fields;
mod iam;
mod lambda;
mod logs;
mod mappings;
mod operation;
mod place;
mod policy;
mod probe;
mod reply;
mod rules;
mod service;
mod sqs;
mod state;
mod sts;
mod switches;
mod throttle;
mod world;

pub use caller::Caller;
pub use calls::Call;
pub use clock::Moment;
pub use crowd::Crowd;
pub use fault::{CallInfo, Fault, Verdict};
pub use place::{dns_suffix, partition};
pub use service::Service;
pub use state::{
    Account, Alarm, Api, Authorizer, Deployment, Function, InlinePolicy, Integration, LogEvent, LogGroup, Mapping,
    Message, Queue, Region, Role, Route, Stage, State, Statement, Table, Tags, TimeToLive,
};
pub use switches::{Rate, Switches};
pub use world::{Snapshot, World};
