//! What the status page shows, as data: `/status.json`. Holds no secret.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use brs_core::{Error, Recovery};
use serde::Serialize;

use super::answer::to_seconds;
use super::assume::Assuming;
use super::consumer::Client;
use super::history::{Point, What};
use super::kept::Kept;
use super::shared::Shared;
use super::tally::Tally;

/// A server at one moment.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    pub(super) version: &'static str,
    pub(super) now: String,
    pub(super) started: String,
    pub(super) addresses: Vec<String>,
    pub(super) waiting_requests: usize,
    pub(super) sessions: Vec<Session>,
    pub(super) consumers: Vec<Consumer>,
    pub(super) pools: Vec<Pool>,
    #[serde(skip)]
    pub(super) at: SystemTime,
}

#[derive(Debug, Serialize)]
pub(super) struct Session {
    pub(super) name: String,
    pub(super) method: &'static str,
    pub(super) role_arn: Option<String>,
    pub(super) region: Option<String>,
    pub(super) access_key_id: Option<String>,
    pub(super) expiration: Option<String>,
    pub(super) left_seconds: Option<u64>,
    pub(super) lifetime_seconds: Option<u64>,
    pub(super) state: State,
    pub(super) is_ready: bool,
    pub(super) is_refreshing: bool,
    pub(super) is_serving_expired: bool,
    pub(super) asks_a_person: bool,
    pub(super) refreshes: u64,
    pub(super) failures: u64,
    pub(super) consecutive_failures: u32,
    pub(super) last_success: Option<String>,
    pub(super) next_try: Option<String>,
    pub(super) last_error: Option<Failure>,
    pub(super) last_warning: Option<String>,
    pub(super) certificate_not_after_seconds: Option<u64>,
    pub(super) history: Vec<Happened>,
    #[serde(skip)]
    pub(super) points: Vec<Point>,
}

/// In one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Ready,
    /// Ready, but the source fails.
    Failing,
    /// The first set is being fetched.
    Starting,
    NoCredentials,
    NeedsPerson,
}

impl State {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Failing => "source fails",
            Self::Starting => "starting",
            Self::NoCredentials => "no credentials",
            Self::NeedsPerson => "needs a person",
        }
    }

    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Ready => "good",
            Self::Failing | Self::Starting => "warn",
            Self::NoCredentials | Self::NeedsPerson => "bad",
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Failure {
    pub(super) kind: String,
    pub(super) code: Option<String>,
    /// What went wrong and what to do.
    pub(super) message: String,
    pub(super) needs_person: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Happened {
    pub(super) at: String,
    pub(super) what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expiration: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Consumer {
    pub(super) name: String,
    pub(super) sessions: Vec<String>,
    pub(super) may_use_all: bool,
    pub(super) token_file: Option<String>,
    pub(super) requests: u64,
    pub(super) by_code: BTreeMap<u16, u64>,
    pub(super) last_request: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Pool {
    pub(super) from: String,
    pub(super) sessions: usize,
    pub(super) idle: usize,
    pub(super) refreshing: usize,
    pub(super) awaited: usize,
    pub(super) unattended: usize,
    pub(super) throttled: u64,
}

impl Status {
    pub(super) fn of(shared: &Shared) -> Self {
        let (offer, now) = (shared.offer(), shared.clock.now());
        let mut consumers: Vec<_> = offer
            .clients
            .iter()
            .map(|client| consumer(client))
            .collect();
        let (none, metadata) = (&shared.anonymous, &shared.metadata);
        for (name, tally) in [
            ("(without a token)", none),
            ("(metadata service)", metadata),
        ] {
            if tally.last().is_some() {
                consumers.push(counted(name.to_owned(), tally));
            }
        }
        Self {
            version: env!("CARGO_PKG_VERSION"),
            now: to_seconds(now),
            started: to_seconds(shared.started),
            addresses: shared.addresses.iter().map(ToString::to_string).collect(),
            waiting_requests: shared.waiters.load(std::sync::atomic::Ordering::Relaxed),
            sessions: offer.sessions.values().map(|kept| session(kept)).collect(),
            consumers,
            pools: offer.assume.iter().map(|rule| pool(rule)).collect(),
            at: now,
        }
    }
}

fn session(kept: &Kept) -> Session {
    use std::sync::atomic::Ordering::Relaxed;
    let (status, now) = (kept.session.status(), kept.clock().now());
    let left = |end: SystemTime| end.duration_since(now).unwrap_or_default().as_secs();
    let points = kept.history.points();
    let is_ready = kept.is_ready();
    let error = status.last_error();
    let needs_person = error.is_some_and(Error::is_unrecoverable) || kept.is_interactive;
    let state = match (is_ready, error) {
        (true, None) => State::Ready,
        (true, Some(_)) => State::Failing,
        (false, _) if !kept.has_begun() => State::Starting,
        (false, _) if needs_person => State::NeedsPerson,
        (false, _) => State::NoCredentials,
    };
    let certificate = kept.history.certificate_end.load(Relaxed);
    let region = kept.session.sdk_config().region();
    Session {
        name: kept.name.clone(),
        method: status.method(),
        role_arn: kept.role_arn.clone(),
        region: region.map(|region| region.as_ref().to_owned()),
        access_key_id: status.access_key_id().map(str::to_owned),
        expiration: status.expiration().map(to_seconds),
        left_seconds: status.expiration().map(left),
        lifetime_seconds: kept.lifetime().map(|lifetime| lifetime.as_secs()),
        state,
        is_ready,
        is_refreshing: status.is_refreshing(),
        is_serving_expired: status.is_serving_expired(),
        asks_a_person: kept.is_interactive,
        refreshes: status.refreshes(),
        failures: kept.history.failed.load(Relaxed),
        consecutive_failures: status.consecutive_failures(),
        last_success: status.last_success().map(to_seconds),
        next_try: status.refresh_allowed_at().map(to_seconds),
        last_error: error.map(failure),
        last_warning: kept.history.last_warning(),
        certificate_not_after_seconds: Some(certificate).filter(|end| *end > 0),
        history: points.iter().map(happened).collect(),
        points,
    }
}

fn failure(error: &Error) -> Failure {
    Failure {
        kind: error.kind().to_string(),
        code: error.code().map(str::to_owned),
        message: error.to_string(),
        needs_person: error.recovery() == Recovery::Person,
    }
}

fn happened(point: &Point) -> Happened {
    let (what, expiration, message) = match &point.what {
        What::Fresh(expiration) => ("refresh_succeeded", expiration.map(to_seconds), None),
        What::Failed => ("refresh_failed", None, None),
        What::Invalidated => ("invalidated", None, None),
        What::Warning(message) => ("warning", None, Some(message.clone())),
    };
    Happened {
        at: to_seconds(point.at),
        what,
        expiration,
        message,
    }
}

fn consumer(client: &Client) -> Consumer {
    let file = client.token_file.as_ref();
    Consumer {
        sessions: client.named().iter().cloned().collect(),
        may_use_all: client.may_use_all(),
        token_file: file.map(|file| file.path().display().to_string()),
        ..counted(client.name.to_string(), &client.tally)
    }
}

fn counted(name: String, tally: &Tally) -> Consumer {
    let mut by_code = BTreeMap::new();
    for (_, code, count) in tally.counts() {
        *by_code.entry(code).or_default() += count;
    }
    let at = |seconds| to_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    Consumer {
        name,
        sessions: Vec::new(),
        may_use_all: false,
        token_file: None,
        requests: by_code.values().sum(),
        by_code,
        last_request: tally.last().map(at),
    }
}

fn pool(rule: &Assuming) -> Pool {
    let status = rule.status();
    Pool {
        from: rule.from.clone(),
        sessions: status.sessions,
        idle: status.idle,
        refreshing: status.refreshing,
        awaited: status.awaited,
        unattended: status.unattended,
        throttled: status.throttled,
    }
}
