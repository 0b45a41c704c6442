//! The strategy: one AssumeRole call per refresh.
//!
//! Owns the request, its time limit and the reading of the answer. The client is built once, in the method's
//! constructor, which contacts nothing; what failures mean is `error.rs`'s. Everything a refresh needs lives in its
//! future, so dropping one leaves nothing behind.

use std::fmt;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_sts::operation::assume_role::AssumeRoleOutput;
use aws_sdk_sts::operation::assume_role::builders::AssumeRoleFluentBuilder;
use aws_sdk_sts::types::{PolicyDescriptorType, ProvidedContext, Tag};
use brs_core::__private::is_account_id;
use brs_core::{Error, Identity, RefreshContext, RefreshStrategy, Setup, TemporaryCredentials};

use crate::connect::{Connection, connect};
use crate::error::{Call, Operation, from_sdk};
use crate::observed::Observed;
use crate::params::{AssumeRole, Params};

const METHOD: &str = "sts";
const SOURCE: &str = "sts-assume-role";

/// The strategy of the method `sts`: what `session.strategy::<brs_sts::Sts>()` gives.
pub struct Sts {
    request: AssumeRole,
    connection: Connection,
}

impl Sts {
    /// The ARN of the role that is assumed.
    pub fn role_arn(&self) -> &str {
        &self.request.role_arn
    }

    /// The name of the role session.
    pub fn role_session_name(&self) -> &str {
        self.request.session_name()
    }

    /// The request, without the limits of one call.
    fn request(&self) -> Result<AssumeRoleFluentBuilder, Error> {
        let role = &self.request;
        // The fields are all there; the SDK's builder wants it checked.
        let lists = |_| Error::configuration("the call to STS cannot be built: a tag has no key or no value");
        let mut request = self
            .connection
            .client
            .assume_role()
            .role_arn(&role.role_arn)
            .role_session_name(role.session_name())
            .set_policy(role.policy.clone())
            .set_duration_seconds(role.duration.map(|limit| i32::try_from(limit.as_secs()).unwrap_or(i32::MAX)))
            .set_external_id(role.external_id.clone())
            .set_serial_number(role.serial_number.clone())
            .set_token_code(role.token_code.as_ref().map(|code| code.expose().to_owned()))
            .set_source_identity(role.source_identity.clone());
        for arn in &role.policy_arns {
            request = request.policy_arns(PolicyDescriptorType::builder().arn(arn).build());
        }
        for tag in &role.tags {
            request = request.tags(Tag::builder().key(&tag.key).value(&tag.value).build().map_err(lists)?);
        }
        for key in &role.transitive_tag_keys {
            request = request.transitive_tag_keys(key);
        }
        for context in &role.provided_contexts {
            let context = ProvidedContext::builder()
                .provider_arn(&context.provider_arn)
                .context_assertion(context.context_assertion.expose());
            request = request.provided_contexts(context.build());
        }
        Ok(request)
    }
}

/// The method's constructor.
pub(crate) async fn build(params: Params, setup: Setup) -> Result<Sts, Error> {
    params.validate()?;
    let connection = connect(&params.client, &setup).await?;
    Ok(Sts { request: params.assume_role, connection })
}

brs_core::register_method! {
    name: METHOD,
    summary: "assumes an IAM role through AWS STS",
    params: Params,
    build: build,
}

#[async_trait]
impl RefreshStrategy for Sts {
    fn method(&self) -> &'static str {
        METHOD
    }

    fn source(&self) -> &'static str {
        SOURCE
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        let observed = Observed::default();
        let limit = within(cx.time_left(), self.connection.timeouts.operation_timeout());
        let timeouts = self.connection.timeouts.to_builder().operation_timeout(limit).build();
        let call = self
            .request()?
            .customize()
            .config_override(aws_sdk_sts::config::Builder::default().timeout_config(timeouts))
            .interceptor(observed.observer());
        match call.send().await {
            Ok(answer) => credentials(&answer, observed.server_time()),
            Err(error) => {
                let endpoint = observed.endpoint();
                let place = endpoint.as_deref().unwrap_or(&self.connection.place);
                let request = &self.request;
                Err(from_sdk(
                    &error,
                    &Call {
                        operation: Operation::AssumeRole {
                            role_arn: &request.role_arn,
                            with_code: request.token_code.is_some(),
                        },
                        place,
                        credentials: &self.connection.base_credentials,
                        hidden: &request.secrets(),
                        sent: observed.sent(),
                    },
                ))
            }
        }
    }

    async fn identity(&self, credentials: &TemporaryCredentials) -> Result<Identity, Error> {
        Ok(Identity::new(METHOD, SOURCE, credentials.access_key_id())
            .with_detail("role_arn", self.role_arn())
            .with_detail("role_session_name", self.role_session_name()))
    }

    fn static_stability(&self) -> bool {
        true
    }
}

impl fmt::Debug for Sts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sts")
            .field("request", &self.request)
            .field("place", &self.connection.place)
            .field("base_credentials", &self.connection.base_credentials)
            .finish()
    }
}

/// The time limit of a call: a little less than what the engine leaves, so that its error is the SDK's, which says
/// more, and the user's own limit if that is shorter.
fn within(time_left: Duration, users_own: Option<Duration>) -> Duration {
    let margin = (time_left / 20).clamp(Duration::from_millis(10), Duration::from_millis(500));
    let limit = time_left.saturating_sub(margin).max(Duration::from_millis(1));
    users_own.map_or(limit, |own| own.min(limit))
}

/// The set in an answer.
fn credentials(answer: &AssumeRoleOutput, server_time: Option<SystemTime>) -> Result<TemporaryCredentials, Error> {
    let missing = |what: &str| {
        Error::credential(format!("the answer of STS lacks {what}: check what answers at the endpoint URL"))
    };
    let set = answer.credentials().ok_or_else(|| missing("the credentials"))?;
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
    let expiration = SystemTime::try_from(*set.expiration())
        .map_err(|error| missing("an expiration that this machine can represent").with_source(error))?;
    let mut credentials = TemporaryCredentials::new(
        set.access_key_id(),
        set.secret_access_key(),
        Some(set.session_token().to_owned()),
        Some(expiration),
    );
    if let Some(account) = answer.assumed_role_user().and_then(|user| account_of(user.arn())) {
        credentials = credentials.with_account_id(account);
    }
    if let Some(server_time) = server_time {
        credentials = credentials.with_server_time(server_time);
    }
    Ok(credentials)
}

/// The account in `arn:aws:sts::123456789012:assumed-role/name/session`.
fn account_of(arn: &str) -> Option<&str> {
    arn.split(':').nth(4).filter(|account| is_account_id(account))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_sts::types::{AssumedRoleUser, Credentials};
    use aws_smithy_types::DateTime;
    use std::time::UNIX_EPOCH;

    fn answer(access_key_id: &str, expiration: i64) -> AssumeRoleOutput {
        let set = Credentials::builder()
            .access_key_id(access_key_id)
            .secret_access_key("hush")
            .session_token("token")
            .expiration(DateTime::from_secs(expiration));
        let user = AssumedRoleUser::builder()
            .arn("arn:aws:sts::123456789012:assumed-role/reader/brs-session")
            .assumed_role_id("AROAEXAMPLE:brs-session");
        AssumeRoleOutput::builder().credentials(set.build().unwrap()).assumed_role_user(user.build().unwrap()).build()
    }

    #[test]
    fn an_answer_becomes_a_set_with_its_account_and_the_servers_time() {
        let at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let set = credentials(&answer("ASIAEXAMPLE", 1_700_003_600), Some(at)).unwrap();
        assert_eq!((set.access_key_id(), set.secret_access_key()), ("ASIAEXAMPLE", "hush"));
        assert_eq!(set.expiration(), Some(at + Duration::from_secs(3600)));
        assert_eq!((set.account_id(), set.server_time()), (Some("123456789012"), Some(at)));
    }

    #[test]
    fn an_answer_that_lacks_something_says_what_and_shows_no_secret() {
        let error = credentials(&answer("", 0), None).unwrap_err();
        assert!(error.to_string().contains("AccessKeyId, Expiration"), "{error}");
        assert!(!error.is_unrecoverable() && !format!("{error:?}").contains("hush"));
        assert!(credentials(&AssumeRoleOutput::builder().build(), None).is_err());
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
        assert_eq!(account_of("arn:aws-cn:sts::123456789012:assumed-role/r/s"), Some("123456789012"));
        for arn in ["", "arn:aws:sts", "arn:aws:sts::12345:assumed-role/r/s"] {
            assert_eq!(account_of(arn), None);
        }
    }
}
