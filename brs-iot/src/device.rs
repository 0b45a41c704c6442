//! A device's identity: its certificate chain and its key, whatever holds the key.
//!
//! This folder is all that a device's connection needs, whatever it is for: the parameters
//! ([`params`]), reading files, TLS, and rotation ([`files`]). This file owns the result:
//! certificate and key, checked to belong together and to be valid now. It knows neither the
//! credentials endpoint nor PKCS#11.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use brs_core::Error;
use brs_core::kit::iso8601;
use rustls::InconsistentKeys;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SigningKey};

pub(crate) mod certificate;
pub(crate) mod external_key;
pub(crate) mod files;
pub(crate) mod handshake;
pub(crate) mod identity;
pub(crate) mod key;
pub(crate) mod limits;
pub(crate) mod params;
pub(crate) mod pem;
pub(crate) mod server_time;
pub(crate) mod signing;
pub(crate) mod tls;

use certificate::Facts;
use external_key::{Chain, OpenedKey};
use params::no_certificate;

const LOCAL: &str = "this machine's clock";

/// How long before its expiration a certificate is reported.
const NEAR_ITS_END: Duration = Duration::from_secs(30 * 24 * 3600);

/// A device's identity: certificate chain and key, which belong together.
pub struct Device {
    certified: Arc<CertifiedKey>,
    facts: Facts,
    external: Option<External>,
}

/// What is different about an external key.
struct External {
    key: Arc<dyn OpenedKey>,
    signature_timeout: Duration,
}

impl Device {
    /// `certificate` and `private_key` name themselves in errors, the latter with its parameter.
    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: Arc<dyn SigningKey>,
        certificate: &str,
        private_key: (&str, &'static str),
    ) -> Result<Self, Error> {
        let facts = chain
            .first()
            .and_then(Facts::of)
            .ok_or_else(no_certificate)?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            // A token's key may not give its public half; `pkcs11` has tried a signature.
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(_) => return Err(mismatch(certified, certificate, private_key)),
        }
        if !facts.key.is_supported() {
            let (named, param) = private_key;
            return Err(Error::configuration(format!(
                "{named} is {}: give RSA 2048 to 4096, or EC P-256 or P-384, and a certificate for it",
                facts.key
            ))
            .with_param(param)
            .unrecoverable());
        }
        Ok(Self {
            certified: Arc::new(certified),
            facts,
            external: None,
        })
    }

    /// The same with an external key.
    fn external(
        chain: Chain,
        key: Arc<dyn OpenedKey>,
        signature_timeout: Duration,
        certificate: &str,
    ) -> Result<Self, Error> {
        let signing: Arc<dyn SigningKey> = key.clone();
        let device = Self::new(chain, signing, certificate, ("the token's key", "pkcs11"))?;
        let external = External {
            key,
            signature_timeout,
        };
        Ok(Self {
            external: Some(external),
            ..device
        })
    }

    /// A device whose key signs by a call that blocks.
    #[cfg(test)]
    pub(crate) fn of_external(chain: Chain, key: Arc<dyn OpenedKey>) -> Self {
        Self::external(chain, key, Duration::ZERO, "the certificate")
            .expect("the test's key belongs to its certificate")
    }

    /// The certificate's subject, as RFC 4514 writes it: `CN=device-7,O=Example`.
    pub fn certificate_subject(&self) -> &str {
        &self.facts.subject
    }

    /// The certificate's SHA-256 fingerprint, 64 hexadecimal digits: what AWS IoT calls the
    /// certificate's id.
    pub fn certificate_sha256(&self) -> &str {
        &self.facts.sha256
    }

    /// The certificate's `notBefore`.
    pub fn not_before(&self) -> SystemTime {
        self.facts.not_before
    }

    /// The certificate's `notAfter`.
    pub fn not_after(&self) -> SystemTime {
        self.facts.not_after
    }

    /// Chain and key, for TLS.
    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }

    /// Whether the key signs by a call that blocks its thread.
    pub(crate) fn may_block(&self) -> bool {
        self.external.is_some()
    }

    /// Whether TLS 1.3 would find no signature that the key can make.
    pub(crate) fn tls12_only(&self) -> bool {
        let external = self.external.as_ref();
        external.is_some_and(|external| external.key.tls12_only())
    }

    /// Whether the key, opened again, may be able to do more.
    pub(crate) fn is_provisional(&self) -> bool {
        let external = self.external.as_ref();
        external.is_some_and(|external| external.key.is_provisional())
    }

    /// Signatures of a key that blocks end within this time, from now on, as long as what this
    /// gives is kept.
    pub(crate) fn limit_signatures(&self, limit: Duration) -> Option<Arc<Duration>> {
        let external = self.external.as_ref();
        external.map(|external| external.key.limit_signatures(limit))
    }

    /// The time limit of one signature, if the key has one.
    pub(crate) fn signature_timeout(&self) -> Duration {
        let external = self.external.as_ref();
        external.map_or(Duration::ZERO, |external| external.signature_timeout)
    }

    /// Whether the certificate expires within 30 days, or has expired.
    #[doc(hidden)]
    pub fn is_near_its_end(&self, now: SystemTime) -> bool {
        !self
            .facts
            .not_after
            .duration_since(now)
            .is_ok_and(|left| left > NEAR_ITS_END)
    }

    /// Checks that the certificate is valid at `now`, by this machine's clock.
    ///
    /// # Errors
    ///
    /// A configuration error with that time and the certificate's validity.
    pub fn check_validity(&self, now: SystemTime) -> Result<(), Error> {
        self.check_validity_by(now, LOCAL)
    }

    /// As [`check_validity`](Self::check_validity), by the clock of that name.
    pub(crate) fn check_validity_by(&self, now: SystemTime, clock: &str) -> Result<(), Error> {
        let problem = if now < self.facts.not_before {
            "is not valid yet"
        } else if now > self.facts.not_after {
            "has expired"
        } else {
            return Ok(());
        };
        let (remedy, detail) = match clock {
            LOCAL => (
                "set the clock, or give a certificate that is valid",
                "local_time",
            ),
            _ => ("give a certificate that is valid", "server_time"),
        };
        Err(Error::configuration(format!(
            "the certificate of `{}` {problem}: it is valid from {} to {}, and {clock} shows {}; {remedy}",
            self.facts.subject,
            iso8601(self.facts.not_before),
            iso8601(self.facts.not_after),
            iso8601(now)
        ))
        .with_param("certificate")
        .with_detail("not_before", iso8601(self.facts.not_before))
        .with_detail("not_after", iso8601(self.facts.not_after))
        .with_detail(detail, iso8601(now))
        .unrecoverable())
    }
}

/// The error for a key of another certificate. If the key is that of another certificate in the
/// chain, the order is wrong.
fn mismatch(
    mut certified: CertifiedKey,
    certificate: &str,
    (private_key, key_param): (&str, &'static str),
) -> Error {
    let chain = std::mem::take(&mut certified.cert);
    let owner = chain.iter().skip(1).position(|other| {
        certified.cert = vec![other.clone()];
        certified.keys_match().is_ok()
    });
    let (message, param) = match owner {
        Some(index) => (
            format!(
                "{certificate} has the device's own certificate as number {}: put it first, before \
                 its authorities",
                index + 2
            ),
            "certificate",
        ),
        None => (
            format!(
                "{certificate} and {private_key} do not belong together: compare `openssl x509 -in <certificate> \
                 -noout -pubkey` with `openssl pkey -in <key> -pubout`"
            ),
            key_param,
        ),
    };
    Error::configuration(message)
        .with_param(param)
        .unrecoverable()
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("certificate_subject", &self.facts.subject)
            .field("certificate_sha256", &self.facts.sha256)
            .field("not_after", &iso8601(self.facts.not_after))
            .field("token", &self.external.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests;
