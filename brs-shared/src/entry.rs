//! What a store keeps under a key: one credential set, and the last failure.
//!
//! An entry is JSON of at most 64 KiB, the same in every store. It comes from outside, so reading
//! it never panics, and what is wrong with it is named without any of its content. This module
//! decides whether a set in a store is good for a refresh ([`Entry::usable`]), what is left to give
//! if the source fails ([`Entry::fallback`]), which failures others are told ([`is_of_source`]) and
//! whether one still holds ([`Entry::holding`]); it does no I/O.
//!
//! Generations: each write of an entry has a higher one than every entry of the key that its writer
//! has seen, and than the writes before it ([`Generations`]). An entry with a lower one than this
//! process has seen was put back by somebody, and counts as absent.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use brs_core::kit::{default_advisory_window, fitting_window, slack};
use brs_core::{Error, ErrorKind, Recovery, RefreshContext, RefreshReason, TemporaryCredentials};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::key::Key;

mod failures;
mod generations;
mod owner;
#[cfg(test)]
mod tests;
mod unusable;

pub(crate) use failures::{Holds, is_of_source};
pub(crate) use generations::Generations;
pub(crate) use owner::Owner;
pub(crate) use unusable::Unusable;

/// A longer entry is not brs's.
pub(crate) const MAX_BYTES: usize = 64 * 1024;

/// The version of the format that this module writes, and the only one it reads.
const VERSION: u64 = 1;

/// A longer text of a failure is cut, in characters: it has a remedy to name, no story to tell.
const MAX_TEXT: usize = 2000;

/// A set with less left is not handed to anybody.
const LEAST_LEFT: Duration = Duration::from_secs(5);

/// How far a writer's clock may be ahead of the reader's.
const SKEW: Duration = Duration::from_secs(60);

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What a store keeps under a key.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Higher at each write.
    pub(crate) generation: u64,
    pub(crate) writer: Owner,
    pub(crate) set: Option<StoredSet>,
    /// The last failure; `None` after a success.
    pub(crate) failure: Option<Failure>,
}

/// One credential set. Its `Debug` is that of the credentials, which shows no secret.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredSet {
    pub(crate) credentials: TemporaryCredentials,
    /// When the source gave it, by the writer's clock.
    pub(crate) obtained: SystemTime,
    /// How long the source took.
    pub(crate) took: Duration,
    /// A service has rejected it.
    pub(crate) invalidated: bool,
}

/// The last failure of the source.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    message: String,
    kind: ErrorKind,
    recovery: Recovery,
    code: Option<String>,
    status: Option<u16>,
    /// Refreshes that failed since the last success, this one included.
    count: u32,
    /// Until when nobody else asks.
    pub(crate) until: SystemTime,
}

/// What a refresh needs of a set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) reason: RefreshReason,
    pub(crate) previous_access_key_id: Option<&'a str>,
    pub(crate) own: Own,
    pub(crate) now: SystemTime,
}

/// The caller's own set, which no set that expires earlier replaces.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Own {
    /// There is none, or it was rejected.
    Absent,
    Until(SystemTime),
    Endless,
}

impl<'a> Wanted<'a> {
    /// What this refresh needs, now.
    pub(crate) fn of(cx: &'a RefreshContext) -> Self {
        let own = match (cx.previous_access_key_id(), cx.previous_expiration()) {
            _ if cx.reason() == RefreshReason::Invalidated => Own::Absent,
            (_, Some(end)) => Own::Until(end),
            (Some(_), None) => Own::Endless,
            (None, None) => Own::Absent,
        };
        Self {
            reason: cx.reason(),
            previous_access_key_id: cx.previous_access_key_id(),
            own,
            now: cx.clock().now(),
        }
    }
}

impl Entry {
    /// The entry with a set that the source gave.
    pub(crate) fn with_set(
        generation: u64,
        writer: &Owner,
        credentials: TemporaryCredentials,
        obtained: SystemTime,
        took: Duration,
    ) -> Self {
        Self {
            generation,
            writer: writer.clone(),
            set: Some(StoredSet {
                credentials,
                obtained,
                took,
                invalidated: false,
            }),
            failure: None,
        }
    }

    /// The entry after a failure of the source: the set stays. The pause grows with each refresh
    /// that fails after the last pause, not with the further tries of one refresh (`is_again`).
    pub(crate) fn with_failure(
        generation: u64,
        writer: &Owner,
        before: Option<&Self>,
        error: &Error,
        now: SystemTime,
        is_again: bool,
    ) -> Self {
        let earlier = before.and_then(|before| before.failure.as_ref());
        let count = earlier.map_or(1, |failure| {
            let grows = !is_again && failure.until <= now;
            failure.count.saturating_add(u32::from(grows))
        });
        Self {
            generation,
            writer: writer.clone(),
            set: before.and_then(|before| before.set.clone()),
            failure: Some(Failure::new(error, count, now)),
        }
    }

    /// The entry after a service has rejected its set.
    pub(crate) fn rejected(&self, generation: u64, writer: &Owner) -> Self {
        let mut entry = self.clone();
        entry.generation = generation;
        entry.writer = writer.clone();
        if let Some(set) = &mut entry.set {
            set.invalidated = true;
        }
        entry
    }

    /// The set, if the refresh need not ask the source: not rejected, another one than the set that
    /// is to be replaced, and with more left than the advisory window that a session has by
    /// default. A set that was [requested](RefreshReason::Requested) is as good as new.
    pub(crate) fn usable(&self, wanted: Wanted<'_>) -> Option<TemporaryCredentials> {
        let set = self.set.as_ref()?;
        set.given(wanted, |lifetime| match wanted.reason {
            RefreshReason::Requested => lifetime.saturating_sub(slack(lifetime)),
            _ => fitting_window(default_advisory_window(lifetime), lifetime),
        })
    }

    /// The set, if it is what can be given in place of a failure: valid, not rejected, and another
    /// one than the caller's.
    pub(crate) fn fallback(&self, wanted: Wanted<'_>) -> Option<TemporaryCredentials> {
        self.set.as_ref()?.given(wanted, |_| LEAST_LEFT)
    }

    /// The set, if it is valid and was not rejected, be it the caller's own: what is given when
    /// the source cannot be asked. Who requests another set does not get its own.
    pub(crate) fn still_valid(&self, mut wanted: Wanted<'_>) -> Option<TemporaryCredentials> {
        if !matches!(
            wanted.reason,
            RefreshReason::Invalidated | RefreshReason::Requested
        ) {
            wanted.previous_access_key_id = None;
        }
        self.fallback(wanted)
    }

    /// Whether the refresh is due to a rejection of this entry's set, which the entry does not say
    /// yet.
    pub(crate) fn is_to_be_marked(&self, wanted: Wanted<'_>) -> bool {
        let rejected = wanted
            .previous_access_key_id
            .filter(|_| wanted.reason == RefreshReason::Invalidated);
        self.set.as_ref().is_some_and(|set| {
            !set.invalidated && rejected == Some(set.credentials.access_key_id())
        })
    }

    /// The failure, if somebody else had it and it still holds: the source is not asked. One's own
    /// failures hold nobody: the session has its own pauses. But for throttling, a process is held
    /// once and then asks by itself, and what was requested is not held.
    pub(crate) fn holding(
        &self,
        owner: &Owner,
        wanted: Wanted<'_>,
        was_held: impl FnOnce(SystemTime) -> bool,
    ) -> Option<Error> {
        let failure = self
            .failure
            .as_ref()
            .filter(|failure| self.writer != *owner && failure.holds(wanted.now))?;
        let is_free = failure.recovery != Recovery::Throttled
            && (wanted.reason == RefreshReason::Requested || was_held(failure.until));
        (!is_free).then(|| failure.error(&self.writer))
    }

    /// How long the source took for the set.
    pub(crate) fn took(&self) -> Option<Duration> {
        Some(self.set.as_ref()?.took)
    }

    /// What the last failure said.
    #[cfg(unix)]
    pub(crate) fn failure_text(&self) -> Option<String> {
        Some(self.failure.as_ref()?.message.clone())
    }

    /// When the entry has nothing to say any more, by this host's clock.
    pub(crate) fn end(&self, now: SystemTime) -> SystemTime {
        let of_set = self.set.as_ref().map(|set| {
            let credentials = &set.credentials;
            let began = credentials.server_time().unwrap_or(set.obtained);
            let lifetime = credentials
                .expiration()
                .map(|end| end.duration_since(began).unwrap_or_default());
            // One that never expires is fetched again if nobody needs it for a day.
            let end = set.obtained.checked_add(lifetime.unwrap_or(DAY));
            end.unwrap_or(now)
        });
        let of_failure = self.failure.as_ref().map(|failure| failure.until);
        of_set.max(of_failure).unwrap_or(now)
    }

    /// Until when the set is valid, by its source; `None`: there is no set, or it does not expire.
    pub(crate) fn expiration(&self) -> Option<SystemTime> {
        self.set.as_ref()?.credentials.expiration()
    }
}

impl StoredSet {
    fn given(
        &self,
        wanted: Wanted<'_>,
        needed: impl FnOnce(Duration) -> Duration,
    ) -> Option<TemporaryCredentials> {
        let is_the_callers =
            wanted.previous_access_key_id == Some(self.credentials.access_key_id());
        if self.invalidated || is_the_callers {
            return None;
        }
        // Since the source gave it. A set from the future has an age that nobody knows.
        let age = match wanted.now.duration_since(self.obtained) {
            Ok(age) => age,
            Err(early) if early.duration() <= SKEW => Duration::ZERO,
            Err(_) => return None,
        };
        // By the source's clock where it is known: this host's may be wrong by hours.
        let source_then = self.credentials.server_time();
        let source_now = match source_then {
            Some(then) => Some(then.checked_add(age)?),
            None => None,
        };
        if let Some(expiration) = self.credentials.expiration() {
            match wanted.own {
                Own::Endless => return None,
                Own::Until(end) if expiration < end => return None,
                _ => {}
            }
            let began = source_then.unwrap_or(self.obtained);
            let lifetime = expiration.duration_since(began).ok()?;
            let left = expiration
                .duration_since(source_now.unwrap_or(wanted.now))
                .ok()?;
            if left < LEAST_LEFT || left <= needed(lifetime) {
                return None;
            }
        }
        let credentials = self.credentials.clone();
        Some(match source_now {
            Some(source_now) => credentials.with_server_time(source_now),
            None => credentials,
        })
    }
}

impl Failure {
    fn new(error: &Error, count: u32, now: SystemTime) -> Self {
        // As long as a session by itself leaves its source alone with nothing left to give.
        let wait = match error.recovery() {
            Recovery::Person => 5 * SECOND,
            _ => SECOND
                .saturating_mul(1 << count.saturating_sub(1).min(10))
                .min(MINUTE),
        };
        Self {
            message: error.to_string().chars().take(MAX_TEXT).collect(),
            kind: error.kind(),
            recovery: error.recovery(),
            code: error.code().map(|code| code.chars().take(128).collect()),
            status: error.status(),
            count,
            until: now + wait,
        }
    }

    /// A wait that no writer makes is one of a clock that has been set back.
    fn holds(&self, now: SystemTime) -> bool {
        self.until
            .duration_since(now)
            .is_ok_and(|left| !left.is_zero() && left <= MINUTE + SKEW)
    }

    /// The error again, as one from memory, with whose it was.
    fn error(&self, writer: &Owner) -> Error {
        let (message, pid) = (&self.message, writer.pid());
        let message =
            format!("{message}; process {pid}, which shares the credentials, was told so");
        let error = match self.kind {
            ErrorKind::Validation => Error::validation(message),
            ErrorKind::Configuration => Error::configuration(message),
            ErrorKind::Connection => Error::connection(message),
            ErrorKind::Request => Error::request(message),
            _ => Error::credential(message),
        };
        let mut error = error
            .with_recovery(self.recovery)
            .with_refresh_allowed_at(self.until)
            .with_detail("failed_in_process", pid);
        if let Some(code) = &self.code {
            error = error.with_code(code.as_str());
        }
        if let Some(status) = self.status {
            error = error.with_status(status);
        }
        error
    }
}

/// Bytes.
impl Entry {
    /// The entry as JSON, secrets in the clear: for a file of the owner's, or to be sealed.
    ///
    /// # Errors
    ///
    /// [`Unusable::Oversized`]: nobody would read it.
    pub(crate) fn to_bytes(&self, key: &Key) -> Result<Zeroizing<Vec<u8>>, Unusable> {
        let head = Head {
            version: VERSION,
            key: key.as_str(),
            generation: self.generation,
            pid: self.writer.pid(),
            owner: self.writer.id(),
            set: self.set.as_ref().map(SetHead::of),
            failure: self.failure.as_ref().map(FailureText::of),
        };
        let head = serde_json::to_string(&head).map_err(|_| Unusable::Malformed)?;
        let set = self.set.as_ref();
        let secrets = set.map(|set| Zeroizing::new(set.credentials.expose_process_json()));
        let secrets = secrets.as_deref().map_or("null", String::as_str);
        let head = head.strip_suffix('}').unwrap_or(&head);
        let parts = [head, ",\"credentials\":", secrets, "}"];
        let length = parts.iter().map(|part| part.len()).sum();
        if length > MAX_BYTES {
            return Err(Unusable::Oversized);
        }
        // Never grown: a vector that grows leaves its old memory as it is.
        let mut bytes = Zeroizing::new(Vec::with_capacity(length));
        for part in parts {
            bytes.extend_from_slice(part.as_bytes());
        }
        Ok(bytes)
    }

    /// Reads an entry of `key` whose generation is `least` at least.
    ///
    /// # Errors
    ///
    /// What is wrong with it: it counts as absent.
    pub(crate) fn from_bytes(bytes: &[u8], key: &Key, least: u64) -> Result<Self, Unusable> {
        if bytes.len() > MAX_BYTES {
            return Err(Unusable::Oversized);
        }
        let malformed = |_| Unusable::Malformed;
        let Version { version } = serde_json::from_slice(bytes).map_err(malformed)?;
        if version != VERSION {
            return Err(Unusable::OtherVersion);
        }
        let read: Whole = serde_json::from_slice(bytes).map_err(malformed)?;
        if read.key != key.as_str() {
            return Err(Unusable::Foreign);
        }
        if read.generation < least {
            return Err(Unusable::Replayed);
        }
        let set = match (read.set, read.credentials) {
            (Some(head), Some(credentials)) => Some(head.with(credentials)?),
            (None, None) => None,
            _ => return Err(Unusable::Malformed),
        };
        Ok(Self {
            generation: read.generation,
            writer: Owner::of(read.pid, &read.owner).ok_or(Unusable::Malformed)?,
            set,
            failure: read.failure.map(FailureText::read).transpose()?,
        })
    }
}

#[derive(Deserialize)]
struct Version {
    version: u64,
}

/// Everything but the credentials.
#[derive(Serialize)]
struct Head<'a> {
    version: u64,
    key: &'a str,
    generation: u64,
    pid: u32,
    owner: &'a str,
    set: Option<SetHead>,
    failure: Option<FailureText>,
}

#[derive(Deserialize)]
struct Whole {
    key: String,
    generation: u64,
    pid: u32,
    owner: String,
    set: Option<SetHead>,
    failure: Option<FailureText>,
    credentials: Option<TemporaryCredentials>,
}

/// Times are milliseconds since 1970.
#[derive(Serialize, Deserialize)]
struct SetHead {
    obtained: u64,
    server_time: Option<u64>,
    took: u64,
    invalidated: bool,
}

impl SetHead {
    fn of(set: &StoredSet) -> Self {
        Self {
            obtained: to_millis(set.obtained),
            server_time: set.credentials.server_time().map(to_millis),
            took: u64::try_from(set.took.as_millis()).unwrap_or(u64::MAX),
            invalidated: set.invalidated,
        }
    }

    fn with(self, credentials: TemporaryCredentials) -> Result<StoredSet, Unusable> {
        Ok(StoredSet {
            credentials: match self.server_time {
                Some(time) => credentials.with_server_time(from_millis(time)?),
                None => credentials,
            },
            obtained: from_millis(self.obtained)?,
            took: Duration::from_millis(self.took),
            invalidated: self.invalidated,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct FailureText {
    message: String,
    kind: String,
    recovery: String,
    code: Option<String>,
    status: Option<u16>,
    count: u32,
    until: u64,
}

const KINDS: [ErrorKind; 5] = [
    ErrorKind::Validation,
    ErrorKind::Configuration,
    ErrorKind::Credential,
    ErrorKind::Connection,
    ErrorKind::Request,
];

const RECOVERIES: [(&str, Recovery); 4] = [
    ("soon", Recovery::Soon),
    ("throttled", Recovery::Throttled),
    ("later", Recovery::Later),
    ("person", Recovery::Person),
];

impl FailureText {
    fn of(failure: &Failure) -> Self {
        let recovery = RECOVERIES
            .iter()
            .find(|(_, known)| *known == failure.recovery);
        Self {
            message: failure.message.clone(),
            kind: failure.kind.to_string(),
            recovery: recovery.map_or("later", |(name, _)| name).to_owned(),
            code: failure.code.clone(),
            status: failure.status,
            count: failure.count,
            until: to_millis(failure.until),
        }
    }

    fn read(self) -> Result<Failure, Unusable> {
        let kind = KINDS.iter().find(|kind| kind.to_string() == self.kind);
        let recovery = RECOVERIES.iter().find(|(name, _)| *name == self.recovery);
        Ok(Failure {
            message: shown(&self.message),
            kind: *kind.ok_or(Unusable::Malformed)?,
            recovery: recovery.ok_or(Unusable::Malformed)?.1,
            code: self.code.as_deref().map(shown),
            status: self.status,
            count: self.count,
            until: from_millis(self.until)?,
        })
    }
}

/// A text from outside, for a log or a terminal.
fn shown(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() && !('\u{2000}'..='\u{206f}').contains(c))
        .take(MAX_TEXT)
        .collect()
}

fn to_millis(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn from_millis(millis: u64) -> Result<SystemTime, Unusable> {
    UNIX_EPOCH
        .checked_add(Duration::from_millis(millis))
        .ok_or(Unusable::Malformed)
}
