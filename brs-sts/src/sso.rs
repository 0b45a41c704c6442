//! Credentials from IAM Identity Center: the login that `aws sso login` left, and one call with it.
//!
//! The AWS SDK reads the login and renews it; the call for the role's credentials is made here, since the SDK's own
//! provider for it takes neither an endpoint nor a service's configuration.

use std::io;

use aws_config::identity::IdentityCache;
use aws_config::sso::SsoTokenProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::token::ProvideToken;
use aws_smithy_types::DateTime;
use aws_types::SdkConfig;
use aws_types::region::Region;
use brs_core::Error;

use crate::profile_graph::SsoLogin;
use crate::profiles::shown_name;
use crate::shown::any_in_chain;

/// The credentials of the role that a profile names, with its login.
pub(crate) async fn credentials(
    profile: &str,
    login: &SsoLogin,
    config: &SdkConfig,
) -> Result<Credentials, CredentialsError> {
    match role_credentials(login, config).await {
        Err(error) if is_ended_login(&error) => {
            Err(CredentialsError::provider_error(login_needed(profile, "SSO login", "aws sso login")))
        }
        loaded => loaded,
    }
}

async fn role_credentials(login: &SsoLogin, config: &SdkConfig) -> Result<Credentials, CredentialsError> {
    let region = Region::new(login.region.clone());
    let tokens = SsoTokenProvider::builder()
        .configure(config)
        .region(region.clone())
        .start_url(&login.start_url)
        // The cache's file is named after the session, or after the start URL if the profile names no session.
        .session_name(login.session.as_ref().unwrap_or(&login.start_url));
    let token = tokens.build().await.provide_token().await.map_err(CredentialsError::provider_error)?;
    let config = aws_sdk_sso::config::Builder::from(config).region(region).identity_cache(IdentityCache::no_cache());
    let answer = aws_sdk_sso::Client::from_conf(config.build())
        .get_role_credentials()
        .account_id(&login.account_id)
        .role_name(&login.role_name)
        .access_token(token.token())
        .send()
        .await
        .map_err(CredentialsError::provider_error)?;
    let found = answer.role_credentials().and_then(|set| Some((set, set.access_key_id()?, set.secret_access_key()?)));
    let expiration = found.and_then(|(set, ..)| DateTime::from_millis(set.expiration()).try_into().ok());
    let (Some((set, id, secret)), Some(expiration)) = (found, expiration) else {
        return Err(CredentialsError::unhandled("the answer of SSO lacks a key or an expiration"));
    };
    let mut out = Credentials::builder()
        .access_key_id(id)
        .secret_access_key(secret)
        .account_id(login.account_id.as_str())
        .expiry(expiration)
        .provider_name("SSO");
    out.set_session_token(set.session_token().map(str::to_owned));
    Ok(out.build())
}

/// Whether a failure to load credentials is that of a login that has expired, was ended, or never was. aws-config has
/// no public types for it: what it says is all there is.
pub(crate) fn is_ended_login(error: &CredentialsError) -> bool {
    any_in_chain(error, |error| {
        let says = error.to_string();
        let is_missing = || {
            let beneath = error.source().and_then(|source| source.downcast_ref::<io::Error>());
            beneath.is_some_and(|beneath| beneath.kind() == io::ErrorKind::NotFound)
        };
        let ended = [
            "SSO token has expired",
            "cached SSO token",
            "UnauthorizedException",
            "Session token not found",
            "cached Login token is expired",
            "reauthenticate",
        ];
        ended.iter().any(|text| says.contains(text)) || (says.starts_with("failed to read") && is_missing())
    })
}

/// The error for a login that a person has to repeat.
pub(crate) fn login_needed(profile: &str, login: &str, command: &str) -> Error {
    let profile = shown_name(profile);
    // The SDK takes no profile whose name would need quotes.
    let command = format!("{command} --profile {profile}");
    Error::configuration(format!("the {login} of the profile `{profile}` has expired or is missing: run `{command}`"))
        .with_param("profile_name")
        .with_detail("profile", &profile)
        .with_detail("command", command)
        .unrecoverable()
}
