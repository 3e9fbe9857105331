//! A chat client of its own, as any user might write it: not the code that is under test.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Longer than anything takes; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    pub async fn connect(url: &str) -> Self {
        Self(connect_async(url).await.unwrap_or_else(|error| panic!("{url} takes no client: {error}")).0)
    }

    /// Sends a frame as it is.
    pub async fn send(&mut self, frame: &str) {
        self.0.send(Message::text(frame)).await.expect("the connection is open");
    }

    /// Says `data` to everybody.
    pub async fn say(&mut self, data: &str) {
        let frame = serde_json::json!({ "action": "sendmessage", "data": data }).to_string();
        self.send(&frame).await;
    }

    /// The next text frame.
    pub async fn hear(&mut self) -> String {
        let next = async {
            while let Some(frame) = self.0.next().await {
                match frame.expect("the connection is open") {
                    Message::Text(text) => return text.to_string(),
                    Message::Close(why) => panic!("the connection was closed: {why:?}"),
                    _ => {}
                }
            }
            panic!("the connection was closed");
        };
        tokio::time::timeout(PATIENCE, next).await.expect("a message comes")
    }

    /// The text frames up to and including `last`.
    pub async fn hear_until(&mut self, last: &str) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            heard.push(self.hear().await);
            if heard.last().is_some_and(|text| text == last) {
                return heard;
            }
        }
    }

    pub async fn leave(mut self) {
        self.0.close(None).await.expect("the connection is open");
        while let Some(Ok(_)) = self.0.next().await {}
    }
}

/// Asks again and again until the answer is yes.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    let waiting = async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"));
}
