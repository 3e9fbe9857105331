//! A person who has never had `chatctl`, on a machine with nothing but Python and Node.js, who does what the page says.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use support::{Folder, ministack};
use tokio::process::Command;

use super::REPOSITORY;
use super::packages::{packages, ran};

/// The commands of a page, in their order, and the settings file that it shows.
fn told(page: &str) -> (Vec<String>, String) {
    let text = fs::read_to_string(Path::new(REPOSITORY).join(page)).unwrap();
    let (mut commands, mut settings) = (Vec::new(), String::new());
    let mut language = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), language) {
            (Some(begin), None) => language = Some(begin),
            (Some(_), Some(_)) => language = None,
            (None, Some("sh")) => commands.push(line.to_owned()),
            (None, Some("toml")) => settings.push_str(&format!("{line}\n")),
            _ => {}
        }
    }
    (commands, settings)
}

/// What a person adds to a command: what cannot be known to the page, a word to say, an end to what has none.
fn as_typed(command: &str) -> String {
    if command == "pip install chatctl" {
        // Before it is published, and without asking anybody for something of that name.
        return format!("PIP_NO_INDEX=1 PIP_FIND_LINKS=\"$PACKAGES\" {command}");
    }
    if command.starts_with("chatctl chat ") {
        return format!("echo hello | {command}");
    }
    if command.ends_with(" --follow") {
        return format!(
            "{command} > seen & pid=$!; until [ -s seen ]; do sleep 0.1; done; kill -TERM $pid; wait $pid || [ $? = 130 ]"
        );
    }
    let data = if cfg!(target_os = "macos") { "~/Library/Application\\ Support" } else { "~/.local/share" };
    command.replace('…', "mine").replace("~/.local/share", data)
}

/// Every entry below `folder`, but not what is in the caches of pip and npm.
fn entries(folder: &Path, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        let name = format!("{prefix}{}", entry.file_name().display());
        let is_cache = [".cache", ".npm", "Library/Caches"].contains(&name.as_str());
        if entry.file_type().unwrap().is_dir() && !is_cache {
            found.extend(entries(&entry.path(), &format!("{name}/")));
        } else if !is_cache {
            found.push(name);
        }
    }
    found
}

#[tokio::test]
async fn a_stranger_follows_getting_started_and_leaves_nothing_behind() {
    let server = ministack().await;
    let account = server.account();
    let home = Folder::new();
    let (bin, work, aws) = (home.0.join("bin"), home.0.join("work"), home.0.join(".aws"));
    for folder in [&bin, &work, &aws] {
        fs::create_dir(folder).unwrap();
    }
    // As a person has it who has an account.
    let profile = "[profile mine]\nregion = us-east-1\nendpoint_url = ";
    fs::write(aws.join("config"), format!("{profile}{}\n", server.url())).unwrap();
    let keys = format!("[mine]\naws_access_key_id = {account}\naws_secret_access_key = local\n");
    fs::write(aws.join("credentials"), keys).unwrap();
    for (name, find) in [("python3", "import sys; print(sys.executable)"), ("node", "process.execPath")] {
        let flag = if name == "node" { "-p" } else { "-c" };
        let program = ran(Command::new(name).args([flag, find])).await.trim().to_owned();
        std::os::unix::fs::symlink(&program, bin.join(name)).unwrap();
        let npm = Path::new(&program).with_file_name("npm");
        if npm.exists() {
            std::os::unix::fs::symlink(npm, bin.join("npm")).unwrap();
        }
    }
    let before = entries(&home.0, "");

    let (commands, settings) = told("docs/getting-started.md");
    assert!(commands.len() > 15, "{commands:?}");
    let mut script = String::from("set -e\n");
    for command in &commands {
        // The settings are written once it is the turn of the real account.
        if command.starts_with("export AWS_PROFILE=") {
            script.push_str(&format!("cat > chatctl.toml <<'END'\n{settings}END\n"));
        }
        script.push_str(&format!("printf '\\n$ %s\\n' '{command}'\n{}\n", as_typed(command)));
    }
    let mut bash = Command::new("bash");
    bash.args(["--noprofile", "--norc", "-c", &script]).current_dir(&work).env_clear().env("HOME", &home.0);
    bash.env("PATH", format!("{}:/usr/bin:/bin", bin.display())).env("PACKAGES", packages().await);
    // Where packages come from on this machine.
    for (name, value) in std::env::vars().filter(|(name, _)| is_about_registries(name)) {
        bash.env(name, value);
    }
    let log = fs::File::create(home.0.with_extension("log")).unwrap();
    bash.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).kill_on_drop(true);
    let ended = tokio::time::timeout(Duration::from_secs(300), bash.status()).await;
    let said = fs::read_to_string(home.0.with_extension("log")).unwrap();
    fs::remove_file(home.0.with_extension("log")).unwrap();
    assert!(ended.is_ok_and(|status| status.unwrap().success()), "{said}");

    let said_to = |command: &str| {
        let (_, rest) = said.split_once(&format!("\n$ {command}\n")).unwrap_or_else(|| panic!("{command}: {said}"));
        rest.split("\n$ ").next().unwrap()
    };
    let url = said_to("chatctl up --local").lines().last().unwrap();
    assert!(url.starts_with("ws://127.0.0.1:"), "{said}");
    assert!(said_to("chatctl up --local --memory 1024").ends_with(&format!("{url}\n")), "{said}");
    assert!(said_to("chatctl verify --local").contains("each exactly once"), "{said}");
    assert!(said_to("chatctl chat --local --as ada").contains("hello"), "{said}");
    assert!(said_to("chatctl plan --local --memory 1024").contains("memory: 256 → 1024"), "{said}");
    assert!(said_to("chatctl plan").contains("25 to create"), "{said}");
    assert!(said_to("chatctl down").contains("nothing is left"), "{said}");
    let after: Vec<String> = entries(&home.0, "").into_iter().filter(|path| !before.contains(path)).collect();
    assert_eq!(after, ["work/chatctl.toml", "work/seen"]);
    let running = ran(Command::new("ps").args(["-A", "-ww", "-o", "command"])).await;
    let ours: Vec<&str> = running.lines().filter(|line| line.contains(home.0.to_str().unwrap())).collect();
    assert_eq!(ours, [""; 0]);
}

fn is_about_registries(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let begins =
        ["PIP_", "UV_", "NPM_CONFIG_REGISTRY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_", "NODE_EXTRA_CA"];
    begins.iter().any(|begin| name.starts_with(begin)) && !["PIP_TARGET", "PIP_USER"].contains(&name.as_str())
}
