//! Opening a token: finding it, the key and the certificate, and letting the key show what it can
//! do.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use brs_core::kit::PerProcess;
use brs_core::{Clock as _, Error, SecretString, SystemClock};
use rustls::SignatureAlgorithm;
use rustls::pki_types::CertificateDer;
use rustls::sign::SigningKey;

use super::Pkcs11;
use super::asking::{Until, work};
use super::key::{Inner, TokenKey};
use super::prove::Prover;
use super::thread::{Place, TokenThread};
use super::token::{Desk, KeyRef};
use crate::device::external_key::{Chain, ExternalKey, OpenedKey};
use crate::device::params::DeviceParams;

/// A token's key, ready for TLS.
#[doc(hidden)]
#[derive(Clone)]
pub struct Opened {
    /// The device's certificate, then what leads to its root.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Signs on the token.
    pub key: Arc<dyn SigningKey>,
    /// The token cannot make the signatures of TLS 1.3: then a client that offers it sends no
    /// certificate.
    pub tls12_only: bool,
    /// A signature failed for no clear reason: opened again, the key may be able to do more.
    pub is_provisional: bool,
}

impl Pkcs11 {
    /// Opens the token, and checks that key and certificate belong together.
    ///
    /// `certificates`: the device's certificate and its chain; `None`: they are read from the
    /// token.
    ///
    /// # Errors
    ///
    /// [Unrecoverable](Error::is_unrecoverable) if only a person can fix it: a wrong PIN, a missing
    /// or ambiguous key, a key that does not match. A token that is missing or does not answer may
    /// be back later.
    #[doc(hidden)]
    pub async fn open(
        &self,
        certificates: Option<Vec<CertificateDer<'static>>>,
    ) -> Result<Opened, Error> {
        let now = SystemClock::new().now();
        let (certificates, key) = self.open_key(certificates, now, None).await?;
        Ok(Opened {
            certificates,
            tls12_only: key.tls12_only(),
            is_provisional: key.is_provisional(),
            key: Arc::new(key),
        })
    }

    async fn open_key(
        &self,
        certificates: Option<Chain>,
        now: SystemTime,
        left: Option<Duration>,
    ) -> Result<(Chain, TokenKey), Error> {
        self.check()?;
        let until = Until::new(left.map_or(self.signature_timeout, |left| {
            left.min(self.signature_timeout)
        }));
        let module = self.module(until).await?;
        let looking = TokenThread::enter(Place {
            module: module.clone(),
            token: None,
        })?;
        let selector = self.token.clone();
        let token = looking
            .call(until.left(), move |desk| desk.find_token(&selector))
            .await??;
        drop(looking);

        let thread = TokenThread::enter(Place {
            module,
            token: Some(token),
        })?;
        let key = Arc::new(KeyRef {
            selector: self.key.clone(),
            pin: self.pin.clone(),
        });
        let selector = certificates.is_none().then(|| self.certificate.clone());
        let to_find = Arc::clone(&key);
        let find = move |desk: &mut Desk, pin: Option<&SecretString>| {
            let found = desk.find_key(&to_find, pin)?;
            let read = selector
                .as_ref()
                .map(|selector| desk.find_certificates(&to_find, pin, selector))
                .transpose()?;
            Ok((found, read))
        };
        let found = work(&thread, &key, until, Arc::new(find)).await?;
        let (found, read) = found.map_err(|failure| failure.into_error(&thread))?;

        let prover = Prover {
            thread: &thread,
            key: &key,
            found: &found,
            until,
        };
        let (certificates, proof) = match read {
            Some(read) => prover.stored(&read, now).await?,
            None => {
                let chain = certificates.unwrap_or_default();
                let proof = prover.given(&chain).await?;
                (chain, proof)
            }
        };
        let inner = Inner {
            key,
            certificate: proof.leaf,
            public_key: proof.public_key,
            schemes: proof.schemes,
            is_provisional: proof.is_unclear,
            algorithm: if found.is_rsa {
                SignatureAlgorithm::RSA
            } else {
                SignatureAlgorithm::ECDSA
            },
            limit: self.signature_timeout,
            until: PerProcess::new(),
            thread,
        };
        let key = TokenKey(Arc::new(inner));
        if key.tls12_only() {
            tracing::info!(token = %key.0.thread, "the token makes no RSA-PSS signatures: TLS 1.2 is used");
        }
        Ok((certificates, key))
    }
}

#[async_trait]
impl ExternalKey for Pkcs11 {
    fn check(&self) -> Result<(), Error> {
        self.check()
    }

    fn signature_timeout(&self) -> Duration {
        self.signature_timeout
    }

    async fn open(
        &self,
        chain: Option<Chain>,
        now: SystemTime,
        left: Option<Duration>,
    ) -> Result<(Chain, Arc<dyn OpenedKey>), Error> {
        let (chain, key) = self.open_key(chain, now, left).await?;
        Ok((chain, Arc::new(key)))
    }
}

impl DeviceParams {
    /// The key within a PKCS#11 token, in place of a private key.
    pub fn pkcs11(mut self, pkcs11: Pkcs11) -> Self {
        self.external_key = Some(Arc::new(pkcs11));
        self
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("certificates", &self.certificates.len())
            .field("key", &self.key)
            .field("tls12_only", &self.tls12_only)
            .finish_non_exhaustive()
    }
}
