//! One client of a round: says what it has to say and keeps count of what it hears.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};
use tokio_tungstenite::tungstenite::{self};

use super::terms::{At, Broken, Scale};
use crate::host::visible;
use crate::websocket::{ConnectError, Notice, Socket, close, send, send_message, why_closed};

/// How long a client waits for the answer to its farewell.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the clients of one round share.
pub(super) struct Shared {
    pub scale: Scale,
    /// Tells this run's messages from those of other people in the same chat.
    nonce: String,
    /// When each message was sent.
    sent: Vec<OnceLock<Instant>>,
    /// Deliveries and answers that are still to come.
    outstanding: AtomicU64,
    /// The first thing that broke while the round went on.
    broken: OnceLock<Broken>,
    /// Rung when nothing is outstanding, or something broke.
    settled: Notify,
}

/// What one client heard.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// For each message, how often.
    pub times: Vec<u8>,
    /// The texts of `{"chatctl":{"error":…}}` frames, and how often each.
    pub errors: BTreeMap<String, u32>,
    /// How many `Forbidden` frames.
    pub forbidden: u32,
    /// Of each message heard for the first time, in microseconds.
    pub latencies: Vec<u32>,
}

impl Shared {
    pub fn new(scale: Scale) -> Self {
        Self {
            scale,
            nonce: format!("{:016x}", fastrand::u64(..)),
            sent: (0..scale.total()).map(|_| OnceLock::new()).collect(),
            // The deliveries, and the answer to the message without data.
            outstanding: AtomicU64::new(scale.deliveries() + 1),
            broken: OnceLock::new(),
            settled: Notify::new(),
        }
    }

    pub fn outstanding(&self) -> u64 {
        self.outstanding.load(Ordering::Acquire)
    }

    pub fn broken(&self) -> Option<&Broken> {
        self.broken.get()
    }

    pub async fn settled(&self) {
        self.settled.notified().await;
    }

    fn text(&self, message: usize) -> String {
        format!("chatctl verify {} {message}", self.nonce)
    }

    /// Which of our messages `text` is.
    fn message(&self, text: &str) -> Option<usize> {
        let message = text.strip_prefix("chatctl verify ")?.strip_prefix(self.nonce.as_str())?.strip_prefix(' ')?;
        message.parse().ok().filter(|message| *message < self.scale.total())
    }

    fn arrived(&self) {
        if self.outstanding.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.settled.notify_one();
        }
    }

    fn fail(&self, broken: Broken) {
        // Only the first cause counts.
        let _ = self.broken.set(broken);
        self.settled.notify_one();
    }
}

/// Takes part in a round as client number `me`, until told to leave.
pub(super) async fn take_part(
    shared: Arc<Shared>,
    me: usize,
    mut socket: Socket,
    mut leave: watch::Receiver<bool>,
) -> Seen {
    let mut seen = Seen { times: vec![0; shared.scale.total()], ..Seen::default() };
    let talk = async {
        if me == 0 {
            ask_the_odd_things(&mut socket).await?;
        }
        let mut mine = shared.scale.messages_of(me);
        say_next(&shared, &mut mine, &mut socket).await?;
        while let Some(frame) = socket.next().await {
            match frame? {
                Message::Text(text) => match shared.message(&text) {
                    Some(message) => {
                        hear(&shared, &mut seen, message);
                        if shared.scale.sender_of(message) == me {
                            say_next(&shared, &mut mine, &mut socket).await?;
                        }
                    }
                    None => note(&shared, &mut seen, me, &text),
                },
                Message::Close(frame) => {
                    shared.fail(disconnected(me, frame.as_ref()));
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(tungstenite::Error::ConnectionClosed)
    };
    tokio::select! {
        ended = talk => if let Err(error) = ended {
            let what = format!("client {} lost its connection: {error}", me + 1);
            shared.fail(Broken::at(At::SendMessage, what));
        },
        _ = leave.wait_for(|leave| *leave) => {}
    }
    close(socket, FAREWELL).await;
    seen
}

/// An action that nobody has, and a message without data: neither may break the connection.
async fn ask_the_odd_things(socket: &mut Socket) -> tungstenite::Result<()> {
    send(socket, r#"{"action":"chatctl-verify"}"#).await?;
    send(socket, r#"{"action":"sendmessage"}"#).await
}

async fn say_next(
    shared: &Shared,
    mine: &mut impl Iterator<Item = usize>,
    socket: &mut Socket,
) -> tungstenite::Result<()> {
    let Some(message) = mine.next() else { return Ok(()) };
    // Each message has one sender, who sends it once.
    let _ = shared.sent[message].set(Instant::now());
    send(socket, &send_message(&shared.text(message))).await
}

fn hear(shared: &Shared, seen: &mut Seen, message: usize) {
    let times = &mut seen.times[message];
    *times = times.saturating_add(1);
    if *times == 1 {
        let took = shared.sent[message].get().map(Instant::elapsed).unwrap_or_default();
        seen.latencies.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        shared.arrived();
    }
}

/// Keeps count of what is no message of ours; other people's messages are nothing to us.
fn note(shared: &Shared, seen: &mut Seen, me: usize, text: &str) {
    match Notice::of(text) {
        Some(Notice::Error(text)) => {
            if me == 0 && seen.errors.is_empty() {
                shared.arrived();
            }
            *seen.errors.entry(text).or_default() += 1;
        }
        Some(Notice::Forbidden) => {
            seen.forbidden += 1;
            // The first client asked for an action that nobody has, and for nothing else of the kind (H8).
            if me != 0 || seen.forbidden > 1 {
                let what = format!("the service answered client {} with `Forbidden`", me + 1);
                let hint = "the stage serves no route `sendmessage`; `chatctl up` repairs it";
                shared.fail(Broken { hint: Some(hint.to_owned()), ..Broken::at(At::SendMessage, what) });
            }
        }
        Some(Notice::Failed(message)) => {
            let what = format!("the service answered client {} with `{}`", me + 1, visible(&message));
            let hint = "the function behind `sendmessage` failed, or API Gateway may not invoke it";
            shared.fail(Broken { hint: Some(hint.to_owned()), ..Broken::at(At::SendMessage, what) });
        }
        None => {}
    }
}

fn disconnected(me: usize, frame: Option<&CloseFrame>) -> Broken {
    match ConnectError::refusal(frame) {
        Some(refusal) => Broken::refused(me, &refusal),
        None => Broken::at(At::SendMessage, format!("client {} was disconnected: {}", me + 1, why_closed(frame))),
    }
}
