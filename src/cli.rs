//! The command line: types and help texts, no logic.

mod examples;
pub mod obeyed;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    disable_help_subcommand = true,
    after_help = examples::ALL
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
    #[command(after_help = examples::UP)]
    Up(Up),
    /// Develop: `up --local`, then each edit goes live, with the logs beside it
    #[command(after_help = examples::DEV)]
    Dev(Dev),
    /// Remove all of the deployment, and prove that nothing is left
    #[command(after_help = examples::DOWN)]
    Down,
    /// Show the state of the deployment: every resource, what differs, the URL
    #[command(after_help = examples::STATUS)]
    Status,
    /// Show what `up` would do
    #[command(after_help = examples::PLAN)]
    Plan(Plan),
    /// List the deployments of this account and region
    #[command(after_help = examples::LIST)]
    List,
    /// Remove every deployment whose time to live is over
    #[command(after_help = examples::REAP)]
    Reap(Reap),
    /// Print the IAM policy that the identity running this program needs
    #[command(after_help = examples::POLICY)]
    Policy(Policy),
    /// Print the same deployment as a CloudFormation template
    #[command(after_help = examples::EXPORT)]
    Export(Export),
    /// Write a commented `chatctl.toml`, and a copy of the handlers to edit
    #[command(after_help = examples::INIT)]
    Init(Init),
    /// Prove that the chat works: real clients connect, send, all receive, and leave
    #[command(after_help = examples::VERIFY)]
    Verify(Verify),
    /// Chat in the terminal; piped input is sent line by line
    #[command(after_help = examples::CHAT)]
    Chat(Chat),
    /// Chat in the browser, on a page that is served on 127.0.0.1
    #[command(after_help = examples::OPEN)]
    Open(Open),
    /// Show the logs of the functions, merged by time
    #[command(after_help = examples::LOGS)]
    Logs(Logs),
    /// Send again the messages that a queue could not deliver
    #[command(after_help = examples::REDRIVE)]
    Redrive,
    /// The local AWS behind `--local`
    #[command(after_help = examples::LOCAL)]
    Local(Local),
    /// Print the completions for a shell
    #[command(after_help = examples::COMPLETIONS)]
    Completions(Completions),
    /// Print the JSON Schema of chatctl.toml, with which editors complete and check it
    #[command(after_help = examples::SCHEMA)]
    Schema,
    /// Print the manual page
    #[command(after_help = examples::MAN)]
    Man,
}

#[derive(Debug, Args)]
pub struct Export {
    /// Write the template and the functions' zips into this folder, for a bucket, instead of a template with the code in it
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Init {
    /// Where to write [default: here]
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Start from a small complete app: a route that answers (echo), or rooms that show who is in them (rooms)
    #[arg(long, value_name = "NAME")]
    pub example: Option<Example>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Example {
    Echo,
    Rooms,
}

#[derive(Debug, Args)]
pub struct Policy {
    /// The account in the ARNs [default: any]
    #[arg(long, value_name = "ID")]
    pub account: Option<String>,
    /// Only what `status` needs
    #[arg(long, conflicts_with_all = ["boundary", "github"])]
    pub read_only: bool,
    /// Instead, what another back end needs to post to the connections; the API must exist, because it is looked up
    #[arg(long, conflicts_with_all = ["account", "boundary", "github", "read_only"])]
    pub sender: bool,
    /// Instead, a permissions boundary for the functions' roles: the most that they may ever do
    #[arg(long, conflicts_with = "github")]
    pub boundary: bool,
    /// Instead, the trust policy of a role for a repository's GitHub Actions; SUBJECT narrows it, such as
    /// `ref:refs/heads/main` or `environment:prod` (repeatable)
    #[arg(long, value_name = "OWNER/REPO[:SUBJECT]", requires = "account")]
    pub github: Vec<String>,
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

#[derive(Debug, Args)]
pub struct Dev {
    #[command(flatten)]
    pub connect: Connect,
}

/// How much a verification does.
#[derive(Debug, Args)]
pub struct Load {
    /// Clients that a verification connects
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub clients: usize,
    /// How many of them send [default: all]
    #[arg(long, value_name = "N")]
    pub senders: Option<usize>,
    /// Messages that each sender sends
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub messages: usize,
}

/// What the authorizer of `$connect` wants to see.
#[derive(Clone, Debug, Args)]
pub struct Connect {
    /// A header for the authorizer, or `@FILE` with one a line (repeatable) [env: CHATCTL_HEADER]
    #[arg(long, value_name = "NAME=VALUE", conflicts_with = "query")]
    pub header: Vec<String>,
    /// A query parameter for the authorizer, or `@FILE` with one a line (repeatable) [env: CHATCTL_QUERY]
    #[arg(long, value_name = "NAME=VALUE")]
    pub query: Vec<String>,
    /// The token for `--authorizer jwt`: `@FILE`, or `-` for what stdin gives [env: CHATCTL_TOKEN]
    #[arg(long, value_name = "@FILE", conflicts_with_all = ["header", "query"])]
    pub token: Option<String>,
}

/// Which chat a client connects to.
#[derive(Clone, Debug, Args)]
pub struct Target {
    /// Connect here, whatever is deployed
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Args)]
pub struct Verify {
    #[command(flatten)]
    pub load: Load,
    /// Exit with 5 if the 99th percentile of the deliveries' latency is above this many milliseconds
    #[arg(long, value_name = "MS")]
    pub max_p99: Option<u32>,
    /// Also write a JUnit report of the steps to this file, whether they pass or fail
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Also send a message on this route of your own, and wait for an answer that is not a refusal
    #[arg(long, value_name = "KEY")]
    pub route: Option<String>,
    /// What is sent on `--route` [default: {"action":"KEY"}]
    #[arg(long, value_name = "TEXT", requires = "route")]
    pub send: Option<String>,
    /// What the answer on `--route` must be: this text, or JSON with at least these members
    #[arg(long, value_name = "TEXT", requires = "route")]
    pub expect: Option<String>,
    #[command(flatten)]
    pub target: Target,
}

#[derive(Debug, Args)]
pub struct Chat {
    /// Name to put before each message
    #[arg(long = "as", value_name = "NAME")]
    pub alias: Option<String>,
    /// How long to listen after piped input has ended
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub wait: String,
    #[command(flatten)]
    pub target: Target,
}

#[derive(Debug, Args)]
pub struct Open {
    /// Only print the address
    #[arg(long)]
    pub no_browser: bool,
    #[command(flatten)]
    pub target: Target,
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
    /// Also the lines that Lambda writes about every call (START, END, REPORT)
    #[arg(long)]
    pub all: bool,
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
    /// Only name them
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
    /// Print the variables with which other tools can use it, secret included: `eval "$(chatctl local env)"`
    Env,
}

#[derive(Debug, Args)]
pub struct Completions {
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}
