//! What `init --example` writes, deployed as it is, and used by clients and in a browser.

use std::path::Path;

use chatctl::commands::init::example;
use clap::ValueEnum;
use serde_json::{Value, json};
use support::{Client, Folder, chatctl, ministack};

use super::browser::{Browser, Page};

const PROGRAM: &str = env!("CARGO_BIN_EXE_chatctl");

/// Writes an example into a folder, and deploys it; gives the URL.
async fn deployed(name: &str, folder: &Folder) -> String {
    let (server, account) = (ministack().await, ministack().await.account());
    let run =
        |args: &[&str]| chatctl(PROGRAM).args(args.iter().copied()).cwd(&folder.0).account(server, &account).run();
    let written = run(&["init", "--example", name]).await.expect(0);
    for (path, content) in example(ValueEnum::from_str(name, false).unwrap()) {
        assert!(written.stdout.lines().any(|line| line == *path), "{path}: {}", written.stdout);
        assert_eq!(std::fs::read_to_string(folder.0.join(path)).unwrap(), *content);
        let is_small = !path.ends_with(".mjs") || content.lines().count() < 100;
        assert!(is_small, "{path} has 100 lines or more");
    }
    assert!(written.stderr.contains("hint: `chatctl dev` brings it up"), "{}", written.stderr);
    run(&["up"]).await.expect(0).stdout.trim_end().to_owned()
}

async fn hears(client: &mut Client) -> Value {
    serde_json::from_str(&client.hear().await).unwrap()
}

#[tokio::test]
async fn echo_answers_its_sender_alone() {
    let folder = Folder::new();
    let url = deployed("echo", &folder).await;
    let (mut ada, mut bob) = (Client::connect(&url).await, Client::connect(&url).await);
    for data in [json!("hello"), json!({ "nested": [1, null] }), json!(null)] {
        ada.send(&json!({ "action": "echo", "data": data }).to_string()).await;
        assert_eq!(hears(&mut ada).await, json!({ "echo": data }));
    }
    // The chat is there as ever, and its message is the first that the other one hears.
    ada.say("to everybody").await;
    assert_eq!(bob.hear().await, "to everybody");
}

#[tokio::test]
async fn rooms_keep_apart_who_is_in_them_and_know_who_is_there() {
    let folder = Folder::new();
    let url = deployed("rooms", &folder).await;
    let [mut ada, mut bob, mut eve] =
        [Client::connect(&url).await, Client::connect(&url).await, Client::connect(&url).await];
    let join = |room: &str, name: &str| json!({ "action": "join", "room": room, "as": name }).to_string();
    let say = |text: &str| json!({ "action": "say", "text": text }).to_string();
    let (who, leave) = (r#"{"action":"who"}"#, r#"{"action":"leave"}"#);

    for nowhere in [say("hello").as_str(), who, leave] {
        ada.send(nowhere).await;
        assert_eq!(hears(&mut ada).await, json!({ "error": "you are in no room" }));
    }
    for nameless in
        [json!({ "action": "join", "room": "kitchen" }), json!({ "action": "join", "room": 1, "as": "ada" })]
    {
        ada.send(&nameless.to_string()).await;
        assert!(hears(&mut ada).await["error"].as_str().unwrap().contains("names of up to 64 characters"));
    }

    // Whoever joins is heard of by those who are there, themselves among them, and learns who that is.
    ada.send(&join("kitchen", "ada")).await;
    assert_eq!(hears(&mut ada).await, json!({ "room": "kitchen", "joined": "ada" }));
    assert_eq!(hears(&mut ada).await, json!({ "room": "kitchen", "here": ["ada"] }));
    bob.send(&join("kitchen", "bob")).await;
    for client in [&mut ada, &mut bob] {
        assert_eq!(hears(client).await, json!({ "room": "kitchen", "joined": "bob" }));
    }
    assert_eq!(hears(&mut bob).await, json!({ "room": "kitchen", "here": ["ada", "bob"] }));
    eve.send(&join("cellar", "eve")).await;
    assert_eq!(hears(&mut eve).await["joined"], "eve");
    assert_eq!(hears(&mut eve).await["here"], json!(["eve"]));

    // What is said in a room stays there.
    ada.send(&say("tea?")).await;
    for client in [&mut ada, &mut bob] {
        assert_eq!(hears(client).await, json!({ "room": "kitchen", "from": "ada", "text": "tea?" }));
    }
    assert_eq!(hears(&mut ada).await, json!({ "heard": 2 }));
    ada.send(&say("")).await;
    assert_eq!(hears(&mut ada).await["error"], "`text` is what you say");

    // From one room to the next; what the others hear of it is the first that they hear.
    bob.send(&join("cellar", "bob")).await;
    assert_eq!(hears(&mut ada).await, json!({ "room": "kitchen", "left": "bob" }));
    for client in [&mut eve, &mut bob] {
        assert_eq!(hears(client).await, json!({ "room": "cellar", "joined": "bob" }));
    }
    assert_eq!(hears(&mut bob).await["here"], json!(["bob", "eve"]));
    ada.send(who).await;
    assert_eq!(hears(&mut ada).await, json!({ "room": "kitchen", "here": ["ada"] }));
    bob.send(leave).await;
    assert_eq!(hears(&mut bob).await, json!({ "left": "cellar" }));
    assert_eq!(hears(&mut eve).await, json!({ "room": "cellar", "left": "bob" }));

    // Whoever goes away has left.
    ada.send(&join("cellar", "ada")).await;
    assert_eq!(hears(&mut eve).await["joined"], "ada");
    ada.leave().await;
    assert_eq!(hears(&mut eve).await, json!({ "room": "cellar", "left": "ada" }));
    eve.send(who).await;
    assert_eq!(hears(&mut eve).await, json!({ "room": "cellar", "here": ["eve"] }));
}

async fn fills(page: &Page, field: &str, text: &str) {
    page.value(&format!("document.getElementById('{field}').focus()")).await;
    page.types(text).await;
}

#[tokio::test]
async fn the_page_of_rooms_shows_who_is_there_and_what_is_said() {
    let folder = Folder::new();
    let url = deployed("rooms", &folder).await;
    let address = format!("file://{}#{url}", Path::new(&folder.0).join("rooms.html").display());
    let browser = Browser::start().await;
    let pages = [browser.open(&address, "light").await, browser.open(&address, "dark").await];
    for (page, name) in pages.iter().zip(["ada", "bob"]) {
        page.shows("Connected.").await;
        fills(page, "room", "kitchen").await;
        fills(page, "name", name).await;
        page.press("Enter", 0).await;
        page.shows(&format!("{name} has joined kitchen")).await;
    }
    for page in &pages {
        page.shows("Here: ada, bob").await;
    }
    fills(&pages[0], "text", "<b>tea?</b>").await;
    pages[0].press("Enter", 0).await;
    for page in &pages {
        page.shows("ada: <b>tea?</b>").await;
    }
    // In both colour schemes, with something to see in each place.
    for page in &pages {
        assert_eq!(page.keeps_out().await, json!([]));
    }
    pages[1].value("document.getElementById('leave').click()").await;
    pages[0].shows("bob has left kitchen").await;
    pages[0].shows("Here: ada\n").await;
    pages[1].shows("Here: nobody").await;
    assert!(pages.iter().all(|page| page.complaints().is_empty()), "{:?}", pages.each_ref().map(Page::complaints));
}

#[tokio::test]
async fn an_example_that_there_is_not_is_refused_and_those_that_there_are_complete() {
    let refused = chatctl(PROGRAM).args(["init", "--example", "chess"]).run().await.expect(2);
    assert!(refused.stderr.contains("echo") && refused.stderr.contains("rooms"), "{}", refused.stderr);
    let script = format!(
        "source <({PROGRAM} completions bash); COMP_WORDS=(chatctl init --example r); COMP_CWORD=3; \
         _chatctl chatctl r --example; echo \"${{COMPREPLY[@]}}\""
    );
    let completed = chatctl("/bin/bash").args(["-ec", &script]).run().await.expect(0);
    assert_eq!(completed.stdout.trim(), "rooms");
}
