//! The base configuration: region, profile, base credentials; and who a set of credentials is.
//!
//! What only `aws-config` can do, for every method. Loading reads the environment and the profile files and contacts
//! nothing: the region chain ends at the profile instead of at instance metadata, and credentials are looked for when
//! they are first needed. A profile that the user names is used for its credentials before anything else, as boto3
//! does; the chains are `profiles.rs`'s.

use std::env::var;

use async_trait::async_trait;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_credential_types::provider::error::TokenError;
use aws_credential_types::provider::future;
use aws_credential_types::provider::token::ProvideToken;
use aws_types::region::Region;
use brs_core::{BaseLoader, BaseRequest, CallerIdentity, Error, RegisteredBaseLoader};

use crate::connect::connect_for_identity;
use crate::error::{Call, Operation, from_sdk};
use crate::observed::Observed;
use crate::profiles::{self, NamedBy, NamedProfile};

brs_core::__private::inventory::submit! { RegisteredBaseLoader(&Loader) }

/// The base loader of builds that have `sts`.
struct Loader;

#[async_trait]
impl BaseLoader for Loader {
    async fn load(&self, request: BaseRequest) -> Result<SdkConfig, Error> {
        // aws-config would go on without a profile that is not there.
        match (&request.profile_name, profiles::of_environment()) {
            (Some(name), _) => profiles::check(name, NamedBy::User).await?,
            (None, Some(name)) => profiles::check(&name, NamedBy::Environment).await?,
            (None, None) => {}
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

        let providers = profiles::provider_config(&config);
        let credentials = match (request.credentials, request.profile_name) {
            (Some(credentials), _) => credentials,
            (None, Some(name)) => SharedCredentialsProvider::new(NamedProfile { name, providers }),
            (None, None) => SharedCredentialsProvider::new(profiles::unnamed(&providers, region)),
        };
        let mut config = config.into_builder();
        config.set_token_provider(None);
        Ok(config.credentials_provider(credentials).build())
    }

    async fn caller_identity(&self, config: &SdkConfig) -> Result<CallerIdentity, Error> {
        let (client, place) = connect_for_identity(config)?;
        let observed = Observed::default();
        let call = client.get_caller_identity().customize().interceptor(observed.observer());
        let answer = call.send().await.map_err(|error| {
            let endpoint = observed.endpoint();
            let failed = from_sdk(
                &error,
                &Call {
                    operation: Operation::CallerIdentity,
                    place: endpoint.as_deref().unwrap_or(&place),
                    credentials: "the session's credentials",
                    fixed_credentials: false,
                    device: None,
                    difference: None,
                    hidden: &[],
                    sent: observed.sent(),
                },
            );
            failed.error
        })?;
        match (answer.account(), answer.arn(), answer.user_id()) {
            (Some(account), Some(arn), Some(user_id)) => Ok(CallerIdentity::new(account, arn, user_id)),
            _ => Err(Error::credential(
                "the answer of STS lacks account, ARN or user id: check what answers at the endpoint URL",
            )),
        }
    }
}

/// What was given, `AWS_REGION`, `AWS_DEFAULT_REGION`, the profile. Never instance metadata.
fn region_chain(request: &BaseRequest) -> RegionProviderChain {
    let mut profile = ProfileFileRegionProvider::builder();
    if let Some(name) = &request.profile_name {
        profile = profile.profile_name(name);
    }
    RegionProviderChain::first_try(request.region.clone().or_else(region_of_environment)).or_else(profile.build())
}

/// A variable that is empty counts as absent.
fn region_of_environment() -> Option<Region> {
    let names = ["AWS_REGION", "AWS_DEFAULT_REGION"];
    names.iter().find_map(|name| var(name).ok().filter(|region| !region.is_empty())).map(Region::new)
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
