//! ECDSA over a SHA-256 digest with a key on P-384.
//!
//! TLS signs with SHA-384 on this curve, and so does rustls; IAM Roles Anywhere wants SHA-256
//! whatever the curve. This key offers both, the second under a scheme of its own. The
//! cryptography library pairs the curve with SHA-384 only: ECDSA takes the digest as a number, so
//! the SHA-256 digest with 16 zero bytes in front of it stands in for a longer one.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{Digest, SHA256, SHA384, SHA384_OUTPUT_LEN, digest};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

/// The name of that signature within this crate: a code point that RFC 8446 leaves for private
/// use. TLS chooses it only from a server that offers it and nothing else that the key can make.
pub(crate) const P384_SHA256: SignatureScheme = SignatureScheme::Unknown(0xfe84);

/// A P-384 key as rustls uses it, which makes the further signature, too.
struct P384 {
    key: Arc<dyn SigningKey>,
    pair: Arc<EcdsaKeyPair>,
}

/// The key, able to sign SHA-256 digests if it is on P-384; `der` is what it was read from.
pub(super) fn with_sha256(key: Arc<dyn SigningKey>, der: &[u8]) -> Arc<dyn SigningKey> {
    if key
        .choose_scheme(&[SignatureScheme::ECDSA_NISTP384_SHA384])
        .is_none()
    {
        return key;
    }
    match EcdsaKeyPair::from_private_key_der(&ECDSA_P384_SHA384_ASN1_SIGNING, der) {
        Ok(pair) => Arc::new(P384 {
            key,
            pair: Arc::new(pair),
        }),
        // rustls has read it: then it is only this signature that the key cannot make.
        Err(_) => key,
    }
}

impl SigningKey for P384 {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        self.key.choose_scheme(offered).or_else(|| {
            offered
                .contains(&P384_SHA256)
                .then(|| Box::new(Sha256Signer(Arc::clone(&self.pair))) as Box<dyn Signer>)
        })
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.key.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }
}

impl fmt::Debug for P384 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("P384").finish_non_exhaustive()
    }
}

struct Sha256Signer(Arc<EcdsaKeyPair>);

impl Signer for Sha256Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let short = digest(&SHA256, message);
        let mut long = [0; SHA384_OUTPUT_LEN];
        long[SHA384_OUTPUT_LEN - short.as_ref().len()..].copy_from_slice(short.as_ref());
        Digest::import_less_safe(&long, &SHA384)
            .and_then(|long| self.0.sign_digest(&long))
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| rustls::Error::General("signing failed".into()))
    }

    fn scheme(&self) -> SignatureScheme {
        P384_SHA256
    }
}

impl fmt::Debug for Sha256Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sha256Signer").finish_non_exhaustive()
    }
}
