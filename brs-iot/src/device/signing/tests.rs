//! Serial numbers, and signatures of keys in memory. Those of tokens have their tests where there
//! is a module.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use brs_core::Blocking;
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _, RsaKeySize, SerialNumber};

use super::*;
use crate::device::params::DeviceParams;

async fn device(key: &KeyPair, serial: &[u8]) -> Device {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.serial_number = Some(SerialNumber::from_slice(serial));
    let certificate = params.self_signed(key).unwrap();
    let params = DeviceParams::new()
        .certificate(certificate.pem())
        .private_key(key.serialize_pem());
    let contents = params.read().unwrap();
    let (place, now) = (Blocking::new(), std::time::UNIX_EPOCH);
    params.open(&contents, &place, now, None).await.unwrap()
}

#[test]
fn serial_numbers_are_signed_and_of_any_length() {
    for (bytes, text) in [
        (&[][..], "0"),
        (&[0], "0"),
        (&[0x7f], "127"),
        (&[0x80], "-128"),
        (&[0xff], "-1"),
        (&[0, 0x80], "128"),
        (&[1, 0], "256"),
        (&[0xff, 0], "-256"),
        // What Python's `int.from_bytes(…, signed=True)` makes of them.
        (
            &[0x7f; 20],
            "727885129180488904360266563744972327436484050815",
        ),
        (
            &[0x80; 20],
            "-727885129180488904360266563744972327436484050816",
        ),
    ] {
        assert_eq!(decimal(bytes), text, "{bytes:x?}");
    }
}

#[tokio::test]
async fn a_certificates_serial_number_is_read_whatever_its_first_bit() {
    let key = KeyPair::generate().unwrap();
    let high = [&[0xff][..], &[0; 15]].concat();
    for (serial, text) in [
        (&[1][..], "1"),
        (&[0x7f, 0xff], "32767"),
        // A positive number: DER puts a zero before it.
        (&high, "338953138925153547590470800371487866880"),
    ] {
        assert_eq!(device(&key, serial).await.certificate_serial(), text);
    }
}

#[tokio::test]
async fn every_kind_of_key_signs_a_sha256_digest() {
    let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size).unwrap();
    let ec = |curve| KeyPair::generate_for(curve).unwrap();
    let limit = Duration::from_secs(10);
    let rsa_way: &'static dyn VerificationAlgorithm = &RSA_PKCS1_2048_8192_SHA256;
    for (key, algorithm) in [
        (rsa(RsaKeySize::_2048), rsa_way),
        (ec(&rcgen::PKCS_ECDSA_P256_SHA256), &ECDSA_P256_SHA256_ASN1),
        (ec(&rcgen::PKCS_ECDSA_P384_SHA384), &ECDSA_P384_SHA256_ASN1),
    ] {
        let device = device(&key, &[1]).await;
        // Enough for numbers with leading zeros.
        for round in 0..64_u8 {
            let signature = device.sign_sha256(&[round], limit).await.unwrap();
            UnparsedPublicKey::new(algorithm, key.der_bytes())
                .verify(&[round], &signature)
                .unwrap();
        }
    }
}

#[tokio::test]
async fn a_p384_key_signs_as_ever_for_tls() {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let device = device(&key, &[1]).await;
    let signing = &device.certified.key;
    let usual = SignatureScheme::ECDSA_NISTP384_SHA384;
    for offered in [&[usual][..], &[P384_SHA256, usual]] {
        let signer = signing.choose_scheme(offered).unwrap();
        assert_eq!(signer.scheme(), usual);
    }
    assert!(
        signing
            .choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256])
            .is_none()
    );
}
