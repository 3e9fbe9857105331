//! Behind a company's proxy: calls to AWS and chats go through the one that `HTTPS_PROXY` names; what is plain, and
//! what `NO_PROXY` names, does not.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::chat_server::ChatServer;

/// A proxy that alone knows where `chat.test` is, and opens tunnels to nowhere else.
struct Tunnels {
    url: String,
    /// `host:port` and the password of each that was asked for.
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Tunnels {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://ada:lovelace@{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, seen.clone()));
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<(String, String)> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(mut client: TcpStream, asked: Arc<Mutex<Vec<(String, String)>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        // Who hangs up has asked for nothing.
        let Ok(byte) = client.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap_or_default().to_owned();
    let password = head
        .lines()
        .find_map(|line| line.to_lowercase().starts_with("proxy-authorization: ").then(|| line[21..].to_owned()));
    asked.lock().unwrap().push((target.clone(), password.unwrap_or_default()));
    let Some(port) = target.strip_prefix("chat.test:") else {
        client.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        return;
    };
    let mut server = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).await.unwrap();
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
    // Either side may hang up at any time.
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

/// `Basic` with `ada:lovelace` in base64.
const PASSWORD: &str = "Basic YWRhOmxvdmVsYWNl";

fn chatctl(args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatctl"));
    command.args(args).env_clear().envs(env.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

async fn run(mut command: Command, input: &'static str) -> Output {
    let wait = move || {
        let mut child = command.spawn().unwrap();
        // A program that refuses to go on reads nothing.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    };
    tokio::task::spawn_blocking(wait).await.unwrap()
}

/// What leads the calls to AWS through `proxy`; its first refusal ends a run.
fn to_aws_by(proxy: &Tunnels) -> [(&str, &str); 5] {
    [
        ("HTTPS_PROXY", &proxy.url),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_MAX_ATTEMPTS", "1"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_to_aws_go_through_the_proxy() {
    let proxy = Tunnels::start().await;
    let env = to_aws_by(&proxy);
    let output = run(chatctl(&["status"], &env), "").await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    // The first refusal ends the run, so how many are asked for is a matter of chance.
    let asked = proxy.asked();
    assert!(!asked.is_empty());
    for (target, password) in asked {
        let host = target.strip_suffix(":443").unwrap();
        assert!(host.ends_with(".eu-central-1.amazonaws.com") || host == "iam.amazonaws.com", "{target}");
        assert_eq!(password, PASSWORD);
    }
    assert!(told.contains("tunnel"), "{told}");
    assert!(!told.contains("lovelace"), "{told}");
}

/// Neither an endpoint of AWS's own for one service nor overrides that are to be ignored lead away from AWS.
#[tokio::test(flavor = "multi_thread")]
async fn calls_go_to_aws_where_no_emulator_is_heeded() {
    const VPC: &str = "vpce-0a1b-2c3d.sts.eu-central-1.vpce.amazonaws.com";
    let proxy = Tunnels::start().await;
    let in_a_vpc = format!("https://{VPC}");
    let env = to_aws_by(&proxy);
    for (led, host) in [
        (&[("AWS_ENDPOINT_URL_STS", in_a_vpc.as_str())][..], VPC),
        (
            &[
                ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
                ("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:2"),
                ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"),
            ],
            "sts.eu-central-1.amazonaws.com",
        ),
    ] {
        let output = run(chatctl(&["list"], &[&env, led].concat()), "").await;
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
        let asked: Vec<String> = proxy.asked().into_iter().map(|(target, _)| target).collect();
        assert!(asked.contains(&format!("{host}:443")), "{asked:?}");
        assert!(asked.iter().all(|target| target.ends_with(".amazonaws.com:443")), "{asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chats_go_through_the_proxy() {
    let proxy = Tunnels::start().await;
    let (server, certificate) = ChatServer::start_with_tls().await;
    let file = std::env::temp_dir().join(format!("chatctl-certificate-{:016x}.pem", fastrand::u64(..)));
    std::fs::write(&file, certificate).unwrap();
    let trusted = ("SSL_CERT_FILE", file.to_str().unwrap());
    let url = server.url.replace("localhost", "chat.test");
    let host = url.strip_prefix("wss://").and_then(|url| url.strip_suffix("/prod")).unwrap();
    let chat = |url: &str, env: &[(&str, &str)]| {
        let env = [&[trusted], env].concat();
        run(chatctl(&["chat", "--url", url, "--wait", "300ms"], &env), "hello\n")
    };
    let told = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();

    let tunnelled = chat(&url, &[("HTTPS_PROXY", &proxy.url)]).await;
    assert_eq!(tunnelled.status.code(), Some(0), "{}", told(&tunnelled));
    assert_eq!(String::from_utf8_lossy(&tunnelled.stdout), "hello\n");
    let asked = [(host.to_owned(), PASSWORD.to_owned())];
    assert_eq!(proxy.asked(), asked);

    let to_this_machine = chat(&server.url, &[("HTTPS_PROXY", &proxy.url)]).await;
    assert_eq!(to_this_machine.status.code(), Some(0), "{}", told(&to_this_machine));
    let straight = chat(&url, &[("HTTPS_PROXY", &proxy.url), ("NO_PROXY", "chat.test")]).await;
    assert_eq!(straight.status.code(), Some(1), "nobody but the proxy knows the host: {}", told(&straight));
    assert_eq!(proxy.asked(), asked);

    let nobody = chat(&url, &[("HTTPS_PROXY", "http://127.0.0.1:9")]).await;
    std::fs::remove_file(&file).unwrap();
    assert_eq!(nobody.status.code(), Some(1));
    assert!(told(&nobody).contains("through the proxy"), "{}", told(&nobody));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_plain_goes_straight() {
    let proxy = Tunnels::start().await;
    let server = ChatServer::start().await;
    let proxies = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].map(|name| (name, proxy.url.as_str()));
    let chat = run(chatctl(&["chat", "--url", &server.url, "--wait", "300ms"], &proxies), "hello\n").await;
    assert_eq!(chat.status.code(), Some(0), "{}", String::from_utf8_lossy(&chat.stderr));

    let ministack = support::ministack().await;
    let account = ministack.account();
    let mut env = proxies.to_vec();
    env.extend([
        ("AWS_ENDPOINT_URL", ministack.url()),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", account.as_str()),
        ("AWS_SECRET_ACCESS_KEY", "local"),
    ]);
    let status = run(chatctl(&["status"], &env), "").await;
    assert_eq!(status.status.code(), Some(4), "{}", String::from_utf8_lossy(&status.stderr));
    assert_eq!(proxy.asked(), []);
}
