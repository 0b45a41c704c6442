//! The certificates that a request carries: the device's own, and those that lead to its authority.
//!
//! Owns their order, and what AWS is known to refuse. AWS follows the chain from the certificate to
//! the trust anchor; it needs no root, and a header has a limit.

use base64ct::{Base64, Encoding as _};
use brs_core::Error;
use brs_core::kit::clean;
use brs_iot::Device;
use x509_cert::Version;
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::oid::AssociatedOid;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, KeyUsage, SubjectKeyIdentifier,
};

/// The longest header of a chain.
const MAX_CHAIN: usize = 16 * 1024;

type Certificate = CertificateInner<Raw>;

/// RFC 3279, RFC 3370 and RFC 5758: signatures over MD5 and SHA-1.
const WEAK: [(ObjectIdentifier, &str); 4] = [
    (
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.4"),
        "RSA with MD5",
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5"),
        "RSA with SHA-1",
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.10045.4.1"),
        "ECDSA with SHA-1",
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.10040.4.3"),
        "DSA with SHA-1",
    ),
];

/// What a request says of its sender.
#[derive(Debug)]
pub(crate) struct Presented {
    /// `x-amz-x509`: Base64 of the certificate's DER.
    pub(crate) certificate: String,
    /// `x-amz-x509-chain`: the same of the others, in order.
    pub(crate) chain: Option<String>,
    /// The certificate's serial number in decimal.
    pub(crate) serial: String,
    pub(crate) is_rsa: bool,
}

impl Presented {
    /// Sorts the device's certificates.
    ///
    /// # Errors
    ///
    /// A configuration error for a certificate that AWS refuses, one that issued nobody in the
    /// chain, and a chain that is too long.
    pub(crate) fn of(device: &Device) -> Result<Self, Error> {
        let Some((leaf, others)) = device.chain().split_first() else {
            return Err(refused("the device has no certificate".into()));
        };
        let leaf = Link::read(leaf)?;
        leaf.check()?;
        let others = others
            .iter()
            .map(|der| Link::read(der))
            .collect::<Result<_, _>>()?;
        let chain = sorted(&leaf, others)?
            .iter()
            .map(|link| Base64::encode_string(link.der))
            .collect::<Vec<_>>()
            .join(",");
        if chain.len() > MAX_CHAIN {
            return Err(refused(format!(
                "the intermediate certificates have {} bytes in a request, and AWS accepts {MAX_CHAIN}: \
                 give only those that lead from the certificate to the trust anchor",
                chain.len()
            )));
        }
        Ok(Self {
            certificate: Base64::encode_string(leaf.der),
            chain: Some(chain).filter(|chain| !chain.is_empty()),
            serial: device.certificate_serial(),
            is_rsa: device.is_rsa(),
        })
    }
}

/// A certificate and what it is made of.
struct Link<'a> {
    der: &'a [u8],
    parsed: Certificate,
}

impl<'a> Link<'a> {
    fn read(der: &'a [u8]) -> Result<Self, Error> {
        let parsed = Certificate::from_der(der)
            .map_err(|_| refused("a certificate cannot be read".into()))?;
        Ok(Self { der, parsed })
    }

    fn subject(&self) -> String {
        clean(&self.parsed.tbs_certificate().subject().to_string(), &[])
    }

    fn extension<T: AssociatedOid + for<'b> Decode<'b>>(&self) -> Option<T> {
        let extensions = self.parsed.tbs_certificate().extensions()?;
        let found = extensions
            .iter()
            .find(|extension| extension.extn_id == T::OID)?;
        T::from_der(found.extn_value.as_bytes()).ok()
    }

    /// What AWS certainly refuses in an end entity's certificate. Extensions that are missing are
    /// AWS's to judge.
    fn check(&self) -> Result<(), Error> {
        let certificate = self.parsed.tbs_certificate();
        let algorithm = self.parsed.signature_algorithm().oid;
        let problem = if certificate.version() != Version::V3 {
            "is not of X.509 version 3".to_owned()
        } else if self
            .extension::<BasicConstraints>()
            .is_some_and(|constraints| constraints.ca)
        {
            "is an authority's (`CA:TRUE`)".to_owned()
        } else if self
            .extension::<KeyUsage>()
            .is_some_and(|usage| !usage.digital_signature())
        {
            "has a key usage without `digitalSignature`".to_owned()
        } else if let Some((_, name)) = WEAK.iter().find(|(weak, _)| *weak == algorithm) {
            format!("is signed by {name}")
        } else {
            return Ok(());
        };
        Err(refused(format!(
            "the certificate of `{}` {problem}: IAM Roles Anywhere needs one of X.509 version 3 with \
             `CA:FALSE` and the key usage `digitalSignature`, signed with SHA-256 or better",
            self.subject()
        )))
    }

    /// Whether it is a root: nothing but itself issued it, as far as names tell.
    fn is_root(&self) -> bool {
        self.is_issued_by(self)
    }

    fn is_issued_by(&self, other: &Self) -> bool {
        let (own, others) = (
            self.parsed.tbs_certificate(),
            other.parsed.tbs_certificate(),
        );
        if own.issuer() != others.subject() {
            return false;
        }
        let wanted = self
            .extension::<AuthorityKeyIdentifier>()
            .and_then(|identifier| identifier.key_identifier);
        match (wanted, other.extension::<SubjectKeyIdentifier>()) {
            (Some(wanted), Some(has)) => wanted == has.0,
            _ => true,
        }
    }
}

/// The certificates that lead from the leaf upwards, nearest first. An authority may have several
/// certificates for one key, of different authorities: AWS finds the way.
fn sorted<'a>(leaf: &Link<'a>, mut others: Vec<Link<'a>>) -> Result<Vec<Link<'a>>, Error> {
    let mut seen = vec![leaf.der];
    others.retain(|link| {
        let is_new = !seen.contains(&link.der);
        seen.push(link.der);
        is_new && !link.is_root()
    });
    let mut chain: Vec<Link<'a>> = Vec::new();
    let mut next = 0_usize;
    loop {
        let (issuers, rest): (Vec<_>, Vec<_>) = {
            let below = next.checked_sub(1).map_or(leaf, |place| &chain[place]);
            others
                .into_iter()
                .partition(|link| below.is_issued_by(link))
        };
        others = rest;
        chain.extend(issuers);
        next += 1;
        if next > chain.len() {
            break;
        }
    }
    match others.first() {
        None => Ok(chain),
        Some(stranger) => Err(refused(format!(
            "the certificate of `{}` issued none of the others: remove it, or add what is missing \
             between it and the certificate of `{}`",
            stranger.subject(),
            leaf.subject()
        ))),
    }
}

fn refused(problem: String) -> Error {
    Error::configuration(problem)
        .with_param("certificate")
        .unrecoverable()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, UNIX_EPOCH};

    use brs_core::Clock;
    use brs_core::test_util::ManualClock;
    use brs_iot::{DeviceIdentity, DeviceParams};
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, Issuer, KeyPair,
    };

    use super::*;

    async fn presented(certificate: String, key: &str) -> Result<Presented, Error> {
        let now = UNIX_EPOCH + Duration::from_secs(1_900_000_000);
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(now));
        let trust = Some(certificate.as_str().into());
        let params = DeviceParams::new()
            .certificate(certificate)
            .private_key(key);
        let identity = DeviceIdentity::load(params, trust, &clock).await.unwrap();
        Presented::of(&identity.device())
    }

    #[tokio::test]
    async fn a_signature_with_sha1_is_refused_by_name() {
        let certificate = include_str!("signature/sha1.pem").to_owned();
        let key = include_str!("signature/rsa.key");
        let error = presented(certificate, key).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("`CN=weak` is signed by RSA with SHA-1"),
            "{text}"
        );
        assert!(error.is_unrecoverable() && error.param() == Some("certificate"));
    }

    /// An authority with certificates of two others: both ways stay open.
    #[tokio::test]
    async fn certificates_of_one_authority_by_two_others_are_both_kept() {
        let params = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let key = || KeyPair::generate().unwrap();
        let roots =
            ["a", "b"].map(|name| CertifiedIssuer::self_signed(params(name), key()).unwrap());
        let middle = key();
        let twins = [0, 1].map(|place| params("middle").signed_by(&middle, &roots[place]).unwrap());
        let issuer = Issuer::new(params("middle"), middle);
        let own = key();
        let mut leaf = CertificateParams::default();
        leaf.distinguished_name.push(DnType::CommonName, "leaf");
        let leaf = leaf.signed_by(&own, &issuer).unwrap();
        let pem = leaf.pem() + &roots[0].pem() + &twins[1].pem() + &twins[0].pem();
        let presented = presented(pem, &own.serialize_pem()).await.unwrap();
        let expected = [&twins[1], &twins[0]].map(|twin| Base64::encode_string(twin.der()));
        assert_eq!(presented.chain, Some(expected.join(",")));
        assert!(!presented.is_rsa);
    }
}
