//! Opening a token: finding it, the key and the certificate, and letting the key show what it can
//! do.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use brs_core::{Clock as _, Error, SecretString, SystemClock};
use rustls::SignatureAlgorithm;
use rustls::pki_types::CertificateDer;
use rustls::sign::SigningKey;

use super::Pkcs11;
use super::asking::{Until, work};
use super::certificates::{choose, is_valid};
use super::find::ObjectSelector;
use super::key::{Inner, TokenKey};
use super::prove::{Proof, Prover, TEST_MESSAGE, public_key};
use super::thread::{Place, TokenThread};
use super::token::{Desk, KeyRef};
use crate::device::More;
use crate::device::certificate::Facts;
use crate::strategy::NEAR_ITS_END;

/// How long a look takes at most: what it is part of goes on without it.
const LOOK: Duration = Duration::from_secs(2);

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
    /// Sets how long signatures may take from now on, all together, until what it gives is dropped
    /// or a later one set.
    pub limit: Arc<dyn Fn(Duration) -> Arc<Duration> + Send + Sync>,
    /// Whether opening it again would give more, looked at within a time limit.
    pub more: More,
}

impl Pkcs11 {
    /// Opens the token, and checks that key and certificate belong together.
    ///
    /// `certificates`: the device's certificate and its chain; `None`: they are read from the
    /// token.
    ///
    /// # Errors
    ///
    /// [Unrecoverable](Error::is_unrecoverable) where only a person can mend it: a wrong PIN, a
    /// missing or ambiguous key, a key that does not fit. A token that is not there or does not
    /// answer may be back later.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; a call to the module that has begun goes on, on the token's thread.
    #[doc(hidden)]
    pub async fn open(
        &self,
        certificates: Option<Vec<CertificateDer<'static>>>,
    ) -> Result<Opened, Error> {
        self.open_within(certificates, SystemClock::new().now(), None)
            .await
    }

    /// The same at a time by the session's clock, and within what is left of something larger.
    pub(crate) async fn open_within(
        &self,
        certificates: Option<Vec<CertificateDer<'static>>>,
        now: SystemTime,
        left: Option<Duration>,
    ) -> Result<Opened, Error> {
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
        let on_token = certificates.is_none().then(|| self.certificate.clone());
        let (to_find, selector) = (Arc::clone(&key), on_token.clone());
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
        let tls12_only = proof.is_for_tls12_only();
        if tls12_only {
            tracing::info!(token = %thread, "the token makes no RSA-PSS signatures: TLS 1.2 is used");
        }
        let more = more(&thread, &key, &proof, on_token);
        let inner = Inner {
            thread,
            key,
            certificate: proof.leaf,
            public_key: proof.public_key,
            schemes: proof.schemes,
            algorithm: if found.is_rsa {
                SignatureAlgorithm::RSA
            } else {
                SignatureAlgorithm::ECDSA
            },
            limit: self.signature_timeout,
            until: Mutex::default(),
        };
        let key = TokenKey(Arc::new(inner));
        let limited = key.clone();
        Ok(Opened {
            certificates,
            key: Arc::new(key),
            tls12_only,
            limit: Arc::new(move |limit| limited.set_limit(limit)),
            more,
        })
    }
}

/// Looks whether a signature that failed for no clear reason works by now, and, when the
/// certificate is near its end, whether the token has a renewed one. Needs no login: without one,
/// the next signature sees to it.
fn more(
    thread: &TokenThread,
    key: &Arc<KeyRef>,
    proof: &Proof,
    on_token: Option<ObjectSelector>,
) -> More {
    let (thread, key, leaf) = (thread.clone(), Arc::clone(key), Arc::clone(&proof.leaf));
    let (unclear, ends) = (proof.unclear, Facts::of(&leaf).map(|facts| facts.not_after));
    Arc::new(move |now, limit| {
        let has_time = ends.is_some_and(|ends| {
            ends.duration_since(now)
                .is_ok_and(|left| left > NEAR_ITS_END)
        });
        let on_token = on_token.clone().filter(|_| !has_time);
        if unclear.is_none() && on_token.is_none() {
            return Box::pin(std::future::ready(false));
        }
        let (thread, key, leaf) = (thread.clone(), Arc::clone(&key), Arc::clone(&leaf));
        Box::pin(async move {
            let token = thread.clone();
            let look = move |desk: &mut Desk| {
                if unclear.is_some_and(|scheme| desk.try_to_sign(&key, scheme, TEST_MESSAGE, &leaf))
                {
                    return true;
                }
                let Some(read) =
                    on_token.and_then(|selector| desk.look_at_certificates(&key, &selector))
                else {
                    return false;
                };
                let mut of_key = read.candidates;
                let its = public_key(&leaf);
                of_key.retain(|stored| public_key(&stored.certificate) == its);
                choose(&of_key, now, &token)
                    .is_ok_and(|chosen| *chosen != *leaf && is_valid(chosen, now))
            };
            thread.call(limit.min(LOOK), look).await.unwrap_or(false)
        })
    })
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
