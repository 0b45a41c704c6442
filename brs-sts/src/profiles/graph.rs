//! What the profile files say about where a profile's credentials come from: the one reader of
//! profiles.
//!
//! A [`Chain`] is the roles to assume, beginning with that of the profile that was asked for, and
//! what the last of them is assumed with. The rules are those of the AWS SDK's reader, whose
//! published cases are in the tests: keys of a *source* take precedence over its role, while only
//! the first profile's role takes precedence over its keys; a profile that is its own source is
//! used for its own credentials; a profile that is met a second time is a loop, whatever keys it
//! has. Beyond them, `mfa_serial` and `duration_seconds` are read, an empty value counts as absent,
//! and what would let a program run as somebody else (a role that is left out) is an error.
//!
//! Contacts nothing, and reads files only to say why a profile is missing. What is done with a
//! chain is `role_profile.rs`'s, with what is at its end `leaf.rs`'s.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use aws_config::profile::{Profile, ProfileSet};
use aws_credential_types::Credentials;
use brs_core::Error;

use crate::environment::profiles::{DEFAULT, files, shown_name};
use crate::environment::{Variables, missing};
use crate::request::session_name;
use crate::request::validate::{self, Invalid};

/// The roles between a profile and the credentials that all of them begin with.
#[derive(Clone, PartialEq)]
pub(crate) struct Chain {
    /// From the profile that was asked for to the one next to the base.
    pub(crate) roles: Vec<Role>,
    pub(crate) base: Base,
}

/// What the last role of a chain is assumed with.
#[derive(Clone, PartialEq)]
pub(crate) enum Base {
    /// A web identity's role.
    WebIdentity(WebIdentity),
    /// Credentials that a profile has by itself; they are read again each time, see [`leaf`].
    Leaf(Owner),
}

/// The profile that a leaf is in, and whether another profile refers to it.
#[derive(Clone, PartialEq)]
pub(crate) struct Owner {
    pub(crate) profile: String,
    pub(crate) is_source: bool,
}

/// A role, and what a profile says about assuming it.
#[derive(Clone, PartialEq)]
pub(crate) struct Role {
    pub(crate) profile: String,
    pub(crate) role_arn: String,
    pub(crate) role_session_name: Option<String>,
    pub(crate) external_id: Option<String>,
    pub(crate) mfa_serial: Option<String>,
    pub(crate) duration: Option<Duration>,
}

/// A role that is assumed with the token in a file.
#[derive(Clone, PartialEq)]
pub(crate) struct WebIdentity {
    /// `None` where the environment names it.
    pub(crate) profile: Option<String>,
    pub(crate) role_arn: String,
    pub(crate) token_file: PathBuf,
    pub(crate) role_session_name: Option<String>,
    pub(crate) duration: Option<Duration>,
}

/// Credentials that a profile has by itself.
pub(crate) enum Leaf {
    Keys(Credentials),
    Source(Source),
    Sso(SsoLogin),
    /// The ARN of a console login.
    Login(String),
    Process {
        command: String,
        account_id: Option<String>,
    },
}

/// The values of `credential_source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Environment,
    Instance,
    Container,
}

/// A login at IAM Identity Center, and the role that is asked for there.
#[derive(Debug)]
pub(crate) struct SsoLogin {
    pub(crate) session: Option<String>,
    pub(crate) start_url: String,
    pub(crate) region: String,
    pub(crate) account_id: String,
    pub(crate) role_name: String,
}

impl Chain {
    /// Whether a role is assumed at all.
    pub(crate) fn has_hops(&self) -> bool {
        !self.roles.is_empty() || matches!(self.base, Base::WebIdentity(_))
    }
}

/// What a profile's credentials are; `None` if the profile says nothing about credentials.
pub(crate) fn resolve(profiles: &ProfileSet, name: &str) -> Result<Option<Chain>, Error> {
    let mut roles: Vec<Role> = Vec::new();
    let mut visited: Vec<&str> = Vec::new();
    let mut current = name;
    loop {
        let Some(profile) = profiles.get_profile(current) else {
            return match visited.last() {
                None if current == DEFAULT => Ok(None),
                None => Err(unusable(
                    current,
                    &format!(
                        "it does not exist {}",
                        missing::reasons(&Variables::Process, current)
                    ),
                )),
                Some(user) => Err(unusable(
                    user,
                    &format!(
                        "there is no profile `{}`, its `source_profile`, {}",
                        shown_name(current),
                        missing::reasons(&Variables::Process, current)
                    ),
                )),
            };
        };
        if visited.contains(&current) {
            visited.push(current);
            let round: Vec<_> = visited
                .iter()
                .map(|name| format!("`{}`", shown_name(name)))
                .collect();
            return Err(wrong(
                name,
                &format!(
                    "its `source_profile` leads into a loop, {}",
                    round.join(" → ")
                ),
            ));
        }
        visited.push(current);
        let owner = Owner {
            profile: current.to_owned(),
            is_source: visited.len() > 1,
        };
        if owner.is_source && keys(profile).is_ok_and(|keys| keys.is_some()) {
            return Ok(Some(Chain {
                roles,
                base: Base::Leaf(owner),
            }));
        }
        if let Some(role) = role(profile)? {
            let source = source(profile)?;
            roles.push(role);
            match source {
                Some(source) => current = source,
                None => {
                    if leaf(profiles, &owner)?.is_none() {
                        return Err(wrong(
                            current,
                            "it is its own `source_profile`, and holds no credentials",
                        ));
                    }
                    return Ok(Some(Chain {
                        roles,
                        base: Base::Leaf(owner),
                    }));
                }
            }
        } else if let Some(web_identity) = web_identity(profile)? {
            return Ok(Some(Chain {
                roles,
                base: Base::WebIdentity(web_identity),
            }));
        } else if leaf(profiles, &owner)?.is_some() {
            return Ok(Some(Chain {
                roles,
                base: Base::Leaf(owner),
            }));
        } else if owner.is_source {
            return Err(wrong(
                current,
                "it is a `source_profile`, and holds no credentials",
            ));
        } else {
            return Ok(None);
        }
    }
}

/// The credentials that a profile has by itself; `None` if it has none.
pub(crate) fn leaf(profiles: &ProfileSet, owner: &Owner) -> Result<Option<Leaf>, Error> {
    let Some(profile) = profiles.get_profile(&owner.profile) else {
        return Err(wrong(&owner.profile, "it no longer exists"));
    };
    if owner.is_source
        && let Ok(Some(keys)) = keys(profile)
    {
        return Ok(Some(Leaf::Keys(keys)));
    }
    if let Some(source) = get(profile, "credential_source") {
        return Source::read(source).map(|source| Some(Leaf::Source(source))).ok_or_else(|| {
            wrong(
                profile.name(),
                "its `credential_source` is none of `Environment`, `Ec2InstanceMetadata`, `EcsContainer`",
            )
        });
    }
    if let Some(login) = sso(profiles, profile)? {
        return Ok(Some(Leaf::Sso(login)));
    }
    if let Some(arn) = get(profile, "login_session") {
        return Ok(Some(Leaf::Login(arn.to_owned())));
    }
    if let Some(command) = get(profile, "credential_process") {
        let account_id = get(profile, "aws_account_id").map(str::to_owned);
        return Ok(Some(Leaf::Process {
            command: command.to_owned(),
            account_id,
        }));
    }
    keys(profile).map(|keys| keys.map(Leaf::Keys))
}

/// The role of a profile, with what is checked of it; `None` if it has none, or one for a web
/// identity.
fn role(profile: &Profile) -> Result<Option<Role>, Error> {
    if get(profile, "web_identity_token_file").is_some() {
        return Ok(None);
    }
    let Some(role_arn) = get(profile, "role_arn") else {
        let has_source = get(profile, "source_profile")
            .or_else(|| get(profile, "credential_source"))
            .is_some();
        // Without its role, the profile would be somebody else.
        return match profile.get("role_arn") {
            Some(_) if has_source => Err(wrong(profile.name(), "its `role_arn` is empty")),
            _ => Ok(None),
        };
    };
    check(profile, "role_arn", arn(role_arn))?;
    let external_id = get(profile, "external_id");
    check(
        profile,
        "external_id",
        external_id.map_or(Ok(()), validate::external_id),
    )?;
    let mfa_serial = get(profile, "mfa_serial");
    check(
        profile,
        "mfa_serial",
        mfa_serial.map_or(Ok(()), validate::serial_number),
    )?;
    Ok(Some(Role {
        profile: profile.name().to_owned(),
        role_arn: role_arn.to_owned(),
        role_session_name: role_session_name(profile)?,
        external_id: external_id.map(str::to_owned),
        mfa_serial: mfa_serial.map(str::to_owned),
        duration: duration(profile)?,
    }))
}

/// The profile that a role's source is; `None` if that is the role's own profile.
fn source(profile: &Profile) -> Result<Option<&str>, Error> {
    match (
        get(profile, "source_profile"),
        get(profile, "credential_source"),
    ) {
        (Some(_), Some(_)) => Err(wrong(
            profile.name(),
            "it has both `source_profile` and `credential_source`",
        )),
        (None, None) => Err(wrong(
            profile.name(),
            "its role needs a `source_profile` or a `credential_source`",
        )),
        (Some(source), None) if source != profile.name() => Ok(Some(source)),
        _ => Ok(None),
    }
}

/// The web identity of a profile.
pub(crate) fn web_identity(profile: &Profile) -> Result<Option<WebIdentity>, Error> {
    let Some(token_file) = get(profile, "web_identity_token_file") else {
        return Ok(None);
    };
    let Some(role_arn) = get(profile, "role_arn") else {
        return Err(wrong(
            profile.name(),
            "its `web_identity_token_file` needs a `role_arn`",
        ));
    };
    // The AWS SDK would leave out the role here, other tools the source.
    if get(profile, "credential_source").is_some() {
        return Err(wrong(
            profile.name(),
            "it has both `web_identity_token_file` and `credential_source`",
        ));
    }
    check(profile, "role_arn", arn(role_arn))?;
    Ok(Some(WebIdentity {
        profile: Some(profile.name().to_owned()),
        role_arn: role_arn.to_owned(),
        token_file: token_file.into(),
        role_session_name: role_session_name(profile)?,
        duration: duration(profile)?,
    }))
}

/// The MFA device of a profile.
pub(crate) fn mfa_serial(profile: &Profile) -> Result<Option<&str>, Error> {
    let serial = get(profile, "mfa_serial");
    check(
        profile,
        "mfa_serial",
        serial.map_or(Ok(()), validate::serial_number),
    )?;
    Ok(serial)
}

fn role_session_name(profile: &Profile) -> Result<Option<String>, Error> {
    let name = get(profile, "role_session_name");
    check(
        profile,
        "role_session_name",
        name.map_or(Ok(()), session_name::check),
    )?;
    Ok(name.map(str::to_owned))
}

fn duration(profile: &Profile) -> Result<Option<Duration>, Error> {
    let Some(text) = get(profile, "duration_seconds") else {
        return Ok(None);
    };
    let Ok(duration) = text.parse().map(Duration::from_secs) else {
        return Err(wrong(
            profile.name(),
            "its `duration_seconds` is not a whole number of seconds",
        ));
    };
    check(profile, "duration_seconds", validate::duration(duration))?;
    Ok(Some(duration))
}

/// What else an ARN has to be is for STS to say: the SDK's reader takes any.
fn arn(role_arn: &str) -> Result<(), Invalid> {
    let is_arn =
        role_arn.starts_with("arn:") && role_arn.bytes().all(|byte| byte.is_ascii_graphic());
    if is_arn {
        Ok(())
    } else {
        Err(Invalid::Shape(
            "must be a role's ARN, `arn:aws:iam::<account>:role/<name>`",
        ))
    }
}

/// The keys of a profile; `None` if it has none, an error if it has a part of them.
fn keys(profile: &Profile) -> Result<Option<Credentials>, Error> {
    let parts = [
        "aws_access_key_id",
        "aws_secret_access_key",
        "aws_session_token",
    ];
    let [id, secret, token] = parts.map(|key| get(profile, key));
    let (Some(id), Some(secret)) = (id, secret) else {
        return match parts.iter().any(|key| profile.get(key).is_some()) {
            true if id.is_none() => {
                Err(wrong(profile.name(), "its `aws_access_key_id` is missing"))
            }
            true => Err(wrong(
                profile.name(),
                "its `aws_secret_access_key` is missing",
            )),
            false => Ok(None),
        };
    };
    let mut keys = Credentials::builder()
        .access_key_id(id)
        .secret_access_key(secret)
        .provider_name("ProfileFile");
    keys.set_session_token(token.map(str::to_owned));
    keys.set_account_id(get(profile, "aws_account_id").map(Into::into));
    Ok(Some(keys.build()))
}

fn sso(profiles: &ProfileSet, profile: &Profile) -> Result<Option<SsoLogin>, Error> {
    let own = [
        "sso_session",
        "sso_start_url",
        "sso_region",
        "sso_account_id",
        "sso_role_name",
    ];
    let [session, mut start_url, mut region, account_id, role_name] =
        own.map(|key| get(profile, key));
    if [session, start_url, region, account_id, role_name]
        .iter()
        .all(Option::is_none)
    {
        return Ok(None);
    }
    let name = profile.name();
    if let Some(session) = session {
        for (key, value) in [("sso_start_url", start_url), ("sso_region", region)] {
            if value.is_some() {
                return Err(wrong(
                    name,
                    &format!(
                        "its `{key}` goes in `[sso-session {}]`",
                        shown_name(session)
                    ),
                ));
            }
        }
        let Some(section) = profiles.sso_session(session) else {
            let problem = format!(
                "there is no section `[sso-session {}]`, its `sso_session`{}",
                shown_name(session),
                missing::sso_session(&Variables::Process, session)
            );
            return Err(wrong(name, &problem));
        };
        let of_section = |key| section.get(key).filter(|value| !value.is_empty());
        (start_url, region) = (of_section("sso_start_url"), of_section("sso_region"));
    }
    let missing = |key: &str| wrong(name, &format!("`{key}` is missing for its SSO login"));
    match (account_id, role_name) {
        (Some(account_id), Some(role_name)) => Ok(Some(SsoLogin {
            session: session.map(str::to_owned),
            start_url: start_url
                .ok_or_else(|| missing("sso_start_url"))?
                .to_owned(),
            region: region.ok_or_else(|| missing("sso_region"))?.to_owned(),
            account_id: account_id.to_owned(),
            role_name: role_name.to_owned(),
        })),
        (None, Some(_)) => Err(missing("sso_account_id")),
        (Some(_), None) => Err(missing("sso_role_name")),
        (None, None) => Err(wrong(
            name,
            "its SSO login is for a token, not for credentials: `sso_account_id` and `sso_role_name` are missing",
        )),
    }
}

impl Source {
    /// In any case, as the AWS SDK reads it; botocore takes only the first spelling.
    fn read(text: &str) -> Option<Self> {
        let names = [
            ("Environment", Self::Environment),
            ("Ec2InstanceMetadata", Self::Instance),
            ("EcsContainer", Self::Container),
        ];
        names
            .into_iter()
            .find_map(|(name, source)| name.eq_ignore_ascii_case(text).then_some(source))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Environment => "the environment",
            Self::Instance => "the instance's metadata",
            Self::Container => "the container",
        })
    }
}

/// An empty value counts as absent.
fn get<'a>(profile: &'a Profile, key: &str) -> Option<&'a str> {
    profile.get(key).filter(|value| !value.is_empty())
}

fn check(profile: &Profile, key: &str, result: Result<(), Invalid>) -> Result<(), Error> {
    result.map_err(|invalid| wrong_value(profile.name(), key, &invalid))
}

/// The error for a key of a profile.
pub(crate) fn wrong_value(profile: &str, key: &str, invalid: &Invalid) -> Error {
    wrong(profile, &format!("its `{key}` {invalid}")).with_detail("key", key)
}

/// The error for a profile that cannot be used.
pub(crate) fn wrong(profile: &str, problem: &str) -> Error {
    unusable(profile, &format!("{problem}; check {}", files()))
}

fn unusable(profile: &str, problem: &str) -> Error {
    let profile = shown_name(profile);
    Error::configuration(format!("the profile `{profile}` cannot be used: {problem}"))
        .with_param("profile_name")
        .with_detail("profile", profile)
        .unrecoverable()
}

#[cfg(test)]
mod tests;
