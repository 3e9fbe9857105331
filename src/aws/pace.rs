//! Keeps a run within Lambda's quotas: what is sent beyond them is refused, and has to be sent again (L8).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Calls a second, and at once when there were none before.
const GET_FUNCTION: u32 = 100;
const GET_POLICY: u32 = 15;
const ALL_OTHERS: u32 = 15;

/// The turns that this run has taken. Other runs in the account take theirs, so that some calls are refused all the same.
#[derive(Default)]
pub struct Pace(Mutex<BTreeMap<&'static str, Instant>>);

impl Pace {
    /// Takes the next turn for a call, and tells how long to wait for it.
    pub fn turn(&self, service: &str, call: &str) -> Duration {
        let (quota, rate) = match (service, call) {
            ("lambda", "GetFunction") => ("GetFunction", GET_FUNCTION),
            ("lambda", "GetPolicy") => ("GetPolicy", GET_POLICY),
            ("lambda", _) => ("", ALL_OTHERS),
            _ => return Duration::ZERO,
        };
        let now = Instant::now();
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // When all that was taken has been given back.
        let full = used.entry(quota).or_insert(now);
        let turn = Duration::from_secs(1) / rate;
        *full = (*full).max(now) + turn;
        full.duration_since(now).saturating_sub(turn * rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_quota_is_used_up_and_no_more() {
        let pace = Pace::default();
        let turns = |count: usize| (0..count).map(|_| pace.turn("lambda", "AddPermission")).collect::<Vec<_>>();
        assert_eq!(turns(15), [Duration::ZERO; 15]);
        let turn = Duration::from_secs(1) / ALL_OTHERS;
        assert_eq!(turns(2), [turn, turn * 2]);
        // Each call has its own, and other services have none that a run comes near to.
        assert_eq!(pace.turn("lambda", "GetPolicy"), Duration::ZERO);
        assert_eq!(pace.turn("iam", "GetRole"), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(turns(16).iter().sum::<Duration>(), turn);
    }
}
