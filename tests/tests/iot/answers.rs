//! Answers that cannot be read: a credential error that says what was wrong, and never the body.

use brs::ErrorKind;
use brs_tests::embedded_aws::Failure;

use super::*;

#[tokio::test]
async fn what_cannot_be_read_is_a_recoverable_credential_error() {
    let bench = Bench::new();
    let session = bench.session().await;
    let body = |body: &str| Failure::Body {
        status: 200,
        body: body.to_owned(),
    };
    for (failure, problem) in [
        (Failure::EmptyBody, "is empty"),
        (Failure::MalformedXml, "is not JSON"),
        (Failure::Truncated, "is cut off"),
        (Failure::Oversized, "more than 64 KiB"),
        (Failure::Page(200), "HTML"),
        (body("{\"message\":\"hush\"}"), "has no `credentials`"),
        (
            body("{\"credentials\":{\"accessKeyId\":\"hush\"}}"),
            "lacks `secretAccessKey`, `sessionToken`, `expiration`",
        ),
        (body("{\"credentials\":\"hush\"}"), "another shape"),
        (body("\"hush\""), "another shape"),
    ] {
        bench.iot.fail_next([failure.clone()]);
        let error = session.refresh().await.unwrap_err();
        assert!(error.to_string().contains(problem), "{failure:?}: {error}");
        assert_eq!(
            (error.kind(), error.status()),
            (ErrorKind::Credential, Some(200)),
            "{error}"
        );
        assert!(
            !error.is_unrecoverable() && error.details().contains_key("request_id"),
            "{error:?}"
        );
        let shown = show(&error);
        assert!(
            !shown.contains("hush") && !shown.contains("ASIATRUNCATED"),
            "{shown}"
        );
    }
    session.refresh().await.unwrap();
}

#[tokio::test]
async fn an_answer_may_have_64_kib_and_not_a_byte_more() {
    let bench = Bench::new();
    let session = bench.session().await;
    let set = serde_json::json!({ "credentials": {
        "accessKeyId": "ASIAWHOLE", "secretAccessKey": "hush", "sessionToken": "hush",
        "expiration": "2030-03-17T18:46:40Z",
    } });
    let set = set.to_string();
    let body = |length: usize| Failure::Body {
        status: 200,
        body: set.clone() + &" ".repeat(length - set.len()),
    };
    bench.iot.fail_next([body(64 * 1024), body(64 * 1024 + 1)]);
    session.refresh().await.unwrap();
    assert_eq!(
        session.credentials().await.unwrap().access_key_id(),
        "ASIAWHOLE"
    );
    assert!(
        session
            .refresh()
            .await
            .unwrap_err()
            .to_string()
            .contains("more than 64 KiB")
    );
}

#[tokio::test]
async fn an_answer_in_awss_place_is_said_to_be_none() {
    let bench = Bench::new();
    for status in [403, 404, 302, 407] {
        bench.iot.fail_next([Failure::Page(status)]);
        let error = bench.fails(bench.params()).await;
        assert!(error.to_string().contains("is not AWS IoT"), "{error}");
        assert_eq!(
            (error.kind(), error.status()),
            (ErrorKind::Credential, Some(status))
        );
        assert!(!error.is_unrecoverable());
    }
}

#[tokio::test]
async fn an_expired_set_is_refused_by_the_engine() {
    let bench = Bench::new();
    bench.iot.fail_next([Failure::AlreadyExpired]);
    let error = bench.fails(bench.params()).await;
    assert!(
        !error.is_unrecoverable() && error.to_string().contains("expired"),
        "{error}"
    );
}
