//! The base configuration: region, profile, base credentials; and who a set of credentials is.
//!
//! What only `aws-config` can do, for every method. Loading reads the environment and the profile files and contacts
//! nothing: the region chain ends at the profile instead of at instance metadata, and credentials are looked for when
//! they are first needed. A profile that the user names is used for its credentials before anything else, as boto3
//! does; its files are read anew each time, so that rotated keys and a new login are seen.

use std::env::{VarError, var};
use std::path::PathBuf;
use std::sync::OnceLock;

use async_trait::async_trait;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::{CredentialsError, TokenError};
use aws_credential_types::provider::token::ProvideToken;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_types::os_shim_internal::{Env, Fs};
use aws_types::region::Region;
use brs_core::{BaseLoader, BaseRequest, CallerIdentity, Error, RegisteredBaseLoader};

use crate::error::{Call, Operation, from_sdk};

brs_core::__private::inventory::submit! { RegisteredBaseLoader(&Loader) }

/// The base loader of builds that have `sts`.
struct Loader;

#[async_trait]
impl BaseLoader for Loader {
    async fn load(&self, request: BaseRequest) -> Result<SdkConfig, Error> {
        if let Some(name) = &request.profile_name {
            check_profile(name).await?;
        }
        let version = request.behavior_version.unwrap_or_else(BehaviorVersion::latest);
        let region = region_chain(&request).region().await;

        let mut loader = aws_config::defaults(version)
            .region(region.clone())
            // With no region, aws-config's own chains would ask instance metadata for one while they are built.
            .no_credentials()
            .token_provider(NoToken);
        if let Some(name) = &request.profile_name {
            loader = loader.profile_name(name);
        }
        if let Some(url) = &request.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        if let Some(client) = &request.http_client {
            loader = loader.http_client(client.clone());
        }
        let config = loader.load().await;

        let mut providers = ProviderConfig::without_region()
            .with_region(region)
            .with_behavior_version(Some(version))
            .with_use_fips(config.use_fips())
            .with_use_dual_stack(config.use_dual_stack());
        if let Some(client) = request.http_client {
            providers = providers.with_http_client(client);
        }
        let credentials = match (request.credentials, request.profile_name) {
            (Some(credentials), _) => credentials,
            (None, Some(name)) => SharedCredentialsProvider::new(NamedProfile { name, providers }),
            (None, None) => SharedCredentialsProvider::new(DefaultChain {
                region: config.region().cloned(),
                providers,
                chain: OnceLock::new(),
            }),
        };
        let mut config = config.into_builder();
        config.set_token_provider(None);
        Ok(config.credentials_provider(credentials).build())
    }

    async fn caller_identity(&self, config: &SdkConfig) -> Result<CallerIdentity, Error> {
        let answer = aws_sdk_sts::Client::new(config).get_caller_identity().send().await.map_err(|error| {
            let place = match (config.endpoint_url(), config.region()) {
                (Some(url), _) => format!("`{url}`"),
                (None, Some(region)) => format!("region `{region}`"),
                (None, None) => "no region".into(),
            };
            let operation = Operation::CallerIdentity;
            let credentials = "the session's credentials";
            from_sdk(error, &Call { operation, place: &place, credentials, hidden: &[], sent: true })
        })?;
        match (answer.account(), answer.arn(), answer.user_id()) {
            (Some(account), Some(arn), Some(user_id)) => Ok(CallerIdentity::new(account, arn, user_id)),
            _ => Err(Error::credential("the answer of STS lacks account, ARN or user id")),
        }
    }
}

/// What was given, `AWS_REGION`, `AWS_DEFAULT_REGION`, the profile. Never instance metadata.
fn region_chain(request: &BaseRequest) -> RegionProviderChain {
    let mut profile = ProfileFileRegionProvider::builder();
    if let Some(name) = &request.profile_name {
        profile = profile.profile_name(name);
    }
    RegionProviderChain::first_try(request.region.clone())
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(profile.build())
}

/// A profile the user has named has to be there: aws-config would go on without it.
async fn check_profile(name: &str) -> Result<(), Error> {
    let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    let files = [
        profile_file("AWS_CONFIG_FILE", "~/.aws/config"),
        profile_file("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
    ];
    let looked_at = files.each_ref().map(|file| format!("`{}`", file.display())).join(" and ");
    let profiles =
        aws_config::profile::load(&Fs::real(), &Env::real(), &Default::default(), Some(name.to_owned().into()))
            .await
            .map_err(|error| {
            Error::configuration(format!("the profile files cannot be read: check {looked_at}"))
                .with_param("profile_name")
                .with_source(error)
        })?;
    if profiles.get_profile(name).is_some() {
        return Ok(());
    }
    Err(Error::configuration(format!(
        "there is no profile `{shown}`: looked at {looked_at}; `aws configure list-profiles` lists what there is"
    ))
    .with_param("profile_name"))
}

fn profile_file(variable: &str, default: &str) -> PathBuf {
    match var(variable) {
        Ok(path) => path.into(),
        Err(VarError::NotUnicode(path)) => path.into(),
        Err(VarError::NotPresent) => default.into(),
    }
}

/// The SDK's default chain, built when credentials are first needed: building it reads the system's certificates.
#[derive(Debug)]
struct DefaultChain {
    providers: ProviderConfig,
    region: Option<Region>,
    chain: OnceLock<DefaultCredentialsChain>,
}

impl DefaultChain {
    async fn load(&self) -> Result<Credentials, CredentialsError> {
        if let Some(chain) = self.chain.get() {
            return chain.provide_credentials().await;
        }
        // Told that there is no region, the chain does not look for one itself. Two that are built at once do no harm.
        let chain = DefaultCredentialsChain::builder().configure(self.providers.clone()).region(self.region.clone());
        let chain = chain.build().await;
        self.chain.get_or_init(|| chain).provide_credentials().await
    }
}

impl ProvideCredentials for DefaultChain {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}

/// The credentials of a profile by name, then those of the container and of the instance; not those of the environment,
/// which the user has passed over by naming a profile.
#[derive(Debug)]
struct NamedProfile {
    name: String,
    providers: ProviderConfig,
}

impl NamedProfile {
    async fn load(&self) -> Result<Credentials, CredentialsError> {
        let profile = ProfileFileCredentialsProvider::builder().configure(&self.providers).profile_name(&self.name);
        CredentialsProviderChain::first_try("Profile", profile.build())
            .or_else("EcsContainer", EcsCredentialsProvider::builder().configure(&self.providers).build())
            .or_else("Ec2InstanceMetadata", ImdsCredentialsProvider::builder().configure(&self.providers).build())
            .provide_credentials()
            .await
    }
}

impl ProvideCredentials for NamedProfile {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}

/// In the place of aws-config's chain of bearer tokens while it loads; what is returned has none.
#[derive(Debug)]
struct NoToken;

impl ProvideToken for NoToken {
    fn provide_token<'a>(&'a self) -> future::ProvideToken<'a>
    where
        Self: 'a,
    {
        future::ProvideToken::ready(Err(TokenError::not_loaded("not needed while loading")))
    }
}
