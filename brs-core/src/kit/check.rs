//! Values that come from outside and mean the same everywhere: regions, endpoint URLs, account ids.
//!
//! Checked once, when a session is built. An error names the option and what is wrong, never the
//! value: a URL may hold a password.

use http::Uri;

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
}
