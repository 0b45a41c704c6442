//! Sessions of the method `iot` whose key is in a PKCS#11 token, against the embedded credentials
//! provider.

use std::time::{Duration, SystemTime};

use brs::RefreshableSession;
use brs::iot::Params;
use brs::iot::pkcs11::Pkcs11;
use brs_core::{Clock, Error, SystemClock};
use brs_iot::Iot;
use brs_iot::SecretSource;
use brs_iot::pkcs11::hook::hung_after;
use brs_tests::EmbeddedAws;
use brs_tests::embedded_aws::Failure;
use brs_tests::embedded_iot::{EmbeddedIot, ServerCertificate, TlsVersions};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use crate::away::Door;
use crate::bench::{
    Bench, ForBrs as _, Kind, PIN, Token, alone, alone_with_a_tpm, alone_with_faults, run,
};
use crate::sharing::{descriptors, next_handle, threads, token_threads};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn provider(aws: &EmbeddedAws, versions: TlsVersions) -> EmbeddedIot {
    let iot = EmbeddedIot::builder(aws).tls(versions).start();
    iot.add_role_alias("demo", "arn:aws:iam::123456789012:role/demo", None);
    iot
}

fn params(iot: &EmbeddedIot, certificate: &str, pkcs11: Pkcs11) -> Params {
    params_of_the_token(iot, pkcs11).certificate(certificate)
}

/// The certificate is on the token.
fn params_of_the_token(iot: &EmbeddedIot, pkcs11: Pkcs11) -> Params {
    let params = Params::new(iot.endpoint(), "demo")
        .allow_any_endpoint(true)
        .trust_store(iot.trust_store());
    params.pkcs11(pkcs11)
}

async fn session(params: Params) -> RefreshableSession {
    RefreshableSession::builder("iot", params)
        .region("eu-west-1")
        .build()
        .await
        .unwrap()
}

/// Puts a chain on the token: the device's certificate has the key's id, the others none in
/// particular.
fn store(token: &Token, chain: &str) {
    for (place, certificate) in CertificateDer::pem_slice_iter(chain.as_bytes()).enumerate() {
        token.store(
            &certificate.unwrap(),
            "iot",
            if place == 0 { &[1] } else { &[9] },
        );
    }
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_session_signs_on_the_token_whatever_its_runtime() {
    let kinds = [Kind::Rsa(2048), Kind::P256];
    let keys: Vec<_> = kinds
        .iter()
        .flat_map(|kind| [(*kind, TlsVersions::Tls12), (*kind, TlsVersions::Tls13)])
        .collect();
    alone(|bench| signs_on_every_runtime(&bench, &keys));
}

#[test]
#[ignore = "needs a software TPM"]
fn a_session_signs_on_a_software_tpm_whatever_its_runtime() {
    // A TPM that nobody manages has room for one new key at a time.
    alone_with_a_tpm(|bench| signs_on_every_runtime(&bench, &[(Kind::P256, TlsVersions::Both)]));
}

#[test]
#[ignore = "needs a software TPM"]
fn a_session_signs_on_a_software_tpm_with_tls_1_2() {
    alone_with_a_tpm(|bench| signs_on_every_runtime(&bench, &[(Kind::P256, TlsVersions::Tls12)]));
}

#[test]
#[ignore = "needs a software TPM"]
fn a_session_signs_on_a_software_tpm_with_an_rsa_key() {
    alone_with_a_tpm(|bench| {
        signs_on_every_runtime(&bench, &[(Kind::Rsa(2048), TlsVersions::Both)])
    });
}

fn signs_on_every_runtime(bench: &Bench, keys: &[(Kind, TlsVersions)]) {
    let token = bench.token("device");
    let aws = EmbeddedAws::start();
    for &(kind, versions) in keys {
        let iot = provider(&aws, versions);
        let label = format!("{kind:?} {versions:?}");
        let certificate = iot.certify("lamp", &token.key(kind, &label, &[1]));
        run(async {
            let runtime = tokio::runtime::Handle::current();
            for runtime in [None, Some(runtime)] {
                let params = params(&iot, &certificate, token.pkcs11().key_label(&*label));
                let mut builder = RefreshableSession::builder("iot", params).region("eu-west-1");
                if let Some(runtime) = runtime {
                    builder = builder.runtime(runtime);
                }
                let session = builder.build().await.unwrap();
                for _ in 0..50 {
                    session.refresh().await.unwrap();
                }
            }
        });
        assert_eq!((iot.calls(), iot.full_handshakes()), (100, 2));
    }
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_wrong_pin_opens_no_session_and_is_not_shown() {
    alone(|bench| {
        let token = bench.token("device");
        let aws = EmbeddedAws::start();
        let iot = provider(&aws, TlsVersions::Both);
        let certificate = iot.certify("lamp", &token.key(Kind::P256, "iot", &[1]));
        run(async {
            for _ in 0..2 {
                let params = params(
                    &iot,
                    &certificate,
                    token.pkcs11().key_label("iot").pin("4711-hush"),
                );
                let error = RefreshableSession::builder("iot", params)
                    .region("eu-west-1")
                    .build()
                    .await
                    .unwrap_err();
                assert!(
                    error.is_unrecoverable() && error.to_string().contains("PIN"),
                    "{error}"
                );
                assert!(
                    !format!("{error:?}").contains("hush") && !format!("{error:?}").contains(PIN)
                );
            }
        });
        assert_eq!(iot.connections(), 0);
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_hung_token_is_told_as_one_on_every_runtime_and_costs_no_session() {
    alone_with_faults(|bench| {
        let token = bench.token("device");
        let aws = EmbeddedAws::start();
        let iot = provider(&aws, TlsVersions::Both);
        let certificate = iot.certify("lamp", &token.key(Kind::P256, "iot", &[1]));
        let multi_thread = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        hung_after(Duration::from_millis(100));
        run(async {
            for runtime in [
                tokio::runtime::Handle::current(),
                multi_thread.handle().clone(),
            ] {
                // The signature may take longer than the call: the call's limit is what ends it.
                let params = params(&iot, &certificate, token.pkcs11().key_label("iot"));
                let params = params.timeout(Duration::from_secs(2)).max_attempts(1);
                let builder = RefreshableSession::builder("iot", params)
                    .region("eu-west-1")
                    .runtime(runtime);
                let session = builder.build().await.unwrap();
                let door = Door::before_each_signature(&bench);
                let error = session.refresh().await.unwrap_err();
                assert!(
                    error.is_retryable() && error.to_string().contains("has not answered"),
                    "{error}"
                );
                door.open();
                while session.refresh().await.is_err() {}
                assert!(session.credentials().await.is_ok());
            }
        });
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_slow_signature_leaves_the_refreshs_runtime_to_the_others() {
    alone_with_faults(|bench| {
        let token = bench.token("device");
        let aws = EmbeddedAws::start();
        let iot = provider(&aws, TlsVersions::Both);
        let certificate = iot.certify("lamp", &token.key(Kind::P256, "iot", &[1]));
        // One worker: were it to stand still, nobody would open the door.
        let refreshing = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        run(async {
            let params = params(&iot, &certificate, token.pkcs11());
            let builder = RefreshableSession::builder("iot", params).region("eu-west-1");
            let session = builder
                .runtime(refreshing.handle().clone())
                .build()
                .await
                .unwrap();
            let door = Door::before_each_signature(&bench);
            refreshing.spawn(async move {
                tokio::time::timeout(Duration::from_millis(50), std::future::pending::<()>())
                    .await
                    .unwrap_err();
                door.open();
            });
            session.refresh().await.unwrap();
        });
        assert_eq!(iot.full_handshakes(), 1);
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_thousand_refreshes_leave_threads_descriptors_and_sessions_as_they_were() {
    alone(|bench| {
        let token = bench.token("device");
        let aws = EmbeddedAws::start();
        let iot = provider(&aws, TlsVersions::Both);
        let certificate = iot.certify("lamp", &token.key(Kind::P256, "iot", &[1]));
        run(async {
            let session = session(params(&iot, &certificate, token.pkcs11())).await;
            for _ in 0..20 {
                session.refresh().await.unwrap();
            }
            while token_threads() != 1 {
                tokio::task::yield_now().await;
            }
            let before = (threads(), descriptors().len(), next_handle(&bench, &token));
            let began = SystemClock::new().monotonic();
            for _ in 0..1000 {
                session.refresh().await.unwrap();
            }
            println!(
                "{:?} a refresh",
                (SystemClock::new().monotonic() - began) / 1000
            );
            let after = (
                threads(),
                descriptors().len(),
                next_handle(&bench, &token) - 1,
            );
            // Fewer threads are no leak: one that had looked up a name ends when it is idle.
            assert!(after.0.len() <= before.0.len(), "{before:?}, {after:?}");
            assert_eq!((after.1, after.2), (before.1, before.2));
            assert_eq!(
                (iot.calls(), iot.connections(), iot.full_handshakes()),
                (1020, 1, 1)
            );
            // A connection for each call, and each hundredth with a login and a signature.
            iot.set_keep_alive(false);
            let mut used = Vec::new();
            for _ in 0..10 {
                token.session.logout().unwrap();
                iot.set_certificate(ServerCertificate::Good);
                iot.close_connections();
                let before = next_handle(&bench, &token);
                for _ in 0..100 {
                    session.refresh().await.unwrap();
                }
                used.push(next_handle(&bench, &token) - before);
            }
            // The probe's own, the session's and the key's: opened again by each login, and by
            // nothing else.
            assert_eq!(used, [3; 10]);
            while descriptors().len() > before.1 {
                tokio::task::yield_now().await;
            }
            assert!(threads().len() <= before.0.len(), "{before:?}");
            assert_eq!(
                (
                    iot.connections(),
                    iot.full_handshakes(),
                    iot.resumed_handshakes()
                ),
                (1001, 11, 990)
            );
        });
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn two_sessions_with_keys_of_their_own_share_a_tokens_thread_and_login() {
    alone(|bench| {
        let token = bench.token("device");
        let aws = EmbeddedAws::start();
        let iot = provider(&aws, TlsVersions::Both);
        let device =
            |thing: &str, kind: Kind, id: u8| iot.certify(thing, &token.key(kind, thing, &[id]));
        let (lamp, door) = (
            device("lamp", Kind::P256, 1),
            device("door", Kind::Rsa(2048), 2),
        );
        run(async {
            let one = session(params(&iot, &lamp, token.pkcs11().key_label("lamp"))).await;
            let before = next_handle(&bench, &token);
            let two = session(params(&iot, &door, token.pkcs11().key_label("door"))).await;
            for session in [&one, &two] {
                session.refresh().await.unwrap();
            }
            while token_threads() != 1 {
                tokio::task::yield_now().await;
            }
            // One number is the second key's own.
            assert_eq!(next_handle(&bench, &token), before + 2);
            let ids = [&one, &two].map(|session| {
                session
                    .strategy::<Iot>()
                    .unwrap()
                    .device()
                    .certificate_sha256()
                    .to_owned()
            });
            assert_ne!(ids[0], ids[1]);
        });
        assert_eq!((iot.connections(), iot.full_handshakes()), (2, 2));
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_token_that_was_away_is_used_by_the_sessions_next_refresh() {
    alone(|bench| {
        let token = bench.token("device");
        let aws = EmbeddedAws::start();
        let iot = provider(&aws, TlsVersions::Both);
        let certificate = iot.certify("lamp", &token.key(Kind::P256, "iot", &[1]));
        let (here, away) = (bench.directory.join("tokens"), bench.directory.join("away"));
        let restart = || {
            bench.module.clone().finalize().unwrap();
            bench.initialize();
        };
        run(async {
            let session = session(params(&iot, &certificate, token.pkcs11()).max_attempts(1)).await;
            session.refresh().await.unwrap();
            std::fs::rename(&here, &away).unwrap();
            std::fs::create_dir(&here).unwrap();
            restart();
            // After a lost connection the next one needs a signature.
            iot.fail_next([Failure::DropConnection]);
            session.refresh().await.unwrap_err();
            let error = session.refresh().await.unwrap_err();
            assert!(
                error.is_retryable() && error.to_string().contains("plug it in again"),
                "{error}"
            );
            assert!(session.credentials().await.is_ok());
            std::fs::remove_dir(&here).unwrap();
            std::fs::rename(&away, &here).unwrap();
            restart();
            session.refresh().await.unwrap();
        });
        assert_eq!(iot.full_handshakes(), 2);
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_certificate_that_was_renewed_on_the_token_is_taken_at_the_next_refresh() {
    alone(|bench| {
        let token = bench.token("device");
        let aws = EmbeddedAws::start();
        let iot = provider(&aws, TlsVersions::Both);
        let key = token.key(Kind::P256, "iot", &[1]);
        let now = SystemClock::new().now();
        store(
            &token,
            &iot.certify_valid("lamp", &key, now - 350 * DAY..now + 10 * DAY),
        );
        run(async {
            let session = session(params_of_the_token(&iot, token.pkcs11())).await;
            let sha256 = || {
                session
                    .strategy::<Iot>()
                    .unwrap()
                    .device()
                    .certificate_sha256()
                    .to_owned()
            };
            let first = sha256();
            for _ in 0..3 {
                session.refresh().await.unwrap();
            }
            assert_eq!((sha256(), iot.full_handshakes()), (first.clone(), 1));
            // Another device's, with a key that is not on the token.
            let foreign = rcgen::KeyPair::generate().unwrap();
            store(&token, &iot.certify("lamp", &foreign));
            session.refresh().await.unwrap();
            assert_eq!((sha256(), iot.full_handshakes()), (first.clone(), 1));
            store(&token, &iot.certify("lamp", &key));
            session.refresh().await.unwrap();
            let renewed = sha256();
            session.refresh().await.unwrap();
            assert_ne!(renewed, first);
            assert_eq!((sha256(), iot.full_handshakes()), (renewed, 2));
        });
    });
}

/// The system's clock, a hundred days behind.
#[derive(Debug)]
struct Behind(SystemClock);

impl Clock for Behind {
    fn now(&self) -> SystemTime {
        self.0.now() - 100 * DAY
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn sleep(&self, duration: Duration) -> brs_core::Sleep {
        self.0.sleep(duration)
    }
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_renewed_certificate_on_the_token_is_chosen_by_the_endpoints_clock() {
    alone(|bench| {
        let token = bench.token("device");
        let aws = EmbeddedAws::start();
        let iot = provider(&aws, TlsVersions::Both);
        let key = token.key(Kind::P256, "iot", &[1]);
        let now = SystemClock::new().now();
        store(
            &token,
            &iot.certify_valid("lamp", &key, now - 350 * DAY..now + 10 * DAY),
        );
        run(async {
            let params = params_of_the_token(&iot, token.pkcs11());
            let builder = RefreshableSession::builder("iot", params).region("eu-west-1");
            let session = builder
                .clock(Behind(SystemClock::new()))
                .build()
                .await
                .unwrap();
            let sha256 = || {
                session
                    .strategy::<Iot>()
                    .unwrap()
                    .device()
                    .certificate_sha256()
                    .to_owned()
            };
            session.refresh().await.unwrap();
            let first = sha256();
            // By the device's clock it is far from its end, and the new one not valid yet.
            store(
                &token,
                &iot.certify_valid("lamp", &key, now - DAY..now + 365 * DAY),
            );
            session.refresh().await.unwrap();
            assert_ne!(sha256(), first);
        });
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn whoever_waits_for_a_person_within_a_refresh_goes_on_with_what_there_is() {
    alone(|bench| {
        let token = bench.token("device");
        let aws = EmbeddedAws::start();
        let iot = provider(&aws, TlsVersions::Both);
        let key = token.key(Kind::P256, "iot", &[1]);
        let file = bench.directory.join("certificate.pem");
        std::fs::write(&file, iot.certify("lamp", &key)).unwrap();
        // The person answers once.
        let (answer, answers) = std::sync::mpsc::channel();
        answer.send(()).unwrap();
        let answers = std::sync::Mutex::new(answers);
        let pin = SecretSource::blocking_function(move || {
            answers
                .lock()
                .unwrap()
                .recv()
                .map(|()| PIN)
                .map_err(|_| Error::connection("nobody is there"))
        });
        run(async {
            let pkcs11 = token
                .pkcs11()
                .pin(pin)
                .signature_timeout(Duration::from_secs(600));
            let params = params_of_the_token(&iot, pkcs11).certificate(file.as_path());
            let builder = RefreshableSession::builder("iot", params).region("eu-west-1");
            let session = builder
                .refresh_timeout(Duration::from_secs(6))
                .build()
                .await
                .unwrap();
            let sha256 = || {
                session
                    .strategy::<Iot>()
                    .unwrap()
                    .device()
                    .certificate_sha256()
                    .to_owned()
            };
            session.refresh().await.unwrap();
            let first = sha256();
            token.session.logout().unwrap();
            std::fs::write(&file, iot.certify("lamp", &key)).unwrap();
            session.refresh().await.unwrap();
            assert_eq!(sha256(), first);
            // One answer is for the question that nobody waits for any more.
            for _ in 0..2 {
                answer.send(()).unwrap();
            }
            session.refresh().await.unwrap();
            assert_ne!(sha256(), first);
        });
    });
}
