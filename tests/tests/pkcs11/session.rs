//! Sessions of the method `iot` whose key is in a PKCS#11 token, against the embedded credentials provider.

use std::time::Duration;

use brs::RefreshableSession;
use brs::iot::Params;
use brs::iot::pkcs11::Pkcs11;
use brs_iot::pkcs11::hook::hung_after;
use brs_tests::EmbeddedAws;
use brs_tests::embedded_iot::{EmbeddedIot, TlsVersions};

use crate::away::Door;
use crate::bench::{Bench, ForBrs as _, Kind, PIN, alone, alone_with_a_tpm, run};

fn provider(aws: &EmbeddedAws, versions: TlsVersions) -> EmbeddedIot {
    let iot = EmbeddedIot::builder(aws).tls(versions).start();
    iot.add_role_alias("demo", "arn:aws:iam::123456789012:role/demo", None);
    iot
}

fn params(iot: &EmbeddedIot, certificate: &str, pkcs11: Pkcs11) -> Params {
    let params = Params::new(iot.endpoint(), "demo").allow_any_endpoint(true).trust_store(iot.trust_store());
    params.certificate(certificate).pkcs11(pkcs11)
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_session_signs_on_the_token_whatever_its_runtime() {
    let keys = [(Kind::Rsa(2048), TlsVersions::Tls12), (Kind::P256, TlsVersions::Tls13)];
    alone(|bench| signs_on_every_runtime(&bench, &keys));
}

#[test]
#[ignore = "needs a software TPM"]
fn a_session_signs_on_a_software_tpm_whatever_its_runtime() {
    // A TPM that nobody manages has room for one new key at a time.
    alone_with_a_tpm(|bench| signs_on_every_runtime(&bench, &[(Kind::P256, TlsVersions::Both)]));
}

fn signs_on_every_runtime(bench: &Bench, keys: &[(Kind, TlsVersions)]) {
    let token = bench.token("device");
    let aws = EmbeddedAws::start();
    for &(kind, versions) in keys {
        let iot = provider(&aws, versions);
        let label = format!("{kind:?}");
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
                let params = params(&iot, &certificate, token.pkcs11().key_label("iot").pin("4711-hush"));
                let error = RefreshableSession::builder("iot", params).region("eu-west-1").build().await.unwrap_err();
                assert!(error.is_unrecoverable() && error.to_string().contains("PIN"), "{error}");
                assert!(!format!("{error:?}").contains("hush") && !format!("{error:?}").contains(PIN));
            }
        });
        assert_eq!(iot.connections(), 0);
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_hung_token_is_told_as_one_on_every_runtime_and_costs_no_session() {
    alone(|bench| {
        let token = bench.token("device");
        let aws = EmbeddedAws::start();
        let iot = provider(&aws, TlsVersions::Both);
        let certificate = iot.certify("lamp", &token.key(Kind::P256, "iot", &[1]));
        let multi_thread = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        hung_after(Duration::from_millis(100));
        run(async {
            for runtime in [tokio::runtime::Handle::current(), multi_thread.handle().clone()] {
                // The signature may take longer than the call: the call's limit is what ends it.
                let params = params(&iot, &certificate, token.pkcs11().key_label("iot"));
                let params = params.timeout(Duration::from_secs(2)).max_attempts(1);
                let builder = RefreshableSession::builder("iot", params).region("eu-west-1").runtime(runtime);
                let session = builder.build().await.unwrap();
                let door = Door::before_each_signature();
                let error = session.refresh().await.unwrap_err();
                assert!(error.is_retryable() && error.to_string().contains("has not answered"), "{error}");
                door.open();
                while session.refresh().await.is_err() {}
                assert!(session.credentials().await.is_ok());
            }
        });
    });
}
