//! A token's key as rustls wants it: a `SigningKey` whose signatures are made on the token's
//! thread.
//!
//! rustls signs synchronously, in the middle of a handshake. The wait is bounded. Within a call of
//! the method `iot`, tokio is notified, so the worker's other tasks continue elsewhere; other code
//! drives handshakes on a thread that may block. tokio has no way to ask whether a worker may
//! block, and panics on a wrong guess.
//!
//! The token's error for a failed signature passes through rustls as it is, inside the handshake's
//! error: of two connections that sign with one key at the same time, each gets its own.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use brs_core::kit::PerProcess;
use brs_core::{Clock as _, Error, SecretString, SystemClock};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::sign::{Signer, SigningKey};
use rustls::{OtherError, SignatureAlgorithm, SignatureScheme};

use super::asking::{self, Until, block_on};
use super::prove::PKCS1;
use super::thread::TokenThread;
use super::token::{Desk, KeyRef};
use crate::device::external_key::OpenedKey;
use crate::device::limits::ON_A_WORKER;

/// A private key on a token.
#[derive(Clone, Debug)]
pub(super) struct TokenKey(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) thread: TokenThread,
    pub(super) key: Arc<KeyRef>,
    pub(super) certificate: Arc<CertificateDer<'static>>,
    pub(super) public_key: SubjectPublicKeyInfoDer<'static>,
    /// What the token was able to do when it was tried, in order of preference.
    pub(super) schemes: Vec<SignatureScheme>,
    /// Whether one failed that might work by now.
    pub(super) is_provisional: bool,
    pub(super) algorithm: SignatureAlgorithm,
    pub(super) limit: Duration,
    /// When the attempt that the signatures are for ends, on the monotonic clock. The attempt keeps
    /// it alive.
    pub(super) until: PerProcess<Mutex<Weak<Duration>>>,
}

impl TokenKey {
    fn limit(&self) -> Duration {
        let until = self.0.until.get();
        let until = until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .upgrade();
        let left = until.map(|until| until.saturating_sub(SystemClock::new().monotonic()));
        left.map_or(self.0.limit, |left| left.min(self.0.limit))
    }

    /// The token's signature, which fits the certificate.
    async fn signature(
        &self,
        scheme: SignatureScheme,
        message: &[u8],
        limit: Duration,
    ) -> Result<Vec<u8>, Error> {
        let Inner {
            thread,
            key,
            certificate,
            ..
        } = &*self.0;
        let (signing, certificate, message) =
            (Arc::clone(key), Arc::clone(certificate), message.to_vec());
        let work = move |desk: &mut Desk, pin: Option<&SecretString>| {
            desk.sign(&signing, pin, scheme, &message, &certificate)
        };
        let signed = asking::work(thread, key, Until::new(limit), Arc::new(work)).await?;
        signed.map_err(|failure| failure.into_error(thread))
    }
}

#[async_trait]
impl OpenedKey for TokenKey {
    /// Afterwards each has the key's own limit only. A later one takes its place, and outlives it.
    fn limit_signatures(&self, limit: Duration) -> Arc<Duration> {
        let until = Arc::new(SystemClock::new().monotonic().saturating_add(limit));
        let kept = self.0.until.get();
        *kept.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&until);
        until
    }

    async fn sign_message(
        &self,
        scheme: SignatureScheme,
        message: &[u8],
        limit: Duration,
    ) -> Result<Vec<u8>, Error> {
        self.signature(scheme, message, limit.min(self.limit()))
            .await
    }

    fn tls12_only(&self) -> bool {
        self.0.schemes.iter().all(|scheme| PKCS1.contains(scheme))
    }

    fn is_provisional(&self) -> bool {
        self.0.is_provisional
    }
}

impl SigningKey for TokenKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = *self
            .0
            .schemes
            .iter()
            .find(|scheme| offered.contains(scheme))?;
        Some(Box::new(TokenSigner {
            key: self.clone(),
            scheme,
        }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.0.public_key.as_ref()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm
    }
}

#[derive(Debug)]
struct TokenSigner {
    key: TokenKey,
    scheme: SignatureScheme,
}

impl Signer for TokenSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let signing = self.key.signature(self.scheme, message, self.key.limit());
        telling_tokio(|| block_on(signing))
            .map_err(|error| rustls::Error::Other(OtherError(Arc::new(error))))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

fn telling_tokio<T>(wait: impl FnOnce() -> T) -> T {
    match ON_A_WORKER.try_with(|()| ()) {
        Ok(()) => tokio::task::block_in_place(wait),
        Err(_) => wait(),
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey")
            .field("token", &format_args!("{}", self.thread))
            .field("key", &format_args!("{}", self.key.selector))
            .field("schemes", &self.schemes)
            .finish_non_exhaustive()
    }
}
