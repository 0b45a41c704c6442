//! What workers write down, a line of JSON each, and what the conductor tells them.
//!
//! Times are milliseconds since the start of the run on the machine's monotonic clock, which all
//! processes share. Nothing in a record is a secret; the ledger checks that too.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use brs::{Clock as _, SystemClock};
use serde::{Deserialize, Serialize};

use crate::schedule::Millis;

/// One line of a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The session's or the MQTT connection's name; empty: the worker's own.
    pub(crate) of: String,
    pub(crate) at: Millis,
    pub(crate) what: What,
}

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Caller {
    /// Asks for the credentials.
    Reader,
    /// An SDK client that calls a service with them.
    Client,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum What {
    /// Calls that were answered, since `from`; all readers among them got the set `key`.
    Answered {
        caller: Caller,
        key: Option<String>,
        from: Millis,
        calls: u64,
        longest: Millis,
    },
    /// A call ended in an error.
    Failed {
        caller: Caller,
        began: Millis,
        text: String,
        /// A service's answer that says that the set is expired or invalid.
        is_rejection: bool,
    },
    /// The engine started a refresh.
    Started {
        reason: String,
    },
    /// A refresh brought a set.
    Got {
        key: String,
        expires: Option<Millis>,
        took: Millis,
    },
    /// A refresh failed.
    Refused {
        text: String,
        took: Millis,
        next_try: Option<Millis>,
        is_for_a_person: bool,
    },
    /// A set was declared unusable.
    Invalidated {
        key: String,
    },
    /// A rejection came too soon after the one before.
    PassedOver {
        key: String,
        until: Millis,
    },
    /// The recorder was too slow: the ledger would be wrong.
    Missed {
        count: u64,
    },
    /// The source was asked; `key` if it gave a set.
    Asked {
        began: Millis,
        key: Option<String>,
    },
    /// The wall clock of the sessions that have one of their own was stepped.
    Stepped {
        seconds: i64,
    },
    /// Messages were published, acknowledged, received, or failed: the first and the last number.
    Published {
        first: u64,
        last: u64,
    },
    Acknowledged {
        first: u64,
        last: u64,
    },
    Received {
        first: u64,
        last: u64,
    },
    Lost {
        number: u64,
        text: String,
    },
    /// At the end: whether a caller would get a valid set without waiting.
    Ready {
        is_ready: bool,
    },
    /// The worker has ended all calls, and itself.
    Ended,
}

/// What a worker is told to do, a line of JSON each.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    Step {
        seconds: i64,
    },
    /// There are no more faults: say when all sessions are ready again, and end.
    Finish,
}

/// The settings of a worker: the first line that it reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) is_main: bool,
    pub(crate) start: Start,
    /// Where SDK clients call, and where sources of STS are asked.
    pub(crate) endpoint: String,
    pub(crate) source_endpoint: String,
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    pub(crate) iot_endpoint: String,
    pub(crate) anywhere: Anywhere,
    pub(crate) trust_store: String,
    pub(crate) instance_url: String,
    pub(crate) task_url: String,
    /// Holds the device's and the token's files.
    pub(crate) files: PathBuf,
    pub(crate) cache: PathBuf,
    pub(crate) fleet: Option<Fleet>,
    pub(crate) broker: Option<Broker>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Anywhere {
    pub(crate) endpoint: String,
    pub(crate) trust_anchor_arn: String,
    pub(crate) profile_arn: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Fleet {
    pub(crate) url: String,
    pub(crate) seal_keys: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Broker {
    pub(crate) by_certificate: String,
    pub(crate) by_signature: String,
}

/// The start of the run, on both clocks.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    monotonic: Millis,
    wall: Millis,
}

impl Start {
    pub(crate) fn now() -> Self {
        let clock = SystemClock::new();
        Self {
            monotonic: millis(clock.monotonic()),
            wall: since_epoch(clock.now()),
        }
    }

    /// Milliseconds since the start.
    pub(crate) fn elapsed(self) -> Millis {
        millis(SystemClock::new().monotonic()).saturating_sub(self.monotonic)
    }

    /// An instant of the machine's wall clock; zero: before the start.
    pub(crate) fn of_wall(self, instant: SystemTime) -> Millis {
        since_epoch(instant).saturating_sub(self.wall)
    }
}

pub(crate) fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

fn since_epoch(instant: SystemTime) -> Millis {
    millis(instant.duration_since(UNIX_EPOCH).unwrap_or_default())
}
