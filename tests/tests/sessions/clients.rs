//! SDK clients and the session's engine: one cache, no waiting, and clients that are kept.

use aws_sdk_sts::Client;
use brs::{ClientCachePolicy, RefreshableSession};
use brs_tests::embedded_aws::Failure;
use futures_util::FutureExt as _;
use futures_util::future::join_all;

use super::*;

#[tokio::test]
async fn a_client_sees_a_new_set_at_once_and_never_an_old_one() {
    let (aws, clock) = aws();
    let session = session(&aws, &clock).await;
    let client = session.client(Client::new);
    let who = async |expected: &str| {
        let before = aws.requests().len();
        client.get_caller_identity().send().await.unwrap();
        let signed: Vec<_> = aws.requests()[before..]
            .iter()
            .filter(|request| request.action == "GetCallerIdentity")
            .map(|request| request.access_key_id.clone().unwrap())
            .collect();
        assert_eq!(signed, [expected]);
    };
    let first = key(&session).await;
    who(&first).await;
    // The clock of the SDK stands still in these hours: its own cache would serve the first set for
    // ever.
    clock.advance(ADVISORY);
    who(&first).await;
    until_landed(&session).await;
    let second = key(&session).await;
    assert_ne!(first, second);
    who(&second).await;
    session.invalidate(&second);
    who(&key(&session).await).await;
    assert_eq!(session.status().refreshes(), 3);
}

#[tokio::test]
async fn no_call_waits_for_a_refresh_while_a_valid_set_exists() {
    let (aws, clock) = aws();
    let session = session(&aws, &clock).await;
    let client = session.client(Client::new);
    let first = key(&session).await;
    let hold = aws.hold();
    clock.advance(ADVISORY);
    let calls = (0..100).map(|_| client.get_caller_identity().send());
    assert!(
        join_all(calls).await.iter().all(Result::is_ok),
        "while the source does not answer"
    );
    assert_eq!(aws.calls("AssumeRole"), 2);
    assert_eq!(key(&session).await, first);
    hold.release();
    until_landed(&session).await;
}

#[tokio::test]
async fn a_service_configuration_with_changes_uses_the_engine_too() {
    let (aws, clock) = aws();
    let session = session(&aws, &clock).await;
    let changed = aws_sdk_sts::config::Builder::from(session.sdk_config())
        .region(aws_sdk_sts::config::Region::new("ap-south-1"))
        .build();
    let client = Client::from_conf(changed);
    key(&session).await;
    for _ in 0..3 {
        clock.advance(HOUR);
        client.get_caller_identity().send().await.unwrap();
    }
    assert_eq!(aws.calls("AssumeRole"), 4);
    assert_eq!(
        aws.requests().last().unwrap().region.as_deref(),
        Some("ap-south-1")
    );
}

/// The session's clock for the SDK, whose own cache then expires by it.
#[derive(Debug)]
struct Time(brs_core::test_util::ManualClock);

impl aws_smithy_async::time::TimeSource for Time {
    fn now(&self) -> SystemTime {
        brs::Clock::now(&self.0)
    }
}

#[tokio::test]
async fn with_the_provider_alone_the_sdks_cache_asks_in_the_advisory_window_and_is_answered_at_once()
 {
    let (aws, clock) = aws();
    let session = session(&aws, &clock).await;
    let config = hand_made(&aws)
        .behavior_version(aws_config::BehaviorVersion::latest())
        .sleep_impl(aws_smithy_async::rt::sleep::TokioSleep::new())
        .time_source(Time(clock.clone()))
        .credentials_provider(session.credentials_provider());
    let client = Client::new(&config.build());
    client.get_caller_identity().send().await.unwrap();
    let first = key(&session).await;
    // The SDK's cache asks 10 s before the end it was told, which is the start of the mandatory
    // window.
    clock.advance(seconds(3600 - 60 - 5));
    let hold = aws.hold();
    client.get_caller_identity().send().await.unwrap();
    // A refresh in the background, for which nobody waits: the answer may have come before its
    // call.
    while aws.calls("AssumeRole") < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(key(&session).await, first);
    hold.release();
    until_landed(&session).await;
    assert_eq!(aws.calls("AssumeRole"), 2);
    client.get_caller_identity().send().await.unwrap();
    let last = aws.requests().pop().unwrap();
    assert_eq!(last.access_key_id, Some(key(&session).await));
    assert_ne!(last.access_key_id, Some(first));
}

#[tokio::test]
async fn the_credentials_of_an_operations_override_are_not_the_engines() {
    let (aws, clock) = aws();
    let session = session(&aws, &clock).await;
    let client = session.client(Client::new);
    let other = aws_sdk_sts::config::Builder::default().credentials_provider(aws.credentials());
    let identity = client
        .get_caller_identity()
        .customize()
        .config_override(other)
        .send()
        .await
        .unwrap();
    assert_eq!(identity.arn(), Some("arn:aws:iam::123456789012:user/brs"));
    assert_eq!(aws.calls("AssumeRole"), 0);
    let identity = client.get_caller_identity().send().await.unwrap();
    assert!(identity.arn().unwrap().contains("assumed-role/demo"));
}

#[tokio::test]
async fn an_error_of_the_source_reaches_the_caller_through_the_sdk() {
    let (aws, clock) = aws();
    let session = session(&aws, &clock).await;
    aws.fail_always(Some(Failure::AccessDenied));
    let error = session
        .client(Client::new)
        .get_caller_identity()
        .send()
        .await
        .unwrap_err();
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    let mut own = None;
    while let Some(error) = next {
        own = own.or_else(|| error.downcast_ref::<brs::Error>());
        next = error.source();
    }
    assert_eq!(own.unwrap().code(), Some("AccessDenied"));
}

#[tokio::test]
async fn two_hundred_providers_over_one_configuration_ask_two_hundred_times() {
    let (aws, clock) = aws();
    let base = hand_made(&aws).build();
    let mut sessions = Vec::new();
    for _ in 0..200 {
        let builder = RefreshableSession::builder("sts", role())
            .base(base.clone())
            .clock(clock.clone());
        sessions.push(builder.build().await.unwrap());
    }
    for _ in 0..10 {
        let calls = sessions
            .iter()
            .map(|session| session.client(Client::new).get_caller_identity().send());
        assert!(join_all(calls).await.iter().all(Result::is_ok));
    }
    assert_eq!(aws.calls("AssumeRole"), 200);
    assert_eq!(aws.calls("GetCallerIdentity"), 2000);
}

#[tokio::test]
async fn a_client_is_kept_by_its_constructor_region_and_label() {
    let (aws, clock) = aws();
    let session = builder(&aws, &clock)
        .client_cache(2, ClientCachePolicy::Lfu)
        .build()
        .await
        .unwrap();
    for _ in 0..3 {
        let region = |client: &Client| client.config().region().unwrap().to_string();
        assert_eq!(region(&session.client(Client::new)), "eu-west-1");
        assert_eq!(
            region(&session.client_in("eu-north-1", Client::new)),
            "eu-north-1"
        );
    }
    let stats = session.clients();
    assert_eq!(
        (
            stats.hits,
            stats.misses,
            stats.evictions,
            stats.len,
            stats.capacity
        ),
        (4, 2, 0, 2, 2)
    );
    assert_eq!(stats.policy, ClientCachePolicy::Lfu);
    let evicted = session.client_in("eu-north-1", Client::new);
    let named = "reports".to_owned();
    session.client_with("named", |config| {
        let name = aws_types::app_name::AppName::new(named).unwrap();
        Client::from_conf(
            aws_sdk_sts::config::Builder::from(config)
                .app_name(name)
                .build(),
        )
    });
    assert_eq!(session.clients().evictions, 1);
    evicted.get_caller_identity().send().await.unwrap();

    let error = builder(&aws, &clock)
        .client_cache(0, ClientCachePolicy::Lru)
        .build()
        .await
        .unwrap_err();
    assert_eq!(error.param(), Some("client_cache"));
}

#[tokio::test]
async fn a_region_that_is_none_is_the_sdks_own_error() {
    let (aws, clock) = aws();
    let session = RefreshableSession::builder("sts", role())
        .region("eu-west-1")
        .base_credentials(aws.credentials())
        .clock(clock)
        .build()
        .await
        .unwrap();
    let client = session.client_in("no region / at all", Client::new);
    let error = client.get_caller_identity().send().now_or_never();
    assert!(error.is_none_or(|result| result.is_err()));
    assert!(client.get_caller_identity().send().await.is_err());
}

#[tokio::test]
async fn the_strategys_own_client_is_never_handed_out() {
    let (aws, clock) = aws();
    let session = session(&aws, &clock).await;
    key(&session).await;
    assert_eq!(session.clients().len, 0);
    let identity = session
        .client(Client::new)
        .get_caller_identity()
        .send()
        .await
        .unwrap();
    assert!(
        identity.arn().unwrap().contains("assumed-role/demo"),
        "not who assumes the role"
    );
}

/// A session whose source goes by this machine's clock; the services' clock is `ahead` of it.
async fn with_services_ahead(ahead: Duration) -> (EmbeddedAws, ManualClock, RefreshableSession) {
    let clock = ManualClock::new(start());
    let (server, now) = (clock.clone(), clock.clone());
    let time = move || brs::Clock::now(&server) + ahead;
    let aws = EmbeddedAws::builder()
        .clock(time)
        .allowed_skew(Duration::MAX)
        .start();
    let keys = aws.credentials();
    let params = brs::custom::Params::blocking_function(move || {
        let expiration = brs::Clock::now(&now) + HOUR;
        let (id, secret) = (keys.access_key_id(), keys.secret_access_key());
        Ok::<_, brs::Error>(brs::TemporaryCredentials::new(
            id,
            secret,
            None,
            Some(expiration),
        ))
    });
    let builder = RefreshableSession::builder("custom", params)
        .base(hand_made(&aws).build())
        .clock(clock.clone());
    (aws, clock, builder.build().await.unwrap())
}

#[tokio::test]
async fn the_time_that_a_service_reports_moves_no_deadline() {
    // Services that are ahead by most of a set's lifetime, almost all of it, and more.
    for ahead in [seconds(50 * 60), seconds(3588), 2 * HOUR] {
        let (_aws, clock, session) = with_services_ahead(ahead).await;
        let client = session.client(Client::new);
        for _ in 0..24 {
            client.get_caller_identity().send().await.unwrap();
            // The refresh that the call started must land before time passes: its time limit is on
            // this clock, too.
            until_landed(&session).await;
            assert_eq!(session.status().advisory_window(), Some(seconds(15 * 60)));
            clock.advance(seconds(300));
        }
        assert_eq!(session.status().consecutive_failures(), 0);
        let refreshes = session.status().refreshes();
        assert!(
            (2..=3).contains(&refreshes),
            "{refreshes} sets in two hours, services {ahead:?} ahead"
        );
    }
}

#[tokio::test]
async fn a_clock_that_is_hours_ahead_makes_a_good_set_look_expired_and_the_error_says_so() {
    let clock = ManualClock::new(start());
    let end = start() - 2 * HOUR;
    let params = brs::custom::Params::blocking_function(move || {
        Ok::<_, brs::Error>(brs::TemporaryCredentials::new(
            "AKIDEXAMPLE",
            "secret",
            None,
            Some(end),
        ))
    });
    let (aws, _) = aws();
    let builder = RefreshableSession::builder("custom", params)
        .base(hand_made(&aws).build())
        .clock(clock);
    let error = builder
        .build()
        .await
        .unwrap()
        .credentials()
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("clock of this machine"),
        "{error}"
    );
}
