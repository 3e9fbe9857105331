//! Arguments and environment as one command line, and what is wrong with them as an error of ours.

use clap::error::{ContextKind, ErrorKind};
use clap::{ArgMatches, CommandFactory, FromArgMatches};

use crate::cli::Cli;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::host::Env;

/// What the command line asks for.
pub enum Asked {
    Run(Box<Cli>),
    /// A text, and nothing else: help or version.
    Tell(String),
}

/// Reads the arguments, and for every option that is not among them the variable that stands for it.
///
/// # Errors
/// A usage error.
pub fn parse(args: &[String], env: &Env) -> Result<Asked> {
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
        matches(&[&set, args].concat())
            .map_err(|error| usage(args, &error).hint("it comes from a `CHATCTL_…` variable in the environment"))?
    };
    Cli::from_arg_matches(&given).map(|cli| Asked::Run(Box::new(cli))).map_err(|error| usage(args, &error))
}

/// As much of the settings as can be understood, to show an error in the way that was asked for.
pub fn lenient(args: &[String], env: &Env) -> Settings {
    let read = |args: &[String]| command().ignore_errors(true).try_get_matches_from(with_name(args)).ok();
    let Some(given) = read(args) else { return Settings::default() };
    let set = from_environment(&given, env).unwrap_or_default();
    read(&[&set, args].concat()).and_then(|given| Settings::from_arg_matches(&given).ok()).unwrap_or_default()
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
    Some(format!("CHATCTL_{}", arg.get_long()?.to_uppercase().replace('-', "_")))
}

/// The options that only the environment sets, as arguments.
fn from_environment(given: &ArgMatches, env: &Env) -> Result<Vec<String>> {
    let is_given = |id: &str| given.value_source(id) == Some(clap::parser::ValueSource::CommandLine);
    let mut set = Vec::new();
    for arg in Cli::command().get_arguments().filter(|arg| arg.is_global_set()) {
        let (Some(long), Some(variable)) = (arg.get_long(), variable(arg)) else { continue };
        // A name that was given is not made from anything else.
        let rival = matches!(long, "name" | "name-from") && (is_given("name") || is_given("name_from"));
        let Some(value) = env.get(&variable) else { continue };
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
    let rendered = error.render().to_string();
    let complaint = rendered.split("\n\n").next().unwrap_or_default();
    let message = complaint.strip_prefix("error: ").unwrap_or(complaint).trim_end().replace('\'', "`");
    let likely = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue]
        .into_iter()
        .find_map(|kind| error.get(kind))
        .map(|likely| likely.to_string().split(", ").next().unwrap_or_default().trim_matches('\'').to_owned());
    Error::usage(message).hint(match likely {
        Some(likely) => format!("did you mean `{likely}`?"),
        None => format!("`{help}` shows what there is"),
    })
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
