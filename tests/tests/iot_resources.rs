//! What a thousand refreshes leave behind: no file, no thread, no connection.
//!
//! In a binary of its own, since it counts what the whole process has.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

use std::fs;
use std::time::Duration;

use brs::RefreshableSession;
use brs::iot::Params;
use brs_tests::EmbeddedAws;
use brs_tests::embedded_iot::{EmbeddedIot, KeyKind};

fn count(what: &str) -> usize {
    fs::read_dir(format!("/proc/self/{what}")).unwrap().count()
}

/// The count, once threads that are about to end have ended.
async fn settled(what: &str, at_most: usize) -> usize {
    for _ in 0..1000 {
        if count(what) <= at_most {
            break;
        }
        tokio::time::timeout(Duration::from_millis(5), std::future::pending::<()>())
            .await
            .unwrap_err();
    }
    count(what)
}

#[tokio::test]
async fn files_and_threads_are_flat_over_a_thousand_refreshes() {
    let aws = EmbeddedAws::start();
    let iot = EmbeddedIot::start(&aws);
    iot.add_role_alias("demo", "arn:aws:iam::123456789012:role/demo", None);
    let device = iot.add_device("lamp", KeyKind::EcP256);
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("certificate"), &device.certificate_pem).unwrap();
    fs::write(path("key"), &device.private_key_pem).unwrap();
    fs::write(path("roots"), iot.trust_store()).unwrap();
    let params = Params::new(iot.endpoint(), "demo")
        .allow_any_endpoint(true)
        .trust_store(path("roots"))
        .certificate(path("certificate"))
        .private_key(path("key"));
    let session = RefreshableSession::builder("iot", params)
        .region("eu-west-1")
        .build()
        .await
        .unwrap();
    for _ in 0..20 {
        session.refresh().await.unwrap();
    }
    let (files, threads) = (count("fd"), count("task"));
    for _ in 0..1000 {
        session.refresh().await.unwrap();
    }
    // A connection that was renewed is closed a moment later at the other side.
    assert!(
        settled("fd", files).await <= files,
        "files: {files}, then {}",
        count("fd")
    );
    assert!(
        settled("task", threads).await <= threads,
        "threads: {threads}, then {}",
        count("task")
    );
    assert_eq!((iot.connections(), iot.full_handshakes()), (1, 1));
    // A connection for each call.
    iot.set_keep_alive(false);
    for _ in 0..1000 {
        session.refresh().await.unwrap();
    }
    assert!(
        settled("fd", files).await <= files,
        "files: {files}, then {}",
        count("fd")
    );
    assert!(
        settled("task", threads).await <= threads,
        "threads: {threads}, then {}",
        count("task")
    );
    assert_eq!(
        (
            iot.connections(),
            iot.full_handshakes(),
            iot.resumed_handshakes()
        ),
        (1000, 1, 999)
    );
}
