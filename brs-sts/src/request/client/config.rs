//! Retries, time-outs, proxies: the part of botocore's `Config` that has a counterpart here.
//!
//! Owns the names and what they mean, which is botocore's meaning where botocore has the name.

use std::time::Duration;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_types::app_name::AppName;
use brs_core::{Error, SecretString};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::data;
use crate::request::validate::Invalid;

/// The part of botocore's `Config` that has a counterpart here.
#[derive(Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    #[serde(deserialize_with = "data::map_or_default")]
    pub(crate) retries: Retries,
    /// Seconds.
    #[serde(deserialize_with = "data::seconds")]
    #[schemars(with = "Option<f64>")]
    pub(crate) connect_timeout: Option<Duration>,
    /// Seconds.
    #[serde(deserialize_with = "data::seconds")]
    #[schemars(with = "Option<f64>")]
    pub(crate) read_timeout: Option<Duration>,
    #[serde(deserialize_with = "data::map_or_default")]
    pub(crate) proxies: Proxies,
    /// Whether the region's FIPS endpoint is asked.
    #[serde(alias = "use_fips")]
    pub(crate) use_fips_endpoint: Option<bool>,
    /// Whether the region's endpoint with IPv6 is asked.
    #[serde(alias = "use_dual_stack")]
    pub(crate) use_dualstack_endpoint: Option<bool>,
    #[serde(alias = "user_agent_appid", alias = "user_agent_extra")]
    pub(crate) app_name: Option<String>,
}

impl Config {
    pub(super) fn inheriting(mut self, beneath: &Self) -> Self {
        if self.retries.total().is_none() {
            self.retries.total_max_attempts = beneath.retries.total();
        }
        self.retries.mode = self.retries.mode.or(beneath.retries.mode);
        self.connect_timeout = self.connect_timeout.or(beneath.connect_timeout);
        self.read_timeout = self.read_timeout.or(beneath.read_timeout);
        if self.proxies.http.is_none() && self.proxies.https.is_none() {
            self.proxies = beneath.proxies.clone();
        }
        self.use_fips_endpoint = self.use_fips_endpoint.or(beneath.use_fips_endpoint);
        self.use_dualstack_endpoint = self
            .use_dualstack_endpoint
            .or(beneath.use_dualstack_endpoint);
        self.app_name = self.app_name.or_else(|| beneath.app_name.clone());
        self
    }

    pub(super) fn validate(&self) -> Result<(), Error> {
        self.retries.validate()?;
        for (field, timeout) in [
            ("connect_timeout", self.connect_timeout),
            ("read_timeout", self.read_timeout),
        ] {
            if timeout.is_some_and(|timeout| timeout.is_zero()) {
                return Err(Invalid::Shape("must be more than 0 seconds")
                    .at(format!("client.config.{field}")));
            }
        }
        for (field, url) in [("http", &self.proxies.http), ("https", &self.proxies.https)] {
            if url
                .as_ref()
                .is_some_and(|url| ProxyConfig::all(url.expose()).is_err())
            {
                return Err(Invalid::Shape(
                    "must be a proxy's URL, `http://` or `https://`, a host and perhaps a port",
                )
                .at(format!("client.config.proxies.{field}")));
            }
        }
        if self
            .app_name
            .as_ref()
            .is_some_and(|name| AppName::new(name.clone()).is_err())
        {
            return Err(Invalid::Shape(
                "may hold only letters, digits and any of ``!#$%&'*+-.^_`|~``",
            )
            .at("client.config.app_name"));
        }
        Ok(())
    }
}

#[derive(Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Retries {
    /// Botocore's: how often the call is tried again, the first one not included.
    max_attempts: Option<u32>,
    /// The first call included. Takes precedence over `max_attempts`.
    pub(super) total_max_attempts: Option<u32>,
    pub(crate) mode: Option<RetryMode>,
}

impl Retries {
    const MAX: u32 = 100;

    /// How often the call is tried, the first one included.
    pub(crate) fn total(&self) -> Option<u32> {
        self.total_max_attempts
            .or(self.max_attempts.map(|again| again.saturating_add(1)))
    }

    fn validate(&self) -> Result<(), Error> {
        for (field, found, min, max) in [
            ("total_max_attempts", self.total_max_attempts, 1, Self::MAX),
            ("max_attempts", self.max_attempts, 0, Self::MAX - 1),
        ] {
            if let Some(found) = found.filter(|found| !(min..=max).contains(found)) {
                let (min, max, found) = (min.into(), max.into(), found.into());
                return Err(Invalid::Range {
                    min,
                    max,
                    unit: "attempts",
                    found,
                }
                .at(format!("client.config.retries.{field}")));
            }
        }
        Ok(())
    }
}

/// Proxy URLs may hold a password.
#[derive(Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Proxies {
    pub(crate) http: Option<SecretString>,
    pub(crate) https: Option<SecretString>,
}

/// How the STS client paces its retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RetryMode {
    /// Exponential backoff with jitter.
    Standard,
    /// The same, and the client slows down by itself when it is throttled.
    Adaptive,
    /// Botocore's oldest mode, accepted for its settings: the same as [`Standard`](Self::Standard),
    /// with a warning.
    Legacy,
}
