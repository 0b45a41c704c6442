//! What the SDK's failures mean: one table from AWS's codes and statuses to brs's errors.
//!
//! Owns the classes and the texts. What is repeated of others' words, and in which form their errors become sources, is
//! `shown.rs`'s: requests and raw answers hold credentials.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use brs_core::Error;
use http_body_util::LengthLimitError;

use crate::http_client::MAX_ANSWER;
use crate::shown::{causes, clean, find, with_cause};

/// How much of an error's body is looked at for a code.
const MAX_BODY: usize = 8192;

/// The call that failed.
pub(crate) struct Call<'a> {
    pub(crate) operation: Operation<'a>,
    /// Where STS is, in words.
    pub(crate) place: &'a str,
    /// Whose credentials sign the call, in words.
    pub(crate) credentials: &'a str,
    /// Values that AWS may repeat in a message and nobody is to see.
    pub(crate) hidden: &'a [&'a str],
    /// Whether the last attempt was sent, or was still to be prepared.
    pub(crate) sent: bool,
}

/// What was asked of STS.
pub(crate) enum Operation<'a> {
    AssumeRole { role_arn: &'a str, with_code: bool },
    CallerIdentity,
}

/// What an answer's code and status mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    AccessDenied,
    ExpiredCredentials,
    UnknownCredentials,
    BadSignature,
    RegionDisabled,
    MalformedPolicy,
    PolicyTooLarge,
    Invalid,
    Throttled,
    ServiceTrouble,
    /// A refusal without a code: AWS's own have one.
    Foreign,
    Other,
}

impl Class {
    /// The code decides; where there is none, the status does.
    fn of(code: Option<&str>, status: u16) -> Self {
        let Some(code) = code else {
            return match status {
                408 | 429 => Self::Throttled,
                500.. => Self::ServiceTrouble,
                _ => Self::Foreign,
            };
        };
        match code {
            "AccessDenied" | "AccessDeniedException" => Self::AccessDenied,
            "ExpiredToken" | "ExpiredTokenException" => Self::ExpiredCredentials,
            "InvalidClientTokenId" | "UnrecognizedClientException" => Self::UnknownCredentials,
            "SignatureDoesNotMatch"
            | "InvalidSignatureException"
            | "IncompleteSignature"
            | "IncompleteSignatureException"
            | "RequestExpired"
            | "RequestTimeTooSkewed" => Self::BadSignature,
            "RegionDisabledException" | "RegionDisabled" | "OptInRequired" => Self::RegionDisabled,
            "MalformedPolicyDocument" | "MalformedPolicyDocumentException" => Self::MalformedPolicy,
            "PackedPolicyTooLarge" | "PackedPolicyTooLargeException" => Self::PolicyTooLarge,
            "ValidationError" | "ValidationException" | "InvalidParameterValue" => Self::Invalid,
            "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestLimitExceeded"
            | "TooManyRequestsException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "SlowDown" => Self::Throttled,
            _ => match status {
                429 => Self::Throttled,
                500.. => Self::ServiceTrouble,
                _ => Self::Other,
            },
        }
    }

    /// Whether trying again soon may help; whether only a person can. When in doubt, neither.
    fn recovery(self) -> (bool, bool) {
        match self {
            Self::Throttled | Self::ServiceTrouble => (true, false),
            Self::AccessDenied
            | Self::UnknownCredentials
            | Self::RegionDisabled
            | Self::MalformedPolicy
            | Self::PolicyTooLarge
            | Self::Invalid => (false, true),
            // Expired base credentials are often renewed by what provides them, a clock is often set by itself, and a
            // network that wants a login first is often left.
            Self::ExpiredCredentials | Self::BadSignature | Self::Foreign | Self::Other => (false, false),
        }
    }

    /// Whether AWS's own message may be repeated. For a signature it quotes the signed headers, the session token among
    /// them.
    fn is_quotable(self) -> bool {
        self != Self::BadSignature
    }

    fn text(self, call: &Call<'_>, status: u16, aws: Option<&str>) -> String {
        let (place, credentials) = (call.place, call.credentials);
        let says = |text: String| match aws {
            Some(aws) => format!("{text}: {aws}"),
            None => text,
        };
        match (self, &call.operation) {
            (Self::AccessDenied, Operation::AssumeRole { role_arn, with_code }) => {
                let code = if *with_code { ", and that the MFA code is fresh: it works once" } else { "" };
                format!(
                    "role `{role_arn}` may not be assumed by the base credentials: check the role's trust policy and \
                     the caller's sts:AssumeRole permission{code}"
                )
            }
            (Self::AccessDenied, Operation::CallerIdentity) => {
                says("the credentials may not ask STS who they are".into())
            }
            (Self::ExpiredCredentials, _) => {
                format!("the credentials that sign the call to STS ({credentials}) have expired: renew them")
            }
            (Self::UnknownCredentials, _) => format!(
                "STS in {place} does not know the credentials that sign the call ({credentials}): check the \
                 access key, that it is active, and that the region is enabled for its account"
            ),
            (Self::BadSignature, _) => format!(
                "STS refused the signature made with {credentials}: check the secret access key and this machine's \
                 clock"
            ),
            (Self::RegionDisabled, _) => {
                format!("STS is not active in {place} for this account: activate it in the account settings of IAM")
            }
            (Self::MalformedPolicy, _) => says("STS cannot read `assume_role.policy`".into()),
            (Self::PolicyTooLarge, _) => says(
                "session policies and tags are too large together: shorten `assume_role.policy`, `policy_arns` or \
                 `tags`"
                    .into(),
            ),
            (Self::Invalid, _) => says("STS refused a value of the request".into()),
            (Self::Throttled, _) => format!("STS in {place} is throttling: too many calls for this account and region"),
            (Self::ServiceTrouble, _) => says(format!("STS in {place} has trouble of its own")),
            (Self::Foreign, _) => format!(
                "what answered for STS in {place} is not STS, a {status} without an AWS error code: check the proxy, \
                 the endpoint URL, and whether the network wants a login first"
            ),
            (Self::Other, _) => says(format!("STS in {place} refused the call")),
        }
    }
}

/// brs's error for a call that failed.
pub(crate) fn from_sdk<E>(error: &SdkError<E, HttpResponse>, call: &Call<'_>) -> Error
where
    E: StdError + ProvideErrorMetadata + Send + Sync + 'static,
{
    let place = call.place;
    match error {
        // The SDK reports a success that it cannot read as an error of the service.
        SdkError::ServiceError(answer) if answer.raw().status().is_success() => {
            return unreadable(place, answer.raw());
        }
        SdkError::ServiceError(answer) => return from_answer(answer.err(), answer.raw(), call),
        SdkError::ResponseError(answer) if find::<LengthLimitError>(error).is_some() => {
            return Error::credential(format!(
                "STS in {place} gave an answer of more than {} KiB, which is not read: check what answers at the \
                 endpoint URL",
                MAX_ANSWER / 1024
            ))
            .with_status(answer.raw().status().as_u16());
        }
        SdkError::ResponseError(answer) => {
            return with_cause(unreadable(place, answer.raw()), error, call.hidden);
        }
        _ => {}
    }
    if let Some(credentials) = find::<CredentialsError>(error) {
        // A provider of brs's own already said what is wrong.
        if let Some(own) = find::<Error>(credentials) {
            return own.clone();
        }
        return with_cause(no_credentials(credentials, call), error, call.hidden);
    }
    let refused = match error {
        SdkError::TimeoutError(_) if !call.sent => late_credentials(call),
        SdkError::TimeoutError(_) => Error::connection(format!("STS in {place} did not answer in time")),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            Error::connection(format!("STS in {place} did not answer in time"))
        }
        SdkError::DispatchFailure(_) if !call.sent => not_built(call),
        SdkError::DispatchFailure(_) if causes(error, call.hidden).contains("certificate") => {
            Error::connection(format!(
                "the certificate of STS in {place} is not trusted: give its authority in `client.verify`, and \
                 check the clock"
            ))
        }
        SdkError::DispatchFailure(_) => Error::connection(format!(
            "STS in {place} was not reached: check the network, the proxy and the endpoint URL"
        )),
        _ => not_built(call),
    };
    with_cause(refused, error, call.hidden)
}

/// The error for an answer that is an error of AWS's.
fn from_answer<E: ProvideErrorMetadata>(error: &E, raw: &HttpResponse, call: &Call<'_>) -> Error {
    let status = raw.status().as_u16();
    // Some servers nest their XML so that the SDK sees no code.
    let body = raw.body().bytes().unwrap_or_default();
    let body = String::from_utf8_lossy(&body[..body.len().min(MAX_BODY)]);
    let code = error.code().or_else(|| element(&body, "Code").filter(|code| is_code(code)));
    let class = Class::of(code, status);
    let message = error.message().or_else(|| element(&body, "Message")).filter(|_| class.is_quotable());
    let message = message.map(|text| clean(text, call.hidden)).filter(|text| !text.is_empty());

    let mut out = Error::request(class.text(call, status, message.as_deref())).with_status(status);
    out = match class.recovery() {
        (true, _) => out.retryable(),
        (_, true) => out.unrecoverable(),
        _ => out,
    };
    if let Some(code) = code {
        out = out.with_code(code);
    }
    if let Some(message) = message {
        out = out.with_detail("aws_message", message);
    }
    if let Some(request_id) = raw.request_id() {
        out = out.with_detail("request_id", clean(request_id, &[]));
    }
    out
}

/// The error for base credentials that could not be loaded.
fn no_credentials(error: &CredentialsError, call: &Call<'_>) -> Error {
    let credentials = call.credentials;
    match error {
        CredentialsError::CredentialsNotLoaded(_) => Error::configuration(format!(
            "no credentials to call STS with, {credentials} has none: set them in the environment or the profile, or \
             log in"
        )),
        CredentialsError::ProviderTimedOut(_) => late_credentials(call),
        CredentialsError::InvalidConfiguration(_) => Error::configuration(format!(
            "the credentials to call STS with, of {credentials}, are not set up right: check the profile and its source"
        ))
        .unrecoverable(),
        _ => Error::configuration(format!(
            "the credentials to call STS with, of {credentials}, could not be loaded: check their source, or log in \
             again"
        )),
    }
}

fn late_credentials(call: &Call<'_>) -> Error {
    Error::connection(format!("the credentials to call STS with, of {}, did not come in time", call.credentials))
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
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text.trim())
}

fn is_code(code: &str) -> bool {
    (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
}

#[cfg(test)]
mod tests;
