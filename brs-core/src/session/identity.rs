//! Whose credentials a session has: its own, and those of the sessions that it stands on.

use std::sync::Arc;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_types::SdkConfig;

use super::RefreshableSession;
use crate::base::session::BaseSession;
use crate::credentials::TemporaryCredentials;
use crate::kit::error::Error;
use crate::method::identity::{CallerIdentity, Identity};
use crate::refresh::Engine;

/// Looking at whose credentials they are.
impl RefreshableSession {
    /// The identity that the current credentials stand for.
    ///
    /// The caller's account and ARN are asked from STS with the temporary credentials themselves,
    /// if the build has the `sts` feature and the session a region; otherwise [`Identity::caller`]
    /// is `None`. A session that gets its credentials from STS asks with the same settings (region,
    /// endpoint, CA bundle, proxies, time-outs); any other session uses its base configuration. For
    /// a session on top of others, [`Identity::chain`] reports each of them in the same way.
    ///
    /// # Errors
    ///
    /// As [`credentials`](Self::credentials), or the error of STS; then method, source and access
    /// key id are among its [details](Error::details).
    pub async fn whoami(&self) -> Result<Identity, Error> {
        let set = self.0.engine.current().await?;
        let strategy = self.0.engine.strategy();
        let identity = strategy.identity(&set.credentials).await?;
        let mut identity =
            match caller(&self.0.engine, self.0.as_base.base(), &set.credentials).await {
                Ok(Some(caller)) => identity.with_caller(caller),
                Ok(None) => identity,
                Err(error) => {
                    let known = identity
                        .details
                        .iter()
                        .fold(error, |error, (key, value)| error.with_detail(key, value));
                    return Err(known
                        .with_detail("method", &identity.method)
                        .with_detail("source", &identity.source)
                        .with_detail("access_key_id", &identity.access_key_id));
                }
            };
        let mut next = self.0.as_base.parent();
        while let Some(hop) = next {
            identity.chain.insert(0, self.identity_of(hop).await);
            next = hop.parent();
        }
        Ok(identity)
    }

    /// The identity of a session beneath this one. A failure becomes a detail, so that the others
    /// are still reported.
    async fn identity_of(&self, hop: &BaseSession) -> Identity {
        let strategy = hop.strategy();
        let unknown = |key: &str, error: &Error| {
            Identity::new(strategy.method(), strategy.source(), key)
                .with_detail("problem", error.to_string())
        };
        // A person is not asked for a code just to report an identity.
        if hop.is_interactive() && !hop.engine().ready() {
            let error = Error::configuration(
                "its credentials have expired or are about to, and only a person can renew them",
            );
            return unknown("", &error);
        }
        let credentials = match hop.credentials().await {
            Ok(credentials) => credentials,
            Err(error) => return unknown("", &error),
        };
        // A session without a region is looked up in this one's.
        let base = [hop, &self.0.as_base]
            .map(BaseSession::base)
            .into_iter()
            .find(|base| base.region().is_some());
        let base = base.unwrap_or_else(|| hop.base());
        let identity = match strategy.identity(&credentials).await {
            Ok(identity) => identity,
            Err(error) => unknown(credentials.access_key_id(), &error),
        };
        match caller(hop.engine(), base, &credentials).await {
            Ok(Some(caller)) => identity.with_caller(caller),
            Ok(None) => identity,
            Err(error) => identity.with_detail("problem", error.to_string()),
        }
    }
}

/// The caller's identity with those credentials; `None` if the build or the session cannot ask.
async fn caller(
    engine: &Engine,
    config: &SdkConfig,
    credentials: &TemporaryCredentials,
) -> Result<Option<CallerIdentity>, Error> {
    let Some(loader) = crate::base::setup::base_loader()? else {
        return Ok(None);
    };
    let strategy = Arc::clone(engine.strategy());
    let credentials = credentials.to_sdk(strategy.source(), None);
    let config = config
        .to_builder()
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build();
    engine
        .on_own_runtime(async move { loader.caller_identity(&config, &*strategy).await })
        .await
}
