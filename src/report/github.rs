//! What GitHub Actions reads: step outputs, the job summary, annotations.

use std::fs::OpenOptions;
use std::io::{self, Write};

use crate::config::{Authorizer, Config};
use crate::engine::scope::Scope;
use crate::error::Error;
use crate::host::{Host, lines, visible};
use crate::progress::Reporter;

/// Shows `error` beside the job, when this runs in one. The runner looks for such lines on both streams, and stdout is
/// for results.
pub fn annotate(host: &Host, error: &Error) {
    if host.env.get("GITHUB_ACTIONS") == Some("true") {
        let hint = error.hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        let text = lines(&format!("{}{hint}", error.message)).replace('%', "%25").replace('\n', "%0A");
        // As it is: this one is a command, and has one line.
        host.stderr.write(&format!("::error title=chatctl::{}\n", visible(&text)));
    }
}

/// Tells later steps which deployment this run is about, before anything can fail.
pub fn begin(host: &Host, reporter: &dyn Reporter, config: &Config) {
    tell(host, reporter, &[("name", config.name.as_str()), ("stage", &config.stage)], String::new);
}

/// Adds to the outputs of the step and to the summary of the job, where GitHub has named files for them. If a file cannot be
/// written, a note says so; the run ends as it would have ended.
pub fn tell(host: &Host, reporter: &dyn Reporter, outputs: &[(&str, &str)], summary: impl FnOnce() -> String) {
    let outputs = || outputs.iter().map(|(name, value)| format!("{name}={}\n", visible(value))).collect::<String>();
    let warn = |variable: &str, result: io::Result<()>| {
        if let Err(error) = result {
            reporter.note(&format!("warning: cannot write to the file in `{variable}`: {error}"));
        }
    };
    warn("GITHUB_OUTPUT", append(host, "GITHUB_OUTPUT", outputs));
    warn("GITHUB_STEP_SUMMARY", append(host, "GITHUB_STEP_SUMMARY", summary));
}

fn append(host: &Host, variable: &str, text: impl FnOnce() -> String) -> io::Result<()> {
    match host.env.get(variable) {
        Some(path) => {
            OpenOptions::new().append(true).create(true).open(host.cwd.join(path))?.write_all(text().as_bytes())
        }
        None => Ok(()),
    }
}

/// `text` in Markdown as it is: whatever is in it, it neither ends nor marks anything up.
pub fn code(text: &str) -> String {
    let text = visible(text);
    let fence = "`".repeat(longest_run(&text) + 1);
    // A blank on both sides belongs to the fence, and so lets the text begin or end with a backtick.
    let pad =
        if text.is_empty() || text.starts_with('`') || text.ends_with('`') || text.trim() != text { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// `text` of several lines in Markdown as it is, coloured as `language`.
pub fn block(language: &str, text: &str) -> String {
    let text = text.split('\n').map(visible).collect::<Vec<_>>().join("\n");
    let fence = "`".repeat((longest_run(&text) + 1).max(3));
    format!("{fence}{language}\n{text}{fence}\n")
}

/// How many backticks follow one another at most.
fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or_default()
}

/// `text` in a label of a Mermaid picture, where all but plain characters are written by their numbers.
fn label(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.$ ,:/".contains(c);
    text.chars().map(|c| if plain(c) { c.to_string() } else { format!("#{};", u32::from(c)) }).collect()
}

/// A link in Markdown to an address of ours; nothing where there is none.
pub fn link(text: &str, address: &str) -> String {
    if address.is_empty() { String::new() } else { format!("[{text}]({address})") }
}

/// `text` in Markdown, shown to who asks for it.
pub fn folded(title: &str, text: &str) -> String {
    format!("<details><summary>{title}</summary>\n\n{text}\n</details>\n")
}

/// A Markdown table.
pub fn table<const N: usize>(headings: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let line = |cells: [String; N]| format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
    let mut text = line(headings.map(str::to_owned)) + &line(headings.map(|_| "---".to_owned()));
    text.extend(rows.into_iter().map(line));
    text
}

/// The deployment as a Mermaid picture: who calls whom.
pub fn picture(scope: &Scope) -> String {
    let config = &scope.config;
    let mut lines = vec![
        "```mermaid".to_owned(),
        "flowchart LR".to_owned(),
        format!("  clients([clients]) <--> api[\"WebSocket API {}<br>stage {}\"]", config.name, config.stage),
    ];
    match &config.authorizer {
        Authorizer::None => {}
        Authorizer::Iam => lines.push("  api -. \"who connects\" .-> iam[\"IAM\"]".to_owned()),
        Authorizer::Jwt(_) => lines.extend(config.app.authorizer().map(|ours| {
            format!("  api -. \"who connects\" .-> {}[\"{}\"]", ours.name, config.function_name(&ours.name))
        })),
        Authorizer::Lambda(arn) => {
            let name = arn.rsplit(':').next().unwrap_or_default();
            lines.push(format!("  api -. \"who connects\" .-> authorizer[\"{}\"]", label(name)));
        }
    }
    for function in config.app.functions() {
        let name = config.function_name(&function.name);
        for route in config.app.routes().iter().filter(|route| route.function == function.name) {
            lines.push(format!("  api -- \"{}\" --> {}[\"{name}\"]", route.key, function.name));
        }
        let actions: Vec<&str> = function.table_actions.iter().filter_map(|action| action.split(':').nth(1)).collect();
        let uses_table = !actions.is_empty();
        lines.extend(uses_table.then(|| {
            format!("  {} -- \"{}\" --> table[(\"{}\")]", function.name, actions.join(", "), config.table_name())
        }));
        if function.posts_to_connections {
            lines.push(format!("  {} -. \"POST @connections\" .-> api", function.name));
        }
    }
    lines.push("```".to_owned());
    lines.join("\n") + "\n"
}
