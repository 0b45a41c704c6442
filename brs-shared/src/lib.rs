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
