//! The command line: types and help texts, no logic.

use clap::{Args, Parser, Subcommand};

use crate::config::Settings;

/// AWS's WebSocket chat walkthrough as one command.
///
/// Creates a WebSocket API with its routes, three Lambda functions and a DynamoDB table that tracks the connections,
/// prints the URL, and removes it all again. Results go to stdout, everything else to stderr. No prompts, no state
/// file, safe to kill and to run again.
#[derive(Debug, Parser)]
#[command(
    name = "chatctl",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    #[command(flatten)]
    pub settings: Settings,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Create the deployment, or make it as wanted again, and print its URL
    Up(Up),
    /// Remove all of the deployment, and prove that nothing is left
    Down,
    /// Tell how the deployment stands: every resource, what differs, the URL
    Status,
    /// Show what `up` would do
    Plan(Plan),
    /// List the deployments of this account and region
    List,
    /// Remove every deployment whose time to live is over
    Reap(Reap),
    /// Prove that the chat works: real clients connect, send, all receive, and leave
    Verify(Verify),
    /// Chat in the terminal; piped input is sent line by line
    Chat(Chat),
    /// Chat in the browser, on a page that is served on 127.0.0.1
    Open(Open),
    /// Show the logs of the functions, merged by time
    Logs(Logs),
    /// The local AWS behind `--local`
    Local(Local),
}

#[derive(Debug, Args)]
pub struct Up {
    /// Then prove that the chat works, as `verify` does; exit with 5 if it does not
    #[arg(long)]
    pub verify: bool,
    #[command(flatten)]
    pub load: Load,
    #[command(flatten)]
    pub connect: Connect,
}

/// How much a verification does.
#[derive(Debug, Args)]
pub struct Load {
    /// Clients that a verification connects
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub clients: usize,
    /// Messages that each of them sends
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub messages: usize,
}

/// What the authorizer of `$connect` wants to see.
#[derive(Debug, Args)]
pub struct Connect {
    /// A header for the authorizer (repeatable)
    #[arg(long, value_name = "NAME=VALUE", conflicts_with = "query")]
    pub header: Vec<String>,
    /// A query parameter for the authorizer (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    pub query: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Verify {
    #[command(flatten)]
    pub load: Load,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Args)]
pub struct Chat {
    /// Name that goes before each message
    #[arg(long = "as", value_name = "NAME")]
    pub alias: Option<String>,
    /// How long to listen after the end of piped input
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub wait: String,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Args)]
pub struct Open {
    /// Only print the address
    #[arg(long)]
    pub no_browser: bool,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Args)]
pub struct Logs {
    /// Go on until interrupted
    #[arg(long, short)]
    pub follow: bool,
    /// How far to look back
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    pub since: String,
    /// Only this function
    #[arg(long, value_name = "NAME")]
    pub function: Option<String>,
}

#[derive(Debug, Args)]
pub struct Plan {
    /// Show what `down` would do
    #[arg(long)]
    pub destroy: bool,
    /// Exit with 3 if there is anything to do
    #[arg(long)]
    pub exit_code: bool,
}

#[derive(Debug, Args)]
pub struct Reap {
    /// Name them only
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct Local {
    #[command(subcommand)]
    pub verb: LocalVerb,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub enum LocalVerb {
    /// Start it, installing it on first use, and print its endpoint
    Start,
    /// Stop it; its account goes with it
    Stop,
    /// Print its endpoint, if it runs
    Status,
}
