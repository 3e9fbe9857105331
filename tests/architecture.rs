//! Who may do what in `src/`: the rules of CONTRIBUTING.md that the compiler does not know.

use std::fs;
use std::path::{Path, PathBuf};

/// Every line of our code with its file, without comments and without tests.
fn lines() -> Vec<(String, usize, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    for path in files(&root) {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            if line.trim() == "#[cfg(test)]" {
                break;
            }
            if !line.trim_start().starts_with("//") {
                all.push((name.clone(), number + 1, line.to_owned()));
            }
        }
    }
    assert!(all.len() > 1000, "the sources are not where they were");
    all
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<PathBuf> = entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    all.sort();
    all
}

/// The lines with one of `words`, outside of `places`: folders, which end in `/`, or files.
fn strays(words: &[&str], places: &[&str]) -> Vec<String> {
    let is_allowed =
        |file: &str| places.iter().any(|p| if p.ends_with('/') { file.starts_with(p) } else { file == *p });
    let has_word = |line: &str| words.iter().any(|word| line.contains(word));
    let found = lines().into_iter().filter(|(file, _, line)| !is_allowed(file) && has_word(line));
    found.map(|(file, number, line)| format!("src/{file}:{number}: {}", line.trim())).collect()
}

#[track_caller]
fn only_in(words: &[&str], places: &[&str]) {
    let strays = strays(words, places);
    assert!(strays.is_empty(), "{words:?} outside of {places:?}:\n{}", strays.join("\n"));
    assert!(!self::strays(words, &[]).is_empty(), "{words:?} is nowhere, so this checks nothing");
}

#[test]
fn only_resources_and_aws_name_a_service_of_the_sdk() {
    only_in(&["aws_sdk_"], &["aws/", "resources/"]);
}

#[test]
fn only_report_commands_and_clients_print() {
    only_in(
        &["stdout.line(", "stdout.write(", "stderr.line(", "stderr.write(", "out.line("],
        // `lib.rs` passes on help and version, which are made elsewhere.
        &["chat/", "commands/", "report/", "lib.rs"],
    );
    only_in(&["println!", "print!", "eprintln!", "eprint!"], &["main.rs"]);
}

#[test]
fn only_the_host_the_local_aws_and_the_chat_prompt_look_at_the_world_outside() {
    only_in(
        &["std::env::", "env::var", "io::stdin()", "io::stdout()", "io::stderr()"],
        &["host.rs", "main.rs", "local/", "chat/session/"],
    );
}

#[test]
fn only_the_way_out_knows_exit_codes() {
    only_in(&["ExitCode"], &["error.rs", "main.rs"]);
    assert_eq!(strays(&["process::exit", "std::process::abort"], &[]), [""; 0]);
}

/// The engine, the kinds and what they stand on know nothing of verbs and faces.
#[test]
fn the_layers_know_only_what_is_below_them() {
    let upwards: Vec<String> = lines()
        .into_iter()
        .filter(|(file, _, _)| ["engine/", "resources/", "aws/"].iter().any(|place| file.starts_with(place)))
        .filter(|(_, _, line)| {
            ["crate::commands", "crate::report", "crate::cli", "crate::arguments"].iter().any(|m| line.contains(m))
        })
        .map(|(file, number, line)| format!("src/{file}:{number}: {}", line.trim()))
        .collect();
    assert_eq!(upwards, [""; 0]);
}

#[test]
fn every_file_begins_with_what_it_is_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in files(&root) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{} has no module comment", path.display());
    }
}
