//! Attacks on the local AWS and on the machine through it: as a web page, another user or a cloned repository would.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_iam::error::ProvideErrorMetadata;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use chatctl::host::{Env, Host};
use chatctl::local::{self, Endpoint, Server};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use support::{Client, DataDir, Folder, Told, chatctl, installation, sdk_config, silent_host};

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

/// The status of the answer to a request with these headers, and after them, it may be, a body.
fn status(endpoint: &Endpoint, line: &str, headers: &str) -> String {
    let address = address(endpoint);
    let mut stream = TcpStream::connect(address).unwrap();
    let host = if headers.contains("Host:") { String::new() } else { format!("Host: {address}\r\n") };
    let end = if headers.contains("\r\n\r\n") { "" } else { "\r\n" };
    write!(stream, "{line} HTTP/1.1\r\n{host}{headers}{end}").unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().to_owned()
}

fn address(endpoint: &Endpoint) -> &str {
    endpoint.url.trim_start_matches("http://")
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";

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
    for line in ["GET /_ministack/health", "GET /", "GET /_aws/execute-api/x/prod/@connections/y"] {
        assert_eq!(status(&endpoint, line, UPGRADE), "403", "{line}");
    }
    // The account that the requests name.
    let aws = sdk_config(&endpoint.url, "000000000001", &endpoint.secret);
    let users = aws_sdk_iam::Client::new(&aws).list_users().send().await.unwrap();
    assert!(users.users().is_empty());
}

/// What somebody who holds the secret sends.
struct Signed<'a> {
    host: &'a str,
    method: &'a str,
    path: &'a str,
    service: &'a str,
    body: &'a str,
    at: SystemTime,
    location: SignatureLocation,
}

impl Signed<'_> {
    /// Signed; the path that it goes to, and its headers.
    fn by(&self, endpoint: &Endpoint) -> (String, String) {
        let identity = Credentials::new(&endpoint.access_key, &endpoint.secret, None, None, "test").into();
        let mut settings = SigningSettings::default();
        settings.signature_location = self.location;
        settings.expires_in = (self.location == SignatureLocation::QueryParams).then_some(Duration::from_secs(60));
        let params = SigningParams::builder().identity(&identity).region(local::REGION).name(self.service);
        let params = params.time(self.at).settings(settings).build().unwrap().into();
        let url = format!("http://{}{}", self.host, self.path);
        let body = SignableBody::Bytes(self.body.as_bytes());
        let request = SignableRequest::new(self.method, &url, std::iter::empty(), body).unwrap();
        let (signed, _) = sign(request, &params).unwrap().into_parts();
        let headers = signed.headers().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<String>();
        let query: Vec<_> = signed.params().iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let join = if query.is_empty() { "" } else { "&" };
        (format!("{}{join}{}", self.path, query.join("&")), format!("Host: {}\r\n{headers}", self.host))
    }

    fn status(&self, endpoint: &Endpoint, more: &str) -> String {
        let (path, headers) = self.by(endpoint);
        status(endpoint, &format!("{} {path}", self.method), &format!("{headers}{more}"))
    }
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Each of these is signed with the secret, and refused for one thing alone: no check stands in for another.
#[tokio::test]
async fn each_check_holds_by_itself() {
    let (_data, endpoint) = started().await;
    let host = address(&endpoint);
    let port = host.rsplit(':').next().unwrap();
    let list = Signed {
        host,
        method: "GET",
        path: "/?Action=ListUsers&Version=2010-05-08",
        service: "iam",
        body: "",
        at: SystemTime::now(),
        location: SignatureLocation::Headers,
    };
    let localhost = format!("localhost:{port}");
    for host in [host, &localhost] {
        assert_eq!(Signed { host, ..list }.status(&endpoint, ""), "200", "{host}");
    }
    // A page, whichever way it asks.
    for header in [
        "Origin: https://evil.example",
        "Origin: null",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
        "Sec-Fetch-Site: same-origin",
        "Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site",
        "Sec-Fetch-Mode: navigate",
    ] {
        assert_eq!(list.status(&endpoint, &format!("{header}\r\n")), "403", "{header}");
    }
    // Names that lead here, and the one of connections for something else.
    let [rebound, bare, other] = ["evil.example", "127.0.0.1.nip.io", "x.execute-api.us-east-1.amazonaws.com"]
        .map(|name| format!("{name}:{port}"));
    for host in [&rebound, &bare, &other, "127.0.0.1", "127.0.0.1:1", "x.amazonaws.com"] {
        assert_eq!(Signed { host, ..list }.status(&endpoint, ""), "403", "{host}");
    }
    // What steers the emulator, and what is not offered.
    for (method, path, service) in [
        ("POST", "/_ministack/reset", "iam"),
        ("GET", "/_ministack/health", "iam"),
        ("GET", "/_ministack/lambda-code/x", "lambda"),
        ("GET", "/_aws/execute-api/x/prod", "execute-api"),
        ("GET", "/?Action=ListStacks&Version=2010-05-15", "cloudformation"),
        ("GET", "/", "s3"),
    ] {
        assert_ne!(Signed { method, path, service, ..list }.status(&endpoint, ""), "200", "{path}");
    }
    // What was signed for another time, another body, in the query, or twice.
    let hour = Duration::from_secs(3600);
    for at in [list.at - hour, list.at + hour] {
        assert_eq!(Signed { at, ..list }.status(&endpoint, ""), "403");
    }
    let (good, evil) = ("Action=ListUsers&Version=2010-05-08", "Action=ListRoles&Version=2010-05-08");
    let post = Signed { method: "POST", path: "/", body: good, ..list };
    let with = |body: &str| {
        let length = body.len();
        format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    assert_eq!(
        (post.status(&endpoint, &with(good)), post.status(&endpoint, &with(evil))),
        ("200".into(), "403".into())
    );
    let hash: String = Sha256::digest(good).iter().map(|byte| format!("{byte:02x}")).collect();
    for stated in [&hash, "UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"] {
        let claim = format!("x-amz-content-sha256: {stated}\r\n{}", with(evil));
        assert_eq!(post.status(&endpoint, &claim), "403", "{stated}");
    }
    let query = Signed { location: SignatureLocation::QueryParams, ..list };
    assert_eq!(query.status(&endpoint, ""), "403");
    let (_, headers) = list.by(&endpoint);
    let again = headers.lines().find(|line| line.starts_with("authorization")).unwrap();
    assert_eq!(list.status(&endpoint, &format!("{again}\r\n")), "403");
    // And who knows the secret of another instance.
    let stranger = Endpoint { secret: endpoint.secret.chars().rev().collect(), ..endpoint.clone() };
    let (path, headers) = list.by(&stranger);
    assert_eq!(status(&endpoint, &format!("GET {path}"), &headers), "403");
}

#[tokio::test]
async fn the_chat_is_for_everybody_but_under_no_foreign_name() {
    let data = DataDir::new().await;
    let url = chatctl(PROGRAM).args(["up", "--local"]).data_dir(&data).run().await.expect(0).stdout;
    let endpoint = local::find(&host(data.path())).await.unwrap().unwrap();
    let path = url.trim().splitn(4, '/').last().unwrap();
    let port = endpoint.url.rsplit(':').next().unwrap();
    let connects =
        |query: &str, headers: &str| status(&endpoint, &format!("GET /{path}{query}"), &format!("{UPGRADE}{headers}"));
    let page = "Origin: https://app.example\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: websocket\r\n";
    assert_eq!((connects("", ""), connects("?token=x", page)), ("101".into(), "101".into()));
    let scope = format!("{}/20261125/us-east-1/execute-api/aws4_request", endpoint.access_key);
    let forged = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature={:064}", 0);
    let forged_query = format!(
        "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date=20261125T000000Z&X-Amz-Expires=60\
         &X-Amz-SignedHeaders=host&X-Amz-Signature={:064}",
        encoded(&scope),
        0
    );
    for (query, headers) in [
        ("", format!("Host: evil.example:{port}\r\n")),
        ("", "Host: 127.0.0.1\r\n".to_owned()),
        // Who says who they are must be that.
        ("", format!("Authorization: {forged}\r\nX-Amz-Date: 20261125T000000Z\r\n")),
        (&*forged_query, String::new()),
        ("/@connections/x", String::new()),
        ("/..%2f..%2f..%2f_ministack/health", String::new()),
    ] {
        assert_eq!(connects(query, &headers), "403", "{query} {headers}");
    }
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
    // Of whom it is said that it is the server.
    let mut stranger = Command::new("sleep").arg("600").spawn().unwrap();
    for nonce in ["", "sleep", nonce] {
        let record = json!({"pid": stranger.id(), "port": 1, "nonce": nonce, "folder": victim});
        fs::write(home.join("instance.json"), record.to_string()).unwrap();
        let stopped = local::stop(&host(&folder.0)).await;
        let is_alive = stranger.try_wait().unwrap().is_none();
        assert!(!stopped.unwrap() && is_alive && victim.exists(), "{nonce:?}");
    }
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(local::find(&host(&folder.0)).await.unwrap_err().message.contains("can be written to by other users"));
}

/// A checkout or an archive can bring all that an installation has, the mark too, but nothing that is closed to others.
#[tokio::test]
async fn a_planted_installation_is_not_run() {
    let data = DataDir::new().await;
    let home = data.path().join("local");
    let installation = fs::read_dir(&home).unwrap().next().unwrap().unwrap().path();
    let (python, proof) = (installation.join("venv/bin/python"), data.path().join("was-run"));
    fs::remove_file(&python).unwrap();
    fs::write(&python, format!("#!/bin/sh\necho >> '{}'\n", proof.display())).unwrap();
    for path in [&python, &installation, &home] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut host = host(data.path());
    // Nothing is there to install it anew with.
    host.env.0.insert("PATH".to_owned(), String::new());
    let error = local::start(&host, &Told).await.unwrap_err();
    assert_eq!((error.code.as_str(), proof.exists()), ("MissingPython", false), "{error}");
}

/// Nobody writes into a pipe, so whoever opened it to read it, or to lock it, would wait for ever.
#[tokio::test]
async fn links_and_pipes_in_the_place_of_files_are_let_be() {
    let (data, elsewhere) = (DataDir::new().await, Folder::new());
    let (home, victim) = (data.path().join("local"), elsewhere.0.join("victim"));
    fs::write(&victim, "precious").unwrap();
    for (name, code) in [("instance.json", 0), ("lock", 1)] {
        for make in [&["mkfifo"][..], &["ln", "-s", victim.to_str().unwrap()]] {
            let file = home.join(name);
            let _ = fs::remove_file(&file);
            assert!(Command::new(make[0]).args(&make[1..]).arg(&file).status().unwrap().success());
            let run = |verb: &'static str| chatctl(PROGRAM).args(["local", verb]).data_dir(&data).run();
            run("start").await.expect(code);
            run("stop").await.expect(0);
        }
    }
    assert_eq!(fs::read_to_string(victim).unwrap(), "precious");
}

#[tokio::test]
async fn what_is_written_is_closed_to_others() {
    let data = DataDir::new().await;
    chatctl(PROGRAM).args(["up", "--local", "--verify"]).data_dir(&data).run().await.expect(0);
    let home = data.path().join("local");
    let installation =
        fs::read_dir(&home).unwrap().flatten().map(|entry| entry.path()).find(|path| path.is_dir()).unwrap();
    let mut left = vec![home, installation.clone(), installation.join("run")];
    let mut seen = 0;
    while let Some(path) = left.pop() {
        let found = fs::symlink_metadata(&path).unwrap();
        if found.is_symlink() {
            continue;
        }
        assert_eq!(found.mode() & 0o077, 0, "{}: {:o}", path.display(), found.mode());
        seen += 1;
        // What pip and npm have made lies behind a closed folder.
        if found.is_dir() && path != installation {
            left.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    assert!(seen > 10, "only {seen}");
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

/// A function gives its keys away: they are none that others could have worked out, and open what its role may do.
#[tokio::test]
async fn the_functions_sign_with_keys_of_their_own() {
    let (data, folder) = (DataDir::new().await, Folder::new());
    let run = |args: &'static [&str]| chatctl(PROGRAM).args(args.iter().copied()).cwd(&folder.0).data_dir(&data).run();
    run(&["init", "--example", "echo"]).await.expect(0);
    let betrays = "export const handler = async () => ({ statusCode: 200, body: JSON.stringify(process.env) });";
    fs::write(folder.0.join("lambda/echo.mjs"), betrays).unwrap();
    let url = run(&["up", "--local"]).await.expect(0).stdout;
    let mut client = Client::connect(url.trim()).await;
    client.send(r#"{"action":"echo"}"#).await;
    let env: Value = serde_json::from_str(&client.hear().await).unwrap();
    let given = |name: &str| env[name].as_str().unwrap().to_owned();
    let (key, secret, token) = (given("AWS_ACCESS_KEY_ID"), given("AWS_SECRET_ACCESS_KEY"), given("AWS_SESSION_TOKEN"));

    // MiniStack's own way to make them.
    let endpoint = local::find(&host(data.path())).await.unwrap().unwrap();
    let account = &endpoint.access_key;
    let function = format!("arn:aws:lambda:us-east-1:{account}:function:chat-echo");
    let guess = format!("{function}:arn:aws:iam::{account}:role/chatctl/chat-us-east-1-echo");
    let digest = |text: &str| Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let guess = digest(&guess);
    assert_ne!(
        (&*key, &*secret),
        (&*format!("ASIA{}", &guess[..16].to_uppercase()), &*digest(&format!("secret:{guess}")))
    );
    assert!(!secret.contains(&endpoint.secret) && !env.to_string().contains(&endpoint.secret), "{env}");

    let code = async |key: &str, secret: &str, token: Option<&str>| {
        let credentials = Credentials::new(key, secret, token.map(str::to_owned), None, "test");
        let aws = sdk_config(&endpoint.url, "", "").into_builder();
        let aws = aws.credentials_provider(SharedCredentialsProvider::new(credentials)).build();
        let error = aws_sdk_iam::Client::new(&aws).list_users().send().await.unwrap_err();
        error.code().unwrap_or_default().to_owned()
    };
    assert_eq!(code(&key, &secret, Some(&token)).await, "AccessDenied");
    let refused = "InvalidSignatureException";
    for (secret, token) in [(&*secret, None), (&secret, Some("")), (&secret, Some("x")), ("x", Some(&*token))] {
        assert_eq!(code(&key, secret, token).await, refused, "{secret} {token:?}");
    }
}

/// A record as `serve.py` writes it.
fn record_of(data: &DataDir) -> Value {
    serde_json::from_slice(&fs::read(data.path().join("local/instance.json")).unwrap()).unwrap()
}

/// What another user of the machine tries: prints what it got hold of.
const NEIGHBOUR: &str = r#"
import os, sys, time, urllib.error, urllib.request
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
now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
keys = f"AWS4-HMAC-SHA256 Credential=000000000001/{now[:8]}/us-east-1/iam/aws4_request, SignedHeaders=host;x-amz-date, "
headers = {"Authorization": keys + "Signature=" + 64 * "0", "X-Amz-Date": now}
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
    // Others may have read that secret.
    fs::set_permissions(&record, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(Server::at(record.clone()).find().await.unwrap().is_none());
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
