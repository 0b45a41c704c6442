//! What the method `sts` is given: the AssumeRole request and the settings of the STS client.
//!
//! Owns the typed builder and the spelling as data. A value may be wrong until it has been
//! [validated](Params::validate), which the method's constructor does before anything else; limits
//! live in `validate.rs`, the client's settings in `client.rs`.

use std::fmt;
use std::time::Duration;

use brs_core::{Error, RoleKey, SecretString};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::data::{self, PolicyArn};
use crate::mfa::MfaTokenProvider;
use crate::mfa::data::Kwargs;
use crate::request::client::StsClient;

/// The session name that is used when none is given: `brs-session`.
///
/// The Python package's is `boto3-refresh-session`: a trust policy that tests that name wants it
/// given here.
///
/// It shows up in CloudTrail and in the ARN of the role session, and trust policies can test it
/// (`sts:RoleSessionName`), so it is the same in every process and every release.
pub const DEFAULT_ROLE_SESSION_NAME: &str = "brs-session";

/// The parameters of the method `sts`.
///
/// ```
/// # mod brs { pub use brs_core::*; pub use brs_sts as sts; }
/// use std::time::Duration;
///
/// let params = brs::sts::Params::new("arn:aws:iam::123456789012:role/reader")
///     .role_session_name("nightly-report")
///     .duration(Duration::from_secs(1800))
///     .external_id("partner-17");
/// params.validate()?;
/// # Ok::<(), brs::Error>(())
/// ```
///
/// As data, `assume_role` (or `assume_role_kwargs`) and `client` (or `sts_client`,
/// `sts_client_kwargs`); the fields within go by the names here or by those of AWS, `RoleArn` or
/// `role_arn`. Where the role is all there is to say, `role_arn` alone is enough.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(try_from = "Data")]
#[must_use = "parameters do nothing until a session is opened with them"]
pub struct Params {
    pub(crate) request: AssumeRole,
    pub(crate) mfa_token_provider: Option<MfaTokenProvider>,
    pub(crate) client: StsClient,
}

/// The role of a pool's key, with everything that the key says of it.
impl std::convert::From<&RoleKey> for Params {
    fn from(key: &RoleKey) -> Self {
        let mut params = Self::new(key.role_arn());
        let request = &mut params.request;
        request.external_id = key.external_id().map(str::to_owned);
        request.role_session_name = key.role_session_name().map(str::to_owned);
        request.source_identity = key.source_identity().map(str::to_owned);
        request.policy = key.policy().map(str::to_owned);
        request.duration = key.duration();
        let params = key
            .tags()
            .iter()
            .fold(params, |params, (key, value)| params.tag(key, value));
        match key.endpoint_url() {
            Some(url) => params.client(StsClient::new().endpoint_url(url)),
            None => params,
        }
    }
}

impl Params {
    /// Assumes the role with that ARN (`RoleArn`): 20–2048 characters,
    /// `arn:aws:iam::123456789012:role/name`, in any partition.
    pub fn new(role_arn: impl Into<String>) -> Self {
        Self::of(AssumeRole {
            role_arn: Some(role_arn.into()),
            ..AssumeRole::default()
        })
    }

    /// Assumes the role of the session's profile: `role_arn`, and whatever of `role_session_name`,
    /// `external_id`, `duration_seconds` and `mfa_serial` the profile has and is not set here.
    ///
    /// The base credentials are then those of the profile's `source_profile` or
    /// `credential_source`. The profile is the one that the session names, else `AWS_PROFILE`'s,
    /// else `default`, whatever keys are in the environment.
    ///
    /// ```
    /// # mod brs { pub use brs_core::*; pub use brs_sts as sts; }
    /// # use brs::sts::{MfaTokenProvider, Params};
    /// # fn example() -> brs::SessionBuilder {
    /// let params = Params::of_profile().mfa_token_provider(MfaTokenProvider::prompt());
    /// brs::RefreshableSession::with(params).profile_name("admin")
    /// # }
    /// ```
    pub fn of_profile() -> Self {
        Self::of(AssumeRole::default())
    }

    /// The name of the role session (`RoleSessionName`): 2–64 of `[\w+=,.@-]`.
    ///
    /// Default: [`DEFAULT_ROLE_SESSION_NAME`]. CloudTrail shows it, and trust policies can require
    /// it: a name per application or user tells sessions apart. In a template, `{host}` (this
    /// machine's name, up to 32 characters), `{pid}` and `{random}` (8 hexadecimal digits) are
    /// filled in when the session is built; the name then stays the same for its life.
    pub fn role_session_name(mut self, name: impl Into<String>) -> Self {
        self.request.role_session_name = Some(name.into());
        self
    }

    /// Managed policies that narrow the session (`PolicyArns`): at most 10, 20–2048 characters
    /// each.
    ///
    /// Default: none. The session gets what both the role and these policies allow; more of them
    /// use up more of the packed policy's size.
    pub fn policy_arns(mut self, arns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.request.policy_arns = arns.into_iter().map(Into::into).collect();
        self
    }

    /// An inline policy that narrows the session (`Policy`): a JSON object of 1–2048 characters.
    ///
    /// Default: none. The session gets what both the role and this policy allow.
    pub fn policy(mut self, policy: impl Into<String>) -> Self {
        self.request.policy = Some(policy.into());
        self
    }

    /// How long the credentials are valid (`DurationSeconds`): 900–43200 whole seconds.
    ///
    /// Default: AWS's own, 3600 s. Longer ones need a role whose maximum session duration allows
    /// them (and 3600 s is the most when the base credentials are themselves of a role); shorter
    /// ones limit the harm of a leak and are refreshed more often.
    pub fn duration(mut self, duration: Duration) -> Self {
        self.request.duration = Some(duration);
        self
    }

    /// The external id the role's trust policy asks for (`ExternalId`): 2–1224 of `[\w+=,.@:/-]`.
    ///
    /// Default: none. Used by roles that third parties assume; shown nowhere but as a length.
    pub fn external_id(mut self, external_id: impl Into<String>) -> Self {
        self.request.external_id = Some(external_id.into());
        self
    }

    /// The MFA device (`SerialNumber`): 9–256 of `[\w+=/:,.@-]`, a serial number or
    /// `arn:aws:iam::123456789012:mfa/name`.
    ///
    /// Default: none. Goes together with an [MFA token provider](Self::mfa_token_provider), or
    /// with a [`token_code`](Self::token_code).
    pub fn serial_number(mut self, serial_number: impl Into<String>) -> Self {
        self.request.serial_number = Some(serial_number.into());
        self
    }

    /// The MFA device's current code (`TokenCode`): six digits.
    ///
    /// Default: none. A code works once and for about half a minute, so a fixed one serves a single
    /// refresh; a session that is to last has an [MFA token provider](Self::mfa_token_provider).
    pub fn token_code(mut self, token_code: impl Into<SecretString>) -> Self {
        self.request.token_code = Some(token_code.into());
        self
    }

    /// Adds a session tag (`Tags`): at most 50, the key 1–128 characters, the value at most 256.
    ///
    /// Default: none. Tags are sent in the order in which they were added; keys differ in more than
    /// case and do not begin with `aws:`. Policies can test them as `aws:PrincipalTag/…`.
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.request.tags.push(Tag {
            key: key.into(),
            value: value.into(),
        });
        self
    }

    /// The tags that are passed on when the session assumes further roles (`TransitiveTagKeys`): at
    /// most 50, 1–128 characters each.
    ///
    /// Default: none. Tags that were themselves inherited may be named.
    pub fn transitive_tag_keys(
        mut self,
        keys: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.request.transitive_tag_keys = keys.into_iter().map(Into::into).collect();
        self
    }

    /// Who stands behind the session (`SourceIdentity`): 2–64 of `[\w+=,.@-]`, not beginning with
    /// `aws:`.
    ///
    /// Default: none. It cannot be changed once set, is passed on to further roles, and shows in
    /// CloudTrail; the role's trust policy must allow `sts:SetSourceIdentity`.
    pub fn source_identity(mut self, source_identity: impl Into<String>) -> Self {
        self.request.source_identity = Some(source_identity.into());
        self
    }

    /// Adds a signed context (`ProvidedContexts`): at most 5, the provider's ARN 20–2048
    /// characters, the assertion 4–2048.
    ///
    /// Default: none. Used with trusted identity propagation of IAM Identity Center.
    pub fn provided_context(
        mut self,
        provider_arn: impl Into<String>,
        context_assertion: impl Into<SecretString>,
    ) -> Self {
        self.request.provided_contexts.push(ProvidedContext {
            provider_arn: provider_arn.into(),
            context_assertion: context_assertion.into(),
        });
        self
    }

    /// Where the codes of the MFA device `serial_number` come from; asked again at each refresh.
    /// Default: none, or the fixed `token_code`.
    ///
    /// It takes precedence over a `token_code`, which is then ignored with a warning. A profile's
    /// `mfa_serial` counts as the serial number if none is given.
    pub fn mfa_token_provider(mut self, provider: MfaTokenProvider) -> Self {
        self.mfa_token_provider = Some(provider);
        self
    }

    /// The STS client's own settings: region, endpoint, base credentials, retries, time-outs.
    /// Default: those of the base configuration.
    pub fn client(mut self, client: StsClient) -> Self {
        self.client = client;
        self
    }

    pub(crate) fn of(request: AssumeRole) -> Self {
        Self {
            request,
            mfa_token_provider: None,
            client: StsClient::default(),
        }
    }

    /// Checks every value against the limits of AWS, as the method's constructor does. That nothing
    /// is missing is seen there: a profile may bring the role, and an MFA device's serial number.
    ///
    /// # Errors
    ///
    /// A validation error that names the first field at fault, its limit and the value's length, or
    /// a configuration error for values that do not go together.
    pub fn validate(&self) -> Result<(), Error> {
        self.request.validate(self.mfa_token_provider.is_some())?;
        if let Some(provider) = &self.mfa_token_provider {
            let _ = provider.checked()?;
        }
        self.client.validate()
    }
}

/// The role with that ARN.
impl From<&str> for Params {
    fn from(role_arn: &str) -> Self {
        Self::new(role_arn)
    }
}

/// The role with that ARN.
impl From<String> for Params {
    fn from(role_arn: String) -> Self {
        Self::new(role_arn)
    }
}

impl brs_core::MethodParams for Params {
    const METHOD: &'static str = "sts";
}

/// The parameters as data.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "Params")]
struct Data {
    /// The AssumeRole request.
    #[serde(
        alias = "assume_role_kwargs",
        default,
        deserialize_with = "data::optional_map"
    )]
    assume_role: Option<AssumeRole>,
    /// The role's ARN, in place of `assume_role` if nothing else is set.
    #[serde(alias = "RoleArn")]
    role_arn: Option<String>,
    /// Where MFA codes come from.
    mfa_token_provider: Option<MfaTokenProvider>,
    /// The Python package's arguments for a command in `mfa_token_provider`.
    #[serde(default, deserialize_with = "data::optional_map")]
    mfa_token_provider_kwargs: Option<Kwargs>,
    /// The STS client's settings.
    #[serde(
        alias = "sts_client",
        alias = "sts_client_kwargs",
        default,
        deserialize_with = "data::optional_map"
    )]
    client: Option<StsClient>,
}

impl TryFrom<Data> for Params {
    type Error = &'static str;

    fn try_from(data: Data) -> Result<Self, Self::Error> {
        let params = match (data.assume_role, data.role_arn) {
            (Some(assume_role), None) => Self::of(assume_role),
            (None, Some(role_arn)) => Self::new(role_arn),
            (None, None) => Self::of_profile(),
            (Some(_), Some(_)) => {
                return Err("put `role_arn` inside `assume_role`, not beside it");
            }
        };
        let mfa_token_provider = match (data.mfa_token_provider, data.mfa_token_provider_kwargs) {
            (Some(provider), Some(kwargs)) => Some(provider.with_kwargs(kwargs)),
            (None, Some(_)) => {
                return Err("`mfa_token_provider_kwargs` needs `mfa_token_provider`");
            }
            (provider, None) => provider,
        };
        Ok(Self {
            mfa_token_provider,
            ..params.client(data.client.unwrap_or_default())
        })
    }
}

/// The AssumeRole request: all twelve fields.
///
/// Limits are those of the [AWS STS API
/// reference](https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html); lengths
/// count characters.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AssumeRole {
    #[serde(alias = "RoleArn")]
    pub(crate) role_arn: Option<String>,
    #[serde(alias = "RoleSessionName")]
    pub(crate) role_session_name: Option<String>,
    #[serde(alias = "PolicyArns", default, deserialize_with = "data::policy_arns")]
    #[schemars(with = "Vec<PolicyArn>")]
    pub(crate) policy_arns: Vec<String>,
    #[serde(alias = "Policy")]
    pub(crate) policy: Option<String>,
    #[serde(
        alias = "DurationSeconds",
        alias = "duration_seconds",
        default,
        deserialize_with = "data::whole_seconds"
    )]
    #[schemars(with = "Option<u64>")]
    pub(crate) duration: Option<Duration>,
    #[serde(alias = "ExternalId")]
    pub(crate) external_id: Option<String>,
    #[serde(alias = "SerialNumber")]
    pub(crate) serial_number: Option<String>,
    #[serde(alias = "TokenCode")]
    pub(crate) token_code: Option<SecretString>,
    #[serde(alias = "Tags", default, deserialize_with = "data::maps")]
    pub(crate) tags: Vec<Tag>,
    #[serde(
        alias = "TransitiveTagKeys",
        default,
        deserialize_with = "data::or_default"
    )]
    pub(crate) transitive_tag_keys: Vec<String>,
    #[serde(alias = "SourceIdentity")]
    pub(crate) source_identity: Option<String>,
    #[serde(alias = "ProvidedContexts", default, deserialize_with = "data::maps")]
    pub(crate) provided_contexts: Vec<ProvidedContext>,
}

/// One session tag.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tag {
    #[serde(alias = "Key")]
    pub(crate) key: String,
    #[serde(alias = "Value")]
    pub(crate) value: String,
}

/// One signed statement of a trusted context provider.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProvidedContext {
    #[serde(alias = "ProviderArn")]
    pub(crate) provider_arn: String,
    #[serde(alias = "ContextAssertion")]
    pub(crate) context_assertion: SecretString,
}

impl AssumeRole {
    /// The values that AWS may repeat in a message and that are never shown.
    pub(crate) fn secrets(&self) -> Vec<&str> {
        (self.token_code.iter().map(SecretString::expose))
            .chain(self.external_id.as_deref())
            .chain(self.policy.as_deref())
            .chain(self.tags.iter().map(|tag| tag.value.as_str()))
            .chain(
                self.provided_contexts
                    .iter()
                    .map(|context| context.context_assertion.expose()),
            )
            .collect()
    }

    pub(crate) fn session_name(&self) -> &str {
        self.role_session_name
            .as_deref()
            .unwrap_or(DEFAULT_ROLE_SESSION_NAME)
    }
}

impl fmt::Debug for AssumeRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = |text: &Option<String>| text.as_ref().map(|text| Length(text.chars().count()));
        f.debug_struct("AssumeRole")
            .field("role_arn", &self.role_arn)
            .field("role_session_name", &self.session_name())
            .field("policy_arns", &self.policy_arns)
            .field("policy", &length(&self.policy))
            .field("duration", &self.duration)
            .field("external_id", &length(&self.external_id))
            .field("serial_number", &self.serial_number)
            .field("token_code", &self.token_code)
            .field(
                "tags",
                &self.tags.iter().map(|tag| &tag.key).collect::<Vec<_>>(),
            )
            .field("transitive_tag_keys", &self.transitive_tag_keys)
            .field("source_identity", &self.source_identity)
            .field("provided_contexts", &self.provided_contexts)
            .finish()
    }
}

/// A text of which only the length is shown.
struct Length(usize);

impl fmt::Debug for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} characters", self.0)
    }
}

#[cfg(test)]
mod tests;
