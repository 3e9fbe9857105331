//! `open`: its local server over plain sockets, and its page in a real browser.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::browser::{Browser, Page};
use super::chat_server::{ChatServer, Faults, PATIENCE};
use super::stage::Stage;
use chatctl::chat::page::{OpenOptions, open};
use chatctl::error::{Exit, Result};
use chatctl::host::Interrupt;
use chatctl::websocket::{Auth, Endpoint, PING, Place};
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// `open` at work.
struct Open {
    /// `http://127.0.0.1:…/…/`
    address: String,
    interrupt: Interrupt,
    ended: JoinHandle<Result<Exit>>,
}

impl Open {
    async fn start(server: &ChatServer, auth: Auth) -> Self {
        Self::start_with(server, auth, false).await
    }

    async fn start_with(server: &ChatServer, auth: Auth, keep_alive: bool) -> Self {
        let endpoint = Endpoint { url: server.url.clone(), auth };
        Self::start_at(endpoint.clone(), Arc::new(endpoint), keep_alive).await
    }

    async fn start_at(endpoint: Endpoint, place: Arc<dyn Place>, keep_alive: bool) -> Self {
        let stage = Stage::new();
        let host = stage.host.clone();
        let ended = tokio::spawn(async move {
            open(&host, &endpoint, place, OpenOptions { browser: false, keep_alive, json: false }).await
        });
        let address = stage.stdout.until(|text| text.ends_with('\n')).await.trim().to_owned();
        Self { address, interrupt: stage.host.interrupt.clone(), ended }
    }

    fn host(&self) -> &str {
        self.address.split('/').nth(2).unwrap()
    }

    fn path(&self) -> &str {
        &self.address["http://".len() + self.host().len()..]
    }

    /// The whole answer to a request with these headers.
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
        ask(self.host(), method, path, headers).await
    }
}

pub async fn ask(host: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut stream = TcpStream::connect(host).await.unwrap();
    stream.write_all(format!("{method} {path} HTTP/1.1\r\n{headers}\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn only_the_page_itself_is_answered() {
    let server = ChatServer::start().await;
    let open = Open::start(&server, Auth::Query(vec![("token".into(), "sesame".into())])).await;
    let (host, page, endpoint) = (open.host(), open.path(), format!("{}endpoint", open.path()));
    let port = host.split(':').nth(1).unwrap();
    for (method, path, headers, status) in [
        ("GET", page, vec![("Host", host)], "200 OK"),
        ("GET", page, vec![("host", host), ("Sec-Fetch-Site", "none")], "200 OK"),
        ("GET", &endpoint, vec![("Host", host), ("Sec-Fetch-Site", "same-origin")], "200 OK"),
        ("GET", &endpoint, vec![("Host", host), ("Sec-Fetch-Site", "same-site")], "403 Forbidden"),
        ("GET", &endpoint, vec![("Host", host), ("Sec-Fetch-Site", "cross-site")], "403 Forbidden"),
        ("GET", &endpoint, vec![("Host", "evil.example")], "421 Misdirected Request"),
        ("GET", &endpoint, vec![("Host", &format!("evil.example:{port}"))], "421 Misdirected Request"),
        ("GET", &endpoint, vec![], "421 Misdirected Request"),
        ("GET", "/endpoint", vec![("Host", host)], "404 Not Found"),
        ("GET", "/", vec![("Host", host)], "404 Not Found"),
        ("GET", "/00000000000000000000000000000000/endpoint", vec![("Host", host)], "404 Not Found"),
        ("POST", &endpoint, vec![("Host", host)], "405 Method Not Allowed"),
    ] {
        let answer = open.ask(method, path, &headers).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{method} {path} {headers:?}: {answer}");
        assert!(answer.contains("Cache-Control: no-store"), "{answer}");
        assert_eq!(answer.contains("sesame"), path == endpoint && status == "200 OK", "{answer}");
    }
    // Neither garbage nor silence keeps others out.
    let mut silent = TcpStream::connect(host).await.unwrap();
    silent.write_all(&[0xff; 100]).await.unwrap();
    assert!(open.ask("GET", page, &[("Host", host)]).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn the_page_may_do_nothing_but_chat() {
    let server = ChatServer::start().await;
    let open = Open::start(&server, Auth::None).await;
    let answer = open.ask("GET", open.path(), &[("Host", open.host())]).await;
    let header = answer.lines().find_map(|line| line.strip_prefix("Content-Security-Policy: ")).unwrap();
    let chat = server.url.strip_suffix("/prod").unwrap();
    assert!(header.starts_with("default-src 'none'; script-src 'nonce-"), "{header}");
    assert!(header.contains(&format!("connect-src 'self' {chat};")) && !header.contains("unsafe"), "{header}");
    let meta = header.strip_suffix("; frame-ancestors 'none'").unwrap();
    assert!(answer.contains(&format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{meta}\">")));
    assert!(!answer.contains("{{"), "every placeholder is filled");
    for elsewhere in ["src=\"http", "href=\"http", "url(", "@import"] {
        assert!(!answer.contains(elsewhere), "the page needs no network: {elsewhere}");
    }
    let again = open.ask("GET", open.path(), &[("Host", open.host())]).await;
    assert_ne!(answer, again, "a nonce is used once");
}

#[tokio::test]
async fn it_runs_until_interrupted() {
    let server = ChatServer::start().await;
    let open = Open::start(&server, Auth::None).await;
    open.interrupt.raise();
    assert_eq!(tokio::time::timeout(PATIENCE, open.ended).await.unwrap().unwrap().unwrap(), Exit::Interrupted);
    let stage = Stage::new();
    let endpoint = Endpoint { url: server.url, auth: Auth::Headers(Vec::new()) };
    let error = chatctl::chat::page::open(
        &stage.host,
        &endpoint,
        Arc::new(endpoint.clone()),
        OpenOptions { browser: false, keep_alive: false, json: false },
    )
    .await
    .unwrap_err();
    assert_eq!(error.exit, Exit::Usage);
}

#[tokio::test]
async fn a_machine_is_told_the_address_in_json() {
    let (server, stage) = (ChatServer::start().await, Stage::new());
    let (host, endpoint) =
        (stage.host.clone(), Endpoint { url: format!("{}?token=sesame", server.url), auth: Auth::None });
    let options = OpenOptions { browser: false, keep_alive: false, json: true };
    let ended = tokio::spawn(async move { open(&host, &endpoint, Arc::new(endpoint.clone()), options).await });
    let told = stage.stdout.until(|text| text.ends_with('\n')).await;
    support::schema::assert_described(&told);
    let document: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(document["url"], format!("{}?…", server.url));
    let address = document["address"].as_str().unwrap();
    let (host, path) = address.trim_start_matches("http://").split_once('/').unwrap();
    assert!(ask(host, "GET", &format!("/{path}"), &[("Host", host)]).await.starts_with("HTTP/1.1 200"));
    stage.host.interrupt.raise();
    assert_eq!(tokio::time::timeout(PATIENCE, ended).await.unwrap().unwrap().unwrap(), Exit::Interrupted);
}

/// Sends what is in the message box.
/// A page has no other place for a token that is not in an address.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_offers_its_token_as_a_subprotocol_and_has_it_in_no_address() {
    let server = ChatServer::start().await;
    let open = Open::start(&server, Auth::Protocol("open.se.same".into())).await;
    let browser = Browser::start().await;
    let page = browser.open(&open.address, "light").await;
    page.until(CONNECTED).await;
    assert_eq!(server.handshakes(), [("/prod".to_owned(), Some("chatctl, bearer.open.se.same".to_owned()))]);
    let seen = "location.href + document.documentElement.outerHTML + JSON.stringify([localStorage, sessionStorage])";
    assert!(!page.value(seen).await.as_str().unwrap().contains("se.same"));
    assert_eq!(page.complaints(), [""; 0]);
}

async fn say(page: &Page, text: &str) {
    page.value("document.getElementById('message').focus()").await;
    page.types(text).await;
    page.press("Enter", 0).await;
}

async fn focus(page: &Page) -> Value {
    page.value("document.activeElement.id").await
}

const CONNECTED: &str = "document.getElementById('state').textContent === 'Connected'";

/// All in one browser, because starting it takes longest.
#[tokio::test(flavor = "multi_thread")]
async fn people_chat_in_a_real_browser() {
    let server = ChatServer::start().await;
    let open = Open::start(&server, Auth::Query(vec![("token".into(), "sesame".into())])).await;
    let browser = Browser::start().await;
    let ada = browser.open(&open.address, "light").await;
    let bob = browser.open(&open.address, "dark").await;
    ada.until(CONNECTED).await;
    bob.until(CONNECTED).await;
    assert_eq!(server.handshakes()[0].0, "/prod?token=sesame");
    ada.picture("empty-light").await;
    bob.picture("empty-dark").await;

    // Two pages see each other's messages. The keyboard is enough: the focus begins where one writes.
    assert_eq!(focus(&ada).await, "message");
    ada.press("Tab", 8).await;
    assert_eq!(focus(&ada).await, "name");
    ada.types("ada").await;
    ada.press("Enter", 0).await;
    assert_eq!(focus(&ada).await, "message");
    ada.types("hello, is anybody here?").await;
    ada.press("Enter", 0).await;
    bob.shows("hello, is anybody here?").await;
    ada.until("document.querySelectorAll('.own:not(.sending)').length === 1").await;
    assert_eq!(ada.value("document.querySelectorAll('.said').length").await, 1, "the own message is shown once");
    bob.value("document.getElementById('name').focus()").await;
    bob.types("bob").await;
    say(&bob, "hi ada!").await;
    ada.shows("hi ada!").await;
    assert_eq!(ada.value("document.querySelectorAll('.who')[1].firstChild.data").await, "bob");
    assert_eq!(ada.value("document.title").await, "ada · Chat");

    // Shift+Enter begins a line, Tab goes on to the button and the link, and space presses the button.
    ada.types("two").await;
    ada.press("Enter", 8).await;
    ada.types("lines").await;
    ada.press("Tab", 0).await;
    assert_eq!(focus(&ada).await, "send");
    ada.press(" ", 0).await;
    bob.shows("two\nlines").await;
    assert_eq!(focus(&ada).await, "message");

    // A script in a message stays text.
    let script = "<script>window.owned = 1</script><img src=x onerror='window.owned = 2'><b>bold</b>";
    say(&bob, script).await;
    ada.shows(script).await;
    server.broadcast("<svg onload='window.owned = 3'>: not a name");
    ada.shows("not a name").await;
    for page in [&ada, &bob] {
        assert_eq!(page.value("document.querySelectorAll('#log img, #log script, #log b, #log svg').length").await, 0);
        assert_eq!(page.value("typeof window.owned").await, "undefined");
    }

    // What a screen reader is told.
    assert_eq!(ada.value("document.getElementById('log').getAttribute('aria-live')").await, "polite");
    let unlabelled = "[...document.querySelectorAll('input, textarea')].filter((box) => !box.labels.length).length";
    assert_eq!(ada.value(unlabelled).await, 0);
    assert_eq!(ada.value("document.getElementById('state').role").await, "status");

    // In both colour schemes axe-core finds nothing that keeps anybody out.
    for page in [&ada, &bob] {
        assert_eq!(page.keeps_out().await, serde_json::json!([]));
    }

    // A long conversation scrolls, but not away from where one reads.
    ada.bring_to_front().await;
    for nth in 0..30 {
        server.broadcast(&format!("carol: this is remark number {nth} of a long and winding story"));
    }
    ada.shows("number 29").await;
    ada.until("(({scrollHeight, scrollTop, clientHeight}) => scrollHeight - scrollTop - clientHeight < 2)(document.getElementById('log'))").await;
    ada.value("document.getElementById('log').scrollTo({ top: 0, behavior: 'instant' })").await;
    ada.until("document.getElementById('log').scrollTop === 0").await;
    server.broadcast("carol: the end");
    ada.until("!document.getElementById('below').hidden").await;
    assert_eq!(ada.value("document.getElementById('log').scrollTop").await, 0);
    ada.picture("long-light").await;
    ada.value("document.getElementById('below').click()").await;
    ada.until("document.getElementById('below').hidden").await;
    say(&ada, "a short answer").await;
    bob.shows("a short answer").await;
    server.broadcast(r#"{"chatctl":{"error":"`data` is missing"}}"#);
    ada.shows("The chat answers: `data` is missing").await;
    ada.picture("chat-light").await;
    bob.picture("chat-dark").await;

    assert_eq!(ada.complaints(), [""; 0]);
    assert_eq!(bob.complaints(), [""; 0]);

    // After a drop both are back by themselves, and what was being written is still there.
    ada.types("unfinished").await;
    server.set(|faults| faults.refusals = 2);
    server.drop_connections();
    ada.shows("Connected again").await;
    bob.shows("Connected again").await;
    assert_eq!(ada.value("document.getElementById('message').value").await, "unfinished");
    ada.press("Enter", 0).await;
    bob.shows("unfinished").await;

    // While nobody answers, the page says so, keeps the message, and can be told to try at once.
    server.set(|faults| faults.refusals = usize::MAX);
    server.drop_connections();
    ada.until("!document.getElementById('again').hidden").await;
    say(&ada, "kept").await;
    assert_eq!(ada.value("document.getElementById('message').value").await, "kept");
    ada.until("document.getElementById('alert').textContent.includes('your message is kept')").await;
    ada.picture("lost-light").await;
    bob.picture("lost-dark").await;
    server.set(|faults| faults.refusals = 0);
    ada.until("document.getElementById('again').hidden || document.getElementById('again').click() || true").await;
    ada.until(CONNECTED).await;
    ada.resize(390, 760).await;
    ada.picture("narrow-light").await;

    // Only the refused handshakes were complained of, by the browser itself.
    let others =
        |page: &Page| page.complaints().into_iter().filter(|it| !it.contains("WebSocket connection to")).count();
    assert_eq!((others(&ada), others(&bob)), (0, 0), "{:?} {:?}", ada.complaints(), bob.complaints());
    open.interrupt.raise();
    open.ended.await.unwrap().unwrap();
}

/// As a local AWS does that was started again: the page goes along, and what was being written with it.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_goes_along_with_a_chat_that_has_moved() {
    let (first, second) = (ChatServer::start().await, ChatServer::start().await);
    let [here, there] = [&first, &second].map(|server| Endpoint { url: server.url.clone(), auth: Auth::None });
    let open = Open::start_at(here, Arc::new(there), false).await;
    let browser = Browser::start().await;
    let page = browser.open(&open.address, "light").await;
    first.arrivals(1).await;
    page.types("unfinished").await;
    first.set(|faults| faults.refusals = usize::MAX);
    first.drop_connections();
    second.arrivals(1).await;
    page.until(CONNECTED).await;
    assert_eq!(page.value("document.getElementById('message').value").await, "unfinished");
    page.press("Enter", 0).await;
    page.shows("unfinished").await;
    second.received("unfinished").await;
    open.interrupt.raise();
    open.ended.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_does_not_come_back_is_marked() {
    let server = ChatServer::start_with(Faults { deaf: Some(1), ..Faults::default() }).await;
    let open = Open::start(&server, Auth::None).await;
    let browser = Browser::start().await;
    let page = browser.open(&open.address, "light").await;
    page.until(CONNECTED).await;
    say(&page, "anybody?").await;
    page.until("document.querySelectorAll('.own.sending').length === 1").await;
    page.shows("perhaps not delivered").await;
    assert_eq!(page.complaints(), [""; 0]);
}

/// A clock that goes on when it is told: `pass(milliseconds)`.
const CLOCK: &str = r"{
let now = 1e12, timers = [], last = 0;
Date.now = () => now;
window.setTimeout = (run, after = 0) => { timers.push({ id: ++last, at: now + after, run }); return last; };
window.clearTimeout = (id) => { timers = timers.filter((timer) => timer.id !== id); };
window.pass = (milliseconds) => {
  const end = now + milliseconds;
  for (;;) {
    const due = timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
    if (!due) break;
    now = due.at;
    clearTimeout(due.id);
    due.run();
  }
  now = end;
};
}";

/// API Gateway ends a connection that was idle for ten minutes, and any after two hours (H1).
#[tokio::test(flavor = "multi_thread")]
async fn a_page_survives_hours_and_says_what_it_missed() {
    let server = ChatServer::start().await;
    let open = Open::start(&server, Auth::None).await;
    let browser = Browser::start().await;
    let page = browser.open_with(CLOCK, &open.address, "light").await;
    page.until(CONNECTED).await;
    for hours in 1..=4 {
        let idle = if hours % 2 == 0 { "2 * 3600e3" } else { "600e3" };
        page.value(&format!("pass({idle})")).await;
        page.until(CONNECTED).await;
        server.go_away();
        // It tries at once, and in vain for a while.
        server.present(0).await;
        page.until("document.getElementById('state').dataset.state === 'waiting'").await;
        page.value("pass(0)").await;
        page.until(CONNECTED).await;
        let remarks = "document.body.innerText.match(/Connected again after 1 s. What was said meanwhile is lost./g)";
        page.until(&format!("{remarks}?.length === {hours}")).await;
        server.broadcast(&format!("bob: still there after {hours}?"));
        page.shows(&format!("still there after {hours}?")).await;
    }

    // A message that was under way is doubted, and known when it comes after all.
    server.set(|faults| faults.held = true);
    say(&page, "slow").await;
    server.received("slow").await;
    server.go_away();
    server.set(|faults| faults.refusals = usize::MAX);
    page.shows("perhaps not delivered").await;
    page.value("pass(3 * 60e3)").await;
    server.set(|faults| faults.refusals = 0);
    page.until(&format!("{CONNECTED} || pass(20e3)")).await;
    // So many passed while this waited.
    page.until(r"/Connected again after \d+ min\. What was said/.test(document.body.innerText)").await;
    server.let_go();
    page.until("document.querySelectorAll('.doubt').length === 0").await;
    assert_eq!(page.value("document.querySelectorAll('.own').length").await, 1);
    assert_eq!(page.value("document.querySelectorAll('.said:not(.own)').length").await, 4);

    // One message too many is told at the message.
    server.set(|faults| faults.throttled = 1);
    say(&page, "too much").await;
    page.shows("not delivered: the chat takes no more messages for the moment").await;
    page.shows("The chat answers: Too Many Requests").await;
}

/// Where there is a route for it, the page shows that it is there before API Gateway takes it for idle, and again after
/// it has come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_keeps_its_connection_alive_where_the_chat_lets_it() {
    let browser = Browser::start().await;
    for keep_alive in [true, false] {
        let server = ChatServer::start_with(Faults { keep_alive, ..Faults::default() }).await;
        let open = Open::start_with(&server, Auth::None, keep_alive).await;
        let page = browser.open_with(CLOCK, &open.address, "light").await;
        page.until(CONNECTED).await;
        page.value("pass(599e3)").await;
        say(&page, "still here").await;
        server.received("still here").await;
        let pings = |server: &ChatServer| server.frames().iter().filter(|frame| *frame == PING).count();
        assert_eq!(pings(&server), usize::from(keep_alive));

        server.go_away();
        page.until("document.getElementById('state').dataset.state === 'waiting'").await;
        page.value("pass(0)").await;
        page.until(CONNECTED).await;
        page.value("pass(601e3)").await;
        say(&page, "here again").await;
        server.received("here again").await;
        assert_eq!(pings(&server), if keep_alive { 3 } else { 0 });
        server.broadcast("bob: the end");
        page.shows("the end").await;
        assert!(!page.value("document.body.innerText").await.as_str().unwrap().contains("pong"));
        assert_eq!(page.complaints(), [""; 0]);
    }
}

/// Other users of the machine read command lines, so no argument has what lets them into the chat.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn the_browser_is_given_a_private_file_that_opens_the_page_once() {
    let server = ChatServer::start().await;
    let folder = support::Folder::new();
    let (opener, tmp, asked) = (folder.0.join("xdg-open"), folder.0.join("tmp"), folder.0.join("asked"));
    std::fs::create_dir(&tmp).unwrap();
    std::fs::write(&opener, "#!/bin/sh\nprintf '%s\\n' \"$@\" > \"$ASKED.new\" && mv \"$ASKED.new\" \"$ASKED\"\n")
        .unwrap();
    std::fs::set_permissions(&opener, Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.0.display(), std::env::var("PATH").unwrap());
    let open = support::chatctl(env!("CARGO_BIN_EXE_chatctl"))
        .args(["open", "--url", &server.url, "--query", "token=sesame"])
        .env("PATH", path)
        .env("TMPDIR", &tmp)
        .env("ASKED", &asked)
        .start()
        .await;
    until(|| asked.exists()).await;

    let arguments = std::fs::read_to_string(&asked).unwrap();
    let file = Path::new(arguments.trim_end());
    assert!(file.starts_with(&tmp) && file.is_file(), "{arguments}");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(file), mode(file.parent().unwrap())), (0o600, 0o700));
    assert!(!std::fs::read_to_string(file).unwrap().contains("sesame"));

    // A real browser comes from the file to the page, and the page to the chat.
    let browser = Browser::start().await;
    browser.visit(&format!("file://{}", file.display())).await;
    until(|| !server.handshakes().is_empty()).await;
    assert_eq!(server.handshakes()[0].0, "/prod?token=sesame");

    // What the file has is spent, and is no part of the page's own address.
    let text = std::fs::read_to_string(file).unwrap();
    let link = text.split('"').find_map(|part| part.strip_prefix("http://")).unwrap();
    let (host, path) = link.split_at(link.find('/').unwrap());
    assert!(ask(host, "GET", path, &[("Host", host)]).await.starts_with("HTTP/1.1 404"), "{link}");

    let file = file.to_owned();
    open.signal(Signal::SIGINT);
    let ended = open.finish().await.expect(130);
    assert!(!ended.stdout.contains(path) && ended.stdout.starts_with(&format!("http://{host}/")), "{}", ended.stdout);
    assert!(!file.exists() && std::fs::read_dir(&tmp).unwrap().next().is_none(), "nothing is left behind");
}

/// A relative entry of the path, an empty one too, means the working directory, which may be somebody else's.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn no_browser_is_looked_for_in_the_working_directory() {
    let (folder, elsewhere) = (support::Folder::new(), support::Folder::new());
    let (opener, ran, told) = (folder.0.join("xdg-open"), elsewhere.0.join("ran"), elsewhere.0.join("told"));
    std::fs::write(&opener, format!("#!/bin/sh\necho > '{}'\n", ran.display())).unwrap();
    std::fs::set_permissions(&opener, Permissions::from_mode(0o755)).unwrap();
    for path in ["", ".", ":/nowhere", "/nowhere:."] {
        let mut open = std::process::Command::new(env!("CARGO_BIN_EXE_chatctl"));
        let open = open.args(["open", "--url", "ws://127.0.0.1:1/prod"]).current_dir(&folder.0);
        let open = open.env_clear().env("PATH", path).env("TMPDIR", &elsewhere.0).stdout(std::process::Stdio::null());
        let mut open = open.stderr(std::fs::File::create(&told).unwrap()).spawn().unwrap();
        let says = |text: &str| std::fs::read_to_string(&told).unwrap().contains(text);
        until(|| says("no browser could be started") || ran.exists() || open.try_wait().unwrap().is_some()).await;
        open.kill().unwrap();
        open.wait().unwrap();
        assert!(says("no browser could be started") && !ran.exists(), "{path:?}");
    }
}

/// Waits until `done`.
async fn until(mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it happens in time");
}
