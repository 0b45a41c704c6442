//! Sessions of the method `iot` against the embedded credentials provider: real TLS, real
//! certificates, real files.
//!
//! `refusals` is AWS's no, `answers` what cannot be read, `trust` what TLS says, `retries` further
//! tries and time limits, `connection` what is kept between refreshes and the way through a proxy,
//! `rotation` files that change, `files` what is given in place of the right file, `partitions`
//! whose endpoints are known, `passphrases` keys that are encrypted, `surroundings` the process's
//! environment and folders, `recovery` what becomes of a session meanwhile and afterwards, `clocks`
//! clocks that are wrong, `identity` who the device is and what is shown of it, `contract` the
//! contract of strategies. This file owns what they share.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

mod answers;
mod clocks;
mod connection;
mod contract;
mod files;
mod identity;
mod nginx;
mod parity;
mod partitions;
mod passphrases;
mod recovery;
mod refusals;
mod retries;
mod rotation;
mod surroundings;
mod trust;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use brs::iot::Params;
use brs::{Clock, Error, RefreshableSession, SessionBuilder};
use brs_core::test_util::ManualClock;
use brs_tests::EmbeddedAws;
use brs_tests::embedded_iot::{Builder, Device, EmbeddedIot, KeyKind};

const ROLE: &str = "arn:aws:iam::123456789012:role/demo";
const ALIAS: &str = "demo";
const THING: &str = "lamp";
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

/// A provider, a device that it knows, and the clock of both.
struct Bench {
    iot: EmbeddedIot,
    device: Device,
    clock: ManualClock,
    aws: EmbeddedAws,
}

impl Bench {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn with(settings: impl FnOnce(Builder<'_>) -> Builder<'_>) -> Self {
        let clock = ManualClock::new(start());
        let server_clock = clock.clone();
        let aws = EmbeddedAws::builder()
            .clock(move || server_clock.now())
            .start();
        let iot = settings(EmbeddedIot::builder(&aws)).start();
        iot.add_role_alias(ALIAS, ROLE, None);
        let device = iot.add_device(THING, KeyKind::EcP256);
        Self {
            iot,
            device,
            clock,
            aws,
        }
    }

    fn params(&self) -> Params {
        self.params_of(&self.device)
    }

    fn params_of(&self, device: &Device) -> Params {
        self.params_at(&self.iot.endpoint(), ALIAS, device)
    }

    fn params_at(&self, endpoint: &str, role_alias: &str, device: &Device) -> Params {
        Params::new(endpoint, role_alias)
            .allow_any_endpoint(true)
            .trust_store(self.iot.trust_store())
            .certificate(device.certificate_pem.as_str())
            .private_key(device.private_key_pem.as_str())
    }

    fn builder(&self, params: Params) -> SessionBuilder {
        RefreshableSession::builder("iot", params)
            .clock(Brisk(self.clock.clone()))
            .region("eu-west-1")
    }

    async fn session(&self) -> RefreshableSession {
        self.builder(self.params()).build().await.unwrap()
    }

    /// The error of a first refresh.
    async fn fails(&self, params: Params) -> Error {
        let session = self.builder(params).build().await.unwrap();
        let error = session.refresh().await.unwrap_err();
        assert_eq!(error.method(), Some("iot"));
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
