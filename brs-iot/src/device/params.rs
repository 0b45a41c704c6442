//! The parameters of a device: a certificate, and a private key or an external key.
//!
//! Owns which of them go together, reading their files, and opening the key. The result is a
//! [`Device`]; `files.rs` handles files that change.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use brs_core::{Blocking, Error, SecretSource};
use rustls::pki_types::CertificateDer;
use rustls::sign::SigningKey;
use zeroize::Zeroizing;

use super::certificate::read_chain;
use super::external_key::ExternalKey;
use super::pem::Pem;
use super::{Device, key};

const CERTIFICATE: &str = "the certificate";
const INTERMEDIATES: &str = "the intermediate certificates";
const PRIVATE_KEY: &str = "the private key";

/// A device's certificate, and exactly one of a private key and a key on a PKCS#11 token.
#[derive(Clone, Debug, Default)]
#[must_use = "a device's parameters do nothing until they are given to something"]
pub struct DeviceParams {
    pub(crate) certificate: Option<Pem>,
    pub(crate) intermediates: Option<Pem>,
    pub(crate) private_key: Option<Pem>,
    pub(crate) passphrase: Option<SecretSource>,
    /// In place of a private key: a token's.
    pub(crate) external_key: Option<Arc<dyn ExternalKey>>,
}

impl DeviceParams {
    /// Empty parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// The device's certificate, followed by those that lead to its authority, if any.
    pub fn certificate(mut self, certificate: impl Into<Pem>) -> Self {
        self.certificate = Some(certificate.into());
        self
    }

    /// The certificates that lead to the device's authority, if they do not follow the device's own
    /// in [`certificate`](Self::certificate).
    pub fn intermediates(mut self, intermediates: impl Into<Pem>) -> Self {
        self.intermediates = Some(intermediates.into());
        self
    }

    /// The certificate's private key: PKCS#8, PKCS#1 or SEC1, or PKCS#8 that is encrypted with a
    /// pass phrase.
    pub fn private_key(mut self, private_key: impl Into<Pem>) -> Self {
        self.private_key = Some(private_key.into());
        self
    }

    /// The pass phrase of an encrypted private key.
    pub fn private_key_passphrase(mut self, passphrase: impl Into<SecretSource>) -> Self {
        self.passphrase = Some(passphrase.into());
        self
    }

    /// Checks that the values are complete and do not contradict each other.
    ///
    /// # Errors
    ///
    /// A configuration error that names what is missing or superfluous.
    pub fn validate(&self) -> Result<(), Error> {
        let refused = |param: &str, problem: &'static str| {
            Err(Error::configuration(problem)
                .with_param(param)
                .unrecoverable())
        };
        match (self.private_key.is_some(), self.has_external_key()) {
            (true, true) => {
                return refused(
                    "private_key",
                    "`private_key` and `pkcs11` are both given: keep only one",
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
            (&self.intermediates, INTERMEDIATES, "intermediates"),
            (&self.private_key, PRIVATE_KEY, "private_key"),
        ];
        for (pem, what, param) in given {
            pem.as_ref()
                .map_or(Ok(()), |pem| pem.validate(what, param))?;
        }
        if self.certificate.is_none() && !self.has_external_key() {
            return refused(
                "certificate",
                "the device has no certificate: give `certificate` with `private_key`",
            );
        }
        self.external_key.as_ref().map_or(Ok(()), |key| key.check())
    }

    /// How long the key may take to sign.
    pub(crate) fn signature_timeout(&self) -> Duration {
        self.external_key
            .as_ref()
            .map_or(Duration::ZERO, |key| key.signature_timeout())
    }

    pub(crate) fn has_external_key(&self) -> bool {
        self.external_key.is_some()
    }

    /// Whether files are read, which may change.
    pub(crate) fn has_files(&self) -> bool {
        [&self.certificate, &self.intermediates, &self.private_key]
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
            intermediates: read(&self.intermediates, INTERMEDIATES, "intermediates")?,
            private_key: read(&self.private_key, PRIVATE_KEY, "private_key")?,
            passphrase: self.passphrase.as_ref().and_then(|source| {
                let text = source.look(key::PASSPHRASE)?;
                Some(Zeroizing::new(text.expose().as_bytes().to_vec()))
            }),
        })
    }

    /// The identity made of those contents. Validity is [`Device::check_validity`]'s.
    ///
    /// `now` by the session's clock; a token within `left`, where it is part of something larger.
    pub(crate) async fn open(
        &self,
        contents: &Contents,
        place: &Blocking,
        now: SystemTime,
        left: Option<Duration>,
    ) -> Result<Device, Error> {
        let chain = self.chain(contents)?;
        let Some(key) = contents.private_key.clone() else {
            let Some(external) = &self.external_key else {
                return self.validate().and_then(|()| Err(no_certificate()));
            };
            let is_beside_the_key = chain.is_none();
            let (mut chain, key) = external.open(chain, now, left).await?;
            if is_beside_the_key {
                chain.extend(self.further(contents)?);
            }
            let timeout = external.signature_timeout();
            return Device::external(chain, key, timeout, &self.named_certificate());
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
        let Some(bytes) = &contents.certificate else {
            return Ok(None);
        };
        let mut chain = read_chain(bytes, &self.named_certificate(), "certificate")?;
        chain.extend(self.further(contents)?);
        Ok(Some(chain))
    }

    /// The intermediate certificates that were read.
    fn further(&self, contents: &Contents) -> Result<Vec<CertificateDer<'static>>, Error> {
        let (Some(pem), Some(bytes)) = (&self.intermediates, &contents.intermediates) else {
            return Ok(Vec::new());
        };
        read_chain(bytes, &pem.named(INTERMEDIATES), "intermediates")
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
}

pub(super) fn no_certificate() -> Error {
    Error::configuration("the device has no certificate: give `certificate`")
        .with_param("certificate")
        .unrecoverable()
}

/// The bytes of certificate and key, where they are given.
pub(crate) struct Contents {
    pub(crate) certificate: Option<Zeroizing<Vec<u8>>>,
    pub(crate) intermediates: Option<Zeroizing<Vec<u8>>>,
    pub(crate) private_key: Option<Zeroizing<Vec<u8>>>,
    /// The pass phrase, where it can be had without asking anybody: another one is a reason to try
    /// a key again.
    pub(crate) passphrase: Option<Zeroizing<Vec<u8>>>,
}
