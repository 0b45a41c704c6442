//! Credentials shared by the processes of a host, or by the hosts of a fleet.
//!
//! A strategy around a strategy: [`Shared`] looks into a store before it asks the source, so that of
//! all sessions with an equal [`Fingerprint`](brs_core::Fingerprint) one asks and the others use
//! what it got. A store that is slow or gone costs an event, never a caller's error: each session
//! then goes on by itself.
//!
//! # Stores
//!
//! - [`HostCache`]: files, for the processes of one user on one host.
//! - [`Fleet`]: an engine that hosts share, in which each entry is sealed by a [`Seal`]:
//!   `RedisStore` (feature `redis`, Redis or Valkey), `DynamoDbStore` (feature `dynamodb`), or a
//!   [`CredentialStore`] of your own.
//!
//! As data, `kind` names the store: `{"store": {"kind": "redis", "url": "rediss://…", "seal_keys":
//! "/run/secrets/seal-keys"}, "of": {"method": "sts", …}}`, `{"kind": "dynamodb", "table": "…",
//! "seal_keys": "…"}`, `{"kind": "host"}`.
//!
//! # What sharing means
//!
//! Sessions that share a set are one identity to AWS: CloudTrail cannot tell them apart. Share
//! within one trust boundary only. Session names, session tags and source identities that are each
//! host's own cannot be kept: they are part of what decides a set, so hosts with different ones
//! share nothing.

mod entry;
mod fleet;
mod host;
mod key;
mod method;
mod shared;

#[cfg(feature = "dynamodb")]
pub use fleet::DynamoDbStore;
#[cfg(feature = "redis")]
pub use fleet::RedisStore;
pub use fleet::{
    CredentialStore, Entry, Fleet, FleetStatus, Lease, MAX_SEALED, Notice, Seal, StoreError, Stored,
};
#[cfg(unix)]
pub use host::CachedSet;
pub use host::HostCache;
pub use shared::{Shared, SharedExt, Store};

/// What the fuzz targets reach. Not part of the public API.
#[doc(hidden)]
pub mod __fuzz {
    use std::time::UNIX_EPOCH;

    use crate::entry::{Entry, Own, Owner, Wanted};
    use crate::key::Key;

    pub use crate::fleet::fuzz_sealed as sealed;

    /// Reads bytes as an entry; what can be read is used, written and read again.
    pub fn entry(bytes: &[u8]) {
        let key = Key::of(&brs_core::Fingerprint::new("fuzz"));
        let Ok(entry) = Entry::from_bytes(bytes, &key, 0) else {
            return;
        };
        let now = UNIX_EPOCH + std::time::Duration::from_secs(2_000_000_000);
        let wanted = Wanted {
            reason: brs_core::RefreshReason::First,
            previous_access_key_id: None,
            own: Own::Absent,
            now,
        };
        let _ = entry.usable(wanted);
        let _ = entry.still_valid(wanted);
        let _ = entry.holding(&Owner::this(), wanted, |_| false);
        // The names that it is written with may be longer than those that were read.
        let Ok(written) = entry.to_bytes(&key) else {
            return;
        };
        let again = Entry::from_bytes(&written, &key, 0).expect("what was written can be read");
        assert_eq!((entry.set, entry.failure), (again.set, again.failure));
    }
}
