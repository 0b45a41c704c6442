//! What the engine's tests share: a session around a scripted strategy on a manual clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use brs_core::test_util::{ManualClock, Scripted, Step};
use brs_core::{Error, Event, Events, RefreshableSession, SessionBuilder};
use futures_util::FutureExt;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
/// Inside the advisory window of a set that lives an hour (15 min), the random part included.
pub(crate) const ADVISORY: Duration = Duration::from_secs(2700);
/// Inside its mandatory window (60 s).
pub(crate) const MANDATORY: Duration = Duration::from_secs(3545);

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_900_000_000)
}

pub(crate) fn clock() -> ManualClock {
    ManualClock::new(start())
}

pub(crate) fn hourly() -> Scripted {
    Scripted::always(Step::Fresh(HOUR))
}

pub(crate) fn builder(strategy: &Scripted, clock: &ManualClock) -> SessionBuilder {
    RefreshableSession::with_strategy(strategy.shared())
        .clock(clock.clone())
        .seed(7)
}

pub(crate) async fn session(strategy: &Scripted, clock: &ManualClock) -> RefreshableSession {
    builder(strategy, clock).build().await.unwrap()
}

/// The key of what `credentials()` gives; it must be ready at its first poll.
pub(crate) fn at_once(session: &RefreshableSession) -> Result<String, Error> {
    let ready = session
        .credentials()
        .now_or_never()
        .expect("`credentials()` is ready at its first poll");
    ready.map(|set| set.access_key_id().to_owned())
}

pub(crate) async fn key(session: &RefreshableSession) -> String {
    session
        .credentials()
        .await
        .unwrap()
        .access_key_id()
        .to_owned()
}

pub(crate) fn key_number(number: usize) -> String {
    format!("ASIASCRIPTED{number:08}")
}

/// Waits for the next event that `pick` wants.
pub(crate) async fn next<T>(events: &mut Events, pick: impl Fn(&Event) -> Option<T>) -> T {
    loop {
        let event = events.next().await.expect("the session lives");
        if let Some(picked) = pick(&event) {
            return picked;
        }
    }
}

pub(crate) async fn failed(events: &mut Events) -> Error {
    next(events, |event| match event {
        Event::RefreshFailed { error, .. } => Some(error.clone()),
        _ => None,
    })
    .await
}

pub(crate) async fn succeeded(events: &mut Events) -> String {
    next(events, |event| match event {
        Event::RefreshSucceeded { access_key_id, .. } => Some(access_key_id.clone()),
        _ => None,
    })
    .await
}

/// What has been told so far.
pub(crate) fn so_far(events: &mut Events) -> Vec<Event> {
    // Unconstrained: what is there is to be read, however often the task has polled already.
    std::iter::from_fn(|| {
        tokio::task::unconstrained(events.next())
            .now_or_never()
            .flatten()
    })
    .collect()
}

pub(crate) fn dead() -> Error {
    Error::connection("the source is dead")
}

pub(crate) fn denied() -> Error {
    Error::request("access denied")
        .unrecoverable()
        .with_status(403)
}
