//! The HTTP client where a base configuration has none: the SDK's default, one for each runtime of the process.
//!
//! Connections, certificates and names are then shared by all sessions on a runtime: the hundredth costs no file reads
//! and no TLS set-up. They are not shared between runtimes: a pooled connection belongs to the runtime that opened it,
//! and stands still with that one. Without a linked crate that brings the SDK's HTTPS client there is none.

use std::sync::{PoisonError, RwLock};

use aws_smithy_runtime::client::defaults::default_http_client_plugin_v2;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector};
use aws_smithy_runtime_api::client::runtime_components::{RuntimeComponents, RuntimeComponentsBuilder};
use aws_smithy_runtime_api::client::runtime_plugin::RuntimePlugin;
use aws_smithy_types::config_bag::ConfigBag;
use tokio::runtime::{Handle, Id};

/// How many are kept; beyond that the oldest goes. A program has one runtime, or a few.
const KEPT: usize = 32;

struct Kept {
    runtime: Option<Id>,
    version: BehaviorVersion,
    client: SharedHttpClient,
}

static CLIENTS: RwLock<Vec<Kept>> = RwLock::new(Vec::new());

/// The default HTTP client, if the build has one.
pub(crate) fn default_http_client(version: BehaviorVersion) -> Option<SharedHttpClient> {
    build(version).map(|fallback| SharedHttpClient::new(PerRuntime { version, fallback }))
}

fn build(version: BehaviorVersion) -> Option<SharedHttpClient> {
    let plugin = default_http_client_plugin_v2(version)?;
    let nothing = RuntimeComponentsBuilder::new("brs");
    plugin.runtime_components(&nothing).http_client()
}

/// Chooses by the runtime it is called on.
#[derive(Debug)]
struct PerRuntime {
    version: BehaviorVersion,
    /// Costs nothing until it is used.
    fallback: SharedHttpClient,
}

impl PerRuntime {
    fn client(&self) -> SharedHttpClient {
        let runtime = Handle::try_current().ok().map(|handle| handle.id());
        let is_it = |kept: &&Kept| kept.runtime == runtime && kept.version == self.version;
        if let Some(kept) = CLIENTS.read().unwrap_or_else(PoisonError::into_inner).iter().find(is_it) {
            return kept.client.clone();
        }
        // Built without the lock: it may log, and a log may do anything.
        let client = build(self.version).unwrap_or_else(|| self.fallback.clone());
        let mut clients = CLIENTS.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = clients.iter().find(is_it) {
            return kept.client.clone();
        }
        let oldest = if clients.len() == KEPT { Some(clients.remove(0)) } else { None };
        clients.push(Kept { runtime, version: self.version, client: client.clone() });
        drop(clients);
        drop(oldest);
        client
    }
}

impl HttpClient for PerRuntime {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        self.client().http_connector(settings, components)
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.client().validate_base_client_config(components, config)
    }

    fn validate_final_config(&self, components: &RuntimeComponents, config: &ConfigBag) -> Result<(), BoxError> {
        self.client().validate_final_config(components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.fallback.connector_metadata()
    }
}
