//! The embedded AWS, tried with the SDK's own STS client and, where that cannot misbehave enough, by hand.
//!
//! `authentication` refuses callers, `sessions` issues and ends what was issued, `faults` fails on purpose. This file
//! owns what they share.

#![expect(clippy::unwrap_used, reason = "a helper that panics fails its test, like the test's own body")]

use aws_sdk_sts::Client;
use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::{AssumeRoleError, AssumeRoleOutput};
use aws_sdk_sts::operation::get_caller_identity::{GetCallerIdentityError, GetCallerIdentityOutput};
use brs_tests::EmbeddedAws;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

mod authentication;
mod faults;
mod sessions;

const ROLE: &str = "arn:aws:iam::123456789012:role/demo";

type AssumeRoleResult = Result<AssumeRoleOutput, SdkError<AssumeRoleError>>;
type IdentityResult = Result<GetCallerIdentityOutput, SdkError<GetCallerIdentityError>>;

fn client(aws: &EmbeddedAws, credentials: Credentials) -> Client {
    let config = aws_sdk_sts::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("eu-west-1"))
        .endpoint_url(aws.endpoint_url())
        .credentials_provider(credentials)
        .retry_config(RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}

async fn assume(aws: &EmbeddedAws) -> AssumeRoleResult {
    client(aws, aws.credentials()).assume_role().role_arn(ROLE).role_session_name("me").send().await
}

/// The issued credentials, without the expiration: the SDK would not send what it believes to be expired.
fn issued(output: &AssumeRoleOutput) -> Credentials {
    let issued = output.credentials().unwrap();
    Credentials::new(
        issued.access_key_id(),
        issued.secret_access_key(),
        Some(issued.session_token().to_owned()),
        None,
        "test",
    )
}

async fn identify(aws: &EmbeddedAws, credentials: Credentials) -> IdentityResult {
    client(aws, credentials).get_caller_identity().send().await
}

/// Status, code and message of a refusal.
fn refusal<T: std::fmt::Debug, E>(result: Result<T, SdkError<E>>) -> (u16, String, String)
where
    E: ProvideErrorMetadata + std::fmt::Debug,
{
    let error = result.unwrap_err();
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    (status, text(error.code()), text(error.message()))
}

/// A clock that stands still until it is moved.
#[derive(Clone, Debug)]
struct TestClock(Arc<AtomicU64>);

impl TestClock {
    /// Stands at the client's present, so that its signatures are current.
    #[expect(clippy::disallowed_methods, reason = "the SDK's client signs by the system's clock")]
    fn at_present() -> Self {
        let present = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Self(Arc::new(AtomicU64::new(present.as_secs())))
    }

    fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    fn rewind(&self, seconds: u64) {
        self.0.fetch_sub(seconds, Ordering::SeqCst);
    }

    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }

    fn reader(&self) -> impl Fn() -> SystemTime + Send + Sync + 'static {
        let clock = self.clone();
        move || clock.now()
    }
}
