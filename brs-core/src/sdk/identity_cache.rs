//! The identity cache of a session's clients: the engine itself, for the session's own credentials.
//!
//! The SDK resolves credentials through one identity cache per configuration. Its own keeps a set
//! in its own way: it makes callers wait at a refresh, fails requests while valid credentials are
//! at hand, goes on serving a rejected set, and forgets providers from the 65th on. This one
//! recognises the session's provider by its partition and answers with an `Identity` that is built
//! once per set; whatever else is resolved (S3 Express, bearer tokens, the credentials of an
//! operation's override) goes to the cache of the base configuration, the SDK's lazy one unless it
//! has another.
//!
//! The usual answer takes no lock and no allocation, and is ready at its first poll
//! (`an_identity_is_ready_at_its_first_poll`, tests of whole sessions).

use std::sync::Arc;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime::client::identity::IdentityCache;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::identity::{
    Identity, IdentityCachePartition, IdentityFuture, ResolveCachedIdentity, ResolveIdentity,
    SharedIdentityCache, SharedIdentityResolver,
};
use aws_smithy_runtime_api::client::runtime_components::{
    RuntimeComponents, RuntimeComponentsBuilder,
};
use aws_smithy_types::config_bag::ConfigBag;
use once_cell::race::OnceBox;

use crate::credentials::to_sdk;
use crate::refresh::Engine;

/// Answers for one session's provider out of its engine.
#[derive(Debug)]
pub(crate) struct EngineIdentityCache {
    engine: Arc<Engine>,
    /// That of the session's provider.
    partition: Option<IdentityCachePartition>,
    /// For credentials that are not the session's: the base configuration's, or one that is built when somebody
    /// needs it.
    others: OnceBox<SharedIdentityCache>,
}

impl EngineIdentityCache {
    pub(crate) fn new(
        engine: Arc<Engine>,
        provider: &SharedCredentialsProvider,
        others: Option<SharedIdentityCache>,
    ) -> Self {
        let others =
            others.map_or_else(OnceBox::new, |others| OnceBox::with_value(Box::new(others)));
        Self {
            engine,
            partition: provider.cache_partition(),
            others,
        }
    }

    fn others(&self) -> &SharedIdentityCache {
        self.others
            .get_or_init(|| Box::new(IdentityCache::lazy().build()))
    }

    async fn wait(&self) -> Result<Identity, BoxError> {
        match self.engine.current().await {
            Ok(set) => Ok(set.identity(self.engine.strategy().source()).clone()),
            Err(error) => Err(to_sdk(error).into()),
        }
    }
}

impl ResolveCachedIdentity for EngineIdentityCache {
    fn resolve_cached_identity<'a>(
        &'a self,
        resolver: SharedIdentityResolver,
        runtime_components: &'a RuntimeComponents,
        config_bag: &'a ConfigBag,
    ) -> IdentityFuture<'a> {
        if Some(resolver.cache_partition()) != self.partition {
            return self
                .others()
                .resolve_cached_identity(resolver, runtime_components, config_bag);
        }
        match self
            .engine
            .read(|set| set.identity(self.engine.strategy().source()).clone())
        {
            Some(identity) => IdentityFuture::ready(Ok(identity)),
            None => IdentityFuture::new(self.wait()),
        }
    }

    fn validate_base_client_config(
        &self,
        runtime_components: &RuntimeComponentsBuilder,
        config_bag: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.others()
            .validate_base_client_config(runtime_components, config_bag)
    }

    fn validate_final_config(
        &self,
        runtime_components: &RuntimeComponents,
        config_bag: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.others()
            .validate_final_config(runtime_components, config_bag)
    }
}
