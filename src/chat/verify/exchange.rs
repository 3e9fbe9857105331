//! One message on a route of one's own, and the answer that its sender expects.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::protocol::Message;

use super::terms::{At, Broken};
use crate::host::visible;
use crate::websocket::{Endpoint, Notice, Socket, close, send};

/// An answer may wait for a cold start.
const ANSWER: Duration = Duration::from_secs(10);
const FAREWELL: Duration = Duration::from_secs(2);
/// How much of an answer nobody expected is shown.
const SHOWN: usize = 200;

/// What is said, and what is to be heard.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub route: String,
    pub send: String,
    /// The same text; or JSON of which every member is in the answer, which may have others. `None`: whatever is no refusal.
    pub expect: Option<String>,
    /// The function behind the route, whose log tells why it failed.
    pub function: Option<String>,
}

impl Exchange {
    /// How long the answer took, which is waited for at most for `patience`.
    pub(super) async fn with(&self, endpoint: &Endpoint, patience: Duration) -> Result<Duration, Broken> {
        let mut socket = endpoint.connect().await.map_err(|error| Broken::refused(0, endpoint, &error))?;
        let answered = self.answered(&mut socket, patience.min(ANSWER)).await;
        close(socket, FAREWELL).await;
        answered
    }

    async fn answered(&self, socket: &mut Socket, patience: Duration) -> Result<Duration, Broken> {
        let route = &self.route;
        let broken = |what: String, hint: Option<&str>| Broken {
            hint: hint.map(str::to_owned),
            ..Broken::at(At::Route, format!("`{route}`: {what}"))
        };
        let lost = |why: &str| broken(format!("the connection was lost before the answer: {why}"), None);
        send(socket, &self.send).await.map_err(|error| lost(&error.to_string()))?;
        let sent = Instant::now();
        let mut heard = None;
        while let Ok(frame) = timeout_at(sent + patience, socket.next()).await {
            let text = match frame {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(_))) | None => return Err(lost("it was closed")),
                Some(Ok(_)) => continue,
                Some(Err(error)) => return Err(lost(&error.to_string())),
            };
            let notice = Notice::of(&text);
            let is_it = match &self.expect {
                None => notice.is_none(),
                // A refusal may be what is expected, but not by expecting nothing of it.
                Some(expect) => is_as_expected(expect, &text) && (notice.is_none() || asks_for_something(expect)),
            };
            if is_it {
                return Ok(sent.elapsed());
            }
            match notice {
                Some(Notice::Forbidden) => {
                    let hint = "the stage serves no such route; `chatctl up` makes those of the settings";
                    return Err(broken("the service answered `Forbidden`".to_owned(), Some(hint)));
                }
                Some(Notice::Failed(message)) => {
                    let hint = "the function behind the route failed, or API Gateway may not invoke it";
                    return Err(broken(format!("the service answered `{}`", visible(&message)), Some(hint)));
                }
                _ => heard = Some(text),
            }
        }
        let shown = |text: &str| visible(&text.chars().take(SHOWN).collect::<String>());
        let instead =
            heard.map_or_else(|| "nothing came".to_owned(), |text| format!("the last was `{}`", shown(&text)));
        Err(broken(format!("no answer within {} s was as expected, {instead}", patience.as_secs()), None))
    }
}

fn is_as_expected(expected: &str, heard: &str) -> bool {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
    match (parsed(expected), parsed(heard)) {
        (Some(expected), Some(heard)) => has(&heard, &expected),
        _ => expected == heard,
    }
}

fn asks_for_something(expected: &str) -> bool {
    serde_json::from_str::<Value>(expected).ok() != Some(Value::Object(serde_json::Map::new()))
}

/// Whether all of `expected` is in `value`, whose objects may have other members.
fn has(value: &Value, expected: &Value) -> bool {
    match (value, expected) {
        (Value::Object(value), Value::Object(expected)) => {
            expected.iter().all(|(name, expected)| value.get(name).is_some_and(|value| has(value, expected)))
        }
        _ => value == expected,
    }
}

#[cfg(test)]
mod tests {
    use super::is_as_expected;

    #[test]
    fn an_answer_may_say_more_than_was_expected_and_nothing_else() {
        for (expected, heard, is_it) in [
            (r#"{"joined":true}"#, r#"{ "joined": true, "who": ["a"] }"#, true),
            (r#"{"room":{"name":"a"}}"#, r#"{"room":{"name":"a","size":2}}"#, true),
            (r#"{"room":{"name":"a"}}"#, r#"{"room":{"name":"b"}}"#, false),
            (r#"{"joined":true}"#, r#"{"joined":"true"}"#, false),
            ("{}", "[]", false),
            ("[1]", "[1,2]", false),
            ("hello", "hello", true),
            ("hello", "hello!", false),
            ("hello", r#"{"hello":1}"#, false),
        ] {
            assert_eq!(is_as_expected(expected, heard), is_it, "{expected} {heard}");
        }
    }
}
