//! All tests of the program in one binary: each would link the whole AWS SDK, and what waits is overlapped by what computes.

mod architecture;
mod attacks;
mod cli;
mod clients;
mod config;
mod deployment;
mod distribution;
mod docs;
mod export;
mod init;
mod life;
mod local_aws;
mod planner;
mod policy;
mod runs;
mod tools;
