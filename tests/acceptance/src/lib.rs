//! One life of a deployment, from the first `plan` to nothing left, lived by `chatctl` wherever it is pointed at. On
//! the way it looks at what AWS does, and says of each fact in `docs/aws.md` whether it was confirmed, refuted or not
//! reached.

mod alarms;
mod analyzer;
mod authorizer;
mod clients;
mod drift;
mod gateway;
mod hosts;
mod lag;
mod ledger;
mod life;
mod looks;
mod models;
mod narrowed;
mod place;
mod queues;
mod stack;
mod unshown;
mod wire;

pub use authorizer::AUTHORIZER;
pub use lag::YOUNG;
pub use ledger::{Ledger, Report, Step, Verdict};
pub use life::{NAME, Options, ROLE, TWIN, live};
pub use place::{Place, Processes, Ran};
pub use stack::STACK;
