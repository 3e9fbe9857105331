//! Waiting for something that AWS works on: by short looks of our own, not by the SDK's waiters, whose steps are 20 s (D5).

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::aws::failure::{Failure, Operation};
use crate::engine::key::Key;
use crate::engine::run::Ctx;
use crate::error::Code;

/// What is waited for, and how long.
#[derive(Clone, Copy)]
pub struct Wait {
    /// The look that is repeated.
    pub look: Operation,
    pub step: Duration,
    pub budget: Duration,
    /// What is said when it takes longer: `the table has not settled in time`.
    pub too_long: &'static str,
}

impl Wait {
    pub fn timeout(self, key: &Key) -> Failure {
        Failure::ours(self.look, &key.to_string(), Code::Timeout, self.too_long)
    }
}

impl Ctx {
    /// Looks until it is so.
    ///
    /// # Errors
    /// That of a look; a timeout; the interrupt.
    pub async fn until<R>(&self, key: &Key, wait: Wait, is_so: impl Fn() -> R + Send) -> Result<(), Failure>
    where
        R: Future<Output = Result<bool, Failure>> + Send,
    {
        let begun = Instant::now();
        while !is_so().await? {
            if begun.elapsed() > wait.budget {
                return Err(wait.timeout(key));
            }
            if !self.pause(wait.step).await {
                return Err(Failure::interrupted(wait.look, &key.to_string()));
            }
        }
        Ok(())
    }

    /// What the first look shows that shows something, within some seconds: for what is wanted no more, and perhaps too
    /// young to be seen. What tells of it goes with this run, so that none after this would look. What this run has removed
    /// itself is not waited for, nor what `is_wanted`.
    ///
    /// # Errors
    /// That of a look.
    pub async fn at_last<T, R>(
        &self,
        key: &Key,
        is_wanted: bool,
        look: impl Fn() -> R + Send,
    ) -> Result<Option<T>, Failure>
    where
        T: Send,
        R: Future<Output = Result<Option<T>, Failure>> + Send,
    {
        const SIGHT: Duration = Duration::from_secs(4);
        let once = is_wanted || self.run.book.all_removed().iter().any(|found| found.key == *key);
        let begun = Instant::now();
        loop {
            let seen = look().await?;
            if seen.is_some() || once || begun.elapsed() > SIGHT || !self.pause(Duration::from_millis(450)).await {
                return Ok(seen);
            }
        }
    }
}
