//! brs's errors for what AWS IoT refuses.
//!
//! Owns the meaning of AWS's answers, each with the setting to look at and the command that shows
//! it, including whether an immediate retry may succeed. AWS's messages are quoted as a detail; a
//! body never is.

use brs_core::kit::clean;
use brs_core::{Error, TemporaryCredentials};

use super::call::Ask;
use super::failed::{Answer, Failed, Target, is_code};
use super::refusal::Refusal;
use super::response::{self, message};
use crate::device::Device;
use crate::device::handshake::Refused;

/// What was called, for messages.
pub(crate) struct Call<'a> {
    pub(crate) target: Target<'a>,
    pub(crate) role_alias: &'a str,
    pub(crate) thing_name: Option<&'a str>,
    /// Seconds.
    pub(crate) duration: Option<u64>,
    pub(crate) device: &'a Device,
}

impl Ask for Call<'_> {
    fn target(&self) -> &Target<'_> {
        &self.target
    }

    fn is_success(&self, status: u16) -> bool {
        status == 200
    }

    fn read(&self, answer: &Answer) -> Result<TemporaryCredentials, String> {
        response::credentials(&answer.body)
    }

    fn refused(&self, answer: &Answer) -> Failed {
        refused(answer, self)
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
    let wait = answer.asked_wait(&call.target);
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
        ..Failed::at_rest(answer.tell(error))
    }
}

#[cfg(test)]
mod tests;
