//! The CA bundle that replaces the system's certificates.
//!
//! Owns reading and checking it. The TLS stack beneath panics on what it cannot parse, so everything is checked here
//! first: the file, its PEM form, and each certificate's outline; what passes is then tried out once.

use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use aws_smithy_http_client::tls::TrustStore;
use brs_core::{Blocking, Error};

/// The system's own bundles have about 200 KiB.
const MAX_BYTES: u64 = 1024 * 1024;
const PARAM: &str = "client.verify";

/// Reads a bundle.
pub(crate) async fn load(path: PathBuf) -> Result<TrustStore, Error> {
    Blocking::new().run(move || read(&path)).await?
}

fn read(path: &Path) -> Result<TrustStore, Error> {
    let pem = read_file(path)?;
    let certificates = certificates(&pem).map_err(|problem| {
        Error::configuration(format!(
            "the CA bundle `{}` {problem}: give a PEM file with the certificates to trust",
            path.display()
        ))
        .with_param(PARAM)
    })?;
    Ok(TrustStore::empty().with_pem_certificate(certificates))
}

fn read_file(path: &Path) -> Result<String, Error> {
    let failed = |error: std::io::Error| {
        Error::configuration(format!(
            "the CA bundle `{}` cannot be read: check the path and its permissions",
            path.display()
        ))
        .with_param(PARAM)
        .with_source(error)
    };
    let refused = |problem: &str| {
        Err(Error::configuration(format!("the CA bundle `{}` {problem}", path.display())).with_param(PARAM))
    };
    // A pipe or a device would block or never end.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return refused("is not a file: give a PEM file with the certificates to trust");
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return refused("has more than 1 MiB: give only the certificates to trust");
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(_) => refused("is not a text: convert it to PEM (`openssl x509 -inform der`)"),
    }
}

/// The certificates of a bundle in plain PEM, everything else around them left out; or what is wrong with it.
fn certificates(pem: &str) -> Result<String, String> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let mut found = String::new();
    let mut number = 0;
    let mut lines = pem.lines().map(str::trim);
    while lines.by_ref().any(|line| line == BEGIN) {
        number += 1;
        let mut body = String::new();
        let mut ended = false;
        for line in lines.by_ref() {
            if line == END {
                ended = true;
                break;
            }
            body.push_str(line);
        }
        if !ended {
            return Err(format!("ends within certificate {number}"));
        }
        let der = aws_smithy_types::base64::decode(&body)
            .map_err(|_| format!("is damaged: certificate {number} is not base64"))?;
        if !is_certificate(&der) {
            return Err(format!("is damaged: certificate {number} is not one"));
        }
        for part in [BEGIN, &body, END] {
            found.push_str(part);
            found.push('\n');
        }
    }
    if number == 0 { Err("holds no certificate".into()) } else { Ok(found) }
}

/// RFC 5280: a sequence of the signed part, an algorithm and a signature, and nothing after it.
fn is_certificate(der: &[u8]) -> bool {
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    let parts = || {
        let (certificate, after) = element(der, SEQUENCE)?;
        let (_, rest) = element(certificate, SEQUENCE)?;
        let (_, rest) = element(rest, SEQUENCE)?;
        let (_, rest) = element(rest, BIT_STRING)?;
        Some(after.is_empty() && rest.is_empty())
    };
    parts().unwrap_or(false)
}

/// The content of a DER element with that tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, der) = der.split_first()?;
    let (&first, mut der) = der.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let count = usize::from(first & 0x7f);
        if !(1..=3).contains(&count) || der.len() < count {
            return None;
        }
        let (bytes, rest) = der.split_at(count);
        length = bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
        der = rest;
    }
    (found == tag && der.len() >= length).then(|| der.split_at(length))
}

/// Builds a connector as the first request will, so that a certificate the TLS stack cannot take is an error now.
pub(crate) fn try_out<T>(build: impl FnOnce() -> T) -> Result<(), Error> {
    match catch_unwind(AssertUnwindSafe(build)) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::configuration(
            "the CA bundle holds a certificate that cannot be used: give X.509 certificates of authorities",
        )
        .with_param(PARAM)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(der: &[u8]) -> String {
        let body = aws_smithy_types::base64::encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    }

    /// The outline of a certificate: an empty signed part, algorithm and signature.
    const OUTLINE: &[u8] = &[0x30, 6, 0x30, 0, 0x30, 0, 0x03, 0];

    #[test]
    fn certificates_are_picked_out_of_what_surrounds_them() {
        let bundle = format!("# one\r\n{}subject=/CN=two\n{}", pem(OUTLINE), pem(OUTLINE));
        assert_eq!(certificates(&bundle).unwrap(), pem(OUTLINE).repeat(2));
    }

    #[test]
    fn a_damaged_bundle_says_what_is_wrong() {
        let whole = pem(OUTLINE);
        for (problem, bundle) in [
            ("holds no certificate", String::new()),
            ("holds no certificate", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----".into()),
            ("ends within certificate 2", format!("{whole}{}", &whole[..40])),
            ("certificate 1 is not base64", whole.replace("MA", "**")),
            ("certificate 1 is not one", pem(b"hello")),
            ("certificate 1 is not one", pem(&OUTLINE[..7])),
            ("certificate 1 is not one", pem(&[OUTLINE, &[0]].concat())),
            ("certificate 1 is not one", pem(&[0x30, 0x85, 1, 1, 1, 1, 1])),
        ] {
            let found = certificates(&bundle).unwrap_err();
            assert!(found.contains(problem), "{problem}: {found}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_no_bundle_names_itself() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (name, problem) in
            [("absent.pem", "cannot be read"), ("src", "is not a file"), ("Cargo.toml", "holds no certificate")]
        {
            let error = load(here.join(name)).await.unwrap_err();
            let shown = error.to_string();
            assert!(shown.contains(name) && shown.contains(problem), "{shown}");
            assert_eq!(error.param(), Some(PARAM));
        }
    }
}
