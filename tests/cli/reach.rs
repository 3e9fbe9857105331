//! An AWS or a chat that cannot be reached: it is named, and given up in time.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::sync::mpsc;

use chatctl::error::Exit;
use support::{Chatctl, Folder, chatctl as binary, ministack};

use super::run::chatctl;

/// The program where a pipeline's token, kept in `folder`, is to be exchanged for credentials.
fn in_a_pipeline(folder: &Folder) -> Chatctl {
    let token = folder.0.join("token");
    fs::write(&token, "header.payload.signature").unwrap();
    binary(env!("CARGO_BIN_EXE_chatctl"))
        .env("AWS_WEB_IDENTITY_TOKEN_FILE", &token)
        .env("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/deployer")
        .env("AWS_EC2_METADATA_DISABLED", "true")
}

/// A chat that takes every connection and never says a word.
#[tokio::test]
async fn a_chat_that_never_answers_is_given_up_by_the_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/prod", silent.local_addr().unwrap());
    let ended = chatctl(&format!("verify --url {url} --timeout 1s")).run().await;
    assert_eq!(ended.exit, Exit::Failed, "{}", ended.stderr);
    assert!(ended.stderr.contains("error: not done within 1s\nhint: "), "{}", ended.stderr);
}

/// Every verb that reads first, through the real client: which endpoint, why, and one of the likely causes.
#[tokio::test]
async fn an_endpoint_that_refuses_is_named() {
    for verb in ["status", "list", "logs"] {
        let run = binary(env!("CARGO_BIN_EXE_chatctl")).credentials("http://127.0.0.1:1", "000000000001", "local");
        let ended = run.args([verb, "--timeout", "8s"]).run().await.expect(1);
        assert!(ended.stderr.contains("connection refused at http://127.0.0.1:1"), "{verb}: {}", ended.stderr);
        assert!(ended.stderr.contains("hint: nothing listens there"), "{verb}: {}", ended.stderr);
    }
}

/// Credentials that STS gives are fetched from the region that was asked for: a pipeline's token needs no `AWS_REGION` beside
/// `--region`.
#[tokio::test]
async fn the_region_that_was_given_is_that_of_the_credentials_too() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let (asked, first) = mpsc::channel();
    std::thread::spawn(move || {
        for connection in proxy.incoming() {
            let mut line = String::new();
            BufReader::new(connection.unwrap()).read_line(&mut line).unwrap();
            if asked.send(line).is_err() {
                return;
            }
        }
    });
    let folder = Folder::new();
    let run = in_a_pipeline(&folder).env("HTTPS_PROXY", address);
    let ended = run.args(["status", "--region", "eu-central-1", "--timeout", "12s"]).run().await.expect(1);
    let first = first.try_recv().unwrap_or_else(|_| panic!("nobody was asked: {}", ended.stderr));
    assert!(first.starts_with("CONNECT sts.eu-central-1.amazonaws.com:443 "), "{first}");
}

/// Who is signed in is not told to sign in because the network is down.
#[tokio::test]
async fn a_network_that_fails_while_credentials_are_fetched_is_a_network_that_fails() {
    let folder = Folder::new();
    let run = in_a_pipeline(&folder).env("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    let ended = run.args(["status", "--region", "eu-central-1", "--timeout", "12s"]).run().await.expect(1);
    assert!(ended.stderr.contains("failed with Connection: "), "{}", ended.stderr);
    assert!(ended.stderr.contains("hint: nothing listens there"), "{}", ended.stderr);
}

/// By names of its own for each service, in variables and in the profile: what is made there works, its functions too.
#[tokio::test]
async fn services_that_are_led_to_one_place_one_by_one_are_led_there() {
    let (server, folder) = (ministack().await, Folder::new());
    let (account, url) = (server.account(), server.url());
    let in_the_profile = ["apigatewayv2", "lambda", "iam", "sqs"];
    let sections: String = in_the_profile.map(|service| format!("{service} =\n  endpoint_url = {url}\n")).concat();
    let config = folder.0.join("config");
    fs::write(&config, format!("[profile mine]\nservices = local\n\n[services local]\n{sections}")).unwrap();
    let led = |args: &[&str]| {
        let by_variable = ["DYNAMODB", "CLOUDWATCH_LOGS", "STS", "CLOUDWATCH"];
        let run = binary(env!("CARGO_BIN_EXE_chatctl")).args(args.iter().copied());
        let run = run.env("AWS_CONFIG_FILE", &config).env("AWS_PROFILE", "mine").env("AWS_REGION", "us-east-1");
        let run = run.env("AWS_ACCESS_KEY_ID", &account).env("AWS_SECRET_ACCESS_KEY", "local");
        by_variable.iter().fold(run, |run, service| run.env(&format!("AWS_ENDPOINT_URL_{service}"), url))
    };
    let up = led(&["up", "--verify", "-v"]).run().await.expect(0);
    assert!(up.stdout.starts_with("ws://"), "{}", up.stdout);
    assert!(up.stderr.contains(&format!("through the endpoint override {url}\n")), "{}", up.stderr);
    // The profile leads elsewhere than the variables.
    fs::write(&config, fs::read_to_string(&config).unwrap().replacen(url, "http://127.0.0.1:1", 1)).unwrap();
    let refused = led(&["status"]).run().await.expect(2);
    let why = format!("calls of `apigatewayv2` would go to http://127.0.0.1:1, those of `cloudwatch` to {url}");
    assert!(refused.stderr.contains(&why), "{}", refused.stderr);
    let back = led(&["down"]).env("AWS_ENDPOINT_URL_APIGATEWAYV2", url).run().await.expect(0);
    assert_eq!(back.stdout, "");
}
