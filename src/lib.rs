//! `chatctl`: AWS's WebSocket chat walkthrough as one command.
//!
//! ```text
//! argv + env + chatctl.toml → Config → declare (× KINDS) → Graph ─ observe → Observed ─ diff → Plan ─ apply → Report
//!           pure                            pure                    reads         pure        writes
//! ```

#![warn(clippy::expect_used, clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used)]

pub mod arguments;
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
pub mod policy;
pub mod report;
pub mod resources;
pub mod template;
pub mod websocket;

use crate::arguments::Asked;
use crate::cli::{Cli, Local, LocalVerb, Verb};
use crate::commands::Session;
use crate::config::{Config, Face};
use crate::engine::Wish;
use crate::error::{Exit, Result};
use crate::host::Host;

/// The whole program: arguments without the program's name, the world outside, and how it ends.
pub async fn run(args: &[String], host: &Host) -> Exit {
    let (face, ended) = match arguments::parse(args, &host.env) {
        Ok(Asked::Tell(text)) => {
            host.stdout.write(&text);
            return Exit::Done;
        }
        Ok(Asked::Run(cli)) => (Face::guess(&cli.settings, host), dispatch(*cli, host).await),
        Err(error) => (Face::guess(&arguments::lenient(args, &host.env), host), Err(error)),
    };
    ended.unwrap_or_else(|error| {
        report::error(host, face, &error);
        error.exit
    })
}

async fn dispatch(cli: Cli, host: &Host) -> Result<Exit> {
    // What is generated depends on nothing around it, not even on a settings file that is broken.
    match &cli.verb {
        Verb::Completions(flags) => return Ok(commands::completions::completions(host, flags)),
        Verb::Man => return commands::man::man(host),
        _ => {}
    }
    let config = Config::resolve(cli.settings, host)?;
    let reporter = report::reporter(config.face, host);
    if let Verb::Local(Local { verb }) = cli.verb {
        return match verb {
            LocalVerb::Start => commands::local::start(host, &*reporter).await,
            LocalVerb::Stop => commands::local::stop(host, &*reporter).await,
            LocalVerb::Status => commands::local::status(host, &*reporter).await,
        };
    }
    match &cli.verb {
        Verb::Policy(policy) => return commands::policy::policy(host, config, policy).await,
        Verb::Export(export) => return commands::export::export(host, config, &*reporter, export.dir.as_deref()),
        Verb::Init(init) => return commands::init::init(host, &config, init.folder.as_deref()),
        _ => {}
    }
    let session = Session::open(host, config, reporter, &cli.verb).await?;
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
        Verb::Local(_) | Verb::Policy(_) | Verb::Export(_) | Verb::Init(_) | Verb::Completions(_) | Verb::Man => {
            unreachable!("handled above")
        }
    }
}
