//! What the verbs of the main job print, as text and as JSON, from nothing to nothing on a local AWS.

use chatctl::error::Exit;
use serde_json::{Value, json};
use support::{Ministack, ministack};

use super::run::{Ended, Run, chatctl};
use super::snapshot::{assert_snapshot, masked};

/// An account of its own on the local AWS, and what differs from run to run there.
struct Account {
    server: &'static Ministack,
    id: String,
}

impl Account {
    async fn new() -> Self {
        let server = ministack().await;
        Self { server, id: server.account() }
    }

    fn chatctl(&self, line: &str) -> Run {
        chatctl(line).aws(&self.server.sdk_config(&self.id))
    }

    fn masked(&self, text: &str, api: &str) -> String {
        let host = self.server.url().trim_start_matches("http://");
        masked(text, &[(&self.id, "<account>"), (host, "<aws>"), (api, "<api>")])
    }
}

/// Progress is told as it happens, in whatever order that is; what is waited for depends on how fast things are.
fn settled(stderr: &str) -> String {
    let mut lines: Vec<&str> =
        stderr.lines().filter(|l| !l.contains(": waiting for ") && !l.contains(": ready")).collect();
    let last = lines.pop().unwrap_or_default();
    lines.sort_unstable();
    lines.push(last);
    lines.join("\n") + "\n"
}

/// Hashes: a deployment's has the ids of the integrations in it, a function's changes with every handler.
fn hashes_masked(text: &str) -> String {
    let is_hash = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    ["chatctl: routes ", r#""codeSha256","from":null,"to":""#].iter().fold(text.to_owned(), |text, before| {
        let mut parts = text.split(before);
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |done, part| format!("{done}{before}<hash>{}", part.trim_start_matches(is_hash)))
    })
}

fn api_of(url: &str) -> String {
    url.trim_end().rsplit('/').nth(1).unwrap().to_owned()
}

fn is_plain(ended: &Ended) -> bool {
    (ended.stdout.clone() + &ended.stderr).chars().all(|c| c == '\n' || !c.is_control())
}

#[tokio::test]
async fn the_main_job_as_text() {
    let account = Account::new().await;
    let mut text = String::new();
    let mut api = "none yet".to_owned();
    for (line, exit) in [
        ("status", Exit::Absent),
        ("plan", Exit::Done),
        ("up", Exit::Done),
        ("up", Exit::Done),
        ("status", Exit::Done),
        ("status --memory 1024 --tag team=chat", Exit::Differs),
        ("plan --memory 1024 --tag team=chat", Exit::Done),
        ("plan --memory 1024 --exit-code", Exit::Differs),
        ("plan --exit-code", Exit::Done),
        ("plan --destroy", Exit::Done),
        ("up --memory 1024", Exit::Done),
        ("list", Exit::Done),
        ("down", Exit::Done),
        ("down", Exit::Done),
        ("list", Exit::Done),
    ] {
        let ended = account.chatctl(line).run().await;
        assert_eq!(ended.exit, exit, "{line}\n{}", ended.stderr);
        assert!(is_plain(&ended), "{line}\n{ended:?}");
        if line == "up" {
            // Nothing but the URL, so that a shell can take it.
            assert_eq!(ended.stdout.lines().count(), 1);
            api = api_of(&ended.stdout);
        }
        let shown = format!("{}{}", settled(&ended.stderr), ended.stdout);
        text.push_str(&format!("$ chatctl {line}\n{}\n", account.masked(shown.trim_start(), &api)));
    }
    assert_snapshot("text", &text);
}

#[tokio::test]
async fn the_main_job_as_json() {
    let account = Account::new().await;
    let mut text = String::new();
    let mut api = "none yet".to_owned();
    for (line, exit) in [
        ("status", Exit::Absent),
        ("plan", Exit::Done),
        ("up", Exit::Done),
        ("status --memory 1024", Exit::Differs),
        ("plan --memory 1024", Exit::Done),
        ("up", Exit::Done),
        ("down", Exit::Done),
    ] {
        let ended = account.chatctl(line).arg("-o").arg("json").run().await;
        assert_eq!(ended.exit, exit, "{line}\n{}", ended.stderr);
        assert_eq!(ended.stdout.lines().count(), 1, "{line}");
        let mut document: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(document["schema"], "chatctl/1", "{line}");
        assert_eq!(document["command"], line.split(' ').next().unwrap(), "{line}");
        for resource in document.get_mut("resources").and_then(Value::as_array_mut).into_iter().flatten() {
            if ["integration", "route", "deployment"].contains(&resource["kind"].as_str().unwrap()) {
                assert!(resource.get("id").is_none_or(Value::is_string));
                if resource.get("id").is_some() {
                    resource["id"] = json!("<id>");
                }
            }
        }
        if let Some(elapsed) = document.get_mut("elapsedMs") {
            assert!(elapsed.is_u64());
            *elapsed = json!("<time>");
        }
        // In the order in which they were done, which differs.
        for list in ["changes", "removed"] {
            if let Some(Value::Array(items)) = document.get_mut(list) {
                items.sort_by_key(|item| hashes_masked(&item.to_string()));
            }
        }
        if let Some(id) = document["apiId"].as_str() {
            api = id.to_owned();
        }
        // A line an item, so that a difference can be read.
        let shown = serde_json::to_string(&document).unwrap().replace("},{", "},\n  {").replace("[{", "[\n  {");
        text.push_str(&format!("$ chatctl {line} -o json\n{}\n\n", account.masked(&hashes_masked(&shown), &api)));
    }
    assert_snapshot("json", &text);
}

#[tokio::test]
async fn there_is_no_url_without_its_stage() {
    let account = Account::new().await;
    assert_eq!(account.chatctl("up").run().await.exit, Exit::Done);
    let ended = account.chatctl("status --stage other").run().await;
    assert_eq!((ended.exit, ended.stdout.contains("ws://")), (Exit::Differs, false), "{}", ended.stdout);
    let ended = account.chatctl("status --stage other -o json").run().await;
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(document["url"], Value::Null);
}

#[tokio::test]
async fn quiet_leaves_only_the_result_and_errors() {
    let account = Account::new().await;
    let ended = account.chatctl("up -q").run().await;
    assert_eq!((ended.exit, ended.stderr.as_str()), (Exit::Done, ""));
    assert!(ended.stdout.starts_with("ws://"));
    let ended = account.chatctl("down -q").run().await;
    assert_eq!((ended.exit, ended.stdout.as_str(), ended.stderr.as_str()), (Exit::Done, "", ""));
    let ended = account.chatctl("verify -q").run().await;
    assert_eq!(ended.exit, Exit::Failed);
    assert!(ended.stderr.starts_with("error: there is no deployment `chat`"), "{}", ended.stderr);
}

#[tokio::test]
async fn verbose_tells_every_call() {
    let account = Account::new().await;
    let ended = account.chatctl("status -v").run().await;
    assert_eq!(ended.exit, Exit::Absent);
    for call in ["apigateway:GetApis", "dynamodb:DescribeTable", "iam:GetRole", "lambda:GetFunction"] {
        let told = ended.stderr.lines().any(|line| line.starts_with(call) && line.ends_with(" ms"));
        assert!(told, "{call} is not told\n{}", ended.stderr);
    }
}

#[tokio::test]
async fn colours_are_where_they_are_wanted() {
    let account = Account::new().await;
    for (run, colored) in [
        (account.chatctl("plan"), false),
        (account.chatctl("plan").terminal(), true),
        (account.chatctl("plan --color never").terminal(), false),
        (account.chatctl("plan --color always"), true),
        (account.chatctl("plan").terminal().env("NO_COLOR", "1"), false),
        (account.chatctl("plan").terminal().env("NO_COLOR", ""), true),
        (account.chatctl("plan --color always").env("NO_COLOR", "1"), true),
        (account.chatctl("plan").env("CHATCTL_COLOR", "always"), true),
    ] {
        let ended = run.run().await;
        assert_eq!(ended.stdout.contains("\u{1b}["), colored, "{:?} {}", run.args(), ended.stdout);
    }
}
