//! What a file contains, recognised by its PEM labels or by the shape of its DER, so that an error
//! can name what was given in place of a certificate or a key, and the command that converts it.
//!
//! Shapes are those of the outermost structures only.

use std::fmt;

use x509_cert::der::asn1::AnyRef;
use x509_cert::der::{Decode as _, Tag, Tagged as _};

/// What a file can contain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Thing {
    Certificate,
    /// A certificate with OpenSSL's own settings for its use behind it.
    TrustedCertificate,
    Request,
    RevocationList,
    PublicKey,
    PrivateKey,
    Pkcs7,
    Pkcs12,
    OpenSshPublicKey,
    Putty,
    WebPage,
    BareBase64,
    Other(String),
}

/// What was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Certificate,
    PrivateKey,
}

impl Thing {
    pub(crate) fn of_label(label: &str) -> Self {
        match label {
            "CERTIFICATE" | "X509 CERTIFICATE" => Self::Certificate,
            "TRUSTED CERTIFICATE" => Self::TrustedCertificate,
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Self::Request,
            "X509 CRL" => Self::RevocationList,
            "PUBLIC KEY" | "RSA PUBLIC KEY" | "EC PUBLIC KEY" => Self::PublicKey,
            "PKCS7" | "PKCS #7 SIGNED DATA" | "CMS" => Self::Pkcs7,
            "PKCS12" => Self::Pkcs12,
            label if label.ends_with("PRIVATE KEY") => Self::PrivateKey,
            other => Self::Other(other.to_owned()),
        }
    }

    /// What text without PEM may be.
    pub(crate) fn of_text(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let text = text
            .trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n'])
            .trim_end();
        let starts = |word: &str| {
            text.get(..word.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(word))
        };
        if ["ssh-", "ecdsa-sha2-", "sk-ssh-"].into_iter().any(starts) {
            return Some(Self::OpenSshPublicKey);
        }
        if starts("PuTTY-User-Key-File") {
            return Some(Self::Putty);
        }
        if starts("<!doctype") || starts("<html") || starts("<?xml") {
            return Some(Self::WebPage);
        }
        let is_packed = |c: char| c.is_ascii_alphanumeric() || "+/=\r\n".contains(c);
        (text.starts_with("MI") && text.len() >= 64 && text.chars().all(is_packed))
            .then_some(Self::BareBase64)
    }

    pub(crate) fn of_der(der: &[u8]) -> Option<Self> {
        use Tag::{BitString, Integer, ObjectIdentifier, OctetString, Sequence};
        // BER of indefinite length, which some programs write for containers.
        if der.starts_with(&[0x30, 0x80, 2, 1, 3]) {
            return Some(Self::Pkcs12);
        }
        if der.starts_with(&[0x30, 0x80, 6]) {
            return Some(Self::Pkcs7);
        }
        let parts = parts(der)?;
        let tags: Vec<Tag> = parts.iter().map(|part| part.tag()).collect();
        Some(match tags[..] {
            [Sequence, Sequence, BitString] => return signed(parts.first()?.value()),
            [Sequence, BitString] | [Integer, Integer] => Self::PublicKey,
            [Sequence, OctetString]
            | [Integer, Sequence, OctetString, ..]
            | [Integer, OctetString, ..]
            | [Integer, Integer, Integer, ..] => Self::PrivateKey,
            [Integer, Sequence] | [Integer, Sequence, Sequence] => Self::Pkcs12,
            [ObjectIdentifier, Tag::ContextSpecific { .. }] => Self::Pkcs7,
            _ => return None,
        })
    }

    /// What to do about it, after a colon.
    pub(crate) fn remedy(&self, wanted: Wanted) -> &'static str {
        use Wanted::{Certificate, PrivateKey};
        match (self, wanted) {
            (Self::Request, Certificate) => "give the certificate that the authority issued for it",
            (Self::Pkcs7, Certificate) => {
                "`openssl pkcs7 -print_certs -in <file> -out <new file>` takes the certificates out (with \
                 `-inform DER` if it is not PEM)"
            }
            (Self::Pkcs12, Certificate) => {
                "`openssl pkcs12 -nokeys -in <file> -out <new file>` takes the certificates out"
            }
            (Self::Pkcs12, PrivateKey) => {
                "`openssl pkcs12 -nocerts -in <file> -out <new file>` takes the key out"
            }
            (Self::Putty, PrivateKey) => {
                "`puttygen <file> -O private-openssh -o <new file>` converts it"
            }
            (Self::WebPage, _) => {
                "a server's answer was saved in place of the file; download it again"
            }
            (Self::BareBase64, Certificate) => {
                "put it between `-----BEGIN CERTIFICATE-----` and `-----END CERTIFICATE-----`"
            }
            (Self::BareBase64, PrivateKey) => {
                "put it between `-----BEGIN PRIVATE KEY-----` and `-----END PRIVATE KEY-----`"
            }
            (_, Certificate) => "give the certificate's own file",
            (_, PrivateKey) => "give the private key's own file",
        }
    }
}

/// That nothing of what is wanted is there, as the end of a sentence; `others` is what PEM or DER
/// held.
pub(crate) fn missing(bytes: &[u8], others: &[Thing], wanted: Wanted) -> String {
    let (what, form) = match wanted {
        Wanted::Certificate => ("certificate", "certificate in PEM or DER"),
        Wanted::PrivateKey => ("private key", "key in PEM or DER"),
    };
    match others.first().cloned().or_else(|| Thing::of_text(bytes)) {
        Some(first) => {
            let mut names: Vec<String> = others.iter().map(Thing::to_string).collect();
            names.dedup();
            let names = if names.is_empty() {
                first.to_string()
            } else {
                names.join(", ")
            };
            format!("holds no {what}, but {names}: {}", first.remedy(wanted))
        }
        None if bytes.is_empty() => format!("is empty: it holds no {form}"),
        None => format!("holds no {form}"),
    }
}

/// What is signed: a certificate, a request for one, or a list of revoked ones.
fn signed(content: &[u8]) -> Option<Thing> {
    use Tag::{ContextSpecific, GeneralizedTime, Integer, Sequence, UtcTime};
    let tags: Vec<Tag> = all(content)?.iter().map(|part| part.tag()).collect();
    Some(match tags[..] {
        [ContextSpecific { .. }, Integer, Sequence, ..]
        | [Integer, Sequence, Sequence, Sequence, Sequence, ..] => Thing::Certificate,
        [Integer, Sequence, Sequence] | [Integer, Sequence, Sequence, ContextSpecific { .. }] => {
            Thing::Request
        }
        [Sequence, Sequence, UtcTime | GeneralizedTime, ..]
        | [Integer, Sequence, Sequence, UtcTime | GeneralizedTime, ..] => Thing::RevocationList,
        _ => return None,
    })
}

/// The parts of a sequence.
pub(crate) fn parts(der: &[u8]) -> Option<Vec<AnyRef<'_>>> {
    let (whole, _) = AnyRef::from_der_partial(der).ok()?;
    if whole.tag() == Tag::Sequence {
        all(whole.value())
    } else {
        None
    }
}

/// All values in a row, of which there are few in everything that is looked at.
pub(crate) fn all(mut rest: &[u8]) -> Option<Vec<AnyRef<'_>>> {
    const MOST: usize = 32;
    let mut found = Vec::new();
    while !rest.is_empty() && found.len() < MOST {
        let (part, after) = AnyRef::from_der_partial(rest).ok()?;
        found.push(part);
        rest = after;
    }
    Some(found)
}

/// Whether bytes are meant as DER, or BER, and not as PEM, which may have a comment that begins
/// with the digit 0.
pub(crate) fn is_der(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x30) && !super::blocks::has_begin(bytes)
}

/// One DER structure: its bytes and the bytes after it, or what is wrong, as the end of a sentence.
/// Line breaks, blanks and zeros after it are ignored: editors and copying programs leave them.
pub(crate) fn one(bytes: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let Some(length) = length(bytes) else {
        return Ok((bytes, &[]));
    };
    if length > bytes.len() {
        return Err(format!(
            "was cut off: it has {} of the {length} bytes that its DER declares",
            bytes.len()
        ));
    }
    let (der, rest) = bytes.split_at(length);
    let padding = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
    Ok((der, if rest.iter().all(padding) { &[] } else { rest }))
}

/// The length of a DER structure, its head included; `None` for BER's indefinite one and for
/// nonsense.
fn length(bytes: &[u8]) -> Option<usize> {
    match *bytes.get(1)? {
        short @ ..=0x7f => Some(2 + usize::from(short)),
        long @ 0x81..=0x84 => {
            let digits = bytes.get(2..2 + usize::from(long & 0x7f))?;
            let value = digits
                .iter()
                .fold(0, |value: u64, &digit| value << 8 | u64::from(digit));
            usize::try_from(value).ok()?.checked_add(2 + digits.len())
        }
        _ => None,
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate | Self::TrustedCertificate => "a certificate",
            Self::Request => "a certificate request (CSR)",
            Self::RevocationList => "a certificate revocation list (CRL)",
            Self::PublicKey => "a public key",
            Self::PrivateKey => "a private key",
            Self::Pkcs7 => "a PKCS#7 container",
            Self::Pkcs12 => "a PKCS#12 container (PFX)",
            Self::OpenSshPublicKey => "an OpenSSH public key",
            Self::Putty => "a PuTTY key",
            Self::WebPage => "a web page",
            Self::BareBase64 => "Base64 without its PEM lines",
            Self::Other(label) => label,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_structure_ends_where_it_says_and_padding_is_ignored() {
        let der = [0x30, 3, 2, 1, 5];
        for padding in ["", "\n", "\r\n", " \n\n", "\0\0"] {
            let text = [&der[..], padding.as_bytes()].concat();
            assert_eq!(one(&text).unwrap(), (&der[..], &[][..]));
        }
        assert_eq!(
            one(&[0x30, 1, 7, 8]).unwrap(),
            (&[0x30, 1, 7][..], &[8][..])
        );
        for (text, words) in [
            (&[0x30, 3, 2, 1][..], "4 of the 5 bytes"),
            (&[0x30, 0x82, 1, 0], "4 of the 260 bytes"),
            (
                &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
                "6 of the 4294967301 bytes",
            ),
        ] {
            assert!(one(text).unwrap_err().contains(words), "{text:?}");
        }
        for odd in [
            &[0x30][..],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x85, 1, 1, 1, 1, 1],
            &[0x30, 0x82, 1],
        ] {
            assert_eq!(one(odd).unwrap(), (odd, &[][..]));
        }
    }

    #[test]
    fn texts_that_are_no_pem_are_told_apart() {
        let base64 = "MIIBkTCB+wIJAKHHIgKqF".repeat(4);
        for (text, thing) in [
            ("ssh-ed25519 AAAA me@host", Some(Thing::OpenSshPublicKey)),
            ("ecdsa-sha2-nistp256 AAAA", Some(Thing::OpenSshPublicKey)),
            (
                "PuTTY-User-Key-File-3: ecdsa-sha2-nistp256",
                Some(Thing::Putty),
            ),
            ("\u{feff}\n<!DOCTYPE html>", Some(Thing::WebPage)),
            (&base64, Some(Thing::BareBase64)),
            ("hush", None),
            ("", None),
        ] {
            assert_eq!(Thing::of_text(text.as_bytes()), thing, "{text}");
        }
    }
}
