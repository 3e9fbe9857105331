//! `completions`: what a shell needs to complete our command line.

use crate::arguments;
use crate::cli;
use crate::error::Exit;
use crate::host::Host;

pub fn completions(host: &Host, flags: &cli::Completions) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut arguments::command(), "chatctl", &mut script);
    host.stdout.write(&String::from_utf8_lossy(&script));
    Exit::Done
}
