//! The HTTP client where a base configuration has none: the SDK's default, one for each runtime of
//! the process.
//!
//! Connections, certificates and names are then shared by all sessions on a runtime: the hundredth
//! costs no file reads and no TLS set-up. They are not shared between runtimes: a pooled connection
//! belongs to the runtime that opened it, and stands still with that one. All goes with the last
//! configuration that could use it. Without a linked crate that brings the SDK's HTTPS client there
//! is none. A crate that has a TLS stack can have its own client kept in the same way.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use aws_smithy_runtime::client::defaults::default_http_client_plugin_v2;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::runtime_components::{
    RuntimeComponents, RuntimeComponentsBuilder,
};
use aws_smithy_runtime_api::client::runtime_plugin::RuntimePlugin;
use aws_smithy_types::config_bag::ConfigBag;
use tokio::runtime::{Handle, Id};

use crate::kit::per_process::PerProcess;

/// The origin of a configuration's HTTP client: the environment's where its CA bundle made it
/// necessary.
pub const HTTP_CLIENT: &str = "http_client";

/// How many runtimes a client is kept for; beyond that the one that was asked for longest ago goes.
/// A program has one runtime, or a few.
const KEPT: usize = 32;

/// The clients of all living configurations; with the last of those they and their connections go.
static SHARED: PerProcess<Mutex<Weak<Clients>>> = PerProcess::new();

/// The default HTTP client, if the build has one. For strategies that speak to AWS through the SDK
/// it is the one of the runtime that refreshes, hence not that of callers elsewhere.
pub fn default_http_client(version: BehaviorVersion) -> Option<SharedHttpClient> {
    let clients = Clients::shared();
    let fallback = clients.fallback(version)?;
    let again = fallback.clone();
    let make = Box::new(move || build(version).unwrap_or_else(|| again.clone()));
    Some(SharedHttpClient::new(PerRuntime {
        version,
        fallback,
        clients,
        make,
    }))
}

/// An HTTP client that is made once for each runtime it is used on, by `make`.
pub fn http_client_per_runtime(
    make: impl Fn() -> SharedHttpClient + Send + Sync + 'static,
) -> SharedHttpClient {
    SharedHttpClient::new(PerRuntime::new(make))
}

fn build(version: BehaviorVersion) -> Option<SharedHttpClient> {
    let plugin = default_http_client_plugin_v2(version)?;
    let nothing = RuntimeComponentsBuilder::new("brs");
    plugin.runtime_components(&nothing).http_client()
}

#[derive(Debug)]
struct Kept {
    runtime: Option<Id>,
    version: BehaviorVersion,
    client: SharedHttpClient,
    /// The number of the call that last asked for it.
    last_use: AtomicU64,
}

#[derive(Debug, Default)]
struct Clients {
    /// A forked child makes its own: the tasks of the parent's connections are not there.
    kept: PerProcess<RwLock<Vec<Kept>>>,
    calls: AtomicU64,
    /// For what no request is needed for; costs nothing until it is used.
    fallbacks: PerProcess<Mutex<Vec<(BehaviorVersion, SharedHttpClient)>>>,
}

impl Clients {
    fn shared() -> Arc<Self> {
        let shared = SHARED.get();
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let clients = Arc::default();
            *shared = Arc::downgrade(&clients);
            clients
        })
    }

    /// A client of no runtime, if the build has one at all.
    fn fallback(&self, version: BehaviorVersion) -> Option<SharedHttpClient> {
        let fallbacks = self.fallbacks.get();
        let fallbacks = || fallbacks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = fallbacks().iter().find(|(of, _)| *of == version) {
            return Some(client.clone());
        }
        // Without the lock, as below. Of two that are built at the same time one is found from then
        // on.
        let client = build(version)?;
        fallbacks().push((version, client.clone()));
        Some(client)
    }

    /// The client that belongs to this runtime.
    fn of(
        &self,
        runtime: Option<Id>,
        version: BehaviorVersion,
        build: impl FnOnce() -> SharedHttpClient,
    ) -> SharedHttpClient {
        // The order of these numbers is no more than a guess at what is in use: relaxed is enough.
        let now = self.calls.fetch_add(1, Ordering::Relaxed);
        let is_it = |kept: &&Kept| kept.runtime == runtime && kept.version == version;
        let found = |kept: &[Kept]| {
            let kept = kept.iter().find(is_it)?;
            kept.last_use.store(now, Ordering::Relaxed);
            Some(kept.client.clone())
        };
        let kept = self.kept.get();
        if let Some(client) = found(&kept.read().unwrap_or_else(PoisonError::into_inner)) {
            return client;
        }
        // Built without the lock: it may log, and a log may do anything.
        let client = build();
        let mut kept = kept.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = found(&kept) {
            return client;
        }
        let oldest = (0..kept.len()).min_by_key(|at| kept[*at].last_use.load(Ordering::Relaxed));
        let evicted = oldest
            .filter(|_| kept.len() == KEPT)
            .map(|at| kept.swap_remove(at));
        kept.push(Kept {
            runtime,
            version,
            client: client.clone(),
            last_use: AtomicU64::new(now),
        });
        drop(kept);
        drop(evicted);
        client
    }
}

/// Chooses by the runtime it is called on.
struct PerRuntime {
    version: BehaviorVersion,
    /// For what no request is needed for.
    fallback: SharedHttpClient,
    clients: Arc<Clients>,
    make: Box<dyn Fn() -> SharedHttpClient + Send + Sync>,
}

impl fmt::Debug for PerRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerRuntime")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl PerRuntime {
    fn new(make: impl Fn() -> SharedHttpClient + Send + Sync + 'static) -> Self {
        let (version, fallback) = (BehaviorVersion::latest(), make());
        Self {
            version,
            fallback,
            clients: Arc::default(),
            make: Box::new(make),
        }
    }

    fn client(&self) -> SharedHttpClient {
        let runtime = Handle::try_current().ok().map(|handle| handle.id());
        self.clients.of(runtime, self.version, &self.make)
    }
}

impl HttpClient for PerRuntime {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        self.client().http_connector(settings, components)
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.client()
            .validate_base_client_config(components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.client().validate_final_config(components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.fallback.connector_metadata()
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::http::http_client_fn;

    use super::*;

    fn client(number: u32) -> SharedHttpClient {
        http_client_fn(move |_, _| unreachable!("client {number} is not used"))
    }

    fn ids(count: usize) -> Vec<Id> {
        let runtimes = (0..count).map(|_| {
            tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap()
        });
        // An id is not given again while its runtime lives.
        let runtimes: Vec<_> = runtimes.collect();
        runtimes
            .iter()
            .map(|runtime| runtime.handle().id())
            .collect()
    }

    #[test]
    fn a_crates_own_client_is_made_once_for_each_runtime() {
        let made = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&made);
        let clients = PerRuntime::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            client(1)
        });
        assert_eq!(
            made.load(Ordering::SeqCst),
            1,
            "for what no request is needed for"
        );
        let runtimes: Vec<_> = (0..2)
            .map(|_| {
                tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap()
            })
            .collect();
        for _ in 0..3 {
            for runtime in &runtimes {
                runtime.block_on(async { clients.client() });
            }
        }
        assert_eq!(made.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn a_runtime_keeps_its_client_and_the_one_used_longest_ago_goes() {
        let (clients, version) = (Clients::default(), BehaviorVersion::latest());
        let ids = ids(KEPT + 1);
        let ask = |id: &Id| {
            let mut built = false;
            clients.of(Some(*id), version, || {
                built = true;
                client(0)
            });
            built
        };
        assert!(ids[..KEPT].iter().all(ask));
        assert!(!ids[..KEPT].iter().any(ask));
        assert!(!ask(&ids[0]), "the first is in use again");
        assert!(ask(&ids[KEPT]));
        assert!(!ask(&ids[0]));
        assert!(ask(&ids[1]), "the second had gone");
        assert_eq!(clients.kept.get().read().unwrap().len(), KEPT);
    }
}
