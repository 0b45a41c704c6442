//! Opening a session: its options are checked, and the parts put together.
//!
//! A deferred session is built without contacting AWS or the source: the region comes from the
//! option, the environment or the profile, never from instance metadata. What a session stands on
//! (base configuration, base credentials, clock) is its [`Foundation`]; the sessions of a pool have
//! one in common.

use std::sync::Arc;
use std::time::Duration;

use aws_types::SdkConfig;
use aws_types::region::Region;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

use super::RefreshableSession;
use super::builder::{Origin, SessionBuilder};
use super::clients::{Cache, ClientCachePolicy, Clients, DEFAULT_CAPACITY};
use super::registry;
use crate::base::check;
use crate::base::session::BaseSession;
use crate::base::setup::{BaseCredentials, BaseRequest, Commons, Setup};
use crate::kit::clock::{Clock, SystemClock};
use crate::kit::error::Error;
use crate::kit::limiter::Limiter;
use crate::method::events::Observer;
use crate::method::params::Params;
use crate::method::strategy::RefreshStrategy;
use crate::refresh::{AdvisoryRefresh, Config, Engine, Policy, RefreshBackoff, Rules, Windows};

/// How long one refresh may take where neither the user nor the strategy says otherwise.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(30);

/// Puts a strategy around another one.
pub(super) type Wrapper =
    Arc<dyn Fn(Arc<dyn RefreshStrategy>) -> Result<Arc<dyn RefreshStrategy>, Error> + Send + Sync>;

/// All that is said of a session but what its strategy comes from.
#[derive(Clone, Default)]
pub(crate) struct Options {
    pub(super) request: BaseRequest,
    pub(super) base: Option<SdkConfig>,
    pub(super) base_session: Option<BaseSession>,
    /// The access key id, if the base credentials are a key pair.
    pub(super) base_key: Option<Arc<str>>,
    pub(super) asker_name: Option<Arc<str>>,
    pub(super) account_id: Option<String>,
    pub(super) eager: bool,
    pub(super) windows: Windows,
    pub(super) advisory_refresh: Option<AdvisoryRefresh>,
    pub(super) static_stability: Option<bool>,
    pub(super) refresh_timeout: Option<Duration>,
    pub(super) refresh_backoff: RefreshBackoff,
    pub(super) clock: Option<Arc<dyn Clock>>,
    pub(super) runtime: Option<Handle>,
    pub(super) client_cache: Option<(usize, ClientCachePolicy)>,
    pub(super) passes_rejected_on: bool,
    pub(super) seed: Option<u64>,
    pub(super) wrappers: Vec<Wrapper>,
}

/// What the sessions of a pool have in common.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) foundation: Arc<Foundation>,
    pub(crate) limiter: Limiter,
    pub(crate) clients: Arc<Cache>,
}

/// What a session stands on.
pub(crate) struct Foundation {
    base: Arc<SdkConfig>,
    base_credentials: BaseCredentials,
    base_key: Option<Arc<str>>,
    asker_name: Option<Arc<str>>,
    profile_name: Option<String>,
    clock: Arc<dyn Clock>,
    /// What strategies have in common.
    commons: Option<Commons>,
}

impl Foundation {
    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }
}

impl Options {
    pub(super) fn client_cache(&self) -> (usize, ClientCachePolicy) {
        self.client_cache
            .unwrap_or((DEFAULT_CAPACITY, ClientCachePolicy::default()))
    }

    /// Room for clients, of one session or of all of a pool.
    pub(crate) fn clients(&self, default: usize) -> Result<Arc<Cache>, Error> {
        let (capacity, policy) = self
            .client_cache
            .unwrap_or((default, ClientCachePolicy::default()));
        Cache::new(capacity, policy)
    }

    /// Checks what can be checked without a look outside.
    fn check(&self) -> Result<(), Error> {
        self.refresh_backoff.validate()?;
        if self.refresh_timeout.is_some_and(|limit| limit.is_zero()) {
            return Err(Error::validation(
                "a time limit of zero leaves no time for a refresh: give at least a few seconds",
            )
            .with_param("refresh_timeout"));
        }
        if let Some(name) = self.asker_name.as_deref()
            && name.trim().is_empty()
        {
            return Err(Error::validation(
                "the name of who asks is empty: give one, or leave it out altogether",
            )
            .with_param("asker_name"));
        }
        check::account_id(self.account_id.as_deref())
    }

    /// Loads what the session stands on.
    pub(crate) async fn foundation(&self) -> Result<Foundation, Error> {
        let base_credentials = match (&self.base_session, &self.request.credentials) {
            (Some(session), _) => BaseCredentials::Session(session.clone()),
            (None, Some(_)) if self.base_key.is_some() => BaseCredentials::Keys,
            (None, Some(_)) => BaseCredentials::Provider,
            (None, None) if self.base.is_some() => BaseCredentials::Provider,
            (None, None) => BaseCredentials::Found,
        };
        let base = match &self.base_session {
            None => self.base.clone(),
            Some(session) => {
                check::alone_with_a_session(&self.request, self.base.is_some())?;
                Some(session.config())
            }
        };
        let base = Arc::new(crate::base::config::base(base, self.request.clone()).await?);
        check::base(&base)?;
        let clock = match (&self.clock, &self.base_session) {
            (Some(clock), _) => Arc::clone(clock),
            (None, Some(session)) => Arc::clone(session.engine().clock()),
            (None, None) => Arc::new(SystemClock::new()),
        };
        Ok(Foundation {
            base,
            base_credentials,
            base_key: self.base_key.clone(),
            asker_name: self.asker_name.clone(),
            profile_name: self.request.profile_name.clone(),
            clock,
            commons: None,
        })
    }

    /// The same for all sessions of a pool.
    pub(crate) async fn common_foundation(&self) -> Result<Foundation, Error> {
        self.check()?;
        Ok(Foundation {
            commons: Some(Commons::default()),
            ..self.foundation().await?
        })
    }
}

impl SessionBuilder {
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
        self.options.check()?;
        let clients = self.options.clients(DEFAULT_CAPACITY)?;
        // An unknown method is said before files are read for it.
        if let Origin::Method { name, .. } = &self.from {
            registry::method(name)?;
        }
        let foundation = self.options.foundation().await?;
        let eager = self.options.eager;
        let (session, interactive) =
            open(self.from, &self.options, &foundation, clients, None, None).await?;
        if eager {
            session.0.engine.first().await?;
            if !interactive {
                session.0.engine.keep_fresh()?;
            }
        }
        Ok(session)
    }
}

impl Common {
    /// Opens a session of a pool: nothing is fetched.
    pub(crate) async fn open(
        &self,
        from: Origin,
        options: &Options,
        observer: Observer,
    ) -> Result<RefreshableSession, Error> {
        let opened = open(
            from,
            options,
            &self.foundation,
            Arc::clone(&self.clients),
            Some(self.limiter.clone()),
            Some(observer),
        );
        opened.await.map(|(session, _)| session)
    }
}

/// Opens a deferred session; says whether its refreshes ask a person.
async fn open(
    from: Origin,
    options: &Options,
    foundation: &Foundation,
    clients: Arc<Cache>,
    limiter: Option<Limiter>,
    observer: Option<Observer>,
) -> Result<(RefreshableSession, bool), Error> {
    let clock = Arc::clone(&foundation.clock);
    let strategy = match from {
        Origin::Strategy(strategy) => strategy,
        Origin::Method { name, params } => {
            let setup = Setup {
                base: Arc::clone(&foundation.base),
                profile_name: foundation.profile_name.clone(),
                base_credentials: foundation.base_credentials.clone(),
                clock: Arc::clone(&clock),
                base_key: foundation.base_key.clone(),
                asker_name: foundation.asker_name.clone(),
                methods: Some(build_method),
                commons: foundation.commons.clone(),
                is_limited: limiter.is_some(),
            };
            registry::method(&name)?.build(params, setup).await?
        }
        Origin::Nothing => {
            return Err(Error::configuration(
                "these are the options of a pool's sessions: they open no session by themselves",
            ));
        }
    };
    let strategy = options
        .wrappers
        .iter()
        .try_fold(strategy, |strategy, wrap| wrap(strategy))?;
    let base = match strategy.region() {
        Some(region) if foundation.base.region().is_none() => {
            let base = foundation
                .base
                .to_builder()
                .region(Region::new(region.to_owned()))
                .build();
            check::base(&base)?;
            Arc::new(base)
        }
        _ => Arc::clone(&foundation.base),
    };
    let base_session = strategy
        .base_session()
        .cloned()
        .or_else(|| options.base_session.clone());
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
        advisory_refresh: options.advisory_refresh.unwrap_or(default_mode),
        static_stability: options
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
            is_limited: limiter.is_some(),
            policy,
            windows: options.windows,
            backoff: options.refresh_backoff,
        },
        refresh_timeout: options
            .refresh_timeout
            .unwrap_or(own_limit.saturating_add(beneath)),
        account_id: options.account_id.clone(),
        clock,
        runtime: options.runtime.clone(),
        limiter: limiter.map(|limiter| limiter.of_endpoint(strategy.endpoint())),
        observer,
        seed: options.seed,
    };
    let engine = Engine::new(strategy, config);
    let session = RefreshableSession::from_parts(
        engine,
        base,
        base_session,
        Clients::new(clients),
        !options.passes_rejected_on,
    );
    Ok((session, interactive))
}

/// For methods that stand around others.
fn build_method(
    name: String,
    params: Params,
    setup: Setup,
) -> BoxFuture<'static, Result<Arc<dyn RefreshStrategy>, Error>> {
    Box::pin(async move { registry::method(&name)?.build(params, setup).await })
}
