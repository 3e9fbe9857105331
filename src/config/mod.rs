//! Flags, environment, `chatctl.toml` and defaults become one validated, frozen `Config`.

mod authorizer;
mod checks;
mod file;
mod name;
mod routes;
#[cfg(test)]
mod schema;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::app::{App, Delivery, FunctionName, RouteKey};
use crate::error::{Error, Result};
use crate::host::Host;
use checks::{
    ARCHITECTURES, COLORS, CONCURRENCY, FUNCTION_TIMEOUT, MEMORY, MESSAGE_SIZES, OUTPUTS, api_name, checked_arn,
    delivery, description, in_range, message_throttle, one_of, region, retention, role_arns, role_path, runtime, stage,
    tags, throttle,
};

pub use crate::app::Throttle;
pub use authorizer::{Authorizer, Jwt, TokenPlace};
pub use checks::duration;
pub use name::Name;
pub use settings::Settings;

/// What one deployment is to be, and where. Nothing in it changes after it was made.
#[derive(Clone, Debug)]
pub struct Config {
    pub name: Name,
    pub app: App,
    pub stage: String,
    /// What the API is shown as; it is known by its tags.
    pub api_name: String,
    /// Empty where there is none.
    pub description: String,
    /// The user's own tags, without ours.
    pub tags: BTreeMap<String, String>,
    pub ttl: Option<Duration>,
    pub permissions_boundary: Option<String>,
    pub log_retention_days: i32,
    /// Who is told when messages fail to reach everybody, if there is to be an alarm.
    pub alarm_topic: Option<String>,
    pub role_path: String,
    /// Roles brought along instead of ours, by function name.
    pub role_arns: BTreeMap<String, String>,
    pub kms_key: Option<String>,
    /// The attributes of rows by which the table can be asked, each by an index of its name.
    pub table_indexes: BTreeSet<String>,
    /// Whether there is a route `ping` that answers without a function.
    pub keep_alive: bool,
    pub delivery: Delivery,
    /// The largest `data` of a message, KB.
    pub message_size: i32,
    /// Runs at once of the function behind `sendmessage`, where that is limited.
    pub reserved_concurrency: Option<i32>,
    /// How many messages the `sendmessage` route takes; where there is none, what `throttle` says holds for it too.
    pub message_throttle: Option<Throttle>,
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
    /// How long a whole run may take; what goes on until somebody has had enough must have begun by then.
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

/// What `sendMessage` itself takes where nothing else is set (`lambda/sendMessage.mjs`). KB.
pub const MESSAGE_SIZE: i32 = 32;

/// What the `sendmessage` route takes where nothing else is set: 20 messages a second for 400 people leave a fifth of an
/// account's 10,000 requests a second, and keep fewer functions busy than the ten of a new one (`docs/delivery.md`).
pub const MESSAGE_THROTTLE: Throttle = Throttle { rate: 20, burst: 40 };

/// Posts a second of the worker where nothing else is set (`lambda/paced.mjs`): half of what an account may do.
pub const DELIVERY_RATE: i32 = 5_000;

/// What the name of every connection table ends in.
pub const TABLE_SUFFIX: &str = "-connections";

impl Config {
    /// Merges `flags` (with the environment already in them) over the file over the defaults, and checks all of it.
    ///
    /// # Errors
    /// A usage error for the first rule that is broken, before anything is touched.
    pub fn resolve(flags: Settings, host: &Host) -> Result<Self> {
        let (file, source) = file::read(&flags, host)?.unwrap_or_default();
        let face = Face::of(&flags, &file)?;
        let name = match (&flags.name, &flags.name_from, &file.name) {
            (Some(name), _, _) => Name::parse(name)?,
            // A pipeline whose branch is not set would share one deployment with all others of that kind.
            (None, Some(text), _) if text.trim().is_empty() => {
                return Err(Error::usage("`--name-from` got an empty text, which would give everybody the same name")
                    .hint("perhaps the variable that it comes from is empty; `--name` takes a name as it is"));
            }
            (None, Some(text), _) => Name::from_text(text),
            (None, None, Some(name)) => Name::parse(name)?,
            (None, None, None) => Name::default(),
        };
        let authorizer = authorizer::checked(&flags, &file)?;
        let throttle =
            throttle(flags.throttle_rate.or(file.throttle_rate), flags.throttle_burst.or(file.throttle_burst))?;
        let delivery = delivery(flags.delivery.or(file.delivery), flags.delivery_rate.or(file.delivery_rate))?;
        let mut app = routes::app(&file.routes, delivery, &source)?;
        if let Authorizer::Jwt(jwt) = &authorizer {
            authorizer::serve(&mut app, jwt)?;
        }
        let keep_alive = flags.keep_alive.or(file.keep_alive).unwrap_or(false);
        if keep_alive && app.route(RouteKey::ping().as_str()).is_some() {
            return Err(Error::usage("`keep-alive` makes the route `ping`, which `[routes.ping]` makes too")
                .hint("answer pings in your own handler, or let API Gateway do it: not both"));
        }
        let config = Self {
            api_name: api_name(flags.api_name.or(file.api_name), &name)?,
            description: description(flags.description.or(file.description))?,
            name,
            stage: stage(flags.stage.or(file.stage))?,
            table_indexes: routes::table_indexes(&file.table_indexes, &source)?,
            tags: tags(&flags.tag, file.tags)?,
            ttl: flags.ttl.or(file.ttl).map(|text| duration("ttl", &text)).transpose()?,
            permissions_boundary: flags
                .permissions_boundary
                .or(file.permissions_boundary)
                .map(|arn| checked_arn("permissions boundary", arn, "iam", "policy/"))
                .transpose()?,
            log_retention_days: retention(flags.log_retention_days.or(file.log_retention_days))?,
            alarm_topic: flags.alarm_topic.or(file.alarm_topic).map(checks::alarm_topic).transpose()?,
            role_path: role_path(flags.role_path.or(file.role_path))?,
            role_arns: role_arns(&app, &flags.role_arn, file.role_arns)?,
            kms_key: flags
                .kms_key
                .or(file.kms_key)
                .map(|arn| checked_arn("KMS key", arn, "kms", "key/"))
                .transpose()?,
            keep_alive,
            message_throttle: message_throttle(
                flags.message_rate.or(file.message_rate),
                flags.message_burst.or(file.message_burst),
                throttle.is_some(),
            )?,
            delivery,
            message_size: in_range(
                "message size",
                flags.message_size.or(file.message_size).unwrap_or(MESSAGE_SIZE),
                MESSAGE_SIZES,
                "KB",
            )?,
            reserved_concurrency: flags
                .reserved_concurrency
                .or(file.reserved_concurrency)
                .map(|runs| in_range("reserved concurrency", runs, CONCURRENCY, "runs at once"))
                .transpose()?,
            memory: flags.memory.or(file.memory).map(|mb| in_range("memory", mb, MEMORY, "MB")).transpose()?,
            function_timeout: in_range(
                "function timeout",
                flags.function_timeout.or(file.function_timeout).unwrap_or(15),
                FUNCTION_TIMEOUT,
                "seconds",
            )?,
            architecture: one_of(
                "architecture",
                flags.architecture.or(file.architecture).as_deref().unwrap_or("arm64"),
                ARCHITECTURES,
            )?,
            runtime: runtime(flags.runtime.or(file.runtime))?,
            throttle,
            authorizer,
            handlers: match (flags.handlers, file.handlers) {
                (Some(dir), _) => Some(host.cwd.join(dir)),
                (None, Some(dir)) => Some(file::folder(flags.config.as_deref(), host).join(dir)),
                (None, None) => None,
            },
            region: flags.region.or(file.region).map(region).transpose()?,
            profile: flags.profile.or(file.profile),
            local: flags.local,
            timeout: duration("timeout", flags.timeout.or(file.timeout).as_deref().unwrap_or("10m"))?,
            face,
            app,
        };
        Ok(config)
    }

    pub fn function_name(&self, function: &FunctionName) -> String {
        format!("{}-{function}", self.name)
    }

    pub fn table_name(&self) -> String {
        format!("{}{TABLE_SUFFIX}", self.name)
    }
}

impl Face {
    /// How to show an error, even one about the settings themselves: as far as they can be understood.
    pub fn guess(flags: &Settings, host: &Host) -> Self {
        let (file, _) = file::read(flags, host).ok().flatten().unwrap_or_default();
        let json = flags.output.as_deref().or(file.output.as_deref()) == Some("json");
        Self::of(flags, &file).unwrap_or(Self { json, ..Self::default() })
    }

    fn of(flags: &Settings, file: &Settings) -> Result<Self> {
        let output = flags.output.as_deref().or(file.output.as_deref()).unwrap_or("text");
        let color = flags.color.as_deref().or(file.color.as_deref()).unwrap_or("auto");
        Ok(Self {
            json: one_of("output", output, OUTPUTS)? == "json",
            quiet: flags.quiet,
            verbose: flags.verbose,
            timings: flags.timings,
            color: match one_of("color", color, COLORS)?.as_str() {
                "always" => Color::Always,
                "never" => Color::Never,
                _ => Color::Auto,
            },
        })
    }
}
