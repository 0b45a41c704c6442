//! The base configuration: region, profile, HTTP client, base credentials.
//!
//! What only `aws-config` can do, for every method. Loading reads the environment and the profile
//! files and contacts nothing: the region chain ends at the profile instead of at instance
//! metadata, and credentials are looked for when they are first needed. A profile that the user
//! names is used for its credentials before anything else, as boto3 does; which credentials are
//! found is `found.rs`'s, the settings are `environment`'s.

use std::sync::Arc;

use async_trait::async_trait;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_credential_types::provider::error::TokenError;
use aws_credential_types::provider::future;
use aws_credential_types::provider::token::ProvideToken;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::origin::Origin;
use brs_core::kit::HTTP_CLIENT;
use brs_core::{
    BaseLoader, BaseRequest, CallerIdentity, Error, Fingerprint, RefreshStrategy,
    RegisteredBaseLoader, SystemClock,
};

use crate::environment::profiles::{self, NamedBy};
use crate::environment::settings::Settings;
use crate::environment::{self, Reader, Variables, checks, files};
use crate::methods::asker;
use crate::methods::found::Found;
use crate::methods::whoami;
use crate::request::client::StsClient;
use crate::sts::ca::Bundle;

brs_core::__private::inventory::submit! { RegisteredBaseLoader(&Loader) }

/// The base loader of builds that have `sts`.
struct Loader;

#[async_trait]
impl BaseLoader for Loader {
    async fn load(&self, request: BaseRequest) -> Result<SdkConfig, Error> {
        let variables = &Variables::Process;
        files::check(variables).await?;
        // aws-config would go on without a profile that is not there.
        let (profile, profiles) = match (&request.profile_name, environment::profile(variables)?) {
            (Some(name), _) => (name.clone(), profiles::check(name, NamedBy::User).await?),
            (None, Some((name, variable))) if name != profiles::DEFAULT => {
                let profiles = profiles::check(&name, NamedBy::Environment(variable)).await?;
                (name, profiles)
            }
            (None, _) => (
                profiles::DEFAULT.to_owned(),
                profiles::load(profiles::DEFAULT).await?,
            ),
        };
        let reader = Reader {
            variables,
            profiles: &profiles,
            profile: &profile,
        };
        let settings = Settings::read(&reader, &request)?;
        checks::clients(&reader)?;
        if request.credentials.is_none() {
            checks::providers(&reader)?;
        }
        let (http_client, origin) = match request.http_client {
            Some(client) => (Some(client), Origin::shared_config()),
            None => match Bundle::find(&reader)? {
                Some(bundle) => (
                    Some(bundle.http_client().await?),
                    Origin::shared_environment_variable(),
                ),
                None => (None, Origin::unknown()),
            },
        };

        let version = request
            .behavior_version
            .unwrap_or_else(BehaviorVersion::latest);
        let mut loader = settings
            .give(aws_config::defaults(version))
            .profile_name(&profile)
            .profile_files(files::for_loader(variables))
            // With no region, aws-config's own chains would ask instance metadata for one while
            // they are built.
            .no_credentials()
            .token_provider(NoToken);
        if let Some(url) = &request.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        if let Some(client) = http_client {
            loader = loader.http_client(client);
        }
        let config = settings.complete(loader.load().await);

        let credentials = request.credentials.unwrap_or_else(|| {
            let (base, clock) = (Arc::new(config.clone()), Arc::new(SystemClock::new()));
            SharedCredentialsProvider::new(Found::new(
                request.profile_name,
                base,
                &StsClient::new(),
                clock,
            ))
        });
        let mut config = config.into_builder();
        config.set_token_provider(None);
        config.insert_origin(HTTP_CLIENT, origin);
        Ok(config.credentials_provider(credentials).build())
    }

    async fn http_client(&self, config: &SdkConfig) -> Result<Option<SharedHttpClient>, Error> {
        match Bundle::of_base(config)? {
            Some(bundle) => bundle.http_client().await.map(Some),
            None => Ok(None),
        }
    }

    fn asker(&self, profile_name: Option<&str>) -> Option<Fingerprint> {
        asker::told(profile_name)
    }

    async fn caller_identity(
        &self,
        config: &SdkConfig,
        strategy: &dyn RefreshStrategy,
    ) -> Result<Option<CallerIdentity>, Error> {
        whoami::caller_identity(config, strategy).await
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
