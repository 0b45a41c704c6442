//! One `CreateSession`: the request of each attempt, and brs's errors for what AWS answers.
//!
//! Attempts, waits and time limits are `brs-iot`'s.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use brs_core::kit::clean;
use brs_core::{Error, TemporaryCredentials};
use brs_iot::__private::{Answer, Ask, Failed, Target, is_code, message};
use brs_iot::Device;
use reqwest::Request;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};

use super::refusal::Refusal;
use super::response;
use crate::request::presented::Presented;
use crate::request::signature::ToSign;

/// What is asked for, and what messages need.
pub(crate) struct Call<'a> {
    pub(crate) target: Target<'a>,
    pub(crate) device: &'a Device,
    pub(crate) presented: Presented,
    pub(crate) trust_anchor_arn: &'a str,
    pub(crate) trust_anchor_id: &'a str,
    pub(crate) profile_arn: &'a str,
    pub(crate) profile_id: &'a str,
    pub(crate) role_arn: &'a str,
    pub(crate) region: &'a str,
    pub(crate) body: &'a [u8],
    /// What the signature is dated by.
    pub(crate) now: Box<dyn Fn() -> SystemTime + Send + Sync + 'a>,
    /// Whether AWS has refused that date.
    pub(crate) refused_the_date: AtomicBool,
}

#[async_trait]
impl Ask for Call<'_> {
    fn target(&self) -> &Target<'_> {
        &self.target
    }

    async fn complete(&self, mut request: Request, limit: Duration) -> Result<Request, Failed> {
        let to_sign = ToSign {
            host: self.target.endpoint,
            region: self.region,
            presented: &self.presented,
            body: self.body,
            now: (self.now)(),
        };
        let signature = self
            .device
            .sign_sha256(to_sign.string_to_sign().as_bytes(), limit)
            .await
            .map_err(Failed::of_token)?;
        let headers = request.headers_mut();
        for (name, value) in to_sign.headers() {
            headers.insert(HeaderName::from_static(name), sendable(&value)?);
        }
        headers.insert(AUTHORIZATION, sendable(&to_sign.authorization(&signature))?);
        *request.body_mut() = Some(self.body.to_vec().into());
        Ok(request)
    }

    fn is_success(&self, status: u16) -> bool {
        (200..300).contains(&status)
    }

    fn read(&self, answer: &Answer) -> Result<TemporaryCredentials, String> {
        response::credentials(&answer.body)
    }

    fn refused(&self, answer: &Answer) -> Failed {
        let text = message(&answer.body)
            .map(|text| clean(&text, &[]))
            .filter(|text| !text.is_empty());
        let header = answer.code.clone().filter(|code| is_code(code));
        let code = header.or_else(|| response::code(&answer.body));
        let refusal = Refusal::of(answer.status, code.as_deref(), text.as_deref());
        if refusal == Refusal::Time {
            self.refused_the_date.store(true, Ordering::Relaxed);
        }
        let error = match refusal {
            Refusal::NotAws => Error::credential(refusal.text(answer.status, None, self)),
            _ => Error::request(refusal.text(answer.status, text.as_deref(), self)),
        };
        let mut error = match refusal {
            Refusal::Throttled => error.throttled(),
            Refusal::Trouble => error.retryable(),
            // A clock may be set.
            Refusal::NotAws | Refusal::Time => error,
            _ => error.unrecoverable(),
        };
        if let Some(param) = refusal.param() {
            error = error.with_param(param);
        }
        if let Some(code) = code {
            error = error.with_code(code);
        }
        if let Some(text) = text.filter(|_| refusal != Refusal::NotAws) {
            error = error.with_detail("aws_message", text);
        }
        let wait = answer.asked_wait(&self.target);
        if let Some(wait) = wait {
            error = error.with_detail("retry_after", format!("{} s", wait.as_secs()));
        }
        Failed {
            again: matches!(refusal, Refusal::Throttled | Refusal::Trouble),
            refused: refusal.refused(),
            wait,
            ..Failed::at_rest(answer.tell(error))
        }
    }
}

fn sendable(value: &str) -> Result<HeaderValue, Failed> {
    HeaderValue::from_str(value).map_err(|error| {
        Failed::at_rest(
            Error::configuration("the request has a header that cannot be sent")
                .with_source(error)
                .unrecoverable(),
        )
    })
}
