//! What a failed handshake means: a server that this machine does not trust, or one that does not
//! trust this device.
//!
//! Verdicts on a certificate are final for the call: an immediate retry would fail the same way.
//! The endpoint's may clear without intervention, so the engine goes on at its own pace; the
//! device's needs a person.

use std::error::Error as StdError;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use brs_core::Recovery;
use brs_core::kit::iso8601;
use brs_core::kit::{clean, with_cause};
use brs_core::{Error, ErrorKind};
use rustls::AlertDescription as Alert;
use rustls::CertificateError as Verdict;
use rustls::pki_types::UnixTime;

use super::Device;
use super::tls::Trust;

/// How many of a certificate's names are shown.
const MAX_NAMES: usize = 5;

/// The other side of TLS.
pub(crate) struct Peer<'a> {
    pub(crate) endpoint: &'a str,
    pub(crate) trust: &'a Trust,
    /// This machine's clock.
    pub(crate) now: SystemTime,
    /// The credentials endpoint's, once it has answered.
    pub(crate) server_time: Option<SystemTime>,
}

/// What a failed handshake means.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) refused: Refused,
    /// Whether an immediate retry may succeed.
    pub(crate) again: bool,
}

/// Who was not trusted, if that was the reason for a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refused {
    /// Nobody: it was something else.
    #[default]
    Nobody,
    /// The endpoint did not take the device's certificate.
    Device,
    /// The endpoint did not take the handshake, of which the device's certificate is a part.
    PerhapsDevice,
    /// The endpoint's certificate is of no authority that is trusted here.
    Authority,
}

impl Failure {
    fn of(refused: Refused, error: Error) -> Self {
        Self {
            error,
            refused,
            again: false,
        }
    }

    /// The token's own error, which says more than TLS can.
    pub(crate) fn of_token(error: Error) -> Self {
        // A token that is unplugged, busy or hanging is the same device when it is back; a refused
        // PIN is requested at a login.
        let is_refused = error.kind() == ErrorKind::Configuration && error.param() != Some("pin");
        Self::of(
            if is_refused {
                Refused::Device
            } else {
                Refused::Nobody
            },
            error,
        )
    }
}

/// The meaning of a handshake that failed.
///
/// Where no device is shown, the server cannot have refused it.
pub(crate) fn explain(
    failure: &rustls::Error,
    error: &(dyn StdError + 'static),
    peer: &Peer<'_>,
    device: Option<&Device>,
) -> Failure {
    // A token's error while signing says more than the handshake that failed because of it.
    if let rustls::Error::Other(other) = failure
        && let Some(said) = other.0.downcast_ref::<Error>()
    {
        return Failure::of_token(said.clone());
    }
    let told = |out: Error| with_cause(out, error, &[]);
    match (failure, device) {
        (rustls::Error::InvalidCertificate(verdict), _) => {
            let refused = match verdict {
                Verdict::UnknownIssuer | Verdict::BadSignature => Refused::Authority,
                _ => Refused::Nobody,
            };
            Failure::of(
                refused,
                told(not_trusted(verdict, peer)).with_recovery(Recovery::Later),
            )
        }
        (rustls::Error::AlertReceived(alert), Some(device)) if is_about_the_device(*alert) => {
            Failure::of(Refused::Device, told(device_refused(*alert, peer, device)))
        }
        (rustls::Error::AlertReceived(alert), Some(device)) if may_be_about_the_device(*alert) => {
            let error = told(no_agreement(*alert, peer, device)).with_recovery(Recovery::Later);
            Failure::of(Refused::PerhapsDevice, error)
        }
        (rustls::Error::AlertReceived(Alert::UnrecognisedName), _) => Failure::of(
            Refused::Nobody,
            told(unknown_name(peer)).with_recovery(Recovery::Later),
        ),
        (rustls::Error::AlertReceived(alert), _) if passes(*alert) => Failure {
            again: true,
            ..Failure::of(Refused::Nobody, told(no_tls(peer)))
        },
        _ => Failure::of(
            Refused::Nobody,
            told(no_tls(peer)).with_recovery(Recovery::Later),
        ),
    }
}

fn no_tls(peer: &Peer<'_>) -> Error {
    Error::connection(format!(
        "TLS with `{}` failed: check that the server there speaks TLS 1.2 or 1.3, and that no \
         proxy intercepts the connection",
        peer.endpoint
    ))
}

fn unknown_name(peer: &Peer<'_>) -> Error {
    Error::connection(format!(
        "the server at `{}` serves other host names: check `endpoint`, and that nothing on the way \
         answers in its place",
        peer.endpoint
    ))
    .with_param("endpoint")
}

fn no_agreement(alert: Alert, peer: &Peer<'_>, device: &Device) -> Error {
    Error::connection(format!(
        "TLS with `{}` failed ({alert:?}): check that the server there speaks TLS 1.2 or 1.3, and \
         that it accepts the device's certificate (subject `{}`, id {}), its kind of key and its \
         authority",
        peer.endpoint,
        device.certificate_subject(),
        device.certificate_sha256()
    ))
}

fn not_trusted(verdict: &Verdict, peer: &Peer<'_>) -> Error {
    let endpoint = peer.endpoint;
    match verdict {
        Verdict::UnknownIssuer | Verdict::BadSignature => Error::connection(match peer.trust {
            Trust::Given(_, store) => format!(
                "the certificate of `{endpoint}` was not issued by an authority in {store}: add \
                 its authority there (Amazon's are at https://www.amazontrust.com/repository), \
                 and check that nothing on the way answers in its place"
            ),
            _ => format!(
                "the certificate of `{endpoint}` was not issued by an authority that this system \
                 trusts: update its CA certificates or give the authority in `trust_store`, and \
                 check that nothing on the way answers in its place"
            ),
        })
        .with_param("trust_store"),
        Verdict::ExpiredContext { not_after, .. } => out_of_time(
            "has expired: it was valid until",
            "not_after",
            *not_after,
            peer,
        ),
        Verdict::NotValidYetContext { not_before, .. } => out_of_time(
            "is not valid yet: it is valid from",
            "not_before",
            *not_before,
            peer,
        ),
        Verdict::NotValidForName => other_name("", peer),
        Verdict::NotValidForNameContext { presented, .. } => {
            let names: Vec<_> = presented
                .iter()
                .take(MAX_NAMES)
                .map(|name| clean(name, &[]))
                .collect();
            other_name(&format!(", {}", names.join(", ")), peer)
        }
        _ => Error::connection(format!(
            "the certificate of `{endpoint}` cannot be trusted ({verdict}): check which server \
             answers there"
        )),
    }
}

fn out_of_time(problem: &str, detail: &str, bound: UnixTime, peer: &Peer<'_>) -> Error {
    let bound = iso8601(UNIX_EPOCH + Duration::from_secs(bound.as_secs()));
    let shows = iso8601(peer.now);
    let apart = peer.server_time.and_then(|server| apart(peer.now, server));
    let behind = apart
        .as_ref()
        .map(|text| format!(", {text} the last answer's"))
        .unwrap_or_default();
    let error = Error::connection(format!(
        "the certificate of `{}`, or of its authority, {problem} {bound}, and this machine's clock \
         shows {shows}{behind}: if that time is wrong, set the clock; otherwise check which \
         server answers there",
        peer.endpoint
    ))
    .with_detail("local_time", shows)
    .with_detail(detail, bound);
    match (apart, peer.server_time) {
        (Some(_), Some(server)) => error.with_detail("server_time", iso8601(server)),
        _ => error,
    }
}

/// How far this machine's clock is from the endpoint's; `None` for an insignificant difference.
fn apart(now: SystemTime, server: SystemTime) -> Option<String> {
    let (apart, side) = match now.duration_since(server) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let seconds = apart.as_secs();
    let (unit, name) = match seconds {
        0..60 => return None,
        60..7200 => (60, "minutes"),
        7200..172_800 => (3600, "hours"),
        _ => (86_400, "days"),
    };
    Some(format!("{} {name} {side}", seconds / unit))
}

fn other_name(names: &str, peer: &Peer<'_>) -> Error {
    Error::connection(format!(
        "the certificate of `{}` is for other host names{names}: check `endpoint`, and that \
         nothing on the way answers in its place",
        peer.endpoint
    ))
    .with_param("endpoint")
}

fn device_refused(alert: Alert, peer: &Peer<'_>, device: &Device) -> Error {
    let endpoint = peer.endpoint;
    let (from, to) = (iso8601(device.not_before()), iso8601(device.not_after()));
    let id = device.certificate_sha256();
    Error::connection(format!(
        "`{endpoint}` refused the device's certificate (subject `{}`, {alert:?}): check that it is \
         registered and active (`aws iot describe-certificate --certificate-id {id}`), that its \
         chain is complete, and that it is valid (from {from} to {to}; this machine's clock shows \
         {})",
        device.certificate_subject(),
        iso8601(peer.now)
    ))
    .with_param("certificate")
    .unrecoverable()
}

/// RFC 8446, section 6.2: alerts of a server that does not accept a client's certificate.
fn is_about_the_device(alert: Alert) -> bool {
    matches!(
        alert,
        Alert::NoCertificate
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::CertificateRequired
    )
}

/// Alerts about a device's certificate and key, but about much else, too: no common algorithms, or
/// a wrong signature.
fn may_be_about_the_device(alert: Alert) -> bool {
    matches!(alert, Alert::HandshakeFailure | Alert::DecryptError)
}

/// Temporary conditions: an internal error of the peer, a client that left, bytes that were damaged
/// on the way.
fn passes(alert: Alert) -> bool {
    matches!(
        alert,
        Alert::InternalError | Alert::UserCanceled | Alert::CloseNotify | Alert::BadRecordMac
    )
}
