//! The whole command line as a user or a pipeline meets it. `UPDATE_SNAPSHOTS=1` rewrites `snapshots/`.

mod faces;
mod help;
mod hints;
mod hostile;
mod pipeline;
mod precedence;
mod pull_request;
mod reach;
mod run;
mod schemas;
mod snapshot;
mod streams;
mod usage;
mod versions;
