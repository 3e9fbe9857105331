//! `dev` on a real local AWS: files are edited as people and editors do it, and clients hear what comes of it.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use support::schema::assert_described;
use support::{Client, DataDir, Folder, chatctl};

use super::stage::Captured;
use super::tty::Tty;

const PROGRAM: &str = env!("CARGO_BIN_EXE_chatctl");

/// Answers its sender, and says in the log that it does.
const ECHO: &str = "\
import { connectionsEndpoint, payload, postToConnection } from './aws.mjs';

export async function handler({ requestContext, body }) {
  const { text } = JSON.parse(body);
  console.log(`asked for ${text}`);
  await postToConnection(connectionsEndpoint(requestContext), requestContext.connectionId, payload(`1 ${text}`)).answer;
  return { statusCode: 200 };
}
";
const ROUTE: &str = "[routes.echo]\nposts = true\n";

/// A folder with an app, a local AWS, and whatever is run there.
struct Place {
    folder: Folder,
    data: DataDir,
}

impl Place {
    /// As `init` leaves it.
    async fn new() -> Self {
        let place = Self { folder: Folder::new(), data: DataDir::new().await };
        place.run("init").run().await.expect(0);
        place
    }

    fn run(&self, line: &str) -> support::Chatctl {
        chatctl(PROGRAM).args(line.split_whitespace()).cwd(&self.folder.0).data_dir(&self.data)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(args).env_clear().current_dir(&self.folder.0);
        command.env("PATH", std::env::var("PATH").unwrap()).env("HOME", &self.folder.0);
        command.env("CHATCTL_DATA_DIR", self.data.path());
        command
    }

    async fn dev(&self, args: &[&str]) -> Dev {
        Dev::start(&mut self.command(&[&["dev"], args].concat())).await
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.0.join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// As an editor saves: a new file, put in the place of the old one.
    fn replace(&self, name: &str, text: &str) {
        let new = self.path(&format!("{name}~"));
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }
}

/// `dev` at work, without a terminal.
pub struct Dev {
    child: Child,
    stdout: Captured,
    stderr: Captured,
    /// How much of stderr has been waited for.
    seen: usize,
    /// They end with the output.
    readers: Vec<JoinHandle<()>>,
}

impl Dev {
    pub async fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, of_stdout) = captured(child.stdout.take().unwrap());
        let (stderr, of_stderr) = captured(child.stderr.take().unwrap());
        let mut dev = Self { child, stdout, stderr, seen: 0, readers: vec![of_stdout, of_stderr] };
        dev.says(" goes live").await;
        dev.stdout.until(|text| text.ends_with('\n')).await;
        dev
    }

    fn url(&self) -> String {
        self.stdout.text().trim_end().to_owned()
    }

    /// Waits for `text` on stderr, after what was waited for before; gives all up to the end of its line.
    pub async fn says(&mut self, text: &str) -> String {
        let from = self.seen;
        let end = |all: &str| {
            let at = from + all.get(from..)?.find(text)?;
            Some(at + all.get(at..)?.find('\n')?)
        };
        let all = self.stderr.until(|all| end(all).is_some()).await;
        self.seen = end(&all).unwrap();
        all[from..self.seen].to_owned()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    async fn ended(mut self) -> (Option<i32>, String, String) {
        let wait = move || {
            self.readers.drain(..).for_each(|reader| reader.join().unwrap());
            (self.child.wait().unwrap().code(), self.stdout.text(), self.stderr.text())
        };
        tokio::task::spawn_blocking(wait).await.unwrap()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn captured(mut from: impl Read + Send + 'static) -> (Captured, JoinHandle<()>) {
    let to = Captured::default();
    let mut copy = to.clone();
    let reader = std::thread::spawn(move || drop(std::io::copy(&mut from, &mut copy)));
    (to, reader)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_goes_live_and_connections_stay() {
    let place = Place::new().await;
    let mut dev = place.dev(&[]).await;
    let mut ada = Client::connect(&dev.url()).await;
    ada.say("hello").await;
    assert_eq!(ada.hear().await, "hello");

    // A handler of the walkthrough.
    let original = place.read("lambda/sendMessage.mjs");
    let louder = original.replace("=== 'string' ? frame.data :", "=== 'string' ? `${frame.data}!` :");
    assert_ne!(louder, original);
    place.write("lambda/sendMessage.mjs", &louder);
    let said = dev.says("live after").await;
    assert!(said.contains("\nlambda/sendMessage.mjs changed\n"), "{said}");
    assert!(said.ends_with(" s: function chat-sendMessage updated"), "{said}");
    ada.say("hello").await;
    assert_eq!(ada.hear().await, "hello!");

    // A route of one's own: the settings and the handler are saved at once.
    place.write("lambda/echo.mjs", ECHO);
    place.write("chatctl.toml", &format!("{}\n{ROUTE}", place.read("chatctl.toml")));
    let said = dev.says("live after").await;
    assert!(said.contains("chatctl.toml, lambda/echo.mjs changed"), "{said}");
    ada.send(r#"{"action":"echo","text":"one"}"#).await;
    assert_eq!(ada.hear().await, "1 one");
    // What it logs is shown beside.
    let line = dev.says("asked for one").await;
    assert!(line.lines().last().unwrap().contains("Z  echo "), "{line}");

    // What cannot go live is told with its place, and what is live stays.
    let settings = place.read("chatctl.toml");
    place.write("chatctl.toml", &format!("{settings}tabel = \"read\"\n"));
    let said = dev.says("hint: did you mean").await;
    let place_of_it = format!("chatctl.toml:{}:1: unknown field `tabel`", settings.lines().count() + 1);
    assert!(said.contains(&place_of_it) && said.ends_with("`table`?"), "{said}");
    place.write("chatctl.toml", &settings);
    dev.says("this is what is live").await;
    place.write("lambda/echo.mjs", &format!("{ECHO}let b = ;\n"));
    let said = dev.says("hint: ").await;
    let place_of_it = format!("lambda/echo.mjs:{}`: Unexpected token ';'", ECHO.lines().count() + 1);
    assert!(said.contains(&place_of_it), "{said}");
    ada.send(r#"{"action":"echo","text":"two"}"#).await;
    assert_eq!(ada.hear().await, "1 two");
    place.write("lambda/echo.mjs", &ECHO.replace("`1 ", "`2 "));
    dev.says("live after").await;
    ada.send(r#"{"action":"echo","text":"three"}"#).await;
    assert_eq!(ada.hear().await, "2 three");

    // A schema is as much of it as a handler.
    place.write("echo.schema.json", "{}");
    place.write("chatctl.toml", &format!("{settings}schema = \"echo.schema.json\"\n"));
    dev.says("chatctl.toml changed").await;
    dev.says("nothing to change").await;
    place.write("echo.schema.json", "{");
    dev.says("echo.schema.json changed").await;
    dev.says("echo.schema.json:1:1: EOF while parsing an object").await;
    place.write("echo.schema.json", "{}");
    dev.says("this is what is live").await;

    // Whoever was connected before all of that still hears everybody.
    let mut bob = Client::connect(&dev.url()).await;
    bob.say("hi").await;
    assert_eq!(ada.hear().await, "hi!");

    let url = dev.url();
    dev.signal(Signal::SIGINT);
    let (code, stdout, stderr) = dev.ended().await;
    assert_eq!((code, stdout), (Some(130), format!("{url}\n")));
    let last =
        "hint: the deployment stays: `chatctl down --local` removes it, `chatctl local stop` stops the local AWS\n";
    assert!(stderr.ends_with(last), "{stderr}");
    assert!(stderr.chars().all(|c| c == '\n' || c == '\t' || !c.is_control()), "{stderr:?}");
    place.run("status --local").run().await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn however_files_are_saved_an_edit_goes_live_once_and_no_edit_does_nothing() {
    let place = Place::new().await;
    place.write("lambda/echo.mjs", ECHO);
    place.write("chatctl.toml", &format!("{}\n{ROUTE}", place.read("chatctl.toml")));
    let mut dev = place.dev(&[]).await;
    let mut ada = Client::connect(&dev.url()).await;
    let mut hears = async |text: &str| {
        ada.send(r#"{"action":"echo","text":"x"}"#).await;
        assert_eq!(ada.hear().await, text);
    };
    let edited = |nth: u32| ECHO.replace("`1 ", &format!("`{nth} "));
    let one = |said: &str| {
        assert_eq!(said.matches("live after").count(), 1, "{said}");
        assert_eq!(said.lines().last().unwrap().split(": ").last().unwrap(), "function chat-echo updated", "{said}");
    };

    place.replace("lambda/echo.mjs", &edited(2));
    one(&dev.says("live after").await);
    hears("2 x").await;
    // Gone, and there again; in between there may be nothing, which is told or not seen.
    fs::remove_file(place.path("lambda/echo.mjs")).unwrap();
    dev.says("there is no handler `echo.mjs`").await;
    place.write("lambda/echo.mjs", &edited(3));
    one(&dev.says("live after").await);
    hears("3 x").await;
    // The whole folder, as another branch brings it.
    fs::rename(place.path("lambda"), place.path("away")).unwrap();
    fs::write(place.path("away/echo.mjs"), edited(4)).unwrap();
    fs::rename(place.path("away"), place.path("lambda")).unwrap();
    one(&dev.says("live after").await);
    hears("4 x").await;

    // The same once more, what is hidden, and what is no part of any function: nothing is done.
    place.write("lambda/echo.mjs", &edited(4));
    place.write("chatctl.toml", &place.read("chatctl.toml"));
    place.write("lambda/.echo.mjs.swp", "let b = ;");
    place.write("lambda/echo.test.mjs", "let b = ;");
    place.write("beside.mjs", "let b = ;");
    dev.says(" changed").await;
    place.write("lambda/echo.mjs", &edited(5));
    let said = dev.says("live after").await;
    one(&said);
    assert!(!said.contains("error"), "{said}");
    hears("5 x").await;
    let said = dev.stderr.text();
    assert!(!said.contains("nothing to change"), "it was looked whether there is anything to do: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_in_the_middle_of_an_update_the_next_run_goes_on() {
    let place = Place::new().await;
    let mut dev = place.dev(&[]).await;
    let mut ada = Client::connect(&dev.url()).await;
    let url = dev.url();
    place.write("lambda/echo.mjs", ECHO);
    place.write("chatctl.toml", &format!("{}\n{ROUTE}", place.read("chatctl.toml")));
    dev.says("changed").await;
    dev.signal(Signal::SIGKILL);
    assert_eq!(dev.ended().await.0, None);
    let mut dev = place.dev(&[]).await;
    assert_eq!(dev.url(), url);
    ada.send(r#"{"action":"echo","text":"x"}"#).await;
    assert_eq!(ada.hear().await, "1 x");

    // What was edited while nobody watched went live with it; the local AWS may go, too, and comes back with the next edit.
    place.run("local stop").run().await.expect(0);
    place.write("lambda/echo.mjs", &ECHO.replace("`1 ", "`2 "));
    let said = dev.says("from now on").await;
    let new = said.lines().last().unwrap().strip_prefix("the URL is ").unwrap().strip_suffix(" from now on").unwrap();
    let mut bob = Client::connect(new).await;
    bob.send(r#"{"action":"echo","text":"x"}"#).await;
    assert_eq!(bob.hear().await, "2 x");
    assert_eq!(dev.stdout.text(), format!("{url}\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_about_one_deployment_and_prints_one_document() {
    let place = Place::new().await;
    let mut dev = place.dev(&["-o", "json"]).await;
    let settings = place.read("chatctl.toml");
    place.write("chatctl.toml", &format!("name = \"other\"\n{settings}"));
    let said = dev.says("hint: ").await;
    assert!(said.contains("error: this run is about `chat` in us-east-1, not `other` in us-east-1"), "{said}");
    // Too little time for any update; the run itself goes on.
    place.write("chatctl.toml", &format!("timeout = \"1ms\"\n{settings}"));
    dev.says("not done within 1ms").await;
    place.write("chatctl.toml", &format!("memory = 512\n{settings}"));
    let said = dev.says("live after").await;
    assert!(said.contains("function chat-onConnect updated"), "{said}");
    dev.signal(Signal::SIGTERM);
    let (code, stdout, _) = dev.ended().await;
    assert_eq!(code, Some(130));
    assert_described(&stdout);
    let document: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&document["schema"], &document["name"]), (&"chatctl/1".into(), &"chat".into()));
    assert!(document["url"].as_str().unwrap().starts_with("ws://127.0.0.1:"), "{document}");

    // What is wrong from the beginning is refused as `up` does.
    place.write("chatctl.toml", "tabel = 1");
    let refused = place.run("dev").run().await.expect(2);
    assert!(refused.stderr.contains("chatctl.toml:1:1: unknown field `tabel`"), "{}", refused.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_redeploy_show_the_page_and_end_it() {
    let place = Place::new().await;
    // A browser that only notes what it is to show.
    let bin = Folder::new();
    let (opener, shown) =
        (bin.0.join(if cfg!(target_os = "macos") { "open" } else { "xdg-open" }), bin.0.join("shown"));
    fs::write(&opener, format!("#!/bin/sh\ncat \"$1\" >> '{}'\n", shown.display())).unwrap();
    make_executable(&opener);
    let mut command = place.command(&["dev"]);
    command.env("PATH", format!("{}:{}", bin.0.display(), std::env::var("PATH").unwrap()));
    let mut tty = Tty::start(&command);
    tty.shows("`r` redeploys, `o` opens the page, `q` ends").await;
    assert!(!tty.is_cooked());
    tty.keys("xr");
    tty.shows("nothing to change, checked in").await;
    tty.keys("o");
    let lines = tty.shows("the page is at http://127.0.0.1:").await;
    let address = lines.iter().find_map(|line| line.strip_prefix("the page is at ")).unwrap().to_owned();
    let page = chatctl("/bin/sh").args(["-c", &format!("until [ -s '{}' ]; do sleep 0.02; done", shown.display())]);
    page.run().await.expect(0);
    let host = address.split('/').nth(2).unwrap();
    assert!(fs::read_to_string(&shown).unwrap().contains(&format!("url=http://{host}/")));
    let answer = super::open::ask(host, "GET", &address[7 + host.len()..], &[("Host", host)]).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    // An edit on a terminal is told in lines as well.
    place.write("lambda/sendMessage.mjs", &format!("{}// edited\n", place.read("lambda/sendMessage.mjs")));
    tty.shows("function chat-sendMessage updated").await;
    // Ctrl-Z, and `fg`.
    for _ in 0..2 {
        tty.keys("\x1a");
        tty.stops().await;
        assert!(tty.is_cooked());
        kill(tty.pid(), Signal::SIGCONT).unwrap();
        tty.becomes_raw().await;
    }
    tty.keys("q");
    assert_eq!(tty.exit().await.code(), Some(0));
    assert!(tty.is_cooked());
    tty.shows("`chatctl local stop` stops the local AWS").await;
}

fn make_executable(file: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}
