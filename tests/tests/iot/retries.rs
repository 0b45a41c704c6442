//! Further tries: for what, how many, and within which time.

use brs::ErrorKind;
use brs_tests::embedded_aws::Failure;

use super::*;

#[tokio::test]
async fn trouble_and_dropped_connections_are_tried_again() {
    for failure in [
        Failure::Status(500),
        Failure::Status(503),
        Failure::Throttled,
        Failure::DropConnection,
        Failure::Page(502),
    ] {
        let bench = Bench::new();
        bench.iot.fail_next([failure.clone(), failure.clone()]);
        bench.session().await.refresh().await.unwrap();
        assert_eq!(bench.iot.calls(), 3, "{failure:?}");
    }
}

#[tokio::test]
async fn trouble_with_a_long_page_is_tried_again_on_a_fresh_connection() {
    let bench = Bench::new();
    let page = |status| Failure::Body {
        status,
        body: "x".repeat(64 * 1024 + 1),
    };
    bench.iot.fail_next([page(503), page(429)]);
    bench.session().await.refresh().await.unwrap();
    assert_eq!((bench.iot.calls(), bench.iot.connections()), (3, 3));
}

#[tokio::test]
async fn the_last_try_s_error_is_the_one_that_is_told() {
    let bench = Bench::new();
    bench.iot.fail_always(Some(Failure::Throttled));
    let error = bench.fails(bench.params().max_attempts(2)).await;
    assert!(
        error.is_throttled() && error.is_retryable() && error.status() == Some(429),
        "{error:?}"
    );
    assert_eq!(bench.iot.calls(), 2);
    bench.iot.fail_always(Some(Failure::DropConnection));
    let error = bench.fails(bench.params().max_attempts(1)).await;
    assert!(
        error.kind() == ErrorKind::Connection && error.is_retryable(),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .contains("was not reached: the connection was cut"),
        "{error}"
    );
    assert_eq!(bench.iot.calls(), 3);
}

#[tokio::test]
async fn nobody_listening_is_told_with_the_endpoint() {
    let bench = Bench::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let params = bench.params_at(&format!("127.0.0.1:{port}"), ALIAS, &bench.device);
    let error = bench.fails(params).await;
    assert!(
        error.to_string().contains("nothing listens there") && error.is_retryable(),
        "{error}"
    );
    let error = bench
        .fails(bench.params_at("no-such-host.invalid", ALIAS, &bench.device))
        .await;
    assert!(
        error.to_string().contains("no-such-host.invalid") && error.is_retryable(),
        "{error}"
    );
}

#[tokio::test]
async fn a_call_that_is_not_answered_ends_at_its_own_limit() {
    let bench = Bench::new();
    bench.iot.fail_next([Failure::Hang]);
    let session = bench.session().await;
    let (result, ()) = tokio::join!(session.refresh(), async {
        bench.iot.wait_for_calls(1).await;
        // The call's limit, which is within the refresh's.
        bench.clock.advance(Duration::from_secs(10));
    });
    result.unwrap();
    assert_eq!(
        (bench.iot.calls(), bench.iot.connections()),
        (2, 2),
        "on a fresh connection"
    );
}

#[tokio::test]
async fn no_try_begins_that_the_refresh_has_no_time_for() {
    let bench = Bench::new();
    bench.iot.fail_always(Some(Failure::Hang));
    let session = bench
        .builder(bench.params())
        .refresh_timeout(Duration::from_secs(9))
        .build()
        .await
        .unwrap();
    let (result, ()) = tokio::join!(session.refresh(), async {
        bench.iot.wait_for_calls(1).await;
        bench.clock.advance(Duration::from_millis(8100));
    });
    let error = result.unwrap_err();
    assert!(
        error.to_string().contains("did not answer in time") && error.is_retryable(),
        "{error}"
    );
    assert_eq!(bench.iot.calls(), 1);
}

#[tokio::test]
async fn a_server_that_never_shakes_hands_ends_at_the_limit_too() {
    let bench = Bench::new();
    let silence = bench.iot.silence();
    let session = bench
        .builder(bench.params().max_attempts(1))
        .build()
        .await
        .unwrap();
    let (result, ()) = tokio::join!(session.refresh(), async {
        bench.iot.wait_for_connections(1).await;
        bench.clock.advance(Duration::from_secs(10));
    });
    assert!(
        result
            .unwrap_err()
            .to_string()
            .contains("did not answer in time")
    );
    drop(silence);
    session.refresh().await.unwrap();
}

#[tokio::test]
async fn the_endpoints_own_wish_for_a_wait_is_kept() {
    let bench = Bench::new();
    let present = bench.clock.now();
    // As seconds, and as a date by the endpoint's clock.
    for (value, status) in [("3", 429), ("Sun, 17 Mar 2030 17:46:46 GMT", 503)] {
        let before = bench.clock.now();
        bench.iot.set_retry_after(Some(value));
        bench.iot.fail_next([Failure::Status(status)]);
        bench.session().await.refresh().await.unwrap();
        let waited = bench.clock.now().duration_since(before).unwrap();
        assert!(
            waited >= Duration::from_secs(3) && waited < Duration::from_secs(4),
            "{value}: {waited:?}"
        );
    }
    assert_eq!(bench.clock.now(), present + Duration::from_secs(6));
}

#[tokio::test]
async fn a_wait_that_the_refresh_has_no_time_for_ends_it_with_the_endpoints_error() {
    let bench = Bench::new();
    bench.iot.set_retry_after(Some("120"));
    bench.iot.fail_always(Some(Failure::Throttled));
    let error = bench.fails(bench.params()).await;
    assert_eq!(
        (error.status(), bench.iot.calls(), bench.clock.now()),
        (Some(429), 1, start()),
        "{error}"
    );
    assert_eq!(error.details()["retry_after"], "120 s");
    // What is no wait at all is none.
    bench.iot.set_retry_after(Some("soon"));
    assert_eq!(bench.fails(bench.params()).await.status(), Some(429));
    assert_eq!(bench.iot.calls(), 4);
}

#[tokio::test]
async fn a_last_try_that_was_cut_short_does_not_hide_what_was_wrong_before() {
    let bench = Bench::new();
    bench.iot.fail_next([Failure::Status(500), Failure::Hang]);
    let session = bench
        .builder(bench.params())
        .refresh_timeout(Duration::from_secs(9))
        .build()
        .await
        .unwrap();
    let (result, ()) = tokio::join!(session.refresh(), async {
        bench.iot.wait_for_calls(2).await;
        bench.clock.advance(Duration::from_millis(8100));
    });
    let error = result.unwrap_err();
    assert_eq!(error.status(), Some(500), "{error}");
}

#[tokio::test]
async fn with_less_than_a_second_left_there_is_no_further_try() {
    let bench = Bench::new();
    bench.iot.fail_next([Failure::Hang]);
    let params = bench.params().timeout(Duration::from_secs(8));
    let session = bench
        .builder(params)
        .refresh_timeout(Duration::from_millis(9200))
        .build()
        .await
        .unwrap();
    let (result, ()) = tokio::join!(session.refresh(), async {
        bench.iot.wait_for_calls(1).await;
        bench.clock.advance(Duration::from_secs(8));
    });
    assert!(
        result
            .unwrap_err()
            .to_string()
            .contains("did not answer in time")
    );
    assert_eq!(
        bench.clock.now(),
        start() + Duration::from_secs(8),
        "no wait for a further one either"
    );
}

#[tokio::test]
async fn a_connection_that_does_not_stand_in_its_time_is_tried_anew_within_the_call() {
    let bench = Bench::new();
    let _silence = bench.iot.silence();
    // In real time: it bounds sockets. The session's clock stands still; the last resort of a call
    // comes after 11 s.
    let params = bench.params().connect_timeout(Duration::from_millis(100));
    let error = tokio::time::timeout(Duration::from_secs(10), bench.fails(params))
        .await
        .unwrap();
    assert!(
        error.to_string().contains("did not answer in time") && error.is_retryable(),
        "{error}"
    );
    assert_eq!(bench.iot.connections(), 3);
}

#[tokio::test]
async fn a_body_that_stalls_after_its_head_ends_at_the_calls_limit_and_is_tried_again() {
    let bench = Bench::new();
    bench.iot.stall_next_body();
    let session = bench.session().await;
    let (result, ()) = tokio::join!(session.refresh(), async {
        bench.iot.wait_for_calls(1).await;
        // Its head is on the way.
        while bench.iot.requests()[0].status.is_none() {
            tokio::task::yield_now().await;
        }
        bench.clock.advance(Duration::from_secs(10));
    });
    result.unwrap();
    assert_eq!((bench.iot.calls(), bench.iot.connections()), (2, 2));
}
