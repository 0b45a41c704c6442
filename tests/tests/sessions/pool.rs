//! Pools of STS sessions: what they have in common, and how they share what STS allows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use brs::sts;
use brs::{Event, Limiter, PoolBuilder, PoolEvent, RoleKey, SessionPool};
use brs_tests::EmbeddedAws;
use brs_tests::embedded_aws::Failure;

use super::*;

/// An embedded AWS with so many roles, and their keys.
fn aws_with_roles(roles: u32) -> (EmbeddedAws, Vec<RoleKey>) {
    let aws = EmbeddedAws::start();
    let keys: Vec<_> = (0..roles)
        .map(|n| RoleKey::new(format!("arn:aws:iam::1234567{n:05}:role/audit")))
        .collect();
    for key in &keys {
        aws.add_role(key.role_arn());
    }
    (aws, keys)
}

fn pool(aws: &EmbeddedAws) -> PoolBuilder<RoleKey> {
    let base = hand_made(aws).build();
    SessionPool::builder(|key: &RoleKey| sts::Params::from(key))
        .options(|session| session.base(base))
        .limiter(Limiter::adaptive(100_000, 100_000))
}

#[tokio::test]
async fn hundreds_of_roles_get_their_credentials_at_the_rate_that_sts_allows() {
    let (aws, keys) = aws_with_roles(300);
    aws.limit_rate(100, 20);
    let pool = pool(&aws).limiter(Limiter::adaptive(100, 20)).build();
    let report = pool.prefetch(keys.clone(), Duration::from_secs(120)).await;
    assert!(report.is_complete(), "{:?}", report.failures().next());
    let status = pool.status();
    assert_eq!(status.sessions, 300);
    assert!(status.throttled < 30, "{status:?}");
    assert_eq!(aws.calls("AssumeRole") as u64, 300 + status.throttled);
    let sessions: Vec<_> = keys.iter().map(|key| pool.get(key).unwrap()).collect();
    let mut seen: Vec<_> = sessions
        .iter()
        .map(|session| at_once(session).unwrap())
        .collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 300, "each has a set of its own");
}

#[tokio::test]
async fn a_pool_slower_than_its_limiter_thinks_is_slowed_down_and_fails_nobody() {
    let (aws, keys) = aws_with_roles(60);
    aws.limit_rate(20, 5);
    let pool = pool(&aws).limiter(Limiter::adaptive(50, 100)).build();
    let mut events = pool.events();
    let report = pool.prefetch(keys, Duration::from_secs(300)).await;
    assert!(report.is_complete(), "{:?}", report.failures().next());
    let status = pool.status();
    assert!(
        status.throttled > 0 && status.allowed_per_second < 50.0,
        "{status:?}"
    );
    loop {
        match events.next().await.unwrap() {
            PoolEvent::Session {
                event:
                    Event::Warning {
                        name: "slowed_down",
                        ..
                    },
                ..
            } => break,
            PoolEvent::Session {
                event: Event::RefreshFailed { error, .. },
                ..
            } => panic!("{error}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn the_sessions_of_a_pool_share_base_credentials_and_connections() {
    let (aws, keys) = aws_with_roles(20);
    let (asked, keys_of) = (Arc::new(AtomicUsize::new(0)), aws.credentials());
    let counted = Arc::clone(&asked);
    let hub = RefreshableSession::with_provider(provider_of(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        Some(keys_of.clone())
    }))
    .base(hand_made(&aws).build())
    .build()
    .await
    .unwrap();
    let pool = SessionPool::builder(|key: &RoleKey| sts::Params::new(key.role_arn()))
        .assume_from(hub)
        .build();
    for key in &keys {
        let identity = pool.get(key).unwrap().whoami().await.unwrap();
        assert_eq!(identity.chain.len(), 1);
    }
    assert_eq!(
        asked.load(Ordering::SeqCst),
        1,
        "one set of base credentials"
    );
    assert_eq!(aws.calls("AssumeRole"), 20);
    assert!(aws.connections() <= 3, "{} connections", aws.connections());
}

#[tokio::test]
async fn a_pool_retries_what_may_pass_and_says_at_once_what_does_not() {
    let (aws, keys) = aws_with_roles(2);
    let pool = pool(&aws).build();
    aws.fail_next([Failure::Status(503), Failure::DropConnection]);
    pool.get(&keys[0]).unwrap().credentials().await.unwrap();
    assert_eq!(aws.calls("AssumeRole"), 3);
    aws.deny_role(keys[1].role_arn());
    let error = pool.get(&keys[1]).unwrap().credentials().await.unwrap_err();
    assert!(error.is_unrecoverable(), "{error}");
    assert_eq!(aws.calls("AssumeRole"), 4);
}

#[tokio::test]
async fn a_pool_on_a_machine_whose_clock_is_off_gets_its_credentials() {
    let off = Duration::from_secs(1200);
    let aws = EmbeddedAws::builder()
        .clock(move || brs::SystemClock::new().now() + off)
        .start();
    let key = RoleKey::new(ROLE);
    aws.add_role(ROLE);
    pool(&aws)
        .build()
        .get(&key)
        .unwrap()
        .credentials()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_key_tells_all_that_a_role_is_asked_for_with() {
    let (aws, keys) = aws_with_roles(1);
    aws.require_external_id(keys[0].role_arn(), "ext-1");
    let pool = pool(&aws).build();
    let error = pool.get(&keys[0]).unwrap().credentials().await.unwrap_err();
    assert!(error.is_unrecoverable());
    let key = keys[0]
        .clone()
        .with_external_id("ext-1")
        .with_role_session_name("nightly")
        .with_duration(Duration::from_secs(900));
    let session = pool.get(&key).unwrap();
    session.credentials().await.unwrap();
    let sts = session.strategy::<sts::Sts>().unwrap();
    assert_eq!(sts.role_session_name(), "nightly");
    assert_eq!(pool.status().sessions, 2, "another key is another session");
    let wrong = RoleKey::new("arn:aws:iam::12:role/x");
    assert_eq!(
        pool.get(&wrong).unwrap_err().param(),
        Some("assume_role.role_arn")
    );
}

#[tokio::test]
async fn one_set_serves_the_clients_of_all_regions() {
    let (aws, keys) = aws_with_roles(1);
    let pool = pool(&aws).build();
    let session = pool.get(&keys[0]).unwrap();
    for region in ["eu-west-1", "us-east-1"] {
        let config = session.client_in(region, aws_types::SdkConfig::clone);
        let provider = config.credentials_provider().unwrap();
        provider.provide_credentials().await.unwrap();
    }
    assert_eq!(aws.calls("AssumeRole"), 1);
}
