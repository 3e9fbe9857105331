//! `chatctl`: AWS's WebSocket chat walkthrough as one command.
//!
//! ```text
//! argv + env + chatctl.toml → Config → declare (× KINDS) → Graph ─ observe → Observed ─ diff → Plan ─ apply → Report
//!           pure                            pure                    reads         pure        writes
//! ```

#![warn(clippy::expect_used, clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used)]

pub mod app;
pub mod arguments;
pub mod aws;
pub mod chat;
pub mod cli;
pub mod commands;
pub mod config;
pub mod deadline;
pub mod engine;
pub mod error;
pub mod handlers;
pub mod host;
pub mod local;
pub mod policy;
pub mod progress;
pub mod report;
pub mod resources;
pub mod template;
pub mod watch;
pub mod websocket;

use crate::arguments::Asked;
use crate::cli::{Cli, Target, Verb};
use crate::commands::{Needs, Nothing, Session};
use crate::config::{Config, Face, Settings};
use crate::deadline::Deadline;
use crate::error::{Error, Exit, Result};
use crate::host::Host;

/// The whole program: arguments without the program's name, the world outside, and how it ends.
pub async fn run(args: &[String], host: &Host) -> Exit {
    let (face, ended) = match arguments::parse(args, &host.env) {
        Ok(Asked::Tell(text)) => {
            host.stdout.write(&text);
            return Exit::Done;
        }
        Ok(Asked::Run(cli)) => {
            let given = cli.settings.clone();
            if !given.quiet {
                for warning in arguments::strangers(&host.env) {
                    host.stderr.prose(&warning);
                }
            }
            let writes = matches!(cli.verb, Verb::Up(_) | Verb::Dev(_) | Verb::Down | Verb::Reap(_) | Verb::Redrive);
            let ended = dispatch(*cli, host).await.map_err(|error| {
                let error = if writes { report::hints::continuing(error) } else { error };
                report::hints::complete(error, &given)
            });
            (Face::guess(&given, host), ended)
        }
        Err(error) => (Face::guess(&arguments::lenient(args, &host.env), host), Err(error)),
    };
    ended.unwrap_or_else(|error| {
        report::error(host, face, &error);
        error.exit
    })
}

/// A line a verb: what it starts from, and where it is done.
async fn dispatch(cli: Cli, host: &Host) -> Result<Exit> {
    let mut start = Start { host, settings: cli.settings };
    match cli.verb {
        Verb::Up(flags) => start.on_aws(Needs::Account, async |s| commands::up::up(s, &flags).await).await,
        Verb::Dev(flags) => {
            start.settings.local = true;
            start.on_aws(Needs::Account, async |s| commands::dev::dev(s, &flags).await).await
        }
        Verb::Down => start.on_aws_or(Needs::Region, commands::down::down, Some(commands::down::nothing)).await,
        Verb::Status => {
            start.on_aws_or(Needs::Handlers, commands::status::status, Some(commands::status::nothing)).await
        }
        Verb::Plan(flags) => start.on_aws(Needs::Handlers, async |s| commands::plan::plan(s, &flags).await).await,
        Verb::List => start.on_aws_or(Needs::Region, commands::list::list, Some(commands::list::nothing)).await,
        Verb::Reap(flags) => start.on_aws(Needs::Region, async |s| commands::reap::reap(s, flags.dry_run).await).await,
        Verb::Verify(flags) => {
            start.on_aws(reach(&flags.target), async |s| commands::verify::verify(s, &flags).await).await
        }
        Verb::Chat(flags) => start.on_aws(reach(&flags.target), async |s| commands::chat::chat(s, &flags).await).await,
        Verb::Open(flags) => start.on_aws(reach(&flags.target), async |s| commands::open::open(s, &flags).await).await,
        Verb::Logs(flags) => start.on_aws(Needs::Region, async |s| commands::logs::logs(s, &flags).await).await,
        Verb::Policy(flags) if flags.sender => start.on_aws(Needs::Region, commands::policy::sender).await,
        Verb::Redrive => start.on_aws(Needs::Region, commands::redrive::redrive).await,
        Verb::Policy(flags) => commands::policy::policy(host, start.config()?, &flags).await,
        Verb::Export(flags) => commands::export::export(host, start.config()?, flags.dir.as_deref()),
        Verb::Init(flags) => commands::init::init(host, &start.config()?, &flags),
        Verb::Local(flags) => {
            let config = start.config()?;
            Deadline::after(config.timeout).bound(commands::local::local(host, &config, flags.verb)).await
        }
        // What is generated depends on nothing around it, not even on a settings file that is broken.
        Verb::Completions(flags) => Ok(commands::completions::completions(host, &flags)),
        Verb::Schema => Ok(commands::init::schema(host)),
        Verb::Man => commands::man::man(host),
    }
}

/// A client that was given its URL needs no AWS at all.
fn reach(target: &Target) -> Needs {
    if target.url.is_some() { Needs::Nothing } else { Needs::Region }
}

/// What a verb starts from: the world outside, and the settings as they were given.
struct Start<'a> {
    host: &'a Host,
    settings: Settings,
}

impl Start<'_> {
    fn config(self) -> Result<Config> {
        Config::resolve(self.settings, self.host)
    }

    async fn on_aws(self, needs: Needs, verb: impl AsyncFnOnce(&Session) -> Result<Exit>) -> Result<Exit> {
        self.on_aws_or(needs, verb, None).await
    }

    /// Does a verb that talks to AWS, within its time, and tells what that went to, where it was asked for. `nothing` is
    /// its answer where no local AWS runs, if it has one.
    async fn on_aws_or(
        self,
        needs: Needs,
        verb: impl AsyncFnOnce(&Session) -> Result<Exit>,
        nothing: Option<fn() -> Nothing>,
    ) -> Result<Exit> {
        let (host, given, config) = (self.host, self.settings.clone(), self.config()?);
        let reporter = report::reporter(config.face, host);
        let deadline = Deadline::after(config.timeout);
        if needs != Needs::Nothing {
            report::github::begin(host, &*reporter, &config);
        }
        let session = Session::open(host, config.clone(), &given, reporter.clone(), needs, deadline.clone());
        let session = match (deadline.bound(Box::pin(session)).await, nothing) {
            (Err(why), Some(nothing)) if why.code == "NotRunning" => {
                return Ok(nothing().tell(host, &config, &*reporter, &report::hints::complete(why, &given)));
            }
            (session, _) => session?,
        };
        let exit = deadline.bound(Box::pin(verb(&session))).await.map_err(|error| {
            // Whatever was cut short could not say itself what stands.
            if error.code == "Deadline" && error.leftovers.is_empty() {
                Error { leftovers: session.ctx.run.book.standing(), ..error }
            } else {
                error
            }
        });
        let face = session.config().face;
        if face.timings && !face.json {
            let colored = report::style::is_colored(face, host, &host.stderr);
            host.stderr.line(report::timings::text(&session.ctx, colored).trim_end());
        }
        exit
    }
}
