//! The bridge to the AWS SDK, in both directions.
//!
//! - `provider`: the session as a credentials provider for SDK clients. It holds the engine, never the session: a
//!   session holds its configuration, and the other way round would be a cycle that is never freed.
//! - `config`: the `SdkConfig` of a session, and the base configuration where no crate offers a
//!   [`BaseLoader`](crate::BaseLoader).
//! - `identity_cache`: the engine as the only cache of a session's credentials in SDK clients.
//! - `wrapped`: any SDK credentials provider as a strategy.

mod config;
mod identity_cache;
mod provider;
mod wrapped;

pub(crate) use self::provider::{EngineProvider, to_sdk};
pub(crate) use config::{base, provider, session_config};
pub(crate) use wrapped::Wrapped;
