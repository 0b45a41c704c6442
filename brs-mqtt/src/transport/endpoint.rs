//! The data endpoint: host, port and region.
//!
//! An account has an endpoint of its own for each kind, and only the data endpoint speaks MQTT:
//! another kind is refused with the command that tells the right one. Custom domains and other
//! brokers are taken as they are.

use brs_core::Error;
use brs_core::kit::is_region;
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
    /// `port` is what was given beside the endpoint, `usual` what it is otherwise.
    pub(crate) fn parse(text: &str, port: Option<u16>, usual: u16) -> Result<Self, Error> {
        if text.contains("://") || text.contains(['/', '@', '?', '#']) {
            return Err(refused(
                "is a host and perhaps a port: leave out `https://`, `mqtts://` and any path",
            ));
        }
        let authority: Authority = text
            .to_ascii_lowercase()
            .parse()
            .map_err(|_| refused("has no usable host: give a name or an address"))?;
        let host = authority.host().to_owned();
        let has_port = authority.as_str().len() > host.len();
        if host.is_empty() || host.len() > 253 {
            return Err(refused("has no usable host: give a name or an address"));
        }
        if has_port && authority.port_u16().is_none() {
            return Err(refused("has a port outside 1 to 65535"));
        }
        let port = match (port, authority.port_u16()) {
            (Some(port), Some(other)) if port != other => {
                return Err(refused("holds another port than `port`: give it once"));
            }
            (port, other) => port.or(other).unwrap_or(usual),
        };
        if port == 0 {
            return Err(refused("has the port 0: give one of 1 to 65535"));
        }
        let labels: Vec<&str> = host.split('.').collect();
        for (kind, purpose) in OTHER_KINDS {
            if labels.windows(2).any(|pair| pair == [kind, "iot"]) {
                return Err(refused(&format!(
                    "{purpose} and speaks no MQTT; the data endpoint has another prefix: {COMMAND} tells it"
                )));
            }
        }
        let region = labels.windows(2).find_map(|pair| match pair {
            ["iot" | "iot-fips", region] if is_region(region) => Some((*region).to_owned()),
            _ => None,
        });
        let legacy =
            region.is_some() && host.ends_with(".amazonaws.com") && !labels[0].ends_with("-ats");
        if legacy && labels.get(1) == Some(&"iot") {
            tracing::warn!(
                endpoint = host,
                "this data endpoint has a certificate of an authority that systems do not trust any more: {COMMAND} \
                 tells the newer one"
            );
        }
        Ok(Self { host, port, region })
    }

    /// Whether the name is one of AWS's, so that AWS IoT's limits hold. A custom domain's tells
    /// nothing.
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

fn refused(problem: &str) -> Error {
    Error::validation(format!("`endpoint` {problem}"))
        .with_param("endpoint")
        .unrecoverable()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Endpoint, Error> {
        Endpoint::parse(text, None, 8883)
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
        ] {
            assert_eq!(parse(text).unwrap_err().param(), Some("endpoint"), "{text}");
        }
        let error = Endpoint::parse("x:1", Some(2), 3).unwrap_err();
        assert!(error.to_string().contains("give it once"), "{error}");
    }

    #[test]
    fn the_port_is_part_of_what_is_signed_unless_it_is_443() {
        assert_eq!(parse("x:443").unwrap().authority(), "x");
        assert_eq!(parse("x:8443").unwrap().authority(), "x:8443");
    }
}
