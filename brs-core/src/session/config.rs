//! The options of a session that data files may hold, beside the method's own parameters.
//!
//! The names are brs's own and those of the Python package (`region_name`, `aws_access_key_id`,
//! `advisory_timeout`, …). Durations are seconds, whole or not.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::ClientCachePolicy;
use crate::kit::secret::SecretString;
use crate::refresh::AdvisoryRefresh;

/// Options of a session, as data.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SessionConfig {
    /// The region, such as `eu-west-1`; otherwise `AWS_REGION`, `AWS_DEFAULT_REGION`, then the
    /// profile's.
    #[serde(alias = "region_name")]
    pub region: Option<String>,
    /// The profile of `~/.aws/config` to take base credentials and settings from.
    #[serde(alias = "profile")]
    pub profile_name: Option<String>,
    /// Static base credentials: the access key id.
    #[serde(alias = "aws_access_key_id")]
    pub access_key_id: Option<SecretString>,
    /// Static base credentials: the secret access key.
    #[serde(alias = "aws_secret_access_key")]
    pub secret_access_key: Option<SecretString>,
    /// Static base credentials: the session token, if they are temporary.
    #[serde(alias = "aws_session_token")]
    pub session_token: Option<SecretString>,
    /// The 12-digit account, for credentials whose source does not name one.
    #[serde(alias = "aws_account_id")]
    pub account_id: Option<String>,
    /// A name for the identity behind the base credentials, for sessions that share theirs and
    /// whose base credentials cannot be told apart: an instance's, a container's, a process's.
    pub asker_name: Option<String>,
    /// One endpoint for every service.
    pub endpoint_url: Option<String>,
    /// `false`: fetch in the constructor and refresh without a caller. Default: `true`.
    pub defer_refresh: Option<bool>,
    /// The advisory window in seconds.
    #[serde(alias = "advisory_timeout", deserialize_with = "seconds")]
    #[schemars(with = "Option<f64>")]
    pub advisory_window: Option<Duration>,
    /// The mandatory window in seconds.
    #[serde(alias = "mandatory_timeout", deserialize_with = "seconds")]
    #[schemars(with = "Option<f64>")]
    pub mandatory_window: Option<Duration>,
    /// Whether callers wait for an advisory refresh they started: `background` (default) or
    /// `foreground`.
    #[serde(deserialize_with = "advisory_refresh")]
    #[schemars(with = "Option<String>")]
    pub advisory_refresh: Option<AdvisoryRefresh>,
    /// Whether expired credentials are served while the source is in trouble. Default: the
    /// method's.
    pub static_stability: Option<bool>,
    /// How long one refresh may take, in seconds. Default: the method's, else 30.
    #[serde(deserialize_with = "seconds")]
    #[schemars(with = "Option<f64>")]
    pub refresh_timeout: Option<Duration>,
    /// How many SDK clients are kept, at least 1. Default: 64.
    pub client_cache_capacity: Option<usize>,
    /// Which client goes when there are more: `lru` (default) or `lfu`.
    pub client_cache_policy: Option<ClientCachePolicy>,
    /// Whether an SDK call whose credentials a service rejects is made once more within itself.
    /// Default: `true`.
    pub retry_rejected: Option<bool>,
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let Some(seconds) = Option::<f64>::deserialize(deserializer)? else {
        return Ok(None);
    };
    Duration::try_from_secs_f64(seconds)
        .map(Some)
        .map_err(|_| serde::de::Error::custom("must be a number of seconds, zero or more"))
}

fn advisory_refresh<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<AdvisoryRefresh>, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Name {
        Background,
        Foreground,
    }
    Ok(
        Option::<Name>::deserialize(deserializer)?.map(|name| match name {
            Name::Background => AdvisoryRefresh::Background,
            Name::Foreground => AdvisoryRefresh::Foreground,
        }),
    )
}

#[cfg(all(test, not(brs_model)))]
mod tests {
    use super::*;
    use crate::method::params::{Params, SESSION_NAMES, SESSION_OPTIONS};
    use serde_json::json;

    #[test]
    fn the_python_names_are_read() {
        let config: SessionConfig = Params::from(json!({
            "region_name": "eu-west-1", "profile_name": "dev", "aws_access_key_id": "AKID",
            "aws_secret_access_key": "hush", "aws_session_token": "hush", "aws_account_id": "123456789012",
            "defer_refresh": false, "advisory_timeout": 900, "mandatory_timeout": 600.5,
        }))
        .take()
        .unwrap();
        assert_eq!(config.region.as_deref(), Some("eu-west-1"));
        assert_eq!(
            config.mandatory_window,
            Some(Duration::from_millis(600_500))
        );
        assert!(!format!("{config:?}").contains("hush"));
    }

    #[test]
    fn the_client_cache_and_the_retry_are_options_too() {
        let data = json!({ "client_cache_capacity": 10, "client_cache_policy": "lfu", "retry_rejected": false });
        let config: SessionConfig = Params::from(data).take().unwrap();
        assert_eq!(config.client_cache_capacity, Some(10));
        assert_eq!(config.client_cache_policy, Some(ClientCachePolicy::Lfu));
        assert_eq!(config.retry_rejected, Some(false));
        let data = json!({ "client_cache_policy": "fifo" });
        let error = Params::from(data).take::<SessionConfig>().unwrap_err();
        assert_eq!(error.param(), Some("client_cache_policy"));
        assert!(error.to_string().contains("`lru`"), "{error}");
    }

    #[test]
    fn every_name_is_known_to_the_reader() {
        for name in SESSION_NAMES {
            let error = Params::from(json!({ *name: [] }))
                .take::<SessionConfig>()
                .unwrap_err();
            assert!(!error.to_string().contains("unknown field"), "{error}");
        }
    }

    #[test]
    fn every_option_is_a_name() {
        assert!(
            SESSION_OPTIONS
                .iter()
                .all(|option| SESSION_NAMES.contains(option))
        );
    }

    #[test]
    fn a_negative_window_is_refused_by_name() {
        let error = Params::from(json!({ "advisory_window": -1 }))
            .take::<SessionConfig>()
            .unwrap_err();
        assert_eq!(error.param(), Some("advisory_window"));
    }
}
