//! What programs would use instead of the session: variables and profiles that take precedence over
//! an endpoint.

use super::report::Report;
use crate::profiles;

const CHECK: &str = "programs";

/// Variables that programs look at before `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
const VARIABLES: [&str; 8] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
];

/// What a profile has credentials by.
const KEYS: [&str; 9] = [
    "aws_access_key_id",
    "role_arn",
    "credential_process",
    "credential_source",
    "web_identity_token_file",
    "sso_session",
    "sso_start_url",
    "sso_account_id",
    "login_session",
];

pub(super) async fn check(report: &mut Report) {
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let variables: Vec<_> = VARIABLES
        .into_iter()
        .filter(is_set)
        .map(|name| format!("`{name}`"))
        .collect();
    if variables.is_empty() {
        report.ok(CHECK, "no variable takes precedence over an endpoint");
    } else {
        let text = format!("{} takes precedence over an endpoint", variables.join(", "));
        report.warn(
            CHECK,
            &text,
            "start programs by `brs exec`, which removes it, or unset it",
        );
    }
    let files = match profiles::load().await {
        Ok(files) => files,
        Err(failure) => return report.failed("profiles", &failure, "correct the file"),
    };
    let named = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok());
    let name = named
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| profiles::DEFAULT.to_owned());
    let profile = files.get_profile(&name);
    let has = |key: &&str| {
        profile
            .and_then(|profile| profile.get(key))
            .is_some_and(|value| !value.is_empty())
    };
    let shown = brs::kit::clean(&name, &[]);
    match KEYS.iter().find(|key| has(key)) {
        Some(key) => report.warn(
            "profiles",
            &format!("the profile `{shown}` has `{key}`, which takes precedence over an endpoint"),
            "start programs by `brs exec`, which hides the profile, or remove the key",
        ),
        None => report.ok(
            "profiles",
            &format!("the profile `{shown}` has no credentials"),
        ),
    }
}
