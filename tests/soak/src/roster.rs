//! Which sessions there are, and what each depends on: what the worker opens and the ledger judges
//! by.

use std::time::Duration;

use crate::schedule::{Millis, SECOND, Track};

/// How long the embedded servers' credentials live.
pub(crate) const LIFETIME: Duration = Duration::from_secs(15);
/// The time limit of a refresh: shorter than what is left of a set when it is due.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(4);
/// The same in the ledger's unit.
pub(crate) const LIFETIME_MS: Millis = 15 * SECOND;
pub(crate) const TIMEOUT_MS: Millis = 4 * SECOND;

/// How a session gets its sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// It asks its source.
    Plain,
    /// With the credentials of another session.
    Chained,
    /// Through a limiter, beside others.
    Pooled,
    /// Through a store that processes share.
    Shared,
}

/// One session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Role {
    pub(crate) name: &'static str,
    /// What its refreshes depend on.
    pub(crate) sources: &'static [Track],
    pub(crate) shape: Shape,
    /// Serves an expired set while its source has a recoverable failure.
    pub(crate) is_stable: bool,
    /// Has a wall clock of its own, which is stepped.
    pub(crate) is_stepped: bool,
    /// The role that it assumes, which tells its calls apart at STS.
    pub(crate) role_arn: Option<&'static str>,
}

const ASSUMED: &[Track] = &[Track::AssumeRole, Track::Road];

const fn role(name: &'static str, sources: &'static [Track]) -> Role {
    Role {
        name,
        sources,
        shape: Shape::Plain,
        is_stable: true,
        is_stepped: false,
        role_arn: None,
    }
}

const fn assumed(name: &'static str, role_arn: &'static str, shape: Shape) -> Role {
    Role {
        shape,
        role_arn: Some(role_arn),
        ..role(name, ASSUMED)
    }
}

const fn stepped(role: Role) -> Role {
    Role {
        is_stepped: true,
        ..role
    }
}

const fn unstable(role: Role) -> Role {
    Role {
        is_stable: false,
        ..role
    }
}

/// The sessions that share through files, and through the fleet's store.
pub(crate) const HOST: Role = assumed("host", "arn:aws:iam::123456789012:role/host", Shape::Shared);
pub(crate) const FLEET: Role = assumed(
    "fleet",
    "arn:aws:iam::123456789012:role/fleet",
    Shape::Shared,
);

/// The sessions of the worker that lives as long as the run.
pub(crate) const MAIN: [Role; 15] = [
    stepped(assumed(
        "sts",
        "arn:aws:iam::123456789012:role/app",
        Shape::Plain,
    )),
    stepped(assumed(
        "chain",
        "arn:aws:iam::123456789012:role/spoke",
        Shape::Chained,
    )),
    stepped(role("session-token", &[Track::SessionToken, Track::Road])),
    stepped(role(
        "web-identity",
        &[Track::WebIdentity, Track::Road, Track::Token],
    )),
    unstable(role("function", &[Track::SessionToken, Track::Road])),
    unstable(role("command", &[Track::Metadata])),
    stepped(role("iot", &[Track::Iot, Track::Line])),
    stepped(unstable(role("anywhere", &[Track::Anywhere, Track::Line]))),
    role("container", &[Track::Metadata]),
    role("imds", &[Track::Metadata]),
    assumed(
        "pool-1",
        "arn:aws:iam::123456789012:role/pool-1",
        Shape::Pooled,
    ),
    assumed(
        "pool-2",
        "arn:aws:iam::123456789012:role/pool-2",
        Shape::Pooled,
    ),
    assumed(
        "pool-3",
        "arn:aws:iam::123456789012:role/pool-3",
        Shape::Pooled,
    ),
    HOST,
    FLEET,
];

/// The sessions of each of the workers that are frozen and killed.
pub(crate) const SIDE: [Role; 3] = [
    assumed(
        "plain",
        "arn:aws:iam::123456789012:role/plain",
        Shape::Plain,
    ),
    HOST,
    FLEET,
];

/// The sessions of a worker.
pub(crate) fn of(is_main: bool) -> &'static [Role] {
    if is_main { &MAIN } else { &SIDE }
}

impl Role {
    /// How often a flight asks the source at most: behind a limiter a flight asks again itself
    /// (`brs-core`, `refresh/flight.rs`: `TRIES`, and `THROTTLED_TRIES` while the source throttles).
    pub(crate) fn tries(&self) -> u64 {
        match self.shape {
            Shape::Pooled => 10,
            _ => 1,
        }
    }

    /// How long a caller waits for one flight at most, in the ledger's unit: on top of another
    /// session its time limit counts too, a limiter makes tries wait for each other, and a shared
    /// session may wait for somebody else's call first, within its own limit.
    pub(crate) fn longest_flight(&self) -> Millis {
        match self.shape {
            Shape::Plain | Shape::Shared => TIMEOUT_MS,
            Shape::Chained => 2 * TIMEOUT_MS,
            Shape::Pooled => 3 * TIMEOUT_MS,
        }
    }
}
