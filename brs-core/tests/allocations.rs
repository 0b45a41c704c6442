//! The read that every call makes allocates nothing; in a binary of its own, which counts
//! allocations.

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_smithy_runtime_api::client::identity::{ResolveCachedIdentity, SharedIdentityResolver};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_types::config_bag::ConfigBag;
use brs_core::RefreshableSession;
use brs_core::test_util::{ManualClock, Scripted, Step};
use futures_util::FutureExt;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_call_for_a_valid_set_allocates_nothing() {
    let clock = ManualClock::new(UNIX_EPOCH + 500_000 * HOUR);
    let strategy = Scripted::always(Step::Fresh(HOUR));
    let session = RefreshableSession::with_strategy(strategy.shared())
        .clock(clock.clone())
        .defer_refresh(false)
        .build()
        .await;
    let session = session.unwrap();
    let fresh = allocation_counter::measure(|| {
        for _ in 0..1000 {
            let set = session
                .credentials()
                .now_or_never()
                .expect("ready at its first poll");
            assert!(set.is_ok());
        }
    });
    assert_eq!(fresh.count_total, 0, "while the set is fresh");

    // Nor while a refresh hangs in the advisory window: the first call starts it, the others only
    // read.
    strategy.otherwise(Step::Hang);
    clock.advance(Duration::from_secs(2700));
    assert!(session.credentials().now_or_never().is_some());
    let refreshing = allocation_counter::measure(|| {
        for _ in 0..1000 {
            assert!(session.credentials().now_or_never().is_some());
        }
    });
    assert_eq!(refreshing.count_total, 0, "while a refresh is running");
}

#[tokio::test]
async fn an_sdk_client_pays_for_its_own_types_only() {
    let clock = ManualClock::new(UNIX_EPOCH + 500_000 * HOUR);
    let strategy = Scripted::always(Step::Fresh(HOUR));
    let session = RefreshableSession::with_strategy(strategy.shared())
        .clock(clock)
        .build()
        .await
        .unwrap();
    session.credentials().await.unwrap();
    let provider = session.credentials_provider();
    let calls = allocation_counter::measure(|| {
        for _ in 0..100 {
            assert!(provider.provide_credentials().now_or_never().is_some());
        }
    });
    // Key, secret and token as texts of the SDK's, and the shared inside of its type; a cache in
    // front of it is the SDK's.
    assert!(
        calls.count_total <= 500,
        "{} allocations in a hundred calls",
        calls.count_total
    );
}

#[tokio::test]
async fn the_identity_that_an_sdk_client_resolves_allocates_nothing() {
    let clock = ManualClock::new(UNIX_EPOCH + 500_000 * HOUR);
    let strategy = Scripted::always(Step::Fresh(HOUR));
    let session = RefreshableSession::with_strategy(strategy.shared())
        .clock(clock)
        .build()
        .await
        .unwrap();
    session.credentials().await.unwrap();
    let cache = session.sdk_config().identity_cache().unwrap();
    let provider = session.credentials_provider();
    let resolver = SharedIdentityResolver::new(provider);
    let components = RuntimeComponentsBuilder::for_tests().build().unwrap();
    let bag = ConfigBag::base();
    let resolve = || {
        cache
            .resolve_cached_identity(resolver.clone(), &components, &bag)
            .now_or_never()
    };
    let first = resolve().expect("ready at its first poll").unwrap();
    let key = first
        .data::<Credentials>()
        .unwrap()
        .access_key_id()
        .to_owned();
    assert_eq!(key, session.credentials().await.unwrap().access_key_id());
    let resolving = allocation_counter::measure(|| {
        for _ in 0..1000 {
            assert!(resolve().is_some_and(|identity| identity.is_ok()));
        }
    });
    assert_eq!(resolving.count_total, 0);
}
