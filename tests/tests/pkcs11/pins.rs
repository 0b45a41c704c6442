//! A PIN is tried once; what the token refused is not tried again, by anyone.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use brs_core::Error;
use brs_iot::SecretSource;
use brs_iot::pkcs11::{Opened, Pkcs11};
use cryptoki::object::Attribute;
use futures_util::future::join_all;
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::bench::{
    Authority, Bench, ForBrs as _, Kind, PIN, PIN_VARIABLE, Token, alone, run, secret,
};

/// A token with a key.
fn device(bench: &Bench) -> (Token, CertificateDer<'static>) {
    let token = bench.token("device");
    let certificate = Authority::new().certify(&token.key(Kind::P256, "iot", &[1]));
    (token, certificate)
}

fn sign(opened: &Opened) {
    let schemes = [tokio_rustls::rustls::SignatureScheme::ECDSA_NISTP256_SHA256];
    opened
        .key
        .choose_scheme(&schemes)
        .unwrap()
        .sign(b"message")
        .unwrap();
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
        assert!(
            error.is_unrecoverable() && error.to_string().contains("refused the PIN"),
            "{error}"
        );
        assert_eq!(
            (error.code(), error.param()),
            (Some("CKR_PIN_INCORRECT"), Some("pin"))
        );

        // The refused PIN becomes the right one: a second try would get in.
        let change =
            |from: &str, to: &str| token.session.set_pin(&secret(from), &secret(to)).unwrap();
        change(PIN, "wrong-1");
        let by_number =
            Pkcs11::new(&bench.path)
                .slot_id(token.slot.id())
                .pin(SecretSource::blocking_function(|| {
                    Ok::<_, brs_core::Error>("wrong-1")
                }));
        for again in [&wrong, &by_number] {
            let error = open(again, &certificate).unwrap_err();
            assert!(
                error.is_unrecoverable() && error.to_string().contains("refused this PIN before"),
                "{error}"
            );
            let shown = format!("{error} {error:?} {again:?}");
            assert!(!shown.contains("wrong-1"), "{shown}");
        }

        // Two wrong ones do not make each other forgotten.
        assert!(
            open(&token.pkcs11().pin("wrong-2"), &certificate)
                .unwrap_err()
                .code()
                .is_some()
        );
        assert!(open(&wrong, &certificate).unwrap_err().code().is_none());

        change("wrong-1", PIN);
        open(&token.pkcs11(), &certificate).unwrap();
        token.session.logout().unwrap();
        change(PIN, "wrong-1");
        let error = open(&wrong, &certificate).unwrap_err();
        assert!(
            error.to_string().contains("refused this PIN before"),
            "{error}"
        );
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_session_needs_the_pin_that_another_is_logged_in_with() {
    alone(|bench| {
        let (token, certificate) = device(&bench);
        let first = run(token.pkcs11().open(Some(vec![certificate.clone()]))).unwrap();
        let error = open(&token.pkcs11().pin("another"), &certificate).unwrap_err();
        assert!(
            error.is_retryable() && error.to_string().contains("was not tried"),
            "{error}"
        );
        // After that, it is the first session still that is in use.
        sign(&first);
        assert!(
            run(token
                .pkcs11()
                .key_label("none")
                .open(Some(vec![certificate.clone()])))
            .is_err()
        );
        sign(&first);
        // A changed PIN works once the old login is gone.
        token
            .session
            .set_pin(&secret(PIN), &secret("changed"))
            .unwrap();
        token.session.logout().unwrap();
        open(&token.pkcs11().pin("changed"), &certificate).unwrap();
        sign(&first);
        token
            .session
            .set_pin(&secret("changed"), &secret(PIN))
            .unwrap();
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
        assert!(
            error.is_unrecoverable() && error.to_string().contains("needs a PIN"),
            "{error}"
        );
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn the_pin_is_fetched_at_each_login_and_not_for_each_signature() {
    alone(|bench| {
        let (token, certificate) = device(&bench);
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let pin = SecretSource::blocking_function(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok::<_, brs_core::Error>(PIN)
        });
        let opened = run(token.pkcs11().pin(pin).open(Some(vec![certificate]))).unwrap();
        let schemes = [tokio_rustls::rustls::SignatureScheme::ECDSA_NISTP256_SHA256];
        for _ in 0..10 {
            opened
                .key
                .choose_scheme(&schemes)
                .unwrap()
                .sign(b"message")
                .unwrap();
        }
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        token.session.logout().unwrap();
        opened
            .key
            .choose_scheme(&schemes)
            .unwrap()
            .sign(b"message")
            .unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    });
}

/// A PIN function that tells when it was called, and answers once the sender is gone.
fn person() -> (SecretSource, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (asked, was_asked) = mpsc::channel();
    let (answer, answered) = mpsc::channel::<()>();
    let answered = Mutex::new(answered);
    let pin = SecretSource::blocking_function(move || {
        let _ = asked.send(());
        let _ = answered.lock().unwrap().recv();
        Ok::<_, brs_core::Error>(PIN)
    });
    (pin, was_asked, answer)
}

#[test]
#[ignore = "needs SoftHSM2"]
fn whoever_waits_for_a_person_stops_no_other_session_and_no_worker() {
    alone(|bench| {
        let (token, certificate) = device(&bench);
        let (pin, was_asked, answer) = person();
        let (slow, chain) = (token.pkcs11().pin(pin), vec![certificate.clone()]);
        // One thread for both: were it to wait, or the token's, then nothing would go on.
        run(async {
            let waiting = tokio::spawn(async move { slow.open(Some(chain)).await });
            while was_asked.try_recv().is_err() {
                tokio::task::yield_now().await;
            }
            let opened = token.pkcs11().open(Some(vec![certificate])).await.unwrap();
            sign(&opened);
            assert!(!waiting.is_finished());
            drop(answer);
            sign(&waiting.await.unwrap().unwrap());
        });
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn sessions_that_share_a_pin_ask_once_for_one_login() {
    alone(|bench| {
        let (token, certificate) = device(&bench);
        let (pin, was_asked, answer) = person();
        let shared = token.pkcs11().pin(pin);
        drop(answer);
        let open = || shared.open(Some(vec![certificate.clone()]));
        let opened: Vec<_> = run(join_all((0..5).map(|_| open())))
            .into_iter()
            .map(Result::unwrap)
            .collect();
        // Nor for a further one as long as the login lasts.
        run(open()).unwrap();
        assert_eq!(was_asked.try_iter().count(), 1);
        drop(opened);
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_person_who_never_answers_costs_a_clean_error() {
    alone(|bench| {
        let (token, certificate) = device(&bench);
        let (pin, _was_asked, _answer) = person();
        let slow = token
            .pkcs11()
            .pin(pin)
            .signature_timeout(Duration::from_millis(300));
        let error = open(&slow, &certificate).unwrap_err();
        assert!(
            error.is_retryable() && error.to_string().contains("was not given within 300ms"),
            "{error}"
        );
        let error = open(
            &slow.clone().signature_timeout(Duration::from_secs(60)),
            &certificate,
        )
        .unwrap_err();
        assert!(
            error.is_retryable() && error.to_string().contains("still running"),
            "{error}"
        );
        open(&token.pkcs11(), &certificate).unwrap();
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_pin_comes_from_a_variable() {
    alone(|bench| {
        let (token, certificate) = device(&bench);
        open(
            &token.pkcs11().pin(SecretSource::env(PIN_VARIABLE)),
            &certificate,
        )
        .unwrap();
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_pin_that_is_wrong_for_a_signature_is_tried_once() {
    alone(|bench| {
        let token = bench.token("device");
        let always = [Attribute::AlwaysAuthenticate(true)];
        let certificate =
            Authority::new().certify(&token.key_with(Kind::Rsa(2048), "iot", &[1], &always));
        // Somebody else is logged in, so that the PIN is for the signature only.
        let logged_in = token.log_in();
        let wrong = token.pkcs11().pin("wrong-1");
        let error = open(&wrong, &certificate).unwrap_err();
        assert!(
            error.is_unrecoverable() && error.code() == Some("CKR_PIN_INCORRECT"),
            "{error}"
        );
        let error = open(&wrong, &certificate).unwrap_err();
        assert!(
            error.is_unrecoverable() && error.to_string().contains("refused this PIN before"),
            "{error}"
        );
        open(&token.pkcs11(), &certificate).unwrap();
        drop(logged_in);
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn what_cannot_be_a_pin_costs_no_try() {
    alone(|bench| {
        let (token, certificate) = device(&bench);
        let info = || bench.module.get_token_info(token.slot).unwrap();
        let least = "9".repeat(info().min_pin_length() - 1);
        assert!(
            !least.is_empty() && info().max_pin_length() == 255,
            "what SoftHSM2 says of itself"
        );
        let file = bench.directory.join("pin");
        std::fs::write(&file, "\n1234\n").unwrap();
        for (pin, words) in [
            (
                SecretSource::value(least),
                "accepts PINs of 4 to 255 bytes, and the given one is shorter: it was not sent",
            ),
            (SecretSource::value(""), "is empty"),
            (SecretSource::value("12345\n"), "control character"),
            (SecretSource::value("12345\0"), "control character"),
            (
                SecretSource::value("9".repeat(256)),
                "longer than a PIN can be",
            ),
            (SecretSource::file(&file), "empty first line"),
            (
                SecretSource::blocking_function(|| Ok::<_, brs_core::Error>("12\t345")),
                "control character",
            ),
        ] {
            let error = open(&token.pkcs11().pin(pin), &certificate).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(
                error.is_unrecoverable() && error.param() == Some("pin") && shown.contains(words),
                "{shown}"
            );
            // SoftHSM2 sets this flag at the first wrong one.
            assert!(
                error.code().is_none() && !info().user_pin_count_low(),
                "{shown}"
            );
            assert!(
                !shown.contains("999") && !shown.contains("12345"),
                "{shown}"
            );
        }
        open(&token.pkcs11().pin("wrong-1"), &certificate).unwrap_err();
        assert!(
            info().user_pin_count_low(),
            "a wrong one is sent, and the flag tells"
        );
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_pins_file_is_its_first_line() {
    alone(|bench| {
        let (token, certificate) = device(&bench);
        let file = bench.directory.join("pin");
        for content in [
            format!("{PIN}\nthe PIN of this device\n"),
            format!("\u{feff}{PIN}\r\n\r\n"),
        ] {
            std::fs::write(&file, content).unwrap();
            open(&token.pkcs11().pin(SecretSource::file(&file)), &certificate).unwrap();
        }
    });
}
