//! Every option but those of single verbs, with all that tests of many sorts want to know of it. A new one is a row here, and
//! a test of the command line misses it otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use chatctl::app::Delivery;
use chatctl::arguments::{self, Asked};
use chatctl::aws::endpoints::Endpoints;
use chatctl::aws::identity::Identity;
use chatctl::config::{Authorizer, Config, Jwt, TokenPlace};
use chatctl::engine::graph::Graph;
use chatctl::engine::scope::Scope;
use chatctl::handlers::Bundles;
use chatctl::host::Env;
use chatctl::resources::KINDS;

use crate::silent_host;

/// The policy that `--permissions-boundary` names, which must be there first.
pub const BOUNDARY: &str = "arn:aws:iam::111122223333:policy/edge";

/// An option, by which a setting is also in the environment and, mostly, in the settings file.
pub struct Setting {
    /// Without its dashes.
    pub long: &'static str,
    /// A line of the settings file; none where an option has no place there.
    pub file: &'static str,
    /// What the variable and the flag say; none where it is a flag alone.
    pub env: &'static str,
    pub flag: &'static str,
    /// What becomes of it.
    pub shown: fn(&Config) -> String,
    /// That by default, and by the file, the environment and the flag.
    pub want: [&'static str; 4],
    /// Lines of the settings file without which it is refused.
    pub beside: &'static str,
    /// Whether the template shows an example of it, because there is no default.
    pub is_example: bool,
    /// Settings files that are refused, each with what is said of it.
    pub refused: &'static [(&'static str, &'static str)],
    /// Flags that set it, each with what it needs beside it, so that AWS has something else than without them. None where
    /// that takes files, or nothing of it is in AWS.
    pub ways: &'static [&'static str],
}

const NONE: Setting = Setting {
    long: "",
    file: "",
    env: "",
    flag: "",
    shown: |_| String::new(),
    want: [""; 4],
    beside: "",
    is_example: false,
    refused: &[],
    ways: &[],
};

#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    Setting { long: "name", file: "name = 'file'", env: "env", flag: "flag",
        shown: |c| c.name.to_string(), want: ["chat", "file", "env", "flag"],
        refused: &[("name = ''", "not a valid name"), ("name = 'a b'", "not a valid name")],
        ..NONE },
    Setting { long: "name-from", file: "name = 'file'", env: "Env", flag: "Flag",
        shown: |c| c.name.to_string()[..4].to_owned(), want: ["chat", "file", "env-", "flag"],
        ..NONE },
    Setting { long: "stage", file: "stage = 'file'", env: "env", flag: "flag",
        shown: |c| c.stage.clone(), want: ["prod", "file", "env", "flag"],
        refused: &[("stage = 'a/b'", "not a valid stage")],
        // YAML's word for true.
        ways: &["--stage on"],
        ..NONE },
    Setting { long: "api-name", file: "api-name = 'File'", env: "Env", flag: "Flag",
        shown: |c| c.api_name.clone(), want: ["chat", "File", "Env", "Flag"],
        refused: &[
            ("api-name = ''", "not a valid name of the API: it takes 1 to 128 characters"),
            ("api-name = \"a\\nb\"", "in one line"),
        ],
        ways: &["--api-name Chat"],
        ..NONE },
    Setting { long: "description", file: "description = 'File'", env: "Env", flag: "Flag",
        shown: |c| c.description.clone(), want: ["", "File", "Env", "Flag"],
        ways: &["--description ours"],
        ..NONE },
    Setting { long: "tag", file: "tags = { k = 'file' }", env: "k=env", flag: "k=flag",
        shown: |c| format!("{:?}", c.tags), want: ["{}", r#"{"k": "file"}"#, r#"{"k": "env"}"#, r#"{"k": "flag"}"#],
        is_example: true,
        refused: &[
            ("[tags]\n'aws:x' = '1'", "reserved"),
            ("[tags]\n'chatctl:name' = '1'", "are ours"),
            ("[tags]\nteam = ''", "1 to 256 characters"),
            // A circled letter, a vowel sign that is written apart, a mark, a symbol, a control character.
            ("[tags]\nteam = 'Ⓐ'", "letters, digits"),
            ("[tags]\nteam = 'कि'", "letters, digits"),
            ("[tags]\nteam = 'e\u{301}'", "letters, digits"),
            ("[tags]\nteam = '€'", "letters, digits"),
            ("[tags]\nteam = \"a\\tb\"", "letters, digits"),
            ("[tags]\nteam = 'a'\nTeam = 'b'", "differ only in case"),
        ],
        ways: &["--tag team=yes --tag cost/center=a.b:c=d+e-f@g"],
        ..NONE },
    Setting { long: "ttl", file: "ttl = '1h'", env: "2h", flag: "3h",
        shown: |c| format!("{:?}", c.ttl), want: ["None", "Some(3600s)", "Some(7200s)", "Some(10800s)"],
        is_example: true,
        refused: &[("ttl = 'soon'", "not a valid ttl"), ("ttl = '0s'", "not a valid ttl")],
        ways: &["--ttl 2h"],
        ..NONE },
    Setting { long: "authorizer", file: "authorizer = 'iam'", env: "none", flag: "iam",
        shown: |c| format!("{:?}", c.authorizer), want: ["None", "Iam", "None", "Iam"],
        refused: &[
            ("authorizer = 'cognito'", "not a valid authorizer"),
            ("authorizer = 'arn:aws:lambda:eu-central-1:111122223333:function:*'", "not a valid authorizer"),
            ("authorizer = 'jwt'", "needs `--jwt-issuer` too"),
        ],
        ways: &[
            "--authorizer arn:aws:lambda:eu-central-1:111122223333:function:gate",
            "--authorizer jwt --jwt-issuer https://issuer.example --jwt-audience chat",
            "--authorizer iam",
        ],
        ..NONE },
    Setting { long: "jwt-issuer", file: "jwt-issuer = 'https://file'", env: "https://env", flag: "https://flag",
        shown: |c| jwt(c).issuer, want: ["", "https://file", "https://env", "https://flag"],
        beside: "authorizer = 'jwt'\njwt-audience = 'us'\n", is_example: true,
        ..NONE },
    Setting { long: "jwt-audience", file: "jwt-audience = 'file'", env: "env", flag: "flag",
        shown: |c| jwt(c).audience, want: ["", "file", "env", "flag"],
        beside: "authorizer = 'jwt'\njwt-issuer = 'https://issuer'\n", is_example: true,
        refused: &[("jwt-audience = 'chat'", "`jwt-audience` is for `--authorizer jwt` alone")],
        ..NONE },
    Setting { long: "jwt-token", file: "jwt-token = 'query:file'", env: "header:env", flag: "protocol",
        shown: |c| jwt(c).token.to_string(), want: ["query:token", "query:file", "header:env", "protocol"],
        beside: "authorizer = 'jwt'\njwt-audience = 'us'\njwt-issuer = 'https://issuer'\n",
        ways: &["--authorizer jwt --jwt-issuer https://issuer.example --jwt-audience chat --jwt-token protocol"],
        ..NONE },
    Setting { long: "throttle-rate", file: "throttle-rate = 1", env: "2", flag: "3",
        shown: |c| c.throttle.map_or(0, |t| t.rate).to_string(), want: ["0", "1", "2", "3"],
        beside: "throttle-burst = 9\n", is_example: true,
        refused: &[
            ("throttle-rate = 5", "both"),
            ("throttle-rate = 0\nthrottle-burst = 1", "not a valid throttle rate"),
        ],
        ways: &["--throttle-rate 5 --throttle-burst 6"],
    },
    Setting { long: "throttle-burst", file: "throttle-burst = 1", env: "2", flag: "3",
        shown: |c| c.throttle.map_or(0, |t| t.burst).to_string(), want: ["0", "1", "2", "3"],
        beside: "throttle-rate = 9\n", is_example: true,
        ..NONE },
    Setting { long: "keep-alive", file: "keep-alive = true", env: "false", flag: "true",
        shown: |c| c.keep_alive.to_string(), want: ["false", "true", "false", "true"],
        refused: &[("keep-alive = true\n[routes.ping]", "`keep-alive` makes the route `ping`")],
        ways: &["--keep-alive"],
        ..NONE },
    Setting { long: "delivery", file: "delivery = 'direct'", env: "queue", flag: "direct",
        shown: |c| if c.delivery == Delivery::Direct { "direct" } else { "queue" }.to_owned(),
        want: ["direct", "direct", "queue", "direct"],
        refused: &[("delivery = 'email'", "not a valid delivery")],
        ways: &["--delivery queue --delivery-rate 100"],
        ..NONE },
    Setting { long: "delivery-rate", file: "delivery-rate = 10", env: "20", flag: "30",
        shown: |c| if let Delivery::Queue { rate } = c.delivery { rate.to_string() } else { String::new() },
        want: ["", "10", "20", "30"],
        beside: "delivery = 'queue'\n",
        refused: &[
            ("delivery = 'queue'\ndelivery-rate = 9", "not a valid delivery rate"),
            ("delivery-rate = 100", "`delivery-rate` works only with `--delivery queue`"),
        ],
        ..NONE },
    Setting { long: "message-rate", file: "message-rate = 1", env: "2", flag: "3",
        shown: |c| c.message_throttle.map_or(0, |t| t.rate).to_string(), want: ["20", "1", "2", "3"],
        refused: &[("message-rate = 0", "not a valid message rate")],
        ways: &["--message-rate 7 --message-burst 8"],
        ..NONE },
    Setting { long: "message-burst", file: "message-burst = 1", env: "2", flag: "3",
        shown: |c| c.message_throttle.map_or(0, |t| t.burst).to_string(), want: ["40", "1", "2", "3"],
        refused: &[("message-burst = 1000001", "not a valid message burst")],
        ..NONE },
    Setting { long: "message-size", file: "message-size = 1", env: "2", flag: "3",
        shown: |c| c.message_size.to_string(), want: ["32", "1", "2", "3"],
        refused: &[("message-size = 129", "not a valid message size")],
        ways: &["--message-size 64"],
        ..NONE },
    Setting { long: "reserved-concurrency", file: "reserved-concurrency = 1", env: "2", flag: "3",
        shown: |c| c.reserved_concurrency.unwrap_or_default().to_string(), want: ["0", "1", "2", "3"],
        is_example: true,
        refused: &[("reserved-concurrency = 0", "not a valid reserved concurrency")],
        ways: &["--reserved-concurrency 30"],
        ..NONE },
    Setting { long: "alarm-topic", file: "alarm-topic = 'arn:aws:sns:a-b-1:123456789012:file'",
        env: "arn:aws:sns:a-b-1:123456789012:env", flag: "arn:aws:sns:a-b-1:123456789012:flag",
        shown: |c| last(c.alarm_topic.as_ref()), want: ["", "file", "env", "flag"],
        is_example: true,
        refused: &[
            ("alarm-topic = 'oncall'", "not a valid alarm topic"),
            ("alarm-topic = 'arn:aws:sns:eu-central-1:123456789012:oncall.fifo'", "it is a FIFO topic"),
        ],
        ways: &["--alarm-topic arn:aws:sns:eu-central-1:111122223333:oncall"],
        ..NONE },
    Setting { long: "handlers", file: "handlers = 'file'", env: "env", flag: "flag",
        shown: |c| c.handlers.as_ref().and_then(|p| p.file_name()).map(|n| n.display().to_string()).unwrap_or_default(),
        want: ["", "file", "env", "flag"], is_example: true,
        ..NONE },
    Setting { long: "memory", file: "memory = 128", env: "256", flag: "512",
        shown: |c| format!("{:?}", c.memory), want: ["None", "Some(128)", "Some(256)", "Some(512)"],
        is_example: true,
        refused: &[("memory = 64", "not a valid memory")],
        ways: &["--memory 1024"],
        ..NONE },
    Setting { long: "function-timeout", file: "function-timeout = 1", env: "2", flag: "3",
        shown: |c| c.function_timeout.to_string(), want: ["15", "1", "2", "3"],
        refused: &[("function-timeout = 26", "not a valid function timeout")],
        ways: &["--function-timeout 20"],
        ..NONE },
    Setting { long: "architecture", file: "architecture = 'x86_64'", env: "arm64", flag: "x86_64",
        shown: |c| c.architecture.clone(), want: ["arm64", "x86_64", "arm64", "x86_64"],
        refused: &[("architecture = 'arm'", "not a valid architecture")],
        ways: &["--architecture x86_64"],
        ..NONE },
    Setting { long: "runtime", file: "runtime = 'nodejs1.x'", env: "nodejs2.x", flag: "nodejs3.x",
        shown: |c| c.runtime.clone(), want: ["nodejs24.x", "nodejs1.x", "nodejs2.x", "nodejs3.x"],
        refused: &[("runtime = 'python3.13'", "not a valid runtime")],
        ways: &["--runtime nodejs22.x"],
        ..NONE },
    Setting { long: "log-retention-days", file: "log-retention-days = 1", env: "3", flag: "5",
        shown: |c| c.log_retention_days.to_string(), want: ["14", "1", "3", "5"],
        refused: &[("log-retention-days = 2", "not a valid log retention")],
        ways: &["--log-retention-days 30"],
        ..NONE },
    Setting { long: "permissions-boundary", file: "permissions-boundary = 'arn:aws:iam::123456789012:policy/file'",
        env: "arn:aws:iam::123456789012:policy/env", flag: "arn:aws:iam::123456789012:policy/flag",
        shown: |c| c.permissions_boundary.clone().unwrap_or_default(),
        want: ["", "arn:aws:iam::123456789012:policy/file", "arn:aws:iam::123456789012:policy/env", "arn:aws:iam::123456789012:policy/flag"],
        is_example: true,
        refused: &[("permissions-boundary = 'boundary'", "not a valid permissions boundary")],
        ways: &["--permissions-boundary arn:aws:iam::111122223333:policy/edge"],
        ..NONE },
    Setting { long: "role-path", file: "role-path = '/file/'", env: "/env/", flag: "/flag/",
        shown: |c| c.role_path.clone(), want: ["/chatctl/", "/file/", "/env/", "/flag/"],
        refused: &[("role-path = 'chatctl'", "not a valid role path")],
        ways: &["--role-path /teams/blue/"],
        ..NONE },
    Setting { long: "role-arn", file: "[role-arns]\nonConnect = 'arn:aws:iam::123456789012:role/file'",
        env: "onConnect=arn:aws:iam::123456789012:role/env", flag: "onConnect=arn:aws:iam::123456789012:role/flag",
        shown: |c| last(c.role_arns.get("onConnect")), want: ["", "role/file", "role/env", "role/flag"],
        is_example: true,
        refused: &[("[role-arns]\nonFire = 'arn:aws:iam::123456789012:role/x'", "not a valid function")],
        ways: &["--role-arn onConnect=arn:aws:iam::111122223333:role/mine"],
        ..NONE },
    Setting { long: "kms-key", file: "kms-key = 'arn:aws:kms:eu-central-1:123456789012:key/file'",
        env: "arn:aws:kms:eu-central-1:123456789012:key/env", flag: "arn:aws:kms:eu-central-1:123456789012:key/flag",
        shown: |c| last(c.kms_key.as_ref()), want: ["", "key/file", "key/env", "key/flag"],
        is_example: true,
        refused: &[("kms-key = 'alias/key'", "not a valid KMS key")],
        ways: &["--kms-key arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555"],
        ..NONE },
    Setting { long: "region", file: "region = 'eu-west-1'", env: "eu-west-2", flag: "eu-west-3",
        shown: |c| c.region.clone().unwrap_or_default(), want: ["", "eu-west-1", "eu-west-2", "eu-west-3"],
        is_example: true,
        refused: &[("region = 'moon'", "not a valid region")],
        ..NONE },
    Setting { long: "profile", file: "profile = 'file'", env: "env", flag: "flag",
        shown: |c| c.profile.clone().unwrap_or_default(), want: ["", "file", "env", "flag"],
        is_example: true,
        ..NONE },
    Setting { long: "timeout", file: "timeout = '1m'", env: "2m", flag: "3m",
        shown: |c| format!("{:?}", c.timeout), want: ["600s", "60s", "120s", "180s"],
        refused: &[("timeout = '-1m'", "not a valid timeout")],
        ..NONE },
    Setting { long: "output", file: "output = 'json'", env: "text", flag: "json",
        shown: |c| c.face.json.to_string(), want: ["false", "true", "false", "true"],
        refused: &[("output = 'xml'", "not a valid output")],
        ..NONE },
    Setting { long: "color", file: "color = 'always'", env: "never", flag: "always",
        shown: |c| format!("{:?}", c.face.color), want: ["Auto", "Always", "Never", "Always"],
        refused: &[("color = 'red'", "not a valid color")],
        ..NONE },
    Setting { long: "local", env: "true",
        shown: |c| c.local.to_string(), want: ["false", "false", "true", "true"],
        ..NONE },
    Setting { long: "quiet", env: "1",
        shown: |c| c.face.quiet.to_string(), want: ["false", "false", "true", "true"],
        ..NONE },
    Setting { long: "timings", env: "1",
        shown: |c| c.face.timings.to_string(), want: ["false", "false", "true", "true"],
        ..NONE },
    Setting { long: "verbose", env: "yes",
        shown: |c| c.face.verbose.to_string(), want: ["false", "false", "true", "true"],
        ..NONE },
];

/// The last part of an ARN; nothing where there is none.
fn last(arn: Option<&String>) -> String {
    arn.and_then(|arn| arn.rsplit(':').next()).unwrap_or_default().to_owned()
}

/// What tokens are checked by; nothing where none are.
fn jwt(config: &Config) -> Jwt {
    match &config.authorizer {
        Authorizer::Jwt(jwt) => jwt.clone(),
        _ => Jwt { issuer: String::new(), audience: String::new(), token: TokenPlace::Query("token".to_owned()) },
    }
}

impl Setting {
    /// What it is called in the settings file; nothing where it has no place there.
    pub fn key(&self) -> &'static str {
        self.file.trim_start_matches('[').split([' ', ']']).next().unwrap_or_default()
    }

    /// What must be beside the setting `key` in a settings file.
    pub fn beside(key: &str) -> &'static str {
        SETTINGS.iter().find(|setting| setting.long == key).map_or("", |setting| setting.beside)
    }
}

/// Lines of flags in which each way of each setting is, `most` in one line, in as few lines as it takes: 1 for each by
/// itself, `usize::MAX` for each beside as many others as go with it. Without those of `but`.
pub fn lines(most: usize, but: &[&str]) -> Vec<String> {
    let ways: Vec<&str> = SETTINGS
        .iter()
        .filter(|setting| !but.contains(&setting.long))
        .flat_map(|setting| setting.ways)
        .copied()
        .collect();
    let goes = |line: &Vec<&str>, way: &str| {
        line.len() < most && line.iter().all(|other| options(other).is_disjoint(&options(way)))
    };
    let mut lines: Vec<Vec<&str>> = vec![];
    for way in &ways {
        match lines.iter_mut().find(|line| goes(line, way)) {
            Some(line) => line.push(way),
            None => lines.push(vec![way]),
        }
    }
    for line in &mut lines {
        for way in &ways {
            if goes(line, way) {
                line.push(way);
            }
        }
    }
    lines.into_iter().map(|line| line.join(" ")).collect()
}

/// The options of a line of flags, without their dashes.
pub fn options(flags: &str) -> BTreeSet<&str> {
    flags.split_whitespace().filter_map(|word| word.strip_prefix("--")).collect()
}

/// All that decides what is wanted with these flags, in an account of which everything is known.
///
/// # Panics
/// Where they are refused.
pub fn scope(flags: &str) -> Scope {
    let args: Vec<String> = format!("up {flags}").split_whitespace().map(str::to_owned).collect();
    let Ok(Asked::Run(cli)) = arguments::parse(&args, &Env::default()) else { panic!("`{flags}` is refused") };
    let config = Config::resolve(cli.settings, &silent_host(Path::new("/nowhere"))).expect("these settings are valid");
    let bundles = Bundles::load(&config.app, None).expect("the handlers are built in");
    let expires_at = config.ttl.map(|_| "2026-11-25T10:00:00Z".to_owned());
    let mut scope = Scope::new(config, crate::REGION.to_owned(), Endpoints::default(), expires_at, bundles);
    scope.identity = Identity::from_arn(&format!("arn:aws:iam::{}:user/me", crate::ACCOUNT));
    scope
}

/// The flags of the first setting, none before all, with which there is one of `kind`; nothing for one that takes files.
pub fn with(kind: &str) -> Option<String> {
    static FLAGS: LazyLock<BTreeMap<&str, String>> = LazyLock::new(|| {
        let mut first = BTreeMap::new();
        for flags in [vec![String::new()], lines(1, &[])].concat() {
            for key in Graph::declare(KINDS, &scope(&flags)).keys() {
                first.entry(key.kind).or_insert_with(|| flags.clone());
            }
        }
        first
    });
    FLAGS.get(kind).cloned()
}
