//! The credentials endpoint and the role alias: what they look like, and the URL made of both.
//!
//! An account has its own prefix for each kind of endpoint, so a data endpoint cannot be turned
//! into a credentials endpoint: it is rejected, with the command that shows the right one. Hosts
//! that are not AWS's must be allowed explicitly.

use std::time::Duration;

use brs_core::Error;
use brs_core::kit::is_region;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const COMMAND: &str = "`aws iot describe-endpoint --endpoint-type iot:CredentialProvider`";
/// What AWS's names end in: each partition's names, then its dual-stack names, as the SDKs'
/// `partitions.json` has them.
const DOMAINS: [[&str; 2]; 7] = [
    // aws, aws-us-gov
    ["amazonaws.com", "api.aws"],
    // aws-cn
    ["amazonaws.com.cn", "api.amazonwebservices.com.cn"],
    // aws-eusc
    ["amazonaws.eu", "api.amazonwebservices.eu"],
    // aws-iso
    ["c2s.ic.gov", "api.aws.ic.gov"],
    // aws-iso-b
    ["sc2s.sgov.gov", "api.aws.scloud"],
    // aws-iso-e
    ["cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"],
    // aws-iso-f
    ["csp.hci.ic.gov", "api.aws.hci.ic.gov"],
];
/// RFC 3986: everything but the unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// RFC 1035.
const MAX_HOST: usize = 253;

/// A credentials endpoint that may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Host and, where one was given, port.
    pub(crate) authority: String,
    /// The region that the host's name holds.
    pub(crate) region: Option<String>,
}

impl Endpoint {
    /// Checks an endpoint; `any_host` is whether one that is not AWS's may be called.
    pub(crate) fn parse(text: &str, any_host: bool) -> Result<Self, Error> {
        // What a copy from a terminal or a table brings along.
        let authority = text.trim().to_ascii_lowercase();
        let (host, _) = split(&authority).map_err(refused)?;
        let labels: Vec<&str> = host.split('.').collect();
        if let Some(region) = credentials_region(&labels) {
            return Ok(Self {
                region: Some(region.to_owned()),
                authority,
            });
        }
        // Even if any host is allowed, this one gives no credentials.
        if is_data_endpoint(&labels) {
            return Err(refused(format!(
                "is a data endpoint, for MQTT; the credentials endpoint has another prefix: \
                 {COMMAND} shows it"
            )));
        }
        if any_host {
            return Ok(Self {
                region: None,
                authority,
            });
        }
        Err(refused(format!(
            "is not an AWS IoT credentials endpoint, \
             `<prefix>.credentials.iot.<region>.amazonaws.com`: {COMMAND} shows it; any other \
             host needs `allow_any_endpoint`"
        )))
    }

    /// The URL of a role alias's credentials.
    pub(crate) fn url(&self, role_alias: &str) -> String {
        let role_alias = utf8_percent_encode(role_alias, RESERVED);
        format!(
            "https://{}/role-aliases/{role_alias}/credentials",
            self.authority
        )
    }
}

fn refused(problem: impl Into<String>) -> Error {
    Error::validation(format!("`endpoint` {}", problem.into()))
        .with_param("endpoint")
        .unrecoverable()
}

/// Host and port, or what is wrong.
fn split(authority: &str) -> Result<(&str, Option<u16>), String> {
    if authority.contains("://") || authority.contains('/') {
        return Err(
            "must be a host with an optional port: leave out `https://` and any path".into(),
        );
    }
    let (host, port) = match authority
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        Some((address, rest)) => (
            address,
            rest.strip_prefix(':').or(rest.is_empty().then_some("")),
        ),
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, Some("")),
        },
    };
    let is_address = authority.starts_with('[') && host.parse::<std::net::Ipv6Addr>().is_ok();
    let is_name = !authority.starts_with('[')
        && (1..=MAX_HOST).contains(&host.len())
        && host.split('.').all(is_label);
    if !is_address && !is_name {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.:[]".contains(c);
        if let Some(at) = authority.chars().position(|c| !is_part(c)) {
            return Err(format!(
                "has an invalid character for a host name, number {}",
                at + 1
            ));
        }
        if host.ends_with('.') {
            return Err("ends with a dot: leave it out".into());
        }
        return Err("has no usable host: give a name such as `<prefix>.credentials.iot.<region>.amazonaws.com`".into());
    }
    match port {
        Some("") if !authority.ends_with(':') => Ok((host, None)),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => match digits.parse() {
            Ok(port @ 1..) => Ok((host, Some(port))),
            _ => Err("has a port outside 1 to 65535".into()),
        },
        _ => Err("has a port outside 1 to 65535".into()),
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// The region of `<prefix>.credentials.iot.<region>.<domain>`, with `iot-fips` for FIPS and `vpce.`
/// before the domain for VPC endpoints.
fn credentials_region<'a>(labels: &[&'a str]) -> Option<&'a str> {
    let at = labels
        .iter()
        .position(|label| *label == "credentials")
        .filter(|at| *at > 0)?;
    let (service, region) = (labels.get(at + 1)?, *labels.get(at + 2)?);
    let rest = labels[at + 3..].join(".");
    let domain = rest.strip_prefix("vpce.").unwrap_or(&rest);
    let is_one = matches!(*service, "iot" | "iot-fips") && is_region(region) && is_domain(domain);
    is_one.then_some(region)
}

/// `<prefix>.iot.<region>.<domain>`, with `iot-fips` for FIPS, and
/// `<vpce>.data.iot.<region>.vpce.<domain>`.
fn is_data_endpoint(labels: &[&str]) -> bool {
    let (rest, before_domain) = match labels {
        [_, "data", rest @ ..] => (rest, "vpce."),
        [prefix, rest @ ..] if *prefix != "credentials" => (rest, ""),
        _ => return false,
    };
    let [service, region, domain @ ..] = rest else {
        return false;
    };
    let domain = domain.join(".");
    let is_aws = domain.strip_prefix(before_domain).is_some_and(is_domain);
    matches!(*service, "iot" | "iot-fips") && is_region(region) && is_aws
}

fn is_domain(domain: &str) -> bool {
    DOMAINS.as_flattened().contains(&domain)
}

/// Checks a role alias: 1–128 of `[\w=,@-]`.
pub(crate) fn check_role_alias(alias: &str) -> Result<(), Error> {
    check_name("role_alias", alias, "=,@-")
}

/// Checks a thing's name: 1–128 of `[a-zA-Z0-9:_-]`.
pub(crate) fn check_thing_name(name: &str) -> Result<(), Error> {
    check_name("thing_name", name, ":-")
}

fn check_name(param: &str, text: &str, extra: &str) -> Result<(), Error> {
    let found = text.chars().count();
    let problem = if !(1..=128).contains(&found) {
        format!("must have 1 to 128 characters, not {found}")
    } else if let Some(index) = text
        .chars()
        .position(|c| !c.is_ascii_alphanumeric() && c != '_' && !extra.contains(c))
    {
        format!(
            "can have only letters, digits and any of `_{extra}`; character {} is something else",
            index + 1
        )
    } else {
        return Ok(());
    };
    Err(Error::validation(format!("`{param}` {problem}"))
        .with_param(param)
        .unrecoverable())
}

/// Checks how long credentials are to be valid: 900–43200 whole seconds.
pub(crate) fn check_duration(duration: Duration) -> Result<(), Error> {
    let seconds = duration.as_secs();
    let problem = if duration.subsec_nanos() != 0 {
        "must be whole seconds: AWS accepts no fractions".to_owned()
    } else if !(900..=43_200).contains(&seconds) {
        format!("must be 900 to 43200 seconds, not {seconds}")
    } else {
        return Ok(());
    };
    Err(Error::validation(format!("`duration` {problem}"))
        .with_param("duration")
        .unrecoverable())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_awss_is_accepted_and_tells_its_region() {
        for (host, region) in [
            (
                "c2abcdefghijkl.credentials.iot.eu-west-1.amazonaws.com",
                "eu-west-1",
            ),
            ("C2ABC.Credentials.IoT.us-east-1.amazonaws.com", "us-east-1"),
            (
                "c2abc.credentials.iot.eu-west-1.amazonaws.com:8443",
                "eu-west-1",
            ),
            (
                "c2abc.credentials.iot.cn-north-1.amazonaws.com.cn",
                "cn-north-1",
            ),
            (
                "c2abc.credentials.iot-fips.us-gov-west-1.amazonaws.com",
                "us-gov-west-1",
            ),
            ("c2abc.credentials.iot.eu-west-1.api.aws", "eu-west-1"),
            (
                "c2abc.credentials.iot.eusc-de-east-1.amazonaws.eu",
                "eusc-de-east-1",
            ),
            (
                "vpce-0123-abc.credentials.iot.eu-west-1.vpce.amazonaws.com",
                "eu-west-1",
            ),
            (
                "vpce-0123-abc-eu-west-1a.credentials.iot.eu-west-1.vpce.amazonaws.com",
                "eu-west-1",
            ),
        ] {
            let endpoint = Endpoint::parse(host, false).unwrap();
            assert_eq!(
                (endpoint.region.as_deref(), endpoint.authority),
                (Some(region), host.to_ascii_lowercase())
            );
        }
    }

    #[test]
    fn names_of_all_partitions_are_known() {
        for (partition, region, domains) in [
            ("aws", "eu-west-1", ["amazonaws.com", "api.aws"]),
            (
                "aws-cn",
                "cn-north-1",
                ["amazonaws.com.cn", "api.amazonwebservices.com.cn"],
            ),
            ("aws-us-gov", "us-gov-west-1", ["amazonaws.com", "api.aws"]),
            ("aws-iso", "us-iso-east-1", ["c2s.ic.gov", "api.aws.ic.gov"]),
            (
                "aws-iso-b",
                "us-isob-east-1",
                ["sc2s.sgov.gov", "api.aws.scloud"],
            ),
            (
                "aws-iso-e",
                "eu-isoe-west-1",
                ["cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"],
            ),
            (
                "aws-iso-f",
                "us-isof-south-1",
                ["csp.hci.ic.gov", "api.aws.hci.ic.gov"],
            ),
            (
                "aws-eusc",
                "eusc-de-east-1",
                ["amazonaws.eu", "api.amazonwebservices.eu"],
            ),
        ] {
            for domain in domains {
                for service in ["iot", "iot-fips"] {
                    for vpc in ["", "vpce."] {
                        let host = format!("c2abc.credentials.{service}.{region}.{vpc}{domain}");
                        let endpoint = Endpoint::parse(&host, false).unwrap();
                        assert_eq!(
                            endpoint.region.as_deref(),
                            Some(region),
                            "{partition}: {host}"
                        );
                    }
                    let data =
                        Endpoint::parse(&format!("a1-ats.{service}.{region}.{domain}"), true)
                            .unwrap_err();
                    assert!(
                        data.to_string().contains("is a data endpoint"),
                        "{partition}: {data}"
                    );
                }
            }
        }
    }

    #[test]
    fn blanks_around_an_endpoint_are_no_part_of_it() {
        let host = "c2abc.credentials.iot.eu-west-1.amazonaws.com";
        for text in [
            format!("{host} "),
            format!(" {host}\r\n"),
            format!("\t{host}\u{a0}"),
        ] {
            assert_eq!(Endpoint::parse(&text, false).unwrap().authority, host);
        }
        for (text, words) in [
            (format!("c2abc .{}", &host[6..]), "number 6"),
            (
                format!("{host}\u{200b}"),
                "has an invalid character for a host name, number 46",
            ),
            (format!("{host}."), "ends with a dot"),
            (format!("https://{host} "), "leave out `https://`"),
        ] {
            let error = Endpoint::parse(&text, true).unwrap_err();
            assert!(error.to_string().contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn a_data_endpoint_is_refused_with_the_command_for_the_right_one() {
        for host in [
            "a1b2c3-ats.iot.eu-west-1.amazonaws.com",
            "a1b2c3.iot.eu-west-1.amazonaws.com",
            "a1b2c3-ats.iot-fips.us-east-1.amazonaws.com:443",
            "data.iot.eu-west-1.amazonaws.com",
            "a1b2c3-ats.iot.eu-west-1.api.aws",
            "vpce-0123-abc.data.iot.eu-west-1.vpce.amazonaws.com",
        ] {
            for any_host in [false, true] {
                let error = Endpoint::parse(host, any_host).unwrap_err();
                assert!(
                    error.to_string().contains("iot:CredentialProvider"),
                    "{error}"
                );
                assert!(
                    error.to_string().contains("data endpoint")
                        && error.param() == Some("endpoint"),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn other_hosts_need_to_be_allowed() {
        for host in [
            "localhost",
            "localhost:8443",
            "127.0.0.1:8443",
            "[::1]:8443",
            "gateway.example",
            "c2abc.credentials.iot.eu-west-1.example.com",
            "c2abc.credentials.iot.eu-west-1.amazonaws.com.example",
            "credentials.iot.eu-west-1.amazonaws.com",
            "c2abc.credentials.s3.eu-west-1.amazonaws.com",
            "evilamazonaws.com",
            // AWS's, and not data endpoints: they may be meant if any host is allowed.
            "gateway.data.example.amazonaws.com",
            "iot.eu-west-1.amazonaws.com",
            "data.jobs.iot.eu-west-1.amazonaws.com",
        ] {
            let error = Endpoint::parse(host, false).unwrap_err();
            assert!(
                error.to_string().contains("allow_any_endpoint"),
                "{host}: {error}"
            );
            let endpoint = Endpoint::parse(host, true).unwrap();
            assert_eq!((endpoint.authority.as_str(), endpoint.region), (host, None));
        }
    }

    #[test]
    fn what_is_no_host_is_refused_whatever_is_allowed() {
        for text in [
            "",
            ":443",
            "https://c2abc.credentials.iot.eu-west-1.amazonaws.com",
            "host/path",
            "host:",
            "host:0",
            "host:65536",
            "host:12x",
            "host:1:2",
            "user@host",
            "host?x",
            "host#x",
            "ho st",
            "-host",
            "a..b",
            "[::1",
            "[host]:1",
            "[::1]x",
            "::1",
            "hö.example",
            &"x.".repeat(150),
        ] {
            assert!(Endpoint::parse(text, true).is_err(), "{text}");
        }
    }

    #[test]
    fn the_role_alias_is_checked_and_percent_encoded() {
        let endpoint = Endpoint::parse("localhost:8443", true).unwrap();
        assert_eq!(
            endpoint.url("a=b,c@d-e_f"),
            "https://localhost:8443/role-aliases/a%3Db%2Cc%40d-e_f/credentials"
        );
        assert!(
            check_role_alias("a=b,c@d-e_F9").is_ok() && check_role_alias(&"x".repeat(128)).is_ok()
        );
        for alias in ["", "a/b", "a b", "ä", "a:b", &"x".repeat(129)] {
            assert_eq!(
                check_role_alias(alias).unwrap_err().param(),
                Some("role_alias"),
                "{alias}"
            );
        }
        assert!(check_thing_name("device:7_a-B").is_ok());
        for name in ["", "a/b", "a\r\nb", &"x".repeat(129)] {
            assert_eq!(
                check_thing_name(name).unwrap_err().param(),
                Some("thing_name"),
                "{name}"
            );
        }
    }

    #[test]
    fn durations_have_awss_limits() {
        for (seconds, good) in [(899, false), (900, true), (43_200, true), (43_201, false)] {
            assert_eq!(
                check_duration(Duration::from_secs(seconds)).is_ok(),
                good,
                "{seconds}"
            );
        }
        assert!(check_duration(Duration::from_millis(900_500)).is_err());
    }
}
