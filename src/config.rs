//! Flags, environment, `chatctl.toml` and defaults become one validated, frozen `Config`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::functions::FUNCTIONS;
use crate::host::Host;

/// What one deployment is to be, and where. Nothing in it changes after it was made.
#[derive(Clone, Debug)]
pub struct Config {
    pub name: Name,
    pub stage: String,
    /// The user's own tags, without ours.
    pub tags: BTreeMap<String, String>,
    pub ttl: Option<Duration>,
    pub permissions_boundary: Option<String>,
    pub log_retention_days: i32,
    pub role_path: String,
    /// Roles brought along instead of ours, by function name.
    pub role_arns: BTreeMap<String, String>,
    pub kms_key: Option<String>,
    /// MB, of every function.
    pub memory: Option<i32>,
    /// Seconds.
    pub function_timeout: i32,
    pub architecture: String,
    pub runtime: String,
    pub throttle: Option<Throttle>,
    pub authorizer: Authorizer,
    /// A folder with the handlers instead of the embedded ones.
    pub handlers: Option<PathBuf>,
    pub region: Option<String>,
    pub profile: Option<String>,
    pub local: bool,
    /// How long a whole run may take.
    pub timeout: Duration,
    pub face: Face,
}

/// How results and progress are shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Face {
    pub json: bool,
    pub quiet: bool,
    pub verbose: bool,
    /// What the time went to, after the result.
    pub timings: bool,
    pub color: Color,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

/// Stage throttling: both numbers, because a lone one is stored as zero and refuses everybody (G12).
#[derive(Clone, Copy, Debug)]
pub struct Throttle {
    /// Requests a second.
    pub rate: i32,
    pub burst: i32,
}

/// Who may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorizer {
    None,
    /// Callers sign with SigV4 and need `execute-api:Invoke`.
    Iam,
    /// The ARN of a Lambda function that decides (REQUEST).
    Lambda(String),
}

/// The name of a deployment.
///
/// At most 32 characters, so that the longest derived name, a role's
/// `<name>-<region>-onDisconnect`, fits IAM's 64 (I2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    pub const MAX: usize = 32;

    /// # Errors
    /// A usage error that names the broken rule.
    pub fn parse(text: &str) -> Result<Self> {
        let rule = if text.is_empty() {
            "it is empty"
        } else if text.len() > Self::MAX {
            "it is longer than 32 characters"
        } else if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            "it does not start with a letter or a digit"
        } else if !text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
            "it has characters other than letters, digits, `-` and `_`"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(Error::usage(format!("`{text}` is not a valid name: {rule}"))
            .hint("choose one like `chat` or `pr-42`, or let `--name-from` make one from a branch name"))
    }

    /// A valid name for any text, such as a branch: the same text always gives the same name, and different
    /// texts different ones, because whatever had to be changed is made up for by a hash of the whole text.
    pub fn from_text(text: &str) -> Self {
        const HASH: usize = 8;
        if let Ok(name) = Self::parse(text)
            && text.chars().all(|c| !c.is_ascii_uppercase())
            && !Self::has_hash_tail(text)
        {
            return name;
        }
        let hash: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        let mut slug = String::new();
        for c in text.chars() {
            match c {
                c if c.is_ascii_alphanumeric() => slug.push(c.to_ascii_lowercase()),
                _ if slug.ends_with('-') || slug.is_empty() => {}
                _ => slug.push('-'),
            }
        }
        slug.truncate(Self::MAX - HASH - 1);
        let slug = slug.trim_end_matches('-');
        let slug = if slug.is_empty() { "x" } else { slug };
        Self(format!("{slug}-{}", &hash[..HASH]))
    }

    /// Whether `text` could itself be the outcome of shortening: then it is hashed as well.
    fn has_hash_tail(text: &str) -> bool {
        text.rsplit_once('-').is_some_and(|(_, tail)| tail.len() == 8 && tail.chars().all(|c| c.is_ascii_hexdigit()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The settings as they are written, in flags and in `chatctl.toml`, before they are checked.
///
/// One definition serves both, so that neither can know an option that the other does not.
#[derive(Clone, Debug, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Settings {
    /// Name of the deployment; everything in AWS is named and tagged after it [default: chat]
    #[arg(long, global = true, help_heading = "Deployment", conflicts_with = "name_from")]
    pub name: Option<String>,
    /// Make the name from any text, such as a branch: valid, stable, without collisions
    #[arg(long, global = true, help_heading = "Deployment", value_name = "TEXT")]
    #[serde(skip)]
    pub name_from: Option<String>,
    /// Stage of the API [default: prod]
    #[arg(long, global = true, help_heading = "Deployment")]
    pub stage: Option<String>,
    /// A tag for everything that can carry one (repeatable)
    #[arg(long = "tag", global = true, help_heading = "Deployment", value_name = "KEY=VALUE")]
    #[serde(skip)]
    pub tag: Vec<String>,
    #[arg(skip)]
    pub tags: BTreeMap<String, String>,
    /// How long the deployment may live before `reap` removes it, such as 72h; every `up` renews it
    #[arg(long, global = true, help_heading = "Deployment", value_name = "DURATION")]
    pub ttl: Option<String>,
    /// Who may connect: none, iam, or the ARN of a Lambda function (REQUEST) [default: none]
    #[arg(long, global = true, help_heading = "Deployment")]
    pub authorizer: Option<String>,
    /// Stage throttling, requests a second; needs --throttle-burst
    #[arg(long, global = true, help_heading = "Deployment", value_name = "N")]
    pub throttle_rate: Option<i32>,
    /// Stage throttling, burst; needs --throttle-rate
    #[arg(long, global = true, help_heading = "Deployment", value_name = "N")]
    pub throttle_burst: Option<i32>,

    /// Folder with the handlers, instead of those built in
    #[arg(long, global = true, help_heading = "Functions", value_name = "DIR")]
    pub handlers: Option<PathBuf>,
    /// Memory of each function in MB [default: 512 for sendMessage, 256 for the others]
    #[arg(long, global = true, help_heading = "Functions", value_name = "MB")]
    pub memory: Option<i32>,
    /// Timeout of the functions in seconds [default: 15]
    #[arg(long, global = true, help_heading = "Functions", value_name = "SECONDS")]
    pub function_timeout: Option<i32>,
    /// Processor of the functions: arm64 or x86_64 [default: arm64]
    #[arg(long, global = true, help_heading = "Functions")]
    pub architecture: Option<String>,
    /// Node.js runtime of the functions [default: nodejs24.x]
    #[arg(long, global = true, help_heading = "Functions")]
    pub runtime: Option<String>,
    /// How long the functions' logs are kept [default: 14]
    #[arg(long, global = true, help_heading = "Functions", value_name = "N")]
    pub log_retention_days: Option<i32>,

    /// Permissions boundary of the roles
    #[arg(long, global = true, help_heading = "Security", value_name = "ARN")]
    pub permissions_boundary: Option<String>,
    /// Path of the roles [default: /chatctl/]
    #[arg(long, global = true, help_heading = "Security", value_name = "PATH")]
    pub role_path: Option<String>,
    /// A role of yours for a function, instead of one made here (repeatable)
    #[arg(long = "role-arn", global = true, help_heading = "Security", value_name = "FUNCTION=ARN")]
    #[serde(skip)]
    pub role_arn: Vec<String>,
    #[arg(skip)]
    pub role_arns: BTreeMap<String, String>,
    /// KMS key that encrypts the table, instead of the one AWS owns
    #[arg(long, global = true, help_heading = "Security", value_name = "ARN")]
    pub kms_key: Option<String>,

    /// AWS region
    #[arg(long, global = true, help_heading = "Where")]
    pub region: Option<String>,
    /// Profile of the AWS configuration files
    #[arg(long, global = true, help_heading = "Where")]
    pub profile: Option<String>,
    /// Use a local AWS on this machine: no account, no credentials
    #[arg(long, global = true, help_heading = "Where")]
    #[serde(skip)]
    pub local: bool,
    /// Settings file [default: chatctl.toml, where there is one]
    #[arg(long, global = true, help_heading = "Where", value_name = "PATH")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// How long the whole run may take [default: 10m]
    #[arg(long, global = true, help_heading = "How", value_name = "DURATION")]
    pub timeout: Option<String>,
    /// Result on stdout as text or as one JSON document [default: text]
    #[arg(long, short, global = true, help_heading = "How", value_name = "FORMAT")]
    pub output: Option<String>,
    /// No progress and no notes; errors only
    #[arg(long, short, global = true, help_heading = "How")]
    #[serde(skip)]
    pub quiet: bool,
    /// Every AWS call and how long it took
    #[arg(long, short, global = true, help_heading = "How")]
    #[serde(skip)]
    pub verbose: bool,
    /// What the time went to: the steps as a waterfall, those that decided how long it took marked
    #[arg(long, global = true, help_heading = "How")]
    #[serde(skip)]
    pub timings: bool,
    /// Colours: auto, always or never [default: auto]
    #[arg(long, global = true, help_heading = "How", value_name = "WHEN")]
    pub color: Option<String>,
}

/// What the name of every connection table ends in.
pub const TABLE_SUFFIX: &str = "-connections";

/// What CloudWatch Logs accepts for a retention, in days.
const RETENTION_DAYS: [i32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// The longest handshake integration that API Gateway waits for (G7), which bounds a function's timeout.
const LONGEST_FUNCTION_TIMEOUT: i32 = 29;

impl Config {
    /// Merges `flags` (with the environment already in them) over the file over the defaults, and checks all of it.
    ///
    /// # Errors
    /// A usage error for the first rule that is broken, before anything is touched.
    pub fn resolve(flags: Settings, host: &Host) -> Result<Self> {
        let file = read_file(&flags, host)?.unwrap_or_default();
        let face = Face::of(&flags, &file)?;
        let name = match (&flags.name, &flags.name_from, &file.name) {
            (Some(name), _, _) => Name::parse(name)?,
            (None, Some(text), _) => Name::from_text(text),
            (None, None, Some(name)) => Name::parse(name)?,
            (None, None, None) => Name("chat".to_owned()),
        };
        let config = Self {
            name,
            stage: stage(flags.stage.or(file.stage))?,
            tags: tags(&flags.tag, file.tags)?,
            ttl: flags.ttl.or(file.ttl).map(|text| duration("ttl", &text)).transpose()?,
            permissions_boundary: flags
                .permissions_boundary
                .or(file.permissions_boundary)
                .map(|arn| checked_arn("permissions boundary", arn, "iam", "policy/"))
                .transpose()?,
            log_retention_days: retention(flags.log_retention_days.or(file.log_retention_days))?,
            role_path: role_path(flags.role_path.or(file.role_path))?,
            role_arns: role_arns(&flags.role_arn, file.role_arns)?,
            kms_key: flags
                .kms_key
                .or(file.kms_key)
                .map(|arn| checked_arn("KMS key", arn, "kms", "key/"))
                .transpose()?,
            memory: flags.memory.or(file.memory).map(|mb| in_range("memory", mb, 128, 10_240, "MB")).transpose()?,
            function_timeout: in_range(
                "function timeout",
                flags.function_timeout.or(file.function_timeout).unwrap_or(15),
                1,
                LONGEST_FUNCTION_TIMEOUT,
                "seconds",
            )?,
            architecture: one_of(
                "architecture",
                flags.architecture.or(file.architecture).as_deref().unwrap_or("arm64"),
                &["arm64", "x86_64"],
            )?,
            runtime: runtime(flags.runtime.or(file.runtime))?,
            throttle: throttle(
                flags.throttle_rate.or(file.throttle_rate),
                flags.throttle_burst.or(file.throttle_burst),
            )?,
            authorizer: authorizer(flags.authorizer.or(file.authorizer))?,
            handlers: match (flags.handlers, file.handlers) {
                (Some(dir), _) => Some(host.cwd.join(dir)),
                (None, Some(dir)) => Some(config_folder(flags.config.as_deref(), host).join(dir)),
                (None, None) => None,
            },
            region: flags.region.or(file.region).map(region).transpose()?,
            profile: flags.profile.or(file.profile),
            local: flags.local,
            timeout: duration("timeout", flags.timeout.or(file.timeout).as_deref().unwrap_or("10m"))?,
            face,
        };
        Ok(config)
    }

    pub fn function_name(&self, function: &str) -> String {
        format!("{}-{function}", self.name)
    }

    pub fn table_name(&self) -> String {
        format!("{}{TABLE_SUFFIX}", self.name)
    }
}

impl Face {
    /// How to show an error, even one about the settings themselves: as far as they can be understood.
    pub fn guess(flags: &Settings, host: &Host) -> Self {
        let file = read_file(flags, host).ok().flatten().unwrap_or_default();
        let json = flags.output.as_deref().or(file.output.as_deref()) == Some("json");
        Self::of(flags, &file).unwrap_or(Self { json, ..Self::default() })
    }

    fn of(flags: &Settings, file: &Settings) -> Result<Self> {
        let output = flags.output.as_deref().or(file.output.as_deref()).unwrap_or("text");
        let color = flags.color.as_deref().or(file.color.as_deref()).unwrap_or("auto");
        Ok(Self {
            json: one_of("output", output, &["text", "json"])? == "json",
            quiet: flags.quiet,
            verbose: flags.verbose,
            timings: flags.timings,
            color: match one_of("color", color, &["auto", "always", "never"])?.as_str() {
                "always" => Color::Always,
                "never" => Color::Never,
                _ => Color::Auto,
            },
        })
    }
}

/// The settings file: the one that was named, which must exist, or `chatctl.toml` where there is one.
fn read_file(flags: &Settings, host: &Host) -> Result<Option<Settings>> {
    let path = host.cwd.join(flags.config.as_deref().unwrap_or(Path::new("chatctl.toml")));
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && flags.config.is_none() => return Ok(None),
        Err(error) => return Err(Error::usage(format!("cannot read `{}`: {error}", path.display()))),
    };
    toml::from_str(&text).map(Some).map_err(|error| file_error(&path, &text, &error))
}

fn config_folder(named: Option<&Path>, host: &Host) -> PathBuf {
    named.and_then(Path::parent).map_or_else(|| host.cwd.clone(), |folder| host.cwd.join(folder))
}

/// Where in the file the error is, and what was probably meant.
fn file_error(path: &Path, text: &str, error: &toml::de::Error) -> Error {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    let message = error.message();
    let failure = Error::usage(format!("{}:{line}:{column}: {message}", path.display()));
    match suggestion(message) {
        Some(key) => failure.hint(format!("did you mean `{key}`?")),
        None => failure,
    }
}

/// The nearest of the keys that serde lists behind an unknown one.
fn suggestion(message: &str) -> Option<&str> {
    let mut quoted = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    quoted
        .map(|key| (strsim::jaro_winkler(unknown, key), key))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, key)| key)
}

fn stage(text: Option<String>) -> Result<String> {
    let Some(text) = text else { return Ok("prod".to_owned()) };
    let fits =
        (1..=128).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if fits {
        return Ok(text);
    }
    Err(Error::usage(format!("`{text}` is not a valid stage: it takes 1 to 128 letters, digits, `-` and `_`")))
}

/// Ours may not be overwritten, and all must fit IAM, the narrowest of the services (I6, T3).
fn tags(flags: &[String], file: BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let mut tags = file;
    for pair in flags {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| Error::usage(format!("`{pair}` is not a valid tag: it is not of the form `key=value`")))?;
        tags.insert(key.to_owned(), value.to_owned());
    }
    let mut folded = BTreeSet::new();
    for (key, value) in &tags {
        let allowed = |text: &str| text.chars().all(|c| c.is_alphanumeric() || " _.:/=+-@".contains(c));
        let lower = key.to_lowercase();
        let rule = if key.is_empty() || key.chars().count() > 128 {
            "a key has 1 to 128 characters"
        } else if value.chars().count() > 256 {
            "a value has at most 256 characters"
        } else if !allowed(key) || !allowed(value) {
            "keys and values take letters, digits, spaces and `_ . : / = + - @`"
        } else if lower.starts_with("aws:") {
            "keys that start with `aws:` are reserved by AWS"
        } else if lower.starts_with("chatctl:") {
            "keys that start with `chatctl:` are ours"
        } else if !folded.insert(lower) {
            "IAM takes keys that differ only in case for the same"
        } else {
            continue;
        };
        return Err(Error::usage(format!("`{key}={value}` is not a valid tag: {rule}")));
    }
    // 50 a resource, of which three are ours.
    if tags.len() > 47 {
        return Err(Error::usage(format!("{} tags are too many: AWS allows 50, and 3 are ours", tags.len())));
    }
    Ok(tags)
}

/// # Errors
/// A usage error that names `what` and shows the form.
pub fn duration(what: &str, text: &str) -> Result<Duration> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration > Duration::ZERO && duration <= Duration::from_secs(3650 * 86_400) => Ok(duration),
        _ => Err(Error::usage(format!(
            "`{text}` is not a valid {what}: it takes a duration such as `90s`, `10m` or `72h`"
        ))),
    }
}

fn retention(days: Option<i32>) -> Result<i32> {
    let days = days.unwrap_or(14);
    if RETENTION_DAYS.contains(&days) {
        return Ok(days);
    }
    let allowed: Vec<String> = RETENTION_DAYS.iter().map(ToString::to_string).collect();
    Err(Error::usage(format!("{days} is not a valid log retention: CloudWatch Logs takes {} days", allowed.join(", "))))
}

fn role_path(text: Option<String>) -> Result<String> {
    let Some(path) = text else { return Ok("/chatctl/".to_owned()) };
    let fits = path.len() <= 512
        && path.starts_with('/')
        && path.ends_with('/')
        && path.chars().all(|c| ('!'..='~').contains(&c));
    if fits {
        return Ok(path);
    }
    Err(Error::usage(format!("`{path}` is not a valid role path: it begins and ends with `/`, such as `/chatctl/`")))
}

fn role_arns(flags: &[String], file: BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let mut arns = file;
    for pair in flags {
        let (function, arn) = pair.split_once('=').ok_or_else(|| {
            Error::usage(format!("`{pair}` is not a valid role: it is not of the form `function=ARN`"))
        })?;
        arns.insert(function.to_owned(), arn.to_owned());
    }
    let names = FUNCTIONS.map(|function| function.name);
    for (function, arn) in &arns {
        one_of("function", function, &names)?;
        checked_arn("role", arn.clone(), "iam", "role/")?;
    }
    Ok(arns)
}

fn throttle(rate: Option<i32>, burst: Option<i32>) -> Result<Option<Throttle>> {
    match (rate, burst) {
        (None, None) => Ok(None),
        (Some(rate), Some(burst)) => Ok(Some(Throttle {
            rate: in_range("throttle rate", rate, 1, 1_000_000, "requests a second")?,
            burst: in_range("throttle burst", burst, 1, 1_000_000, "requests")?,
        })),
        // A block with one number stores zero for the other, and zero refuses every connection (G12).
        _ => Err(Error::usage("throttling needs both `throttle-rate` and `throttle-burst`, or neither")),
    }
}

fn authorizer(text: Option<String>) -> Result<Authorizer> {
    match text.as_deref() {
        None | Some("none") => Ok(Authorizer::None),
        Some("iam") => Ok(Authorizer::Iam),
        Some(arn) => checked_arn("authorizer", arn.to_owned(), "lambda", "function:")
            .map(Authorizer::Lambda)
            .map_err(|error| error.hint("use `none`, `iam` or the ARN of a Lambda function")),
    }
}

fn runtime(text: Option<String>) -> Result<String> {
    let runtime = text.unwrap_or_else(|| "nodejs24.x".to_owned());
    let fits = runtime
        .strip_prefix("nodejs")
        .and_then(|rest| rest.strip_suffix(".x"))
        .is_some_and(|version| !version.is_empty() && version.chars().all(|c| c.is_ascii_digit()));
    if fits {
        return Ok(runtime);
    }
    Err(Error::usage(format!("`{runtime}` is not a valid runtime: the handlers need Node.js, such as `nodejs24.x`")))
}

fn region(text: String) -> Result<String> {
    let parts: Vec<&str> = text.split('-').collect();
    let fits = parts.len() >= 3
        && text.len() <= 16
        && parts[..parts.len() - 1].iter().all(|p| !p.is_empty() && p.chars().all(|c| c.is_ascii_lowercase()))
        && parts[parts.len() - 1].parse::<u8>().is_ok();
    if fits {
        return Ok(text);
    }
    Err(Error::usage(format!("`{text}` is not a valid region: it takes one such as `eu-central-1`")))
}

fn checked_arn(what: &str, arn: String, service: &str, resource: &str) -> Result<String> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let account = |text: &str| text.len() == 12 && text.chars().all(|c| c.is_ascii_digit());
    let fits = parts.len() == 6
        && parts[0] == "arn"
        && parts[1].starts_with("aws")
        && parts[2] == service
        && (account(parts[4]) || (service == "iam" && parts[4] == "aws"))
        && parts[5].strip_prefix(resource).is_some_and(|rest| !rest.is_empty())
        && !arn.contains(char::is_whitespace);
    if fits {
        return Ok(arn);
    }
    Err(Error::usage(format!(
        "`{arn}` is not a valid {what}: it takes an ARN such as `arn:aws:{service}:{}:123456789012:{resource}…`",
        if service == "iam" { "" } else { "eu-central-1" }
    )))
}

fn one_of(what: &str, text: &str, allowed: &[&str]) -> Result<String> {
    if allowed.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(Error::usage(format!("`{text}` is not a valid {what}: it takes {}", allowed.join(" or "))))
}

fn in_range(what: &str, value: i32, from: i32, to: i32, unit: &str) -> Result<i32> {
    if (from..=to).contains(&value) {
        return Ok(value);
    }
    Err(Error::usage(format!("{value} is not a valid {what}: it takes {from} to {to} {unit}")))
}
