//! The base credentials that the program did not give: those of a profile, of the environment, of this machine.
//!
//! The order is the AWS SDK's, but for a profile that the user names: it takes precedence over the
//! environment, as in boto3, and has to work. The SDK would go on to the container's and the
//! instance's credentials if a profile is missing or broken, and the program would run as somebody
//! else. Only a profile that says nothing about credentials is passed over.
//!
//! Methods of STS put the roles of a profile beneath themselves, see `role_profile.rs`. For any
//! other method a [`Found`] is a plain provider, which assumes them with sessions of its own when
//! credentials are first needed.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::profile::ProfileSet;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_types::SdkConfig;
use brs_core::kit::PerProcess;
use brs_core::{Clock, Error, RefreshableSession, Setup};

use crate::environment::Variables;
use crate::environment::profiles;
use crate::methods::role_profile::Hops;
use crate::profiles::graph::{self, Base, Chain, WebIdentity};
use crate::profiles::leaf::{LeafProvider, Leaves};
use crate::request::client::StsClient;

/// A provider of the base credentials that are found.
pub(crate) struct Found {
    /// The profile that the user named.
    name: Option<String>,
    base: Arc<SdkConfig>,
    settings: StsClient,
    clock: Arc<dyn Clock>,
    leaves: Arc<Leaves>,
    /// The session of the profile's role, as long as the files say the same.
    session: PerProcess<Mutex<Option<(Chain, RefreshableSession)>>>,
}

impl Found {
    /// `settings` are those of the STS client that roles are assumed with, validated.
    pub(crate) fn new(
        name: Option<String>,
        base: Arc<SdkConfig>,
        settings: &StsClient,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let settings = settings.without_credentials();
        let leaves = Leaves::new(name.clone(), Arc::clone(&base), settings.clone());
        Self {
            name,
            base,
            settings,
            clock,
            leaves,
            session: PerProcess::new(),
        }
    }

    async fn load(&self) -> Result<Credentials, CredentialsError> {
        if self.name.is_none()
            && let Some(found) = of_environment().await
        {
            return found;
        }
        match self
            .chain()
            .await
            .map_err(CredentialsError::invalid_configuration)?
        {
            Some(Chain {
                roles,
                base: Base::Leaf(owner),
            }) if roles.is_empty() => {
                let leaf = LeafProvider {
                    owner,
                    leaves: Arc::clone(&self.leaves),
                };
                leaf.provide_credentials().await
            }
            Some(chain) => {
                let session = self
                    .session(chain)
                    .await
                    .map_err(CredentialsError::invalid_configuration)?;
                session.credentials_provider().provide_credentials().await
            }
            None => self.leaves.of_machine().await,
        }
    }

    async fn chain(&self) -> Result<Option<Chain>, Error> {
        let name = self.name.clone().unwrap_or_else(profiles::default_name);
        chain(&profiles::load(&name).await?, &name, self.name.is_some())
    }

    async fn session(&self, chain: Chain) -> Result<RefreshableSession, Error> {
        let kept = self.session.get();
        let kept = || kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, session)) = &*kept()
            && *of == chain
        {
            return Ok(session.clone());
        }
        let setup = Setup::of_base(Arc::clone(&self.base), Arc::clone(&self.clock));
        let hops = Hops::with_leaves(setup, self.settings.clone(), Arc::clone(&self.leaves));
        // Two that are built at once do no harm: one of them is kept.
        let session = hops.session(&chain.roles, &chain.base).await?;
        *kept() = Some((chain, session.clone()));
        Ok(session)
    }
}

impl ProvideCredentials for Found {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What the credentials of a profile are, or, unless the user named it, those of the environment's
/// web identity.
pub(crate) fn chain(
    profiles: &ProfileSet,
    name: &str,
    is_named: bool,
) -> Result<Option<Chain>, Error> {
    let chain = graph::resolve(profiles, name)?;
    if chain.is_some() || is_named {
        return Ok(chain);
    }
    let web_identity = web_identity_of_environment()?;
    Ok(web_identity.map(|web_identity| Chain {
        roles: Vec::new(),
        base: Base::WebIdentity(web_identity),
    }))
}

/// The keys of the environment; `None` if there are none.
pub(crate) async fn of_environment() -> Option<Result<Credentials, CredentialsError>> {
    match EnvironmentVariableCredentialsProvider::new()
        .provide_credentials()
        .await
    {
        Err(CredentialsError::CredentialsNotLoaded(_)) => None,
        found => Some(found),
    }
}

/// As EKS sets it.
fn web_identity_of_environment() -> Result<Option<WebIdentity>, Error> {
    let variables = &Variables::Process;
    let (token_file, role_arn) = (
        variables.get("AWS_WEB_IDENTITY_TOKEN_FILE")?,
        variables.get("AWS_ROLE_ARN")?,
    );
    let (Some(token_file), Some(role_arn)) = (token_file, role_arn) else {
        return Ok(None);
    };
    let role_session_name = variables.get("AWS_ROLE_SESSION_NAME")?;
    Ok(Some(WebIdentity {
        profile: None,
        role_arn,
        token_file: token_file.into(),
        role_session_name,
        duration: None,
    }))
}
