//! A PIN is tried once; what the token refused is not tried again, by anyone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use brs_core::Error;
use brs_iot::pkcs11::{Opened, Pin, Pkcs11};
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::bench::{Authority, Bench, ForBrs as _, Kind, PIN, Token, alone, run, secret};

/// A token with a key, and a session from outside brs in which nobody is logged in.
fn device(bench: &Bench) -> (Token, CertificateDer<'static>) {
    let token = bench.token("device");
    let certificate = Authority::new().certify(&token.key(Kind::P256, "iot", &[1]));
    token.session.logout().unwrap();
    (token, certificate)
}

fn sign(opened: &Opened) {
    let schemes = [tokio_rustls::rustls::SignatureScheme::ECDSA_NISTP256_SHA256];
    opened.key.choose_scheme(&schemes).unwrap().sign(b"message").unwrap();
}

fn open(pkcs11: &Pkcs11, certificate: &CertificateDer<'static>) -> Result<(), Error> {
    run(pkcs11.open(Some(vec![certificate.clone()]))).map(drop)
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_refused_pin_is_never_tried_again_whatever_is_accepted_meanwhile() {
    alone(|bench| {
        let (token, certificate) = device(&bench);
        let wrong = token.pkcs11().pin("wrong-1");
        let error = open(&wrong, &certificate).unwrap_err();
        assert!(error.is_unrecoverable() && error.to_string().contains("refused the PIN"), "{error}");
        assert_eq!((error.code(), error.param()), (Some("CKR_PIN_INCORRECT"), Some("pin")));

        // The refused PIN becomes the right one: whoever tried it again would get in.
        let change = |from: &str, to: &str| token.session.set_pin(&secret(from), &secret(to)).unwrap();
        change(PIN, "wrong-1");
        let by_number = Pkcs11::new(&bench.path).slot_id(token.slot.id()).pin(Pin::function(|| Ok("wrong-1".into())));
        for again in [&wrong, &by_number] {
            let error = open(again, &certificate).unwrap_err();
            assert!(error.is_unrecoverable() && error.to_string().contains("refused this PIN before"), "{error}");
            let shown = format!("{error} {error:?} {again:?}");
            assert!(!shown.contains("wrong-1"), "{shown}");
        }

        // Two wrong ones do not make each other forgotten.
        assert!(open(&token.pkcs11().pin("wrong-2"), &certificate).unwrap_err().code().is_some());
        assert!(open(&wrong, &certificate).unwrap_err().code().is_none());

        change("wrong-1", PIN);
        open(&token.pkcs11(), &certificate).unwrap();
        token.session.logout().unwrap();
        change(PIN, "wrong-1");
        let error = open(&wrong, &certificate).unwrap_err();
        assert!(error.to_string().contains("refused this PIN before"), "{error}");
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_session_needs_the_pin_that_another_is_logged_in_with() {
    alone(|bench| {
        let (token, certificate) = device(&bench);
        let first = run(token.pkcs11().open(Some(vec![certificate.clone()]))).unwrap();
        let error = open(&token.pkcs11().pin("another"), &certificate).unwrap_err();
        assert!(error.is_retryable() && error.to_string().contains("was not tried"), "{error}");
        // After that, it is the first session still that is in use.
        sign(&first);
        assert!(run(token.pkcs11().key_label("none").open(Some(vec![certificate.clone()]))).is_err());
        sign(&first);
        // A changed PIN works once the old login is gone.
        token.session.set_pin(&secret(PIN), &secret("changed")).unwrap();
        token.session.logout().unwrap();
        open(&token.pkcs11().pin("changed"), &certificate).unwrap();
        sign(&first);
        token.session.set_pin(&secret("changed"), &secret(PIN)).unwrap();
        token.session.logout().unwrap();
        open(&token.pkcs11(), &certificate).unwrap();
        let error = open(&Pkcs11::new(&bench.path), &certificate).unwrap_err();
        assert!(error.to_string().contains("needs a PIN"), "{error}");
        open(&token.pkcs11(), &certificate).unwrap();
        drop(first);
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_token_with_login_and_no_pin_says_so() {
    alone(|bench| {
        let (_token, certificate) = device(&bench);
        let error = open(&Pkcs11::new(&bench.path), &certificate).unwrap_err();
        assert!(error.is_unrecoverable() && error.to_string().contains("needs a PIN"), "{error}");
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn the_pin_is_fetched_at_each_login_and_not_for_each_signature() {
    alone(|bench| {
        let (token, certificate) = device(&bench);
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let pin = Pin::function(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(PIN.into())
        });
        let opened = run(token.pkcs11().pin(pin).open(Some(vec![certificate]))).unwrap();
        let schemes = [tokio_rustls::rustls::SignatureScheme::ECDSA_NISTP256_SHA256];
        for _ in 0..10 {
            opened.key.choose_scheme(&schemes).unwrap().sign(b"message").unwrap();
        }
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        token.session.logout().unwrap();
        opened.key.choose_scheme(&schemes).unwrap().sign(b"message").unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    });
}
