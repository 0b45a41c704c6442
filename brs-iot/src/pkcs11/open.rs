//! Opening a token: finding it, the key and the certificate, and letting the key show what it can do.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use brs_core::{Error, SecretString};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, alg_id};
use rustls::sign::SigningKey;
use rustls::{SignatureAlgorithm, SignatureScheme};
use webpki::EndEntityCert;

use super::Pkcs11;
use super::asking::{Until, work};
use super::failure::Failure;
use super::key::{Inner, TokenKey};
use super::thread::{Place, TokenThread};
use super::token::{Desk, KeyRef};

/// What is signed to see whether key and certificate belong together.
const TEST_MESSAGE: &[u8] = b"brs: does this key belong to this certificate?";

const PSS: [SignatureScheme; 3] =
    [SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PSS_SHA384, SignatureScheme::RSA_PSS_SHA512];
const PKCS1: [SignatureScheme; 3] =
    [SignatureScheme::RSA_PKCS1_SHA256, SignatureScheme::RSA_PKCS1_SHA384, SignatureScheme::RSA_PKCS1_SHA512];

/// A token's key, ready for TLS.
#[doc(hidden)]
#[derive(Clone)]
pub struct Opened {
    /// The device's certificate, then what leads to its root.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Signs on the token.
    pub key: Arc<dyn SigningKey>,
    /// The token cannot make the signatures of TLS 1.3: then a client that offers it sends no certificate.
    pub tls12_only: bool,
    /// The token's own last error, taken: TLS reports a text only.
    pub failure: Arc<dyn Fn() -> Option<Error> + Send + Sync>,
    /// Sets how long signatures may take from now on, all together; `None`: each as long as it may.
    pub limit: Arc<dyn Fn(Option<Duration>) + Send + Sync>,
}

impl Pkcs11 {
    /// Opens the token, and checks that key and certificate belong together.
    ///
    /// `certificates`: the device's certificate and its chain; `None`: they are read from the token.
    ///
    /// # Errors
    ///
    /// [Unrecoverable](Error::is_unrecoverable) where only a person can mend it: a wrong PIN, a missing or ambiguous
    /// key, a key that does not fit. A token that is not there or does not answer may be back later.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; a call to the module that has begun goes on, on the token's thread.
    #[doc(hidden)]
    pub async fn open(&self, certificates: Option<Vec<CertificateDer<'static>>>) -> Result<Opened, Error> {
        self.check()?;
        let limit = self.signature_timeout;
        let until = Until::new(limit);
        let module = self.module(until).await?;
        let looking = TokenThread::enter(Place { module: module.clone(), token: None })?;
        let selector = self.token.clone();
        let token = looking.call(until.left(), move |desk| desk.find_token(&selector)).await??;
        drop(looking);

        let thread = TokenThread::enter(Place { module, token: Some(token) })?;
        let key = Arc::new(KeyRef { selector: self.key.clone(), pin: self.pin.clone() });
        let (to_find, on_token) = (Arc::clone(&key), certificates.is_none().then(|| self.certificate.clone()));
        let find = move |desk: &mut Desk, pin: Option<&SecretString>| {
            let found = desk.find_key(&to_find, pin)?;
            let read = on_token.as_ref().map(|selector| desk.find_certificates(&to_find, pin, selector)).transpose()?;
            Ok((found, read))
        };
        let found = work(&thread, &key, until, Arc::new(find)).await?;
        let (found, read) = found.map_err(|failure| failure.into_error(&thread))?;
        let certificates = read.or(certificates).unwrap_or_default();

        let what = format!("{thread}: private key `{}` (id {})", found.label, found.id);
        let (leaf, public_key, algorithm) = device_certificate(&certificates, found.is_rsa, &what)?;
        let prover = Prover { thread: &thread, key: &key, leaf: &leaf, until, what: &what };
        let schemes = prover.schemes(algorithm).await?;
        let tls12_only = !schemes.iter().any(|scheme| !PKCS1.contains(scheme));
        if tls12_only {
            tracing::info!(token = %thread, "the token makes no RSA-PSS signatures: TLS 1.2 is used");
        }
        let algorithm = if found.is_rsa { SignatureAlgorithm::RSA } else { SignatureAlgorithm::ECDSA };
        let (failure, until) = (Mutex::new(None), Mutex::new(None));
        let inner = Inner { thread, key, certificate: leaf, public_key, schemes, algorithm, limit, until, failure };
        let key = TokenKey(Arc::new(inner));
        let (failing, limited) = (key.clone(), key.clone());
        Ok(Opened {
            certificates,
            key: Arc::new(key),
            tls12_only,
            failure: Arc::new(move || failing.take_failure()),
            limit: Arc::new(move |limit| limited.set_limit(limit)),
        })
    }
}

/// A certificate's kind of key.
#[derive(Clone, Copy)]
enum Algorithm {
    Rsa,
    P256,
    P384,
}

/// The device's certificate, its public key and kind.
fn device_certificate(
    certificates: &[CertificateDer<'static>],
    key_is_rsa: bool,
    what: &str,
) -> Result<(Arc<CertificateDer<'static>>, SubjectPublicKeyInfoDer<'static>, Algorithm), Error> {
    let wrong = |problem: &str| Error::configuration(format!("{what}: {problem}")).unrecoverable();
    let leaf = certificates.first().ok_or_else(|| wrong("no certificate is given"))?;
    let parsed = EndEntityCert::try_from(leaf)
        .map_err(|error| wrong("its certificate cannot be read: it must be X.509 version 3").with_source(error))?;
    let public_key = parsed.subject_public_key_info();
    let has = |id: &[u8]| public_key.windows(id.len()).take(16).any(|window| window == id);
    let algorithm = match key_is_rsa {
        true if has(&alg_id::RSA_ENCRYPTION) => Algorithm::Rsa,
        false if has(&alg_id::ECDSA_P256) => Algorithm::P256,
        false if has(&alg_id::ECDSA_P384) => Algorithm::P384,
        _ => {
            return Err(wrong(
                "its certificate is for another kind of key, or for an unsupported one: keys are RSA of 2048 to 4096 \
                 bits, P-256 or P-384",
            ));
        }
    };
    Ok((Arc::new(leaf.clone()), public_key, algorithm))
}

/// Finds out what the token can do by letting it do it.
struct Prover<'a> {
    thread: &'a TokenThread,
    key: &'a Arc<KeyRef>,
    leaf: &'a Arc<CertificateDer<'static>>,
    until: Until,
    what: &'a str,
}

impl Prover<'_> {
    async fn schemes(&self, algorithm: Algorithm) -> Result<Vec<SignatureScheme>, Error> {
        let ec = match algorithm {
            Algorithm::P256 => SignatureScheme::ECDSA_NISTP256_SHA256,
            Algorithm::P384 => SignatureScheme::ECDSA_NISTP384_SHA384,
            Algorithm::Rsa => return self.rsa().await,
        };
        self.sign(ec).await?.map_err(|failure| failure.into_error(&self.what))?;
        Ok(vec![ec])
    }

    async fn rsa(&self) -> Result<Vec<SignatureScheme>, Error> {
        let mut schemes = Vec::new();
        let plain = self.sign(SignatureScheme::RSA_PKCS1_SHA256).await?;
        let mut failure = None;
        match plain {
            Ok(_) => schemes.extend(PKCS1),
            Err(refused) if refused.is_incapable() => failure = Some(refused),
            Err(failure) => return Err(failure.into_error(&self.what)),
        }
        // Whatever the list of mechanisms says: tpm2-pkcs11 makes these signatures and does not list them.
        match self.sign(SignatureScheme::RSA_PSS_SHA256).await? {
            // First: they are for both versions of TLS.
            Ok(_) => {
                schemes.splice(0..0, PSS);
            }
            Err(refused) if refused.is_incapable() => {}
            Err(failure) => return Err(failure.into_error(&self.what)),
        }
        match failure {
            Some(failure) if schemes.is_empty() => Err(failure.into_error(&self.what)),
            _ => Ok(schemes),
        }
    }

    async fn sign(&self, scheme: SignatureScheme) -> Result<Result<Vec<u8>, Failure>, Error> {
        let (key, leaf) = (Arc::clone(self.key), Arc::clone(self.leaf));
        let sign = move |desk: &mut Desk, pin: Option<&SecretString>| desk.sign(&key, pin, scheme, TEST_MESSAGE, &leaf);
        work(self.thread, self.key, self.until, Arc::new(sign)).await
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
