//! A hostile page in a real browser, on the machine where a local AWS runs.

use std::io::{Read, Write};
use std::net::TcpListener;

use chatctl::host::{Env, Host};
use chatctl::local;
use serde_json::json;
use support::{DataDir, Told, silent_host};

use super::browser::Browser;

/// Every way in which a page sends something without being asked, at `TARGET` and, by a name that leads to this machine
/// too, at `REBOUND`. Each would make a user of its own name.
const PAGE: &str = r#"<!doctype html><title>prize</title><body><iframe name="sink"></iframe><script>
const signed = 'X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=000000000001%2F20261125%2Fus-east-1%2Fiam%2Faws4_request'
  + '&X-Amz-Date=20261125T000000Z&X-Amz-SignedHeaders=host&X-Amz-Signature=' + '0'.repeat(64);
const action = (name) => `Action=CreateUser&Version=2010-05-08&UserName=${name}`;
const url = (name, to = 'TARGET') => `${to}/?${action(name)}&${signed}`;
const ends = (element) => new Promise((done) => { element.onload = element.onerror = done; });
const image = new Image();
const frame = document.createElement('iframe');
const form = document.createElement('form');
const sink = document.querySelector('iframe');
image.src = url('image');
frame.src = url('navigation');
Object.assign(form, { method: 'post', target: 'sink', action: `TARGET/?${signed}` });
for (const [name, value] of new URLSearchParams(action('form'))) {
  form.append(Object.assign(document.createElement('input'), { name, value }));
}
document.body.append(image, frame, form);
const tries = [ends(image), ends(frame), ends(sink)];
form.submit();
for (const mode of ['cors', 'no-cors']) {
  tries.push(fetch(url(`fetch-${mode}`), { mode }).catch(() => {}));
  const body = new URLSearchParams(action(`post-${mode}`));
  tries.push(fetch(`TARGET/?${signed}`, { mode, method: 'post', body }).catch(() => {}));
}
tries.push(fetch(url('rebound', 'REBOUND'), { mode: 'no-cors' }).catch(() => {}));
window.sockets = [];
for (const path of ['/', '/_ministack/health', '/_aws/execute-api/x/prod/@connections/y']) {
  const socket = new WebSocket('TARGET'.replace('http', 'ws') + path);
  tries.push(new Promise((done) => {
    socket.onopen = () => { window.sockets.push(path); done(); };
    socket.onerror = done;
  }));
}
Promise.all(tries).then(() => { window.done = true; });
</script>"#;

/// Serves `page` at a port of its own.
fn serve(page: String) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let length = page.len();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close");
            let _ = write!(stream, "{head}\r\n\r\n{page}");
        }
    });
    port
}

#[tokio::test]
async fn a_page_in_a_browser_makes_nothing_in_the_local_aws() {
    let data = DataDir::new().await;
    let mut host = Host { env: Env(std::env::vars().collect()), ..silent_host(data.path()) };
    host.env.0.insert("CHATCTL_DATA_DIR".to_owned(), data.path().display().to_string());
    let endpoint = local::start(&host, &Told).await.unwrap();

    let at = endpoint.url.rsplit(':').next().unwrap();
    let rebound = format!("http://evil.example:{at}");
    let port = serve(PAGE.replace("TARGET", &endpoint.url).replace("REBOUND", &rebound));
    let browser = Browser::with(&["--host-resolver-rules=MAP *.example 127.0.0.1"]).await;
    let page = browser.open(&format!("http://evil.example:{port}/"), "light").await;
    page.until("window.done").await;
    assert_eq!(page.value("window.sockets").await, json!([]));
    // As if typed in, at the machine and by the other name.
    for (to, name) in [(&endpoint.url, "typed"), (&rebound, "typed-rebound")] {
        let url = page.value(&format!("url({}, {})", json!(name), json!(to))).await;
        let own = browser.open(url.as_str().unwrap(), "light").await;
        own.shows("the local AWS is").await;
    }

    // The account that the page names, with the secret that it lacks.
    let aws = support::sdk_config(&endpoint.url, "000000000001", &endpoint.secret);
    let users = aws_sdk_iam::Client::new(&aws).list_users().send().await.unwrap();
    assert_eq!(users.users().iter().map(|user| user.user_name()).collect::<Vec<_>>(), [""; 0]);
}
