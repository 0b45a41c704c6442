//! Little time and too much of it.

use super::*;
use brs_shared::{CredentialStore, Entry, Lease, StoreError, Stored};

/// A store that answers within 40 ms.
#[derive(Clone, Debug)]
struct Far(Memory);

async fn way() {
    let wait = tokio::time::timeout(Duration::from_millis(40), std::future::pending::<()>());
    let _ = wait.await;
}

#[async_trait]
impl CredentialStore for Far {
    async fn load(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        way().await;
        self.0.load(key).await
    }

    async fn lease(&self, key: &str, owner: &str, ttl: Duration) -> Result<Lease, StoreError> {
        way().await;
        self.0.lease(key, owner, ttl).await
    }

    async fn store(
        &self,
        key: &str,
        owner: &str,
        generation: u64,
        bytes: &[u8],
        expiry: SystemTime,
    ) -> Result<Stored, StoreError> {
        way().await;
        self.0.store(key, owner, generation, bytes, expiry).await
    }

    async fn release(&self, key: &str, owner: &str) -> Result<(), StoreError> {
        way().await;
        self.0.release(key, owner).await
    }
}

/// A source that leaves this much of the time that a refresh has.
#[derive(Debug)]
struct Leaving(Duration);

#[async_trait]
impl RefreshStrategy for Leaving {
    fn method(&self) -> &'static str {
        "leaving"
    }

    fn source(&self) -> &'static str {
        "leaving"
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        cx.clock()
            .sleep(cx.time_left().saturating_sub(self.0))
            .await;
        let end = cx.clock().now() + HOUR;
        Ok(TemporaryCredentials::new(
            "ASIASLOW",
            "secret",
            None,
            Some(end),
        ))
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        Some(Fingerprint::new("leaving"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_takes_all_the_time_is_not_blamed_on_the_store() {
    for left in [5, 20, 80] {
        let fleet = Fleet::new(Far(Memory::default()), Seal::from_keys(ONE).unwrap());
        let source = Leaving(Duration::from_millis(left));
        let session = RefreshableSession::with_strategy(Shared::new(source, fleet.clone()))
            .refresh_timeout(Duration::from_secs(1))
            .build()
            .await
            .unwrap();
        let mut events = session.events();
        // It may be too late for the session as well.
        let _ = session.credentials().await;
        assert!(
            !fleet.status().is_left_alone,
            "{left}: {:?}",
            warnings(&mut events)
        );
        assert_eq!(fleet.status().failures, 0, "{left}");
    }
}

#[tokio::test]
async fn a_refresh_without_a_time_limit_takes_a_lease_that_ends() {
    let memory = Memory::default();
    let fleet = Fleet::new(memory.clone(), Seal::from_keys(ONE).unwrap());
    let session = RefreshableSession::with_strategy(Shared::new(Told(hourly().shared()), fleet))
        .refresh_timeout(Duration::MAX)
        .clock(ManualClock::new(now()))
        .build()
        .await
        .unwrap();
    session.credentials().await.unwrap();
    memory.idle().await;
    assert!(
        memory.longest_lease() <= HOUR,
        "{:?}",
        memory.longest_lease()
    );
}

#[cfg(feature = "dynamodb")]
#[tokio::test]
async fn a_lease_of_any_length_can_be_asked_of_dynamodb() {
    let config = aws_types::SdkConfig::builder()
        .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::latest())
        .build();
    let store = brs_shared::DynamoDbStore::new("table", &config)
        .region("eu-west-1")
        .endpoint_url("http://127.0.0.1:1");
    let asked = store.lease("v1-a", "o", Duration::MAX).await;
    asked.unwrap_err();
}
