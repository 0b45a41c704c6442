//! The parameters as data: brs's names, and those of the Python package.
//!
//! Owns the spelling and nothing else. Errors never repeat a value.

use std::time::Duration;

use brs_core::SecretString;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use crate::device::pem::Pem;
use crate::params::Params;
#[cfg(feature = "pkcs11")]
use crate::pkcs11::Pkcs11;
use brs_core::SecretSource;

/// The parameters as data.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "Params")]
pub(crate) struct Data {
    /// The credentials endpoint, `<prefix>.credentials.iot.<region>.amazonaws.com`: `aws iot
    /// describe-endpoint --endpoint-type iot:CredentialProvider` shows it.
    endpoint: String,
    /// The role alias: 1 to 128 of `[\w=,@-]`.
    role_alias: String,
    /// The thing whose attributes the role's policies can use; it must be attached to the
    /// certificate.
    thing_name: Option<String>,
    /// The lifetime of the credentials in seconds: 900 to 43200. Default: the role alias's.
    #[serde(
        default,
        alias = "duration_seconds",
        deserialize_with = "whole_seconds"
    )]
    #[schemars(with = "Option<u64>")]
    duration: Option<Duration>,
    /// The device's certificate and those that lead to its authority: a path or PEM.
    certificate: Option<Pem>,
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
    /// The authorities that may issue the endpoint's certificate: a path or PEM. Default: the
    /// system's.
    #[serde(alias = "ca")]
    trust_store: Option<Pem>,
    /// `true`. To disable the check of the endpoint's certificate, see
    /// `danger_accept_invalid_certificates`.
    verify_peer: Option<bool>,
    /// Disables the check of the endpoint's certificate: anyone on the way can get the credentials.
    #[serde(default)]
    danger_accept_invalid_certificates: Option<bool>,
    /// Allows a host that is not AWS's.
    allow_any_endpoint: Option<bool>,
    /// The time limit of one call in seconds: connection, TLS and answer. Default: 10.
    #[serde(default, deserialize_with = "seconds")]
    #[schemars(with = "Option<f64>")]
    timeout: Option<Duration>,
    /// The part of it for the connection. Default: half of it, plus a token's time limit for
    /// signing; all of it after a call timed out.
    #[serde(default, deserialize_with = "seconds")]
    #[schemars(with = "Option<f64>")]
    connect_timeout: Option<Duration>,
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
        let accept_any = data.danger_accept_invalid_certificates.unwrap_or(false);
        match data.verify_peer {
            Some(false) if !accept_any => {
                return Err(
                    "`verify_peer: false` would let anyone on the way get the credentials: give \
                     the authority in `trust_store`, or set `danger_accept_invalid_certificates: \
                     true`",
                );
            }
            Some(true) if accept_any => {
                return Err(
                    "`verify_peer` and `danger_accept_invalid_certificates` contradict each other: \
                     set only one",
                );
            }
            _ => {}
        }
        let mut params = Params::new(data.endpoint, data.role_alias);
        params.thing_name = data.thing_name;
        params.duration = data.duration;
        params.device.certificate = data.certificate;
        params.device.private_key = data.private_key;
        params.device.passphrase = passphrase;
        #[cfg(feature = "pkcs11")]
        {
            params.device = match data.pkcs11 {
                Some(pkcs11) => params.device.pkcs11(pkcs11),
                None => params.device,
            };
        }
        params.trust_store = data.trust_store;
        params.danger_accept_invalid_certificates = accept_any;
        params.allow_any_endpoint = data.allow_any_endpoint.unwrap_or(false);
        params.timeout = data.timeout.unwrap_or(params.timeout);
        params.connect_timeout = data.connect_timeout;
        params.max_attempts = data.max_attempts;
        params.proxy = data.proxy;
        Ok(params)
    }
}

/// Whole seconds, as AWS's `DurationSeconds`.
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
