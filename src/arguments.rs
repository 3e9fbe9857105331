//! Arguments and environment as one command line, and what is wrong with them as an error of ours.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::error::{ContextKind, ErrorKind};
use clap::{ArgMatches, CommandFactory, FromArgMatches};

use crate::cli::Cli;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::host::Env;
use crate::websocket::without_query;

/// What the command line asks for.
pub enum Asked {
    Run(Box<Cli>),
    /// A text, and nothing else: help or version.
    Tell(String),
}

/// Variables of ours that stand for no option: what `--header`, `--query` and `--token` read themselves, where the local AWS is kept, what
/// functions in an emulator are told, and what the template for GitLab installs by.
const OTHER_VARIABLES: [&str; 7] = [
    "CHATCTL_HEADER",
    "CHATCTL_QUERY",
    "CHATCTL_TOKEN",
    "CHATCTL_DATA_DIR",
    "CHATCTL_CONNECTIONS_ENDPOINT",
    "CHATCTL_REPOSITORY",
    "CHATCTL_COMMIT",
];

/// A warning for each variable that begins like ours and is none: a misspelt one would do nothing, silently.
pub fn strangers(env: &Env) -> Vec<String> {
    let command = Cli::command();
    let options: BTreeSet<String> =
        command.get_arguments().filter(|arg| arg.is_global_set()).filter_map(variable).collect();
    let known = || options.iter().map(String::as_str).chain(OTHER_VARIABLES);
    let ours = env.0.keys().filter(|name| name.starts_with("CHATCTL_") && !known().any(|known| known == *name));
    ours.map(|name| {
        let near = known().map(|known| (strsim::damerau_levenshtein(known, name), known)).min();
        match near {
            Some((distance, near)) if distance <= 3 => {
                format!("warning: `{name}` in the environment is no variable of chatctl; did you mean `{near}`?")
            }
            _ => format!("warning: `{name}` in the environment is no variable of chatctl, and does nothing"),
        }
    })
    .collect()
}

/// `help up` as what it stands for: `up --help`.
fn without_help_verb(args: &[String]) -> Vec<String> {
    match args.split_first() {
        Some((first, rest)) if first == "help" && rest.iter().all(|arg| !arg.starts_with('-')) => {
            rest.iter().cloned().chain(["--help".to_owned()]).collect()
        }
        _ => args.to_vec(),
    }
}

/// Reads the arguments, and for every option that is not among them the variable that stands for it.
///
/// # Errors
/// A usage error.
pub fn parse(args: &[String], env: &Env) -> Result<Asked> {
    let args = &without_help_verb(args)[..];
    let given = match matches(args) {
        Ok(given) => given,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return Ok(Asked::Tell(error.render().to_string()));
        }
        Err(error) => return Err(usage(args, &error)),
    };
    let set = from_environment(&given, env)?;
    let given = if set.is_empty() {
        given
    } else {
        // The arguments alone are right, so whatever is wrong now comes from the environment.
        matches(&[&set, args].concat()).map_err(|error| {
            let option = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
            let long = option.split_whitespace().next().unwrap_or_default().trim_start_matches("--");
            usage(args, &error).hint(format!("it comes from `{}` in the environment", variable_of(long)))
        })?
    };
    Cli::from_arg_matches(&given).map(|cli| Asked::Run(Box::new(cli))).map_err(|error| usage(args, &error))
}

/// How to show what is wrong with arguments that cannot be understood: what they say of that themselves, wherever.
pub fn lenient(args: &[String], env: &Env) -> Settings {
    let find = |long: &str, short: Option<char>| {
        let value = spotted(args, long, short).or_else(|| env.get(&variable_of(long)));
        value.map(str::to_owned)
    };
    Settings {
        output: find("output", Some('o')),
        color: find("color", None),
        config: find("config", None).map(PathBuf::from),
        ..Settings::default()
    }
}

/// The value of an option in any of the ways to write one: `--output json`, `--output=json`, `-o json`, `-qojson`.
fn spotted<'a>(args: &'a [String], long: &str, short: Option<char>) -> Option<&'a str> {
    args.iter().enumerate().find_map(|(at, arg)| {
        let value = match arg.strip_prefix("--") {
            Some(rest) => rest.strip_prefix(long).filter(|rest| rest.is_empty() || rest.starts_with('='))?,
            None => {
                let (flags, value) = arg.strip_prefix('-')?.split_once(short?)?;
                flags.chars().all(|flag| "fqv".contains(flag)).then_some(value)?
            }
        };
        match value.trim_start_matches('=') {
            "" => args.get(at + 1).map(String::as_str),
            value => Some(value),
        }
    })
}

/// The command line, each global option with the variable that stands for it.
pub fn command() -> clap::Command {
    Cli::command().mut_args(|arg| match variable(&arg) {
        Some(variable) if arg.is_global_set() => {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            arg.help(format!("{help} [env: {variable}]"))
        }
        _ => arg,
    })
}

fn matches(args: &[String]) -> Result<ArgMatches, clap::Error> {
    command().try_get_matches_from(with_name(args))
}

fn with_name(args: &[String]) -> impl Iterator<Item = &str> {
    std::iter::once("chatctl").chain(args.iter().map(String::as_str))
}

fn variable(arg: &clap::Arg) -> Option<String> {
    arg.get_long().map(variable_of)
}

fn variable_of(long: &str) -> String {
    format!("CHATCTL_{}", long.to_uppercase().replace('-', "_"))
}

/// The options that only the environment sets, as arguments.
fn from_environment(given: &ArgMatches, env: &Env) -> Result<Vec<String>> {
    let is_given = |id: &str| given.value_source(id) == Some(clap::parser::ValueSource::CommandLine);
    let mut set = Vec::new();
    for arg in Cli::command().get_arguments().filter(|arg| arg.is_global_set()) {
        let (Some(long), Some(variable)) = (arg.get_long(), variable(arg)) else { continue };
        // A name that was given is not made from anything else.
        let rival = matches!(long, "name" | "name-from") && (is_given("name") || is_given("name_from"));
        // Set to nothing counts as not set, but for this one: a branch that is not known must not become the default.
        let set_to = if long == "name-from" { env.0.get(&variable).map(String::as_str) } else { env.get(&variable) };
        let Some(value) = set_to else { continue };
        if rival || is_given(arg.get_id().as_str()) {
            continue;
        }
        match arg.get_action() {
            clap::ArgAction::Append => set.extend(value.split(',').map(|value| format!("--{long}={value}"))),
            action if action.takes_values() => set.push(format!("--{long}={value}")),
            _ if is_true(&variable, value)? => set.push(format!("--{long}")),
            _ => {}
        }
    }
    Ok(set)
}

fn is_true(variable: &str, value: &str) -> Result<bool> {
    match value.to_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(Error::usage(format!("`{value}` is not a valid `{variable}`: it takes true or false"))),
    }
}

/// What clap says, in the form that all errors have.
fn usage(args: &[String], error: &clap::Error) -> Error {
    let help = help_command(args);
    if matches!(error.kind(), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand) {
        let first = if help == "chatctl --help" { "`chatctl up --local` is a good one to begin with; " } else { "" };
        return Error::usage("no command was given").hint(format!("{first}`{help}` shows them all"));
    }
    // An address where none belongs may have a token in its query, or a token itself is where it does not belong.
    let shown = |arg: &str| if arg.contains("://") { without_query(arg) } else { "…".to_owned() };
    let rendered = args
        .iter()
        .filter(|arg| arg.contains("://") || looks_like_token(arg))
        .fold(error.render().to_string(), |text, arg| text.replace(arg.as_str(), &shown(arg)));
    let complaint = rendered.split("\n\n").next().unwrap_or_default();
    let message = complaint.strip_prefix("error: ").unwrap_or(complaint).trim_end().replace('\'', "`");
    let message = message.replace(": invalid digit found in string", ": it takes a whole number");
    let likely = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue]
        .into_iter()
        .find_map(|kind| error.get(kind))
        .map(|likely| likely.to_string().split(", ").next().unwrap_or_default().trim_matches('\'').to_owned());
    Error::usage(message).hint(match likely {
        Some(likely) => format!("did you mean `{likely}`?"),
        None => format!("`{help}` shows what there is"),
    })
}

/// JSON Web Tokens begin with `{"` in base64, and their parts are joined by dots.
fn looks_like_token(arg: &str) -> bool {
    arg.split_once("eyJ").is_some_and(|(_, rest)| rest.contains('.'))
}

/// The help that belongs to what was tried: `chatctl plan --help`.
fn help_command(args: &[String]) -> String {
    let mut command = Cli::command();
    let mut words = vec!["chatctl"];
    for arg in args {
        if let Some(verb) = command.find_subcommand(arg).cloned() {
            words.push(arg);
            command = verb;
        }
    }
    format!("{} --help", words.join(" "))
}
