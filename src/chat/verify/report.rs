//! What `verify` found when all was well, for people and for machines.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// A verified chat in numbers.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyReport {
    pub clients: usize,
    pub senders: usize,
    /// Messages that each sender sent.
    pub messages: usize,
    /// Messages received, each exactly once by everybody: `clients` × `senders` × `messages`.
    pub deliveries: u64,
    /// How often it was tried; more than 1 while permissions spread.
    pub rounds: u32,
    pub elapsed_ms: u64,
    /// How often the service refused a message for its throttle; each was sent again until it was taken.
    pub throttled: u64,
    /// From the start of connecting to the end of the handshake.
    pub handshake_ms: Spread,
    /// From sending to receiving, of each delivery, by one monotonic clock.
    pub latency_ms: Spread,
    pub histogram: Vec<Bucket>,
    pub unknown_action: UnknownAction,
    pub table: TableCheck,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Answered>,
}

/// A route of one's own that answered as expected.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    pub route: String,
    /// From sending the message to hearing the answer.
    pub answer_ms: f64,
}

/// The distribution of a time, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub max: f64,
}

/// How many deliveries took at most `up_to_ms`, but longer than the bucket before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bucket {
    pub up_to_ms: f64,
    pub count: usize,
}

/// What the service says to an action that has no route. Both are healthy (H8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownAction {
    Forbidden,
    Silent,
}

/// Whether clients that left are gone from the connection table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TableCheck {
    Clean,
    /// Nobody could or may look.
    Unchecked,
}

/// Times of at most this many microseconds go into one bucket; what takes longer goes into a last one.
const BUCKETS: [u32; 14] = [
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    u32::MAX,
];
const BAR: usize = 40;

impl Spread {
    /// Of times in microseconds, in ascending order; of none all is 0.
    pub(super) fn of(sorted: &[u32]) -> Self {
        // The nearest-rank definition: the smallest time that at least this share of all do not exceed.
        let share = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100);
            sorted.get(rank.saturating_sub(1)).map_or(0.0, |us| f64::from(*us) / 1000.0)
        };
        Self { p50: share(50), p90: share(90), p99: share(99), max: share(100) }
    }
}

/// The buckets from the first to the last that is not empty, of times as for [`Spread::of`].
pub(super) fn histogram(sorted: &[u32]) -> Vec<Bucket> {
    let mut below = 0;
    let mut buckets = Vec::new();
    for limit in BUCKETS {
        let upto = sorted.partition_point(|us| *us <= limit);
        if upto > 0 && below < sorted.len() {
            let up_to_ms = f64::from(limit.min(sorted.last().copied().unwrap_or_default().max(10_000_000))) / 1000.0;
            buckets.push(Bucket { up_to_ms, count: upto - below });
        }
        below = upto;
    }
    buckets
}

/// Whole milliseconds.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {:.1} ms  p90 {:.1} ms  p99 {:.1} ms  max {:.1} ms", self.p50, self.p90, self.p99, self.max)
    }
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |n: usize, what: &str| if n == 1 { format!("{n} {what}") } else { format!("{n} {what}s") };
        let (clients, messages) = (plural(self.clients, "client"), plural(self.senders * self.messages, "message"));
        let tries = if self.rounds == 1 { String::new() } else { format!(" (at try {})", self.rounds) };
        let deliveries = if self.deliveries == 1 { "1 delivery" } else { &format!("{} deliveries", self.deliveries) };
        writeln!(f, "{clients}, {messages}, {deliveries}, each exactly once{tries}")?;
        writeln!(f, "handshake  {}", self.handshake_ms)?;
        writeln!(f, "latency    {}", self.latency_ms)?;
        if self.throttled > 0 {
            writeln!(f, "throttled  {} messages at first, not counted in the latency", self.throttled)?;
        }
        if let Some(Answered { route, answer_ms }) = &self.route {
            writeln!(f, "route      {route} answered as expected in {answer_ms:.1} ms")?;
        }
        let most = self.histogram.iter().map(|bucket| bucket.count).max().unwrap_or_default().max(1);
        for bucket in &self.histogram {
            // A bucket with anything in it shows.
            let bar = "▇".repeat((bucket.count * BAR).div_ceil(most));
            let line = format!("  ≤ {:>6} ms  {bar} {}", bucket.up_to_ms.ceil(), bucket.count);
            writeln!(f, "{}", if bucket.count == 0 { line.trim_end_matches(" 0").trim_end() } else { &line })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let times: Vec<u32> = (1..=100).map(|ms| ms * 1000).collect();
        assert_eq!(Spread::of(&times), Spread { p50: 50.0, p90: 90.0, p99: 99.0, max: 100.0 });
        assert_eq!(Spread::of(&[7_500]), Spread { p50: 7.5, p90: 7.5, p99: 7.5, max: 7.5 });
        assert_eq!(Spread::of(&[]).max, 0.0);
    }

    #[test]
    fn numbers_are_as_people_say_them() {
        let spread = Spread::of(&[18_416_823]);
        let report = VerifyReport {
            clients: 1,
            senders: 1,
            messages: 1,
            deliveries: 1,
            rounds: 1,
            handshake_ms: spread,
            latency_ms: spread,
            histogram: histogram(&[18_416_823]),
            elapsed_ms: 1,
            throttled: 0,
            unknown_action: UnknownAction::Forbidden,
            table: TableCheck::Clean,
            route: None,
        };
        let text = report.to_string();
        assert!(text.starts_with("1 client, 1 message, 1 delivery, each exactly once\n"), "{text}");
        assert!(text.contains("\n  ≤  18417 ms  ▇"), "{text}");
        let text = VerifyReport { clients: 2, senders: 2, deliveries: 4, rounds: 3, ..report }.to_string();
        assert!(text.starts_with("2 clients, 2 messages, 4 deliveries, each exactly once (at try 3)\n"), "{text}");
    }

    #[test]
    fn buckets_hold_every_time_once_and_begin_and_end_full() {
        let buckets = histogram(&[900, 4_000, 4_500, 40_000]);
        let counts: Vec<_> = buckets.iter().map(|b| (b.up_to_ms, b.count)).collect();
        assert_eq!(counts, [(1.0, 1), (2.0, 0), (5.0, 2), (10.0, 0), (20.0, 0), (50.0, 1)]);
        let slow = histogram(&[12_000_000]);
        assert_eq!(slow, [Bucket { up_to_ms: 12_000.0, count: 1 }]);
        assert_eq!(histogram(&[]), []);
    }
}
