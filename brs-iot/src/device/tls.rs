//! TLS towards the endpoint: whom to trust, what to show, by which clock.
//!
//! Owns the configuration for rustls. The cryptography is named explicitly: a process-wide provider
//! is neither used nor set. TLS 1.2 and 1.3, the latter not where a token cannot make its
//! signatures. Time is the session's clock.

use std::fmt;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use brs_core::{Clock, Error};
use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};
use rustls_native_certs::ErrorKind as Kind;

use crate::device::Device;
use crate::device::certificate::{Authorities, Facts, authorities};
use crate::device::pem::Pem;
use brs_core::kit::files::Unread;

const PARAM: &str = "trust_store";
const TRUST_STORE: &str = "the trust store";
const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
const OLD: &[&SupportedProtocolVersion] = &[&TLS12];

/// Whose certificates are trusted.
#[derive(Clone)]
pub enum Trust {
    /// Those of the system's authorities.
    System(Arc<RootCertStore>),
    /// Those of the given authorities; with the name of the store and what of it was ignored.
    Given(Arc<RootCertStore>, String),
    /// Everybody's.
    Anybody,
}

impl Trust {
    /// The system's authorities. Blocks: it reads files.
    pub(crate) fn system() -> Result<Self, Error> {
        let loaded = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        // A store of a hundred and more may hold one that cannot be used.
        let (added, _) = store.add_parsable_certificates(loaded.certs);
        if added > 0 {
            return Ok(Self::System(Arc::new(store)));
        }
        let cause = loaded.errors.into_iter().next();
        let why = match &cause {
            Some(rustls_native_certs::Error {
                kind: Kind::Io { inner, path },
                ..
            }) => {
                format!(
                    " (`{}` {})",
                    path.display(),
                    Unread::io(inner.kind().into(), path).problem()
                )
            }
            Some(other) => format!(" ({other})"),
            None => String::new(),
        };
        let error = Error::configuration(format!(
            "this system has no trusted authorities{why}: install its CA certificates, or give Amazon's \
             (https://www.amazontrust.com/repository/AmazonRootCA1.pem) in `trust_store`"
        ))
        .with_param(PARAM)
        .unrecoverable();
        Err(match cause {
            Some(cause) => error.with_source(cause.to_string()),
            None => error,
        })
    }

    /// Whether these are the same authorities of the system's.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        matches!((self, other), (Self::System(one), Self::System(other)) if one.roots == other.roots)
    }

    /// The authorities of a trust store, whose file was read before. Unusable blocks are ignored
    /// with a warning, and the store's name mentions them; at least one must be usable.
    pub(crate) fn given(bytes: &[u8], pem: &Pem) -> Result<Self, Error> {
        let named = pem.named(TRUST_STORE);
        let refused = |problem: String| {
            Error::configuration(format!("{named} {problem}"))
                .with_param(PARAM)
                .unrecoverable()
        };
        let Authorities {
            certificates,
            mut left_out,
        } = authorities(bytes).map_err(refused)?;
        let (mut store, of) = (RootCertStore::empty(), certificates.len() + left_out.len());
        for (number, certificate) in certificates {
            let subject = Facts::of(&certificate)
                .map(|facts| facts.subject)
                .unwrap_or_default();
            if let Err(error) = store.add(certificate) {
                left_out.push(format!(
                    "number {number} (`{subject}`) cannot be used ({error})"
                ));
            }
        }
        if store.is_empty() {
            return Err(refused(format!(
                "holds no usable certificate: {}",
                left_out.join(", ")
            )));
        }
        if left_out.is_empty() {
            return Ok(Self::Given(Arc::new(store), named));
        }
        let left_out = format!(
            "{} of its {of} blocks ignored: {}",
            left_out.len(),
            left_out.join(", ")
        );
        tracing::warn!(
            trust_store = named,
            left_out,
            "part of the trust store cannot be used"
        );
        Ok(Self::Given(
            Arc::new(store),
            format!("{named} ({left_out})"),
        ))
    }

    /// The trust store's content. Blocks.
    pub(crate) fn read(pem: &Pem) -> Result<zeroize::Zeroizing<Vec<u8>>, Error> {
        pem.read(TRUST_STORE, PARAM)
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(_) => f.write_str("System"),
            Self::Given(_, named) => f.debug_tuple("Given").field(named).finish(),
            Self::Anybody => f.write_str("Anybody"),
        }
    }
}

/// The configuration for a device.
pub(crate) fn config(
    device: &Device,
    trust: &Trust,
    clock: &Arc<dyn Clock>,
) -> Result<ClientConfig, Error> {
    let versions = if device.tls12_only() { OLD } else { BOTH };
    let builder = verifying(trust, clock, versions)?;
    Ok(builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(device.certified()))))
}

/// The configuration for a client that shows no certificate.
pub(crate) fn anonymous(trust: &Trust, clock: &Arc<dyn Clock>) -> Result<ClientConfig, Error> {
    Ok(verifying(trust, clock, BOTH)?.with_no_client_auth())
}

fn verifying(
    trust: &Trust,
    clock: &Arc<dyn Clock>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_details(
        Arc::clone(&provider),
        Arc::new(Time(Arc::clone(clock))),
    )
    .with_protocol_versions(versions)
    .map_err(|error| Error::configuration("TLS cannot be set up").with_source(error))?;
    Ok(match trust {
        Trust::System(roots) | Trust::Given(roots, _) => {
            builder.with_root_certificates(Arc::clone(roots))
        }
        Trust::Anybody => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAny(provider))),
    })
}

/// The session's clock, for rustls.
#[derive(Debug)]
struct Time(Arc<dyn Clock>);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        self.0
            .now()
            .duration_since(UNIX_EPOCH)
            .ok()
            .map(UnixTime::since_unix_epoch)
    }
}

/// Trusts every certificate; signatures are still checked, or nothing would work at all.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trust_store_without_a_usable_certificate_says_what_is_wrong() {
        for (bytes, problem) in [
            ("", "holds no certificate"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "no usable certificate: number 1 is not an X.509",
            ),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n",
                "number 1: it was cut off",
            ),
        ] {
            let Err(error) = Trust::given(bytes.as_bytes(), &Pem::file("/ca.pem")) else {
                panic!("{problem}")
            };
            assert!(
                error.to_string().starts_with("the trust store `/ca.pem` "),
                "{error}"
            );
            assert!(
                error.to_string().contains(problem) && error.param() == Some(PARAM),
                "{error}"
            );
        }
    }

    #[test]
    fn a_store_with_a_broken_block_is_used_and_tells_of_it() {
        let (_, der) = crate::device::certificate::tests::openssl("certificate");
        use base64ct::Encoding as _;
        let certificate = |body: &str| {
            format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
        };
        let text = certificate("AAAA") + &certificate(&base64ct::Base64::encode_string(&der));
        let Ok(Trust::Given(roots, name)) = Trust::given(text.as_bytes(), &Pem::file("/ca.pem"))
        else {
            panic!("no")
        };
        assert_eq!(roots.len(), 1);
        assert!(
            name.starts_with(
                "the trust store `/ca.pem` (1 of its 2 blocks ignored: number 1 is not an X"
            ),
            "{name}"
        );
    }
}
