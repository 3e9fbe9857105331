//! One round of `verify`, and the verdict on it.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::client::{Seen, Shared, take_part};
use super::report::{Spread, TableCheck, UnknownAction, VerifyReport, histogram};
use super::terms::{At, Broken, Scale};
use super::{Backstage, TASK};
use crate::aws::connections;
use crate::progress::Reporter;
use crate::websocket::{Endpoint, Socket};

/// API Gateway takes 500 new connections a second in an account (H1); others may want some of them.
const CONNECTS_PER_SECOND: usize = 400;
/// How many handshakes are under way at once: a new account runs ten functions at once, others a thousand (L8).
const CONNECTING: usize = 100;
/// A delivery may wait for a cold start; after so long without any it will not come.
const STALL: Duration = Duration::from_secs(10);
/// How long after the last delivery a second copy is still waited for.
const LINGER: Duration = Duration::from_millis(300);
/// How often it is told how far a round is that takes long.
const TOLD: Duration = Duration::from_secs(3);
/// `$disconnect` is best effort, and takes a moment (H4).
const LEAVING: Duration = Duration::from_secs(10);

pub(super) async fn round(
    reporter: &dyn Reporter,
    endpoint: &Endpoint,
    scale: Scale,
    backstage: Option<&Backstage>,
    deadline: Instant,
) -> Result<VerifyReport, Broken> {
    let mut backstage = backstage;
    let before = look(reporter, &mut backstage).await?;
    let connected = connect(reporter, endpoint, scale, deadline).await?;
    let (sockets, mut handshakes): (Vec<Socket>, Vec<u32>) = connected.into_iter().unzip();

    let shared = Arc::new(Shared::new(scale));
    let leave = watch::Sender::new(false);
    let mut clients = JoinSet::new();
    for (me, socket) in sockets.into_iter().enumerate() {
        let part = take_part(shared.clone(), endpoint.clone(), me, socket, leave.subscribe());
        clients.spawn(async move { (me, part.await) });
    }
    let all = scale.deliveries();
    // One more than the deliveries is waited for: the answer to the message without data.
    let how_far = || format!("{} of {} deliveries", grouped(shared.outstanding().min(all)), grouped(all));
    let cut_short = telling(reporter, how_far, settle(&shared, deadline)).await;
    let after = look(reporter, &mut backstage).await?;

    leave.send_replace(true);
    let mut seen = clients.join_all().await;
    seen.sort_unstable_by_key(|(me, _)| *me);
    let seen: Vec<Seen> = seen.into_iter().map(|(_, seen)| seen).collect();
    if let Some(broken) = shared.broken() {
        return Err(broken.clone());
    }
    judge(scale, &seen).map_err(|broken| {
        let throttled: u64 = seen.iter().map(|seen| seen.throttled).sum();
        let hint = format!("{throttled} messages were throttled; `message-rate` and `message-burst` may be too low");
        Broken { hint: (throttled > 0).then_some(hint), cut_short, ..broken }
    })?;
    let table = match (backstage, before, after) {
        (Some(backstage), Some(before), Some(after)) => {
            let joined = after.difference(&before).cloned().collect();
            gone(reporter, backstage, scale, joined, deadline).await?;
            TableCheck::Clean
        }
        _ => TableCheck::Unchecked,
    };

    handshakes.sort_unstable();
    let mut latencies: Vec<u32> = seen.iter().flat_map(|seen| &seen.latencies).copied().collect();
    latencies.sort_unstable();
    let forbidden = seen.iter().any(|seen| seen.forbidden > 0);
    Ok(VerifyReport {
        clients: scale.clients,
        senders: scale.senders,
        messages: scale.messages,
        deliveries: scale.deliveries(),
        rounds: 1,
        elapsed_ms: 0,
        throttled: seen.iter().map(|seen| seen.throttled).sum(),
        handshake_ms: Spread::of(&handshakes),
        latency_ms: Spread::of(&latencies),
        histogram: histogram(&latencies),
        unknown_action: if forbidden { UnknownAction::Forbidden } else { UnknownAction::Silent },
        table,
        route: None,
    })
}

/// Does `work`, and tells now and then what it still waits for.
async fn telling<T>(reporter: &dyn Reporter, waits_for: impl Fn() -> String, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = sleep(TOLD) => reporter.waiting(TASK, &waits_for()),
        }
    }
}

/// `10,000`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// Connects all clients, not faster than the service takes them; with each, its handshake's microseconds.
async fn connect(
    reporter: &dyn Reporter,
    endpoint: &Endpoint,
    scale: Scale,
    deadline: Instant,
) -> Result<Vec<(Socket, u32)>, Broken> {
    let connected = Cell::new(0);
    let (begun, connected) = (Instant::now(), &connected);
    let client = |me: usize| async move {
        sleep_until(
            begun + Duration::from_secs(1) * u32::try_from(me).unwrap_or(u32::MAX) / CONNECTS_PER_SECOND as u32,
        )
        .await;
        let begun = Instant::now();
        match tokio::time::timeout_at(deadline, endpoint.connect()).await {
            Ok(Ok(socket)) => {
                connected.set(connected.get() + 1);
                Ok((socket, u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX)))
            }
            Ok(Err(error)) => Err(Broken::refused(me, endpoint, &error)),
            Err(_) => {
                let what = format!("client {}: the handshake got no answer before the time was up", me + 1);
                Err(Broken { cut_short: true, ..Broken::at(At::Network, what) })
            }
        }
    };
    let all = scale.clients as u64;
    let how_far = || format!("{} of {} clients to connect", grouped(all.saturating_sub(connected.get())), grouped(all));
    telling(reporter, how_far, stream::iter((0..scale.clients).map(client)).buffered(CONNECTING).try_collect()).await
}

/// Returns when all has been heard, something broke, or nothing more comes; whether the deadline came before that.
async fn settle(shared: &Shared, deadline: Instant) -> bool {
    let mut outstanding = shared.outstanding();
    while outstanding > 0 && shared.broken().is_none() {
        let patience = STALL.min(deadline.saturating_duration_since(Instant::now()));
        let rung = timeout(patience, shared.settled()).await.is_ok();
        let now = shared.outstanding();
        if !rung && (now == outstanding || Instant::now() >= deadline) {
            return patience < STALL;
        }
        outstanding = now;
    }
    sleep(LINGER).await;
    false
}

/// Who is in the table. Where nobody may look, says so once and forgets about the table.
async fn look(reporter: &dyn Reporter, backstage: &mut Option<&Backstage>) -> Result<Option<BTreeSet<String>>, Broken> {
    let Some(Backstage { aws, table, .. }) = *backstage else { return Ok(None) };
    match connections::ids(aws, table).await {
        Ok(ids) => Ok(Some(ids)),
        Err(error) if error.code.starts_with("AccessDenied") => {
            reporter.note(&format!("{TASK}: whether clients leave `{table}` goes unchecked: {}", error.message));
            *backstage = None;
            Ok(None)
        }
        Err(error) => Err(Broken { hint: error.hint, ..Broken::at(At::Network, error.message) }),
    }
}

/// Whether all heard all exactly once, and only the first client the answer to its message without data.
fn judge(scale: Scale, seen: &[Seen]) -> Result<(), Broken> {
    let off = |wrong: fn(u8) -> bool| {
        let pairs = seen.iter().enumerate().flat_map(move |(client, seen)| {
            let messages = seen.times.iter().enumerate().filter(move |(_, times)| wrong(**times));
            messages.map(move |(message, _)| (client, message))
        });
        pairs.collect::<Vec<_>>()
    };
    let of =
        |message: usize| format!("message {} of client {}", message / scale.senders + 1, scale.sender_of(message) + 1);
    let missing = off(|times| times == 0);
    if let Some((client, message)) = missing.first() {
        let (lost, all) = (missing.len(), scale.deliveries());
        let what =
            format!("client {} never received {} ({lost} of {all} deliveries missing)", client + 1, of(*message));
        return Err(Broken::at(At::SendMessage, what));
    }
    let repeated = off(|times| times > 1);
    if let Some((client, message)) = repeated.first() {
        let times = seen[*client].times[*message];
        let what = format!(
            "client {} received {} {times} times ({} of {} deliveries repeated)",
            client + 1,
            of(*message),
            repeated.len(),
            scale.deliveries()
        );
        return Err(Broken::at(At::SendMessage, what));
    }
    // Somebody else's message may look like an answer, but then others receive it too.
    let alone = |text: &String| !seen[1..].iter().any(|seen| seen.errors.contains_key(text));
    // A route `$default` may have answered the action that nobody has, in the same words.
    let most = if seen[0].forbidden == 0 { 2 } else { 1 };
    let what = match seen[0].errors.iter().find(|(text, _)| alone(text)) {
        Some((_, times)) if *times <= most => return Ok(()),
        Some((_, times)) => format!("`sendmessage` without `data` got {times} answers"),
        None if seen[0].errors.is_empty() => {
            "`sendmessage` without `data` got no `{\"chatctl\":{\"error\":…}}`".to_owned()
        }
        None => "the answer to `sendmessage` without `data` went to others too".to_owned(),
    };
    Err(Broken::at(At::SendMessage, what))
}

/// Waits until the clients that left are gone from the table. `joined` are the ids that came while they were connected.
///
/// No client is told its id, and other people come and go meanwhile. So this counts: at least as many ids must have come as there
/// are clients, and as many of those must go.
async fn gone(
    reporter: &dyn Reporter,
    Backstage { aws, table, .. }: &Backstage,
    scale: Scale,
    joined: BTreeSet<String>,
    deadline: Instant,
) -> Result<(), Broken> {
    if joined.len() < scale.clients {
        let what = format!("{} of {} clients were in table `{table}`", joined.len(), scale.clients);
        return Err(Broken::at(At::Connect, what));
    }
    let patience = LEAVING + scale.allowance();
    let (mut fewest, mut enough) = (scale.clients, Instant::now() + patience);
    let mut told = Instant::now();
    let mut pause = Duration::from_millis(100);
    loop {
        let now = connections::ids(aws, table).await.map_err(|error| Broken::at(At::Network, error.message))?;
        let stay = (joined.intersection(&now).count() + scale.clients).saturating_sub(joined.len());
        if stay == 0 {
            return Ok(());
        }
        // As long as they get fewer, it works.
        if stay < fewest {
            (fewest, enough) = (stay, Instant::now() + patience);
        }
        if Instant::now() + pause >= deadline.min(enough) {
            let what = format!("{stay} of {} clients that left are still in table `{table}`", scale.clients);
            let hint = if stay < scale.clients {
                "the function behind `$disconnect` works, but not for everybody within this time; the table's TTL removes the rest"
            } else {
                "the function behind `$disconnect` fails, or API Gateway may not invoke it; the table's TTL removes them"
            };
            let cut_short = deadline < enough;
            return Err(Broken { hint: Some(hint.to_owned()), cut_short, ..Broken::at(At::Disconnect, what) });
        }
        if told.elapsed() >= TOLD {
            told = Instant::now();
            let (stay, all) = (grouped(stay as u64), grouped(scale.clients as u64));
            reporter.waiting(TASK, &format!("{stay} of {all} clients to leave the table"));
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: Scale = Scale { clients: 2, senders: 2, messages: 2 };

    fn seen(times: [u8; 4], errors: &[(&str, u32)]) -> Seen {
        let errors = errors.iter().map(|(text, times)| ((*text).to_owned(), *times)).collect();
        Seen { times: times.to_vec(), errors, ..Seen::default() }
    }

    fn verdict(first: Seen, second: Seen) -> String {
        judge(PAIR, &[first, second]).map_or_else(|broken| broken.what, |()| "well".to_owned())
    }

    #[test]
    fn verdicts_name_who_missed_what() {
        let (all, answer, foreign) = ([1, 1, 1, 1], ("no data", 1), ("a message", 2));
        assert_eq!(verdict(seen(all, &[answer]), seen(all, &[])), "well");
        assert_eq!(verdict(seen(all, &[foreign, answer]), seen(all, &[foreign])), "well");
        assert_eq!(
            verdict(seen(all, &[answer]), seen([1, 0, 1, 0], &[])),
            "client 2 never received message 1 of client 2 (2 of 8 deliveries missing)"
        );
        assert_eq!(
            verdict(seen([1, 1, 3, 1], &[answer]), seen(all, &[])),
            "client 1 received message 2 of client 1 3 times (1 of 8 deliveries repeated)"
        );
        assert_eq!(
            verdict(seen(all, &[]), seen(all, &[])),
            "`sendmessage` without `data` got no `{\"chatctl\":{\"error\":…}}`"
        );
        let twice = ("no data", 2);
        assert_eq!(verdict(seen(all, &[twice]), seen(all, &[])), "well", "`$default` answered as well");
        let forbidden = Seen { forbidden: 1, ..seen(all, &[twice]) };
        assert_eq!(verdict(forbidden, seen(all, &[])), "`sendmessage` without `data` got 2 answers");
        assert_eq!(verdict(seen(all, &[("no data", 3)]), seen(all, &[])), "`sendmessage` without `data` got 3 answers");
        let others = "the answer to `sendmessage` without `data` went to others too";
        assert_eq!(verdict(seen(all, &[answer]), seen(all, &[answer])), others);
    }

    #[test]
    fn large_numbers_are_read_in_groups() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn every_message_has_one_sender() {
        let scale = Scale { clients: 5, senders: 3, messages: 4 };
        let mut all: Vec<_> = (0..5).flat_map(|client| scale.messages_of(client).map(move |m| (m, client))).collect();
        all.sort_unstable();
        assert_eq!(all.len(), scale.total());
        assert!(all.iter().enumerate().all(|(nth, (m, client))| *m == nth && scale.sender_of(*m) == *client));
    }
}
