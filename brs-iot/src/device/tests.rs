//! What goes together and what does not, and when it is valid.

use std::time::Duration;

use brs_core::SecretString;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P521_SHA512, PKCS_ED25519};

use brs_core::Blocking;

use super::params::DeviceParams;
use super::*;

fn pair(name: &str) -> (String, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    (params.self_signed(&key).unwrap().pem(), key)
}

#[test]
fn what_was_read_wipes_itself() {
    fn wipes_itself<T: zeroize::ZeroizeOnDrop>(_: &T) {}
    let (certificate, key) = pair("device-7");
    let contents = params(&certificate, &key).read().unwrap();
    wipes_itself(&contents.private_key);
    wipes_itself(&contents.passphrase);
}

async fn open(params: DeviceParams) -> Result<Device, Error> {
    params.validate()?;
    params
        .open(
            &params.read()?,
            &Blocking::new(),
            SystemTime::UNIX_EPOCH,
            None,
        )
        .await
}

fn params(certificate: &str, key: &KeyPair) -> DeviceParams {
    DeviceParams::new()
        .certificate(certificate)
        .private_key(key.serialize_pem())
}

#[tokio::test]
async fn a_pair_that_belongs_together_is_a_device() {
    let (certificate, key) = pair("device-7");
    let (authority, _) = pair("authority");
    let device = open(params(&format!("{certificate}{authority}"), &key))
        .await
        .unwrap();
    assert_eq!(device.certificate_subject(), "CN=device-7");
    assert_eq!(device.certified().cert.len(), 2);
    assert!(!device.may_block() && !device.tls12_only());
    let shown = format!("{device:?}");
    assert!(
        shown.contains("CN=device-7") && shown.contains(device.certificate_sha256()),
        "{shown}"
    );
}

#[tokio::test]
async fn a_pair_that_does_not_belong_together_is_refused() {
    let ((certificate, _), (other, key)) = (pair("device-7"), pair("device-8"));
    let error = open(params(&certificate, &key)).await.unwrap_err();
    assert!(
        error.to_string().contains("do not belong together") && error.is_unrecoverable(),
        "{error}"
    );
    assert_eq!(error.param(), Some("private_key"));
    let error = open(params(&format!("{certificate}{other}"), &key))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("own certificate as number 2: put it first"),
        "{error}"
    );
    assert_eq!(error.param(), Some("certificate"));
}

#[tokio::test]
async fn a_key_that_aws_iot_or_tokens_do_not_know_is_refused_by_its_kind() {
    for (algorithm, kind) in [
        (&PKCS_ED25519, "of another kind"),
        (&PKCS_ECDSA_P521_SHA512, "of another kind"),
    ] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = CertificateParams::new(Vec::new())
            .unwrap()
            .self_signed(&key)
            .unwrap()
            .pem();
        let error = open(params(&certificate, &key)).await.unwrap_err();
        assert!(
            error.to_string().contains(kind) && error.to_string().contains("RSA 2048 to 4096"),
            "{error}"
        );
        assert!(
            error.is_unrecoverable() && error.param() == Some("private_key"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn what_is_missing_or_too_much_is_named() {
    let (certificate, key) = pair("device-7");
    let no_key = DeviceParams::new().certificate(certificate.as_str());
    let no_certificate = DeviceParams::new().private_key(key.serialize_pem());
    for (params, param, problem) in [
        (
            DeviceParams::new(),
            "private_key",
            "exactly one of `private_key` and `pkcs11`",
        ),
        (
            no_key,
            "private_key",
            "exactly one of `private_key` and `pkcs11`",
        ),
        (no_certificate, "certificate", "has no certificate"),
    ] {
        let error = open(params).await.unwrap_err();
        assert!(
            error.to_string().contains(problem) && error.param() == Some(param),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_certificate_out_of_its_time_says_which_time_it_is() {
    let (certificate, key) = pair("device-7");
    let device = open(params(&certificate, &key)).await.unwrap();
    let day = Duration::from_secs(86_400);
    assert!(
        device.check_validity(device.not_before()).is_ok()
            && device.check_validity(device.not_after()).is_ok()
    );
    for (now, problem, shows) in [
        (
            device.not_before() - day,
            "is not valid yet",
            "clock shows 2025-12-31T00:00:00Z",
        ),
        (
            device.not_after() + day,
            "has expired",
            "clock shows 2027-01-02T00:00:00Z",
        ),
    ] {
        let error = device.check_validity(now).unwrap_err();
        let shown = error.to_string();
        assert!(shown.contains(problem) && shown.contains(shows), "{shown}");
        assert!(
            shown.contains("valid from 2026-01-01T00:00:00Z to 2027-01-01T00:00:00Z"),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn nothing_that_is_shown_holds_a_key_or_a_pass_phrase() {
    let (certificate, key) = pair("device-7");
    let pem = key.serialize_pem();
    let params = params(&certificate, &key).private_key_passphrase(SecretString::from("hush"));
    let shown = format!("{params:?}{:?}", open(params.clone()).await.unwrap());
    assert!(
        !shown.contains("hush") && pem.lines().all(|line| !shown.contains(line)),
        "{shown}"
    );
}
