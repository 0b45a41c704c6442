//! The strategy of the method `iot`: one call to the credentials endpoint per refresh.
//!
//! Owns the request; `endpoint` has the order of a refresh. The method's constructor reads
//! certificate and key, and makes no connection.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use brs_core::{
    Clock, Error, Fingerprint, Identity, MethodParams, RefreshContext, RefreshStrategy,
    TemporaryCredentials,
};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Request, Url};

use crate::device::Device;
use crate::device::files::{Files, Set};
use crate::device::identity::DeviceIdentity;
use crate::device::server_time::ServerTime;
use crate::endpoint::call::{Limits, fetch};
use crate::endpoint::client::Clients;
use crate::endpoint::error::Call;
use crate::endpoint::failed::{Failed, Target};
use crate::endpoint::name::Endpoint;
use crate::endpoint::round::{self, Caller};
use crate::params::{MAX_ATTEMPTS, Params};

const METHOD: &str = Params::METHOD;
const THING_NAME: HeaderName = HeaderName::from_static("x-amzn-iot-thingname");
const DURATION: HeaderName = HeaderName::from_static("x-amzn-iot-credential-duration-seconds");
const USER_AGENT: &str = concat!("brs-iot/", env!("CARGO_PKG_VERSION"));
const SOURCE: &str = "iot-credentials-provider";
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
            request(&endpoint, &params)?,
            USER_AGENT,
            params.connection_limits(),
            params.proxy,
            Arc::clone(&clock),
            Arc::clone(&server_time),
            true,
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
                max_attempts: params.max_attempts.unwrap_or(MAX_ATTEMPTS),
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
}

#[async_trait]
impl Caller for Iot {
    fn method(&self) -> &'static str {
        METHOD
    }

    fn endpoint(&self) -> &str {
        &self.endpoint.authority
    }

    fn files(&self) -> &Files {
        &self.files
    }

    fn clients(&self) -> &Clients {
        &self.clients
    }

    async fn call(&self, set: &Set, cx: &RefreshContext) -> Result<TemporaryCredentials, Failed> {
        let call = Call {
            target: Target {
                endpoint: &self.endpoint.authority,
                shown: Some(&set.device),
                trust: &set.trust,
                now: cx.clock().now(),
                server_time: self.clients.server_time().now(),
            },
            role_alias: &self.role_alias,
            thing_name: self.thing_name.as_deref(),
            duration: self.duration.map(|duration| duration.as_secs()),
            device: &set.device,
        };
        fetch(&self.clients, set, self.limits, &call, cx).await
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
        round::refresh(self, cx).await
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

    fn endpoint(&self) -> Option<&str> {
        Some(&self.endpoint.authority)
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
        Some(round::refresh_timeout(self.limits, &self.files.current()))
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

/// The request, but for its time limit.
fn request(endpoint: &Endpoint, params: &Params) -> Result<Request, Error> {
    let refused = |param: &str| {
        Error::validation(format!("`{param}` cannot be sent"))
            .with_param(param)
            .unrecoverable()
    };
    let url = Url::parse(&endpoint.url(&params.role_alias)).map_err(|_| refused("endpoint"))?;
    let mut request = Request::new(reqwest::Method::GET, url);
    let headers = request.headers_mut();
    if let Some(thing_name) = &params.thing_name {
        let value = HeaderValue::from_str(thing_name).map_err(|_| refused("thing_name"))?;
        headers.insert(THING_NAME, value);
    }
    if let Some(duration) = params.duration {
        headers.insert(DURATION, HeaderValue::from(duration.as_secs()));
    }
    Ok(request)
}

#[cfg(feature = "method")]
async fn build(mut params: Params, setup: brs_core::Setup) -> Result<Iot, Error> {
    if setup.is_limited() {
        params.max_attempts.get_or_insert(1);
    }
    Iot::new(params, Arc::clone(setup.clock())).await
}

#[cfg(feature = "method")]
brs_core::register_method! {
    summary: "credentials for a device, by its X.509 certificate (AWS IoT)",
    params: Params,
    build: build,
}
