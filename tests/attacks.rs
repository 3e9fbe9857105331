//! Attacks on the local AWS and on the machine through it: as a web page, another user or a cloned repository would.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use chatctl::host::{Env, Host};
use chatctl::local::{self, Endpoint};
use support::{DataDir, Folder, Told, chatctl, sdk_config, silent_host};

const PROGRAM: &str = env!("CARGO_BIN_EXE_chatctl");

fn host(data: &Path) -> Host {
    let mut env = Env(std::env::vars().collect());
    env.0.insert("CHATCTL_DATA_DIR".to_owned(), data.display().to_string());
    Host { env, ..silent_host(Path::new("/")) }
}

async fn started() -> (DataDir, Endpoint) {
    let data = DataDir::new().await;
    let endpoint = local::start(&host(data.path()), &Told).await.unwrap();
    (data, endpoint)
}

/// The status of the answer to a request with these headers.
fn status(endpoint: &Endpoint, line: &str, headers: &str) -> String {
    let address = endpoint.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    let host = if headers.contains("Host:") { String::new() } else { format!("Host: {address}\r\n") };
    write!(stream, "{line} HTTP/1.1\r\nConnection: close\r\n{host}{headers}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn a_web_page_can_do_nothing() {
    let (_data, endpoint) = started().await;
    let query = "X-Amz-Credential=000000000001/20261125/us-east-1/iam/aws4_request&X-Amz-Algorithm=AWS4-HMAC-SHA256\
        &X-Amz-Signature=00&X-Amz-SignedHeaders=host&X-Amz-Date=20261125T000000Z";
    let create = format!("GET /?Action=CreateUser&UserName=eve&Version=2010-05-08&{query}");
    let control = ["GET /_ministack/health", "POST /_ministack/reset", "GET /?Action=ListUsers", &create];
    let image = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n";
    let navigation = "Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\n";
    for line in control {
        for headers in ["", image, navigation, "Origin: https://example.com\r\n", "Host: x.amazonaws.com\r\n"] {
            assert_eq!(status(&endpoint, line, headers), "403", "{line}\n{headers}");
        }
    }
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    for line in ["GET /_ministack/health", "GET /", "GET /_aws/execute-api/x/prod/@connections/y"] {
        assert_eq!(status(&endpoint, line, upgrade), "403", "{line}");
    }
    let aws = sdk_config(&endpoint.url, &endpoint.access_key, &endpoint.secret);
    let users = aws_sdk_iam::Client::new(&aws).list_users().send().await.unwrap();
    assert!(users.users().is_empty());
}

#[tokio::test]
async fn only_the_secret_of_this_instance_opens_it() {
    let (data, endpoint) = started().await;
    let callers = [("000000000001", "local"), (&*endpoint.access_key, "local"), ("test", "test")];
    for (key, secret) in callers {
        let iam = aws_sdk_iam::Client::new(&sdk_config(&endpoint.url, key, secret));
        assert!(iam.list_users().send().await.is_err(), "{key}");
    }
    let home = data.path().join("local");
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(&home), mode(&home.join("instance.json"))), (0o700, 0o600));
    let all = Command::new("ps").args(["-axww", "-o", "command="]).output().unwrap();
    assert!(!String::from_utf8_lossy(&all.stdout).contains(&endpoint.secret), "it is on a command line");

    assert!(local::stop(&host(data.path())).await.unwrap());
    let again = local::start(&host(data.path()), &Told).await.unwrap();
    assert_ne!(again.secret, endpoint.secret);
    assert_eq!(again.url, endpoint.url, "the port is kept");
}

#[tokio::test]
async fn folders_full_of_other_things_lose_nothing() {
    let folder = Folder::new();
    let precious = folder.0.join("local/bin/precious");
    fs::create_dir_all(precious.parent().unwrap()).unwrap();
    fs::write(&precious, "").unwrap();
    let error = local::start(&host(&folder.0), &Told).await.unwrap_err();
    assert!(error.message.contains("holds other things, such as `bin`"), "{error}");
    assert!(precious.exists());
    assert_eq!(fs::read_dir(folder.0.join("local")).unwrap().count(), 1);
}

#[tokio::test]
async fn a_planted_record_removes_nothing() {
    let folder = Folder::new();
    let home = folder.0.join("local");
    let nonce = "0123456789abcdef0123456789abcdef";
    let victim = folder.0.join("run").join(nonce);
    fs::create_dir_all(&victim).unwrap();
    fs::create_dir(&home).unwrap();
    for nonce in ["", nonce] {
        let record = serde_json::json!({"pid": 999_999, "port": 1, "nonce": nonce, "folder": victim});
        fs::write(home.join("instance.json"), record.to_string()).unwrap();
        assert!(!local::stop(&host(&folder.0)).await.unwrap());
        assert!(victim.exists());
    }
    fs::set_permissions(&home, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(local::find(&host(&folder.0)).await.unwrap_err().message.contains("can be written to by other users"));
}

#[tokio::test]
async fn a_hostile_working_directory_runs_nothing() {
    let data = DataDir::new().await;
    let folder = Folder::new();
    let proof = folder.0.join("was-run");
    for module in ["hypercorn", "ensurepip", "venv", "ministack", "sitecustomize"] {
        let code = format!("open({:?}, 'w')", proof.display().to_string());
        fs::write(folder.0.join(format!("{module}.py")), code).unwrap();
    }
    let run = chatctl(PROGRAM).args(["local", "start"]).data_dir(&data).cwd(&folder.0);
    run.env("PYTHONPATH", &folder.0).run().await.expect(0);
    assert!(!proof.exists());
}

#[tokio::test]
async fn the_functions_sign_with_keys_of_their_own() {
    let data = DataDir::new().await;
    chatctl(PROGRAM).args(["up", "--local", "--verify"]).data_dir(&data).run().await.expect(0);
}
