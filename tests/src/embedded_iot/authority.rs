//! Certificates: two authorities, each a root and an intermediate, and what they issue.
//!
//! Owns keys, names, extensions and validity. Who is registered with them is `registry`'s business,
//! what is checked in a handshake is `tls`'s.

use std::fmt;
use std::ops::Range;
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256,
    PublicKeyData, RsaKeySize,
};
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::embedded_aws::directory::random;

/// What kind of key a device has. RSA keys take a moment to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// RSA of 2048 bits.
    Rsa2048,
    /// RSA of 3072 bits.
    Rsa3072,
    /// RSA of 4096 bits.
    Rsa4096,
    /// The curve P-256.
    EcP256,
    /// The curve P-384.
    EcP384,
}

impl KeyKind {
    pub(super) fn generate(self) -> KeyPair {
        let key = match self {
            Self::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
            Self::Rsa3072 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072),
            Self::Rsa4096 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096),
            Self::EcP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            Self::EcP384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
        };
        key.expect("the machine has random numbers")
    }
}

/// A thing with a certificate and its key. As `&str` it is its certificate.
#[derive(Clone)]
#[non_exhaustive]
pub struct Device {
    /// The leaf, then the intermediate; the root is left out, as in a chain that is sent.
    pub certificate_pem: String,
    /// PKCS#8.
    pub private_key_pem: String,
    /// The thing that the certificate was made for and is attached to.
    pub thing_name: String,
    /// The SHA-256 of the leaf in lower-case hexadecimal, as AWS IoT names certificates.
    pub certificate_id: String,
}

impl Device {
    /// The leaf without its chain, which no server can follow to the root.
    #[must_use]
    pub fn leaf_pem(&self) -> &str {
        let end = "-----END CERTIFICATE-----\n";
        let length = self
            .certificate_pem
            .find(end)
            .map_or(self.certificate_pem.len(), |start| start + end.len());
        &self.certificate_pem[..length]
    }
}

impl AsRef<str> for Device {
    fn as_ref(&self) -> &str {
        &self.certificate_pem
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("thing_name", &self.thing_name)
            .field("certificate_id", &self.certificate_id)
            .finish_non_exhaustive()
    }
}

/// A root that signed an intermediate that signs everything else.
pub(super) struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    intermediate: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with what a peer needs to follow it to the root.
pub(super) struct Chain {
    pub(super) leaf: CertificateDer<'static>,
    pub(super) intermediate: CertificateDer<'static>,
    pub(super) pem: String,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        // Two authorities of one name would look like one whose signatures are wrong.
        let mark = random(8, b"0123456789abcdef");
        let params = |level: &str| {
            let mut params = CertificateParams::default();
            params
                .distinguished_name
                .push(DnType::CommonName, format!("{name} {level} {mark}"));
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            params
        };
        let key = || KeyKind::EcP256.generate();
        let root =
            CertifiedIssuer::self_signed(params("root"), key()).expect("the root is well-formed");
        let mut below = params("intermediate");
        below.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        below.use_authority_key_identifier_extension = true;
        let intermediate = CertifiedIssuer::signed_by(below, key(), &root)
            .expect("the intermediate is well-formed");
        Self { root, intermediate }
    }

    pub(super) fn root_pem(&self) -> String {
        self.root.pem()
    }

    pub(super) fn root(&self) -> CertificateDer<'static> {
        self.root.der().clone()
    }

    /// A client certificate, with the thing's name as its subject.
    pub(super) fn client(
        &self,
        thing: &str,
        key: &impl PublicKeyData,
        validity: &Range<SystemTime>,
    ) -> Chain {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, thing);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, key, validity)
    }

    /// A server's certificate for these names and addresses.
    pub(super) fn server(
        &self,
        names: &[&str],
        key: &KeyPair,
        validity: &Range<SystemTime>,
    ) -> Chain {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params =
            CertificateParams::new(names).expect("names and addresses are well-formed");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params, key, validity)
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        key: &impl PublicKeyData,
        validity: &Range<SystemTime>,
    ) -> Chain {
        params.not_before = validity.start.into();
        params.not_after = validity.end.into();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let leaf = params
            .signed_by(key, &self.intermediate)
            .expect("the certificate is well-formed");
        Chain {
            leaf: leaf.der().clone(),
            intermediate: self.intermediate.der().clone(),
            pem: leaf.pem() + &self.intermediate.pem(),
        }
    }
}
