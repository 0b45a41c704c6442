//! The environment of the program: what leads to the endpoint, and nothing that leads elsewhere.
//!
//! SDKs look for credentials in an order of their own: keys in the environment, a web identity,
//! profiles, and only then the endpoint. So everything before the endpoint is taken away.

use std::ffi::{OsStr, OsString};
use std::process::Command;

use brs::TemporaryCredentials;

use super::files::Files;
use crate::output;

/// Each of these leads to another identity, or is the outer endpoint's in a nested `exec`.
const REMOVED: [&str; 15] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_CREDENTIAL_FILE",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_ACCOUNT_ID",
];

const URI: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
const TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";

/// What the program is told of the session.
pub(super) struct Child {
    pub(super) session: String,
    pub(super) region: Option<String>,
}

impl Child {
    /// Leads the program to the endpoint.
    pub(super) fn with_endpoint(
        &self,
        command: &mut Command,
        url: &str,
        token: &str,
        files: &Files,
    ) {
        self.with_neither(command);
        command.env(URI, url);
        match &files.token {
            Some(path) => command.env_remove(TOKEN).env(TOKEN_FILE, path),
            None => command.env(TOKEN, token),
        };
        if let Some(credentials) = &files.credentials {
            command.env("AWS_SHARED_CREDENTIALS_FILE", credentials);
            // The old boto's file, which botocore reads before it asks an endpoint.
            if has_boto_file() {
                command.env("BOTO_CONFIG", credentials);
            }
        }
        if let Some(config) = &files.config {
            command.env("AWS_CONFIG_FILE", config);
        }
        let given = ["NO_PROXY", "no_proxy"].map(std::env::var_os);
        for (name, value) in without_proxy(given) {
            command.env(name, value);
        }
    }

    /// Gives the program the keys themselves.
    pub(super) fn with_keys(
        &self,
        command: &mut Command,
        set: &TemporaryCredentials,
        keeps_files: bool,
    ) {
        self.with_neither(command);
        command.env_remove(URI).env_remove(TOKEN);
        for (name, value) in output::variables(set) {
            command.env(name, value.as_str());
        }
        // Nobody is left to remove files: an empty one is there already.
        if !keeps_files {
            command.env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
        }
    }

    fn with_neither(&self, command: &mut Command) {
        for name in REMOVED {
            command.env_remove(name);
        }
        command.env("BRS_SESSION", &self.session);
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        // Without it the SDK for JavaScript v2 goes back to a key.
        command.env("AWS_SDK_LOAD_CONFIG", "1");
        if let Some(region) = &self.region {
            // The AWS CLI v1 reads only the second.
            command
                .env("AWS_REGION", region)
                .env("AWS_DEFAULT_REGION", region);
        }
    }
}

/// Both spellings of `NO_PROXY`, with this machine in them: a proxy would not find the endpoint.
fn without_proxy([upper, lower]: [Option<OsString>; 2]) -> [(&'static str, OsString); 2] {
    let filled = |value: &Option<OsString>| value.clone().filter(|value| !value.is_empty());
    let (upper, lower) = (filled(&upper), filled(&lower));
    // Clients differ in which one they read: a new one must not hide what the other says.
    let of_upper = with_this_machine(upper.as_deref().or(lower.as_deref()));
    let of_lower = with_this_machine(lower.as_deref().or(upper.as_deref()));
    [("NO_PROXY", of_upper), ("no_proxy", of_lower)]
}

fn with_this_machine(given: Option<&OsStr>) -> OsString {
    let mut list = given.unwrap_or_default().to_owned();
    let text = list.to_string_lossy().into_owned();
    let hosts: Vec<&str> = text.split(',').map(str::trim).collect();
    // Alone it stands for every host; in a list, clients take it for a name.
    if hosts == ["*"] {
        return list;
    }
    for host in ["127.0.0.1", "localhost"] {
        if hosts.contains(&host) {
            continue;
        }
        if !list.is_empty() {
            list.push(",");
        }
        list.push(host);
    }
    list
}

/// Whether botocore would find a file of the old boto.
fn has_boto_file() -> bool {
    let of_home = std::env::home_dir().map(|home| home.join(".boto"));
    std::env::var_os("BOTO_CONFIG").is_some()
        || of_home.is_some_and(|path| path.exists())
        || std::path::Path::new("/etc/boto.cfg").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_added_once_to_both_spellings() {
        let lists = |upper: Option<&str>, lower: Option<&str>| {
            let [(_, upper), (_, lower)] =
                without_proxy([upper, lower].map(|value| value.map(OsString::from)));
            [upper, lower].map(|list| list.into_string().unwrap())
        };
        for (upper, lower, expected) in [
            (None, None, ["127.0.0.1,localhost"; 2]),
            (Some(""), None, ["127.0.0.1,localhost"; 2]),
            (Some("a"), None, ["a,127.0.0.1,localhost"; 2]),
            (None, Some("b"), ["b,127.0.0.1,localhost"; 2]),
            (
                Some("a"),
                Some("b"),
                ["a,127.0.0.1,localhost", "b,127.0.0.1,localhost"],
            ),
            (Some("localhost"), None, ["localhost,127.0.0.1"; 2]),
            (
                Some("127.0.0.1, localhost"),
                None,
                ["127.0.0.1, localhost"; 2],
            ),
            (Some("*"), None, ["*"; 2]),
        ] {
            assert_eq!(lists(upper, lower), expected, "{upper:?} {lower:?}");
        }
    }
}
