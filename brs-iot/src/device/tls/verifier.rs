//! rustls's own judgement of a server's certificate, with what it leaves out.
//!
//! A certificate that is out of its time is told with one bound of its validity. A device whose
//! clock is a decade off has a good certificate before it, and only both bounds show that.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use brs_core::Error;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore,
    SignatureScheme,
};

use crate::device::certificate::Facts;

/// Verifies as rustls does; nothing is accepted that it would not accept.
#[derive(Debug)]
pub(super) struct Verifier(Arc<WebPkiServerVerifier>);

/// A certificate of the server's that is not valid at this machine's time.
#[derive(Debug)]
pub(crate) struct OutOfTime {
    /// Whether it is the server's own, and not one of its authorities'.
    pub(crate) is_own: bool,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    /// What it was judged by.
    pub(crate) now: SystemTime,
    verdict: CertificateError,
}

impl Verifier {
    pub(super) fn new(
        roots: Arc<RootCertStore>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let built = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
        built
            .map(Self)
            .map_err(|error| Error::configuration("TLS cannot be set up").with_source(error))
    }
}

impl OutOfTime {
    /// The first certificate out of its time; `None` where none is, as far as can be read.
    fn of(
        chain: &[&CertificateDer<'_>],
        now: SystemTime,
        verdict: &CertificateError,
    ) -> Option<Self> {
        chain.iter().enumerate().find_map(|(index, certificate)| {
            let Facts {
                not_before,
                not_after,
                ..
            } = Facts::of(certificate)?;
            let is_out = now < not_before || now > not_after;
            is_out.then(|| Self {
                is_own: index == 0,
                not_before,
                not_after,
                now,
                verdict: verdict.clone(),
            })
        })
    }
}

impl fmt::Display for OutOfTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.verdict.fmt(f)
    }
}

impl std::error::Error for OutOfTime {}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        authorities: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.0
            .verify_server_cert(own, authorities, name, ocsp, now)
            .map_err(|error| match error {
                rustls::Error::InvalidCertificate(
                    verdict @ (CertificateError::Expired
                    | CertificateError::ExpiredContext { .. }
                    | CertificateError::NotValidYet
                    | CertificateError::NotValidYetContext { .. }),
                ) => {
                    let chain: Vec<_> = std::iter::once(own).chain(authorities).collect();
                    let now = UNIX_EPOCH + Duration::from_secs(now.as_secs());
                    match OutOfTime::of(&chain, now, &verdict) {
                        Some(told) => CertificateError::Other(OtherError(Arc::new(told))).into(),
                        None => verdict.into(),
                    }
                }
                other => other,
            })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.0.requires_raw_public_keys()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.0.root_hint_subjects()
    }
}
