//! What is read as a certificate, what is told of it, and what is said about everything else.

use super::*;
use std::time::{Duration, UNIX_EPOCH};

fn certificate() -> rcgen::Certificate {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "device-7");
    params
        .distinguished_name
        .push(rcgen::DnType::OrganizationName, "Example\u{7}");
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    params
        .self_signed(&rcgen::KeyPair::generate().unwrap())
        .unwrap()
}

#[test]
fn subject_validity_and_fingerprint_are_told() {
    let certificate = certificate();
    let facts = Facts::of(certificate.der()).unwrap();
    assert!(
        facts.subject.contains("CN=device-7") && !facts.subject.contains('\u{7}'),
        "{}",
        facts.subject
    );
    assert_eq!(
        facts.not_before,
        UNIX_EPOCH + Duration::from_secs(1_767_225_600)
    );
    assert_eq!(
        facts.not_after,
        UNIX_EPOCH + Duration::from_secs(1_798_761_600)
    );
    assert!(facts.sha256.len() == 64 && facts.sha256.bytes().all(|byte| byte.is_ascii_hexdigit()));
}

#[test]
fn the_kind_of_key_is_told_and_which_may_be_a_devices() {
    for (algorithm, kind) in [
        (&rcgen::PKCS_RSA_SHA256, KeyKind::Rsa(2048)),
        (&rcgen::PKCS_ECDSA_P256_SHA256, KeyKind::EcP256),
        (&rcgen::PKCS_ECDSA_P384_SHA384, KeyKind::EcP384),
        (&rcgen::PKCS_ED25519, KeyKind::Other),
    ] {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let certificate = rcgen::CertificateParams::new(Vec::new())
            .unwrap()
            .self_signed(&key)
            .unwrap();
        assert_eq!(Facts::of(certificate.der()).unwrap().key, kind);
    }
    for (bits, may) in [
        (1024, false),
        (2047, false),
        (2048, true),
        (4096, true),
        (4097, false),
        (8192, false),
    ] {
        assert_eq!(KeyKind::Rsa(bits).is_supported(), may, "{bits}");
    }
    assert_eq!(modulus_bits(&[0x30, 6, 2, 1, 0x11, 2, 1, 3]), Some(5));
}

#[test]
fn a_chain_keeps_its_order_in_pem_and_may_be_one_in_der() {
    let (first, second) = (certificate(), certificate());
    let pem = format!("text before\n{}{}", first.pem(), second.pem());
    let chain = read_chain(pem.as_bytes(), "the certificate", "certificate").unwrap();
    assert_eq!(chain, [first.der().clone(), second.der().clone()]);
    assert_eq!(
        read_chain(first.der(), "the certificate", "certificate").unwrap(),
        [first.der().clone()]
    );
}

#[test]
fn what_is_no_certificate_says_what_it_is() {
    let whole = certificate().pem();
    for (bytes, problem) in [
        (String::new(), "holds no certificate"),
        (
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".into(),
            "holds no certificate, but a private key",
        ),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into(),
            "number 1, which is not an X.509",
        ),
        (
            format!("{whole}{}", &whole[..200]),
            "number 2: it was cut off",
        ),
        (whole.repeat(17), "holds 17 certificates"),
        ("0\u{3}abc".into(), "number 1, which is not an X.509"),
    ] {
        let error =
            read_chain(bytes.as_bytes(), "the certificate `/a`", "certificate").unwrap_err();
        assert!(
            error.to_string().starts_with("the certificate `/a` "),
            "{error}"
        );
        assert!(
            error.to_string().contains(problem) && error.param() == Some("certificate"),
            "{error}"
        );
    }
}

/// What `openssl` has written, by the names within the file: label and DER.
pub(crate) fn openssl(name: &str) -> (String, Vec<u8>) {
    const THINGS: &str = include_str!("../pem/openssl/things.pem");
    let from = THINGS.find(&format!("\n{name}: ")).unwrap();
    let block = blocks(&THINGS.as_bytes()[from..]).unwrap().swap_remove(0);
    let Content::Der(der) = block.content else {
        panic!("{name} is not whole")
    };
    (block.label, der.to_vec())
}

fn pem((label, der): &(String, Vec<u8>)) -> String {
    use base64ct::Encoding as _;
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        base64ct::Base64::encode_string(der)
    )
}

#[test]
fn what_stands_in_place_of_a_certificate_is_named_in_pem_and_in_der() {
    for (name, words) in [
        (
            "request",
            "holds no certificate, but a certificate request (CSR): give the certificate that the authority",
        ),
        ("public", "holds no certificate, but a public key"),
        (
            "pkcs7",
            "holds no certificate, but a PKCS#7 container: `openssl pkcs7",
        ),
        (
            "pkcs12",
            "holds no certificate, but a PKCS#12 container (PFX): `openssl pkcs12 -nokeys",
        ),
        (
            "revoked",
            "holds no certificate, but a certificate revocation list (CRL)",
        ),
    ] {
        let thing = openssl(name);
        assert_eq!(
            Thing::of_der(&thing.1),
            Some(Thing::of_label(&thing.0)),
            "{name}"
        );
        for bytes in [
            pem(&thing).into_bytes(),
            thing.1.clone(),
            [&thing.1[..], b"\n"].concat(),
        ] {
            let error = read_chain(&bytes, "the certificate `/a`", "certificate").unwrap_err();
            assert!(
                error.to_string().contains(words) && error.param() == Some("certificate"),
                "{name}: {error}"
            );
            assert!(authorities(&bytes).unwrap_err().contains(words), "{name}");
        }
        // Under a label that promises a certificate.
        let error = read_chain(
            pem(&("CERTIFICATE".into(), thing.1)).as_bytes(),
            "the certificate",
            "certificate",
        )
        .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("number 1, which is not an X.509"),
            "{error}"
        );
    }
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_RSA_SHA256] {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        for bytes in [key.serialize_pem().into_bytes(), key.serialize_der()] {
            let error = read_chain(&bytes, "the certificate", "certificate").unwrap_err();
            assert!(
                error
                    .to_string()
                    .contains("holds no certificate, but a private key"),
                "{error}"
            );
        }
    }
}

#[test]
fn text_around_a_certificate_and_behind_it_is_ignored() {
    let certificate = certificate();
    let (text, der) = (certificate.pem(), certificate.der().to_vec());
    for bytes in [
        format!("\u{feff}{text}").into_bytes(),
        text.replace('\n', "\r\n").into_bytes(),
        format!("subject=CN=device\n{text}\n\0").into_bytes(),
        [&der[..], b"\n"].concat(),
        [&der[..], b"\r\n"].concat(),
        [&der[..], b"\0\0"].concat(),
    ] {
        assert_eq!(
            read_chain(&bytes, "the certificate", "certificate").unwrap(),
            [certificate.der().clone()]
        );
        assert_eq!(
            authorities(&bytes).unwrap().certificates,
            [(1, certificate.der().clone())]
        );
    }
    for (bytes, words) in [
        (
            [&der[..], &der].concat(),
            "more bytes after its DER certificate",
        ),
        ([&der[..], b"hush"].concat(), "has 4 more bytes"),
        (der[..100].to_vec(), "was cut off: it has 100 of the"),
        (
            text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            "is UTF-16 text",
        ),
    ] {
        let error = read_chain(&bytes, "the certificate", "certificate").unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn openssls_trusted_certificates_are_certificates() {
    let (_, plain) = openssl("certificate");
    for name in ["trusted", "everything", "plain", "mail", "rejected"] {
        let thing = openssl(name);
        assert_eq!(thing.0, "TRUSTED CERTIFICATE");
        for bytes in [pem(&thing).into_bytes(), thing.1.clone()] {
            assert_eq!(
                read_chain(&bytes, "the certificate", "certificate").unwrap(),
                [CertificateDer::from(plain.clone())],
                "{name}"
            );
            let trusted = authorities(&bytes);
            match name {
                "mail" | "rejected" => {
                    assert!(
                        trusted
                            .unwrap_err()
                            .contains("is not trusted for TLS servers"),
                        "{name}"
                    )
                }
                _ => assert_eq!(
                    trusted.unwrap().certificates,
                    [(1, CertificateDer::from(plain.clone()))],
                    "{name}"
                ),
            }
        }
    }
}

#[test]
fn one_broken_block_of_a_trust_store_is_left_out_and_told() {
    let (one, two) = (certificate(), certificate());
    let odd = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (broken, words) in [
        (odd.to_owned(), "number 2 is not an X.509 certificate"),
        (odd.replace("AAAA", "A*AA"), "number 2 is damaged"),
        (
            odd.replace("-----END CERTIFICATE-----\n", ""),
            "number 2 has no end",
        ),
        (
            pem(&openssl("rejected")),
            "number 2 (`CN=authority`) is not trusted for TLS servers",
        ),
    ] {
        let found = authorities(format!("{}{broken}{}", one.pem(), two.pem()).as_bytes()).unwrap();
        assert_eq!(
            found.certificates,
            [(1, one.der().clone()), (3, two.der().clone())]
        );
        assert!(
            found.left_out[..].concat().contains(words),
            "{:?}",
            found.left_out
        );
    }
    // A file that may still be being written.
    let cut_off = format!("{}{}", one.pem(), &two.pem()[..200]);
    assert!(
        authorities(cut_off.as_bytes())
            .unwrap_err()
            .contains("number 2: it was cut off")
    );
}

#[test]
fn nothing_that_is_damaged_makes_a_reader_panic() {
    const THINGS: &str = include_str!("../pem/openssl/things.pem");
    const KEYS: &str = include_str!("../key/openssl/accepted.pem");
    let read = |bytes: &[u8]| {
        let _ = read_chain(bytes, "the certificate", "certificate");
        let _ = authorities(bytes);
        let _ = crate::device::key::read(bytes, None, "the private key");
    };
    for block in [THINGS, KEYS]
        .into_iter()
        .flat_map(|text| blocks(text.as_bytes()).unwrap())
    {
        let Content::Der(der) = block.content else {
            panic!("not whole")
        };
        // Heads and lengths are in front; of the rest a few will do.
        for at in (0..der.len()).filter(|at| *at < 64 || at % 16 == 0) {
            read(&der[..at]);
            for byte in [0, 1, 0x30, 0x80, 0x84, 0xff] {
                let mut der = der.to_vec();
                der[at] = byte;
                read(&der);
            }
        }
    }
}
