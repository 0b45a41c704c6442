//! Keys in every form, and what is said about those that cannot be used.

use pkcs8::der::asn1::OctetStringRef;
use pkcs8::der::{Decode as _, Encode as _};
use pkcs8::pkcs5::pbes2::Parameters;
use pkcs8::pkcs5::scrypt::Params as ScryptParams;
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData as _,
};

use super::*;

const NAMED: &str = "the private key `/k`";

/// What OpenSSL 3 has written: the first text says how.
const ACCEPTED: &str = include_str!("openssl/accepted.pem");
const REFUSED: &str = include_str!("openssl/refused.pem");
const LEGACY: &str = "-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-256-CBC,1341B0E6F4F2A2F02C1AE7A23423B6A7

AAEC
-----END EC PRIVATE KEY-----
";

fn pem(label: &str, der: &[u8]) -> String {
    use base64ct::Encoding as _;
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        base64ct::Base64::encode_string(der)
    )
}

fn encrypted(key: &KeyPair, iterations: u32) -> Vec<u8> {
    let scheme =
        Parameters::generate_pbkdf2_sha256_aes256cbc(iterations, b"saltsalt", [7; 16]).unwrap();
    let data = scheme.encrypt("hush", &key.serialize_der()).unwrap();
    let encrypted_data = OctetStringRef::new(&data).unwrap();
    EncryptedPrivateKeyInfoRef {
        encryption_algorithm: scheme.into(),
        encrypted_data,
    }
    .to_der()
    .unwrap()
}

fn is_same(key: &KeyPair, bytes: &[u8], passphrase: Option<&str>) {
    let read = read(bytes, passphrase.map(SecretSource::value).as_ref(), NAMED).unwrap();
    assert_eq!(
        read.public_key().unwrap().as_ref(),
        key.subject_public_key_info()
    );
}

fn wrong(bytes: &[u8], passphrase: Option<&str>) -> Error {
    let Err(error) = read(bytes, passphrase.map(SecretSource::value).as_ref(), NAMED) else {
        panic!("what is wrong was read");
    };
    assert!(
        error.to_string().starts_with(NAMED) && error.is_unrecoverable(),
        "{error}"
    );
    assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    error
}

#[test]
fn every_kind_of_key_is_read_in_every_form() {
    for (algorithm, label) in [
        (&PKCS_RSA_SHA256, "RSA PRIVATE KEY"),
        (&PKCS_ECDSA_P256_SHA256, "EC PRIVATE KEY"),
        (&PKCS_ECDSA_P384_SHA384, "EC PRIVATE KEY"),
    ] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let der = key.serialize_der();
        // What PKCS#8 wraps is the key in its older form.
        let older = PrivateKeyInfoRef::from_der(&der)
            .unwrap()
            .private_key
            .as_bytes();
        is_same(&key, key.serialize_pem().as_bytes(), None);
        is_same(&key, &der, None);
        is_same(&key, older, None);
        let parameters = pem("EC PARAMETERS", &[6, 8, 42, 134, 72, 206, 61, 3, 1, 7]);
        is_same(
            &key,
            format!("{parameters}{}", pem(label, older)).as_bytes(),
            None,
        );
        is_same(
            &key,
            pem("ENCRYPTED PRIVATE KEY", &encrypted(&key, 2048)).as_bytes(),
            Some("hush"),
        );
        is_same(&key, &encrypted(&key, 2048), Some("hush"));
    }
}

/// The keys of such a text, each with the line before it.
fn keys(text: &'static str) -> Vec<(&'static str, &'static str)> {
    let end = "PRIVATE KEY-----\n";
    let ends: Vec<usize> = text
        .match_indices("-----END ")
        .map(|(at, _)| at + text[at..].find(end).unwrap())
        .collect();
    let starts = [0].into_iter().chain(ends.iter().map(|at| at + end.len()));
    let keys = starts
        .zip(&ends)
        .map(|(from, to)| text[from..to + end.len()].split_once("-----BEGIN").unwrap());
    keys.map(|(name, key)| (name.trim().lines().last().unwrap(), key))
        .collect()
}

#[test]
fn keys_that_openssl_encrypted_are_read() {
    let keys = keys(ACCEPTED);
    let public = |key: &str| {
        let read = read(
            format!("-----BEGIN{key}").as_bytes(),
            Some(&SecretSource::value("hush")),
            NAMED,
        );
        read.map(|read| read.public_key().unwrap().to_vec())
    };
    let (_, plain) = keys[0];
    assert_eq!(
        keys.len(),
        31,
        "a key that is not encrypted, 5 ciphers by 5 functions and scrypt"
    );
    for (options, key) in &keys[1..] {
        assert_eq!(
            public(key).map_err(|error| error.to_string()),
            Ok(public(plain).unwrap()),
            "{options}"
        );
    }
}

#[test]
fn what_openssl_encrypts_otherwise_is_refused_by_its_name_before_anybody_is_asked() {
    let keys = keys(REFUSED);
    assert_eq!(keys.len(), 22);
    let nobody =
        SecretSource::blocking_function(|| -> Result<brs_core::SecretString, std::io::Error> {
            panic!("asked")
        });
    for (name, key) in keys {
        let (name, options) = name.split_once(": ").unwrap();
        for passphrase in [None, Some(&nobody)] {
            let Err(error) = read(format!("-----BEGIN{key}").as_bytes(), passphrase, NAMED) else {
                panic!("{name}")
            };
            let error = error.to_string();
            assert!(
                error.contains(&format!(
                    "is encrypted with `{name}`, which is not supported"
                )),
                "{options}: {error}"
            );
            assert!(
                error.contains("openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256 -in"),
                "{error}"
            );
            let is_old = ["rc2", "RC2", "RC4", "bf-", "cast5", "seed", "AndDES"]
                .iter()
                .any(|old| name.contains(old));
            assert_eq!(error.contains("-provider legacy"), is_old, "{error}");
        }
    }
}

#[test]
fn an_encrypted_key_needs_the_right_pass_phrase() {
    let key = encrypted(&KeyPair::generate().unwrap(), 100);
    let missing = wrong(&key, None);
    assert!(
        missing.to_string().contains("give its pass phrase"),
        "{missing}"
    );
    let other = wrong(&key, Some("hush-hush"));
    assert!(
        other.to_string().contains("check the pass phrase"),
        "{other}"
    );
    assert_eq!(other.param(), Some(PASSPHRASE.param));
}

#[test]
fn parameters_that_make_no_sense_are_refused_and_nothing_panics() {
    let key = encrypted(&KeyPair::generate().unwrap(), 100);
    let salt = key
        .windows(10)
        .position(|part| part == b"\x04\x08saltsalt")
        .unwrap();
    let vector = key
        .windows(18)
        .position(|part| part == [&[4, 16][..], &[7; 16]].concat())
        .unwrap();
    for (at, words) in [
        (salt, "parameters that cannot be read"),
        (vector, "parameters that cannot be read"),
    ] {
        // Another type in its place.
        let mut key = key.clone();
        key[at] = 12;
        assert!(wrong(&key, Some("hush")).to_string().contains(words));
    }
    // Ciphers that want vectors of other lengths: triple DES, DES, AES-256.
    let des3 = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 3, 7];
    for cipher in [&des3[..], &[0x2b, 0x0e, 3, 2, 7], &AES256] {
        for length in [0, 1, 7, 9, 15, 17] {
            let error = wrong(
                &pbes2(b"saltsalt", cipher, &[0; 17][..length]),
                Some("hush"),
            )
            .to_string();
            assert!(
                error.contains("parameters that cannot be read"),
                "{cipher:?} {length}: {error}"
            );
        }
    }
    for salt in [33, 40] {
        let error = wrong(&pbes2(&[7; 40][..salt], &AES256, &[0; 16]), Some("hush")).to_string();
        assert!(
            error.contains(&format!("a salt of {salt} bytes, more than 32")),
            "{error}"
        );
    }
    let error = wrong(&pbes2(b"saltsalt", &AES256[..8], &[0; 16]), Some("hush")).to_string();
    assert!(
        error.contains("is encrypted with `2.16.840.1.101.3.4.1`, which is not supported"),
        "{error}"
    );
}

const AES256: [u8; 9] = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 0x2a];

/// A PKCS#8 key by PBES2 and PBKDF2, with what `pkcs5` would not make.
fn pbes2(salt: &[u8], cipher: &[u8], vector: &[u8]) -> Vec<u8> {
    let tlv =
        |tag: u8, value: &[u8]| [&[tag, u8::try_from(value.len()).unwrap()][..], value].concat();
    let sequence = |parts: &[Vec<u8>]| tlv(0x30, &parts.concat());
    let derivation = sequence(&[tlv(4, salt), tlv(2, &[100])]);
    let derivation = sequence(&[
        tlv(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 12]),
        derivation,
    ]);
    let parts = sequence(&[derivation, sequence(&[tlv(6, cipher), tlv(4, vector)])]);
    let scheme = sequence(&[
        tlv(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 13]),
        parts,
    ]);
    let der = sequence(&[scheme, tlv(4, &[0; 8])]);
    assert!(der[1] < 0x80, "one byte tells each length");
    der
}

#[test]
fn a_pass_phrase_that_is_not_needed_does_no_harm() {
    let key = KeyPair::generate().unwrap();
    is_same(&key, key.serialize_pem().as_bytes(), Some("hush"));
}

#[test]
fn the_encryption_of_old_is_refused_with_its_cipher_and_the_command() {
    for (cipher, is_old) in [
        ("AES-256-CBC", false),
        ("DES-EDE3-CBC", false),
        ("DES-CBC", true),
        ("RC2-CBC", true),
    ] {
        let error = wrong(
            LEGACY.replace("AES-256-CBC", cipher).as_bytes(),
            Some("hush"),
        )
        .to_string();
        assert!(
            error.contains(&format!("(`Proc-Type: 4,ENCRYPTED`, {cipher})")),
            "{error}"
        );
        assert!(
            error.contains("openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256 -in"),
            "{error}"
        );
        assert_eq!(error.contains("-provider legacy"), is_old, "{error}");
    }
}

#[test]
fn a_key_whose_derivation_would_not_end_is_refused() {
    let key = KeyPair::generate().unwrap();
    let scrypt = |log_n, r, p| {
        let params = ScryptParams::new(log_n, r, p).unwrap();
        Parameters::generate_scrypt_aes256cbc(params, b"saltsalt", [7; 16]).unwrap()
    };
    let pbkdf2 =
        |count| Parameters::generate_pbkdf2_sha256_aes256cbc(count, b"saltsalt", [7; 16]).unwrap();
    for (scheme, excess) in [
        (
            pbkdf2(2_000_001),
            "PBKDF2 with 2000001 iterations, more than 2000000",
        ),
        (pbkdf2(90_000_000), "PBKDF2 with 90000000"),
        (scrypt(19, 8, 1), "scrypt over 512 MiB, more than 256"),
        (scrypt(14, 8, 17), "scrypt over 272 MiB"),
    ] {
        let encrypted_data = OctetStringRef::new(&[0; 32]).unwrap();
        let der = EncryptedPrivateKeyInfoRef {
            encryption_algorithm: scheme.into(),
            encrypted_data,
        }
        .to_der()
        .unwrap();
        let error = wrong(&der, Some("hush"));
        assert!(
            error.to_string().contains("takes too long") && error.to_string().contains(excess),
            "{error}"
        );
    }
    is_same(&key, &encrypted(&key, 10_000), Some("hush"));
}

#[test]
fn what_is_no_key_says_what_it_is() {
    let key = KeyPair::generate().unwrap().serialize_pem();
    for (text, problem) in [
        (String::new(), "holds no key in PEM or DER"),
        ("hush".into(), "holds no key in PEM or DER"),
        (
            pem("CERTIFICATE", b"x"),
            "holds no private key, but a certificate: give",
        ),
        (
            pem("PUBLIC KEY", b"x"),
            "holds no private key, but a public key: give",
        ),
        (
            pem("RSA PUBLIC KEY", b"x"),
            "holds no private key, but a public key: give",
        ),
        (
            pem("CERTIFICATE REQUEST", b"x"),
            "holds no private key, but a certificate request (CSR)",
        ),
        (pem("HUSH", b"x"), "holds no private key, but HUSH"),
        (pem("DSA PRIVATE KEY", b"x"), "is a DSA key"),
        ("ssh-ed25519 AAAA me".into(), "an OpenSSH public key"),
        ("PuTTY-User-Key-File-3: x".into(), "a PuTTY key: `puttygen"),
        ("<html>".into(), "a web page: a server's answer"),
        (pem("OPENSSH PRIVATE KEY", b"x"), "ssh-keygen -p"),
        (key.repeat(2), "holds 2 private keys"),
        (key[..60].to_owned(), "it was cut off"),
        (pem("PRIVATE KEY", b"hush"), "of an unsupported kind"),
        ("0\u{3}abc".into(), "holds no key in PEM or DER"),
    ] {
        let error = wrong(text.as_bytes(), None);
        assert!(
            error.to_string().contains(problem) && error.param() == Some(PARAM),
            "{problem}: {error}"
        );
    }
}

#[test]
fn der_may_be_padded_and_is_told_apart() {
    let key = KeyPair::generate().unwrap();
    let der = key.serialize_der();
    for padding in ["", "\n", "\r\n", "\0"] {
        is_same(&key, &[&der, padding.as_bytes()].concat(), None);
        is_same(
            &key,
            &[&encrypted(&key, 100), padding.as_bytes()].concat(),
            Some("hush"),
        );
    }
    for (bytes, words) in [
        (der[..60].to_vec(), "was cut off: it has 60 of the"),
        ([&der[..], &der].concat(), "more bytes after its DER key"),
        (
            crate::device::certificate::tests::openssl("certificate").1,
            "holds no private key, but a certificate",
        ),
        (
            crate::device::certificate::tests::openssl("public").1,
            "holds no private key, but a public key",
        ),
        (
            crate::device::certificate::tests::openssl("pkcs12").1,
            "`openssl pkcs12 -nocerts -in <file> -out <new file>`",
        ),
        (
            crate::device::certificate::tests::openssl("request").1,
            "holds no private key, but a certificate request",
        ),
    ] {
        let error = wrong(&bytes, None);
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
}
