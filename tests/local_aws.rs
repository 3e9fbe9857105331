//! The local AWS as a process: installed, started, found, raced for, killed and ended.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Environment, FunctionCode, Runtime};
use chatctl::error::{Error, Exit};
use chatctl::host::{Env, Host};
use chatctl::local::{self, Endpoint, Lifetime, Server};
use futures_util::{SinkExt, StreamExt};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use support::{DataDir, Folder, Told, silent_host};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::{self, Message};

fn host(env: Env) -> Host {
    Host { env, ..silent_host(Path::new("/")) }
}

fn env_with_data_in(folder: &Path) -> Env {
    let mut env = Env(std::env::vars().collect());
    env.0.insert("CHATCTL_DATA_DIR".to_owned(), folder.display().to_string());
    env
}

/// Waits until `done`, and fails the test if that takes half a minute.
async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "still waiting until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn record(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn pid_in(path: &Path) -> Pid {
    Pid::from_raw(record(path)["pid"].as_i64().unwrap().try_into().unwrap())
}

/// The processes of a group that still run: their ids.
fn group(leader: Pid) -> Vec<u32> {
    let table = if cfg!(target_os = "linux") {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok()).collect()
    } else {
        let output = std::process::Command::new("ps").args(["-axo", "pid=,stat=,ppid=,pgid="]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    // Linux writes the name of the program, in brackets, after the id.
    let fields = |line: &str| {
        let (id, rest) = line.trim().split_once(' ')?;
        let rest = rest.rsplit(')').next()?.split_whitespace().collect::<Vec<_>>();
        let runs = !rest.first()?.starts_with('Z') && rest.get(2)? == &leader.to_string();
        runs.then(|| id.parse().ok())?
    };
    table.lines().filter_map(fields).collect()
}

/// The local addresses of all sockets on which a process of the group may be reached, as `/proc/net` writes them.
#[cfg(target_os = "linux")]
fn listening(leader: Pid) -> Vec<String> {
    let descriptors = group(leader).into_iter().filter_map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).ok());
    let links = descriptors.flatten().flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    let sockets: BTreeSet<_> =
        links.filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect();
    let mut addresses = Vec::new();
    for (table, state) in [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")] {
        for line in fs::read_to_string(format!("/proc/net/{table}")).unwrap().lines().skip(1) {
            let fields: Vec<_> = line.split_whitespace().collect();
            if fields[3] == state && sockets.contains(fields[9]) {
                addresses.push(fields[1].to_owned());
            }
        }
    }
    addresses
}

/// A zip with one file, `index.mjs`.
fn zipped(handler: &str) -> Blob {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("index.mjs", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(handler.as_bytes()).unwrap();
    Blob::new(zip.finish().unwrap().into_inner())
}

/// A function that is ready to be called, and its role, which may do nothing; returns its ARN.
async fn function(aws: &SdkConfig, account: &str, name: &str, handler: &str) -> String {
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]});
    let role = aws_sdk_iam::Client::new(aws).create_role().role_name(name);
    role.assume_role_policy_document(trust.to_string()).send().await.unwrap();
    let lambda = aws_sdk_lambda::Client::new(aws);
    let create = lambda.create_function().function_name(name).runtime(Runtime::Nodejs22x).handler("index.handler");
    let create = create.role(format!("arn:aws:iam::{account}:role/{name}")).timeout(10);
    let create = create.environment(Environment::builder().variables("GREETING", "hello").build());
    let created = create.code(FunctionCode::builder().zip_file(zipped(handler)).build()).send().await.unwrap();
    created.function_arn.unwrap()
}

/// The program itself, to be started several times and killed.
fn starter_in(folder: &Folder) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatctl"));
    command.args(["local", "start"]).env("CHATCTL_DATA_DIR", &folder.0);
    command.kill_on_drop(true);
    command
}

#[tokio::test]
async fn killed_while_it_installs_then_raced_for_then_ended() {
    let folder = Folder::new();
    let home = folder.0.join("local");
    let _leash = Leash(home.join("instance.json"));
    let host = host(env_with_data_in(&folder.0));

    // Killed in the middle of the installation.
    let mut killed = starter_in(&folder).spawn().unwrap();
    until("it installs", || {
        let mut entries = fs::read_dir(&home).into_iter().flatten().flatten();
        entries.any(|entry| entry.path().join("venv").exists())
    })
    .await;
    killed.kill().await.unwrap();
    assert_eq!(local::find(&host).await.unwrap(), None);

    // Four at once, after that.
    let racers = [(); 4].map(|()| starter_in(&folder).output());
    let mut urls = BTreeSet::new();
    for output in futures_util::future::join_all(racers).await {
        let output = output.unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
        urls.extend(stdout.lines().map(str::to_owned));
    }
    assert_eq!(urls.len(), 1, "{urls:?}");

    // It outlived them all, it is found, and it is the only installation.
    let endpoint = local::find(&host).await.unwrap().expect("it runs");
    assert!(urls.contains(&endpoint.url));
    assert_eq!(local::start(&host, &Told).await.unwrap(), endpoint);
    let folders = fs::read_dir(&home).unwrap().flatten().filter(|entry| entry.path().is_dir());
    // The installers of the one that was killed may still be at work, where they disturb nobody.
    let names = folders.map(|entry| entry.file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| !name.starts_with(".partial-")).count(), 1);
    let aws = support::sdk_config(&endpoint.url, &endpoint.access_key, &endpoint.secret);
    let identity = aws_sdk_sts::Client::new(&aws).get_caller_identity().send().await.unwrap();
    assert_eq!(identity.account(), Some(endpoint.access_key.as_str()));

    // Ended, with all that it wrote.
    let pid = pid_in(&home.join("instance.json"));
    assert!(local::stop(&host).await.unwrap());
    until("its processes have ended", || group(pid).is_empty()).await;
    assert!(!endpoint.log.exists());
    assert_eq!(local::find(&host).await.unwrap(), None);
    assert!(!local::stop(&host).await.unwrap());
}

/// A server that outlives its starter.
struct Detached {
    server: Server,
    record: PathBuf,
    leader: Pid,
    endpoint: Endpoint,
    data_dir: DataDir,
}

impl Detached {
    async fn start() -> Self {
        let data_dir = DataDir::new().await;
        let record = data_dir.path().join("local/instance.json");
        let endpoint = local::start(&host(env_with_data_in(data_dir.path())), &Told).await.unwrap();
        let server = Server::at(record.clone());
        Self { server, leader: pid_in(&record), record, endpoint, data_dir }
    }
}

/// Ends the server of this record when the test fails.
struct Leash(PathBuf);

impl Drop for Leash {
    fn drop(&mut self) {
        if std::thread::panicking() && self.0.exists() {
            let _ = killpg(pid_in(&self.0), Signal::SIGKILL);
        }
    }
}

#[tokio::test]
async fn listens_on_loopback_only_and_leaves_no_process() {
    let detached = Detached::start().await;
    let leader = detached.leader;

    // With a function at work, so that its process is there too; this one would rather not go.
    let Endpoint { url, access_key: account, secret, .. } = &detached.endpoint;
    let aws = support::sdk_config(url, account, secret);
    let handler = "process.on('SIGTERM', () => {}); setInterval(() => {}, 1000);
        export const handler = async () => process.env.GREETING";
    function(&aws, account, "stubborn", handler).await;
    let lambda = aws_sdk_lambda::Client::new(&aws);
    let answer = lambda.invoke().function_name("stubborn").send().await.unwrap();
    assert_eq!(answer.payload.unwrap().as_ref(), b"\"hello\"");
    assert_eq!(group(leader).len(), 2);

    #[cfg(target_os = "linux")]
    {
        let port = record(&detached.record)["port"].as_u64().unwrap();
        assert_eq!(listening(leader), [format!("0100007F:{port:04X}")]);
    }
    assert!(detached.server.stop().await.unwrap());
    until("the function has ended", || group(leader).is_empty()).await;
}

#[tokio::test]
async fn ends_with_its_functions_when_it_is_killed() {
    let detached = Detached::start().await;
    let leader = detached.leader;
    let Endpoint { url, access_key: account, secret, .. } = &detached.endpoint;
    let aws = support::sdk_config(url, account, secret);
    function(&aws, account, "plain", "export const handler = async () => 1").await;
    aws_sdk_lambda::Client::new(&aws).invoke().function_name("plain").send().await.unwrap();
    assert_eq!(group(leader).len(), 2);

    kill(leader, Signal::SIGKILL).unwrap();
    until("all have ended", || group(leader).is_empty()).await;
    assert_eq!(detached.server.find().await.unwrap(), None);
    assert!(!detached.server.stop().await.unwrap());
}

#[tokio::test]
async fn ends_with_the_test_that_started_it() {
    let folder = Folder::new();
    let path = folder.0.join("instance.json");
    let env = Env(std::env::vars().collect());
    let installation = support::installation().await;
    let (endpoint, child) = Server::at(path.clone()).launch(&installation, &env, Lifetime::WithChild).await.unwrap();
    let leader = pid_in(&path);
    drop(child);
    until("it has ended", || group(leader).is_empty()).await;
    assert!(!endpoint.log.exists() && !path.exists());
}

#[tokio::test]
async fn leaves_other_processes_and_servers_alone() {
    let folder = Folder::new();
    let path = folder.0.join("instance.json");
    let mut stranger = Command::new("sleep").arg("600").kill_on_drop(true).spawn().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let text = json!({"pid": stranger.id(), "port": port, "nonce": "ours", "folder": folder.0.join("none")});
    fs::write(&path, text.to_string()).unwrap();

    let server = Server::at(path.clone());
    assert_eq!(server.find().await.unwrap(), None);
    assert!(!server.stop().await.unwrap());
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger lives");
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "nobody called");

    fs::write(&path, "{ half a rec").unwrap();
    assert_eq!(server.find().await.unwrap(), None);
}

#[tokio::test]
async fn who_only_looks_or_removes_neither_installs_nor_starts() {
    let folder = Folder::new();
    let program = env!("CARGO_BIN_EXE_chatctl");
    let run = async |args: &str| {
        let args = args.split(' ').chain(["--local"]);
        support::chatctl(program).args(args).env("CHATCTL_DATA_DIR", &folder.0).run().await
    };
    let nothing = "no local AWS is running; `chatctl up --local` starts one\n";
    for (args, code, stdout) in
        [("status", 4, "chat (absent, stage prod) in us-east-1\n"), ("down", 0, ""), ("list", 0, "")]
    {
        let done = run(args).await.expect(code);
        assert_eq!((done.stdout.as_str(), done.stderr.as_str()), (stdout, nothing), "{args}");
    }
    for (args, code, answer) in [
        ("status", 4, json!({ "state": "absent", "url": null, "expiresAt": null, "resources": [] })),
        ("down", 0, json!({ "removed": [], "left": [] })),
        ("list", 0, json!({ "deployments": [] })),
    ] {
        let done = run(&format!("{args} -o json")).await.expect(code);
        let document: Value = serde_json::from_str(&done.stdout).unwrap();
        for (key, value) in answer.as_object().unwrap() {
            assert_eq!((&document["command"], &document[key]), (&json!(args), value), "{args}: {key}");
        }
    }
    for args in ["plan", "verify", "chat", "open --no-browser", "logs", "reap"] {
        let done = run(args).await.expect(1);
        let error = "error: no local AWS is running\nhint: `chatctl up --local` starts one\n";
        assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("", error), "{args}");
    }
    assert!(!folder.0.join("local").exists(), "nothing was installed");
}

/// Each of them is one document, also where there is nothing to tell.
#[tokio::test]
async fn each_verb_of_the_local_aws_answers_in_json() {
    let data_dir = DataDir::new().await;
    let run = async |verb: &str, code: i32| {
        let program = support::chatctl(env!("CARGO_BIN_EXE_chatctl")).data_dir(&data_dir);
        let done = program.args(["local", verb, "-o", "json"]).run().await.expect(code);
        let document: Value = serde_json::from_str(&done.stdout).unwrap();
        assert_eq!(document["command"], format!("local {verb}"));
        document
    };
    let status = run("status", 4).await;
    assert_eq!((&status["state"], &status["endpoint"]), (&json!("absent"), &Value::Null));
    assert_eq!(run("env", 4).await["environment"], json!({}));
    assert_eq!(run("stop", 0).await["stopped"], false);
    let endpoint = run("start", 0).await["endpoint"].clone();
    assert!(endpoint.as_str().unwrap().starts_with("http://127.0.0.1:"), "{endpoint}");
    let status = run("status", 0).await;
    assert_eq!((&status["state"], &status["endpoint"]), (&json!("running"), &endpoint));
    assert_eq!(run("env", 0).await["environment"]["AWS_ENDPOINT_URL"], endpoint);
    assert_eq!(run("stop", 0).await["stopped"], true);
}

/// What a function may do on this machine is what its server may.
#[tokio::test]
async fn who_starts_it_as_root_is_told_that_functions_are_root_too() {
    let data_dir = DataDir::new().await;
    let local = async |verb: &str| {
        let program = support::chatctl(env!("CARGO_BIN_EXE_chatctl")).data_dir(&data_dir);
        program.args(["local", verb]).run().await.expect(0).stderr
    };
    let warned = [local("start").await, local("start").await].map(|stderr| stderr.contains("warning: started as root"));
    assert_eq!(warned, [nix::unistd::geteuid().is_root(), false]);
    local("stop").await;
}

/// What was there is lost, and the chat has another id, perhaps another port: whoever was in it comes along.
#[tokio::test]
async fn a_chat_goes_along_to_a_local_aws_that_was_started_again() {
    let data_dir = DataDir::new().await;
    let run = async |args: &str, stdin: &str| {
        let program = support::chatctl(env!("CARGO_BIN_EXE_chatctl")).data_dir(&data_dir).stdin(stdin);
        program.args(args.split(' ')).run().await.expect(0)
    };
    run("up --local", "").await;
    let mut listener = Command::new(env!("CARGO_BIN_EXE_chatctl"));
    listener.args(["chat", "--local", "--wait", "10m"]).env("CHATCTL_DATA_DIR", data_dir.path());
    let mut listener =
        listener.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    let mut heard = BufReader::new(listener.stdout.take().unwrap()).lines();
    // Said until it is heard: the listener comes when it can.
    let mut hears = async |said: &str| {
        let saying = async {
            loop {
                run("chat --local --wait 1s", &format!("{said}\n")).await;
            }
        };
        let hearing = async { while heard.next_line().await.unwrap().unwrap() != said {} };
        tokio::select! { () = saying => {}, () = hearing => {} }
    };
    hears("before").await;
    run("local stop", "").await;
    run("up --local", "").await;
    hears("after").await;
    listener.kill().await.unwrap();
    run("local stop", "").await;
}

#[tokio::test]
async fn that_it_was_killed_is_said_and_that_all_is_lost() {
    let detached = Detached::start().await;
    killpg(detached.leader, Signal::SIGKILL).unwrap();
    until("its processes have ended", || group(detached.leader).is_empty()).await;
    let program = env!("CARGO_BIN_EXE_chatctl");
    let run = support::chatctl(program).args(["status", "--local"]).data_dir(&detached.data_dir).run();
    let done = run.await.expect(4);
    let lost = "the local AWS was killed, and its account is gone with all that was in it";
    assert_eq!(done.stderr, format!("{lost}; `chatctl up --local` starts one\n"));
}

/// A folder for `PATH` with just these programs: links to real ones, and scripts.
fn path_with(folder: &Folder, links: &[&str], scripts: &[(&str, &str)]) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let bin = folder.0.join("bin");
    fs::create_dir_all(&bin).unwrap();
    for name in links {
        let path = std::env::var("PATH").unwrap();
        let real = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.exists());
        symlink(real.expect("it is on this machine"), bin.join(name)).unwrap();
    }
    for (name, text) in scripts {
        fs::write(bin.join(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    bin
}

/// The error of a start with this `PATH`.
async fn refused(links: &[&str], scripts: &[(&str, &str)]) -> Error {
    let folder = Folder::new();
    let mut env = env_with_data_in(&folder.0);
    env.0.insert("PATH".to_owned(), path_with(&folder, links, scripts).display().to_string());
    let error = local::start(&host(env), &Told).await.unwrap_err();
    assert_eq!(error.exit, Exit::Failed);
    assert!(error.hint.is_some());
    error
}

#[tokio::test]
async fn says_what_is_missing() {
    let error = refused(&["node", "npm"], &[]).await;
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("MissingPython", "the local AWS needs Python 3.10 or newer: no Python was found")
    );
    let error = refused(&["node", "npm"], &[("python3", "echo 3 9")]).await;
    assert!(error.message.ends_with("bin/python3` is Python 3.9"), "{error}");
    let error = refused(&["node", "npm"], &[("python3", "echo 3 13; exit 1")]).await;
    assert!(error.message.starts_with("the `venv` module of `"), "{error}");
    assert!(error.hint.unwrap().contains("apt install python3-venv"));

    let python = ("python3", "echo 3 13");
    let error = refused(&[], &[python]).await;
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("MissingNode", "the local AWS needs Node.js 20 or newer: `node` was not found")
    );
    let error = refused(&[], &[python, ("node", "echo v18.19.1")]).await;
    assert!(error.message.ends_with("bin/node` is v18.19.1"), "{error}");
    let error = refused(&[], &[python, ("node", "echo v24.1.0")]).await;
    assert_eq!(error.code, "MissingNpm");
}

#[tokio::test]
async fn a_broken_installation_and_what_others_left_are_replaced() {
    let folder = Folder::new();
    let home = folder.0.join("local");
    let uv =
        r#"[ "$1" = venv ] || exit 0; mkdir -p "$5/bin"; echo '#!/bin/sh' > "$5/bin/python"; chmod +x "$5/bin/python""#;
    let scripts = [("uv", uv), ("node", "echo v24.1.0"), ("npm", "mkdir \"$7/node_modules\"")];
    let path = path_with(&folder, &["mkdir", "chmod", "sh"], &scripts);
    let env = Env([("PATH".to_owned(), path.display().to_string())].into());
    let older = home.join("0123456789ab");
    fs::create_dir_all(&older).unwrap();
    fs::create_dir_all(home.join("of-somebody-else")).unwrap();
    let installed = || {
        let entries = fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.join(".made-by-chatctl").exists()).collect::<Vec<_>>()
    };

    local::install(&home, &env, &Told).await.unwrap();
    let [made] = &installed()[..] else { panic!("{:?}", installed()) };
    let marked = made.join("marked");
    fs::write(&marked, "").unwrap();
    local::install(&home, &env, &Told).await.unwrap();
    assert!(marked.exists(), "it is made once");

    fs::remove_file(made.join("venv/bin/python")).unwrap();
    local::install(&home, &env, &Told).await.unwrap();
    assert!(!marked.exists(), "without its Python it is made anew");
    assert_eq!(&installed(), std::slice::from_ref(made));

    // Of two that are named alike, the one that we made goes.
    assert!(home.join("of-somebody-else").exists() && older.exists());
    fs::copy(made.join(".made-by-chatctl"), older.join(".made-by-chatctl")).unwrap();
    fs::set_permissions(&older, fs::Permissions::from_mode(0o700)).unwrap();
    local::install(&home, &env, &Told).await.unwrap();
    assert!(home.join("of-somebody-else").exists() && !older.exists());
}

#[tokio::test]
async fn shows_what_the_failing_installer_said() {
    let uv = "echo 'error: dns error: failed to lookup address' >&2; exit 2";
    let error = refused(&[], &[("uv", uv), ("node", "echo v24.1.0"), ("npm", "exit 0")]).await;
    assert_eq!(error.code, "InstallFailed");
    assert!(error.message.contains("bin/uv` could not install the local AWS (exit status: 2):"), "{error}");
    assert!(error.message.ends_with("\n  error: dns error: failed to lookup address"), "{error}");
}

#[tokio::test]
async fn an_interrupt_ends_the_installation() {
    let folder = Folder::new();
    let mut env = env_with_data_in(&folder.0);
    let scripts = [("uv", "exec sleep 600"), ("node", "echo v24.1.0"), ("npm", "exec sleep 600")];
    env.0.insert("PATH".to_owned(), path_with(&folder, &["sleep"], &scripts).display().to_string());
    let host = host(env);
    let interrupt = async {
        let home = folder.0.join("local");
        until("it installs", || fs::read_dir(&home).is_ok_and(|entries| entries.count() > 1)).await;
        host.interrupt.raise();
    };
    let (started, ()) = tokio::join!(local::start(&host, &Told), interrupt);
    assert_eq!(started.unwrap_err().exit, Exit::Interrupted);
}

#[tokio::test]
async fn web_pages_have_no_access() {
    let ministack = support::ministack().await;
    let address = ministack.url().trim_start_matches("http://");
    let status = |headers: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET /_ministack/health HTTP/1.1\r\nConnection: close\r\n{headers}\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(status(&format!("Host: {address}\r\n")), "200");
    assert_eq!(status(&format!("Host: {address}\r\nOrigin: https://example.com\r\n")), "403");
    assert_eq!(status("Host: rebound.example.com\r\n"), "403");
}

/// A WebSocket API whose only route, `$default`, has a function behind it that may post to its clients.
struct Echo {
    aws: SdkConfig,
    account: String,
    api: String,
    route: String,
    url: String,
}

impl Echo {
    async fn with(handler: &str) -> Self {
        let ministack = support::ministack().await;
        let account = ministack.account();
        let aws = ministack.sdk_config(&account);
        let apis = aws_sdk_apigatewayv2::Client::new(&aws);
        let function = function(&aws, &account, "echo", handler).await;
        let api = apis.create_api().name("echo").protocol_type("WEBSOCKET".into());
        let api = api.route_selection_expression("$request.body.action").send().await.unwrap().api_id.unwrap();
        let region = local::REGION;
        let uri = format!("arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/{function}/invocations");
        let integration = apis.create_integration().api_id(&api).integration_type("AWS_PROXY".into());
        let integration = integration.integration_uri(uri).send().await.unwrap().integration_id.unwrap();
        let route = apis.create_route().api_id(&api).route_key("$default");
        let route = route.target(format!("integrations/{integration}")).send().await.unwrap().route_id.unwrap();
        apis.create_stage().api_id(&api).stage_name("prod").send().await.unwrap();
        let url = format!("{}/{api}/prod", ministack.endpoint.websocket_base());
        Self { aws, account, api, route, url }
    }

    async fn let_it_post(&self) {
        let Self { account, api, .. } = self;
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": "execute-api:ManageConnections",
            "Resource": format!("arn:aws:execute-api:{}:{account}:{api}/prod/POST/@connections/*", local::REGION)}]});
        let put = aws_sdk_iam::Client::new(&self.aws).put_role_policy().role_name("echo").policy_name("post");
        put.policy_document(policy.to_string()).send().await.unwrap();
    }
}

/// Nothing in it knows of an emulator.
const HANDLER: &str = r"
    import { ApiGatewayManagementApiClient, PostToConnectionCommand } from '@aws-sdk/client-apigatewaymanagementapi';
    export const handler = async (event) => {
        console.log('received', event.body);
        if (event.body === 'fail') throw new Error('out of order');
        const { domainName, stage, connectionId } = event.requestContext;
        const client = new ApiGatewayManagementApiClient({ endpoint: `https://${domainName}/${stage}` });
        const post = (Data) => client.send(new PostToConnectionCommand({ ConnectionId: connectionId, Data }));
        await post(`first ${event.body}`);
        if (event.body === 'long') await new Promise((resolve) => setTimeout(resolve, 300));
        await post(`echo ${event.body}`);
        return { statusCode: 200, body: 'not for the client' };
    };";

async fn next(socket: &mut (impl StreamExt<Item = Result<Message, tungstenite::Error>> + Unpin)) -> String {
    socket.next().await.unwrap().unwrap().to_text().unwrap().to_owned()
}

#[tokio::test]
async fn handlers_written_for_aws_work_as_they_are() {
    let echo = Echo::with(HANDLER).await;
    let (mut socket, _) = connect_async(&echo.url).await.unwrap();
    let message = |text: &str| serde_json::from_str::<Value>(text).unwrap()["message"].clone();

    // Its role may not post yet, and here that is enforced.
    socket.send("one".into()).await.unwrap();
    assert_eq!(message(&next(&mut socket).await), "Internal server error");
    echo.let_it_post().await;
    socket.send("two".into()).await.unwrap();
    assert_eq!(next(&mut socket).await, "first two");
    assert_eq!(next(&mut socket).await, "echo two");
    socket.send("fail".into()).await.unwrap();
    assert_eq!(message(&next(&mut socket).await), "Internal server error");
    let apis = aws_sdk_apigatewayv2::Client::new(&echo.aws);
    apis.delete_route().api_id(&echo.api).route_id(&echo.route).send().await.unwrap();
    socket.send("three".into()).await.unwrap();
    assert_eq!(message(&next(&mut socket).await), "Forbidden");

    let logs = aws_sdk_cloudwatchlogs::Client::new(&echo.aws);
    let events = logs.filter_log_events().log_group_name("/aws/lambda/echo").send().await.unwrap().events.unwrap();
    let logged: Vec<_> = events.iter().filter_map(|event| event.message()).collect();
    assert!(logged.iter().any(|line| line.contains("received two")), "{logged:?}");
    assert!(logged.iter().any(|line| line.contains("out of order")), "{logged:?}");
}

#[tokio::test]
async fn new_code_does_not_break_off_the_call_in_flight() {
    let echo = Echo::with(HANDLER).await;
    echo.let_it_post().await;
    let (mut socket, _) = connect_async(&echo.url).await.unwrap();
    socket.send("long".into()).await.unwrap();
    assert_eq!(next(&mut socket).await, "first long");
    let update = aws_sdk_lambda::Client::new(&echo.aws).update_function_code().function_name("echo");
    update.zip_file(zipped(&HANDLER.replace("echo", "new"))).send().await.unwrap();
    assert_eq!(next(&mut socket).await, "echo long");
    socket.send("short".into()).await.unwrap();
    assert_eq!(next(&mut socket).await, "first short");
    assert_eq!(next(&mut socket).await, "new short");
}

#[tokio::test]
async fn users_may_do_what_their_policy_says() {
    let ministack = support::ministack().await;
    let account = ministack.account();
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "dynamodb:ListTables", "Resource": "*"}]});
    let (key, secret) = ministack.user_with_policy(&account, &policy.to_string()).await;
    let aws = support::sdk_config(ministack.url(), &key, &secret);
    aws_sdk_dynamodb::Client::new(&aws).list_tables().send().await.unwrap();
    let denied = aws_sdk_iam::Client::new(&aws).list_roles().send().await.unwrap_err();
    assert!(format!("{denied:?}").contains("AccessDenied"), "{denied:?}");
    let forged = support::sdk_config(ministack.url(), &key, "wrong");
    assert!(aws_sdk_dynamodb::Client::new(&forged).list_tables().send().await.is_err());
}
