//! Which chat a client is to reach, and how it proves who it is.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Needs, Session, url_of};
use crate::app::RouteKey;
use crate::cli;
use crate::config::{Authorizer, Config, Jwt, Settings, TokenPlace};
use crate::deadline::Deadline;
use crate::engine::found::Found;
use crate::engine::kind::Kind;
use crate::error::{Code, Error, Result};
use crate::host::Host;
use crate::progress::Reporter;
use crate::resources::{api, names, route};
use crate::websocket::{Auth, Endpoint, Place};

/// The variables that stand for `--header`, `--query` and `--token`, so that no token has to be an argument.
const HEADER: &str = "CHATCTL_HEADER";
const QUERY: &str = "CHATCTL_QUERY";
const TOKEN: &str = "CHATCTL_TOKEN";
/// In the place of a token: it comes from stdin.
const STDIN: &str = "-";
/// For how long a chat that has moved is looked for at a time.
const LOOK: Duration = Duration::from_secs(30);
/// More than API Gateway takes of either. Bytes.
const LARGEST: u64 = 64 * 1024;

/// The chat that was named, or the deployed one, with what proves who we are to its authorizer.
///
/// # Errors
/// When nothing is deployed under the name, or that cannot be told.
pub async fn endpoint(session: &Session, target: &cli::Target) -> Result<Endpoint> {
    let auth = auth(session, &target.connect)?;
    let url = match &target.url {
        Some(url) => url.clone(),
        None => url_of(&session.ctx.scope, &deployed(session).await?, &session.config().stage),
    };
    Ok(Endpoint { url, auth })
}

/// The same, for clients that stay: with whether it has a route that keeps connections alive. Of a chat that is known by
/// its URL alone, the settings tell.
///
/// # Errors
/// When nothing is deployed under the name, or that cannot be told; a usage error for a token that cannot be read again.
pub async fn to_stay(session: &Session, target: &cli::Target) -> Result<(Endpoint, bool)> {
    if target.connect.token.as_deref() == Some(STDIN) {
        return Err(Error::usage("stdin gives a token only once, and a client that reconnects needs it again")
            .hint("`--token @FILE` reads it from a file, each time; or set `CHATCTL_TOKEN`"));
    }
    let auth = auth(session, &target.connect)?;
    if let Some(url) = &target.url {
        return Ok((Endpoint { url: url.clone(), auth }, session.config().keep_alive));
    }
    let api = deployed(session).await?;
    let ping = names::route(&RouteKey::ping());
    let routes = route::RouteKind.find(&session.ctx.knowing(&api.key, &api.id), "").await?;
    let url = url_of(&session.ctx.scope, &api, &session.config().stage);
    Ok((Endpoint { url, auth }, routes.iter().any(|route| route.key == ping)))
}

/// Where a client that stays finds its chat once it has moved. What it starts from is read anew each time: a local AWS that
/// was started again has other keys.
pub struct Whereabouts {
    host: Host,
    config: Config,
    given: Settings,
    reporter: Arc<dyn Reporter>,
    target: cli::Target,
}

impl Whereabouts {
    pub fn of(session: &Session, target: &cli::Target) -> Self {
        Self {
            host: session.host.clone(),
            config: session.config().clone(),
            given: session.given.clone(),
            reporter: session.ctx.run.reporter.clone(),
            target: target.clone(),
        }
    }

    async fn look(&self) -> Result<Endpoint> {
        let needs = if self.target.url.is_some() { Needs::Nothing } else { Needs::Region };
        let (config, reporter) = (self.config.clone(), self.reporter.clone());
        let session = Session::open(&self.host, config, &self.given, reporter, needs, Deadline::after(LOOK)).await?;
        endpoint(&session, &self.target).await
    }
}

#[async_trait]
impl Place for Whereabouts {
    async fn find(&self) -> Option<Endpoint> {
        Deadline::after(LOOK).bound(Box::pin(self.look())).await.ok()
    }
}

/// # Errors
/// `NotDeployed`, or what cannot be read.
pub async fn deployed(session: &Session) -> Result<Found> {
    let scope = &session.ctx.scope;
    let name = session.config().name.as_str();
    let found = api::ApiKind.find(&session.ctx, name).await?;
    found.into_iter().find(|found| found.key == names::api(scope)).ok_or_else(|| {
        Error::failed(Code::NotDeployed, format!("there is no deployment `{name}` in {}", scope.region))
            .hint("`chatctl up` creates it; `chatctl list` shows those that exist")
    })
}

/// How clients prove who they are: by what was given for it, else as the configured authorizer wants it.
///
/// # Errors
/// A usage error for a header or a query that is not of the form `name=value`, a token that is none, what is in a file that
/// cannot be read, and where there is nothing that the authorizer could take.
pub fn auth(session: &Session, connect: &cli::Connect) -> Result<Auth> {
    let host = &session.host;
    let given = if connect.header.is_empty() && connect.query.is_empty() && connect.token.is_none() {
        let token = host.env.get(TOKEN).map(str::to_owned);
        (lines_of(host, HEADER), lines_of(host, QUERY), token)
    } else {
        let token = connect.token.as_deref().map(|from| read_token(host, from)).transpose()?;
        (connect.header.clone(), connect.query.clone(), token)
    };
    let authorizer = &session.config().authorizer;
    match given {
        (header, query, token) if header.is_empty() && query.is_empty() && token.is_none() => without(session),
        (header, query, None) if query.is_empty() => Ok(Auth::Headers(pairs(host, &header)?)),
        (header, query, None) if header.is_empty() => Ok(Auth::Query(pairs(host, &query)?)),
        (header, query, Some(token)) if header.is_empty() && query.is_empty() => with_token(authorizer, &token),
        _ => Err(Error::usage(format!("more than one of `{HEADER}`, `{QUERY}` and `{TOKEN}` is set"))
            .hint("unset the ones that the authorizer does not read")),
    }
}

/// As the configured authorizer wants it, where nothing was given.
fn without(session: &Session) -> Result<Auth> {
    match (&session.config().authorizer, session.sdk.credentials_provider()) {
        (Authorizer::Iam, Some(credentials)) => Ok(Auth::Iam { credentials, region: session.ctx.scope.region.clone() }),
        (Authorizer::Jwt(_), _) => {
            Err(Error::usage("no token was given, and `authorizer` is `jwt`: whoever connects needs one")
                .hint(TOKEN_HINT))
        }
        _ => Ok(Auth::None),
    }
}

/// `token` where the authorizer looks for it; of a chat that is known by its URL alone, where it does by default.
fn with_token(authorizer: &Authorizer, token: &str) -> Result<Auth> {
    let token = token.trim();
    // What is wrong may still be a secret, so it is not repeated.
    if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic() && c != ',') {
        return Err(
            Error::usage("this is not a token: a token is one word, without spaces or line breaks").hint(TOKEN_HINT)
        );
    }
    Ok(match authorizer {
        Authorizer::None => Auth::Query(vec![("token".to_owned(), token.to_owned())]),
        Authorizer::Jwt(Jwt { token: TokenPlace::Query(name), .. }) => {
            Auth::Query(vec![(name.clone(), token.to_owned())])
        }
        Authorizer::Jwt(Jwt { token: TokenPlace::Header(name), .. }) => {
            Auth::Headers(vec![(name.clone(), format!("Bearer {token}"))])
        }
        Authorizer::Jwt(Jwt { token: TokenPlace::Protocol, .. }) => Auth::Protocol(token.to_owned()),
        Authorizer::Iam | Authorizer::Lambda(_) => {
            return Err(Error::usage("a token is for `authorizer = \"jwt\"` alone")
                .hint("`--header` and `--query` give another authorizer what it reads"));
        }
    })
}

const TOKEN_HINT: &str = "`--token @FILE` reads it from a file, `--token -` from stdin; or set `CHATCTL_TOKEN`";

/// The token that `from` leads to. It is no argument itself, because everybody on this machine may read those.
fn read_token(host: &Host, from: &str) -> Result<String> {
    let path = if from == STDIN { Some("/dev/stdin") } else { from.strip_prefix('@') };
    let Some(path) = path else {
        return Err(
            Error::usage("a token must not be an argument: everybody on this machine can read those").hint(TOKEN_HINT)
        );
    };
    read(&host.cwd.join(path)).map_err(|e| Error::usage(format!("cannot read `{path}`: {e}")))
}

/// What a variable holds, a pair a line: a comma may be part of a token.
fn lines_of(host: &Host, variable: &str) -> Vec<String> {
    host.env.get(variable).into_iter().flat_map(filled_lines).map(str::to_owned).collect()
}

fn filled_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// The pairs of `texts`, each of which is one, or the file of some.
fn pairs(host: &Host, texts: &[String]) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for text in texts {
        let Some(path) = text.strip_prefix('@') else {
            pairs.push(pair(text)?);
            continue;
        };
        let content = read(&host.cwd.join(path)).map_err(|e| Error::usage(format!("cannot read `{path}`: {e}")))?;
        let before = pairs.len();
        for line in filled_lines(&content) {
            pairs.push(pair(line)?);
        }
        if pairs.len() == before {
            return Err(Error::usage(format!("`{path}` holds no `name=value`")));
        }
    }
    Ok(pairs)
}

fn pair(text: &str) -> Result<(String, String)> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
        // The value may be a secret, so it is not repeated.
        Error::usage("a header or query for the authorizer is not of the form `name=value`")
    })?;
    Ok((name.to_owned(), value.to_owned()))
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST { Err(io::Error::other("it has more than 64 KB")) } else { Ok(text) }
}
