//! Whether a request is signed by the key of the certificate that it carries, and whose certificate
//! that is.
//!
//! Made of AWS's documentation and of nothing of brs: the canonical request of what arrived, the
//! signature by webpki and aws-lc, the certificate by x509-parser.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tokio_rustls::rustls::pki_types::{
    CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime,
};
use webpki::{EndEntityCert, aws_lc_rs as algorithms};
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

use super::REGION;
use crate::embedded_aws::error::AwsError;

pub(super) const DENIED: &str = "AccessDeniedException";

/// RFC 3986: everything but the unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What the request says of its sender, not yet believed.
pub(super) struct Claim {
    pub(super) leaf: CertificateDer<'static>,
    chain: Vec<CertificateDer<'static>>,
    algorithm: String,
    /// Serial number, day, region, service, end.
    scope: Vec<String>,
    signed: Vec<String>,
    signature: Vec<u8>,
    date: String,
}

pub(super) fn denied(message: impl Into<String>) -> AwsError {
    AwsError::new(403, DENIED, message)
}

impl Claim {
    pub(super) fn read(head: &Parts) -> Result<Self, AwsError> {
        let missing = || {
            AwsError::new(
                403,
                "MissingAuthenticationTokenException",
                "Missing Authentication Token",
            )
        };
        let incomplete = || {
            AwsError::new(
                400,
                "IncompleteSignatureException",
                "Authorization header requires Credential, SignedHeaders and Signature.",
            )
        };
        let authorization = header(head, "authorization").ok_or_else(missing)?;
        let (algorithm, rest) = authorization.split_once(' ').ok_or_else(incomplete)?;
        let part = |name: &str| {
            rest.split(',')
                .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
                .map(str::to_owned)
                .ok_or_else(incomplete)
        };
        let certificates = |name: &str| -> Result<Vec<CertificateDer<'static>>, AwsError> {
            let Some(value) = header(head, name) else {
                return Ok(Vec::new());
            };
            value
                .split(',')
                .map(|text| {
                    base64(text)
                        .map(CertificateDer::from)
                        .ok_or_else(|| denied("Untrusted certificate. Insufficient certificate"))
                })
                .collect()
        };
        let mut leaf = certificates("x-amz-x509")?;
        let signature = part("Signature")?;
        Ok(Self {
            leaf: leaf.pop().filter(|_| leaf.is_empty()).ok_or_else(missing)?,
            chain: certificates("x-amz-x509-chain")?,
            algorithm: algorithm.to_owned(),
            scope: part("Credential")?.split('/').map(str::to_owned).collect(),
            signed: part("SignedHeaders")?
                .split(';')
                .map(str::to_owned)
                .collect(),
            signature: unhex(&signature).ok_or_else(|| denied("Invalid signature"))?,
            date: header(head, "x-amz-date").ok_or_else(missing)?,
        })
    }

    /// Checks the scope, the date and the signature.
    pub(super) fn verify(
        &self,
        head: &Parts,
        body: &[u8],
        now: SystemTime,
        skew: Duration,
    ) -> Result<(), AwsError> {
        let invalid = || denied("Invalid signature");
        let day = self.date.split('T').next().unwrap_or_default();
        match self.scope.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [serial, of, region, "rolesanywhere", "aws4_request"] if of == day => {
                if region != REGION {
                    return Err(denied("Credential should be scoped to a valid region."));
                }
                if Some(serial) != self.serial().as_deref() {
                    return Err(invalid());
                }
            }
            _ => return Err(invalid()),
        }
        let has_chain = !self.chain.is_empty();
        let required = ["host", "x-amz-date", "x-amz-x509"]
            .into_iter()
            .chain(has_chain.then_some("x-amz-x509-chain"));
        let mut sorted = self.signed.clone();
        sorted.sort();
        for name in required {
            if !self.signed.iter().any(|signed| signed == name) {
                return Err(invalid());
            }
        }
        if sorted != self.signed {
            return Err(invalid());
        }
        self.check_date(now, skew)?;
        let string = format!(
            "{}\n{}\n{}\n{}",
            self.algorithm,
            self.date,
            self.scope[1..].join("/"),
            hex(digest(&SHA256, self.canonical(head, body)?.as_bytes()).as_ref())
        );
        let leaf = EndEntityCert::try_from(&self.leaf)
            .map_err(|_| denied("Untrusted certificate. Insufficient certificate"))?;
        let ways: &[&dyn SignatureVerificationAlgorithm] = match self.algorithm.as_str() {
            "AWS4-X509-RSA-SHA256" => &[algorithms::RSA_PKCS1_2048_8192_SHA256],
            "AWS4-X509-ECDSA-SHA256" => {
                &[algorithms::ECDSA_P256_SHA256, algorithms::ECDSA_P384_SHA256]
            }
            _ => return Err(invalid()),
        };
        let fits = |way: &&dyn SignatureVerificationAlgorithm| {
            leaf.verify_signature(*way, string.as_bytes(), &self.signature)
                .is_ok()
        };
        ways.iter().any(fits).then_some(()).ok_or_else(invalid)
    }

    fn check_date(&self, now: SystemTime, skew: Duration) -> Result<(), AwsError> {
        let text = &self.date;
        let long = |from, to| text.get(from..to).unwrap_or_default();
        let dashed = format!(
            "{}-{}-{}T{}:{}:{}Z",
            long(0, 4),
            long(4, 6),
            long(6, 8),
            long(9, 11),
            long(11, 13),
            long(13, 15)
        );
        let signed = DateTime::from_str(&dashed, Format::DateTime)
            .ok()
            .and_then(|date| SystemTime::try_from(date).ok())
            .ok_or_else(|| denied("Invalid signature"))?;
        let shown = |time: SystemTime| {
            let date = DateTime::from_secs(DateTime::from(time).secs()).fmt(Format::DateTime);
            date.unwrap_or_default().replace(['-', ':'], "")
        };
        if signed.checked_add(skew).is_some_and(|latest| latest < now) {
            return Err(denied(format!(
                "Signature expired: {text} is now earlier than {} ({} - 5 min.)",
                shown(now - skew),
                shown(now)
            )));
        }
        if now.checked_add(skew).is_some_and(|latest| latest < signed) {
            return Err(denied(format!(
                "Signature not yet current: {text} is still later than {} ({} + 5 min.)",
                shown(now + skew),
                shown(now)
            )));
        }
        Ok(())
    }

    fn canonical(&self, head: &Parts, body: &[u8]) -> Result<String, AwsError> {
        let mut headers = String::new();
        for name in &self.signed {
            let values: Vec<_> = head
                .headers
                .get_all(name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
                .collect();
            if values.is_empty() {
                return Err(denied("Invalid signature"));
            }
            headers += &format!("{name}:{}\n", values.join(","));
        }
        Ok(format!(
            "{}\n{}\n{}\n{headers}\n{}\n{}",
            head.method,
            head.uri.path(),
            query(head.uri.query().unwrap_or_default()),
            self.signed.join(";"),
            hex(digest(&SHA256, body).as_ref())
        ))
    }

    /// Follows the certificate to the trust anchor.
    pub(super) fn trust(
        &self,
        anchor: &CertificateDer<'_>,
        now: SystemTime,
    ) -> Result<(), AwsError> {
        let insufficient = || denied("Untrusted certificate. Insufficient certificate");
        let (_, parsed) = X509Certificate::from_der(&self.leaf).map_err(|_| insufficient())?;
        let is_authority = parsed
            .basic_constraints()
            .map_err(|_| insufficient())?
            .is_none_or(|constraints| constraints.value.ca);
        let signs = parsed
            .key_usage()
            .map_err(|_| insufficient())?
            .is_some_and(|usage| usage.value.digital_signature());
        if parsed.version() != X509Version::V3 || is_authority || !signs {
            return Err(insufficient());
        }
        let leaf = EndEntityCert::try_from(&self.leaf).map_err(|_| insufficient())?;
        let anchors: [TrustAnchor<'_>; 1] =
            [webpki::anchor_from_trusted_cert(anchor).map_err(|_| insufficient())?];
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let verified = leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &self.chain,
            UnixTime::since_unix_epoch(now),
            // Purposes are for the roles' policies.
            AnyPurpose,
            None,
            None,
        );
        match verified {
            Ok(_) => Ok(()),
            Err(webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. }) => Err(
                denied("Untrusted certificate. Certificate is expired or not yet valid"),
            ),
            Err(_) => Err(denied("Untrusted signing certificate")),
        }
    }

    /// The certificate's serial number in decimal.
    pub(super) fn serial(&self) -> Option<String> {
        let (_, parsed) = X509Certificate::from_der(&self.leaf).ok()?;
        Some(parsed.tbs_certificate.serial.to_string())
    }

    /// The same in hexadecimal: the name of a session without one.
    pub(super) fn session_name(&self) -> String {
        let parsed = X509Certificate::from_der(&self.leaf);
        parsed.map_or_else(
            |_| "unknown".to_owned(),
            |(_, parsed)| hex(parsed.tbs_certificate.raw_serial()),
        )
    }

    /// The subject's CN: the source identity.
    pub(super) fn common_name(&self) -> Option<String> {
        let (_, parsed) = X509Certificate::from_der(&self.leaf).ok()?;
        let name = parsed.subject().iter_common_name().next()?;
        name.as_str().ok().map(str::to_owned)
    }
}

/// Certificates may be for any purpose.
struct AnyPurpose;

impl webpki::ExtendedKeyUsageValidator for AnyPurpose {
    fn validate(&self, _: webpki::KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

fn header(head: &Parts, name: &str) -> Option<String> {
    head.headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// The query as it is signed: decoded, sorted, encoded again.
fn query(text: &str) -> String {
    let encode = |part: &str| {
        let decoded = percent_decode_str(part).decode_utf8_lossy();
        utf8_percent_encode(&decoded, RESERVED).to_string()
    };
    let mut pairs: Vec<_> = text
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            format!("{}={}", encode(name), encode(value))
        })
        .collect();
    pairs.sort();
    pairs.join("&")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// RFC 4648, without line breaks.
fn base64(text: &str) -> Option<Vec<u8>> {
    aws_smithy_types::base64::decode(text.trim()).ok()
}
