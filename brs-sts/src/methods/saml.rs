//! The method `sts-saml`: a role for a SAML 2.0 assertion, as single sign-on of a company gives.
//!
//! Each refresh is one AssumeRoleWithSAML call with an assertion that is fetched at that moment; it
//! is not signed and needs no base credentials. AWS takes an assertion within five minutes of its
//! issue, so an identity provider has to be asked again for each refresh: by a function, a command,
//! or whatever keeps a file up to date. If that asks a person, the source is
//! [interactive](AssertionSource::interactive).
//!
//! ```no_run
//! # mod brs { pub use brs_core::*; pub use brs_sts as sts; }
//! use brs::command::Command;
//! use brs::sts::saml::{AssertionSource, Params};
//!
//! # async fn example() -> Result<(), brs::Error> {
//! let login = AssertionSource::command(Command::parse("company-login --saml aws")?).interactive();
//! let params = Params::new(
//!     "arn:aws:iam::123456789012:role/analyst",
//!     "arn:aws:iam::123456789012:saml-provider/company",
//!     login,
//! );
//! let session = brs::RefreshableSession::open(params).await?;
//! # Ok(())
//! # }
//! ```

mod source;
mod subject;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sts::operation::assume_role_with_saml::builders::AssumeRoleWithSAMLFluentBuilder;
use aws_sdk_sts::types::PolicyDescriptorType;
use brs_core::{
    Error, Fingerprint, Identity, RefreshContext, RefreshStrategy, SecretString, Setup,
    TemporaryCredentials,
};
use schemars::JsonSchema;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::data::{self, PolicyArn};
use crate::environment::origins::Origins;
use crate::methods::inherit;
use crate::proof::{Fetcher, USUAL_LIMIT};
use crate::request::client::StsClient;
use crate::request::fingerprint::{seconds, sha256, some};
use crate::request::validate::{self, Invalid};
use crate::sts::call::{Asked, Caller};
use crate::sts::connect::{Connection, Signed, connect};
use crate::sts::error::Operation;

pub use source::AssertionSource;

const METHOD: &str = <Params as brs_core::MethodParams>::METHOD;
const SOURCE: &str = "sts-saml";

/// The parameters of the method `sts-saml`: the AssumeRoleWithSAML request and the STS client's
/// settings.
///
/// As data, `role_arn` (or `RoleArn`), `provider_arn` (`PrincipalArn`), `assertion_source`,
/// `policy_arns`, `policy`, `duration` and `client`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "SamlParams")]
#[must_use = "parameters do nothing until a session is opened with them"]
pub struct Params {
    /// The role's ARN: 20–2048 characters.
    #[serde(alias = "RoleArn")]
    role_arn: String,
    /// The ARN of the SAML provider in IAM: 20–2048 characters.
    #[serde(alias = "PrincipalArn", alias = "principal_arn")]
    provider_arn: String,
    /// Where the assertions come from.
    #[schemars(with = "source::Data")]
    assertion_source: AssertionSource,
    /// Managed policies that narrow the session: at most 10.
    #[serde(default, alias = "PolicyArns", deserialize_with = "data::policy_arns")]
    #[schemars(with = "Vec<PolicyArn>")]
    policy_arns: Vec<String>,
    /// An inline policy that narrows the session: JSON, 1–2048 characters.
    #[serde(default, alias = "Policy")]
    policy: Option<String>,
    /// How long the credentials are valid: 900–43200 s. AWS's default is 3600 s.
    #[serde(
        default,
        alias = "DurationSeconds",
        alias = "duration_seconds",
        deserialize_with = "data::whole_seconds"
    )]
    #[schemars(with = "Option<u64>")]
    duration: Option<Duration>,
    /// The STS client's settings.
    #[serde(
        default,
        alias = "sts_client",
        alias = "sts_client_kwargs",
        deserialize_with = "data::map_or_default"
    )]
    client: StsClient,
}

impl Params {
    /// A role (`RoleArn`), the SAML provider in IAM that vouches for the caller (`PrincipalArn`),
    /// both 20–2048 characters, and where the assertions come from (`SAMLAssertion`).
    pub fn new(
        role_arn: impl Into<String>,
        provider_arn: impl Into<String>,
        assertions: AssertionSource,
    ) -> Self {
        Self {
            role_arn: role_arn.into(),
            provider_arn: provider_arn.into(),
            assertion_source: assertions,
            policy_arns: Vec::new(),
            policy: None,
            duration: None,
            client: StsClient::default(),
        }
    }

    /// Managed policies that narrow the session (`PolicyArns`): at most 10. Default: none.
    pub fn policy_arns(mut self, arns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.policy_arns = arns.into_iter().map(Into::into).collect();
        self
    }

    /// An inline policy that narrows the session (`Policy`): a JSON object of 1–2048 characters.
    /// Default: none.
    pub fn policy(mut self, policy: impl Into<String>) -> Self {
        self.policy = Some(policy.into());
        self
    }

    /// How long the credentials are valid (`DurationSeconds`): 900–43200 whole seconds; an
    /// assertion's `SessionNotOnOrAfter` limits it further. Default: AWS's own, 3600 s.
    pub fn duration(mut self, duration: Duration) -> Self {
        self.duration = Some(duration);
        self
    }

    /// The STS client's own settings. Default: those of the base configuration. Credentials in them
    /// are not used.
    pub fn client(mut self, client: StsClient) -> Self {
        self.client = client;
        self
    }

    /// Checks every value against the limits of AWS, as the method's constructor does.
    ///
    /// # Errors
    ///
    /// A validation error that names the field, its limit and the value's length.
    pub fn validate(&self) -> Result<(), Error> {
        validate::check("role_arn", Some(self.role_arn.as_str()), validate::role_arn)?;
        validate::check(
            "provider_arn",
            Some(self.provider_arn.as_str()),
            provider_arn,
        )?;
        self.assertion_source.validate()?;
        validate::policies("", &self.policy_arns, self.policy.as_deref())?;
        validate::check("duration", self.duration, validate::duration)?;
        self.client.validate()
    }
}

fn provider_arn(arn: &str) -> Result<(), Invalid> {
    validate::length(arn, 20, 2048)?;
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    match parts[..] {
        ["arn", _, "iam", "", account, resource]
            if brs_core::kit::is_account_id(account)
                && resource
                    .strip_prefix("saml-provider/")
                    .is_some_and(|name| !name.is_empty()) =>
        {
            Ok(())
        }
        _ => Err(Invalid::Shape(
            "must be a SAML provider's ARN, `arn:aws:iam::<12-digit account>:saml-provider/<name>` (or in another \
             `aws-…` partition)",
        )),
    }
}

impl brs_core::MethodParams for Params {
    const METHOD: &'static str = "sts-saml";
}

/// The strategy of the method `sts-saml`.
pub struct Saml {
    params: Params,
    assertions: Fetcher,
    is_interactive: bool,
    caller: Caller,
}

impl Saml {
    /// The ARN of the role that is assumed.
    pub fn role_arn(&self) -> &str {
        &self.params.role_arn
    }

    /// The ARN of the SAML provider.
    pub fn provider_arn(&self) -> &str {
        &self.params.provider_arn
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.caller.connection
    }

    /// The assertion as AWS takes it: base64 in one piece.
    async fn assertion(&self, cx: &RefreshContext) -> Result<SecretString, Error> {
        let fetched = self.assertions.fetch(cx).await?;
        let mut text = Zeroizing::new(String::with_capacity(fetched.expose().len()));
        text.extend(fetched.expose().split_ascii_whitespace());
        let is_base64 = aws_smithy_types::base64::decode(text.as_str())
            .map(Zeroizing::new)
            .is_ok();
        if !is_base64 {
            return Err(Error::configuration(format!(
                "{} is not base64: give the field `SAMLResponse` of the identity provider's answer as it is",
                self.assertions.named()
            ))
            .with_param(source::PARAM));
        }
        Ok(text.as_str().into())
    }

    fn request(&self, assertion: &SecretString) -> AssumeRoleWithSAMLFluentBuilder {
        let params = &self.params;
        let mut request = self
            .caller
            .connection
            .client()
            .assume_role_with_saml()
            .role_arn(&params.role_arn)
            .principal_arn(&params.provider_arn)
            .saml_assertion(assertion.expose())
            .set_policy(params.policy.clone())
            .set_duration_seconds(
                params
                    .duration
                    .map(|limit| i32::try_from(limit.as_secs()).unwrap_or(i32::MAX)),
            );
        for arn in &params.policy_arns {
            request = request.policy_arns(PolicyDescriptorType::builder().arn(arn).build());
        }
        request
    }
}

async fn build(params: Params, setup: Setup) -> Result<Saml, Error> {
    params.validate()?;
    let settings = inherit::inherited(&params.client, &setup);
    let connection = connect(settings, &setup, Signed::ByNobody).await?;
    Ok(Saml {
        assertions: params.assertion_source.fetcher()?,
        is_interactive: params.assertion_source.is_interactive(),
        params,
        caller: Caller {
            connection,
            device: None,
        },
    })
}

brs_core::register_method! {
    summary: "assumes an IAM role with a SAML assertion",
    params: Params,
    build: build,
}

#[async_trait]
impl RefreshStrategy for Saml {
    fn method(&self) -> &'static str {
        METHOD
    }

    fn source(&self) -> &'static str {
        SOURCE
    }

    fn role(&self) -> Option<&str> {
        Some(self.role_arn())
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        let assertion = self.assertion(cx).await?;
        let asked = Asked {
            operation: Operation::Saml {
                role_arn: self.role_arn(),
                assertion: &self.assertions.named(),
            },
            hidden: &[assertion.expose()],
            origins: &Origins::NONE,
        };
        self.caller
            .refresh(cx, &asked, |_| Ok(self.request(&assertion)))
            .await
    }

    async fn identity(&self, credentials: &TemporaryCredentials) -> Result<Identity, Error> {
        Ok(Identity::new(METHOD, SOURCE, credentials.access_key_id())
            .with_detail("role_arn", self.role_arn())
            .with_detail("provider_arn", self.provider_arn()))
    }

    fn endpoint(&self) -> Option<&str> {
        Some(&self.caller.connection.place)
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        let assertion = self.assertions.at_hand()?;
        let params = &self.params;
        Some(
            self.caller
                .connection
                .tell(METHOD)?
                .with("role_arn", self.role_arn())
                .with("provider_arn", self.provider_arn())
                .with("policy_arns", some(&params.policy_arns))
                .with("policy_sha256", sha256(&params.policy)?)
                .with("duration", seconds(params.duration))
                .with("asker", subject::of(assertion.expose())?),
        )
    }

    fn static_stability(&self) -> bool {
        true
    }

    fn interactive(&self) -> bool {
        self.is_interactive
    }

    /// An assertion may take its time, and the call its own.
    fn refresh_timeout(&self) -> Option<Duration> {
        (self.assertions.limit > USUAL_LIMIT).then(|| self.assertions.limit + USUAL_LIMIT)
    }
}

impl fmt::Debug for Saml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Saml")
            .field("role_arn", &self.role_arn())
            .field("provider_arn", &self.provider_arn())
            .field("assertions", &self.assertions)
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
