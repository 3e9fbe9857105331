//! `init`: a settings file that says all there is to set, handlers to edit, and what comes of editing them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;

use chatctl::commands::init::{SCHEMA, SETTINGS};
use chatctl::config::{Authorizer, Config, Settings, TokenPlace};
use serde_json::{Value, json};
use support::settings::{self, Setting};
use support::{Chatctl, Folder, chatctl, ministack, python_tools, silent_host};
use tokio::io::AsyncWriteExt;

const FILES: [&str; 14] = [
    "chatctl.toml",
    "chatctl.schema.json",
    "lambda/aws.mjs",
    "lambda/broadcast.mjs",
    "lambda/checkpoint.mjs",
    "lambda/delivery.mjs",
    "lambda/http.mjs",
    "lambda/log.mjs",
    "lambda/onConnect.mjs",
    "lambda/onDisconnect.mjs",
    "lambda/paced.mjs",
    "lambda/posts.mjs",
    "lambda/receivers.mjs",
    "lambda/sendMessage.mjs",
];

fn run(folder: &Folder, args: &[&str]) -> Chatctl {
    chatctl(env!("CARGO_BIN_EXE_chatctl")).args(args.iter().copied()).cwd(&folder.0)
}

/// The settings file with every setting in force.
fn uncommented() -> String {
    let lines = SETTINGS.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with([' ', ':']) => setting,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The same, with the values that the others of these settings are for.
fn together() -> String {
    uncommented()
        .replace("delivery = \"direct\"", "delivery = \"queue\"")
        .replace("authorizer = \"none\"", "authorizer = \"jwt\"")
}

/// Every key that the file may have, as the parser lists them for one that it may not.
fn keys() -> BTreeSet<String> {
    let error = toml::from_str::<Settings>("no-such-key = 1").unwrap_err();
    let listed = error.message().split('`').skip(3).step_by(2);
    listed.map(str::to_owned).collect()
}

#[test]
fn the_settings_file_has_every_setting() {
    let table: toml::Table = toml::from_str(&uncommented()).unwrap();
    assert!(keys().len() > 15);
    assert_eq!(table.keys().cloned().collect::<BTreeSet<_>>(), keys());
    assert_eq!(toml::from_str::<toml::Table>(SETTINGS).unwrap().keys().collect::<Vec<_>>(), ["handlers"]);
}

#[test]
fn the_settings_file_is_valid_and_its_defaults_are_the_defaults() {
    let (defaults, folder) = (Folder::new(), Folder::new());
    let resolve = |folder: &Folder| Config::resolve(Settings::default(), &silent_host(&folder.0)).unwrap();
    let defaults = resolve(&defaults);
    fs::write(folder.0.join("chatctl.toml"), SETTINGS).unwrap();
    let as_is = Config { handlers: None, ..resolve(&folder) };
    assert_eq!(format!("{as_is:?}"), format!("{defaults:?}"));

    // A rate is for a queue alone.
    fs::write(folder.0.join("chatctl.toml"), together()).unwrap();
    let all = resolve(&folder);
    let delivery = chatctl::app::Delivery::Queue { rate: 5_000 };
    assert_eq!(all.delivery, delivery);
    let Authorizer::Jwt(jwt) = &all.authorizer else { panic!("{:?}", all.authorizer) };
    assert_eq!(jwt.token, TokenPlace::Query("token".to_owned()));
    for example in settings::SETTINGS.iter().filter(|setting| setting.is_example) {
        assert_ne!((example.shown)(&all), example.want[0], "{}", example.long);
    }

    let mut examples_apart: toml::Table = toml::from_str(&uncommented()).unwrap();
    let is_example = |setting: &&Setting| setting.is_example || !setting.beside.is_empty();
    let examples = settings::SETTINGS.iter().filter(is_example).map(Setting::key).chain(["routes", "table-indexes"]);
    examples.for_each(|key| assert!(examples_apart.remove(key).is_some(), "{key}"));
    fs::write(folder.0.join("chatctl.toml"), examples_apart.to_string()).unwrap();
    assert_eq!(format!("{:?}", resolve(&folder)), format!("{defaults:?}"));
}

/// Prints which of the files on stdin are as the schema on the command line wants them.
const VALID: &str = "
import json, sys, tomllib
from jsonschema import Draft4Validator
Draft4Validator.check_schema(schema := json.loads(sys.argv[1]))
print(json.dumps([Draft4Validator(schema).is_valid(tomllib.loads(text)) for text in json.load(sys.stdin)]))
";

async fn valid(files: &[String]) -> Vec<bool> {
    let mut command = python_tools().await.command("python");
    command.args(["-c", VALID, SCHEMA]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(serde_json::to_string(files).unwrap().as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Files around each limit that the schema tells, of the settings themselves or of one route.
fn around_limits(properties: &Value, before: &str, files: &mut Vec<String>) {
    for (key, rule) in properties.as_object().unwrap() {
        // What goes only together is given together.
        let other = match key.as_str() {
            "rate" => "burst = 9\n",
            "burst" => "rate = 9\n",
            key => Setting::beside(key),
        };
        let mut add = |value: Value| files.push(format!("{before}{other}{key} = {value}\n"));
        if let (Some(from), Some(to)) = (rule["minimum"].as_i64(), rule["maximum"].as_i64()) {
            for number in [from - 1, from, to, to + 1] {
                add(json!(number));
            }
        }
        let most = usize::try_from(rule["maxLength"].as_u64().unwrap_or_default()).unwrap();
        if most > 0 && key != "role-path" {
            for count in [0, 1, most, most + 1] {
                add(json!("a".repeat(count)));
            }
        }
        for word in rule["enum"].as_array().into_iter().flatten() {
            add(word.clone());
            add(word.as_i64().map_or_else(|| json!(format!("{}x", word.as_str().unwrap())), |n| json!(n * 2 + 1)));
        }
        match rule["type"].as_str().unwrap() {
            "string" => add(json!(1)),
            "integer" | "boolean" => add(json!("x")),
            _ => {}
        }
    }
}

/// An editor shows as an error what the program would refuse, as far as one setting shows it, and nothing that it takes.
#[tokio::test]
async fn editors_complete_and_check_the_settings_file() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let properties = &schema["properties"];
    assert_eq!(properties.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>(), keys());
    let mut files = vec![SETTINGS.to_owned(), together(), String::new()];
    around_limits(properties, "", &mut files);
    let route = properties["routes"]["patternProperties"].as_object().unwrap().values().next().unwrap();
    around_limits(&route["properties"], "[routes.join]\n", &mut files);
    for line in [
        "nmae = \"x\"",
        "name = \"a b\"",
        "name = \"_x\"",
        "stage = \"a/b\"",
        "runtime = \"python3.13\"",
        "role-path = \"/x/\"",
        "role-path = \"x\"",
        "role-path = \"/\"",
        "throttle-rate = 5",
        "jwt-token = \"protocol\"",
        "authorizer = \"jwt\"\njwt-audience = \"chat\"\njwt-issuer = \"https://issuer.example\"\njwt-token = \"header:X-Token\"",
        "authorizer = \"jwt\"\njwt-audience = \"chat\"\njwt-issuer = \"issuer.example\"",
        "authorizer = \"jwt\"\njwt-audience = \"a b\"\njwt-issuer = \"https://issuer.example\"",
        "authorizer = \"jwt\"\njwt-audience = \"chat\"\njwt-issuer = \"https://issuer.example\"\njwt-token = \"body\"",
        "tags = { team = 1 }",
        "tags = { team = \"a\" }",
        "keep-alive = true",
        "table-indexes = [\"room\"]",
        "table-indexes = [\"id\"]",
        "table-indexes = [\"room\", \"room\"]",
        "[routes.\"$connect\"]",
        "[routes.\"$join\"]",
        "[routes.\"rooms/join\"]\nhandler = \"join\"",
        "[routes.\"a*\"]\nhandler = \"join\"",
        "[routes.join]\nhandler = \"a-b\"",
        "[routes.join]\nrate = 5",
        "[routes.join]\nprots = true",
        "[routes.join]\nenvironment = { A = \"1\" }",
        "[routes.join]\nenvironment = { A = 1 }",
        "[role-arns]\nonConnect = \"arn:aws:iam::123456789012:role/x\"",
    ] {
        files.push(line.to_owned());
    }
    let folder = Folder::new();
    let taken = |file: &String| {
        fs::write(folder.0.join("chatctl.toml"), file).unwrap();
        Config::resolve(Settings::default(), &silent_host(&folder.0)).map_err(|error| error.message)
    };
    let (mut good, mut bad) = (0, 0);
    for (file, valid) in files.iter().zip(valid(&files).await) {
        let taken = taken(file);
        assert_eq!(valid, taken.is_ok(), "{file}: {:?}", taken.err());
        if valid { good += 1 } else { bad += 1 }
    }
    assert!(good > 50 && bad > 50, "{good} good, {bad} bad");
    let printed = run(&folder, &["schema"]).run().await.expect(0);
    assert_eq!(printed.stdout, SCHEMA);
    assert!(SETTINGS.starts_with("#:schema ./chatctl.schema.json\n"), "what lies beside it, by the words of Taplo");
}

#[tokio::test]
async fn it_writes_and_prints_and_never_overwrites() {
    let folder = Folder::new();
    let ended = run(&folder, &["init"]).run().await.expect(0);
    assert_eq!(ended.stdout.lines().collect::<Vec<_>>(), FILES);
    for (name, content) in chatctl::handlers::embedded() {
        assert_eq!(fs::read(folder.0.join("lambda").join(name)).unwrap(), content);
    }
    fs::write(folder.0.join("lambda/aws.mjs"), "mine").unwrap();
    fs::remove_file(folder.0.join("lambda/http.mjs")).unwrap();
    let refused = run(&folder, &["init"]).run().await.expect(2);
    assert!(refused.stdout.is_empty());
    for name in FILES {
        assert_eq!(refused.stderr.contains(&format!("`{name}`")), name != "lambda/http.mjs", "{}", refused.stderr);
    }
    assert_eq!(fs::read_to_string(folder.0.join("lambda/aws.mjs")).unwrap(), "mine");
    assert!(!folder.0.join("lambda/http.mjs").exists());

    let ended = run(&folder, &["init", "deep/chat", "-o", "json"]).run().await.expect(0);
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(document["schema"], "chatctl/1");
    let expected = FILES.map(|name| format!("deep/chat/{name}"));
    assert_eq!(document["files"], serde_json::json!(expected));
    assert!(expected.iter().all(|path| folder.0.join(path).is_file()));
    let refused = run(&folder, &["init", "deep/chat/lambda/aws.mjs"]).run().await.expect(2);
    assert!(refused.stderr.contains("cannot write"), "{}", refused.stderr);
}

#[tokio::test]
async fn an_edited_handler_changes_its_function_alone() {
    let ministack = ministack().await;
    let (folder, account) = (Folder::new(), ministack.account());
    run(&folder, &["init"]).run().await.expect(0);
    let up = async || {
        let ended = run(&folder, &["up", "-o", "json"]).account(ministack, &account).run().await.expect(0);
        serde_json::from_str::<Value>(&ended.stdout).unwrap()["changes"].as_array().unwrap().clone()
    };
    assert!(up().await.len() > 20);
    assert!(up().await.is_empty());

    // A library of its own makes it another zip for everybody; the edit after that, for one.
    let library = folder.0.join("lambda/node_modules/loud");
    fs::create_dir_all(&library).unwrap();
    fs::write(library.join("package.json"), r#"{"name":"loud","type":"module","exports":"./index.js"}"#).unwrap();
    fs::write(library.join("index.js"), "export const loud = (text) => `${text}!`;\n").unwrap();
    let changes = up().await;
    assert_eq!(changes.len(), 3);
    assert!(changes.iter().all(|change| change["kind"] == "function" && change["action"] == "update"));

    let handler = folder.0.join("lambda/sendMessage.mjs");
    let text = fs::read_to_string(&handler).unwrap();
    let edited = text.replace(
        "const text = typeof frame.data === 'string' ? frame.data :",
        "const text = typeof frame.data === 'string' ? loud(frame.data) :",
    );
    assert_ne!(edited, text);
    fs::write(&handler, format!("import {{ loud }} from 'loud';\n{edited}")).unwrap();
    let changes = up().await;
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0]["name"], "chat-sendMessage");
    assert_eq!(changes[0]["action"], "update");

    let said = run(&folder, &["chat", "--wait", "1s"]).stdin("hello\n").account(ministack, &account).run().await;
    assert!(said.expect(0).stdout.contains("hello!"));
}

#[tokio::test]
async fn a_linked_folder_is_not_written_through() {
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    symlink(&elsewhere.0, folder.0.join("lambda")).unwrap();
    let refused = run(&folder, &["init"]).run().await.expect(2);
    assert!(refused.stderr.contains("`lambda` exists already, nothing was written"), "{}", refused.stderr);
    assert_eq!(fs::read_dir(&elsewhere.0).unwrap().count(), 0);
    assert!(!folder.0.join("chatctl.toml").exists());
}

#[tokio::test]
async fn what_lambda_does_not_take_is_refused_before_any_call() {
    let folder = Folder::new();
    run(&folder, &["init"]).run().await.expect(0);
    let lambda = folder.0.join("lambda");
    // Nobody listens there: a call would fail in another way.
    let refused = async |word: &str| {
        let run = run(&folder, &["up"]).credentials("http://127.0.0.1:1", "000000000001", "x");
        let ended = run.run().await.expect(2);
        assert!(ended.stderr.contains(word), "{}", ended.stderr);
    };
    let large = File::create(lambda.join("large.bin")).unwrap();
    large.set_len(251 << 20).unwrap();
    refused("250 MB").await;
    large.set_len(0).unwrap();
    let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(51 << 20).collect();
    fs::write(lambda.join("noise.bin"), noise).unwrap();
    refused("50 MB").await;
    fs::remove_file(lambda.join("noise.bin")).unwrap();
    symlink("/etc", lambda.join("linked")).unwrap();
    refused("symbolic link").await;
    fs::remove_file(lambda.join("linked")).unwrap();
    fs::remove_file(lambda.join("onConnect.mjs")).unwrap();
    refused("there is no handler `onConnect.mjs`").await;
}

#[tokio::test]
async fn keys_and_state_among_the_handlers_are_refused_by_name() {
    let folder = Folder::new();
    run(&folder, &["init"]).run().await.expect(0);
    let lambda = folder.0.join("lambda");
    let up = || run(&folder, &["up"]).credentials("http://127.0.0.1:1", "000000000001", "x").run();
    let key = "-----BEGIN PRIVATE KEY-----\n";
    for (name, content) in [
        ("id_rsa", ""),
        ("deep/ID_ED25519", ""),
        ("tls.pem", key),
        ("tls.key", ""),
        ("store.p12", ""),
        ("secrets.json", "{}"),
        ("credentials", ""),
        ("me_accessKeys.csv", ""),
        ("terraform.tfstate", ""),
        ("terraform.tfstate.backup", ""),
        ("prod.tfvars", ""),
        ("prod.env", ""),
        ("env.local", ""),
    ] {
        let path = lambda.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let refused = up().await.expect(2);
        assert!(refused.stderr.contains(&format!("lambda/{name}` ")), "{name}: {}", refused.stderr);
        assert!(refused.stderr.contains("hint: move it out of the folder"), "{}", refused.stderr);
        fs::remove_file(path).unwrap();
    }
}

#[tokio::test]
async fn verbose_names_every_file_that_is_packed() {
    let folder = Folder::new();
    run(&folder, &["init"]).run().await.expect(0);
    for (name, content) in [
        (".env", "TOKEN=x"),
        ("coverage/lcov.info", "x"),
        ("global-bundle.pem", "-----BEGIN CERTIFICATE-----\n"),
        ("environment.mjs", ""),
        ("node_modules/tls/test/tls.key", ""),
    ] {
        let path = folder.0.join("lambda").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let told = async |flags: &[&str]| {
        let ended = run(&folder, &["export", "--dir", "out"]).args(flags.iter().copied()).run().await.expect(0);
        let packed = ended.stderr.lines().filter_map(|line| line.strip_prefix("packed "));
        packed.map(str::to_owned).collect::<Vec<_>>()
    };
    let mut packed: Vec<String> = chatctl::handlers::embedded().into_keys().collect();
    packed.extend(["environment.mjs", "global-bundle.pem", "node_modules/tls/test/tls.key"].map(str::to_owned));
    packed.sort();
    assert_eq!(told(&["-v"]).await, packed);
    assert_eq!(told(&[]).await, [""; 0]);
}

/// An older Node.js than that of the functions takes less: then it is said which of them speaks.
#[tokio::test]
async fn a_syntax_error_of_an_older_node_names_both_versions() {
    let (folder, tools) = (Folder::new(), Folder::new());
    run(&folder, &["init"]).run().await.expect(0);
    let node = tools.0.join("node");
    let flaw = r#"{"file":"onConnect.mjs","line":3,"what":"Unexpected token"}"#;
    fs::write(&node, format!("#!/bin/sh\n[ \"$1\" = --version ] && echo v20.11.1 || echo '{flaw}'\n")).unwrap();
    fs::set_permissions(&node, fs::Permissions::from_mode(0o755)).unwrap();
    let up = run(&folder, &["up"]).credentials("http://127.0.0.1:1", "000000000001", "local");
    let path = format!("{}:/usr/bin:/bin", tools.0.display());
    let up = up.env("PATH", path).run().await.expect(2);
    let said =
        "onConnect.mjs:3`: Unexpected token (says Node.js 20.11.1; the functions run on nodejs24.x, which may take";
    assert!(up.stderr.contains(said), "{}", up.stderr);
}

/// A file that grows without end would fill the memory before anybody could say that it is too large.
#[tokio::test]
async fn reading_the_handlers_stops_at_the_limit() {
    let folder = Folder::new();
    run(&folder, &["init"]).run().await.expect(0);
    // More than any memory, and nothing on the disk.
    File::create(folder.0.join("lambda/large.bin")).unwrap().set_len(4 << 40).unwrap();
    let up = run(&folder, &["up"]).credentials("http://127.0.0.1:1", "000000000001", "x");
    let refused = up.run().await.expect(2);
    assert!(refused.stderr.contains("the content has more than 250 MB"), "{}", refused.stderr);
}

/// What the functions could not even load is found by Node.js before anything is written, by file and line, and nothing of
/// the handlers runs for that.
#[tokio::test]
async fn handlers_that_cannot_be_loaded_are_refused_before_anything_is_touched() {
    let folder = Folder::new();
    run(&folder, &["init"]).run().await.expect(0);
    let good = fs::read_to_string(folder.0.join("lambda/onConnect.mjs")).unwrap();
    let ran = folder.0.join("ran");
    let runs = format!("import fs from 'node:fs';\nfs.writeFileSync('{}', '');\n", ran.display());
    for (text, said) in [
        (format!("{good}\nlet b = ;\n"), format!(":{}`: Unexpected token ';'", good.lines().count() + 2)),
        (format!("{runs}import x from './nope.mjs';\n{good}"), ":3`: cannot find module './nope.mjs'".to_owned()),
        (format!("import x from 'left-pad';\n{good}"), ":1`: cannot find module 'left-pad'".to_owned()),
    ] {
        fs::write(folder.0.join("lambda/onConnect.mjs"), text).unwrap();
        // Nothing listens there, so any call would fail with 1.
        let up = run(&folder, &["up"]).credentials("http://127.0.0.1:1", "000000000001", "local").run().await.expect(2);
        assert!(up.stderr.contains(&format!("/lambda/onConnect.mjs{said}")), "{said} in {}", up.stderr);
        assert!(
            up.stderr.contains("\nhint: the functions would fail to start; nothing was touched\n"),
            "{}",
            up.stderr
        );
        assert!(!ran.exists(), "it ran");
    }
    // What Lambda brings along, what Node.js has, and what is in `node_modules` is there.
    fs::create_dir_all(folder.0.join("lambda/node_modules/left-pad")).unwrap();
    let fine = format!("import '@aws-sdk/client-s3';\nimport 'fs';\nimport 'left-pad';\n{good}");
    fs::write(folder.0.join("lambda/onConnect.mjs"), fine).unwrap();
    let up = run(&folder, &["up", "--timeout", "5s"]).credentials("http://127.0.0.1:1", "000000000001", "local");
    up.run().await.expect(1);
}

/// Where there is no Node.js, Lambda will tell; only `-v` says so.
#[tokio::test]
async fn without_node_the_handlers_are_not_checked() {
    let folder = Folder::new();
    run(&folder, &["init"]).run().await.expect(0);
    fs::write(folder.0.join("lambda/onConnect.mjs"), "let b = ;").unwrap();
    for (args, noted) in [(&["up", "--timeout", "5s"][..], false), (&["up", "-v", "--timeout", "5s"], true)] {
        let up = run(&folder, args).credentials("http://127.0.0.1:1", "000000000001", "local").env("PATH", "/nowhere");
        let up = up.run().await.expect(1);
        assert_eq!(
            up.stderr.contains("the handlers were not checked: there is no Node.js here"),
            noted,
            "{}",
            up.stderr
        );
    }
}
