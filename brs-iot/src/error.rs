//! brs's errors for what the endpoint answers and for what keeps it from answering.
//!
//! Owns the meaning of AWS's answers, each with the setting to look at and the command that shows it, and of what TLS
//! and the network say. Whether a call is worth another try at once is part of it. AWS's messages are quoted as a
//! detail; a body never is.

use std::io;
use std::time::SystemTime;

use brs_core::__private::iso8601;
use brs_core::shown::{causes, clean, find, with_cause};
use brs_core::{Error, ErrorKind};

use crate::device::Device;
use crate::response::{MAX_BODY, message};
use crate::tls::Trust;

mod refusal;
pub(crate) mod tls;

use refusal::Refusal;

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
}

/// Whom TLS was with.
pub(crate) struct Peer<'a> {
    pub(crate) endpoint: &'a str,
    pub(crate) trust: &'a Trust,
    /// This machine's clock.
    pub(crate) now: SystemTime,
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// `x-amzn-ErrorType`.
    pub(crate) code: Option<String>,
    /// `x-amzn-RequestId`.
    pub(crate) request_id: Option<String>,
    /// `Date`.
    pub(crate) date: Option<SystemTime>,
    pub(crate) body: zeroize::Zeroizing<Vec<u8>>,
}

/// A call that failed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: Error,
    /// Whether another try at once may do better.
    pub(crate) again: bool,
    /// Whether the connection, and what TLS remembers, is to be given up.
    pub(crate) fresh: bool,
    /// Whether it was the device that was refused.
    pub(crate) device_refused: bool,
}

impl Failed {
    fn at_rest(error: Error) -> Self {
        Self { error, again: false, fresh: false, device_refused: false }
    }

    fn transport(error: Error) -> Self {
        Self { error, again: true, fresh: true, device_refused: false }
    }

    /// What the token said of it, which is more than TLS could.
    pub(crate) fn of_token(error: Error) -> Self {
        // What is unplugged, busy or hanging is the same device when it is back; a refused PIN is asked for at a login.
        let device_refused = error.kind() == ErrorKind::Configuration && error.param() != Some("pin");
        Self { error, again: false, fresh: true, device_refused }
    }
}

/// The error for an answer that is not 200.
pub(crate) fn refused(answer: &Answer, call: &Call<'_>) -> Failed {
    let text = message(&answer.body).map(|text| clean(&text, &[])).filter(|text| !text.is_empty());
    let code = answer.code.as_deref().filter(|code| is_code(code));
    let refusal = Refusal::of(answer.status, code, text.as_deref());
    let mut error = match refusal {
        Refusal::NotAws => Error::credential(refusal.text(answer.status, None, call)),
        _ => Error::request(refusal.text(answer.status, text.as_deref(), call)),
    };
    error = match refusal {
        Refusal::Throttled => error.throttled(),
        Refusal::Trouble => error.retryable(),
        Refusal::NotAws => error,
        _ => error.unrecoverable(),
    };
    if let Some(code) = code {
        error = error.with_code(code);
    }
    if let Some(text) = text {
        error = error.with_detail("aws_message", text);
    }
    let again = matches!(refusal, Refusal::Throttled | Refusal::Trouble);
    Failed { again, device_refused: refusal == Refusal::CertificateNotActive, ..Failed::at_rest(told(error, answer)) }
}

/// The error for a success that holds no credentials; `problem` ends the sentence.
pub(crate) fn unreadable(problem: &str, answer: &Answer, call: &Call<'_>) -> Failed {
    Failed::at_rest(told(
        Error::credential(format!(
            "`{}` gave an answer that {problem}: check what answers at the endpoint",
            call.endpoint
        )),
        answer,
    ))
}

/// The error for an answer that is longer than is read.
pub(crate) fn too_long(answer: &Answer, call: &Call<'_>) -> Failed {
    let error = Error::credential(format!(
        "`{}` gave an answer of more than {} KiB, which is not read: check what answers at the endpoint",
        call.endpoint,
        MAX_BODY / 1024
    ));
    // What is left of it is still on its way.
    Failed { fresh: true, ..Failed::at_rest(told(error, answer)) }
}

/// The error for an answer that broke off.
pub(crate) fn cut_off(error: &reqwest::Error, answer: &Answer, call: &Call<'_>) -> Failed {
    let message = format!("the answer of `{}` broke off: check proxies and firewalls on the way", call.endpoint);
    Failed::transport(told(with_cause(Error::credential(message).retryable(), error, &[]), answer))
}

/// The error for a call whose time was up.
pub(crate) fn late(call: &Call<'_>) -> Failed {
    Failed::transport(Error::connection(format!(
        "`{}` did not answer in time: check the network, the proxy and firewalls on the way",
        call.endpoint
    )))
}

/// The error for a call that found no end at all.
pub(crate) fn lost(call: &Call<'_>) -> Failed {
    Failed::transport(Error::connection(format!("the call to `{}` was given up", call.endpoint)))
}

/// The error for a call that was not answered.
pub(crate) fn unanswered(error: &reqwest::Error, call: &Call<'_>) -> Failed {
    if let Some(failure) = find::<rustls::Error>(error) {
        let peer = Peer { endpoint: call.endpoint, trust: call.trust, now: call.now };
        return tls::failed(failure, error, &peer, Some(call.device));
    }
    if error.is_timeout() {
        return late(call);
    }
    let all = causes(error, &[]);
    let what = if all.contains("tunnel") || all.contains("proxy") {
        "the proxy opened no way to it: check the proxy's URL, user and password, and its rules"
    } else if error.is_dns() || all.contains("dns error") {
        "its name is not known: check `endpoint` and this machine's name servers"
    } else {
        match find::<io::Error>(error).map(io::Error::kind) {
            Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkDown) => {
                "there is no route to it: check this machine's network"
            }
            Some(io::ErrorKind::ConnectionRefused) => "nothing listens there: check `endpoint`, its port and the proxy",
            Some(
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof,
            ) => "the connection was cut: check proxies and firewalls on the way",
            _ => "check the network, the proxy and `endpoint`",
        }
    };
    let message = format!("`{}` was not reached: {what}", call.endpoint);
    Failed::transport(with_cause(Error::connection(message), error, &[]))
}

/// Adds what an answer tells beside its meaning.
fn told(error: Error, answer: &Answer) -> Error {
    let error = error.with_status(answer.status);
    match answer.request_id.as_deref() {
        Some(id) => error.with_detail("request_id", clean(id, &[])),
        None => error,
    }
}

/// `x-amzn-ErrorType` may hold more after a colon.
pub(crate) fn code_of(header: &str) -> String {
    header.split(':').next().unwrap_or_default().trim().to_owned()
}

fn is_code(code: &str) -> bool {
    (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
}

#[cfg(test)]
mod tests;
