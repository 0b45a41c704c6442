//! The endpoint: AWS's names for it, or one that was given.

use brs_core::Error;
use brs_core::kit::is_endpoint_url;
use brs_iot::__private::domains;
use reqwest::Url;

use super::arn::Arn;

/// Where the service has FIPS endpoints, as the SDKs' `endpoints.json` has it.
const FIPS: [&str; 6] = [
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "us-gov-east-1",
    "us-gov-west-1",
];

/// The host of the endpoint of a trust anchor's region.
///
/// # Errors
///
/// A configuration error for a region without FIPS endpoint, which lists those that have one, and
/// for an unknown partition.
pub(crate) fn host(trust_anchor: &Arn<'_>, fips: bool, dual_stack: bool) -> Result<String, Error> {
    let region = trust_anchor.region;
    if fips && !FIPS.contains(&region) {
        return Err(Error::configuration(format!(
            "IAM Roles Anywhere has no FIPS endpoint in `{region}`: it has one in {}",
            FIPS.join(", ")
        ))
        .with_param("use_fips")
        .unrecoverable());
    }
    let Some([usual, dual]) = domains(trust_anchor.partition) else {
        return Err(Error::configuration(format!(
            "the endpoints of partition `{}` are not known: give the service's in `endpoint_url`",
            trust_anchor.partition
        ))
        .with_param("endpoint_url")
        .unrecoverable());
    };
    let service = if fips {
        "rolesanywhere-fips"
    } else {
        "rolesanywhere"
    };
    let domain = if dual_stack { dual } else { usual };
    Ok(format!("{service}.{region}.{domain}"))
}

/// The host, and the port if there is one, of an endpoint that was given in a setting: a URL, or a
/// host as Python's package takes it.
///
/// # Errors
///
/// A validation error that says what is wrong, without the value.
pub(crate) fn given(text: &str, setting: &str) -> Result<String, Error> {
    let wrong = |problem: &str| {
        Error::validation(format!("`{setting}` {problem}"))
            .with_param(setting)
            .unrecoverable()
    };
    let text = text.trim();
    let url = if text.contains("://") {
        text.to_owned()
    } else {
        format!("https://{text}")
    };
    if !is_endpoint_url(&url) {
        return Err(wrong(
            "must be a URL such as `https://rolesanywhere.eu-west-1.amazonaws.com`, without user, \
             query or fragment",
        ));
    }
    let url = Url::parse(&url).map_err(|_| wrong("is not a URL"))?;
    if url.scheme() != "https" {
        return Err(wrong(
            "must begin with `https://`: credentials would be readable on the way",
        ));
    }
    if url.path() != "/" {
        return Err(wrong("must have no path: the service's path is signed"));
    }
    let host = url.host_str().ok_or_else(|| wrong("has no host"))?;
    Ok(match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::arn::Kind;
    use super::*;

    fn at(partition: &str, region: &str, fips: bool, dual_stack: bool) -> Result<String, Error> {
        let arn = format!("arn:{partition}:rolesanywhere:{region}:123456789012:trust-anchor/a-1");
        host(
            &Arn::parse(&arn, Kind::TrustAnchor).unwrap(),
            fips,
            dual_stack,
        )
    }

    #[test]
    fn each_partition_has_its_names() {
        for (partition, region, fips, dual_stack, host) in [
            (
                "aws",
                "eu-west-1",
                false,
                false,
                "rolesanywhere.eu-west-1.amazonaws.com",
            ),
            (
                "aws",
                "eu-west-1",
                false,
                true,
                "rolesanywhere.eu-west-1.api.aws",
            ),
            (
                "aws",
                "us-east-1",
                true,
                false,
                "rolesanywhere-fips.us-east-1.amazonaws.com",
            ),
            (
                "aws",
                "us-west-2",
                true,
                true,
                "rolesanywhere-fips.us-west-2.api.aws",
            ),
            (
                "aws-us-gov",
                "us-gov-west-1",
                true,
                false,
                "rolesanywhere-fips.us-gov-west-1.amazonaws.com",
            ),
            (
                "aws-cn",
                "cn-north-1",
                false,
                false,
                "rolesanywhere.cn-north-1.amazonaws.com.cn",
            ),
        ] {
            assert_eq!(at(partition, region, fips, dual_stack).unwrap(), host);
        }
    }

    #[test]
    fn fips_elsewhere_lists_where_it_is() {
        for (partition, region) in [("aws", "eu-west-1"), ("aws-cn", "cn-north-1")] {
            let error = at(partition, region, true, false).unwrap_err();
            let text = error.to_string();
            assert!(
                text.contains(region) && text.contains("us-gov-west-1"),
                "{text}"
            );
            assert_eq!(error.param(), Some("use_fips"));
        }
        let error = at("aws-new", "new-1", false, false).unwrap_err();
        assert_eq!(error.param(), Some("endpoint_url"));
    }

    #[test]
    fn an_endpoint_is_a_url_or_a_host() {
        for (text, host) in [
            ("https://localhost:8443", "localhost:8443"),
            ("https://localhost:443/", "localhost"),
            ("localhost:8443", "localhost:8443"),
            (
                " vpce-1.rolesanywhere.eu-west-1.vpce.amazonaws.com\n",
                "vpce-1.rolesanywhere.eu-west-1.vpce.amazonaws.com",
            ),
            ("https://[::1]:8443", "[::1]:8443"),
        ] {
            assert_eq!(given(text, "endpoint_url").unwrap(), host);
        }
        for (text, words) in [
            ("", "must be a URL"),
            ("http://localhost", "must begin with `https://`"),
            ("https://localhost/base", "no path"),
            ("https://user:hush@localhost", "must be a URL"),
            ("https://localhost?hush", "must be a URL"),
        ] {
            let error = given(text, "endpoint_url").unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert!(!error.to_string().contains("hush"), "{error}");
            assert_eq!(error.param(), Some("endpoint_url"));
        }
    }
}
