//! The embedded AWS, tried with the SDK's own STS client and, where that cannot misbehave enough,
//! by hand.
//!
//! `authentication` refuses callers, `sessions` issues and ends what was issued, `session_token`,
//! `web_identity` and `sso` do so by other ways, `roles` and `mfa` set conditions, `policies`
//! narrows and marks sessions, `faults` and `failing_actions` fail on purpose. This file owns what
//! they share.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

use aws_sdk_sts::Client;
use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::builders::AssumeRoleFluentBuilder;
use aws_sdk_sts::operation::assume_role::{AssumeRoleError, AssumeRoleOutput};
use aws_sdk_sts::operation::get_caller_identity::{
    GetCallerIdentityError, GetCallerIdentityOutput,
};
use aws_sdk_sts::types::Credentials as Issued;
use brs_tests::EmbeddedAws;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

mod authentication;
mod failing_actions;
mod faults;
mod mfa;
mod policies;
mod roles;
mod saml_root;
mod session_token;
mod sessions;
mod sso;
mod web_identity;

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
    role_call(aws, aws.credentials()).send().await
}

/// A call that would have a role as it is.
fn role_call(aws: &EmbeddedAws, credentials: Credentials) -> AssumeRoleFluentBuilder {
    client(aws, credentials)
        .assume_role()
        .role_arn(ROLE)
        .role_session_name("me")
}

/// The issued credentials, without the expiration: the SDK would not send what it believes to be
/// expired.
fn issued(output: &AssumeRoleOutput) -> Credentials {
    keys(output.credentials())
}

fn keys(issued: Option<&Issued>) -> Credentials {
    let issued = issued.unwrap();
    Credentials::new(
        issued.access_key_id(),
        issued.secret_access_key(),
        Some(issued.session_token().to_owned()),
        None,
        "test",
    )
}

/// How long a session lives by the clock it was issued at.
fn lifetime(clock: &TestClock, issued: Option<&Issued>) -> u64 {
    let expiration = SystemTime::try_from(*issued.unwrap().expiration()).unwrap();
    expiration.duration_since(clock.now()).unwrap().as_secs()
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
    let status = error
        .raw_response()
        .map_or(0, |response| response.status().as_u16());
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    (status, text(error.code()), text(error.message()))
}

/// Sends a request by hand and returns the whole answer.
async fn raw(
    aws: &EmbeddedAws,
    request_line: &str,
    headers: &[(String, String)],
    body: &str,
) -> String {
    let address = host(aws);
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let request = format!(
        "{request_line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn host(aws: &EmbeddedAws) -> String {
    aws.endpoint_url().trim_start_matches("http://").to_owned()
}

/// A clock that stands still until it is moved.
#[derive(Clone, Debug)]
struct TestClock(Arc<AtomicU64>);

impl TestClock {
    /// Stands at the client's present, so that its signatures are current.
    #[expect(
        clippy::disallowed_methods,
        reason = "the SDK's client signs by the system's clock"
    )]
    fn at_present() -> Self {
        let present = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
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
