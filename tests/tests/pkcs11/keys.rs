//! Kinds of keys, both versions of TLS, certificates that are given and those on the token.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use brs_iot::SecretSource;
use cryptoki::object::Attribute;
use tokio_rustls::rustls::SignatureScheme;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::bench::{Authority, ForBrs as _, Kind, PIN, alone, alone_with, alone_with_faults, run};

/// SoftHSM2's own way to be a token that can do less.
const NO_PSS: &str = "slots.mechanisms = CKM_RSA_PKCS_KEY_PAIR_GEN,CKM_RSA_PKCS";

#[test]
#[ignore = "needs SoftHSM2"]
fn every_kind_of_key_works_with_both_versions_of_tls() {
    alone(|bench| {
        let authority = Authority::new();
        let token = bench.token("device");
        for kind in [
            Kind::Rsa(2048),
            Kind::Rsa(3072),
            Kind::Rsa(4096),
            Kind::P256,
            Kind::P384,
        ] {
            let label = format!("{kind:?}");
            let certificate = authority.certify(&token.key(kind, &label, &[1]));
            run(async {
                let opened = token
                    .pkcs11()
                    .key_label(label)
                    .open(Some(vec![certificate.clone()]))
                    .await
                    .unwrap();
                assert!(!opened.tls12_only);
                for version in [&TLS12, &TLS13] {
                    assert_eq!(
                        authority.handshake(&opened, version).await.unwrap(),
                        std::slice::from_ref(&certificate)
                    );
                }
            });
        }
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn every_scheme_that_a_server_may_ask_for_is_signed_and_fits() {
    alone(|bench| {
        let authority = Authority::new();
        let token = bench.token("device");
        let certificate = authority.certify(&token.key(Kind::Rsa(2048), "iot", &[1]));
        let opened = run(token.pkcs11().open(Some(vec![certificate]))).unwrap();
        for scheme in [
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PKCS1_SHA512,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA512,
        ] {
            let signer = opened.key.choose_scheme(&[scheme]).unwrap();
            assert_eq!(
                (
                    signer.scheme(),
                    signer.sign(b"message").map(|signature| signature.len())
                ),
                (scheme, Ok(256))
            );
        }
        assert!(
            opened
                .key
                .choose_scheme(&[SignatureScheme::ED25519])
                .is_none()
        );
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn what_a_token_has_not_signed_is_not_offered() {
    alone_with_faults(|bench| {
        let authority = Authority::new();
        let token = bench.token("device");
        let certificate = authority.certify(&token.key(Kind::Rsa(2048), "iot", &[1]));
        let open = || run(token.pkcs11().open(Some(vec![certificate.clone()]))).unwrap();
        bench.failing_signatures("pss 384, pkcs1 512");
        let opened = open();
        let offers = |scheme| opened.key.choose_scheme(&[scheme]).is_some();
        assert!(
            offers(SignatureScheme::RSA_PSS_SHA512) && offers(SignatureScheme::RSA_PKCS1_SHA384)
        );
        assert!(
            !offers(SignatureScheme::RSA_PSS_SHA384) && !offers(SignatureScheme::RSA_PKCS1_SHA512)
        );
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_failure_without_a_reason_bars_no_signature_for_ever() {
    alone_with_faults(|bench| {
        let authority = Authority::new();
        let token = bench.token("device");
        let certificate = authority.certify(&token.key(Kind::Rsa(2048), "iot", &[1]));
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let pin = SecretSource::blocking_function(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok::<_, brs_core::Error>(PIN)
        });
        let pkcs11 = token.pkcs11().pin(pin);
        bench.failing_signatures("pss 256");
        let opened = run(pkcs11.open(Some(vec![certificate.clone()]))).unwrap();
        assert!(opened.tls12_only && opened.is_provisional);
        bench.failing_signatures("");
        let opened = run(pkcs11.open(Some(vec![certificate]))).unwrap();
        assert!(!opened.tls12_only && !opened.is_provisional);
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_token_without_pss_is_used_with_tls_1_2_only() {
    alone_with(NO_PSS, |bench| {
        let authority = Authority::new();
        let token = bench.token("device");
        let certificate = authority.certify(&token.key(Kind::Rsa(2048), "iot", &[1]));
        run(async {
            let opened = token
                .pkcs11()
                .open(Some(vec![certificate.clone()]))
                .await
                .unwrap();
            assert!(opened.tls12_only && !opened.is_provisional);
            assert_eq!(
                authority.handshake(&opened, &TLS12).await.unwrap(),
                [certificate]
            );
        });
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_key_that_always_authenticates_is_logged_in_to_for_each_signature() {
    alone(|bench| {
        let authority = Authority::new();
        let token = bench.token("device");
        let key = token.key_with(
            Kind::Rsa(2048),
            "iot",
            &[1],
            &[Attribute::AlwaysAuthenticate(true)],
        );
        let certificate = authority.certify(&key);
        run(async {
            let opened = token
                .pkcs11()
                .key_label("iot")
                .open(Some(vec![certificate.clone()]))
                .await
                .unwrap();
            for version in [&TLS12, &TLS13, &TLS13] {
                assert_eq!(
                    authority.handshake(&opened, version).await.unwrap(),
                    std::slice::from_ref(&certificate)
                );
            }
        });
        let opened = run(token
            .pkcs11()
            .key_label("iot")
            .open(Some(vec![certificate])))
        .unwrap();
        for scheme in [
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::RSA_PSS_SHA256,
        ] {
            let signer = opened.key.choose_scheme(&[scheme]).unwrap();
            assert_eq!(
                (
                    signer.scheme(),
                    signer.sign(b"message").map(|signature| signature.len())
                ),
                (scheme, Ok(256))
            );
        }
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_login_for_each_signature_that_the_module_has_no_room_for_is_told_by_the_mechanisms_names() {
    alone(|bench| {
        let authority = Authority::new();
        let token = bench.token("device");
        // SoftHSM2 takes ECDSA's data in one step, and up to 2.6 has no mechanism that digests
        // before it.
        for (kind, wanted) in [
            (Kind::P256, "CKM_ECDSA_SHA256"),
            (Kind::P384, "CKM_ECDSA_SHA384"),
        ] {
            let label = format!("{kind:?}");
            let key = token.key_with(kind, &label, &[2], &[Attribute::AlwaysAuthenticate(true)]);
            let certificate = authority.certify(&key);
            let error = run(token
                .pkcs11()
                .key_label(&label)
                .open(Some(vec![certificate])))
            .unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(
                error.is_unrecoverable() && !shown.contains("MechanismType"),
                "{shown}"
            );
            for words in [
                "CKA_ALWAYS_AUTHENTICATE",
                "signs with CKM_ECDSA in one step only",
                wanted,
                &label,
            ] {
                assert!(shown.contains(words), "{words}: {shown}");
            }
        }
        // The token serves other keys after that.
        let certificate = authority.certify(&token.key(Kind::P256, "plain", &[3]));
        run(token
            .pkcs11()
            .key_label("plain")
            .open(Some(vec![certificate])))
        .unwrap();
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn the_certificate_and_its_chain_are_read_from_the_token() {
    alone(|bench| {
        let authority = Authority::new();
        let between = authority.below();
        let token = bench.token("device");
        let certificate = between.certify(&token.key(Kind::P256, "iot", &[1]));
        for (certificate, label, id) in [
            (&authority.certificate, "root", 7),
            (&between.certificate, "between", 8),
            (&certificate, "cert", 1),
        ] {
            token.store(certificate, label, &[id]);
        }
        run(async {
            let by_id = token.pkcs11().open(None).await.unwrap();
            assert_eq!(
                by_id.certificates,
                [certificate.clone(), between.certificate.clone()]
            );
            assert_eq!(
                authority.handshake(&by_id, &TLS13).await.unwrap(),
                by_id.certificates
            );
            let by_label = token
                .pkcs11()
                .certificate_label("cert")
                .open(None)
                .await
                .unwrap();
            assert_eq!(by_label.certificates, by_id.certificates);
            let another = token
                .pkcs11()
                .certificate_label("between")
                .open(None)
                .await
                .unwrap_err();
            assert!(
                another
                    .to_string()
                    .contains("does not match the certificate"),
                "{another}"
            );
        });
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_key_is_found_by_uri() {
    alone(|bench| {
        let authority = Authority::new();
        let token = bench.token("my device");
        token.key(Kind::P256, "iot", &[1, 0xff]);
        let certificate = authority.certify(&token.key(Kind::P256, "iot", &[2]));
        token.store(&certificate, "whatever", &[2]);
        let file = bench.directory.join("pin");
        std::fs::write(&file, format!("{PIN}\n")).unwrap();
        let uri = format!(
            "pkcs11:token=my%20device;object=iot;id=%02;type=private?module-path={}&pin-source=file:{}",
            bench.path.display(),
            file.display()
        );
        let opened = run(brs_iot::pkcs11::Pkcs11::from_uri(&uri).unwrap().open(None)).unwrap();
        assert_eq!(opened.certificates, [certificate]);
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn keys_that_do_not_fit_are_refused_when_they_are_opened() {
    alone(|bench| {
        let authority = Authority::new();
        let token = bench.token("device");
        let weak = authority.certify(&token.key(Kind::Rsa(1024), "weak", &[1]));
        let p521 = authority.certify(&token.key(Kind::P521, "p521", &[2]));
        let rsa = authority.certify(&token.key(Kind::Rsa(2048), "rsa", &[3]));
        let p256 = authority.certify(&token.key(Kind::P256, "p256", &[4]));
        let other = authority.certify(&token.key(Kind::P256, "other", &[5]));
        let unused = token.key_with(
            Kind::P256,
            "unused",
            &[6],
            &[Attribute::Sign(false), Attribute::Derive(true)],
        );
        let unused = authority.certify(&unused);
        for (label, certificate, words) in [
            ("weak", &weak, "1024 bits"),
            ("p521", &p521, "unsupported one"),
            ("rsa", &p256, "another kind of key"),
            ("p256", &rsa, "another kind of key"),
            ("p256", &other, "does not match the certificate"),
            ("unused", &unused, "CKA_SIGN is false"),
        ] {
            let error = run(token
                .pkcs11()
                .key_label(label)
                .open(Some(vec![certificate.clone()])))
            .unwrap_err();
            assert!(
                error.is_unrecoverable() && error.to_string().contains(words),
                "{label}: {error}"
            );
        }
        let error = run(token
            .pkcs11()
            .key_label("rsa")
            .open(Some(vec![vec![1, 2, 3].into()])))
        .unwrap_err();
        assert!(error.to_string().contains("cannot be read"), "{error}");
        let chain = vec![authority.certificate.clone(), p256];
        let error = run(token.pkcs11().key_label("p256").open(Some(chain))).unwrap_err();
        assert!(
            error.is_unrecoverable() && error.to_string().contains("is number 2"),
            "{error}"
        );
        let error = run(token.pkcs11().key_label("rsa").open(Some(Vec::new()))).unwrap_err();
        assert!(
            error.to_string().contains("no certificate is given"),
            "{error}"
        );
    });
}
