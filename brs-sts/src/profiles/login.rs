//! Console logins (`aws login`): the AWS SDK reads and renews them, one process at a time.
//!
//! A renewal uses the login's refresh token up and writes the next one to the cache. Neither the SDK
//! nor botocore keeps two processes from using the same one, and the SDK's file is not replaced at
//! once; a second process would then see half a file, or be told that the login has expired. So who
//! loads a login holds a lock on a file beside the cache's. The system releases it when its holder
//! ends. Programs that do not use brs do not ask for it.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_config::login::LoginCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_signin::operation::create_o_auth2_token::CreateOAuth2TokenError;
use aws_sdk_signin::types::OAuth2ErrorCode;
use brs_core::kit::path::expanded;
use brs_core::kit::{find, with_cause};
use brs_core::{Blocking, Clock as _, Error, SystemClock};

use crate::environment::profiles::shown_name;
use crate::profiles::sso;

const FOLDER: &str = "AWS_LOGIN_CACHE_DIRECTORY";
const LOCK: &str = "brs.lock";
/// How often a lock that another process holds is tried again.
const PAUSE: Duration = Duration::from_millis(50);
/// A renewal is one call; a holder that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// The credentials of a console login, renewed if they end within five minutes.
pub(super) async fn credentials(
    arn: &str,
    config: &ProviderConfig,
) -> Result<Credentials, CredentialsError> {
    let _turn = turn(&folder())
        .await
        .map_err(CredentialsError::provider_error)?;
    // Built for each load, so that it reads what other processes have written.
    let login = LoginCredentialsProvider::builder(arn).configure(config);
    login.build().provide_credentials().await
}

/// What it means that AWS Sign-In did not renew a login; `None` for any other failure.
pub(super) fn not_renewed(profile: &str, error: &CredentialsError) -> Option<Error> {
    let refusal = find::<CreateOAuth2TokenError>(error)?;
    let why = match refusal {
        CreateOAuth2TokenError::AccessDeniedException(refusal) => Some(refusal.error()),
        CreateOAuth2TokenError::ValidationException(refusal) => Some(refusal.error()),
        _ => None,
    };
    let login = format!("the console login of the profile `{}`", shown_name(profile));
    let out = match (refusal, why) {
        (
            _,
            Some(
                OAuth2ErrorCode::TokenExpired
                | OAuth2ErrorCode::UserCredentialsChanged
                | OAuth2ErrorCode::AuthcodeExpired
                | OAuth2ErrorCode::OauthInvalidGrant,
            ),
        ) => sso::login_needed(profile, "console login", "aws login"),
        (_, Some(OAuth2ErrorCode::InsufficientPermissions)) => Error::request(format!(
            "AWS Sign-In may not renew {login}: its user or role needs `signin:CreateOAuth2Token`, which is in the \
             managed policy `SignInLocalDevelopmentAccess`"
        ))
        .unrecoverable(),
        (CreateOAuth2TokenError::TooManyRequestsError(_), _) => {
            Error::request(format!("AWS Sign-In is throttling the renewal of {login}")).throttled()
        }
        (CreateOAuth2TokenError::InternalServerException(_), _) => Error::request(format!(
            "AWS Sign-In failed to renew {login} with an error on its side"
        ))
        .retryable(),
        _ => Error::request(format!(
            "AWS Sign-In did not renew {login}: check the network and `AWS_ENDPOINT_URL_SIGNIN`; if that does not \
             help, run `aws login --profile {}`",
            shown_name(profile)
        )),
    };
    let out = match refusal.meta().code() {
        Some(code) => out.with_code(code),
        None => out,
    };
    Some(with_cause(out, error, &[]))
}

/// Where the SDK keeps logins.
fn folder() -> PathBuf {
    match std::env::var_os(FOLDER) {
        Some(folder) => folder.into(),
        None => expanded(Path::new("~/.aws/login/cache")).into_owned(),
    }
}

/// Waits until no other process renews; `None` where there is nothing to lock.
async fn turn(folder: &Path) -> Result<Option<File>, Error> {
    let (place, clock) = (Blocking::new(), SystemClock::new());
    let began = clock.monotonic();
    let mut is_told = false;
    loop {
        let path = folder.join(LOCK);
        match place.run(move || lock(&path)).await? {
            Ok(file) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if clock.monotonic() - began < PATIENCE => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::debug!("another process has the console login: waiting for it");
                }
                clock.sleep(PAUSE).await;
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Error::connection(format!(
                    "another process has been renewing the console login for {PATIENCE:?}: end the one that holds \
                     `{}`",
                    folder.join(LOCK).display()
                )));
            }
            // Without the folder there is no login either.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(TryLockError::Error(error)) => {
                tracing::warn!(
                    %error,
                    "the console login's cache cannot be locked: processes that renew it at the same time disturb \
                     each other"
                );
                return Ok(None);
            }
        }
    }
}

fn lock(path: &Path) -> Result<File, TryLockError> {
    let file = File::options().create(true).append(true).open(path);
    let file = file.map_err(TryLockError::Error)?;
    file.try_lock()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_one_has_the_turn() {
        let folder = tempfile::tempdir().unwrap();
        let first = turn(folder.path()).await.unwrap();
        assert!(first.is_some());
        let path = folder.path().join(LOCK);
        assert!(matches!(lock(&path), Err(TryLockError::WouldBlock)));
        let next = tokio::spawn({
            let folder = folder.path().to_owned();
            async move { turn(&folder).await }
        });
        drop(first);
        assert!(next.await.unwrap().unwrap().is_some());
    }

    #[tokio::test]
    async fn where_nothing_can_be_locked_the_sdk_is_asked_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        assert!(turn(&folder.path().join("absent")).await.unwrap().is_none());
        std::fs::create_dir(folder.path().join(LOCK)).unwrap();
        assert!(turn(folder.path()).await.unwrap().is_none());
    }
}
