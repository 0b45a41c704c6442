//! Keys in every form, and what is said about those that cannot be used.

use pkcs8::der::asn1::OctetStringRef;
use pkcs8::der::{Decode as _, Encode as _};
use pkcs8::pkcs5::pbes2::Parameters;
use pkcs8::pkcs5::scrypt::Params as ScryptParams;
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData as _};

use super::*;

const NAMED: &str = "the private key `/k`";

/// Written by OpenSSL 3: `openssl pkcs8 -topk8 -v2 aes-256-cbc`, then with `-scrypt`; the pass phrase is `hush`.
const OPENSSL_PBKDF2: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAgRMZEfr71jggICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEBDb2R7w9oVvwVfPolZFrLMEgZAr
xWL+G8BOEk6NhZ83b4d77e3/CI6O3b74prUuUiBKsvC9IsHAl0KEVg6lVSXEvcDd
7UWg0XHKMxM6u4I52xER9PMKTXcrGsDUMDefbfLX6x4/Coi3ophKuYucEQRomf2E
US/QI+8QgnNfSpSLepMiRjCcwytsG3WZvzbWFtofYUkyXD7qj/4euXkdXiHoBUk=
-----END ENCRYPTED PRIVATE KEY-----
";
const OPENSSL_SCRYPT: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHkME8GCSqGSIb3DQEFDTBCMCEGCSsGAQQB2kcECzAUBAjAItaooNNTqAICQAAC
AQgCAQEwHQYJYIZIAWUDBAEqBBCsmOeybzm5Ydc28rMr+ftVBIGQJJcjnoxBnqO5
vf+4ip+PAcoYsr3c7mMaPRAiWanJg6k6McwElBCm7L9PVuoO6zGiyVr+6aqoBfUL
badu9UNCXoMQFgrLvBU8seKRrOZCA1+cAbMICG3+6MigGlhih9/GlviXeI+JLFxo
UGtbk12n3YGyDg0sIeS1Kx9xMAq2b/4ZZArtM+OmlgJYzejQtDeG
-----END ENCRYPTED PRIVATE KEY-----
";
/// `openssl pkcs8 -topk8 -v1 PBE-SHA1-3DES`.
const PBES1: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGxMBwGCiqGSIb3DQEMAQMwDgQIWW/R1Mmoqy4CAggABIGQpAq3lGhIWLSozkDY
laJdOXuYYs4zWDoHTu9YwG5ViYfJq9g/ddX7keTZpJwUQQb47Ns3zs3NT5ydJlG5
OQZnkxDvwqUZ0XYh5WeydBnTuVrOKtRWDn3bpc90Aj6n5L/lfFPcc6ECEZO5r6i/
reKnkph7BTYIWXUN2A3yfozQsgcrvslEme0Iwwo5sgEeGuT/
-----END ENCRYPTED PRIVATE KEY-----
";
const LEGACY: &str = "-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-256-CBC,1341B0E6F4F2A2F02C1AE7A23423B6A7

AAEC
-----END EC PRIVATE KEY-----
";

fn pem(label: &str, der: &[u8]) -> String {
    use base64ct::Encoding as _;
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", base64ct::Base64::encode_string(der))
}

fn encrypted(key: &KeyPair, iterations: u32) -> Vec<u8> {
    let scheme = Parameters::generate_pbkdf2_sha256_aes256cbc(iterations, b"saltsalt", [7; 16]).unwrap();
    let data = scheme.encrypt("hush", &key.serialize_der()).unwrap();
    let encrypted_data = OctetStringRef::new(&data).unwrap();
    EncryptedPrivateKeyInfoRef { encryption_algorithm: scheme.into(), encrypted_data }.to_der().unwrap()
}

fn is_same(key: &KeyPair, bytes: &[u8], passphrase: Option<&str>) {
    let read = read(bytes, passphrase.map(Passphrase::value).as_ref(), NAMED).unwrap();
    assert_eq!(read.public_key().unwrap().as_ref(), key.subject_public_key_info());
}

fn wrong(bytes: &[u8], passphrase: Option<&str>) -> Error {
    let Err(error) = read(bytes, passphrase.map(Passphrase::value).as_ref(), NAMED) else {
        panic!("what is wrong was read");
    };
    assert!(error.to_string().starts_with(NAMED) && error.is_unrecoverable(), "{error}");
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
        let older = PrivateKeyInfoRef::from_der(&der).unwrap().private_key.as_bytes();
        is_same(&key, key.serialize_pem().as_bytes(), None);
        is_same(&key, &der, None);
        is_same(&key, older, None);
        let parameters = pem("EC PARAMETERS", &[6, 8, 42, 134, 72, 206, 61, 3, 1, 7]);
        is_same(&key, format!("{parameters}{}", pem(label, older)).as_bytes(), None);
        is_same(&key, pem("ENCRYPTED PRIVATE KEY", &encrypted(&key, 2048)).as_bytes(), Some("hush"));
        is_same(&key, &encrypted(&key, 2048), Some("hush"));
    }
}

#[test]
fn keys_that_openssl_encrypted_are_read() {
    for text in [OPENSSL_PBKDF2, OPENSSL_SCRYPT] {
        assert!(read(text.as_bytes(), Some(&Passphrase::value("hush")), NAMED).is_ok());
    }
}

#[test]
fn an_encrypted_key_needs_the_right_pass_phrase() {
    let missing = wrong(OPENSSL_PBKDF2.as_bytes(), None);
    assert!(missing.to_string().contains("give its pass phrase"), "{missing}");
    let other = wrong(OPENSSL_PBKDF2.as_bytes(), Some("hush-hush"));
    assert!(other.to_string().contains("check the pass phrase"), "{other}");
    assert_eq!(other.param(), Some(PASSPHRASE));
}

#[test]
fn a_pass_phrase_that_is_not_needed_does_no_harm() {
    let key = KeyPair::generate().unwrap();
    is_same(&key, key.serialize_pem().as_bytes(), Some("hush"));
}

#[test]
fn other_encryption_says_how_to_convert_it() {
    for (text, problem) in [(LEGACY, "old way"), (PBES1, "not supported")] {
        let error = wrong(text.as_bytes(), Some("hush"));
        assert!(error.to_string().contains(problem) && error.to_string().contains("openssl pkcs8 -topk8"), "{error}");
    }
}

#[test]
fn a_key_whose_derivation_would_not_end_is_refused() {
    let key = KeyPair::generate().unwrap();
    let scrypt = |log_n, r, p| {
        let params = ScryptParams::new(log_n, r, p).unwrap();
        Parameters::generate_scrypt_aes256cbc(params, b"saltsalt", [7; 16]).unwrap()
    };
    let pbkdf2 = |count| Parameters::generate_pbkdf2_sha256_aes256cbc(count, b"saltsalt", [7; 16]).unwrap();
    for (scheme, excess) in [
        (pbkdf2(2_000_001), "PBKDF2 with 2000001 iterations, of at most 2000000"),
        (pbkdf2(90_000_000), "PBKDF2 with 90000000"),
        (scrypt(19, 8, 1), "scrypt over 512 MiB, of at most 256"),
        (scrypt(14, 8, 17), "scrypt over 272 MiB"),
    ] {
        let encrypted_data = OctetStringRef::new(&[0; 32]).unwrap();
        let der = EncryptedPrivateKeyInfoRef { encryption_algorithm: scheme.into(), encrypted_data }.to_der().unwrap();
        let error = wrong(&der, Some("hush"));
        assert!(error.to_string().contains("takes too long") && error.to_string().contains(excess), "{error}");
    }
    is_same(&key, &encrypted(&key, 10_000), Some("hush"));
}

#[test]
fn what_is_no_key_says_what_it_is() {
    let key = KeyPair::generate().unwrap().serialize_pem();
    for (text, problem) in [
        (String::new(), "holds no key in PEM or DER"),
        ("hush".into(), "holds no key in PEM or DER"),
        (pem("CERTIFICATE", b"x"), "holds no private key, but CERTIFICATE"),
        (pem("PUBLIC KEY", b"x"), "holds no private key, but PUBLIC KEY"),
        (pem("OPENSSH PRIVATE KEY", b"x"), "ssh-keygen -p"),
        (key.repeat(2), "holds 2 private keys"),
        (key[..60].to_owned(), "it was cut off"),
        (pem("PRIVATE KEY", b"hush"), "of no kind that can be used"),
        ("0\u{3}abc".into(), "holds no key in PEM or DER"),
    ] {
        let error = wrong(text.as_bytes(), None);
        assert!(error.to_string().contains(problem) && error.param() == Some(PARAM), "{problem}: {error}");
    }
}
