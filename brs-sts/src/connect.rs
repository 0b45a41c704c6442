//! From settings and base configuration to an SDK client of STS.
//!
//! The client is the strategy's own: its connections are opened, used and kept on the runtime that refreshes, so its
//! HTTP client is never the callers'. Only an HTTP client that the user put into the base configuration is used as it
//! is (unless a CA bundle or a proxy is set here): whoever gives one to several places has to keep its runtime alive.
//! Nothing is contacted and no certificate store is read before the first call.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sts::config::{BehaviorVersion, IdentityCache, StalledStreamProtectionConfig};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, TlsContext, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::app_name::AppName;
use aws_types::region::Region;
use aws_types::sdk_config::{SharedAsyncSleep, TimeSource};
use brs_core::{Clock, Error, Setup};

use crate::ca;
use crate::client::{RetryMode, StsClient, Verify};
use crate::validate::Invalid;

/// A client of STS and what errors say about it.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) client: aws_sdk_sts::Client,
    /// What a call's own time-outs start from.
    pub(crate) timeouts: TimeoutConfig,
    /// Where STS is, as long as no request has told.
    pub(crate) place: String,
    /// Where the base credentials come from.
    pub(crate) base_credentials: String,
}

/// Builds the client; the settings have been validated.
pub(crate) async fn connect(settings: &StsClient, setup: &Setup) -> Result<Connection, Error> {
    let base = setup.base();
    let region = settings.region.clone().map(Region::new).or_else(|| base.region().cloned()).ok_or_else(no_region)?;
    let (credentials, base_credentials) = credentials(settings, setup)?;
    let timeouts = timeouts(settings, base.timeout_config());
    let endpoint_url = settings.endpoint_url.as_deref().or(base.endpoint_url());
    let place = match endpoint_url {
        Some(url) => format!("`{url}`"),
        None => format!("region `{region}`"),
    };

    let mut config = aws_sdk_sts::config::Builder::from(base)
        .region(region)
        .credentials_provider(credentials)
        // A refresh is rare, and base credentials that were renewed or mended in between are to be seen at once.
        .identity_cache(IdentityCache::no_cache())
        .time_source(SessionTime(Arc::clone(setup.clock())))
        // The answer is small and the whole call is timed; a clock that is stepped must not look like a stalled answer.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .retry_config(retries(settings, base.retry_config()))
        .timeout_config(timeouts.clone());
    if base.behavior_version().is_none() {
        config = config.behavior_version(BehaviorVersion::latest());
    }
    if let Some(url) = &settings.endpoint_url {
        config = config.endpoint_url(url);
    }
    if let Some(name) = &settings.config.app_name {
        let name = AppName::new(name.clone())
            .map_err(|_| Invalid::Shape("is not an application name").at("client.config.app_name"))?;
        config = config.app_name(name);
    }
    if let Some(client) = http_client(settings, base.http_client(), endpoint_url).await? {
        config = config.http_client(client);
    }
    let client = aws_sdk_sts::Client::from_conf(config.build());
    Ok(Connection { client, timeouts, place, base_credentials })
}

fn no_region() -> Error {
    Error::configuration(
        "no region for STS: set the session's region, `client.region`, `AWS_REGION`, or `region` in the profile",
    )
    .with_param("region")
}

/// The base credentials and where they come from.
fn credentials(settings: &StsClient, setup: &Setup) -> Result<(SharedCredentialsProvider, String), Error> {
    if let (Some(id), Some(secret)) = (&settings.aws_access_key_id, &settings.aws_secret_access_key) {
        let mut keys =
            Credentials::builder().access_key_id(id).secret_access_key(secret.expose()).provider_name("brs-sts-client");
        keys.set_session_token(settings.aws_session_token.as_ref().map(|token| token.expose().to_owned()));
        keys.set_account_id(settings.aws_account_id.as_deref().map(Into::into));
        return Ok((SharedCredentialsProvider::new(keys.build()), "the keys in `client`".into()));
    }
    if let Some(provider) = &settings.credentials_provider {
        return Ok((provider.clone(), "the credentials provider in `client`".into()));
    }
    let source = match setup.profile_name() {
        Some(profile) => format!("the profile `{profile}`"),
        None => "the base configuration".into(),
    };
    match setup.base().credentials_provider() {
        Some(provider) => Ok((provider, source)),
        None => Err(Error::configuration(
            "no base credentials to call STS with: give the session a profile, base credentials or a base \
             configuration that has some, or set them in `client`",
        )
        .with_param("client.aws_access_key_id")),
    }
}

fn timeouts(settings: &StsClient, base: Option<&TimeoutConfig>) -> TimeoutConfig {
    let mut timeouts = base.map(TimeoutConfig::to_builder).unwrap_or_default();
    if let Some(timeout) = settings.config.connect_timeout {
        timeouts = timeouts.connect_timeout(timeout);
    }
    if let Some(timeout) = settings.config.read_timeout {
        timeouts = timeouts.read_timeout(timeout);
    }
    timeouts.build()
}

fn retries(settings: &StsClient, base: Option<&RetryConfig>) -> RetryConfig {
    let mut retries = base.cloned().unwrap_or_else(RetryConfig::standard);
    if let Some(mode) = settings.config.retries.mode {
        if mode == RetryMode::Legacy {
            tracing::warn!("the retry mode `legacy` is botocore's: STS is called in the mode `standard`");
        }
        retries = retries.with_retry_mode(match mode {
            RetryMode::Adaptive => aws_smithy_types::retry::RetryMode::Adaptive,
            RetryMode::Standard | RetryMode::Legacy => aws_smithy_types::retry::RetryMode::Standard,
        });
    }
    match settings.config.retries.max_attempts {
        Some(attempts) => retries.with_max_attempts(attempts),
        None => retries,
    }
}

/// The HTTP client to set, or `None` to leave the user's own in the base configuration where it is.
async fn http_client(
    settings: &StsClient,
    users_own: Option<SharedHttpClient>,
    endpoint_url: Option<&str>,
) -> Result<Option<SharedHttpClient>, Error> {
    let trust_store = match &settings.verify {
        Some(Verify::Bundle(path)) => Some(ca::load(path.clone()).await?),
        _ => None,
    };
    let proxies = &settings.config.proxies;
    let plain = endpoint_url.is_some_and(|url| url.starts_with("http://"));
    let proxy = match (&proxies.http, &proxies.https) {
        (None, None) => None,
        // As botocore does: with proxies given, the environment's are not looked at.
        (Some(url), _) if plain => Some(ProxyConfig::http(url.expose())),
        (_, Some(url)) if !plain => Some(ProxyConfig::https(url.expose())),
        _ => Some(Ok(ProxyConfig::disabled())),
    };
    let proxy = proxy.transpose().map_err(|_| Invalid::Shape("is not a proxy's URL").at("client.config.proxies"))?;
    if trust_store.is_none() && proxy.is_none() && users_own.is_some() {
        return Ok(None);
    }
    let is_own_trust = trust_store.is_some();
    let mut tls = TlsContext::builder();
    if let Some(trust_store) = trust_store {
        tls = tls.with_trust_store(trust_store);
    }
    let tls =
        tls.build().map_err(|error| Error::configuration("TLS could not be set up for STS").with_source(error))?;
    let client = OwnHttpClient { tls, proxy: proxy.unwrap_or_else(ProxyConfig::from_env), connector: OnceLock::new() };
    if is_own_trust {
        ca::try_out(|| client.build(None, None))?;
    }
    Ok(Some(SharedHttpClient::new(client)))
}

/// An HTTP client that reads the system's certificates when the first request is sent, not when a client is built.
struct OwnHttpClient {
    tls: TlsContext,
    proxy: ProxyConfig,
    /// One is enough: the settings it depends on, connect and read time-out, are the same for every call of a strategy.
    connector: OnceLock<SharedHttpConnector>,
}

impl OwnHttpClient {
    fn build(&self, settings: Option<HttpConnectorSettings>, sleep: Option<SharedAsyncSleep>) -> Connector {
        let mut builder = Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(self.tls.clone())
            .proxy_config(self.proxy.clone());
        builder.set_connector_settings(settings).set_sleep_impl(sleep);
        builder.build()
    }
}

impl HttpClient for OwnHttpClient {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let build = || SharedHttpConnector::new(self.build(Some(settings.clone()), components.sleep_impl()));
        self.connector.get_or_init(build).clone()
    }
}

impl fmt::Debug for OwnHttpClient {
    /// Not the proxy, whose URL may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnHttpClient").finish_non_exhaustive()
    }
}

/// The session's clock, for signatures.
#[derive(Debug)]
struct SessionTime(Arc<dyn Clock>);

impl TimeSource for SessionTime {
    fn now(&self) -> SystemTime {
        self.0.now()
    }
}
