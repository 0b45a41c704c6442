//! What is measured: a brs session and the SDK's configuration, opened in the same way against the
//! same server.
//!
//! Both are seen through [`Resolver`], which resolves an identity exactly as a client's
//! orchestrator does. Time can be moved for both with [`Shifted`], so that credentials of an hour
//! are due without waiting; what signs requests goes by the system's clock.

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::{SharedTimeSource, TimeSource};
use aws_smithy_runtime::client::identity::IdentityCache;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::identity::{
    Identity, ResolveCachedIdentity as _, SharedIdentityCache, SharedIdentityResolver,
};
use aws_smithy_runtime_api::client::runtime_components::{
    RuntimeComponents, RuntimeComponentsBuilder,
};
use aws_smithy_types::config_bag::ConfigBag;
use aws_types::SdkConfig;
use brs::test_util::{Scripted, Step};
use brs::{Clock, RefreshableSession, SessionBuilder, Sleep, SystemClock, sts};

use crate::Failure;

/// The role of all measurements.
pub const ROLE: &str = "arn:aws:iam::123456789012:role/bench";
/// Their region.
pub const REGION: &str = "eu-west-1";
/// How long credentials live, unless the server is told otherwise.
pub const LIFETIME: Duration = Duration::from_secs(3600);
/// The SDK cache's buffer in measurements that last longer than its default of 10 s: what it would
/// refresh at.
pub const SDK_BUFFER: Duration = Duration::from_secs(120);

/// The system's clock, moved on.
#[derive(Clone, Debug, Default)]
pub struct Shifted(Arc<AtomicU64>);

impl Shifted {
    /// Moves time on.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_secs(), Ordering::SeqCst);
    }

    fn ahead(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

impl Clock for Shifted {
    fn now(&self) -> SystemTime {
        Clock::now(&SystemClock::new()) + self.ahead()
    }

    fn monotonic(&self) -> Duration {
        SystemClock::new().monotonic() + self.ahead()
    }

    fn coarse(&self) -> (SystemTime, Duration) {
        let (wall, monotonic) = SystemClock::new().coarse();
        (wall + self.ahead(), monotonic + self.ahead())
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        SystemClock::new().sleep(duration)
    }
}

impl TimeSource for Shifted {
    fn now(&self) -> SystemTime {
        Clock::now(self)
    }
}

/// Resolves identities as a client of that configuration does.
#[derive(Debug)]
pub struct Resolver {
    cache: SharedIdentityCache,
    resolver: SharedIdentityResolver,
    components: RuntimeComponents,
    bag: ConfigBag,
}

impl Resolver {
    /// Of a configuration.
    ///
    /// # Errors
    ///
    /// If it has no credentials or no identity cache.
    pub fn new(config: &SdkConfig, time: impl TimeSource + 'static) -> Result<Self, Failure> {
        let components = RuntimeComponentsBuilder::for_tests()
            .with_time_source(Some(SharedTimeSource::new(time)))
            .with_sleep_impl(Some(SharedAsyncSleep::new(TokioSleep::new())))
            .build()?;
        let provider = config
            .credentials_provider()
            .ok_or("a configuration without credentials")?;
        Ok(Self {
            cache: config
                .identity_cache()
                .ok_or("a configuration without an identity cache")?,
            resolver: SharedIdentityResolver::new(provider),
            components,
            bag: ConfigBag::base(),
        })
    }

    /// The identity that a request would be signed with.
    ///
    /// # Errors
    ///
    /// What the source gave.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn resolve(&self) -> Result<Identity, BoxError> {
        self.cache
            .resolve_cached_identity(self.resolver.clone(), &self.components, &self.bag)
            .await
    }
}

/// The base configuration of both: region, endpoint, the user's keys from the environment.
///
/// # Cancel safety
///
/// Cancel safe.
pub async fn base() -> SdkConfig {
    let loader = aws_config::defaults(BehaviorVersion::latest()).region(Region::new(REGION));
    loader
        .endpoint_url(env::var("BENCH_ENDPOINT").unwrap_or_default())
        .load()
        .await
}

/// The SDK's provider for the role.
///
/// # Cancel safety
///
/// Cancel safe.
pub async fn sdk_provider(base: &SdkConfig) -> SharedCredentialsProvider {
    let role = AssumeRoleProvider::builder(ROLE)
        .session_name("bench")
        .configure(base)
        .build()
        .await;
    SharedCredentialsProvider::new(role)
}

/// The SDK's configuration for the role, as its documentation says.
///
/// # Cancel safety
///
/// Cancel safe.
pub async fn sdk_config(base: &SdkConfig, buffer: Option<Duration>) -> SdkConfig {
    let loader = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .endpoint_url(env::var("BENCH_ENDPOINT").unwrap_or_default())
        .credentials_provider(sdk_provider(base).await);
    match buffer {
        Some(buffer) => {
            loader
                .identity_cache(IdentityCache::lazy().buffer_time(buffer).build())
                .load()
                .await
        }
        None => loader.load().await,
    }
}

/// brs's session for the role on that configuration.
pub fn session(base: &SdkConfig) -> SessionBuilder {
    let role = sts::Params::new(ROLE).role_session_name("bench");
    RefreshableSession::builder("sts", role).base(base.clone())
}

/// A session whose credentials are there already, for measuring what a call costs that only reads.
///
/// # Errors
///
/// None in practice.
///
/// # Cancel safety
///
/// Cancel safe.
pub async fn warm_session() -> Result<RefreshableSession, Failure> {
    let source = Scripted::always(Step::Fresh(LIFETIME)).shared();
    let session = RefreshableSession::with_strategy(source)
        .region(REGION)
        .build()
        .await?;
    session.credentials().await?;
    Ok(session)
}
