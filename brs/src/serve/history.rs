//! What happened to a session in the last hours: for the status page's plot and for metrics.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use brs_core::Event;
use prometheus_client::metrics::histogram::Histogram;

/// How far back it goes.
pub(super) const SPAN: Duration = Duration::from_secs(6 * 3600);
/// How much is kept at most: a session that fails all the time is no reason to grow.
const LONGEST: usize = 512;

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) at: SystemTime,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    /// A new set, and when it ends.
    Fresh(Option<SystemTime>),
    Failed,
    Invalidated,
    Warning(String),
}

/// One session's.
#[derive(Debug)]
pub(super) struct History {
    points: Mutex<VecDeque<Point>>,
    /// By their names, which methods and stores document: there are few.
    warnings: Mutex<BTreeMap<&'static str, u64>>,
    pub(super) succeeded: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) invalidations: AtomicU64,
    /// Seconds since 1970 of the end of a certificate that a warning named; 0: none.
    pub(super) certificate_end: AtomicU64,
    pub(super) durations: Histogram,
}

impl Default for History {
    fn default() -> Self {
        Self {
            points: Mutex::default(),
            warnings: Mutex::default(),
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            invalidations: AtomicU64::new(0),
            certificate_end: AtomicU64::new(0),
            durations: Histogram::new([0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]),
        }
    }
}

impl History {
    pub(super) fn note(&self, event: &Event, now: SystemTime) {
        let add = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        let what = match event {
            Event::RefreshSucceeded {
                expiration,
                duration,
                ..
            } => {
                add(&self.succeeded);
                self.durations.observe(duration.as_secs_f64());
                What::Fresh(*expiration)
            }
            Event::RefreshFailed { duration, .. } => {
                add(&self.failed);
                self.durations.observe(duration.as_secs_f64());
                What::Failed
            }
            Event::Invalidated { .. } => {
                add(&self.invalidations);
                What::Invalidated
            }
            Event::Warning {
                name,
                message,
                details,
            } => {
                if let Some(end) = details.get("not_after") {
                    self.certificate_ends(end);
                }
                *lock(&self.warnings).entry(name).or_default() += 1;
                What::Warning(message.clone())
            }
            _ => return,
        };
        self.put(Point { at: now, what });
    }

    /// The set that a session had before it was watched.
    pub(super) fn found(&self, at: SystemTime, expiration: Option<SystemTime>) {
        self.put(Point {
            at,
            what: What::Fresh(expiration),
        });
    }

    /// What is known of the certificate that the session shows.
    pub(super) fn certificate_ends(&self, iso8601: &str) {
        if let Some(end) = seconds_of(iso8601) {
            self.certificate_end.store(end, Ordering::Relaxed);
        }
    }

    fn put(&self, point: Point) {
        let now = point.at;
        let mut points = lock(&self.points);
        points.push_back(point);
        let is_old = |point: &Point| now.duration_since(point.at).is_ok_and(|age| age > 2 * SPAN);
        while points.len() > LONGEST || points.front().is_some_and(is_old) {
            points.pop_front();
        }
    }

    pub(super) fn points(&self) -> Vec<Point> {
        lock(&self.points).iter().cloned().collect()
    }

    pub(super) fn warnings(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.warnings).clone()
    }

    pub(super) fn last_warning(&self) -> Option<String> {
        lock(&self.points)
            .iter()
            .rev()
            .find_map(|point| match &point.what {
                What::Warning(message) => Some(message.clone()),
                _ => None,
            })
    }
}

fn lock<T>(value: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seconds since 1970 of `2026-01-31T12:00:00Z`, the one form that brs writes.
fn seconds_of(iso8601: &str) -> Option<u64> {
    let (date, time) = iso8601.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, separator| -> Option<[i64; 3]> {
        let parts: Option<Vec<i64>> = text
            .split(separator)
            .map(|part| part.parse().ok())
            .collect();
        parts?.try_into().ok()
    };
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    // Years from March, so that the day that some have more is their last.
    let from_march = (month + 9) % 12;
    let year = year - i64::from(month <= 2);
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * from_march + 2) / 5
        + day
        - 719_469;
    u64::try_from(days * 86_400 + hour * 3600 + minute * 60 + second).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use brs_core::kit::iso8601;

    #[test]
    fn times_that_brs_writes_are_read_back() {
        for seconds in [
            0,
            951_782_400,
            951_868_800,
            1_900_000_000,
            4_107_542_399,
            32_503_679_999,
        ] {
            let text = iso8601(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(seconds_of(&text), Some(seconds), "{text}");
        }
        for text in [
            "",
            "Z",
            "2030-01-01",
            "2030-01-01T00:00Z",
            "x-01-01T00:00:00Z",
        ] {
            assert_eq!(seconds_of(text), None, "{text}");
        }
    }

    #[test]
    fn the_history_is_bounded_in_time_and_in_number() {
        let history = History::default();
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
        for n in 0..2000 {
            history.found(start + Duration::from_secs(n), None);
        }
        assert_eq!(history.points().len(), LONGEST);
        history.found(start + 3 * SPAN, None);
        assert_eq!(history.points().len(), 1);
    }
}
