//! The methods of AWS STS: refreshable sessions of an assumed IAM role, and what leads to one.
//!
//! | method | each refresh is | for |
//! |---|---|---|
//! | `sts` | AssumeRole ([`Params`]) | a role, with or without MFA, on any base credentials |
//! | `sts-session-token` | GetSessionToken ([`session_token::Params`]) | a user with MFA, beneath any number of roles |
//! | `sts-web-identity` | AssumeRoleWithWebIdentity ([`web_identity::Params`]) | a role for pods and CI jobs |
//! | `sts-saml` | AssumeRoleWithSAML ([`saml::Params`]) | a role for who logs in at a company's identity provider |
//! | `sts-root` | AssumeRoot ([`root::Params`]) | one privileged task in a member account |
//! | `container` | the container's endpoint ([`container::Params`]) | an ECS task's or EKS pod's role |
//! | `imds` | the metadata service ([`imds::Params`]) | an EC2 instance's role |
//!
//! For `sts`, each refresh is one AssumeRole call, made with the *base credentials* (a profile, the
//! environment, a container, an instance, keys or your own provider) and all of the request's
//! twelve fields. Everything is checked against AWS's limits when the session is built, before
//! anything is sent.
//!
//! ```no_run
//! # mod brs { pub use brs_core::*; pub use brs_sts as sts; }
//! use std::time::Duration;
//!
//! # async fn example() -> Result<(), brs::Error> {
//! let params = brs::sts::Params::new("arn:aws:iam::123456789012:role/reader")
//!     .role_session_name("nightly-report")
//!     .duration(Duration::from_secs(1800))
//!     .tag("team", "reporting")
//!     .client(brs::sts::StsClient::new().region("eu-west-1").max_attempts(5));
//! let session = brs::RefreshableSession::open(params).await?;
//! let credentials = session.credentials().await?;
//! # Ok(())
//! # }
//! ```
//!
//! The same as data, for configuration files; names are those above or those of AWS and botocore:
//!
//! ```
//! # mod brs { pub use brs_core::*; pub use brs_sts as sts; }
//! # fn example() -> Result<(), brs::Error> {
//! let data = serde_json::json!({
//!     "assume_role": { "RoleArn": "arn:aws:iam::123456789012:role/reader", "DurationSeconds": 1800 },
//!     "client": { "region_name": "eu-west-1", "config": { "retries": { "total_max_attempts": 5 } } },
//! });
//! let params: brs::sts::Params = brs::Params::data(data)?.take()?;
//! params.validate()
//! # }
//! # example().unwrap();
//! ```
//!
//! # MFA
//!
//! A role that asks for MFA is given the device's serial number and an [`MfaTokenProvider`], which
//! is asked again at each refresh: a function, a command, a TOTP secret, or a prompt. A code works
//! once at AWS, so no two refreshes, sessions or retries of a process send the same one for a
//! device; a TOTP or a command waits for the device's next code, a function or a person is asked
//! once more. A code that AWS refuses is tried once more with the next one.
//!
//! ```no_run
//! # mod brs { pub use brs_core::*; pub use brs_sts as sts; }
//! use brs::sts::{AssumeExt as _, MfaTokenProvider, Params, session_token};
//! use brs::{RefreshableSession, SecretSource, command::Command};
//!
//! # async fn example() -> Result<(), brs::Error> {
//! let device = "arn:aws:iam::123456789012:mfa/alice";
//! let role = || Params::new("arn:aws:iam::123456789012:role/admin").serial_number(device);
//! for provider in [
//!     MfaTokenProvider::totp(SecretSource::env("ALICE_MFA_SECRET")),
//!     MfaTokenProvider::totp(SecretSource::file("/run/secrets/alice-mfa")),
//!     MfaTokenProvider::totp("otpauth://totp/AWS:alice?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"),
//!     MfaTokenProvider::command(Command::parse("ykman oath accounts code --single aws:alice")?),
//!     MfaTokenProvider::prompt(),
//!     MfaTokenProvider::function(|| async { Ok::<_, std::io::Error>("123456") }),
//!     MfaTokenProvider::blocking_function(|| std::fs::read_to_string("/run/mfa/code")),
//! ] {
//!     let session = RefreshableSession::open(role().mfa_token_provider(provider)).await?;
//! }
//! // One code for any number of roles: roles on top of one MFA session.
//! let totp = MfaTokenProvider::totp(SecretSource::env("ALICE_MFA_SECRET"));
//! let user = session_token::Params::new().mfa(device, totp);
//! let user = RefreshableSession::open(user).await?;
//! let admin = user.assume("arn:aws:iam::123456789012:role/admin").await?;
//! # Ok(())
//! # }
//! ```
//!
//! As data, `mfa_token_provider` is a command, as a text or a list (its `mfa_token_provider_kwargs`
//! may have `timeout`, `cwd` and `env`, which replaces the environment as in Python), or a map with
//! one of `command`, `totp`, `totp_file`, `totp_env` and `prompt`.
//!
//! # Chains of roles
//!
//! [`session.assume(role)`](AssumeExt::assume) opens a session on top of another one. A child signs
//! with credentials of its parent that have not expired, or fails without a call (recoverably,
//! unless only a person can fix the parent); if AWS rejects them as expired, the parent's are
//! replaced and the call is made once more. Errors name the hop that failed, and `whoami()` reports
//! each. AWS grants a role that is assumed with a role's credentials an hour at most: more is
//! refused when the session is built, where the parent is known to be a role's.
//!
//! # Profiles
//!
//! A session of a profile takes its base credentials from there: keys, an SSO or console login,
//! `credential_process`, `credential_source`, or a role of the profile itself. Every role that the
//! profile leads to (`role_arn` with `source_profile` or `credential_source`) and every web
//! identity (`web_identity_token_file`) is a session below it, a hop as in a chain of
//! roles: it has the profile's `mfa_serial`, `duration_seconds`, `external_id` and
//! `role_session_name`, and the session's MFA token provider gives its codes.
//! [`Params::of_profile`] (as data, no role at all) assumes the profile's own role;
//! `sts-web-identity` takes its settings and `sts-session-token` its MFA device from the profile.
//!
//! The rules are the AWS SDK's: keys of a source take precedence over its role, a profile may be
//! its own source, a loop is an error. An empty value counts as absent, and what would leave out a
//! role is an error that names profile and key.
//!
//! The settings of the session and the STS client for reaching AWS hold for each hop: region,
//! endpoint, certificates, proxy, FIPS and dual stack, retries, time-outs. A hop's own `region` is
//! not used. An SSO login is reached with the session's endpoint, and with the STS client's
//! certificates, proxy, retries, time-outs, FIPS and dual stack. The AWS SDK takes less for the
//! others: a console login is renewed at its region's endpoint (or `AWS_ENDPOINT_URL_SIGNIN`); the
//! container's and the instance's endpoints are asked without the STS client's proxy, with retries
//! and time-outs that the SDK sets; a `credential_process` reaches AWS by its own means.
//!
//! # Where things come from
//!
//! | what | first found of |
//! |---|---|
//! | region | `client.region`, the session's region, `AWS_REGION`, `AWS_DEFAULT_REGION`, the profile |
//! | base credentials | `client`'s, the session beneath, the session's own, the named profile's, the SDK's chain |
//! | endpoint | `client.endpoint_url`, the session's, `AWS_ENDPOINT_URL_STS`, the region's own |
//! | certificates | `client.verify`, `AWS_CA_BUNDLE`, the profile's `ca_bundle`, the system's |
//! | proxy | `client.config.proxies`, the environment's |
//! | HTTP client | the user's in the base configuration, unless certificates or a proxy are set here; its own |
//!
//! A profile that is named takes precedence over keys in the environment; for
//! [`Params::of_profile`] that of `AWS_PROFILE` or `[default]` does, too. Instance metadata is
//! asked for credentials when nothing else has any, never for a region, and never because a profile
//! is missing or broken: a profile that is named, by option or by `AWS_PROFILE`, has to be there
//! and to work.
//!
//! Coming from Python: the default role session name is [`DEFAULT_ROLE_SESSION_NAME`] and not the
//! Python package's `boto3-refresh-session`; and `AWS_PROFILE` takes precedence over
//! `AWS_DEFAULT_PROFILE`, since SDK clients that the program makes without a session read only the
//! former.
//!
//! # Settings of the environment
//!
//! For every method, the settings that the AWS SDK reads are checked when a session is built, in
//! environment variables and in the profile. White space around a value does not count (around the
//! few that the SDK's credential providers read by themselves it is an error), and an empty value
//! counts as absent. An old value is taken for its nearest meaning, with a warning: the retry mode
//! `legacy` for `standard`. A wrong one, which the SDK ignores or panics for, is a configuration
//! error that names the variable, or the profile and the key, and what is allowed. What the session
//! is given explicitly is not looked up.
//!
//! The CA bundle of `AWS_CA_BUNDLE` or of the profile's `ca_bundle` replaces the system's
//! certificates for every client that is built from the session's configuration too, unless the
//! session was given an HTTP client. SDK clients that the program makes without a session do not
//! read it, nor does the method `iot`, which has a trust store.
//!
//! # What failures mean
//!
//! Denied access, an MFA code that was refused twice, an expired SSO login, keys that never change
//! and are unknown or expired, a region that is not active, a policy or value that AWS rejects: only
//! a person can fix these. Timeouts, unreached endpoints, throttling and errors on the side of STS
//! are retried. Base credentials of a session or provider that expired or are unknown, a rejected
//! web identity token, a refused signature, refusals that are not STS's own and answers that cannot
//! be read (or have more than 256 KiB) are tried again at the engine's pace; meanwhile the cached
//! credential set is served, an expired one too (static stability).
//!
//! This crate also registers the base loader through which every method gets profiles, SSO logins
//! and the default chain, and with which `whoami()` asks STS for account and ARN.

mod clock;
mod data;
mod environment;
mod methods;
mod mfa;
mod profiles;
mod proof;
mod request;
mod sts;

pub use methods::assume::AssumeExt;
pub use methods::assume_role::Sts;
pub use methods::{container, imds, root, saml, session_token, web_identity};
pub use mfa::MfaTokenProvider;
pub use request::client::{RetryMode, StsClient};
pub use request::params::{DEFAULT_ROLE_SESSION_NAME, Params};
