//! The method `sts`: refreshable sessions of an assumed IAM role.
//!
//! Each refresh is one AssumeRole call, made with the *base credentials* (a profile, the environment, a container, an
//! instance, keys or a provider of your own) and all of the request's twelve fields. Everything is checked against
//! AWS's limits when the session is built, before anything is sent.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! # async fn example() -> Result<(), brs_core::Error> {
//! let params = brs_sts::Params::new("arn:aws:iam::123456789012:role/reader")
//!     .role_session_name("nightly-report")
//!     .duration(Duration::from_secs(1800))
//!     .tag("team", "reporting")
//!     .client(brs_sts::StsClient::new().region("eu-west-1").max_attempts(5));
//! let session = brs_core::RefreshableSession::new("sts", params).await?;
//! let credentials = session.credentials().await?;
//! # Ok(())
//! # }
//! ```
//!
//! The same as data, for configuration files; names are those above or those of AWS and botocore:
//!
//! ```
//! # fn example() -> Result<(), brs_core::Error> {
//! let data = serde_json::json!({
//!     "assume_role": { "RoleArn": "arn:aws:iam::123456789012:role/reader", "DurationSeconds": 1800 },
//!     "client": { "region_name": "eu-west-1", "config": { "retries": { "total_max_attempts": 5 } } },
//! });
//! let params: brs_sts::Params = brs_core::Params::data(data)?.take()?;
//! params.validate()
//! # }
//! # example().unwrap();
//! ```
//!
//! # Where things come from
//!
//! | what | first found of |
//! |---|---|
//! | region | `client.region`, the session's region, `AWS_REGION`, `AWS_DEFAULT_REGION`, the profile |
//! | base credentials | `client`'s keys or provider, the session's, the named profile's, the SDK's default chain |
//! | endpoint | `client.endpoint_url`, the session's, `AWS_ENDPOINT_URL_STS`, the region's own |
//! | certificates | `client.verify`, the system's |
//! | proxy | `client.config.proxies`, the environment's |
//! | HTTP client | the user's in the base configuration, unless certificates or a proxy are set here; its own |
//!
//! A profile that is named goes before keys in the environment. Instance metadata is asked for credentials when nothing
//! else has any, never for a region, and never because a profile is missing or broken: a profile that is named, by
//! option or by `AWS_PROFILE`, has to be there and to work.
//!
//! Who comes from Python: the default role session name is [`DEFAULT_ROLE_SESSION_NAME`] and not the Python package's
//! `boto3-refresh-session`; and `AWS_CA_BUNDLE` is not read, the bundle is named in `client.verify`.
//!
//! # What failures mean
//!
//! Denied access, unknown keys, a region that is not active, a policy or value AWS does not take: only a person can
//! mend these. Time-outs, unreached endpoints, throttling and trouble at STS are retried. Expired base credentials, a
//! refused signature, refusals that are not STS's own and answers that cannot be read (or have more than 256 KiB, which
//! are not read to their end) are tried again at the engine's pace; meanwhile the cached set is
//! served, an expired one too (static stability).
//!
//! This crate also registers the base loader through which every method gets profiles, SSO logins and the default
//! chain, and with which `whoami()` asks STS for account and ARN.

mod assume;
mod base;
mod beneath;
mod ca;
mod call;
mod client;
mod connect;
mod data;
mod error;
mod guarded;
mod http_client;
mod mfa;
mod observed;
mod params;
mod profiles;
mod role_profile;
mod session_name;
pub mod session_token;
mod shown;
mod strategy;
mod time;
mod validate;
pub mod web_identity;

pub use assume::AssumeExt;
pub use client::{RetryMode, StsClient};
pub use mfa::MfaTokenProvider;
pub use params::{AssumeRole, DEFAULT_ROLE_SESSION_NAME, Params};
pub use strategy::Sts;
