//! A key outside this process that never leaves its place, such as a token's: what a device needs
//! from it.
//!
//! The device's side knows such keys by these two traits only; tokens are `pkcs11`'s. Their calls
//! block, and may take as long as a person needs.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use brs_core::Error;
use rustls::SignatureScheme;
use rustls::pki_types::CertificateDer;
use rustls::sign::SigningKey;

pub(crate) type Chain = Vec<CertificateDer<'static>>;

/// Where a key is.
#[async_trait]
pub(crate) trait ExternalKey: Debug + Send + Sync {
    /// Checks what can be checked without opening it.
    fn check(&self) -> Result<(), Error>;

    /// How long one signature may take, and opening the key.
    fn signature_timeout(&self) -> Duration;

    /// Opens the key and checks that the certificate belongs to it.
    ///
    /// `chain`: the device's certificates; `None`: they lie beside the key. `now` by the session's
    /// clock; within `left`, where it is part of something larger.
    async fn open(
        &self,
        chain: Option<Chain>,
        now: SystemTime,
        left: Option<Duration>,
    ) -> Result<(Chain, Arc<dyn OpenedKey>), Error>;
}

/// A key that was opened. Its signatures for TLS block.
#[async_trait]
pub(crate) trait OpenedKey: SigningKey {
    /// Signatures end within this time from now on, for as long as what this gives is kept.
    fn limit_signatures(&self, limit: Duration) -> Arc<Duration>;

    /// Signs a message, in an async call that blocks nobody, and checks the signature against the
    /// certificate.
    async fn sign_message(
        &self,
        scheme: SignatureScheme,
        message: &[u8],
        limit: Duration,
    ) -> Result<Vec<u8>, Error>;

    /// Whether it makes none of the signatures of TLS 1.3.
    fn tls12_only(&self) -> bool;

    /// Whether a signature failed for no clear reason: opened again, it may be able to do more.
    fn is_provisional(&self) -> bool;
}
