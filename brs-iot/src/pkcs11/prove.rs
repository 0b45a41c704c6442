//! What a key can do and whose it is, found out by letting it sign.
//!
//! A certificate belongs to a key if it matches the key's signatures; nothing else is certain. Each
//! scheme that TLS is offered has been tried: lists of mechanisms promise what modules do not do,
//! and do not name what they do.

use std::sync::Arc;
use std::time::SystemTime;

use brs_core::{Error, SecretString};
use rustls::SignatureScheme;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, alg_id};
use webpki::EndEntityCert;

use super::asking::{Until, work};
use super::certificates::{OnToken, Stored, choose};
use super::failure::Failure;
use super::find::{FoundKey, listed};
use super::thread::TokenThread;
use super::token::{Desk, KeyRef};

/// What is signed to see whether key and certificate belong together.
const TEST_MESSAGE: &[u8] = b"brs: does this key belong to this certificate?";

const PSS: [SignatureScheme; 3] = [
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
];
pub(super) const PKCS1: [SignatureScheme; 3] = [
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];

/// A certificate that is the key's, and what the key has signed.
pub(super) struct Proof {
    pub(super) leaf: Arc<CertificateDer<'static>>,
    pub(super) public_key: SubjectPublicKeyInfoDer<'static>,
    /// In the order of preference: those of both versions of TLS first.
    pub(super) schemes: Vec<SignatureScheme>,
    /// Whether one failed, and it may have been something passing.
    pub(super) is_unclear: bool,
}

/// A key that is to sign.
pub(super) struct Prover<'a> {
    pub(super) thread: &'a TokenThread,
    pub(super) key: &'a Arc<KeyRef>,
    pub(super) found: &'a FoundKey,
    pub(super) until: Until,
}

/// A certificate's kind of key.
#[derive(Clone, Copy)]
enum Algorithm {
    Rsa,
    P256,
    P384,
}

impl Prover<'_> {
    /// A chain that was given: its first certificate must be the key's.
    pub(super) async fn given(&self, chain: &[CertificateDer<'static>]) -> Result<Proof, Error> {
        let Some((leaf, others)) = chain.split_first() else {
            return Err(self.wrong("no certificate is given"));
        };
        let refused = match self.prove(leaf).await? {
            Ok(proof) => return Ok(proof),
            Err(refused) => refused,
        };
        for (place, other) in (2..).zip(others) {
            if self.prove(other).await?.is_ok() {
                return Err(self.wrong(&format!(
                    "its own certificate is number {place} of those given: put it first, before \
                     its authorities"
                )));
            }
        }
        Err(refused)
    }

    /// The token's certificates: the one that is the key's and valid `now`, and its chain.
    pub(super) async fn stored(
        &self,
        found: &OnToken,
        now: SystemTime,
    ) -> Result<(Vec<CertificateDer<'static>>, Proof), Error> {
        let (mut fitting, mut proof): (Vec<Stored>, Option<Proof>) = (Vec::new(), None);
        let mut refused = Vec::new();
        for stored in &found.candidates {
            let public_key = public_key(&stored.certificate);
            if proof.is_none() && !refused.iter().any(|(key, _)| *key == public_key) {
                match self.prove(&stored.certificate).await? {
                    Ok(proven) => proof = Some(proven),
                    Err(error) => refused.push((public_key.clone(), error)),
                }
            }
            if proof
                .as_ref()
                .is_some_and(|proof| Some(&proof.public_key) == public_key.as_ref())
            {
                fitting.push(stored.clone());
            }
        }
        let Some(proof) = proof else {
            return Err(match (refused.pop(), &found.candidates[..]) {
                (Some((_, error)), [only]) => error.with_detail("certificate", only),
                (_, candidates) => self.wrong(&format!(
                    "none of its {} certificates matches it: {}",
                    candidates.len(),
                    listed(candidates.iter().map(Stored::to_string))
                )),
            });
        };
        let leaf = choose(&fitting, now, self.thread)?;
        let proof = Proof {
            leaf: Arc::new(leaf.clone()),
            ..proof
        };
        Ok((found.chain(leaf, now), proof))
    }

    /// Lets the key sign all that it may have to; the inner error is that the certificate is not
    /// the key's.
    async fn prove(&self, leaf: &CertificateDer<'static>) -> Result<Result<Proof, Error>, Error> {
        let Some(public_key) = public_key(leaf) else {
            return Ok(Err(self.wrong(
                "its certificate cannot be read: it must be X.509 version 3",
            )));
        };
        let Some(algorithm) = algorithm(&public_key, self.found.is_rsa) else {
            return Ok(Err(self.wrong(
                "its certificate is for another kind of key, or for an unsupported one: keys are RSA of 2048 to 4096 \
                 bits, P-256 or P-384",
            )));
        };
        let leaf = Arc::new(leaf.clone());
        let families: &[&[SignatureScheme]] = match algorithm {
            Algorithm::P256 => &[&[SignatureScheme::ECDSA_NISTP256_SHA256]],
            Algorithm::P384 => &[&[SignatureScheme::ECDSA_NISTP384_SHA384]],
            Algorithm::Rsa => &[&PSS, &PKCS1],
        };
        let (mut schemes, mut is_unclear, mut failed) = (Vec::new(), false, None);
        for family in families {
            // A login for each signature, perhaps a person's: then the first has to do.
            let tried = if self.found.always_authenticate {
                &family[..1]
            } else {
                family
            };
            for scheme in tried {
                match self.sign(*scheme, &leaf).await? {
                    Ok(_) => schemes.push(*scheme),
                    Err(failure) if failure.is_incapable() || failure.is_unclear() => {
                        is_unclear |= failure.is_unclear();
                        // That the certificate is another's is the better reason.
                        if failed.is_none() || matches!(failure, Failure::Mismatch) {
                            failed = Some(failure);
                        }
                        // What it does not do with the first hash it does with none.
                        if family.first() == Some(scheme) {
                            break;
                        }
                    }
                    Err(failure) => return Err(failure.into_error(&self.what())),
                }
            }
        }
        match failed {
            Some(failure) if schemes.is_empty() => {
                let is_another = matches!(failure, Failure::Mismatch);
                let error = failure.into_error(&self.what());
                if is_another {
                    Ok(Err(error))
                } else {
                    Err(error)
                }
            }
            _ => Ok(Ok(Proof {
                leaf,
                public_key,
                schemes,
                is_unclear,
            })),
        }
    }

    async fn sign(
        &self,
        scheme: SignatureScheme,
        leaf: &Arc<CertificateDer<'static>>,
    ) -> Result<Result<Vec<u8>, Failure>, Error> {
        let (key, leaf) = (Arc::clone(self.key), Arc::clone(leaf));
        let sign = move |desk: &mut Desk, pin: Option<&SecretString>| {
            desk.sign(&key, pin, scheme, TEST_MESSAGE, &leaf)
        };
        work(self.thread, self.key, self.until, Arc::new(sign)).await
    }

    fn wrong(&self, problem: &str) -> Error {
        Error::configuration(format!("{}: {problem}", self.what())).unrecoverable()
    }

    fn what(&self) -> String {
        format!("{}: {}", self.thread, self.found)
    }
}

/// The key of a certificate; `None` if it is not an X.509 certificate of version 3.
pub(super) fn public_key(
    certificate: &CertificateDer<'_>,
) -> Option<SubjectPublicKeyInfoDer<'static>> {
    let parsed = EndEntityCert::try_from(certificate).ok()?;
    Some(parsed.subject_public_key_info())
}

fn algorithm(public_key: &SubjectPublicKeyInfoDer<'_>, key_is_rsa: bool) -> Option<Algorithm> {
    let has = |id: &[u8]| {
        public_key
            .windows(id.len())
            .take(16)
            .any(|window| window == id)
    };
    match key_is_rsa {
        true if has(&alg_id::RSA_ENCRYPTION) => Some(Algorithm::Rsa),
        false if has(&alg_id::ECDSA_P256) => Some(Algorithm::P256),
        false if has(&alg_id::ECDSA_P384) => Some(Algorithm::P384),
        _ => None,
    }
}
