//! A forked child of a process whose other threads are inside calls of a device's session: it waits
//! for none of them, and refreshes with what the parent had read.
//!
//! One process of its own, and one test: a fork copies the thread that forks, and what others hold
//! locked.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

use std::sync::atomic::{AtomicBool, Ordering};

use brs::iot::{DeviceIdentity, Iot, Params};
use brs::{Error, RefreshableSession};
use brs_tests::EmbeddedAws;
use brs_tests::embedded_iot::{EmbeddedIot, KeyKind};
use forking::{block_on, in_a_fork};

#[path = "../../brs-core/tests/forking/mod.rs"]
mod forking;

const FORKS: usize = 50;

fn identity(session: &RefreshableSession) -> DeviceIdentity {
    session.strategy::<Iot>().unwrap().device_identity()
}

/// What the parent's threads do meanwhile, each a call over and over.
fn calls() -> [fn(&RefreshableSession); 3] {
    [
        |session| drop(identity(session).device()),
        |session| identity(session).distrust(),
        |session| drop(block_on(session.refresh()).unwrap()),
    ]
}

fn every_call_is_answered(inherited: &RefreshableSession) -> Result<(), Error> {
    assert!(identity(inherited).device().certificate_sha256().len() > 32);
    identity(inherited).distrust();
    block_on(inherited.refresh()).map(drop)
}

#[test]
fn a_child_waits_for_no_lock_of_its_parents_devices() {
    let aws = EmbeddedAws::start();
    let iot = EmbeddedIot::builder(&aws).start();
    iot.add_role_alias("demo", "arn:aws:iam::123456789012:role/demo", None);
    let device = iot.add_device("lamp", KeyKind::EcP256);
    let params = Params::new(iot.endpoint(), "demo")
        .allow_any_endpoint(true)
        .trust_store(iot.trust_store())
        .certificate(device.certificate_pem.as_str())
        .private_key(device.private_key_pem.as_str());
    let session = RefreshableSession::builder("iot", params).region("eu-west-1");
    let session = block_on(session.build()).unwrap();
    every_call_is_answered(&session).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Ends the threads if a fork fails the test, too.
        let _over = Over(&is_over);
        for call in calls() {
            let (session, is_over) = (&session, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    call(session);
                }
            });
        }
        for number in 1..=FORKS {
            in_a_fork(&format!("child {number}"), || {
                every_call_is_answered(&session)
            });
        }
    });
    every_call_is_answered(&session).unwrap();
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
