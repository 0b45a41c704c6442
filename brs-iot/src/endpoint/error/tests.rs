//! Every row of AWS's refusals, and what is shown of foreign words. TLS has its tests where there
//! is a socket.

use std::time::{Duration, UNIX_EPOCH};

use brs_core::{Blocking, ErrorKind};
use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::device::params::DeviceParams;
use crate::device::tls::Trust;
use crate::endpoint::failed::code_of;

async fn device() -> Device {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(Vec::new())
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let params = DeviceParams::new()
        .certificate(certificate.pem())
        .private_key(key.serialize_pem());
    params
        .open(&params.read().unwrap(), &Blocking::new(), UNIX_EPOCH, None)
        .await
        .unwrap()
}

fn call(device: &Device) -> Call<'_> {
    Call {
        target: Target {
            endpoint: "c2abc.credentials.iot.eu-west-1.amazonaws.com",
            shown: Some(device),
            trust: &Trust::Anybody,
            now: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            server_time: None,
        },
        role_alias: "reporting",
        thing_name: Some("device-7"),
        duration: Some(43_200),
        device,
    }
}

fn answer(status: u16, code: Option<&str>, body: &str) -> Answer {
    Answer {
        status,
        code: code.map(code_of),
        request_id: Some("request-1".into()),
        date: None,
        retry_after: None,
        body: zeroize::Zeroizing::new(body.as_bytes().to_vec()),
    }
}

#[test]
fn an_answers_body_wipes_itself() {
    fn wipes_itself<T: zeroize::ZeroizeOnDrop>(_: &T) {}
    wipes_itself(&answer(200, None, "").body);
}

#[tokio::test]
async fn every_refusal_names_the_setting_and_a_command() {
    let device = device().await;
    let id = device.certificate_sha256();
    for (status, message, texts) in [
        (
            403,
            "Invalid thing name passed",
            [
                "`device-7`",
                "aws iot list-thing-principals --thing-name device-7",
            ],
        ),
        (
            403,
            "Access Denied",
            [
                "`iot:AssumeRoleWithCertificate`",
                "aws iot list-attached-policies",
            ],
        ),
        (
            403,
            "Certificate is invalid on this endpoint",
            [
                "not registered or not active",
                &format!("aws iot describe-certificate --certificate-id {id}"),
            ],
        ),
        (
            404,
            "Role alias does not exist",
            ["role alias `reporting`", "aws iot list-role-aliases"],
        ),
        (
            400,
            "Unable to assume the role, or the role to assume does not exist",
            [
                "credentials.iot.amazonaws.com",
                "aws iot describe-role-alias --role-alias reporting",
            ],
        ),
        (
            400,
            "The requested CredentialDurationSeconds exceeds the MaxSessionDuration set for the role",
            ["43200 s", "MaxSessionDuration"],
        ),
        (403, "Something new", ["Something new", "(403)"]),
    ] {
        let body = format!(r#"{{"message":"{message}"}}"#);
        let failed = refused(
            &answer(status, Some("AccessDeniedException:http://x"), &body),
            &call(&device),
        );
        let error = &failed.error;
        assert!(
            texts.iter().all(|text| error.to_string().contains(text)),
            "{error}"
        );
        assert!(error.is_unrecoverable() && !failed.again && error.kind() == ErrorKind::Request);
        assert_eq!(
            (error.status(), error.code()),
            (Some(status), Some("AccessDeniedException"))
        );
        assert_eq!(error.details()["aws_message"], message);
        assert_eq!(error.details()["request_id"], "request-1");
    }
}

#[tokio::test]
async fn throttling_and_trouble_are_worth_another_try() {
    let device = device().await;
    for (status, code, throttled) in [
        (429, None, true),
        (400, Some("ThrottlingException"), true),
        (408, None, false),
        (425, None, false),
        (500, None, false),
        (503, Some("ServiceUnavailableException"), false),
    ] {
        let failed = refused(&answer(status, code, ""), &call(&device));
        assert!(failed.again && failed.error.is_retryable(), "{status}");
        assert_eq!(failed.error.is_throttled(), throttled, "{status}");
    }
}

#[tokio::test]
async fn what_is_not_awss_answer_is_said_to_be_none() {
    let device = device().await;
    for (status, body) in [
        (403, "<html>hush</html>"),
        (302, ""),
        (204, ""),
        (407, "hush"),
        (404, "{\"x\":\"y\"}"),
        (400, "{\"message\":\"no code\"}"),
    ] {
        let failed = refused(&answer(status, None, body), &call(&device));
        assert!(
            failed.error.to_string().contains("is not AWS IoT"),
            "{}",
            failed.error
        );
        assert_eq!(failed.error.kind(), ErrorKind::Credential);
        assert!(!failed.again && !failed.error.is_unrecoverable());
        assert!(!format!("{:?}", failed.error).contains("hush"));
        assert!(
            !failed.error.details().contains_key("aws_message"),
            "{:?}",
            failed.error
        );
    }
}

#[tokio::test]
async fn foreign_words_are_bounded_and_on_one_line() {
    let device = device().await;
    let body =
        serde_json::json!({ "message": format!("a\nb\u{7}{}", "x".repeat(1000)) }).to_string();
    let mut answer = answer(400, Some("bad code!"), &body);
    answer.request_id = Some("r\u{7}".repeat(1000));
    let error = refused(&answer, &call(&device)).error;
    assert_eq!(error.code(), None);
    let shown = format!("{error} {:?}", error.details());
    assert!(
        !shown.contains(['\n', '\u{7}']) && shown.len() < 2000,
        "{shown}"
    );
}

#[test]
fn a_code_is_cut_out_of_its_header() {
    for header in [
        "AccessDeniedException",
        "AccessDeniedException:http://internal.amazon.com/coral/com.amazonaws.x/",
        "com.amazonaws.rolesanywhere#AccessDeniedException",
        " aws.x#AccessDeniedException : http://x#y",
    ] {
        assert_eq!(code_of(header), "AccessDeniedException", "{header}");
    }
}
