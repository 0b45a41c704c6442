//! The AWS config file, line by line: the settings of one profile without its credentials.
//!
//! Lines are kept as they are. A key's further lines are indented more: they stay or go with it.

/// The profile that is used if none is named.
pub(super) const DEFAULT: &str = "default";

/// Keys that lead to credentials. Those that begin with `sso_` do, too.
const CREDENTIALS: [&str; 14] = [
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "aws_account_id",
    "credential_process",
    "credential_source",
    "role_arn",
    "source_profile",
    "mfa_serial",
    "external_id",
    "role_session_name",
    "duration_seconds",
    "web_identity_token_file",
    "login_session",
];

/// What a section is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section<'a> {
    Profile(&'a str),
    /// `[profile default]`, which takes precedence over `[default]`.
    ExplicitDefault,
    /// `[services …]` and `[sso-session …]`.
    Shared,
    Other,
}

/// The config file that a program gets: the profile as `[default]`, without keys that lead to
/// credentials, and the sections that profiles refer to.
pub(super) fn without_credentials(config: &str, profile: &str) -> String {
    let (mut of_profile, mut shared) = (String::new(), String::new());
    let mut of_explicit: Option<String> = None;
    let mut section = Section::Other;
    // The indentation of the key that is being left out: what is indented further is its value.
    let mut left_out = None;
    for line in config.lines() {
        if let Some(name) = section_name(line) {
            section = Section::of(name);
            left_out = None;
            match section {
                Section::Shared => push(&mut shared, line),
                Section::ExplicitDefault => {
                    of_explicit.get_or_insert_default();
                }
                _ => {}
            }
            continue;
        }
        if section != Section::Shared && !line.trim().is_empty() {
            let indentation = line.len() - line.trim_start().len();
            if left_out.is_some_and(|of_key| indentation > of_key) {
                continue;
            }
            left_out = key_of(line)
                .filter(|key| is_credential(key))
                .map(|_| indentation);
            if left_out.is_some() {
                continue;
            }
        }
        match section {
            Section::Profile(name) if name == profile => push(&mut of_profile, line),
            Section::ExplicitDefault if profile == DEFAULT => {
                push(of_explicit.get_or_insert_default(), line);
            }
            Section::Shared => push(&mut shared, line),
            _ => {}
        }
    }
    let settings = of_explicit
        .filter(|_| profile == DEFAULT)
        .unwrap_or(of_profile);
    format!("[default]\n{settings}{shared}")
}

/// A key of the default profile that leads to credentials.
pub(super) fn credential_key(file: &str) -> Option<String> {
    let mut section = Section::Other;
    for line in file.lines() {
        if let Some(name) = section_name(line) {
            section = Section::of(name);
        } else if matches!(
            section,
            Section::Profile(DEFAULT) | Section::ExplicitDefault
        ) && let Some(key) = key_of(line).filter(|key| is_credential(key))
        {
            return Some(key.to_ascii_lowercase());
        }
    }
    None
}

impl<'a> Section<'a> {
    fn of(name: &'a str) -> Self {
        let (kind, rest) = match name.split_once([' ', '\t']) {
            Some((kind, rest)) => (kind, rest.trim()),
            None if name == DEFAULT => return Self::Profile(DEFAULT),
            None => return Self::Other,
        };
        let quoted = ['"', '\'']
            .iter()
            .find_map(|quote| rest.strip_prefix(*quote)?.strip_suffix(*quote));
        match (kind, quoted.unwrap_or(rest)) {
            ("profile", DEFAULT) => Self::ExplicitDefault,
            ("profile", name) => Self::Profile(name),
            ("services" | "sso-session", _) => Self::Shared,
            _ => Self::Other,
        }
    }
}

fn section_name(line: &str) -> Option<&str> {
    let (name, _) = line.trim_start().strip_prefix('[')?.split_once(']')?;
    Some(name.trim())
}

/// The key that a line gives a value to; none for a comment and a blank.
///
/// Readers differ in what they make of an indented line: Python's takes one for a key unless the
/// line before is indented less. So it counts as one here.
fn key_of(line: &str) -> Option<&str> {
    let line = line.trim_start();
    if line.starts_with(['#', ';']) {
        return None;
    }
    let end = line.find(['=', ':'])?;
    line.get(..end).map(str::trim)
}

fn is_credential(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    CREDENTIALS.contains(&key.as_str()) || key.starts_with("sso_")
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "\
# mine
[default]
region = eu-west-1
aws_access_key_id = AKIADEFAULT
Aws_Secret_Access_Key = hush

[profile dev]
region=eu-north-1
role_arn = arn:aws:iam::123456789012:role/dev
source_profile = default
sso_account_id = 123456789012
SSO_SESSION = corp
s3 =
  max_concurrent_requests = 20
  addressing_style = path
credential_process =
  /bin/keys
services = local

[profile \"with blank\"]
region = us-east-2

[sso-session corp]
sso_region = us-east-1

[services local]
s3 =
  endpoint_url = http://localhost:9000

[plugins]
cli_legacy_plugin_path = /x
";

    #[test]
    fn the_profile_becomes_the_default_without_its_credentials() {
        let shared = "[sso-session corp]\nsso_region = us-east-1\n\n\
                      [services local]\ns3 =\n  endpoint_url = http://localhost:9000\n\n";
        let dev = "[default]\nregion=eu-north-1\ns3 =\n  max_concurrent_requests = 20\n  \
                   addressing_style = path\nservices = local\n\n";
        assert_eq!(without_credentials(CONFIG, "dev"), format!("{dev}{shared}"));
        assert_eq!(
            without_credentials(CONFIG, DEFAULT),
            format!("[default]\nregion = eu-west-1\n\n{shared}")
        );
        assert_eq!(
            without_credentials(CONFIG, "with blank"),
            format!("[default]\nregion = us-east-2\n\n{shared}")
        );
        assert_eq!(
            without_credentials(CONFIG, "none"),
            format!("[default]\n{shared}")
        );
        assert_eq!(without_credentials("", DEFAULT), "[default]\n");
    }

    #[test]
    fn the_explicit_default_takes_precedence() {
        let config = "[default]\nregion = a\n[profile default]\nregion = b\nrole_arn = x\n\
                      [ profile other ]\nregion = c\n";
        assert_eq!(
            without_credentials(config, DEFAULT),
            "[default]\nregion = b\n"
        );
        assert_eq!(
            without_credentials(config, "other"),
            "[default]\nregion = c\n"
        );
    }

    #[test]
    fn no_key_of_the_list_stays_in_any_spelling() {
        for key in CREDENTIALS.iter().chain(&["sso_start_url", "sso_anything"]) {
            for line in [
                format!("{key} = hush"),
                format!("{key}=hush"),
                format!("{} : hush", key.to_uppercase()),
                format!("{key} =\n  hush\n\thush"),
                format!("  {key} = hush"),
                format!("\t{key} =\n\t\thush"),
            ] {
                let config = format!("[default]\n{line}\nregion = a\n");
                assert_eq!(
                    without_credentials(&config, DEFAULT),
                    "[default]\nregion = a\n",
                    "{line}"
                );
                let key = key.to_ascii_lowercase();
                assert_eq!(credential_key(&config), Some(key), "{line}");
            }
        }
        assert_eq!(
            credential_key("[profile x]\nrole_arn = y\n[default]\nregion = a\n"),
            None
        );
    }
}
