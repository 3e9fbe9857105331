//! What others wrote, through every face: it steers no terminal, commands no runner, closes no fence, hides nothing.

use std::fs;

use chatctl::engine::change::{Action, Change, Difference, Differences};
use chatctl::engine::key::Key;
use chatctl::engine::plan::Plan;
use chatctl::error::{Error, Exit};
use chatctl::host::{Output, lines, visible};
use chatctl::progress::{Ended, Reporter};
use chatctl::report::plain::Plain;
use chatctl::report::text::Beside;
use chatctl::report::{github, json, text};
use proptest::prelude::*;
use serde_json::Value;
use support::{Folder, HOSTILE, is_harmless, ministack};

use super::run::{Written, chatctl};

fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        proptest::sample::select(HOSTILE.to_vec()).prop_map(str::to_owned),
        any::<String>(),
        "[#:`\\[\\] a\n|<]{0,12}",
    ];
    proptest::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat())
}

fn plan_with(text: &str) -> Plan {
    let field = Difference { field: text.to_owned(), from: text.into(), to: text.into() };
    let (fields, key) = (Differences(vec![field]), Key::new("route", text));
    Plan(vec![Change { action: Action::Update, key, fields, found: None, with: None, after: vec![] }])
}

/// The blocks of Markdown between fences, and what is outside of them.
fn outside_of_fences(markdown: &str) -> String {
    let (mut fence, mut outside) = (None::<usize>, String::new());
    for line in markdown.lines() {
        let ticks = line.trim_start().chars().take_while(|c| *c == '`').count();
        match fence {
            None if ticks >= 3 => fence = Some(ticks),
            Some(open) if ticks >= open && line.trim().len() == ticks => fence = None,
            None => outside.push_str(line),
            Some(_) => {}
        }
    }
    assert_eq!(fence, None, "a fence stays open:\n{markdown}");
    outside
}

proptest! {
    #[test]
    fn streams_are_harmless(text in hostile()) {
        let written = Written::default();
        let out = Output::new(written.clone(), false);
        out.line(&text);
        let plain = Plain::new(out.clone());
        plain.begin(&text, "creating");
        plain.waiting(&text, &text);
        plain.end(&text, Ended::Failed(text.clone()));
        plain.note(&text);
        out.line(&text::plan(&plan_with(&text), &Beside::default(), false));
        let error = Error { leftovers: vec![text.clone()], ..Error::usage(text.clone()).hint(text.clone()) };
        out.line(&text::error(&error, false, false));
        out.line(&text::table(&[vec![text.clone(), text.clone()]], None).join("\n"));
        let shown = written.text().replace('\t', " ");
        // Colours of ours stay where lines are whole; a value has none.
        let shown = if text.contains("\u{1b}[") { without_colours(&shown) } else { shown };
        prop_assert!(is_harmless(&shown), "{shown:?}");
    }

    #[test]
    fn values_have_no_colours(text in hostile()) {
        let shown = text::plan(&plan_with(&text), &Beside::default(), false) + &text::error(&Error::usage(text.clone()), false, false);
        prop_assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }

    #[test]
    fn json_is_harmless_and_says_the_same(text in hostile()) {
        let shown = json::error(&Error::usage(text.clone()));
        prop_assert!(is_harmless(&shown), "{shown:?}");
        prop_assert_eq!(lines(&shown), shown.clone());
        prop_assert_eq!(&serde_json::from_str::<Value>(&shown).unwrap()["error"]["message"], &Value::from(text));
    }

    #[test]
    fn nothing_leaves_its_fence_in_a_summary(text in hostile()) {
        let block = github::block("diff", &text::plan(&plan_with(&text), &Beside::default(), false));
        prop_assert_eq!(outside_of_fences(&block), "");
        // Where lines stay lines, as in the report of a verification.
        prop_assert_eq!(outside_of_fences(&github::block("text", &format!("{text}\n"))), "");
        let code = github::code(&text);
        let fence = code.len() - code.trim_start_matches('`').len();
        let within = &code[fence..code.len() - fence];
        let runs = within.split(|c| c != '`').map(str::len).filter(|run| *run == fence).count();
        prop_assert!(fence > 0 && runs == 0 && !code.contains('\n'), "{code:?}");
    }
}

#[test]
fn an_output_of_a_step_is_one_line_whatever_is_in_it() {
    let folder = Folder::new();
    let outputs = folder.0.join("outputs");
    let written = Written::default();
    let mut host = chatctl("up").host(&written, &written);
    host.env.0.insert("GITHUB_OUTPUT".to_owned(), outputs.display().to_string());
    for text in HOSTILE {
        github::tell(&host, &Plain::new(host.stderr.clone()), &[("url", text), ("name", "chat")], String::new);
        let told = fs::read_to_string(&outputs).unwrap();
        let [url, "name=chat"] = told.lines().collect::<Vec<_>>()[..] else { panic!("{told:?}") };
        assert!(url.starts_with("url=") && visible(url) == url, "{url:?}");
        fs::remove_file(&outputs).unwrap();
    }
}

fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + part.split_once('m').map_or(part, |(_, rest)| rest))
}

#[tokio::test]
async fn what_somebody_typed_is_harmless_in_every_face() {
    for text in HOSTILE {
        for run in [chatctl("up --memory"), chatctl("up -o json --memory"), chatctl("up --name"), chatctl("up --tag")] {
            let ended = run.arg(text).env("GITHUB_ACTIONS", "true").run().await;
            assert_eq!(ended.exit, Exit::Usage);
            let (commands, shown): (Vec<&str>, Vec<&str>) =
                ended.stderr.lines().partition(|line| line.starts_with("::error title=chatctl::"));
            assert_eq!(commands.len(), 1, "{text:?}: {}", ended.stderr);
            assert_eq!(visible(commands[0]), commands[0]);
            assert!(is_harmless(&shown.join("\n")) && is_harmless(&ended.stdout), "{text:?}: {ended:?}");
        }
    }
}

/// Set by hand in AWS, where anybody may have done it: it is neither shown nor does it steer anything.
#[tokio::test]
async fn values_that_are_not_ours_are_masked_in_text_json_and_summary() {
    let server = ministack().await;
    let account = server.account();
    let aws = server.sdk_config(&account);
    let folder = Folder::new();
    let summary = folder.0.join("summary");
    let up = chatctl("up").aws(&aws).run().await;
    assert_eq!(up.exit, Exit::Done, "{}", up.stderr);
    let lambda = aws_sdk_lambda::Client::new(&aws);
    let environment = aws_sdk_lambda::types::Environment::builder()
        .variables("STRIPE_KEY", "hunter2")
        .variables("EVIL", "\u{1b}[2J\n::add-mask::x\n```\n<img>");
    let change = lambda.update_function_configuration().function_name("chat-onConnect");
    change.environment(environment.build()).send().await.unwrap();
    let arn = format!("arn:aws:lambda:us-east-1:{account}:function:chat-onConnect");
    lambda.tag_resource().resource(arn).tags("token", "hunter2").send().await.unwrap();
    for (line, exit) in [("status", Exit::Differs), ("plan", Exit::Done)] {
        for format in ["text", "json"] {
            let run = chatctl(&format!("{line} -o {format}")).aws(&aws);
            let ended = run.env("GITHUB_STEP_SUMMARY", summary.to_str().unwrap()).run().await;
            assert_eq!(ended.exit, exit, "{}", ended.stderr);
            for name in ["environment.STRIPE_KEY", "environment.EVIL", "tags.token"] {
                assert!(ended.stdout.contains(name), "{line}: {}", ended.stdout);
            }
            assert!(ended.stdout.contains("(set)") && !ended.stdout.contains("hunter2"), "{line}: {}", ended.stdout);
            assert!(is_harmless(&ended.stdout), "{line}: {}", ended.stdout);
        }
    }
    let summary = fs::read_to_string(summary).unwrap();
    assert!(!summary.contains("hunter2") && !outside_of_fences(&summary).contains("<img"), "{summary}");
}
