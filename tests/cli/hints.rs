//! Commands in hints reach the deployment that the run was about, however they are copied.

use std::io::{Read, Write};
use std::net::TcpListener;

use aws_config::SdkConfig;
use serde_json::Value;
use support::sdk_config;

use super::run::chatctl;

/// An AWS with one answer for everything.
fn answering(status: &'static str, body: &'static str) -> SdkConfig {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let _ = connection.read(&mut [0; 4096]);
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            let _ = connection.write_all(format!("{head}{body}").as_bytes());
        }
    });
    sdk_config(&url, "123456789012", "test")
}

#[tokio::test]
async fn a_hint_repeats_where_the_run_was_told_to_look() {
    let local = chatctl("verify --local --name foox");
    let data = local.path().join("data").display().to_string();
    let ended = local.env("CHATCTL_DATA_DIR", &data).run().await;
    assert!(ended.stderr.contains("hint: `chatctl up --local --name foox` starts one\n"), "{}", ended.stderr);

    let noted = chatctl("status --local --name foox").env("CHATCTL_DATA_DIR", &data).run().await;
    assert!(noted.stderr.contains("; `chatctl up --local --name foox` starts one\n"), "{}", noted.stderr);

    let empty = answering("200 OK", r#"{"items":[]}"#);
    let ended = chatctl("verify --stage dev -o json").env("CHATCTL_NAME", "foox").aws(&empty).run().await;
    let hint = "`chatctl up --name foox --stage dev` creates it; `chatctl list` shows those that exist";
    assert!(ended.stderr.contains(&format!("hint: {hint}\n")), "{}", ended.stderr);
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(document["error"]["hint"], hint);

    let denying = answering("403 Forbidden", "");
    let ended = chatctl("status --name foox --region eu-west-1").aws(&denying).run().await;
    assert!(ended.stderr.contains("`chatctl policy --name foox --region eu-west-1` prints"), "{}", ended.stderr);
}
