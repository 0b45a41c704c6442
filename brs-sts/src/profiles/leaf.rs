//! The end of a chain of roles: credentials that the AWS SDK gets, and how it is set up to reach
//! their source.
//!
//! Keys, the environment, the container, the instance, a process, an SSO login and a console login.
//! The session's settings for reaching AWS are passed on: the session's endpoint, retries,
//! time-outs, FIPS and dual stack, and the STS client's `verify` and `proxies`. The STS client's
//! own region and endpoint are STS's alone. Three things cannot be passed on:
//!
//! - The container's and the instance's endpoints are local: no proxy of the STS client's settings
//!   is used for them, and the SDK sets their retries and time-outs itself.
//! - A console login is refreshed at its region's endpoint, or at that of
//!   `AWS_ENDPOINT_URL_SIGNIN`: the SDK takes none.
//! - A `credential_process` reaches AWS by itself.

use std::fmt;
use std::sync::Arc;

use aws_config::credential_process::CredentialProcessProvider;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_types::SdkConfig;
use aws_types::service_config::ServiceConfigKey;
use brs_core::Error;
use brs_core::kit::PerProcess;
use tokio::sync::OnceCell;

use crate::environment::profiles;
use crate::environment::{Reader, Variables, machine};
use crate::profiles::graph::{Leaf, Owner, Source, leaf, wrong};
#[cfg(feature = "login")]
use crate::profiles::login;
use crate::profiles::sso;
use crate::request::client::StsClient;
use crate::sts::connect::{retries, timeouts};
use crate::sts::http_client;
use crate::sts::proxy::Proxy;
use brs_core::kit::with_cause;

/// What leaves are loaded with; shared by all the providers of a session.
pub(crate) struct Leaves {
    /// The profile that the user named: it may say where instance metadata is.
    profile: Option<String>,
    base: Arc<SdkConfig>,
    settings: StsClient,
    remote: PerProcess<OnceCell<SdkConfig>>,
    machine: PerProcess<OnceCell<Arc<Machine>>>,
}

/// The providers of this machine's own credentials, which remember what they were last given.
#[derive(Debug)]
struct Machine {
    /// `None` if no variable says where it is.
    container: Option<EcsCredentialsProvider>,
    instance: ImdsCredentialsProvider,
}

impl Machine {
    async fn container(&self) -> Result<Credentials, CredentialsError> {
        match &self.container {
            Some(container) => container.provide_credentials().await,
            None => Err(CredentialsError::not_loaded(
                "no variable says where the container's credentials are",
            )),
        }
    }
}

impl Leaves {
    /// `profile` is the one that the user named, `settings` are the STS client's, validated;
    /// credentials in them are not used.
    pub(crate) fn new(
        profile: Option<String>,
        base: Arc<SdkConfig>,
        settings: StsClient,
    ) -> Arc<Self> {
        Arc::new(Self {
            profile,
            base,
            settings,
            remote: PerProcess::new(),
            machine: PerProcess::new(),
        })
    }

    /// The credentials of the container, else of the instance.
    pub(crate) async fn of_machine(&self) -> Result<Credentials, CredentialsError> {
        let machine = self.machine().await?;
        match machine.container().await {
            Err(CredentialsError::CredentialsNotLoaded(_)) => {
                machine.instance.provide_credentials().await
            }
            found => found,
        }
    }

    async fn load(&self, profile: &str, leaf: Leaf) -> Result<Credentials, CredentialsError> {
        let loaded = match &leaf {
            Leaf::Keys(keys) => return Ok(keys.clone()),
            Leaf::Source(Source::Environment) => {
                EnvironmentVariableCredentialsProvider::new()
                    .provide_credentials()
                    .await
            }
            Leaf::Source(Source::Container) => self.machine().await?.container().await,
            Leaf::Source(Source::Instance) => {
                self.machine().await?.instance.provide_credentials().await
            }
            Leaf::Sso(login) => {
                return sso::credentials(profile, login, &self.remote().await?).await;
            }
            #[cfg(not(feature = "login"))]
            Leaf::Login(arn) => Err(CredentialsError::provider_error(without_login(
                profile, arn,
            ))),
            #[cfg(feature = "login")]
            Leaf::Login(arn) => {
                login::credentials(arn, &provider_config(&self.remote().await?)).await
            }
            Leaf::Process {
                command,
                account_id,
            } => {
                let process = CredentialProcessProvider::new(command.clone());
                process
                    .provide_credentials()
                    .await
                    .map(|found| with_account(found, account_id.as_deref()))
            }
        };
        loaded.map_err(|error| explained(profile, &leaf, error))
    }

    /// The configuration for what is beyond this machine.
    async fn remote(&self) -> Result<SdkConfig, CredentialsError> {
        let remote = self.remote.get();
        let built = remote.get_or_try_init(|| async {
            let plain =
                endpoint_url_of_sso(&self.base).is_some_and(|url| url.starts_with("http://"));
            let client = http_client::for_strategy(
                &self.settings,
                &self.base,
                &Proxy::choose(&self.settings, &self.base, plain),
            )
            .await?;
            let mut config = self
                .base
                .to_builder()
                .http_client(client)
                .retry_config(retries(&self.settings, self.base.retry_config()))
                .timeout_config(timeouts(&self.settings, self.base.timeout_config()));
            if let Some(use_fips) = self.settings.config.use_fips_endpoint {
                config = config.use_fips(use_fips);
            }
            if let Some(use_dual_stack) = self.settings.config.use_dualstack_endpoint {
                config = config.use_dual_stack(use_dual_stack);
            }
            Ok::<_, Error>(config.build())
        });
        built
            .await
            .cloned()
            .map_err(CredentialsError::invalid_configuration)
    }

    async fn machine(&self) -> Result<Arc<Machine>, CredentialsError> {
        let machine = self.machine.get();
        let built = machine.get_or_try_init(|| async {
            let mut settings = self.settings.clone();
            settings.config.proxies = Default::default();
            let client = http_client::for_strategy(
                &settings,
                &self.base,
                &Proxy::choose(&settings, &self.base, true),
            )
            .await?;
            let providers = provider_config(&self.base).with_http_client(client);
            let profile = self.profile.clone().unwrap_or_else(profiles::default_name);
            let profiles = profiles::load(&profile).await?;
            let reader = Reader {
                variables: &Variables::Process,
                profiles: &profiles,
                profile: &profile,
            };
            let (container, instance) = (
                machine::container(&providers)?,
                machine::instance(&providers, &reader)?,
            );
            Ok::<_, Error>(Arc::new(Machine {
                container,
                instance,
            }))
        });
        built
            .await
            .cloned()
            .map_err(CredentialsError::invalid_configuration)
    }
}

/// The endpoint of the session for SSO, if it has one.
fn endpoint_url_of_sso(base: &SdkConfig) -> Option<String> {
    let for_sso = || {
        let key = ServiceConfigKey::builder()
            .service_id("SSO")
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url")
            .build();
        base.service_config()?.load_config(key.ok()?)
    };
    let own = || base.endpoint_url().map(str::to_owned);
    if base.get_origin("endpoint_url").is_client_config() {
        own()
    } else {
        for_sso().or_else(own)
    }
}

/// What the SDK's own providers are built with, on a configuration.
fn provider_config(config: &SdkConfig) -> ProviderConfig {
    let mut providers = ProviderConfig::without_region()
        .with_region(config.region().cloned())
        .with_behavior_version(config.behavior_version())
        .with_use_fips(config.use_fips())
        .with_use_dual_stack(config.use_dual_stack());
    if let Some(client) = config.http_client() {
        providers = providers.with_http_client(client);
    }
    if let Some(retries) = config.retry_config() {
        providers = providers.with_retry_config(retries.clone());
    }
    if let Some(timeouts) = config.timeout_config() {
        providers = providers.with_timeout_config(timeouts.clone());
    }
    providers
}

/// The SDK's provider for processes takes the profile's account only from its own reader of
/// profiles.
fn with_account(found: Credentials, account_id: Option<&str>) -> Credentials {
    match account_id {
        Some(account_id) if found.account_id().is_none() => {
            let mut out = Credentials::builder()
                .access_key_id(found.access_key_id())
                .secret_access_key(found.secret_access_key())
                .account_id(account_id)
                .provider_name("CredentialProcess");
            out.set_session_token(found.session_token().map(str::to_owned));
            out.set_expiry(found.expiry());
            out.build()
        }
        _ => found,
    }
}

#[cfg(not(feature = "login"))]
fn without_login(profile: &str, arn: &str) -> Error {
    let problem =
        "`login_session` needs the feature `login` of brs, which this build does not have";
    wrong(profile, problem).with_detail("login_session", arn)
}

/// The error of a leaf; a chain of providers does not go on after it.
fn explained(profile: &str, leaf: &Leaf, error: CredentialsError) -> CredentialsError {
    let what = match leaf {
        Leaf::Source(source) => source.to_string(),
        Leaf::Login(_) => "its console login".to_owned(),
        _ => "its source".to_owned(),
    };
    #[cfg(feature = "login")]
    if let (Leaf::Login(_), Some(own)) = (leaf, login::not_renewed(profile, &error)) {
        return CredentialsError::provider_error(own);
    }
    match &error {
        _ if matches!(leaf, Leaf::Login(_)) && sso::is_ended_login(&error) => {
            CredentialsError::provider_error(sso::login_needed(
                profile,
                "console login",
                "aws login",
            ))
        }
        CredentialsError::CredentialsNotLoaded(_) => {
            let out = Error::configuration(format!(
                "the profile `{}` takes its credentials from {what}, which has none: check that source",
                profiles::shown_name(profile)
            ));
            CredentialsError::provider_error(with_cause(
                out.with_detail("profile", profile),
                &error,
                &[],
            ))
        }
        CredentialsError::InvalidConfiguration(_) => {
            let out = wrong(profile, &format!("{what} is not set up right"));
            CredentialsError::invalid_configuration(with_cause(out, &error, &[]))
        }
        _ => error,
    }
}

/// The credentials of one profile by itself, read again each time, so that rotated keys and a new
/// login are seen.
pub(crate) struct LeafProvider {
    pub(crate) owner: Owner,
    pub(crate) leaves: Arc<Leaves>,
}

impl LeafProvider {
    async fn load(&self) -> Result<Credentials, CredentialsError> {
        let profile = &self.owner.profile;
        let profiles = profiles::load(profile)
            .await
            .map_err(CredentialsError::invalid_configuration)?;
        match leaf(&profiles, &self.owner) {
            Ok(Some(leaf)) => self.leaves.load(profile, leaf).await,
            Ok(None) => Err(CredentialsError::invalid_configuration(wrong(
                profile,
                "it no longer holds credentials",
            ))),
            Err(error) => Err(CredentialsError::invalid_configuration(error)),
        }
    }
}

impl ProvideCredentials for LeafProvider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}

impl fmt::Debug for LeafProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeafProvider")
            .field("profile", &self.owner.profile)
            .finish_non_exhaustive()
    }
}
