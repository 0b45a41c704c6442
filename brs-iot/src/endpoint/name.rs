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
/// How the regions of each partition begin, and what its names end in: its own, then its dual-stack
/// names, as the SDKs' `partitions.json` has them. The first row is for all other regions.
const PARTITIONS: [(&str, [&str; 2]); 7] = [
    // aws, aws-us-gov
    ("", ["amazonaws.com", "api.aws"]),
    // aws-cn
    ("cn-", ["amazonaws.com.cn", "api.amazonwebservices.com.cn"]),
    // aws-eusc
    ("eusc-", ["amazonaws.eu", "api.amazonwebservices.eu"]),
    // aws-iso
    ("us-iso-", ["c2s.ic.gov", "api.aws.ic.gov"]),
    // aws-iso-b
    ("us-isob-", ["sc2s.sgov.gov", "api.aws.scloud"]),
    // aws-iso-e
    ("eu-isoe-", ["cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"]),
    // aws-iso-f
    ("us-isof-", ["csp.hci.ic.gov", "api.aws.hci.ic.gov"]),
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
        if let Some((region, domain)) = credentials_region(&labels) {
            if let Some(problem) = wrong_partition(region, &domain) {
                return Err(refused(format!("{problem}: {COMMAND} shows the endpoint")));
            }
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

/// The region and the domain of `<prefix>.credentials.iot.<region>.<domain>`, with `iot-fips` for FIPS and `vpce.`
/// before the domain for VPC endpoints.
fn credentials_region<'a>(labels: &[&'a str]) -> Option<(&'a str, String)> {
    let at = labels
        .iter()
        .position(|label| *label == "credentials")
        .filter(|at| *at > 0)?;
    let (service, region) = (labels.get(at + 1)?, *labels.get(at + 2)?);
    let rest = labels[at + 3..].join(".");
    let domain = rest.strip_prefix("vpce.").unwrap_or(&rest);
    let is_one = matches!(*service, "iot" | "iot-fips") && is_region(region) && is_domain(domain);
    is_one.then(|| (region, domain.to_owned()))
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

/// Whether names of AWS end in this, in any partition.
pub fn is_domain(domain: &str) -> bool {
    PARTITIONS
        .iter()
        .any(|(_, domains)| domains.contains(&domain))
}

/// That no name of AWS's with this end is in this region, as the end of a sentence.
pub fn wrong_partition(region: &str, domain: &str) -> Option<String> {
    let [usual, others @ ..] = &PARTITIONS;
    let right = others.iter().find(|(begin, _)| region.starts_with(begin));
    let (_, domains) = right.unwrap_or(usual);
    (is_domain(domain) && !domains.contains(&domain)).then(|| {
        format!(
            "names the region `{region}`, whose hosts end in `{}` and not in `{domain}`",
            domains[0]
        )
    })
}

/// What names end in within a partition: the usual ones, then the dual-stack ones.
pub fn domains(partition: &str) -> Option<[&'static str; 2]> {
    let begin = match partition {
        "aws" | "aws-us-gov" => "",
        "aws-cn" => "cn-",
        "aws-eusc" => "eusc-",
        "aws-iso" => "us-iso-",
        "aws-iso-b" => "us-isob-",
        "aws-iso-e" => "eu-isoe-",
        "aws-iso-f" => "us-isof-",
        _ => return None,
    };
    let found = PARTITIONS.iter().find(|(known, _)| *known == begin);
    found.map(|(_, domains)| *domains)
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
pub fn check_duration(duration: Duration) -> Result<(), Error> {
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
mod tests;
