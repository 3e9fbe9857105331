//! Flag over environment over settings file over default, for every option there is.

use std::collections::BTreeSet;

use chatctl::arguments::{self, Asked};
use chatctl::config::Config;
use chatctl::host::Host;
use support::settings::{self, SETTINGS};

use super::run::{Run, Written, chatctl};

fn resolve(run: &Run) -> Config {
    let host: Host = run.host(&Written::default(), &Written::default());
    match arguments::parse(run.args(), &host.env).unwrap_or_else(|error| panic!("{error}")) {
        Asked::Run(cli) => Config::resolve(cli.settings, &host).unwrap_or_else(|error| panic!("{error}")),
        Asked::Tell(text) => panic!("{text}"),
    }
}

#[test]
fn flag_over_environment_over_file_over_default() {
    for row in SETTINGS {
        let with = |file: bool, env: bool, flag: bool| {
            let mut run = chatctl("up");
            if file || !row.beside.is_empty() && (env || flag) {
                run = run.file("chatctl.toml", &format!("{}{}\n", row.beside, if file { row.file } else { "" }));
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

/// The table of the tests has all options, and says of each how it is set for AWS, unless nothing of it is there or it takes
/// files.
#[test]
fn no_option_is_left_out_of_the_table() {
    let command = arguments::command();
    let all = command.get_arguments().filter(|arg| arg.is_global_set()).filter_map(|arg| arg.get_long());
    let known = SETTINGS.iter().map(|setting| setting.long).chain(["config"]);
    assert_eq!(all.collect::<BTreeSet<&str>>(), known.collect());

    let one_by_one = settings::lines(1, &[]);
    let set: BTreeSet<&str> = one_by_one.iter().flat_map(|line| settings::options(line)).collect();
    let mut unset: Vec<&str> = SETTINGS.iter().map(|setting| setting.long).filter(|long| !set.contains(long)).collect();
    unset.sort_unstable();
    let elsewhere = ["handlers", "name", "name-from"];
    let of_the_run = ["color", "local", "output", "profile", "quiet", "region", "timeout", "timings", "verbose"];
    let mut expected = [&elsewhere[..], &of_the_run].concat();
    expected.sort_unstable();
    assert_eq!(unset, expected);
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
