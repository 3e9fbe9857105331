//! `docs/app.md` as somebody follows it: files are written as it shows them, and its commands are run in their order.

use std::fs;
use std::path::{Path, PathBuf};

use chatctl::local::REGION;
use support::{DataDir, Folder, chatctl, ministack};

use super::dev::Dev;

const PROGRAM: &str = env!("CARGO_BIN_EXE_chatctl");
/// Its tests have an issuer; a chat without an authorizer has no use for a token.
const WITH_AN_ISSUER: &str = "chatctl verify --token @token.txt";

/// The code blocks of the page: what they are in, and their lines.
fn blocks() -> Vec<(String, String)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/app.md");
    let (mut blocks, mut open) = (Vec::<(String, String)>::new(), false);
    for line in fs::read_to_string(page).unwrap().lines() {
        match line.strip_prefix("```") {
            Some(language) if !open => blocks.push((language.to_owned(), String::new())),
            None if open => blocks.last_mut().unwrap().1.push_str(&format!("{line}\n")),
            _ => {}
        }
        open ^= line.starts_with("```");
    }
    blocks
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_about_apps_can_be_followed_to_the_letter() {
    let (home, data, server) = (Folder::new(), DataDir::new().await, ministack().await);
    let account = server.account();
    let bin = Folder::new();
    std::os::unix::fs::symlink(PROGRAM, bin.0.join("chatctl")).unwrap();
    let path = format!("{}:{}", bin.0.display(), std::env::var("PATH").unwrap());
    let (mut folder, mut dev, mut variables, mut said) = (home.0.clone(), None::<Dev>, String::new(), String::new());
    for (language, text) in blocks() {
        let mut lines = text.lines();
        match language.as_str() {
            // What belongs into a file says so in its first line.
            "toml" | "js" => {
                let Some(name) = lines.next().unwrap().strip_prefix(if language == "js" { "// " } else { "# " }) else {
                    continue;
                };
                let file = folder.join(name);
                let before = fs::read_to_string(&file).unwrap_or_default();
                fs::write(&file, format!("{before}\n{}\n", lines.collect::<Vec<_>>().join("\n"))).unwrap();
                match name {
                    "chatctl.toml" => dev.as_mut().unwrap().says("there is no handler `join.mjs`").await,
                    "lambda/join.mjs" => dev.as_mut().unwrap().says("function chat-join created").await,
                    _ => String::new(),
                };
            }
            "sh" => {
                for command in lines.filter(|command| *command != WITH_AN_ISSUER) {
                    if let Some(next) = command.strip_prefix("cd ") {
                        folder.push(next);
                    } else if command == "chatctl dev" {
                        let mut command = std::process::Command::new(PROGRAM);
                        command.arg("dev").env_clear().current_dir(&folder).env("PATH", &path).env("HOME", &home.0);
                        dev = Some(Dev::start(command.env("CHATCTL_DATA_DIR", data.path())).await);
                    } else if command.split_once('=').is_some_and(|(name, _)| name.chars().all(char::is_uppercase)) {
                        variables = format!("{command}\n");
                    } else {
                        if command == "chatctl down --local" {
                            dev = None;
                        }
                        let run = chatctl("/bin/bash").args(["-ec", &format!("{variables}{command}")]).cwd(&folder);
                        let run = run.account(server, &account).env("AWS_REGION", REGION).data_dir(&data);
                        let ended = run.env("PATH", &path).run().await;
                        assert_eq!(ended.code, Some(0), "{command}\n{}\n{}", ended.stdout, ended.stderr);
                        said.push_str(&format!("$ {command}\n{}{}", ended.stdout, ended.stderr));
                    }
                }
            }
            _ => {}
        }
    }
    assert!(said.contains("\nyou are in kitchen, which has room for 50\n"), "{said}");
    assert!(said.contains("create route join") && said.contains("each exactly once"), "{said}");
    let written = |name: &str| -> PathBuf { folder.join(name) };
    assert!(written("my-echo/lambda/echo.mjs").exists() && written("my-rooms/rooms.html").exists(), "{said}");
}
