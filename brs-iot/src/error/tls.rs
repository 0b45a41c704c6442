//! What TLS says, told apart: whom this machine does not trust, and who does not trust this device.
//!
//! Verdicts on a certificate are final for the call: another try would hear the same.

use std::error::Error as StdError;
use std::time::{Duration, UNIX_EPOCH};

use rustls::AlertDescription as Alert;
use rustls::CertificateError as Verdict;
use rustls::pki_types::UnixTime;

use super::*;

/// How many of a certificate's names are told.
const MAX_NAMES: usize = 5;

/// The error for a handshake that failed.
///
/// Where no device is shown, the server cannot have refused it.
pub(crate) fn failed(
    failure: &rustls::Error,
    error: &(dyn StdError + 'static),
    peer: &Peer<'_>,
    device: Option<&Device>,
) -> Failed {
    match (failure, device) {
        (rustls::Error::InvalidCertificate(verdict), _) => {
            Failed { fresh: true, ..Failed::at_rest(with_cause(not_trusted(verdict, peer), error, &[])) }
        }
        (rustls::Error::AlertReceived(alert), Some(device)) if is_about_the_device(*alert) => {
            let error = with_cause(device_refused(*alert, peer, device), error, &[]);
            Failed { fresh: true, device_refused: true, ..Failed::at_rest(error) }
        }
        _ => {
            let message = format!(
                "TLS with `{}` failed: check that what answers there speaks TLS 1.2 or 1.3, and that no proxy is in \
                 between",
                peer.endpoint
            );
            // An alert is the peer's word of the moment; what else there is will be so again.
            let again = matches!(failure, rustls::Error::AlertReceived(_));
            Failed { again, ..Failed::transport(with_cause(Error::connection(message), error, &[])) }
        }
    }
}

fn not_trusted(verdict: &Verdict, peer: &Peer<'_>) -> Error {
    let endpoint = peer.endpoint;
    match verdict {
        Verdict::UnknownIssuer | Verdict::BadSignature => Error::connection(match peer.trust {
            Trust::Given(_, store) => format!(
                "the certificate of `{endpoint}` comes from no authority of {store}: give its authority there \
                 (Amazon's are at https://www.amazontrust.com/repository), and check that nothing on the way answers \
                 in its place"
            ),
            _ => format!(
                "the certificate of `{endpoint}` comes from no authority that this system trusts: update its CA \
                 certificates or give the authority in `trust_store`, and check that nothing on the way answers in \
                 its place"
            ),
        })
        .with_param("trust_store"),
        Verdict::Expired => out_of_time("has ended", None, peer.now, peer),
        Verdict::ExpiredContext { time, not_after } => {
            out_of_time("has ended", Some(format!("until {}", instant(*not_after))), system(*time), peer)
                .with_detail("not_after", instant(*not_after))
        }
        Verdict::NotValidYet => out_of_time("is not valid yet", None, peer.now, peer),
        Verdict::NotValidYetContext { time, not_before } => {
            out_of_time("is not valid yet", Some(format!("from {}", instant(*not_before))), system(*time), peer)
                .with_detail("not_before", instant(*not_before))
        }
        Verdict::NotValidForName => other_name("", peer),
        Verdict::NotValidForNameContext { presented, .. } => {
            let names: Vec<_> = presented.iter().take(MAX_NAMES).map(|name| clean(name, &[])).collect();
            other_name(&format!(", {}", names.join(", ")), peer)
        }
        _ => Error::connection(format!(
            "the certificate of `{endpoint}` is not one that can be trusted ({verdict}): check what answers there"
        )),
    }
}

fn out_of_time(problem: &str, validity: Option<String>, now: SystemTime, peer: &Peer<'_>) -> Error {
    let validity = validity.map(|text| format!(", it is valid {text}")).unwrap_or_default();
    let shows = iso8601(now);
    Error::connection(format!(
        "the certificate of `{}`, or of its authority, {problem}{validity}, and this machine's clock shows {shows}: if \
         that time is wrong, set the clock; else check what answers there",
        peer.endpoint
    ))
    .with_detail("local_time", shows)
}

fn other_name(names: &str, peer: &Peer<'_>) -> Error {
    Error::connection(format!(
        "the certificate of `{}` is for other names{names}: check `endpoint`, and that nothing on the way answers in \
         its place",
        peer.endpoint
    ))
    .with_param("endpoint")
}

fn device_refused(alert: Alert, peer: &Peer<'_>, device: &Device) -> Error {
    let endpoint = peer.endpoint;
    let (from, to) = (iso8601(device.not_before()), iso8601(device.not_after()));
    let id = device.certificate_sha256();
    Error::connection(format!(
        "`{endpoint}` refused the device's certificate, of `{}` ({alert:?}): check that it is registered and active \
         (`aws iot describe-certificate --certificate-id {id}`), that its chain is whole, and that it is valid: from \
         {from} to {to}, and this machine's clock shows {}",
        device.certificate_subject(),
        iso8601(peer.now)
    ))
    .with_param("certificate")
    .unrecoverable()
}

/// RFC 8446, section 6.2: what a server says that does not accept a client's certificate.
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

fn system(time: UnixTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(time.as_secs())
}

fn instant(time: UnixTime) -> String {
    iso8601(system(time))
}
