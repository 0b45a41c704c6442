//! The strategy of the method `roles-anywhere`: one signed call per refresh.
//!
//! Owns what a call is made of. The order of a refresh, its attempts and its files are `brs-iot`'s.
//! The method's constructor reads certificate and key, and makes no connection.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use brs_core::kit::iso8601;
use brs_core::{
    Clock, Error, Fingerprint, Identity, MethodParams, RefreshContext, RefreshStrategy, Setup,
    TemporaryCredentials, register_method,
};
use brs_iot::__private::{
    Caller, Clients, Failed, Files, Limits, Refused, ServerTime, Set, Target, fetch, refresh,
    refresh_timeout,
};
use brs_iot::Device;
use reqwest::{Request, Url};

use crate::params::{MAX_ATTEMPTS, Params};
use crate::request::presented::Presented;
use crate::request::signature::PATH;
use crate::service::arn::Arns;
use crate::service::call::Call;
use crate::service::configured::{Beside, Given};

const METHOD: &str = Params::METHOD;
const SOURCE: &str = "iam-roles-anywhere";
const USER_AGENT: &str = concat!("brs-roles-anywhere/", env!("CARGO_PKG_VERSION"));

/// The strategy of the method `roles-anywhere`: what
/// `session.strategy::<brs_roles_anywhere::RolesAnywhere>()` gives.
///
/// Its async functions are cancel safe: dropping a future drops what was read or begun.
pub struct RolesAnywhere {
    host: String,
    trust_anchor_arn: String,
    trust_anchor_id: String,
    profile_arn: String,
    profile_id: String,
    role_arn: String,
    account: String,
    region: String,
    body: Vec<u8>,
    limits: Limits,
    files: Files,
    clients: Clients,
    clock: Arc<dyn Clock>,
    /// Whether AWS has refused a date of the session's clock: then its own dates count.
    dates_by_aws: AtomicBool,
}

impl RolesAnywhere {
    /// Checks the parameters and reads certificate, key and trust store. Makes no connection.
    ///
    /// # Errors
    ///
    /// A validation error for a wrong value. A configuration error for files that cannot be read,
    /// for a certificate and a key that do not belong together, for a certificate that is not valid
    /// now or that AWS does not accept, for certificates that are no chain, and for a region
    /// without FIPS endpoint. A connection error if reading the files takes longer than 30 s.
    pub async fn new(params: Params, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        Self::beside(params, clock, Beside::default()).await
    }

    async fn beside(params: Params, clock: Arc<dyn Clock>, beside: Beside) -> Result<Self, Error> {
        params.validate()?;
        let arns = Arns::parse(
            &params.trust_anchor_arn,
            &params.profile_arn,
            &params.role_arn,
        )?;
        let given = Given {
            endpoint_url: params.endpoint_url.as_deref(),
            use_fips: params.use_fips,
            use_dual_stack: params.use_dual_stack,
        };
        let host = beside.host(&arns.trust_anchor, given)?;
        let url = Url::parse(&format!("https://{host}{PATH}")).map_err(|_| {
            Error::validation("`endpoint_url` is not a URL")
                .with_param("endpoint_url")
                .unrecoverable()
        })?;
        let server_time = Arc::new(ServerTime::new(Arc::clone(&clock)));
        let clients = Clients::new(
            Request::new(reqwest::Method::POST, url),
            USER_AGENT,
            [params.timeout / 2, params.timeout],
            params.proxy.clone(),
            Arc::clone(&clock),
            Arc::clone(&server_time),
            false,
        )?;
        let body = params.body();
        let [trust_anchor_id, profile_id] =
            [arns.trust_anchor.id, arns.profile.id].map(str::to_owned);
        let (account, region) = (
            arns.role.account.to_owned(),
            arns.trust_anchor.region.to_owned(),
        );
        let files = Box::pin(Files::load(
            params.device,
            params.trust_store,
            false,
            &clock,
            server_time,
        ))
        .await?;
        Presented::of(&files.device())?;
        Ok(Self {
            host,
            trust_anchor_arn: params.trust_anchor_arn,
            trust_anchor_id,
            profile_arn: params.profile_arn,
            profile_id,
            role_arn: params.role_arn,
            account,
            region,
            body,
            limits: Limits {
                timeout: params.timeout,
                max_attempts: params.max_attempts.unwrap_or(MAX_ATTEMPTS),
            },
            files,
            clients,
            clock,
            dates_by_aws: AtomicBool::new(false),
        })
    }

    /// The certificate and key in use, as they were last adopted, or the previous ones while AWS
    /// refuses the new ones.
    pub fn device(&self) -> Arc<Device> {
        self.files.device()
    }

    /// The endpoint: a host, and a port if one was given.
    pub fn endpoint(&self) -> &str {
        &self.host
    }

    /// The trust anchor's ARN.
    pub fn trust_anchor_arn(&self) -> &str {
        &self.trust_anchor_arn
    }

    /// The profile's ARN.
    pub fn profile_arn(&self) -> &str {
        &self.profile_arn
    }

    /// The role's ARN.
    pub fn role_arn(&self) -> &str {
        &self.role_arn
    }

    /// One call with as many attempts as are useful; and whether AWS refused the signature's date.
    async fn once(
        &self,
        set: &Set,
        cx: &RefreshContext,
    ) -> (Result<TemporaryCredentials, Failed>, bool) {
        let presented = match Presented::of(&set.device) {
            Ok(presented) => presented,
            // As if AWS had said so: the previous certificate may be accepted.
            Err(error) => {
                let failed = Failed {
                    refused: Refused::Device,
                    ..Failed::at_rest(error)
                };
                return (Err(failed), false);
            }
        };
        let server_time = self.clients.server_time();
        let call = Call {
            target: Target {
                endpoint: &self.host,
                shown: None,
                trust: &set.trust,
                now: cx.clock().now(),
                server_time: server_time.now(),
            },
            device: &set.device,
            presented,
            trust_anchor_arn: &self.trust_anchor_arn,
            trust_anchor_id: &self.trust_anchor_id,
            profile_arn: &self.profile_arn,
            profile_id: &self.profile_id,
            role_arn: &self.role_arn,
            region: &self.region,
            body: &self.body,
            now: Box::new(|| {
                let by_aws = self.dates_by_aws.load(Ordering::Relaxed);
                let of_aws = by_aws.then(|| server_time.now()).flatten();
                of_aws.unwrap_or_else(|| cx.clock().now())
            }),
            refused_the_date: AtomicBool::new(false),
        };
        let outcome = fetch(&self.clients, set, self.limits, &call, cx).await;
        (outcome, call.refused_the_date.into_inner())
    }
}

#[async_trait]
impl Caller for RolesAnywhere {
    fn method(&self) -> &'static str {
        METHOD
    }

    fn endpoint(&self) -> &str {
        &self.host
    }

    fn files(&self) -> &Files {
        &self.files
    }

    fn clients(&self) -> &Clients {
        &self.clients
    }

    async fn call(&self, set: &Set, cx: &RefreshContext) -> Result<TemporaryCredentials, Failed> {
        let outcome = match self.once(set, cx).await {
            // The answer's date is known by now.
            (Err(failed), true) if self.clients.server_time().now().is_some() => {
                self.dates_by_aws.store(true, Ordering::Relaxed);
                tracing::warn!(
                    method = METHOD,
                    endpoint = self.host,
                    error = %failed.error,
                    "this machine's clock is wrong: calls are dated by the endpoint's answers"
                );
                self.once(set, cx).await.0
            }
            (outcome, _) => outcome,
        };
        outcome.map(|credentials| credentials.with_account_id(&self.account))
    }
}

#[async_trait]
impl RefreshStrategy for RolesAnywhere {
    fn method(&self) -> &'static str {
        METHOD
    }

    fn source(&self) -> &'static str {
        SOURCE
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        refresh(self, cx).await
    }

    async fn identity(&self, credentials: &TemporaryCredentials) -> Result<Identity, Error> {
        let device = self.device();
        let left = device
            .not_after()
            .duration_since(self.files.now(&self.clock));
        let days = left.map_or(0, |left| left.as_secs() / 86_400);
        Ok(Identity::new(METHOD, SOURCE, credentials.access_key_id())
            .with_detail("endpoint", &self.host)
            .with_detail("trust_anchor_arn", &self.trust_anchor_arn)
            .with_detail("profile_arn", &self.profile_arn)
            .with_detail("role_arn", &self.role_arn)
            .with_detail("certificate_subject", device.certificate_subject())
            .with_detail("certificate_serial", device.certificate_serial())
            .with_detail("certificate_not_after", iso8601(device.not_after()))
            .with_detail("certificate_days_left", days.to_string()))
    }

    fn role(&self) -> Option<&str> {
        Some(&self.role_arn)
    }

    fn region(&self) -> Option<&str> {
        Some(&self.region)
    }

    fn endpoint(&self) -> Option<&str> {
        Some(&self.host)
    }

    fn static_stability(&self) -> bool {
        true
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        let properties: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        Some(
            Fingerprint::new(METHOD)
                .with("endpoint", &self.host)
                .with("request", properties)
                .with("certificate_sha256", self.device().certificate_sha256()),
        )
    }

    fn refresh_timeout(&self) -> Option<Duration> {
        Some(refresh_timeout(self.limits, &self.files.current()))
    }
}

impl fmt::Debug for RolesAnywhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RolesAnywhere")
            .field("endpoint", &self.host)
            .field("trust_anchor_arn", &self.trust_anchor_arn)
            .field("profile_arn", &self.profile_arn)
            .field("role_arn", &self.role_arn)
            .field("device", &self.device())
            .finish_non_exhaustive()
    }
}

async fn build(mut params: Params, setup: Setup) -> Result<RolesAnywhere, Error> {
    if setup.is_limited() {
        params.max_attempts.get_or_insert(1);
    }
    let beside = Beside::of(setup.base())?;
    RolesAnywhere::beside(params, Arc::clone(setup.clock()), beside).await
}

register_method! {
    summary: "credentials for the holder of an X.509 certificate (IAM Roles Anywhere)",
    params: Params,
    build: build,
}
