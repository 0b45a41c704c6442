//! What a session is opened with: as data, by name, with the session's own endpoint.

use brs::Params as Data;
use serde_json::json;

use super::*;

#[tokio::test]
async fn the_names_of_awss_helper_open_a_session() {
    let bench = Bench::new();
    let leaf = bench.device.leaf_pem();
    let chain = bench.device.certificate_pem.strip_prefix(leaf).unwrap();
    bench.anywhere.accept_role_session_name(true);
    let data = json!({
        "trust_anchor_arn": bench.anywhere.trust_anchor_arn(), "profile_arn": bench.anywhere.profile_arn(),
        "role_arn": ROLE, "certificate": leaf, "intermediates": chain,
        "private_key": bench.device.private_key_pem, "session_duration": 900, "role_session_name": "night",
        "region": "eu-west-1", "endpoint": format!("https://{}", bench.anywhere.endpoint()),
        "trust_store": bench.iot.trust_store(),
    });
    let params: Params = Data::data(data).unwrap().take().unwrap();
    let set = bench.session(params).await.credentials().await.unwrap();
    assert_eq!(set.expiration(), Some(bench.clock.now() + HOUR / 4));
}

#[tokio::test]
async fn the_sessions_endpoint_is_called_if_the_parameters_have_none() {
    let bench = Bench::new();
    let params = Params::new(
        bench.anywhere.trust_anchor_arn(),
        bench.anywhere.profile_arn(),
        ROLE,
    )
    .trust_store(bench.iot.trust_store())
    .certificate(bench.device.certificate_pem.as_str())
    .private_key(bench.device.private_key_pem.as_str());
    let session = bench
        .builder(params)
        .endpoint_url(format!("https://{}", bench.anywhere.endpoint()))
        .region("us-east-1")
        .build()
        .await
        .unwrap();
    session.refresh().await.unwrap();
    // The session's region is that of its clients; the call goes to the trust anchor's.
    assert_eq!(session.sdk_config().region().unwrap().as_ref(), "us-east-1");
}

#[tokio::test]
async fn an_endpoint_without_tls_is_refused() {
    let bench = Bench::new();
    let params = Params::new(
        bench.anywhere.trust_anchor_arn(),
        bench.anywhere.profile_arn(),
        ROLE,
    )
    .certificate(bench.device.certificate_pem.as_str())
    .private_key(bench.device.private_key_pem.as_str());
    let builder = bench.builder(params).endpoint_url(bench.aws.endpoint_url());
    let error = builder.build().await.unwrap_err();
    assert!(
        error.to_string().contains("must begin with `https://`"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_is_not_trusted_gets_no_request() {
    let bench = Bench::new();
    let other = EmbeddedIot::start(&bench.aws);
    let error = bench
        .fails(bench.params().trust_store(other.trust_store()))
        .await;
    assert!(
        error.to_string().contains("was not issued by an authority"),
        "{error}"
    );
    assert_eq!(error.param(), Some("trust_store"));
    assert_eq!(bench.anywhere.calls(), 0);
}
