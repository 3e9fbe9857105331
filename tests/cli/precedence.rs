//! Flag over environment over settings file over default, for every option there is.

use std::collections::BTreeSet;

use chatctl::app::Delivery;
use chatctl::arguments::{self, Asked};
use chatctl::config::{Authorizer, Config, Jwt, TokenPlace};
use chatctl::host::Host;

use super::run::{Run, Written, chatctl};

/// An option and what becomes of its values: the default's, the file's, the environment's and the flag's.
struct Row {
    long: &'static str,
    /// What the settings file says; nothing where an option has no place there.
    file: &'static str,
    env: &'static str,
    flag: &'static str,
    shown: fn(&Config) -> String,
    want: [&'static str; 4],
}

const BOUNDARIES: [&str; 3] = [
    "arn:aws:iam::123456789012:policy/file",
    "arn:aws:iam::123456789012:policy/env",
    "arn:aws:iam::123456789012:policy/flag",
];

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { long: "name", file: "name = 'file'", env: "env", flag: "flag",
        shown: |c| c.name.to_string(), want: ["chat", "file", "env", "flag"] },
    Row { long: "name-from", file: "name = 'file'", env: "Env", flag: "Flag",
        shown: |c| c.name.to_string()[..4].to_owned(), want: ["chat", "file", "env-", "flag"] },
    Row { long: "stage", file: "stage = 'file'", env: "env", flag: "flag",
        shown: |c| c.stage.clone(), want: ["prod", "file", "env", "flag"] },
    Row { long: "api-name", file: "api-name = 'File'", env: "Env", flag: "Flag",
        shown: |c| c.api_name.clone(), want: ["chat", "File", "Env", "Flag"] },
    Row { long: "description", file: "description = 'File'", env: "Env", flag: "Flag",
        shown: |c| c.description.clone(), want: ["", "File", "Env", "Flag"] },
    Row { long: "tag", file: "tags = { k = 'file' }", env: "k=env", flag: "k=flag",
        shown: |c| format!("{:?}", c.tags), want: ["{}", r#"{"k": "file"}"#, r#"{"k": "env"}"#, r#"{"k": "flag"}"#] },
    Row { long: "ttl", file: "ttl = '1h'", env: "2h", flag: "3h",
        shown: |c| format!("{:?}", c.ttl), want: ["None", "Some(3600s)", "Some(7200s)", "Some(10800s)"] },
    Row { long: "authorizer", file: "authorizer = 'iam'", env: "none", flag: "iam",
        shown: |c| format!("{:?}", c.authorizer), want: ["None", "Iam", "None", "Iam"] },
    Row { long: "jwt-issuer", file: "jwt-issuer = 'https://file'", env: "https://env", flag: "https://flag",
        shown: |c| jwt(c).issuer, want: ["", "https://file", "https://env", "https://flag"] },
    Row { long: "jwt-audience", file: "jwt-audience = 'file'", env: "env", flag: "flag",
        shown: |c| jwt(c).audience, want: ["", "file", "env", "flag"] },
    Row { long: "jwt-token", file: "jwt-token = 'query:file'", env: "header:env", flag: "protocol",
        shown: |c| jwt(c).token.to_string(), want: ["query:token", "query:file", "header:env", "protocol"] },
    Row { long: "throttle-rate", file: "throttle-rate = 1", env: "2", flag: "3",
        shown: |c| c.throttle.map_or(0, |t| t.rate).to_string(), want: ["0", "1", "2", "3"] },
    Row { long: "throttle-burst", file: "throttle-burst = 1", env: "2", flag: "3",
        shown: |c| c.throttle.map_or(0, |t| t.burst).to_string(), want: ["0", "1", "2", "3"] },
    Row { long: "keep-alive", file: "keep-alive = true", env: "false", flag: "true",
        shown: |c| c.keep_alive.to_string(), want: ["false", "true", "false", "true"] },
    Row { long: "delivery", file: "delivery = 'direct'", env: "queue", flag: "direct",
        shown: |c| if c.delivery == Delivery::Direct { "direct" } else { "queue" }.to_owned(), want: ["direct", "direct", "queue", "direct"] },
    Row { long: "delivery-rate", file: "delivery-rate = 10", env: "20", flag: "30",
        shown: |c| if let Delivery::Queue { rate } = c.delivery { rate.to_string() } else { String::new() }, want: ["", "10", "20", "30"] },
    Row { long: "message-rate", file: "message-rate = 1", env: "2", flag: "3",
        shown: |c| c.message_throttle.map_or(0, |t| t.rate).to_string(), want: ["20", "1", "2", "3"] },
    Row { long: "message-burst", file: "message-burst = 1", env: "2", flag: "3",
        shown: |c| c.message_throttle.map_or(0, |t| t.burst).to_string(), want: ["40", "1", "2", "3"] },
    Row { long: "message-size", file: "message-size = 1", env: "2", flag: "3",
        shown: |c| c.message_size.to_string(), want: ["32", "1", "2", "3"] },
    Row { long: "reserved-concurrency", file: "reserved-concurrency = 1", env: "2", flag: "3",
        shown: |c| c.reserved_concurrency.unwrap_or_default().to_string(), want: ["0", "1", "2", "3"] },
    Row { long: "alarm-topic", file: "alarm-topic = 'arn:aws:sns:a-b-1:123456789012:file'", env: "arn:aws:sns:a-b-1:123456789012:env", flag: "arn:aws:sns:a-b-1:123456789012:flag",
        shown: |c| c.alarm_topic.as_ref().and_then(|arn| arn.rsplit(':').next()).unwrap_or_default().to_owned(), want: ["", "file", "env", "flag"] },
    Row { long: "handlers", file: "handlers = 'file'", env: "env", flag: "flag",
        shown: |c| c.handlers.as_ref().and_then(|p| p.file_name()).map(|n| n.display().to_string()).unwrap_or_default(),
        want: ["", "file", "env", "flag"] },
    Row { long: "memory", file: "memory = 128", env: "256", flag: "512",
        shown: |c| format!("{:?}", c.memory), want: ["None", "Some(128)", "Some(256)", "Some(512)"] },
    Row { long: "function-timeout", file: "function-timeout = 1", env: "2", flag: "3",
        shown: |c| c.function_timeout.to_string(), want: ["15", "1", "2", "3"] },
    Row { long: "architecture", file: "architecture = 'x86_64'", env: "arm64", flag: "x86_64",
        shown: |c| c.architecture.clone(), want: ["arm64", "x86_64", "arm64", "x86_64"] },
    Row { long: "runtime", file: "runtime = 'nodejs1.x'", env: "nodejs2.x", flag: "nodejs3.x",
        shown: |c| c.runtime.clone(), want: ["nodejs24.x", "nodejs1.x", "nodejs2.x", "nodejs3.x"] },
    Row { long: "log-retention-days", file: "log-retention-days = 1", env: "3", flag: "5",
        shown: |c| c.log_retention_days.to_string(), want: ["14", "1", "3", "5"] },
    Row { long: "permissions-boundary", file: "permissions-boundary = 'arn:aws:iam::123456789012:policy/file'",
        env: BOUNDARIES[1], flag: BOUNDARIES[2],
        shown: |c| c.permissions_boundary.clone().unwrap_or_default(),
        want: ["", BOUNDARIES[0], BOUNDARIES[1], BOUNDARIES[2]] },
    Row { long: "role-path", file: "role-path = '/file/'", env: "/env/", flag: "/flag/",
        shown: |c| c.role_path.clone(), want: ["/chatctl/", "/file/", "/env/", "/flag/"] },
    Row { long: "role-arn", file: "[role-arns]\nonConnect = 'arn:aws:iam::123456789012:role/file'",
        env: "onConnect=arn:aws:iam::123456789012:role/env", flag: "onConnect=arn:aws:iam::123456789012:role/flag",
        shown: |c| c.role_arns.get("onConnect").and_then(|arn| arn.rsplit('/').next()).unwrap_or("").to_owned(),
        want: ["", "file", "env", "flag"] },
    Row { long: "kms-key", file: "kms-key = 'arn:aws:kms:eu-central-1:123456789012:key/file'",
        env: "arn:aws:kms:eu-central-1:123456789012:key/env", flag: "arn:aws:kms:eu-central-1:123456789012:key/flag",
        shown: |c| c.kms_key.as_deref().and_then(|arn| arn.rsplit('/').next()).unwrap_or("").to_owned(),
        want: ["", "file", "env", "flag"] },
    Row { long: "region", file: "region = 'eu-west-1'", env: "eu-west-2", flag: "eu-west-3",
        shown: |c| c.region.clone().unwrap_or_default(), want: ["", "eu-west-1", "eu-west-2", "eu-west-3"] },
    Row { long: "profile", file: "profile = 'file'", env: "env", flag: "flag",
        shown: |c| c.profile.clone().unwrap_or_default(), want: ["", "file", "env", "flag"] },
    Row { long: "timeout", file: "timeout = '1m'", env: "2m", flag: "3m",
        shown: |c| format!("{:?}", c.timeout), want: ["600s", "60s", "120s", "180s"] },
    Row { long: "output", file: "output = 'json'", env: "text", flag: "json",
        shown: |c| c.face.json.to_string(), want: ["false", "true", "false", "true"] },
    Row { long: "color", file: "color = 'always'", env: "never", flag: "always",
        shown: |c| format!("{:?}", c.face.color), want: ["Auto", "Always", "Never", "Always"] },
    Row { long: "local", file: "", env: "true", flag: "",
        shown: |c| c.local.to_string(), want: ["false", "false", "true", "true"] },
    Row { long: "quiet", file: "", env: "1", flag: "",
        shown: |c| c.face.quiet.to_string(), want: ["false", "false", "true", "true"] },
    Row { long: "timings", file: "", env: "1", flag: "",
        shown: |c| c.face.timings.to_string(), want: ["false", "false", "true", "true"] },
    Row { long: "verbose", file: "", env: "yes", flag: "",
        shown: |c| c.face.verbose.to_string(), want: ["false", "false", "true", "true"] },
];

fn resolve(run: &Run) -> Config {
    let host: Host = run.host(&Written::default(), &Written::default());
    match arguments::parse(run.args(), &host.env).unwrap_or_else(|error| panic!("{error}")) {
        Asked::Run(cli) => Config::resolve(cli.settings, &host).unwrap_or_else(|error| panic!("{error}")),
        Asked::Tell(text) => panic!("{text}"),
    }
}

#[test]
fn flag_over_environment_over_file_over_default() {
    for row in ROWS {
        let with = |file: bool, env: bool, flag: bool| {
            let mut run = chatctl("up");
            // Throttling takes both numbers or none, a rate of delivery is a queue's, and checking tokens takes all there is.
            let other = match row.long {
                "throttle-rate" => "throttle-burst = 9\n",
                "throttle-burst" => "throttle-rate = 9\n",
                "delivery-rate" => "delivery = 'queue'\n",
                "jwt-issuer" => "authorizer = 'jwt'\njwt-audience = 'us'\n",
                "jwt-audience" => "authorizer = 'jwt'\njwt-issuer = 'https://issuer'\n",
                "jwt-token" => "authorizer = 'jwt'\njwt-audience = 'us'\njwt-issuer = 'https://issuer'\n",
                _ => "",
            };
            if file || !other.is_empty() && (env || flag) {
                run = run.file("chatctl.toml", &format!("{other}{}\n", if file { row.file } else { "" }));
            }
            if env {
                run = run.env(&variable(row.long), row.env);
            }
            if flag {
                run = match row.flag {
                    "" => run.arg(&format!("--{}", row.long)),
                    value => run.arg(&format!("--{}={value}", row.long)),
                };
            }
            (row.shown)(&resolve(&run))
        };
        let [default, file, env, flag] = row.want;
        assert_eq!(with(false, false, false), default, "{} by default", row.long);
        assert_eq!(with(true, false, false), file, "{} from the file", row.long);
        assert_eq!(with(false, true, false), env, "{} from the environment", row.long);
        assert_eq!(with(false, false, true), flag, "{} from the flag", row.long);
        assert_eq!(with(true, true, false), env, "{}: environment over file", row.long);
        assert_eq!(with(true, true, true), flag, "{}: flag over all", row.long);
    }
}

/// What tokens are checked by; nothing where none are.
fn jwt(config: &Config) -> Jwt {
    match &config.authorizer {
        Authorizer::Jwt(jwt) => jwt.clone(),
        _ => Jwt { issuer: String::new(), audience: String::new(), token: TokenPlace::Query("token".to_owned()) },
    }
}

/// Every option of every verb, in the same way: what the variable says is what the flag would say.
#[test]
fn an_option_of_a_verb_is_a_variable_too() {
    fn check(command: &clap::Command, path: &str, count: &mut usize) {
        for verb in command.get_subcommands() {
            check(verb, &format!("{path}{} ", verb.get_name()), count);
        }
        let own = command.get_arguments().filter(|arg| !arg.is_global_set() && arg.get_long().is_some());
        for arg in own.filter(|_| !path.is_empty()) {
            let long = arg.get_long().unwrap();
            // What may be a secret does not become an argument.
            if ["header", "query", "token"].contains(&long) {
                continue;
            }
            // What it needs beside it.
            let beside = match long {
                "github" => "--account 123456789012",
                "expect" | "send" => "--route join",
                _ => "",
            };
            let line = format!("{path}{beside}");
            let possible = arg.get_possible_values();
            let value = possible.first().map_or("3", |value| value.get_name());
            let (flag, value) = if arg.get_action().takes_values() {
                (format!("--{long}={value}"), value)
            } else {
                (format!("--{long}"), "1")
            };
            let parsed = |run: Run| match arguments::parse(
                run.args(),
                &run.host(&Written::default(), &Written::default()).env,
            ) {
                Ok(Asked::Run(cli)) => format!("{cli:?}"),
                Ok(Asked::Tell(text)) => panic!("{line}: {text}"),
                Err(error) => panic!("{line}--{long}: {error}"),
            };
            let by_variable = parsed(chatctl(&line).env(&variable(long), value));
            assert_eq!(by_variable, parsed(chatctl(&line).arg(&flag)), "{line}{flag}");
            assert_ne!(by_variable, parsed(chatctl(&line)), "{line}{flag} does nothing");
            *count += 1;
        }
    }
    let mut count = 0;
    check(&arguments::command(), "", &mut count);
    assert!(count > 25, "only {count}");
}

#[test]
fn an_argument_goes_before_a_variable_of_a_verb() {
    let parsed = |run: Run| match arguments::parse(run.args(), &run.host(&Written::default(), &Written::default()).env)
    {
        Ok(Asked::Run(cli)) => format!("{:?}", cli.verb),
        Ok(Asked::Tell(text)) => panic!("{text}"),
        Err(error) => panic!("{error}"),
    };
    let run = chatctl("--name verify verify --clients 3").env("CHATCTL_CLIENTS", "5").env("CHATCTL_MESSAGES", "7");
    let verb = parsed(run);
    assert!(verb.contains("clients: 3") && verb.contains("messages: 7"), "{verb}");
    // Also before one that excludes it, and never into what follows `--`.
    let verb = parsed(chatctl("policy --read-only").env("CHATCTL_BOUNDARY", "1"));
    assert!(verb.contains("read_only: true") && verb.contains("boundary: false"), "{verb}");
    let verb = parsed(chatctl("export").env("CHATCTL_DIR", "there").arg("--local"));
    assert!(verb.contains("there"), "{verb}");
    let run = chatctl("verify").env("CHATCTL_CLIENTS", "many");
    let error = arguments::parse(run.args(), &run.host(&Written::default(), &Written::default()).env).err().unwrap();
    assert_eq!(error.hint.as_deref(), Some("it comes from `CHATCTL_CLIENTS` in the environment"), "{error}");
}

fn variable(long: &str) -> String {
    format!("CHATCTL_{}", long.to_uppercase().replace('-', "_"))
}

#[test]
fn no_option_is_left_out_above() {
    let command = arguments::command();
    let all = command.get_arguments().filter(|arg| arg.is_global_set()).filter_map(|arg| arg.get_long());
    let all: BTreeSet<&str> = all.collect();
    let mut tested: BTreeSet<&str> = ROWS.iter().map(|row| row.long).collect();
    tested.insert("config");
    assert_eq!(all, tested);
}

#[test]
fn the_settings_file_itself_can_be_named() {
    let run = chatctl("up").file("a.toml", "stage = 'a'\n").file("b.toml", "stage = 'b'\n");
    let run = run.env("CHATCTL_CONFIG", "a.toml");
    assert_eq!(resolve(&run).stage, "a");
    assert_eq!(resolve(&run.arg("--config=b.toml")).stage, "b");
}

#[test]
fn a_name_that_was_given_is_not_made_from_anything_else() {
    let run = chatctl("up --name given").env("CHATCTL_NAME_FROM", "Branch");
    assert_eq!(resolve(&run).name.as_str(), "given");
    let run = chatctl("up --name-from branch").env("CHATCTL_NAME", "other");
    assert_eq!(resolve(&run).name.as_str(), "branch");
}

/// A branch that is not set would give every pipeline the same deployment.
#[tokio::test]
async fn a_name_is_made_from_no_empty_text() {
    let ended = chatctl("up").env("CHATCTL_NAME_FROM", "").run().await;
    assert_eq!(ended.exit, chatctl::error::Exit::Usage, "{}", ended.stderr);
    assert!(ended.stderr.starts_with("error: `--name-from` got an empty text"), "{}", ended.stderr);
    assert_eq!(resolve(&chatctl("up --name given").env("CHATCTL_NAME_FROM", "")).name.as_str(), "given");
}

#[test]
fn false_in_the_environment_is_no_flag() {
    for no in ["0", "false", "No", "off", ""] {
        assert!(!resolve(&chatctl("up").env("CHATCTL_LOCAL", no)).local, "{no}");
    }
}

#[test]
fn a_variable_is_seen_beside_arguments_that_only_look_like_its_flag() {
    let run = chatctl("up --tag a=--stage=x -vojson").env("CHATCTL_STAGE", "dev").env("CHATCTL_OUTPUT", "text");
    let config = resolve(&run.env("CHATCTL_VERBOSE", "1"));
    assert_eq!((config.stage.as_str(), config.face.json, config.face.verbose), ("dev", true, true));
}

#[test]
fn lists_from_the_environment_are_separated_by_commas() {
    let config = resolve(&chatctl("up").env("CHATCTL_TAG", "team=chat,cost=42"));
    assert_eq!(format!("{:?}", config.tags), r#"{"cost": "42", "team": "chat"}"#);
}

#[test]
fn tags_of_the_file_and_of_flags_add_up() {
    let run = chatctl("up --tag b=flag").file("chatctl.toml", "[tags]\na = 'file'\nb = 'file'\n");
    assert_eq!(format!("{:?}", resolve(&run).tags), r#"{"a": "file", "b": "flag"}"#);
}
