//! `dev`: brings an app up on the local AWS, and each edit of its settings and handlers after that, until somebody has had
//! enough. An edit that cannot go live is told, and what is live stays.

use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::logs::{Followed, follow};
use super::{Needs, Session, target, up};
use crate::chat::page::Page;
use crate::cli;
use crate::config::{Config, Face};
use crate::deadline::Deadline;
use crate::engine::Converged;
use crate::engine::apply::Step;
use crate::engine::scope::Scope;
use crate::error::{Code, Error, Exit, MANY, Result};
use crate::host::Host;
use crate::host::keys::Terminal;
use crate::report::{self, hints, style};
use crate::watch::Watch;

/// # Errors
/// Those of the first `up`; later ones are told, and it goes on. The interrupt, in the middle of an update.
pub async fn dev(first: &Session, flags: &cli::Dev) -> Result<Exit> {
    let mut watch = Watch::of(watched(first, first.config())).await;
    let ready = up::converged(first).await?;
    up::note(first, &ready.converged);
    up::tell(first, &ready, None);
    first.ctx.run.reporter.settle();
    first.deadline.lift();
    let host = &first.host;
    let (followed, following) = watch::channel(followed(first));
    let mut dev = Dev {
        first,
        current: None,
        live: Some(wish(first)),
        is_broken: false,
        url: ready.url,
        connect: &flags.connect,
        page: None,
        followed,
    };
    let terminal = Terminal::remember().filter(|_| host.stdin_is_terminal && host.stderr.is_terminal);
    let mut keys = terminal.as_ref().and_then(Terminal::keys);
    dev.note(&greeting(first, keys.is_some()));
    let face = first.config().face;
    let color = style::is_colored(face, host, &host.stderr);
    let ended = tokio::select! {
        ended = dev.work(&mut watch, &mut keys) => ended?,
        never = follow(host, color, following), if !face.quiet => match never {},
    };
    first.hint("the deployment stays: `chatctl down` removes it, `chatctl local stop` stops the local AWS");
    Ok(ended)
}

fn greeting(session: &Session, has_keys: bool) -> String {
    let paths = watched(session, session.config());
    let watched =
        paths.iter().map(|path| format!("`{}`", shown(&session.host, path))).collect::<Vec<_>>().join(" and ");
    let keys = if has_keys { "; `r` redeploys, `o` opens the page, `q` ends" } else { "" };
    format!("an edit of {watched} goes live{keys}")
}

/// A path as somebody in the working directory would write it.
fn shown(host: &Host, path: &Path) -> String {
    path.strip_prefix(&host.cwd).unwrap_or(path).display().to_string()
}

struct Dev<'a> {
    first: &'a Session,
    /// That of the last update, once there was one.
    current: Option<Session>,
    /// What is deployed; none where that is not sure.
    live: Option<String>,
    /// Whether what is written now could not go live.
    is_broken: bool,
    url: String,
    connect: &'a cli::Connect,
    page: Option<Page>,
    followed: watch::Sender<Followed>,
}

impl Dev<'_> {
    async fn work(&mut self, watch: &mut Watch, keys: &mut Option<mpsc::Receiver<char>>) -> Result<Exit> {
        // What was edited during the first run.
        self.update(watch, Instant::now(), false).await?;
        loop {
            tokio::select! {
                changed = watch.changed() => {
                    let began = Instant::now();
                    self.note(&format!("{} changed", self.names(&changed)));
                    self.update(watch, began, false).await?;
                }
                key = pressed(keys) => match key {
                    'r' => self.update(watch, Instant::now(), true).await?,
                    'o' => self.open().await,
                    'q' => return Ok(Exit::Done),
                    _ => {}
                },
                () = self.first.host.interrupt.raised(1) => return Ok(Exit::Interrupted),
            }
        }
    }

    /// Makes live what is written now; without `anyway` only if that is not live already.
    ///
    /// # Errors
    /// The interrupt. Everything else is told.
    async fn update(&mut self, watch: &mut Watch, began: Instant, anyway: bool) -> Result<()> {
        match self.updated(watch, began, anyway).await {
            Ok(()) => Ok(()),
            Err(error) if error.exit == Exit::Interrupted => Err(error),
            Err(error) => {
                self.is_broken = true;
                self.tell(error);
                Ok(())
            }
        }
    }

    async fn updated(&mut self, watch: &mut Watch, began: Instant, anyway: bool) -> Result<()> {
        let session = self.read(watch).await;
        // Half of a file is neither wrong nor wanted; the other half comes.
        if !watch.is_still().await {
            return Ok(());
        }
        let session = session?;
        self.refuse_another(&session)?;
        let wish = wish(&session);
        let was_sure = self.live.take();
        if was_sure.as_ref() == Some(&wish) && !anyway {
            self.live = was_sure;
            if std::mem::take(&mut self.is_broken) {
                self.note("this is what is live");
            }
            return Ok(());
        }
        let up::Ready { converged, url, .. } = session.deadline.bound(Box::pin(up::converged(&session))).await?;
        (self.live, self.is_broken) = (Some(wish), false);
        self.note(&summary(&converged, began));
        if self.url != url {
            self.note(&format!("the URL is {url} from now on"));
            self.url = url;
        }
        // A page finds a chat that has moved, but not under another stage.
        if session.config().stage != self.session().config().stage {
            self.page = None;
        }
        self.followed.send_replace(followed(&session));
        self.current = Some(session);
        Ok(())
    }

    /// All that is wanted now, within the time that an update may take.
    async fn read(&self, watch: &mut Watch) -> Result<Session> {
        let (host, given) = (&self.first.host, &self.first.given);
        let config = Config::resolve(given.clone(), host)?;
        watch.set(watched(self.first, &config)).await;
        let deadline = Deadline::after(config.timeout);
        let reporter = report::brief_reporter(self.first.config().face, host);
        let session = Session::open(host, config, given, reporter, Needs::Account, deadline.clone());
        tokio::select! {
            session = deadline.bound(Box::pin(session)) => session,
            () = host.interrupt.raised(1) => Err(Error::new(Exit::Interrupted, Code::Interrupted, "interrupted")),
        }
    }

    /// The settings may say anything, but this run is about one deployment.
    fn refuse_another(&self, session: &Session) -> Result<()> {
        let which = |session: &Session| (session.config().name.clone(), session.ctx.scope.region.clone());
        let ((name, region), now) = (which(self.first), which(session));
        if (&name, &region) == (&now.0, &now.1) {
            return Ok(());
        }
        Err(Error::usage(format!("this run is about `{name}` in {region}, not `{}` in {}", now.0, now.1))
            .hint("end it, and run `chatctl dev` again"))
    }

    /// Shows the page of `open`, which stays for as long as this does.
    async fn open(&mut self) {
        if self.page.is_none() {
            let session = self.session();
            let target = cli::Target { url: None, connect: self.connect.clone() };
            let page = async {
                let (endpoint, keep_alive) = target::to_stay(session, &target).await?;
                let place = Arc::new(target::Whereabouts::of(session, &target));
                Page::serve(&endpoint, place, keep_alive).await
            };
            match page.await {
                Ok(page) => {
                    self.note(&format!("the page is at {}", page.address()));
                    self.page = Some(page);
                }
                Err(error) => self.tell(error),
            }
        }
        if let Some(page) = &mut self.page {
            page.show(&self.first.host);
        }
    }

    fn session(&self) -> &Session {
        self.current.as_ref().unwrap_or(self.first)
    }

    fn names(&self, paths: &[PathBuf]) -> String {
        let (some, rest) = paths.split_at(paths.len().min(MANY));
        let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        some.iter().map(|path| shown(&self.first.host, path)).collect::<Vec<_>>().join(", ") + &more
    }

    fn note(&self, text: &str) {
        self.first.ctx.run.reporter.note(text);
    }

    fn tell(&self, error: Error) {
        let error = hints::complete(hints::staying(error), &self.first.given);
        // The one document of stdout has been printed.
        let face = Face { json: false, ..self.first.config().face };
        report::error(&self.first.host, face, &error);
    }
}

/// The key that is pressed next; never one where there are no keys, or no longer.
async fn pressed(keys: &mut Option<mpsc::Receiver<char>>) -> char {
    if let Some(keys) = keys
        && let Some(key) = keys.recv().await
    {
        return key;
    }
    pending().await
}

/// The files and folders that decide what is wanted.
fn watched(session: &Session, config: &Config) -> Vec<PathBuf> {
    let settings = session.given.config.as_deref().unwrap_or(Path::new("chatctl.toml"));
    let schemas = config.app.routes().iter().filter_map(|route| Some(route.schema.as_ref()?.path.clone()));
    [session.host.cwd.join(settings)].into_iter().chain(config.handlers.clone()).chain(schemas).collect()
}

/// All that is wanted, to be compared with what is wanted later.
fn wish(session: &Session) -> String {
    let Scope { config, bundles, .. } = &*session.ctx.scope;
    let code = config.app.functions().iter().map(|function| bundles.sha256(&function.name));
    format!("{config:?} {:?}", code.collect::<Vec<_>>())
}

fn followed(session: &Session) -> Followed {
    let functions = session.config().app.functions().iter();
    let functions = functions.map(|function| session.config().function_name(&function.name)).collect();
    Followed { aws: session.sdk.clone(), functions }
}

fn summary(converged: &Converged, began: Instant) -> String {
    let seconds = began.elapsed().as_secs_f64();
    let done: Vec<&Step> = converged.steps.iter().filter(|step| step.is_done()).collect();
    let (shown, rest) = done.split_at(done.len().min(MANY));
    let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
    let changes: Vec<String> = shown.iter().map(|step| format!("{} {}", step.key, step.action.done())).collect();
    match changes.len() {
        0 => format!("nothing to change, checked in {seconds:.1} s"),
        _ => format!("live after {seconds:.1} s: {}{more}", changes.join(", ")),
    }
}
