//! What AWS IoT would have on record: certificates, the things attached to them, role aliases.
//!
//! Nothing here waits or speaks HTTP. Which record refuses a call is `provider`'s business.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use aws_lc_rs::digest;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

/// What a role alias issues, unless its maker chose another duration.
pub(super) const ALIAS_DURATION: Duration = Duration::from_secs(3600);

/// A certificate that was registered.
#[derive(Debug, Default)]
pub(super) struct Registered {
    pub(super) certificate_id: String,
    pub(super) inactive: bool,
    pub(super) denied: bool,
    pub(super) things: HashSet<String>,
}

/// A name for a role.
#[derive(Clone, Debug)]
pub(super) struct Alias {
    pub(super) role_arn: String,
    /// What is issued to a call that asks for no duration.
    pub(super) duration: Duration,
    pub(super) trust_broken: bool,
}

/// Everything that was registered with one server.
#[derive(Debug, Default)]
pub(super) struct Registry {
    /// By their DER.
    certificates: HashMap<Vec<u8>, Registered>,
    pub(super) aliases: HashMap<String, Alias>,
}

impl Registry {
    /// Registers a certificate, active and with this thing attached, and returns its id.
    pub(super) fn register(&mut self, leaf: &CertificateDer<'_>, thing: &str) -> String {
        let certificate_id = certificate_id(leaf);
        let things = HashSet::from([thing.to_owned()]);
        let registered = Registered {
            certificate_id: certificate_id.clone(),
            things,
            ..Registered::default()
        };
        self.certificates.insert(leaf.to_vec(), registered);
        certificate_id
    }

    pub(super) fn find(&self, leaf: &CertificateDer<'_>) -> Option<&Registered> {
        self.certificates.get(&leaf[..])
    }

    /// The record of a PEM text's first certificate.
    pub(super) fn of_pem(&mut self, certificate_pem: &str) -> &mut Registered {
        let leaf = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .expect("a certificate as PEM");
        self.certificates
            .get_mut(&leaf[..])
            .expect("the certificate was registered here")
    }

    pub(super) fn alias_mut(&mut self, alias: &str) -> &mut Alias {
        self.aliases
            .get_mut(alias)
            .unwrap_or_else(|| panic!("there is no role alias `{alias}`"))
    }
}

/// The SHA-256 of a certificate in lower-case hexadecimal.
pub(super) fn certificate_id(leaf: &CertificateDer<'_>) -> String {
    digest::digest(&digest::SHA256, leaf)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
