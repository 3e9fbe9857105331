//! How long a run may take: one limit around whatever its verb does.

use std::future::{Future, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::error::{Code, Error, Result};

/// When a run ends at the latest.
#[derive(Clone, Debug)]
pub struct Deadline {
    limit: Duration,
    at: Instant,
    lifted: Arc<AtomicBool>,
}

impl Deadline {
    /// `limit` from now on.
    pub fn after(limit: Duration) -> Self {
        Self { limit, at: Instant::now() + limit, lifted: Arc::default() }
    }

    /// From now on there is no limit: what goes on until somebody has had enough has begun.
    pub fn lift(&self) {
        self.lifted.store(true, Ordering::Relaxed);
    }

    /// Does `work`, or gives it up when the time is over.
    ///
    /// # Errors
    /// Those of `work`; `Deadline`.
    pub async fn bound<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.passed() => {
                let limit = humantime::format_duration(self.limit);
                Err(Error::failed(Code::Deadline, format!("not done within {limit}"))
                    .hint("run the same command again; `--timeout` gives it longer"))
            }
        }
    }

    async fn passed(&self) {
        sleep_until(self.at).await;
        if self.lifted.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
    }
}
