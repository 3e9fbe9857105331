//! Whole runs of the program against the model of AWS.

mod alarm;
mod answers;
mod app;
mod authorizer;
mod battery;
mod contract;
mod crash;
mod faults;
mod jwt;
mod lag;
mod life;
mod memory;
mod queue;
mod races;
mod reap;
mod redrive;
mod removal;
mod roles;
mod timing;
mod weather;
