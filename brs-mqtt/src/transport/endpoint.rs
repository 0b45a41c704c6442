//! The data endpoint: host, port and region.
//!
//! An account has one endpoint for each kind of call, and only the data endpoint speaks MQTT. Another
//! kind is refused with the command that prints the right one. Custom domains and other brokers are
//! accepted as they are.

use brs_core::Error;
use brs_core::kit::is_region;
use brs_iot::__private::{is_domain, wrong_partition};
use http::uri::Authority;

const COMMAND: &str = "`aws iot describe-endpoint --endpoint-type iot:Data-ATS`";
/// Names within AWS's domains that are other services' endpoints.
const OTHER_KINDS: [(&str, &str); 3] = [
    ("credentials", "gives credentials"),
    ("jobs", "is for jobs"),
    ("tunneling", "is for tunnels"),
];

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The region that the host's name holds.
    pub(crate) region: Option<String>,
}

impl Endpoint {
    /// `port` is the option of that name; `usual` is the default port, for AWS's hosts or others.
    pub(crate) fn parse(
        text: &str,
        port: Option<u16>,
        usual: impl FnOnce(bool) -> u16,
    ) -> Result<Self, Error> {
        // A copy from a terminal or a table often has blanks around it.
        let text = text.trim().to_ascii_lowercase();
        if text.contains(['/', '@', '?', '#']) {
            return Err(refused(
                "is a host and perhaps a port: leave out `https://`, `mqtts://` and any path",
            ));
        }
        let no_host = || refused("has no usable host: give a name or an address");
        let authority: Authority = text.parse().map_err(|_| no_host())?;
        let host = authority.host().to_owned();
        if host.is_empty() || host.len() > 253 {
            return Err(no_host());
        }
        if host.ends_with('.') {
            return Err(refused("has a host that ends with a dot: leave it out"));
        }
        let given = authority.port_u16();
        if given == Some(0) || port == Some(0) || given.is_none() && text.len() > host.len() {
            return Err(refused("has a port outside 1 to 65535"));
        }
        if port.is_some() && given.is_some() && port != given {
            return Err(refused("holds another port than `port`: give it once"));
        }
        let labels: Vec<&str> = host.split('.').collect();
        let aws = aws_region(&labels);
        if let Some(problem) = aws
            .as_ref()
            .and_then(|aws| wrong_partition(aws.region, &aws.domain))
        {
            return Err(refused(&format!(
                "{problem}: {COMMAND} prints the endpoint"
            )));
        }
        let prefix = aws.as_ref().map(|aws| aws.prefix).unwrap_or_default();
        let region = aws.as_ref().map(|aws| aws.region);
        let kind = OTHER_KINDS
            .iter()
            .find(|(kind, _)| prefix.last() == Some(kind));
        if let Some((_, purpose)) = kind {
            return Err(refused(&format!(
                "{purpose} and does not speak MQTT; the data endpoint has another prefix: {COMMAND} prints it"
            )));
        }
        if region.is_some() && prefix.is_empty() {
            return Err(refused(&format!(
                "is for managing AWS IoT and does not speak MQTT; the data endpoint begins with a prefix for the \
                 account: {COMMAND} prints it"
            )));
        }
        // AWS still serves them, by the client's certificate or credentials.
        if matches!(prefix, ["data" | "data-ats"]) {
            tracing::warn!(
                endpoint = host,
                "this data endpoint is every account's, without the prefix of one: {COMMAND} prints the account's"
            );
        } else if matches!(prefix, [name] if !name.ends_with("-ats"))
            && host.ends_with(".amazonaws.com")
        {
            tracing::warn!(
                endpoint = host,
                "this data endpoint's certificate comes from an authority that systems no longer trust: {COMMAND} \
                 prints the newer endpoint"
            );
        }
        Ok(Self {
            port: port.or(given).unwrap_or_else(|| usual(region.is_some())),
            region: region.map(str::to_owned),
            host,
        })
    }

    /// Whether the name is one of AWS's, so that AWS IoT's limits hold. A custom domain does not
    /// show it.
    pub(crate) fn is_aws(&self) -> bool {
        self.region.is_some()
    }

    /// What a request names as `Host`, and a signature covers.
    pub(crate) fn authority(&self) -> String {
        if self.port == 443 {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Without the brackets of an IPv6 address: the name that a certificate is for.
    pub(crate) fn name(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

/// The parts of a name that is AWS IoT's.
struct Aws<'a, 'b> {
    /// The labels before the service: the account's, and the kind of endpoint.
    prefix: &'b [&'a str],
    region: &'a str,
    domain: String,
}

/// `<prefix>.iot.<region>.<domain>`, with `iot-fips` for FIPS and `vpce.` before the domain for VPC
/// endpoints.
fn aws_region<'a, 'b>(labels: &'b [&'a str]) -> Option<Aws<'a, 'b>> {
    let at = labels
        .iter()
        .position(|label| matches!(*label, "iot" | "iot-fips"))?;
    let region = *labels.get(at + 1)?;
    let rest = labels[at + 2..].join(".");
    let domain = rest.strip_prefix("vpce.").unwrap_or(&rest);
    (is_region(region) && is_domain(domain)).then(|| Aws {
        prefix: &labels[..at],
        region,
        domain: domain.to_owned(),
    })
}

fn refused(problem: &str) -> Error {
    Error::validation(format!("`endpoint` {problem}"))
        .with_param("endpoint")
        .unrecoverable()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Endpoint, Error> {
        Endpoint::parse(text, None, |_| 8883)
    }

    #[test]
    fn host_port_and_region_are_found() {
        for (text, host, port, region) in [
            (
                "A1-ats.iot.eu-west-1.amazonaws.com",
                "a1-ats.iot.eu-west-1.amazonaws.com",
                8883,
                Some("eu-west-1"),
            ),
            (
                "a1.ats.iot.cn-north-1.amazonaws.com.cn",
                "a1.ats.iot.cn-north-1.amazonaws.com.cn",
                8883,
                Some("cn-north-1"),
            ),
            (
                "a1-ats.iot.eu-west-1.amazonaws.com:443",
                "a1-ats.iot.eu-west-1.amazonaws.com",
                443,
                Some("eu-west-1"),
            ),
            ("mqtt.example.com", "mqtt.example.com", 8883, None),
            ("localhost:1234", "localhost", 1234, None),
            ("127.0.0.1", "127.0.0.1", 8883, None),
            ("[::1]:1", "[::1]", 1, None),
        ] {
            let endpoint = parse(text).unwrap();
            assert_eq!(
                (&*endpoint.host, endpoint.port, endpoint.region.as_deref()),
                (host, port, region)
            );
        }
        assert_eq!(parse("[::1]:1").unwrap().name(), "::1");
    }

    #[test]
    fn another_kind_of_endpoint_is_refused_with_the_command_for_the_right_one() {
        for text in [
            "c1.credentials.iot.eu-west-1.amazonaws.com",
            "x.jobs.iot.eu-west-1.amazonaws.com",
        ] {
            let error = parse(text).unwrap_err();
            assert!(
                error.to_string().contains("iot:Data-ATS") && error.param() == Some("endpoint"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_endpoint_for_managing_is_no_data_endpoint() {
        for text in [
            "iot.eu-west-1.amazonaws.com",
            "iot.eu-west-1.amazonaws.com:443",
            "iot-fips.us-gov-west-1.amazonaws.com",
            "iot.cn-north-1.amazonaws.com.cn",
            "iot.eu-west-1.api.aws",
        ] {
            let error = parse(text).unwrap_err();
            let shown = error.to_string();
            assert!(
                shown.contains("does not speak MQTT") && shown.contains("iot:Data-ATS"),
                "{shown}"
            );
            assert_eq!(error.param(), Some("endpoint"));
        }
        // Old ones, which AWS serves for every account.
        for text in [
            "data.iot.us-east-1.amazonaws.com",
            "data-ats.iot.us-east-1.amazonaws.com",
        ] {
            assert_eq!(parse(text).unwrap().region.as_deref(), Some("us-east-1"));
        }
    }

    #[test]
    fn a_region_in_another_partitions_domain_is_refused() {
        for (text, words) in [
            (
                "a1-ats.iot.eu-west-1.amazonaws.com.cn",
                "whose hosts end in `amazonaws.com` and not in `amazonaws.com.cn`",
            ),
            (
                "a1.ats.iot.cn-north-1.amazonaws.com",
                "whose hosts end in `amazonaws.com.cn` and not in `amazonaws.com`",
            ),
            (
                "vpce-1.data.iot.eusc-de-east-1.vpce.amazonaws.com",
                "whose hosts end in `amazonaws.eu`",
            ),
        ] {
            let shown = parse(text).unwrap_err().to_string();
            assert!(
                shown.contains(words) && shown.contains("iot:Data-ATS"),
                "{shown}"
            );
        }
    }

    #[test]
    fn names_of_all_partitions_are_known() {
        for (region, domains) in [
            ("eu-west-1", ["amazonaws.com", "api.aws"]),
            ("us-gov-west-1", ["amazonaws.com", "api.aws"]),
            (
                "cn-north-1",
                ["amazonaws.com.cn", "api.amazonwebservices.com.cn"],
            ),
            (
                "eusc-de-east-1",
                ["amazonaws.eu", "api.amazonwebservices.eu"],
            ),
            ("us-iso-east-1", ["c2s.ic.gov", "api.aws.ic.gov"]),
            ("us-isob-east-1", ["sc2s.sgov.gov", "api.aws.scloud"]),
            (
                "eu-isoe-west-1",
                ["cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"],
            ),
            ("us-isof-south-1", ["csp.hci.ic.gov", "api.aws.hci.ic.gov"]),
        ] {
            for domain in domains {
                for host in [
                    format!("a1-ats.iot.{region}.{domain}"),
                    format!("a1-ats.iot-fips.{region}.{domain}"),
                    format!("vpce-0123-abc.data.iot.{region}.vpce.{domain}"),
                ] {
                    assert_eq!(
                        parse(&host).unwrap().region.as_deref(),
                        Some(region),
                        "{host}"
                    );
                }
                let other = format!("c1.credentials.iot.{region}.{domain}");
                assert!(parse(&other).is_err(), "{other}");
            }
        }
    }

    #[test]
    fn names_that_only_look_like_awss_are_other_brokers() {
        for host in [
            "a1-ats.iot.eu-west-1.example.com",
            "a1-ats.iot.eu-west-1.amazonaws.com.example",
            "a1-ats.iot.eu-west-1.evilamazonaws.com",
            "a1-ats.iot.amazonaws.com",
            "iot.amazonaws.com",
            "iot.example.com",
            "iot",
            "c1.credentials.iot.eu-west-1.example.com",
            "jobs.iot.example.com",
        ] {
            let endpoint = parse(host).unwrap();
            assert!(!endpoint.is_aws() && endpoint.host == host, "{endpoint:?}");
        }
    }

    #[test]
    fn blanks_around_an_endpoint_are_not_part_of_it() {
        let host = "a1-ats.iot.eu-west-1.amazonaws.com";
        for text in [format!(" {host}\r\n"), format!("\t{host}\u{a0}")] {
            assert_eq!(parse(&text).unwrap(), parse(host).unwrap());
        }
        assert_eq!(parse(" x:443 ").unwrap().port, 443);
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for text in [
            "",
            "mqtts://x",
            "x/y",
            "a b",
            "user@host",
            "x:",
            "x:0",
            "x:99999",
            "x.",
            "x.:1",
        ] {
            assert_eq!(parse(text).unwrap_err().param(), Some("endpoint"), "{text}");
        }
        let error = Endpoint::parse("x:1", Some(2), |_| 3).unwrap_err();
        assert!(error.to_string().contains("give it once"), "{error}");
    }

    #[test]
    fn the_port_is_part_of_what_is_signed_unless_it_is_443() {
        assert_eq!(parse("x:443").unwrap().authority(), "x");
        assert_eq!(parse("x:8443").unwrap().authority(), "x:8443");
    }
}
