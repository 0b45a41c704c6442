//! The parameters of the method `roles-anywhere`.
//!
//! Owns the typed builder and its checks; `data.rs` owns the spelling as data, `brs-iot` certificate
//! and key. A value may be wrong until it is [validated](Params::validate), which the method's
//! constructor does first.

use std::any::type_name;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use brs_core::{Error, SecretSource, SecretString};
use brs_iot::__private::check_duration;
#[cfg(feature = "pkcs11")]
use brs_iot::Pkcs11;
use brs_iot::{DeviceParams, Pem};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

use crate::service::arn::Arns;
use crate::service::endpoint;

mod data;

use data::Data;

/// As for the method `iot`.
const TIMEOUT: Duration = Duration::from_secs(10);
/// As in the AWS SDKs.
pub(crate) const MAX_ATTEMPTS: u32 = 3;
const LONGEST: Duration = Duration::from_secs(300);
/// As the API has it.
const MAX_PROPERTIES: usize = 50;
const MAX_PROPERTY: usize = 200;

/// The parameters of the method `roles-anywhere`.
///
/// ```
/// # mod brs { pub use brs_core::*; pub use brs_roles_anywhere as roles_anywhere; }
/// use std::time::Duration;
///
/// let params = brs::roles_anywhere::Params::new(
///     "arn:aws:rolesanywhere:eu-west-1:123456789012:trust-anchor/a1b2c3d4",
///     "arn:aws:rolesanywhere:eu-west-1:123456789012:profile/a1b2c3d4",
///     "arn:aws:iam::123456789012:role/backup",
/// )
/// .duration(Duration::from_secs(3600))
/// .certificate("/etc/pki/server.pem")
/// .private_key("/etc/pki/server.key");
/// params.validate()?;
/// # Ok::<(), brs::Error>(())
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Data")]
#[must_use = "parameters do nothing until a session is opened with them"]
pub struct Params {
    pub(crate) trust_anchor_arn: String,
    pub(crate) profile_arn: String,
    pub(crate) role_arn: String,
    pub(crate) device: DeviceParams,
    pub(crate) duration: Option<Duration>,
    pub(crate) role_session_name: Option<String>,
    pub(crate) instance_properties: BTreeMap<String, String>,
    pub(crate) region: Option<String>,
    pub(crate) endpoint_url: Option<String>,
    pub(crate) use_fips: Option<bool>,
    pub(crate) use_dual_stack: Option<bool>,
    pub(crate) trust_store: Option<Pem>,
    pub(crate) timeout: Duration,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) proxy: Option<SecretString>,
}

impl Params {
    /// Credentials of that role, by that trust anchor and that profile. All three are ARNs.
    ///
    /// The trust anchor's region is where the call goes; it becomes the session's region if nothing
    /// else sets one. The profile must be in the same region and list the role.
    pub fn new(
        trust_anchor_arn: impl Into<String>,
        profile_arn: impl Into<String>,
        role_arn: impl Into<String>,
    ) -> Self {
        Self {
            trust_anchor_arn: trust_anchor_arn.into(),
            profile_arn: profile_arn.into(),
            role_arn: role_arn.into(),
            device: DeviceParams::new(),
            duration: None,
            role_session_name: None,
            instance_properties: BTreeMap::new(),
            region: None,
            endpoint_url: None,
            use_fips: None,
            use_dual_stack: None,
            trust_store: None,
            timeout: TIMEOUT,
            max_attempts: None,
            proxy: None,
        }
    }

    /// Certificate and key in one value.
    pub fn device(mut self, device: DeviceParams) -> Self {
        self.device = device;
        self
    }

    /// The certificate, optionally followed by those that lead to the trust anchor: a path, PEM
    /// text, or bytes.
    ///
    /// It must belong to the key and be valid when the session is built. A file that changes is
    /// read again.
    pub fn certificate(mut self, certificate: impl Into<Pem>) -> Self {
        self.device = self.device.certificate(certificate);
        self
    }

    /// The certificates that lead to the trust anchor, in any order, if they do not follow the
    /// certificate in its own file. Default: none.
    pub fn intermediates(mut self, intermediates: impl Into<Pem>) -> Self {
        self.device = self.device.intermediates(intermediates);
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

    /// The lifetime of the credentials (`durationSeconds`): 900–43200 whole seconds.
    ///
    /// Default: the profile's. The lower of the profile's and the role's maximum counts. A longer
    /// lifetime survives longer outages; a shorter one limits the harm of a leak.
    pub fn duration(mut self, duration: Duration) -> Self {
        self.duration = Some(duration);
        self
    }

    /// The role session's name (`roleSessionName`): 2–64 of `[\w+=,.@-]`.
    ///
    /// Default: none, and AWS uses the certificate's serial number. The profile must accept it
    /// (`acceptRoleSessionName`).
    pub fn role_session_name(mut self, name: impl Into<String>) -> Self {
        self.role_session_name = Some(name.into());
        self
    }

    /// A property of this machine (`instanceProperties`), which AWS records with the subject: at
    /// most 50, names and values of 1–200 characters. Default: none.
    pub fn instance_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.instance_properties.insert(name.into(), value.into());
        self
    }

    /// The region, which must be the trust anchor's. Default: that one.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// The endpoint, such as a VPC endpoint's: an `https` URL without path, or a host. Default: the
    /// session's `endpoint_url`, else as for SDK clients `AWS_ENDPOINT_URL_ROLESANYWHERE`,
    /// `AWS_ENDPOINT_URL`, the profile's services section (`rolesanywhere`) and its `endpoint_url`,
    /// else AWS's for the region. Builds without `sts` read no profile.
    pub fn endpoint_url(mut self, endpoint_url: impl Into<String>) -> Self {
        self.endpoint_url = Some(endpoint_url.into());
        self
    }

    /// Whether the FIPS endpoint is called. Default: as the session's configuration says, else no.
    ///
    /// The service has one in us-east-1, us-east-2, us-west-1, us-west-2 and both GovCloud regions;
    /// elsewhere it is an error.
    pub fn use_fips(mut self, use_fips: bool) -> Self {
        self.use_fips = Some(use_fips);
        self
    }

    /// Whether the dual-stack endpoint is called, which has IPv6. Default: as the session's
    /// configuration says, else no.
    pub fn use_dual_stack(mut self, use_dual_stack: bool) -> Self {
        self.use_dual_stack = Some(use_dual_stack);
        self
    }

    /// The authorities that may issue the endpoint's certificate. Default: the system's, which
    /// include Amazon's.
    pub fn trust_store(mut self, trust_store: impl Into<Pem>) -> Self {
        self.trust_store = Some(trust_store.into());
        self
    }

    /// The time limit of one call: signature, connection, TLS and answer. Default: 10 s; at most
    /// 300 s.
    ///
    /// A refresh makes up to [`max_attempts`](Self::max_attempts) calls, within the session's
    /// `refresh_timeout`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The most calls that one refresh makes, including the first: 1–10. Default: 3, as in the AWS
    /// SDKs; in a pool 1, since the pool repeats a refresh itself, in the pace of its limiter.
    ///
    /// Connection errors, throttling and failures of the service are retried, after a wait with
    /// jitter; refusals are not.
    pub fn max_attempts(mut self, max_attempts: u32) -> Self {
        self.max_attempts = Some(max_attempts);
        self
    }

    /// An HTTP proxy that tunnels the connection: `http://host:port`, optionally with user and
    /// password. Default: the environment's when the session is built (`HTTPS_PROXY`, else
    /// `ALL_PROXY`, unless `NO_PROXY` excepts the endpoint). Never shown.
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
        let arns = Arns::parse(&self.trust_anchor_arn, &self.profile_arn, &self.role_arn)?;
        let of_anchor = arns.trust_anchor.region;
        if self
            .region
            .as_ref()
            .is_some_and(|region| region != of_anchor)
        {
            return Err(wrong(
                "region",
                &format!(
                    "must be the trust anchor's, `{of_anchor}`: leave it out, or give the trust anchor of that region"
                ),
            ));
        }
        self.duration.map_or(Ok(()), check_duration)?;
        self.role_session_name
            .as_deref()
            .map_or(Ok(()), check_session_name)?;
        self.check_properties()?;
        match &self.endpoint_url {
            Some(_) if self.use_fips == Some(true) || self.use_dual_stack == Some(true) => {
                return Err(Error::configuration(
                    "`endpoint_url` contradicts `use_fips` and `use_dual_stack`: set only one, since \
                     the endpoint that was given is called as it is",
                )
                .with_param("endpoint_url")
                .unrecoverable());
            }
            Some(endpoint_url) => drop(endpoint::given(endpoint_url, "endpoint_url")?),
            None => drop(endpoint::host(
                &arns.trust_anchor,
                self.use_fips == Some(true),
                self.use_dual_stack == Some(true),
            )?),
        }
        self.device.validate()?;
        self.trust_store
            .as_ref()
            .map_or(Ok(()), |pem| pem.validate("the trust store", "trust_store"))?;
        if self.timeout.is_zero() || self.timeout > LONGEST {
            return Err(wrong(
                "timeout",
                &format!(
                    "must be more than 0 and at most {} seconds",
                    LONGEST.as_secs()
                ),
            ));
        }
        if let Some(attempts) = self.max_attempts
            && !(1..=10).contains(&attempts)
        {
            return Err(wrong(
                "max_attempts",
                &format!("must be 1 to 10, not {attempts}"),
            ));
        }
        let is_proxy = |proxy: &SecretString| {
            proxy.expose().starts_with("http://")
                && reqwest::Url::parse(proxy.expose()).is_ok_and(|url| url.has_host())
        };
        if self.proxy.as_ref().is_some_and(|proxy| !is_proxy(proxy)) {
            return Err(wrong(
                "proxy",
                "must be a proxy's URL, `http://`, a host and perhaps a port",
            ));
        }
        Ok(())
    }

    fn check_properties(&self) -> Result<(), Error> {
        let properties = &self.instance_properties;
        let problem = if properties.len() > MAX_PROPERTIES {
            format!(
                "has {} entries: AWS accepts {MAX_PROPERTIES}",
                properties.len()
            )
        } else if properties.iter().any(|(name, value)| {
            [name, value]
                .iter()
                .any(|text| !(1..=MAX_PROPERTY).contains(&text.chars().count()))
        }) {
            format!("has a name or value that is not 1 to {MAX_PROPERTY} characters long")
        } else {
            return Ok(());
        };
        Err(wrong("instance_properties", &problem))
    }

    /// What is sent.
    pub(crate) fn body(&self) -> Vec<u8> {
        let mut body = serde_json::Map::new();
        let mut add = |name: &str, value: serde_json::Value| body.insert(name.to_owned(), value);
        if let Some(duration) = self.duration {
            add("durationSeconds", duration.as_secs().into());
        }
        add("profileArn", self.profile_arn.clone().into());
        add("roleArn", self.role_arn.clone().into());
        add("trustAnchorArn", self.trust_anchor_arn.clone().into());
        if let Some(name) = &self.role_session_name {
            add("roleSessionName", name.clone().into());
        }
        if !self.instance_properties.is_empty() {
            let properties = self.instance_properties.iter();
            let properties = properties.map(|(name, value)| (name.clone(), value.clone().into()));
            add(
                "instanceProperties",
                serde_json::Value::Object(properties.collect()),
            );
        }
        serde_json::Value::Object(body).to_string().into_bytes()
    }
}

fn check_session_name(name: &str) -> Result<(), Error> {
    let problem = if !(2..=64).contains(&name.chars().count()) {
        format!("must have 2 to 64 characters, not {}", name.chars().count())
    } else if let Some(place) = name
        .chars()
        .position(|c| !c.is_ascii_alphanumeric() && !"_+=,.@-".contains(c))
    {
        format!(
            "can have only letters, digits and any of `_+=,.@-`; character {} is something else",
            place + 1
        )
    } else {
        return Ok(());
    };
    Err(wrong("role_session_name", &problem))
}

fn wrong(param: &str, problem: &str) -> Error {
    Error::validation(format!("`{param}` {problem}"))
        .with_param(param)
        .unrecoverable()
}

impl JsonSchema for Params {
    fn schema_name() -> Cow<'static, str> {
        "RolesAnywhereParams".into()
    }

    fn schema_id() -> Cow<'static, str> {
        type_name::<Self>().into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Data::json_schema(generator)
    }
}

impl brs_core::MethodParams for Params {
    const METHOD: &'static str = "roles-anywhere";
}

#[cfg(test)]
mod tests;
