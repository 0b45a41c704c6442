//! A device's identity: its certificate chain and its key, whatever holds the key.
//!
//! Owns what is given ([`DeviceParams`]) and what becomes of it ([`Device`]): read, checked to
//! belong together and to be valid now. How it is used in TLS is `tls.rs`'s; what happens when
//! files change is `files.rs`'s.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use brs_core::kit::iso8601;
use brs_core::{Blocking, Error};
use rustls::InconsistentKeys;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SigningKey};
use zeroize::Zeroizing;

use crate::certificate::{Facts, read_chain};
use crate::key;
use crate::passphrase::Passphrase;
use crate::pem::Pem;
#[cfg(feature = "pkcs11")]
use crate::pkcs11::Pkcs11;

const CERTIFICATE: &str = "the certificate";
const PRIVATE_KEY: &str = "the private key";
const LOCAL: &str = "this machine's clock";

/// What a device proves itself with: a certificate and exactly one of a private key and a PKCS#11
/// token's key.
#[derive(Clone, Debug, Default)]
pub struct DeviceParams {
    pub(crate) certificate: Option<Pem>,
    pub(crate) private_key: Option<Pem>,
    pub(crate) passphrase: Option<Passphrase>,
    #[cfg(feature = "pkcs11")]
    pub(crate) pkcs11: Option<Pkcs11>,
}

impl DeviceParams {
    /// Nothing given yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The device's certificate, followed by those that lead to its authority, if there are any.
    #[must_use]
    pub fn certificate(mut self, certificate: impl Into<Pem>) -> Self {
        self.certificate = Some(certificate.into());
        self
    }

    /// The certificate's private key: PKCS#8, PKCS#1 or SEC1, or PKCS#8 that is encrypted with a
    /// pass phrase.
    #[must_use]
    pub fn private_key(mut self, private_key: impl Into<Pem>) -> Self {
        self.private_key = Some(private_key.into());
        self
    }

    /// The pass phrase of an encrypted private key.
    #[must_use]
    pub fn private_key_passphrase(mut self, passphrase: impl Into<Passphrase>) -> Self {
        self.passphrase = Some(passphrase.into());
        self
    }

    /// The key within a PKCS#11 token, in place of a private key.
    #[cfg(feature = "pkcs11")]
    #[must_use]
    pub fn pkcs11(mut self, pkcs11: Pkcs11) -> Self {
        self.pkcs11 = Some(pkcs11);
        self
    }

    /// Checks that what is given goes together.
    ///
    /// # Errors
    ///
    /// A configuration error that names what is missing or too much.
    pub fn validate(&self) -> Result<(), Error> {
        let refused = |param: &str, problem: &'static str| {
            Err(Error::configuration(problem)
                .with_param(param)
                .unrecoverable())
        };
        match (self.private_key.is_some(), self.has_token()) {
            (true, true) => {
                return refused(
                    "private_key",
                    "both `private_key` and `pkcs11` are given: give the one that is used",
                );
            }
            (false, false) => {
                return refused(
                    "private_key",
                    "the device has no key: give exactly one of `private_key` and `pkcs11`",
                );
            }
            (false, true) if self.passphrase.is_some() => {
                return refused(
                    "private_key_passphrase",
                    "`private_key_passphrase` is for a `private_key`: a token has a PIN, given in `pkcs11`",
                );
            }
            _ => {}
        }
        let given = [
            (&self.certificate, CERTIFICATE, "certificate"),
            (&self.private_key, PRIVATE_KEY, "private_key"),
        ];
        for (pem, what, param) in given {
            pem.as_ref()
                .map_or(Ok(()), |pem| pem.validate(what, param))?;
        }
        if self.certificate.is_none() && !self.has_token() {
            return refused(
                "certificate",
                "the device has no certificate: give `certificate` beside `private_key`",
            );
        }
        #[cfg(feature = "pkcs11")]
        self.pkcs11.as_ref().map(Pkcs11::check).transpose()?;
        Ok(())
    }

    /// How long the key may take to sign.
    pub(crate) fn signature_timeout(&self) -> Duration {
        #[cfg(feature = "pkcs11")]
        if let Some(pkcs11) = &self.pkcs11 {
            return pkcs11.timeout();
        }
        Duration::ZERO
    }

    #[cfg(feature = "pkcs11")]
    pub(crate) fn has_token(&self) -> bool {
        self.pkcs11.is_some()
    }

    #[cfg(not(feature = "pkcs11"))]
    pub(crate) fn has_token(&self) -> bool {
        false
    }

    /// Whether files are read, which may change.
    pub(crate) fn has_files(&self) -> bool {
        [&self.certificate, &self.private_key]
            .into_iter()
            .flatten()
            .any(Pem::is_file)
    }

    /// What is in the files. Blocks.
    pub(crate) fn read(&self) -> Result<Contents, Error> {
        let read = |pem: &Option<Pem>, what, param| {
            pem.as_ref().map(|pem| pem.read(what, param)).transpose()
        };
        Ok(Contents {
            certificate: read(&self.certificate, CERTIFICATE, "certificate")?,
            private_key: read(&self.private_key, PRIVATE_KEY, "private_key")?,
            passphrase: self.passphrase.as_ref().and_then(Passphrase::content),
        })
    }

    /// The identity made of those contents. Validity is [`Device::check_validity`]'s.
    ///
    /// `now` by the session's clock; a token within `left`, where it is part of something larger.
    pub(crate) async fn open(
        &self,
        contents: Contents,
        place: &Blocking,
        now: SystemTime,
        left: Option<Duration>,
    ) -> Result<Device, Error> {
        let chain = self.chain(&contents)?;
        let Some(key) = contents.private_key else {
            return self
                .open_token(chain, &self.named_certificate(), now, left)
                .await;
        };
        let params = self.clone();
        let key = place.run(move || params.open_key(&key)).await??;
        self.with_key(chain, key)
    }

    /// The certificates that were read, where any are given.
    pub(crate) fn chain(
        &self,
        contents: &Contents,
    ) -> Result<Option<Vec<CertificateDer<'static>>>, Error> {
        contents
            .certificate
            .as_ref()
            .map(|bytes| read_chain(bytes, &self.named_certificate()))
            .transpose()
    }

    /// The private key that was read. Blocks: a pass phrase may be asked for.
    pub(crate) fn open_key(&self, key: &[u8]) -> Result<Arc<dyn SigningKey>, Error> {
        key::read(key, self.passphrase.as_ref(), &self.named_private_key())
    }

    /// The identity made of certificates that were read and a key that was opened.
    pub(crate) fn with_key(
        &self,
        chain: Option<Vec<CertificateDer<'static>>>,
        key: Arc<dyn SigningKey>,
    ) -> Result<Device, Error> {
        let Some(chain) = chain else {
            return self.validate().and_then(|()| Err(no_certificate()));
        };
        Device::new(
            chain,
            key,
            &self.named_certificate(),
            (&self.named_private_key(), "private_key"),
        )
    }

    fn named_certificate(&self) -> String {
        self.certificate
            .as_ref()
            .map_or_else(|| CERTIFICATE.to_owned(), |pem| pem.named(CERTIFICATE))
    }

    fn named_private_key(&self) -> String {
        self.private_key
            .as_ref()
            .map_or_else(|| PRIVATE_KEY.to_owned(), |pem| pem.named(PRIVATE_KEY))
    }

    #[cfg(feature = "pkcs11")]
    async fn open_token(
        &self,
        chain: Option<Vec<CertificateDer<'static>>>,
        certificate: &str,
        now: SystemTime,
        left: Option<Duration>,
    ) -> Result<Device, Error> {
        let Some(pkcs11) = &self.pkcs11 else {
            return self.validate().and_then(|()| Err(no_certificate()));
        };
        let opened = pkcs11.open_within(chain, now, left).await?;
        let device = Device::new(
            opened.certificates,
            opened.key,
            certificate,
            ("the token's key", "pkcs11"),
        )?;
        let token = Token {
            tls12_only: opened.tls12_only,
            limit: opened.limit,
            more: opened.more,
            signature_timeout: pkcs11.timeout(),
        };
        Ok(Device {
            token: Some(token),
            ..device
        })
    }

    #[cfg(not(feature = "pkcs11"))]
    async fn open_token(
        &self,
        _: Option<Vec<CertificateDer<'static>>>,
        _: &str,
        _: SystemTime,
        _: Option<Duration>,
    ) -> Result<Device, Error> {
        self.validate().and_then(|()| Err(no_certificate()))
    }
}

pub(crate) fn no_certificate() -> Error {
    Error::configuration("the device has no certificate: give `certificate`")
        .with_param("certificate")
        .unrecoverable()
}

/// The bytes of certificate and key, where they are given.
pub(crate) struct Contents {
    pub(crate) certificate: Option<Zeroizing<Vec<u8>>>,
    pub(crate) private_key: Option<Zeroizing<Vec<u8>>>,
    /// The pass phrase, where it can be had without asking anybody: another one is a reason to try
    /// a key again.
    pub(crate) passphrase: Option<Zeroizing<Vec<u8>>>,
}

/// A device's identity: certificate chain and key, which belong together.
pub struct Device {
    certified: Arc<CertifiedKey>,
    facts: Facts,
    token: Option<Token>,
}

/// What is different about a key in a token: it is used by calls that block.
struct Token {
    tls12_only: bool,
    limit: Limit,
    more: More,
    signature_timeout: Duration,
}

/// Sets a time limit for signatures, which is theirs for as long as what it gives is kept.
pub(crate) type Limit = Arc<dyn Fn(Duration) -> Arc<Duration> + Send + Sync>;

/// Tells at a time, within a limit, whether opening the token again would give more.
pub(crate) type More =
    Arc<dyn Fn(SystemTime, Duration) -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

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
            // A token's key need not tell its public half; `pkcs11.rs` has tried a signature.
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
            token: None,
        })
    }

    /// A device whose key signs by a call that blocks, as a token's does.
    #[cfg(test)]
    pub(crate) fn of_token(
        chain: Vec<CertificateDer<'static>>,
        key: Arc<dyn SigningKey>,
        limit: Limit,
    ) -> Self {
        let facts = chain
            .first()
            .and_then(Facts::of)
            .expect("the test's certificate can be read");
        let token = Some(Token {
            tls12_only: false,
            limit,
            more: Arc::new(|_, _| Box::pin(std::future::ready(false))),
            signature_timeout: Duration::ZERO,
        });
        Self {
            certified: Arc::new(CertifiedKey::new(chain, key)),
            facts,
            token,
        }
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

    /// From when on the certificate is valid.
    pub fn not_before(&self) -> SystemTime {
        self.facts.not_before
    }

    /// Until when the certificate is valid.
    pub fn not_after(&self) -> SystemTime {
        self.facts.not_after
    }

    /// Chain and key, for TLS.
    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }

    /// Whether the key signs by a call that blocks its thread.
    pub(crate) fn may_block(&self) -> bool {
        self.token.is_some()
    }

    /// Whether TLS 1.3 would find no signature that the key can make.
    pub(crate) fn tls12_only(&self) -> bool {
        self.token.as_ref().is_some_and(|token| token.tls12_only)
    }

    /// Whether the token has a renewed certificate by now, or makes signatures that it could not
    /// make before.
    pub(crate) async fn has_more(&self, now: SystemTime, left: Option<Duration>) -> bool {
        match &self.token {
            Some(token) => (token.more)(now, left.unwrap_or(token.signature_timeout)).await,
            None => false,
        }
    }

    /// Signatures of a token end within this time, from now on, as long as what this gives is kept.
    pub(crate) fn limit_signatures(&self, limit: Duration) -> Option<Arc<Duration>> {
        self.token.as_ref().map(|token| (token.limit)(limit))
    }

    /// How long one signature may take, where that is said of a token.
    pub(crate) fn signature_timeout(&self) -> Duration {
        self.token
            .as_ref()
            .map_or(Duration::ZERO, |token| token.signature_timeout)
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
            "has ended"
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

/// The error for a key of another certificate; should it be one of the chain's, then the order is
/// wrong.
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
                "{certificate} has the device's own certificate in place {}: put it first, before its authorities",
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
            .field("token", &self.token.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests;
