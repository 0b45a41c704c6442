//! The parameters as data: brs's names, and those of AWS's credential helper.
//!
//! Owns the spelling and nothing else. Errors never repeat a value.

use std::collections::BTreeMap;
use std::time::Duration;

use brs_core::{SecretSource, SecretString};
use brs_iot::Pem;
#[cfg(feature = "pkcs11")]
use brs_iot::Pkcs11;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::Params;

/// The parameters as data.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "Params")]
pub(super) struct Data {
    /// The trust anchor's ARN. Its region is where the call goes.
    trust_anchor_arn: String,
    /// The profile's ARN, in the same region.
    profile_arn: String,
    /// The role's ARN, which the profile lists.
    role_arn: String,
    /// The certificate, optionally with those that lead to the trust anchor: a path or PEM.
    certificate: Option<Pem>,
    /// The certificates that lead to the trust anchor, if they are elsewhere: a path or PEM.
    intermediates: Option<Pem>,
    /// The certificate's private key: a path, or PEM.
    private_key: Option<Pem>,
    /// The pass phrase of an encrypted private key.
    private_key_passphrase: Option<SecretString>,
    /// A file whose first line is the pass phrase.
    private_key_passphrase_file: Option<String>,
    /// An environment variable that holds the pass phrase.
    private_key_passphrase_env: Option<String>,
    /// The key within a PKCS#11 token, in place of `private_key`.
    #[cfg(feature = "pkcs11")]
    pkcs11: Option<Pkcs11>,
    #[cfg(not(feature = "pkcs11"))]
    #[serde(default, rename = "pkcs11", deserialize_with = "refuse_pkcs11")]
    #[schemars(skip)]
    _pkcs11: (),
    /// The lifetime of the credentials in seconds: 900 to 43200. Default: the profile's.
    #[serde(
        default,
        alias = "session_duration",
        alias = "duration_seconds",
        deserialize_with = "whole_seconds"
    )]
    #[schemars(with = "Option<u64>")]
    duration: Option<Duration>,
    /// The role session's name, if the profile accepts one: 2 to 64 of `[\w+=,.@-]`.
    role_session_name: Option<String>,
    /// Properties of this machine that AWS records: at most 50.
    #[serde(default)]
    instance_properties: BTreeMap<String, String>,
    /// The region, which must be the trust anchor's.
    region: Option<String>,
    /// The endpoint: an `https` URL, or a host. Default: AWS's for the region.
    #[serde(alias = "endpoint")]
    endpoint_url: Option<String>,
    /// Whether the FIPS endpoint is called.
    use_fips: Option<bool>,
    /// Whether the dual-stack endpoint is called.
    use_dual_stack: Option<bool>,
    /// The authorities that may issue the endpoint's certificate: a path or PEM. Default: the
    /// system's.
    trust_store: Option<Pem>,
    /// The time limit of one call in seconds. Default: 10.
    #[serde(default, deserialize_with = "seconds")]
    #[schemars(with = "Option<f64>")]
    timeout: Option<Duration>,
    /// The most calls that one refresh makes, including the first: 1 to 10. Default: 3.
    max_attempts: Option<u32>,
    /// An HTTP proxy, `http://host:port`. Default: the environment's.
    proxy: Option<SecretString>,
}

impl TryFrom<Data> for Params {
    type Error = &'static str;

    fn try_from(data: Data) -> Result<Self, Self::Error> {
        let passphrases = [
            data.private_key_passphrase.map(SecretSource::value),
            data.private_key_passphrase_file.map(SecretSource::file),
            data.private_key_passphrase_env.map(SecretSource::env),
        ];
        let mut passphrases = passphrases.into_iter().flatten();
        let passphrase = passphrases.next();
        if passphrases.next().is_some() {
            return Err(
                "give one of `private_key_passphrase`, `private_key_passphrase_file` and \
                 `private_key_passphrase_env`",
            );
        }
        let mut params = Params::new(data.trust_anchor_arn, data.profile_arn, data.role_arn);
        if let Some(certificate) = data.certificate {
            params = params.certificate(certificate);
        }
        if let Some(intermediates) = data.intermediates {
            params = params.intermediates(intermediates);
        }
        if let Some(private_key) = data.private_key {
            params = params.private_key(private_key);
        }
        if let Some(passphrase) = passphrase {
            params = params.private_key_passphrase(passphrase);
        }
        #[cfg(feature = "pkcs11")]
        if let Some(pkcs11) = data.pkcs11 {
            params = params.pkcs11(pkcs11);
        }
        Ok(Params {
            duration: data.duration,
            role_session_name: data.role_session_name,
            instance_properties: data.instance_properties,
            region: data.region,
            endpoint_url: data.endpoint_url,
            use_fips: data.use_fips,
            use_dual_stack: data.use_dual_stack,
            trust_store: data.trust_store,
            timeout: data.timeout.unwrap_or(params.timeout),
            max_attempts: data.max_attempts,
            proxy: data.proxy,
            ..params
        })
    }
}

/// Whole seconds, as AWS's `durationSeconds`.
fn whole_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_secs))
}

/// Seconds that may have a fraction.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let Some(seconds) = Option::<f64>::deserialize(deserializer)? else {
        return Ok(None);
    };
    Duration::try_from_secs_f64(seconds)
        .map(Some)
        .map_err(|_| serde::de::Error::custom("must be a number of seconds, not negative"))
}

#[cfg(not(feature = "pkcs11"))]
fn refuse_pkcs11<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    match Option::<serde::de::IgnoredAny>::deserialize(deserializer)? {
        None => Ok(()),
        Some(_) => Err(serde::de::Error::custom(
            "this build has no PKCS#11: enable the feature `pkcs11`",
        )),
    }
}
