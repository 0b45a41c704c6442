//! Credentials from IAM Identity Center: the login that `aws sso login` left, and one call with it.
//!
//! The AWS SDK reads the login and renews it; the call for the role's credentials is made here,
//! since the SDK's own provider for it takes neither an endpoint nor a service's configuration.

use std::io;
use std::time::SystemTime;

use aws_config::identity::IdentityCache;
use aws_config::sso::SsoTokenProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::token::ProvideToken;
use aws_sdk_sso::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_sso::operation::get_role_credentials::GetRoleCredentialsError;
use aws_smithy_runtime_api::client::identity::http::Token;
use aws_smithy_types::DateTime;
use aws_types::SdkConfig;
use aws_types::region::Region;
use brs_core::Error;
use brs_core::kit::{any_in_chain, clean, find, with_cause};

use crate::environment::profiles::shown_name;
use crate::profiles::graph::SsoLogin;
use renewal::{Outcome, Renewal};

mod renewal;

/// The credentials of the role that a profile names, with its login.
pub(crate) async fn credentials(
    profile: &str,
    login: &SsoLogin,
    config: &SdkConfig,
) -> Result<Credentials, CredentialsError> {
    let renewal = Renewal::default();
    let loaded = match token(login, config, &renewal).await {
        Ok(token) => {
            let is_over = token.expiration().is_some_and(|at| at <= now(config));
            match renewal.outcome() {
                // The service would refuse it; that it cannot be renewed is no reason for a person
                // to act.
                Outcome::Outage | Outcome::Answered if is_over => Err(not_renewed(profile)),
                Outcome::Ended if is_over => {
                    Err(login_needed(profile, "SSO login", "aws sso login"))
                }
                outcome => match role_credentials(login, config, &token).await {
                    Err(error) if outcome == Outcome::Outage && is_ended_login(&error) => {
                        Err(not_renewed(profile))
                    }
                    Err(error) if is_ended_login(&error) => {
                        Err(login_needed(profile, "SSO login", "aws sso login"))
                    }
                    Err(error) => Err(of_portal(profile, login, &error)),
                    loaded => return loaded,
                },
            }
        }
        // A renewed login goes to its file first.
        Err(error) if renewal.outcome() == Outcome::Answered => Err(not_kept(profile, error)),
        Err(error) if is_unreadable(&error) => Err(unreadable(profile, &error)),
        Err(error) if is_ended_login(&error) => {
            Err(login_needed(profile, "SSO login", "aws sso login"))
        }
        Err(error) => return Err(error),
    };
    loaded.map_err(CredentialsError::provider_error)
}

/// The login's token, renewed by the SDK if it ends within five minutes.
async fn token(
    login: &SsoLogin,
    config: &SdkConfig,
    renewal: &Renewal,
) -> Result<Token, CredentialsError> {
    let mut builder = config.to_builder();
    builder.set_http_client(config.http_client().map(|client| renewal.watched(client)));
    let tokens = SsoTokenProvider::builder()
        .configure(&builder.build())
        .region(Region::new(login.region.clone()))
        .start_url(&login.start_url)
        // The cache's file is named after the session, or after the start URL if the profile names
        // no session.
        .session_name(login.session.as_ref().unwrap_or(&login.start_url));
    tokens
        .build()
        .await
        .provide_token()
        .await
        .map_err(CredentialsError::provider_error)
}

fn now(config: &SdkConfig) -> SystemTime {
    config.time_source().unwrap_or_default().now()
}

async fn role_credentials(
    login: &SsoLogin,
    config: &SdkConfig,
    token: &Token,
) -> Result<Credentials, CredentialsError> {
    let region = Region::new(login.region.clone());
    let config = aws_sdk_sso::config::Builder::from(config)
        .region(region)
        .identity_cache(IdentityCache::no_cache());
    let answer = aws_sdk_sso::Client::from_conf(config.build())
        .get_role_credentials()
        .account_id(&login.account_id)
        .role_name(&login.role_name)
        .access_token(token.token())
        .send()
        .await
        .map_err(CredentialsError::provider_error)?;
    let found = answer
        .role_credentials()
        .and_then(|set| Some((set, set.access_key_id()?, set.secret_access_key()?)));
    let expiration =
        found.and_then(|(set, ..)| DateTime::from_millis(set.expiration()).try_into().ok());
    let (Some((set, id, secret)), Some(expiration)) = (found, expiration) else {
        return Err(CredentialsError::unhandled(
            "the answer of SSO lacks a key or an expiration",
        ));
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

/// The error of the portal for a login that it takes.
fn of_portal(profile: &str, login: &SsoLogin, error: &CredentialsError) -> Error {
    let (profile, role) = (shown_name(profile), shown_name(&login.role_name));
    let account = shown_name(&login.account_id);
    let asked = format!("role `{role}` in account `{account}` for the profile `{profile}`");
    let out = match find::<SdkError<GetRoleCredentialsError>>(error) {
        Some(SdkError::ServiceError(refusal)) => {
            let status = refusal.raw().status().as_u16();
            let out = match status {
                429 => Error::request(format!(
                    "IAM Identity Center throttles requests for {asked}"
                ))
                .throttled(),
                500.. => Error::request(format!(
                    "IAM Identity Center failed with an error on its side ({status}) for {asked}"
                ))
                .retryable(),
                _ => Error::request(format!(
                    "IAM Identity Center gives no credentials of {asked}: check `sso_role_name`, \
                     `sso_account_id` and `sso_region`, and that the user has that assignment"
                ))
                .unrecoverable(),
            };
            let out = out.with_status(status);
            match refusal.err().code() {
                Some(code) => out.with_code(clean(code, &[])),
                None => out,
            }
        }
        Some(SdkError::TimeoutError(_) | SdkError::DispatchFailure(_)) => {
            Error::connection(format!(
                "IAM Identity Center was not reached for {asked}: check network, proxy and `sso_region`"
            ))
        }
        _ => Error::credential(format!(
            "the answer of IAM Identity Center for {asked} cannot be used"
        )),
    };
    with_cause(out.with_detail("profile", profile), error, &[])
}

/// Whether the login's file is there and could not be read. aws-config says only in `Debug` why.
fn is_unreadable(error: &CredentialsError) -> bool {
    let said = format!("{error:?}");
    said.contains("NoHomeDirectory") || (said.contains("IoError") && !said.contains("NotFound"))
}

fn unreadable(profile: &str, error: &CredentialsError) -> Error {
    let profile = shown_name(profile);
    let out = Error::configuration(format!(
        "the SSO login of the profile `{profile}` cannot be read from `.aws/sso/cache` in the home \
         directory: check that this process may read that file, and `HOME`"
    ));
    with_cause(out.with_detail("profile", profile), error, &[])
}

/// Whether a failure to load credentials is that of a login that has expired, was ended, or never
/// was. aws-config has no public types for it: what it says is all there is.
pub(crate) fn is_ended_login(error: &CredentialsError) -> bool {
    any_in_chain(error, |error| {
        let says = error.to_string();
        let is_missing = || {
            let beneath = error
                .source()
                .and_then(|source| source.downcast_ref::<io::Error>());
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
        ended.iter().any(|text| says.contains(text))
            || (says.starts_with("failed to read") && is_missing())
    })
}

/// The error for a login that a person has to repeat.
pub(crate) fn login_needed(profile: &str, login: &str, command: &str) -> Error {
    let profile = shown_name(profile);
    // The SDK takes no profile whose name would need quotes.
    let command = format!("{command} --profile {profile}");
    Error::configuration(format!(
        "the {login} of the profile `{profile}` has expired or is missing: run `{command}`"
    ))
    .with_param("profile_name")
    .with_detail("profile", &profile)
    .with_detail("command", command)
    .unrecoverable()
}

/// The error for a login that is good, but whose token could not be renewed.
fn not_renewed(profile: &str) -> Error {
    let profile = shown_name(profile);
    let problem = format!(
        "the token service of IAM Identity Center did not renew the SSO login of the profile `{profile}`"
    );
    Error::connection(format!(
        "{problem}: the login has not expired, so this is retried"
    ))
    .with_detail("profile", profile)
    .retryable()
}

/// The error for a login that was renewed and could not be kept.
fn not_kept(profile: &str, error: CredentialsError) -> Error {
    let profile = shown_name(profile);
    Error::credential(format!(
        "the SSO login of the profile `{profile}` was renewed, but the new token could not be used or written to \
         `.aws/sso/cache` in the home directory: check that this process can write there"
    ))
    .with_detail("profile", profile)
    .with_source(error)
}
