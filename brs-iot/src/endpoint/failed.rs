//! A call that failed, whatever it was for: errors of TLS and the network, answers that cannot be
//! read, and whether an immediate retry may succeed.
//!
//! What a service's refusals mean is for those who know the service: `error.rs` for AWS IoT.

use std::fmt;
use std::time::{Duration, SystemTime};

use brs_core::Error;
use brs_core::kit::{clean, find, with_cause};

use super::response::{MAX_BODY, RetryAfter};
use super::unreached::Unreached;
use crate::device::Device;
use crate::device::handshake::{Failure, Peer, Refused, explain};
use crate::device::tls::Trust;

/// Whom a call is for, for messages.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its host, and its port if it has one of its own.
    pub endpoint: &'a str,
    /// The device whose certificate TLS shows, if it shows one.
    pub shown: Option<&'a Device>,
    /// Whom TLS trusts.
    pub trust: &'a Trust,
    /// This machine's clock.
    pub now: SystemTime,
    /// The endpoint's, once it has answered.
    pub server_time: Option<SystemTime>,
}

/// An answer, read completely.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// `x-amzn-ErrorType`.
    pub code: Option<String>,
    /// `x-amzn-RequestId`.
    pub request_id: Option<String>,
    /// `Date`.
    pub date: Option<SystemTime>,
    /// `Retry-After`: no call before that.
    pub retry_after: Option<RetryAfter>,
    /// What follows; it may hold secrets.
    pub body: zeroize::Zeroizing<Vec<u8>>,
}

/// A call that failed.
#[derive(Debug)]
pub struct Failed {
    /// What the caller gets.
    pub error: Error,
    /// Whether an immediate retry may succeed.
    pub again: bool,
    /// Whether the connection, and what TLS remembers, is to be given up.
    pub fresh: bool,
    /// Who was not trusted.
    pub refused: Refused,
    /// How long the endpoint wants no call.
    pub wait: Option<Duration>,
    /// Whether all that is known is that the time was up.
    pub late: bool,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("code", &self.code)
            .finish_non_exhaustive()
    }
}

impl Failed {
    /// A failure that an immediate retry does not help.
    pub fn at_rest(error: Error) -> Self {
        Self {
            error,
            again: false,
            fresh: false,
            refused: Refused::Nobody,
            wait: None,
            late: false,
        }
    }

    /// A token's error: whether it refused, or may be back.
    pub fn of_token(error: Error) -> Self {
        Failure::of_token(error).into()
    }

    fn transport(error: Error) -> Self {
        Self {
            again: true,
            fresh: true,
            ..Self::at_rest(error)
        }
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self {
            again: failure.again,
            fresh: true,
            refused: failure.refused,
            ..Self::at_rest(failure.error)
        }
    }
}

impl Answer {
    /// Adds the answer's status and request id to an error about it.
    pub fn tell(&self, error: Error) -> Error {
        let error = error.with_status(self.status);
        match self.request_id.as_deref() {
            Some(id) => error.with_detail("request_id", clean(id, &[])),
            None => error,
        }
    }

    /// How long the endpoint wants no call, if it says so where that counts.
    pub fn asked_wait(&self, target: &Target<'_>) -> Option<Duration> {
        self.retry_after
            .filter(|_| matches!(self.status, 429 | 503))
            .map(|after| match after {
                RetryAfter::Wait(wait) => wait,
                RetryAfter::Until(until) => until
                    .duration_since(self.date.unwrap_or(target.now))
                    .unwrap_or_default(),
            })
    }
}

/// The error for a success that holds no credentials; `problem` ends the sentence.
pub(crate) fn unreadable(problem: &str, answer: &Answer, target: &Target<'_>) -> Failed {
    Failed::at_rest(answer.tell(Error::credential(format!(
        "`{}` sent an answer that {problem}: check which server answers at the endpoint",
        target.endpoint
    ))))
}

/// The error for an answer that is longer than is read.
pub(crate) fn too_long(answer: &Answer, target: &Target<'_>) -> Failed {
    let error = Error::credential(format!(
        "`{}` sent an answer of more than {} KiB: check which server answers at the endpoint",
        target.endpoint,
        MAX_BODY / 1024
    ));
    // The rest of it is still arriving.
    Failed {
        fresh: true,
        ..Failed::at_rest(answer.tell(error))
    }
}

/// The error for an answer that broke off.
pub(crate) fn cut_off(error: &reqwest::Error, answer: &Answer, target: &Target<'_>) -> Failed {
    let message = format!(
        "the answer of `{}` broke off: check proxies and firewalls on the way",
        target.endpoint
    );
    let told = with_cause(Error::credential(message).retryable(), error, &[]);
    Failed::transport(answer.tell(told))
}

/// The error for a call whose time was up.
pub(crate) fn late(target: &Target<'_>) -> Failed {
    let message = format!(
        "`{}` did not answer in time: check the network, the proxy and firewalls on the way",
        target.endpoint
    );
    Failed {
        late: true,
        ..Failed::transport(Error::connection(message))
    }
}

/// The error for a call that found no end at all.
pub(crate) fn lost(target: &Target<'_>) -> Failed {
    Failed::transport(Error::connection(format!(
        "the call to `{}` was abandoned",
        target.endpoint
    )))
}

/// The error for a call that was not answered.
pub(crate) fn unanswered(error: &reqwest::Error, target: &Target<'_>) -> Failed {
    if let Some(failure) = find::<rustls::Error>(error) {
        let peer = Peer {
            endpoint: target.endpoint,
            trust: target.trust,
            now: target.now,
            server_time: target.server_time,
        };
        return explain(failure, error, &peer, target.shown).into();
    }
    if error.is_timeout() {
        return late(target);
    }
    let what = if error.is_dns() {
        Unreached::Name
    } else {
        Unreached::of(error)
    }
    .words();
    let message = format!("`{}` was not reached: {what}", target.endpoint);
    Failed::transport(with_cause(Error::connection(message), error, &[]))
}

/// `x-amzn-ErrorType` may hold more after a colon, and a name's space before `#`.
pub(crate) fn code_of(header: &str) -> String {
    let code = header.split(':').next().unwrap_or_default();
    code.rsplit('#')
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Whether this can be one of AWS's error codes.
pub fn is_code(code: &str) -> bool {
    (1..=64).contains(&code.len())
        && code
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
}
