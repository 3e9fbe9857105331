//! Who may connect: `authorizer`, and what checking tokens needs to know.

use std::collections::BTreeMap;

use http::Uri;

use super::Settings;
use super::checks::checked_arn;
use crate::app::{App, Function};
use crate::error::{Error, Result};

/// Who may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorizer {
    None,
    /// Callers sign with SigV4 and need `execute-api:Invoke`.
    Iam,
    /// Whoever has a token: a function of ours checks it.
    Jwt(Jwt),
    /// The ARN of a Lambda function that decides (REQUEST).
    Lambda(String),
}

/// Which tokens are taken, and where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    /// As tokens name it, to the letter.
    pub issuer: String,
    pub audience: String,
    pub token: TokenPlace,
}

/// Where in the handshake a client has its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenPlace {
    Query(String),
    Header(String),
    /// Offered as a subprotocol, `bearer.<token>`, beside a real one.
    Protocol,
}

/// Characters of each: all of them are variables of a function, which has 4 KB for them.
pub(super) const LONGEST: usize = 512;

/// # Errors
/// A usage error for what is missing, cannot be, or would do nothing.
pub(super) fn checked(flags: &Settings, file: &Settings) -> Result<Authorizer> {
    let text = flags.authorizer.as_ref().or(file.authorizer.as_ref());
    let issuer = flags.jwt_issuer.as_ref().or(file.jwt_issuer.as_ref());
    let audience = flags.jwt_audience.as_ref().or(file.jwt_audience.as_ref());
    let token = flags.jwt_token.as_ref().or(file.jwt_token.as_ref());
    let text = text.map_or("none", String::as_str);
    if text == "jwt" {
        let needed = |what, given: Option<&String>| {
            given.cloned().ok_or_else(|| Error::usage(format!("`--authorizer jwt` needs `{what}` too")))
        };
        return Ok(Authorizer::Jwt(Jwt {
            issuer: checked_issuer(needed("--jwt-issuer", issuer)?)?,
            audience: checked_audience(needed("--jwt-audience", audience)?)?,
            token: TokenPlace::parse(token.map_or("query:token", String::as_str))?,
        }));
    }
    let in_vain = [("jwt-issuer", issuer), ("jwt-audience", audience), ("jwt-token", token)];
    if let Some((what, _)) = in_vain.iter().find(|(_, given)| given.is_some()) {
        return Err(Error::usage(format!("`{what}` is for `--authorizer jwt` alone, and this is `{text}`"))
            .hint(format!("set `--authorizer jwt` too, or leave `{what}` out")));
    }
    match text {
        "none" => Ok(Authorizer::None),
        "iam" => Ok(Authorizer::Iam),
        arn => checked_arn("authorizer", arn.to_owned(), "lambda", "function:")
            .map(Authorizer::Lambda)
            .map_err(|error| error.hint("use `none`, `iam`, `jwt` or the ARN of a Lambda function")),
    }
}

/// Whoever is on the way could make up keys, so the way is TLS; to this machine itself there is no way.
fn checked_issuer(issuer: String) -> Result<String> {
    let url = issuer.parse::<Uri>().ok();
    let authority = url.as_ref().and_then(Uri::authority);
    let host = authority.map_or("", |authority| authority.host());
    let is_trusted = match url.as_ref().and_then(Uri::scheme_str) {
        Some("https") => !host.is_empty(),
        Some("http") => ["127.0.0.1", "localhost", "[::1]"].contains(&host),
        _ => false,
    };
    let is_plain = issuer.len() <= LONGEST
        && issuer.chars().all(|c| c.is_ascii_graphic() && !"?#".contains(c))
        && authority.is_some_and(|authority| !authority.as_str().contains('@'));
    if is_trusted && is_plain {
        return Ok(issuer);
    }
    let rule = "it takes a URL such as `https://issuer.example`, without a query, and `http://` only on 127.0.0.1";
    Err(Error::usage(format!("`{issuer}` is not a valid issuer: {rule}")))
}

fn checked_audience(audience: String) -> Result<String> {
    if (1..=LONGEST).contains(&audience.len()) && audience.chars().all(|c| c.is_ascii_graphic()) {
        return Ok(audience);
    }
    let rule = "it takes 1 to 512 characters, none of which is a space";
    Err(Error::usage(format!("`{audience}` is not a valid audience: {rule}")))
}

impl TokenPlace {
    fn parse(text: &str) -> Result<Self> {
        // What API Gateway takes for the name of a source.
        let is_name = |name: &str| {
            (1..=64).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        match text.split_once(':') {
            None if text == "protocol" => Ok(Self::Protocol),
            Some(("query", name)) if is_name(name) => Ok(Self::Query(name.to_owned())),
            Some(("header", name)) if is_name(name) && !is_of_the_handshake(name) => Ok(Self::Header(name.to_owned())),
            _ => Err(Error::usage(format!(
                "`{text}` is not a valid place of a token: it takes `query:NAME`, `header:NAME` or `protocol`, where NAME is none of the handshake's own"
            ))),
        }
    }
}

impl std::fmt::Display for TokenPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Protocol => f.write_str("protocol"),
        }
    }
}

fn is_of_the_handshake(header: &str) -> bool {
    let header = header.to_ascii_lowercase();
    header.starts_with("sec-websocket-") || ["host", "connection", "upgrade", "origin"].contains(&header.as_str())
}

/// Adds the function that checks tokens.
///
/// # Errors
/// A usage error where a route has a handler of that name.
pub(super) fn serve(app: &mut App, jwt: &Jwt) -> Result<()> {
    let variables = [
        ("JWT_ISSUER", jwt.issuer.clone()),
        ("JWT_AUDIENCE", jwt.audience.clone()),
        ("JWT_TOKEN", jwt.token.to_string()),
    ];
    let environment: BTreeMap<String, String> =
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let ours = Function::authorizer(environment);
    if let Some(other) = app.functions().iter().find(|function| function.name.is_same_to_iam(&ours.name)) {
        let place = other.declared_at.as_ref().map_or_else(String::new, |place| format!("{place}: "));
        return Err(Error::usage(format!(
            "{place}`{}` is the function that checks tokens, and no route may call it",
            other.name
        ))
        .hint("give the handler another name"));
    }
    app.add(ours);
    Ok(())
}
