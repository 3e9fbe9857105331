//! The tests' own tools do what they promise.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use support::{Call, Proxy, chatctl, microburst, ministack, moto, python_tools, sdk_config};

#[tokio::test]
async fn the_proxy_counts_and_delays() {
    let ministack = ministack().await;
    let delay = Duration::from_millis(30);
    let proxy = Proxy::start(ministack.url(), delay).await;
    let account = ministack.account();
    let iam = aws_sdk_iam::Client::new(&sdk_config(&proxy.url, &account, "local"));
    iam.create_user().user_name("somebody").send().await.unwrap();
    iam.list_users().send().await.unwrap();

    let calls = proxy.take();
    let names: Vec<_> = calls.iter().map(Call::name).collect();
    assert_eq!(names, ["CreateUser", "ListUsers"]);
    assert_eq!(calls.iter().map(Call::is_write).collect::<Vec<_>>(), [true, false]);
    for call in &calls {
        assert_eq!(call.status, Some(200));
        assert!(call.ended.unwrap() - call.began >= delay);
    }
    assert!(proxy.calls().is_empty());

    // The signature of an IAM user passes: nothing in the request is changed.
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:*","Resource":"*"}]}"#;
    let (key, secret) = ministack.user_with_policy(&account, policy).await;
    let user = aws_sdk_iam::Client::new(&sdk_config(&proxy.url, &key, &secret));
    assert_eq!(user.list_users().send().await.unwrap().users.len(), 2);
}

#[tokio::test]
async fn microburst_breaks_calls_by_rule() {
    let rules = "[{service: iam, operation: ListUsers, times: 1, error: {code: ServiceFailure, status: 500}}]";
    let ministack = ministack().await;
    let proxy = Proxy::start(ministack.url(), Duration::ZERO).await;
    let burst = microburst(&proxy.url, rules).await;
    let through = Proxy::start(&burst.url, Duration::ZERO).await;
    let iam = aws_sdk_iam::Client::new(&sdk_config(&through.url, &ministack.account(), "local"));
    iam.list_users().send().await.unwrap();
    let statuses: Vec<_> = through.calls().iter().map(|call| call.status).collect();
    assert_eq!(statuses, [Some(500), Some(200)]);
    assert_eq!(proxy.calls().len(), 1);
}

#[tokio::test]
async fn moto_answers() {
    let moto = moto().await;
    let iam = aws_sdk_iam::Client::new(&sdk_config(&moto.url, "test", "test"));
    iam.create_user().user_name("somebody").send().await.unwrap();
    assert_eq!(iam.list_users().send().await.unwrap().users.len(), 1);
}

#[tokio::test]
async fn the_linters_run() {
    let tools = python_tools().await;
    for (program, argument) in [("cfn-lint", "--version"), ("parliament", "--help")] {
        let output = tools.command(program).arg(argument).output().await.unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let imports = "import boto3, websockets";
    assert!(tools.command("python").args(["-c", imports]).status().await.unwrap().success());
}

#[tokio::test]
async fn a_run_is_captured_and_can_be_signalled() {
    let script = "cat; echo \"$AWS_PROFILE$HOME\" >&2; exit 3";
    let ended = chatctl("/bin/sh").args(["-c", script]).env("HOME", "/home/nobody").stdin("text").run().await;
    let ended = ended.expect(3);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("text", "/home/nobody\n"));

    let running = chatctl("/bin/sh").args(["-c", "exec sleep 600"]).start().await;
    let began = Instant::now();
    running.signal(Signal::SIGTERM);
    assert_eq!(running.finish().await.code, None);
    assert!(began.elapsed() < Duration::from_secs(60));
}

/// After a new botocore: `python tests/world/service-models.py > tests/world/service-models.json`, with that botocore.
#[tokio::test]
async fn the_service_models_are_those_of_the_pinned_botocore() {
    let world = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/world/service-models");
    let tools = python_tools().await;
    let output = tools.command("python").arg(format!("{world}.py")).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let kept = std::fs::read(format!("{world}.json")).unwrap();
    assert!(output.stdout == kept, "service-models.json is not what service-models.py prints");
}
