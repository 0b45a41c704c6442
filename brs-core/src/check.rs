//! Values that come from outside and mean the same everywhere: regions, endpoint URLs, account ids.
//!
//! Checked once, when a session is built. An error names the option and what is wrong, never the
//! value: a URL may hold a password.

use aws_types::SdkConfig;
use http::Uri;

use crate::error::Error;
use crate::registry::BaseRequest;

/// Whether this can be a region: part of host names, so 1–63 lower-case letters, digits and
/// hyphens.
pub fn is_region(region: &str) -> bool {
    (1..=63).contains(&region.len())
        && region
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !region.starts_with('-')
        && !region.ends_with('-')
}

/// Whether this can be an endpoint: an `http` or `https` URL with a host, without user, password,
/// query or fragment.
pub fn is_endpoint_url(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else {
        return false;
    };
    let scheme = uri.scheme_str();
    (scheme == Some("http") || scheme == Some("https"))
        && uri.authority().is_some_and(|authority| {
            // A port that does not fit into 16 bits counts as none to the parser, and a user stands
            // before the host.
            let (host, text) = (authority.host(), authority.as_str());
            let rest = text.strip_prefix(host);
            !host.is_empty()
                && rest.is_some_and(|rest| rest.is_empty() || authority.port().is_some())
        })
        && uri.query().is_none()
        && !url.contains('#')
}

/// Whether this can be an account id: 12 digits.
pub fn is_account_id(id: &str) -> bool {
    id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit())
}

/// Checks what a base configuration holds, wherever it came from.
pub(crate) fn base(config: &SdkConfig) -> Result<(), Error> {
    if config
        .region()
        .is_some_and(|region| !is_region(region.as_ref()))
    {
        return Err(Error::validation(
            "the region is not one: it must look like `eu-west-1`; check the option, `AWS_REGION` and the profile",
        )
        .with_param("region")
        .unrecoverable());
    }
    if config
        .endpoint_url()
        .is_some_and(|url| !is_endpoint_url(url))
    {
        return Err(Error::validation(
            "the endpoint URL is not one: it must look like `https://host:port`, without user, password or query; \
             check the option, `AWS_ENDPOINT_URL` and the profile",
        )
        .with_param("endpoint_url")
        .unrecoverable());
    }
    Ok(())
}

/// Checks that nothing is given beside a base session that it brings itself.
pub(crate) fn alone_with_a_session(request: &BaseRequest, base: bool) -> Result<(), Error> {
    for (param, given) in [
        ("base", base),
        ("base_credentials", request.credentials.is_some()),
        ("profile_name", request.profile_name.is_some()),
    ] {
        if given {
            return Err(Error::configuration(format!(
                "both `base_session` and `{param}` are given: the session brings base configuration and credentials"
            ))
            .with_param(param)
            .unrecoverable());
        }
    }
    Ok(())
}

/// Checks the account that was given for credentials whose source does not name one.
pub(crate) fn account_id(id: Option<&str>) -> Result<(), Error> {
    match id {
        Some(id) if !is_account_id(id) => Err(Error::validation(format!(
            "an AWS account id has 12 digits, this has {} characters",
            id.chars().count()
        ))
        .with_param("account_id")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_parts_of_host_names() {
        for good in ["eu-west-1", "us-gov-east-1", "local", "cn-north-1"] {
            assert!(is_region(good), "{good}");
        }
        for bad in [
            "",
            "eu west 1",
            "EU-WEST-1",
            "eu-west-1.evil.example",
            "-x",
            "x-",
            &"x".repeat(64),
        ] {
            assert!(!is_region(bad), "{bad}");
        }
    }

    #[test]
    fn endpoints_are_urls_without_secrets() {
        for good in [
            "http://localhost:5000",
            "https://sts.eu-west-1.amazonaws.com/",
            "http://[::1]:8080/base",
        ] {
            assert!(is_endpoint_url(good), "{good}");
        }
        for bad in [
            "",
            "not a url",
            "localhost:5000",
            "ftp://x",
            "http://",
            "http://127.0.0.1:99999",
            "https://user:hush@host",
            "https://host/?x=1",
            "https://host/#x",
        ] {
            assert!(!is_endpoint_url(bad), "{bad}");
        }
    }

    #[test]
    fn a_wrong_url_is_refused_without_being_shown() {
        let config = SdkConfig::builder()
            .endpoint_url("https://user:hush@host")
            .build();
        let error = base(&config).unwrap_err();
        assert!(!format!("{error:?}").contains("hush"));
    }
}
