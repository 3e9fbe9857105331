//! The wall clock of the model: a fixed epoch and the age of the world, which tokio's time adds to.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_smithy_async::time::TimeSource;
use tokio::time::Instant;

/// 24 November 2026, 12:00:00 UTC, in seconds since 1970.
pub(crate) const EPOCH: u64 = 1_795_521_600;

/// A time in the model: how long after the world began.
pub type Moment = Duration;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    age: Moment,
    since: Instant,
}

impl Clock {
    /// Goes on from `age` as from now.
    pub fn start(age: Moment) -> Self {
        Self { age, since: Instant::now() }
    }

    pub fn now(&self) -> Moment {
        self.age + self.since.elapsed()
    }
}

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(EPOCH) + Clock::now(self)
    }
}

/// Whole seconds since 1970, which is all the resolution that creation dates have.
pub(crate) fn unix_seconds(at: Moment) -> u64 {
    EPOCH + at.as_secs()
}

struct Civil {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    weekday: usize,
}

fn civil(at: Moment) -> Civil {
    let seconds = unix_seconds(at);
    let days = seconds / 86_400;
    // Howard Hinnant's civil-from-days, for dates after 1970 only.
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    Civil {
        year: yoe + era * 400 + u64::from(month <= 2),
        month,
        day: doy - (153 * mp + 2) / 5 + 1,
        hour: seconds / 3_600 % 24,
        minute: seconds / 60 % 60,
        second: seconds % 60,
        weekday: usize::try_from((days + 4) % 7).unwrap_or_default(),
    }
}

fn date_and_time(at: Moment) -> String {
    let c = civil(at);
    let mut text = String::with_capacity(29);
    let _ = write!(text, "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", c.year, c.month, c.day, c.hour, c.minute, c.second);
    text
}

/// `2026-11-24T12:00:00Z`
pub(crate) fn iso(at: Moment) -> String {
    date_and_time(at) + "Z"
}

/// `2026-11-24T12:00:00.000+0000`, Lambda's own format.
pub(crate) fn lambda_date(at: Moment) -> String {
    date_and_time(at) + ".000+0000"
}

/// `Tue, 24 Nov 2026 12:00:00 GMT`, for the `date` header.
pub(crate) fn http_date(at: Moment) -> String {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let c = civil(at);
    let month = MONTHS[usize::try_from(c.month - 1).unwrap_or_default()];
    format!("{}, {:02} {month} {} {:02}:{:02}:{:02} GMT", DAYS[c.weekday], c.day, c.year, c.hour, c.minute, c.second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_aws_writes_them() {
        assert_eq!(iso(Duration::ZERO), "2026-11-24T12:00:00Z");
        assert_eq!(http_date(Duration::from_secs(43_200)), "Wed, 25 Nov 2026 00:00:00 GMT");
        assert_eq!(lambda_date(Duration::from_millis(1_999)), "2026-11-24T12:00:01.000+0000");
    }
}
