//! What follows from the options: where to connect to, and the limits that hold there.

use brs_core::Error;

use super::{Options, Transport};
use crate::transport::endpoint::Endpoint;

/// What is read of one packet: AWS IoT's largest payload with its topic and properties, and from
/// other brokers.
const MAX_OF_AWS: usize = 256 * 1024;
const MAX_OF_OTHERS: usize = 8 * 1024 * 1024;

impl Options {
    /// The largest packet that is read.
    pub(crate) fn max_incoming(&self, endpoint: &Endpoint) -> usize {
        let usual = if endpoint.is_aws() {
            MAX_OF_AWS
        } else {
            MAX_OF_OTHERS
        };
        self.max_incoming_packet_size.unwrap_or(usual)
    }

    /// The largest packet that is sent, as far as this side has a limit.
    pub(crate) fn max_outgoing(&self) -> usize {
        self.max_outgoing_packet_size.unwrap_or(usize::MAX)
    }

    /// Host, port and region.
    pub(crate) fn target(&self) -> Result<Endpoint, Error> {
        let is_named = self.username.is_some() && self.device.is_none();
        Endpoint::parse(&self.endpoint, self.port, |is_aws| {
            // AWS accepts a name and a password without a certificate on that port only.
            let on_443 = self.transport == Transport::WebSocket
                || self.alpn == Some(true)
                || is_named && is_aws;
            if on_443 { 443 } else { 8883 }
        })
    }

    /// Whether ALPN is to name MQTT on that port.
    pub(crate) fn wants_alpn(&self, port: u16) -> bool {
        self.alpn
            .unwrap_or(self.transport == Transport::X509 && port == 443)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alpn_is_asked_for_on_port_443_with_a_certificate_or_as_it_is_said() {
        let options = || Options::new("a-ats.iot.eu-west-1.amazonaws.com", "d");
        for (options, port, wanted) in [
            (options(), 8883, false),
            (options().port(443), 443, true),
            (options().alpn(true), 443, true),
            (options().alpn(true).port(8443), 8443, true),
            (options().alpn(false).port(443), 443, false),
            (options().transport(Transport::WebSocket), 443, false),
            (options().username("n"), 443, true),
            (options().username("n").port(8883), 8883, false),
            (
                options().username("n").certificate("/c").private_key("/k"),
                8883,
                false,
            ),
        ] {
            let endpoint = options.target().unwrap();
            assert_eq!(
                (endpoint.port, options.wants_alpn(endpoint.port)),
                (port, wanted),
                "{options:?}"
            );
        }
    }
}
