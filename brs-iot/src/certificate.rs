//! Certificates: the chain that is given, and what brs tells about its first one.
//!
//! Owns reading PEM and DER into a chain, and the facts of a certificate: subject, validity, SHA-256 fingerprint, kind
//! of key. Which key belongs to it is `device.rs`'s, whether a server trusts it the server's.

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use brs_core::Error;
use brs_core::shown::clean;
use rustls::pki_types::CertificateDer;
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier, UintRef};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use crate::pem::blocks::{Content, blocks, is_der};

const PARAM: &str = "certificate";
/// RFC 3279 and RFC 5480.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
/// A chain has three or four; more than this is somebody's bundle of authorities.
const MAX_CHAIN: usize = 16;

/// What brs tells about a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// RFC 4514: `CN=device-7,O=Example`.
    pub(crate) subject: String,
    /// Lower-case hexadecimal: what AWS IoT calls the certificate's id.
    pub(crate) sha256: String,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    pub(crate) key: KeyKind,
}

/// The kind of a certificate's public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// With the size of the modulus, in bits.
    Rsa(usize),
    EcP256,
    EcP384,
    Other,
}

impl KeyKind {
    /// Whether it may be a device's: what AWS IoT takes and every token and TLS stack here can do.
    pub(crate) fn is_supported(self) -> bool {
        matches!(self, Self::Rsa(2048..=4096) | Self::EcP256 | Self::EcP384)
    }

    fn of(key: &SubjectPublicKeyInfoOwned) -> Self {
        match key.algorithm.oid {
            RSA => key.subject_public_key.as_bytes().and_then(modulus_bits).map_or(Self::Other, Self::Rsa),
            EC => match key.algorithm.parameters.as_ref().and_then(|any| any.decode_as().ok()) {
                Some(P256) => Self::EcP256,
                Some(P384) => Self::EcP384,
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA of {bits} bits"),
            Self::EcP256 => f.write_str("EC P-256"),
            Self::EcP384 => f.write_str("EC P-384"),
            Self::Other => f.write_str("of another kind"),
        }
    }
}

/// RFC 8017: `SEQUENCE { modulus INTEGER, publicExponent INTEGER }`.
fn modulus_bits(key: &[u8]) -> Option<usize> {
    let modulus = AnyRef::from_der(key).ok()?.sequence(|reader| {
        let modulus = UintRef::decode(reader)?;
        UintRef::decode(reader)?;
        Ok::<_, x509_cert::der::Error>(modulus)
    });
    let modulus = modulus.ok()?;
    let bytes = modulus.as_bytes();
    Some(bytes.len() * 8 - bytes.first()?.leading_zeros() as usize)
}

impl Facts {
    /// Reads them; `None` for what is no certificate.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        // Devices have certificates of all sorts of authorities: nothing is asked of them but that they can be read.
        let parsed = CertificateInner::<Raw>::from_der(certificate).ok()?;
        let parsed = parsed.tbs_certificate();
        let sha256 = digest(&SHA256, certificate).as_ref().iter().fold(String::with_capacity(64), |mut out, byte| {
            // Writing to a string does not fail.
            let _ = write!(out, "{byte:02x}");
            out
        });
        Some(Self {
            subject: clean(&parsed.subject().to_string(), &[]),
            sha256,
            not_before: parsed.validity().not_before.to_system_time(),
            not_after: parsed.validity().not_after.to_system_time(),
            key: KeyKind::of(parsed.subject_public_key_info()),
        })
    }
}

/// The certificates of a file, in its order. `named` begins the errors' sentences.
pub(crate) fn read_chain(bytes: &[u8], named: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let chain = certificates(bytes).and_then(|chain| match chain.len() {
        0 => Err("holds no certificate in PEM or DER".to_owned()),
        1..=MAX_CHAIN => Ok(chain),
        many => Err(format!("holds {many} certificates: give the device's own and those that lead to its authority")),
    });
    let chain = chain.and_then(|chain| match chain.iter().position(|certificate| Facts::of(certificate).is_none()) {
        Some(index) => Err(format!("holds something, number {}, that is no X.509 certificate", index + 1)),
        None => Ok(chain),
    });
    chain.map_err(|problem| Error::configuration(format!("{named} {problem}")).with_param(PARAM).unrecoverable())
}

/// The certificates in PEM or DER, or what is wrong, as the end of a sentence.
pub(crate) fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    if is_der(bytes) {
        return Ok(vec![CertificateDer::from(bytes.to_vec())]);
    }
    let mut chain = Vec::new();
    for block in blocks(bytes).map_err(|problem| problem.to_string())? {
        if let ("CERTIFICATE" | "X509 CERTIFICATE", Content::Der(der)) = (block.label.as_str(), block.content) {
            chain.push(CertificateDer::from(der.to_vec()));
        }
    }
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn certificate() -> rcgen::Certificate {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "device-7");
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "Example\u{7}");
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap()
    }

    #[test]
    fn subject_validity_and_fingerprint_are_told() {
        let certificate = certificate();
        let facts = Facts::of(certificate.der()).unwrap();
        assert!(facts.subject.contains("CN=device-7") && !facts.subject.contains('\u{7}'), "{}", facts.subject);
        assert_eq!(facts.not_before, UNIX_EPOCH + Duration::from_secs(1_767_225_600));
        assert_eq!(facts.not_after, UNIX_EPOCH + Duration::from_secs(1_798_761_600));
        assert!(facts.sha256.len() == 64 && facts.sha256.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn the_kind_of_key_is_told_and_which_may_be_a_devices() {
        for (algorithm, kind) in [
            (&rcgen::PKCS_RSA_SHA256, KeyKind::Rsa(2048)),
            (&rcgen::PKCS_ECDSA_P256_SHA256, KeyKind::EcP256),
            (&rcgen::PKCS_ECDSA_P384_SHA384, KeyKind::EcP384),
            (&rcgen::PKCS_ED25519, KeyKind::Other),
        ] {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
            assert_eq!(Facts::of(certificate.der()).unwrap().key, kind);
        }
        for (bits, may) in [(1024, false), (2047, false), (2048, true), (4096, true), (4097, false), (8192, false)] {
            assert_eq!(KeyKind::Rsa(bits).is_supported(), may, "{bits}");
        }
        assert_eq!(modulus_bits(&[0x30, 6, 2, 1, 0x11, 2, 1, 3]), Some(5));
    }

    #[test]
    fn a_chain_keeps_its_order_in_pem_and_may_be_one_in_der() {
        let (first, second) = (certificate(), certificate());
        let pem = format!("text before\n{}{}", first.pem(), second.pem());
        let chain = read_chain(pem.as_bytes(), "the certificate").unwrap();
        assert_eq!(chain, [first.der().clone(), second.der().clone()]);
        assert_eq!(read_chain(first.der(), "the certificate").unwrap(), [first.der().clone()]);
    }

    #[test]
    fn what_is_no_certificate_says_what_it_is() {
        let whole = certificate().pem();
        for (bytes, problem) in [
            (String::new(), "holds no certificate"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".into(), "holds no certificate"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into(), "number 1, that is no X.509"),
            (format!("{whole}{}", &whole[..200]), "number 2: it was cut off"),
            (whole.repeat(17), "holds 17 certificates"),
            ("0\u{3}abc".into(), "number 1, that is no X.509"),
        ] {
            let error = read_chain(bytes.as_bytes(), "the certificate `/a`").unwrap_err();
            assert!(error.to_string().starts_with("the certificate `/a` "), "{error}");
            assert!(error.to_string().contains(problem) && error.param() == Some(PARAM), "{error}");
        }
    }
}
