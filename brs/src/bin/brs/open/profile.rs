//! The method `profile`: the credentials that a profile of `~/.aws/config` has, as they are.
//!
//! For profiles without a role: IAM Identity Center, console logins, `credential_process`, keys.
//! Roles of profiles are the method `sts`'s, which shares them between processes; these are not
//! shared, since their own tools keep them, and keys of a file may be replaced in it at any time.

use async_trait::async_trait;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use brs::{Error, RefreshContext, RefreshStrategy, Setup, TemporaryCredentials, register_method};

/// The method's name.
pub(super) const METHOD: &str = "profile";

/// The session's option `profile_name` is all that it takes.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Params {}

#[derive(Debug)]
struct OfProfile {
    provider: SharedCredentialsProvider,
}

#[async_trait]
impl RefreshStrategy for OfProfile {
    fn method(&self) -> &'static str {
        METHOD
    }

    fn source(&self) -> &'static str {
        METHOD
    }

    async fn refresh(&self, _: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        match self.provider.provide_credentials().await {
            Ok(credentials) => Ok((&credentials).into()),
            Err(error) => Err(match Error::find(&error) {
                Some(own) => own.clone(),
                None => {
                    Error::credential("the profile has no usable credentials").with_source(error)
                }
            }),
        }
    }
}

async fn build(_: Params, setup: Setup) -> Result<OfProfile, Error> {
    let none =
        || Error::configuration("no credentials were found: name a profile with `profile_name`");
    let provider = setup.base().credentials_provider().ok_or_else(none)?;
    Ok(OfProfile { provider })
}

register_method! {
    name: METHOD,
    summary: "the credentials that a profile of ~/.aws/config has: Identity Center, a login, a command, keys",
    params: Params,
    build: build,
}
