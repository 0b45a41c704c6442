//! The checks of a connection's options.

use std::time::Duration;

use brs_core::Error;
use brs_core::kit::is_region;

use super::{Options, Protocol, Transport};
use crate::transport::endpoint::Endpoint;

/// AWS IoT Core: client ids.
const MAX_CLIENT_ID: usize = 128;
/// AWS IoT Core: 30 to 1200 s; shorter ones are for other brokers and tests.
const KEEP_ALIVE: std::ops::RangeInclusive<u64> = 5..=1200;
/// MQTT's own largest, and what holds at least a few topics.
const PACKET: std::ops::RangeInclusive<usize> = 1024..=268_435_460;
const DAY: Duration = Duration::from_secs(24 * 3600);
const LAST_CALL: Duration = Duration::from_secs(600);
const MINUTE: Duration = Duration::from_secs(60);

impl Options {
    /// Checks every value, as connecting does. It reads no files.
    ///
    /// # Errors
    ///
    /// A validation error that names the first wrong value, or a configuration error for values that
    /// contradict each other.
    pub fn validate(&self) -> Result<(), Error> {
        let endpoint = self.target()?;
        let is_aws = endpoint.is_aws();
        self.check_client_id()?;
        self.check_region(&endpoint)?;
        if self.transport == Transport::WebSocket && self.device.is_some() {
            return Err(apart(
                "certificate",
                "a WebSocket is signed with the session's credentials and uses no certificate: leave out certificate \
                 and key, or set the transport to `X509`",
            ));
        }
        if self.transport == Transport::WebSocket && self.alpn == Some(true) {
            return Err(apart(
                "alpn",
                "`alpn` is for MQTT over mutual TLS: a WebSocket on port 443 needs none",
            ));
        }
        if let Some(device) = &self.device {
            device.validate()?;
        }
        if !KEEP_ALIVE.contains(&self.keep_alive.as_secs()) || self.keep_alive.subsec_nanos() != 0 {
            return Err(refused("keep_alive", "must be 5 to 1200 whole seconds"));
        }
        if u32::try_from(self.session_expiry.as_secs()).is_err()
            || self.session_expiry.subsec_nanos() != 0
        {
            return Err(refused(
                "session_expiry",
                "must be whole seconds, fewer than 2^32",
            ));
        }
        if self.protocol == Protocol::V311 && self.clean_start != self.session_expiry.is_zero() {
            return Err(apart(
                "session_expiry",
                "MQTT 3.1.1 has one switch for both: set `clean_start(true)` without `session_expiry`, or \
                 `clean_start(false)` with it",
            ));
        }
        if self.protocol == Protocol::V311 && !self.user_properties.is_empty() {
            return Err(apart(
                "user_property",
                "user properties need MQTT 5: leave them out, or set the protocol to `V5`",
            ));
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(300)).contains(&self.connect_timeout) {
            return Err(refused("connect_timeout", "must be 1 to 300 seconds"));
        }
        let (shortest, longest) = self.backoff;
        if shortest.is_zero() || shortest > longest || longest > DAY {
            return Err(refused(
                "reconnect_backoff",
                "must be two waits above zero, the shorter first, of at most a day",
            ));
        }
        if !(MINUTE..=DAY - LAST_CALL).contains(&self.renew_after) {
            return Err(refused(
                "renew_after",
                "must be 60 seconds to 23 hours 50 minutes",
            ));
        }
        for (param, value) in [
            ("outbox_messages", self.outbox_messages),
            ("outbox_bytes", self.outbox_bytes),
            ("receive_maximum", usize::from(self.receive_maximum)),
            ("stream_capacity", self.stream_capacity),
        ] {
            if value == 0 {
                return Err(refused(param, "must be more than 0"));
            }
        }
        for (param, size) in [
            ("max_incoming_packet_size", self.max_incoming_packet_size),
            ("max_outgoing_packet_size", self.max_outgoing_packet_size),
        ] {
            if size.is_some_and(|size| !PACKET.contains(&size)) {
                return Err(refused(param, "must be 1024 to 268435460 bytes"));
            }
        }
        self.check_user()?;
        crate::api::message::check_user_properties(&self.user_properties)?;
        self.check_last_will(is_aws)?;
        self.proxy.as_ref().map_or(Ok(()), |proxy| {
            crate::transport::check_proxy(proxy.expose())
        })
    }

    fn check_client_id(&self) -> Result<(), Error> {
        let id = &self.client_id;
        if !(1..=MAX_CLIENT_ID).contains(&id.len()) || id.chars().any(char::is_control) {
            return Err(refused(
                "client_id",
                "must have 1 to 128 bytes and no control characters",
            ));
        }
        if id.starts_with('$') || id.contains(['/', '+', '#']) {
            tracing::warn!(
                client_id = id,
                "a client id with one of `$/+#` cannot be used in policies and topics"
            );
        }
        Ok(())
    }

    /// A custom domain shows no region, and without a signature there is none to be wrong.
    fn check_region(&self, endpoint: &Endpoint) -> Result<(), Error> {
        let Some(region) = &self.region else {
            return Ok(());
        };
        if !is_region(region) {
            return Err(refused(
                "region",
                "is not a region: it must look like `eu-west-1`",
            ));
        }
        match &endpoint.region {
            Some(named) if named != region && self.transport == Transport::WebSocket => {
                Err(refused(
                    "region",
                    &format!(
                        "is `{region}`, and the endpoint `{}` is in `{named}`, where AWS refuses signatures for \
                     another region: leave out `region`, or give the endpoint of `{region}`",
                        endpoint.host
                    ),
                ))
            }
            _ => Ok(()),
        }
    }

    fn check_user(&self) -> Result<(), Error> {
        for (param, text) in [("username", &self.username), ("password", &self.password)] {
            let Some(text) = text else { continue };
            if text.expose().len() > crate::api::message::MAX_TEXT || text.expose().contains('\0') {
                return Err(refused(
                    param,
                    "must have at most 65535 bytes and no character NUL",
                ));
            }
        }
        if self.protocol == Protocol::V311 && self.password.is_some() && self.username.is_none() {
            return Err(apart(
                "password",
                "MQTT 3.1.1 has no `password` without a `username`: give both",
            ));
        }
        Ok(())
    }

    fn check_last_will(&self, is_aws: bool) -> Result<(), Error> {
        let Some(will) = &self.last_will else {
            return Ok(());
        };
        let checked = will.validate();
        let checked = if is_aws {
            checked.and_then(|()| will.check_for_aws())
        } else {
            checked
        };
        checked.map_err(|error| error.with_detail("of", "last_will"))?;
        if will.payload.len() > crate::api::message::MAX_TEXT {
            return Err(refused(
                "last_will",
                "must have a payload of at most 65535 bytes, the most that CONNECT can carry",
            ));
        }
        if self.protocol == Protocol::V311 && will.needs_v5() {
            return Err(crate::error::needs_v5().with_detail("of", "last_will"));
        }
        Ok(())
    }
}

fn refused(param: &str, problem: &str) -> Error {
    Error::validation(format!("`{param}` {problem}"))
        .with_param(param)
        .unrecoverable()
}

fn apart(param: &str, problem: &'static str) -> Error {
    Error::configuration(problem)
        .with_param(param)
        .unrecoverable()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::message::{Publish, Qos};

    const ENDPOINT: &str = "a1b2c3-ats.iot.eu-west-1.amazonaws.com";

    #[test]
    fn what_is_usual_is_valid() {
        let options = || Options::new(ENDPOINT, "device-7");
        for options in [
            options(),
            options()
                .certificate("/c.pem")
                .private_key("/k.pem")
                .alpn(true),
            options()
                .transport(Transport::WebSocket)
                .region("eu-west-1"),
            options().protocol(Protocol::V311),
            options()
                .protocol(Protocol::V311)
                .clean_start(false)
                .session_expiry(DAY),
            options()
                .session_expiry(DAY)
                .last_will(Publish::new("a/gone", "x")),
            options().proxy("http://user:pass@proxy:3128"),
            options().username("name").password("word"),
            options().password("word"),
            options()
                .max_incoming_packet_size(1024)
                .max_outgoing_packet_size(268_435_460),
        ] {
            options.validate().unwrap();
        }
    }

    #[test]
    fn each_wrong_value_is_named() {
        let options = || Options::new(ENDPOINT, "device-7");
        for (options, param) in [
            (Options::new("https://x", "d"), "endpoint"),
            (Options::new(ENDPOINT, ""), "client_id"),
            (Options::new(ENDPOINT, "x".repeat(129)), "client_id"),
            (options().certificate("/c.pem"), "private_key"),
            (options().keep_alive(Duration::from_secs(4)), "keep_alive"),
            (
                options().keep_alive(Duration::from_secs(1201)),
                "keep_alive",
            ),
            (
                options().session_expiry(Duration::from_millis(1500)),
                "session_expiry",
            ),
            (
                options().protocol(Protocol::V311).session_expiry(DAY),
                "session_expiry",
            ),
            (
                options().protocol(Protocol::V311).user_property("a", "b"),
                "user_property",
            ),
            (options().connect_timeout(Duration::ZERO), "connect_timeout"),
            (
                options().reconnect_backoff(DAY, MINUTE),
                "reconnect_backoff",
            ),
            (options().renew_after(DAY), "renew_after"),
            (options().outbox_messages(0), "outbox_messages"),
            (options().receive_maximum(0), "receive_maximum"),
            (options().user_property("k", "x\0"), "user_property"),
            (
                options().user_property("k".repeat(65_536), "x"),
                "user_property",
            ),
            (options().last_will(Publish::new("a/#", "")), "topic"),
            (
                options().last_will(Publish::new("a", vec![0; 65_536])),
                "last_will",
            ),
            (
                options().last_will(Publish::new("a", "").qos(Qos::ExactlyOnce)),
                "qos",
            ),
            (
                options()
                    .protocol(Protocol::V311)
                    .last_will(Publish::new("a", "").content_type("text/plain")),
                "properties",
            ),
            (options().proxy("https://proxy"), "proxy"),
            (options().username("x".repeat(65_536)), "username"),
            (options().password("x\0"), "password"),
            (options().protocol(Protocol::V311).password("x"), "password"),
            (
                options().max_incoming_packet_size(1023),
                "max_incoming_packet_size",
            ),
            (
                options().max_outgoing_packet_size(268_435_461),
                "max_outgoing_packet_size",
            ),
            (
                options().last_will(Publish::new("x".repeat(257), "")),
                "topic",
            ),
            (options().transport(Transport::WebSocket).alpn(true), "alpn"),
            (
                options()
                    .transport(Transport::WebSocket)
                    .certificate("/c")
                    .private_key("/k"),
                "certificate",
            ),
        ] {
            let error = options.validate().unwrap_err();
            assert_eq!(error.param(), Some(param), "{error}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let options = Options::new(ENDPOINT, "d")
            .proxy("http://user:hush@proxy")
            .private_key("-----BEGIN x hush");
        let options = options.username("me?token=hush").password("hush");
        assert!(!format!("{options:?}").contains("hush"), "{options:?}");
    }

    #[test]
    fn a_region_fits_the_endpoint_that_is_signed_for() {
        let of = |endpoint: &str, region: &str, transport| {
            Options::new(endpoint, "d")
                .region(region)
                .transport(transport)
                .validate()
        };
        let us = "a1-ats.iot.us-east-1.amazonaws.com";
        for (endpoint, region, words) in [
            (us, "eu-west-1", "is in `us-east-1`"),
            (
                "vpce-1.data.iot.us-east-1.vpce.amazonaws.com",
                "eu-west-1",
                "is in `us-east-1`",
            ),
            (
                "a1.ats.iot.cn-north-1.amazonaws.com.cn",
                "eu-west-1",
                "is in `cn-north-1`",
            ),
            (us, "us-east-1 ", "is not a region"),
            ("mqtt.example.com", "US-EAST-1", "is not a region"),
        ] {
            let error = of(endpoint, region, Transport::WebSocket).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.param(), Some("region"));
        }
        for (endpoint, region) in [
            (us, "us-east-1"),
            ("mqtt.example.com", "eu-west-1"),
            ("localhost:8443", "eu-west-1"),
        ] {
            of(endpoint, region, Transport::WebSocket).unwrap();
        }
        // Nothing is signed.
        of(us, "eu-west-1", Transport::X509).unwrap();
    }
}
