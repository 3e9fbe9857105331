//! The settings as they are written, before they are checked.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::routes::Routes;

/// What may be set by flags and in `chatctl.toml`.
///
/// One definition serves both, so that neither can know an option that the other does not.
#[derive(Clone, Debug, Default, clap::Args, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    /// Display name of the API [default: the name]
    #[arg(long, global = true, help_heading = "Deployment", value_name = "TEXT")]
    pub api_name: Option<String>,
    /// Description of the API
    #[arg(long, global = true, help_heading = "Deployment", value_name = "TEXT")]
    pub description: Option<String>,
    /// A tag for everything that can carry one (repeatable)
    #[arg(long = "tag", global = true, help_heading = "Deployment", value_name = "KEY=VALUE")]
    #[serde(skip)]
    pub tag: Vec<String>,
    /// Tags for everything that can carry them
    #[arg(skip)]
    pub tags: BTreeMap<String, String>,
    /// How long the deployment may live before `reap` removes it, such as 72h; every `up` renews it
    #[arg(long, global = true, help_heading = "Deployment", value_name = "DURATION")]
    pub ttl: Option<String>,
    /// Who may connect: none, iam, jwt, or the ARN of a Lambda function (REQUEST) [default: none]
    #[arg(long, global = true, help_heading = "Deployment")]
    pub authorizer: Option<String>,
    /// With --authorizer jwt: who issues the tokens, as in their `iss`
    #[arg(long, global = true, help_heading = "Deployment", value_name = "URL")]
    pub jwt_issuer: Option<String>,
    /// With --authorizer jwt: whom the tokens are for, as in their `aud`
    #[arg(long, global = true, help_heading = "Deployment", value_name = "TEXT")]
    pub jwt_audience: Option<String>,
    /// With --authorizer jwt, where the token is: query:NAME, header:NAME or protocol [default: query:token]
    #[arg(long, global = true, help_heading = "Deployment", value_name = "PLACE")]
    pub jwt_token: Option<String>,
    /// Stage throttling, requests a second; needs --throttle-burst
    #[arg(long, global = true, help_heading = "Deployment", value_name = "N")]
    pub throttle_rate: Option<i32>,
    /// Stage throttling, burst; needs --throttle-rate
    #[arg(long, global = true, help_heading = "Deployment", value_name = "N")]
    pub throttle_burst: Option<i32>,
    /// A route `ping` that answers without a function and keeps idle connections open [default: false]
    #[arg(long, global = true, help_heading = "Deployment", value_name = "BOOL", num_args = 0..=1)]
    #[arg(require_equals = true, default_missing_value = "true")]
    pub keep_alive: Option<bool>,
    /// Messages a second that all clients together may send [default: 20, unless --throttle-rate is set]
    #[arg(long, global = true, help_heading = "Deployment", value_name = "N")]
    pub message_rate: Option<i32>,
    /// Messages that may come at once, above --message-rate [default: 40, unless --throttle-rate is set]
    #[arg(long, global = true, help_heading = "Deployment", value_name = "N")]
    pub message_burst: Option<i32>,
    /// How a message reaches everybody: direct (at once) or queue (in one order, any number of connections) [default: direct]
    #[arg(long, global = true, help_heading = "Deployment")]
    pub delivery: Option<String>,
    /// The most posts a second with --delivery queue [default: 5000]
    #[arg(long, global = true, help_heading = "Deployment", value_name = "N")]
    pub delivery_rate: Option<i32>,
    /// The largest `data` of a message in KB, at most 128 [default: 32]
    #[arg(long, global = true, help_heading = "Deployment", value_name = "KB")]
    pub message_size: Option<i32>,

    /// Folder with the handlers, instead of those built in
    #[arg(long, global = true, help_heading = "Functions", value_name = "DIR")]
    pub handlers: Option<PathBuf>,
    /// How many runs of sendMessage there may be at once; Lambda keeps this many for it alone [default: no limit]
    #[arg(long, global = true, help_heading = "Functions", value_name = "N")]
    pub reserved_concurrency: Option<i32>,
    /// Memory of each function in MB [default: 512 for sendMessage, 256 for the others]
    #[arg(long, global = true, help_heading = "Functions", value_name = "MB")]
    pub memory: Option<i32>,
    /// Timeout of the functions in seconds, at most 25 [default: 15]
    #[arg(long, global = true, help_heading = "Functions", value_name = "SECONDS")]
    pub function_timeout: Option<i32>,
    /// Processor of the functions: arm64 or x86_64 [default: arm64]
    #[arg(long, global = true, help_heading = "Functions")]
    pub architecture: Option<String>,
    /// Node.js runtime of the functions [default: nodejs24.x]
    #[arg(long, global = true, help_heading = "Functions")]
    pub runtime: Option<String>,
    /// An SNS topic that is told when messages fail to reach everybody: an alarm of CloudWatch watches that
    #[arg(long, global = true, help_heading = "Functions", value_name = "ARN")]
    pub alarm_topic: Option<String>,
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
    /// Roles of yours by function, instead of those made here
    #[arg(skip)]
    pub role_arns: BTreeMap<String, String>,
    /// Attributes of the table's rows by which handlers may ask for them: an index of that name for each
    #[arg(skip)]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub table_indexes: Vec<Spanned<String>>,
    /// Routes of your own, by the `action` of their messages
    #[arg(skip)]
    #[cfg_attr(test, schemars(with = "BTreeMap<String, super::routes::RouteSettings>"))]
    pub routes: Routes,
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
    /// Where the time went: the steps as a waterfall, with those marked that decided how long it took
    #[arg(long, global = true, help_heading = "How")]
    #[serde(skip)]
    pub timings: bool,
    /// Colours: auto, always or never [default: auto]
    #[arg(long, global = true, help_heading = "How", value_name = "WHEN")]
    pub color: Option<String>,
}
