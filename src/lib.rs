//! `chatctl`: AWS's WebSocket chat walkthrough as one command.
//!
//! ```text
//! argv + env + chatctl.toml → Config → declare (× KINDS) → Graph ─ observe → Observed ─ diff → Plan ─ apply → Report
//!           pure                            pure                    reads         pure        writes
//! ```

pub mod aws;
pub mod cli;
pub mod commands;
pub mod config;
pub mod engine;
pub mod error;
pub mod functions;
pub mod handlers;
pub mod host;
pub mod local;
pub mod report;
pub mod resources;
pub mod websocket;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};

use crate::cli::{Cli, Local, LocalVerb, Verb};
use crate::commands::Session;
use crate::config::Config;
use crate::engine::Wish;
use crate::error::{Error, Exit, Result};
use crate::host::Host;

/// The whole program: arguments without the program's name, the world outside, and how it ends.
pub async fn run(args: &[String], host: &Host) -> Exit {
    let args = with_environment(args, host);
    let json = args.windows(2).any(|pair| ["-o", "--output"].contains(&pair[0].as_str()) && pair[1] == "json")
        || args.iter().any(|arg| ["-ojson", "-o=json", "--output=json"].contains(&arg.as_str()));
    let color = host.env.get("NO_COLOR").is_none() && host.stderr.is_terminal;
    let cli = match parse(&args) {
        Ok(cli) => cli,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            host.stdout.write(&error.render().to_string());
            return Exit::Done;
        }
        Err(error) => {
            if json {
                let text = error.render().to_string();
                let message = text.trim_start_matches("error: ").trim_end();
                host.stdout.line(&report::json::error(&Error::usage(message)));
            }
            host.stderr.write(&error.render().to_string());
            return Exit::Usage;
        }
    };
    match dispatch(cli, host).await {
        Ok(exit) => exit,
        Err(error) => {
            report::error(host, json, color, &error);
            error.exit
        }
    }
}

fn parse(args: &[String]) -> Result<Cli, clap::Error> {
    let command = command();
    let matches = command.try_get_matches_from(std::iter::once("chatctl").chain(args.iter().map(String::as_str)))?;
    Cli::from_arg_matches(&matches)
}

/// The command line, each global option with the variable that stands for it.
pub fn command() -> clap::Command {
    Cli::command().mut_args(|arg| match variable(&arg) {
        Some(variable) if arg.is_global_set() => {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            arg.help(format!("{help} [env: {variable}]"))
        }
        _ => arg,
    })
}

fn variable(arg: &clap::Arg) -> Option<String> {
    Some(format!("CHATCTL_{}", arg.get_long()?.to_uppercase().replace('-', "_")))
}

/// Puts the options that only the environment sets in front of the arguments, so that from here on there is one
/// source: a flag wins, because it is left out here.
fn with_environment(args: &[String], host: &Host) -> Vec<String> {
    let given = |long: &str, short: Option<char>| {
        args.iter().take_while(|arg| *arg != "--").any(|arg| {
            arg.strip_prefix("--").is_some_and(|rest| rest == long || rest.starts_with(&format!("{long}=")))
                || short.is_some_and(|short| {
                    arg.strip_prefix('-').is_some_and(|rest| !rest.starts_with('-') && rest.starts_with(short))
                })
        })
    };
    let mut all = Vec::new();
    for arg in Cli::command().get_arguments().filter(|arg| arg.is_global_set()) {
        let (Some(long), Some(variable)) = (arg.get_long(), variable(arg)) else { continue };
        // A name that was given is not made from anything else.
        let rival = matches!(long, "name" | "name-from") && (given("name", None) || given("name-from", None));
        let Some(value) = host.env.get(&variable).filter(|_| !rival && !given(long, arg.get_short())) else { continue };
        if arg.get_action().takes_values() {
            let values: Vec<&str> = match arg.get_action() {
                clap::ArgAction::Append => value.split(',').collect(),
                _ => vec![value],
            };
            all.extend(values.into_iter().map(|value| format!("--{long}={value}")));
        } else if !["0", "false", "no", "off"].contains(&value.to_lowercase().as_str()) {
            all.push(format!("--{long}"));
        }
    }
    all.extend(args.iter().cloned());
    all
}

async fn dispatch(cli: Cli, host: &Host) -> Result<Exit> {
    let config = Config::resolve(cli.settings, host)?;
    let reporter = report::reporter(config.face, host);
    if let Verb::Local(Local { verb }) = cli.verb {
        return match verb {
            LocalVerb::Start => commands::local::start(host, &*reporter).await,
            LocalVerb::Stop => commands::local::stop(host, &*reporter).await,
            LocalVerb::Status => commands::local::status(host, &*reporter).await,
        };
    }
    let session = Session::open(host, config, reporter).await?;
    let exit = carry_out(cli.verb, &session).await;
    if session.config().face.timings && !session.config().face.json {
        let colored = report::style::is_colored(session.config().face, host, &host.stderr);
        host.stderr.write(&report::timings::text(&session.ctx, colored));
    }
    exit
}

async fn carry_out(verb: Verb, session: &Session) -> Result<Exit> {
    match verb {
        Verb::Up(up) => commands::up::up(session, &up).await,
        Verb::Down => commands::down::down(session).await,
        Verb::Status => commands::status::status(session).await,
        Verb::Plan(plan) => {
            let wish = if plan.destroy { Wish::Absent } else { Wish::Present };
            commands::plan::plan(session, wish, plan.exit_code).await
        }
        Verb::List => commands::list::list(session).await,
        Verb::Reap(reap) => commands::reap::reap(session, reap.dry_run).await,
        Verb::Verify(flags) => commands::client::run_verify(session, &flags).await,
        Verb::Chat(flags) => commands::client::run_chat(session, &flags).await,
        Verb::Open(flags) => commands::client::run_open(session, &flags).await,
        Verb::Logs(flags) => commands::client::run_logs(session, &flags).await,
        Verb::Local(_) => unreachable!("handled above"),
    }
}
