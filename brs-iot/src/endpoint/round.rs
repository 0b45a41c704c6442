//! One refresh of a method that calls an endpoint with a device: check the files, call, report.
//!
//! Owns the order, and what follows from an endpoint that refuses the device: the previous one is
//! used once more, a token is opened again, the authorities are reloaded.

use std::time::Duration;

use async_trait::async_trait;
use brs_core::kit::iso8601;
use brs_core::{Error, RefreshContext, TemporaryCredentials};

use crate::device::files::{Files, Set};
use crate::device::handshake::Refused;
use crate::device::tls::Trust;
use crate::endpoint::call::{Limits, within};
use crate::endpoint::client::Clients;
use crate::endpoint::failed::Failed;

/// The name of the [warning](brs_core::Event::Warning) within 30 days of the certificate's
/// expiration, at each refresh. Its details are the `subject` and `not_after`, in ISO 8601.
pub const CERTIFICATE_EXPIRING: &str = "certificate_expiring";
/// The engine's own limit; and what a refresh has beyond one call, so that the call's error is the
/// one that is seen.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(30);
const MARGIN: Duration = Duration::from_secs(5);

/// A method that calls an endpoint with a device.
#[async_trait]
pub trait Caller: Send + Sync {
    /// Its name.
    fn method(&self) -> &'static str;

    /// The endpoint, for messages.
    fn endpoint(&self) -> &str;

    /// Certificate, key and trust.
    fn files(&self) -> &Files;

    /// The HTTP clients.
    fn clients(&self) -> &Clients;

    /// Fetches credentials with that device.
    async fn call(&self, set: &Set, cx: &RefreshContext) -> Result<TemporaryCredentials, Failed>;
}

/// One refresh.
///
/// # Errors
///
/// That of the last call; with a detail if newer files could not be used.
///
/// # Cancel safety
///
/// What was read or begun is dropped.
pub async fn refresh(
    caller: &dyn Caller,
    cx: &RefreshContext,
) -> Result<TemporaryCredentials, Error> {
    let files = caller.files();
    // Adopting changes gets half of the time: the other half is for a call with what there is.
    let left = within(cx.time_left()) / 2;
    let set = files.look(cx.clock(), Some(left)).await;
    warn(caller, &set, cx);
    let failed = match caller.call(&set, cx).await {
        Ok(credentials) => {
            files.accepted(&set);
            return Ok(credentials);
        }
        Err(failed) => failed,
    };
    match failed.refused {
        Refused::Device | Refused::PerhapsDevice => {
            caller.clients().give_up();
            if failed.refused == Refused::Device {
                files.reopen();
            }
            if let Some(previous) = files.refused(&set, cx.clock())
                && let Some(credentials) = go_back_to(caller, &previous, &failed, cx).await
            {
                return Ok(credentials);
            }
        }
        Refused::Authority => files.reload_trust(),
        Refused::Nobody => {}
    }
    Err(match &set.problem {
        Some(problem) => failed.error.with_detail("not_taken_over", problem),
        None => failed.error,
    })
}

/// How long a refresh may take: a token may have to be opened, and then sign, and both have its
/// limit.
pub fn refresh_timeout(limits: Limits, set: &Set) -> Duration {
    let call = limits.of(set);
    REFRESH_TIMEOUT.max(call + (call - limits.timeout) + MARGIN)
}

/// One call with the previous device, when the endpoint refuses the new one, which may not be
/// registered yet. The next refresh begins with the new one again.
async fn go_back_to(
    caller: &dyn Caller,
    previous: &Set,
    failed: &Failed,
    cx: &RefreshContext,
) -> Option<TemporaryCredentials> {
    match caller.call(previous, cx).await {
        Ok(credentials) => {
            caller.files().went_back_to(previous);
            tracing::warn!(
                method = caller.method(),
                endpoint = caller.endpoint(),
                error = %failed.error,
                certificate = previous.device.certificate_sha256(),
                "the endpoint refused the new certificate: the previous one was used, and the \
                 next refresh tries the new one again"
            );
            Some(credentials)
        }
        Err(second) => {
            if matches!(second.refused, Refused::Device | Refused::PerhapsDevice) {
                caller.files().forget_previous();
            }
            None
        }
    }
}

/// Reports what an operator should know, at each refresh.
fn warn(caller: &dyn Caller, set: &Set, cx: &RefreshContext) {
    if matches!(set.trust, Trust::Anybody) {
        tracing::warn!(
            method = caller.method(),
            endpoint = caller.endpoint(),
            "the endpoint's certificate is not checked (`danger_accept_invalid_certificates`): \
             anyone on the way can get the credentials"
        );
    }
    let (device, now) = (&set.device, caller.files().now(cx.clock()));
    if !device.is_near_its_end(now) {
        return;
    }
    let (subject, not_after) = (device.certificate_subject(), iso8601(device.not_after()));
    cx.warn(
        CERTIFICATE_EXPIRING,
        format!("the certificate of `{subject}` expires at {not_after}: replace it"),
        [("subject", subject.to_owned()), ("not_after", not_after)],
    );
}
