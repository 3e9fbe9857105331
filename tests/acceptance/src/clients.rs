//! What clients of the deployed chat meet.

use std::time::Duration;

use chatctl::websocket::{Auth, Endpoint, Socket, send, send_message};
use futures_util::StreamExt;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use crate::analyzer::encoded;
use crate::ledger::Refusal;
use crate::life::{Ended, Life, NAME};
use crate::wire::Call;

pub const PATIENCE: Duration = Duration::from_secs(20);

/// To a route that answers.
pub const ECHO: &str = r#"{"action":"echo"}"#;

impl Life<'_> {
    pub async fn connect(&self) -> Result<Socket, String> {
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
        self.look_at_posts(&mut ada, &mut bob).await?;
        let protocol = vec![("Sec-WebSocket-Protocol".to_owned(), "chat".to_owned())];
        let speaker = Endpoint { url: self.url.clone(), auth: Auth::Headers(protocol) }.connect().await;
        let seen = speaker.as_ref().map_or_else(|error| error.to_string(), |_| "it is echoed".to_owned());
        self.ledger.is_so("H17", "an echo", speaker.is_ok(), seen);
        self.look_at_sizes(&mut ada, &mut bob).await?;
        chatctl::websocket::close(bob, PATIENCE).await;
        chatctl::websocket::close(ada, PATIENCE).await;
        Ok(String::new())
    }

    /// Posts by hand: to everybody, to nobody, and without the stage.
    async fn look_at_posts(&mut self, ada: &mut Socket, bob: &mut Socket) -> Result<(), String> {
        let sdk = self.place.sdk();
        if sdk.endpoint_url().is_some() || self.place.lacks().is_some() {
            for id in ["H5", "H6", "R7"] {
                self.ledger.not_reached(id, "posts go to another host here");
            }
            return Ok(());
        }
        let host = self.url.trim_start_matches("wss://").trim_end_matches("/prod");
        let post = async |stage: &str, id: &str| {
            let path = format!("{stage}/%40connections/{}", encoded(id));
            let (at, body) = (Some(format!("https://{host}")), "by hand".to_owned());
            Call { service: "execute-api", method: "POST", at, path, content_type: "text/plain", body }.send(sdk).await
        };
        let ids = self.aws.connections(&format!("{NAME}-connections")).await;
        for id in &ids {
            let posted = post("/prod", id).await;
            let seen = posted.as_ref().map_or_else(Refusal::words, |_| "it arrives".to_owned());
            self.ledger.is_so("R7", "a post that is signed for `execute-api`", posted.is_ok(), seen);
        }
        let _ = (hear(ada).await, hear(bob).await);
        let Some(id) = ids.first() else { return Ok(()) };
        if let Err(refusal) = post("", id).await {
            self.ledger.is_so("H6", "403 without the stage", refusal.code.contains("Forbidden"), refusal.words());
        }
        let nobody = post("/prod", "nobody=").await;
        let told = nobody.map_or_else(|refusal| refusal.words(), |_| "it is taken".to_owned());
        self.ledger.confirm("H5", format!("to an id that nobody has: {told}"));
        Ok(())
    }

    /// A ping is answered to its sender alone; whether it keeps a client connected takes more than ten minutes to see.
    pub async fn look_at_pings(&mut self) -> Ended {
        self.up("--keep-alive").await?;
        let (mut ada, mut silent) = (self.connect().await?, self.connect().await?);
        let mut answer = None;
        // A new deployment of the API reaches clients after a moment.
        for _ in 0..10 {
            answer = self.ping(&mut ada).await;
            if answer.as_deref().is_some_and(|answer| !answer.contains("Forbidden")) {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let is_answered = answer.as_deref().is_some_and(|answer| !answer.contains("Forbidden"));
        self.ledger.is_so("G28", "an answer to a ping", is_answered, format!("{answer:?}"));
        match self.options.idle {
            None => self.ledger.not_reached("U7", "it takes more than ten minutes"),
            Some(idle) => {
                let began = Instant::now();
                let mut answered = true;
                while answered && began.elapsed() < idle && !self.place.interrupt().is_raised() {
                    tokio::select! {
                        () = tokio::time::sleep(Duration::from_secs(120)) => {}
                        () = self.place.interrupt().raised(1) => {}
                    }
                    answered = self.ping(&mut ada).await.is_some();
                }
                let minutes = began.elapsed().as_secs() / 60;
                let told = if answered { "answered" } else { "cut off" };
                self.ledger.confirm("U7", format!("after {minutes} minutes a client that only pings is {told}"));
                if answered && minutes > 10 {
                    let is_cut =
                        send(&mut silent, r#"{"action":"ping"}"#).await.is_err() || hear(&mut silent).await.is_none();
                    let seen = format!("a silent client is cut off after {minutes} minutes: {is_cut}");
                    self.ledger.is_so("H1", "an end after ten idle minutes", is_cut, seen);
                }
            }
        }
        chatctl::websocket::close(silent, PATIENCE).await;
        chatctl::websocket::close(ada, PATIENCE).await;
        self.up("").await?;
        Ok(String::new())
    }

    /// What a handler returns where its route has a response, and what is said where it fails.
    pub async fn look_at_project(&mut self) -> Ended {
        let flags = format!("--config {}", self.project()?);
        self.up(&flags).await?;
        let mut ada = self.connect().await?;
        let reply = self.answered(&mut ada, ECHO).await?;
        self.ledger.is_so(
            "H9",
            "a reply where the route has a response",
            reply.as_deref() == Some("echo"),
            format!("{reply:?}"),
        );
        send(&mut ada, r#"{"action":"broken"}"#).await.map_err(|error| error.to_string())?;
        match hear(&mut ada).await {
            Some(frame) if frame.contains("Internal server error") => self.ledger.confirm("H7", frame),
            Some(frame) => self.ledger.refute("H7", "`Internal server error`", frame),
            None => self.ledger.refute("H7", "`Internal server error`", "silence"),
        }
        chatctl::websocket::close(ada, PATIENCE).await;
        self.up("").await?;
        self.ends("status", 0).await?;
        Ok(String::new())
    }

    /// What a route of one's own answers: a new deployment of the API reaches clients after a moment.
    pub async fn answered(&self, socket: &mut Socket, frame: &str) -> Result<Option<String>, String> {
        for _ in 0..10 {
            send(socket, frame).await.map_err(|error| error.to_string())?;
            let reply = hear(socket).await;
            if reply.as_deref().is_some_and(|reply| !reply.contains("Forbidden")) {
                return Ok(reply);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(None)
    }

    async fn ping(&self, socket: &mut Socket) -> Option<String> {
        send(socket, r#"{"action":"ping"}"#).await.ok()?;
        hear(socket).await
    }

    /// What is said to whom sends more than the route takes.
    pub async fn look_at_throttle(&mut self) -> Ended {
        self.up("--message-rate 1 --message-burst 1").await?;
        let mut ada = self.connect().await?;
        for number in 0..30 {
            say(&mut ada, &format!("message {number}")).await?;
        }
        let mut frames = Vec::new();
        while frames.len() < 30
            && let Some(frame) = hear(&mut ada).await
        {
            frames.push(frame);
        }
        match frames.iter().find(|frame| frame.starts_with('{')) {
            Some(frame) if frame.contains("Too Many Requests") => self.ledger.confirm("H20", frame),
            Some(frame) => self.ledger.refute("H20", "`Too Many Requests`", frame),
            None => {
                self.ledger.not_reached("H20", format!("{} of 30 messages came back, and no refusal", frames.len()))
            }
        }
        chatctl::websocket::close(ada, PATIENCE).await;
        self.up("").await?;
        Ok(format!("{} frames", frames.len()))
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
    pub async fn update_under_clients(&mut self, flags: &str) -> Ended {
        let mut ada = self.connect().await?;
        let mut said = 0;
        let mut lost = Vec::new();
        {
            let updating = self.up(flags);
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
        self.up("").await?;
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
pub async fn hear(socket: &mut Socket) -> Option<String> {
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
