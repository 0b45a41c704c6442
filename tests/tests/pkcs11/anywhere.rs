//! Requests that a token's key signs, for IAM Roles Anywhere.

use std::time::Duration;

use brs::RefreshableSession;
use brs::roles_anywhere::Params;
use brs_core::{Clock as _, SystemClock};
use brs_tests::embedded_iot::EmbeddedIot;
use brs_tests::{EmbeddedAnywhere, EmbeddedAws};

use crate::bench::{Bench, ForBrs as _, Kind, Token, alone, alone_with_faults, run};
use crate::sharing::{descriptors, next_handle, threads, token_threads};

const ROLE: &str = "arn:aws:iam::123456789012:role/backup";

struct Service {
    anywhere: EmbeddedAnywhere,
    iot: EmbeddedIot,
    _aws: EmbeddedAws,
}

impl Service {
    fn start() -> Self {
        let aws = EmbeddedAws::start();
        let iot = EmbeddedIot::start(&aws);
        let anywhere = EmbeddedAnywhere::start(&aws, &iot);
        anywhere.add_role(ROLE);
        Self {
            anywhere,
            iot,
            _aws: aws,
        }
    }

    fn params(&self, trust_anchor_arn: &str) -> Params {
        Params::new(trust_anchor_arn, self.anywhere.profile_arn(), ROLE)
            .endpoint_url(self.anywhere.endpoint())
            .trust_store(self.iot.trust_store())
    }
}

/// A key of that kind gets credentials, with and without a chain.
pub(crate) fn gets_credentials(token: &Token, kind: Kind) {
    let service = Service::start();
    let label = format!("{kind:?}");
    let certificate = service
        .iot
        .certify("server", &token.key(kind, &label, &[1]));
    let end = "-----END CERTIFICATE-----\n";
    let (leaf, intermediate) = certificate.split_at(certificate.find(end).unwrap() + end.len());
    let near = service.anywhere.add_trust_anchor(intermediate);
    for (anchor, certificate) in [
        (service.anywhere.trust_anchor_arn(), certificate.as_str()),
        (near.as_str(), leaf),
    ] {
        let params = service
            .params(anchor)
            .certificate(certificate)
            .pkcs11(token.pkcs11().key_label(&label));
        run(async {
            let session = RefreshableSession::open(params).await.unwrap();
            let began = SystemClock::new().monotonic();
            for _ in 0..3 {
                session.refresh().await.unwrap();
            }
            let took = SystemClock::new().monotonic() - began;
            println!("{kind:?}: {:?} a refresh", took / 3);
        });
    }
    assert_eq!(service.anywhere.calls(), 6);
}

#[test]
#[ignore = "needs SoftHSM2"]
fn every_kind_of_key_on_a_token_signs_requests() {
    alone(|bench| {
        let token = bench.token("server");
        for kind in [
            Kind::Rsa(2048),
            Kind::Rsa(3072),
            Kind::Rsa(4096),
            Kind::P256,
            Kind::P384,
        ] {
            gets_credentials(&token, kind);
        }
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn the_certificate_may_lie_on_the_token_and_its_chain_elsewhere() {
    alone(|bench| {
        let service = Service::start();
        let token = bench.token("server");
        let certificate = service
            .iot
            .certify("server", &token.key(Kind::P384, "key", &[1]));
        let end = "-----END CERTIFICATE-----\n";
        let (leaf, intermediate) = certificate.split_at(certificate.find(end).unwrap() + end.len());
        token.store(&der(leaf), "key", &[1]);
        let params = service
            .params(service.anywhere.trust_anchor_arn())
            .intermediates(intermediate)
            .pkcs11(token.pkcs11().key_label("key"));
        run(async {
            let session = RefreshableSession::open(params).await.unwrap();
            session.refresh().await.unwrap();
        });
        let request = service.anywhere.requests().pop().unwrap();
        assert!(request.chain.is_some());
    });
}

fn der(pem: &str) -> tokio_rustls::rustls::pki_types::CertificateDer<'static> {
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;
    tokio_rustls::rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn flat(bench: &Bench, kind: Kind) {
    let service = Service::start();
    let token = bench.token(&format!("{kind:?}"));
    let certificate = service.iot.certify("server", &token.key(kind, "key", &[1]));
    let params = service
        .params(service.anywhere.trust_anchor_arn())
        .certificate(certificate)
        .pkcs11(token.pkcs11().key_label("key"));
    run(async {
        let session = RefreshableSession::open(params).await.unwrap();
        for _ in 0..20 {
            session.refresh().await.unwrap();
        }
        let before = (threads(), descriptors().len(), next_handle(bench, &token));
        for _ in 0..1000 {
            session.refresh().await.unwrap();
        }
        let after = (
            threads(),
            descriptors().len(),
            next_handle(bench, &token) - 1,
        );
        // Fewer threads are no leak: one that had looked up a name ends when it is idle.
        assert!(after.0.len() <= before.0.len(), "{before:?}, {after:?}");
        assert_eq!((after.1, after.2), (before.1, before.2));
        assert_eq!(token_threads(), 1);
        assert_eq!(service.anywhere.connections(), 1);
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_thousand_refreshes_leave_descriptors_threads_and_token_sessions_as_they_were() {
    alone(|bench| flat(&bench, Kind::P256));
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_token_that_cannot_sign_is_told_and_the_session_recovers() {
    alone_with_faults(|bench| {
        let service = Service::start();
        let token = bench.token("server");
        let certificate = service
            .iot
            .certify("server", &token.key(Kind::Rsa(2048), "key", &[1]));
        let pkcs11 = token.pkcs11().key_label("key");
        let params = service
            .params(service.anywhere.trust_anchor_arn())
            .certificate(certificate)
            .pkcs11(pkcs11.signature_timeout(Duration::from_secs(5)));
        run(async {
            let session = RefreshableSession::open(params).await.unwrap();
            session.refresh().await.unwrap();
            bench.failing_signatures("pkcs1 256");
            let error = session.refresh().await.unwrap_err();
            assert!(error.to_string().contains("token `server`"), "{error}");
            assert_eq!(service.anywhere.calls(), 1, "nothing unsigned is sent");
            bench.failing_signatures("");
            session.refresh().await.unwrap();
        });
    });
}
