//! A request with fixed inputs: RSA signatures are deterministic. What is expected was made by
//! botocore's `SigV4Auth` and Python's `cryptography`.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use brs_core::Clock;
use brs_core::test_util::ManualClock;
use brs_iot::{DeviceIdentity, DeviceParams};

use super::*;

const CERTIFICATE: &str = include_str!("rsa.pem");
const KEY: &str = include_str!("rsa.key");
const AUTHORIZATION: &str = include_str!("rsa.txt");
const BODY: &[u8] =
    br#"{"durationSeconds":900,"profileArn":"p","roleArn":"r","trustAnchorArn":"t"}"#;

#[tokio::test]
async fn a_fixed_request_has_the_signature_that_others_give_it() {
    // 2026-11-28T01:02:03Z.
    let now = UNIX_EPOCH + Duration::from_secs(1_795_827_723);
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(now));
    let params = DeviceParams::new()
        .certificate(CERTIFICATE)
        .private_key(KEY);
    let trust = Some(CERTIFICATE.into());
    let identity = DeviceIdentity::load(params, trust, &clock).await.unwrap();
    let device = identity.device();
    let mut presented = Presented::of(&device).unwrap();
    assert_eq!(presented.chain, None);
    presented.chain = Some([presented.certificate.as_str(); 2].join(","));
    let to_sign = ToSign {
        host: "rolesanywhere.eu-west-1.amazonaws.com",
        region: "eu-west-1",
        presented: &presented,
        body: BODY,
        now,
    };
    assert_eq!(to_sign.date(), "20261128T010203Z");
    let string = to_sign.string_to_sign();
    let limit = Duration::from_secs(10);
    let signature = device.sign_sha256(string.as_bytes(), limit).await.unwrap();
    assert_eq!(to_sign.authorization(&signature), AUTHORIZATION.trim_end());
}

#[test]
fn a_request_without_a_chain_names_no_chain() {
    let presented = Presented {
        certificate: "Y2VydA==".into(),
        chain: None,
        serial: "-5".into(),
        is_rsa: false,
    };
    let to_sign = ToSign {
        host: "localhost:8443",
        region: "cn-north-1",
        presented: &presented,
        body: b"{}",
        now: UNIX_EPOCH,
    };
    assert_eq!(
        to_sign.canonical_request(),
        "POST\n/sessions\n\ncontent-type:application/json\nhost:localhost:8443\n\
         x-amz-date:19700101T000000Z\nx-amz-x509:Y2VydA==\n\ncontent-type;host;x-amz-date;x-amz-x509\n\
         44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    );
    assert_eq!(
        to_sign.authorization(&[0x0a, 0xff]),
        "AWS4-X509-ECDSA-SHA256 Credential=-5/19700101/cn-north-1/rolesanywhere/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date;x-amz-x509, Signature=0aff"
    );
}
