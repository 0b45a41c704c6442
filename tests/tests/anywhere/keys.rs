//! Every kind of key, with and without a chain, and certificates in any order.

use brs::RefreshStrategy as _;
use brs::roles_anywhere::RolesAnywhere;
use brs_tests::embedded_aws::Failure;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};

use super::*;

const KINDS: [KeyKind; 5] = [
    KeyKind::Rsa2048,
    KeyKind::Rsa3072,
    KeyKind::Rsa4096,
    KeyKind::EcP256,
    KeyKind::EcP384,
];

#[tokio::test]
async fn every_kind_of_key_gets_credentials_with_and_without_a_chain() {
    let bench = Bench::new();
    for kind in KINDS {
        let device = bench.iot.add_device(SERVER, kind);
        let intermediate = device
            .certificate_pem
            .strip_prefix(device.leaf_pem())
            .unwrap();
        // An intermediate may be a trust anchor; then the certificate alone will do.
        let near = bench.anywhere.add_trust_anchor(intermediate);
        let with_chain = bench.params_of(&device.certificate_pem, &device);
        let without = bench
            .bare_by(&near)
            .certificate(device.leaf_pem())
            .private_key(device.private_key_pem.as_str());
        for (params, chained) in [(with_chain, true), (without, false)] {
            let session = bench.session(params).await;
            let set = session.credentials().await.unwrap();
            assert!(set.access_key_id().starts_with("ASIA"));
            assert_eq!(set.expiration(), Some(bench.clock.now() + HOUR));
            let request = bench.anywhere.requests().pop().unwrap();
            assert_eq!(request.chain.is_some(), chained, "{kind:?}");
            let algorithm = match kind {
                KeyKind::EcP256 | KeyKind::EcP384 => "AWS4-X509-ECDSA-SHA256 ",
                _ => "AWS4-X509-RSA-SHA256 ",
            };
            assert!(request.authorization.unwrap().starts_with(algorithm));
            assert_eq!(request.path, "/sessions", "the query is empty");
        }
    }
    assert_eq!(bench.anywhere.calls(), 2 * KINDS.len());
}

#[tokio::test]
async fn what_is_sent_is_what_was_asked_for() {
    let bench = Bench::new();
    bench.anywhere.accept_role_session_name(true);
    bench.anywhere.set_profile_duration(2 * HOUR);
    let params = bench
        .params()
        .duration(2 * HOUR)
        .role_session_name("night")
        .instance_property("rack", "7")
        .region("eu-west-1");
    let session = bench.session(params).await;
    let set = session.credentials().await.unwrap();
    assert_eq!(set.expiration(), Some(bench.clock.now() + 2 * HOUR));
    assert_eq!(set.account_id(), Some("123456789012"));
    let request = bench.anywhere.requests().pop().unwrap();
    assert_eq!(
        request.body,
        serde_json::json!({
            "durationSeconds": 7200, "roleSessionName": "night", "instanceProperties": { "rack": "7" },
            "trustAnchorArn": bench.anywhere.trust_anchor_arn(), "profileArn": bench.anywhere.profile_arn(),
            "roleArn": ROLE,
        })
    );
    assert_eq!(request.host, Some(bench.anywhere.endpoint()));
    assert!(
        request
            .user_agent
            .unwrap()
            .starts_with("brs-roles-anywhere/")
    );
    // What is not asked for is left out: a profile may refuse a name.
    bench.anywhere.accept_role_session_name(false);
    bench
        .session(bench.params())
        .await
        .credentials()
        .await
        .unwrap();
    let body = bench.anywhere.requests().pop().unwrap().body;
    assert_eq!(body.as_object().unwrap().len(), 3, "{body}");
}

#[tokio::test]
async fn the_lower_of_what_is_asked_for_and_the_profiles_duration_counts() {
    let bench = Bench::new();
    for (asked, granted) in [(HOUR / 2, HOUR / 2), (12 * HOUR, HOUR)] {
        let session = bench.session(bench.params().duration(asked)).await;
        let set = session.credentials().await.unwrap();
        assert_eq!(set.expiration(), Some(bench.clock.now() + granted));
    }
}

#[tokio::test]
async fn credentials_are_good_at_aws_and_the_session_has_the_anchors_region() {
    let bench = Bench::new();
    let session = bench.session(bench.params()).await;
    let set = session.credentials().await.unwrap();
    assert_eq!(session.sdk_config().region().unwrap().as_ref(), "eu-west-1");
    assert!(
        bench
            .aws
            .issued_secrets()
            .contains(&set.secret_access_key().to_owned())
    );
    let strategy = session.strategy::<RolesAnywhere>().unwrap();
    let identity = strategy.identity(&set).await.unwrap();
    assert_eq!(identity.source, "iam-roles-anywhere");
    assert_eq!(
        identity.details["certificate_subject"],
        format!("CN={SERVER}")
    );
    assert_eq!(identity.details["certificate_days_left"], "3653");
    assert_eq!(identity.details["role_arn"], ROLE);
    let serial = &identity.details["certificate_serial"];
    let request = bench.anywhere.requests().pop().unwrap();
    let authorization = request.authorization.unwrap();
    assert!(
        authorization.contains(&format!("Credential={serial}/")),
        "{authorization}"
    );
}

/// A root, and three authorities below each other.
struct Authorities {
    root: CertifiedIssuer<'static, KeyPair>,
    below: Vec<CertifiedIssuer<'static, KeyPair>>,
}

impl Authorities {
    fn new() -> Self {
        let params = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            params.use_authority_key_identifier_extension = true;
            params
        };
        let key = || KeyPair::generate().unwrap();
        let root = CertifiedIssuer::self_signed(params("root"), key()).unwrap();
        let mut below = vec![CertifiedIssuer::signed_by(params("one"), key(), &root).unwrap()];
        for name in ["two", "three"] {
            let above = below.last().unwrap();
            let next = CertifiedIssuer::signed_by(params(name), key(), above).unwrap();
            below.push(next);
        }
        Self { root, below }
    }

    /// A certificate with its key, changed by `change` before it is signed.
    fn certify(&self, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, SERVER);
        (params.not_before, params.not_after) =
            ((start() - DAY).into(), (start() + 90 * DAY).into());
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let issuer = self.below.last().unwrap();
        let leaf = params.signed_by(&key, issuer).unwrap();
        (leaf.pem(), key.serialize_pem())
    }
}

#[tokio::test]
async fn a_chain_may_be_in_any_order_with_its_root_and_twice() {
    let bench = Bench::new();
    let authorities = Authorities::new();
    let anchor = bench.anywhere.add_trust_anchor(&authorities.root.pem());
    let (leaf, key) = authorities.certify(|_| {});
    let [one, two, three] = [0, 1, 2].map(|place| authorities.below[place].pem());
    let root = authorities.root.pem();
    for (beside, apart) in [
        (vec![&three, &two, &one], vec![]),
        (vec![&one, &root, &three, &two], vec![]),
        (vec![], vec![&two, &three, &one, &root]),
        (vec![&three, &two], vec![&two, &one, &leaf]),
    ] {
        let text = |parts: &[&String]| parts.iter().map(|part| part.as_str()).collect::<String>();
        let mut params = bench
            .bare_by(&anchor)
            .certificate(leaf.clone() + &text(&beside))
            .private_key(key.as_str());
        if !apart.is_empty() {
            params = params.intermediates(text(&apart));
        }
        bench.session(params).await.credentials().await.unwrap();
        let chain = bench.anywhere.requests().pop().unwrap().chain.unwrap();
        assert_eq!(chain.split(',').count(), 3, "without the root and the leaf");
    }
}

#[tokio::test]
async fn certificates_that_cannot_work_are_refused_before_any_call() {
    let bench = Bench::new();
    let authorities = Authorities::new();
    let stranger = Authorities::new();
    let (leaf, key) = authorities.certify(|_| {});
    let (as_authority, its_key) =
        authorities.certify(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let (no_signature, another_key) =
        authorities.certify(|params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment]);
    let long: String = authorities
        .below
        .iter()
        .map(|issuer| issuer.pem())
        .collect();
    let three = authorities.below[2].pem();
    for (certificate, key, words) in [
        (
            leaf.clone() + &three + &stranger.below[1].pem(),
            &key,
            "certificate of `CN=two` issued none of the others",
        ),
        (
            leaf.clone() + &authorities.below[0].pem(),
            &key,
            "certificate of `CN=one` issued none of the others",
        ),
        (as_authority, &its_key, "is an authority's (`CA:TRUE`)"),
        (no_signature, &another_key, "without `digitalSignature`"),
    ] {
        let params = bench
            .bare()
            .certificate(certificate)
            .private_key(key.as_str());
        let error = bench.builder(params).build().await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(
            error.is_unrecoverable() && error.param() == Some("certificate"),
            "{error:?}"
        );
    }
    // The same chain is fine when it is complete.
    let params = bench
        .bare()
        .certificate(leaf + &long)
        .private_key(key.as_str());
    bench.builder(params).build().await.unwrap();
    assert_eq!(bench.anywhere.calls(), 0);
}

#[tokio::test]
async fn a_chain_that_no_header_takes_is_refused_before_any_call() {
    let bench = Bench::new();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "root");
    let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut params = CertificateParams::new(
        (0..900)
            .map(|number| format!("host-{number}.example.com"))
            .collect::<Vec<_>>(),
    )
    .unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, "verbose");
    let verbose = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &root).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, SERVER);
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &verbose).unwrap();
    let params = bench
        .bare()
        .certificate(leaf.pem() + &verbose.pem())
        .private_key(key.serialize_pem());
    let error = bench.builder(params).build().await.unwrap_err();
    assert!(error.to_string().contains("AWS accepts 16384"), "{error}");
    assert_eq!(bench.anywhere.calls(), 0);
}

#[tokio::test]
async fn answers_that_hold_no_credentials_are_said_to() {
    let bench = Bench::new();
    let session = bench.session(bench.params()).await;
    for (failure, words) in [
        (Failure::EmptyBody, "is empty"),
        (Failure::MalformedXml, "is not JSON"),
        (Failure::Truncated, "is cut off"),
        (Failure::Oversized, "more than 64 KiB"),
        (
            Failure::Body {
                status: 201,
                body: r#"{"credentialSet":[],"subjectArn":"x"}"#.into(),
            },
            "has an empty `credentialSet`",
        ),
        (Failure::Page(200), "is not JSON but HTML"),
    ] {
        bench.anywhere.fail_next([failure]);
        let error = session.refresh().await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(!error.is_unrecoverable(), "{error:?}");
        bench.clock.advance(HOUR);
    }
}
