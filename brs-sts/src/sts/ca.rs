//! CA bundles that replace the system's certificates: whose they are, reading and checking them,
//! and the HTTP client of the environment's.
//!
//! The HTTP client panics at its first request on what it cannot use, so each certificate
//! is put through the same parser and into the same kind of store here first. All sessions with the
//! same bundle share the clients that trust it, one for each runtime, as they share the SDK's
//! default one.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use aws_smithy_http_client::tls::{TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_types::SdkConfig;
use aws_types::origin::Origin;
use aws_types::service_config::ServiceConfigKey;
use brs_core::kit::{HTTP_CLIENT, PerProcess, http_client_per_runtime};
use brs_core::{Blocking, Error};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::environment::{Found, Place, Reader, Variables};
use crate::sts::http_client;

/// The system's own bundles have about 200 KiB.
const MAX_BYTES: u64 = 1024 * 1024;
const VARIABLE: &str = "AWS_CA_BUNDLE";
const KEY: &str = "ca_bundle";

/// A CA bundle's file, and who names it.
#[derive(Clone, Debug)]
pub(crate) struct Bundle {
    path: PathBuf,
    /// `None` for the session's own parameter.
    place: Option<Place>,
}

impl Bundle {
    /// The one that the session's settings name.
    pub(crate) fn of_settings(path: PathBuf) -> Self {
        Self { path, place: None }
    }

    /// The one that the environment or the profile names; the variable takes precedence, as in
    /// botocore.
    pub(crate) fn find(reader: &Reader<'_>) -> Result<Option<Self>, Error> {
        Ok(reader.find(&[VARIABLE], &[KEY])?.map(Self::found))
    }

    /// The same, for a base configuration that has been loaded.
    pub(crate) fn of_base(base: &SdkConfig) -> Result<Option<Self>, Error> {
        if let Some(path) = Variables::Process.get(VARIABLE)? {
            return Ok(Some(Self::found((path, Place::variable(VARIABLE)))));
        }
        // No variable has such a name.
        let key = ServiceConfigKey::builder()
            .service_id("brs")
            .env("=")
            .profile(KEY)
            .build();
        let of_profile = key
            .ok()
            .and_then(|key| base.service_config()?.load_config(key));
        let of_profile = of_profile
            .map(|path| path.trim().to_owned())
            .filter(|path| !path.is_empty());
        Ok(of_profile.map(|path| Self::found((path, Place::Profile(None, KEY.to_owned())))))
    }

    fn found((path, place): Found) -> Self {
        Self {
            path: path.into(),
            place: Some(place),
        }
    }

    /// Reads and checks it.
    pub(crate) async fn load(self) -> Result<TrustStore, Error> {
        Ok(TrustStore::empty().with_pem_certificate(self.pem().await?))
    }

    /// An HTTP client that trusts it alone.
    pub(crate) async fn http_client(self) -> Result<SharedHttpClient, Error> {
        let bundle = self.clone();
        let pem = Blocking::new().run(move || bundle.read_file()).await??;
        if let Some(known) = Trusting::known(&pem) {
            return Ok(SharedHttpClient::new(known));
        }
        let bundle = self.clone();
        let pem = Blocking::new().run(move || bundle.checked(pem)).await??;
        let tls = TlsContext::builder()
            .with_trust_store(TrustStore::empty().with_pem_certificate(pem.clone()))
            .build();
        let tls = tls.map_err(|error| self.refused("cannot be used").with_source(error))?;
        let client = http_client_per_runtime(move || http_client::own(tls.clone(), None));
        Ok(SharedHttpClient::new(Trusting::keep(pem, client)))
    }

    async fn pem(self) -> Result<Vec<u8>, Error> {
        Blocking::new()
            .run(move || self.checked(self.read_file()?))
            .await?
    }

    fn checked(&self, pem: Vec<u8>) -> Result<Vec<u8>, Error> {
        match check(&pem) {
            Ok(()) => Ok(pem),
            Err(problem) => Err(self.refused(&format!(
                "{problem}: give a PEM file with the certificates of the authorities to trust"
            ))),
        }
    }

    fn read_file(&self) -> Result<Vec<u8>, Error> {
        let path = self.path.as_path();
        let failed = |error: std::io::Error| {
            self.refused("cannot be read: check the path and its permissions")
                .with_source(error)
        };
        // A pipe or a device would block or never end.
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(self.refused(
                "is not a file: give a PEM file with the certificates of the authorities to trust",
            ));
        }
        let mut bytes = Vec::new();
        File::open(path)
            .map_err(failed)?
            .take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(self.refused("has more than 1 MiB: give only the certificates to trust"));
        }
        Ok(bytes)
    }

    fn refused(&self, problem: &str) -> Error {
        let path = shown_path(&self.path);
        match &self.place {
            None => Error::configuration(format!("the CA bundle `{path}` {problem}"))
                .with_param(PARAM)
                .unrecoverable(),
            Some(place) => place.wrong(format_args!(
                "names the CA bundle `{path}`, which {problem}"
            )),
        }
    }
}

fn shown_path(path: &Path) -> String {
    path.display()
        .to_string()
        .chars()
        .filter(|c| !c.is_control())
        .collect()
}

const PARAM: &str = "client.verify";

/// Whether a base configuration's HTTP client is there because of the environment's CA bundle.
pub(crate) fn is_environments(base: &SdkConfig) -> bool {
    base.get_origin(HTTP_CLIENT) == Origin::shared_environment_variable()
}

/// The HTTP clients that trust a bundle.
struct Trusting {
    pem: Vec<u8>,
    client: SharedHttpClient,
}

/// What configurations hold of them.
#[derive(Clone)]
struct Handle(Arc<Trusting>);

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trusting").field(&self.0.client).finish()
    }
}

impl HttpClient for Handle {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        self.0.client.http_connector(settings, components)
    }
}

/// Those of all living configurations.
static KNOWN: PerProcess<Mutex<Vec<Weak<Trusting>>>> = PerProcess::new();

impl Trusting {
    fn known(pem: &[u8]) -> Option<Handle> {
        let known = KNOWN.get();
        let known = known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .iter()
            .filter_map(Weak::upgrade)
            .find(|known| known.pem == pem)
            .map(Handle)
    }

    /// Of two that are made at the same time one is found from then on.
    fn keep(pem: Vec<u8>, client: SharedHttpClient) -> Handle {
        let made = Arc::new(Self { pem, client });
        let known = KNOWN.get();
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|known| known.strong_count() > 0);
        known.push(Arc::downgrade(&made));
        Handle(made)
    }
}

/// What is wrong with a bundle, if anything.
fn check(pem: &[u8]) -> Result<(), String> {
    if pem.first() == Some(&0x30) {
        return Err("is DER, not PEM (`openssl x509 -inform der` converts it)".into());
    }
    let mut store = RootCertStore::empty();
    for (number, certificate) in (1..).zip(CertificateDer::pem_slice_iter(pem)) {
        // What the parsers say is about encodings; for a certificate that is one, it is its version
        // or a constraint.
        let certificate = certificate.map_err(|_| format!("is damaged at certificate {number}"))?;
        store.add(certificate).map_err(|error| {
            format!("holds a certificate, number {number}, that cannot be used ({error})")
        })?;
    }
    if store.is_empty() {
        Err("holds no certificate".into())
    } else {
        Ok(())
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
    fn a_damaged_bundle_says_what_is_wrong() {
        let outline = pem(OUTLINE);
        for (problem, bundle) in [
            ("holds no certificate", String::new()),
            (
                "holds no certificate",
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----".into(),
            ),
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
        for (name, problem) in [
            ("absent.pem", "cannot be read"),
            ("src", "is not a file"),
            ("Cargo.toml", "holds no certificate"),
        ] {
            let error = Bundle::of_settings(here.join(name))
                .load()
                .await
                .unwrap_err();
            let shown = error.to_string();
            assert!(shown.contains(name) && shown.contains(problem), "{shown}");
            assert_eq!(error.param(), Some(PARAM));
            assert!(error.is_unrecoverable());
        }
    }
}
