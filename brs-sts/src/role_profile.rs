//! Profiles with a `role_arn`: what `aws-config` does not read of them, and the sessions that makes necessary.
//!
//! `aws-config` assumes a profile's role by itself, and so it does here wherever it can. It knows neither `mfa_serial`
//! nor `duration_seconds`, though, and assumes the role anew at each call. So there are two cases that are ours:
//!
//! - The session has no role of its own: the profile's is the one. Its request is completed from the profile, and the
//!   base credentials are those of the profile's source.
//! - The session has one, and somewhere beneath it a profile wants an MFA code or a duration: that profile becomes a
//!   session of its own beneath, with an engine, so that its code is asked for once in its lifetime.
//!
//! A provider of MFA codes that the session was given is that of every profile with an `mfa_serial`.

use std::pin::Pin;
use std::time::Duration;

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::profile::ProfileSet;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use brs_core::{BaseCredentials, Error, RefreshableSession, Setup};

use crate::client::StsClient;
use crate::mfa::MfaTokenProvider;
use crate::params::{AssumeRole, Params};
use crate::profiles::{self, Profile};
use crate::strategy::{Sts, build_on};

/// How many profiles may stand on each other.
const MAX_HOPS: usize = 16;

/// What a profile says about its role, by the names in the file.
#[derive(Debug, Default)]
struct RoleProfile {
    role_arn: String,
    source_profile: Option<String>,
    credential_source: Option<String>,
    mfa_serial: Option<String>,
    duration: Option<Duration>,
    external_id: Option<String>,
    role_session_name: Option<String>,
}

impl RoleProfile {
    /// Reads a profile; `None` where it has no role, or one that a web identity assumes.
    fn read(profiles: &ProfileSet, name: &str) -> Result<Option<Self>, Error> {
        let Some(profile) = profiles.get_profile(name) else { return Ok(None) };
        let get = |key: &str| profile.get(key).filter(|value| !value.is_empty()).map(str::to_owned);
        let Some(role_arn) = get("role_arn").filter(|_| get("web_identity_token_file").is_none()) else {
            return Ok(None);
        };
        let duration = match get("duration_seconds").map(|text| text.parse().map(Duration::from_secs)) {
            None => None,
            Some(Ok(duration)) => Some(duration),
            Some(Err(_)) => return Err(wrong(name, "its `duration_seconds` is not a whole number of seconds")),
        };
        Ok(Some(Self {
            role_arn,
            source_profile: get("source_profile"),
            credential_source: get("credential_source"),
            mfa_serial: get("mfa_serial"),
            duration,
            external_id: get("external_id"),
            role_session_name: get("role_session_name"),
        }))
    }

    /// Fills in what the request leaves open.
    fn complete(&self, request: &mut AssumeRole) {
        request.role_arn = Some(self.role_arn.clone());
        request.role_session_name = request.role_session_name.take().or_else(|| self.role_session_name.clone());
        request.external_id = request.external_id.take().or_else(|| self.external_id.clone());
        request.serial_number = request.serial_number.take().or_else(|| self.mfa_serial.clone());
        request.duration = request.duration.or(self.duration);
    }
}

/// Completes parameters and set-up from the profile that the session stands on, where it stands on one.
///
/// The flag says whether the provider of MFA codes has gone to a profile beneath.
pub(crate) async fn complete(mut params: Params, setup: Setup) -> Result<(Params, Setup, bool), Error> {
    let from_profile = matches!(setup.base_credentials(), BaseCredentials::Found) && !params.client.has_credentials();
    let Some(name) = profile_name(&setup).filter(|_| from_profile) else { return Ok((params, setup, false)) };
    let profiles = profiles::load(&name).await?;
    let Some(profile) = RoleProfile::read(&profiles, &name)? else { return Ok((params, setup, false)) };
    let hops = Hops {
        profiles,
        setup,
        provider: params.mfa_token_provider.clone(),
        client: params.client.without_credentials(),
    };
    if params.assume_role.role_arn.is_none() {
        profile.complete(&mut params.assume_role);
        let beneath = profile.source_profile.as_ref().is_some_and(|source| *source != name);
        let has_code = match (&profile.source_profile, beneath) {
            (Some(source), true) => hops.wants_code(source, 1)?,
            _ => false,
        };
        let setup = hops.on_source(&name, &profile, 0).await?;
        return Ok((params, setup, has_code));
    }
    if !hops.is_ours(&name, 0)? {
        return Ok((params, hops.setup, false));
    }
    let has_code = hops.wants_code(&name, 0)?;
    let session = hops.session(&name, 0).await?;
    Ok((params, hops.setup.on_session(&session), has_code))
}

/// The profile that base credentials come from, unless the environment's go before it.
fn profile_name(setup: &Setup) -> Option<String> {
    match setup.profile_name() {
        Some(name) => Some(name.to_owned()),
        None if std::env::var_os("AWS_ACCESS_KEY_ID").is_some_and(|key| !key.is_empty()) => None,
        None => Some(profiles::of_environment().unwrap_or_else(|| profiles::DEFAULT.to_owned())),
    }
}

struct Hops {
    profiles: ProfileSet,
    setup: Setup,
    provider: Option<MfaTokenProvider>,
    /// How STS is reached, the same for each hop.
    client: StsClient,
}

impl Hops {
    /// Whether this profile, or one it stands on, says something that `aws-config` does not read.
    fn is_ours(&self, name: &str, depth: usize) -> Result<bool, Error> {
        self.any(name, depth, &|profile| profile.mfa_serial.is_some() || profile.duration.is_some())
    }

    fn wants_code(&self, name: &str, depth: usize) -> Result<bool, Error> {
        self.any(name, depth, &|profile| profile.mfa_serial.is_some())
    }

    fn any(&self, name: &str, depth: usize, test: &dyn Fn(&RoleProfile) -> bool) -> Result<bool, Error> {
        check_depth(name, depth)?;
        if depth > 0 && self.has_keys(name) {
            return Ok(false);
        }
        let Some(profile) = RoleProfile::read(&self.profiles, name)? else { return Ok(false) };
        if test(&profile) {
            return Ok(true);
        }
        match &profile.source_profile {
            Some(source) if source != name => self.any(source, depth + 1, test),
            _ => Ok(false),
        }
    }

    /// Whether a profile has keys. As in `aws-config` and botocore, a *source* that has some is used for them, whatever
    /// role it names; only the first profile's role goes before its keys.
    fn has_keys(&self, name: &str) -> bool {
        let profile = self.profiles.get_profile(name);
        let has = |key: &str| profile.and_then(|profile| profile.get(key)).is_some_and(|value| !value.is_empty());
        has("aws_access_key_id") || has("aws_secret_access_key")
    }

    /// A session of the profile's role.
    fn session<'a>(&'a self, name: &'a str, depth: usize) -> Pin<Box<dyn Future<Output = Built> + Send + 'a>> {
        Box::pin(async move {
            check_depth(name, depth)?;
            let profile = RoleProfile::read(&self.profiles, name)?
                .ok_or_else(|| wrong(name, "it has no `role_arn`, though it had one a moment ago"))?;
            let mut request = AssumeRole::of_profile();
            profile.complete(&mut request);
            let mut params = Params::assume_role(request).client(self.client.clone());
            if profile.mfa_serial.is_some() {
                let provider = self.provider.clone().ok_or_else(|| {
                    wrong(name, "its `mfa_serial` asks for a code: give the session an `mfa_token_provider`")
                })?;
                params = params.mfa_token_provider(provider);
            }
            params.validate()?;
            let setup = self.on_source(name, &profile, depth).await?;
            let (base, clock) = (setup.base().clone(), setup.clock().clone());
            let strategy: Sts = build_on(params, setup).await?;
            RefreshableSession::with_strategy(std::sync::Arc::new(strategy)).base(base).clock(clock).build().await
        })
    }

    /// The set-up with the credentials that the profile's role is assumed with.
    async fn on_source(&self, name: &str, profile: &RoleProfile, depth: usize) -> Result<Setup, Error> {
        let providers = profiles::provider_config(self.setup.base());
        let provider = match (&profile.source_profile, profile.credential_source.as_deref()) {
            (Some(_), Some(_)) => return Err(wrong(name, "it has both `source_profile` and `credential_source`")),
            (Some(source), None) if source == name => SharedCredentialsProvider::new(OwnKeys { name: name.to_owned() }),
            (Some(source), None) if self.has_keys(source) => {
                let provider = OwnKeys { name: source.clone() };
                return Ok(self.setup.clone().on_profile(source.clone(), provider));
            }
            (Some(source), None) if self.is_ours(source, depth + 1)? => {
                let session = self.session(source, depth + 1).await?;
                return Ok(self.setup.clone().on_session(&session));
            }
            (Some(source), None) => {
                if self.profiles.get_profile(source).is_none() {
                    return Err(wrong(name, &format!("there is no profile `{}`, its `source_profile`", shown(source))));
                }
                let provider = Profile { name: source.clone(), providers };
                return Ok(self.setup.clone().on_profile(source.clone(), provider));
            }
            (None, Some(source)) => of_source(source, &providers).ok_or_else(|| {
                wrong(name, "its `credential_source` is none of `Environment`, `Ec2InstanceMetadata`, `EcsContainer`")
            })?,
            (None, None) => {
                return Err(wrong(
                    name,
                    "its role needs a `source_profile` or a `credential_source` to be assumed with",
                ));
            }
        };
        Ok(self.setup.clone().on_profile(name.to_owned(), provider))
    }
}

type Built = Result<RefreshableSession, Error>;

fn of_source(source: &str, providers: &ProviderConfig) -> Option<SharedCredentialsProvider> {
    Some(match source {
        "Environment" => SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()),
        "Ec2InstanceMetadata" => {
            SharedCredentialsProvider::new(ImdsCredentialsProvider::builder().configure(providers).build())
        }
        "EcsContainer" => {
            SharedCredentialsProvider::new(EcsCredentialsProvider::builder().configure(providers).build())
        }
        _ => return None,
    })
}

/// The keys in a profile that is a source.
#[derive(Debug)]
struct OwnKeys {
    name: String,
}

impl OwnKeys {
    async fn load(&self) -> Result<Credentials, CredentialsError> {
        let profiles = profiles::load(&self.name).await.map_err(CredentialsError::invalid_configuration)?;
        let get = |key: &str| profiles.get_profile(&self.name)?.get(key).filter(|value| !value.is_empty());
        match (get("aws_access_key_id"), get("aws_secret_access_key")) {
            (Some(id), Some(secret)) => {
                let token = get("aws_session_token").map(str::to_owned);
                Ok(Credentials::new(id, secret, token, None, "ProfileFile"))
            }
            _ => Err(CredentialsError::invalid_configuration(wrong(
                &self.name,
                "it is a `source_profile` with keys, and lacks `aws_access_key_id` or `aws_secret_access_key`",
            ))),
        }
    }
}

impl ProvideCredentials for OwnKeys {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}

fn check_depth(name: &str, depth: usize) -> Result<(), Error> {
    if depth < MAX_HOPS { Ok(()) } else { Err(wrong(name, "profiles refer to each other in a loop")) }
}

fn wrong(name: &str, problem: &str) -> Error {
    Error::configuration(format!(
        "the profile `{}` cannot be used: {problem}; check {}",
        shown(name),
        profiles::files()
    ))
    .with_param("profile_name")
    .unrecoverable()
}

fn shown(name: &str) -> String {
    profiles::shown_name(name)
}
