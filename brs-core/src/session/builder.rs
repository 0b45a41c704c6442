//! Opening a session: the options, their checks, and putting the parts together.
//!
//! A deferred session is built without contacting AWS or the source: the region comes from the
//! option, the environment or the profile, never from instance metadata.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::http::HttpClient;
use aws_smithy_runtime_api::shared::IntoShared;
use aws_types::SdkConfig;
use aws_types::region::Region;
use futures_util::future::BoxFuture;
use serde::Serialize;
use tokio::runtime::Handle;

use super::clients::{ClientCachePolicy, Clients, DEFAULT_CAPACITY};
use super::registry;
use super::{RefreshableSession, SessionConfig};
use crate::base::check;
use crate::base::session::BaseSession;
use crate::base::setup::{BaseCredentials, BaseRequest, Setup};
use crate::kit::clock::{Clock, SystemClock};
use crate::kit::error::Error;
use crate::method::params::{Params, SESSION_NAMES};
use crate::method::strategy::RefreshStrategy;
use crate::refresh::{AdvisoryRefresh, Config, Engine, Policy, RefreshBackoff, Rules, Windows};
use crate::sdk::Wrapped;

/// How long one refresh may take where neither the user nor the strategy says otherwise.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(30);

/// Options for opening a session.
#[must_use = "a builder does nothing until it is built"]
pub struct SessionBuilder {
    from: From,
    request: BaseRequest,
    base: Option<SdkConfig>,
    base_session: Option<BaseSession>,
    /// The access key id, if the base credentials are a key pair.
    base_key: Option<Arc<str>>,
    account_id: Option<String>,
    defer_refresh: bool,
    windows: Windows,
    advisory_refresh: Option<AdvisoryRefresh>,
    static_stability: Option<bool>,
    refresh_timeout: Option<Duration>,
    refresh_backoff: RefreshBackoff,
    clock: Option<Arc<dyn Clock>>,
    runtime: Option<Handle>,
    client_cache: (usize, ClientCachePolicy),
    retry_rejected: bool,
    seed: Option<u64>,
    wrappers: Vec<Wrapper>,
}

/// Puts a strategy around another one.
type Wrapper =
    Arc<dyn Fn(Arc<dyn RefreshStrategy>) -> Result<Arc<dyn RefreshStrategy>, Error> + Send + Sync>;

/// What the strategy comes from.
enum From {
    Method { name: String, params: Params },
    Strategy(Arc<dyn RefreshStrategy>),
}

impl SessionBuilder {
    pub(super) fn method(name: String, params: Params) -> Self {
        Self::new(From::Method { name, params })
    }

    pub(super) fn strategy(strategy: Arc<dyn RefreshStrategy>) -> Self {
        Self::new(From::Strategy(strategy))
    }

    pub(super) fn provider(provider: SharedCredentialsProvider) -> Self {
        Self::new(From::Strategy(Arc::new(Wrapped(provider))))
    }

    /// A builder from data that holds a method's parameters and, beside them, the options of
    /// [`SessionConfig`].
    ///
    /// # Errors
    ///
    /// A validation error that names the path of the wrong field.
    pub fn from_data(method: impl Into<String>, data: impl Serialize) -> Result<Self, Error> {
        let (name, mut params) = (method.into(), Params::data(data)?);
        // A name that the method itself uses is the method's. An unknown method is reported when
        // the session is built.
        let schema = registry::method(&name)
            .map(|method| method.schema())
            .unwrap_or_default();
        let own = schema
            .get("properties")
            .and_then(serde_json::Value::as_object);
        let options = SESSION_NAMES
            .iter()
            .copied()
            .filter(|name| own.is_none_or(|own| !own.contains_key(*name)));
        let config: SessionConfig = params.split_off(options).take()?;
        Self::method(name, params).session_config(config)
    }

    fn new(from: From) -> Self {
        Self {
            from,
            request: BaseRequest::default(),
            base: None,
            base_session: None,
            base_key: None,
            account_id: None,
            defer_refresh: true,
            windows: Windows::default(),
            advisory_refresh: None,
            static_stability: None,
            refresh_timeout: None,
            refresh_backoff: RefreshBackoff::default(),
            clock: None,
            runtime: None,
            client_cache: (DEFAULT_CAPACITY, ClientCachePolicy::default()),
            retry_rejected: true,
            seed: None,
            wrappers: Vec::new(),
        }
    }

    /// Applies options that came as data.
    ///
    /// # Errors
    ///
    /// A configuration error if only some parts of static base credentials are given.
    pub fn session_config(mut self, config: SessionConfig) -> Result<Self, Error> {
        let keys = [
            &config.access_key_id,
            &config.secret_access_key,
            &config.session_token,
        ];
        if keys
            .into_iter()
            .flatten()
            .any(|key| key.expose().is_empty())
        {
            return Err(Error::configuration(
                "base credentials are empty: give them, or leave them out altogether",
            )
            .with_param("access_key_id"));
        }
        match (
            config.access_key_id,
            config.secret_access_key,
            config.session_token,
        ) {
            (Some(access_key_id), Some(secret_access_key), session_token) => {
                let mut credentials = Credentials::builder()
                    .access_key_id(access_key_id.expose())
                    .secret_access_key(secret_access_key.expose())
                    .provider_name("brs-session-config");
                credentials.set_session_token(session_token.map(|token| token.expose().to_owned()));
                credentials.set_account_id(config.account_id.clone().map(Into::into));
                self = self.base_credentials(credentials.build());
            }
            (None, None, None) => {}
            _ => {
                return Err(Error::configuration(
                    "base credentials are incomplete: `access_key_id` and `secret_access_key` go together, and \
                     `session_token` only with both",
                )
                .with_param("access_key_id"));
            }
        }
        self.request.region = config.region.map(Region::new).or(self.request.region);
        self.request.profile_name = config.profile_name.or(self.request.profile_name);
        self.request.endpoint_url = config.endpoint_url.or(self.request.endpoint_url);
        self.account_id = config.account_id.or(self.account_id);
        self.defer_refresh = config.defer_refresh.unwrap_or(self.defer_refresh);
        self.windows.advisory = config.advisory_window.or(self.windows.advisory);
        self.windows.mandatory = config.mandatory_window.or(self.windows.mandatory);
        self.advisory_refresh = config.advisory_refresh.or(self.advisory_refresh);
        self.static_stability = config.static_stability.or(self.static_stability);
        self.refresh_timeout = config.refresh_timeout.or(self.refresh_timeout);
        let (capacity, policy) = self.client_cache;
        self.client_cache = (
            config.client_cache_capacity.unwrap_or(capacity),
            config.client_cache_policy.unwrap_or(policy),
        );
        self.retry_rejected = config.retry_rejected.unwrap_or(self.retry_rejected);
        Ok(self)
    }

    /// The region. Default: `AWS_REGION`, `AWS_DEFAULT_REGION`, then the profile's.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.request.region = Some(Region::new(region.into()));
        self
    }

    /// The profile of `~/.aws/config` to take base credentials and settings from. Default:
    /// `AWS_PROFILE`, `AWS_DEFAULT_PROFILE`, then `default`.
    pub fn profile_name(mut self, profile_name: impl Into<String>) -> Self {
        self.request.profile_name = Some(profile_name.into());
        self
    }

    /// A ready base configuration, in place of what environment and profile say. Further options
    /// change it.
    pub fn base(mut self, config: SdkConfig) -> Self {
        self.base = Some(config);
        self
    }

    /// The credentials that the strategy uses to obtain temporary ones. Default: the profile's or
    /// the default chain's.
    ///
    /// A [`Credentials`] is taken for a key pair that never changes: once it has expired, only a
    /// person can fix it.
    pub fn base_credentials(mut self, provider: impl ProvideCredentials + 'static) -> Self {
        let keys = (&provider as &dyn Any).downcast_ref::<Credentials>();
        self.base_key = keys.map(|keys| keys.access_key_id().into());
        self.request.credentials = Some(SharedCredentialsProvider::new(provider));
        self
    }

    /// Another session whose credentials the strategy uses to obtain its own: a hop of a role
    /// chain, an MFA session beneath many roles.
    ///
    /// Region, endpoint, HTTP client and whatever else its base configuration holds are inherited,
    /// and its clock; options given here go before them. The other session's refreshes count into
    /// this one's time limit. Holds the other session's engine: it may be dropped.
    pub fn base_session(mut self, session: &RefreshableSession) -> Self {
        self.base_session = Some(session.as_base());
        self
    }

    /// One endpoint for every service, as in tests. Default: each service's own.
    pub fn endpoint_url(mut self, endpoint_url: impl Into<String>) -> Self {
        self.request.endpoint_url = Some(endpoint_url.into());
        self
    }

    /// The 12-digit account, for credentials whose source does not name one; the SDK uses it for
    /// account-based endpoints.
    pub fn account_id(mut self, account_id: impl Into<String>) -> Self {
        self.account_id = Some(account_id.into());
        self
    }

    /// The HTTP client of the base configuration. Default: the SDK's; with the feature `sts`, one
    /// that trusts what `AWS_CA_BUNDLE` or the profile's `ca_bundle` names.
    pub fn http_client(mut self, http_client: impl HttpClient + 'static) -> Self {
        self.request.http_client = Some(http_client.into_shared());
        self
    }

    /// The SDK's behaviour version. Default: the latest.
    pub fn behavior_version(mut self, behavior_version: BehaviorVersion) -> Self {
        self.request.behavior_version = Some(behavior_version);
        self
    }

    /// `true` (default): the first set is fetched when it is first needed. `false`: it is fetched
    /// by [`build`](Self::build), which returns its error, and a task refreshes without
    /// a caller.
    pub fn defer_refresh(mut self, defer_refresh: bool) -> Self {
        self.defer_refresh = defer_refresh;
        self
    }

    /// How long before its end a set is replaced while callers still get it at once.
    ///
    /// Default by lifetime: up to 20 min → 5 min, under 90 min → 15 min, else 60 min. A larger
    /// window survives longer outages and refreshes more often; one as long as the lifetime is cut
    /// to half of it.
    pub fn advisory_window(mut self, window: Duration) -> Self {
        self.windows.advisory = Some(window);
        self
    }

    /// How long before its end a set is no longer given without waiting for its replacement.
    /// Default: 60 s.
    ///
    /// A larger window leaves requests more time with what they got; one as long as the advisory
    /// window is cut to half of that.
    pub fn mandatory_window(mut self, window: Duration) -> Self {
        self.windows.mandatory = Some(window);
        self
    }

    /// Whether the caller that starts an advisory refresh waits for it. Default: it does not,
    /// unless the strategy asks a person.
    pub fn advisory_refresh(mut self, advisory_refresh: AdvisoryRefresh) -> Self {
        self.advisory_refresh = Some(advisory_refresh);
        self
    }

    /// Whether an expired set is served while the source has a recoverable failure. Default: the
    /// strategy's.
    pub fn static_stability(mut self, static_stability: bool) -> Self {
        self.static_stability = Some(static_stability);
        self
    }

    /// How long one refresh may take. Default: the strategy's, else 30 s; on top of another
    /// session, that one's limit more.
    ///
    /// It counts from the refresh's turn: of one method 64 run at a time, see
    /// [`limit_concurrent_refreshes`](crate::limit_concurrent_refreshes). A refresh that has waited
    /// for its turn for as long as this fails, unless one of its method has succeeded meanwhile.
    /// The time in which the process is stopped does not count.
    pub fn refresh_timeout(mut self, limit: Duration) -> Self {
        self.refresh_timeout = Some(limit);
        self
    }

    /// How long the source is left alone after a failure. Default: [`RefreshBackoff::Adaptive`].
    pub fn refresh_backoff(mut self, backoff: RefreshBackoff) -> Self {
        self.refresh_backoff = backoff;
        self
    }

    /// The source of all time. Default: the system's clocks.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// The runtime that strategies run on. Default: brs's own.
    ///
    /// Time limits and eager refreshes stay on brs's own, and a refresh whose runtime ends moves
    /// there. A forked child, in which the runtime's threads are not, refreshes on brs's own.
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// How many clients of [`RefreshableSession::client`] and its like are kept, at least 1, and
    /// which one goes when there are more. Default: 64, [`ClientCachePolicy::Lru`].
    ///
    /// A client takes some 25 kB. One that was evicted goes on working for the code that still holds it;
    /// asking for it again builds another one.
    pub fn client_cache(mut self, capacity: usize, policy: ClientCachePolicy) -> Self {
        self.client_cache = (capacity, policy);
        self
    }

    /// Whether an SDK call whose credentials a service rejects as expired or invalid is made once
    /// more, with new ones, within itself. Default: yes.
    ///
    /// It takes one of the call's attempts (the SDK has 3 unless configured otherwise), a body that
    /// can be sent again, and room in the SDK's retry quota of the service and region: if
    /// credentials are rejected under more than some thirty calls at once, the SDK does not retry
    /// those beyond. They fail with the service's own code and message (the raw answer has the
    /// status 503, which asks the SDK to retry), and the next call has new credentials.
    pub fn retry_rejected(mut self, retry_rejected: bool) -> Self {
        self.retry_rejected = retry_rejected;
        self
    }

    /// Puts a strategy around the session's: `wrap` gets the method's strategy when the session is
    /// opened and gives what the session uses. Several are put around each other in their order.
    ///
    /// A wrapper hands on what it does not change, and names what it stands around
    /// ([`RefreshStrategy::wrapped`]).
    pub fn wrap_strategy(
        mut self,
        wrap: impl Fn(Arc<dyn RefreshStrategy>) -> Result<Arc<dyn RefreshStrategy>, Error>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.wrappers.push(Arc::new(wrap));
        self
    }

    /// The seed of what is random: the start of advisory windows and the jitter of waits.
    #[cfg(feature = "test-util")]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Opens the session.
    ///
    /// # Errors
    ///
    /// A validation error for an unknown method, wrong parameters or options out of their range; a
    /// configuration error for what does not fit together or does not exist; for an eager session,
    /// the error of its first refresh.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what was built so far is dropped.
    pub async fn build(self) -> Result<RefreshableSession, Error> {
        self.refresh_backoff.validate()?;
        if self.refresh_timeout.is_some_and(|limit| limit.is_zero()) {
            return Err(Error::validation(
                "a time limit of zero leaves no time for a refresh: give at least a few seconds",
            )
            .with_param("refresh_timeout"));
        }
        check::account_id(self.account_id.as_deref())?;
        let clients = Clients::new(self.client_cache.0, self.client_cache.1)?;
        // An unknown method is said before files are read for it.
        if let From::Method { name, .. } = &self.from {
            registry::method(name)?;
        }
        let profile_name = self.request.profile_name.clone();
        let base_credentials = match (&self.base_session, &self.request.credentials) {
            (Some(session), _) => BaseCredentials::Session(session.clone()),
            (None, Some(_)) if self.base_key.is_some() => BaseCredentials::Keys,
            (None, Some(_)) => BaseCredentials::Provider,
            (None, None) if self.base.is_some() => BaseCredentials::Provider,
            (None, None) => BaseCredentials::Found,
        };
        let base = match &self.base_session {
            None => self.base,
            Some(session) => {
                check::alone_with_a_session(&self.request, self.base.is_some())?;
                Some(session.config())
            }
        };
        let base = Arc::new(crate::base::config::base(base, self.request).await?);
        check::base(&base)?;
        let clock = match (self.clock, &self.base_session) {
            (Some(clock), _) => clock,
            (None, Some(session)) => Arc::clone(session.engine().clock()),
            (None, None) => Arc::new(SystemClock::new()),
        };
        let strategy = match self.from {
            From::Strategy(strategy) => strategy,
            From::Method { name, params } => {
                let setup = Setup {
                    base: Arc::clone(&base),
                    profile_name,
                    base_credentials,
                    clock: Arc::clone(&clock),
                    base_key: self.base_key,
                    methods: Some(build_method),
                };
                registry::method(&name)?.build(params, setup).await?
            }
        };
        let strategy = self
            .wrappers
            .iter()
            .try_fold(strategy, |strategy, wrap| wrap(strategy))?;
        let base = match strategy.region() {
            Some(region) if base.region().is_none() => {
                let base = base
                    .to_builder()
                    .region(Region::new(region.to_owned()))
                    .build();
                check::base(&base)?;
                Arc::new(base)
            }
            _ => base,
        };
        let base_session = strategy.base_session().cloned().or(self.base_session);
        // What stands on a session that asks a person asks one, too.
        let interactive = strategy.interactive()
            || base_session
                .as_ref()
                .is_some_and(BaseSession::is_interactive);
        let default_mode = if interactive {
            AdvisoryRefresh::Foreground
        } else {
            AdvisoryRefresh::Background
        };
        let policy = Policy {
            advisory_refresh: self.advisory_refresh.unwrap_or(default_mode),
            static_stability: self
                .static_stability
                .unwrap_or_else(|| strategy.static_stability()),
        };
        let own_limit = strategy
            .refresh_timeout()
            .filter(|limit| !limit.is_zero())
            .unwrap_or(REFRESH_TIMEOUT);
        let beneath = base_session
            .as_ref()
            .map_or(Duration::ZERO, BaseSession::refresh_timeout);
        let config = Config {
            rules: Rules {
                method: strategy.method(),
                policy,
                windows: self.windows,
                backoff: self.refresh_backoff,
            },
            refresh_timeout: self
                .refresh_timeout
                .unwrap_or(own_limit.saturating_add(beneath)),
            account_id: self.account_id,
            clock,
            runtime: self.runtime,
            seed: self.seed,
        };
        let engine = Engine::new(strategy, config);
        if !self.defer_refresh {
            engine.first().await?;
            if !interactive {
                engine.keep_fresh()?;
            }
        }
        Ok(RefreshableSession::from_parts(
            engine,
            base,
            base_session,
            clients,
            self.retry_rejected,
        ))
    }
}

/// For methods that stand around others.
fn build_method(
    name: String,
    params: Params,
    setup: Setup,
) -> BoxFuture<'static, Result<Arc<dyn RefreshStrategy>, Error>> {
    Box::pin(async move { registry::method(&name)?.build(params, setup).await })
}

impl IntoFuture for SessionBuilder {
    type Output = Result<RefreshableSession, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    /// [`build`](Self::build): a builder may be awaited.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.build())
    }
}

impl fmt::Debug for SessionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("SessionBuilder");
        match &self.from {
            From::Method { name, params } => out.field("method", name).field("params", params),
            From::Strategy(strategy) => out.field("strategy", strategy),
        };
        out.field("region", &self.request.region)
            .field("base_session", &self.base_session)
            .field("profile_name", &self.request.profile_name)
            .field("defer_refresh", &self.defer_refresh)
            .finish_non_exhaustive()
    }
}
