//! One refresh: a call to STS, and the second one where the first could not succeed through no
//! fault of the user's.
//!
//! Owns what all methods of this crate share: the time limit, the MFA code, reading the answer, and
//! when a call is made again within a refresh:
//!
//! - AWS refused the MFA code: once more with the device's next one, since another process may have
//!   used it. Trouble at STS or on the way to it, likewise: a code that may have arrived is not
//!   sent a second time, so the SDK's own retries are off for calls with a code.
//! - The base credentials have expired, and they come from a session or a provider: once more with
//!   new ones.
//! - The signature was refused because of this machine's clock, and the SDK, which knows better
//!   now, could not sign once more, a code being in the call or retries being the engine's: once
//!   more, with a code of the corrected time.
//!
//! Everything lives in the future, so dropping one leaves nothing behind but the memory of the code
//! that was sent.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_sts::config::{Builder, Intercept};
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role::builders::AssumeRoleFluentBuilder;
use aws_sdk_sts::operation::assume_role_with_saml::AssumeRoleWithSAMLError;
use aws_sdk_sts::operation::assume_role_with_saml::builders::AssumeRoleWithSAMLFluentBuilder;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use aws_sdk_sts::operation::assume_role_with_web_identity::builders::AssumeRoleWithWebIdentityFluentBuilder;
use aws_sdk_sts::operation::assume_root::AssumeRootError;
use aws_sdk_sts::operation::assume_root::builders::AssumeRootFluentBuilder;
use aws_sdk_sts::operation::get_session_token::GetSessionTokenError;
use aws_sdk_sts::operation::get_session_token::builders::GetSessionTokenFluentBuilder;
use aws_sdk_sts::types::{AssumedRoleUser, Credentials};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::retry::RetryConfig;
use brs_core::kit::is_account_id;
use brs_core::{BaseCredentials, Error, RefreshContext, TemporaryCredentials};

use crate::clock::{Difference, TOLERATED};
use crate::environment::origins::Origins;
use crate::mfa::device::{Device, Reason, Taken};
use crate::sts::connect::Connection;
use crate::sts::error::{Call, Class, Failed, Operation, from_provider, from_sdk};
use crate::sts::observed::Observed;

/// What STS answered, whatever the operation.
#[derive(Debug)]
pub(crate) struct Answer {
    credentials: Option<Credentials>,
    assumed: Option<AssumedRoleUser>,
}

/// One of STS's operations, ready to be sent.
pub(crate) trait Request {
    type Error: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static;

    fn send_with(
        self,
        settings: Builder,
        observer: impl Intercept + 'static,
    ) -> impl Future<Output = Result<Answer, SdkError<Self::Error, HttpResponse>>> + Send;
}

macro_rules! request {
    ($builder:ty, $error:ty, |$answer:ident| $assumed:expr) => {
        impl Request for $builder {
            type Error = $error;

            async fn send_with(
                self,
                settings: Builder,
                observer: impl Intercept + 'static,
            ) -> Result<Answer, SdkError<Self::Error, HttpResponse>> {
                let $answer = self
                    .customize()
                    .config_override(settings)
                    .interceptor(observer)
                    .send()
                    .await?;
                Ok(Answer {
                    assumed: $assumed,
                    credentials: $answer.credentials,
                })
            }
        }
    };
}

request!(AssumeRoleFluentBuilder, AssumeRoleError, |answer| answer
    .assumed_role_user);
request!(
    AssumeRoleWithWebIdentityFluentBuilder,
    AssumeRoleWithWebIdentityError,
    |answer| answer.assumed_role_user
);
request!(
    AssumeRoleWithSAMLFluentBuilder,
    AssumeRoleWithSAMLError,
    |answer| answer.assumed_role_user
);
request!(AssumeRootFluentBuilder, AssumeRootError, |_answer| None);
request!(
    GetSessionTokenFluentBuilder,
    GetSessionTokenError,
    |_answer| None
);

/// What a method asks of STS, for errors.
pub(crate) struct Asked<'a> {
    pub(crate) operation: Operation<'a>,
    /// Values of the request that are never shown.
    pub(crate) hidden: &'a [&'a str],
    /// Which values of the request the program did not give.
    pub(crate) origins: &'a Origins,
}

/// A client of STS and the MFA device whose codes go into its calls.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) connection: Arc<Connection>,
    pub(crate) device: Option<Device>,
}

impl Caller {
    /// Whether a refresh asks a person.
    pub(crate) fn is_interactive(&self) -> bool {
        self.device.as_ref().is_some_and(Device::is_prompt)
    }

    /// How long a refresh may take, where that is not the engine's own.
    pub(crate) fn refresh_timeout(&self) -> Option<Duration> {
        self.device.as_ref().and_then(Device::refresh_timeout)
    }
}

/// Which second tries are left.
struct Left {
    code: bool,
    base: bool,
    clock: bool,
}

impl Caller {
    /// Fetches one set; `request` is given the MFA code where there is a device.
    pub(crate) async fn refresh<R>(
        &self,
        cx: &RefreshContext,
        asked: &Asked<'_>,
        request: impl Fn(Option<&str>) -> Result<R, Error> + Send + Sync,
    ) -> Result<TemporaryCredentials, Error>
    where
        R: Request + Send,
    {
        let mut left = Left {
            code: true,
            base: true,
            clock: true,
        };
        let mut sent: Option<(Taken, Error)> = None;
        loop {
            let taken = match self.code(sent.as_ref().map(|(taken, _)| taken), cx).await {
                Ok(taken) => taken,
                // The first failure says more than that there is no other code, unless it is for a
                // person and this one would pass by itself.
                Err(error) => {
                    return Err(match sent {
                        Some((_, first))
                            if first.is_unrecoverable() && !error.is_unrecoverable() =>
                        {
                            error.with_source(first)
                        }
                        Some((_, first)) => first,
                        None => error,
                    });
                }
            };
            let request = request(taken.as_ref().map(Taken::code))?;
            let observed = Observed::default();
            let was_corrected = self.connection.time.is_corrected();
            let failed = match self
                .call(cx, asked, request, taken.as_ref(), &observed)
                .await
            {
                Ok(set) => return Ok(set),
                Err(failed) => failed,
            };
            let sent_it = observed.sent() && failed.reached;
            if !self
                .may_try_again(&failed, &mut left, &observed, was_corrected)
                .await?
            {
                if let (Some(device), Some(taken), false) = (&self.device, &taken, sent_it) {
                    device.give_back(taken);
                }
                return Err(failed.error);
            }
            sent = taken.map(|taken| (taken, failed.error));
        }
    }

    /// A code for the next call, once it is sure that there are credentials to sign it with.
    async fn code(
        &self,
        sent: Option<&Taken>,
        cx: &RefreshContext,
    ) -> Result<Option<Taken>, Error> {
        let Some(device) = &self.device else {
            return Ok(None);
        };
        self.base_key().await?;
        let reason = sent.map_or(Reason::First, Reason::Again);
        device
            .code(reason, &self.connection.time, cx)
            .await
            .map(Some)
    }

    async fn call<R: Request>(
        &self,
        cx: &RefreshContext,
        asked: &Asked<'_>,
        request: R,
        taken: Option<&Taken>,
        observed: &Observed,
    ) -> Result<TemporaryCredentials, Failed> {
        let timeouts = self.connection.timeouts();
        let limit = within(cx.time_left(), timeouts.operation_timeout());
        let timeouts = timeouts.to_builder().operation_timeout(limit).build();
        let mut settings = Builder::default().timeout_config(timeouts);
        if taken.is_some() || self.connection.is_once {
            settings = settings.retry_config(RetryConfig::disabled());
        }
        let answer = request.send_with(settings, observed.observer()).await;
        if let Some(difference) = self.difference(observed) {
            self.connection.time.learn(difference);
        }
        match answer {
            Ok(answer) => Ok(credentials(&answer, observed.server_time())?),
            Err(error) => {
                let endpoint = observed.endpoint();
                let place = endpoint.as_ref().map(|origin| format!("`{origin}`"));
                let mut hidden = asked.hidden.to_vec();
                hidden.extend(taken.map(Taken::code));
                Err(from_sdk(
                    &error,
                    &Call {
                        operation: asked.operation,
                        origins: asked.origins,
                        place: place.as_deref().unwrap_or(&self.connection.place),
                        credentials: &self.connection.base_credentials,
                        fixed_credentials: matches!(self.connection.base, BaseCredentials::Keys),
                        device: taken.map(Taken::serial_number),
                        difference: self.difference(observed),
                        hidden: &hidden,
                        sent: observed.sent(),
                        way: self.connection.proxy.way(endpoint.as_deref()),
                    },
                ))
            }
        }
    }

    fn difference(&self, observed: &Observed) -> Option<Difference> {
        observed
            .server_time()
            .map(|server| self.connection.time.difference(server))
    }

    /// Whether a second call may end better, and makes it so.
    async fn may_try_again(
        &self,
        failed: &Failed,
        left: &mut Left,
        observed: &Observed,
        was_corrected: bool,
    ) -> Result<bool, Error> {
        match (failed.class, &self.device) {
            (Some(Class::WrongCode), Some(device)) if device.has_more() => {
                Ok(std::mem::take(&mut left.code))
            }
            (Some(Class::ExpiredCredentials), _) if left.base => {
                left.base = false;
                self.has_new_base(observed.access_key_id().as_deref()).await
            }
            (Some(Class::BadSignature | Class::Clock), device)
                if left.clock
                    && device
                        .as_ref()
                        .map_or(self.connection.is_once, Device::has_more) =>
            {
                left.clock = false;
                // It is off, or it was and has been set: either way the SDK signed with the wrong
                // time, and has learnt.
                Ok(was_corrected
                    || self
                        .difference(observed)
                        .is_some_and(|difference| difference.is_over(TOLERATED)))
            }
            // A person is not asked because of somebody else's trouble.
            (_, Some(device))
                if device.has_more() && !device.is_prompt() && failed.error.is_retryable() =>
            {
                Ok(observed.sent() && failed.reached && std::mem::take(&mut left.code))
            }
            _ => Ok(false),
        }
    }

    /// Whether base credentials other than the rejected ones are to be had.
    async fn has_new_base(&self, rejected: Option<&str>) -> Result<bool, Error> {
        match &self.connection.base {
            BaseCredentials::Keys => Ok(false),
            BaseCredentials::Session(base) => {
                let Some(rejected) = rejected else {
                    return Ok(false);
                };
                base.report_rejected(rejected);
                Ok(base.credentials().await?.access_key_id() != rejected)
            }
            // A code is not spent on the same key again; without one the call costs less than
            // finding out.
            _ if self.device.is_some() => Ok(self.base_key().await?.as_deref() != rejected),
            // Asked again at each call.
            _ => Ok(rejected.is_some()),
        }
    }

    /// The key that would sign a call now.
    async fn base_key(&self) -> Result<Option<String>, Error> {
        match (&self.connection.base, &self.connection.provider) {
            (BaseCredentials::Session(base), _) => {
                Ok(Some(base.credentials().await?.access_key_id().to_owned()))
            }
            (_, Some(provider)) => match provider.provide_credentials().await {
                Ok(credentials) => Ok(Some(credentials.access_key_id().to_owned())),
                Err(error) => Err(from_provider(&error, &self.connection.base_credentials)),
            },
            (_, None) => Ok(None),
        }
    }
}

/// The time limit of a call: a little less than what the engine leaves, so that its error is the
/// SDK's, which says more, and the user's own limit if that is shorter.
fn within(time_left: Duration, users_own: Option<Duration>) -> Duration {
    let margin = (time_left / 20).clamp(Duration::from_millis(10), Duration::from_millis(500));
    let limit = time_left
        .saturating_sub(margin)
        .max(Duration::from_millis(1));
    users_own.map_or(limit, |own| own.min(limit))
}

/// The set in an answer.
fn credentials(
    answer: &Answer,
    server_time: Option<SystemTime>,
) -> Result<TemporaryCredentials, Error> {
    let missing = |what: &str| {
        Error::credential(format!(
            "the answer of STS lacks {what}: check what answers at the endpoint URL"
        ))
    };
    let set = answer
        .credentials
        .as_ref()
        .ok_or_else(|| missing("the credentials"))?;
    // The SDK fills in what is missing, with empty texts and the year 1970.
    let absent: Vec<_> = [
        ("AccessKeyId", set.access_key_id().is_empty()),
        ("SecretAccessKey", set.secret_access_key().is_empty()),
        ("SessionToken", set.session_token().is_empty()),
        ("Expiration", set.expiration().secs() <= 0),
    ]
    .into_iter()
    .filter_map(|(name, absent)| absent.then_some(name))
    .collect();
    if !absent.is_empty() {
        return Err(missing(&absent.join(", ")));
    }
    let expiration = SystemTime::try_from(*set.expiration()).map_err(|error| {
        missing("an expiration that this machine can represent").with_source(error)
    })?;
    let mut credentials = TemporaryCredentials::new(
        set.access_key_id(),
        set.secret_access_key(),
        Some(set.session_token().to_owned()),
        Some(expiration),
    );
    if let Some(account) = answer
        .assumed
        .as_ref()
        .and_then(|user| account_of(user.arn()))
    {
        credentials = credentials.with_account_id(account);
    }
    if let Some(server_time) = server_time {
        credentials = credentials.with_server_time(server_time);
    }
    Ok(credentials)
}

/// The account in `arn:aws:sts::123456789012:assumed-role/name/session`.
fn account_of(arn: &str) -> Option<&str> {
    arn.split(':')
        .nth(4)
        .filter(|account| is_account_id(account))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_smithy_types::DateTime;
    use std::time::UNIX_EPOCH;

    fn answer(access_key_id: &str, expiration: i64) -> Answer {
        let set = Credentials::builder()
            .access_key_id(access_key_id)
            .secret_access_key("hush")
            .session_token("token")
            .expiration(DateTime::from_secs(expiration));
        let user = AssumedRoleUser::builder()
            .arn("arn:aws:sts::123456789012:assumed-role/reader/brs-session")
            .assumed_role_id("AROAEXAMPLE:brs-session");
        Answer {
            credentials: Some(set.build().unwrap()),
            assumed: Some(user.build().unwrap()),
        }
    }

    #[test]
    fn an_answer_becomes_a_set_with_its_account_and_the_servers_time() {
        let at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let set = credentials(&answer("ASIAEXAMPLE", 1_700_003_600), Some(at)).unwrap();
        assert_eq!(
            (set.access_key_id(), set.secret_access_key()),
            ("ASIAEXAMPLE", "hush")
        );
        assert_eq!(set.expiration(), Some(at + Duration::from_secs(3600)));
        assert_eq!(
            (set.account_id(), set.server_time()),
            (Some("123456789012"), Some(at))
        );
    }

    #[test]
    fn an_answer_that_lacks_something_says_what_and_shows_no_secret() {
        let error = credentials(&answer("", 0), None).unwrap_err();
        assert!(
            error.to_string().contains("AccessKeyId, Expiration"),
            "{error}"
        );
        assert!(!error.is_unrecoverable() && !format!("{error:?}").contains("hush"));
        assert!(
            credentials(
                &Answer {
                    credentials: None,
                    assumed: None
                },
                None
            )
            .is_err()
        );
    }

    #[test]
    fn a_call_ends_before_the_engine_drops_it() {
        let (second, ms) = (Duration::from_secs(1), Duration::from_millis);
        assert_eq!(within(30 * second, None), ms(29_500));
        assert_eq!(within(second, None), ms(950));
        assert_eq!(within(30 * second, Some(5 * second)), 5 * second);
        assert_eq!(within(second, Some(5 * second)), ms(950));
        assert_eq!(within(Duration::ZERO, None), ms(1));
    }

    #[test]
    fn the_account_is_taken_from_a_whole_arn_only() {
        assert_eq!(
            account_of("arn:aws-cn:sts::123456789012:assumed-role/r/s"),
            Some("123456789012")
        );
        for arn in ["", "arn:aws:sts", "arn:aws:sts::12345:assumed-role/r/s"] {
            assert_eq!(account_of(arn), None);
        }
    }
}
