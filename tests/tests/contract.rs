//! The methods of `brs-sts` keep the contract that every strategy must keep.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use brs::sts::{MfaTokenProvider, Params, StsClient, session_token, web_identity};
use brs::{
    BaseSession, Error, Identity, RefreshContext, RefreshStrategy, RefreshableSession,
    SessionBuilder, TemporaryCredentials,
};
use brs_core::test_util::Gate;
use brs_core::test_util::contract::{self, Source, Subject};
use brs_tests::EmbeddedAws;
use brs_tests::embedded_aws::Failure;

const ROLE: &str = "arn:aws:iam::123456789012:role/demo";
const TOKEN: &str = "eyJ.token-hush";

/// The strategy that the registry has built, out of its session.
#[derive(Debug)]
struct Registered(BaseSession);

#[async_trait]
impl RefreshStrategy for Registered {
    fn method(&self) -> &'static str {
        self.0.strategy().method()
    }

    fn source(&self) -> &'static str {
        self.0.strategy().source()
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        self.0.strategy().refresh(cx).await
    }

    async fn identity(&self, credentials: &TemporaryCredentials) -> Result<Identity, Error> {
        self.0.strategy().identity(credentials).await
    }
}

/// Base credentials whose provider panics.
#[derive(Debug)]
struct Panics;

impl ProvideCredentials for Panics {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        panic!("as the test wants")
    }
}

/// An embedded AWS whose clock stands still at the time of the checks, and the method to try there.
struct AtEmbeddedAws {
    aws: EmbeddedAws,
    method: &'static str,
    token: tempfile::NamedTempFile,
    /// With MFA codes of a function.
    mfa: bool,
}

impl AtEmbeddedAws {
    fn new(method: &'static str, mfa: bool) -> Self {
        let aws = EmbeddedAws::builder()
            .clock(contract::now)
            .allowed_skew(Duration::MAX)
            .start();
        aws.add_web_identity(TOKEN, "pod");
        let token = tempfile::NamedTempFile::new().expect("a file can be made");
        std::fs::write(token.path(), TOKEN).expect("a file can be written");
        Self {
            aws,
            method,
            token,
            mfa,
        }
    }

    fn session(&self, source: &Source) -> SessionBuilder {
        let client = StsClient::new().max_attempts(1);
        match self.method {
            "sts" if self.mfa => {
                let role =
                    Params::new(ROLE).serial_number("arn:aws:iam::123456789012:mfa/contract");
                let params = role.client(client).mfa_token_provider(self.codes(source));
                RefreshableSession::builder("sts", params)
            }
            "sts" => {
                let role = Params::new(ROLE).external_id("external-hush");
                RefreshableSession::builder("sts", role.client(client))
            }
            "sts-session-token" => RefreshableSession::builder(
                "sts-session-token",
                session_token::Params::new().client(client),
            ),
            _ => {
                let params = web_identity::Params::new()
                    .role_arn(ROLE)
                    .token_file(self.token.path())
                    .client(client);
                RefreshableSession::builder("sts-web-identity", params)
            }
        }
    }

    /// Each code is a new one, and good at the server.
    fn codes(&self, source: &Source) -> MfaTokenProvider {
        let codes: Vec<String> = (0..50)
            .map(|_| format!("{:06}", fastrand::u32(..1_000_000)))
            .collect();
        for code in &codes {
            self.aws
                .add_mfa_code("arn:aws:iam::123456789012:mfa/contract", code);
        }
        let next = std::sync::atomic::AtomicUsize::new(0);
        let code = move || codes[next.fetch_add(1, std::sync::atomic::Ordering::SeqCst)].clone();
        match source {
            Source::Blocking(gate) => {
                let gate: Gate = gate.clone();
                MfaTokenProvider::blocking_function(move || {
                    gate.block();
                    Ok::<_, Error>(code())
                })
            }
            Source::Panicking => {
                MfaTokenProvider::blocking_function(|| -> Result<String, Error> {
                    panic!("as wanted")
                })
            }
            _ => MfaTokenProvider::function(move || std::future::ready(Ok::<_, Error>(code()))),
        }
        .timeout(Duration::from_secs(60))
    }
}

#[async_trait]
impl Subject for AtEmbeddedAws {
    async fn strategy(&self, source: Source) -> Option<Arc<dyn RefreshStrategy>> {
        let mut base = SharedCredentialsProvider::new(self.aws.credentials());
        let failure = match source {
            Source::Healthy => None,
            Source::Expired => Some(Failure::AlreadyExpired),
            Source::Failing => Some(Failure::AccessDenied),
            Source::Hanging => Some(Failure::Hang),
            // Nobody's code runs for a web identity.
            Source::Panicking if self.method == "sts-web-identity" => return None,
            Source::Panicking if self.mfa => None,
            Source::Panicking => {
                base = SharedCredentialsProvider::new(Panics);
                None
            }
            Source::Blocking(_) if self.mfa => None,
            // Nothing else that these methods call is synchronous and the user's.
            _ => return None,
        };
        let action = match self.method {
            "sts" => "AssumeRole",
            "sts-session-token" => "GetSessionToken",
            _ => "AssumeRoleWithWebIdentity",
        };
        self.aws.fail_always_of(action, failure);
        let builder = self
            .session(&source)
            .region("eu-west-1")
            .endpoint_url(self.aws.endpoint_url());
        let session = builder.base_credentials(base).build().await;
        let strategy = Registered(session.expect("the parameters are right").as_base());
        Some(Arc::new(strategy))
    }

    fn secrets(&self) -> Vec<String> {
        let mut secrets = self.aws.issued_secrets();
        secrets.extend(["external-hush", TOKEN].map(str::to_owned));
        secrets.extend(
            self.aws
                .mfa_attempts()
                .into_iter()
                .map(|attempt| attempt.token_code),
        );
        secrets
    }
}

async fn keeps_the_contract(
    method: &'static str,
    mfa: bool,
) -> (Vec<&'static str>, Vec<&'static str>) {
    let report = contract::check(&AtEmbeddedAws::new(method, mfa)).await;
    (report.checked().to_vec(), report.left_out().to_vec())
}

#[tokio::test]
async fn the_method_sts_keeps_the_contract() {
    let (checked, left_out) = keeps_the_contract("sts", false).await;
    assert_eq!(
        checked,
        ["healthy", "expired", "failing", "hanging", "panicking"]
    );
    assert_eq!(left_out, ["blocking"]);
}

#[tokio::test]
async fn the_method_sts_keeps_the_contract_with_mfa() {
    let (checked, _) = keeps_the_contract("sts", true).await;
    assert_eq!(
        checked,
        [
            "healthy",
            "expired",
            "failing",
            "hanging",
            "panicking",
            "blocking"
        ]
    );
}

#[tokio::test]
async fn the_method_sts_session_token_keeps_the_contract() {
    let (checked, left_out) = keeps_the_contract("sts-session-token", false).await;
    assert_eq!(
        checked,
        ["healthy", "expired", "failing", "hanging", "panicking"]
    );
    assert_eq!(left_out, ["blocking"]);
}

#[tokio::test]
async fn the_method_sts_web_identity_keeps_the_contract() {
    let (checked, left_out) = keeps_the_contract("sts-web-identity", false).await;
    assert_eq!(checked, ["healthy", "expired", "failing", "hanging"]);
    assert_eq!(left_out, ["panicking", "blocking"]);
}
