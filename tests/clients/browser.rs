//! A real headless Chromium, driven over the DevTools protocol: Debian's, installed on the spot where it is missing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use base64::Engine;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// A browser may have to be installed, and starts slowly on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn chromium() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let find = || {
            let names = ["chromium", "chromium-browser", "google-chrome"];
            let dirs = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&dirs).flat_map(|dir| names.map(|name| dir.join(name))).find(|path| path.is_file())
        };
        let apt = |args: &[&str]| {
            let quiet = Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(args).output();
            quiet.is_ok_and(|output| output.status.success())
        };
        if find().is_none() {
            let install = ["install", "-y", "--no-install-recommends", "chromium", "fonts-dejavu-core"];
            let installed = apt(&["update"]) && apt(&install);
            assert!(installed, "no Chromium here, and `apt-get install chromium` failed: it takes root and Debian");
        }
        find().expect("the package `chromium` has no `chromium`")
    })
}

pub struct Browser {
    process: Child,
    profile: PathBuf,
    link: Arc<Link>,
}

struct Link {
    commands: mpsc::UnboundedSender<Value>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    waiting: BTreeMap<u64, oneshot::Sender<Value>>,
    /// Session → what its page complained about.
    complaints: BTreeMap<String, Vec<String>>,
}

impl Browser {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With more arguments.
    pub async fn with(args: &[&str]) -> Self {
        let profile = std::env::temp_dir().join(format!("chatctl-browser-{:016x}", fastrand::u64(..)));
        std::fs::create_dir(&profile).unwrap();
        let process = Command::new(chromium())
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--remote-debugging-port=0", "about:blank"])
            .args(args)
            .arg(format!("--user-data-dir={}", profile.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let socket = connect(&profile.join("DevToolsActivePort")).await;
        let (commands, queue) = mpsc::unbounded_channel();
        let link = Arc::new(Link { commands, state: Mutex::default() });
        tokio::spawn(converse(socket, queue, link.clone()));
        Self { process, profile, link }
    }

    /// A new page at `url` that is left to itself, wherever it goes.
    pub async fn visit(&self, url: &str) {
        self.link.call(None, "Target.createTarget", json!({ "url": url })).await;
    }

    /// A new page at `url` in a colour scheme (`light` or `dark`).
    pub async fn open(&self, url: &str, scheme: &str) -> Page {
        self.open_with("", url, scheme).await
    }

    /// The same, with a script that runs before those of the page.
    pub async fn open_with(&self, script: &str, url: &str, scheme: &str) -> Page {
        let target = self.link.call(None, "Target.createTarget", json!({ "url": "about:blank" })).await;
        let target = target["targetId"].as_str().unwrap().to_owned();
        let attach = json!({ "targetId": target, "flatten": true });
        let session =
            self.link.call(None, "Target.attachToTarget", attach).await["sessionId"].as_str().unwrap().to_owned();
        let page = Page { link: self.link.clone(), session };
        for domain in ["Runtime", "Log", "Page"] {
            page.call(&format!("{domain}.enable"), json!({})).await;
        }
        page.resize(900, 760).await;
        let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        page.call("Emulation.setEmulatedMedia", scheme).await;
        // Each page believes that it is the one in front: keys and timers go on.
        page.call("Emulation.setFocusEmulationEnabled", json!({ "enabled": true })).await;
        page.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script })).await;
        page.call("Page.navigate", json!({ "url": url })).await;
        page.until("document.readyState === 'complete' && location.protocol !== 'about:'").await;
        page
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        // Its children write into the profile until they notice that they are alone.
        let deadline = std::time::Instant::now() + Duration::from_secs(2);
        while std::fs::remove_dir_all(&self.profile).is_err() && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The file with the port and the path appears when the browser is ready.
async fn connect(announced: &Path) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(announced).unwrap_or_default();
        if let Some((port, path)) = text.trim().split_once('\n') {
            let config = WebSocketConfig::default().max_frame_size(None);
            let url = format!("ws://127.0.0.1:{port}{path}");
            if let Ok((socket, _)) = tokio_tungstenite::connect_async_with_config(url, Some(config), true).await {
                return socket;
            }
        }
        assert!(Instant::now() < deadline, "Chromium does not start");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn converse(
    mut socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    mut queue: mpsc::UnboundedReceiver<Value>,
    link: Arc<Link>,
) {
    loop {
        tokio::select! {
            command = queue.recv() => match command {
                Some(command) => socket.send(Message::text(command.to_string())).await.unwrap(),
                None => return,
            },
            frame = socket.next() => match frame {
                Some(Ok(Message::Text(text))) => link.hear(serde_json::from_str(&text).unwrap()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
        }
    }
}

impl Link {
    async fn call(&self, session: Option<&str>, method: &str, params: Value) -> Value {
        let (reply, answer) = oneshot::channel();
        let id = {
            let mut state = self.state.lock().unwrap();
            state.next += 1;
            let id = state.next;
            state.waiting.insert(id, reply);
            id
        };
        let mut command = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            command["sessionId"] = session.into();
        }
        self.commands.send(command).unwrap();
        let mut answer = timeout(PATIENCE, answer).await.unwrap_or_else(|_| panic!("no answer to {method}")).unwrap();
        assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        answer["result"].take()
    }

    fn hear(&self, mut said: Value) {
        let mut state = self.state.lock().unwrap();
        if let Some(id) = said["id"].as_u64() {
            if let Some(reply) = state.waiting.remove(&id) {
                let _ = reply.send(said);
            }
            return;
        }
        let complaint = match said["method"].as_str() {
            Some("Runtime.exceptionThrown") => Some(said["params"].take().to_string()),
            Some("Runtime.consoleAPICalled") if said["params"]["type"] == "error" => {
                Some(said["params"].take().to_string())
            }
            Some("Log.entryAdded") if said["params"]["entry"]["level"] == "error" => {
                Some(said["params"]["entry"].take().to_string())
            }
            _ => None,
        };
        if let (Some(complaint), Some(session)) = (complaint, said["sessionId"].as_str()) {
            state.complaints.entry(session.to_owned()).or_default().push(complaint);
        }
    }
}

pub struct Page {
    link: Arc<Link>,
    session: String,
}

impl Page {
    /// What in it keeps people out, as axe-core finds it: the rule, and where.
    pub async fn keeps_out(&self) -> Value {
        const FINDINGS: &str =
            "axe.run().then(({ violations, passes }) => passes.length < 10 ? ['nothing was looked at']
            : violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target).join(' ')}`))";
        self.call("Runtime.evaluate", json!({ "expression": support::axe().await })).await;
        self.value(FINDINGS).await
    }

    pub async fn call(&self, method: &str, params: Value) -> Value {
        self.link.call(Some(&self.session), method, params).await
    }

    /// The value of a script's expression.
    pub async fn value(&self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut result = self.call("Runtime.evaluate", params).await;
        assert!(result["exceptionDetails"].is_null(), "{expression}: {}", result["exceptionDetails"]);
        result["result"]["value"].take()
    }

    /// Waits until a script's expression is true.
    pub async fn until(&self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        // A page that is just being left has no answer.
        while self.value(&format!("Boolean({expression})")).await != true {
            assert!(
                Instant::now() <= deadline,
                "waited in vain for {expression}; the page reads:\n{}",
                self.value("document.body.innerText").await
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn shows(&self, text: &str) {
        self.until(&format!("document.body.innerText.includes({})", Value::from(text))).await;
    }

    /// Types `text` as a keyboard does, into whatever has the focus.
    pub async fn types(&self, text: &str) {
        self.call("Input.insertText", json!({ "text": text })).await;
    }

    /// Presses a key that is named, with modifiers (1 Alt, 2 Ctrl, 4 Meta, 8 Shift).
    pub async fn press(&self, key: &str, modifiers: u32) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            " " => (32, " "),
            other => panic!("no code for the key {other}"),
        };
        let name = if key == " " { "Space" } else { key };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({ "type": kind, "key": key, "code": name, "modifiers": modifiers, "windowsVirtualKeyCode": code });
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = text.into();
            }
            self.call("Input.dispatchKeyEvent", event).await;
        }
    }

    /// Makes this the page in front: only that one draws, and so scrolls.
    pub async fn bring_to_front(&self) {
        self.call("Page.bringToFront", json!({})).await;
    }

    pub async fn resize(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// A picture of the page as a PNG file in the directory that `CHATCTL_TEST_PICTURES` names; without it, nothing.
    pub async fn picture(&self, name: &str) {
        let Some(dir) = std::env::var_os("CHATCTL_TEST_PICTURES") else { return };
        self.bring_to_front().await;
        let picture = self.call("Page.captureScreenshot", json!({ "format": "png" })).await;
        let bytes = base64::engine::general_purpose::STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(PathBuf::from(dir).join(format!("{name}.png")), bytes).unwrap();
    }

    /// Exceptions, console errors and violations of the content security policy so far.
    pub fn complaints(&self) -> Vec<String> {
        self.link.state.lock().unwrap().complaints.get(&self.session).cloned().unwrap_or_default()
    }
}
