//! Sessions that get well by themselves, and what they serve until then.

use brs::RefreshStatus;
use brs_tests::embedded_iot::ServerCertificate;
use brs_tests::rough_path::RoughPath;

use super::*;

/// Lets time pass until it is so; how much of it has passed. No time passes during a refresh.
async fn until(
    bench: &Bench,
    session: &RefreshableSession,
    is_so: impl Fn(&RefreshStatus) -> bool,
) -> Duration {
    let from = bench.clock.now();
    loop {
        let (status, passed) = (
            session.status(),
            bench.clock.now().duration_since(from).unwrap(),
        );
        if is_so(&status) {
            return passed;
        }
        assert!(passed < 12 * HOUR, "{status:?}");
        if !status.is_refreshing() {
            // The eager task waits for its time at the clock.
            bench.clock.sleepers(1).await;
            bench.clock.advance(Duration::from_secs(5));
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_eager_session_gets_well_when_what_was_wrong_is_mended() {
    let bench = Bench::new();
    let session = bench
        .builder(bench.params())
        .defer_refresh(false)
        .build()
        .await
        .unwrap();
    for (spoil, mend) in [
        (
            Box::new(|iot: &EmbeddedIot, _: &Device| iot.remove_role_alias(ALIAS))
                as Box<dyn Fn(&EmbeddedIot, &Device)>,
            Box::new(|iot: &EmbeddedIot, _: &Device| iot.add_role_alias(ALIAS, ROLE, None))
                as Box<dyn Fn(&EmbeddedIot, &Device)>,
        ),
        (
            Box::new(|iot, device| iot.deny(device)),
            Box::new(|iot, device| iot.allow(device)),
        ),
    ] {
        let refreshes = session.status().refreshes();
        spoil(&bench.iot, &bench.device);
        until(&bench, &session, |status| status.last_error().is_some()).await;
        let error = session.status().last_error().cloned().unwrap();
        assert!(error.is_unrecoverable(), "{error:?}");
        session.credentials().await.unwrap();
        mend(&bench.iot, &bench.device);
        // Half of what is left, and ten minutes at most.
        let took = until(&bench, &session, |status| status.refreshes() > refreshes).await;
        assert!(took <= Duration::from_secs(660), "{took:?}");
        assert!(session.status().last_error().is_none());
    }
    assert!(bench.iot.calls() < 20, "paced: {}", bench.iot.calls());
}

#[tokio::test]
async fn an_expired_set_is_served_while_the_endpoint_cannot_be_trusted() {
    let bench = Bench::new();
    let session = bench.session().await;
    let first = session.credentials().await.unwrap();
    bench.iot.set_certificate(ServerCertificate::Untrusted);
    bench.iot.close_connections();
    bench.clock.advance(2 * HOUR);
    assert_eq!(
        session.credentials().await.unwrap().access_key_id(),
        first.access_key_id()
    );
    let error = session.status().last_error().cloned().unwrap();
    assert!(
        error.to_string().contains("was not issued by an authority"),
        "{error}"
    );
    assert!(!error.is_unrecoverable() && !error.is_retryable());
}

#[tokio::test]
async fn an_expired_set_is_served_while_there_is_no_network() {
    let bench = Bench::new();
    let port = bench
        .iot
        .endpoint()
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let path = RoughPath::start(([127, 0, 0, 1], port).into());
    let params = bench.params_at(&path.endpoint(), ALIAS, &bench.device);
    let session = bench.builder(params).build().await.unwrap();
    let first = session.credentials().await.unwrap();
    path.cut();
    drop(path);
    bench.clock.advance(2 * HOUR);
    assert_eq!(
        session.credentials().await.unwrap().access_key_id(),
        first.access_key_id()
    );
    assert!(session.status().last_error().unwrap().is_retryable());
}
