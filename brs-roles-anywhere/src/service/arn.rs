//! ARNs of trust anchors, profiles and roles: their parts, and which of them go together.

use brs_core::Error;
use brs_core::kit::{is_account_id, is_region};

/// As the API has it.
const MAX: usize = 1011;

/// The parts of an ARN that count here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arn<'a> {
    pub(crate) partition: &'a str,
    /// Empty for a role.
    pub(crate) region: &'a str,
    pub(crate) account: &'a str,
    /// What follows the kind: an id, or a role's path and name.
    pub(crate) id: &'a str,
}

/// What an ARN is to be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    TrustAnchor,
    Profile,
    Role,
}

impl Kind {
    fn param(self) -> &'static str {
        match self {
            Self::TrustAnchor => "trust_anchor_arn",
            Self::Profile => "profile_arn",
            Self::Role => "role_arn",
        }
    }

    /// Service and resource.
    fn of(self) -> (&'static str, &'static str) {
        match self {
            Self::TrustAnchor => ("rolesanywhere", "trust-anchor"),
            Self::Profile => ("rolesanywhere", "profile"),
            Self::Role => ("iam", "role"),
        }
    }

    fn example(self) -> &'static str {
        match self {
            Self::TrustAnchor => {
                "a trust anchor's, `arn:aws:rolesanywhere:<region>:<account>:trust-anchor/<id>` (`aws \
                 rolesanywhere list-trust-anchors` shows it)"
            }
            Self::Profile => {
                "a profile's, `arn:aws:rolesanywhere:<region>:<account>:profile/<id>` (`aws \
                 rolesanywhere list-profiles` shows it)"
            }
            Self::Role => "a role's, `arn:aws:iam::<account>:role/<name>`",
        }
    }
}

impl<'a> Arn<'a> {
    /// Takes an ARN apart.
    ///
    /// # Errors
    ///
    /// A validation error that names the parameter.
    pub(crate) fn parse(text: &'a str, kind: Kind) -> Result<Self, Error> {
        Self::parts(text, kind).ok_or_else(|| {
            let other = [Kind::TrustAnchor, Kind::Profile, Kind::Role]
                .into_iter()
                .find(|other| *other != kind && Self::parts(text, *other).is_some());
            let hint = other
                .map(|other| format!("; this one belongs in `{}`", other.param()))
                .unwrap_or_default();
            wrong(kind, &format!("must be {}{hint}", kind.example()))
        })
    }

    fn parts(text: &'a str, kind: Kind) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        let (service, resource) = kind.of();
        if text.len() > MAX || parts.next() != Some("arn") {
            return None;
        }
        let partition = parts.next()?;
        let is_partition = partition == "aws"
            || partition.strip_prefix("aws-").is_some_and(|rest| {
                !rest.is_empty()
                    && rest
                        .bytes()
                        .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
            });
        if !is_partition || parts.next() != Some(service) {
            return None;
        }
        let (region, account) = (parts.next()?, parts.next()?);
        let id = parts.next()?.strip_prefix(resource)?.strip_prefix('/')?;
        let is_region = match kind {
            Kind::Role => region.is_empty(),
            Kind::TrustAnchor | Kind::Profile => is_region(region),
        };
        // IAM's names have no blanks, and a header or a log has no place for control characters.
        let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic());
        (is_region && is_account_id(account) && is_id).then_some(Self {
            partition,
            region,
            account,
            id,
        })
    }
}

/// The three ARNs of a call.
#[derive(Clone, Debug)]
pub(crate) struct Arns<'a> {
    pub(crate) trust_anchor: Arn<'a>,
    pub(crate) profile: Arn<'a>,
    pub(crate) role: Arn<'a>,
}

impl<'a> Arns<'a> {
    /// Takes all three apart, and checks that they go together.
    ///
    /// # Errors
    ///
    /// A validation error that names the parameter that does not fit.
    pub(crate) fn parse(
        trust_anchor: &'a str,
        profile: &'a str,
        role: &'a str,
    ) -> Result<Self, Error> {
        let arns = Self {
            trust_anchor: Arn::parse(trust_anchor, Kind::TrustAnchor)?,
            profile: Arn::parse(profile, Kind::Profile)?,
            role: Arn::parse(role, Kind::Role)?,
        };
        let (of, anchor) = (&arns.profile, &arns.trust_anchor);
        if of.region != anchor.region {
            return Err(wrong(
                Kind::Profile,
                &format!(
                    "is of region `{}`, and the trust anchor of `{}`: both must be in one region",
                    of.region, anchor.region
                ),
            ));
        }
        for (kind, other) in [(Kind::Profile, &arns.profile), (Kind::Role, &arns.role)] {
            if other.partition != anchor.partition {
                return Err(wrong(
                    kind,
                    &format!(
                        "is of partition `{}`, and the trust anchor of `{}`: all must be in one \
                         partition",
                        other.partition, anchor.partition
                    ),
                ));
            }
        }
        Ok(arns)
    }
}

fn wrong(kind: Kind, problem: &str) -> Error {
    let param = kind.param();
    Error::validation(format!("`{param}` {problem}"))
        .with_param(param)
        .unrecoverable()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANCHOR: &str = "arn:aws:rolesanywhere:eu-west-1:123456789012:trust-anchor/a-1";
    const PROFILE: &str = "arn:aws:rolesanywhere:eu-west-1:123456789012:profile/p-1";
    const ROLE: &str = "arn:aws:iam::123456789012:role/team/app";

    #[test]
    fn arns_are_taken_apart() {
        let arns = Arns::parse(ANCHOR, PROFILE, ROLE).unwrap();
        assert_eq!(arns.trust_anchor.region, "eu-west-1");
        assert_eq!(
            (arns.role.account, arns.role.id),
            ("123456789012", "team/app")
        );
    }

    #[test]
    fn what_is_wrong_names_the_parameter() {
        let long = format!("{ROLE}{}", "x".repeat(MAX));
        for (anchor, profile, role, param, words) in [
            ("", PROFILE, ROLE, "trust_anchor_arn", "list-trust-anchors"),
            (
                PROFILE,
                PROFILE,
                ROLE,
                "trust_anchor_arn",
                "belongs in `profile_arn`",
            ),
            (
                ANCHOR,
                ANCHOR,
                ROLE,
                "profile_arn",
                "belongs in `trust_anchor_arn`",
            ),
            (
                ANCHOR,
                PROFILE,
                PROFILE,
                "role_arn",
                "belongs in `profile_arn`",
            ),
            (ANCHOR, PROFILE, "app", "role_arn", "must be a role's"),
            (
                ANCHOR,
                PROFILE,
                "arn:aws:iam::1234:role/app",
                "role_arn",
                "must be a role's",
            ),
            (
                ANCHOR,
                PROFILE,
                "arn:aws:iam::123456789012:role/",
                "role_arn",
                "must be a role's",
            ),
            (
                ANCHOR,
                PROFILE,
                "arn:aws:iam::123456789012:role/a b",
                "role_arn",
                "must be a role's",
            ),
            (
                ANCHOR,
                PROFILE,
                "arn:aws:iam::123456789012:user/app",
                "role_arn",
                "must be a role's",
            ),
            (ANCHOR, PROFILE, &long, "role_arn", "must be a role's"),
            (
                ANCHOR,
                "arn:aws:rolesanywhere:us-east-1:123456789012:profile/p-1",
                ROLE,
                "profile_arn",
                "both must be in one region",
            ),
            (
                ANCHOR,
                PROFILE,
                "arn:aws-cn:iam::123456789012:role/app",
                "role_arn",
                "one partition",
            ),
        ] {
            let error = Arns::parse(anchor, profile, role).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.param(), Some(param), "{error}");
            assert!(error.is_unrecoverable());
        }
    }
}
