//! What every engine does.

use super::*;
use std::time::SystemTime;

use brs::shared::{Entry, Lease, MAX_SEALED, Stored};
use brs_tests::redis::{Redis, RedisCluster};

const MINUTE: Duration = Duration::from_secs(60);

/// A whole second: what every engine can tell.
fn soon() -> SystemTime {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    SystemTime::UNIX_EPOCH + Duration::from_secs(now.unwrap().as_secs() + 600)
}

/// The contract of [`CredentialStore`], on keys that nobody else uses.
pub(crate) async fn check(store: &dyn CredentialStore, key: &str) {
    let bytes: Vec<u8> = (0..=255).cycle().take(MAX_SEALED).collect();
    let entry = Entry {
        bytes: bytes.clone(),
        generation: u64::MAX,
        expiry: soon(),
    };
    assert_eq!(store.load(key).await.unwrap(), None);
    assert_eq!(
        store.lease(key, "a-1", MINUTE).await.unwrap(),
        Lease::Held(None)
    );
    // Asked again, as after an answer that was lost.
    assert_eq!(
        store.lease(key, "a-1", MINUTE).await.unwrap(),
        Lease::Held(None)
    );
    let Lease::Taken(left, None) = store.lease(key, "b-1", MINUTE).await.unwrap() else {
        panic!("granted twice");
    };
    assert!(left <= MINUTE && left > MINUTE / 2, "{left:?}");

    // Only the holder stores, and only the holder gives back.
    let stored = store
        .store(key, "b-1", 1, b"foreign", soon())
        .await
        .unwrap();
    assert_eq!(stored, Stored::Lost);
    assert_eq!(store.load(key).await.unwrap(), None);
    let stored = store
        .store(key, "a-1", u64::MAX, &bytes, entry.expiry)
        .await;
    assert_eq!(stored.unwrap(), Stored::Done);
    assert_eq!(store.load(key).await.unwrap(), Some(entry.clone()));
    store.release(key, "b-1").await.unwrap();
    let Lease::Taken(_, Some(seen)) = store.lease(key, "b-1", MINUTE).await.unwrap() else {
        panic!("given back by another one");
    };
    assert_eq!(seen, entry);

    // Given back, it is the next one's, with the entry in the same step.
    store.release(key, "a-1").await.unwrap();
    store.release(key, "a-1").await.unwrap();
    let lease = store.lease(key, "b-1", MINUTE).await.unwrap();
    assert_eq!(lease, Lease::Held(Some(entry)));
    let stored = store.store(key, "a-1", 1, b"late", soon()).await.unwrap();
    assert_eq!(stored, Stored::Lost);

    // A lease ends by itself.
    store
        .lease(key, "b-1", Duration::from_millis(1))
        .await
        .unwrap();
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while !matches!(
        store.lease(key, "c-1", MINUTE).await.unwrap(),
        Lease::Held(_)
    ) {
        assert!(std::time::Instant::now() < until, "it does not end");
    }

    // Of any length.
    let lease = store.lease(key, "c-1", Duration::MAX).await.unwrap();
    assert!(matches!(lease, Lease::Held(_)));
    // As a host leaves it whose clock is ahead, and which has crashed.
    let lease = store.lease(key, "d-1", Duration::from_secs(1)).await;
    assert!(matches!(lease.unwrap(), Lease::Held(_)));
}

#[tokio::test]
#[ignore = "needs redis"]
async fn redis_keeps_the_contract() {
    let redis = Redis::start();
    check(&at(&redis.url()), "v1-a").await;
    check(&at(&redis.socket_url()), "v1-b").await;
    // A database of its own, with the same keys.
    check(&at(&format!("{}/3", redis.url())), "v1-a").await;
}

#[tokio::test]
#[ignore = "needs redis"]
async fn valkey_keeps_the_contract_where_the_system_has_it() {
    // Where it has not, the other server answers on Valkey's own schemes.
    let (valkey, redis) = (Redis::start_valkey(), Redis::start());
    let server = valkey.as_ref().unwrap_or(&redis);
    check(&at(&format!("valkey://{}", server.address())), "v1-a").await;
}

#[tokio::test]
#[ignore = "needs redis"]
async fn a_cluster_keeps_the_contract() {
    let cluster = RedisCluster::start();
    let store = RedisStore::cluster(cluster.urls()).unwrap();
    for n in 0..12 {
        check(&store, &format!("v1-{n}")).await;
    }
    // The keys are spread.
    for node in &cluster.nodes {
        assert_ne!(node.tell(&["DBSIZE"]).trim(), "0");
    }
    let error = at(&cluster.urls()[0]);
    let mut refused = 0;
    for n in 0..12 {
        let Err(error) = error.load(&format!("v1-{n}")).await else {
            continue;
        };
        assert!(
            error.to_string().contains("give it as a cluster"),
            "{error}"
        );
        refused += 1;
    }
    assert!(refused > 0);
}

#[tokio::test]
#[ignore = "needs redis"]
async fn what_somebody_else_put_there_is_no_failure() {
    let redis = Redis::start();
    let store = at(&redis.url());
    redis.tell(&["RPUSH", "brs:{v1-a}:set", "foreign"]);
    redis.tell(&["SET", "brs:{v1-a}:lease", "foreign"]);
    let seen = store.load("v1-a").await.unwrap().unwrap();
    assert!(seen.bytes.is_empty());
    // A lease without an end is none.
    let lease = store.lease("v1-a", "a-1", MINUTE).await.unwrap();
    assert!(matches!(lease, Lease::Held(Some(_))), "{lease:?}");
    let stored = store
        .store("v1-a", "a-1", 1, b"ours", soon())
        .await
        .unwrap();
    assert_eq!(stored, Stored::Done);
    // Far too long: only a part is fetched.
    redis.tell(&["SETRANGE", "brs:{v1-b}:set", "50000000", "x"]);
    let seen = store.load("v1-b").await.unwrap().unwrap();
    assert!(seen.bytes.len() > MAX_SEALED && seen.bytes.len() < 2 * MAX_SEALED);
}
