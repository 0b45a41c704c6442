//! Tokens that go away and come back, take long, or never answer.

use std::path::PathBuf;
use std::time::Duration;

use brs_core::Error;
use brs_core::kit::find;
use brs_iot::pkcs11::Opened;
use brs_iot::pkcs11::hook::hung_after;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{Error as TlsError, OtherError, SignatureScheme};

use crate::bench::{Authority, Bench, ForBrs as _, Kind, Token, alone, alone_with_faults, run};

fn device(bench: &Bench, authority: &Authority) -> (Token, CertificateDer<'static>) {
    let token = bench.token("device");
    let certificate = authority.certify(&token.key(Kind::P256, "iot", &[1]));
    (token, certificate)
}

fn sign(opened: &Opened) -> Result<Vec<u8>, String> {
    let signer = opened
        .key
        .choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256])
        .unwrap();
    signer.sign(b"message").map_err(|error| error.to_string())
}

/// A door before every signature of a module with faults.
pub(crate) struct Door(PathBuf);

impl Door {
    pub(crate) fn before_each_signature(bench: &Bench) -> Self {
        let closed = bench.directory.join("closed");
        std::fs::write(&closed, "").unwrap();
        Self(closed)
    }

    pub(crate) fn open(&self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_module_that_another_finalised_is_started_again() {
    alone(|bench| {
        let authority = Authority::new();
        let (token, certificate) = device(&bench, &authority);
        let opened = run(token.pkcs11().open(Some(vec![certificate]))).unwrap();
        sign(&opened).unwrap();
        bench.module.clone().finalize().unwrap();
        sign(&opened).unwrap();
        // Finalised, started and used by another: the old handles may be that one's by now.
        bench.module.clone().finalize().unwrap();
        bench.initialize();
        let slot = bench.module.get_slots_with_initialized_token().unwrap()[0];
        let _sessions: Vec<_> = (0..3)
            .map(|_| bench.module.open_ro_session(slot).unwrap())
            .collect();
        sign(&opened).unwrap();
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_token_that_was_away_works_again() {
    alone(|bench| {
        let authority = Authority::new();
        let (token, certificate) = device(&bench, &authority);
        let pkcs11 = token.pkcs11();
        let opened = run(pkcs11.open(Some(vec![certificate.clone()]))).unwrap();
        sign(&opened).unwrap();
        let (here, away) = (bench.directory.join("tokens"), bench.directory.join("away"));
        // SoftHSM2 looks at its directory only when it starts.
        let restart = || {
            bench.module.clone().finalize().unwrap();
            bench.initialize();
        };
        std::fs::rename(&here, &away).unwrap();
        std::fs::create_dir(&here).unwrap();
        restart();
        let error = sign(&opened).unwrap_err();
        assert!(
            error.contains("token `device`") && error.contains("plug it in again"),
            "{error}"
        );
        let error = run(pkcs11.open(Some(vec![certificate.clone()]))).unwrap_err();
        assert!(
            error.is_retryable() && error.to_string().contains("plug it in"),
            "{error}"
        );

        std::fs::remove_dir(&here).unwrap();
        std::fs::rename(&away, &here).unwrap();
        restart();
        sign(&opened).unwrap();
        run(pkcs11.open(Some(vec![certificate]))).unwrap();
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_key_that_was_replaced_is_noticed_before_the_server_does() {
    alone(|bench| {
        let authority = Authority::new();
        let (token, certificate) = device(&bench, &authority);
        let opened = run(token.pkcs11().open(Some(vec![certificate]))).unwrap();
        for object in token.session.find_objects(&[]).unwrap() {
            token.session.destroy_object(object).unwrap();
        }
        assert!(sign(&opened).unwrap_err().contains("has no private key"));
        token.key(Kind::P256, "iot", &[1]);
        let error = sign(&opened).unwrap_err();
        assert!(error.contains("does not match the certificate"), "{error}");
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_signature_that_never_ends_costs_a_clean_error() {
    alone_with_faults(|bench| {
        let authority = Authority::new();
        let (token, certificate) = device(&bench, &authority);
        let pkcs11 = token.pkcs11().signature_timeout(Duration::from_millis(300));
        let opened = run(pkcs11.open(Some(vec![certificate.clone()]))).unwrap();
        hung_after(Duration::from_millis(600));
        let door = Door::before_each_signature(&bench);
        let error = run(authority.handshake(&opened, &TLS13)).unwrap_err();
        // What the token said came through TLS as it was.
        let Some(TlsError::Other(OtherError(said))) = find::<TlsError>(&error) else {
            panic!("{error:?}")
        };
        let error = said.downcast_ref::<Error>().unwrap();
        assert!(
            error.is_retryable() && error.to_string().contains("has not answered within 300ms"),
            "{error}"
        );
        // Once it hangs, at once, for this session and for one that opens the token now.
        while !sign(&opened).unwrap_err().contains("still running") {}
        let patient = token.pkcs11().signature_timeout(Duration::from_secs(600));
        let error = run(patient.open(Some(vec![certificate]))).unwrap_err();
        assert!(error.to_string().contains("still running"), "{error}");
        door.open();
        while sign(&opened).is_err() {
            std::thread::yield_now();
        }
        run(authority.handshake(&opened, &TLS13)).unwrap();
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn signatures_work_on_every_kind_of_runtime() {
    alone(|bench| {
        let authority = Authority::new();
        let (token, certificate) = device(&bench, &authority);
        let opened = run(token.pkcs11().open(Some(vec![certificate]))).unwrap();
        run(authority.handshake(&opened, &TLS13)).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime
            .block_on(authority.handshake(&opened, &TLS13))
            .unwrap();
        // Where tokio does not allow to block.
        let local = tokio::task::LocalSet::new();
        local
            .block_on(&runtime, authority.handshake(&opened, &TLS13))
            .unwrap();
        sign(&opened).unwrap();
    });
}
