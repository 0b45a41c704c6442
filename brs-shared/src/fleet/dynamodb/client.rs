//! The client of a table, and its credentials.
//!
//! Credentials are resolved before the operations of a refresh, in a time of their own: an operation
//! has half a second, in which a login or another session's refresh has no place. Those that DynamoDB
//! rejects are not kept.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_dynamodb::config::Region;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_types::SdkConfig;
use brs_core::kit::PerProcess;
use brs_core::{Clock, SystemClock};

/// Waits between tries are short: an operation has half a second.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);

/// Credentials with less left are resolved again before the operations of a refresh.
const LEAST_LEFT: Duration = Duration::from_secs(60);

/// The same within an operation, where they have just been resolved.
const LEAST_LEFT_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Client {
    config: SdkConfig,
    kept: Option<Kept>,
    /// Connections do not follow a fork.
    client: PerProcess<aws_sdk_dynamodb::Client>,
}

impl Client {
    pub(super) fn new(config: &SdkConfig) -> Self {
        let kept = config.credentials_provider().map(Kept::new);
        Self {
            config: config.clone(),
            kept,
            client: PerProcess::new(),
        }
    }

    pub(super) fn set_endpoint_url(&mut self, url: String) {
        self.config = self.config.to_builder().endpoint_url(url).build();
    }

    pub(super) fn set_region(&mut self, region: String) {
        let region = Region::new(region);
        self.config = self.config.to_builder().region(region).build();
    }

    pub(super) fn region(&self) -> &str {
        self.config.region().map_or("no region", Region::as_ref)
    }

    pub(super) fn get(&self) -> Arc<aws_sdk_dynamodb::Client> {
        self.client.get_or_make(|_| {
            let retries = RetryConfig::standard().with_initial_backoff(FIRST_BACKOFF);
            let mut config =
                aws_sdk_dynamodb::config::Builder::from(&self.config).retry_config(retries);
            if let Some(kept) = &self.kept {
                config = config.credentials_provider(kept.clone());
            }
            aws_sdk_dynamodb::Client::from_conf(config.build())
        })
    }

    pub(super) async fn resolve_credentials(&self) -> Result<(), CredentialsError> {
        match &self.kept {
            Some(kept) => kept.get(LEAST_LEFT).await.map(drop),
            // The client says what it lacks.
            None => Ok(()),
        }
    }

    /// They were rejected.
    pub(super) fn forget_credentials(&self) {
        if let Some(kept) = &self.kept {
            kept.last.store(None);
        }
    }
}

/// A provider that keeps what it gave until shortly before that expires.
#[derive(Clone, Debug)]
struct Kept {
    provider: SharedCredentialsProvider,
    last: Arc<ArcSwapOption<Credentials>>,
}

impl Kept {
    fn new(provider: SharedCredentialsProvider) -> Self {
        Self {
            provider,
            last: Arc::default(),
        }
    }

    async fn get(&self, least_left: Duration) -> Result<Credentials, CredentialsError> {
        let least = SystemClock::new().now() + least_left;
        if let Some(last) = &*self.last.load()
            && last.expiry().is_some_and(|expiry| expiry > least)
        {
            return Ok(Credentials::clone(last));
        }
        let new = self.provider.provide_credentials().await?;
        self.last.store(Some(Arc::new(new.clone())));
        Ok(new)
    }
}

impl ProvideCredentials for Kept {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.get(LEAST_LEFT_WITHIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Debug, Default)]
    struct Counted {
        calls: Arc<AtomicUsize>,
        lifetime: Option<Duration>,
    }

    impl ProvideCredentials for Counted {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            self.calls.fetch_add(1, Ordering::Relaxed);
            let expiry = self.lifetime.map(|left| SystemClock::new().now() + left);
            let set = Credentials::new("AKIAKEPT", "hush", None, expiry, "test");
            future::ProvideCredentials::ready(Ok(set))
        }
    }

    #[tokio::test]
    async fn credentials_are_kept_until_shortly_before_they_expire() {
        let (before, within) = (LEAST_LEFT, LEAST_LEFT_WITHIN);
        for (lifetime, least_left, expected) in [
            (Some(3600), before, 1),
            (Some(30), before, 3),
            (Some(30), within, 1),
            (Some(3), within, 3),
            (None, before, 3),
        ] {
            let calls = Arc::new(AtomicUsize::new(0));
            let kept = Kept::new(SharedCredentialsProvider::new(Counted {
                calls: Arc::clone(&calls),
                lifetime: lifetime.map(Duration::from_secs),
            }));
            for _ in 0..3 {
                kept.get(least_left).await.unwrap();
            }
            assert_eq!(calls.load(Ordering::Relaxed), expected, "{lifetime:?}");
        }
    }

    #[tokio::test]
    async fn credentials_that_were_rejected_are_resolved_again() {
        let calls = Arc::new(AtomicUsize::new(0));
        let provider = SharedCredentialsProvider::new(Counted {
            calls: Arc::clone(&calls),
            lifetime: Some(Duration::from_secs(3600)),
        });
        let config = SdkConfig::builder().credentials_provider(provider).build();
        let client = Client::new(&config);
        for _ in 0..2 {
            client.resolve_credentials().await.unwrap();
        }
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        client.forget_credentials();
        client.resolve_credentials().await.unwrap();
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }
}
