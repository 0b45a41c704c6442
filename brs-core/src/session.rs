//! The session: what programs hold.
//!
//! A thin, cheap clone of one shared inside: the engine, and the SDK configuration made from it.
//! Everything is validated while it is built, so a session cannot be misconfigured. Opening and its
//! options are in `builder`, the options that data files may hold in `config`.

mod builder;
mod clients;
mod config;
pub(crate) mod registry;

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_types::SdkConfig;
use aws_types::region::Region;
use serde::Serialize;

pub use builder::SessionBuilder;
pub use clients::{ClientCachePolicy, ClientCacheStats};
pub use config::SessionConfig;

use self::clients::{Clients, Key};
use self::registry::Method;
use crate::base::session::BaseSession;
use crate::credentials::TemporaryCredentials;
use crate::kit::clock::Clock;
use crate::kit::error::Error;
use crate::method::events::Events;
use crate::method::identity::{CallerIdentity, Identity};
use crate::method::params::{MethodParams, Params};
use crate::method::strategy::{IntoStrategy, RefreshStrategy};
use crate::refresh::{Engine, RefreshStatus};

/// An AWS session whose credentials are replaced before they expire.
///
/// Clones share everything, the clients made with [`client`](Self::client) included. The session
/// ends with its last handle: clones, its configurations, its credentials providers and the clients
/// made from them.
#[derive(Clone)]
pub struct RefreshableSession(Arc<Inner>);

struct Inner {
    engine: Arc<Engine>,
    config: SdkConfig,
    provider: SharedCredentialsProvider,
    clients: Clients,
    /// This session as another one's base.
    as_base: BaseSession,
}

/// Opening a session.
impl RefreshableSession {
    /// Opens a session with default options; the parameters' type says by which method.
    ///
    /// # Errors
    ///
    /// A validation error for wrong parameters; whatever [`SessionBuilder::build`] gives.
    pub async fn open(params: impl MethodParams) -> Result<Self, Error> {
        Self::with(params).build().await
    }

    /// Options for opening a session; the parameters' type says by which method.
    pub fn with<P: MethodParams>(params: P) -> SessionBuilder {
        SessionBuilder::method(P::METHOD.to_owned(), params.into())
    }

    /// Opens a session by the name of a registered method, known at run time, with default
    /// options. [`open`](Self::open) does where the parameters' type is known.
    ///
    /// # Errors
    ///
    /// A validation error for an unknown method or wrong parameters; whatever
    /// [`SessionBuilder::build`] gives.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn new(method: impl Into<String>, params: impl Into<Params>) -> Result<Self, Error> {
        Self::builder(method, params).build().await
    }

    /// Opens a session from data: anything that can be serialised, such as a table of a
    /// configuration file.
    ///
    /// Beside the method's parameters the data may hold the options of [`SessionConfig`] by their
    /// names.
    ///
    /// # Errors
    ///
    /// As [`RefreshableSession::new`]; errors name the path of the wrong field.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn from_method(
        method: impl Into<String>,
        data: impl Serialize,
    ) -> Result<Self, Error> {
        SessionBuilder::from_data(method, data)?.build().await
    }

    /// Options for opening a session by the name of a registered method, known at run time.
    /// [`with`](Self::with) does where the parameters' type is known.
    pub fn builder(method: impl Into<String>, params: impl Into<Params>) -> SessionBuilder {
        SessionBuilder::method(method.into(), params.into())
    }

    /// Options for opening a session with your own strategy, registered or not.
    pub fn with_strategy(strategy: impl IntoStrategy) -> SessionBuilder {
        SessionBuilder::strategy(strategy.into_strategy())
    }

    /// Options for opening a session around any SDK credentials provider.
    ///
    /// The provider should not cache by itself, or the engine sees its sets late.
    pub fn with_provider(provider: impl ProvideCredentials + 'static) -> SessionBuilder {
        SessionBuilder::provider(SharedCredentialsProvider::new(provider))
    }

    /// The methods of this build, sorted by name.
    ///
    /// # Errors
    ///
    /// A configuration error that names both crates if two have registered one name.
    pub fn available_methods() -> Result<Vec<&'static Method>, Error> {
        registry::methods()
    }
}

/// Credentials.
impl RefreshableSession {
    /// The current credentials: at once while they are valid, see the crate's timeline.
    ///
    /// # Errors
    ///
    /// Where nothing may be served: the error of the refresh, or the last one from memory, which
    /// then tells [when the source may be asked again](Error::refresh_allowed_at).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a refresh that was started goes on.
    pub async fn credentials(&self) -> Result<TemporaryCredentials, Error> {
        self.0
            .engine
            .current()
            .await
            .map(|set| set.credentials.clone())
    }

    /// Looks at the current credentials without owning them, as the session's SDK clients do;
    /// `None` where the engine would have to be asked. For measuring what that costs.
    #[cfg(feature = "test-util")]
    #[doc(hidden)]
    pub fn glance<R>(&self, look: impl FnOnce(&TemporaryCredentials) -> R) -> Option<R> {
        self.0.engine.read(|set| look(&set.credentials))
    }

    /// Credentials with at least `least` left, refreshed first if less is left: for what signs now
    /// and is used later, such as presigned URLs.
    ///
    /// If it refreshes, the session's SDK clients sign with the new set from then on, so call it
    /// before presigning. If as much is asked for as the source's credentials live, a hundredth of
    /// that (at most 30 s) less will do.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # #[derive(Clone)]
    /// # struct Client;
    /// # impl Client {
    /// #     fn new(_: &aws_types::SdkConfig) -> Self { Self }
    /// #     async fn presigned(&self, _: &str, _: Duration) -> String { String::new() }
    /// # }
    /// # async fn example(session: brs_core::RefreshableSession) -> Result<(), brs_core::Error> {
    /// let client = session.client(Client::new);
    /// let hours = Duration::from_secs(2 * 3600);
    /// // The URL is good for as long as the credentials that have signed it.
    /// session.credentials_valid_for(hours).await?;
    /// let url = client.presigned("report.pdf", hours).await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`credentials`](Self::credentials), but a set with less left is never given: where the
    /// refresh fails its error is returned. A validation error if the source's credentials never
    /// live that long.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a refresh that was started goes on.
    pub async fn credentials_valid_for(
        &self,
        least: Duration,
    ) -> Result<TemporaryCredentials, Error> {
        self.0
            .engine
            .valid_for(least)
            .await
            .map(|set| set.credentials.clone())
    }

    /// Asks the source now, whatever backoff is running; joins a refresh that is running.
    ///
    /// # Errors
    ///
    /// What the source gave. Credentials that are still valid stay in place.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the refresh goes on.
    pub async fn refresh(&self) -> Result<TemporaryCredentials, Error> {
        self.0
            .engine
            .refresh()
            .await
            .map(|set| set.credentials.clone())
    }

    /// The credentials with this key are no longer to be used; the next call waits for new ones.
    ///
    /// Nothing happens if they have been replaced meanwhile. The old ones remain what is served if
    /// the source fails. A running backoff is respected.
    pub fn invalidate(&self, access_key_id: &str) {
        self.0.engine.invalidate(access_key_id);
    }

    /// As [`invalidate`](Self::invalidate), for code that sees a service reject the credentials.
    ///
    /// Such rejections are paced: when new credentials are rejected within their first minute, the
    /// next such rejection is honoured after 5 s, then doubling to 5 min. A service that rejects
    /// everything does not become a storm on the source.
    pub fn report_rejected(&self, access_key_id: &str) {
        self.0.engine.reject(access_key_id);
    }

    /// Ends the session for all its clones: forgets the credentials, ends refreshes, and answers
    /// every further call with an error.
    pub fn close(&self) {
        self.0.engine.close();
    }
}

/// Looking at a session.
impl RefreshableSession {
    /// A snapshot of what the session knows.
    pub fn status(&self) -> RefreshStatus {
        self.0.engine.status()
    }

    /// Whether a call would get valid credentials now without waiting for the source first; for
    /// health checks.
    ///
    /// False past the end of the set, with static stability too: an expired set may be served then,
    /// but services reject it. [`status`](Self::status) tells whether one
    /// [is](RefreshStatus::is_serving_expired).
    ///
    /// A deferred session is not ready before its first refresh, nor when its set has run into the
    /// mandatory window because nobody called: if readiness decides whether anybody will call, use
    /// an eager session.
    pub fn ready(&self) -> bool {
        self.0.engine.ready()
    }

    /// What happens from now on: refreshes, failures, invalidations. See [`Event`](crate::Event).
    pub fn events(&self) -> Events {
        self.0.engine.events()
    }

    /// Who the current credentials are.
    ///
    /// The caller's account and ARN are asked from STS with the temporary credentials themselves,
    /// if the build has the `sts` feature and the session a region; otherwise [`Identity::caller`]
    /// is `None`. A session that gets its credentials from STS asks with the same settings (region,
    /// endpoint, CA bundle, proxies, time-outs); any other session uses its base configuration. For
    /// a session on top of others, [`Identity::chain`] reports each of them in the same way.
    ///
    /// # Errors
    ///
    /// As [`credentials`](Self::credentials), and what STS answers; then method, source and access
    /// key id are among the error's [details](Error::details).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn whoami(&self) -> Result<Identity, Error> {
        let set = self.0.engine.current().await?;
        let strategy = self.0.engine.strategy();
        let identity = strategy.identity(&set.credentials).await?;
        let mut identity =
            match caller(&self.0.engine, self.0.as_base.base(), &set.credentials).await {
                Ok(Some(caller)) => identity.with_caller(caller),
                Ok(None) => identity,
                Err(error) => {
                    let known = identity
                        .details
                        .iter()
                        .fold(error, |error, (key, value)| error.with_detail(key, value));
                    return Err(known
                        .with_detail("method", &identity.method)
                        .with_detail("source", &identity.source)
                        .with_detail("access_key_id", &identity.access_key_id));
                }
            };
        let mut next = self.0.as_base.parent();
        while let Some(hop) = next {
            identity.chain.insert(0, self.identity_of(hop).await);
            next = hop.parent();
        }
        Ok(identity)
    }

    /// Who a session beneath this one is. That it cannot be asked is no reason to say nothing about
    /// the others.
    async fn identity_of(&self, hop: &BaseSession) -> Identity {
        let strategy = hop.strategy();
        let unknown = |key: &str, error: &Error| {
            Identity::new(strategy.method(), strategy.source(), key)
                .with_detail("problem", error.to_string())
        };
        // Nobody is asked for a code only to say who somebody is.
        if hop.is_interactive() && !hop.engine().ready() {
            let error = Error::configuration(
                "its credentials are at their end, and only a person can renew them",
            );
            return unknown("", &error);
        }
        let credentials = match hop.credentials().await {
            Ok(credentials) => credentials,
            Err(error) => return unknown("", &error),
        };
        // A session that has no region of its own is asked about in this one's.
        let base = [hop, &self.0.as_base]
            .map(BaseSession::base)
            .into_iter()
            .find(|base| base.region().is_some());
        let base = base.unwrap_or_else(|| hop.base());
        let identity = match strategy.identity(&credentials).await {
            Ok(identity) => identity,
            Err(error) => unknown(credentials.access_key_id(), &error),
        };
        match caller(hop.engine(), base, &credentials).await {
            Ok(Some(caller)) => identity.with_caller(caller),
            Ok(None) => identity,
            Err(error) => identity.with_detail("problem", error.to_string()),
        }
    }

    /// This session as the base of another one, for [`SessionBuilder::base_session`].
    pub fn as_base(&self) -> BaseSession {
        self.0.as_base.clone()
    }

    /// The method's registry name.
    pub fn method(&self) -> &'static str {
        self.0.engine.strategy().method()
    }

    /// The strategy, if it is a `T`.
    pub fn strategy<T: RefreshStrategy>(&self) -> Option<&T> {
        let strategy: &dyn Any = &**self.0.engine.strategy();
        strategy.downcast_ref()
    }
}

/// For the AWS SDK.
impl RefreshableSession {
    /// The configuration for SDK clients: `aws_sdk_s3::Client::new(session.sdk_config())`.
    ///
    /// Its HTTP client notices services that reject the session's credentials as expired or
    /// invalid. A client that is given an HTTP client of its own is not watched: its rejections
    /// reach the session only by [`invalidate`](Self::invalidate). After an IAM revocation services
    /// answer `AccessDenied`, which no session can tell from a missing permission: call
    /// [`refresh`](Self::refresh).
    pub fn sdk_config(&self) -> &SdkConfig {
        &self.0.config
    }

    /// A client of any AWS service: `session.client(aws_sdk_s3::Client::new)`.
    ///
    /// Asking again with the same constructor gives the same client, whose connections are shared.
    /// A constructor that captures something or is a function pointer, which could not be told from
    /// another one, does not compile: that is [`client_with`](Self::client_with). `cargo build`
    /// reports it, `cargo check` does not. A constructor must not ask the session for the client
    /// that it makes: it would wait for itself.
    ///
    /// ```compile_fail
    /// # fn example(session: brs_core::RefreshableSession, region: String) {
    /// let client = session.client(|config| (config.clone(), region.clone()));
    /// # }
    /// ```
    pub fn client<F, C>(&self, new: F) -> C
    where
        F: Fn(&SdkConfig) -> C + 'static,
        C: Clone + Send + Sync + 'static,
    {
        const {
            assert!(
                size_of::<F>() == 0,
                "a constructor that captures something goes to `client_with`"
            )
        };
        self.0
            .clients
            .get(Key::of::<F>(None), || new(&self.0.config))
    }

    /// As [`client`](Self::client), in another region than the session's.
    ///
    /// What is no region makes a client whose calls fail with the SDK's own error.
    pub fn client_in<F, C>(&self, region: impl Into<String>, new: F) -> C
    where
        F: Fn(&SdkConfig) -> C + 'static,
        C: Clone + Send + Sync + 'static,
    {
        const {
            assert!(
                size_of::<F>() == 0,
                "a constructor that captures something goes to `client_with`"
            )
        };
        let region = region.into();
        self.0.clients.get(Key::of::<F>(Some(&region)), || {
            new(&self
                .0
                .config
                .to_builder()
                .region(Region::new(region))
                .build())
        })
    }

    /// A client that differs in something else, kept under a label of the user's: two
    /// configurations must not have one label.
    ///
    /// ```
    /// # fn example(session: brs_core::RefreshableSession) {
    /// # struct Client;
    /// let endpoint = "https://bucket.vpce-1a2b3c4d.s3.us-east-1.vpce.amazonaws.com".to_owned();
    /// let config = session.client_with("through the VPC", |config| {
    ///     config.to_builder().endpoint_url(endpoint).build()
    /// });
    /// # }
    /// ```
    pub fn client_with<F, C>(&self, label: &str, new: F) -> C
    where
        F: FnOnce(&SdkConfig) -> C,
        C: Clone + Send + Sync + 'static,
    {
        self.0
            .clients
            .get(Key::labelled::<C>(label), || new(&self.0.config))
    }

    /// What the session's client cache has done so far.
    pub fn clients(&self) -> ClientCacheStats {
        self.0.clients.stats()
    }

    /// The session's source of time, for code beside it that keeps time.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        self.0.engine.clock()
    }

    /// The session as a credentials provider, for code that takes one.
    ///
    /// It keeps the engine alive. The expiry it reports is the start of the mandatory window, so
    /// that a cache in front of it asks again while the answer is still at hand.
    ///
    /// With the provider alone, such as in the SDK's own loader
    /// (`aws_config::defaults(…).credentials_provider(…)`), the SDK's identity cache stands in
    /// front of the session: neither [`refresh`](Self::refresh) nor
    /// [`invalidate`](Self::invalidate) reaches its clients before that expiry, and nobody notices
    /// a service's rejections. Clients made from [`sdk_config`](Self::sdk_config) have neither
    /// limit.
    pub fn credentials_provider(&self) -> SharedCredentialsProvider {
        self.0.provider.clone()
    }

    /// The session as a credential provider of the crate `object_store`, version 0.14.
    ///
    /// It keeps the engine alive. `object_store` does not tell that a service has rejected
    /// credentials: a program that sees it in an error calls [`invalidate`](Self::invalidate).
    ///
    /// ```
    /// use object_store::aws::AmazonS3Builder;
    ///
    /// fn bucket(session: &brs_core::RefreshableSession) -> AmazonS3Builder {
    ///     AmazonS3Builder::new()
    ///         .with_region("eu-west-1")
    ///         .with_bucket_name("reports")
    ///         .with_credentials(session.object_store_credentials())
    /// }
    /// ```
    #[cfg(feature = "object_store")]
    pub fn object_store_credentials(&self) -> object_store::aws::AwsCredentialProvider {
        Arc::new(crate::sdk::ObjectStoreCredentials::new(Arc::clone(
            &self.0.engine,
        )))
    }
}

impl RefreshableSession {
    fn from_parts(
        engine: Arc<Engine>,
        base: Arc<SdkConfig>,
        parent: Option<BaseSession>,
        clients: Clients,
        retry_rejected: bool,
    ) -> Self {
        let provider = crate::sdk::provider(&engine);
        let config = crate::sdk::session_config(&base, &engine, &provider, retry_rejected);
        let as_base = BaseSession::new(Arc::clone(&engine), base, parent);
        Self(Arc::new(Inner {
            engine,
            config,
            provider,
            clients,
            as_base,
        }))
    }
}

/// The caller's identity with those credentials; `None` where the build or the session cannot ask.
async fn caller(
    engine: &Engine,
    config: &SdkConfig,
    credentials: &TemporaryCredentials,
) -> Result<Option<CallerIdentity>, Error> {
    let Some(loader) = crate::base::setup::base_loader()? else {
        return Ok(None);
    };
    let strategy = Arc::clone(engine.strategy());
    let credentials = credentials.to_sdk(strategy.source(), None);
    let config = config
        .to_builder()
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build();
    engine
        .on_own_runtime(async move { loader.caller_identity(&config, &*strategy).await })
        .await
}

impl From<&RefreshableSession> for BaseSession {
    fn from(session: &RefreshableSession) -> Self {
        session.as_base()
    }
}

impl fmt::Debug for RefreshableSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status();
        f.debug_struct("RefreshableSession")
            .field("method", &status.method())
            .field("region", &self.0.config.region().map(AsRef::<str>::as_ref))
            .field("access_key_id", &status.access_key_id())
            .field(
                "expiration",
                &status.expiration().map(crate::kit::iso8601::iso8601),
            )
            .field("refreshes", &status.refreshes())
            .finish_non_exhaustive()
    }
}
