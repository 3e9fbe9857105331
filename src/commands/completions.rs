//! `completions`: what a shell needs to complete our command line, values included.

use clap::Command;

use crate::arguments;
use crate::cli;
use crate::error::Exit;
use crate::host::Host;

/// Options with the values that they mostly have. They are for completion alone: what an option takes is checked elsewhere, and
/// AWS may have more regions.
const VALUES: &[(&str, &[&str])] = &[
    ("architecture", &["arm64", "x86_64"]),
    ("authorizer", &["none", "iam", "jwt"]),
    ("color", &["auto", "always", "never"]),
    ("delivery", &["direct", "queue"]),
    ("function", &["onConnect", "onDisconnect", "sendMessage"]),
    ("output", &["text", "json"]),
    (
        "region",
        &[
            "ap-northeast-1",
            "ap-south-1",
            "ap-southeast-1",
            "ap-southeast-2",
            "ca-central-1",
            "eu-central-1",
            "eu-north-1",
            "eu-west-1",
            "eu-west-2",
            "eu-west-3",
            "sa-east-1",
            "us-east-1",
            "us-east-2",
            "us-west-1",
            "us-west-2",
        ],
    ),
    ("runtime", &["nodejs22.x", "nodejs24.x"]),
];

/// The command line, and below it all verbs, with the values.
fn with_values(command: Command) -> Command {
    let known = command.mut_args(|arg| match VALUES.iter().find(|(long, _)| arg.get_long() == Some(long)) {
        Some((_, values)) => arg.value_parser(values.to_vec()),
        None => arg,
    });
    known.mut_subcommands(with_values)
}

pub fn completions(host: &Host, flags: &cli::Completions) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut with_values(arguments::command()), "chatctl", &mut script);
    host.stdout.write(&String::from_utf8_lossy(&script));
    Exit::Done
}
