//! Certificates: the given chain, and what brs reports about its first one.
//!
//! Owns reading PEM and DER into a chain, and the facts of a certificate: subject, validity,
//! SHA-256 fingerprint, kind of key.

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use brs_core::Error;
use brs_core::kit::clean;
use rustls::pki_types::CertificateDer;
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier, UintRef};
use x509_cert::der::{Decode as _, Tag, Tagged as _};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use crate::device::pem::blocks::{Broken, Content, blocks, whole};
use crate::device::pem::kinds::{self, Thing, Wanted, is_der, missing};

/// RFC 3279 and RFC 5480.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
/// A chain has three or four; more than this is somebody's bundle of authorities.
const MAX_CHAIN: usize = 16;

/// What brs reports about a certificate.
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
            RSA => key
                .subject_public_key
                .as_bytes()
                .and_then(modulus_bits)
                .map_or(Self::Other, Self::Rsa),
            EC => match key
                .algorithm
                .parameters
                .as_ref()
                .and_then(|any| any.decode_as().ok())
            {
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
    /// Reads them; `None` if it is not a certificate.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        // Devices have certificates of all sorts of authorities: nothing is asked of them but that
        // they can be read.
        let parsed = CertificateInner::<Raw>::from_der(certificate).ok()?;
        let parsed = parsed.tbs_certificate();
        let sha256 = digest(&SHA256, certificate).as_ref().iter().fold(
            String::with_capacity(64),
            |mut out, byte| {
                // Writing to a string does not fail.
                let _ = write!(out, "{byte:02x}");
                out
            },
        );
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
pub(crate) fn read_chain(
    bytes: &[u8],
    named: &str,
    param: &'static str,
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let chain = certificates(bytes).and_then(|chain| match chain.len() {
        0..=MAX_CHAIN => Ok(chain),
        many => Err(format!(
            "holds {many} certificates: give the device's own and those that lead to its authority"
        )),
    });
    let chain = chain.and_then(|chain| {
        match chain
            .iter()
            .position(|certificate| Facts::of(certificate).is_none())
        {
            Some(index) => Err(match Thing::of_der(&chain[index]) {
                Some(thing) if thing != Thing::Certificate => {
                    format!(
                        "holds {thing}, number {}, which is not an X.509 certificate",
                        index + 1
                    )
                }
                _ => format!(
                    "holds something, number {}, which is not an X.509 certificate",
                    index + 1
                ),
            }),
            None => Ok(chain),
        }
    });
    chain.map_err(|problem| {
        Error::configuration(format!("{named} {problem}"))
            .with_param(param)
            .unrecoverable()
    })
}

/// The certificates in PEM or DER, one at least; or what is wrong, as the end of a sentence.
fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    if is_der(bytes) {
        return Ok(vec![in_der(bytes)?.0]);
    }
    let (mut chain, mut others) = (Vec::new(), Vec::new());
    for block in whole(bytes).map_err(|problem| problem.to_string())? {
        match (Thing::of_label(&block.label), block.content) {
            (Thing::Certificate, Content::Der(der)) => {
                chain.push(CertificateDer::from(der.to_vec()))
            }
            // What OpenSSL's trust is about concerns authorities.
            (Thing::TrustedCertificate, Content::Der(der)) => chain.push(trusted(&der).0),
            (thing, _) => others.push(thing),
        }
    }
    if chain.is_empty() {
        Err(missing(bytes, &others, Wanted::Certificate))
    } else {
        Ok(chain)
    }
}

/// The one certificate in DER, with OpenSSL's settings for its use, if it has any.
fn in_der(bytes: &[u8]) -> Result<(CertificateDer<'static>, &[u8]), String> {
    let (der, rest) = kinds::one(bytes)?;
    match Thing::of_der(der) {
        None | Some(Thing::Certificate) => {}
        Some(other) => return Err(missing(bytes, &[other], Wanted::Certificate)),
    }
    if !rest.is_empty() && (rest[0] != 0x30 || Thing::of_der(rest).is_some()) {
        return Err(format!(
            "has {} more bytes after its DER certificate: give several certificates as PEM",
            rest.len()
        ));
    }
    Ok((CertificateDer::from(der.to_vec()), rest))
}

/// A `TRUSTED CERTIFICATE` of OpenSSL: the certificate, and its settings.
fn trusted(der: &[u8]) -> (CertificateDer<'static>, &[u8]) {
    let (certificate, settings) = kinds::one(der).unwrap_or((der, &[]));
    (CertificateDer::from(certificate.to_vec()), settings)
}

/// The authorities of a trust store. An unusable block is ignored and reported, since it is one
/// trusted authority less.
#[derive(Debug, Default)]
pub(crate) struct Authorities {
    /// With the number of its block.
    pub(crate) certificates: Vec<(usize, CertificateDer<'static>)>,
    /// What was ignored and why, each as part of a sentence: `number 2 …`.
    pub(crate) left_out: Vec<String>,
}

/// Reads them, one at least, or what is wrong, as the end of a sentence. A file whose last block
/// has no end is refused as a whole: it may still be being written.
pub(crate) fn authorities(bytes: &[u8]) -> Result<Authorities, String> {
    let mut found = Authorities::default();
    let mut broken = Vec::new();
    let mut add =
        |number, (certificate, settings): (CertificateDer<'static>, &[u8])| match Facts::of(
            &certificate,
        ) {
            None => found
                .left_out
                .push(format!("number {number} is not an X.509 certificate")),
            Some(facts) if !is_for_servers(settings) => {
                found.left_out.push(format!(
                    "number {number} (`{}`) is not trusted for TLS servers",
                    facts.subject
                ));
            }
            Some(_) => found.certificates.push((number, certificate)),
        };
    let mut others = Vec::new();
    if is_der(bytes) {
        add(1, in_der(bytes)?);
    } else {
        for (number, block) in (1..).zip(blocks(bytes).map_err(|problem| problem.to_string())?) {
            match (Thing::of_label(&block.label), &block.content) {
                (Thing::Certificate, Content::Der(der)) => {
                    add(number, (CertificateDer::from(der.to_vec()), &[]))
                }
                (Thing::TrustedCertificate, Content::Der(der)) => add(number, trusted(der)),
                (_, Content::Broken(Broken::Base64)) => {
                    broken.push(format!(
                        "number {number} is damaged, its Base64 cannot be read"
                    ));
                }
                (_, Content::Broken(Broken::NoEnd)) => {
                    broken.push(format!("number {number} has no end"))
                }
                (thing, _) => others.push(thing),
            }
        }
    }
    found.left_out.extend(broken);
    match (found.certificates.is_empty(), found.left_out.first()) {
        (false, _) => Ok(found),
        (true, None) => Err(missing(bytes, &others, Wanted::Certificate)),
        (true, Some(first)) => Err(format!("holds no usable certificate: {first}")),
    }
}

/// Whether OpenSSL's settings, its `X509_CERT_AUX`, trust an authority for TLS servers: the first
/// list is of purposes that it is trusted for, the one with the tag 0 of those that it is not.
fn is_for_servers(settings: &[u8]) -> bool {
    // id-kp-serverAuth and anyExtendedKeyUsage.
    const PURPOSES: [&[u8]; 2] = [&[0x2b, 6, 1, 5, 5, 7, 3, 1], &[0x55, 0x1d, 0x25, 0]];
    let names_servers = |list: &AnyRef<'_>| {
        kinds::all(list.value())
            .unwrap_or_default()
            .iter()
            .any(|purpose| PURPOSES.contains(&purpose.value()))
    };
    let lists = kinds::parts(settings).unwrap_or_default();
    let of = |is: fn(Tag) -> bool| lists.iter().find(|list| is(list.tag()));
    let rejected =
        of(|tag| matches!(tag, Tag::ContextSpecific { number, .. } if number.value() == 0));
    let accepted = lists.first().filter(|list| list.tag() == Tag::Sequence);
    accepted.is_none_or(names_servers) && !rejected.is_some_and(names_servers)
}

#[cfg(test)]
pub(crate) mod tests;
