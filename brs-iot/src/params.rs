//! The parameters of the method `iot`.
//!
//! Owns the typed builder and its checks; `data.rs` owns the spelling as data, `device` certificate
//! and key. A value may be wrong until it is [validated](Params::validate), which the method's
//! constructor does first.

use std::any::type_name;
use std::borrow::Cow;
use std::time::Duration;

use brs_core::{Error, SecretString};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

use crate::device::params::DeviceParams;
use crate::device::pem::Pem;
use crate::endpoint::name::{Endpoint, check_duration, check_role_alias, check_thing_name};
use crate::params::data::Data;
#[cfg(feature = "pkcs11")]
use crate::pkcs11::Pkcs11;
use brs_core::SecretSource;

/// As in the Python package.
const TIMEOUT: Duration = Duration::from_secs(10);
/// As in the AWS SDKs.
pub(crate) const MAX_ATTEMPTS: u32 = 3;
const LONGEST: Duration = Duration::from_secs(300);

/// The parameters of the method `iot`.
///
/// ```
/// # mod brs { pub use brs_core::*; pub use brs_iot as iot; }
/// use std::time::Duration;
///
/// let params = brs::iot::Params::new("c2abc.credentials.iot.eu-west-1.amazonaws.com", "reporting")
///     .thing_name("device-7")
///     .duration(Duration::from_secs(3600))
///     .certificate("/etc/device/certificate.pem")
///     .private_key("/etc/device/private.key");
/// params.validate()?;
/// # Ok::<(), brs::Error>(())
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Data")]
#[must_use = "parameters do nothing until a session is opened with them"]
pub struct Params {
    pub(crate) endpoint: String,
    pub(crate) role_alias: String,
    pub(crate) thing_name: Option<String>,
    pub(crate) duration: Option<Duration>,
    pub(crate) device: DeviceParams,
    pub(crate) trust_store: Option<Pem>,
    pub(crate) danger_accept_invalid_certificates: bool,
    pub(crate) allow_any_endpoint: bool,
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) proxy: Option<SecretString>,
}

impl Params {
    /// Credentials of the role behind `role_alias` (1–128 of `[\w=,@-]`), from the account's
    /// credentials endpoint.
    ///
    /// The endpoint is `<prefix>.credentials.iot.<region>.amazonaws.com` with an optional port;
    /// `aws iot describe-endpoint --endpoint-type iot:CredentialProvider` shows it. Names of all
    /// partitions are known, with their FIPS, dual-stack and VPC endpoint forms; blanks around the
    /// text are ignored. Its region becomes the session's if nothing else sets one.
    pub fn new(endpoint: impl Into<String>, role_alias: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            role_alias: role_alias.into(),
            thing_name: None,
            duration: None,
            device: DeviceParams::new(),
            trust_store: None,
            danger_accept_invalid_certificates: false,
            allow_any_endpoint: false,
            timeout: TIMEOUT,
            connect_timeout: None,
            max_attempts: None,
            proxy: None,
        }
    }

    /// The device's thing name (`x-amzn-iot-thingname`): 1–128 of `[a-zA-Z0-9:_-]`.
    ///
    /// Default: none. The certificate must be attached to the thing. Policies can then use the
    /// thing's name, type and attributes (`credentials-iot:ThingName`).
    pub fn thing_name(mut self, thing_name: impl Into<String>) -> Self {
        self.thing_name = Some(thing_name.into());
        self
    }

    /// The lifetime of the credentials (`x-amzn-iot-credential-duration-seconds`): 900–43200 whole
    /// seconds.
    ///
    /// Default: the role alias's `credentialDurationSeconds`. A longer lifetime needs a role whose
    /// maximum session duration allows it, and survives longer outages; a shorter one limits the
    /// harm of a leak.
    pub fn duration(mut self, duration: Duration) -> Self {
        self.duration = Some(duration);
        self
    }

    /// Certificate and key in one value.
    pub fn device(mut self, device: DeviceParams) -> Self {
        self.device = device;
        self
    }

    /// The device's certificate, followed by those that lead to its authority: a path, PEM text, or
    /// bytes.
    ///
    /// It must belong to the key and be valid when the session is built. Within 30 days of its
    /// expiration, each refresh reports it
    /// ([`Event::Warning`](brs_core::Event::Warning)). A file that changes
    /// is read again.
    pub fn certificate(mut self, certificate: impl Into<Pem>) -> Self {
        self.device = self.device.certificate(certificate);
        self
    }

    /// The certificate's private key, RSA 2048–4096, P-256 or P-384: a path, PEM text, or bytes.
    ///
    /// PKCS#8, PKCS#1 or SEC1, or PKCS#8 encrypted with a [pass
    /// phrase](Self::private_key_passphrase). Give exactly one of this and a PKCS#11 token.
    pub fn private_key(mut self, private_key: impl Into<Pem>) -> Self {
        self.device = self.device.private_key(private_key);
        self
    }

    /// The pass phrase of an encrypted private key. Default: none.
    pub fn private_key_passphrase(mut self, passphrase: impl Into<SecretSource>) -> Self {
        self.device = self.device.private_key_passphrase(passphrase);
        self
    }

    /// The key within a PKCS#11 token, in place of [`private_key`](Self::private_key).
    #[cfg(feature = "pkcs11")]
    pub fn pkcs11(mut self, pkcs11: Pkcs11) -> Self {
        self.device = self.device.pkcs11(pkcs11);
        self
    }

    /// The authorities that may issue the endpoint's certificate (the Python package's `ca`).
    /// Default: the system's, which include Amazon's.
    ///
    /// If the device has none, give `AmazonRootCA1.pem` and the like here. Unusable blocks are
    /// ignored with a warning; at least one must be usable. OpenSSL's `TRUSTED CERTIFICATE` counts
    /// if it is trusted for TLS servers.
    pub fn trust_store(mut self, trust_store: impl Into<Pem>) -> Self {
        self.trust_store = Some(trust_store.into());
        self
    }

    /// Disables the check of the endpoint's certificate (the Python package's
    /// `verify_peer=False`). Default: it is checked.
    ///
    /// Anyone between the device and the endpoint can then get the credentials. This is for
    /// laboratories, and each refresh warns. As data, `verify_peer: false` alone is an error: use
    /// this name.
    pub fn danger_accept_invalid_certificates(mut self, accept: bool) -> Self {
        self.danger_accept_invalid_certificates = accept;
        self
    }

    /// Allows a host that is not AWS's, such as a gateway or a test server. Default: no.
    pub fn allow_any_endpoint(mut self, allow: bool) -> Self {
        self.allow_any_endpoint = allow;
        self
    }

    /// The time limit of one call: connection, TLS and answer. Default: 10 s; at most 300 s.
    ///
    /// A refresh makes up to [`max_attempts`](Self::max_attempts) calls, within the session's
    /// `refresh_timeout`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The part of that limit for the connection, including TLS; at most
    /// [`timeout`](Self::timeout). Default: half of it, plus a token's time limit for signing; all
    /// of it after a call timed out, as on a slow link.
    ///
    /// The addresses of the endpoint share it, so an address that does not respond leaves time for
    /// the next one, and the connection leaves time for the answer. A shorter limit leaves time for
    /// another attempt.
    pub fn connect_timeout(mut self, connect_timeout: Duration) -> Self {
        self.connect_timeout = Some(connect_timeout);
        self
    }

    /// The most calls that one refresh makes, including the first: 1–10. Default: 3, as in the AWS
    /// SDKs; in a pool 1, since the pool repeats a refresh itself, in the pace of its limiter.
    ///
    /// Connection errors, throttling (429) and failures of the service (5xx) are retried, after a
    /// wait with jitter; refusals are not.
    pub fn max_attempts(mut self, max_attempts: u32) -> Self {
        self.max_attempts = Some(max_attempts);
        self
    }

    /// An HTTP proxy that tunnels the connection: `http://host:port`, optionally with user and
    /// password. Default: the environment's when the session is built (`HTTPS_PROXY`, else
    /// `ALL_PROXY`, unless `NO_PROXY` excepts the endpoint; upper or lower case). Never shown.
    ///
    /// TLS is with the endpoint, so the proxy sees the endpoint's name and nothing more. The
    /// environment's proxy must be an `http://` one, too: any other would see the device's
    /// certificate, so building the session fails with an error that names the variable.
    pub fn proxy(mut self, proxy: impl Into<SecretString>) -> Self {
        self.proxy = Some(proxy.into());
        self
    }

    /// Checks every value, as the method's constructor does, without reading files.
    ///
    /// # Errors
    ///
    /// A validation error that names the first wrong value, or a configuration error for values
    /// that contradict each other.
    pub fn validate(&self) -> Result<(), Error> {
        Endpoint::parse(&self.endpoint, self.allow_any_endpoint)?;
        check_role_alias(&self.role_alias)?;
        self.thing_name
            .as_deref()
            .map_or(Ok(()), check_thing_name)?;
        self.duration.map_or(Ok(()), check_duration)?;
        self.device.validate()?;
        self.trust_store
            .as_ref()
            .map_or(Ok(()), |pem| pem.validate("the trust store", "trust_store"))?;
        let refused = |param: &str, problem: String| {
            Err(Error::validation(format!("`{param}` {problem}"))
                .with_param(param)
                .unrecoverable())
        };
        for (param, limit) in [
            ("timeout", Some(self.timeout)),
            ("connect_timeout", self.connect_timeout),
        ] {
            if limit.is_some_and(|limit| limit.is_zero() || limit > LONGEST) {
                return refused(
                    param,
                    format!(
                        "must be more than 0 and at most {} seconds",
                        LONGEST.as_secs()
                    ),
                );
            }
        }
        if self
            .connect_timeout
            .is_some_and(|limit| limit > self.timeout)
        {
            return refused(
                "connect_timeout",
                "must not be longer than `timeout`, which includes it".into(),
            );
        }
        if let Some(attempts) = self.max_attempts
            && !(1..=10).contains(&attempts)
        {
            return refused("max_attempts", format!("must be 1 to 10, not {attempts}"));
        }
        if self
            .proxy
            .as_ref()
            .is_some_and(|proxy| !is_proxy(proxy.expose()))
        {
            return refused(
                "proxy",
                "must be a proxy's URL, `http://`, a host and perhaps a port".into(),
            );
        }
        if self.danger_accept_invalid_certificates && self.trust_store.is_some() {
            return Err(Error::configuration(
                "`trust_store` and `danger_accept_invalid_certificates` contradict each other: set \
                 only one",
            )
            .with_param("danger_accept_invalid_certificates")
            .unrecoverable());
        }
        Ok(())
    }
}

impl Params {
    /// The time limit of a connection, including TLS; and the one after a call timed out.
    pub(crate) fn connection_limits(&self) -> [Duration; 2] {
        let signature = self.device.signature_timeout();
        match self.connect_timeout {
            Some(limit) => [limit; 2],
            None => [self.timeout / 2 + signature, self.timeout + signature],
        }
    }
}

/// TLS with the proxy itself would show it the device's certificate, so its URL is a plain one.
fn is_proxy(url: &str) -> bool {
    let rest = url.strip_prefix("http://");
    rest.is_some_and(|rest| !rest.is_empty())
        && reqwest::Url::parse(url).is_ok_and(|url| url.has_host())
}

impl JsonSchema for Params {
    fn schema_name() -> Cow<'static, str> {
        "IotParams".into()
    }

    fn schema_id() -> Cow<'static, str> {
        type_name::<Self>().into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Data::json_schema(generator)
    }
}

impl brs_core::MethodParams for Params {
    const METHOD: &'static str = "iot";
}

pub(crate) mod data;
#[cfg(test)]
mod tests;
