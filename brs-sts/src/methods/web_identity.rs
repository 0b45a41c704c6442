//! The method `sts-web-identity`: a role for a token of an identity provider, as pods and
//! CI jobs have.
//!
//! Each refresh is one AssumeRoleWithWebIdentity call with a token that is fetched at that moment,
//! from a file or another [`TokenSource`]; it is not signed and needs no base credentials. What is
//! not given comes from the session's profile if that has a `web_identity_token_file`, else from
//! `AWS_ROLE_ARN`, `AWS_WEB_IDENTITY_TOKEN_FILE` and `AWS_ROLE_SESSION_NAME`, which EKS sets, else
//! from `AWS_PROFILE`'s profile or `[default]`.
//!
//! ```no_run
//! # mod brs { pub use brs_core::*; pub use brs_sts as sts; }
//! use brs::sts::web_identity;
//!
//! # async fn example() -> Result<(), brs::Error> {
//! // In a pod of EKS everything comes from the environment.
//! let session = brs::RefreshableSession::open(web_identity::Params::new()).await?;
//! // Anywhere else:
//! let params = web_identity::Params::new()
//!     .role_arn("arn:aws:iam::123456789012:role/deploy")
//!     .token_file("/var/run/secrets/token");
//! let session = brs::RefreshableSession::open(params).await?;
//! // In a job of GitHub Actions:
//! let params = web_identity::Params::new()
//!     .role_arn("arn:aws:iam::123456789012:role/deploy")
//!     .token_source(web_identity::TokenSource::github());
//! let session = brs::RefreshableSession::open(params).await?;
//! # Ok(())
//! # }
//! ```

mod claims;
mod source;

use std::env::{var, var_os};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sts::operation::assume_role_with_web_identity::builders::AssumeRoleWithWebIdentityFluentBuilder;
use aws_sdk_sts::types::PolicyDescriptorType;
use brs_core::kit::iso8601;
use brs_core::{
    Error, Fingerprint, Identity, RefreshContext, RefreshStrategy, SecretString, Setup,
    TemporaryCredentials,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::data::{self, PolicyArn};
use crate::environment::origins::Origins;
use crate::environment::profiles;
use crate::methods::assume_role;
use crate::methods::inherit;
use crate::profiles::graph;
use crate::proof::{Fetcher, Source, USUAL_LIMIT, jwt};
use crate::request::client::StsClient;
use crate::request::fingerprint::{seconds, sha256, some};
use crate::request::params::DEFAULT_ROLE_SESSION_NAME;
use crate::request::session_name;
use crate::request::validate;
use crate::sts::call::{Asked, Caller};
use crate::sts::connect::{Connection, Signed, connect};
use crate::sts::error::Operation;

pub use source::TokenSource;
pub(super) use source::command;

const METHOD: &str = <Params as brs_core::MethodParams>::METHOD;
const SOURCE: &str = "sts-web-identity";
const ROLE_ARN: &str = "AWS_ROLE_ARN";
const ROLE_SESSION_NAME: &str = "AWS_ROLE_SESSION_NAME";
const TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";

/// The parameters of the method `sts-web-identity`: the AssumeRoleWithWebIdentity request and the
/// STS client's settings.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "WebIdentityParams", default)]
#[must_use = "parameters do nothing until a session is opened with them"]
pub struct Params {
    /// The role's ARN; otherwise the profile's or `AWS_ROLE_ARN`.
    #[serde(alias = "RoleArn")]
    role_arn: Option<String>,
    /// The file that holds the token; otherwise the profile's or `AWS_WEB_IDENTITY_TOKEN_FILE`.
    #[serde(alias = "web_identity_token_file")]
    token_file: Option<PathBuf>,
    /// Where the token comes from, in place of a file.
    #[schemars(with = "Option<source::Data>")]
    token_source: Option<TokenSource>,
    /// The name of the role session; otherwise the profile's or `AWS_ROLE_SESSION_NAME`, otherwise
    /// `brs-session`.
    #[serde(alias = "RoleSessionName")]
    role_session_name: Option<String>,
    /// The host name of an OAuth 2.0 provider (`www.amazon.com`); none for OpenID Connect.
    #[serde(alias = "ProviderId")]
    provider_id: Option<String>,
    /// Managed policies that narrow the session: at most 10.
    #[serde(alias = "PolicyArns", deserialize_with = "data::policy_arns")]
    #[schemars(with = "Vec<PolicyArn>")]
    policy_arns: Vec<String>,
    /// An inline policy that narrows the session: JSON, 1–2048 characters.
    #[serde(alias = "Policy")]
    policy: Option<String>,
    /// How long the credentials are valid: 900–43200 s. AWS's default is 3600 s.
    #[serde(
        alias = "DurationSeconds",
        alias = "duration_seconds",
        deserialize_with = "data::whole_seconds"
    )]
    #[schemars(with = "Option<u64>")]
    duration: Option<Duration>,
    /// The STS client's settings.
    #[serde(
        alias = "sts_client",
        alias = "sts_client_kwargs",
        deserialize_with = "data::map_or_default"
    )]
    client: StsClient,
}

impl Params {
    /// Everything from the profile or the environment.
    pub fn new() -> Self {
        Self::default()
    }

    /// The ARN of the role (`RoleArn`), 20–2048 characters. Default: the profile's, or
    /// `AWS_ROLE_ARN`.
    pub fn role_arn(mut self, role_arn: impl Into<String>) -> Self {
        self.role_arn = Some(role_arn.into());
        self
    }

    /// The file that holds the token (`WebIdentityToken`), 4–20000 characters, read again at each
    /// refresh; white space around it is not sent. Default: the profile's, or
    /// `AWS_WEB_IDENTITY_TOKEN_FILE`.
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token_file = Some(path.into());
        self
    }

    /// Where the token comes from: a file, a variable, a command, a function, GitHub Actions, Google
    /// Cloud, Azure or a URL. Default: [`token_file`](Self::token_file), which contradicts it.
    pub fn token_source(mut self, source: TokenSource) -> Self {
        self.token_source = Some(source);
        self
    }

    /// The name of the role session (`RoleSessionName`), or a template of one, as for
    /// [`sts::Params`](crate::Params::role_session_name). Default: the profile's, or
    /// `AWS_ROLE_SESSION_NAME`, else [`DEFAULT_ROLE_SESSION_NAME`].
    pub fn role_session_name(mut self, name: impl Into<String>) -> Self {
        self.role_session_name = Some(name.into());
        self
    }

    /// The host name of an OAuth 2.0 identity provider (`ProviderId`), 4–2048 characters. Default:
    /// none, for OpenID Connect.
    pub fn provider_id(mut self, provider_id: impl Into<String>) -> Self {
        self.provider_id = Some(provider_id.into());
        self
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

    /// How long the credentials are valid (`DurationSeconds`): 900–43200 whole seconds. Default:
    /// the profile's, else AWS's own, 3600 s.
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
        validate::check("role_arn", self.role_arn.as_deref(), validate::role_arn)?;
        validate::check(
            "role_session_name",
            self.role_session_name.as_deref(),
            session_name::check,
        )?;
        validate::check("provider_id", self.provider_id.as_deref(), |id| {
            validate::length(id, 4, 2048)
        })?;
        validate::policies("", &self.policy_arns, self.policy.as_deref())?;
        validate::check("duration", self.duration, validate::duration)?;
        if let Some(source) = &self.token_source {
            if self.token_file.is_some() {
                return Err(Error::configuration(
                    "`token_file` and `token_source` contradict each other: set only one",
                )
                .with_param(source::PARAM)
                .unrecoverable());
            }
            source.validate()?;
        }
        self.client.validate()
    }

    fn has_token(&self) -> bool {
        self.token_file.is_some() || self.token_source.is_some()
    }

    /// Completed from the profile and the environment, and what came from there.
    async fn completed(mut self, setup: &Setup) -> Result<(Self, Origins), Error> {
        let mut origins = Origins::default();
        if let Some(name) = setup.profile_name()
            && let Some(role) = role_of(name).await?
        {
            // botocore does not look at the environment either once a profile is named.
            self.complete(&role, &mut origins);
            return Ok((self, origins));
        }
        self.complete_from_environment(&mut origins);
        let is_complete = self.role_arn.is_some() && self.has_token();
        if !is_complete
            && setup.profile_name().is_none()
            && let Some(role) = role_of(&profiles::default_name()).await?
        {
            self.complete(&role, &mut origins);
        }
        Ok((self, origins))
    }

    fn complete_from_environment(&mut self, origins: &mut Origins) {
        for (field, variable, value) in [
            ("role_arn", ROLE_ARN, &mut self.role_arn),
            (
                "role_session_name",
                ROLE_SESSION_NAME,
                &mut self.role_session_name,
            ),
        ] {
            let found = || var(variable).ok().filter(|value| !value.is_empty());
            if value.is_none()
                && let Some(found) = found()
            {
                *value = Some(found);
                origins.variable(field, variable);
            }
        }
        let file = || var_os(TOKEN_FILE).filter(|value| !value.is_empty());
        if !self.has_token()
            && let Some(file) = file()
        {
            self.token_file = Some(file.into());
            origins.variable("token_file", TOKEN_FILE);
        }
    }

    /// Fills in what is not given with what a profile, or the environment, says.
    fn complete(&mut self, role: &graph::WebIdentity, origins: &mut Origins) {
        let mut note = |field, key: &str, variable: &str| match &role.profile {
            Some(profile) => origins.profile_key(field, profile, key),
            None => origins.variable(field, variable),
        };
        if self.role_arn.is_none() {
            self.role_arn = Some(role.role_arn.clone());
            note("role_arn", "role_arn", ROLE_ARN);
        }
        if !self.has_token() {
            self.token_file = Some(role.token_file.clone());
            note("token_file", "web_identity_token_file", TOKEN_FILE);
        }
        if self.role_session_name.is_none() && role.role_session_name.is_some() {
            self.role_session_name.clone_from(&role.role_session_name);
            note("role_session_name", "role_session_name", ROLE_SESSION_NAME);
        }
        if self.duration.is_none() && role.duration.is_some() {
            self.duration = role.duration;
            note("duration", "duration_seconds", "duration");
        }
    }

    /// Checks what came from elsewhere.
    fn check_found(&self, origins: &Origins) -> Result<(), Error> {
        if let Some(role_arn) = &self.role_arn {
            validate::role_arn(role_arn)
                .map_err(|invalid| origins.wrong("role_arn", "role_arn", invalid))?;
        }
        if let Some(name) = &self.role_session_name {
            session_name::check(name).map_err(|invalid| {
                origins.wrong("role_session_name", "role_session_name", invalid)
            })?;
        }
        Ok(())
    }
}

/// The web identity of a profile; `None` if it has none.
async fn role_of(name: &str) -> Result<Option<graph::WebIdentity>, Error> {
    match profiles::load(name).await?.get_profile(name) {
        Some(profile) => graph::web_identity(profile),
        None => Ok(None),
    }
}

impl brs_core::MethodParams for Params {
    const METHOD: &'static str = "sts-web-identity";
}

/// The strategy of the method `sts-web-identity`.
pub struct WebIdentity {
    params: Params,
    role_arn: String,
    role_session_name: String,
    /// That name as others have it too.
    told_name: String,
    token: Fetcher,
    caller: Caller,
    /// What the profile and the environment have brought.
    origins: Origins,
}

impl WebIdentity {
    /// The ARN of the role that is assumed.
    pub fn role_arn(&self) -> &str {
        &self.role_arn
    }

    /// The name of the role session: the same for the life of the session.
    pub fn role_session_name(&self) -> &str {
        &self.role_session_name
    }

    /// The file with the token, if it comes from one.
    pub fn token_file(&self) -> Option<&Path> {
        match &self.token.source {
            Source::File(path) => Some(path),
            _ => None,
        }
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.caller.connection
    }

    async fn fetch(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        let token = self.token(cx).await?;
        let operation = Operation::WebIdentity {
            role_arn: &self.role_arn,
            token: &self.token.named(),
        };
        let asked = Asked {
            operation,
            hidden: &[token.expose()],
            origins: &self.origins,
        };
        self.caller
            .refresh(cx, &asked, |_| Ok(self.request(&token)))
            .await
    }

    /// A token that has not expired by its own word.
    async fn token(&self, cx: &RefreshContext) -> Result<SecretString, Error> {
        let now = || self.caller.connection.time.now();
        let first = self.token.fetch(cx).await?;
        if jwt::expiration(first.expose()).is_none_or(|at| at > now()) {
            return Ok(first);
        }
        // A source may have handed out what it kept, and have a new one now.
        let token = self.token.fetch(cx).await?;
        match jwt::expiration(token.expose()) {
            Some(at) if at <= now() => Err(Error::credential(format!(
                "{} expired at {}, as it says itself, and was not sent: check what renews it, and this machine's \
                 clock",
                self.token.named(),
                iso8601(at)
            ))
            .with_param(self.token.param)),
            _ => Ok(token),
        }
    }

    fn request(&self, token: &SecretString) -> AssumeRoleWithWebIdentityFluentBuilder {
        let duration = self.params.duration;
        let mut request = self
            .caller
            .connection
            .client()
            .assume_role_with_web_identity()
            .role_arn(&self.role_arn)
            .role_session_name(&self.role_session_name)
            .web_identity_token(token.expose())
            .set_provider_id(self.params.provider_id.clone())
            .set_policy(self.params.policy.clone())
            .set_duration_seconds(
                duration.map(|limit| i32::try_from(limit.as_secs()).unwrap_or(i32::MAX)),
            );
        for arn in &self.params.policy_arns {
            request = request.policy_arns(PolicyDescriptorType::builder().arn(arn).build());
        }
        request
    }
}

async fn build(params: Params, setup: Setup) -> Result<WebIdentity, Error> {
    params.validate()?;
    let (params, origins) = params.completed(&setup).await?;
    params.check_found(&origins)?;
    build_on(params, setup, origins).await
}

/// The strategy of a profile's role, or of the environment's, beneath a session.
pub(crate) async fn of_profile(
    role: &graph::WebIdentity,
    client: StsClient,
    setup: Setup,
) -> Result<WebIdentity, Error> {
    let mut params = Params::new().client(client);
    let mut origins = Origins::default();
    params.complete(role, &mut origins);
    build_on(params, setup, origins).await
}

async fn build_on(
    mut params: Params,
    setup: Setup,
    origins: Origins,
) -> Result<WebIdentity, Error> {
    let missing = |field: &str, key: &str, variable: &str| {
        Error::validation(format!(
            "`{field}` is missing: give it, set `{variable}`, or name a profile that has `{key}`"
        ))
        .with_param(field)
        .unrecoverable()
    };
    let role_arn = params
        .role_arn
        .take()
        .ok_or_else(|| missing("role_arn", "role_arn", ROLE_ARN))?;
    let (source, param) = match (params.token_source.take(), params.token_file.take()) {
        (Some(source), _) => (source, source::PARAM),
        (None, Some(file)) => (TokenSource::file(file), "token_file"),
        (None, None) => {
            return Err(missing("token_file", "web_identity_token_file", TOKEN_FILE));
        }
    };
    let token = source.fetcher(param, setup.base().http_client());
    if let Source::Remote(remote) = &token.source {
        remote.request().map_err(|error| error.with_param(param))?;
    }
    let name = params.role_session_name.take();
    let name = name.as_deref().unwrap_or(DEFAULT_ROLE_SESSION_NAME);
    let names = session_name::fill_in(name).and_then(|own| Ok((own, session_name::of_host(name)?)));
    let (role_session_name, told_name) = names
        .map_err(|invalid| origins.wrong("role_session_name", "role_session_name", invalid))?;
    let settings = inherit::inherited(&params.client, &setup);
    let connection = connect(settings, &setup, Signed::ByNobody).await?;
    let caller = Caller {
        connection,
        device: None,
    };
    Ok(WebIdentity {
        params,
        role_arn,
        role_session_name,
        told_name,
        token,
        caller,
        origins,
    })
}

brs_core::register_method! {
    summary: "assumes an IAM role with a web identity token",
    params: Params,
    build: build,
}

#[async_trait]
impl RefreshStrategy for WebIdentity {
    fn method(&self) -> &'static str {
        METHOD
    }

    fn source(&self) -> &'static str {
        SOURCE
    }

    fn role(&self) -> Option<&str> {
        Some(&self.role_arn)
    }

    fn profile(&self) -> Option<&str> {
        self.origins.profile()
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        self.fetch(cx)
            .await
            .map_err(|error| assume_role::of_profile(error, self.profile()))
    }
    async fn identity(&self, credentials: &TemporaryCredentials) -> Result<Identity, Error> {
        let identity = Identity::new(METHOD, SOURCE, credentials.access_key_id())
            .with_detail("role_arn", self.role_arn())
            .with_detail("role_session_name", self.role_session_name());
        Ok(match self.token_file() {
            Some(path) => identity.with_detail("token_file", path.display().to_string()),
            None => identity.with_detail("token_source", format!("{:?}", self.token.source)),
        })
    }

    fn endpoint(&self) -> Option<&str> {
        Some(&self.caller.connection.place)
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        let token = self.token.at_hand()?;
        let params = &self.params;
        Some(
            self.caller
                .connection
                .tell(METHOD)?
                .with("role_arn", &self.role_arn)
                .with("role_session_name", &self.told_name)
                .with("provider_id", &params.provider_id)
                .with("policy_arns", some(&params.policy_arns))
                .with("policy_sha256", sha256(&params.policy)?)
                .with("duration", seconds(params.duration))
                .with("token_file", self.token_file())
                .with("asker", claims::subject(token.expose())?),
        )
    }

    fn static_stability(&self) -> bool {
        true
    }

    /// A token may take its time, and the call its own.
    fn refresh_timeout(&self) -> Option<Duration> {
        (self.token.limit > USUAL_LIMIT).then(|| self.token.limit + USUAL_LIMIT)
    }
}

impl fmt::Debug for WebIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebIdentity")
            .field("role_arn", &self.role_arn)
            .field("role_session_name", &self.role_session_name)
            .field("token", &self.token)
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
