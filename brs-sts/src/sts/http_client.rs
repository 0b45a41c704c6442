//! The HTTP client of the STS client: whom it trusts, which proxy it uses, and how much it
//! reads.
//!
//! Connections are opened, used and kept on the runtime that refreshes, so they are never those of
//! callers elsewhere. Without its own settings a strategy uses the SDK's default client, one
//! for all sessions on that runtime: the hundredth role costs no second certificate store and no
//! TLS handshake. Only an HTTP client that the user put into the base configuration is used as it
//! is (unless a CA bundle or a proxy is set for STS): a program that gives one to several places
//! has to keep its runtime alive. A CA bundle of the environment's or the profile's has made a
//! client of the base configuration already, shared in the same way as the default one. Either way
//! an answer is read up to [`MAX_ANSWER`]. No certificate store is read before the first call.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, TlsContext, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::{
    RuntimeComponents, RuntimeComponentsBuilder,
};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use aws_types::SdkConfig;
use aws_types::sdk_config::SharedAsyncSleep;
use brs_core::Error;
use brs_core::kit::PerProcess;
use http_body_util::Limited;

use crate::request::client::{StsClient, Verify};
use crate::request::validate::Invalid;
use crate::sts::ca::{self, Bundle};
use crate::sts::proxy::Proxy;

/// How much of an answer is read. STS's own have a few KiB; a session token may have 4 KiB, a whole
/// AssumeRole answer hardly more than 10.
pub(crate) const MAX_ANSWER: usize = 256 * 1024;

/// The HTTP client for the strategy: the user's own of the base configuration, unless settings ask
/// for another.
pub(crate) async fn for_strategy(
    settings: &StsClient,
    base: &SdkConfig,
    proxy: &Proxy,
) -> Result<SharedHttpClient, Error> {
    let proxy = proxy
        .config()
        .map_err(|_| Invalid::Shape("is not a proxy's URL").at("client.config.proxies"))?;
    let trust_store = match &settings.verify {
        Some(Verify::Bundle(path)) => Some(Bundle::of_settings(path.clone()).load().await?),
        // The system's certificates were asked for.
        Some(Verify::Switch(_)) if proxy.is_none() && ca::is_environments(base) => {
            return Ok(plain(None));
        }
        // Without proxies the base configuration's client trusts what the environment says already.
        None if proxy.is_some() => match Bundle::of_base(base)? {
            Some(bundle) => Some(bundle.load().await?),
            None => None,
        },
        Some(Verify::Switch(_)) | None => None,
    };
    let mut tls = TlsContext::builder();
    match trust_store {
        None if proxy.is_none() => return Ok(plain(base.http_client())),
        Some(trust_store) => tls = tls.with_trust_store(trust_store),
        None => {}
    }
    let tls = tls.build().map_err(|error| {
        Error::configuration("TLS cannot be set up for STS")
            .with_source(error)
            .unrecoverable()
    })?;
    Ok(bounded(own(tls, proxy)))
}

/// The HTTP client for a call without its own settings.
pub(crate) fn plain(users_own: Option<SharedHttpClient>) -> SharedHttpClient {
    let shared = || brs_core::kit::default_http_client(BehaviorVersion::latest());
    bounded(
        users_own
            .or_else(shared)
            .unwrap_or_else(|| own(TlsContext::default(), None)),
    )
}

/// An HTTP client with that TLS; without a proxy the environment's are taken.
pub(crate) fn own(tls: TlsContext, proxy: Option<ProxyConfig>) -> SharedHttpClient {
    let proxy = proxy.unwrap_or_else(ProxyConfig::from_env);
    SharedHttpClient::new(Own {
        tls,
        proxy,
        connectors: PerProcess::new(),
    })
}

fn bounded(client: SharedHttpClient) -> SharedHttpClient {
    SharedHttpClient::new(Bounded(client))
}

/// Connect and read time-out: all of a client's settings that a connector depends on.
type TimeOuts = [Option<Duration>; 2];

/// An HTTP client that reads the system's certificates when the first request is sent, not when a
/// client is built.
struct Own {
    tls: TlsContext,
    proxy: ProxyConfig,
    /// A forked child makes its own: the tasks of the parent's connections are not there.
    connectors: PerProcess<Mutex<Vec<(TimeOuts, SharedHttpConnector)>>>,
}

impl Own {
    fn build(
        &self,
        settings: &HttpConnectorSettings,
        sleep: Option<SharedAsyncSleep>,
    ) -> Connector {
        let mut builder = Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(self.tls.clone())
            .proxy_config(self.proxy.clone());
        builder
            .set_connector_settings(Some(settings.clone()))
            .set_sleep_impl(sleep);
        builder.build()
    }
}

impl HttpClient for Own {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let time_outs = [settings.connect_timeout(), settings.read_timeout()];
        let connectors = self.connectors.get();
        let mut connectors = connectors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, connector)) = connectors.iter().find(|(of, _)| *of == time_outs) {
            return connector.clone();
        }
        let connector = SharedHttpConnector::new(self.build(settings, components.sleep_impl()));
        connectors.push((time_outs, connector.clone()));
        connector
    }
}

impl fmt::Debug for Own {
    /// Not the proxy, whose URL may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own").finish_non_exhaustive()
    }
}

/// An HTTP client whose answers end with an error after [`MAX_ANSWER`].
#[derive(Debug)]
struct Bounded(SharedHttpClient);

impl HttpClient for Bounded {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(BoundedConnector(
            self.0.http_connector(settings, components),
        ))
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.validate_base_client_config(components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.validate_final_config(components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.0.connector_metadata()
    }
}

#[derive(Debug)]
struct BoundedConnector(SharedHttpConnector);

impl HttpConnector for BoundedConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let answer = self.0.call(request);
        HttpConnectorFuture::new(async move { answer.await.map(|answer| answer.map(limited)) })
    }
}

fn limited(body: SdkBody) -> SdkBody {
    SdkBody::from_body_1_x(Limited::new(body, MAX_ANSWER))
}
