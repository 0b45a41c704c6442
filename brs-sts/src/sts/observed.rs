//! What is seen of a call beside its outcome: where the request went, by whose key, whether it was
//! sent, what time the server has.
//!
//! One [`Observed`] belongs to one call; its [`Observer`] goes into the SDK and never fails the
//! call.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use aws_sdk_sts::config::{ConfigBag, Intercept};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::date_time::{DateTime, Format};

use brs_core::kit;

/// The notes on one call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed(Arc<Mutex<Notes>>);

#[derive(Debug, Default)]
struct Notes {
    endpoint: Option<String>,
    sent: bool,
    access_key_id: Option<String>,
    server_time: Option<SystemTime>,
}

impl Observed {
    /// What to give to the SDK.
    pub(crate) fn observer(&self) -> impl Intercept + 'static {
        Observer(self.clone())
    }

    /// Where a request went: scheme, host and port.
    pub(crate) fn endpoint(&self) -> Option<String> {
        self.notes().endpoint.clone()
    }

    /// Whether the last attempt was sent, or was still to be prepared: the credentials loaded, the
    /// request signed.
    pub(crate) fn sent(&self) -> bool {
        self.notes().sent
    }

    /// The key that signed the last attempt.
    pub(crate) fn access_key_id(&self) -> Option<String> {
        self.notes().access_key_id.clone()
    }

    /// The `Date` of the last answer.
    pub(crate) fn server_time(&self) -> Option<SystemTime> {
        self.notes().server_time
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The key id in a SigV4 `Authorization` header.
fn signer(authorization: &str) -> Option<&str> {
    let (_, credential) = authorization.split_once("Credential=")?;
    credential.split_once('/').map(|(key, _)| key)
}

#[derive(Debug)]
struct Observer(Observed);

#[dyn_dispatch_hint]
impl Intercept for Observer {
    fn name(&self) -> &'static str {
        "BrsObserver"
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.notes().sent = false;
        Ok(())
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let endpoint = kit::origin(context.request().uri());
        let key = context
            .request()
            .headers()
            .get("authorization")
            .and_then(signer);
        let mut notes = self.0.notes();
        notes.access_key_id = key.map(str::to_owned);
        notes.endpoint = Some(endpoint);
        notes.sent = true;
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
        self.0.notes().server_time = date.and_then(|date| date.try_into().ok());
        Ok(())
    }
}
