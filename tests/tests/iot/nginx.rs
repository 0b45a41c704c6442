//! The same with nginx in front, whose TLS is OpenSSL's and whose clock is the system's.

use brs_tests::embedded_iot::TlsVersions;
use brs_tests::nginx::{Nginx, REQUESTS};

use super::*;

struct Behind {
    nginx: Nginx,
    iot: EmbeddedIot,
    _aws: EmbeddedAws,
}

impl Behind {
    fn new(versions: TlsVersions) -> Self {
        let aws = EmbeddedAws::start();
        let iot = EmbeddedIot::start(&aws);
        iot.add_role_alias(ALIAS, ROLE, None);
        Self {
            nginx: Nginx::start(&iot, versions),
            iot,
            _aws: aws,
        }
    }

    async fn session(&self, device: &Device) -> RefreshableSession {
        let params = Params::new(self.nginx.endpoint(), ALIAS)
            .allow_any_endpoint(true)
            .trust_store(self.iot.trust_store())
            .thing_name(THING)
            .certificate(device.certificate_pem.as_str())
            .private_key(device.private_key_pem.as_str());
        RefreshableSession::builder("iot", params)
            .region("eu-west-1")
            .build()
            .await
            .unwrap()
    }
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn every_kind_of_key_and_both_versions_work_with_openssl_at_the_other_end() {
    for versions in [TlsVersions::Tls12, TlsVersions::Tls13] {
        let behind = Behind::new(versions);
        for kind in [
            KeyKind::Rsa2048,
            KeyKind::Rsa3072,
            KeyKind::EcP256,
            KeyKind::EcP384,
        ] {
            let device = behind.iot.add_device(THING, kind);
            let session = behind.session(&device).await;
            let before = behind.iot.calls();
            for _ in 0..2 * REQUESTS {
                session.refresh().await.unwrap();
            }
            for (number, seen) in behind.iot.requests()[before..].iter().enumerate() {
                assert_eq!(
                    seen.certificate_id.as_deref(),
                    Some(device.certificate_id.as_str())
                );
                let version = if versions == TlsVersions::Tls12 {
                    "TLSv1.2"
                } else {
                    "TLSv1.3"
                };
                assert_eq!(seen.tls_version.as_deref(), Some(version));
                assert_eq!(
                    seen.resumed,
                    number >= REQUESTS,
                    "the second connection: {number}, {versions:?}, {kind:?}"
                );
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn a_device_that_nginx_does_not_know_is_told_so_with_its_certificate() {
    let behind = Behind::new(TlsVersions::Both);
    let stranger =
        EmbeddedIot::start(&EmbeddedAws::start()).add_device("stranger", KeyKind::EcP256);
    let error = behind
        .session(&stranger)
        .await
        .credentials()
        .await
        .unwrap_err();
    assert_eq!(error.status(), Some(400), "{error}");
    let shown = error.to_string();
    assert!(
        shown.contains("is not AWS IoT but a web server that rejected the device's certificate"),
        "{shown}"
    );
    assert!(shown.contains(&stranger.certificate_id), "{shown}");
    assert_eq!(behind.iot.calls(), 0);
}
