//! One chat from the first connection to the last: sends what is typed, shows what arrives, connects again after a drop.

use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::tungstenite::{self};

use super::ChatOptions;
use super::screen::Screen;
use super::typing::Typed;
use crate::error::{Code, Error, Exit, Result};
use crate::websocket::{
    ConnectError, Endpoint, MESSAGE_BYTES, Notice, PING, Place, Socket, close, send, send_message, why_closed,
};

/// API Gateway ends a connection that is idle for 10 minutes, and any after 2 hours (H1). A message of the chat is a sign
/// of life; whether a ping of the protocol is one, where the chat has no route for it, is nowhere written (U7). If not,
/// the drop is met by connecting again.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5 * 60);
/// When a message that was not sent back by then counts as lost.
const ECHO: Duration = Duration::from_secs(10);
/// How many messages that did not come back are remembered, should they still come.
const DOUBTED: usize = 100;
const BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(15);
const FAREWELL: Duration = Duration::from_millis(300);

const HELP: &str = "a line is sent to everybody; /quit or Ctrl-D leaves; arrow keys edit and recall; \
                    a message that begins with `/` is sent as `//…`";

pub(super) struct Conversation<'a> {
    endpoint: Endpoint,
    place: &'a dyn Place,
    options: &'a ChatOptions,
    screen: Screen,
    interactive: bool,
    /// Typed, but not sent yet.
    unsent: VecDeque<String>,
    /// Sent, but not come back yet.
    echoes: VecDeque<(String, Instant)>,
    /// Given up, and told so: a large chat may take longer than `ECHO`.
    doubted: VecDeque<String>,
    /// Nothing is sent before, because a throttle refused the last message so many times in a row.
    hold: Option<(Instant, u32)>,
    /// Since when there is no connection.
    gone_at: Instant,
    /// How often we have connected since anything was heard.
    tries: u32,
}

/// Whether there is a connection.
enum Link<'a> {
    Up(Box<Socket>),
    Down(BoxFuture<'a, Connected>),
}

/// A connection, and where it leads.
type Connected = Result<(Box<Socket>, Endpoint), ConnectError>;

enum Event {
    Typed(Option<Typed>),
    Heard(Option<tungstenite::Result<Message>>),
    Connected(Connected),
    Ping,
    EchoLate,
    Again,
    Enough,
}

impl<'a> Conversation<'a> {
    pub fn new(
        endpoint: &Endpoint,
        place: &'a dyn Place,
        options: &'a ChatOptions,
        screen: Screen,
        interactive: bool,
    ) -> Self {
        let (unsent, echoes, doubted) = Default::default();
        let (endpoint, gone_at) = (endpoint.clone(), Instant::now());
        Self { endpoint, place, options, screen, interactive, unsent, echoes, doubted, hold: None, gone_at, tries: 0 }
    }

    pub fn greet(&self) {
        if self.interactive {
            self.screen.note(&format!("connected to {}; /help helps", self.endpoint.shown()));
        }
    }

    pub async fn run(&mut self, socket: Socket, mut typed: mpsc::Receiver<Typed>) -> Result<Exit> {
        let mut link = Link::Up(Box::new(socket));
        // A close that is the first thing heard is a refusal (H2).
        let mut heard_anything = false;
        let mut next_ping = Instant::now() + SIGN_OF_LIFE;
        let mut leave_at = None;
        loop {
            // What waits for its turn is still sent.
            if leave_at.is_some() && !self.unsent.is_empty() && matches!(link, Link::Up(_)) {
                leave_at = Some(Instant::now() + self.options.wait);
            }
            let echo_late = self.echoes.front().map(|(_, sent)| *sent + ECHO);
            let event = tokio::select! {
                typed = typed.recv(), if leave_at.is_none() => Event::Typed(typed),
                event = next(&mut link) => event,
                () = sleep_until(next_ping) => Event::Ping,
                () = until(echo_late) => Event::EchoLate,
                () = until(self.hold.map(|(until, _)| until).filter(|at| *at > Instant::now())) => Event::Again,
                () = until(leave_at) => Event::Enough,
            };
            match event {
                Event::Typed(Some(Typed::Line(line))) => {
                    if self.take(line)? {
                        return self.leave(link, Exit::Done).await;
                    }
                }
                Event::Typed(Some(Typed::Interrupt)) => return self.leave(link, Exit::Interrupted).await,
                Event::Typed(Some(Typed::End) | None) if self.interactive => return self.leave(link, Exit::Done).await,
                Event::Typed(Some(Typed::End) | None) => leave_at = Some(Instant::now() + self.options.wait),
                Event::Heard(Some(Ok(Message::Text(text)))) => {
                    heard_anything = true;
                    self.tries = 0;
                    self.show(&text);
                }
                Event::Heard(Some(Ok(Message::Close(frame)))) => {
                    if let Some(refusal) = ConnectError::refusal(frame.as_ref()).filter(|_| !heard_anything) {
                        return Err(self.endpoint.failed(&refusal));
                    }
                    link = self.lost(&why_closed(frame.as_ref()));
                }
                Event::Heard(Some(Ok(_))) => self.tries = 0,
                Event::Heard(Some(Err(error))) => link = self.lost(&error.to_string()),
                Event::Heard(None) => link = self.lost("without a word"),
                Event::Connected(Ok((socket, endpoint))) => {
                    let away = self.gone_at.elapsed().as_secs().max(1);
                    let moved = endpoint.url != self.endpoint.url;
                    let to = if moved { format!(" to {}", endpoint.shown()) } else { String::new() };
                    self.endpoint = endpoint;
                    self.screen.note(&format!("connected again{to} after {away} s; what was said meanwhile is lost"));
                    link = Link::Up(socket);
                    next_ping = Instant::now() + SIGN_OF_LIFE;
                }
                Event::Connected(Err(error)) => link = self.still_down(&error)?,
                Event::Ping => {
                    next_ping = Instant::now() + SIGN_OF_LIFE;
                    if let Link::Up(socket) = &mut link {
                        // A connection that is gone shows when it is read.
                        let _ = if self.options.keep_alive {
                            send(socket.as_mut(), PING).await
                        } else {
                            socket.send(Message::Ping(Default::default())).await
                        };
                    }
                }
                Event::EchoLate => {
                    if let Some((text, _)) = self.echoes.pop_front() {
                        self.screen.note(&format!("the chat did not send `{text}` back: it may be lost"));
                        self.doubted.push_back(text);
                        if self.doubted.len() > DOUBTED {
                            self.doubted.pop_front();
                        }
                    }
                }
                // It is sent below.
                Event::Again => {}
                Event::Enough if self.unsent.is_empty() => return self.leave(link, Exit::Done).await,
                // It goes on above.
                Event::Enough if matches!(link, Link::Up(_)) => {}
                Event::Enough => {
                    let lost = self.unsent.len();
                    return Err(Error::failed(
                        Code::Unsent,
                        format!("the connection dropped, {lost} lines were not sent"),
                    ));
                }
            }
            self.send_unsent(&mut link).await;
        }
    }

    /// A line of the user's; true when it asks to leave.
    fn take(&mut self, line: String) -> Result<bool> {
        let said = match line.strip_prefix('/').filter(|_| self.interactive) {
            None => line.as_str(),
            Some("quit" | "exit" | "q") => return Ok(true),
            Some("help" | "?") => {
                self.screen.note(HELP);
                return Ok(false);
            }
            Some(said) if said.starts_with('/') => said,
            Some(other) => {
                self.screen.note(&format!("there is no `/{other}`; /help helps"));
                return Ok(false);
            }
        };
        if said.trim().is_empty() {
            return Ok(false);
        }
        let text = self.options.name.as_ref().map_or_else(|| said.to_owned(), |name| format!("{name}: {said}"));
        let bytes = send_message(&text).len();
        if bytes > MESSAGE_BYTES {
            let what = format!("a message of {bytes} bytes is too long, API Gateway takes {MESSAGE_BYTES}");
            if !self.interactive {
                return Err(Error::failed(Code::TooLong, what));
            }
            self.screen.note(&what);
            return Ok(false);
        }
        self.unsent.push_back(text);
        Ok(false)
    }

    async fn send_unsent(&mut self, link: &mut Link<'a>) {
        let Link::Up(socket) = link else { return };
        while let Some(text) = self.unsent.front() {
            let held = self.hold.is_some_and(|(until, _)| until > Instant::now());
            // Piped lines go one by one: as fast as the chat takes them, in their order.
            if held || !self.interactive && !self.echoes.is_empty() {
                return;
            }
            if let Err(error) = send(socket.as_mut(), &send_message(text)).await {
                *link = self.lost(&error.to_string());
                return;
            }
            if let Some(text) = self.unsent.pop_front() {
                self.echoes.push_back((text, Instant::now()));
            }
        }
    }

    fn show(&mut self, text: &str) {
        let late = self.doubted.iter().position(|sent| sent == text);
        if let Some(nth) = self.echoes.iter().position(|(sent, _)| sent == text) {
            self.echoes.remove(nth);
            self.hold = None;
            // On a terminal the line that was typed is there already.
            if self.interactive {
                return;
            }
        } else if let Some(nth) = late {
            self.doubted.remove(nth);
            self.screen.note(&format!("the chat did send `{text}` back, only late"));
            if self.interactive {
                return;
            }
        }
        match Notice::of(text) {
            Some(Notice::Error(what) | Notice::Failed(what)) => {
                self.screen.note(&format!("the chat answers: {what}"));
            }
            Some(Notice::Throttled) => self.refused(),
            Some(Notice::Pong) => {}
            Some(Notice::Forbidden) => self.screen.note("the chat answers: Forbidden"),
            None => self.screen.message(text),
        }
    }

    /// One message too many for the chat's throttle. Which it was is not told (H20), so it is sent again only where it can
    /// be no other.
    fn refused(&mut self) {
        let (Some((text, _)), true) = (self.echoes.pop_back(), self.echoes.is_empty()) else {
            self.screen.note("the chat takes no more messages for the moment: one of the last was refused");
            return;
        };
        let times = self.hold.map_or(0, |(_, times)| times);
        if times == 0 {
            self.screen.note(&format!("the chat takes no more messages for the moment: trying on with `{text}`"));
        }
        self.hold = Some((Instant::now() + backoff(times), times + 1));
        self.unsent.push_front(text);
    }

    fn lost(&mut self, why: &str) -> Link<'a> {
        self.screen.note(&format!("the connection is gone ({why}); connecting again"));
        self.gone_at = Instant::now();
        self.connect_again()
    }

    fn still_down(&mut self, error: &ConnectError) -> Result<Link<'a>> {
        if !error.may_pass() {
            return Err(self.endpoint.failed(error));
        }
        if self.tries == 1 {
            self.screen.note(&format!("{error}; trying on"));
        }
        Ok(self.connect_again())
    }

    /// The first try comes at once, each later one after a longer pause.
    fn connect_again(&mut self) -> Link<'a> {
        let pause = match self.tries {
            0 => Duration::ZERO,
            tries => backoff(tries),
        };
        self.tries += 1;
        let (endpoint, place) = (self.endpoint.clone(), self.place);
        Link::Down(Box::pin(async move {
            sleep(pause).await;
            let why = match endpoint.connect().await {
                Ok(socket) => return Ok((Box::new(socket), endpoint)),
                Err(why) => why,
            };
            // A local AWS that was started again has other ids, and perhaps another port.
            match place.find().await.filter(|found| found.url != endpoint.url) {
                Some(moved) => moved.connect().await.map(|socket| (Box::new(socket), moved)),
                None => Err(why),
            }
        }))
    }

    async fn leave(&self, link: Link<'a>, exit: Exit) -> Result<Exit> {
        if let Link::Up(socket) = link {
            close(*socket, FAREWELL).await;
        }
        Ok(exit)
    }
}

/// The pause before another try, after so many.
fn backoff(tries: u32) -> Duration {
    (BACKOFF * 2_u32.pow(tries.min(5))).min(MAX_BACKOFF).mul_f64(0.75 + fastrand::f64() / 2.0)
}

/// The next thing from the connection, or the next connection.
async fn next(link: &mut Link<'_>) -> Event {
    match link {
        Link::Up(socket) => Event::Heard(socket.next().await),
        Link::Down(connected) => Event::Connected(connected.await),
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
