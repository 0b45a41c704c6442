//! The device authorization: registering, getting a code, and asking until a person has entered it.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_ssooidc::Client;
use aws_sdk_ssooidc::config::retry::RetryConfig;
use aws_sdk_ssooidc::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ssooidc::operation::create_token::{CreateTokenError, CreateTokenOutput};
use brs::kit::{causes, clean};
use brs::{Clock as _, SystemClock};
use zeroize::Zeroizing;

use super::SsoSession;
use crate::exit::Failure;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// The pause between two questions if the service names none, and what `slow_down` adds to it (RFC
/// 8628, sections 3.2 and 3.5).
const INTERVAL: Duration = Duration::from_secs(5);

/// The longest pause after failures of the way to the service.
const LONGEST: Duration = Duration::from_secs(60);

/// How long one question may take.
const QUESTION: Duration = Duration::from_secs(30);

/// A registered client.
pub(super) struct Device {
    client: Client,
    id: String,
    secret: Zeroizing<String>,
    expires_at: SystemTime,
}

/// What a person is asked for.
#[derive(Debug)]
pub(super) struct Authorization {
    device_code: Zeroizing<String>,
    pub(super) user_code: String,
    /// Where the code is entered.
    pub(super) page: String,
    /// The same with the code filled in.
    pub(super) page_with_code: String,
    interval: Duration,
    expires_at: SystemTime,
    lifetime: Duration,
}

/// A login.
pub(super) struct Token {
    pub(super) access_token: Zeroizing<String>,
    pub(super) expires_at: SystemTime,
    pub(super) client_id: String,
    pub(super) client_secret: Zeroizing<String>,
    pub(super) registration_expires_at: SystemTime,
    pub(super) refresh_token: Option<Zeroizing<String>>,
}

impl Device {
    pub(super) async fn register(client: &Client, session: &SsoSession) -> Result<Self, Failure> {
        let answer = client
            .register_client()
            .client_name(format!("brs-{}", session.name))
            .client_type("public")
            .set_scopes(Some(session.scopes.clone()).filter(|scopes| !scopes.is_empty()))
            .send()
            .await
            .map_err(|error| failure(session, &error))?;
        let (Some(id), Some(secret)) = (answer.client_id, answer.client_secret) else {
            return Err(incomplete());
        };
        let expires_at = u64::try_from(answer.client_secret_expires_at).unwrap_or_default();
        Ok(Self {
            client: client.clone(),
            id,
            secret: Zeroizing::new(secret),
            expires_at: UNIX_EPOCH + Duration::from_secs(expires_at),
        })
    }

    pub(super) async fn authorize(&self, session: &SsoSession) -> Result<Authorization, Failure> {
        let answer = self
            .client
            .start_device_authorization()
            .client_id(&self.id)
            .client_secret(self.secret.as_str())
            .start_url(&session.start_url)
            .send()
            .await
            .map_err(|error| failure(session, &error))?;
        let (Some(device_code), Some(user_code), Some(page)) = (
            answer.device_code,
            answer.user_code,
            answer.verification_uri,
        ) else {
            return Err(incomplete());
        };
        let lifetime = seconds(answer.expires_in);
        let page = clean(&page, &[]);
        Ok(Authorization {
            device_code: Zeroizing::new(device_code),
            user_code: clean(&user_code, &[]),
            page_with_code: answer
                .verification_uri_complete
                .map_or_else(|| page.clone(), |page| clean(&page, &[])),
            page,
            // 0: it named none.
            interval: Some(seconds(answer.interval))
                .filter(|interval| !interval.is_zero())
                .unwrap_or(INTERVAL),
            expires_at: SystemClock::new().now() + lifetime,
            lifetime,
        })
    }

    /// Asks until a person has entered the code, has refused, or the code has expired.
    pub(super) async fn token(&self, authorization: &Authorization) -> Result<Token, Failure> {
        let clock = SystemClock::new();
        let mut interval = authorization.interval;
        loop {
            clock.sleep(interval).await;
            let error = match self.ask(authorization).await {
                Ok(answer) => return self.keep(answer, clock.now()),
                Err(error) => error,
            };
            let refusal = error.as_ref().and_then(SdkError::as_service_error);
            match refusal {
                Some(CreateTokenError::AuthorizationPendingException(_)) => {}
                Some(CreateTokenError::SlowDownException(_)) => interval += INTERVAL,
                Some(CreateTokenError::ExpiredTokenException(_)) => {
                    return Err(authorization.expired());
                }
                Some(CreateTokenError::AccessDeniedException(_)) => {
                    return Err(Failure::person(
                        "the login was refused on its page: run the command again, and allow it",
                    ));
                }
                Some(refusal) if is_final(refusal) => {
                    return Err(Failure::Machine(format!(
                        "IAM Identity Center gives no login: {}",
                        described(refusal)
                    )));
                }
                // Its own trouble, or a page of something on the way.
                _ => {
                    interval = (interval * 2).min(LONGEST);
                    let cause = error
                        .as_ref()
                        .map_or_else(|| "no answer".to_owned(), |error| causes(error, &[]));
                    tracing::warn!(
                        "IAM Identity Center did not answer, and is asked again in {interval:?}: {cause}"
                    );
                }
            }
            if clock.now() >= authorization.expires_at {
                return Err(authorization.expired());
            }
        }
    }

    /// One question; `None`: no answer in time.
    async fn ask(
        &self,
        authorization: &Authorization,
    ) -> Result<CreateTokenOutput, Option<SdkError<CreateTokenError>>> {
        let question = self
            .client
            .create_token()
            .client_id(&self.id)
            .client_secret(self.secret.as_str())
            .grant_type(GRANT)
            .device_code(authorization.device_code.as_str())
            .customize()
            // The pauses are this protocol's.
            .config_override(
                aws_sdk_ssooidc::Config::builder().retry_config(RetryConfig::disabled()),
            )
            .send();
        tokio::select! {
            answer = question => answer.map_err(Some),
            () = SystemClock::new().sleep(QUESTION) => Err(None),
        }
    }

    fn keep(&self, answer: CreateTokenOutput, now: SystemTime) -> Result<Token, Failure> {
        let Some(access_token) = answer.access_token else {
            return Err(incomplete());
        };
        Ok(Token {
            access_token: Zeroizing::new(access_token),
            expires_at: now + seconds(answer.expires_in),
            client_id: self.id.clone(),
            client_secret: self.secret.clone(),
            registration_expires_at: self.expires_at,
            refresh_token: answer.refresh_token.map(Zeroizing::new),
        })
    }
}

impl Authorization {
    fn expired(&self) -> Failure {
        Failure::person(format!(
            "the code was not entered within {} s: run the command again",
            self.lifetime.as_secs()
        ))
    }
}

/// Whether asking again would be answered in the same way.
fn is_final(refusal: &CreateTokenError) -> bool {
    refusal.is_invalid_client_exception()
        || refusal.is_invalid_grant_exception()
        || refusal.is_invalid_request_exception()
        || refusal.is_invalid_scope_exception()
        || refusal.is_unauthorized_client_exception()
        || refusal.is_unsupported_grant_type_exception()
}

fn seconds(number: i32) -> Duration {
    Duration::from_secs(u64::try_from(number).unwrap_or_default())
}

/// The failure of a request before a person is asked.
fn failure<E>(session: &SsoSession, error: &SdkError<E>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let section = format!("[sso-session {}]", session.name);
    let status = error.raw_response().map(|answer| answer.status().as_u16());
    match (error.as_service_error(), status) {
        (Some(refusal), Some(400..=401)) if refusal.code().is_some() => Failure::Usage(format!(
            "IAM Identity Center refuses `{section}`: {}; check `sso_start_url`, `sso_region` and \
             `sso_registration_scopes`",
            described(refusal)
        )),
        (Some(_), Some(status)) => Failure::Machine(format!(
            "IAM Identity Center, or something on the way to it, failed (status {status}): try again later"
        )),
        _ => Failure::Machine(format!(
            "IAM Identity Center was not reached: {}; check network, proxy, and `sso_region` of `{section}`",
            causes(error, &[])
        )),
    }
}

/// Code and message, as the service put them.
fn described(refusal: &(impl ProvideErrorMetadata + fmt::Display)) -> String {
    let code = refusal
        .code()
        .map(|code| clean(code, &[]))
        .unwrap_or_default();
    match refusal.message() {
        Some(message) if !message.is_empty() => format!("{code} ({})", clean(message, &[])),
        _ => code,
    }
}

fn incomplete() -> Failure {
    Failure::Machine("the answer of IAM Identity Center lacks a part of it: try again".to_owned())
}
