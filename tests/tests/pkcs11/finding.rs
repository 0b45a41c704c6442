//! What is missing or there more than once is an error that lists what there is.

use brs_core::ErrorKind;
use brs_iot::pkcs11::Pkcs11;

use crate::bench::{Authority, ForBrs as _, Kind, PIN, alone, run};

#[test]
#[ignore = "needs SoftHSM2"]
fn a_missing_or_ambiguous_token_is_told_with_those_that_are_there() {
    alone(|bench| {
        let error = run(Pkcs11::new(&bench.path).open(None)).unwrap_err();
        assert!(
            error.to_string().ends_with("has no token with any name: plug it in, or choose one of: none"),
            "{error}"
        );
        let (one, two) = (bench.token("twin"), bench.token("twin"));
        let serial =
            |token: &crate::bench::Token| bench.module.get_token_info(token.slot).unwrap().serial_number().to_owned();
        let error = run(one.pkcs11().open(None)).unwrap_err();
        for part in ["several tokens with label `twin`", &serial(&one), &serial(&two), &one.slot.id().to_string()] {
            assert!(error.is_unrecoverable() && error.to_string().contains(part), "{part}: {error}");
        }
        let error = run(Pkcs11::new(&bench.path).token_label("other").open(None)).unwrap_err();
        // It may be plugged in later.
        assert!(error.is_retryable() && error.to_string().contains("label `twin`"), "{error}");
        // Chosen by serial number or slot, the next thing is missing.
        for chosen in [one.pkcs11().token_serial(serial(&one)), one.pkcs11().slot_id(one.slot.id())] {
            let error = run(chosen.open(None)).unwrap_err();
            assert!(error.to_string().contains("no private key"), "{error}");
        }
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_missing_or_ambiguous_key_is_told_with_those_that_are_there() {
    alone(|bench| {
        let token = bench.token("device");
        token.key(Kind::P256, "iot", &[1, 0xab]);
        token.key(Kind::P256, "iot", &[2]);
        for (pkcs11, words) in [
            (token.pkcs11(), "has 2 private keys with any name"),
            (token.pkcs11().key_label("iot"), "has 2 private keys with label `iot`"),
            (token.pkcs11().key_label("other"), "has no private key with label `other`"),
            (token.pkcs11().key_id([3]), "has no private key with id `03`"),
            (token.pkcs11().key_label("other").key_id([2]), "has no private key with label `other`, id `02`"),
        ] {
            let error = run(pkcs11.open(None)).unwrap_err();
            for part in [words, "label `iot`, id 01ab; label `iot`, id 02"] {
                assert!(error.is_unrecoverable() && error.to_string().contains(part), "{part}: {error}");
            }
        }
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_missing_or_ambiguous_certificate_is_told_with_those_that_are_there() {
    alone(|bench| {
        let authority = Authority::new();
        let token = bench.token("device");
        let certificate = authority.certify(&token.key(Kind::P256, "iot", &[1]));
        let error = run(token.pkcs11().open(None)).unwrap_err();
        assert!(error.to_string().contains("has no certificate with label `iot`: there are: none"), "{error}");
        token.store(&certificate, "iot", &[9]);
        assert_eq!(run(token.pkcs11().open(None)).unwrap().certificates, std::slice::from_ref(&certificate));
        token.store(&certificate, "iot", &[8]);
        let error = run(token.pkcs11().open(None)).unwrap_err();
        assert!(error.to_string().contains("has 2 certificates with label `iot`"), "{error}");
        assert!(run(token.pkcs11().certificate_id([8]).open(None)).is_ok());
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn what_is_no_module_is_told_apart() {
    alone(|bench| {
        let text = bench.directory.join("softhsm2.conf");
        let libc = std::fs::read_to_string("/proc/self/maps").unwrap();
        let libc = libc.split_whitespace().find(|word| word.contains("/libc.so")).unwrap().to_owned();
        for (path, words) in [
            ("/does/not/exist.so", "cannot be found"),
            ("relative.so", "absolute path"),
            (bench.directory.to_str().unwrap(), "is not a file"),
            (text.to_str().unwrap(), "cannot be loaded"),
            (&libc, "is not a PKCS#11 library"),
        ] {
            let error = run(Pkcs11::new(path).pin(PIN).open(None)).unwrap_err();
            assert!(error.is_unrecoverable() && error.to_string().contains(words), "{path}: {error}");
            assert!(matches!(error.kind(), ErrorKind::Configuration | ErrorKind::Validation));
        }
    });
}
