//! Encrypted keys in sessions: whence the pass phrase comes, and when it is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use brs::iot::SecretSource;

use super::*;

/// Written by OpenSSL 3, `openssl pkcs8 -topk8 -v2 aes-256-cbc`; the pass phrase is `hush-hush`.
const ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAisgPmMUgcHOgICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEGKZeq6lc3rJvYNHVZurXKcEgZA9
C6wpry6vDdcDrPtEgWcFIAivGfNo5x85EPvk92Y16WBnlIcMkEPjk3vscGV5wRoh
cRip8OwQWizj9bPkY5JnpKN8odVSbE9cxBpwlv5e1j0ZsRm7DaFUFXTF+KeZzfPJ
GeTsPW2y/mAodB1jCbUuF08Ugh+uAos0XuRxKmCWSp09jmrHXfabdDHXayW6QKs=
-----END ENCRYPTED PRIVATE KEY-----
";
/// Its public half, as a request to an authority has it.
const PUBLIC: [u8; 91] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04, 0x7d, 0xca, 0x50, 0xdb, 0xfb,
    0xdc, 0x75, 0x29, 0xb0, 0x4e, 0xac, 0x89, 0x91, 0x89, 0x71, 0xdc, 0x16, 0xa3, 0x1a, 0xcb, 0xdc,
    0x65, 0xa8, 0x4e, 0xd1, 0xbb, 0x9f, 0x57, 0x0b, 0x6b, 0x42, 0xc3, 0x1b, 0x18, 0x25, 0x8c, 0x15,
    0x78, 0x94, 0x4c, 0x97, 0x37, 0x14, 0xdb, 0x89, 0x53, 0xb4, 0x9e, 0xf9, 0x93, 0xcb, 0xa0, 0xd8,
    0x19, 0x51, 0x64, 0xee, 0x07, 0xf5, 0x32, 0x7c, 0xc8, 0xc8, 0x3b,
];

pub(super) fn params(bench: &Bench, passphrase: impl Into<SecretSource>) -> Params {
    let certificate = bench.iot.certify_der(THING, &PUBLIC);
    bench
        .params()
        .certificate(certificate.as_str())
        .private_key(ENCRYPTED)
        .private_key_passphrase(passphrase)
}

#[tokio::test]
async fn an_encrypted_key_opens_a_session_wherever_its_pass_phrase_is() {
    let bench = Bench::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("passphrase");
    std::fs::write(&path, "hush-hush\n").unwrap();
    let blocking = SecretSource::blocking_function(|| Ok::<_, std::io::Error>("hush-hush"));
    let function = SecretSource::function(|| async {
        tokio::task::yield_now().await;
        Ok::<_, std::io::Error>("hush-hush")
    });
    for passphrase in [
        SecretSource::value("hush-hush"),
        SecretSource::file(path),
        blocking,
        function,
    ] {
        let session = bench
            .builder(params(&bench, passphrase))
            .build()
            .await
            .unwrap();
        session.refresh().await.unwrap();
        assert!(!format!("{session:?}").contains("hush-hush"));
    }
    assert_eq!(bench.iot.calls(), 4);
}

#[tokio::test]
async fn a_pass_phrase_is_asked_for_once_however_often_the_device_is_refused() {
    let bench = Bench::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let function = SecretSource::blocking_function(move || {
        count.fetch_add(1, Ordering::SeqCst);
        Ok::<brs::SecretString, std::io::Error>("hush-hush".into())
    });
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    std::fs::write(&path, ENCRYPTED).unwrap();
    let certificate = bench.iot.certify_der(THING, &PUBLIC);
    let params = params(&bench, function)
        .certificate(certificate.as_str())
        .private_key(path.as_path());
    let session = bench.builder(params).build().await.unwrap();
    bench.iot.deactivate(&certificate);
    for _ in 0..3 {
        session.refresh().await.unwrap_err();
    }
    bench.iot.activate(&certificate);
    session.refresh().await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_wrong_pass_phrase_opens_no_session() {
    let bench = Bench::new();
    let error = bench
        .builder(params(&bench, "hush"))
        .build()
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("check the pass phrase") && error.is_unrecoverable(),
        "{error}"
    );
    assert_eq!(error.param(), Some("private_key_passphrase"));
}
