//! Certificates: the chain that is given, and what brs tells about its first one.
//!
//! Owns reading PEM and DER into a chain, and the facts of a certificate: subject, validity, SHA-256 fingerprint. Which
//! key belongs to it is `device.rs`'s, whether a server trusts it the server's.

use std::fmt::Write as _;
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use brs_core::Error;
use brs_core::shown::clean;
use rustls::pki_types::CertificateDer;
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode as _;

use crate::pem::blocks::{Content, blocks, is_der};

const PARAM: &str = "certificate";
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
