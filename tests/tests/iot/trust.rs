//! What TLS says: four things that may be wrong, told apart at once, and what may be switched off.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use brs::ErrorKind;
use brs_tests::embedded_iot::{ServerCertificate, TlsVersions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// The error of a first refresh: after one handshake, without a time limit having passed.
async fn at_once(bench: &Bench, params: Params) -> Error {
    let connections = bench.iot.connections();
    let error = bench.fails(params).await;
    assert_eq!(bench.iot.connections(), connections + 1, "{error}");
    assert_eq!(bench.clock.now(), start(), "no time passes: {error}");
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
    error
}

#[tokio::test]
async fn both_versions_and_every_kind_of_key_work() {
    for versions in [TlsVersions::Tls12, TlsVersions::Tls13] {
        let bench = Bench::with(|builder| builder.tls(versions));
        for kind in [KeyKind::Rsa2048, KeyKind::EcP256, KeyKind::EcP384] {
            let device = bench.iot.add_device(THING, kind);
            bench
                .builder(bench.params_of(&device))
                .build()
                .await
                .unwrap()
                .credentials()
                .await
                .unwrap();
            let version = if versions == TlsVersions::Tls12 {
                "TLSv1.2"
            } else {
                "TLSv1.3"
            };
            assert_eq!(
                bench.iot.requests().pop().unwrap().tls_version.as_deref(),
                Some(version)
            );
        }
    }
}

#[tokio::test]
async fn a_wrong_trust_store_is_pointed_at() {
    let bench = Bench::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("roots.pem");
    std::fs::write(&path, bench.iot.device_trust_store()).unwrap();
    let error = at_once(&bench, bench.params().trust_store(path.as_path())).await;
    let shown = error.to_string();
    assert!(
        shown.contains("was not issued by an authority in the trust store")
            && shown.contains("roots.pem"),
        "{shown}"
    );
    assert_eq!(error.param(), Some("trust_store"));
    assert!(!error.is_unrecoverable());
}

#[tokio::test]
async fn verdicts_on_the_endpoint_are_not_tried_again_soon_and_may_pass() {
    for certificate in [
        ServerCertificate::Untrusted,
        ServerCertificate::Expired,
        ServerCertificate::NotYetValid,
        ServerCertificate::WrongHost,
    ] {
        let bench = Bench::with(|builder| builder.certificate(certificate));
        let session = bench.session().await;
        let error = session.refresh().await.unwrap_err();
        assert!(
            !error.is_retryable() && !error.is_unrecoverable(),
            "{error:?}"
        );
        bench.iot.set_certificate(ServerCertificate::Good);
        session.refresh().await.unwrap();
    }
}

#[tokio::test]
async fn an_authority_that_the_system_does_not_know_is_told() {
    let bench = Bench::new();
    let device = &bench.device;
    let params = Params::new(bench.iot.endpoint(), ALIAS).allow_any_endpoint(true);
    let params = params
        .certificate(device.certificate_pem.as_str())
        .private_key(device.private_key_pem.as_str());
    let error = at_once(&bench, params).await;
    assert!(
        error
            .to_string()
            .contains("an authority that this system trusts"),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("give the authority in `trust_store`"),
        "{error}"
    );
}

#[tokio::test]
async fn a_certificate_that_has_ended_or_not_begun_tells_the_time() {
    for (certificate, problem) in [
        (ServerCertificate::Expired, "has expired"),
        (ServerCertificate::NotYetValid, "is not valid yet"),
    ] {
        let bench = Bench::with(|builder| builder.certificate(certificate));
        let error = at_once(&bench, bench.params()).await;
        assert!(
            error.to_string().contains(problem) && error.to_string().contains("set the clock"),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .contains("clock shows 2030-03-17T17:46:40Z"),
            "{error}"
        );
        assert_eq!(error.details()["local_time"], "2030-03-17T17:46:40Z");
    }
}

#[tokio::test]
async fn another_hosts_certificate_tells_whose_it_is() {
    let bench = Bench::with(|builder| builder.certificate(ServerCertificate::WrongHost));
    let error = at_once(&bench, bench.params()).await;
    assert!(
        error.to_string().contains("is for other host names")
            && error.to_string().contains("elsewhere.example"),
        "{error}"
    );
    assert_eq!(error.param(), Some("endpoint"));
}

#[tokio::test]
async fn a_device_that_the_server_does_not_accept_is_told_so() {
    for versions in [TlsVersions::Tls12, TlsVersions::Tls13] {
        let bench = Bench::with(|builder| builder.tls(versions));
        let other = EmbeddedIot::start(&bench.aws);
        let stranger = other.add_device("stranger", KeyKind::EcP256);
        let error = at_once(&bench, bench.params_of(&stranger)).await;
        let shown = error.to_string();
        assert!(
            shown.contains("refused the device's certificate")
                && shown.contains(&stranger.certificate_id),
            "{shown}"
        );
        assert!(
            error.is_unrecoverable() && error.param() == Some("certificate"),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn what_speaks_no_tls_is_told_so() {
    let bench = Bench::new();
    let error = bench
        .fails(bench.params_at(&bench.iot.back_door().to_string(), ALIAS, &bench.device))
        .await;
    assert!(error.to_string().contains("TLS with `127.0.0.1"), "{error}");
}

/// What answers every greeting with this alert; and how many greetings there were.
async fn alerting(alert: u8) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("localhost:{}", listener.local_addr().unwrap().port());
    let greetings = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&greetings);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let mut head = [0; 5];
            client.read_exact(&mut head).await.unwrap();
            client
                .read_exact(&mut vec![
                    0;
                    usize::from(u16::from_be_bytes([head[3], head[4]]))
                ])
                .await
                .unwrap();
            client.write_all(&[21, 3, 3, 0, 2, 2, alert]).await.unwrap();
        }
    });
    (endpoint, greetings)
}

#[tokio::test]
async fn alerts_are_told_by_what_they_are_about_and_only_passing_ones_are_tried_again() {
    let bench = Bench::new();
    let id = bench.device.certificate_id.as_str();
    for (alert, tries, texts) in [
        // InternalError and UserCanceled.
        (80, 3, ["TLS with `localhost", "failed"]),
        (90, 3, ["TLS with `localhost", "failed"]),
        // ProtocolVersion.
        (70, 1, ["TLS with `localhost", "speaks TLS 1.2 or 1.3"]),
        // UnrecognisedName.
        (112, 1, ["serves other host names", "check `endpoint`"]),
        // HandshakeFailure and DecryptError.
        (40, 1, ["accepts the device's certificate", id]),
        (51, 1, ["accepts the device's certificate", id]),
        // UnknownCA.
        (48, 1, ["refused the device's certificate", id]),
    ] {
        let (endpoint, greetings) = alerting(alert).await;
        let error = bench
            .fails(bench.params_at(&endpoint, ALIAS, &bench.device))
            .await;
        let shown = error.to_string();
        assert!(
            texts.iter().all(|text| shown.contains(text)),
            "{alert}: {shown}"
        );
        assert_eq!(greetings.load(Ordering::SeqCst), tries, "{alert}: {shown}");
        assert_eq!(error.is_retryable(), tries > 1, "{alert}: {shown}");
    }
}

#[tokio::test]
async fn an_address_is_an_endpoint_too() {
    let bench = Bench::new();
    let endpoint = bench.iot.endpoint().replace("localhost", "127.0.0.1");
    bench
        .builder(bench.params_at(&endpoint, ALIAS, &bench.device))
        .build()
        .await
        .unwrap()
        .credentials()
        .await
        .unwrap();
}

#[tokio::test]
async fn only_the_dangerous_name_switches_verification_off() {
    let bench = Bench::with(|builder| builder.certificate(ServerCertificate::Untrusted));
    assert!(
        at_once(&bench, bench.params())
            .await
            .to_string()
            .contains("was not issued by an authority")
    );
    let device = &bench.device;
    let data = serde_json::json!({
        "endpoint": bench.iot.endpoint(), "role_alias": ALIAS, "allow_any_endpoint": true,
        "certificate": device.certificate_pem, "private_key": device.private_key_pem,
        "verify_peer": false, "danger_accept_invalid_certificates": true,
    });
    let params: Params = brs::Params::data(data).unwrap().take().unwrap();
    bench
        .builder(params)
        .build()
        .await
        .unwrap()
        .credentials()
        .await
        .unwrap();
}
