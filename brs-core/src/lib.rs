//! The engine behind brs: AWS sessions whose temporary credentials are replaced before they expire.
//!
//! This crate knows no method, no HTTP client and no TLS stack. It takes a [`RefreshStrategy`],
//! code that fetches one set of temporary credentials, and makes of it a [`RefreshableSession`]
//! that programs and SDK clients use for as long as they run. Programs normally depend on the
//! facade `brs`; authors of methods depend on this crate.
//!
//! ```text
//!   application
//!       │  session.credentials() · session.sdk_config() · session.credentials_provider()
//!       ▼
//!   RefreshableSession ─► refresh/ (policy ► engine ► flight) ─► RefreshStrategy
//!       │                 one call at a time,                    your crate, or brs-sts, brs-custom, …
//!       ▼                 on brs's own runtime
//!   sdk/ (SdkConfig, provider)                                   registry + params
//! ```
//!
//! # What callers get
//!
//! ```text
//! t0                                advisory              mandatory        expiration
//! │  the cached set, at once        │  the cached set,     │  wait for the   │  wait for the refresh; should it
//! │  no lock, no task               │  at once; one        │  refresh        │  fail: the error, or the old set
//! │                                 │  refresh runs        │                 │  under static stability
//! ```
//!
//! One call to the source at a time, however many callers, tasks and runtimes there are. A failure
//! while the cached set is valid is not a caller's error: it is in [`RefreshStatus`] and [`Event`]s, and
//! a backoff paces the next try.
//!
//! # Many sessions, stops and forks
//!
//! Of one method 64 refreshes run at a time in a process, unless [`limit_concurrent_refreshes`]
//! says otherwise. The others wait their turn, those with waiting callers first, and a time limit
//! counts from the turn. A refresh that has waited for as long as its time limit fails if none of
//! its method has succeeded meanwhile. A refresh within a refresh (a session on top of another one)
//! does not wait for a turn; one that a strategy starts from a task it has spawned does.
//!
//! A process that was stopped (SIGSTOP, a paused container, AWS Lambda between invocations) does
//! not take a failure of that time for one of its source: it asks again.
//!
//! A forked child starts a runtime of its own at its first refresh, and an eager session's task
//! begins again at the child's first call. The child continues from what the session knew at the
//! fork, and does not wait for locks of the session that other threads of the parent held. Event
//! streams of the parent end in the child. Locks that are not brs's (your strategy's, an SDK
//! client's) stay as the fork found them. With tokio's feature `parking_lot` (part of `full`) the
//! parent's runtimes are a hazard for a child's: the table of parked threads is copied, and the
//! threads are not.
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
//! use brs_core::{Error, RefreshContext, RefreshStrategy, RefreshableSession, TemporaryCredentials};
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
//!         Ok(TemporaryCredentials::new("ASIAEXAMPLE", "secret", Some("token".into()), Some(expiration)))
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! let session = RefreshableSession::with_strategy(std::sync::Arc::new(Vault)).build().await?;
//! assert_eq!(session.credentials().await?.access_key_id(), "ASIAEXAMPLE");
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! - `command`: running external commands that print credentials or codes, without a shell.
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
mod refresh;
mod sdk;
mod session;
#[cfg(feature = "test-util")]
pub mod test_util;

pub use base::session::BaseSession;
pub use base::setup::{BaseCredentials, BaseLoader, BaseRequest, RegisteredBaseLoader, Setup};
pub use credentials::{DataOrigin, TemporaryCredentials, UnusableData};
pub use kit::blocking::Blocking;
pub use kit::clock::{Clock, Sleep, SystemClock};
pub use kit::error::{Error, ErrorKind, Recovery};
pub use kit::secret::SecretString;
pub use kit::secret_source::SecretSource;
pub use kit::turns::limit_concurrent_refreshes;
pub use method::events::{Event, Events};
pub use method::identity::{CallerIdentity, Identity};
pub use method::params::{MethodParams, Params};
pub use method::strategy::{IntoStrategy, RefreshContext, RefreshReason, RefreshStrategy};
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
