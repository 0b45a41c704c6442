//! A session whose credentials another session's strategy calls its source with: one hop of a
//! chain.
//!
//! A [`BaseSession`] holds the engine, not the session, so a child keeps its parent's credentials
//! fresh and neither its clients nor itself. What it gives is never an expired set: static
//! stability is for callers who have nothing better to do, and a child does: it has a set of its
//! own, and fails recoverably without calling anybody.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::provider::future;
use aws_credential_types::provider::{
    ProvideCredentials, Result as ProviderResult, SharedCredentialsProvider,
};
use aws_types::SdkConfig;
use aws_types::region::Region;

use crate::credentials::{TemporaryCredentials, to_sdk};
use crate::kit::error::Error;
use crate::method::strategy::RefreshStrategy;
use crate::refresh::{CachedSet, Engine};

/// The session beneath another one: where its base credentials come from. See
/// [`SessionBuilder::base_session`](crate::SessionBuilder::base_session).
#[derive(Clone)]
pub struct BaseSession(Arc<Inner>);

struct Inner {
    engine: Arc<Engine>,
    /// What the session was built on; its credentials are not this session's.
    base: Arc<SdkConfig>,
    parent: Option<BaseSession>,
}

impl BaseSession {
    pub(crate) fn new(
        engine: Arc<Engine>,
        base: Arc<SdkConfig>,
        parent: Option<BaseSession>,
    ) -> Self {
        Self(Arc::new(Inner {
            engine,
            base,
            parent,
        }))
    }

    /// Credentials that have not expired, refreshed first where need be.
    ///
    /// # Errors
    ///
    /// That of the session, with the hop's name before it; recoverable where the session's is.
    /// Credentials that have expired are an error, even where the session itself would serve them.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a refresh that was started goes on.
    pub async fn credentials(&self) -> Result<TemporaryCredentials, Error> {
        self.current().await.map(|set| set.credentials.clone())
    }

    async fn current(&self) -> Result<Arc<CachedSet>, Error> {
        self.0
            .engine
            .valid_for(Duration::ZERO)
            .await
            .map_err(|error| error.at_hop(&self.name()))
    }

    async fn provide(&self) -> ProviderResult {
        match self.current().await {
            Ok(set) => Ok(set
                .credentials
                .to_sdk(self.strategy().source(), set.sdk_expiry())),
            Err(error) => Err(to_sdk(error)),
        }
    }

    /// AWS has rejected the credentials with this key as expired or invalid; paced, as
    /// [`RefreshableSession::report_rejected`](crate::RefreshableSession::report_rejected).
    pub fn report_rejected(&self, access_key_id: &str) {
        self.0.engine.reject(access_key_id);
    }

    /// The session's strategy.
    pub fn strategy(&self) -> &dyn RefreshStrategy {
        &**self.0.engine.strategy()
    }

    /// The session's name in errors and identities: its method, and the role and its profile if it
    /// has them.
    pub fn name(&self) -> String {
        let strategy = self.strategy();
        let mut name = format!("`{}`", strategy.method());
        if let Some(role) = strategy.role() {
            name += &format!(" of role `{role}`");
        }
        if let Some(profile) = strategy.profile() {
            name += &format!(" of profile `{profile}`");
        }
        name
    }

    /// Whether a refresh of the session, or of one beneath it, asks a person.
    pub fn is_interactive(&self) -> bool {
        self.strategy().interactive() || self.parent().is_some_and(Self::is_interactive)
    }

    /// How long a refresh of the session may take, those of the sessions beneath it included.
    pub fn refresh_timeout(&self) -> Duration {
        self.0.engine.refresh_timeout()
    }

    /// The session's region.
    pub fn region(&self) -> Option<&Region> {
        self.0.base.region()
    }

    /// The session beneath this one.
    pub fn parent(&self) -> Option<&BaseSession> {
        self.0.parent.as_ref()
    }

    /// How many hold it.
    pub(crate) fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.0.engine
    }

    /// The configuration that the session was built on.
    pub(crate) fn base(&self) -> &SdkConfig {
        &self.0.base
    }

    /// The session's own base configuration, with its credentials.
    pub(crate) fn config(&self) -> SdkConfig {
        let provider = SharedCredentialsProvider::new(self.clone());
        self.0
            .base
            .to_builder()
            .credentials_provider(provider)
            .build()
    }
}

impl ProvideCredentials for BaseSession {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.provide())
    }
}

impl fmt::Debug for BaseSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BaseSession")
            .field(&format_args!("{}", self.name()))
            .finish()
    }
}
