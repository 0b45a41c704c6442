//! Credentials shared by the processes of a host, or by the hosts of a fleet.
//!
//! A strategy around a strategy: [`Shared`] looks into a store before it asks the source, so that of
//! all sessions with an equal [`Fingerprint`](brs_core::Fingerprint) one asks and the others use
//! what it got. A store that is slow or gone costs an event, never a caller's error: each session
//! then goes on by itself.
//!
//! Sessions that share are one identity to AWS: share within one trust boundary only.

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
pub use host::HostCache;
pub use shared::{Shared, SharedExt, Store};

/// What the fuzz target reaches. Not part of the public API.
#[cfg(any(unix, feature = "redis", feature = "dynamodb"))]
#[doc(hidden)]
pub mod __fuzz {
    use std::time::UNIX_EPOCH;

    use crate::entry::{Entry, Owner, Wanted};
    use crate::key::Key;

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
            now,
        };
        let _ = entry.usable(wanted);
        let _ = entry.still_valid(wanted);
        let _ = entry.holding(&Owner::this(), now);
        // The names that it is written with may be longer than those that were read.
        let Ok(written) = entry.to_bytes(&key) else {
            return;
        };
        let again = Entry::from_bytes(&written, &key, 0).expect("what was written can be read");
        assert_eq!((entry.set, entry.failure), (again.set, again.failure));
    }
}
