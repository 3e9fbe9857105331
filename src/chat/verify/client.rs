//! One client of a round: says what it has to say and keeps count of what it hears.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};
use tokio_tungstenite::tungstenite::{self};

use super::terms::{At, Broken, Scale};
use crate::host::visible;
use crate::websocket::{ConnectError, Endpoint, Notice, Socket, close, send, send_message, why_closed};

/// How long a client waits for the answer to its farewell.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long the answer to a message without data is waited for before the next message.
const UNANSWERED: Duration = Duration::from_secs(2);
/// After how long what was refused for a throttle is said again: longer each time, but often enough to be seen (`STALL`).
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(6);

/// What the clients of one round share.
pub(super) struct Shared {
    pub scale: Scale,
    /// Tells this run's messages from those of other people in the same chat.
    nonce: String,
    begun: Instant,
    /// When each message was sent, the last time: microseconds since the beginning.
    sent: Vec<AtomicU64>,
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
    /// How many messages the service refused for their number.
    pub throttled: u64,
    /// Of each message heard for the first time, in microseconds.
    pub latencies: Vec<u32>,
}

/// What a client has said and not heard of yet: one thing at a time, so that an answer which does not tell what it
/// answers (H20) is understood.
#[derive(Clone, Copy, PartialEq)]
enum Said {
    Message(usize),
    /// A message without data, for which only the first client asks.
    NoData,
}

impl Shared {
    pub fn new(scale: Scale) -> Self {
        Self {
            scale,
            nonce: format!("{:016x}", fastrand::u64(..)),
            begun: Instant::now(),
            sent: (0..scale.total()).map(|_| AtomicU64::new(0)).collect(),
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
    endpoint: Endpoint,
    me: usize,
    mut socket: Socket,
    mut leave: watch::Receiver<bool>,
) -> Seen {
    let mut seen = Seen { times: vec![0; shared.scale.total()], ..Seen::default() };
    let talk = async {
        if me == 0 {
            // An action that nobody has; it may not break the connection.
            send(&mut socket, r#"{"action":"chatctl-verify"}"#).await?;
        }
        let messages = shared.scale.messages_of(me).map(Said::Message);
        let mut to_say = (me == 0).then_some(Said::NoData).into_iter().chain(messages).fuse();
        let mut said = to_say.next();
        let (mut say_at, mut go_on_at) = (Some(Instant::now()), None);
        let mut pause = FIRST_PAUSE;
        loop {
            let frame = tokio::select! {
                () = until(say_at) => {
                    say_at = None;
                    if let Some(said) = said {
                        say(&shared, said, &mut socket).await?;
                        go_on_at = (said == Said::NoData).then(|| Instant::now() + UNANSWERED);
                    }
                    continue;
                }
                () = until(go_on_at) => {
                    (said, say_at, go_on_at) = (to_say.next(), Some(Instant::now()), None);
                    continue;
                }
                frame = socket.next() => frame.ok_or(tungstenite::Error::ConnectionClosed)??,
            };
            let text = match frame {
                Message::Text(text) => text,
                Message::Close(frame) => {
                    shared.fail(disconnected(&endpoint, me, frame.as_ref()));
                    return Ok(());
                }
                _ => continue,
            };
            let heard_of = match (shared.message(&text), Notice::of(&text)) {
                (Some(message), _) => {
                    hear(&shared, &mut seen, message);
                    Some(Said::Message(message))
                }
                (None, Some(Notice::Throttled)) => {
                    seen.throttled += 1;
                    go_on_at = None;
                    say_at = Some(Instant::now() + pause.mul_f64(0.75 + fastrand::f64() / 2.0));
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    None
                }
                (None, notice) => {
                    let is_answer = matches!(notice, Some(Notice::Error(_)));
                    note(&shared, &mut seen, me, notice);
                    is_answer.then_some(Said::NoData)
                }
            };
            if said.is_some() && said == heard_of {
                (said, say_at, go_on_at) = (to_say.next(), Some(Instant::now()), None);
                pause = FIRST_PAUSE;
            }
        }
    };
    tokio::select! {
        ended = talk => if let Err(error) = ended {
            let error: tungstenite::Error = error;
            let what = format!("client {} lost its connection: {error}", me + 1);
            shared.fail(Broken::at(At::SendMessage, what));
        },
        _ = leave.wait_for(|leave| *leave) => {}
    }
    close(socket, FAREWELL).await;
    seen
}

async fn say(shared: &Shared, said: Said, socket: &mut Socket) -> tungstenite::Result<()> {
    match said {
        Said::Message(message) => {
            shared.sent[message].store(micros(shared.begun), Ordering::Release);
            send(socket, &send_message(&shared.text(message))).await
        }
        Said::NoData => send(socket, r#"{"action":"sendmessage"}"#).await,
    }
}

fn hear(shared: &Shared, seen: &mut Seen, message: usize) {
    let times = &mut seen.times[message];
    *times = times.saturating_add(1);
    if *times == 1 {
        let took = micros(shared.begun).saturating_sub(shared.sent[message].load(Ordering::Acquire));
        seen.latencies.push(u32::try_from(took).unwrap_or(u32::MAX));
        shared.arrived();
    }
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Keeps count of what is no message of ours; other people's messages are nothing to us.
fn note(shared: &Shared, seen: &mut Seen, me: usize, notice: Option<Notice>) {
    match notice {
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
        Some(Notice::Throttled | Notice::Pong) | None => {}
    }
}

fn disconnected(endpoint: &Endpoint, me: usize, frame: Option<&CloseFrame>) -> Broken {
    match ConnectError::refusal(frame) {
        Some(refusal) => Broken::refused(me, endpoint, &refusal),
        None => Broken::at(At::SendMessage, format!("client {} was disconnected: {}", me + 1, why_closed(frame))),
    }
}
