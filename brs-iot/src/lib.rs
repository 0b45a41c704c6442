//! The method `iot` of brs: temporary credentials for a device, by its X.509 certificate.
//!
//! A device that has a certificate registered with AWS IoT needs no long-lived AWS key: the
//! *credentials provider* of AWS IoT gives it temporary credentials of a role, over mutual TLS.
//! Each refresh is one call. Its connection is kept for 90 seconds; later calls open a new one and
//! resume the TLS session, which needs neither certificates nor a signature of the key.
//!
//! ```text
//! device ── mutual TLS: certificate + key ──► https://<prefix>.credentials.iot.<region>.amazonaws.com
//!                                             /role-aliases/<role alias>/credentials
//! certificate ─ attached ─► policy: iot:AssumeRoleWithCertificate on the role alias
//! role alias ─► role ─ trusts ─► credentials.iot.amazonaws.com
//! ```
//!
//! ```no_run
//! # mod brs { pub use brs_core::*; pub use brs_iot as iot; }
//! # async fn example() -> Result<(), brs::Error> {
//! let params = brs::iot::Params::new("c2abc.credentials.iot.eu-west-1.amazonaws.com", "reporting")
//!     .thing_name("device-7")
//!     .certificate("/etc/device/certificate.pem")
//!     .private_key("/etc/device/private.key");
//! let session = brs::RefreshableSession::open(params).await?;
//! let credentials = session.credentials().await?;
//! # Ok(())
//! # }
//! ```
//!
//! The same as data, for configuration files. Names are those of the builder or of the Python
//! package:
//!
//! ```
//! # mod brs { pub use brs_core::*; pub use brs_iot as iot; }
//! # fn example() -> Result<(), brs::Error> {
//! let data = serde_json::json!({
//!     "endpoint": "c2abc.credentials.iot.eu-west-1.amazonaws.com", "role_alias": "reporting",
//!     "certificate": "~/device/certificate.pem", "private_key": "~/device/private.key",
//!     "ca": "~/device/AmazonRootCA1.pem", "duration_seconds": 3600, "timeout": 10,
//! });
//! let params: brs::iot::Params = brs::Params::data(data)?.take()?;
//! params.validate()
//! # }
//! # example().unwrap();
//! ```
//!
//! # Certificate and key
//!
//! Give paths, PEM text or bytes ([`Pem`]). The certificate comes with its chain. The key is PKCS#8,
//! PKCS#1 or SEC1, or PKCS#8 encrypted with a [pass phrase](SecretSource) by PBES2: PBKDF2 with any
//! HMAC of SHA-1 or SHA-2, or scrypt, and AES, triple DES or DES. Both are read when the session is
//! built, and must belong together and be valid.
//!
//! The next refresh adopts changed files if the new pair is complete, matches and is valid (by the
//! endpoint's time, once that is known). Otherwise the old pair stays in use, with a warning. If the
//! endpoint refuses a new pair, perhaps because it is not registered yet, the previous one is used
//! once more, with a warning, until the new one is accepted. The pass phrase is requested when the
//! session is built and when the key's file has changed. Within 30 days of the certificate's
//! expiration each refresh reports it:
//! [`Event::Warning`](brs_core::Event::Warning) with the name [`CERTIFICATE_EXPIRING`].
//!
//! Keys are RSA of 2048 to 4096 bits, EC P-256 or P-384.
//!
//! Unusable blocks in a trust store are ignored. A warning names each of them, and so do errors
//! about an endpoint that is not trusted. A store that was cut off, or has no usable block, is
//! rejected.
//!
//! # What failures mean
//!
//! If AWS refuses a call, the error names the setting to look at and the command that shows it;
//! such errors need a person. Connection errors, throttling and failures at the service are retried
//! within the refresh, no sooner than a `Retry-After` allows, then at the engine's pace. Meanwhile
//! the cached credential set is served, even after it has expired (static stability).
//!
//! Errors distinguish an endpoint that this machine does not trust (wrong trust store, expired
//! certificate, another host's certificate) from one that refuses the device's certificate. Neither
//! is retried within the refresh. The first kind may pass without intervention: the next refresh
//! reloads the system's authorities and the trust store's file.
//!
//! # Clocks
//!
//! A device's clock may be wrong. The lifetime of credentials counts from the endpoint's `Date`, so
//! they are refreshed in time all the same. The endpoint's certificate is checked by the device's
//! clock. If it is expired or not valid yet, the error states what that clock shows, which bound of
//! the validity was missed, and how far the clock is from the endpoint's last answer.
//!
//! # Secrets
//!
//! Keys, pass phrases and answers are held in memory that is wiped. They are never written anywhere
//! and appear in no message. brs cannot wipe the copies within the buffers of TLS and of the HTTP
//! client, through which answers arrive; the cryptography library wipes the keys it uses.
//!
//! # Layers
//!
//! ```text
//! strategy  params  data          the method
//! endpoint/                       the credentials endpoint: its name, the calls, their failures
//! pkcs11/                         keys on tokens
//! device/                         certificate, key, trust store, TLS: all that MQTT needs
//! ```
//!
//! A layer uses only those below it.

mod device;
mod endpoint;
mod params;
#[cfg(feature = "pkcs11")]
pub mod pkcs11;
mod strategy;

pub use brs_core::SecretSource;
pub use device::Device;
pub use device::identity::{DeviceIdentity, DeviceTls, ServerTrust, TlsFailure};
pub use device::params::DeviceParams;
pub use device::pem::Pem;
pub use endpoint::round::CERTIFICATE_EXPIRING;
pub use endpoint::unreached::Unreached;
pub use params::Params;
#[cfg(feature = "pkcs11")]
pub use pkcs11::Pkcs11;
pub use strategy::Iot;

/// What `brs-mqtt` and `brs-roles-anywhere` need. Not part of the public API.
#[doc(hidden)]
pub mod __private {
    pub use crate::device::files::{Files, Set};
    pub use crate::device::handshake::Refused;
    pub use crate::device::server_time::ServerTime;
    pub use crate::device::tls::Trust;
    pub use crate::endpoint::call::{Ask, Limits, fetch, within};
    pub use crate::endpoint::client::Clients;
    pub use crate::endpoint::failed::{Answer, Failed, Target, is_code};
    pub use crate::endpoint::name::{check_duration, domains};
    pub use crate::endpoint::name::{is_domain, wrong_partition};
    pub use crate::endpoint::proxy::proxy_of_environment;
    pub use crate::endpoint::response::{Fields, FromMap, message, read_json};
    pub use crate::endpoint::round::{Caller, refresh, refresh_timeout};
}

/// What fuzz targets reach. Not part of the public API.
#[doc(hidden)]
pub mod __fuzz {
    /// Reads a body as each of the answers it may be.
    pub fn response(body: &[u8]) {
        let _ = crate::endpoint::response::credentials(body);
        let _ = crate::endpoint::response::message(body);
    }

    /// Reads bytes as a certificate chain, as a trust store and as a private key without a pass
    /// phrase.
    pub fn device(bytes: &[u8]) {
        let _ = crate::device::certificate::read_chain(bytes, "the certificate", "certificate");
        let _ = crate::device::certificate::authorities(bytes);
        let _ = crate::device::key::read(bytes, None, "the private key");
    }

    /// Reads a text as a PKCS#11 URI.
    #[cfg(feature = "pkcs11")]
    pub fn pkcs11_uri(text: &str) {
        let _ = crate::Pkcs11::from_uri(text);
    }
}
