//! Whole sessions against the embedded AWS: real HTTP, real signatures, real SDK clients.
//!
//! `sts`, `web_identity` (with `token_sources`), `saml_root`, `machine` (with `machine_sdk`) and
//! `custom` are the methods, `mfa` codes and what must not happen to them, `chain` sessions on top
//! of sessions, `remedies` what each error says, `settings` the STS client's settings at work,
//! `sharing` what sessions have in common and what their last handle frees, `shared_askers` by whom
//! they share credentials, `load` is thousands of callers in every state of the credentials, `base` a
//! base configuration and base credentials from the program, `environment` what the environment says
//! about reaching AWS, `profiles` and `role_profiles` those of environment and profile files,
//! `profile_chain` and `profile_settings` roles on top of each other in profiles and how AWS is
//! reached for them, `identity` is who the credentials are. This file owns what they share.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

mod base;
mod chain;
mod clients;
mod console_login;
mod custom;
mod environment;
#[path = "../common/flowing.rs"]
mod flowing;
mod identity;
mod load;
mod machine;
mod machine_sdk;
mod mfa;
mod mfa_providers;
mod pool;
mod profile_chain;
mod profile_settings;
mod profiles;
#[cfg(target_os = "linux")]
mod prompt;
mod rejections;
mod remedies;
mod role_profiles;
mod saml_root;
mod settings;
mod shared_askers;
mod sharing;
mod sso;
mod sts;
mod token_settings;
mod token_sources;
mod web_identity;

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_smithy_types::retry::RetryConfig;
use brs::sts::{Params, StsClient};
use brs::{Clock, Error, RefreshableSession, SessionBuilder};
use brs_core::test_util::ManualClock;
use brs_tests::EmbeddedAws;
use futures_util::FutureExt;

const ROLE: &str = "arn:aws:iam::123456789012:role/demo";
const HOUR: Duration = Duration::from_secs(3600);
/// Inside the advisory window of credentials that live an hour, the random part included.
const ADVISORY: Duration = Duration::from_secs(2700);
/// Inside their mandatory window.
const MANDATORY: Duration = Duration::from_secs(3545);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_900_000_000)
}

/// An embedded AWS and a clock that it shares with the sessions.
fn aws() -> (EmbeddedAws, ManualClock) {
    let clock = ManualClock::new(start());
    let server = clock.clone();
    // SDK clients sign with the machine's own clock; only the expirations follow the manual one.
    let aws = EmbeddedAws::builder()
        .clock(move || server.now())
        .allowed_skew(Duration::MAX)
        .start();
    (aws, clock)
}

/// A role whose failures are not tried again inside the SDK, so that the server counts what the
/// engine decides.
fn role() -> Params {
    Params::new(ROLE).client(StsClient::new().max_attempts(1))
}

fn builder(aws: &EmbeddedAws, clock: &ManualClock) -> SessionBuilder {
    with_params(aws, clock, role())
}

fn with_params(aws: &EmbeddedAws, clock: &ManualClock, params: Params) -> SessionBuilder {
    RefreshableSession::builder("sts", params)
        .region("eu-west-1")
        .endpoint_url(aws.endpoint_url())
        .base_credentials(aws.credentials())
        .clock(clock.clone())
        .seed(7)
}

/// A base configuration built by hand, without all that `aws_config::defaults` sets; its retries
/// wait for a moment only.
fn hand_made(aws: &EmbeddedAws) -> aws_types::sdk_config::Builder {
    aws_types::SdkConfig::builder()
        .region(aws_types::region::Region::new("eu-west-1"))
        .endpoint_url(aws.endpoint_url())
        .credentials_provider(aws_types::sdk_config::SharedCredentialsProvider::new(
            aws.credentials(),
        ))
        .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(1)))
}

/// A provider of base credentials that asks a function; without an answer it has none.
fn provider_of(
    answer: impl Fn() -> Option<Credentials> + Send + Sync + 'static,
) -> impl ProvideCredentials + 'static {
    FromFunction(Box::new(answer))
}

struct FromFunction(Box<dyn Fn() -> Option<Credentials> + Send + Sync>);

impl fmt::Debug for FromFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FromFunction")
    }
}

impl ProvideCredentials for FromFunction {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(
            (self.0)().ok_or_else(|| CredentialsError::not_loaded("nothing")),
        )
    }
}

async fn session(aws: &EmbeddedAws, clock: &ManualClock) -> RefreshableSession {
    builder(aws, clock).build().await.unwrap()
}

async fn key(session: &RefreshableSession) -> String {
    session
        .credentials()
        .await
        .unwrap()
        .access_key_id()
        .to_owned()
}

/// What `credentials()` gives at its first poll.
fn at_once(session: &RefreshableSession) -> Result<String, Error> {
    let ready = session
        .credentials()
        .now_or_never()
        .expect("`credentials()` is ready at its first poll");
    ready.map(|set| set.access_key_id().to_owned())
}

async fn until_landed(session: &RefreshableSession) {
    while session.status().is_refreshing() {
        tokio::task::yield_now().await;
    }
}
