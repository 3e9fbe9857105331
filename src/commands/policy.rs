//! `policy`: what the identity that runs this program needs to be allowed, as IAM takes it. Calls nothing, but that what
//! another sender may do is about an API that has to be looked up.

use aws_config::meta::region::ProvideRegion;
use aws_config::profile::region::ProfileFileRegionProvider;

use super::{Session, target};
use crate::aws::endpoints::Endpoints;
use crate::aws::identity::{Identity, partition_of};
use crate::cli::Policy;
use crate::config::Config;
use crate::engine::scope::Scope;
use crate::error::{Code, Error, Exit, Result};
use crate::handlers::Bundles;
use crate::host::Host;
use crate::policy::{self, Extent, boundary, deployer, github_trust};
use crate::resources::KINDS;

/// # Errors
/// A usage error: no region, or something that is no account or repository.
pub async fn policy(host: &Host, config: Config, args: &Policy) -> Result<Exit> {
    let account = args.account.clone().map(account).transpose()?.unwrap_or_else(|| "*".to_owned());
    let region = region(host, &config).await?;
    let mut scope = Scope::new(config, region, Endpoints::default(), None, Bundles::default());
    let partition = partition_of(&scope.region).to_owned();
    scope.identity = Some(Identity { partition, account });
    for kind in KINDS {
        kind.check(&scope)?;
    }
    let workflows = args.github.iter().map(|text| repository(text)).collect::<Result<Vec<_>>>()?;
    let document = match (workflows.as_slice(), args.boundary) {
        ([], false) => deployer(&scope, if args.read_only { Extent::ReadOnly } else { Extent::Full }),
        ([], true) => boundary(&scope),
        (workflows, _) => github_trust(&scope, workflows),
    };
    host.stdout.line(&crate::host::json(&format!("{document:#}")));
    Ok(Exit::Done)
}

/// # Errors
/// Where nothing is deployed: a policy for any API would let its holder post to all of them.
pub async fn sender(session: &Session) -> Result<Exit> {
    let api = target::deployed(session).await.map_err(|error| {
        let exit = if error.code == Code::NotDeployed.as_str() { Exit::Absent } else { error.exit };
        Error { exit, ..error }
    })?;
    let scope = Scope::clone(&session.ctx.scope);
    let identity = Some(session.ctx.identity().await?.clone());
    let scope = Scope { identity, ids: [(api.key, api.id)].into(), ..scope };
    session.host.stdout.line(&crate::host::json(&format!("{:#}", policy::sender(&scope))));
    Ok(Exit::Done)
}

/// By flag, file, environment and profile, as the SDK's own chain has it, but without asking an instance (R6).
async fn region(host: &Host, config: &Config) -> Result<String> {
    let named = config
        .region
        .clone()
        .or_else(|| ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|name| host.env.get(name)).map(str::to_owned));
    if let Some(region) = named {
        return Ok(region);
    }
    if let Some(region) = host.aws.as_ref().and_then(|sdk| sdk.region()) {
        return Ok(region.to_string());
    }
    let mut profile = ProfileFileRegionProvider::builder();
    if let Some(name) = &config.profile {
        profile = profile.profile_name(name);
    }
    match profile.build().region().await {
        Some(region) => Ok(region.to_string()),
        None => Err(Error::usage("no AWS region is set").hint("pass `--region eu-central-1` or set `AWS_REGION`")),
    }
}

fn account(text: String) -> Result<String> {
    if text.len() == 12 && text.chars().all(|c| c.is_ascii_digit()) {
        return Ok(text);
    }
    Err(Error::usage(format!("`{text}` is not a valid account: it takes the 12 digits of its id"))
        .hint("`aws sts get-caller-identity --query Account --output text` prints it"))
}

/// `OWNER/REPO`, and what may follow it after a colon. GitHub compares with the case of the letters.
fn repository(text: &str) -> Result<(&str, Option<&str>)> {
    let (repository, subject) = match text.split_once(':') {
        Some((repository, subject)) => (repository, Some(subject)),
        None => (text, None),
    };
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let fits = repository.split_once('/').is_some_and(|(owner, name)| is_name(owner) && is_name(name))
        && subject.is_none_or(|subject| !subject.is_empty() && subject.chars().all(|c| c.is_ascii_graphic()));
    if fits {
        return Ok((repository, subject));
    }
    Err(Error::usage(format!("`{text}` is not a valid repository: it is not of the form `owner/repo`"))
        .hint("to narrow it, add what follows in the subject of GitHub's token, such as `owner/repo:environment:prod`"))
}
