//! What Roles Anywhere would have on record: trust anchors, profiles, revoked certificates.
//!
//! Nothing here waits or speaks HTTP.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use super::REGION;
use crate::embedded_aws::directory::{ACCOUNT, random};

/// An authority.
#[derive(Debug)]
pub(super) struct TrustAnchor {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) enabled: bool,
}

/// What may be assumed, and how.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) roles: HashSet<String>,
    pub(super) duration: Duration,
    pub(super) accepts_session_name: bool,
    pub(super) requires_properties: bool,
    pub(super) enabled: bool,
}

/// Everything that was registered with one server.
#[derive(Debug, Default)]
pub(super) struct Registry {
    /// By their ARNs.
    pub(super) trust_anchors: HashMap<String, TrustAnchor>,
    pub(super) profiles: HashMap<String, Profile>,
    /// By their DER.
    pub(super) revoked: HashSet<Vec<u8>>,
}

impl Registry {
    pub(super) fn add_trust_anchor(&mut self, certificate_pem: &str) -> String {
        let arn = arn("trust-anchor");
        let anchor = TrustAnchor {
            certificate: first(certificate_pem),
            enabled: true,
        };
        self.trust_anchors.insert(arn.clone(), anchor);
        arn
    }

    pub(super) fn add_profile(&mut self) -> String {
        let arn = arn("profile");
        let profile = Profile {
            roles: HashSet::new(),
            duration: Duration::from_secs(3600),
            accepts_session_name: false,
            requires_properties: false,
            enabled: true,
        };
        self.profiles.insert(arn.clone(), profile);
        arn
    }
}

/// The first certificate of a PEM text.
pub(super) fn first(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate as PEM")
}

fn arn(kind: &str) -> String {
    let id = [8, 4, 4, 4, 12].map(|length| random(length, b"0123456789abcdef"));
    format!(
        "arn:aws:rolesanywhere:{REGION}:{ACCOUNT}:{kind}/{}",
        id.join("-")
    )
}
