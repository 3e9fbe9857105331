//! Help, its examples, completions and the manual page.

use std::collections::BTreeSet;
use std::time::Duration;

use chatctl::arguments;
use chatctl::error::Exit;
use clap::Command;
use support::{DataDir, Folder, chatctl, ministack};

use super::run;
use super::snapshot::assert_snapshot;

const PROGRAM: &str = env!("CARGO_BIN_EXE_chatctl");

/// Every verb, with those below it: `local start`.
pub fn verbs() -> Vec<String> {
    fn below(command: &Command, path: &str, all: &mut Vec<String>) {
        for verb in command.get_subcommands() {
            let path = format!("{path}{}", verb.get_name());
            below(verb, &format!("{path} "), all);
            all.push(path);
        }
    }
    let mut all = Vec::new();
    below(&arguments::command(), "", &mut all);
    all
}

/// The help as the binary prints it where no terminal decides the width.
async fn help(line: &str) -> String {
    let ended = chatctl(PROGRAM).args(line.split_whitespace()).run().await.expect(0);
    assert_eq!(ended.stderr, "", "{line}");
    ended.stdout
}

#[tokio::test]
async fn every_help() {
    assert_snapshot("help", &help("--help").await);
    let mut text = String::new();
    for verb in verbs() {
        let help = help(&format!("{verb} --help")).await;
        // What verbs share is in the help of the program; here it is named.
        let sections = ["Deployment", "Functions", "Security", "Where", "How"].map(|name| format!("\n{name}:\n"));
        let shared = sections.iter().filter_map(|section| help.find(section)).min().unwrap_or(help.len());
        let examples = help.find("\nExamples:\n").unwrap_or(help.len());
        let (own, shared) = (&help[..shared.min(examples)], &help[shared.min(examples)..examples]);
        let options = shared.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
        let names: Vec<&str> =
            options.filter_map(|line| line.split(['[', ' ']).find(|word| word.starts_with("--"))).collect();
        let obeys = if names.is_empty() { String::new() } else { format!("\n({})\n", names.join(" ")) };
        text.push_str(&format!("$ chatctl {verb} --help\n{own}{obeys}{}\n", &help[examples..]));
    }
    assert_snapshot("help-of-verbs", &text);
}

#[test]
fn every_option_has_its_variable_in_the_help() {
    fn look(command: &Command) {
        for arg in command.get_arguments() {
            let Some(long) = arg.get_long() else { continue };
            let help = arg.get_help().unwrap().to_string();
            let variable = format!("[env: CHATCTL_{}]", long.replace('-', "_").to_uppercase());
            assert_eq!(help.matches(&variable).count(), 1, "--{long} of {}: {help}", command.get_name());
        }
        command.get_subcommands().for_each(look);
    }
    look(&arguments::command());
}

/// What does nothing is only in the way of who reads.
#[tokio::test]
async fn a_verb_shows_only_what_it_obeys() {
    for (line, shown, hidden) in [
        ("local stop", "--timeout", "--memory"),
        ("completions", "Usage:", "--name"),
        ("down", "--name", "--memory"),
        ("list", "--region", "--stage"),
        ("up", "--memory", "--max-p99"),
    ] {
        let help = help(&format!("{line} --help")).await;
        assert!(help.contains(shown) && !help.contains(hidden), "{line}: {help}");
    }
    // It is taken nonetheless: nobody has to think of it.
    assert_eq!(run::chatctl("completions bash --name x --memory 512").run().await.exit, Exit::Done);
}

/// Such an option of a verb would set the other one as well.
#[test]
fn no_option_of_a_verb_has_the_id_of_one_that_all_have() {
    let command = arguments::command();
    let everywhere: BTreeSet<_> = command.get_arguments().map(|arg| arg.get_id().clone()).collect();
    for verb in command.get_subcommands() {
        for arg in verb.get_arguments().filter(|arg| !arg.is_global_set()) {
            assert!(!everywhere.contains(arg.get_id()), "`{}` of `{}`", arg.get_id(), verb.get_name());
        }
    }
}

fn examples_of(verb: &str) -> Vec<String> {
    let mut command = arguments::command();
    for word in verb.split_whitespace() {
        command = command.find_subcommand(word).unwrap().clone();
    }
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let lines = text.strip_prefix("Examples:\n").unwrap_or_default().lines();
    lines.take_while(|line| line.starts_with("  ")).map(|line| line.trim().to_owned()).collect()
}

/// In an order in which each finds what it needs; all against one local AWS.
#[tokio::test]
async fn every_example_in_the_help_runs() {
    // What runs until it is stopped, and is stopped after a while.
    const ENDLESS: [&str; 5] = [
        "chatctl dev",
        "chatctl dev --name my-app",
        "chatctl chat --local --as ada",
        "chatctl open --local",
        "chatctl open --no-browser",
    ];
    let data_dir = DataDir::new().await;
    let server = ministack().await;
    let account = server.account();
    let bin = Folder::new();
    std::os::unix::fs::symlink(PROGRAM, bin.0.join("chatctl")).unwrap();
    let path = format!("{}:{}", bin.0.display(), std::env::var("PATH").unwrap());

    let mut verbs = verbs();
    let last = |verb: &String| ["reap", "down", "local"].iter().position(|last| verb.starts_with(last));
    verbs.sort_by_key(|verb| (last(verb), verb != "up"));
    let mut seen = BTreeSet::new();
    let mut examples: Vec<String> = Vec::new();
    for verb in verbs {
        let own = examples_of(&verb);
        assert!(verb.contains(' ') || !own.is_empty(), "the help of `{verb}` has no examples");
        examples.extend(own);
    }
    // `status`, `list` and the like without a name need a deployment that has none either.
    examples.insert(0, "chatctl up".to_owned());
    for example in examples.into_iter().filter(|example| seen.insert(example.clone())) {
        assert!(example.contains("chatctl "), "`{example}` is no example of ours");
        let run = |script: &str| {
            chatctl("/bin/sh")
                .args(["-ec", script])
                .account(server, &account)
                .data_dir(&data_dir)
                .env("PATH", &path)
                .env("BROWSER", "true")
        };
        if ENDLESS.contains(&example.as_str()) {
            let stopped = async |after: u8| run(&format!("timeout --signal=INT {after} {example}")).run().await;
            let mut ended = stopped(2).await;
            if ended.stderr.contains("error: interrupted") {
                // A busy machine had not got it going by then.
                ended = stopped(40).await;
            }
            assert!([Some(124), Some(130), Some(0)].contains(&ended.code), "{example}: {}", ended.stderr);
            assert!(!ended.stderr.contains("error"), "{example}: {}", ended.stderr);
            continue;
        }
        if example == "chatctl redrive" {
            run("chatctl up --delivery queue").run().await.expect(0);
        }
        let ended = run(&example).timeout(Duration::from_secs(120)).run().await;
        assert_eq!(ended.code, Some(0), "{example}\n{}\n{}", ended.stdout, ended.stderr);
        // A local AWS measures this machine.
        let whose = ended.stderr.contains("the times are those of the local AWS on this machine");
        assert_eq!(whose, example == "chatctl verify --local", "{example}\n{}", ended.stderr);
    }
}

#[tokio::test]
async fn completions_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = run::chatctl("completions").arg(shell).run().await;
        assert_eq!((ended.exit, ended.stderr.as_str()), (Exit::Done, ""));
        for word in ["status", "permissions-boundary", "exit-code"] {
            assert!(ended.stdout.contains(word), "{shell} does not know `{word}`");
        }
    }
}

/// Options with values, in the order in which a shell is to offer them.
const VALUES: [(&str, &[&str]); 5] = [
    ("architecture", &["arm64", "x86_64"]),
    ("delivery", &["direct", "queue"]),
    ("output", &["text", "json"]),
    ("color", &["auto", "always", "never"]),
    ("example", &["echo", "rooms"]),
];

/// Each verb, by its path, with its own options and the verbs below it.
fn known() -> Vec<(String, Vec<String>, Vec<String>)> {
    let of = |path: String| {
        let mut command = arguments::command();
        for word in path.split_whitespace() {
            command = command.find_subcommand(word).unwrap().clone();
        }
        let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
        let options = shown.filter_map(|arg| arg.get_long().map(str::to_owned)).collect();
        let below = command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
        (path, options, below)
    };
    verbs().into_iter().chain([String::new()]).map(of).collect()
}

/// No machine has this shell for certain, so this reads the script as the shell would: a line of conditions for each option.
#[tokio::test]
async fn fish_is_told_verbs_options_and_values() {
    let script = run::chatctl("completions fish").run().await.stdout;
    let entries: Vec<&str> = script.split("\ncomplete -c chatctl -n ").skip(1).collect();
    for (path, options, below) in known() {
        let seen = match path.split_once(' ') {
            _ if path.is_empty() => "\"__fish_chatctl_needs_command\"".to_owned(),
            None => format!("\"__fish_chatctl_using_subcommand {path}"),
            Some((verb, below)) => {
                format!("\"__fish_chatctl_using_subcommand {verb}; and __fish_seen_subcommand_from {below}\"")
            }
        };
        let entry = |what: &str| entries.iter().find(|entry| entry.starts_with(&seen) && entry.contains(what));
        for option in options {
            let entry = entry(&format!(" -l {option} -d '")).unwrap_or_else(|| panic!("`--{option}` of `{path}`"));
            for (_, values) in VALUES.iter().filter(|(long, _)| *long == option) {
                let listed = values.iter().map(|value| format!("{value}\\t''")).collect::<Vec<_>>().join("\n");
                assert!(entry.ends_with(&format!(" -r -f -a \"{listed}\"")), "{entry}");
            }
        }
        for verb in below {
            assert!(entry(&format!(" -a \"{verb}\" -d '")).is_some(), "`{verb}` of `{path}`");
        }
    }
}

/// As above: a block of arguments for each verb, and a list of the verbs below it.
#[tokio::test]
async fn zsh_is_told_verbs_options_and_values() {
    let script =
        run::chatctl("completions zsh").run().await.stdout.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    assert!(script.starts_with("#compdef chatctl\n") && script.ends_with("compdef _chatctl chatctl\nfi"), "{script}");
    for (path, options, below) in known() {
        let verb = path.rsplit(' ').next().unwrap();
        let begin = if path.is_empty() { "_chatctl() {\n".to_owned() } else { format!("\n({verb})\n") };
        let blocks = script.split(&begin).skip(1).map(|rest| rest.split("&& ret=0").next().unwrap());
        let block = blocks.collect::<String>();
        for option in options {
            let mut lines = block.lines().filter(|line| line.contains(&format!("--{option}")));
            let is_of = |line: &&str| ["=", "["].iter().any(|end| line.contains(&format!("--{option}{end}")));
            let line = lines.find(is_of).unwrap_or_else(|| panic!("`--{option}` of `{path}`"));
            for (_, values) in VALUES.iter().filter(|(long, _)| *long == option) {
                assert!(line.contains(&format!(":({})'", values.join(" "))), "{line}");
            }
        }
        let steps = path.split_whitespace().map(|word| format!("__subcmd__{word}")).collect::<String>();
        let list = script.split(&format!("\n_chatctl{steps}_commands() {{\n")).nth(1).unwrap();
        let list = list.split("\n}\n").next().unwrap();
        for verb in below {
            assert!(list.contains(&format!("\n'{verb}:")), "`{verb}` of `{path}`: {list}");
        }
    }
}

/// As somebody presses Tab, in the shell itself.
#[tokio::test]
async fn bash_completes_verbs_options_and_values() {
    let complete = async |line: &str| {
        let words: Vec<String> = line.split(' ').map(|word| format!("'{word}'")).collect();
        let (last, before) = (words.last().unwrap(), &words[words.len() - 2]);
        let script = format!(
            "source <({PROGRAM} completions bash); COMP_WORDS=({}); COMP_CWORD={}; _chatctl chatctl {last} {before}; \
             echo \"${{COMPREPLY[@]}}\"",
            words.join(" "),
            words.len() - 1
        );
        chatctl("/bin/bash").args(["-ec", &script]).run().await.expect(0).stdout.trim().to_owned()
    };
    for (line, completed) in [
        ("chatctl sta", "status"),
        ("chatctl --local sta", "status"),
        ("chatctl -q --name pr-7 red", "redrive"),
        ("chatctl up --architecture ", "arm64 x86_64"),
        ("chatctl --output ", "text json"),
        ("chatctl --local status -o j", "json"),
        ("chatctl status --color al", "always"),
        ("chatctl up --delivery q", "queue"),
        ("chatctl logs --function send", "sendMessage"),
        ("chatctl list --region eu-c", "eu-central-1"),
        ("chatctl plan --exit", "--exit-code"),
        ("chatctl completions f", "fish"),
    ] {
        assert_eq!(complete(line).await, completed, "{line}");
    }
}

#[tokio::test]
async fn the_manual_has_every_verb_and_every_option() {
    let ended = run::chatctl("man").run().await;
    assert_eq!((ended.exit, ended.stderr.as_str()), (Exit::Done, ""));
    for verb in verbs() {
        assert!(ended.stdout.contains(&format!(".SH \"{}\"\n", verb.to_uppercase())), "{verb}");
    }
    let page = ended.stdout.replace("\\-", "-");
    for arg in arguments::command().get_arguments() {
        assert!(page.contains(&format!("--{}", arg.get_long().unwrap())), "{arg}");
    }
    for own in ["--destroy", "--dry-run", ".SH EXAMPLES", ".SS EXAMPLES"] {
        assert!(page.contains(own), "{own}");
    }
}

#[tokio::test]
async fn what_is_generated_needs_no_settings_file_that_works() {
    for line in ["man", "completions fish", "--help", "--version"] {
        let ended = run::chatctl(line).file("chatctl.toml", "no settings").run().await;
        assert_eq!((ended.exit, ended.stderr.as_str()), (Exit::Done, ""), "{line}");
    }
}
