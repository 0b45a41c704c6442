//! brs's errors for the endpoint's answers, and for the reasons why there is none.
//!
//! Owns the meaning of AWS's answers, each with the setting to look at and the command that shows
//! it, and of errors of TLS and the network, including whether an immediate retry may succeed.
//! AWS's messages are quoted as a detail; a body never is.

use std::time::{Duration, SystemTime};

use brs_core::Error;
use brs_core::kit::{clean, find, with_cause};

use super::refusal::Refusal;
use super::response::{MAX_BODY, RetryAfter, message};
use super::unreached::Unreached;
use crate::device::Device;
use crate::device::handshake::{Failure, Peer, Refused, explain};
use crate::device::tls::Trust;

/// What was called, for messages.
pub(crate) struct Call<'a> {
    pub(crate) endpoint: &'a str,
    pub(crate) role_alias: &'a str,
    pub(crate) thing_name: Option<&'a str>,
    /// Seconds.
    pub(crate) duration: Option<u64>,
    pub(crate) device: &'a Device,
    pub(crate) trust: &'a Trust,
    /// This machine's clock.
    pub(crate) now: SystemTime,
    /// The endpoint's, once it has answered.
    pub(crate) server_time: Option<SystemTime>,
}

/// An answer, read completely.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// `x-amzn-ErrorType`.
    pub(crate) code: Option<String>,
    /// `x-amzn-RequestId`.
    pub(crate) request_id: Option<String>,
    /// `Date`.
    pub(crate) date: Option<SystemTime>,
    /// `Retry-After`: no call before that.
    pub(crate) retry_after: Option<RetryAfter>,
    pub(crate) body: zeroize::Zeroizing<Vec<u8>>,
}

/// A call that failed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: Error,
    /// Whether an immediate retry may succeed.
    pub(crate) again: bool,
    /// Whether the connection, and what TLS remembers, is to be given up.
    pub(crate) fresh: bool,
    /// Who was not trusted.
    pub(crate) refused: Refused,
    /// How long the endpoint wants no call.
    pub(crate) wait: Option<Duration>,
    /// Whether all that is known is that the time was up.
    pub(crate) late: bool,
}

impl Failed {
    pub(crate) fn at_rest(error: Error) -> Self {
        Self {
            error,
            again: false,
            fresh: false,
            refused: Refused::Nobody,
            wait: None,
            late: false,
        }
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

/// The error for an answer that is not 200.
pub(crate) fn refused(answer: &Answer, call: &Call<'_>) -> Failed {
    let text = message(&answer.body)
        .map(|text| clean(&text, &[]))
        .filter(|text| !text.is_empty());
    let code = answer.code.as_deref().filter(|code| is_code(code));
    let refusal = Refusal::of(answer.status, code, text.as_deref(), &answer.body);
    let mut error = match refusal {
        Refusal::NotAws | Refusal::CertificatePage => {
            Error::credential(refusal.text(answer.status, None, call))
        }
        _ => Error::request(refusal.text(answer.status, text.as_deref(), call)),
    };
    error = match refusal {
        Refusal::Throttled => error.throttled(),
        Refusal::Trouble => error.retryable(),
        Refusal::NotAws | Refusal::CertificatePage => error,
        _ => error.unrecoverable(),
    };
    if let Some(code) = code {
        error = error.with_code(code);
    }
    if let Some(text) =
        text.filter(|_| !matches!(refusal, Refusal::NotAws | Refusal::CertificatePage))
    {
        error = error.with_detail("aws_message", text);
    }
    let again = matches!(refusal, Refusal::Throttled | Refusal::Trouble);
    let wait = answer
        .retry_after
        .filter(|_| matches!(answer.status, 429 | 503))
        .map(|after| after.wait(answer, call));
    if let Some(wait) = wait {
        error = error.with_detail("retry_after", format!("{} s", wait.as_secs()));
    }
    let refused = match refusal {
        Refusal::CertificateNotActive | Refusal::CertificatePage => Refused::Device,
        _ => Refused::Nobody,
    };
    Failed {
        again,
        refused,
        wait,
        ..Failed::at_rest(told(error, answer))
    }
}

/// The error for a success that holds no credentials; `problem` ends the sentence.
pub(crate) fn unreadable(problem: &str, answer: &Answer, call: &Call<'_>) -> Failed {
    Failed::at_rest(told(
        Error::credential(format!(
            "`{}` sent an answer that {problem}: check which server answers at the endpoint",
            call.endpoint
        )),
        answer,
    ))
}

/// The error for an answer that is longer than is read.
pub(crate) fn too_long(answer: &Answer, call: &Call<'_>) -> Failed {
    let error = Error::credential(format!(
        "`{}` sent an answer of more than {} KiB: check which server answers at the endpoint",
        call.endpoint,
        MAX_BODY / 1024
    ));
    // The rest of it is still arriving.
    Failed {
        fresh: true,
        ..Failed::at_rest(told(error, answer))
    }
}

/// The error for an answer that broke off.
pub(crate) fn cut_off(error: &reqwest::Error, answer: &Answer, call: &Call<'_>) -> Failed {
    let message = format!(
        "the answer of `{}` broke off: check proxies and firewalls on the way",
        call.endpoint
    );
    Failed::transport(told(
        with_cause(Error::credential(message).retryable(), error, &[]),
        answer,
    ))
}

/// The error for a call whose time was up.
pub(crate) fn late(call: &Call<'_>) -> Failed {
    let message = format!(
        "`{}` did not answer in time: check the network, the proxy and firewalls on the way",
        call.endpoint
    );
    Failed {
        late: true,
        ..Failed::transport(Error::connection(message))
    }
}

/// The error for a call that found no end at all.
pub(crate) fn lost(call: &Call<'_>) -> Failed {
    Failed::transport(Error::connection(format!(
        "the call to `{}` was abandoned",
        call.endpoint
    )))
}

/// The error for a call that was not answered.
pub(crate) fn unanswered(error: &reqwest::Error, call: &Call<'_>) -> Failed {
    if let Some(failure) = find::<rustls::Error>(error) {
        let peer = Peer {
            endpoint: call.endpoint,
            trust: call.trust,
            now: call.now,
            server_time: call.server_time,
        };
        return explain(failure, error, &peer, Some(call.device)).into();
    }
    if error.is_timeout() {
        return late(call);
    }
    let what = if error.is_dns() {
        Unreached::Name
    } else {
        Unreached::of(error)
    }
    .words();
    let message = format!("`{}` was not reached: {what}", call.endpoint);
    Failed::transport(with_cause(Error::connection(message), error, &[]))
}

impl RetryAfter {
    /// How long that is from the answer on.
    fn wait(self, answer: &Answer, call: &Call<'_>) -> Duration {
        match self {
            Self::Wait(wait) => wait,
            Self::Until(until) => until
                .duration_since(answer.date.unwrap_or(call.now))
                .unwrap_or_default(),
        }
    }
}

/// Adds the answer's status and request id.
fn told(error: Error, answer: &Answer) -> Error {
    let error = error.with_status(answer.status);
    match answer.request_id.as_deref() {
        Some(id) => error.with_detail("request_id", clean(id, &[])),
        None => error,
    }
}

/// `x-amzn-ErrorType` may hold more after a colon.
pub(crate) fn code_of(header: &str) -> String {
    header
        .split(':')
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn is_code(code: &str) -> bool {
    (1..=64).contains(&code.len())
        && code
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
}

#[cfg(test)]
mod tests;
