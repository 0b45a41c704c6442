//! A device's certificate: whose it is, how long it is good, and the order of its chain.
//!
//! That the key fits was checked when the session was opened, which fails otherwise.

use std::sync::Arc;
use std::time::Duration;

use brs::iot::{Device, Iot};
use brs::kit::{clean, iso8601};
use brs::roles_anywhere::RolesAnywhere;
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode as _;

use super::report::Report;
use crate::open::Opened;

const DAY: Duration = Duration::from_secs(24 * 3600);

const CHECK: &str = "certificate";

pub(super) fn check(opened: &Opened, report: &mut Report) {
    let session = &opened.session;
    let of_iot = session.strategy::<Iot>().map(Iot::device);
    let device = of_iot.or_else(|| {
        session
            .strategy::<RolesAnywhere>()
            .map(RolesAnywhere::device)
    });
    if let Some(device) = device {
        of_device(&device, session.clock().now(), report);
    }
}

fn of_device(device: &Arc<Device>, now: std::time::SystemTime, report: &mut Report) {
    let names: Option<Vec<_>> = device.chain().iter().map(|der| Names::of(der)).collect();
    let Some([leaf, others @ ..]) = names.as_deref() else {
        return report.fail(
            CHECK,
            "it cannot be read",
            "give a certificate in PEM or DER",
        );
    };
    let text = format!(
        "subject `{}`, serial {}, issuer `{}`; the key fits",
        device.certificate_subject(),
        device.certificate_serial(),
        leaf.issuer
    );
    report.ok(CHECK, &text);

    let days = |time: Duration| time.as_secs() / DAY.as_secs();
    let (not_before, not_after) = (device.not_before(), device.not_after());
    match not_after.duration_since(now) {
        _ if now < not_before => {
            let text = format!("it is not valid before {}", iso8601(not_before));
            report.fail(
                "certificate validity",
                &text,
                "set the clock, or give a certificate that is valid",
            );
        }
        Ok(left) if device.is_near_its_end(now) => {
            let text = format!("{} days left, until {}", days(left), iso8601(not_after));
            report.warn(
                "certificate validity",
                &text,
                "renew the certificate, and replace its file",
            );
        }
        Ok(left) => {
            let text = format!("{} days left, until {}", days(left), iso8601(not_after));
            report.ok("certificate validity", &text);
        }
        Err(_) => {
            let text = format!("it has expired at {}", iso8601(not_after));
            report.fail(
                "certificate validity",
                &text,
                "renew the certificate, and replace its file",
            );
        }
    }

    match out_of_order(leaf, others) {
        Some(number) => report.warn(
            "certificate chain",
            &format!("certificate {number} did not issue the one before it"),
            "put the certificates in order: the device's own, its issuer, the issuer's issuer",
        ),
        None => report.ok(
            "certificate chain",
            &format!("{} in order", counted(others.len() + 1)),
        ),
    }
}

fn counted(certificates: usize) -> String {
    match certificates {
        1 => "1 certificate".to_owned(),
        number => format!("{number} certificates"),
    }
}

/// Who a certificate is of, and from.
#[derive(Debug, PartialEq)]
struct Names {
    subject: String,
    issuer: String,
}

impl Names {
    fn of(der: &[u8]) -> Option<Self> {
        let certificate = CertificateInner::<Raw>::from_der(der).ok()?;
        let certificate = certificate.tbs_certificate();
        Some(Self {
            subject: clean(&certificate.subject().to_string(), &[]),
            issuer: clean(&certificate.issuer().to_string(), &[]),
        })
    }
}

/// The number, from 1, of the first certificate that did not issue the one before it.
fn out_of_order(leaf: &Names, others: &[Names]) -> Option<usize> {
    let mut before = leaf;
    for (index, next) in others.iter().enumerate() {
        if before.issuer != next.subject {
            return Some(index + 2);
        }
        before = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_certificate_out_of_order_is_found() {
        let names = |subject: &str, issuer: &str| Names {
            subject: subject.to_owned(),
            issuer: issuer.to_owned(),
        };
        let (leaf, middle, root) = (names("l", "m"), names("m", "r"), || names("r", "r"));
        assert_eq!(out_of_order(&leaf, &[]), None);
        assert_eq!(out_of_order(&leaf, &[names("m", "r"), root()]), None);
        assert_eq!(out_of_order(&leaf, &[root(), middle]), Some(2));
        assert_eq!(out_of_order(&leaf, &[names("m", "x"), root()]), Some(3));
    }
}
