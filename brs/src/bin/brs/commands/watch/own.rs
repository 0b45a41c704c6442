//! Sessions of this process, kept fresh as programs would keep them.

use std::time::Duration;

use brs::{Clock as _, Error, RefreshStatus, SystemClock};

use super::table::{Row, State};
use crate::args::SessionChoice;
use crate::exit::Failure;
use crate::open::{Context, How, Opened};

/// How often a session is asked, at least and at most.
const ASKS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

pub(super) struct Own(Vec<Opened>);

impl Own {
    pub(super) async fn open(names: &[String], cx: &Context) -> Result<Self, Failure> {
        let mut sessions = Vec::new();
        for name in names {
            let how = How {
                unattended: true,
                ..How::default()
            };
            let opened = cx.open_with(&SessionChoice::named(name), how).await?;
            tokio::spawn(use_it(opened.clone()));
            sessions.push(opened);
        }
        Ok(Self(sessions))
    }

    pub(super) fn rows(&self) -> Vec<Row> {
        let now = SystemClock::new().now();
        self.0
            .iter()
            .map(|opened| row(&opened.name, &opened.session.status(), now))
            .collect()
    }
}

/// Asks for credentials again and again.
async fn use_it(opened: Opened) {
    let clock = opened.session.clock();
    loop {
        let wait = match opened.session.credentials().await {
            Ok(set) => {
                let left = set
                    .expiration()
                    .map(|at| at.duration_since(clock.now()).unwrap_or_default());
                left.map_or(ASKS.1, |left| left / 8)
            }
            Err(error) => {
                let allowed = error.refresh_allowed_at();
                allowed
                    .and_then(|at| at.duration_since(clock.now()).ok())
                    .unwrap_or(ASKS.1)
            }
        };
        clock.sleep(wait.clamp(ASKS.0, ASKS.1)).await;
    }
}

fn row(name: &str, status: &RefreshStatus, now: std::time::SystemTime) -> Row {
    let left = status
        .expiration()
        .map(|at| at.duration_since(now).unwrap_or_default());
    let error = status.last_error();
    let is_usable = status.access_key_id().is_some() && left.is_none_or(|left| !left.is_zero());
    let state = match (is_usable, error) {
        (true, None) => State::Ready,
        (true, Some(_)) => State::Failing,
        (false, None) => State::Starting,
        (false, Some(error)) if error.is_unrecoverable() => State::NeedsPerson,
        (false, Some(_)) => State::NoCredentials,
    };
    let lifetime = status.last_success().zip(status.expiration());
    Row {
        name: name.to_owned(),
        method: status.method().to_owned(),
        state,
        left: left.map(|left| left.as_secs()),
        lifetime: lifetime
            .and_then(|(from, to)| to.duration_since(from).ok())
            .map(|lifetime| lifetime.as_secs()),
        refreshes: status.refreshes(),
        failures: u64::from(status.consecutive_failures()),
        error: error.map(Error::to_string),
    }
}
