//! Which of the options that all verbs take does something for a verb. The rest is left out of its help; it is still taken,
//! so that a command line can be made longer without a second thought.

use clap::{Arg, Command};

const NAME: &[&str] = &["name", "name_from"];
const ROLES: &[&str] = &["role_path"];
const WHERE: &[&str] = &["region", "profile", "local", "config"];
/// How to tell what is done on this machine.
const FACE: &[&str] = &["output", "quiet", "verbose", "color"];
const HOW: &[&str] = &["timeout", "output", "quiet", "verbose", "timings", "color"];
/// What else decides which functions and queues there are, where clients connect, and how they prove who they are.
const CHAT: &[&str] = &["stage", "authorizer", "jwt_issuer", "jwt_audience", "jwt_token", "keep_alive", "delivery"];

/// By verb, what it obeys; a verb that is not here obeys all.
const OBEYED: &[(&str, &[&[&str]])] = &[
    ("down", &[NAME, ROLES, CHAT, WHERE, HOW]),
    ("list", &[ROLES, WHERE, HOW]),
    ("reap", &[ROLES, CHAT, WHERE, HOW]),
    ("verify", &[NAME, CHAT, WHERE, HOW]),
    ("chat", &[NAME, CHAT, WHERE, HOW]),
    ("open", &[NAME, CHAT, WHERE, HOW]),
    ("logs", &[NAME, CHAT, WHERE, HOW]),
    ("redrive", &[NAME, CHAT, WHERE, HOW]),
    ("init", &[FACE]),
    ("local", &[&["region", "config", "timeout"], FACE]),
    ("completions", &[]),
    ("schema", &[]),
    ("man", &[]),
];

/// The command line, each verb with what it obeys in its help.
pub fn shown(command: Command) -> Command {
    let shared: Vec<_> = command.get_arguments().filter(|arg| arg.is_global_set()).cloned().collect();
    command.mut_subcommands(|verb| {
        let Some((_, obeyed)) = OBEYED.iter().find(|(name, _)| *name == verb.get_name()) else { return verb };
        let obeys = |arg: &Arg| obeyed.iter().any(|options| options.contains(&arg.get_id().as_str()));
        let hidden: Vec<_> = shared.iter().filter(|arg| !obeys(arg)).map(|arg| arg.clone().hide(true)).collect();
        without(verb, &hidden)
    })
}

/// What stands there already does not come from above.
fn without(verb: Command, hidden: &[Arg]) -> Command {
    verb.args(hidden).mut_subcommands(|below| without(below, hidden))
}
