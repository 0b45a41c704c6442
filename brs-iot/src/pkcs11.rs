//! Keys in PKCS#11 tokens: the place they will have.

use std::sync::Arc;

use brs_core::Error;
use rustls::pki_types::CertificateDer;
use rustls::sign::SigningKey;

/// Where a device's key is: in which token, under which name.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Pkcs11 {}

/// What a token gives.
pub(crate) struct Opened {
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    pub(crate) key: Arc<dyn SigningKey>,
    pub(crate) tls12_only: bool,
    pub(crate) failure: Arc<dyn Fn() -> Option<Error> + Send + Sync>,
}

impl Pkcs11 {
    pub(crate) async fn open(&self, _: Option<Vec<CertificateDer<'static>>>) -> Result<Opened, Error> {
        Err(Error::configuration("PKCS#11 is not there yet").with_param("pkcs11").unrecoverable())
    }
}
