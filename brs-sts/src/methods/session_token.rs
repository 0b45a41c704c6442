//! The method `sts-session-token`: one MFA code for any number of roles.
//!
//! Each refresh is one GetSessionToken call with an IAM user's own access key. What comes back is
//! the same user, with MFA: a session that other `sts` sessions stand on
//! ([`AssumeExt`](crate::AssumeExt)), so that two hundred roles which ask for MFA cost one code,
//! and that code once in the session's life. It is no role's session: AWS's limit of an hour for
//! chained roles does not apply to what is assumed with it.
//!
//! ```no_run
//! # mod brs { pub use brs_core::*; pub use brs_sts as sts; }
//! use brs::SecretSource;
//! use brs::sts::{AssumeExt as _, MfaTokenProvider, session_token};
//!
//! # async fn example() -> Result<(), brs::Error> {
//! let totp = MfaTokenProvider::totp(SecretSource::env("ALICE_MFA_SECRET"));
//! let params = session_token::Params::new().mfa("arn:aws:iam::123456789012:mfa/alice", totp);
//! let mfa = brs::RefreshableSession::open(params).await?;
//! let admin = mfa.assume("arn:aws:iam::123456789012:role/admin").await?;
//! let audit = mfa.assume("arn:aws:iam::210987654321:role/audit").await?;
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sts::operation::get_session_token::builders::GetSessionTokenFluentBuilder;
use brs_core::{
    Error, Fingerprint, Identity, RefreshContext, RefreshStrategy, SecretString, Setup,
    TemporaryCredentials,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::data;
use crate::environment::origins::Origins;
use crate::methods::inherit;
use crate::methods::role_profile;
use crate::mfa::MfaTokenProvider;
use crate::mfa::data::Kwargs;
use crate::mfa::device::Device;
use crate::request::client::StsClient;
use crate::request::fingerprint::seconds;
use crate::request::validate;
use crate::sts::call::{Asked, Caller};
use crate::sts::connect::{Connection, Signed, connect};
use crate::sts::error::Operation;

const METHOD: &str = <Params as brs_core::MethodParams>::METHOD;
const SOURCE: &str = "sts-session-token";
/// AWS's, in the reference of GetSessionToken: 15 min to 36 h.
const DURATION: (u64, u64) = (900, 129_600);

/// The parameters of the method `sts-session-token`: GetSessionToken's three fields and the STS
/// client's settings.
///
/// As data, `serial_number` (or `SerialNumber`), `duration` (`DurationSeconds`),
/// `mfa_token_provider` and `client`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "SessionTokenParams", default)]
#[must_use = "parameters do nothing until a session is opened with them"]
pub struct Params {
    /// The MFA device: 9–256 of `[\w+=/:,.@-]`; otherwise the profile's `mfa_serial`.
    #[serde(alias = "SerialNumber")]
    serial_number: Option<String>,
    /// A fixed code, for a single refresh.
    #[serde(alias = "TokenCode")]
    token_code: Option<SecretString>,
    /// How long the credentials are valid: 900–129600 s. AWS's default is 43200 s.
    #[serde(
        alias = "DurationSeconds",
        alias = "duration_seconds",
        deserialize_with = "data::whole_seconds"
    )]
    #[schemars(with = "Option<u64>")]
    duration: Option<Duration>,
    /// Where MFA codes come from.
    mfa_token_provider: Option<MfaTokenProvider>,
    /// The Python package's arguments for a command in `mfa_token_provider`.
    #[serde(deserialize_with = "data::optional_map")]
    mfa_token_provider_kwargs: Option<Kwargs>,
    /// The STS client's settings.
    #[serde(
        alias = "sts_client",
        alias = "sts_client_kwargs",
        deserialize_with = "data::map_or_default"
    )]
    client: StsClient,
}

impl Params {
    /// The user's own permissions in temporary credentials: with MFA if the session's profile has
    /// an `mfa_serial`, which then needs an [`mfa_token_provider`](Self::mfa_token_provider), else
    /// without.
    pub fn new() -> Self {
        Self::default()
    }

    /// The MFA device (`SerialNumber`, 9–256 of `[\w+=/:,.@-]`) and where its codes come from.
    /// Default: no MFA.
    pub fn mfa(mut self, serial_number: impl Into<String>, provider: MfaTokenProvider) -> Self {
        self.serial_number = Some(serial_number.into());
        self.mfa_token_provider = Some(provider);
        self
    }

    /// Where the codes of the profile's `mfa_serial` come from. Default: none.
    ///
    /// The serial number is that of the profile that the session names; else, if no keys are in the
    /// environment or a provider is given here, that of `AWS_PROFILE` or `[default]`.
    pub fn mfa_token_provider(mut self, provider: MfaTokenProvider) -> Self {
        self.mfa_token_provider = Some(provider);
        self
    }

    /// How long the credentials are valid (`DurationSeconds`): 900–129600 whole seconds. Default:
    /// AWS's own, 43200 s.
    ///
    /// Longer ones need fewer codes.
    pub fn duration(mut self, duration: Duration) -> Self {
        self.duration = Some(duration);
        self
    }

    /// The STS client's own settings. Default: those of the base configuration.
    pub fn client(mut self, client: StsClient) -> Self {
        self.client = client;
        self
    }

    /// Checks every value against the limits of AWS, as the method's constructor does.
    ///
    /// # Errors
    ///
    /// A validation error that names the field, its limit and the value's length, or a
    /// configuration error for values that do not go together. An `mfa_serial` that the session's
    /// profile may bring is not known here.
    pub fn validate(&self) -> Result<(), Error> {
        self.validate_values()?;
        let together = |given: &str, missing: &str| {
            Err(Error::configuration(format!("`{given}` needs `{missing}`"))
                .with_param(missing)
                .unrecoverable())
        };
        match (&self.serial_number, &self.token_code, self.provider()?) {
            (None, _, Some(_)) => together("mfa_token_provider", "serial_number"),
            (None, Some(_), None) => together("token_code", "serial_number"),
            (Some(_), None, None) => together("serial_number", "mfa_token_provider"),
            _ => Ok(()),
        }
    }

    fn validate_values(&self) -> Result<(), Error> {
        validate::check(
            "serial_number",
            self.serial_number.as_deref(),
            validate::serial_number,
        )?;
        validate::check(
            "token_code",
            self.token_code.as_ref().map(SecretString::expose),
            validate::token_code,
        )?;
        validate::check("duration", self.duration, |duration| {
            validate::seconds(duration, DURATION)
        })?;
        self.client.validate()
    }

    /// Whether a code is to be sent, by whatever device.
    fn wants_mfa(&self) -> bool {
        self.serial_number.is_some()
            || self.token_code.is_some()
            || self.mfa_token_provider.is_some()
            || self.mfa_token_provider_kwargs.is_some()
    }

    fn provider(&self) -> Result<Option<MfaTokenProvider>, Error> {
        match (&self.mfa_token_provider, &self.mfa_token_provider_kwargs) {
            (Some(provider), Some(kwargs)) => provider
                .clone()
                .with_kwargs(kwargs.clone())
                .checked()
                .map(Some),
            (Some(provider), None) => provider.checked().map(Some),
            (None, Some(_)) => Err(Error::configuration(
                "`mfa_token_provider_kwargs` needs `mfa_token_provider`",
            )
            .unrecoverable()),
            (None, None) => Ok(None),
        }
    }
}

impl brs_core::MethodParams for Params {
    const METHOD: &'static str = "sts-session-token";
}

/// The strategy of the method `sts-session-token`.
pub struct SessionToken {
    duration: Option<Duration>,
    caller: Caller,
    /// What the profile has brought.
    origins: Origins,
}

impl SessionToken {
    /// The serial number of the MFA device, if there is one.
    pub fn serial_number(&self) -> Option<&str> {
        self.caller.device.as_ref().map(Device::serial_number)
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.caller.connection
    }

    fn request(&self, code: Option<&str>) -> GetSessionTokenFluentBuilder {
        self.caller
            .connection
            .client()
            .get_session_token()
            .set_duration_seconds(
                self.duration
                    .map(|limit| i32::try_from(limit.as_secs()).unwrap_or(i32::MAX)),
            )
            .set_serial_number(self.serial_number().map(str::to_owned))
            .set_token_code(code.map(str::to_owned))
    }
}

async fn build(mut params: Params, setup: Setup) -> Result<SessionToken, Error> {
    params.validate_values()?;
    let (serial_number, setup) =
        role_profile::user_of(setup, &params.client, params.wants_mfa()).await?;
    let mut origins = Origins::default();
    if params.serial_number.is_none()
        && let Some((serial_number, profile)) = serial_number
    {
        if params.provider()?.is_none() && params.token_code.is_none() {
            return Err(role_profile::no_provider(&profile));
        }
        params.serial_number = Some(serial_number);
        origins.profile_key("serial_number", &profile, "mfa_serial");
    }
    params.validate()?;
    let device = match (
        &params.serial_number,
        params.provider()?,
        &params.token_code,
    ) {
        (Some(serial_number), Some(provider), code) => {
            if code.is_some() {
                tracing::warn!("`token_code` is ignored: the MFA token provider gives the codes");
            }
            Some(Device::new(serial_number, &provider).await?)
        }
        (Some(serial_number), None, Some(code)) => Device::fixed(serial_number, code.expose()),
        _ => None,
    };
    let settings = inherit::inherited(&params.client, &setup);
    let connection = connect(settings, &setup, Signed::ByBase).await?;
    Ok(SessionToken {
        duration: params.duration,
        caller: Caller { connection, device },
        origins,
    })
}

brs_core::register_method! {
    summary: "an IAM user's session with MFA, as the base of roles",
    params: Params,
    build: build,
}

#[async_trait]
impl RefreshStrategy for SessionToken {
    fn method(&self) -> &'static str {
        METHOD
    }

    fn source(&self) -> &'static str {
        SOURCE
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        let asked = Asked {
            operation: Operation::SessionToken,
            hidden: &[],
            origins: &self.origins,
        };
        self.caller
            .refresh(cx, &asked, |code| Ok(self.request(code)))
            .await
    }

    async fn identity(&self, credentials: &TemporaryCredentials) -> Result<Identity, Error> {
        let identity = Identity::new(METHOD, SOURCE, credentials.access_key_id());
        Ok(match self.serial_number() {
            Some(serial_number) => identity.with_detail("serial_number", serial_number),
            None => identity,
        })
    }

    fn endpoint(&self) -> Option<&str> {
        Some(&self.caller.connection.place)
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        let told = self.caller.connection.tell(METHOD)?;
        Some(
            told.with("duration", seconds(self.duration))
                .with("serial_number", self.serial_number()),
        )
    }

    fn static_stability(&self) -> bool {
        true
    }

    fn interactive(&self) -> bool {
        self.caller.is_interactive()
    }

    fn refresh_timeout(&self) -> Option<Duration> {
        self.caller.refresh_timeout()
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionToken")
            .field("duration", &self.duration)
            .field("caller", &self.caller)
            .finish()
    }
}

#[cfg(test)]
mod tests;
