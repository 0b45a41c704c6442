//! Those who use the sessions: one that reads the credentials, and an SDK client that calls a
//! service with them.
//!
//! Answered calls are written down together, by the set that was read and at least once a second;
//! errors are written down one by one.

use std::time::Duration;

use aws_sdk_sts::error::{DisplayErrorContext, ProvideErrorMetadata as _};
use brs::RefreshableSession;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::Recorder;
use super::observe::{self, show};
use super::sessions::Sessions;
use crate::record::{Caller, What};
use crate::schedule::{Millis, SECOND};

const READ_EVERY: Duration = Duration::from_millis(50);
const CALL_EVERY: Duration = Duration::from_millis(500);
const SHOW_EVERY: Duration = Duration::from_secs(5);
/// A caller that got an error asks again after this long.
const AFTER_AN_ERROR: Duration = Duration::from_millis(200);
/// What services answer to sets that are no longer good.
const REJECTIONS: [&str; 4] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidToken",
    "TokenRefreshRequired",
];

/// Starts the callers of all sessions; they end when `stopped` says so, after the call under way.
pub(crate) fn start(
    sessions: &Sessions,
    recorder: &Recorder,
    stopped: &watch::Receiver<bool>,
) -> JoinSet<()> {
    let mut callers = JoinSet::new();
    for (role, session) in sessions.all() {
        let of = |caller| Tally {
            name: role.name,
            caller,
            recorder: recorder.clone(),
            span: None,
        };
        callers.spawn(read(session.clone(), of(Caller::Reader), stopped.clone()));
        callers.spawn(call(session.clone(), of(Caller::Client), stopped.clone()));
        callers.spawn(look(session.clone(), role.name, stopped.clone()));
    }
    callers
}

async fn read(session: RefreshableSession, mut tally: Tally, stopped: watch::Receiver<bool>) {
    let mut ticks = interval(READ_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !*stopped.borrow() {
        ticks.tick().await;
        let began = tally.recorder.now();
        match session.credentials().await {
            Ok(set) => {
                if tally.answered(began, Some(set.access_key_id())) {
                    show(&format!("{}: {set:?}", tally.name));
                }
            }
            Err(error) => {
                show(&observe::shown(&error));
                tally.failed(began, &error.to_string(), false);
                ticks.reset_after(AFTER_AN_ERROR);
            }
        }
    }
    tally.flush();
}

async fn call(session: RefreshableSession, mut tally: Tally, stopped: watch::Receiver<bool>) {
    let client = aws_sdk_sts::Client::new(session.sdk_config());
    let mut ticks = interval(CALL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !*stopped.borrow() {
        ticks.tick().await;
        let began = tally.recorder.now();
        match client.get_caller_identity().send().await {
            Ok(_) => {
                tally.answered(began, None);
            }
            Err(error) => {
                let is_rejection = error.code().is_some_and(|code| REJECTIONS.contains(&code));
                let text = DisplayErrorContext(error).to_string();
                show(&text);
                tally.failed(began, &text, is_rejection);
            }
        }
    }
    tally.flush();
}

/// Shows what a program may show of its session.
async fn look(session: RefreshableSession, name: &'static str, stopped: watch::Receiver<bool>) {
    let mut ticks = interval(SHOW_EVERY);
    let mut stopped = stopped;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
        show(&format!(
            "{name}: {session:?} {:?} {:?} {:?}",
            session.glance(|set| format!("{set:?}")),
            session.status(),
            session.sdk_config()
        ));
    }
}

/// The calls of one caller, as they are written down.
struct Tally {
    name: &'static str,
    caller: Caller,
    recorder: Recorder,
    span: Option<Span>,
}

/// Answered calls one after the other, of one set.
struct Span {
    key: Option<String>,
    from: Millis,
    to: Millis,
    calls: u64,
    longest: Millis,
}

impl Tally {
    /// Tells whether a new span began.
    fn answered(&mut self, began: Millis, key: Option<&str>) -> bool {
        let now = self.recorder.now();
        let goes_on = self
            .span
            .as_ref()
            .is_some_and(|span| span.key.as_deref() == key && now < span.from + SECOND);
        if !goes_on {
            self.flush();
        }
        let span = self.span.get_or_insert_with(|| Span {
            key: key.map(str::to_owned),
            from: now,
            to: now,
            calls: 0,
            longest: 0,
        });
        span.to = now;
        span.calls += 1;
        span.longest = span.longest.max(now - began);
        !goes_on
    }

    fn failed(&mut self, began: Millis, text: &str, is_rejection: bool) {
        self.flush();
        let what = What::Failed {
            caller: self.caller,
            began,
            text: observe::shortened(text),
            is_rejection,
        };
        self.recorder.write(self.name, what);
    }

    fn flush(&mut self) {
        if let Some(span) = self.span.take() {
            let what = What::Answered {
                caller: self.caller,
                key: span.key,
                from: span.from,
                calls: span.calls,
                longest: span.longest,
            };
            self.recorder.write_at(self.name, span.to, what);
        }
    }
}
