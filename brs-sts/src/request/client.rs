//! The settings of the STS client: what can be set, and what is refused.
//!
//! Owns [`StsClient`], its spelling as data (botocore's names) and its checks; what botocore keeps
//! in its `Config` is in `config`. What becomes of it all, an SDK client over the base
//! configuration, is `connect.rs`'s.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use brs_core::kit::{is_account_id, is_endpoint_url, is_region};
use brs_core::{Error, SecretString};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

use crate::data;
use crate::request::validate::Invalid;
use brs_core::kit;

mod config;

pub use config::RetryMode;
use config::{Config, Proxies};

/// The STS client's own settings. Whatever is not set comes from the session's base configuration.
///
/// As data, the names of the fields are botocore's (`region_name`, `aws_access_key_id`, `config`,
/// …); a setting of botocore's that is not among them is a validation error that names it.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[must_use]
pub struct StsClient {
    /// The region whose STS is asked.
    #[serde(alias = "region_name")]
    pub(crate) region: Option<String>,
    /// The endpoint, `https://…` or `http://…`.
    pub(crate) endpoint_url: Option<String>,
    /// `true`; `false` only with an `http://` endpoint URL.
    use_ssl: Option<bool>,
    /// The path of a CA bundle, or `true` for the system's certificates whatever the environment
    /// says.
    pub(crate) verify: Option<Verify>,
    /// `2011-06-15`.
    api_version: Option<String>,
    /// `sts`; anything else is ignored.
    service_name: Option<String>,
    pub(crate) aws_access_key_id: Option<String>,
    pub(crate) aws_secret_access_key: Option<SecretString>,
    pub(crate) aws_session_token: Option<SecretString>,
    pub(crate) aws_account_id: Option<String>,
    /// Retries, time-outs, proxies.
    #[serde(deserialize_with = "data::map_or_default")]
    pub(crate) config: Config,
    #[serde(skip)]
    pub(crate) credentials_provider: Option<SharedCredentialsProvider>,
}

/// Whom to trust.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verify {
    Switch(bool),
    Bundle(PathBuf),
}

impl StsClient {
    /// No settings: everything comes from the base configuration.
    pub fn new() -> Self {
        Self::default()
    }

    /// The region whose STS is asked (`sts.<region>.amazonaws.com`). Default: the session's region.
    ///
    /// A nearer region answers faster and keeps the session independent of others' outages.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// The endpoint to ask instead of the region's: a VPC endpoint or a test server, `https://…` or
    /// `http://…`.
    ///
    /// Default: `AWS_ENDPOINT_URL_STS`, the base configuration's endpoint URL, or else the region's
    /// endpoint.
    pub fn endpoint_url(mut self, endpoint_url: impl Into<String>) -> Self {
        self.endpoint_url = Some(endpoint_url.into());
        self
    }

    /// A PEM file with the certificates to trust instead of the system's, at most 1 MiB (botocore's
    /// `verify`).
    ///
    /// Default: the file that `AWS_CA_BUNDLE` or the profile's `ca_bundle` names, else the system's
    /// certificates; as data, `true` asks for the latter. The file is read once, when the session
    /// is built. There is no way to switch verification off.
    pub fn ca_bundle(mut self, path: impl Into<PathBuf>) -> Self {
        self.verify = Some(Verify::Bundle(path.into()));
        self
    }

    /// The base credentials with which STS is called. Default: those of the session's base
    /// configuration.
    pub fn credentials(
        mut self,
        access_key_id: impl Into<String>,
        secret_access_key: impl Into<SecretString>,
        session_token: Option<SecretString>,
    ) -> Self {
        self.aws_access_key_id = Some(access_key_id.into());
        self.aws_secret_access_key = Some(secret_access_key.into());
        self.aws_session_token = session_token;
        self
    }

    /// The 12-digit account of [`credentials`](Self::credentials). Default: unknown.
    pub fn account_id(mut self, account_id: impl Into<String>) -> Self {
        self.aws_account_id = Some(account_id.into());
        self
    }

    /// What provides the base credentials. It is asked once per call to STS. Default: the session's
    /// base configuration.
    pub fn credentials_provider(mut self, provider: impl ProvideCredentials + 'static) -> Self {
        self.credentials_provider = Some(SharedCredentialsProvider::new(provider));
        self
    }

    /// Whether the region's FIPS endpoint is asked (`sts-fips.<region>.amazonaws.com`). Default:
    /// `AWS_USE_FIPS_ENDPOINT`, the profile's `use_fips_endpoint`, else no.
    pub fn use_fips(mut self, use_fips: bool) -> Self {
        self.config.use_fips_endpoint = Some(use_fips);
        self
    }

    /// Whether the region's endpoint with IPv6 is asked (`sts.<region>.api.aws`). Default:
    /// `AWS_USE_DUALSTACK_ENDPOINT`, the profile's `use_dualstack_endpoint`, else no.
    pub fn use_dual_stack(mut self, use_dual_stack: bool) -> Self {
        self.config.use_dualstack_endpoint = Some(use_dual_stack);
        self
    }

    /// How often one refresh tries STS, the first call included: 1–100. Default: the base
    /// configuration's, which is 3.
    ///
    /// More tries ride out longer trouble within one refresh; all of them stay within the refresh's
    /// time limit. In data the names are botocore's and mean what they mean there:
    /// `retries.total_max_attempts` is this setting, `retries.max_attempts` leaves the first call
    /// out (0–99), and the former takes precedence if both are given.
    pub fn max_attempts(mut self, max_attempts: u32) -> Self {
        self.config.retries.total_max_attempts = Some(max_attempts);
        self
    }

    /// How retries are paced. Default: the base configuration's, which is [`RetryMode::Standard`].
    pub fn retry_mode(mut self, mode: RetryMode) -> Self {
        self.config.retries.mode = Some(mode);
        self
    }

    /// How long connecting may take, above zero. Default: the base configuration's, which is 3.1 s.
    ///
    /// A smaller value gives up on a dead address sooner, a larger one suits slow links.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.connect_timeout = Some(timeout);
        self
    }

    /// How long an answer may take to begin, above zero. Default: the base configuration's, else
    /// the refresh's time limit.
    pub fn read_timeout(mut self, timeout: Duration) -> Self {
        self.config.read_timeout = Some(timeout);
        self
    }

    /// The proxy to go through, `http://…` or `https://…`, with user and password if it wants them.
    ///
    /// Default: that of the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`). The URL is never
    /// shown.
    pub fn proxy(mut self, url: impl Into<SecretString>) -> Self {
        let url = url.into();
        self.config.proxies = Proxies {
            http: Some(url.clone()),
            https: Some(url),
        };
        self
    }

    /// The application's name in the `User-Agent`: letters, digits and ``!#$%&'*+-.^_`|~``.
    /// Default: the base configuration's.
    pub fn app_name(mut self, app_name: impl Into<String>) -> Self {
        self.config.app_name = Some(app_name.into());
        self
    }

    /// The same, but for who signs.
    pub(crate) fn without_credentials(&self) -> Self {
        Self {
            aws_access_key_id: None,
            aws_secret_access_key: None,
            aws_session_token: None,
            aws_account_id: None,
            credentials_provider: None,
            ..self.clone()
        }
    }

    /// Whether clients with either settings are the same. Providers are never known to be.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        // Every field is named, so that a new one is not forgotten.
        let Self {
            region,
            endpoint_url,
            use_ssl,
            verify,
            api_version: _,
            service_name: _,
            aws_access_key_id,
            aws_secret_access_key,
            aws_session_token,
            aws_account_id,
            config,
            credentials_provider,
        } = self;
        credentials_provider.is_none()
            && other.credentials_provider.is_none()
            && (region, endpoint_url, use_ssl)
                == (&other.region, &other.endpoint_url, &other.use_ssl)
            && (verify, config) == (&other.verify, &other.config)
            && (aws_access_key_id, aws_secret_access_key)
                == (&other.aws_access_key_id, &other.aws_secret_access_key)
            && (aws_session_token, aws_account_id)
                == (&other.aws_session_token, &other.aws_account_id)
    }

    /// Whether they say who signs.
    pub(crate) fn has_credentials(&self) -> bool {
        self.aws_access_key_id.is_some() || self.credentials_provider.is_some()
    }

    /// These settings, and where they say nothing those of the session beneath, but for its
    /// credentials. `elsewhere`: the session was told another region than that one's, so where STS
    /// is does not follow from it.
    pub(crate) fn inheriting(&self, beneath: &Self, elsewhere: bool) -> Self {
        let mut out = self.clone();
        if !elsewhere && out.region.is_none() && out.endpoint_url.is_none() {
            out.region.clone_from(&beneath.region);
            out.endpoint_url.clone_from(&beneath.endpoint_url);
            out.use_ssl = out.use_ssl.or(beneath.use_ssl);
        }
        out.verify = out.verify.or_else(|| beneath.verify.clone());
        out.config = out.config.inheriting(&beneath.config);
        out
    }

    /// `use_ssl: false` is botocore's way of asking for `http://`, which here only the endpoint URL
    /// says.
    pub(crate) fn check_use_ssl(&self, is_plain: bool) -> Result<(), Error> {
        if self.use_ssl == Some(false) && !is_plain {
            return Err(
                Invalid::Shape("is `false` only together with an `http://` endpoint URL")
                    .at("client.use_ssl"),
            );
        }
        Ok(())
    }

    /// Checks what can be checked without reading a file or knowing the base configuration.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        if let Some(service) = self
            .service_name
            .as_deref()
            .filter(|service| *service != "sts")
        {
            let service: String = service.chars().take(64).collect();
            tracing::warn!(
                service,
                "`client.service_name` is ignored: this client is always one of STS"
            );
        }
        if self
            .api_version
            .as_deref()
            .is_some_and(|version| version != "2011-06-15")
        {
            return Err(
                Invalid::Shape("must be `2011-06-15`, the only version of STS")
                    .at("client.api_version"),
            );
        }
        if self
            .region
            .as_deref()
            .is_some_and(|region| !is_region(region))
        {
            return Err(
                Invalid::Shape("must be a region's name, such as `eu-west-1`").at("client.region"),
            );
        }
        if self
            .endpoint_url
            .as_deref()
            .is_some_and(|url| !is_endpoint_url(url))
        {
            return Err(Invalid::Shape(
                "must be `https://` or `http://`, a host and perhaps a port and a path",
            )
            .at("client.endpoint_url"));
        }
        if matches!(self.verify, Some(Verify::Switch(false))) {
            return Err(Invalid::Shape(
                "cannot be `false`, since TLS verification cannot be switched off: give the path of a CA bundle that \
                 holds the endpoint's issuer",
            )
            .at("client.verify"));
        }
        self.validate_credentials()?;
        self.config.validate()
    }

    fn validate_credentials(&self) -> Result<(), Error> {
        let missing = |field: &str, needs: &str| {
            Error::configuration(format!("`client.{field}` needs `client.{needs}`"))
                .with_param(format!("client.{needs}"))
                .unrecoverable()
        };
        match (&self.aws_access_key_id, &self.aws_secret_access_key) {
            (Some(_), None) => return Err(missing("aws_access_key_id", "aws_secret_access_key")),
            (None, Some(_)) => return Err(missing("aws_secret_access_key", "aws_access_key_id")),
            (None, None) if self.aws_session_token.is_some() => {
                return Err(missing("aws_session_token", "aws_access_key_id"));
            }
            (None, None) if self.aws_account_id.is_some() => {
                return Err(missing("aws_account_id", "aws_access_key_id"));
            }
            (Some(_), Some(_)) if self.credentials_provider.is_some() => {
                return Err(Error::configuration(
                    "the STS client has both keys and a credentials provider: set only one of them",
                )
                .with_param("client.aws_access_key_id")
                .unrecoverable());
            }
            _ => {}
        }
        for (field, is_empty) in [
            (
                "aws_access_key_id",
                self.aws_access_key_id.as_deref().is_some_and(str::is_empty),
            ),
            (
                "aws_secret_access_key",
                self.aws_secret_access_key
                    .as_ref()
                    .is_some_and(|key| key.expose().is_empty()),
            ),
            (
                "aws_session_token",
                self.aws_session_token
                    .as_ref()
                    .is_some_and(|token| token.expose().is_empty()),
            ),
        ] {
            if is_empty {
                return Err(Invalid::Shape("is empty").at(format!("client.{field}")));
            }
        }
        match &self.aws_account_id {
            Some(account) if !is_account_id(account) => {
                Err(Invalid::Shape("must be 12 digits").at("client.aws_account_id"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for StsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StsClient")
            .field("region", &self.region)
            .field(
                "endpoint_url",
                &self.endpoint_url.as_deref().map(|url| kit::clean(url, &[])),
            )
            .field("verify", &self.verify)
            .field("aws_access_key_id", &self.aws_access_key_id)
            .field("aws_secret_access_key", &self.aws_secret_access_key)
            .field("aws_session_token", &self.aws_session_token)
            .field("aws_account_id", &self.aws_account_id)
            .field("max_attempts", &self.config.retries.total())
            .field("retry_mode", &self.config.retries.mode)
            .field("connect_timeout", &self.config.connect_timeout)
            .field("read_timeout", &self.config.read_timeout)
            .field(
                "proxies",
                &self
                    .config
                    .proxies
                    .https
                    .as_ref()
                    .or(self.config.proxies.http.as_ref()),
            )
            .field("app_name", &self.config.app_name)
            .field("credentials_provider", &self.credentials_provider.is_some())
            .finish_non_exhaustive()
    }
}

impl<'de> Deserialize<'de> for Verify {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BoolOrPath;
        impl Visitor<'_> for BoolOrPath {
            type Value = Verify;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`true`, or the path of a CA bundle")
            }

            fn visit_bool<E>(self, on: bool) -> Result<Verify, E> {
                Ok(Verify::Switch(on))
            }

            fn visit_str<E>(self, path: &str) -> Result<Verify, E> {
                Ok(Verify::Bundle(path.into()))
            }
        }
        deserializer.deserialize_any(BoolOrPath)
    }
}

impl JsonSchema for Verify {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Verify".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [{ "const": true }, { "type": "string" }] })
    }
}

#[cfg(test)]
mod tests;
