//! The strategy of the method `iot`: one call to the credentials endpoint per refresh.
//!
//! Owns the order of a refresh: check the files, call, report. The method's constructor reads
//! certificate and key, and makes no connection.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use brs_core::kit::iso8601;
use brs_core::{
    Clock, Error, Fingerprint, Identity, MethodParams, RefreshContext, RefreshStrategy, Setup,
    TemporaryCredentials, register_method,
};

use crate::device::Device;
use crate::device::files::{Files, Set};
use crate::device::handshake::Refused;
use crate::device::identity::DeviceIdentity;
use crate::device::server_time::ServerTime;
use crate::device::tls::Trust;
use crate::endpoint::call::{Limits, fetch, within};
use crate::endpoint::client::Clients;
use crate::endpoint::error::{Call, Failed};
use crate::endpoint::name::Endpoint;
use crate::params::Params;

const METHOD: &str = Params::METHOD;
/// The name of the [warning](brs_core::Event::Warning) within 30 days of the certificate's
/// expiration, at each refresh. Its details are the `subject` and `not_after`, in ISO 8601.
pub const CERTIFICATE_EXPIRING: &str = "certificate_expiring";
const SOURCE: &str = "iot-credentials-provider";
/// The engine's own limit; and what a refresh has beyond one call, so that the call's error is the
/// one that is seen.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(30);
const MARGIN: Duration = Duration::from_secs(5);

/// The strategy of the method `iot`: what `session.strategy::<brs_iot::Iot>()` gives.
///
/// Its async functions are cancel safe: dropping a future drops what was read or begun.
pub struct Iot {
    endpoint: Endpoint,
    role_alias: String,
    thing_name: Option<String>,
    duration: Option<Duration>,
    limits: Limits,
    files: Arc<Files>,
    clients: Clients,
}

impl Iot {
    /// Checks the parameters and reads certificate, key and trust store. Makes no connection.
    ///
    /// # Errors
    ///
    /// A validation error for a wrong value. A configuration error for files that cannot be read,
    /// for a certificate and a key that do not belong together, for a certificate that is not valid
    /// now, and for a proxy in the environment that would see the certificate. A connection error
    /// if reading the files takes longer than 30 s.
    pub async fn new(params: Params, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        params.validate()?;
        let endpoint = Endpoint::parse(&params.endpoint, params.allow_any_endpoint)?;
        let server_time = Arc::new(ServerTime::new(Arc::clone(&clock)));
        let clients = Clients::new(
            &endpoint.url(&params.role_alias),
            params.thing_name.as_deref(),
            params.duration,
            params.connection_limits(),
            params.proxy,
            Arc::clone(&clock),
            Arc::clone(&server_time),
        )?;
        let accept_any = params.danger_accept_invalid_certificates;
        let files = Box::pin(Files::load(
            params.device,
            params.trust_store,
            accept_any,
            &clock,
            server_time,
        ))
        .await?;
        Ok(Self {
            endpoint,
            role_alias: params.role_alias,
            thing_name: params.thing_name,
            duration: params.duration,
            limits: Limits {
                timeout: params.timeout,
                max_attempts: params.max_attempts,
            },
            files: Arc::new(files),
            clients,
        })
    }

    /// The device in use: certificate and key as they were last adopted, or the previous ones while
    /// the endpoint refuses the new ones.
    pub fn device(&self) -> Arc<Device> {
        self.files.device()
    }

    /// The device's identity for its other connections: it follows the files as the session does.
    pub fn device_identity(&self) -> DeviceIdentity {
        DeviceIdentity::sharing(Arc::clone(&self.files))
    }

    /// The credentials endpoint: a host, and a port if one was given.
    pub fn endpoint(&self) -> &str {
        &self.endpoint.authority
    }

    /// The role alias.
    pub fn role_alias(&self) -> &str {
        &self.role_alias
    }

    /// The device's thing name, if one was given.
    pub fn thing_name(&self) -> Option<&str> {
        self.thing_name.as_deref()
    }

    async fn call(&self, set: &Set, cx: &RefreshContext) -> Result<TemporaryCredentials, Failed> {
        let call = Call {
            endpoint: &self.endpoint.authority,
            role_alias: &self.role_alias,
            thing_name: self.thing_name.as_deref(),
            duration: self.duration.map(|duration| duration.as_secs()),
            device: &set.device,
            trust: &set.trust,
            now: cx.clock().now(),
            server_time: self.clients.server_time().now(),
        };
        fetch(&self.clients, set, self.limits, &call, cx).await
    }

    /// One call with the previous device, when the endpoint refuses the new one, which may not be
    /// registered yet. The next refresh begins with the new one again.
    async fn go_back_to(
        &self,
        previous: &Set,
        failed: &Failed,
        cx: &RefreshContext,
    ) -> Option<TemporaryCredentials> {
        match self.call(previous, cx).await {
            Ok(credentials) => {
                self.files.went_back_to(previous);
                tracing::warn!(
                    method = METHOD,
                    endpoint = self.endpoint.authority,
                    error = %failed.error,
                    certificate = previous.device.certificate_sha256(),
                    "the endpoint refused the new certificate: the previous one was used, and the \
                     next refresh tries the new one again"
                );
                Some(credentials)
            }
            Err(second) => {
                if matches!(second.refused, Refused::Device | Refused::PerhapsDevice) {
                    self.files.forget_previous();
                }
                None
            }
        }
    }

    /// Reports what an operator should know, at each refresh.
    fn warn(&self, set: &Set, cx: &RefreshContext) {
        if matches!(set.trust, Trust::Anybody) {
            tracing::warn!(
                method = METHOD,
                endpoint = self.endpoint.authority,
                "the endpoint's certificate is not checked (`danger_accept_invalid_certificates`): \
                 anyone on the way can get the credentials"
            );
        }
        let (device, now) = (&set.device, self.files.now(cx.clock()));
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
}

#[async_trait]
impl RefreshStrategy for Iot {
    fn method(&self) -> &'static str {
        METHOD
    }

    fn source(&self) -> &'static str {
        SOURCE
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        // Adopting changes gets half of the time: the other half is for a call with what there is.
        let set = self
            .files
            .look(cx.clock(), Some(within(cx.time_left()) / 2))
            .await;
        self.warn(&set, cx);
        let failed = match self.call(&set, cx).await {
            Ok(credentials) => {
                self.files.accepted(&set);
                return Ok(credentials);
            }
            Err(failed) => failed,
        };
        match failed.refused {
            Refused::Device | Refused::PerhapsDevice => {
                self.clients.give_up();
                if failed.refused == Refused::Device {
                    self.files.reopen();
                }
                if let Some(previous) = self.files.refused(&set, cx.clock())
                    && let Some(credentials) = self.go_back_to(&previous, &failed, cx).await
                {
                    return Ok(credentials);
                }
            }
            Refused::Authority => self.files.reload_trust(),
            Refused::Nobody => {}
        }
        Err(match &set.problem {
            Some(problem) => failed.error.with_detail("not_taken_over", problem),
            None => failed.error,
        })
    }

    async fn identity(&self, credentials: &TemporaryCredentials) -> Result<Identity, Error> {
        let device = self.device();
        let identity = Identity::new(METHOD, SOURCE, credentials.access_key_id())
            .with_detail("endpoint", self.endpoint())
            .with_detail("role_alias", self.role_alias())
            .with_detail("certificate_subject", device.certificate_subject())
            .with_detail("certificate_sha256", device.certificate_sha256());
        Ok(match self.thing_name() {
            Some(thing_name) => identity.with_detail("thing_name", thing_name),
            None => identity,
        })
    }

    fn role(&self) -> Option<&str> {
        Some(&self.role_alias)
    }

    fn region(&self) -> Option<&str> {
        self.endpoint.region.as_deref()
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        // A certificate that is adopted later is the same thing's.
        let device = self.device();
        let asker = Fingerprint::new("certificate").with("sha256", device.certificate_sha256());
        let duration = self.duration.map(|duration| duration.as_secs());
        Some(
            Fingerprint::new(METHOD)
                .with("endpoint", self.endpoint())
                .with("role_alias", self.role_alias())
                .with("thing_name", self.thing_name())
                .with("duration", duration)
                .with("asker", asker),
        )
    }

    fn static_stability(&self) -> bool {
        true
    }

    fn refresh_timeout(&self) -> Option<Duration> {
        // A token may have to be opened, and then sign: both have its limit.
        let set = self.files.current();
        let call = self.limits.of(&set);
        Some(REFRESH_TIMEOUT.max(call + (call - self.limits.timeout) + MARGIN))
    }
}

impl fmt::Debug for Iot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iot")
            .field("endpoint", &self.endpoint.authority)
            .field("role_alias", &self.role_alias)
            .field("thing_name", &self.thing_name)
            .field("device", &self.device())
            .finish_non_exhaustive()
    }
}

async fn build(params: Params, setup: Setup) -> Result<Iot, Error> {
    Iot::new(params, Arc::clone(setup.clock())).await
}

register_method! {
    summary: "credentials for a device, by its X.509 certificate (AWS IoT)",
    params: Params,
    build: build,
}
