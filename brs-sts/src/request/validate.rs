//! The limits of the AssumeRole request, checked before anything is sent.
//!
//! All of them are those of the AWS STS API reference, AssumeRole, and of its data types
//! PolicyDescriptorType, Tag and ProvidedContext. AWS counts characters; its `\w` is
//! `[A-Za-z0-9_]`. An error names the field, the limit and how long the value is, and shows no
//! value: external ids, codes, assertions and policies are not for logs.

use std::collections::HashSet;
use std::time::Duration;

use brs_core::Error;
use brs_core::kit::is_account_id;

use crate::mfa::code::is_code;
use crate::request::params::AssumeRole;
use crate::request::session_name;

const ROLE_ARN: &str = "must be a role's ARN, `arn:aws:iam::<12-digit account>:role/<name>` (or in another \
                        `aws-…` partition)";
const DURATION: (u64, u64) = (900, 43_200);
const NAME_CHARACTERS: &str = "+=,.@-";

/// What is wrong with a value, as the end of a sentence that begins with the field's name.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("must have {min} to {max} characters, not {found}")]
    Length {
        min: usize,
        max: usize,
        found: usize,
    },
    #[error("may hold only {allowed}; character {position} is something else")]
    Characters { allowed: String, position: usize },
    #[error("may have at most {max} entries, not {found}")]
    Count { max: usize, found: usize },
    #[error("{0}")]
    Shape(&'static str),
    #[error("{0}")]
    Text(String),
    #[error("must be {min} to {max} {unit}, not {found}")]
    Range {
        min: u64,
        max: u64,
        unit: &'static str,
        found: u64,
    },
}

impl Invalid {
    /// The validation error for a field.
    pub(crate) fn at(self, param: impl Into<String>) -> Error {
        let param = param.into();
        Error::validation(format!("`{param}` {self}"))
            .with_param(param)
            .unrecoverable()
    }
}

impl AssumeRole {
    /// Checks all twelve fields.
    pub(crate) fn validate(&self, has_provider: bool) -> Result<(), Error> {
        check("assume_role.role_arn", self.role_arn.as_deref(), role_arn)?;
        session_name::check(self.session_name())
            .map_err(|invalid| invalid.at("assume_role.role_session_name"))?;
        policies("assume_role.", &self.policy_arns, self.policy.as_deref())?;
        check("assume_role.duration", self.duration, duration)?;
        check(
            "assume_role.external_id",
            self.external_id.as_deref(),
            external_id,
        )?;
        self.validate_mfa(has_provider)?;
        self.validate_tags()?;
        check(
            "assume_role.source_identity",
            self.source_identity.as_deref(),
            source_identity,
        )?;
        count(self.provided_contexts.len(), 5)
            .map_err(|invalid| invalid.at("assume_role.provided_contexts"))?;
        for (index, context) in self.provided_contexts.iter().enumerate() {
            let at = |field| format!("assume_role.provided_contexts[{index}].{field}");
            length(&context.provider_arn, 20, 2048)
                .map_err(|invalid| invalid.at(at("provider_arn")))?;
            length(context.context_assertion.expose(), 4, 2048)
                .map_err(|invalid| invalid.at(at("context_assertion")))?;
        }
        Ok(())
    }

    /// A device without a code, or a code without a device, is no single field's fault.
    fn validate_mfa(&self, has_provider: bool) -> Result<(), Error> {
        check(
            "assume_role.serial_number",
            self.serial_number.as_deref(),
            serial_number,
        )?;
        check(
            "assume_role.token_code",
            self.token_code.as_ref().map(|code| code.expose()),
            token_code,
        )?;
        if has_provider {
            return Ok(());
        }
        let (given, missing) = match (&self.serial_number, &self.token_code) {
            (Some(_), None) => ("serial_number", "token_code"),
            (None, Some(_)) => ("token_code", "serial_number"),
            _ => return Ok(()),
        };
        Err(Error::configuration(format!(
            "`assume_role.{given}` needs `assume_role.{missing}`: for a role that asks for MFA give a serial number \
             and an `mfa_token_provider` (or, for a single refresh, a token code); else neither"
        ))
        .with_param(format!("assume_role.{missing}"))
        .unrecoverable())
    }

    fn validate_tags(&self) -> Result<(), Error> {
        count(self.tags.len(), 50).map_err(|invalid| invalid.at("assume_role.tags"))?;
        let mut seen = HashSet::new();
        for (index, tag) in self.tags.iter().enumerate() {
            let at = |field| format!("assume_role.tags[{index}].{field}");
            tag_text(&tag.key, 1, 128).map_err(|invalid| invalid.at(at("key")))?;
            tag_text(&tag.value, 0, 256).map_err(|invalid| invalid.at(at("value")))?;
            if starts_with_aws(&tag.key) {
                return Err(
                    Invalid::Shape("must not begin with `aws:`, which AWS reserves").at(at("key")),
                );
            }
            if !seen.insert(tag.key.to_lowercase()) {
                return Err(Invalid::Shape(
                    "is the key of an earlier tag: upper and lower case count as the same",
                )
                .at(at("key")));
            }
        }
        count(self.transitive_tag_keys.len(), 50)
            .map_err(|invalid| invalid.at("assume_role.transitive_tag_keys"))?;
        for (index, key) in self.transitive_tag_keys.iter().enumerate() {
            tag_text(key, 1, 128).map_err(|invalid| {
                invalid.at(format!("assume_role.transitive_tag_keys[{index}]"))
            })?;
        }
        Ok(())
    }
}

/// Session policies, of any request that has them.
pub(crate) fn policies(prefix: &str, arns: &[String], inline: Option<&str>) -> Result<(), Error> {
    count(arns.len(), 10).map_err(|invalid| invalid.at(format!("{prefix}policy_arns")))?;
    for (index, arn) in arns.iter().enumerate() {
        policy_arn(arn).map_err(|invalid| invalid.at(format!("{prefix}policy_arns[{index}]")))?;
    }
    check(&format!("{prefix}policy"), inline, policy)
}

pub(crate) fn check<T>(
    param: &str,
    value: Option<T>,
    check: impl FnOnce(T) -> Result<(), Invalid>,
) -> Result<(), Error> {
    value
        .map_or(Ok(()), check)
        .map_err(|invalid| invalid.at(param))
}

pub(crate) fn length(text: &str, min: usize, max: usize) -> Result<(), Invalid> {
    let found = text.chars().count();
    if (min..=max).contains(&found) {
        Ok(())
    } else {
        Err(Invalid::Length { min, max, found })
    }
}

fn count(found: usize, max: usize) -> Result<(), Invalid> {
    if found <= max {
        Ok(())
    } else {
        Err(Invalid::Count { max, found })
    }
}

/// `\w` and `extra`.
fn text(text: &str, min: usize, max: usize, extra: &str) -> Result<(), Invalid> {
    length(text, min, max)?;
    match text
        .chars()
        .position(|c| !c.is_ascii_alphanumeric() && c != '_' && !extra.contains(c))
    {
        None => Ok(()),
        Some(index) => Err(Invalid::Characters {
            allowed: format!("letters, digits and any of `_{extra}`"),
            position: index + 1,
        }),
    }
}

pub(crate) fn name(name: &str) -> Result<(), Invalid> {
    text(name, 2, 64, NAME_CHARACTERS)
}

pub(crate) fn external_id(id: &str) -> Result<(), Invalid> {
    text(id, 2, 1224, "+=,.@:/-")
}

pub(crate) fn serial_number(serial: &str) -> Result<(), Invalid> {
    text(serial, 9, 256, "+=/:,.@-")
}

pub(crate) fn role_arn(arn: &str) -> Result<(), Invalid> {
    length(arn, 20, 2048)?;
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    let [prefix, partition, service, region, account, resource] = parts[..] else {
        return Err(Invalid::Shape(ROLE_ARN));
    };
    let partition_is_aws = partition == "aws"
        || partition.strip_prefix("aws-").is_some_and(|rest| {
            !rest.is_empty()
                && rest
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        });
    // `role/path/name`: the name is what follows the last slash.
    let resource_is_role = resource.strip_prefix("role/").is_some_and(|role| {
        !role.is_empty() && !role.ends_with('/') && role.chars().all(|c| c.is_ascii_graphic())
    });
    let well_formed = prefix == "arn"
        && partition_is_aws
        && service == "iam"
        && region.is_empty()
        && is_account_id(account)
        && resource_is_role;
    if well_formed {
        Ok(())
    } else {
        Err(Invalid::Shape(ROLE_ARN))
    }
}

fn policy_arn(arn: &str) -> Result<(), Invalid> {
    length(arn, 20, 2048)?;
    if arn.starts_with("arn:") {
        Ok(())
    } else {
        Err(Invalid::Shape(
            "must be a managed policy's ARN, `arn:…:policy/…`",
        ))
    }
}

fn policy(policy: &str) -> Result<(), Invalid> {
    length(policy, 1, 2048)?;
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{ff}');
    if let Some(index) = policy.chars().position(|c| !allowed(c)) {
        let allowed = "Latin-1 characters, tabs and line breaks".to_owned();
        return Err(Invalid::Characters {
            allowed,
            position: index + 1,
        });
    }
    match serde_json::from_str::<serde_json::Value>(policy) {
        Ok(serde_json::Value::Object(_)) => Ok(()),
        Ok(_) => Err(Invalid::Shape(
            "must be a policy document: a JSON object, not another JSON value",
        )),
        Err(_) => Err(Invalid::Shape(
            "must be a policy document: a JSON object, and this is not JSON",
        )),
    }
}

pub(crate) fn duration(duration: Duration) -> Result<(), Invalid> {
    seconds(duration, DURATION)
}

pub(crate) fn seconds(duration: Duration, (min, max): (u64, u64)) -> Result<(), Invalid> {
    if duration.subsec_nanos() != 0 {
        return Err(Invalid::Shape(
            "must be whole seconds, since AWS accepts no fraction",
        ));
    }
    let found = duration.as_secs();
    if (min..=max).contains(&found) {
        Ok(())
    } else {
        Err(Invalid::Range {
            min,
            max,
            unit: "seconds",
            found,
        })
    }
}

pub(crate) fn token_code(code: &str) -> Result<(), Invalid> {
    if is_code(code) {
        Ok(())
    } else {
        Err(Invalid::Shape("must be exactly 6 digits"))
    }
}

fn source_identity(identity: &str) -> Result<(), Invalid> {
    if starts_with_aws(identity) {
        return Err(Invalid::Shape(
            "must not begin with `aws:`, which AWS reserves",
        ));
    }
    name(identity)
}

fn starts_with_aws(text: &str) -> bool {
    text.get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("aws:"))
}

/// `[\p{L}\p{Z}\p{N}_.:/=+\-@]`, or a little more: the last word on Unicode classes is AWS's.
fn tag_text(text: &str, min: usize, max: usize) -> Result<(), Invalid> {
    length(text, min, max)?;
    let allowed = |c: char| {
        c.is_alphanumeric() || (c.is_whitespace() && !c.is_control()) || "_.:/=+-@".contains(c)
    };
    match text.chars().position(|c| !allowed(c)) {
        None => Ok(()),
        Some(index) => Err(Invalid::Characters {
            allowed: "letters, digits, spaces and any of `_.:/=+-@`".into(),
            position: index + 1,
        }),
    }
}

#[cfg(test)]
mod tests;
