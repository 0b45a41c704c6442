//! Certificates on a token: those that are meant, the one that is used, and what leads from it to
//! its root.
//!
//! Several may be meant: a renewed certificate often lies beside the one before it, with the same
//! id and label. Which of them belong to the key is for a signature to show (`prove.rs`); of those,
//! the one that is valid is used. A chain is built by the certificates' signatures: names alone
//! would pick any authority that was ever called the same.

use std::fmt;
use std::time::SystemTime;

use brs_core::Error;
use brs_core::kit::clean;
use brs_core::kit::iso8601;
use cryptoki::object::{Attribute, AttributeType, CertificateType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use rustls::pki_types::CertificateDer;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert};
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::{Decode as _, Tagged as _};

use super::failure::Failure;
use super::find::{self, FoundKey};
use super::select::{Id, ObjectSelector};
use crate::device::certificate::Facts;

/// How many certificates lead from a device to its root at most; AWS IoT takes chains of up to 5.
const MAX_CHAIN: usize = 8;
const WHAT: &str = "certificate";

/// What was found.
pub(super) struct OnToken {
    /// Those that are meant; never empty.
    pub(super) candidates: Vec<Stored>,
    /// All that can be read.
    all: Vec<CertificateDer<'static>>,
}

/// A certificate on a token.
#[derive(Clone)]
pub(super) struct Stored {
    label: String,
    id: Id,
    pub(super) certificate: CertificateDer<'static>,
}

/// Reads the selected certificates; without a selection, those with the key's id, or else with its
/// label.
pub(super) fn read(
    session: &Session,
    selector: &ObjectSelector,
    key: &FoundKey,
    token: &dyn fmt::Display,
) -> Result<OnToken, Failure> {
    let class = class();
    let (of_id, of_label) = (of_key(None, Some(&key.id)), of_key(Some(&key.label), None));
    let mut meant = if selector.label.is_some() || selector.id.is_some() {
        vec![selector]
    } else if key.id.0.is_empty() {
        vec![&of_label]
    } else if key.label.is_empty() {
        vec![&of_id]
    } else {
        vec![&of_id, &of_label]
    }
    .into_iter();
    let mut last = selector;
    let seen = loop {
        let Some(next) = meant.next() else {
            return Err(missing(session, &class, last, token));
        };
        last = next;
        match find::several(session, &class, next, token, WHAT) {
            Ok(seen) if !seen.is_empty() => break seen,
            // The next selection may find more.
            Err(failure) if meant.len() == 0 || failure.may_be_stale() => return Err(failure),
            Ok(_) | Err(_) => {}
        }
    };
    let mut candidates = Vec::new();
    for find::Seen {
        handle, label, id, ..
    } in &seen
    {
        if let Some(certificate) = value(session, *handle)? {
            candidates.push(Stored {
                label: label.clone(),
                id: id.clone(),
                certificate,
            });
        }
    }
    if candidates.is_empty() {
        let text = format!("{token}: the certificate with {last} cannot be read");
        return Err(Failure::Other(Error::configuration(text).unrecoverable()));
    }
    let (handles, more) = find::handles(session, &class)?;
    if more {
        tracing::warn!(%token, "the token holds too many certificates to read them all: the chain \
                                may be incomplete");
    }
    // Another's certificate that cannot be read is not missed until the chain is checked.
    let all = handles
        .into_iter()
        .filter_map(|handle| value(session, handle).ok().flatten())
        .collect();
    Ok(OnToken { candidates, all })
}

fn class() -> [Attribute; 3] {
    [
        Attribute::Class(ObjectClass::CERTIFICATE),
        Attribute::CertificateType(CertificateType::X_509),
        Attribute::Token(true),
    ]
}

fn of_key(label: Option<&str>, id: Option<&Id>) -> ObjectSelector {
    ObjectSelector {
        label: label.map(str::to_owned),
        id: id.cloned(),
    }
}

fn missing(
    session: &Session,
    class: &[Attribute],
    selector: &ObjectSelector,
    token: &dyn fmt::Display,
) -> Failure {
    let seen = match find::every(session, class) {
        Ok((seen, _)) => seen,
        Err(failure) => return failure,
    };
    let list = find::listed(seen.iter().map(|seen| {
        match value(session, seen.handle) {
            Ok(Some(certificate)) => Stored {
                label: seen.label.clone(),
                id: seen.id.clone(),
                certificate,
            }
            .to_string(),
            _ => format!("{seen}, which cannot be read"),
        }
    }));
    let text = format!("{token} has no certificate with {selector}: there are: {list}");
    Failure::Missing(Error::configuration(text).unrecoverable())
}

fn value(
    session: &Session,
    handle: ObjectHandle,
) -> Result<Option<CertificateDer<'static>>, Failure> {
    Ok(
        match find::attribute(session, handle, AttributeType::Value)? {
            Some(Attribute::Value(value)) if !value.is_empty() => Some(CertificateDer::from(value)),
            _ => None,
        },
    )
}

/// The one of a key's certificates that is to be used. Several that are valid must be renewals of
/// one another: then it is the one that expires last.
pub(super) fn choose<'a>(
    fitting: &'a [Stored],
    now: SystemTime,
    token: &dyn fmt::Display,
) -> Result<&'a CertificateDer<'static>, Error> {
    let ends = |stored: &Stored| Facts::of(&stored.certificate).map(|facts| facts.not_after);
    let is_valid = |stored: &&Stored| is_valid(&stored.certificate, now);
    let mut chosen: Vec<&Stored> = fitting.iter().filter(is_valid).collect();
    if chosen.is_empty() {
        // The check of its validity reports why there is none.
        chosen = fitting.iter().collect();
    }
    chosen.sort_by_key(|stored| ends(stored));
    chosen.dedup_by(|one, other| one.certificate == other.certificate);
    let several = |problem: &str| {
        let list = find::listed(chosen.iter().map(|stored| stored.to_string()));
        let remedy = match find::are_alike(chosen.iter().map(|stored| (&*stored.label, &stored.id)))
        {
            true => "change one's label or id with the token's own tool, or remove it",
            false => "choose by label and id, or remove one",
        };
        let text = format!(
            "{token} has {} certificates for the key {problem}: {remedy}, from: {list}",
            chosen.len()
        );
        Err(Error::configuration(text)
            .unrecoverable()
            .with_param("certificate"))
    };
    match chosen[..] {
        [] => Err(
            Error::configuration(format!("{token} has no certificate for the key")).unrecoverable(),
        ),
        [only] => Ok(&only.certificate),
        [.., before, last] if ends(before) == ends(last) => several("that expire at the same time"),
        [.., last]
            if chosen
                .iter()
                .all(|stored| are_of_one(&stored.certificate, &last.certificate)) =>
        {
            Ok(&last.certificate)
        }
        _ => several("that do not renew each other"),
    }
}

fn is_valid(certificate: &CertificateDer<'_>, now: SystemTime) -> bool {
    Facts::of(certificate).is_some_and(|facts| facts.not_before <= now && now <= facts.not_after)
}

/// Whether both are for the same subject, by the same authority.
fn are_of_one(one: &CertificateDer<'_>, other: &CertificateDer<'_>) -> bool {
    match (EndEntityCert::try_from(one), EndEntityCert::try_from(other)) {
        (Ok(one), Ok(other)) => one.subject() == other.subject() && one.issuer() == other.issuer(),
        _ => false,
    }
}

impl OnToken {
    /// From the leaf upwards, without a root, which the verifier has.
    pub(super) fn chain(
        &self,
        leaf: &CertificateDer<'static>,
        now: SystemTime,
    ) -> Vec<CertificateDer<'static>> {
        let mut chain = vec![leaf.clone()];
        while let (Some(last), true) = (chain.last(), chain.len() < MAX_CHAIN) {
            let above =
                |other: &&CertificateDer<'static>| !chain.contains(*other) && issued(other, last);
            let above: Vec<_> = self.all.iter().filter(above).collect();
            let valid = above.iter().find(|other| is_valid(other, now));
            match valid.or(above.first()) {
                Some(next) => chain.push((*next).clone()),
                None => break,
            }
        }
        chain
    }
}

/// Whether the upper certificate is an authority's, not a root, whose key has signed the lower one.
fn issued(upper: &CertificateDer<'_>, lower: &CertificateDer<'_>) -> bool {
    let (Ok(above), Ok(below)) = (
        EndEntityCert::try_from(upper),
        EndEntityCert::try_from(lower),
    ) else {
        return false;
    };
    if above.subject() != below.issuer() || above.subject() == above.issuer() {
        return false;
    }
    signed_parts(lower).is_some_and(|(content, algorithm, signature)| {
        let known = ALL_VERIFICATION_ALGS
            .iter()
            .filter(|known| known.signature_alg_id().as_ref() == algorithm);
        known
            .into_iter()
            .any(|known| above.verify_signature(*known, content, signature).is_ok())
    })
}

/// A certificate's signed content, the algorithm of its signature, and that signature, as they
/// stand there.
fn signed_parts<'a>(certificate: &'a CertificateDer<'_>) -> Option<(&'a [u8], &'a [u8], &'a [u8])> {
    let whole = AnyRef::from_der(certificate).ok()?.value();
    let (_, rest) = AnyRef::from_der_partial(whole).ok()?;
    let content = &whole[..whole.len() - rest.len()];
    let (algorithm, rest) = AnyRef::from_der_partial(rest).ok()?;
    let signature = AnyRef::from_der(rest).ok()?;
    // A bit string of whole bytes.
    let signature = signature
        .value()
        .strip_prefix(&[0])
        .filter(|_| signature.tag() == x509_cert::der::Tag::BitString)?;
    Some((content, algorithm.value(), signature))
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "label `{}`, id {}", clean(&self.label, &[]), self.id)?;
        match Facts::of(&self.certificate) {
            Some(facts) => write!(
                f,
                ", SHA-256 {}, expires {}",
                facts.sha256,
                iso8601(facts.not_after)
            ),
            None => f.write_str(", which is not an X.509 certificate"),
        }
    }
}

#[cfg(test)]
mod tests;
