//! The verbs, one file each.

pub mod chat;
pub mod completions;
pub mod dev;
pub mod down;
pub mod export;
pub mod init;
pub mod list;
pub mod local;
pub mod logs;
pub mod man;
pub mod open;
pub mod plan;
pub mod policy;
pub mod reap;
pub mod redrive;
pub mod status;
pub mod target;
pub mod up;
pub mod verify;
mod warnings;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::app::Delivery;
use crate::aws::endpoints::Endpoints;
use crate::aws::identity::console_of;
use crate::aws::{self, Clients};
use crate::config::{Authorizer, Config, Name, Settings};
use crate::deadline::Deadline;
use crate::engine::found::{Found, Observed};
use crate::engine::graph::Graph;
use crate::engine::run::Ctx;
use crate::engine::scope::Scope;
use crate::error::{Error, Exit, Result};
use crate::handlers::{self, Bundles};
use crate::host::Host;
use crate::local::{find, not_running, start, syntax};
use crate::progress::Reporter;
use crate::report::{self, style};
use crate::resources::{KINDS, names, queue};

/// What has to be there before a verb can begin.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    Region,
    /// A region, and the handlers, with which what exists is compared.
    Handlers,
    /// All of that, and an account to deploy to: a local AWS is installed and started where none runs.
    Account,
}

/// What a result is about, and so what it begins with under `-o json`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum About {
    Deployment,
    /// All deployments of an account and region.
    Region,
    /// A chat that is known by its URL alone.
    Url,
}

/// What every result begins with. The account is left away where AWS was not asked for it.
fn head(about: About, config: &Config, region: &str, account: Option<&str>) -> Map<String, Value> {
    let mut head = Map::new();
    if about == About::Deployment {
        head.insert("name".to_owned(), json!(config.name.as_str()));
        head.insert("stage".to_owned(), json!(config.stage));
    }
    if about != About::Url {
        head.insert("region".to_owned(), json!(region));
        head.extend(account.map(|account| ("account".to_owned(), json!(account))));
    }
    head
}

/// How a verb answers where no local AWS runs, and so nothing stands.
pub struct Nothing {
    pub command: &'static str,
    pub about: About,
    pub exit: Exit,
    pub body: Value,
}

impl Nothing {
    /// Tells it; `why` there is nothing is a note.
    pub fn tell(self, host: &Host, config: &Config, reporter: &dyn Reporter, why: &Error) -> Exit {
        reporter.note(&format!("{why}; {}", why.hint.as_deref().unwrap_or_default()));
        let region = config.region.as_deref().unwrap_or(crate::local::REGION);
        if config.face.json {
            let mut body = head(self.about, config, region, None);
            body.extend(self.body.as_object().cloned().unwrap_or_default());
            host.stdout.line(&report::json::document(self.command, Value::Object(body)));
        } else if self.exit == Exit::Absent {
            host.stdout.line(&format!("{} (absent, stage {}) in {region}", config.name, config.stage));
        }
        self.exit
    }
}

/// What every verb that reaches AWS starts from.
pub struct Session {
    pub host: Host,
    pub sdk: SdkConfig,
    pub ctx: Ctx,
    pub graph: Graph,
    /// The settings as they were given, for commands in hints.
    given: Settings,
    /// When the run ends at the latest; lifted by what goes on until somebody has had enough.
    pub deadline: Deadline,
}

impl Session {
    /// Reads handlers, where they matter, and SDK configuration, and sees to the local AWS where it is asked for. Makes
    /// no AWS call, but that it asks whose account this is where an authorizer's function may be of another one.
    ///
    /// # Errors
    /// A usage error: handlers that Lambda will not take, or no region; a local AWS that cannot be had, or `NotRunning`.
    pub async fn open(
        host: &Host,
        mut config: Config,
        given: &Settings,
        reporter: Arc<dyn Reporter>,
        needs: Needs,
        deadline: Deadline,
    ) -> Result<Self> {
        // Handlers that are gone or broken keep nobody from `down`.
        let has_handlers = matches!(needs, Needs::Handlers | Needs::Account);
        let bundles = if has_handlers { bundles(&mut config, &*reporter)? } else { Bundles::default() };
        if let Some(folder) = config.handlers.as_deref().filter(|_| needs == Needs::Account) {
            let skipped = |why: &str| {
                if config.face.verbose {
                    reporter.note(why);
                }
            };
            syntax::check(&host.env, folder, &bundles.entries(&config.app), &config.runtime, skipped).await?;
        }
        let local = match needs {
            _ if !config.local => None,
            Needs::Account => Some(start(host, &*reporter).await?),
            // Who only looks or removes neither installs nor starts one.
            _ => Some(find(host).await?.ok_or_else(|| not_running(host))?),
        };
        let sdk = aws::sdk_config(&config, host, local.as_ref()).await;
        let region = if needs == Needs::Nothing { String::new() } else { aws::region_of(&sdk)? };
        let expires_at = config.ttl.map(|ttl| expiry(&sdk, ttl)).transpose()?;
        // Where only a URL is asked, no service is.
        let endpoints = if needs == Needs::Nothing { Endpoints::default() } else { Endpoints::of(&sdk)? };
        if config.face.verbose {
            endpoints.told().for_each(|line| reporter.note(&line));
        }
        let scope = Scope::new(config, region, endpoints, expires_at, bundles);
        for kind in KINDS.iter().filter(|_| has_handlers) {
            if let Some(warning) = kind.check(&scope)? {
                reporter.note(&format!("warning: {warning}"));
            }
        }
        let mut session = Self::with(host.clone(), sdk, scope, given.clone(), reporter, deadline);
        if needs != Needs::Nothing && matches!(session.config().authorizer, Authorizer::Lambda(_)) {
            let identity = Some(session.ctx.identity().await?.clone());
            session.ctx = session.ctx.with(Scope { identity, ..Scope::clone(&session.ctx.scope) });
            session.graph = Graph::declare(KINDS, &session.ctx.scope);
        }
        Ok(session)
    }

    fn with(
        host: Host,
        sdk: SdkConfig,
        scope: Scope,
        given: Settings,
        reporter: Arc<dyn Reporter>,
        deadline: Deadline,
    ) -> Self {
        let graph = Graph::declare(KINDS, &scope);
        let ctx = Ctx::new(scope, Clients::new(&sdk), reporter, host.interrupt.clone());
        Self { host, sdk, ctx, graph, given, deadline }
    }

    /// The same session for another deployment of this account and region.
    pub fn of(&self, name: Name) -> Self {
        let scope = &self.ctx.scope;
        let config = Config { name, ..scope.config.clone() };
        let bundles = scope.bundles.clone();
        let identity = scope.identity.clone();
        let scope = Scope::new(config, scope.region.clone(), scope.endpoints.clone(), None, bundles);
        let scope = Scope { identity, ..scope };
        let (host, sdk, reporter) = (self.host.clone(), self.sdk.clone(), self.ctx.run.reporter.clone());
        Self::with(host, sdk, scope, self.given.clone(), reporter, self.deadline.clone())
    }

    /// When what was found expires: its API says it, or its table (half made), or nothing does.
    pub fn expires_at(&self, observed: &Observed) -> Option<String> {
        let table = || observed.of_kind(names::TABLE).next();
        let found = self.api(observed).or_else(table)?;
        Some(found.text("expiresAt").to_owned()).filter(|at| !at.is_empty())
    }

    pub fn config(&self) -> &Config {
        &self.ctx.scope.config
    }

    /// Whether text on stdout is coloured.
    pub fn colored(&self) -> bool {
        style::is_colored(self.config().face, &self.host, &self.host.stdout)
    }

    /// The deployment's API, where it stands.
    pub fn api<'a>(&self, observed: &'a Observed) -> Option<&'a Found> {
        observed.get(&names::api(&self.ctx.scope))
    }

    /// Where clients connect (G15); through the emulator where there is one. None without the stage, the last part of it.
    pub fn url(&self, observed: &Observed) -> Option<String> {
        observed.get(&names::stage(&self.ctx.scope))?;
        Some(url_of(&self.ctx.scope, self.api(observed)?, &self.config().stage))
    }

    /// Where back ends post to connections, which SDKs take for their endpoint: the same place by another protocol.
    pub fn callback_url(&self, observed: &Observed) -> Option<String> {
        self.url(observed).map(|url| url.replacen("ws", "http", 1))
    }

    /// Where API Gateway's console shows the API: https, which is what pipelines take for a link. None where there is no
    /// API, or no console for it.
    pub fn console_url(&self, observed: &Observed) -> Option<String> {
        let scope = &self.ctx.scope;
        let (host, api) = (console_of(scope.partition())?, self.api(observed)?);
        let path = format!("apigateway/main/develop/routes?api={}&region={}", api.id, scope.region);
        scope.endpoints.emulator.is_none().then(|| format!("https://{}.{host}/{path}", scope.region))
    }

    /// What of the settings may be more than the account takes: what it has is not known.
    pub fn doubts(&self) -> Vec<String> {
        // H1, of all APIs of the account and its region.
        const QUOTA: i32 = 10_000;
        match self.config().delivery {
            Delivery::Queue { rate } if rate > QUOTA => {
                let more =
                    format!("{rate} posts a second are more than the {QUOTA} requests that an account has by default");
                vec![format!("{more}; the rate falls where posts are refused")]
            }
            _ => vec![],
        }
    }

    /// How many messages could not be delivered; nothing where they go through no queue.
    pub fn dead_letters(&self, observed: &Observed) -> Option<u64> {
        observed.get(&names::dead_letters(&self.ctx.scope))?.attribute(queue::WAITING)?.parse().ok()
    }

    pub fn warn(&self, warning: &str) {
        self.ctx.run.reporter.note(&format!("warning: {warning}"));
    }

    /// Says what to do next, each command such that it reaches this deployment.
    pub fn hint(&self, hint: &str) {
        self.ctx.run.reporter.note(&format!("hint: {}", report::hints::completed(hint, &self.given)));
    }

    /// Tells the pipeline that this runs in, if it does: outputs of the step, and a part of the job's summary.
    pub fn tell_pipeline(&self, outputs: &[(&str, &str)], summary: impl FnOnce() -> String) {
        report::github::tell(&self.host, &*self.ctx.run.reporter, outputs, summary);
    }

    /// Prints a result document.
    pub fn print_json(&self, command: &str, about: About, body: BTreeMap<&str, Value>) {
        let account = self.ctx.run.identity().map(|identity| identity.account.as_str());
        let mut document = head(about, self.config(), &self.ctx.scope.region, account);
        document.extend(body.into_iter().map(|(key, value)| (key.to_owned(), value)));
        if self.config().face.timings {
            document.insert("timings".to_owned(), report::timings::json(&self.ctx));
        }
        self.host.stdout.line(&report::json::document(command, Value::Object(document)));
    }
}

/// The handlers as configured, and the schemas read that the routes name; with `-v`, each file of the user's that goes into their zips is named.
///
/// # Errors
/// A usage error: handlers that Lambda will not take.
pub fn bundles(config: &mut Config, reporter: &dyn Reporter) -> Result<Bundles> {
    handlers::schema::read(&mut config.app)?;
    let bundles = Bundles::load(&config.app, config.handlers.as_deref())?;
    if config.face.verbose && config.handlers.is_some() {
        bundles.files().iter().for_each(|path| reporter.note(&format!("packed {path}")));
    }
    Ok(bundles)
}

/// `<endpoint>/<stage>`, by the endpoint that AWS names, never by a suffix of our own (G15, S2).
pub fn url_of(scope: &Scope, api: &Found, stage: &str) -> String {
    if let Some(endpoint) = &scope.endpoints.emulator {
        let (scheme, host) = match endpoint.split_once("://") {
            Some(("https", host)) => ("wss", host),
            Some((_, host)) => ("ws", host),
            None => ("ws", endpoint.as_str()),
        };
        return format!("{scheme}://{host}/_aws/execute-api/{}/{stage}", api.id);
    }
    let endpoint = api.attribute("endpoint").unwrap_or_default();
    if endpoint.contains("://") { format!("{endpoint}/{stage}") } else { format!("wss://{endpoint}/{stage}") }
}

/// Now, by the clock that the SDK signs with.
pub fn now(sdk: &SdkConfig) -> OffsetDateTime {
    let now = sdk
        .time_source()
        .map_or_else(std::time::SystemTime::now, |clock| aws_smithy_async::time::TimeSource::now(&clock));
    OffsetDateTime::from(now)
}

fn expiry(sdk: &SdkConfig, ttl: Duration) -> Result<String> {
    let at = now(sdk).replace_nanosecond(0).map(|now| now + ttl).ok();
    at.and_then(|at| at.format(&Rfc3339).ok()).ok_or_else(|| Error::usage("the time to live reaches too far ahead"))
}
