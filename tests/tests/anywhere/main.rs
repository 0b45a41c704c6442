//! Sessions of the method `roles-anywhere` against the embedded IAM Roles Anywhere: real TLS, real
//! certificates, real signatures.
//!
//! `keys` is every kind of key, with and without a chain, `refusals` AWS's no, `clocks` clocks that
//! are wrong, `recovery` what becomes of a session over expiries and outages, `rotation` files that
//! change, `settings` what a session takes from elsewhere, `contract` the contract of strategies,
//! `endurance` a thousand refreshes, `python` the Python package as an independent client. Keys on
//! tokens are in `pkcs11`. This file owns what they share.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

mod clocks;
mod contract;
#[cfg(target_os = "linux")]
mod endurance;
mod keys;
mod python;
mod recovery;
mod refusals;
mod rotation;
mod settings;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use brs::roles_anywhere::Params;
use brs::{Clock, Error, RefreshableSession, SessionBuilder};
use brs_core::test_util::ManualClock;
use brs_tests::embedded_iot::{Device, EmbeddedIot, KeyKind};
use brs_tests::{EmbeddedAnywhere, EmbeddedAws};

const ROLE: &str = "arn:aws:iam::123456789012:role/backup";
const SERVER: &str = "backup-7";
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_900_000_000)
}

/// A manual clock on which the waits between tries take no time; a time limit comes when the test
/// says so.
#[derive(Clone, Debug)]
struct Brisk(ManualClock);

/// No wait between tries is longer; no time limit here is shorter.
const LONGEST_WAIT: Duration = Duration::from_secs(4);

impl Clock for Brisk {
    fn now(&self) -> SystemTime {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn sleep(&self, duration: Duration) -> brs_core::Sleep {
        if duration > LONGEST_WAIT {
            return self.0.sleep(duration);
        }
        self.0.advance(duration);
        Box::pin(std::future::ready(()))
    }
}

/// The service, a certificate that its trust anchor knows, and the clock of both.
struct Bench {
    anywhere: EmbeddedAnywhere,
    iot: EmbeddedIot,
    device: Device,
    clock: ManualClock,
    aws: EmbeddedAws,
}

impl Bench {
    fn new() -> Self {
        let clock = ManualClock::new(start());
        let server_clock = clock.clone();
        let aws = EmbeddedAws::builder()
            .clock(move || server_clock.now())
            .start();
        let iot = EmbeddedIot::start(&aws);
        let anywhere = EmbeddedAnywhere::start(&aws, &iot);
        anywhere.add_role(ROLE);
        let device = iot.add_device(SERVER, KeyKind::EcP256);
        Self {
            anywhere,
            iot,
            device,
            clock,
            aws,
        }
    }

    fn params(&self) -> Params {
        self.params_of(&self.device.certificate_pem, &self.device)
    }

    fn params_of(&self, certificate: &str, device: &Device) -> Params {
        self.bare()
            .certificate(certificate)
            .private_key(device.private_key_pem.as_str())
    }

    /// Without certificate and key.
    fn bare(&self) -> Params {
        self.bare_by(self.anywhere.trust_anchor_arn())
    }

    fn bare_by(&self, trust_anchor_arn: &str) -> Params {
        Params::new(trust_anchor_arn, self.anywhere.profile_arn(), ROLE)
            .endpoint_url(self.anywhere.endpoint())
            .trust_store(self.iot.trust_store())
    }

    fn builder(&self, params: Params) -> SessionBuilder {
        RefreshableSession::builder("roles-anywhere", params).clock(Brisk(self.clock.clone()))
    }

    async fn session(&self, params: Params) -> RefreshableSession {
        self.builder(params).build().await.unwrap()
    }

    /// The error of a first refresh.
    async fn fails(&self, params: Params) -> Error {
        let error = self.session(params).await.refresh().await.unwrap_err();
        assert_eq!(error.method(), Some("roles-anywhere"));
        error
    }
}

/// An error and all its sources, as a program may print them.
fn show(error: &Error) -> String {
    let mut shown = format!("{error} {error:?}");
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        shown.push_str(&format!(" {error} {error:?}"));
        source = error.source();
    }
    shown
}
