//! What the SDK's failures mean: one table from AWS's codes and statuses to brs's errors.
//!
//! The classes and their texts are in `class`. What is repeated of others' words, and in which form
//! their errors become sources, is `shown.rs`'s: requests and raw answers hold credentials.

mod class;
mod words;

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use brs_core::Error;
use http_body_util::LengthLimitError;

use crate::clock::Difference;
use crate::environment::origins::Origins;
use crate::sts::http_client::MAX_ANSWER;
use crate::sts::proxy::{Problem, Way};
use brs_core::kit::{causes, clean, find, with_cause};

pub(crate) use class::Class;
use class::Says;

/// A clock that is off by less is not worth a word: `Date` has whole seconds, and an answer takes
/// its time.
const WORTH_A_WORD: Duration = Duration::from_secs(20);

/// How much of an error's body is looked at for a code.
const MAX_BODY: usize = 8192;

/// The call that failed.
pub(crate) struct Call<'a> {
    pub(crate) operation: Operation<'a>,
    pub(crate) origins: &'a Origins,
    /// Where STS is, in words.
    pub(crate) place: &'a str,
    /// Whose credentials sign the call, in words.
    pub(crate) credentials: &'a str,
    /// Whether those credentials never change.
    pub(crate) fixed_credentials: bool,
    /// The serial number of the MFA device whose code was sent.
    pub(crate) device: Option<&'a str>,
    /// How far this machine's clock is from the server's, if an answer has shown it.
    pub(crate) difference: Option<Difference>,
    /// Values that AWS may repeat in a message and that are never shown.
    pub(crate) hidden: &'a [&'a str],
    /// Whether the last attempt was sent, or was still to be prepared.
    pub(crate) sent: bool,
    pub(crate) way: Way,
}

impl Call<'_> {
    /// How far the clock is off, where that is worth a word.
    fn skew(&self) -> Option<Difference> {
        self.difference
            .filter(|difference| difference.is_over(WORTH_A_WORD))
    }
}

/// What was asked of STS.
#[derive(Clone, Copy)]
pub(crate) enum Operation<'a> {
    AssumeRole {
        role_arn: &'a str,
        with_external_id: bool,
    },
    SessionToken,
    WebIdentity {
        role_arn: &'a str,
        /// The token in words.
        token: &'a str,
    },
    Saml {
        role_arn: &'a str,
        /// The assertion in words.
        assertion: &'a str,
    },
    Root {
        target: &'a str,
        policy: &'a str,
    },
    CallerIdentity,
}

/// A failure and, where AWS has answered, what its answer means.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: Error,
    pub(crate) class: Option<Class>,
    /// Whether the request may have arrived.
    pub(crate) reached: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self {
            error,
            class: None,
            reached: true,
        }
    }
}

/// brs's error for a call that failed.
pub(crate) fn from_sdk<E>(error: &SdkError<E, HttpResponse>, call: &Call<'_>) -> Failed
where
    E: StdError + ProvideErrorMetadata + Send + Sync + 'static,
{
    let place = call.place;
    match error {
        // The SDK reports a success that it cannot read as an error of the service.
        SdkError::ServiceError(answer) if answer.raw().status().is_success() => {
            return unreadable(place, answer.raw()).into();
        }
        SdkError::ServiceError(answer) => return from_answer(answer.err(), answer.raw(), call),
        SdkError::ResponseError(answer) if find::<LengthLimitError>(error).is_some() => {
            return Error::credential(format!(
                "STS in {place} gave an answer of more than {} KiB, the most that is read: check what answers at the \
                 endpoint URL",
                MAX_ANSWER / 1024
            ))
            .with_status(answer.raw().status().as_u16())
            .into();
        }
        SdkError::ResponseError(answer) => {
            return with_cause(unreadable(place, answer.raw()), error, call.hidden).into();
        }
        _ => {}
    }
    if let Some(credentials) = find::<CredentialsError>(error) {
        return from_provider(credentials, call.credentials).into();
    }
    let refused = match error {
        SdkError::TimeoutError(_) if !call.sent => late_credentials(call.credentials),
        SdkError::TimeoutError(_) => late(call),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => late(call),
        SdkError::DispatchFailure(_) if !call.sent => not_built(call),
        SdkError::DispatchFailure(_) => {
            let (message, reached) = unreached(error, call);
            let error = with_cause(Error::connection(message), error, call.hidden);
            return Failed {
                error,
                class: None,
                reached,
            };
        }
        _ => not_built(call),
    };
    with_cause(refused, error, call.hidden).into()
}

/// brs's error for base credentials that could not be loaded.
pub(crate) fn from_provider(error: &CredentialsError, credentials: &str) -> Error {
    match find::<Error>(error) {
        // A provider of brs's own already said what is wrong.
        Some(own) => own.clone(),
        None => with_cause(no_credentials(error, credentials), error, &[]),
    }
}

/// Why STS was not reached, as far as the system tells, and whether the request may have arrived
/// all the same.
fn unreached(error: &(dyn StdError + 'static), call: &Call<'_>) -> (String, bool) {
    let place = call.place;
    if causes(error, call.hidden).contains("certificate") {
        let clock = match call.skew() {
            Some(difference) => format!(", which is {}", difference.compared()),
            None => String::new(),
        };
        let message = format!(
            "the certificate of STS in {place} is not trusted: give its authority in `client.verify` or \
             `AWS_CA_BUNDLE`, and check this machine's clock{clock}"
        );
        return (message, false);
    }
    if find::<rustls::Error>(error).is_some() {
        let message = format!(
            "TLS with STS in {place} failed: check that the server there speaks TLS, and that no proxy \
             intercepts the connection"
        );
        return (message, false);
    }
    let causes = causes(error, call.hidden);
    let problem = match find::<io::Error>(error).map(io::Error::kind) {
        Some(
            io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkDown,
        ) => Problem::NoRoute,
        Some(io::ErrorKind::ConnectionRefused) => Problem::Refused,
        Some(
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::UnexpectedEof,
        ) => Problem::Cut,
        _ if causes.contains("dns error") => Problem::Name,
        _ if causes.contains("proxy authorization required") => Problem::Login,
        _ if causes.contains("tunnel error") => Problem::Tunnel,
        _ => Problem::Other,
    };
    let what = call.way.problem(problem);
    (
        format!("STS in {place} was not reached: {what}"),
        matches!(problem, Problem::Cut | Problem::Other),
    )
}

/// The error for an answer that is an error of AWS's.
fn from_answer<E: ProvideErrorMetadata>(error: &E, raw: &HttpResponse, call: &Call<'_>) -> Failed {
    let status = raw.status().as_u16();
    // Some servers nest their XML so that the SDK sees no code.
    let body = raw.body().bytes().unwrap_or_default();
    let body = String::from_utf8_lossy(&body[..body.len().min(MAX_BODY)]);
    let code = error
        .code()
        .or_else(|| element(&body, "Code").filter(|code| is_code(code)));
    let message = error.message().or_else(|| element(&body, "Message"));
    let class = Class::of(code, status, message);
    // Looked at whole, shown cleaned and cut.
    let raw_message = message;
    // AWS repeats the canonical request after some sentences: it holds the session token.
    let message =
        message.filter(|text| class.is_quotable() && !text.to_lowercase().contains("canonical"));
    let message = message
        .map(|text| clean(text, call.hidden))
        .filter(|text| !text.is_empty());

    let says = Says {
        raw: raw_message,
        shown: message.as_deref(),
    };
    let mut out = Error::request(class.text(call, status, says)).with_status(status);
    out = match class.recovery() {
        _ if class == Class::Throttled => out.throttled(),
        // A key pair that was given once is never renewed.
        _ if call.fixed_credentials
            && matches!(class, Class::ExpiredCredentials | Class::UnknownCredentials) =>
        {
            out.unrecoverable()
        }
        (true, _) => out.retryable(),
        (_, true) => out.unrecoverable(),
        _ => out,
    };
    if let Some(code) = code {
        out = out.with_code(code);
    }
    if let Some(difference) = call.skew() {
        out = out.with_detail("clock", difference);
    }
    if let (Class::PolicyTooLarge, Some(size)) = (class, raw_message.and_then(class::percentage)) {
        out = out.with_detail("packed_policy_percent", size);
    }
    if let Some(message) = message {
        out = out.with_detail("aws_message", message);
    }
    if let Some(request_id) = raw.request_id() {
        out = out.with_detail("request_id", clean(request_id, &[]));
    }
    Failed {
        error: out,
        class: Some(class),
        reached: true,
    }
}

/// The error for base credentials that could not be loaded.
fn no_credentials(error: &CredentialsError, credentials: &str) -> Error {
    match error {
        CredentialsError::CredentialsNotLoaded(_) => Error::configuration(format!(
            "no credentials to call STS with: {credentials} has none, set them in the environment or the profile, or \
             log in"
        )),
        CredentialsError::ProviderTimedOut(_) => late_credentials(credentials),
        CredentialsError::InvalidConfiguration(_) => Error::configuration(format!(
            "the credentials to call STS with, of {credentials}, are set up wrongly: check the profile and its source"
        ))
        .unrecoverable(),
        _ => Error::configuration(format!(
            "the credentials to call STS with, of {credentials}, could not be loaded: check their source, or log in \
             again"
        )),
    }
}

fn late(call: &Call<'_>) -> Error {
    let by_proxy = match &call.way {
        Way::Through(proxy) => format!(" through the proxy `{}`", proxy.url),
        _ => String::new(),
    };
    Error::connection(format!(
        "STS in {} did not answer in time{by_proxy}",
        call.place
    ))
}

fn late_credentials(credentials: &str) -> Error {
    Error::connection(format!(
        "the credentials to call STS with, of {credentials}, did not come in time"
    ))
}

/// Before anything is sent, what fails is what the request is made of.
fn not_built(call: &Call<'_>) -> Error {
    Error::configuration(format!(
        "the call to STS in {} cannot be built: check the region and the endpoint URL",
        call.place
    ))
    .unrecoverable()
}

fn unreadable(place: &str, raw: &HttpResponse) -> Error {
    Error::credential(format!(
        "STS in {place} gave an answer that cannot be read: check what answers at the endpoint URL"
    ))
    .with_status(raw.status().as_u16())
}

/// The text of the first XML element with that name.
fn element<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>"))
        .map(|(text, _)| text.trim())
}

fn is_code(code: &str) -> bool {
    (1..=64).contains(&code.len())
        && code
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
}

#[cfg(test)]
mod tests;
