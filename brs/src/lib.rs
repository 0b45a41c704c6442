//! Refreshable AWS sessions: credentials that are replaced before they expire.
//!
//! A program opens a session with a *method*; from then on every AWS client made from it works for
//! as long as the program runs. The temporary credentials behind it are replaced in time, nobody
//! waits for that, and an outage of their source is not an outage of the program.
//!
//! ```no_run
//! # #[cfg(feature = "sts")]
//! # async fn example() -> Result<(), brs::Error> {
//! use brs::{RefreshableSession, sts};
//!
//! let role = sts::Params::new("arn:aws:iam::123456789012:role/app");
//! let session = RefreshableSession::builder("sts", role).region("eu-west-1").build().await?;
//! let config = session.sdk_config(); // for `aws_sdk_s3::Client::new(config)` and every other client
//! # let _ = config;
//! # Ok(())
//! # }
//! ```
//!
//! # Methods
//!
//! | method | feature | credentials come from |
//! |---|---|---|
//! | `sts` (default) | `sts` (default) | STS AssumeRole; base credentials from keys, a profile or the default chain |
//! | `custom` | `custom` | an async or sync function, or an external command that prints `credential_process` JSON |
//! | `iot` | `iot`, `pkcs11` | AWS IoT's credentials provider: a device's X.509 certificate, key in a file or a token |
//! | any | | a crate of one's own that registers a [`RefreshStrategy`] with [`register_method!`] |
//!
//! The feature `mqtt` (with `iot`) opens connections to AWS IoT Core that stay up:
//! `session.mqtt(options)`.
//!
//! [`RefreshableSession::available_methods`] lists what a build has, with the schema of each
//! method's parameters. Any credentials provider of the AWS SDK gets the same engine with
//! [`RefreshableSession::with_provider`].
//!
//! # Features
//!
//! Features add API and change no behaviour, but for one thing: [`RefreshableSession::whoami`]
//! knows the caller's account and ARN where the build has `sts`. `login` adds profiles of console
//! logins (`aws login`) to `sts`, `full` has every method, `login` and `mqtt`, `object_store` makes
//! a session a credential provider of that crate
//! ([`RefreshableSession::object_store_credentials`]), `test-util` has a manual clock and the
//! contract suite for tests. `custom` alone compiles no TLS stack and no SDK client, `iot` alone no
//! SDK client.
//!
//! How the engine decides, and what it promises about secrets, is told in [`brs_core`].

pub use brs_core::{
    AdvisoryRefresh, BaseCredentials, BaseLoader, BaseRequest, BaseSession, Blocking,
    CallerIdentity, ClientCachePolicy, ClientCacheStats, Clock, Error, ErrorKind, Event, Events,
    Identity, IntoStrategy, Method, MethodParams, Params, Recovery, RefreshBackoff, RefreshContext,
    RefreshReason, RefreshStatus, RefreshStrategy, RefreshableSession, RegisteredBaseLoader,
    SecretString, SessionBuilder, SessionConfig, Setup, Sleep, SystemClock, TemporaryCredentials,
    limit_concurrent_refreshes, register_method,
};

#[cfg(any(feature = "sts", feature = "custom"))]
pub use brs_core::command;
#[cfg(feature = "custom")]
pub use brs_custom as custom;
#[cfg(feature = "iot")]
pub use brs_iot as iot;
#[cfg(feature = "mqtt")]
pub use brs_mqtt as mqtt;
#[cfg(feature = "sts")]
pub use brs_sts as sts;

#[cfg(feature = "test-util")]
pub use brs_core::test_util;

mod absent;
mod default_session;

pub use default_session::{client, default_session, set_default_session};

/// What most programs need.
pub mod prelude {
    #[cfg(feature = "mqtt")]
    pub use crate::mqtt::MqttExt;
    #[cfg(feature = "sts")]
    pub use crate::sts::AssumeExt;
    pub use crate::{Error, RefreshableSession, TemporaryCredentials};
}

/// Opens a session with default options; the parameters' type says by which method.
///
/// ```no_run
/// # #[cfg(feature = "sts")]
/// # async fn example() -> Result<(), brs::Error> {
/// use brs::sts;
///
/// let session = brs::open(sts::Params::new("arn:aws:iam::123456789012:role/app")).await?;
/// # let _ = session;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// As [`RefreshableSession::open`].
pub async fn open(params: impl MethodParams) -> Result<RefreshableSession, Error> {
    RefreshableSession::open(params).await
}
