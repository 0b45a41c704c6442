//! What a method is built with: the base configuration, and where its credentials come from.
//!
//! A crate that can read profiles registers a [`BaseLoader`], from which every method profits.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::SdkConfig;
use aws_types::region::Region;
use futures_util::future::BoxFuture;

use crate::base::session::BaseSession;
use crate::kit::clock::Clock;
use crate::kit::error::Error;
use crate::kit::per_process::PerProcess;
use crate::method::fingerprint::Fingerprint;
use crate::method::identity::CallerIdentity;
use crate::method::params::Params;
use crate::method::strategy::RefreshStrategy;

/// What a method's constructor gets of the session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Setup {
    pub(crate) base: Arc<SdkConfig>,
    pub(crate) profile_name: Option<String>,
    pub(crate) base_credentials: BaseCredentials,
    pub(crate) clock: Arc<dyn Clock>,
    /// The access key id of base keys.
    pub(crate) base_key: Option<Arc<str>>,
    /// Who the base credentials are, in the user's words.
    pub(crate) asker_name: Option<Arc<str>>,
    pub(crate) methods: Option<BuildMethod>,
    pub(crate) commons: Option<Commons>,
    pub(crate) is_limited: bool,
}

/// What the strategies of a pool have in common, by their types.
#[derive(Clone, Default)]
pub(crate) struct Commons(PerProcessCommons);

type PerProcessCommons = Arc<PerProcess<Mutex<Vec<Arc<dyn Any + Send + Sync>>>>>;

/// How many are kept: a pool's strategies differ in their parameters, seldom in how they reach
/// their source.
const COMMONS: usize = 64;

impl fmt::Debug for Commons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commons").finish_non_exhaustive()
    }
}

/// Builds the strategy of a registered method: only the session knows them.
pub(crate) type BuildMethod =
    fn(String, Params, Setup) -> BoxFuture<'static, Result<Arc<dyn RefreshStrategy>, Error>>;

/// The last set of the session that asks, and whose it was when it was first seen.
type Seen = (String, Fingerprint);

/// Who asks: the identity behind a set-up's base credentials, for
/// [`RefreshStrategy::fingerprint`].
#[derive(Clone, Debug)]
pub struct Asker {
    base_credentials: BaseCredentials,
    base_key: Option<Arc<str>>,
    profile_name: Option<String>,
    name: Option<Arc<str>>,
    seen: Arc<PerProcess<Mutex<Option<Seen>>>>,
}

impl Asker {
    /// What tells the asker from others; `None` if that cannot be told, and the user gave no
    /// [name](crate::SessionBuilder::asker_name) for it. Reads profile files where the credentials
    /// are a profile's.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        let named = || Some(Fingerprint::new("named").with("name", self.name.as_deref()?));
        self.told().or_else(named)
    }

    fn told(&self) -> Option<Fingerprint> {
        match &self.base_credentials {
            BaseCredentials::Session(session) => self.of_session(session),
            BaseCredentials::Keys => {
                Some(Fingerprint::new("keys").with("access_key_id", self.base_key.as_deref()?))
            }
            BaseCredentials::Provider => None,
            BaseCredentials::Found => base_loader().ok()??.asker(self.profile_name.as_deref()),
        }
    }

    /// A session asks with the set that it has, even if somebody else would get its next one: `None`
    /// until it has another one.
    fn of_session(&self, session: &BaseSession) -> Option<Fingerprint> {
        let told = session.strategy().fingerprint()?;
        let Some(id) = session.engine().access_key_id() else {
            return Some(told);
        };
        let seen = self.seen.get();
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match &*seen {
            Some((of, before)) if *of == id => (*before == told).then_some(told),
            _ => {
                *seen = Some((id, told.clone()));
                Some(told)
            }
        }
    }
}

/// Where the credentials of a base configuration come from.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum BaseCredentials {
    /// They were looked up: in the profile, the environment, the container, the instance.
    #[default]
    Found,
    /// The user gave a key pair that never changes.
    Keys,
    /// The user gave a provider, or a base configuration that has one.
    Provider,
    /// They are another session's.
    Session(BaseSession),
}

impl Setup {
    /// The base configuration: region, base credentials, endpoint, HTTP client, retries.
    pub fn base(&self) -> &SdkConfig {
        &self.base
    }

    /// The same, to keep: it is shared with the session.
    pub fn shared_base(&self) -> Arc<SdkConfig> {
        Arc::clone(&self.base)
    }

    /// The region, where one was found.
    pub fn region(&self) -> Option<&Region> {
        self.base.region()
    }

    /// The profile the base configuration was loaded from, where the user named one.
    pub fn profile_name(&self) -> Option<&str> {
        self.profile_name.as_deref()
    }

    /// Where the base configuration's credentials come from.
    pub fn base_credentials(&self) -> &BaseCredentials {
        &self.base_credentials
    }

    /// Who asks for credentials on this set-up. Keep it in the strategy: its fingerprint is part of
    /// the strategy's.
    pub fn asker(&self) -> Asker {
        Asker {
            base_credentials: self.base_credentials.clone(),
            base_key: self.base_key.clone(),
            profile_name: self.profile_name.clone(),
            name: self.asker_name.clone(),
            seen: Arc::default(),
        }
    }

    /// Something that the strategies of a pool have in common, such as a client of their source: the
    /// one that `fits`, or what `make` gives. A session outside of a pool has its own.
    ///
    /// # Errors
    ///
    /// That of `make`.
    pub async fn common<T: Send + Sync + 'static>(
        &self,
        fits: impl Fn(&T) -> bool,
        make: impl Future<Output = Result<T, Error>>,
    ) -> Result<Arc<T>, Error> {
        let Some(commons) = &self.commons else {
            return make.await.map(Arc::new);
        };
        let known = || commons.0.get_or_make(|_| Mutex::default());
        let found = {
            let known = known();
            let known = known.lock().unwrap_or_else(PoisonError::into_inner);
            let mut of_type = known
                .iter()
                .filter_map(|one| Arc::clone(one).downcast::<T>().ok());
            of_type.find(|one| fits(one))
        };
        if let Some(found) = found {
            return Ok(found);
        }
        let made = Arc::new(make.await?);
        let known = known();
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < COMMONS {
            known.push(made.clone());
        }
        Ok(made)
    }

    /// This set-up on what another one stands on: base configuration and base credentials.
    #[must_use]
    pub fn standing_as(mut self, other: &Self) -> Self {
        self.base = Arc::clone(&other.base);
        self.base_credentials = other.base_credentials.clone();
        self.profile_name.clone_from(&other.profile_name);
        self
    }

    /// The same set-up outside of a pool: what it makes is not shared, and may itself be kept in
    /// common.
    #[must_use]
    pub fn apart(mut self) -> Self {
        self.commons = None;
        self
    }

    /// Whether a limiter paces the calls. Then a refresh that failed in a way that a retry may help
    /// is made again by the engine, in the limiter's line: the strategy calls its source once.
    pub fn is_limited(&self) -> bool {
        self.is_limited
    }

    /// The strategy of another registered method on this set-up, for a method that stands around
    /// others.
    ///
    /// # Errors
    ///
    /// Any error of opening a session of that method.
    pub async fn strategy(
        &self,
        method: impl Into<String>,
        params: impl Into<Params>,
    ) -> Result<Arc<dyn RefreshStrategy>, Error> {
        let build = self.methods.ok_or_else(|| {
            Error::configuration("this set-up is not a session's: it knows no methods")
        })?;
        build(method.into(), params.into(), self.clone()).await
    }

    /// The same set-up on top of a session, for a strategy that puts one beneath itself; see
    /// [`RefreshStrategy::base_session`].
    #[must_use]
    pub fn on_session(mut self, session: BaseSession) -> Self {
        self.base = Arc::new(session.config());
        self.base_credentials = BaseCredentials::Session(session);
        self
    }

    /// The same set-up with the base credentials of a profile.
    #[must_use]
    pub fn on_profile(mut self, name: String, provider: impl ProvideCredentials + 'static) -> Self {
        self.profile_name = Some(name);
        self.on_provider(provider)
    }

    /// The same set-up with base credentials that come from there.
    #[must_use]
    pub fn on_provider(mut self, provider: impl ProvideCredentials + 'static) -> Self {
        let provider = SharedCredentialsProvider::new(provider);
        self.base = Arc::new(
            self.base
                .to_builder()
                .credentials_provider(provider)
                .build(),
        );
        self
    }

    /// A set-up on a base configuration, for a session that a base loader puts beneath what it
    /// loads.
    #[doc(hidden)]
    pub fn of_base(base: Arc<SdkConfig>, clock: Arc<dyn Clock>) -> Self {
        Self {
            base,
            profile_name: None,
            base_credentials: BaseCredentials::default(),
            clock,
            base_key: None,
            asker_name: None,
            methods: None,
            commons: None,
            is_limited: false,
        }
    }

    /// The session's clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// A set-up for calling a method's constructor directly in a test of its own.
    #[cfg(feature = "test-util")]
    pub fn for_test(base: SdkConfig, clock: Arc<dyn Clock>) -> Self {
        Self::of_base(Arc::new(base), clock)
    }
}

/// What the user said about the base configuration.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct BaseRequest {
    /// The region; otherwise environment and profile are asked, never instance metadata.
    pub region: Option<Region>,
    /// The profile; otherwise `AWS_PROFILE`, `AWS_DEFAULT_PROFILE`, `default`.
    pub profile_name: Option<String>,
    /// The base credentials; otherwise the profile's or the default chain's.
    pub credentials: Option<SharedCredentialsProvider>,
    /// One endpoint for every service.
    pub endpoint_url: Option<String>,
    /// The HTTP client; otherwise one that trusts the environment's CA bundle, or the SDK's
    /// default.
    pub http_client: Option<SharedHttpClient>,
    /// The behaviour version; otherwise the latest.
    pub behavior_version: Option<BehaviorVersion>,
}

/// What only `aws-config` and `aws-sdk-sts` can do, offered to every method by the crate that has
/// them.
///
/// Loading contacts neither AWS nor any other source of credentials or metadata: it reads
/// environment and files.
#[async_trait]
pub trait BaseLoader: Send + Sync {
    /// The base configuration: profiles, SSO, the default chain.
    ///
    /// # Errors
    ///
    /// A configuration error, for example for a profile that does not exist.
    async fn load(&self, request: BaseRequest) -> Result<SdkConfig, Error>;

    /// The HTTP client that a base configuration of the program's, which has none, needs because of
    /// the environment: one that trusts a CA bundle, for instance. `None` means the SDK's default.
    ///
    /// # Errors
    ///
    /// A configuration error for a setting that cannot be used.
    async fn http_client(&self, config: &SdkConfig) -> Result<Option<SharedHttpClient>, Error> {
        let _ = config;
        Ok(None)
    }

    /// Who asks where the user gave no base credentials: what tells the identity behind the
    /// profile (`None`: that of the environment), or behind the default chain, from others, on
    /// this host and on others. `None`, the default: it cannot be told.
    fn asker(&self, profile_name: Option<&str>) -> Option<Fingerprint> {
        let _ = profile_name;
        None
    }

    /// STS GetCallerIdentity with the credentials of `config`, reached as `strategy` reaches STS if
    /// it does, and otherwise as `config` says. `None` if there is no region to ask in.
    ///
    /// # Errors
    ///
    /// Whatever STS or the way to it gave.
    async fn caller_identity(
        &self,
        config: &SdkConfig,
        strategy: &dyn RefreshStrategy,
    ) -> Result<Option<CallerIdentity>, Error>;
}

/// The registration of a [`BaseLoader`]: `inventory::submit! { RegisteredBaseLoader(&MyLoader) }`.
pub struct RegisteredBaseLoader(pub &'static dyn BaseLoader);

impl fmt::Debug for RegisteredBaseLoader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RegisteredBaseLoader")
    }
}

inventory::collect!(RegisteredBaseLoader);

/// The base loader of this build, if a linked crate has one.
pub(crate) fn base_loader() -> Result<Option<&'static dyn BaseLoader>, Error> {
    let mut registered = inventory::iter::<RegisteredBaseLoader>.into_iter();
    let loader = registered.next().map(|registered| registered.0);
    if registered.next().is_some() {
        // Which of them came first is the linker's affair.
        return Err(Error::configuration(
            "two crates that load base configurations are linked: link only one of them",
        ));
    }
    Ok(loader)
}
