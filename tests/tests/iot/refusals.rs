//! AWS's no, row by row: the setting to look at, the command, the request id; and no second call
//! for it.

use brs::ErrorKind;

use super::*;

#[tokio::test]
async fn credentials_are_of_the_role_behind_the_alias_and_for_the_thing() {
    let bench = Bench::new();
    let params = bench.params().thing_name(THING).duration(HOUR * 2);
    let session = bench.builder(params).build().await.unwrap();
    let set = session.credentials().await.unwrap();
    assert_eq!(set.expiration(), Some(start() + HOUR * 2));
    let request = &bench.iot.requests()[0];
    assert_eq!(request.role_alias.as_deref(), Some(ALIAS));
    assert_eq!(request.thing_name.as_deref(), Some(THING));
    assert_eq!(request.duration_seconds.as_deref(), Some("7200"));
    assert_eq!(request.server_name.as_deref(), Some("localhost"));
    assert_eq!(
        request.certificate_id.as_deref(),
        Some(bench.device.certificate_id.as_str())
    );
    assert!(
        request
            .user_agent
            .as_deref()
            .unwrap()
            .starts_with("brs-iot/")
    );
}

#[tokio::test]
async fn without_thing_and_duration_no_headers_are_sent() {
    let bench = Bench::new();
    bench.session().await.credentials().await.unwrap();
    let request = &bench.iot.requests()[0];
    assert_eq!(
        (&request.thing_name, &request.duration_seconds),
        (&None, &None)
    );
}

#[tokio::test]
async fn an_alias_with_odd_characters_arrives_as_it_is() {
    let bench = Bench::new();
    bench.iot.add_role_alias("a=b,c@d-e_F", ROLE, None);
    let params = bench.params_at(&bench.iot.endpoint(), "a=b,c@d-e_F", &bench.device);
    bench
        .builder(params)
        .build()
        .await
        .unwrap()
        .credentials()
        .await
        .unwrap();
    assert_eq!(
        bench.iot.requests()[0].role_alias.as_deref(),
        Some("a=b,c@d-e_F")
    );
}

/// The refusal and its texts, after one call.
async fn refused(bench: &Bench, params: Params, status: u16, texts: &[&str]) {
    let calls = bench.iot.calls();
    let error = bench.fails(params).await;
    let shown = error.to_string();
    assert!(texts.iter().all(|text| shown.contains(text)), "{shown}");
    assert_eq!(
        (error.kind(), error.status()),
        (ErrorKind::Request, Some(status)),
        "{shown}"
    );
    assert!(error.is_unrecoverable() && !error.is_retryable(), "{shown}");
    assert_eq!(bench.iot.calls(), calls + 1, "no second call: {shown}");
    let request = bench.iot.requests().pop().unwrap();
    assert_eq!(error.details()["request_id"], request.request_id);
    assert_eq!(error.code(), request.error_code.as_deref());
}

#[tokio::test]
async fn a_thing_of_another_certificate_is_named() {
    let bench = Bench::new();
    let other = bench.iot.add_device("other", KeyKind::EcP256).thing_name;
    let params = bench.params().thing_name(other);
    refused(
        &bench,
        params,
        403,
        &[
            "thing `other`",
            "aws iot list-thing-principals --thing-name other",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_policy_that_does_not_allow_it_is_named() {
    let bench = Bench::new();
    bench.iot.deny(&bench.device);
    let texts = [
        "`iot:AssumeRoleWithCertificate`",
        "aws iot list-attached-policies",
    ];
    refused(&bench, bench.params(), 403, &texts).await;
}

#[tokio::test]
async fn a_certificate_that_is_not_active_is_named_by_its_id() {
    let bench = Bench::new();
    bench.iot.deactivate(&bench.device);
    let command = format!(
        "aws iot describe-certificate --certificate-id {}",
        bench.device.certificate_id
    );
    refused(
        &bench,
        bench.params(),
        403,
        &["not registered or not active", &command],
    )
    .await;
}

#[tokio::test]
async fn a_role_alias_that_does_not_exist_is_named() {
    let bench = Bench::new();
    bench.iot.remove_role_alias(ALIAS);
    refused(
        &bench,
        bench.params(),
        404,
        &[
            "role alias `demo` does not exist",
            "aws iot list-role-aliases",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_role_that_does_not_trust_aws_iot_is_pointed_at() {
    let bench = Bench::new();
    bench.iot.break_trust(ALIAS);
    refused(
        &bench,
        bench.params(),
        400,
        &[
            "credentials.iot.amazonaws.com",
            "aws iot describe-role-alias",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_duration_beyond_the_roles_own_is_told() {
    let bench = Bench::new();
    bench.iot.add_role_alias(ALIAS, ROLE, HOUR);
    refused(
        &bench,
        bench.params().duration(HOUR * 12),
        400,
        &["43200 s", "MaxSessionDuration"],
    )
    .await;
}

#[tokio::test]
async fn what_was_refused_works_once_it_is_mended() {
    let bench = Bench::new();
    bench.iot.deactivate(&bench.device);
    let session = bench.session().await;
    session.refresh().await.unwrap_err();
    bench.iot.activate(&bench.device);
    session.refresh().await.unwrap();
}
