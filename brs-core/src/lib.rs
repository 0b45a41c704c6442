//! The engine behind brs: AWS sessions whose temporary credentials are replaced before they expire.
//!
//! This crate knows no method, no HTTP client and no TLS stack. It takes a [`RefreshStrategy`],
//! code that fetches one set of temporary credentials, and makes of it a [`RefreshableSession`]
//! that programs and SDK clients use for as long as they run. Programs normally depend on the
//! facade `brs`; authors of methods depend on this crate.
//!
//! ```text
//!   application
//!       │  session.client(…) · session.credentials() · session.sdk_config()
//!       ▼
//!   RefreshableSession ─► refresh/ (policy ► engine ► flight) ─► RefreshStrategy
//!       │                 one call at a time,                    yours, or that of
//!       ▼                 on brs's own runtime                   brs-sts, brs-iot, …
//!   sdk/ (SdkConfig, provider)
//! ```
//!
//! # What callers get
//!
//! ```text
//! t0                        advisory          mandatory       expiration
//! │ the cached set, at once │ the cached set, │ wait for the  │ wait for the refresh;
//! │ no lock, no task        │ at once; one    │ refresh       │ if it fails: the error,
//! │                         │ refresh runs    │               │ or the old set under
//! │                         │                 │               │ static stability
//! ```
//!
//! One call to the source at a time, however many callers, tasks and runtimes there are. A failure
//! while the cached set is valid is not a caller's error: it is in [`RefreshStatus`] and [`Event`]s,
//! and a backoff paces the next attempt.
//!
//! The manual of `brs` (module `manual`) has the rules in full, and what many sessions, stopped
//! processes, forks and AWS Lambda mean for them.
//!
//! # Secrets
//!
//! brs's own copies of secrets are zeroised when their last holder drops them, and no `Debug`,
//! error, event or log line shows one. What has been handed out is outside its reach: the AWS SDK's
//! own types, TLS buffers, strings a caller made.
//!
//! # Writing a method
//!
//! Implement [`RefreshStrategy`], register it with [`register_method!`], and run
//! `test_util::contract` (feature `test-util`) in your tests. Synchronous code goes through
//! [`Blocking`].
//!
//! ```
//! use brs_core::{Error, RefreshContext, RefreshStrategy, RefreshableSession};
//! use brs_core::TemporaryCredentials;
//!
//! #[derive(Debug)]
//! struct Vault;
//!
//! #[async_trait::async_trait]
//! impl RefreshStrategy for Vault {
//!     fn method(&self) -> &'static str { "vault" }
//!     fn source(&self) -> &'static str { "vault-aws-engine" }
//!     async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
//!         let expiration = cx.clock().now() + std::time::Duration::from_secs(3600);
//!         let token = Some("token".into());
//!         Ok(TemporaryCredentials::new("ASIAEXAMPLE", "secret", token, Some(expiration)))
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! let session = RefreshableSession::with_strategy(Vault).build().await?;
//! assert_eq!(session.credentials().await?.access_key_id(), "ASIAEXAMPLE");
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! - `command`: running external commands that print credentials or codes, without a shell.
//! - `object_store`: a session as a credential provider of that crate.
//! - `test-util`: a manual clock, a scripted strategy and the contract suite.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    brs_model,
    expect(
        dead_code,
        reason = "flights run on the model checker's tasks, without turns"
    )
)]

mod base;
#[cfg(feature = "command")]
pub mod command;
mod credentials;
pub mod kit;
mod method;
mod pool;
mod refresh;
mod sdk;
mod session;
#[cfg(feature = "test-util")]
pub mod test_util;

pub use base::session::BaseSession;
pub use base::setup::{
    Asker, BaseCredentials, BaseLoader, BaseRequest, RegisteredBaseLoader, Setup,
};
pub use credentials::{DataOrigin, TemporaryCredentials, UnusableData};
pub use kit::blocking::Blocking;
pub use kit::clock::{Clock, Sleep, SystemClock};
pub use kit::error::{Error, ErrorKind, Recovery};
pub use kit::limiter::{Limiter, LimiterStatus};
pub use kit::secret::SecretString;
pub use kit::secret_source::SecretSource;
pub use kit::turns::limit_concurrent_refreshes;
pub use method::events::{Event, Events};
pub use method::fingerprint::Fingerprint;
pub use method::identity::{CallerIdentity, Identity};
pub use method::params::{MethodParams, Params};
pub use method::strategy::{IntoStrategy, RefreshContext, RefreshReason, RefreshStrategy};
pub use pool::{
    PoolBuilder, PoolEvent, PoolEvents, PoolKey, PoolStatus, Prefetch, PrefetchReport, RoleKey,
    SessionPool,
};
pub use refresh::{AdvisoryRefresh, RefreshBackoff, RefreshStatus};
pub use session::registry::Method;
pub use session::{
    ClientCachePolicy, ClientCacheStats, RefreshableSession, SessionBuilder, SessionConfig,
};

/// What brs's own macros name. Not part of the public API.
#[doc(hidden)]
pub mod __private {
    pub use crate::session::registry::{AbsentMethod, schema_of, take};
    pub use inventory;
}
