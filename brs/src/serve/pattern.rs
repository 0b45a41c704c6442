//! ARNs of roles, and the patterns that say which of them may be asked for.
//!
//! A pattern is an ARN in which `*` stands for any characters and `?` for one, as in IAM policies:
//! part by part, so that neither crosses a colon. `*` alone is every role.

use brs_core::Error;

/// Which roles.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Option<[String; 6]>);

impl Pattern {
    /// Reads a pattern; `param` names it in the error.
    pub(super) fn new(text: &str, param: &str) -> Result<Self, Error> {
        if text == "*" {
            return Ok(Self(None));
        }
        let wrong = || {
            Error::validation(format!(
                "`{}` is not a pattern of roles: give one like `arn:aws:iam::*:role/deploy-*`, or `*` for all",
                text.chars().take(128).collect::<String>()
            ))
            .with_param(param)
        };
        let parts = parts(text).ok_or_else(wrong)?;
        if parts[0] != "arn" || parts[2] != "iam" || !parts[3].is_empty() {
            return Err(wrong());
        }
        Ok(Self(Some(parts.map(str::to_owned))))
    }

    /// Whether it is one of these roles. `arn` is a role's: see [`is_role_arn`].
    pub(super) fn matches(&self, arn: &str) -> bool {
        let Some(pattern) = &self.0 else {
            return true;
        };
        parts(arn).is_some_and(|arn| {
            pattern
                .iter()
                .zip(arn)
                .all(|(pattern, part)| fits(pattern.as_bytes(), part.as_bytes()))
        })
    }
}

fn parts(arn: &str) -> Option<[&str; 6]> {
    arn.split(':').collect::<Vec<_>>().try_into().ok()
}

/// Whether a text fits a pattern with `*` and `?`.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut in_text) = (0, 0);
    // The last star, and where the text behind it begins.
    let mut star: Option<(usize, usize)> = None;
    while in_text < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_text));
                at += 1;
            }
            Some(b'?') => (at, in_text) = (at + 1, in_text + 1),
            Some(byte) if *byte == text[in_text] => (at, in_text) = (at + 1, in_text + 1),
            _ => match &mut star {
                Some((starred, begin)) => {
                    *begin += 1;
                    (at, in_text) = (*starred + 1, *begin);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Whether it is the ARN of a role, by IAM's rules for names and paths.
pub(super) fn is_role_arn(arn: &str) -> bool {
    let Some([prefix, partition, service, region, account, resource]) = parts(arn) else {
        return false;
    };
    let is_partition = !partition.is_empty()
        && partition
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let is_head = prefix == "arn" && is_partition && service == "iam" && region.is_empty();
    let Some(name) = resource.strip_prefix("role/") else {
        return false;
    };
    let is_name = name.len() <= 576
        && name
            .split('/')
            .all(|part| !part.is_empty() && part.bytes().all(is_of_a_name));
    is_head && is_account && is_name
}

fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte)
}

/// The name at the end of a role's ARN.
pub(super) fn role_name(arn: &str) -> Option<&str> {
    is_role_arn(arn).then(|| arn.rsplit('/').next()).flatten()
}

/// The account in an ARN.
pub(super) fn account(arn: &str) -> Option<&str> {
    parts(arn)
        .map(|parts| parts[4])
        .filter(|account| account.len() == 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text, "roles").unwrap()
    }

    #[test]
    fn patterns_match_part_by_part() {
        let deploy = pattern("arn:aws:iam::*:role/deploy-*");
        for (arn, expected) in [
            ("arn:aws:iam::123456789012:role/deploy-web", true),
            ("arn:aws:iam::123456789012:role/deploy-", true),
            ("arn:aws:iam::123456789012:role/deploy-web/of/a/path", true),
            ("arn:aws:iam::123456789012:role/team/deploy-web", false),
            ("arn:aws:iam::123456789012:role/Deploy-web", false),
            ("arn:aws-cn:iam::123456789012:role/deploy-web", false),
            ("arn:aws:iam::123456789012:role/x:role/deploy-web", false),
        ] {
            assert_eq!(deploy.matches(arn), expected, "{arn}");
        }
        assert!(pattern("*").matches("arn:aws:iam::123456789012:role/any"));
        let one = pattern("arn:aws:iam::123456789012:role/a?c*e");
        assert!(one.matches("arn:aws:iam::123456789012:role/abcde"));
        assert!(!one.matches("arn:aws:iam::123456789012:role/acde"));
    }

    #[test]
    fn stars_try_every_place() {
        for (text, expected) in [
            ("aXbXc", true),
            ("abc", true),
            ("aXbXcX", false),
            ("abXcbc", true),
        ] {
            assert_eq!(fits(b"a*b*c", text.as_bytes()), expected, "{text}");
        }
        // Not in exponential time.
        let many_stars = [b"a*".repeat(40), b"b".to_vec()].concat();
        assert!(!fits(&many_stars, &[b'a'; 4000]));
    }

    #[test]
    fn patterns_of_something_else_are_refused() {
        for text in [
            "",
            "role/x",
            "arn:aws:iam::*",
            "arn:aws:s3:::bucket",
            "arn:aws:iam:eu:1:role/x",
            "**",
        ] {
            assert_eq!(
                Pattern::new(text, "roles").unwrap_err().param(),
                Some("roles")
            );
        }
    }

    #[test]
    fn role_arns_are_told_from_everything_else() {
        for arn in [
            "arn:aws:iam::123456789012:role/app",
            "arn:aws-us-gov:iam::123456789012:role/path/of/app+=,.@-_",
        ] {
            assert!(is_role_arn(arn), "{arn}");
        }
        assert_eq!(
            role_name("arn:aws:iam::123456789012:role/p/app"),
            Some("app")
        );
        for arn in [
            "",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:role/a//b",
            "arn:aws:iam::123456789012:role/a/",
            "arn:aws:iam::12345678901:role/app",
            "arn:aws:iam::123456789012:user/app",
            "arn:aws:sts::123456789012:assumed-role/app/x",
            "arn:aws:iam::123456789012:role/app\r\n",
            "arn:aws:iam::123456789012:role/a b",
            "arn:aws:iam::123456789012:role/a:b",
            "ARN:aws:iam::123456789012:role/app",
        ] {
            assert!(!is_role_arn(arn), "{arn}");
        }
    }
}
