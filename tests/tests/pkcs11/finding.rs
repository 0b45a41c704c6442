//! What is missing or there more than once is an error that lists what there is.

use brs_core::ErrorKind;
use brs_iot::pkcs11::Pkcs11;
use brs_iot::pkcs11::hook::look_at_most;
use cryptoki::object::Attribute;

use crate::bench::{Authority, ForBrs as _, Kind, PIN, alone, run};

#[test]
#[ignore = "needs SoftHSM2"]
fn a_missing_or_ambiguous_token_is_told_with_those_that_are_there() {
    alone(|bench| {
        let error = run(Pkcs11::new(&bench.path).open(None)).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("has no token with any name: plug it in, or choose one of: none"),
            "{error}"
        );
        let (one, two) = (bench.token("twin"), bench.token("twin"));
        let serial = |token: &crate::bench::Token| {
            bench
                .module
                .get_token_info(token.slot)
                .unwrap()
                .serial_number()
                .to_owned()
        };
        let error = run(one.pkcs11().open(None)).unwrap_err();
        for part in [
            "several tokens with label `twin`",
            &serial(&one),
            &serial(&two),
            &one.slot.id().to_string(),
        ] {
            assert!(
                error.is_unrecoverable() && error.to_string().contains(part),
                "{part}: {error}"
            );
        }
        let error = run(Pkcs11::new(&bench.path).token_label("other").open(None)).unwrap_err();
        // It may be plugged in later.
        assert!(
            error.is_retryable() && error.to_string().contains("label `twin`"),
            "{error}"
        );
        // Chosen by serial number or slot, the next thing is missing.
        for chosen in [
            one.pkcs11().token_serial(serial(&one)),
            one.pkcs11().slot_id(one.slot.id()),
        ] {
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
            (
                token.pkcs11().key_label("iot"),
                "has 2 private keys with label `iot`",
            ),
            (
                token.pkcs11().key_label("other"),
                "has no private key with label `other`",
            ),
            (
                token.pkcs11().key_id([3]),
                "has no private key with id `03`",
            ),
            (
                token.pkcs11().key_label("other").key_id([2]),
                "has no private key with label `other`, id `02`",
            ),
        ] {
            let error = run(pkcs11.open(None)).unwrap_err();
            for part in [words, "label `iot`, id 01ab; label `iot`, id 02"] {
                assert!(
                    error.is_unrecoverable() && error.to_string().contains(part),
                    "{part}: {error}"
                );
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
        assert!(
            error
                .to_string()
                .contains("has no certificate with label `iot`: there are: none"),
            "{error}"
        );
        token.store(&certificate, "iot", &[9]);
        assert_eq!(
            run(token.pkcs11().open(None)).unwrap().certificates,
            std::slice::from_ref(&certificate)
        );
        // Once more the same is the same.
        token.store(&certificate, "iot", &[8]);
        assert_eq!(
            run(token.pkcs11().open(None)).unwrap().certificates,
            std::slice::from_ref(&certificate)
        );
        let another = Authority::new().certify(&token.key(Kind::P256, "other", &[2]));
        token.store(&another, "iot", &[7]);
        assert_eq!(
            run(token.pkcs11().key_label("iot").open(None))
                .unwrap()
                .certificates,
            [certificate]
        );
        let error = run(token
            .pkcs11()
            .key_label("iot")
            .certificate_id([6])
            .open(None))
        .unwrap_err();
        let sha256 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &another);
        let sha256: String = sha256
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert!(
            error
                .to_string()
                .contains(&format!("label `iot`, id 07, SHA-256 {sha256}")),
            "{error}"
        );
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn of_certificates_with_one_name_the_valid_one_of_the_key_is_used() {
    alone(|bench| {
        let authority = Authority::new();
        let token = bench.token("device");
        let key = token.key(Kind::P256, "iot", &[1]);
        let foreign = rcgen::KeyPair::generate().unwrap();
        let ended = authority.certify_valid(&key, 2001, 2002);
        let valid = authority.certify_valid(&key, 2002, 2900);
        for certificate in [&ended, &authority.certify(&foreign), &valid] {
            token.store(certificate, "iot", &[1]);
        }
        let used = || run(token.pkcs11().open(None)).unwrap().certificates;
        assert_eq!(used(), [valid]);
        let renewed = authority.certify_valid(&key, 2003, 2950);
        token.store(&renewed, "iot", &[1]);
        assert_eq!(used(), [renewed]);
        // Of another authority: nothing tells which of the two is meant.
        token.store(&Authority::new().below().certify(&key), "iot", &[1]);
        let error = run(token.pkcs11().open(None)).unwrap_err();
        assert!(
            error.is_unrecoverable() && error.to_string().contains("do not renew each other"),
            "{error}"
        );
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn what_is_asked_for_by_name_is_found_among_any_number() {
    alone(|bench| {
        let authority = Authority::new();
        let token = bench.token("device");
        let certificate = authority.certify(&token.key(Kind::P256, "iot", &[1]));
        for number in 2..8 {
            token.store(&authority.certificate, "another", &[number]);
        }
        token.store(&certificate, "iot", &[1]);
        look_at_most(5);
        assert_eq!(
            run(token.pkcs11().open(None)).unwrap().certificates,
            [certificate]
        );
        let error = run(token.pkcs11().certificate_label("another").open(None)).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("more than 5 certificates with label `another`"),
            "{error}"
        );
        let error = run(token.pkcs11().certificate_label("none").open(None)).unwrap_err();
        assert!(
            error.to_string().contains("and more than 5 others"),
            "{error}"
        );
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn no_name_writes_to_the_terminal() {
    alone(|bench| {
        let token = bench.token("device");
        token.key(Kind::P521, "one\u{1b}[2J", &[1]);
        let error = run(token.pkcs11().key_label("other").open(None)).unwrap_err();
        assert!(
            error.to_string().contains("one") && !error.to_string().contains('\u{1b}'),
            "{error}"
        );
        let certificate = Authority::new().certify(&rcgen::KeyPair::generate().unwrap());
        let error = run(token.pkcs11().open(Some(vec![certificate]))).unwrap_err();
        assert!(
            error.to_string().contains("one") && !error.to_string().contains('\u{1b}'),
            "{error}"
        );
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn what_is_no_module_is_told_apart() {
    alone(|bench| {
        let text = bench.directory.join("softhsm2.conf");
        let libc = std::fs::read_to_string("/proc/self/maps").unwrap();
        let libc = libc
            .split_whitespace()
            .find(|word| word.contains("/libc.so"))
            .unwrap()
            .to_owned();
        for (path, words) in [
            ("/does/not/exist.so", "does not exist"),
            ("relative.so", "absolute path"),
            (bench.directory.to_str().unwrap(), "is a folder"),
            (text.to_str().unwrap(), "cannot be loaded"),
            (&libc, "is not a PKCS#11 library"),
        ] {
            let error = run(Pkcs11::new(path).pin(PIN).open(None)).unwrap_err();
            assert!(
                error.is_unrecoverable() && error.to_string().contains(words),
                "{path}: {error}"
            );
            assert!(matches!(
                error.kind(),
                ErrorKind::Configuration | ErrorKind::Validation
            ));
        }
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn keys_of_one_label_and_one_id_are_told_by_what_distinguishes_them() {
    alone(|bench| {
        let token = bench.token("device");
        token.key(Kind::P256, "iot", &[1]);
        token.key(Kind::Rsa(2048), "iot", &[1]);
        for pkcs11 in [
            token.pkcs11(),
            token.pkcs11().key_label("iot"),
            token.pkcs11().key_label("iot").key_id([1]),
        ] {
            let error = run(pkcs11.open(None)).unwrap_err();
            let shown = error.to_string();
            assert!(
                error.is_unrecoverable()
                    && shown.contains("2 private keys with the same label and id"),
                "{shown}"
            );
            assert!(
                shown.contains("change one's label or id with the token's own tool, or remove it"),
                "{shown}"
            );
            for key in [
                "label `iot`, id 01, EC P-256",
                "label `iot`, id 01, RSA of 2048 bits",
            ] {
                assert!(shown.contains(key), "{key}: {shown}");
            }
        }
        let (sign, login) = (Attribute::Sign(false), Attribute::AlwaysAuthenticate(true));
        token.key_with(Kind::P384, "twin", &[2], &[sign, Attribute::Derive(true)]);
        token.key_with(Kind::P384, "twin", &[2], &[login]);
        let shown = run(token.pkcs11().key_label("twin").open(None))
            .unwrap_err()
            .to_string();
        assert!(
            shown.contains("EC P-384, not for signing") && shown.contains("with a login for each"),
            "{shown}"
        );
        // A third one with an id of its own can be chosen.
        token.key(Kind::P256, "iot", &[3]);
        let shown = run(token.pkcs11().key_label("iot").open(None))
            .unwrap_err()
            .to_string();
        assert!(shown.contains("choose by label and id from"), "{shown}");
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn padding_in_a_uri_is_no_part_of_a_name() {
    alone(|bench| {
        let authority = Authority::new();
        let token = bench.token("my device");
        let certificate = authority.certify(&token.key(Kind::P256, "iot", &[1]));
        token.store(&certificate, "iot", &[1]);
        for padding in ["%00", "%20%20", "%00%00%00"] {
            let uri = format!(
                "pkcs11:token=my%20device{padding};object=iot{padding}?module-path={}&pin-value={PIN}\n",
                bench.path.display()
            );
            let opened = run(Pkcs11::from_uri(&uri).unwrap().open(None)).unwrap();
            assert_eq!(opened.certificates, std::slice::from_ref(&certificate));
        }
    });
}
