//! The method `roles-anywhere` of brs: temporary credentials for whatever holds an X.509
//! certificate of a registered authority.
//!
//! A server outside of AWS that has a certificate of an authority, which is registered with IAM
//! Roles Anywhere as a *trust anchor*, needs no long-lived AWS key. Each refresh is one call that
//! the certificate's key signs (`CreateSession`).
//!
//! ```text
//! server ── request signed with the certificate's key ──► https://rolesanywhere.<region>.amazonaws.com/sessions
//! certificate ─ issued by ─► trust anchor: the authority, in the region
//! profile: the roles that may be assumed, and for how long
//! role ─ trusts ─► rolesanywhere.amazonaws.com: sts:AssumeRole, sts:TagSession, sts:SetSourceIdentity
//! ```
//!
//! ```no_run
//! # mod brs { pub use brs_core::*; pub use brs_roles_anywhere as roles_anywhere; }
//! # async fn example() -> Result<(), brs::Error> {
//! let params = brs::roles_anywhere::Params::new(
//!     "arn:aws:rolesanywhere:eu-west-1:123456789012:trust-anchor/a1b2c3d4-5678-90ab-cdef-111122223333",
//!     "arn:aws:rolesanywhere:eu-west-1:123456789012:profile/a1b2c3d4-5678-90ab-cdef-444455556666",
//!     "arn:aws:iam::123456789012:role/backup",
//! )
//! .certificate("/etc/pki/server.pem")
//! .private_key("/etc/pki/server.key");
//! let session = brs::RefreshableSession::open(params).await?;
//! let credentials = session.credentials().await?;
//! # Ok(())
//! # }
//! ```
//!
//! The same as data, for configuration files. Names are those of the builder or of AWS's
//! credential helper:
//!
//! ```
//! # mod brs { pub use brs_core::*; pub use brs_roles_anywhere as roles_anywhere; }
//! # fn example() -> Result<(), brs::Error> {
//! let data = serde_json::json!({
//!     "trust_anchor_arn": "arn:aws:rolesanywhere:eu-west-1:123456789012:trust-anchor/a1b2c3d4",
//!     "profile_arn": "arn:aws:rolesanywhere:eu-west-1:123456789012:profile/a1b2c3d4",
//!     "role_arn": "arn:aws:iam::123456789012:role/backup",
//!     "certificate": "/etc/pki/server.pem", "intermediates": "/etc/pki/chain.pem",
//!     "private_key": "/etc/pki/server.key", "session_duration": 3600,
//! });
//! let params: brs::roles_anywhere::Params = brs::Params::data(data)?.take()?;
//! params.validate()
//! # }
//! # example().unwrap();
//! ```
//!
//! # Certificate and key
//!
//! As for the method `iot`: paths, PEM text or bytes; RSA of 2048 to 4096 bits, EC P-256 or P-384;
//! encrypted with a pass phrase, or in a PKCS#11 token (feature `pkcs11`). Both are read when the
//! session is built, and changed files are adopted by the next refresh if the new pair is complete,
//! matches and is valid. If AWS refuses a new certificate, the previous one is used once more, with
//! a warning. Within 30 days of the certificate's expiration each refresh reports it
//! ([`CERTIFICATE_EXPIRING`]).
//!
//! AWS wants a certificate of X.509 version 3 with `CA:FALSE` and the key usage `digitalSignature`,
//! signed with SHA-256 or better. What certainly fails is an error when the session is built. The
//! chain may be in any order: it is sorted, and self-signed roots are left out.
//!
//! TLS is that of any client: the certificate is not shown in the handshake, so proxies that open
//! TLS do no harm but to the signed `Host`.
//!
//! # What failures mean
//!
//! If AWS refuses a call, the error names the setting to look at and the command that shows it;
//! such errors need a person. Connection errors, throttling and failures of the service are retried
//! within the refresh, then at the engine's pace. Meanwhile the cached credential set is served,
//! even after it has expired (static stability).
//!
//! # Clocks
//!
//! A signature is dated. If AWS refuses a date, the call is repeated with the date that AWS's
//! answer has, and later calls are dated by it. The lifetime of credentials counts from the
//! answer's `Date`, too.
//!
//! # Layers
//!
//! ```text
//! strategy  params      the method
//! service/              the endpoint's name, the call, what answers mean
//! request/              the certificates that are sent, the signature
//! ```
//!
//! A layer uses only those below it. Certificate, key, rotation, tokens and the attempts of a call
//! are `brs-iot`'s.

mod params;
mod request;
mod service;
mod strategy;

pub use brs_core::SecretSource;
#[cfg(feature = "pkcs11")]
pub use brs_iot::Pkcs11;
pub use brs_iot::{CERTIFICATE_EXPIRING, Device, DeviceParams, Pem};
pub use params::Params;
pub use strategy::RolesAnywhere;
