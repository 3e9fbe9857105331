//! Attacks on the local AWS and on the machine through it: as a web page, another user or a cloned repository would.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use chatctl::host::{Env, Host};
use chatctl::local::{self, Endpoint, Server};
use serde_json::{Value, json};
use support::{DataDir, Folder, Told, chatctl, installation, sdk_config, silent_host};

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
    // The account that the requests name.
    let aws = sdk_config(&endpoint.url, "000000000001", &endpoint.secret);
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
        let record = json!({"pid": 999_999, "port": 1, "nonce": nonce, "folder": victim});
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

/// A record as `serve.py` writes it.
fn record_of(data: &DataDir) -> Value {
    serde_json::from_slice(&fs::read(data.path().join("local/instance.json")).unwrap()).unwrap()
}

/// What another user of the machine tries: prints what it got hold of.
const NEIGHBOUR: &str = r#"
import os, sys, urllib.error, urllib.request
home, pid, url = sys.argv[1:]
got = []
for path in (f"{home}/instance.json", f"{home}/port", f"/proc/{pid}/environ"):
    try:
        got.append((path, open(path, "rb").read()))
    except OSError:
        pass
try:
    got.append((home, os.listdir(home)))
except OSError:
    pass
keys = "AWS4-HMAC-SHA256 Credential=000000000001/20261125/us-east-1/iam/aws4_request, SignedHeaders=host;x-amz-date, "
headers = {"Authorization": keys + "Signature=" + 64 * "0", "X-Amz-Date": "20261125T000000Z"}
for path in ("/?Action=ListUsers&Version=2010-05-08", "/v2/apis", "/_aws/execute-api/abc/prod/@connections/x"):
    for more in ({}, headers):
        for body in (None, b"hello"):
            try:
                got.append((path, urllib.request.urlopen(urllib.request.Request(url + path, body, more)).status))
            except urllib.error.HTTPError as error:
                if error.code != 403:
                    got.append((path, error.code))
print(os.geteuid(), got)
"#;

#[tokio::test]
async fn another_user_reads_and_calls_nothing() {
    let (data, endpoint) = started().await;
    let home = data.path().join("local").display().to_string();
    let pid = record_of(&data)["pid"].to_string();
    let python = ["-n", "-u", "nobody", "python3", "-I", "-c", NEIGHBOUR, &home, &pid, &endpoint.url];
    // The Python of the system: one in the home of this user is closed to others.
    let output = if nix::unistd::geteuid().is_root() {
        let ids = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
        Command::new("setpriv").args(ids).args(&python[3..]).current_dir("/").env("PATH", "/usr/bin:/bin").output()
    } else {
        Command::new("sudo").args(python).current_dir("/").output()
    };
    let output = output.unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(said, "65534 []\n", "{errors}");
}

const SECRETS: [&str; 6] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "GITHUB_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "STRIPE_KEY",
];
const PLANTED: &str = "planted-secret";

#[cfg(target_os = "linux")]
#[tokio::test]
async fn server_and_handlers_see_nothing_of_the_callers_environment() {
    let data = DataDir::new().await;
    let mut run = chatctl(PROGRAM).args(["up", "--local", "--verify"]).data_dir(&data);
    for name in SECRETS {
        run = run.env(name, PLANTED);
    }
    run.run().await.expect(0);
    let leader = record_of(&data)["pid"].to_string();
    let mut programs = std::collections::BTreeSet::new();
    for process in fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()) {
        let Ok(stat) = fs::read_to_string(process.join("stat")) else { continue };
        // After the name: state, parent, group.
        if stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(2)) != Some(&leader) {
            continue;
        }
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&environment).contains(PLANTED), "{stat}");
        programs.insert(fs::read_to_string(process.join("comm")).unwrap_or_default().trim().to_owned());
    }
    assert!(programs.len() >= 2, "server and functions: {programs:?}");
}

#[tokio::test]
async fn installers_see_nothing_of_the_callers_environment() {
    for installer in ["python3", "uv"] {
        let folder = Folder::new();
        let (bin, seen) = (folder.0.join("bin"), folder.0.join("seen"));
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir(&seen).unwrap();
        for (name, answer) in [(installer, "3 13"), ("node", "v24.1.0"), ("npm", "11.0.0")] {
            let script = format!(
                "#!/bin/sh\n{{ echo \"$@\"; pwd; /usr/bin/env; }} >> '{}'\necho {answer}\n",
                seen.join(name).display()
            );
            fs::write(bin.join(name), script).unwrap();
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mut host = host(&folder.0);
        host.env.0.insert("PATH".to_owned(), bin.display().to_string());
        host.env.0.extend(SECRETS.map(|name| (name.to_owned(), PLANTED.to_owned())));
        // There is no server in what these install.
        assert!(local::start(&host, &Told).await.is_err());
        for name in [installer, "node", "npm"] {
            let seen = fs::read_to_string(seen.join(name)).unwrap();
            assert!(seen.contains("PATH=") && seen.contains("\n/\n"), "{name}: {seen}");
            assert!(!seen.contains(PLANTED), "{name}: {seen}");
        }
    }
}

/// Listens where a record says, and answers every request with `proof` of its nonce.
fn squat(proof: impl Fn(&str, u16) -> String + Send + 'static) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let nonce = request.split(['?', ' ']).nth(2).unwrap_or_default();
            let body = proof(nonce, port);
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    port
}

fn proof_with(secret: &str, nonce: &str, port: u16) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("chatctl alive {port} {nonce}").as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn who_has_the_port_but_not_the_secret_is_not_believed() {
    let folder = Folder::new();
    let record = folder.0.join("instance.json");
    let nonce = "0123456789abcdef0123456789abcdef";
    // A process that bears the name of the recorded one; it has that name only from when it runs.
    let mut namesake = Command::new("sh");
    namesake.args(["-c", "echo; read line", nonce]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut namesake = namesake.spawn().unwrap();
    namesake.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let believed = async |port: u16| {
        let _ = fs::remove_file(&record);
        let facts = json!({
            "pid": namesake.id(), "port": port, "nonce": nonce, "folder": folder.0, "accessKey": "1", "secret": "sesame",
        });
        let mut file =
            std::os::unix::fs::OpenOptionsExt::mode(fs::OpenOptions::new().write(true).create_new(true), 0o600)
                .open(&record)
                .unwrap();
        file.write_all(facts.to_string().as_bytes()).unwrap();
        Server::at(record.clone()).find().await.unwrap().is_some()
    };
    assert!(!believed(squat(|_, _| String::new())).await);
    assert!(!believed(squat(|nonce, _| nonce.to_owned())).await);
    assert!(!believed(squat(|nonce, port| proof_with("guess", nonce, port))).await);
    // What the real one proved at its own port is no proof at another.
    assert!(!believed(squat(|nonce, _| proof_with("sesame", nonce, 1))).await);
    assert!(believed(squat(|nonce, port| proof_with("sesame", nonce, port))).await);
    drop(namesake.stdin.take());
    namesake.wait().unwrap();
}

/// What is below boto3 and the AWS CLI, as a user has it, with what `local env` prints.
const BOTOCORE: &str = r#"
import botocore.exceptions, botocore.session
session = botocore.session.get_session()
sts = session.create_client("sts")
print(sts.get_caller_identity()["Account"])
api = session.create_client("apigatewayv2").get_apis()["Items"][0]["ApiId"]
url = f"{sts.meta.endpoint_url}/_aws/execute-api/{api}/prod"
try:
    session.create_client("apigatewaymanagementapi", endpoint_url=url).post_to_connection(ConnectionId="gone", Data=b"hello")
except botocore.exceptions.ClientError as error:
    print(error.response["Error"]["Code"])
"#;

#[tokio::test]
async fn what_local_env_prints_lets_botocore_in() {
    let data = DataDir::new().await;
    let url = chatctl(PROGRAM).args(["up", "--local"]).data_dir(&data).run().await.expect(0).stdout;
    let printed = chatctl(PROGRAM).args(["local", "env"]).data_dir(&data).run().await.expect(0).stdout;
    let python = installation().await.folder.join("venv/bin/python");
    let script = format!("{printed}\nexec '{}' -I -c \"$0\"", python.display());
    let output = Command::new("sh").args(["-c", &script, BOTOCORE]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let account = record_of(&data)["accessKey"].as_str().unwrap().to_owned();
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{account}\nGoneException\n"), "{errors}");

    // A plain WebSocket client, with none of it.
    let (mut socket, _) = tokio_tungstenite::connect_async(url.trim()).await.unwrap();
    let message = r#"{"action":"sendmessage","data":"hello"}"#;
    futures_util::SinkExt::send(&mut socket, message.into()).await.unwrap();
    let heard = futures_util::StreamExt::next(&mut socket).await.unwrap().unwrap();
    assert_eq!(heard.to_text().unwrap(), "hello");
}
