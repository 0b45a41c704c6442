//! The method `sts` keeps the contract that every strategy must keep.

use std::sync::Arc;

use async_trait::async_trait;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use brs::sts::{AssumeRole, Params, StsClient};
use brs::{Error, Identity, RefreshContext, RefreshStrategy, RefreshableSession, TemporaryCredentials};
use brs_core::test_util::contract::{self, Source, Subject};
use brs_tests::EmbeddedAws;
use brs_tests::embedded_aws::Failure;

/// Sessions at an embedded AWS whose clock stands still at the time of the checks.
struct AtEmbeddedAws(EmbeddedAws);

/// The strategy that the registry has built, out of its session.
#[derive(Debug)]
struct Registered(RefreshableSession);

impl Registered {
    fn sts(&self) -> &brs::sts::Sts {
        self.0.strategy().expect("the session was opened with this method")
    }
}

#[async_trait]
impl RefreshStrategy for Registered {
    fn method(&self) -> &'static str {
        self.sts().method()
    }

    fn source(&self) -> &'static str {
        self.sts().source()
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        self.sts().refresh(cx).await
    }

    async fn identity(&self, credentials: &TemporaryCredentials) -> Result<Identity, Error> {
        self.sts().identity(credentials).await
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

#[async_trait]
impl Subject for AtEmbeddedAws {
    async fn strategy(&self, source: Source) -> Option<Arc<dyn RefreshStrategy>> {
        let mut base = SharedCredentialsProvider::new(self.0.credentials());
        let failure = match source {
            Source::Healthy => None,
            Source::Expired => Some(Failure::AlreadyExpired),
            Source::Failing => Some(Failure::AccessDenied),
            Source::Hanging => Some(Failure::Hang),
            Source::Panicking => {
                base = SharedCredentialsProvider::new(Panics);
                None
            }
            // Nothing that `sts` calls is synchronous.
            _ => return None,
        };
        self.0.fail_always(failure);
        let role = AssumeRole::new("arn:aws:iam::123456789012:role/demo").external_id("external-hush");
        let session =
            RefreshableSession::builder("sts", Params::assume_role(role).client(StsClient::new().max_attempts(1)))
                .region("eu-west-1")
                .endpoint_url(self.0.endpoint_url())
                .base_credentials(base)
                .build()
                .await;
        Some(Arc::new(Registered(session.expect("the parameters are right"))))
    }

    fn secrets(&self) -> Vec<String> {
        let mut secrets = self.0.issued_secrets();
        secrets.push("external-hush".into());
        secrets
    }
}

#[tokio::test]
async fn the_method_sts_keeps_the_contract() {
    let aws = EmbeddedAws::builder().clock(contract::now).allowed_skew(std::time::Duration::MAX).start();
    let report = contract::check(&AtEmbeddedAws(aws)).await;
    assert_eq!(report.checked(), ["healthy", "expired", "failing", "hanging", "panicking"]);
    assert_eq!(report.left_out(), ["blocking"]);
}
