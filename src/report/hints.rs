//! Commands in errors and hints, made such that a copy of one reaches the deployment that the run was about.

use crate::config::Settings;
use crate::error::Error;

/// `error`, each `chatctl …` in it with what this run was `given` on where to look.
pub fn complete(error: Error, given: &Settings) -> Error {
    let hint = error.hint.as_ref().map(|hint| repeat(hint, given));
    Error { message: repeat(&error.message, given), hint, ..error }
}

const AGAIN: &str = "run the same command again";

/// `error` of a run that goes on and tries again by itself.
pub fn staying(error: Error) -> Error {
    let hint = error.hint.map(|hint| hint.replace(AGAIN, "save once more, or press `r`"));
    Error { hint, ..error }
}

/// `error` of a verb that writes, which does not begin anew when it is run again.
pub fn continuing(error: Error) -> Error {
    let hint = error.hint.map(|hint| hint.replace(AGAIN, &format!("{AGAIN}, which continues where this run stopped")));
    Error { hint, ..error }
}

/// A hint that stands alone, such as beside a result.
pub fn completed(hint: &str, given: &Settings) -> String {
    repeat(hint, given)
}

/// Each command in backticks with the options that it needs; the rest of `text` as it is.
fn repeat(text: &str, given: &Settings) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    let last = parts.len() - 1;
    let with_options = |(at, part): (usize, &&str)| {
        if at == 0 || at == last { (*part).to_owned() } else { format!("{part}{}", missing(part, given)) }
    };
    parts.iter().enumerate().map(with_options).collect::<Vec<_>>().join("`")
}

/// What was given, the verb of `command` takes, and `command` does not have yet.
fn missing(command: &str, given: &Settings) -> String {
    let own = command.rsplit("| ").next().unwrap_or_default();
    let words: Vec<&str> = own.split_whitespace().collect();
    let ["chatctl", verb, ..] = words[..] else { return String::new() };
    let (on_aws, of_one) = match verb {
        _ if words.contains(&"--help") => return String::new(),
        "up" | "down" | "status" | "plan" | "verify" | "chat" | "open" | "logs" | "redrive" => (true, true),
        // Which is about the local AWS anyway.
        "dev" => (false, true),
        "list" | "reap" => (true, false),
        "policy" | "export" => (false, true),
        _ => return String::new(),
    };
    let config = given.config.as_ref().map(|path| path.display().to_string());
    let options = [
        ("--name", given.name.as_deref(), of_one),
        ("--name-from", given.name_from.as_deref(), of_one),
        ("--stage", given.stage.as_deref(), of_one),
        ("--region", given.region.as_deref(), true),
        ("--profile", given.profile.as_deref(), true),
        ("--config", config.as_deref(), true),
    ];
    let has = |long: &str| words.iter().any(|word| word.split('=').next() == Some(long));
    let mut missing = String::new();
    if given.local && on_aws && !has("--local") {
        missing.push_str(" --local");
    }
    for (long, value, is_taken) in options {
        if let Some(value) = value.filter(|_| is_taken && !has(long)) {
            // What begins with a dash would be read as an option of its own.
            let between = if value.starts_with('-') { '=' } else { ' ' };
            missing.push_str(&format!(" {long}{between}{}", quoted(value)));
        }
    }
    missing
}

/// `value` as one word of a shell.
pub fn quoted(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+=,".contains(c);
    if !value.is_empty() && value.chars().all(is_plain) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn given() -> Settings {
        Settings {
            local: true,
            name: Some("foox".to_owned()),
            stage: Some("dev".to_owned()),
            region: Some("eu-west-1".to_owned()),
            profile: Some("my team's".to_owned()),
            config: Some(PathBuf::from("-c.toml")),
            ..Settings::default()
        }
    }

    #[test]
    fn each_command_gets_what_was_given_and_its_verb_takes() {
        let place = r"--region eu-west-1 --profile 'my team'\''s' --config=-c.toml";
        for (command, want) in [
            ("chatctl up", format!("chatctl up --local --name foox --stage dev {place}")),
            ("chatctl up --local", format!("chatctl up --local --name foox --stage dev {place}")),
            ("echo hi | chatctl chat", format!("echo hi | chatctl chat --local --name foox --stage dev {place}")),
            ("chatctl logs --name=a", format!("chatctl logs --name=a --local --stage dev {place}")),
            ("chatctl list", format!("chatctl list --local {place}")),
            ("chatctl policy", format!("chatctl policy --name foox --stage dev {place}")),
        ] {
            assert_eq!(
                repeat(&format!("`x` is gone; `{command}` helps"), &given()),
                format!("`x` is gone; `{want}` helps")
            );
        }
    }

    #[test]
    fn what_is_no_command_or_takes_none_of_it_stays() {
        for text in [
            "",
            "chatctl up",
            "`chatctl up",
            "`chatctl local start` starts one",
            "`chatctl init` writes a complete folder",
            "`chatctl up --help` shows what there is",
            "keys that start with `chatctl:` are ours",
        ] {
            assert_eq!(repeat(text, &given()), text);
        }
        assert_eq!(repeat("`chatctl up` repairs it", &Settings::default()), "`chatctl up` repairs it");
    }
}
