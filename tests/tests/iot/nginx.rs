//! The same with nginx in front, whose TLS is OpenSSL's and whose clock is the system's.

use brs_tests::embedded_iot::TlsVersions;
use brs_tests::nginx::Nginx;

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
        Self { nginx: Nginx::start(&iot, versions), iot, _aws: aws }
    }

    async fn session(&self, device: &Device) -> RefreshableSession {
        let params = Params::new(self.nginx.endpoint(), ALIAS)
            .allow_any_endpoint(true)
            .trust_store(self.iot.trust_store())
            .thing_name(THING)
            .certificate(device.certificate_pem.as_str())
            .private_key(device.private_key_pem.as_str());
        RefreshableSession::builder("iot", params).region("eu-west-1").build().await.unwrap()
    }
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn every_kind_of_key_and_both_versions_work_with_openssl_at_the_other_end() {
    for versions in [TlsVersions::Tls12, TlsVersions::Tls13] {
        let behind = Behind::new(versions);
        for kind in [KeyKind::Rsa2048, KeyKind::Rsa3072, KeyKind::EcP256, KeyKind::EcP384] {
            let device = behind.iot.add_device(THING, kind);
            let session = behind.session(&device).await;
            for _ in 0..20 {
                session.refresh().await.unwrap();
            }
            let seen = behind.iot.requests().pop().unwrap();
            assert_eq!(seen.certificate_id.as_deref(), Some(device.certificate_id.as_str()));
        }
    }
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn a_device_that_nginx_does_not_know_is_told_that_what_answered_is_not_aws() {
    let behind = Behind::new(TlsVersions::Both);
    let stranger = EmbeddedIot::start(&EmbeddedAws::start()).add_device("stranger", KeyKind::EcP256);
    let error = behind.session(&stranger).await.credentials().await.unwrap_err();
    assert_eq!(error.status(), Some(400), "{error}");
    assert!(error.to_string().contains("is not AWS IoT"), "{error}");
    assert_eq!(behind.iot.calls(), 0);
}
