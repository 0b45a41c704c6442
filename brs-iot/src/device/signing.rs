//! What a device's certificate and key are for outside of TLS: requests that are signed with the
//! key, and carry the certificates.
//!
//! Owns the signature over a SHA-256 digest and the serial number in decimal.

use std::time::Duration;

use brs_core::Error;
use rustls::SignatureScheme;
use rustls::pki_types::CertificateDer;
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode as _;

use super::Device;
use super::certificate::KeyKind;
use super::key::p384::P384_SHA256;

impl KeyKind {
    /// The signature over a SHA-256 digest that such a key makes.
    fn sha256(self) -> Option<SignatureScheme> {
        match self {
            Self::Rsa(_) => Some(SignatureScheme::RSA_PKCS1_SHA256),
            Self::EcP256 => Some(SignatureScheme::ECDSA_NISTP256_SHA256),
            Self::EcP384 => Some(P384_SHA256),
            Self::Other => None,
        }
    }
}

impl Device {
    /// The device's certificate and those that were given with it, in DER and in the given order.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// The certificate's serial number in decimal: up to 20 octets, and negative from some
    /// authorities.
    pub fn certificate_serial(&self) -> String {
        let leaf = self.certified.cert.first();
        // It was read before.
        leaf.and_then(|leaf| CertificateInner::<Raw>::from_der(leaf).ok())
            .map(|leaf| decimal(leaf.tbs_certificate().serial_number().as_bytes()))
            .unwrap_or_default()
    }

    /// Whether the key is RSA; otherwise it is ECDSA's.
    pub fn is_rsa(&self) -> bool {
        matches!(self.facts.key, KeyKind::Rsa(_))
    }

    /// The key's signature over the SHA-256 digest of `message`: RSA PKCS #1 v1.5, or ECDSA in DER,
    /// whatever the curve.
    ///
    /// A token signs on its own thread, within `limit` and the token's own limit, and the signature
    /// is checked against the certificate.
    ///
    /// # Errors
    ///
    /// The token's error: a connection error if it does not answer, a configuration error if it
    /// refuses or its key is no longer the certificate's.
    ///
    /// # Cancel safety
    ///
    /// A signature that a token has begun goes on, and its result is dropped.
    pub async fn sign_sha256(&self, message: &[u8], limit: Duration) -> Result<Vec<u8>, Error> {
        let failed = || Error::configuration("the device's key cannot sign").unrecoverable();
        let scheme = self.facts.key.sha256().ok_or_else(failed)?;
        if let Some(external) = &self.external {
            return external.key.sign_message(scheme, message, limit).await;
        }
        let signer = self.certified.key.choose_scheme(&[scheme]);
        signer
            .ok_or_else(failed)?
            .sign(message)
            .map_err(|error| failed().with_source(error))
    }
}

/// A signed big-endian number in decimal.
fn decimal(number: &[u8]) -> String {
    let is_negative = number.first().is_some_and(|first| first & 0x80 != 0);
    // Two's complement: the bits turned over, and one more.
    let mut carry = is_negative;
    let mut magnitude: Vec<u8> = number
        .iter()
        .rev()
        .map(|&byte| {
            let byte = if is_negative { !byte } else { byte };
            let (byte, over) = byte.overflowing_add(u8::from(carry));
            carry = over;
            byte
        })
        .collect();
    let mut digits = Vec::new();
    while magnitude.iter().any(|&byte| byte != 0) {
        let mut rest = 0;
        for byte in magnitude.iter_mut().rev() {
            let value = rest * 256 + u32::from(*byte);
            // Below 10 * 256 / 10.
            *byte = u8::try_from(value / 10).unwrap_or(u8::MAX);
            rest = value % 10;
        }
        digits.push(char::from_digit(rest, 10).unwrap_or('0'));
    }
    if digits.is_empty() {
        return "0".to_owned();
    }
    if is_negative {
        digits.push('-');
    }
    digits.iter().rev().collect()
}

#[cfg(test)]
mod tests;
