//! The strategy of the method `sts`: one AssumeRole call per refresh.
//!
//! Owns the request and how it comes about: what a profile adds, which rules hold between MFA
//! device, code and provider, what a session beneath restricts. The client is built once, in the
//! method's constructor, which contacts nothing; the call itself is `call.rs`'s.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sts::operation::assume_role::builders::AssumeRoleFluentBuilder;
use aws_sdk_sts::types::{PolicyDescriptorType, ProvidedContext, Tag};
use brs_core::{
    BaseCredentials, BaseSession, Error, Fingerprint, Identity, RefreshContext, RefreshStrategy,
    Setup, TemporaryCredentials,
};

use crate::environment::origins::Origins;
use crate::methods::inherit;
use crate::methods::role_profile::{self, Completed};
use crate::mfa::MfaTokenProvider;
use crate::mfa::device::Device;
use crate::request::params::{AssumeRole, Params};
use crate::request::session_name;
use crate::request::validate::Invalid;
use crate::sts::call::{Asked, Caller};
use crate::sts::connect::{Connection, Signed, connect};
use crate::sts::error::Operation;

const METHOD: &str = <Params as brs_core::MethodParams>::METHOD;
const SOURCE: &str = "sts-assume-role";
/// What AWS grants a role that is assumed with a role's credentials.
pub(crate) const CHAINED: Duration = Duration::from_secs(3600);

/// The strategy of the method `sts`: what `session.strategy::<brs_sts::Sts>()` gives.
pub struct Sts {
    request: AssumeRole,
    role_arn: String,
    role_session_name: String,
    /// That name as others have it too.
    told_name: String,
    caller: Caller,
    base_session: Option<BaseSession>,
    /// What the profile has brought.
    origins: Origins,
}

impl Sts {
    /// The ARN of the role that is assumed.
    pub fn role_arn(&self) -> &str {
        &self.role_arn
    }

    /// The name of the role session: the same for the life of the session.
    pub fn role_session_name(&self) -> &str {
        &self.role_session_name
    }

    /// How STS is reached, whose settings sessions on top of this one inherit.
    pub(crate) fn connection(&self) -> &Connection {
        &self.caller.connection
    }

    /// The request, without the limits of one call.
    fn request(&self, code: Option<&str>) -> Result<AssumeRoleFluentBuilder, Error> {
        let role = &self.request;
        // The fields are all there; the SDK's builder wants it checked.
        let lists = |_| {
            Error::configuration("the call to STS cannot be built: a tag has no key or no value")
        };
        let mut request = self
            .caller
            .connection
            .client()
            .assume_role()
            .role_arn(&self.role_arn)
            .role_session_name(&self.role_session_name)
            .set_policy(role.policy.clone())
            .set_duration_seconds(
                role.duration
                    .map(|limit| i32::try_from(limit.as_secs()).unwrap_or(i32::MAX)),
            )
            .set_external_id(role.external_id.clone())
            .set_serial_number(role.serial_number.clone())
            .set_token_code(code.map(str::to_owned))
            .set_source_identity(role.source_identity.clone());
        for arn in &role.policy_arns {
            request = request.policy_arns(PolicyDescriptorType::builder().arn(arn).build());
        }
        for tag in &role.tags {
            request = request.tags(
                Tag::builder()
                    .key(&tag.key)
                    .value(&tag.value)
                    .build()
                    .map_err(lists)?,
            );
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
    let Completed {
        params,
        setup,
        origins,
    } = role_profile::complete(params, setup).await?;
    // What does not go together may be so only with what the profile has brought.
    params.validate()?;
    build_on(params, setup, origins).await
}

/// The strategy on a set-up whose base credentials are settled.
pub(crate) async fn build_on(params: Params, setup: Setup, origins: Origins) -> Result<Sts, Error> {
    let mut request = params.request;
    let role_arn = request.role_arn.take().ok_or_else(no_role)?;
    let name = request.session_name();
    let names = session_name::fill_in(name).and_then(|own| Ok((own, session_name::of_host(name)?)));
    let (role_session_name, told_name) = names.map_err(|invalid| {
        origins.wrong(
            "role_session_name",
            "assume_role.role_session_name",
            invalid,
        )
    })?;
    let base_session = match setup.base_credentials() {
        BaseCredentials::Session(session) if !params.client.has_credentials() => {
            Some(session.clone())
        }
        _ => None,
    };
    if let Some(base) = &base_session {
        check_chained(request.duration, base, &origins)?;
    }
    let device = device(&mut request, params.mfa_token_provider.as_ref()).await?;
    let settings = inherit::inherited(&params.client, &setup);
    let connection = connect(settings, &setup, Signed::ByBase).await?;
    let caller = Caller { connection, device };
    Ok(Sts {
        request,
        role_arn,
        role_session_name,
        told_name,
        caller,
        base_session,
        origins,
    })
}

/// Says which profile the role that failed is of, unless the failure is in one beneath.
pub(crate) fn of_profile(error: Error, profile: Option<&str>) -> Error {
    match profile {
        Some(profile) if !error.details().contains_key("profile") => {
            error.with_detail("profile", profile)
        }
        _ => error,
    }
}

fn no_role() -> Error {
    Error::validation(
        "no role to assume: give `assume_role.role_arn` (or `role_arn` alone), or name a profile that has a `role_arn` \
         (and no `web_identity_token_file`: that is the method `sts-web-identity`); the profile's role is not used \
         if base credentials are given",
    )
    .with_param("assume_role.role_arn")
    .unrecoverable()
}

fn check_chained(
    duration: Option<Duration>,
    base: &BaseSession,
    origins: &Origins,
) -> Result<(), Error> {
    match (base.strategy().role(), duration) {
        (Some(role), Some(duration)) if duration > CHAINED => {
            let invalid = too_long_on(role, duration);
            Err(origins.wrong("duration", "assume_role.duration", invalid))
        }
        _ => Ok(()),
    }
}

/// What is wrong with a duration above [`CHAINED`] on a role's credentials.
pub(crate) fn too_long_on(role: &str, duration: Duration) -> Invalid {
    Invalid::Text(format!(
        "must be at most 3600 seconds, not {}: the base credentials are those of the role `{role}`, and AWS grants \
         a role that is assumed with a role's credentials an hour",
        duration.as_secs()
    ))
}

/// The MFA device of a request; its fixed code is taken out.
async fn device(
    request: &mut AssumeRole,
    provider: Option<&MfaTokenProvider>,
) -> Result<Option<Device>, Error> {
    let code = request.token_code.take();
    match (&request.serial_number, provider) {
        (Some(serial_number), Some(provider)) => {
            if code.is_some() {
                tracing::warn!("`token_code` is ignored: the MFA token provider gives the codes");
            }
            Device::new(serial_number, &provider.checked()?).await.map(Some)
        }
        (None, Some(_)) => Err(Error::configuration(
            "an `mfa_token_provider` needs the device's `assume_role.serial_number` (or a profile with `mfa_serial`)",
        )
        .with_param("assume_role.serial_number")
        .unrecoverable()),
        (Some(serial_number), None) => Ok(code.and_then(|code| Device::fixed(serial_number, code.expose()))),
        (None, None) => Ok(None),
    }
}

brs_core::register_method! {
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

    fn role(&self) -> Option<&str> {
        Some(&self.role_arn)
    }

    fn profile(&self) -> Option<&str> {
        self.origins.profile()
    }

    fn base_session(&self) -> Option<&BaseSession> {
        self.base_session.as_ref()
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        let with_external_id = self.request.external_id.is_some();
        let asked = Asked {
            operation: Operation::AssumeRole {
                role_arn: &self.role_arn,
                with_external_id,
            },
            hidden: &self.request.secrets(),
            origins: &self.origins,
        };
        let refreshed = self
            .caller
            .refresh(cx, &asked, |code| self.request(code))
            .await;
        refreshed.map_err(|error| of_profile(error, self.profile()))
    }

    async fn identity(&self, credentials: &TemporaryCredentials) -> Result<Identity, Error> {
        Ok(Identity::new(METHOD, SOURCE, credentials.access_key_id())
            .with_detail("role_arn", self.role_arn())
            .with_detail("role_session_name", self.role_session_name()))
    }

    fn endpoint(&self) -> Option<&str> {
        Some(&self.caller.connection.place)
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        let told = self.caller.connection.tell(METHOD)?;
        let told = told
            .with("role_arn", &self.role_arn)
            .with("role_session_name", &self.told_name);
        self.request.tell(told)
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

impl fmt::Debug for Sts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sts")
            .field("role_arn", &self.role_arn)
            .field("role_session_name", &self.role_session_name)
            .field("request", &self.request)
            .field("caller", &self.caller)
            .finish()
    }
}
