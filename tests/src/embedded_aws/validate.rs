//! What AWS's validator says about single parameters, before anybody asks whether the call is
//! allowed.
//!
//! Owns the lengths, characters and ranges of the API's reference. What parameters mean together is
//! the actions' business.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::call::Call;
use super::error::AwsError;

/// The lengths and characters of one text parameter.
pub(super) struct Text {
    parameter: &'static str,
    member: &'static str,
    lengths: RangeInclusive<usize>,
    allowed: fn(char) -> bool,
    pattern: &'static str,
}

pub(super) const ROLE_SESSION_NAME: Text = Text {
    parameter: "RoleSessionName",
    member: "roleSessionName",
    lengths: 2..=64,
    allowed: |character| is_word(character) || "+=,.@-".contains(character),
    pattern: "[\\w+=,.@-]*",
};

pub(super) const SOURCE_IDENTITY: Text = Text {
    parameter: "SourceIdentity",
    member: "sourceIdentity",
    ..ROLE_SESSION_NAME
};

pub(super) const EXTERNAL_ID: Text = Text {
    parameter: "ExternalId",
    member: "externalId",
    lengths: 2..=1224,
    allowed: |character| is_word(character) || "+=,.@:/-".contains(character),
    pattern: "[\\w+=,.@:\\/-]*",
};

pub(super) const TOKEN_CODE: Text = Text {
    parameter: "TokenCode",
    member: "tokenCode",
    lengths: 6..=6,
    allowed: |character| character.is_ascii_digit(),
    pattern: "[\\d]*",
};

pub(super) const WEB_IDENTITY_TOKEN: Text = Text {
    parameter: "WebIdentityToken",
    member: "webIdentityToken",
    lengths: 4..=20_000,
    allowed: |_| true,
    pattern: "",
};

pub(super) const SAML_ASSERTION: Text = Text {
    parameter: "SAMLAssertion",
    member: "sAMLAssertion",
    lengths: 4..=100_000,
    allowed: |_| true,
    pattern: "",
};

pub(super) const PRINCIPAL_ARN: Text = Text {
    parameter: "PrincipalArn",
    member: "principalArn",
    lengths: 20..=2048,
    allowed: is_arn,
    pattern: "[\\u0009\\u000A\\u000D\\u0020-\\u007E\\u0085\\u00A0-\\uD7FF\\uE000-\\uFFFD\\u10000-\\u10FFFF]+",
};

pub(super) const TARGET_PRINCIPAL: Text = Text {
    parameter: "TargetPrincipal",
    member: "targetPrincipal",
    lengths: 12..=2048,
    ..PRINCIPAL_ARN
};

pub(super) const TASK_POLICY: Text = Text {
    parameter: "TaskPolicyArn.arn",
    member: "taskPolicyArn.arn",
    ..PRINCIPAL_ARN
};

impl Text {
    /// The parameter's value, which must be there.
    pub(super) fn required<'a>(&self, call: &'a Call) -> Result<&'a str, AwsError> {
        self.optional(call)?.ok_or_else(|| missing(self.member))
    }

    /// The parameter's value, if it is there.
    pub(super) fn optional<'a>(&self, call: &'a Call) -> Result<Option<&'a str>, AwsError> {
        let Some(value) = call.parameter(self.parameter) else {
            return Ok(None);
        };
        check_length(self.member, value, &self.lengths)?;
        if !value.chars().all(self.allowed) {
            let constraint = format!(
                "Member must satisfy regular expression pattern: {}",
                self.pattern
            );
            return Err(AwsError::constraint(self.member, Some(value), &constraint));
        }
        Ok(Some(value))
    }
}

/// A parameter without constraints of its own, which must be there.
pub(super) fn required<'a>(
    call: &'a Call,
    parameter: &str,
    member: &str,
) -> Result<&'a str, AwsError> {
    call.parameter(parameter).ok_or_else(|| missing(member))
}

pub(super) fn missing(member: &str) -> AwsError {
    AwsError::constraint(member, None, "Member must not be null")
}

/// Checks the length of a text in characters.
pub(super) fn check_length(
    member: &str,
    value: &str,
    lengths: &RangeInclusive<usize>,
) -> Result<(), AwsError> {
    let constraint = match value.chars().count() {
        length if length < *lengths.start() => {
            format!("greater than or equal to {}", lengths.start())
        }
        length if length > *lengths.end() => format!("less than or equal to {}", lengths.end()),
        _ => return Ok(()),
    };
    Err(AwsError::constraint(
        member,
        Some(value),
        &format!("Member must have length {constraint}"),
    ))
}

/// Checks how many members a list has; `shown` is the list as the message quotes it.
pub(super) fn check_count(member: &str, shown: &[String], most: usize) -> Result<(), AwsError> {
    if shown.len() <= most {
        return Ok(());
    }
    let shown = format!("[{}]", shown.join(", "));
    let constraint = format!("Member must have length less than or equal to {most}");
    Err(AwsError::constraint(member, Some(&shown), &constraint))
}

/// The requested duration; `None` if the call leaves it to the action's default.
pub(super) fn duration(
    call: &Call,
    seconds: &RangeInclusive<u64>,
    short_durations: bool,
) -> Result<Option<Duration>, AwsError> {
    let Some(text) = call.parameter("DurationSeconds") else {
        return Ok(None);
    };
    let (shortest, longest) = (
        if short_durations { 1 } else { *seconds.start() },
        *seconds.end(),
    );
    let failed =
        |constraint: String| AwsError::constraint("durationSeconds", Some(text), &constraint);
    match text.parse::<i64>().map(u64::try_from) {
        Err(_) => Err(failed("Member must be an integer".to_owned())),
        Ok(Ok(seconds)) if seconds > longest => Err(failed(format!(
            "Member must have value less than or equal to {longest}"
        ))),
        Ok(Ok(seconds)) if seconds >= shortest => Ok(Some(Duration::from_secs(seconds))),
        Ok(_) => Err(failed(format!(
            "Member must have value greater than or equal to {shortest}"
        ))),
    }
}

/// Any character but control characters, as AWS's ARNs may have.
fn is_arn(character: char) -> bool {
    !character.is_control() || "\t\n\r\u{85}".contains(character)
}

/// `\w` of the API reference's patterns.
fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}
