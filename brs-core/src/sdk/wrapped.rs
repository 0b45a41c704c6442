//! Any SDK credentials provider as a strategy: the engine around what somebody already has.

use async_trait::async_trait;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};

use crate::credentials::TemporaryCredentials;
use crate::kit::error::Error;
use crate::method::strategy::{RefreshContext, RefreshStrategy};

/// Asks an SDK provider.
///
/// A provider that caches by itself may return the same set again; the windows shrink with what is
/// left of it, so that this costs a bounded number of calls.
#[derive(Debug)]
pub(crate) struct Wrapped(pub(crate) SharedCredentialsProvider);

#[async_trait]
impl RefreshStrategy for Wrapped {
    fn method(&self) -> &'static str {
        "provider"
    }

    fn source(&self) -> &'static str {
        "provider"
    }

    async fn refresh(&self, _: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        let credentials = self.0.provide_credentials().await.map_err(from_sdk)?;
        Ok(TemporaryCredentials::from(&credentials))
    }
}

fn from_sdk(error: CredentialsError) -> Error {
    let brs = match &error {
        CredentialsError::CredentialsNotLoaded(_) => Error::configuration(
            "the wrapped provider has no credentials: check its own configuration",
        ),
        CredentialsError::InvalidConfiguration(_) => {
            Error::configuration("the wrapped provider is not configured properly").unrecoverable()
        }
        CredentialsError::ProviderTimedOut(_) => {
            Error::connection("the wrapped provider did not answer in time")
        }
        // It says no more than that: assume that trying again may help.
        _ => Error::credential("the wrapped provider failed").retryable(),
    };
    brs.with_source(error)
}
