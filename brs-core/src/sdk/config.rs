//! The configuration that SDK clients are built from: a session's base configuration with the
//! session's credentials in place of the base ones.

use std::sync::Arc;

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_types::SdkConfig;

use super::EngineProvider;
use super::identity_cache::EngineIdentityCache;
use super::watch::Watch;
use crate::kit::default_http::default_http_client;
use crate::refresh::Engine;

/// The session as a credentials provider: everything that the SDK is given holds this one.
pub(crate) fn provider(engine: &Arc<Engine>) -> Arc<dyn ProvideCredentials> {
    Arc::new(EngineProvider(Arc::clone(engine)))
}

/// The configuration of a session on `base`, with its provider.
pub(crate) fn session_config(
    base: &SdkConfig,
    engine: &Arc<Engine>,
    provider: &SharedCredentialsProvider,
    retry_rejected: bool,
) -> SdkConfig {
    let cache = EngineIdentityCache::new(Arc::clone(engine), provider, base.identity_cache());
    let mut config = base
        .to_builder()
        .credentials_provider(provider.clone())
        .identity_cache(cache);
    let version = base
        .behavior_version()
        .unwrap_or_else(BehaviorVersion::latest);
    if let Some(http_client) = base.http_client().or_else(|| default_http_client(version)) {
        config = config.http_client(Watch::new(http_client, Arc::clone(engine), retry_rejected));
    }
    config.build()
}
