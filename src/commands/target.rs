//! Which chat a client is to reach, and how it proves who it is.

use super::{Session, url_of};
use crate::cli;
use crate::config::Authorizer;
use crate::error::{Error, Result};
use crate::resources::{Kind, api};
use crate::websocket::{Auth, Endpoint};

/// The chat that was named, or the deployed one, with what proves who we are to its authorizer.
///
/// # Errors
/// When nothing is deployed under the name, or that cannot be told.
pub async fn endpoint(session: &Session, target: &cli::Target) -> Result<Endpoint> {
    let auth = auth(session, &target.connect)?;
    if let Some(url) = &target.url {
        return Ok(Endpoint { url: url.clone(), auth });
    }
    let scope = &session.ctx.scope;
    let name = session.config().name.as_str();
    let found = api::ApiKind.find(&session.ctx, name, None).await?;
    let api = found.iter().find(|found| found.key == api::key_of(scope)).ok_or_else(|| {
        Error::failed("NotDeployed", format!("there is no deployment `{name}` in {}", scope.region))
            .hint("`chatctl up` creates it; `chatctl list` shows those that exist")
    })?;
    Ok(Endpoint { url: url_of(scope, api, &session.config().stage), auth })
}

/// How clients prove who they are: by what was given for it, else as the configured authorizer wants it.
///
/// # Errors
/// A usage error for a header or a query that is not of the form `name=value`.
pub fn auth(session: &Session, connect: &cli::Connect) -> Result<Auth> {
    let pairs = |texts: &[String]| -> Result<Vec<(String, String)>> {
        let pair = |text: &String| {
            let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
                // The value may be a secret, so it is not repeated.
                Error::usage("a header or query for the authorizer is not of the form `name=value`")
            })?;
            Ok((name.to_owned(), value.to_owned()))
        };
        texts.iter().map(pair).collect()
    };
    Ok(match (&session.config().authorizer, session.sdk.credentials_provider()) {
        _ if !connect.header.is_empty() => Auth::Headers(pairs(&connect.header)?),
        _ if !connect.query.is_empty() => Auth::Query(pairs(&connect.query)?),
        (Authorizer::Iam, Some(credentials)) => Auth::Iam { credentials, region: session.ctx.scope.region.clone() },
        _ => Auth::None,
    })
}
