//! What aws-config's providers read by themselves when credentials are first needed, judged when a
//! session is built.
//!
//! Only a session that looks for its base credentials is judged: with credentials given none of
//! this is read. Those providers take values as they are, so white space around one is an error
//! here.

use brs_core::Error;

use super::machine::has_container;
use super::settings::boolean;
use super::{Place, Reader};

/// A variable, its profile key, what is wrong otherwise, and what is right.
type Check = (
    &'static str,
    Option<&'static str>,
    &'static str,
    fn(&str) -> bool,
);

const NO_HEADER: &str = "holds a control character, which no HTTP header can hold: remove it";

const CHECKS: &[Check] = &[
    (
        "AWS_EC2_METADATA_DISABLED",
        None,
        "is not a boolean: it must be `true` or `false`",
        is_boolean,
    ),
    (
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        Some("ec2_metadata_service_endpoint"),
        "is not a URL: it must look like `http://169.254.169.254`",
        is_http,
    ),
    (
        "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
        Some("ec2_metadata_service_endpoint_mode"),
        "is not a mode: it must be `IPv4` or `IPv6`",
        |text| text.eq_ignore_ascii_case("ipv4") || text.eq_ignore_ascii_case("ipv6"),
    ),
    (
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        None,
        "is not a path: it must begin with `/`",
        |text| text.starts_with('/') && text.parse::<http::Uri>().is_ok(),
    ),
    (
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        None,
        "is not a URL: it must look like `http://169.254.170.23/path`",
        is_http,
    ),
    (
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        None,
        NO_HEADER,
        is_header,
    ),
    (
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        None,
        "is not a path",
        |_| true,
    ),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", None, "is not a path", |_| {
        true
    }),
    (
        "AWS_ROLE_ARN",
        None,
        "is not a role's ARN: it must look like `arn:aws:iam::123456789012:role/name`",
        |text| text.starts_with("arn:"),
    ),
    ("AWS_ROLE_SESSION_NAME", None, "", |_| true),
    // Keys: any text, but they must be readable, or the program would run as somebody else.
    ("AWS_ACCESS_KEY_ID", None, "", |_| true),
    ("AWS_SECRET_ACCESS_KEY", None, "", |_| true),
    ("AWS_SESSION_TOKEN", None, "", |_| true),
    ("AWS_ACCOUNT_ID", None, "", |_| true),
];

/// Checks what every SDK client sends as it is.
pub(crate) fn clients(reader: &Reader<'_>) -> Result<(), Error> {
    let name = "AWS_EXECUTION_ENV";
    reader.variables.get(name)?;
    match reader.variables.raw(name) {
        Some(raw) if !raw.to_str().is_some_and(is_header) => {
            Err(Place::variable(name).wrong(NO_HEADER))
        }
        _ => Ok(()),
    }
}

/// Checks the settings of providers.
pub(crate) fn providers(reader: &Reader<'_>) -> Result<(), Error> {
    for (variable, key, problem, is_right) in CHECKS {
        let keys: &[&str] = key.as_ref().map_or(&[], std::slice::from_ref);
        let Some((value, place)) = reader.find(&[variable], keys)? else {
            continue;
        };
        if !is_right(&value) {
            return Err(place.wrong(problem));
        }
        // What has no rule here, a key for instance, is judged where it is used.
        let raw = |name| reader.variables.raw(name);
        let padded =
            matches!(&place, Place::Variable(name) if raw(name).is_some_and(|raw| raw != *value));
        if padded && !problem.is_empty() {
            return Err(place.wrong("has white space around its value: remove it"));
        }
    }
    has_container(reader.variables).map(|_| ())
}

fn is_boolean(text: &str) -> bool {
    boolean(text).is_some()
}

fn is_http(text: &str) -> bool {
    let Ok(uri) = text.parse::<http::Uri>() else {
        return false;
    };
    matches!(uri.scheme_str(), Some("http" | "https"))
        && uri.host().is_some_and(|host| !host.is_empty())
}

fn is_header(text: &str) -> bool {
    http::HeaderValue::from_str(text).is_ok()
}
