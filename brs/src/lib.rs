//! Refreshable AWS sessions: temporary credentials that are replaced before they expire.
//!
//! ```no_run
//! # #[cfg(feature = "sts")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use brs::sts;
//!
//! let role = sts::Params::new("arn:aws:iam::123456789012:role/app");
//! let session = brs::open(role).await?;
//!
//! // Any client of any service, for as long as the program runs.
//! let s3 = session.client(aws_sdk_s3::Client::new);
//! println!("{} buckets", s3.list_buckets().send().await?.buckets().len());
//! # Ok(())
//! # }
//! ```
//!
//! A session refreshes its credentials in the background while the current ones are valid, so
//! callers do not wait. If their source is down, the program continues with the credentials that it
//! has. If a service rejects them, they are replaced and the call is made once more.
//!
//! The [manual] begins with [which method to use](crate::manual::methods) and [what
//! happens when](crate::manual::timing); those who know the Python package begin with [coming from
//! boto3-refresh-session](crate::manual::from_boto3).
//!
//! # Methods
//!
//! A *method* is a way to obtain credentials. The type of the parameters selects it.
//!
//! | method | feature | credentials come from |
//! |---|---|---|
//! | `sts` | `sts` (default) | STS AssumeRole, on any AWS credentials: keys, a profile, SSO, a session |
//! | `sts-session-token` | `sts` (default) | STS GetSessionToken: one MFA code for any number of roles |
//! | `sts-web-identity` | `sts` (default) | STS AssumeRoleWithWebIdentity: an identity token, as in EKS and CI jobs |
//! | `sts-saml` | `sts` (default) | STS AssumeRoleWithSAML: an assertion of a company's identity provider |
//! | `sts-root` | `sts` (default) | STS AssumeRoot: one privileged task in a member account |
//! | `container` | `sts` (default) | the endpoint of an ECS task or an EKS pod (Pod Identity) |
//! | `imds` | `sts` (default) | the metadata service of an EC2 instance |
//! | `custom` | `custom` | an async or sync function, or a command that prints `credential_process` JSON |
//! | `iot` | `iot`, `pkcs11` | AWS IoT: a device's X.509 certificate, its key in a file or a token |
//! | `roles-anywhere` | `roles-anywhere` | IAM Roles Anywhere: a certificate of a registered authority |
//! | `shared` | `shared` | another method, one credential set for all processes that would get the same |
//! | your own | none | [a crate that implements one trait](crate::manual::own_method) |
//!
//! [`RefreshableSession::with_provider`] puts the same engine around any credentials provider of the
//! AWS SDK. [`RefreshableSession::available_methods`] lists what a build has.
//!
//! # Features
//!
//! Features add API. The one behaviour that depends on them is [`RefreshableSession::whoami`]: it
//! knows the caller's account and ARN if the build has `sts`.
//!
//! | feature | adds |
//! |---|---|
//! | `sts` (default) | the methods of STS, `container`, `imds`; profiles, SSO, the default chain for every method |
//! | `login` | profiles of console logins (`aws login`) |
//! | `custom` | the method `custom`; alone, it compiles no TLS stack and no SDK client |
//! | `iot` | the method `iot`; alone, it compiles no SDK client |
//! | `roles-anywhere` | the method `roles-anywhere`; alone, it compiles no SDK client |
//! | `pkcs11` | device keys in TPMs, smart cards and HSMs |
//! | `mqtt` | `session.mqtt(options)`: [connections to AWS IoT Core](crate::manual::messaging) that stay up |
//! | `shared` | the method `shared` and `.shared(store)`: processes of a host share credentials |
//! | `redis` | `shared`, and a store for the hosts of a fleet in Redis or Valkey |
//! | `dynamodb` | the same in a DynamoDB table |
//! | `serve` | [an endpoint on loopback](crate::manual::serve) that gives credentials to programs in every language |
//! | `cli` | the [command `brs`](crate::manual::command), with every method |
//! | `object_store` | `session.object_store_credentials()` for the crate `object_store` |
//! | `full` | every method, `login`, `pkcs11`, `mqtt` and `shared` |
//! | `test-util` | a manual clock and the contract suite, for tests |
//!
//! # For programs
//!
//! [`open`], [`RefreshableSession`], [`SessionBuilder`] and the parameters of the methods;
//! [`SessionPool`] for [hundreds of accounts](crate::manual::scale); [`Error`] and [`Recovery`] for
//! [what failed](crate::manual::errors); [`RefreshStatus`] and [`Event`] for
//! [watching it](crate::manual::running); [`set_default_session`] and [`client()`] for code that
//! cannot be handed a session. The [`prelude`] has the extension traits.
//!
//! # For authors of methods
//!
//! [`RefreshStrategy`], [`RefreshContext`], [`Setup`], [`Params`], [`MethodParams`] and
//! [`register_method!`]: see [writing a method](crate::manual::own_method).

// For programs.
pub use brs_core::{
    AdvisoryRefresh, CallerIdentity, ClientCachePolicy, ClientCacheStats, Error, ErrorKind, Event,
    Events, Identity, Method, Recovery, RefreshBackoff, RefreshReason, RefreshStatus,
    RefreshableSession, SecretSource, SecretString, SessionBuilder, SessionConfig,
    TemporaryCredentials, limit_concurrent_refreshes,
};
// For programs with hundreds of sessions.
pub use brs_core::{
    Limiter, LimiterStatus, PoolBuilder, PoolEvent, PoolEvents, PoolKey, PoolStatus, Prefetch,
    PrefetchReport, RoleKey, SessionPool,
};
// For authors of methods.
pub use brs_core::{
    Asker, BaseCredentials, BaseLoader, BaseRequest, BaseSession, Blocking, Clock, DataOrigin,
    Fingerprint, IntoStrategy, MethodParams, Params, RefreshContext, RefreshStrategy,
    RegisteredBaseLoader, Setup, Sleep, SystemClock, UnusableData, kit, register_method,
};

#[cfg(any(feature = "sts", feature = "custom"))]
pub use brs_core::command;
#[cfg(feature = "custom")]
pub use brs_custom as custom;
#[cfg(feature = "iot")]
pub use brs_iot as iot;
#[cfg(feature = "mqtt")]
pub use brs_mqtt as mqtt;
#[cfg(feature = "roles-anywhere")]
pub use brs_roles_anywhere as roles_anywhere;
#[cfg(feature = "shared")]
pub use brs_shared as shared;
#[cfg(feature = "sts")]
pub use brs_sts as sts;

#[cfg(feature = "test-util")]
pub use brs_core::test_util;

mod absent;
mod default_session;
pub mod manual;
#[cfg(feature = "serve")]
pub mod serve;

pub use default_session::{client, default_session, set_default_session};

/// What most programs need.
pub mod prelude {
    #[cfg(feature = "mqtt")]
    pub use crate::mqtt::MqttExt;
    #[cfg(feature = "shared")]
    pub use crate::shared::SharedExt;
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
