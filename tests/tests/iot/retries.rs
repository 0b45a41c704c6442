//! Further tries: for what, how many, and within which time.

use brs::ErrorKind;
use brs_tests::embedded_aws::Failure;

use super::*;

#[tokio::test]
async fn trouble_and_dropped_connections_are_tried_again() {
    for failure in
        [Failure::Status(500), Failure::Status(503), Failure::Throttled, Failure::DropConnection, Failure::Page(502)]
    {
        let bench = Bench::new();
        bench.iot.fail_next([failure.clone(), failure.clone()]);
        bench.session().await.refresh().await.unwrap();
        assert_eq!(bench.iot.calls(), 3, "{failure:?}");
    }
}

#[tokio::test]
async fn the_last_try_s_error_is_the_one_that_is_told() {
    let bench = Bench::new();
    bench.iot.fail_always(Some(Failure::Throttled));
    let error = bench.fails(bench.params().max_attempts(2)).await;
    assert!(error.is_throttled() && error.is_retryable() && error.status() == Some(429), "{error:?}");
    assert_eq!(bench.iot.calls(), 2);
    bench.iot.fail_always(Some(Failure::DropConnection));
    let error = bench.fails(bench.params().max_attempts(1)).await;
    assert!(error.kind() == ErrorKind::Connection && error.is_retryable(), "{error:?}");
    assert!(error.to_string().contains("was not reached: the connection was cut"), "{error}");
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
    assert!(error.to_string().contains("nothing listens there") && error.is_retryable(), "{error}");
    let error = bench.fails(bench.params_at("no-such-host.invalid", ALIAS, &bench.device)).await;
    assert!(error.to_string().contains("no-such-host.invalid") && error.is_retryable(), "{error}");
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
    assert_eq!((bench.iot.calls(), bench.iot.connections()), (2, 2), "on a fresh connection");
}

#[tokio::test]
async fn no_try_begins_that_the_refresh_has_no_time_for() {
    let bench = Bench::new();
    bench.iot.fail_always(Some(Failure::Hang));
    let session = bench.builder(bench.params()).refresh_timeout(Duration::from_secs(9)).build().await.unwrap();
    let (result, ()) = tokio::join!(session.refresh(), async {
        bench.iot.wait_for_calls(1).await;
        bench.clock.advance(Duration::from_millis(8100));
    });
    let error = result.unwrap_err();
    assert!(error.to_string().contains("did not answer in time") && error.is_retryable(), "{error}");
    assert_eq!(bench.iot.calls(), 1);
}

#[tokio::test]
async fn a_server_that_never_shakes_hands_ends_at_the_limit_too() {
    let bench = Bench::new();
    let silence = bench.iot.silence();
    let session = bench.builder(bench.params().max_attempts(1)).build().await.unwrap();
    let (result, ()) = tokio::join!(session.refresh(), async {
        bench.iot.wait_for_connections(1).await;
        bench.clock.advance(Duration::from_secs(10));
    });
    assert!(result.unwrap_err().to_string().contains("did not answer in time"));
    drop(silence);
    session.refresh().await.unwrap();
}
