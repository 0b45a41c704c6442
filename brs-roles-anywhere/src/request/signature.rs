//! The signature of a request: AWS's Signature Version 4 with the key of a certificate.
//!
//! Owns the canonical request, the string to sign and the `Authorization` header, as AWS's user
//! guide has them ("The IAM Roles Anywhere authentication signing process"). No key is derived: the
//! string itself is signed.

use std::fmt::Write as _;
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use brs_core::kit::iso8601;

use super::presented::Presented;

pub(crate) const CONTENT_TYPE: &str = "application/json";
pub(crate) const PATH: &str = "/sessions";

/// A request on its way to being signed.
pub(crate) struct ToSign<'a> {
    pub(crate) host: &'a str,
    pub(crate) region: &'a str,
    pub(crate) presented: &'a Presented,
    pub(crate) body: &'a [u8],
    pub(crate) now: SystemTime,
}

impl ToSign<'_> {
    /// `x-amz-date`: `20261128T010203Z`.
    pub(crate) fn date(&self) -> String {
        iso8601(self.now).replace(['-', ':'], "")
    }

    /// The signed headers, sorted by their names.
    pub(crate) fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("content-type", CONTENT_TYPE.to_owned()),
            ("host", self.host.to_owned()),
            ("x-amz-date", self.date()),
            ("x-amz-x509", self.presented.certificate.clone()),
        ];
        headers.extend(
            self.presented
                .chain
                .clone()
                .map(|chain| ("x-amz-x509-chain", chain)),
        );
        headers
    }

    fn canonical_request(&self) -> String {
        let headers = self
            .headers()
            .iter()
            .fold(String::new(), |all, (name, value)| {
                all + name + ":" + value + "\n"
            });
        // The query is empty: everything is in the body.
        format!(
            "POST\n{PATH}\n\n{headers}\n{}\n{}",
            self.signed_headers(),
            hex(digest(&SHA256, self.body).as_ref())
        )
    }

    fn signed_headers(&self) -> String {
        let names: Vec<_> = self.headers().iter().map(|(name, _)| *name).collect();
        names.join(";")
    }

    fn algorithm(&self) -> &'static str {
        match self.presented.is_rsa {
            true => "AWS4-X509-RSA-SHA256",
            false => "AWS4-X509-ECDSA-SHA256",
        }
    }

    fn scope(&self) -> String {
        let date = self.date();
        let day = date.split('T').next().unwrap_or_default();
        format!("{day}/{}/rolesanywhere/aws4_request", self.region)
    }

    /// What the key signs.
    pub(crate) fn string_to_sign(&self) -> String {
        format!(
            "{}\n{}\n{}\n{}",
            self.algorithm(),
            self.date(),
            self.scope(),
            hex(digest(&SHA256, self.canonical_request().as_bytes()).as_ref())
        )
    }

    /// The header `authorization`.
    pub(crate) fn authorization(&self, signature: &[u8]) -> String {
        format!(
            "{} Credential={}/{}, SignedHeaders={}, Signature={}",
            self.algorithm(),
            self.presented.serial,
            self.scope(),
            self.signed_headers(),
            hex(signature)
        )
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a string does not fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests;
