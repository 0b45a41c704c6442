//! A session's engine as an SDK credentials provider.
//!
//! When only the provider is used, the SDK's own cache is in front of it. The provider therefore
//! reports an expiry at which the mandatory window begins: the SDK asks again inside the advisory
//! window and is answered at once.

use std::sync::Arc;

use aws_credential_types::Credentials;
use aws_credential_types::provider::future;
use aws_credential_types::provider::{ProvideCredentials, Result as ProviderResult};

use crate::credentials::to_sdk;
use crate::refresh::{CachedSet, Engine};

/// Gives SDK clients what the engine has.
#[derive(Debug)]
pub(crate) struct EngineProvider(pub(crate) Arc<Engine>);

impl EngineProvider {
    async fn provide(&self) -> ProviderResult {
        match self.0.current().await {
            Ok(set) => Ok(self.convert(&set)),
            Err(error) => Err(to_sdk(error)),
        }
    }

    fn convert(&self, set: &CachedSet) -> Credentials {
        set.credentials
            .to_sdk(self.0.strategy().source(), set.sdk_expiry())
    }
}

impl ProvideCredentials for EngineProvider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        match self.0.read(|set| self.convert(set)) {
            Some(credentials) => future::ProvideCredentials::ready(Ok(credentials)),
            None => future::ProvideCredentials::new(self.provide()),
        }
    }

    /// What the SDK takes when its own time limit for loading credentials (5 s) is shorter than the
    /// source's answer.
    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.0.left_to_serve().map(|set| self.convert(&set))
    }
}
