//! The method `imds`: the role of an EC2 instance, from its metadata service.
//!
//! Each refresh asks the service (version 2) once more. Unlike the AWS SDK's provider, the session
//! replaces credentials in the background before they expire, serves them through an outage of the
//! service, does not extend what the service says about their expiration, and asks for a new session
//! token if the service has forgotten the old one. The SDK's client writes that token to its log.
//!
//! ```no_run
//! # mod brs { pub use brs_core::*; pub use brs_sts as sts; }
//! # async fn example() -> Result<(), brs::Error> {
//! let session = brs::RefreshableSession::open(brs::sts::imds::Params::new()).await?;
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use brs_core::kit::{PerProcess, origin};
use brs_core::{
    Clock, Error, Fingerprint, Identity, RefreshContext, RefreshStrategy, SecretString, Setup,
    TemporaryCredentials,
};
use http::{HeaderValue, Method};
use schemars::JsonSchema;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::environment::settings::boolean;
use crate::environment::{Place, Reader, Variables, machine as environment, profiles};
use crate::methods::machine;
use crate::proof::get::{Answer, Get, local};
use crate::proof::remote::is_url;
use crate::request::fingerprint::sha256;
use crate::request::validate::{self, Invalid};

const METHOD: &str = <Params as brs_core::MethodParams>::METHOD;
const SOURCE: &str = "IMDSv2";
const DISABLED: &str = "AWS_EC2_METADATA_DISABLED";
const TOKEN: &str = "/latest/api/token";
const TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";
const TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";
/// The longest that the service grants to a session token, which the SDKs ask for.
const LIFETIME: Duration = Duration::from_secs(21_600);
/// The service is one hop away: what takes longer does not come at all.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(2);
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// The parameters of the method `imds`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "ImdsParams", default)]
#[must_use = "parameters do nothing until a session is opened with them"]
pub struct Params {
    /// Where the service is; otherwise `AWS_EC2_METADATA_SERVICE_ENDPOINT`, the profile's
    /// `ec2_metadata_service_endpoint`, or the address of the endpoint mode.
    endpoint: Option<String>,
    /// The instance's role; otherwise the service is asked for it at each refresh.
    role_name: Option<String>,
}

impl Params {
    /// Everything from the environment and the service.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the service is: `http://host:port`. Default: `AWS_EC2_METADATA_SERVICE_ENDPOINT`, the
    /// profile's `ec2_metadata_service_endpoint`, or, by `AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE` or
    /// `ec2_metadata_service_endpoint_mode`, `http://169.254.169.254` or `http://[fd00:ec2::254]`.
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// The instance's role, by its name (1–64 of `[\w+=,.@-]`). Default: the service is asked for it
    /// at each refresh, so another role that is attached later is seen.
    pub fn role_name(mut self, role_name: impl Into<String>) -> Self {
        self.role_name = Some(role_name.into());
        self
    }

    /// Checks the values that are given here.
    ///
    /// # Errors
    ///
    /// A validation error that names the field.
    pub fn validate(&self) -> Result<(), Error> {
        validate::check("endpoint", self.endpoint.as_deref(), |url| {
            let good = brs_core::kit::is_endpoint_url(url);
            good.then_some(()).ok_or(Invalid::Shape(
                "must look like `http://host:port`, without user, password or query",
            ))
        })?;
        validate::check("role_name", self.role_name.as_deref(), is_name)
    }
}

fn is_name(name: &str) -> Result<(), Invalid> {
    validate::length(name, 1, 64)?;
    let good = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    name.chars()
        .all(good)
        .then_some(())
        .ok_or(Invalid::Shape("must be a role's name: `[\\w+=,.@-]`"))
}

impl brs_core::MethodParams for Params {
    const METHOD: &'static str = "imds";
}

/// The strategy of the method `imds`.
pub struct Imds {
    role_name: Option<String>,
    endpoint: String,
    clock: Arc<dyn Clock>,
    /// A forked child gets one of its own.
    session: PerProcess<Mutex<Option<Session>>>,
}

/// A session token of the service.
#[derive(Clone)]
struct Session {
    token: SecretString,
    ends: SystemTime,
}

impl Imds {
    fn shown(&self) -> String {
        origin(&self.endpoint)
    }

    fn place(&self) -> String {
        format!("the instance metadata service at `{}`", self.shown())
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        header: (&'static str, SecretString),
    ) -> Result<Answer, Error> {
        let url = format!("{}{path}", self.endpoint.trim_end_matches('/'));
        let url = is_url(&url).ok_or_else(|| {
            Error::configuration("the endpoint of the instance metadata service is not a URL")
                .with_param("endpoint")
                .unrecoverable()
        })?;
        let request = Get {
            method,
            limit: ATTEMPT_LIMIT,
            ..Get::new(local(), url, vec![header])
        };
        request.send("the instance's credentials").await.map_err(|error| {
            Error::connection(format!(
                "{} was not reached: check that this is an EC2 instance, and in a container of one that its hop \
                 limit is at least 2 (`aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2`)",
                self.place()
            ))
            .with_source(error)
        })
    }

    /// The session token that is kept, or a new one.
    async fn token(&self) -> Result<SecretString, Error> {
        let now = self.clock.now();
        let kept = self.kept(|kept| kept.clone());
        if let Some(session) = kept.filter(|session| now < session.ends) {
            return Ok(session.token);
        }
        let ttl = (TTL_HEADER, LIFETIME.as_secs().to_string().into());
        let answer = self.send(Method::PUT, TOKEN, ttl).await?;
        let token = std::str::from_utf8(&answer.body).map(str::trim);
        match (answer.status, token) {
            (200, Ok(token)) if HeaderValue::from_str(token).is_ok() && !token.is_empty() => {
                let token = SecretString::from(token);
                let session = Session {
                    token: token.clone(),
                    // Before the service's own end of it.
                    ends: now + LIFETIME.mul_f64(0.9),
                };
                self.kept(|kept| *kept = Some(session));
                Ok(token)
            }
            (403, _) => Err(Error::request(format!(
                "{} is switched off (403): allow it with `aws ec2 modify-instance-metadata-options --http-endpoint \
                 enabled`",
                self.place()
            ))
            .with_status(403)),
            _ => Err(self.refused(answer.status, "a session token")),
        }
    }

    fn kept<T>(&self, with: impl FnOnce(&mut Option<Session>) -> T) -> T {
        let kept = self.session.get();
        with(&mut kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn get(&self, path: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut answer = self
            .send(Method::GET, path, (TOKEN_HEADER, self.token().await?))
            .await?;
        // The service may have forgotten a token before its end.
        if answer.status == 401 {
            self.kept(|kept| *kept = None);
            answer = self
                .send(Method::GET, path, (TOKEN_HEADER, self.token().await?))
                .await?;
        }
        let text = match answer.status {
            200 => return Ok(answer.body),
            404 if path == ROLES => "knows no role: attach an instance profile to this instance",
            404 => "knows no such role: check `role_name`, and the instance profile",
            status => return Err(self.refused(status, "the credentials")),
        };
        Err(Error::request(format!("{} {text}", self.place())).with_status(404))
    }

    fn refused(&self, status: u16, what: &str) -> Error {
        let text = format!("{} refused {what} with {status}", self.place());
        match status {
            429 => Error::request(text).throttled(),
            500.. => Error::request(text).retryable(),
            _ => Error::request(text),
        }
        .with_status(status)
    }
}

pub(super) async fn build(params: Params, setup: Setup) -> Result<Imds, Error> {
    params.validate()?;
    let variables = &Variables::Process;
    let disabled = variables.get(DISABLED)?;
    let problem = match disabled.as_deref().map(boolean) {
        None | Some(Some(false)) => None,
        Some(Some(true)) => Some(
            "is `true`, and the method `imds` needs the instance metadata service: unset it, or use another method",
        ),
        Some(None) => Some("is not a boolean: it must be `true` or `false`"),
    };
    if let Some(problem) = problem {
        return Err(Place::variable(DISABLED).wrong(problem));
    }
    let endpoint = match params.endpoint {
        Some(endpoint) => endpoint,
        None => {
            let profile = setup
                .profile_name()
                .map_or_else(profiles::default_name, str::to_owned);
            let profiles = profiles::load(&profile).await?;
            environment::endpoint(&Reader {
                variables,
                profiles: &profiles,
                profile: &profile,
            })?
        }
    };
    Ok(Imds {
        role_name: params.role_name,
        endpoint,
        clock: Arc::clone(setup.clock()),
        session: PerProcess::new(),
    })
}

brs_core::register_method! {
    summary: "the role of an EC2 instance, from its metadata service",
    params: Params,
    build: build,
}

#[async_trait]
impl RefreshStrategy for Imds {
    fn method(&self) -> &'static str {
        METHOD
    }

    fn source(&self) -> &'static str {
        SOURCE
    }

    async fn refresh(&self, _: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        let listed;
        let role = match &self.role_name {
            Some(name) => name.as_str(),
            None => {
                listed = self.get(ROLES).await?;
                let role = std::str::from_utf8(&listed)
                    .ok()
                    .and_then(|text| text.lines().next());
                role.map(str::trim)
                    .filter(|name| is_name(name).is_ok())
                    .ok_or_else(|| {
                        Error::credential(format!(
                            "{} gave something else than a role's name",
                            self.place()
                        ))
                    })?
            }
        };
        let body = self.get(&format!("{ROLES}{role}")).await?;
        machine::credentials(&body, &self.place())
    }

    async fn identity(&self, credentials: &TemporaryCredentials) -> Result<Identity, Error> {
        Ok(Identity::new(METHOD, SOURCE, credentials.access_key_id())
            .with_detail("endpoint", self.shown()))
    }

    /// The role of that name on this machine. Without a name it is whatever role is attached when
    /// the service is asked, which nobody can tell in advance.
    fn fingerprint(&self) -> Option<Fingerprint> {
        Some(
            Fingerprint::new(METHOD)
                .with("endpoint_sha256", sha256(&self.endpoint)?)
                .with("role_name", self.role_name.as_ref()?)
                .with("machine", machine::told()?),
        )
    }

    fn static_stability(&self) -> bool {
        true
    }
}

impl fmt::Debug for Imds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imds")
            .field("endpoint", &self.shown())
            .field("role_name", &self.role_name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_at_their_edges() {
        let name = |name: &str| Params::new().role_name(name);
        for (params, field) in [
            (Params::new(), None),
            (name("web-1_+=,.@"), None),
            (name(""), Some("role_name")),
            (name(&"x".repeat(64)), None),
            (name(&"x".repeat(65)), Some("role_name")),
            (name("a/b"), Some("role_name")),
            (name("../x"), Some("role_name")),
            (Params::new().endpoint("http://169.254.169.254"), None),
            (Params::new().endpoint("http://[fd00:ec2::254]:80/"), None),
            (Params::new().endpoint("169.254.169.254"), Some("endpoint")),
            (
                Params::new().endpoint("http://me:hush@a/"),
                Some("endpoint"),
            ),
        ] {
            let error = params.validate().err();
            assert_eq!(error.as_ref().and_then(Error::param), field, "{error:?}");
        }
    }
}
