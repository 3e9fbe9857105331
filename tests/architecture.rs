//! Who may do what in `src/`: the rules of CONTRIBUTING.md that the compiler does not know.

use std::collections::{BTreeMap, BTreeSet};
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
        &["host.rs", "host/", "main.rs", "local/", "chat/session/"],
    );
}

/// What one system has alone, and whatever program is run, is in the few places that have a way on the other system, too.
#[test]
fn only_the_local_aws_and_the_page_know_on_which_system_they_are() {
    let places = ["chat/page.rs", "local/child.rs", "local/mod.rs", "local/server.rs"];
    for word in ["target_os", "/proc", "Command::new("] {
        only_in(&[word], &places);
    }
}

#[test]
fn only_the_way_out_knows_exit_codes() {
    only_in(&["ExitCode"], &["error.rs", "main.rs"]);
    assert_eq!(strays(&["process::exit", "std::process::abort"], &[]), [""; 0]);
}

/// From the ground up: a file imports from its own floor and from those below it.
const FLOORS: &[(&str, &[&str])] = &[
    ("words", &["error.rs", "host.rs", "host/", "deadline.rs", "app.rs"]),
    (
        "the world outside",
        &["config/", "handlers.rs", "handlers/", "progress.rs", "watch.rs", "websocket.rs", "websocket/"],
    ),
    ("the local AWS", &["local/"]),
    ("AWS and the command line", &["aws/", "cli.rs", "cli/", "arguments.rs"]),
    ("the engine", &["engine/"]),
    ("the kinds", &["resources/"]),
    ("what is told", &["report/", "policy.rs", "template.rs", "chat/"]),
    ("the verbs", &["commands/"]),
    ("the way in", &["lib.rs", "main.rs"]),
];

/// The floor of a file, by its path within `src/`.
fn floor(file: &str) -> usize {
    let holds = |place: &&str| if place.ends_with('/') { file.starts_with(*place) } else { file == *place };
    let at = FLOORS.iter().position(|(_, places)| places.iter().any(holds));
    at.unwrap_or_else(|| panic!("src/{file} is on no floor"))
}

/// What each file imports, as files: `crate::engine::key::Key` is `engine/key.rs`.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let known: BTreeSet<String> =
        files(&root).iter().map(|path| path.strip_prefix(&root).unwrap().display().to_string()).collect();
    let mut texts: BTreeMap<String, String> = known.iter().map(|file| (file.clone(), String::new())).collect();
    for (file, _, line) in lines() {
        texts.get_mut(&file).unwrap().push_str(line.trim());
    }
    texts.into_iter().map(|(file, text)| (file.clone(), imported(&file, &text, &known))).collect()
}

fn imported(file: &str, text: &str, known: &BTreeSet<String>) -> BTreeSet<String> {
    // The module that a file is, as a path without its ending.
    let own = file.trim_end_matches(".rs").trim_end_matches("/mod").to_owned();
    let above = own.rsplit_once('/').map_or_else(String::new, |(above, _)| format!("{above}::").replace('/', "::"));
    let from = [("crate::", String::new()), ("super::", above), ("self::", format!("{}::", own.replace('/', "::")))];
    let mut paths = BTreeSet::new();
    for (word, base) in from {
        for (at, _) in text.match_indices(word) {
            let whole = !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$');
            if whole {
                paths.extend(spelled_out(&text[at + word.len()..]).into_iter().map(|path| format!("{base}{path}")));
            }
        }
    }
    let file_of = |path: &String| {
        let mut parts: Vec<&str> = path.split("::").filter(|part| !part.is_empty()).collect();
        while !parts.is_empty() {
            let module = parts.join("/");
            let found = [format!("{module}.rs"), format!("{module}/mod.rs")].into_iter().find(|f| known.contains(f));
            if found.is_some() {
                return found;
            }
            parts.pop();
        }
        None
    };
    paths.iter().filter_map(file_of).filter(|other| other != file).collect()
}

/// `engine::{key::Key, scope}` as `engine::key::Key` and `engine::scope`, of one path at the beginning of `text`.
fn spelled_out(text: &str) -> Vec<String> {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let end = text.find(|c| !is_path(c)).unwrap_or(text.len());
    let (head, rest) = text.split_at(end);
    let Some(inner) = rest.strip_prefix('{').filter(|_| head.is_empty() || head.ends_with("::")) else {
        return vec![head.to_owned()];
    };
    let (mut depth, mut parts, mut part) = (1, Vec::new(), String::new());
    for c in inner.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && c == ',') {
            parts.push(std::mem::take(&mut part));
        } else {
            part.push(c);
        }
        if depth == 0 {
            break;
        }
    }
    parts.iter().flat_map(|part| spelled_out(part.trim())).map(|path| format!("{head}{path}")).collect()
}

#[test]
fn no_import_runs_up() {
    let imports = imports();
    // What imports nothing needs a floor too.
    for file in imports.keys() {
        floor(file);
    }
    let upwards: Vec<String> = imports
        .iter()
        .flat_map(|(file, others)| others.iter().map(move |other| (file, other)))
        .filter(|(file, other)| floor(other) > floor(file))
        .map(|(file, other)| format!("src/{file} imports src/{other}"))
        .collect();
    assert_eq!(upwards, [""; 0]);
    assert!(imports["engine/plan.rs"].contains("engine/graph.rs"), "this sees no imports: {imports:#?}");
}

#[test]
fn no_files_import_one_another_in_a_circle() {
    let mut left = imports();
    // What imports nothing that is left is in no circle.
    while let Some(free) = left.iter().find(|(_, others)| others.iter().all(|o| !left.contains_key(o))) {
        let free = free.0.clone();
        left.remove(&free);
    }
    // What nothing that is left imports only leads into one.
    while let Some(free) = left.keys().find(|file| left.values().all(|others| !others.contains(*file))) {
        let free = free.clone();
        left.remove(&free);
    }
    assert!(left.is_empty(), "a circle: {:#?}", left.keys());
}

#[test]
fn every_file_begins_with_what_it_is_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in files(&root) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{} has no module comment", path.display());
    }
}

/// A file that no binary knows is compiled by nobody, and its tests run nowhere.
#[test]
fn every_file_of_tests_is_in_a_binary() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for (folder, list) in [
        ("tests", "main.rs"),
        ("tests/cli", "mod.rs"),
        ("tests/clients", "mod.rs"),
        ("tests/distribution", "mod.rs"),
        ("tests/runs", "mod.rs"),
        ("tests/world/tests", "main.rs"),
    ] {
        let folder = root.join(folder);
        let modules = fs::read_to_string(folder.join(list)).unwrap();
        for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            let is_module = path.extension().is_some_and(|end| end == "rs") || path.join("mod.rs").exists();
            if is_module && !path.ends_with(list) {
                let name = path.file_stem().unwrap().to_str().unwrap();
                let is_there = modules.lines().any(|line| line == format!("mod {name};"));
                let is_binary = manifest.contains(&format!("path = \"tests/{name}.rs\""));
                assert!(is_there || is_binary, "{} is in no test binary", path.display());
            }
        }
    }
}
