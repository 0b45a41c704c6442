//! Refreshes over expiries, with an outage in between.

use brs_tests::embedded_aws::Failure;

use super::*;

#[tokio::test]
async fn a_session_lives_over_expiries_and_an_outage() {
    let bench = Bench::new();
    let session = bench.session(bench.params()).await;
    let mut last = session.credentials().await.unwrap();
    for _ in 0..5 {
        bench.clock.advance(HOUR);
        let set = session.credentials().await.unwrap();
        assert_ne!(set.access_key_id(), last.access_key_id());
        last = set;
    }
    // The service is away for longer than the set lives: it is served all the same.
    bench.anywhere.fail_always(Some(Failure::Status(503)));
    for _ in 0..3 {
        bench.clock.advance(HOUR);
        let set = session.credentials().await.unwrap();
        assert_eq!(set.access_key_id(), last.access_key_id());
    }
    assert!(session.status().consecutive_failures() > 0);
    bench.anywhere.fail_always(None);
    bench.clock.advance(HOUR);
    let set = session.credentials().await.unwrap();
    assert_ne!(set.access_key_id(), last.access_key_id());
    // In whole seconds.
    let left = set.expiration().unwrap().duration_since(bench.clock.now());
    assert!(left.unwrap() > HOUR - Duration::from_secs(1));
}

#[tokio::test]
async fn a_server_that_restarts_its_connections_is_called_again() {
    let bench = Bench::new();
    let session = bench.session(bench.params()).await;
    session.refresh().await.unwrap();
    session.refresh().await.unwrap();
    assert_eq!(bench.anywhere.connections(), 1, "one connection is kept");
    bench.anywhere.close_connections();
    session.refresh().await.unwrap();
    assert_eq!(bench.anywhere.calls(), 3);
}

#[tokio::test]
async fn in_a_pool_every_call_has_a_permit_of_the_limiter() {
    let bench = std::sync::Arc::new(Bench::new());
    bench.anywhere.fail_always(Some(Failure::Status(503)));
    let (of_pool, clock) = (std::sync::Arc::clone(&bench), Brisk(bench.clock.clone()));
    let pool = brs::SessionPool::builder(move |_: &u32| of_pool.params())
        .options(move |session| session.clock(clock.clone()))
        .build();
    pool.get(&1).unwrap().credentials().await.unwrap_err();
    let calls = bench.anywhere.calls();
    assert!(calls > 1, "the pool tries again");
    assert_eq!(pool.limiter().status().calls, calls as u64);
}
