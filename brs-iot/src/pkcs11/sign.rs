//! Signatures of a token in the form that TLS wants, and the check that they fit the certificate.
//!
//! Digests are made in software: what every module has is the plain signature, `CKM_RSA_PKCS` over
//! a DigestInfo, `CKM_RSA_PKCS_PSS` over a digest, `CKM_ECDSA` over a digest with r and s side by
//! side, which TLS wants as DER. A mechanism that digests by itself is used where the plain one is
//! missing, and where a login must come between the beginning of a signature and its end: the
//! standard allows signing in several steps only there. A module that takes `CKM_ECDSA` in one step
//! and has no `CKM_ECDSA_SHA256` (SoftHSM2 up to 2.6) cannot sign with such a key by way of
//! `cryptoki`, which has no single `C_Sign` that a login could come before.

use std::borrow::Cow;

use aws_lc_rs::digest;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use rustls::SignatureScheme;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use webpki::{EndEntityCert, aws_lc_rs as algorithms};

use crate::device::key::p384::P384_SHA256;

/// What the module is asked to do.
pub(super) struct Recipe<'a> {
    pub(super) mechanism: Mechanism<'static>,
    pub(super) data: Cow<'a, [u8]>,
}

/// Which kind of signature, with which digest.
#[derive(Clone, Copy)]
enum Kind {
    Pkcs1,
    Pss,
    Ecdsa,
}

/// DigestInfo of RFC 8017, appendix B.1, without the digest itself.
const SHA256_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];
const SHA384_INFO: [u8; 19] = [
    0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05,
    0x00, 0x04, 0x30,
];
const SHA512_INFO: [u8; 19] = [
    0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05,
    0x00, 0x04, 0x40,
];

/// How the module is to sign; `in_steps`: it must take the data after the signature has begun.
pub(super) fn recipe<'a>(
    scheme: SignatureScheme,
    message: &'a [u8],
    mechanisms: &[MechanismType],
    in_steps: bool,
) -> Option<Recipe<'a>> {
    let (kind, hash) = kind(scheme)?;
    let plain = match kind {
        Kind::Pkcs1 => Mechanism::RsaPkcs,
        Kind::Pss => Mechanism::RsaPkcsPss(hash.pss()),
        Kind::Ecdsa => Mechanism::Ecdsa,
    };
    let digesting = hash.digesting(kind);
    let has = |mechanism: &Mechanism<'_>| mechanisms.contains(&mechanism.mechanism_type());
    if has(&digesting) && (in_steps || !has(&plain)) {
        return Some(Recipe {
            mechanism: digesting,
            data: Cow::Borrowed(message),
        });
    }
    let digest = digest::digest(hash.algorithm, message);
    let data = match kind {
        Kind::Pkcs1 => [hash.info, digest.as_ref()].concat(),
        Kind::Pss | Kind::Ecdsa => digest.as_ref().to_vec(),
    };
    Some(Recipe {
        mechanism: plain,
        data: Cow::Owned(data),
    })
}

/// The module's signature as TLS wants it; `None` if it cannot be one.
pub(super) fn encoded(scheme: SignatureScheme, signature: Vec<u8>) -> Option<Vec<u8>> {
    let half = match scheme {
        SignatureScheme::ECDSA_NISTP256_SHA256 => 32,
        SignatureScheme::ECDSA_NISTP384_SHA384 | P384_SHA256 => 48,
        _ => return Some(signature),
    };
    (signature.len() == 2 * half).then(|| {
        let (r, s) = signature.split_at(half);
        let body = [integer(r), integer(s)].concat();
        // Two integers of up to 49 bytes and their heads: one byte holds the length.
        [&[0x30, body.len() as u8], &body[..]].concat()
    })
}

/// An unsigned number of at most 126 bytes as a DER INTEGER.
fn integer(number: &[u8]) -> Vec<u8> {
    let zeros = number
        .iter()
        .take_while(|&&byte| byte == 0)
        .count()
        .min(number.len() - 1);
    let number = &number[zeros..];
    let sign: &[u8] = if number[0] & 0x80 == 0 { &[] } else { &[0] };
    [&[0x02, (sign.len() + number.len()) as u8], sign, number].concat()
}

/// Whether the signature of `message` is one of the certificate's key.
pub(super) fn fits(
    scheme: SignatureScheme,
    message: &[u8],
    signature: &[u8],
    certificate: &CertificateDer<'_>,
) -> bool {
    let (Some(algorithm), Ok(certificate)) =
        (algorithm(scheme), EndEntityCert::try_from(certificate))
    else {
        return false;
    };
    certificate
        .verify_signature(algorithm, message, signature)
        .is_ok()
}

fn algorithm(scheme: SignatureScheme) -> Option<&'static dyn SignatureVerificationAlgorithm> {
    Some(match scheme {
        SignatureScheme::RSA_PKCS1_SHA256 => algorithms::RSA_PKCS1_2048_8192_SHA256,
        SignatureScheme::RSA_PKCS1_SHA384 => algorithms::RSA_PKCS1_2048_8192_SHA384,
        SignatureScheme::RSA_PKCS1_SHA512 => algorithms::RSA_PKCS1_2048_8192_SHA512,
        SignatureScheme::RSA_PSS_SHA256 => algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
        SignatureScheme::RSA_PSS_SHA384 => algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
        SignatureScheme::RSA_PSS_SHA512 => algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
        SignatureScheme::ECDSA_NISTP256_SHA256 => algorithms::ECDSA_P256_SHA256,
        SignatureScheme::ECDSA_NISTP384_SHA384 => algorithms::ECDSA_P384_SHA384,
        P384_SHA256 => algorithms::ECDSA_P384_SHA256,
        _ => return None,
    })
}

struct Hash {
    algorithm: &'static digest::Algorithm,
    info: &'static [u8],
    bits: u32,
}

static SHA256: Hash = Hash {
    algorithm: &digest::SHA256,
    info: &SHA256_INFO,
    bits: 256,
};
static SHA384: Hash = Hash {
    algorithm: &digest::SHA384,
    info: &SHA384_INFO,
    bits: 384,
};
static SHA512: Hash = Hash {
    algorithm: &digest::SHA512,
    info: &SHA512_INFO,
    bits: 512,
};

fn kind(scheme: SignatureScheme) -> Option<(Kind, &'static Hash)> {
    Some(match scheme {
        SignatureScheme::RSA_PKCS1_SHA256 => (Kind::Pkcs1, &SHA256),
        SignatureScheme::RSA_PKCS1_SHA384 => (Kind::Pkcs1, &SHA384),
        SignatureScheme::RSA_PKCS1_SHA512 => (Kind::Pkcs1, &SHA512),
        SignatureScheme::RSA_PSS_SHA256 => (Kind::Pss, &SHA256),
        SignatureScheme::RSA_PSS_SHA384 => (Kind::Pss, &SHA384),
        SignatureScheme::RSA_PSS_SHA512 => (Kind::Pss, &SHA512),
        SignatureScheme::ECDSA_NISTP256_SHA256 | P384_SHA256 => (Kind::Ecdsa, &SHA256),
        SignatureScheme::ECDSA_NISTP384_SHA384 => (Kind::Ecdsa, &SHA384),
        _ => return None,
    })
}

/// The mechanism that a key with a login for each signature wants, by the standard's name.
pub(super) fn wanted_in_steps(scheme: SignatureScheme) -> String {
    kind(scheme).map_or_else(
        || "another mechanism".to_owned(),
        |(kind, hash)| hash.digesting(kind).mechanism_type().to_string(),
    )
}

impl Hash {
    /// TLS 1.3 wants a salt as long as the digest.
    fn pss(&self) -> PkcsPssParams {
        let (hash_alg, mgf) = match self.bits {
            256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
            384 => (MechanismType::SHA384, PkcsMgfType::MGF1_SHA384),
            _ => (MechanismType::SHA512, PkcsMgfType::MGF1_SHA512),
        };
        PkcsPssParams {
            hash_alg,
            mgf,
            s_len: cryptoki::types::Ulong::new((self.bits / 8).into()),
        }
    }

    fn digesting(&self, kind: Kind) -> Mechanism<'static> {
        match (kind, self.bits) {
            (Kind::Pkcs1, 256) => Mechanism::Sha256RsaPkcs,
            (Kind::Pkcs1, 384) => Mechanism::Sha384RsaPkcs,
            (Kind::Pkcs1, _) => Mechanism::Sha512RsaPkcs,
            (Kind::Pss, 256) => Mechanism::Sha256RsaPkcsPss(self.pss()),
            (Kind::Pss, 384) => Mechanism::Sha384RsaPkcsPss(self.pss()),
            (Kind::Pss, _) => Mechanism::Sha512RsaPkcsPss(self.pss()),
            (Kind::Ecdsa, 256) => Mechanism::EcdsaSha256,
            (Kind::Ecdsa, 384) => Mechanism::EcdsaSha384,
            (Kind::Ecdsa, _) => Mechanism::EcdsaSha512,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{self, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey};

    const ALL: [MechanismType; 3] = [
        MechanismType::ECDSA,
        MechanismType::ECDSA_SHA256,
        MechanismType::SHA256_RSA_PKCS,
    ];

    #[test]
    fn numbers_are_as_short_as_der_wants() {
        for (number, der) in [
            (&[0, 0][..], &[2, 1, 0][..]),
            (&[0, 1], &[2, 1, 1]),
            (&[0, 0x80], &[2, 2, 0, 0x80]),
            (&[0xff, 1], &[2, 3, 0, 0xff, 1]),
            (&[0x7f, 0], &[2, 2, 0x7f, 0]),
        ] {
            assert_eq!(integer(number), der);
        }
    }

    #[test]
    fn signatures_side_by_side_verify_once_they_are_der() {
        for (fixed, der, scheme) in [
            (
                &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
                &signature::ECDSA_P256_SHA256_ASN1,
                SignatureScheme::ECDSA_NISTP256_SHA256,
            ),
            (
                &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
                &signature::ECDSA_P384_SHA384_ASN1,
                SignatureScheme::ECDSA_NISTP384_SHA384,
            ),
        ] {
            let random = SystemRandom::new();
            let key = EcdsaKeyPair::generate(fixed).unwrap();
            // Enough for numbers with leading zeros and with the sign bit set.
            for round in 0..600_u32 {
                let message = round.to_be_bytes();
                let side_by_side = key.sign(&random, &message).unwrap();
                let signature = encoded(scheme, side_by_side.as_ref().to_vec()).unwrap();
                UnparsedPublicKey::new(der, key.public_key())
                    .verify(&message, &signature)
                    .unwrap();
            }
        }
    }

    #[test]
    fn a_signature_of_another_length_is_none() {
        for length in [0, 63, 65, 96] {
            assert!(encoded(SignatureScheme::ECDSA_NISTP256_SHA256, vec![1; length]).is_none());
        }
    }

    #[test]
    fn each_mechanism_has_the_name_of_the_standard() {
        // `CKM_…` of PKCS#11 2.40.
        for (scheme, mechanism, name) in [
            (
                SignatureScheme::RSA_PKCS1_SHA256,
                MechanismType::SHA256_RSA_PKCS,
                "CKM_SHA256_RSA_PKCS",
            ),
            (
                SignatureScheme::RSA_PKCS1_SHA384,
                MechanismType::SHA384_RSA_PKCS,
                "CKM_SHA384_RSA_PKCS",
            ),
            (
                SignatureScheme::RSA_PKCS1_SHA512,
                MechanismType::SHA512_RSA_PKCS,
                "CKM_SHA512_RSA_PKCS",
            ),
            (
                SignatureScheme::RSA_PSS_SHA256,
                MechanismType::SHA256_RSA_PKCS_PSS,
                "CKM_SHA256_RSA_PKCS_PSS",
            ),
            (
                SignatureScheme::RSA_PSS_SHA384,
                MechanismType::SHA384_RSA_PKCS_PSS,
                "CKM_SHA384_RSA_PKCS_PSS",
            ),
            (
                SignatureScheme::RSA_PSS_SHA512,
                MechanismType::SHA512_RSA_PKCS_PSS,
                "CKM_SHA512_RSA_PKCS_PSS",
            ),
            (
                SignatureScheme::ECDSA_NISTP256_SHA256,
                MechanismType::ECDSA_SHA256,
                "CKM_ECDSA_SHA256",
            ),
            (
                SignatureScheme::ECDSA_NISTP384_SHA384,
                MechanismType::ECDSA_SHA384,
                "CKM_ECDSA_SHA384",
            ),
        ] {
            let recipe = |mechanisms: &[MechanismType]| {
                recipe(scheme, b"message", mechanisms, true).unwrap()
            };
            let digesting = recipe(&[mechanism]);
            assert_eq!(digesting.mechanism.mechanism_type(), mechanism);
            assert_eq!(wanted_in_steps(scheme), name);
            let plain = recipe(&[]).mechanism.mechanism_type().to_string();
            assert!(
                ["CKM_RSA_PKCS", "CKM_RSA_PKCS_PSS", "CKM_ECDSA"].contains(&plain.as_str()),
                "{plain}"
            );
        }
    }

    #[test]
    fn plain_mechanisms_come_first_unless_a_login_comes_between() {
        let mechanism = |scheme, mechanisms: &[MechanismType], in_steps| {
            recipe(scheme, b"message", mechanisms, in_steps)
                .unwrap()
                .mechanism
                .mechanism_type()
        };
        let ecdsa = SignatureScheme::ECDSA_NISTP256_SHA256;
        assert_eq!(mechanism(ecdsa, &ALL, false), MechanismType::ECDSA);
        assert_eq!(mechanism(ecdsa, &ALL, true), MechanismType::ECDSA_SHA256);
        assert_eq!(
            mechanism(ecdsa, &[MechanismType::ECDSA], true),
            MechanismType::ECDSA
        );
        assert_eq!(
            mechanism(SignatureScheme::RSA_PKCS1_SHA256, &ALL, false),
            MechanismType::SHA256_RSA_PKCS
        );
        assert!(recipe(SignatureScheme::ED25519, b"message", &ALL, false).is_none());
    }
}
