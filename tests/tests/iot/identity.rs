//! Who the device is, and that nothing shows a secret of it.

use brs::RefreshStrategy as _;
use brs::iot::Iot;
use brs_tests::embedded_aws::Failure;

use super::*;

#[tokio::test]
async fn whoami_tells_certificate_and_caller() {
    let bench = Bench::new();
    let params = bench.params().thing_name(THING);
    let session = bench
        .builder(params)
        .endpoint_url(bench.aws.endpoint_url())
        .build()
        .await
        .unwrap();
    let identity = session.whoami().await.unwrap();
    assert_eq!(
        (identity.method.as_str(), identity.source.as_str()),
        ("iot", "iot-credentials-provider")
    );
    assert_eq!(
        identity.details["certificate_sha256"],
        bench.device.certificate_id
    );
    assert!(
        identity.details["certificate_subject"].contains("CN="),
        "{identity:?}"
    );
    assert_eq!(identity.details["thing_name"], THING);
    let caller = identity.caller.unwrap();
    assert!(caller.arn.contains(":assumed-role/demo/"), "{caller:?}");
}

#[tokio::test]
async fn where_sts_cannot_be_asked_the_error_tells_the_certificate() {
    let bench = Bench::new();
    let session = bench
        .builder(bench.params())
        .endpoint_url(bench.aws.endpoint_url())
        .build()
        .await
        .unwrap();
    bench
        .aws
        .fail_always_of("GetCallerIdentity", Some(Failure::AccessDenied));
    let error = session.whoami().await.unwrap_err();
    assert_eq!(error.details()["method"], "iot");
    assert_eq!(
        error.details()["certificate_sha256"],
        bench.device.certificate_id
    );
}

#[tokio::test]
async fn the_strategy_tells_what_it_uses() {
    let bench = Bench::new();
    let session = bench.session().await;
    let strategy = session.strategy::<Iot>().unwrap();
    assert_eq!(
        (strategy.role_alias(), strategy.endpoint()),
        (ALIAS, bench.iot.endpoint().as_str())
    );
    assert_eq!(
        strategy.device().certificate_sha256(),
        bench.device.certificate_id
    );
}

#[tokio::test]
async fn the_region_in_the_endpoints_name_is_the_sessions_unless_another_is_given() {
    let bench = Bench::new();
    let params = bench.params_at(
        "c2abc.credentials.iot.eu-north-1.amazonaws.com",
        ALIAS,
        &bench.device,
    );
    let base = aws_types::SdkConfig::builder().build();
    let builder = || {
        RefreshableSession::builder("iot", params.clone())
            .clock(bench.clock.clone())
            .base(base.clone())
    };
    let session = builder().build().await.unwrap();
    assert_eq!(
        session.sdk_config().region().unwrap().as_ref(),
        "eu-north-1"
    );
    let session = builder().region("eu-west-1").build().await.unwrap();
    assert_eq!(session.sdk_config().region().unwrap().as_ref(), "eu-west-1");
}

#[tokio::test]
async fn an_expired_set_is_served_while_the_endpoint_is_in_trouble() {
    let bench = Bench::new();
    let session = bench.session().await;
    let first = session.credentials().await.unwrap();
    bench.iot.fail_always(Some(Failure::Status(503)));
    bench.clock.advance(2 * HOUR);
    assert_eq!(
        session.credentials().await.unwrap().access_key_id(),
        first.access_key_id()
    );
}

#[tokio::test]
async fn sdk_calls_are_signed_with_the_devices_credentials() {
    let bench = Bench::new();
    let session = bench
        .builder(bench.params())
        .endpoint_url(bench.aws.endpoint_url())
        .build()
        .await
        .unwrap();
    let sts = session.client(aws_sdk_sts::Client::new);
    let arn = sts.get_caller_identity().send().await.unwrap().arn.unwrap();
    assert!(arn.contains(":assumed-role/demo/"), "{arn}");
}

#[tokio::test]
async fn no_debug_and_no_error_shows_a_key() {
    let bench = Bench::new();
    let params = bench.params();
    let session = bench.builder(params.clone()).build().await.unwrap();
    let set = session.credentials().await.unwrap();
    bench.iot.deny(&bench.device);
    let error = session.refresh().await.unwrap_err();
    let strategy = session.strategy::<Iot>().unwrap();
    let shown = format!(
        "{params:?}{session:?}{strategy:?}{:?}{set:?}{}",
        strategy.device(),
        show(&error)
    );
    let key = &bench.device.private_key_pem;
    for secret in key
        .lines()
        .filter(|line| !line.starts_with('-'))
        .chain([set.secret_access_key()])
    {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(!shown.contains(set.session_token().unwrap()));
}

#[tokio::test]
async fn what_decides_the_credentials_is_told() {
    let bench = Bench::new();
    let told = async |params| {
        let session = bench.builder(params).build().await.unwrap();
        let told = session.strategy::<Iot>().unwrap().fingerprint().unwrap();
        told.canonical()
    };
    let base = told(bench.params()).await;
    assert!(base.contains(&bench.device.certificate_id), "{base}");
    assert_eq!(told(bench.params()).await, base);
    assert_ne!(told(bench.params().thing_name(THING)).await, base);
    let shorter = bench.params().duration(Duration::from_secs(900));
    assert_ne!(told(shorter).await, base);
}
