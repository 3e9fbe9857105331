//! What clients of the deployed chat meet.

use std::time::Duration;

use chatctl::websocket::{Auth, Endpoint, Socket, send, send_message};
use futures_util::StreamExt;
use tokio_tungstenite::tungstenite::Message;

use crate::life::{Ended, Life};

const PATIENCE: Duration = Duration::from_secs(20);

impl Life<'_> {
    async fn connect(&self) -> Result<Socket, String> {
        let endpoint = Endpoint { url: self.url.clone(), auth: Auth::None };
        endpoint.connect().await.map_err(|error| error.to_string())
    }

    pub async fn look_at_clients(&mut self) -> Ended {
        let (mut ada, mut bob) = (self.connect().await?, self.connect().await?);
        say(&mut ada, "hello").await?;
        for socket in [&mut ada, &mut bob] {
            let heard = hear(socket).await.ok_or("nobody heard `hello`")?;
            if heard != "hello" {
                return Err(format!("heard {heard:?}, not `hello`"));
            }
        }
        self.ledger.confirm("H11", "the walkthrough's message reaches everybody");
        // H9: a sender hears its own message once, and no reply of the handler's.
        send(&mut ada, r#"{"action":"nobody-knows-this"}"#).await.map_err(|error| error.to_string())?;
        match hear(&mut ada).await {
            Some(frame) if frame.contains("Forbidden") => self.ledger.confirm("H8", frame),
            Some(frame) => self.ledger.refute("H8", "`Forbidden`", frame),
            None => self.ledger.not_reached("H8", "silence"),
        }
        say(&mut ada, "still here").await?;
        let still = hear(&mut ada).await.is_some_and(|heard| heard == "still here");
        self.ledger.is_so("H9", "no reply of the handler's", still, "the next frame is the next message");
        let _ = hear(&mut bob).await;
        self.look_at_sizes(&mut ada, &mut bob).await?;
        chatctl::websocket::close(bob, PATIENCE).await;
        chatctl::websocket::close(ada, PATIENCE).await;
        Ok(String::new())
    }

    /// Posts of 31, 33 and 127 KB. The limit of `up` is raised for them, and set back.
    async fn look_at_sizes(&mut self, ada: &mut Socket, bob: &mut Socket) -> Result<(), String> {
        self.ends("up --message-size 128", 0).await?;
        let mut seen = Vec::new();
        for kilobytes in [31, 33, 127] {
            let data = "x".repeat(kilobytes * 1_024);
            // What an answer about the message would be is told apart from the message by its length.
            say(ada, &data).await?;
            let ended = match hear(bob).await {
                Some(heard) if heard.len() == data.len() => "arrives".to_owned(),
                Some(heard) => format!("something of {} bytes arrives", heard.len()),
                None => "does not arrive".to_owned(),
            };
            let answer = hear(ada).await.filter(|answer| answer.len() != data.len());
            seen.push(format!("{kilobytes} KB {ended}{}", answer.map(|a| format!(" ({a})")).unwrap_or_default()));
        }
        let holds = seen.iter().all(|size| size.ends_with("arrives"));
        self.ledger.confirm("H19", format!("the question is answered: {}", seen.join(", ")));
        self.ledger.is_so("H1", "messages of up to 128 KB", holds, seen.join(", "));
        self.ends("up", 0).await?;
        Ok(())
    }

    /// Code and settings change while a client goes on talking; it hears each of its messages once, in order.
    pub async fn update_under_clients(&mut self) -> Ended {
        let mut ada = self.connect().await?;
        let mut said = 0;
        let mut lost = Vec::new();
        {
            let updating = self.ends("up --memory 384", 0);
            tokio::pin!(updating);
            loop {
                say(&mut ada, &format!("message {said}")).await?;
                if hear(&mut ada).await.as_deref() != Some(format!("message {said}").as_str()) {
                    lost.push(said);
                }
                said += 1;
                let turn = tokio::time::timeout(Duration::from_millis(250), &mut updating).await;
                if let Ok(ended) = turn {
                    ended?;
                    break;
                }
            }
        }
        self.ends("up", 0).await?;
        say(&mut ada, "at last").await?;
        let heard = hear(&mut ada).await;
        chatctl::websocket::close(ada, PATIENCE).await;
        if !lost.is_empty() || heard.as_deref() != Some("at last") {
            return Err(format!("of {said} messages {lost:?} were lost; the last was {heard:?}"));
        }
        Ok(format!("{said} messages, none lost, on one connection"))
    }
}

async fn say(socket: &mut Socket, data: &str) -> Result<(), String> {
    send(socket, &send_message(data)).await.map_err(|error| error.to_string())
}

/// The next text frame, if one comes in time.
async fn hear(socket: &mut Socket) -> Option<String> {
    let next = async {
        loop {
            match socket.next().await?.ok()? {
                Message::Text(text) => return Some(text.to_string()),
                Message::Close(_) => return None,
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, next).await.ok().flatten()
}
