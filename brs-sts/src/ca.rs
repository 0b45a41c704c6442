//! The CA bundle that replaces the system's certificates.
//!
//! Owns reading and checking it. The HTTP client beneath panics at its first request on what it cannot use, so each
//! certificate is put through the same parser and into the same kind of store here first.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use aws_smithy_http_client::tls::TrustStore;
use brs_core::{Blocking, Error};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The system's own bundles have about 200 KiB.
const MAX_BYTES: u64 = 1024 * 1024;
const PARAM: &str = "client.verify";

/// Reads a bundle.
pub(crate) async fn load(path: PathBuf) -> Result<TrustStore, Error> {
    Blocking::new().run(move || read(&path)).await?
}

fn read(path: &Path) -> Result<TrustStore, Error> {
    let pem = read_file(path)?;
    check(&pem).map_err(|problem| {
        refused(path, &format!("{problem}: give a PEM file with the certificates of the authorities to trust"))
    })?;
    Ok(TrustStore::empty().with_pem_certificate(pem))
}

/// What is wrong with a bundle, if anything.
fn check(pem: &[u8]) -> Result<(), String> {
    if pem.first() == Some(&0x30) {
        return Err("is DER, not PEM (`openssl x509 -inform der` converts it)".into());
    }
    let mut store = RootCertStore::empty();
    for (number, certificate) in (1..).zip(CertificateDer::pem_slice_iter(pem)) {
        // What the parsers say is about encodings; for a certificate that is one, it is its version or a constraint.
        let certificate = certificate.map_err(|_| format!("is damaged at certificate {number}"))?;
        store
            .add(certificate)
            .map_err(|error| format!("holds a certificate, number {number}, that cannot be used ({error})"))?;
    }
    if store.is_empty() { Err("holds no certificate".into()) } else { Ok(()) }
}

fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    let failed =
        |error: std::io::Error| refused(path, "cannot be read: check the path and its permissions").with_source(error);
    // A pipe or a device would block or never end.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(refused(path, "is not a file: give a PEM file with the certificates of the authorities to trust"));
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(refused(path, "has more than 1 MiB: give only the certificates to trust"));
    }
    Ok(bytes)
}

fn refused(path: &Path, problem: &str) -> Error {
    Error::configuration(format!("the CA bundle `{}` {problem}", path.display())).with_param(PARAM).unrecoverable()
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
    fn a_damaged_bundle_says_what_is_wrong() {
        let outline = pem(OUTLINE);
        for (problem, bundle) in [
            ("holds no certificate", String::new()),
            ("holds no certificate", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----".into()),
            ("is damaged at certificate 1", outline[..40].to_owned()),
            ("is damaged at certificate 1", outline.replace("MA", "**")),
            ("number 1, that cannot be used", pem(b"hello")),
            ("number 1, that cannot be used", outline.clone()),
            ("is DER", "0\u{2}".into()),
        ] {
            let found = check(bundle.as_bytes()).unwrap_err();
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
            assert!(error.is_unrecoverable());
        }
    }
}
