//! The options of a session, and what its strategy comes from.
//!
//! Values are checked when the session is opened (`open`), all together.

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

use super::clients::ClientCachePolicy;
use super::open::Options;
use super::registry;
use super::{RefreshableSession, SessionConfig};
use crate::base::session::BaseSession;
use crate::kit::clock::Clock;
use crate::kit::error::Error;
use crate::method::params::{Params, SESSION_NAMES};
use crate::method::strategy::RefreshStrategy;
use crate::refresh::{AdvisoryRefresh, RefreshBackoff};
use crate::sdk::Wrapped;

/// Options for opening a session.
#[must_use = "a builder does nothing until it is built"]
pub struct SessionBuilder {
    pub(super) from: Origin,
    pub(super) options: Options,
}

/// What the strategy comes from.
pub(crate) enum Origin {
    /// Options alone.
    Nothing,
    Method {
        name: String,
        params: Params,
    },
    Strategy(Arc<dyn RefreshStrategy>),
}

impl SessionBuilder {
    pub(super) fn method(name: String, params: Params) -> Self {
        Self::new(Origin::Method { name, params })
    }

    pub(super) fn strategy(strategy: Arc<dyn RefreshStrategy>) -> Self {
        Self::new(Origin::Strategy(strategy))
    }

    pub(super) fn provider(provider: SharedCredentialsProvider) -> Self {
        Self::new(Origin::Strategy(Arc::new(Wrapped(provider))))
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

    fn new(from: Origin) -> Self {
        Self {
            from,
            options: Options::default(),
        }
    }

    /// Options alone, for the sessions of a pool.
    pub(crate) fn template() -> Self {
        Self::new(Origin::Nothing)
    }

    pub(crate) fn into_options(self) -> Options {
        self.options
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
        self.options.request.region = config
            .region
            .map(Region::new)
            .or(self.options.request.region);
        self.options.request.profile_name =
            config.profile_name.or(self.options.request.profile_name);
        self.options.request.endpoint_url =
            config.endpoint_url.or(self.options.request.endpoint_url);
        self.options.account_id = config.account_id.or(self.options.account_id);
        self.options.asker_name = config
            .asker_name
            .map(Into::into)
            .or(self.options.asker_name);
        if let Some(defer_refresh) = config.defer_refresh {
            self = self.defer_refresh(defer_refresh);
        }
        self.options.windows.advisory = config.advisory_window.or(self.options.windows.advisory);
        self.options.windows.mandatory = config.mandatory_window.or(self.options.windows.mandatory);
        self.options.advisory_refresh = config.advisory_refresh.or(self.options.advisory_refresh);
        self.options.static_stability = config.static_stability.or(self.options.static_stability);
        self.options.refresh_timeout = config.refresh_timeout.or(self.options.refresh_timeout);
        if config.client_cache_capacity.is_some() || config.client_cache_policy.is_some() {
            let (capacity, policy) = self.options.client_cache();
            self = self.client_cache(
                config.client_cache_capacity.unwrap_or(capacity),
                config.client_cache_policy.unwrap_or(policy),
            );
        }
        if let Some(retry_rejected) = config.retry_rejected {
            self = self.retry_rejected(retry_rejected);
        }
        Ok(self)
    }

    /// The region. Default: `AWS_REGION`, `AWS_DEFAULT_REGION`, then the profile's.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.options.request.region = Some(Region::new(region.into()));
        self
    }

    /// The profile of `~/.aws/config` to take base credentials and settings from. Default:
    /// `AWS_PROFILE`, `AWS_DEFAULT_PROFILE`, then `default`.
    pub fn profile_name(mut self, profile_name: impl Into<String>) -> Self {
        self.options.request.profile_name = Some(profile_name.into());
        self
    }

    /// A ready base configuration, in place of what environment and profile say. Further options
    /// change it.
    pub fn base(mut self, config: SdkConfig) -> Self {
        self.options.base = Some(config);
        self
    }

    /// The credentials that the strategy uses to obtain temporary ones. Default: the profile's or
    /// the default chain's.
    ///
    /// A [`Credentials`] is taken for a key pair that never changes: once it has expired, only a
    /// person can fix it.
    pub fn base_credentials(mut self, provider: impl ProvideCredentials + 'static) -> Self {
        let keys = (&provider as &dyn Any).downcast_ref::<Credentials>();
        self.options.base_key = keys.map(|keys| keys.access_key_id().into());
        self.options.request.credentials = Some(SharedCredentialsProvider::new(provider));
        self
    }

    /// Another session whose credentials the strategy uses to obtain its own: a hop of a role
    /// chain, an MFA session beneath many roles.
    ///
    /// Region, endpoint, HTTP client and whatever else its base configuration holds are inherited,
    /// and its clock; options given here go before them. The other session's refreshes count into
    /// this one's time limit. Holds the other session's engine: it may be dropped.
    pub fn base_session(self, session: &RefreshableSession) -> Self {
        self.on_base_session(session.as_base())
    }

    pub(crate) fn on_base_session(mut self, session: BaseSession) -> Self {
        self.options.base_session = Some(session);
        self
    }

    /// One endpoint for every service, as in tests. Default: each service's own.
    pub fn endpoint_url(mut self, endpoint_url: impl Into<String>) -> Self {
        self.options.request.endpoint_url = Some(endpoint_url.into());
        self
    }

    /// The 12-digit account, for credentials whose source does not name one; the SDK uses it for
    /// account-based endpoints.
    pub fn account_id(mut self, account_id: impl Into<String>) -> Self {
        self.options.account_id = Some(account_id.into());
        self
    }

    /// A name for the identity behind the base credentials, for sessions that share their
    /// credentials (method `shared`). Default: none.
    ///
    /// Key pairs, logins, web identities, certificates and sessions can be told apart. The
    /// credentials of an instance, a container, a `credential_process` or a provider of the
    /// program's cannot: sessions on them are shared only under a name. Sessions with the same name
    /// and the same parameters get each other's credentials, so give one name to one identity: the
    /// role of the instances, say, never a name for several of them.
    pub fn asker_name(mut self, name: impl Into<String>) -> Self {
        let name: String = name.into();
        self.options.asker_name = Some(name.into());
        self
    }

    /// The HTTP client of the base configuration. Default: the SDK's; with the feature `sts`, one
    /// that trusts what `AWS_CA_BUNDLE` or the profile's `ca_bundle` names.
    pub fn http_client(mut self, http_client: impl HttpClient + 'static) -> Self {
        self.options.request.http_client = Some(http_client.into_shared());
        self
    }

    /// The SDK's behaviour version. Default: the latest.
    pub fn behavior_version(mut self, behavior_version: BehaviorVersion) -> Self {
        self.options.request.behavior_version = Some(behavior_version);
        self
    }

    /// `true` (default): the first set is fetched when it is first needed. `false`: it is fetched
    /// by [`build`](Self::build), which returns its error, and a task refreshes without
    /// a caller.
    pub fn defer_refresh(mut self, defer_refresh: bool) -> Self {
        self.options.eager = !defer_refresh;
        self
    }

    /// How long before its end a set is replaced while callers still get it at once.
    ///
    /// Default by lifetime: up to 20 min → 5 min, under 90 min → 15 min, else 60 min. A larger
    /// window survives longer outages and refreshes more often; one as long as the lifetime is cut
    /// to half of it.
    pub fn advisory_window(mut self, window: Duration) -> Self {
        self.options.windows.advisory = Some(window);
        self
    }

    /// How long before its end a set is no longer given without waiting for its replacement.
    /// Default: 60 s.
    ///
    /// A larger window leaves requests more time with what they got; one as long as the advisory
    /// window is cut to half of that.
    pub fn mandatory_window(mut self, window: Duration) -> Self {
        self.options.windows.mandatory = Some(window);
        self
    }

    /// Whether the caller that starts an advisory refresh waits for it. Default: it does not,
    /// unless the strategy asks a person.
    pub fn advisory_refresh(mut self, advisory_refresh: AdvisoryRefresh) -> Self {
        self.options.advisory_refresh = Some(advisory_refresh);
        self
    }

    /// Whether an expired set is served while the source has a recoverable failure. Default: the
    /// strategy's.
    pub fn static_stability(mut self, static_stability: bool) -> Self {
        self.options.static_stability = Some(static_stability);
        self
    }

    /// How long one refresh may take. Default: the strategy's, else 30 s; on top of another
    /// session, that one's limit more.
    ///
    /// It counts from the refresh's turn: of one method 64 run at a time, see
    /// [`limit_concurrent_refreshes`](crate::limit_concurrent_refreshes). A refresh that has waited
    /// for its turn for as long as this fails, unless one of its method has been answered meanwhile.
    /// The time in which the process is stopped does not count.
    pub fn refresh_timeout(mut self, limit: Duration) -> Self {
        self.options.refresh_timeout = Some(limit);
        self
    }

    /// How long the source is left alone after a failure. Default: [`RefreshBackoff::Adaptive`].
    pub fn refresh_backoff(mut self, backoff: RefreshBackoff) -> Self {
        self.options.refresh_backoff = backoff;
        self
    }

    /// The source of all time. Default: the system's clocks.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.options.clock = Some(Arc::new(clock));
        self
    }

    /// The runtime that strategies run on. Default: brs's own.
    ///
    /// Time limits and eager refreshes stay on brs's own, and a refresh whose runtime ends moves
    /// there. A forked child, in which the runtime's threads are not, refreshes on brs's own.
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.options.runtime = Some(runtime);
        self
    }

    /// How many clients of [`RefreshableSession::client`] and its like are kept, at least 1, and
    /// which one goes when there are more. Default: 64, [`ClientCachePolicy::Lru`].
    ///
    /// A client takes some 25 kB. One that was evicted goes on working for the code that still holds it;
    /// asking for it again builds another one.
    pub fn client_cache(mut self, capacity: usize, policy: ClientCachePolicy) -> Self {
        self.options.client_cache = Some((capacity, policy));
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
        self.options.passes_rejected_on = !retry_rejected;
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
        self.options.wrappers.push(Arc::new(wrap));
        self
    }

    /// The seed of what is random: the start of advisory windows and the jitter of waits.
    #[cfg(feature = "test-util")]
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = Some(seed);
        self
    }
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
            Origin::Method { name, params } => out.field("method", name).field("params", params),
            Origin::Strategy(strategy) => out.field("strategy", strategy),
            Origin::Nothing => &mut out,
        };
        out.field("region", &self.options.request.region)
            .field("base_session", &self.options.base_session)
            .field("profile_name", &self.options.request.profile_name)
            .field("defer_refresh", &!self.options.eager)
            .finish_non_exhaustive()
    }
}
