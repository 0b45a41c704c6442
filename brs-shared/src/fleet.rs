//! The fleet's store: one credential set for all hosts that would get the same.
//!
//! An engine that exists keeps sealed entries and grants leases ([`CredentialStore`]); `seal` makes
//! entries unreadable to it. A refresh looks into the entry; if that is not enough it takes the
//! lease, looks again, asks the source, stores the entry and gives the lease back (`order`).
//! `access` limits each operation, leaves a store alone that failed, and warns.
//!
//! A store that is slow, gone, full or wrong costs an event, never a caller's error: the session
//! asks its source by itself.

mod access;
#[cfg(feature = "dynamodb")]
mod dynamodb;
mod keys;
mod order;
#[cfg(any(feature = "redis", feature = "dynamodb"))]
mod params;
mod problem;
#[cfg(feature = "redis")]
mod redis;
mod seal;
mod store;

use std::sync::Arc;

use async_trait::async_trait;
use brs_core::{Error, RefreshContext, TemporaryCredentials};

use self::access::Access;
use crate::key::Key;
use crate::shared::{Sharing, Source, Store};

#[cfg(feature = "dynamodb")]
pub use self::dynamodb::DynamoDbStore;
#[cfg(feature = "dynamodb")]
pub(crate) use self::params::DynamoDbParams;
#[cfg(feature = "redis")]
pub(crate) use self::params::RedisParams;
#[cfg(feature = "redis")]
pub use self::redis::RedisStore;
pub use self::seal::Seal;
pub use self::store::{CredentialStore, Entry, Lease, MAX_SEALED, Notice, StoreError, Stored};

/// A store for the hosts of a fleet: an engine that keeps entries, and the seal that makes them
/// unreadable to it. Cheap to clone; clones are one store.
///
/// The first host whose window begins takes a lease and asks the source; the others look into the
/// store, after 100 ms, then more and more rarely up to every 2 s. Which host it is does not
/// matter: if it dies, another one takes the lease when it ends, after the time limit of its
/// refresh and 5 s more.
///
/// Each operation may take half a second. A store that fails is left alone for 30 s, in which each
/// host asks its source by itself; a [warning](brs_core::Event::Warning) `fleet_store_failed` says
/// so, and [`status`](Self::status) counts. Other warnings are `fleet_entry_` and what is wrong
/// with an entry, `fleet_lease_busy`, `fleet_source_failed`, `fleet_seal_keys_mode`,
/// `fleet_seal_keys_unread`, and the notices of the engine.
///
/// # What sharing means
///
/// - Hosts that share a set are one identity to AWS: CloudTrail cannot tell them apart, beyond
///   their addresses.
/// - Any program that has the seal keys and can read the store has the credentials: share within
///   one trust boundary only, and give each boundary keys of its own.
/// - Session tags, session names and source identities that are each host's own cannot be kept:
///   they are part of the fingerprint, so that hosts with different ones share nothing.
#[derive(Clone, Debug)]
pub struct Fleet(Arc<Access>);

/// What a fleet's store has done for this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FleetStatus {
    /// Sets that were taken from the store.
    pub taken: u64,
    /// Calls to the source with the lease.
    pub asked: u64,
    /// Calls to the source without it: the store was left alone, or the lease was somebody else's
    /// for too long.
    pub alone: u64,
    /// Operations that failed or took too long.
    pub failures: u64,
    /// Entries that did not open or were none: they count as absent.
    pub unopened: u64,
    /// Sets that were not stored since the lease had ended.
    pub lost: u64,
    /// The store has failed and is left alone.
    pub is_left_alone: bool,
}

impl Fleet {
    /// In this store, sealed with these keys.
    pub fn new(store: impl CredentialStore + 'static, seal: Seal) -> Self {
        Self(Arc::new(Access::new(Arc::new(store), seal)))
    }

    /// What it has done for this process.
    pub fn status(&self) -> FleetStatus {
        self.0.status()
    }
}

/// Opens bytes as a store may give them; and opens no other ones than were sealed.
#[doc(hidden)]
pub fn fuzz_sealed(bytes: &[u8]) {
    const KEYS: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let key = Key::of(&brs_core::Fingerprint::new("fuzz"));
    let seal = Seal::from_keys(KEYS).expect("it is a key");
    assert!(seal.open(&key, 1, bytes).is_err(), "nobody can seal");
    let sealed = seal.seal(&key, 1, bytes).expect("the system is random");
    match seal.open(&key, 1, &sealed) {
        Ok(plain) => assert_eq!(&**plain, bytes),
        Err(_) => assert!(sealed.len() > MAX_SEALED),
    }
    // The rest of the bytes as those of a foreign key's id, a nonce and a text.
    let mut foreign = sealed;
    for (place, byte) in foreign.iter_mut().zip(bytes) {
        *place ^= byte;
    }
    if bytes.iter().any(|byte| *byte != 0) {
        assert!(seal.open(&key, 1, &foreign).is_err(), "it was changed");
    }
    // Whatever is read as keys tells what is wrong.
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Seal::from_keys(text);
    }
}

impl From<Fleet> for Store {
    fn from(fleet: Fleet) -> Self {
        Store::new(fleet)
    }
}

#[async_trait]
impl Sharing for Fleet {
    async fn refresh(
        &self,
        source: &Source,
        key: &Key,
        cx: &RefreshContext,
    ) -> Result<TemporaryCredentials, Error> {
        order::refresh(&self.0, source, key, cx).await
    }
}
