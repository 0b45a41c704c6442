//! Profiles and the chains of base credentials around them.
//!
//! A profile that the user names has to exist and has to work: aws-config would go on to the container's and the
//! instance's credentials where one is missing or broken, and the program would run as somebody else. It goes on only
//! from a profile that simply holds no credentials. Files are read anew each time, so that rotated keys and a new login
//! are seen.

use std::env::{VarError, var};
use std::error::Error as _;
use std::path::PathBuf;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileSet};
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_types::SdkConfig;
use aws_types::os_shim_internal::{Env, Fs};
use brs_core::Error;
use tokio::sync::OnceCell;

use crate::environment::{self, Reader, Variables, machine};
use crate::shown::{any_in_chain, causes, with_cause};

pub(crate) const DEFAULT: &str = "default";

/// The profile that the environment names, where it names one that is not the default anyway.
pub(crate) fn of_environment() -> Option<String> {
    // What is wrong there was an error when the base configuration was loaded.
    let named = environment::profile(&Variables::Process).ok().flatten();
    named.map(|(name, _)| name).filter(|name| name != DEFAULT)
}

/// Checks that a profile is there; `named_by` says who asks for it, and how an error names that.
pub(crate) async fn check(name: &str, named_by: NamedBy) -> Result<ProfileSet, Error> {
    let param = named_by.param();
    let looked_at = files();
    let profiles = load(name).await.map_err(|error| error.with_param(param))?;
    if profiles.get_profile(name).is_some() {
        return Ok(profiles);
    }
    let by = match named_by {
        NamedBy::User => String::new(),
        NamedBy::Environment(variable) => format!(", which `{variable}` names"),
    };
    Err(Error::configuration(format!(
        "there is no profile `{}`{by}: looked at {looked_at}; `aws configure list-profiles` lists what there is",
        shown_name(name)
    ))
    .with_param(param)
    .unrecoverable())
}

/// Reads the profile files.
pub(crate) async fn load(name: &str) -> Result<ProfileSet, Error> {
    let found = environment::files::for_loader(&Variables::Process);
    aws_config::profile::load(&Fs::real(), &Env::real(), &found, Some(name.to_owned().into())).await.map_err(|error| {
        let out = Error::configuration(format!("the profile files cannot be read: check {}", files()));
        with_cause(out.with_param("profile_name"), &error, &[]).unrecoverable()
    })
}

/// What aws-config's own providers are built with, on a base configuration.
pub(crate) fn provider_config(base: &SdkConfig) -> ProviderConfig {
    let mut providers = ProviderConfig::without_region()
        .with_region(base.region().cloned())
        .with_behavior_version(base.behavior_version())
        .with_use_fips(base.use_fips())
        .with_use_dual_stack(base.use_dual_stack());
    if let Some(client) = base.http_client() {
        providers = providers.with_http_client(client);
    }
    providers
}

/// Who named a profile.
#[derive(Clone, Copy)]
pub(crate) enum NamedBy {
    User,
    /// This variable.
    Environment(&'static str),
}

impl NamedBy {
    fn param(self) -> &'static str {
        match self {
            Self::User => "profile_name",
            Self::Environment(variable) => variable,
        }
    }
}

pub(crate) fn shown_name(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// The profile files, in words.
pub(crate) fn files() -> String {
    let files = [file("AWS_CONFIG_FILE", "~/.aws/config"), file("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")];
    files.map(|file| format!("`{}`", file.display())).join(" and ")
}

fn file(variable: &str, default: &str) -> PathBuf {
    match var(variable) {
        Ok(path) => path.into(),
        Err(VarError::NotUnicode(path)) => path.into(),
        Err(VarError::NotPresent) => default.into(),
    }
}

/// The credentials of one profile, or that it has none; what is wrong with it is an error and ends a chain.
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) name: String,
    pub(crate) providers: ProviderConfig,
}

impl Profile {
    async fn load(&self) -> Result<Credentials, CredentialsError> {
        let provider = ProfileFileCredentialsProvider::builder()
            .configure(&self.providers)
            .profile_name(&self.name)
            .profile_files(environment::files::for_loader(&Variables::Process));
        let error = match provider.build().provide_credentials().await {
            Ok(credentials) => return Ok(credentials),
            Err(error) => error,
        };
        match &error {
            // What aws-config says where a profile holds nothing about credentials. A profile that is not there, and a
            // `source_profile` that is not there, come with a reason.
            _ if is_ended_login(&error)
                && let Some(profile) = sso_profile(&self.name).await =>
            {
                Err(CredentialsError::provider_error(login_needed(&profile)))
            }
            CredentialsError::CredentialsNotLoaded(_) if error.source().is_none() => Err(error),
            CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_) => {
                let problem = causes(&error, &[]);
                Err(CredentialsError::invalid_configuration(
                    Error::configuration(format!(
                        "the profile `{}` cannot be used: check it and what it refers to in {}",
                        shown_name(&self.name),
                        files()
                    ))
                    .with_detail("cause", problem)
                    .unrecoverable(),
                ))
            }
            _ => Err(error),
        }
    }
}

/// Whether a failure to load credentials is that of an SSO login that has expired, ended, or never was. aws-config has
/// no public types for it: what it says is all there is.
fn is_ended_login(error: &CredentialsError) -> bool {
    any_in_chain(error, |error| {
        let says = error.to_string();
        let is_missing = || {
            let beneath = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
            beneath.is_some_and(|beneath| beneath.kind() == std::io::ErrorKind::NotFound)
        };
        let ended = ["SSO token has expired", "cached SSO token", "UnauthorizedException", "Session token not found"];
        ended.iter().any(|text| says.contains(text)) || (says.starts_with("failed to read") && is_missing())
    })
}

/// The profile with the SSO login that a profile's credentials come from.
async fn sso_profile(name: &str) -> Option<String> {
    let profiles = load(name).await.ok()?;
    let mut next = name.to_owned();
    for _ in 0..16 {
        let profile = profiles.get_profile(&next)?;
        if profile.get("sso_session").is_some() || profile.get("sso_start_url").is_some() {
            return Some(next);
        }
        next = profile.get("source_profile")?.to_owned();
    }
    None
}

fn login_needed(profile: &str) -> Error {
    let profile = shown_name(profile);
    // The SDK takes no profile whose name would need quotes.
    let command = format!("aws sso login --profile {profile}");
    Error::configuration(format!("the SSO login of the profile `{profile}` has expired or is missing: run `{command}`"))
        .with_param("profile_name")
        .with_detail("profile", &profile)
        .with_detail("command", command)
        .unrecoverable()
}

impl ProvideCredentials for Profile {
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
pub(crate) struct NamedProfile {
    pub(crate) name: String,
    pub(crate) providers: ProviderConfig,
}

impl NamedProfile {
    async fn load(&self) -> Result<Credentials, CredentialsError> {
        let (name, providers) = (self.name.clone(), self.providers.clone());
        let machine = Machine::new(&name, &providers, false);
        CredentialsProviderChain::first_try("Profile", Profile { name, providers })
            .or_else("Machine", machine)
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

/// The SDK's default chain, with the environment's profile, or the default one, taken at its word.
pub(crate) fn unnamed(name: String, providers: &ProviderConfig) -> impl ProvideCredentials + 'static {
    let machine = Machine::new(&name, providers, true);
    CredentialsProviderChain::first_try("Environment", EnvironmentVariableCredentialsProvider::new())
        .or_else("Profile", Profile { name, providers: providers.clone() })
        .or_else("Machine", machine)
}

/// What is beyond profiles, built when credentials are first needed: building it reads the system's certificates.
#[derive(Debug)]
struct Machine {
    profile: String,
    providers: ProviderConfig,
    web_identity: bool,
    /// Kept: the instance's provider remembers what it was last given.
    chain: OnceCell<CredentialsProviderChain>,
}

impl Machine {
    fn new(profile: &str, providers: &ProviderConfig, web_identity: bool) -> Self {
        Self { profile: profile.to_owned(), providers: providers.clone(), web_identity, chain: OnceCell::new() }
    }

    async fn load(&self) -> Result<Credentials, CredentialsError> {
        let chain = self.chain.get_or_try_init(|| self.chain()).await;
        chain.map_err(CredentialsError::invalid_configuration)?.provide_credentials().await
    }

    async fn chain(&self) -> Result<CredentialsProviderChain, Error> {
        let profiles = load(&self.profile).await?;
        let reader = Reader { variables: &Variables::Process, profiles: &profiles, profile: &self.profile };
        let instance = machine::instance(&self.providers, &reader)?;
        let web_identity = if self.web_identity { machine::web_identity(&self.providers)? } else { None };
        Ok(match (web_identity, machine::container(&self.providers)?) {
            (None, None) => CredentialsProviderChain::first_try("Ec2InstanceMetadata", instance),
            (None, Some(container)) => {
                CredentialsProviderChain::first_try("EcsContainer", container).or_else("Ec2InstanceMetadata", instance)
            }
            (Some(web_identity), None) => CredentialsProviderChain::first_try("WebIdentityToken", web_identity)
                .or_else("Ec2InstanceMetadata", instance),
            (Some(web_identity), Some(container)) => {
                CredentialsProviderChain::first_try("WebIdentityToken", web_identity)
                    .or_else("EcsContainer", container)
                    .or_else("Ec2InstanceMetadata", instance)
            }
        })
    }
}

impl ProvideCredentials for Machine {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}
