//! The same against a second, independent module: tpm2-pkcs11 on a software TPM.
//!
//! A TPM without a resource manager has room for three keys at a time: each kind has a TPM of its
//! own.

use std::time::Duration;

use brs_core::{Clock as _, SystemClock};
use brs_iot::pkcs11::hook::hung_after;
use tokio_rustls::rustls::SignatureScheme;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::anywhere::gets_credentials;
use crate::bench::{
    Authority, Bench, ForBrs as _, Kind, PIN, alone_with_a_tpm, run, signal_the_tpm,
};

fn both_versions_of_tls(bench: &Bench, kind: Kind, scheme: SignatureScheme) {
    let authority = Authority::new();
    let token = bench.token("device");
    let certificate = authority.certify(&token.key(kind, "iot", &[1]));
    run(async {
        let opened = token
            .pkcs11()
            .key_label("iot")
            .open(Some(vec![certificate.clone()]))
            .await
            .unwrap();
        assert!(!opened.tls12_only);
        for version in [&TLS12, &TLS13] {
            let seen = authority.handshake(&opened, version).await.unwrap();
            assert_eq!(seen, std::slice::from_ref(&certificate));
        }
        let signer = opened.key.choose_scheme(&[scheme]).unwrap();
        let began = SystemClock::new().monotonic();
        for _ in 0..20 {
            signer.sign(b"message").unwrap();
        }
        println!(
            "{kind:?}: {:?} a signature",
            (SystemClock::new().monotonic() - began) / 20
        );
    });
}

#[test]
#[ignore = "needs a software TPM"]
fn an_rsa_key_of_a_tpm_works_with_both_versions_of_tls() {
    alone_with_a_tpm(|bench| {
        both_versions_of_tls(&bench, Kind::Rsa(2048), SignatureScheme::RSA_PSS_SHA256)
    });
}

#[test]
#[ignore = "needs a software TPM"]
fn a_p256_key_of_a_tpm_works_with_both_versions_of_tls() {
    alone_with_a_tpm(|bench| {
        both_versions_of_tls(&bench, Kind::P256, SignatureScheme::ECDSA_NISTP256_SHA256)
    });
}

#[test]
#[ignore = "needs a software TPM"]
fn a_p384_key_of_a_tpm_works_with_both_versions_of_tls() {
    alone_with_a_tpm(|bench| {
        both_versions_of_tls(&bench, Kind::P384, SignatureScheme::ECDSA_NISTP384_SHA384)
    });
}

#[test]
#[ignore = "needs a software TPM"]
fn an_rsa_key_of_a_tpm_signs_requests_for_roles_anywhere() {
    alone_with_a_tpm(|bench| gets_credentials(&bench.token("server"), Kind::Rsa(2048)));
}

#[test]
#[ignore = "needs a software TPM"]
fn a_p256_key_of_a_tpm_signs_requests_for_roles_anywhere() {
    alone_with_a_tpm(|bench| gets_credentials(&bench.token("server"), Kind::P256));
}

#[test]
#[ignore = "needs a software TPM"]
fn a_p384_key_of_a_tpm_signs_requests_for_roles_anywhere() {
    alone_with_a_tpm(|bench| gets_credentials(&bench.token("server"), Kind::P384));
}

#[test]
#[ignore = "needs a software TPM"]
fn the_certificate_is_read_from_the_tpms_store() {
    alone_with_a_tpm(|bench| {
        let authority = Authority::new();
        let token = bench.token("device");
        let certificate = authority.certify(&token.key(Kind::P256, "iot", &[1]));
        token.store(&certificate, "iot", &[1]);
        assert_eq!(
            run(token.pkcs11().open(None)).unwrap().certificates,
            [certificate]
        );
    });
}

#[test]
#[ignore = "needs a software TPM"]
fn a_tpm_is_asked_once_with_a_wrong_pin() {
    alone_with_a_tpm(|bench| {
        let authority = Authority::new();
        let token = bench.token("device");
        let certificate = authority.certify(&token.key(Kind::P256, "iot", &[1]));
        let open = |pin: &str| {
            run(token
                .pkcs11()
                .pin(pin)
                .open(Some(vec![certificate.clone()])))
            .map(drop)
        };
        assert_eq!(
            open("wrong-1").unwrap_err().code(),
            Some("CKR_PIN_INCORRECT")
        );
        let error = open("wrong-1").unwrap_err();
        assert!(
            error.is_unrecoverable() && error.to_string().contains("refused this PIN before"),
            "{error}"
        );
        open(PIN).unwrap();
    });
}

#[test]
#[ignore = "needs a software TPM"]
fn a_tpm_whose_module_was_finalised_works_again() {
    alone_with_a_tpm(|bench| {
        let authority = Authority::new();
        let token = bench.token("device");
        let certificate = authority.certify(&token.key(Kind::P256, "iot", &[1]));
        let opened = run(token.pkcs11().open(Some(vec![certificate]))).unwrap();
        let signer = opened
            .key
            .choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256])
            .unwrap();
        signer.sign(b"message").unwrap();
        bench.module.clone().finalize().unwrap();
        signer.sign(b"message").unwrap();
    });
}

#[test]
#[ignore = "needs a software TPM"]
fn a_tpm_that_hangs_costs_a_clean_error_and_works_once_it_answers() {
    alone_with_a_tpm(|bench| {
        let authority = Authority::new();
        let token = bench.token("device");
        let certificate = authority.certify(&token.key(Kind::P256, "iot", &[1]));
        let pkcs11 = token.pkcs11().signature_timeout(Duration::from_secs(3));
        let opened = run(pkcs11.open(Some(vec![certificate.clone()]))).unwrap();
        let signer = opened
            .key
            .choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256])
            .unwrap();
        signal_the_tpm("STOP");
        hung_after(Duration::from_secs(3));
        let sign = || signer.sign(b"message").unwrap_err().to_string();
        let open = || run(pkcs11.open(Some(vec![certificate.clone()]))).unwrap_err();
        let error = sign();
        assert!(error.contains("has not answered within 3s"), "{error}");
        while !sign().contains("still running") {}
        // Looking for tokens hangs as well, on a thread of its own.
        let error = open();
        assert!(
            error.is_retryable() && error.to_string().contains("has not answered within"),
            "{error}"
        );
        while !open().to_string().contains("still running") {}
        signal_the_tpm("CONT");
        while signer.sign(b"message").is_err()
            || run(pkcs11.open(Some(vec![certificate.clone()]))).is_err()
        {
            std::thread::yield_now();
        }
    });
}
