//! Arguments and environment as one command line, and what is wrong with them as an error of ours.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::error::{ContextKind, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches};

use crate::cli::{Cli, obeyed};
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
    let mut options = BTreeSet::new();
    variables(&Cli::command(), &mut options);
    let known = || options.iter().map(String::as_str).chain(OTHER_VARIABLES);
    let ours = env.0.keys().filter(|name| name.starts_with("CHATCTL_") && !known().any(|known| known == *name));
    ours.map(|name| {
        let near = known().map(|known| (strsim::damerau_levenshtein(known, name), known)).min();
        match near {
            Some((distance, near)) if distance <= 3 => {
                format!("warning: `{name}` in the environment is not a variable of chatctl; did you mean `{near}`?")
            }
            _ => format!("warning: `{name}` in the environment is not a variable of chatctl, and does nothing"),
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
    let with_environment = with_environment(args, &given, env)?;
    let given = if with_environment.len() == args.len() {
        given
    } else {
        // The arguments alone are right, so whatever is wrong now comes from the environment.
        matches(&with_environment).map_err(|error| {
            let option = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
            let long = option.split_whitespace().next().unwrap_or_default().trim_start_matches("--");
            usage(args, &error).hint(format!("it comes from `{}` in the environment", variable_of(long)))
        })?
    };
    Cli::from_arg_matches(&given).map(|cli| Asked::Run(Box::new(cli))).map_err(|error| usage(args, &error))
}

/// How to show an error in the arguments: as they ask for it (`-o json`, `--color`), found wherever it stands, since clap gives
/// nothing of arguments that it refuses.
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

/// The command line, each option with the variable that stands for it, and each verb with the options that it obeys.
pub fn command() -> clap::Command {
    obeyed::shown(with_variables(Cli::command()))
}

fn with_variables(command: Command) -> Command {
    let told = command.mut_args(|arg| match variable(&arg) {
        Some(variable) if !reads_its_variable_itself(&arg) => {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            arg.help(format!("{help} [env: {variable}]"))
        }
        _ => arg,
    });
    told.mut_subcommands(with_variables)
}

/// Whether it says so in its help: its values may be secrets, so they do not become arguments.
fn reads_its_variable_itself(arg: &Arg) -> bool {
    arg.get_help().is_some_and(|help| help.to_string().contains("[env: "))
}

fn matches(args: &[String]) -> Result<ArgMatches, clap::Error> {
    command().try_get_matches_from(with_name(args))
}

fn with_name(args: &[String]) -> impl Iterator<Item = &str> {
    std::iter::once("chatctl").chain(args.iter().map(String::as_str))
}

/// The variables of all options, those of the verbs included.
fn variables(command: &Command, found: &mut BTreeSet<String>) {
    found.extend(command.get_arguments().filter_map(variable));
    for verb in command.get_subcommands() {
        variables(verb, found);
    }
}

fn variable(arg: &Arg) -> Option<String> {
    arg.get_long().map(variable_of)
}

fn variable_of(long: &str) -> String {
    format!("CHATCTL_{}", long.to_uppercase().replace('-', "_"))
}

/// The arguments, and with them the options that only the environment sets: those of the whole program before all, those of
/// the verb behind it.
fn with_environment(args: &[String], given: &ArgMatches, env: &Env) -> Result<Vec<String>> {
    let (mut command, mut own, mut path) = (&Cli::command(), given, Vec::new());
    let everywhere = from_environment(command, given, env)?;
    while let Some((name, below)) = own.subcommand() {
        let Some(verb) = command.find_subcommand(name) else { break };
        (command, own) = (verb, below);
        path.push(name);
    }
    let of_verb = if path.is_empty() { Vec::new() } else { from_environment(command, own, env)? };
    let (before, behind) = args.split_at(if of_verb.is_empty() { 0 } else { end_of_verb(args, &path) });
    Ok([&everywhere, before, &of_verb, behind].concat())
}

/// Where the verb ends, which is only known once the values of the options before it are.
fn end_of_verb(args: &[String], path: &[&str]) -> usize {
    let verb = |until: usize| {
        let read = command().ignore_errors(true).try_get_matches_from(with_name(&args[..until])).ok()?;
        let (mut found, mut at) = (Vec::new(), &read);
        while let Some((name, below)) = at.subcommand() {
            found.push(name.to_owned());
            at = below;
        }
        Some(found)
    };
    (1..args.len()).find(|until| verb(*until).is_some_and(|found| found == path)).unwrap_or(args.len())
}

/// The options of `command` that only the environment sets, as arguments.
fn from_environment(command: &Command, given: &ArgMatches, env: &Env) -> Result<Vec<String>> {
    let is_given = |arg: &Arg| given.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
    let mut set = Vec::new();
    for arg in command.get_arguments().filter(|arg| !reads_its_variable_itself(arg)) {
        let (Some(long), Some(variable)) = (arg.get_long(), variable(arg)) else { continue };
        // Set to nothing counts as not set, but for this one: a branch that is not known must not become the default.
        let set_to = if long == "name-from" { env.0.get(&variable).map(String::as_str) } else { env.get(&variable) };
        let Some(value) = set_to else { continue };
        // An argument goes before a variable, also before that of another option which excludes it.
        if is_given(arg)
            || command.get_arguments().any(|other| is_given(other) && exclude_each_other(command, arg, other))
        {
            continue;
        }
        match arg.get_action() {
            ArgAction::Append => set.extend(value.split(',').map(|value| format!("--{long}={value}"))),
            action if action.takes_values() => set.push(format!("--{long}={value}")),
            _ if is_true(&variable, value)? => set.push(format!("--{long}")),
            _ => {}
        }
    }
    Ok(set)
}

fn exclude_each_other(command: &Command, one: &Arg, other: &Arg) -> bool {
    let excludes =
        |one, other: &Arg| command.get_arg_conflicts_with(one).iter().any(|arg| arg.get_id() == other.get_id());
    excludes(one, other) || excludes(other, one)
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
