//! The session: what programs hold.
//!
//! A thin, cheap clone of one shared inside: the engine, and the SDK configuration made from it.
//! Everything is validated while it is built, so a session cannot be misconfigured. Opening and its
//! options are in `builder`, the options that data files may hold in `config`.

mod builder;
mod clients;
mod config;
mod identity;
mod open;
pub(crate) mod registry;

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_types::SdkConfig;
use aws_types::region::Region;
use serde::Serialize;

pub(crate) use builder::Origin;
pub use builder::SessionBuilder;
pub use clients::{ClientCachePolicy, ClientCacheStats};
pub use config::SessionConfig;
pub(crate) use open::{Common, Options};

use self::clients::{Clients, Key};
use self::registry::Method;
use crate::base::session::BaseSession;
use crate::credentials::TemporaryCredentials;
use crate::kit::clock::Clock;
use crate::kit::error::Error;
use crate::method::events::Events;
use crate::method::params::{MethodParams, Params};
use crate::method::strategy::{IntoStrategy, RefreshStrategy};
use crate::refresh::{Engine, RefreshStatus};

/// An AWS session whose credentials are replaced before they expire.
///
/// ```
/// # mod brs { pub use brs_core::*; }
/// # #[derive(Clone)]
/// # struct Client;
/// # impl Client { fn new(_: &aws_types::SdkConfig) -> Self { Self } }
/// # use brs::{MethodParams, RefreshableSession};
/// # async fn example(params: impl MethodParams) -> Result<(), brs::Error> {
/// let session = RefreshableSession::with(params).region("eu-west-1").build().await?;
///
/// // `Client` is that of any AWS service: `aws_sdk_s3::Client`.
/// let client = session.client(Client::new);
/// # let _ = client;
/// # Ok(())
/// # }
/// ```
///
/// Cloning is cheap, and clones share everything, including the clients made with
/// [`client`](Self::client). The session lives until its last handle is dropped: clones, its
/// configurations, its credentials providers, and the clients made from them.
///
/// # Cancel safety
///
/// All functions are cancel safe. A refresh that was started continues without its caller.
#[derive(Clone)]
pub struct RefreshableSession(Arc<Inner>);

struct Inner {
    engine: Arc<Engine>,
    config: SdkConfig,
    provider: SharedCredentialsProvider,
    /// What `provider` holds: its count tells whether somebody uses it.
    held: Arc<dyn ProvideCredentials>,
    clients: Clients,
    /// This session as another one's base.
    as_base: BaseSession,
}

/// Opening a session.
impl RefreshableSession {
    /// Opens a session with default options. The type of the parameters selects the method.
    ///
    /// ```no_run
    /// # mod brs { pub use brs_core::*; }
    /// # use brs::{MethodParams, RefreshableSession};
    /// # async fn example(params: impl MethodParams) -> Result<(), brs::Error> {
    /// // `params` are those of a method, such as `brs::sts::Params::new(role_arn)`.
    /// let session = RefreshableSession::open(params).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Any error of [`SessionBuilder::build`].
    pub async fn open(params: impl MethodParams) -> Result<Self, Error> {
        Self::with(params).build().await
    }

    /// Options for opening a session. The type of the parameters selects the method.
    pub fn with<P: MethodParams>(params: P) -> SessionBuilder {
        SessionBuilder::method(P::METHOD.to_owned(), params.into())
    }

    /// Opens a session by the name of a registered method that is known at run time. Use
    /// [`open`](Self::open) if the parameters' type is known: it names the method.
    ///
    /// # Errors
    ///
    /// A validation error for an unknown method or wrong parameters; any error of
    /// [`SessionBuilder::build`].
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
    /// The current credentials. While they are valid, the call does not wait.
    ///
    /// ```no_run
    /// # mod brs { pub use brs_core::*; }
    /// # async fn example(session: brs::RefreshableSession) -> Result<(), brs::Error> {
    /// let credentials = session.credentials().await?;
    /// println!("{} until {:?}", credentials.access_key_id(), credentials.expiration());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If no credentials can be served: the error of the refresh, or the last one from memory,
    /// which then reports [when the source can be asked again](Error::refresh_allowed_at).
    pub async fn credentials(&self) -> Result<TemporaryCredentials, Error> {
        self.0
            .engine
            .current()
            .await
            .map(|set| set.credentials.clone())
    }

    /// Looks at the current credentials without owning them, as the session's SDK clients do;
    /// `None` if the engine would have to be asked. For measuring the cost.
    #[cfg(feature = "test-util")]
    #[doc(hidden)]
    pub fn glance<R>(&self, look: impl FnOnce(&TemporaryCredentials) -> R) -> Option<R> {
        self.0.engine.read(|set| look(&set.credentials))
    }

    /// Credentials that stay valid for at least `least`, refreshed first if less is left. Use it
    /// for what is signed now and used later, such as presigned URLs.
    ///
    /// After a refresh, the session's SDK clients sign with the new credentials, so call it before
    /// presigning. If `least` is the full lifetime of the source's credentials, a hundredth of it
    /// (at most 30 s) less is accepted.
    ///
    /// ```no_run
    /// # mod brs { pub use brs_core::*; }
    /// # use std::time::Duration;
    /// # #[derive(Clone)]
    /// # struct Client;
    /// # impl Client {
    /// #     fn new(_: &aws_types::SdkConfig) -> Self { Self }
    /// #     async fn presigned(&self, _: &str, _: Duration) -> String { String::new() }
    /// # }
    /// # async fn example(session: brs::RefreshableSession) -> Result<(), brs::Error> {
    /// let client = session.client(Client::new);
    /// let hours = Duration::from_secs(2 * 3600);
    /// // A URL is valid no longer than the credentials that signed it.
    /// session.credentials_valid_for(hours).await?;
    /// let url = client.presigned("report.pdf", hours).await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`credentials`](Self::credentials), but credentials with less left are never returned: if
    /// the refresh fails, its error is. A validation error if the source's credentials never live
    /// that long.
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

    /// Asks the source now, even during a backoff. Joins a refresh that is already running.
    ///
    /// # Errors
    ///
    /// The error of the source. Credentials that are still valid stay in use.
    pub async fn refresh(&self) -> Result<TemporaryCredentials, Error> {
        self.0
            .engine
            .refresh()
            .await
            .map(|set| set.credentials.clone())
    }

    /// Marks the credentials with this key as unusable; the next call waits for new ones.
    ///
    /// If they have been replaced already, nothing happens. If the source fails, the old ones are
    /// still served. A running backoff is respected.
    pub fn invalidate(&self, access_key_id: &str) {
        self.0.engine.invalidate(access_key_id);
    }

    /// As [`invalidate`](Self::invalidate), for code that sees a service reject the credentials.
    ///
    /// Such rejections are paced: if new credentials are rejected within their first minute, the
    /// next rejection counts after 5 s, then after twice as long, up to 5 min. A service that
    /// rejects everything does not flood the source.
    pub fn report_rejected(&self, access_key_id: &str) {
        self.0.engine.reject(access_key_id);
    }

    /// Closes the session and all its clones: drops the credentials, ends refreshes, and fails
    /// every further call.
    pub fn close(&self) {
        self.0.engine.close();
    }
}

/// Looking at a session.
impl RefreshableSession {
    /// A snapshot of the session's state.
    ///
    /// ```no_run
    /// # mod brs { pub use brs_core::*; }
    /// # fn example(session: brs::RefreshableSession) {
    /// let status = session.status();
    /// if let Some(error) = status.last_error() {
    ///     eprintln!("{} failures in a row: {error}", status.consecutive_failures());
    /// }
    /// # }
    /// ```
    pub fn status(&self) -> RefreshStatus {
        self.0.engine.status()
    }

    /// Whether a call would get valid credentials now, without waiting for the source. For health
    /// checks.
    ///
    /// False once the credentials have expired, even with static stability: expired ones may be
    /// served then, but services reject them ([`RefreshStatus::is_serving_expired`]).
    ///
    /// A deferred session is not ready before its first refresh, nor if its credentials have
    /// entered the mandatory window because no call came. If calls come only once the session is
    /// ready, use an eager session.
    pub fn ready(&self) -> bool {
        self.0.engine.ready()
    }

    /// The events from now on: refreshes, failures, invalidations. See [`Event`](crate::Event).
    ///
    /// ```no_run
    /// # mod brs { pub use brs_core::*; }
    /// # async fn example(session: brs::RefreshableSession) {
    /// use brs::Event;
    ///
    /// let mut events = session.events();
    /// while let Some(event) = events.next().await {
    ///     if let Event::RefreshFailed { error, .. } = event {
    ///         eprintln!("refresh failed: {error}");
    ///     }
    /// }
    /// # }
    /// ```
    pub fn events(&self) -> Events {
        self.0.engine.events()
    }

    /// This session as the base of another one, for [`SessionBuilder::base_session`].
    pub fn as_base(&self) -> BaseSession {
        self.0.as_base.clone()
    }

    /// The method's registry name.
    pub fn method(&self) -> &'static str {
        self.0.engine.strategy().method()
    }

    /// The strategy, if it is a `T` or stands around one.
    pub fn strategy<T: RefreshStrategy>(&self) -> Option<&T> {
        let first: &dyn RefreshStrategy = &**self.0.engine.strategy();
        std::iter::successors(Some(first), |strategy| strategy.wrapped())
            .find_map(|strategy| (strategy as &dyn Any).downcast_ref())
    }
}

/// For the AWS SDK.
impl RefreshableSession {
    /// The configuration for SDK clients: `aws_sdk_s3::Client::new(session.sdk_config())`.
    ///
    /// Its HTTP client notices services that reject the session's credentials as expired or
    /// invalid. An SDK client with its own HTTP client is not watched: report its rejections with
    /// [`invalidate`](Self::invalidate). After an IAM revocation services answer `AccessDenied`,
    /// which a session cannot tell from a missing permission: call [`refresh`](Self::refresh).
    pub fn sdk_config(&self) -> &SdkConfig {
        &self.0.config
    }

    /// A client of any AWS service: `session.client(aws_sdk_s3::Client::new)`.
    ///
    /// ```
    /// # mod brs { pub use brs_core::*; }
    /// # #[derive(Clone)]
    /// # struct Client;
    /// # impl Client { fn new(_: &aws_types::SdkConfig) -> Self { Self } }
    /// # fn example(session: brs::RefreshableSession) {
    /// let client = session.client(Client::new);
    /// # }
    /// ```
    ///
    /// The same constructor returns the same client, so its connections are shared. A constructor
    /// that captures something or is a function pointer does not compile, since it could not be
    /// told from another one: use [`client_with`](Self::client_with). `cargo build` reports it,
    /// `cargo check` does not. A constructor must not ask the session for the client that it
    /// makes: it would wait for itself.
    ///
    /// ```compile_fail
    /// # mod brs { pub use brs_core::*; }
    /// # fn example(session: brs::RefreshableSession, region: String) {
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

    /// As [`client`](Self::client), in another region.
    ///
    /// With an invalid region, the calls of the client fail with the SDK's own error.
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

    /// A client with another configuration, cached under your label. Two configurations must not
    /// share a label.
    ///
    /// ```
    /// # mod brs { pub use brs_core::*; }
    /// # fn example(session: brs::RefreshableSession) {
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

    /// Hits, misses and evictions of the session's client cache.
    pub fn clients(&self) -> ClientCacheStats {
        self.0.clients.stats()
    }

    /// The session's source of time.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        self.0.engine.clock()
    }

    /// The session as a credentials provider, for code that takes one.
    ///
    /// It keeps the engine alive. The expiry that it reports is the start of the mandatory window,
    /// so a cache in front of it asks again while the session can still answer at once.
    ///
    /// With the provider alone, as in the SDK's own loader
    /// (`aws_config::defaults(…).credentials_provider(…)`), the SDK's identity cache stands in
    /// front of the session: [`refresh`](Self::refresh) and [`invalidate`](Self::invalidate) do not
    /// reach its clients before that expiry, and rejections by services are not noticed. Clients
    /// made from [`sdk_config`](Self::sdk_config) have neither limit.
    pub fn credentials_provider(&self) -> SharedCredentialsProvider {
        self.0.provider.clone()
    }

    /// The session as a credential provider of the crate `object_store`, version 0.14.
    ///
    /// It keeps the engine alive. `object_store` does not report that a service has rejected
    /// credentials: call [`invalidate`](Self::invalidate) when you see it in an error.
    ///
    /// ```
    /// # mod brs { pub use brs_core::*; }
    /// use object_store::aws::AmazonS3Builder;
    ///
    /// fn bucket(session: &brs::RefreshableSession) -> AmazonS3Builder {
    ///     AmazonS3Builder::new()
    ///         .with_region("eu-west-1")
    ///         .with_bucket_name("reports")
    ///         .with_credentials(session.object_store_credentials())
    /// }
    /// ```
    #[cfg(feature = "object_store")]
    pub fn object_store_credentials(&self) -> object_store::aws::AwsCredentialProvider {
        Arc::new(crate::sdk::ObjectStoreCredentials::new(self.as_base()))
    }
}

/// For pools.
impl RefreshableSession {
    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.0.engine
    }

    /// How many handles the session has.
    pub(crate) fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// How many use the session: clients and providers, and sessions on top. It counts itself, too.
    pub(crate) fn holders(&self) -> usize {
        Arc::strong_count(&self.0.held) + self.0.as_base.holders()
    }

    /// Drops the clients that the session keeps. Those that somebody holds go on working.
    pub(crate) fn give_up_clients(&self) {
        self.0.clients.clear();
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
        let held = crate::sdk::provider(&engine);
        let provider = SharedCredentialsProvider::from(Arc::clone(&held));
        let config = crate::sdk::session_config(&base, &engine, &provider, retry_rejected);
        let as_base = BaseSession::new(Arc::clone(&engine), base, parent);
        Self(Arc::new(Inner {
            engine,
            config,
            provider,
            held,
            clients,
            as_base,
        }))
    }
}

impl From<RefreshableSession> for BaseSession {
    fn from(session: RefreshableSession) -> Self {
        session.as_base()
    }
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
