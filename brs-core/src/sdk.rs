//! The bridge to the AWS SDK, in both directions.
//!
//! - `provider`: the session as a credentials provider for SDK clients. It holds the engine, never
//!   the session: a session holds its configuration, and the other way round would be a cycle that
//!   is never freed.
//! - `config`: the `SdkConfig` of a session, and the base configuration where no crate offers a
//!   [`BaseLoader`](crate::BaseLoader).
//! - `identity_cache`: the engine as the only cache of a session's credentials in SDK clients.
//! - `watch`: the HTTP client that notices rejected credentials, with `rejection` (what is one) and
//!   `peek` (looking at a body); `default_http` is the HTTP client of a base configuration that has
//!   none.
//! - `object_store`: the session as a credential provider of that crate, behind the feature of its
//!   name.
//! - `wrapped`: any SDK credentials provider as a strategy.

mod config;
mod identity_cache;
#[cfg(feature = "object_store")]
mod object_store;
mod peek;
mod provider;
mod rejection;
mod watch;
mod wrapped;

#[cfg(feature = "object_store")]
pub(crate) use self::object_store::ObjectStoreCredentials;
pub(crate) use self::provider::EngineProvider;
pub(crate) use config::{provider, session_config};
pub(crate) use wrapped::Wrapped;
