//! What the pages say is so: every link leads somewhere, and every command line in them is one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use chatctl::arguments;
use chatctl::error::Code;
use chatctl::host::Env;

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [root.to_owned(), root.join("docs")];
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let pages: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    assert!(pages.len() > 5);
    pages
}

#[test]
fn every_link_leads_somewhere() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://")) {
            let file = link.split('#').next().unwrap();
            assert!(page.parent().unwrap().join(file).exists(), "{}: {link}", page.display());
        }
    }
}

/// The command lines within a text: in code blocks and between backticks, up to what a shell adds.
fn command_lines(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
            continue;
        }
        let spans: Vec<&str> = if in_block { vec![line] } else { line.split('`').skip(1).step_by(2).collect() };
        for span in spans {
            let text = span.replace("cargo run --", "chatctl");
            let Some((before, rest)) = text.split_once("chatctl ") else { continue };
            let is_value = before.split_whitespace().next_back().is_some_and(|word| word.starts_with("--"));
            let is_command = before.is_empty() || before.ends_with(['$', '(', ' ']) && !is_value;
            if is_command && rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '-') {
                let end = rest.find([')', '#', '|', ';', '>', '…', '&']).unwrap_or(rest.len());
                found.push(rest[..end].trim().to_owned());
            }
        }
    }
    found
}

#[test]
fn every_command_line_is_one() {
    let mut count = 0;
    for page in pages() {
        for line in command_lines(&fs::read_to_string(&page).unwrap()) {
            let args: Vec<String> = line.split_whitespace().map(|word| word.replace('"', "")).collect();
            if let Err(error) = arguments::parse(&args, &Env::default()) {
                // The value of an option that is left open: `--name …`.
                let is_open = error.message.starts_with("a value is required") || error.message.contains("no command");
                assert!(is_open, "{}: `chatctl {line}`: {error}", page.display());
            }
            count += 1;
        }
    }
    assert!(count > 40, "only {count} were found");
}

/// The page and the code tell of the same codes.
#[test]
fn every_exit_code_is_documented() {
    use chatctl::error::Exit;
    let codes =
        [Exit::Done, Exit::Failed, Exit::Usage, Exit::Differs, Exit::Absent, Exit::ChatFailed, Exit::Interrupted];
    for page in ["docs/exit-codes.md", "README.md"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
        let documented: Vec<u8> =
            text.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok()).collect();
        assert_eq!(documented, codes.map(|code| code as u8), "{page}");
    }
}

/// A setting that the page leaves out does not exist for whoever reads it.
#[test]
fn the_action_documents_all_that_it_takes_and_gives() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/ci.md")).unwrap();
    for name in ["verb", "args", "working-directory", "url", "api-id", "name", "stage"] {
        assert!(page.contains(&format!("`{name}`")), "{name}");
        assert!(fs::read_to_string(root.join("action.yml")).unwrap().contains(&format!("\n  {name}:\n")), "{name}");
    }
}

/// The files below `folder` that people write, with their text.
fn written(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "target" | "node_modules" | "snapshots" | ".git") {
                written(&path, found);
            }
        } else if ["rs", "mjs", "js", "md", "py", "toml", "yml"].iter().any(|end| name.ends_with(&format!(".{end}"))) {
            found.push((path.clone(), fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The ids that a text cites, which begin as some of `facts` do: between brackets and nothing else beside them, as in `(G4)`,
/// `(R5, P)` or `// G4`.
fn cited(text: &str, facts: &BTreeMap<String, String>) -> BTreeSet<String> {
    let first: BTreeSet<char> = facts.keys().filter(|id| id.len() > 1).filter_map(|id| id.chars().next()).collect();
    let is_id = |word: &str| {
        let digits = word.trim_start_matches(|c| first.contains(&c));
        word == "P"
            || (word.len() == digits.len() + 1 && (1..=2).contains(&digits.len()) && digits.parse::<u8>().is_ok())
    };
    let mut ids = BTreeSet::new();
    for line in text.lines() {
        let comment = line.split_once("// ").map_or("", |(_, comment)| comment);
        let head = comment.split([':', ',', ' ']).next().unwrap_or_default();
        let spans = line.split(['(', ')', '[', ']', ';']).chain([head]);
        for span in spans {
            let words: Vec<&str> = span.trim().trim_end_matches('\'').split([',', ':']).map(str::trim).collect();
            let several = words.len() > 1;
            if words.first().is_some_and(|first| is_id(first)) {
                ids.extend(
                    words.into_iter().filter(|word| is_id(word) && (*word != "P" || several)).map(str::to_owned),
                );
            }
        }
    }
    ids
}

/// `docs/aws.md` by id: what it says of each fact.
fn facts() -> BTreeMap<String, String> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/aws.md")).unwrap();
    let blocks = page.split("<a id=\"").skip(1).map(|block| {
        let (anchor, rest) = block.split_once("\"></a>**").expect("an anchor stands before its fact");
        let (id, text) = rest.split_once(" · ").expect("a fact begins with its id");
        assert_eq!(anchor, id.to_lowercase(), "the anchor is the id");
        (id.to_owned(), text.split("\n## ").next().unwrap().split_whitespace().collect::<Vec<_>>().join(" "))
    });
    let facts: BTreeMap<String, String> = blocks.collect();
    assert!(facts.len() > 90, "only {} facts were found", facts.len());
    facts
}

#[test]
fn every_fact_of_aws_that_is_cited_is_on_its_page_and_proven_or_open() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests", "lambda", "benches", "docs", "templates", "examples"] {
        written(&root.join(folder), &mut files);
    }
    files.retain(|(path, _)| !path.ends_with("docs/aws.md"));
    let facts = facts();
    let mut all = BTreeSet::new();
    for (path, text) in &files {
        for id in cited(text, &facts) {
            assert!(facts.contains_key(&id), "{} cites {id}, which is not in docs/aws.md", path.display());
            all.insert(id);
        }
    }
    let sources = files.iter().map(|(_, text)| text.as_str()).collect::<String>();
    for (id, text) in &facts {
        let is_open = text.contains("Open: first real run");
        let Some((_, proof)) = text.split_once("Proven by ") else {
            assert!(is_open, "{id} is neither proven nor open");
            continue;
        };
        assert!(is_open || all.contains(id), "{id} is neither cited nor open");
        for test in proof.split('`').skip(1).step_by(2) {
            let is_there = sources.contains(&format!("fn {test}()")) || sources.contains(&format!("test('{test}'"));
            assert!(is_there, "{id} is proven by `{test}`, which is no test");
        }
    }
}

/// A new fact gets a step that looks at it, or a line in `unshown.rs` that says why no step can.
#[test]
fn the_acceptance_run_knows_every_fact_of_aws() {
    let mut files = Vec::new();
    written(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/acceptance/src"), &mut files);
    let sources = files.into_iter().map(|(_, text)| text).collect::<String>();
    for id in facts().keys() {
        assert!(sources.contains(&format!("\"{id}\"")), "no step of the acceptance run looks at {id}");
    }
}

/// On the page stand the words of `Code`, and no others; each of them is one that the program says.
#[test]
fn every_error_code_of_ours_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ours: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let page = fs::read_to_string(root.join("docs/exit-codes.md")).unwrap();
    let section = page.split("## Codes of ours").nth(1).expect("the page has the codes").split("\n## ").next().unwrap();
    // Of a row only the first cell.
    let told =
        section.lines().filter_map(|line| line.strip_prefix("| ").map_or(Some(line), |row| row.split(" |").next()));
    let is_code = |word: &&str| word.chars().all(char::is_alphabetic) && *word != "Http";
    let documented: BTreeSet<&str> = told.flat_map(|text| text.split('`').skip(1).step_by(2)).filter(is_code).collect();
    assert_eq!(documented, ours);
    let mut files = Vec::new();
    written(&root.join("src"), &mut files);
    let is_said = |code: &&&str| files.iter().any(|(_, text)| text.contains(&format!("Code::{code}")));
    assert_eq!(ours.iter().filter(|code| !is_said(code)).collect::<Vec<_>>(), Vec::<&&str>::new());
}

/// Each row of the page says what it is proven on, and the tests that it names are there.
#[test]
fn every_guarantee_names_what_it_is_proven_on_and_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/guarantees.md")).unwrap();
    let mut files = Vec::new();
    written(&root.join("tests"), &mut files);
    written(&root.join("lambda"), &mut files);
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| promise"));
    let mut count = 0;
    for row in rows {
        let mut cells = row.rsplitn(3, " | ");
        let (tests, places) = (cells.next().unwrap().trim_end_matches(" |"), cells.next().unwrap());
        for place in places.split(", ") {
            assert!(
                ["model", "local AWS", "moto", "servers that fail", "plans alone", "Node.js"].contains(&place),
                "{row}"
            );
        }
        for group in tests.split("; ") {
            let mut names = group.split('`').skip(1).step_by(2);
            let file = names.next().unwrap();
            let named = files.iter().filter(|(path, _)| path.ends_with(file));
            let text = named.map(|(_, text)| text.as_str()).collect::<String>();
            assert!(!text.is_empty(), "there is no {file}: {row}");
            let is_test =
                |name: &&str| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_…".contains(c));
            for test in names.filter(is_test) {
                let wanted =
                    test.strip_suffix('…').map_or_else(|| format!("fn {test}("), |begun| format!("fn {begun}"));
                assert!(text.contains(&wanted), "{file} has no {test}");
                count += 1;
            }
        }
    }
    assert!(count >= 50, "only {count} tests were found");
}

/// The tests that a line names, with their files: `a.rs`: `one`, `another`.
fn tests_named(line: &str) -> Vec<(&str, &str)> {
    let parts: Vec<&str> = line.split('`').collect();
    let (mut file, mut found) = (None, Vec::new());
    for pair in parts.chunks_exact(2) {
        match (file, pair[0], pair[1]) {
            (_, _, word) if word.ends_with(".rs") || word.ends_with(".test.mjs") => file = Some(word),
            (Some(file), ": " | ", ", test) => found.push((file, test)),
            _ => file = None,
        }
    }
    found
}

/// A promise whose test is gone is no promise, and one without a test is none yet.
#[test]
fn every_promise_of_the_security_page_names_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let (mut count, mut promises) = (0, false);
    for line in page.lines() {
        let named = tests_named(line);
        for (file, test) in &named {
            let places = ["tests", "lambda", "src"].map(|folder| root.join(folder).join(file));
            let place = places.iter().find(|place| place.exists()).unwrap_or_else(|| panic!("there is no {file}"));
            let text = fs::read_to_string(place).unwrap();
            let is_there = [format!("fn {test}("), format!("test('{test}"), format!("test(`{test}")];
            assert!(is_there.iter().any(|begun| text.contains(begun)), "{file} has no {test}");
            count += 1;
        }
        let is_row = line.starts_with('|');
        promises = is_row && (promises || line.ends_with("| test |"));
        assert!(!promises || line.ends_with("| test |") || line.starts_with("|--") || !named.is_empty(), "{line}");
    }
    assert!(count >= 60, "only {count} were found");
}

/// The pins below `folder`, by what watches them, with the folder that they are in.
fn pinned(folder: &Path, found: &mut BTreeSet<(&str, PathBuf)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        let ecosystem = match entry.file_name().to_str().unwrap() {
            "target" | "node_modules" | ".git" => continue,
            _ if entry.file_type().unwrap().is_dir() => {
                pinned(&path, found);
                continue;
            }
            "Cargo.lock" => "cargo",
            "package-lock.json" => "npm",
            "Dockerfile" => "docker",
            "action.yml" => "github-actions",
            name if name.ends_with(".txt") && fs::read_to_string(&path).unwrap().contains("--hash=sha256:") => "pip",
            _ => continue,
        };
        found.insert((ecosystem, folder.to_owned()));
    }
}

/// What is pinned and not watched stays as it is when a hole in it is found.
#[test]
fn dependabot_watches_all_that_is_pinned() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let watched = fs::read_to_string(root.join(".github/dependabot.yml")).unwrap();
    let mut pins = BTreeSet::new();
    pinned(root, &mut pins);
    assert!(pins.len() > 6, "{pins:?}");
    for (ecosystem, folder) in pins {
        let folder = format!("/{}", folder.strip_prefix(root).unwrap().display());
        let block = watched.split("package-ecosystem: ").find(|block| block.starts_with(ecosystem)).unwrap_or_default();
        let folders: Vec<&str> = block.split(['[', ']', ',', ' ', '\n']).collect();
        assert!(folders.contains(&&*folder), "nobody watches the pins of {ecosystem} in {folder}");
    }
}
