//! From settings and base configuration to an SDK client of STS.
//!
//! Owns what both callers of STS share, the strategy and `whoami()`, and which setting takes precedence
//! over which. The HTTP client below is `http_client.rs`'s. Nothing is contacted and no certificate
//! store is read before the first call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sts::config::{BehaviorVersion, Builder, IdentityCache, StalledStreamProtectionConfig};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use aws_types::app_name::AppName;
use aws_types::region::Region;
use aws_types::service_config::ServiceConfigKey;
use brs_core::kit::{PerProcess, is_endpoint_url};
use brs_core::{BaseCredentials, Error, Fingerprint, Setup};

use crate::clock::Time;
use crate::request::client::{RetryMode, StsClient};
use crate::request::validate::Invalid;
use crate::sts::asker::WhoAsks;
use crate::sts::guarded::Guarded;
use crate::sts::http_client;
use crate::sts::proxy::Proxy;
use brs_core::kit;

/// How long asking who credentials are may take, unless the configuration says less.
const IDENTITY_TIMEOUT: Duration = Duration::from_secs(30);

/// A client of STS and what errors say about it.
pub(crate) struct Connection {
    client: PerProcess<aws_sdk_sts::Client>,
    /// Validated, and completed from those of a session beneath.
    pub(crate) settings: StsClient,
    under: Arc<SdkConfig>,
    region: Region,
    endpoint_url: Option<String>,
    http_client: SharedHttpClient,
    pub(crate) proxy: Proxy,
    app_name: Option<AppName>,
    /// Where STS is, until a request has shown it.
    pub(crate) place: String,
    /// Where the base credentials come from, in words.
    pub(crate) base_credentials: String,
    pub(crate) base: BaseCredentials,
    who_asks: WhoAsks,
    /// What gives them; `None` if calls are not signed.
    pub(crate) provider: Option<SharedCredentialsProvider>,
    /// What signatures are dated with.
    pub(crate) time: Time,
}

impl Connection {
    /// The client, built at the first call in each process.
    pub(crate) fn client(&self) -> Arc<aws_sdk_sts::Client> {
        self.client
            .get_or_make(|_| aws_sdk_sts::Client::from_conf(self.config().build()))
    }

    fn config(&self) -> Builder {
        let mut config = builder(&self.under, self.endpoint_url.clone())
            .region(self.region.clone())
            .time_source(self.time.clone())
            .retry_config(retries(&self.settings, self.under.retry_config()))
            .timeout_config(self.timeouts())
            .http_client(self.http_client.clone());
        config.set_credentials_provider(self.provider.clone());
        let own = &self.settings.config;
        if let Some(use_fips) = own.use_fips_endpoint {
            config = config.use_fips(use_fips);
        }
        if let Some(use_dual_stack) = own.use_dualstack_endpoint {
            config = config.use_dual_stack(use_dual_stack);
        }
        if let Some(app_name) = &self.app_name {
            config = config.app_name(app_name.clone());
        }
        config
    }

    /// A client with the same settings that asks who these credentials are.
    pub(crate) fn for_identity(
        &self,
        credentials: Option<SharedCredentialsProvider>,
    ) -> aws_sdk_sts::Client {
        let mut config = self
            .config()
            .timeout_config(identity_timeouts(&self.timeouts()));
        config.set_credentials_provider(credentials);
        aws_sdk_sts::Client::from_conf(config.build())
    }

    /// Who asks and where, for a strategy's fingerprint; `None` if that cannot be told.
    pub(crate) fn tell(&self, method: &str) -> Option<Fingerprint> {
        let own = &self.settings.config;
        let is_on = |own: Option<bool>, base: Option<bool>| own.or(base).filter(|is_on| *is_on);
        let fingerprint = Fingerprint::new(method)
            .with("region", self.region.as_ref())
            .with("endpoint_url", &self.endpoint_url)
            .with("fips", is_on(own.use_fips_endpoint, self.under.use_fips()))
            .with(
                "dual_stack",
                is_on(own.use_dualstack_endpoint, self.under.use_dual_stack()),
            );
        self.who_asks.tell(fingerprint)
    }

    /// What a call's own time-outs start from.
    pub(crate) fn timeouts(&self) -> TimeoutConfig {
        timeouts(&self.settings, self.under.timeout_config())
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("place", &self.place)
            .field("base_credentials", &self.base_credentials)
            .finish_non_exhaustive()
    }
}

/// Who signs the calls.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signed {
    /// The base credentials.
    ByBase,
    /// Nobody: the request brings its own proof.
    ByNobody,
}

/// Prepares the strategy's client; the settings have been validated, and completed from those of a
/// session beneath.
pub(crate) async fn connect(
    settings: StsClient,
    setup: &Setup,
    signed: Signed,
) -> Result<Connection, Error> {
    let base = setup.base();
    let region = settings
        .region
        .clone()
        .map(Region::new)
        .or_else(|| base.region().cloned())
        .ok_or_else(no_region)?;
    let (source, who_asks) = match signed {
        Signed::ByBase => {
            let source = credentials(&settings, setup)?;
            (Some(source), WhoAsks::of(&settings, setup))
        }
        Signed::ByNobody => (None, WhoAsks::Nobody),
    };
    let endpoint_url = match &settings.endpoint_url {
        Some(url) => Some(url.clone()),
        None => endpoint_url(base)?,
    };
    let is_plain = endpoint_url
        .as_deref()
        .is_some_and(|url| url.starts_with("http://"));
    settings.check_use_ssl(is_plain)?;
    let place = place(endpoint_url.as_deref(), Some(&region));
    let (base_credentials, credentials_of, provider) = match source {
        Some((provider, name, base)) => {
            let guarded = SharedCredentialsProvider::new(Guarded {
                provider,
                name: name.clone(),
            });
            (name, base, Some(guarded))
        }
        None => ("nobody's".into(), BaseCredentials::Provider, None),
    };
    let app_name = settings
        .config
        .app_name
        .clone()
        .map(AppName::new)
        .transpose();
    let app_name = app_name
        .map_err(|_| Invalid::Shape("is not an application name").at("client.config.app_name"))?;
    if settings.config.retries.mode == Some(RetryMode::Legacy) {
        tracing::warn!(
            "the retry mode `legacy` is botocore's: STS is called in the mode `standard`"
        );
    }
    let proxy = Proxy::choose(&settings, base, is_plain);
    Ok(Connection {
        client: PerProcess::new(),
        under: setup.shared_base(),
        region,
        endpoint_url,
        http_client: http_client::for_strategy(&settings, base, &proxy).await?,
        proxy,
        app_name,
        place,
        base_credentials,
        base: credentials_of,
        who_asks,
        provider,
        time: Time::new(Arc::clone(setup.clock())),
        settings,
    })
}

/// How long asking who credentials are may take.
fn identity_timeouts(timeouts: &TimeoutConfig) -> TimeoutConfig {
    let limit = timeouts
        .operation_timeout()
        .map_or(IDENTITY_TIMEOUT, |own| own.min(IDENTITY_TIMEOUT));
    timeouts.to_builder().operation_timeout(limit).build()
}

/// Builds a client that asks who the credentials of a configuration are, and says where it asks.
pub(crate) fn connect_for_identity(
    base: &SdkConfig,
) -> Result<(aws_sdk_sts::Client, String), Error> {
    let endpoint_url = endpoint_url(base)?;
    let place = place(endpoint_url.as_deref(), base.region());
    let timeouts = base
        .timeout_config()
        .map(TimeoutConfig::to_builder)
        .unwrap_or_default()
        .build();
    let config = builder(base, endpoint_url)
        .timeout_config(identity_timeouts(&timeouts))
        .http_client(http_client::plain(base.http_client()));
    Ok((aws_sdk_sts::Client::from_conf(config.build()), place))
}

fn builder(base: &SdkConfig, endpoint_url: Option<String>) -> Builder {
    let mut config = Builder::from(base)
        // Calls are rare, and credentials that were renewed or fixed in between have to be seen at
        // once.
        .identity_cache(IdentityCache::no_cache())
        // The answer is small and the whole call is timed; a clock that is stepped must not look
        // like a stalled answer.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    config.set_endpoint_url(endpoint_url);
    if base.behavior_version().is_none() {
        config = config.behavior_version(BehaviorVersion::latest());
    }
    config
}

/// The endpoint URL that a base configuration has for STS, found as the SDK's own clients find it.
fn endpoint_url(base: &SdkConfig) -> Result<Option<String>, Error> {
    let for_sts = || {
        let key = ServiceConfigKey::builder()
            .service_id("STS")
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url")
            .build();
        base.service_config()?.load_config(key.ok()?)
    };
    if !base.get_origin("endpoint_url").is_client_config()
        && let Some(url) = for_sts()
    {
        // The session's own was checked when the session was built.
        return if is_endpoint_url(&url) {
            Ok(Some(url))
        } else {
            Err(no_endpoint_url())
        };
    }
    Ok(base.endpoint_url().map(str::to_owned))
}

fn no_endpoint_url() -> Error {
    Error::configuration(
        "the endpoint URL for STS is wrong: it must look like `https://host:port`, without user, password or query; \
         check `AWS_ENDPOINT_URL_STS` and `endpoint_url` in the profile's services section",
    )
    .with_param("endpoint_url")
    .unrecoverable()
}

fn place(endpoint_url: Option<&str>, region: Option<&Region>) -> String {
    match (endpoint_url, region) {
        (Some(url), _) => format!("`{}`", kit::origin(url)),
        (None, Some(region)) => format!("region `{region}`"),
        (None, None) => "no region".into(),
    }
}

fn no_region() -> Error {
    Error::configuration(
        "no region for STS: set the session's region, `client.region`, `AWS_REGION`, or `region` in the profile",
    )
    .with_param("region")
    .unrecoverable()
}

/// The base credentials and where they come from.
type Source = (SharedCredentialsProvider, String, BaseCredentials);

fn credentials(settings: &StsClient, setup: &Setup) -> Result<Source, Error> {
    if let (Some(id), Some(secret)) = (&settings.aws_access_key_id, &settings.aws_secret_access_key)
    {
        let mut keys = Credentials::builder()
            .access_key_id(id)
            .secret_access_key(secret.expose())
            .provider_name("brs-sts-client");
        keys.set_session_token(
            settings
                .aws_session_token
                .as_ref()
                .map(|token| token.expose().to_owned()),
        );
        keys.set_account_id(settings.aws_account_id.as_deref().map(Into::into));
        return Ok((
            SharedCredentialsProvider::new(keys.build()),
            "the keys in `client`".into(),
            BaseCredentials::Keys,
        ));
    }
    if let Some(provider) = &settings.credentials_provider {
        return Ok((
            provider.clone(),
            "the credentials provider in `client`".into(),
            BaseCredentials::Provider,
        ));
    }
    let source = match (setup.base_credentials(), setup.profile_name()) {
        (BaseCredentials::Session(session), _) => format!("the session {}", session.name()),
        (BaseCredentials::Keys, _) => "the base keys of the session".into(),
        (_, Some(profile)) => format!("the profile `{}`", kit::clean(profile, &[])),
        _ => "the base configuration".into(),
    };
    match setup.base().credentials_provider() {
        Some(provider) => Ok((provider, source, setup.base_credentials().clone())),
        None => Err(Error::configuration(
            "no base credentials to call STS with: give the session a profile, base credentials or a base \
             configuration that has some, or set them in `client`",
        )
        .with_param("client.aws_access_key_id")
        .unrecoverable()),
    }
}

pub(crate) fn timeouts(settings: &StsClient, base: Option<&TimeoutConfig>) -> TimeoutConfig {
    let mut timeouts = base.map(TimeoutConfig::to_builder).unwrap_or_default();
    if let Some(timeout) = settings.config.connect_timeout {
        timeouts = timeouts.connect_timeout(timeout);
    }
    if let Some(timeout) = settings.config.read_timeout {
        timeouts = timeouts.read_timeout(timeout);
    }
    timeouts.build()
}

pub(crate) fn retries(settings: &StsClient, base: Option<&RetryConfig>) -> RetryConfig {
    let mut retries = base.cloned().unwrap_or_else(RetryConfig::standard);
    if let Some(mode) = settings.config.retries.mode {
        retries = retries.with_retry_mode(match mode {
            RetryMode::Adaptive => aws_smithy_types::retry::RetryMode::Adaptive,
            RetryMode::Standard | RetryMode::Legacy => aws_smithy_types::retry::RetryMode::Standard,
        });
    }
    match settings.config.retries.total() {
        Some(attempts) => retries.with_max_attempts(attempts),
        None => retries,
    }
}
