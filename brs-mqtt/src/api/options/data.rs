//! The options as data: brs's names, and those of the Python package.
//!
//! Owns the spelling only and sets everything through the builder of `options.rs`. Errors never
//! repeat a value.

use std::collections::BTreeMap;
use std::time::Duration;

use brs_core::SecretString;
use brs_iot::{Pem, SecretSource};
use serde::{Deserialize, Deserializer};

use super::{Options, Protocol, Transport, WhenFull, WhenSessionLost};
use crate::api::message::{Publish, Qos};

/// The options as data; durations are numbers of seconds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Data {
    endpoint: String,
    client_id: String,
    transport: Option<Transport>,
    protocol: Option<Protocol>,
    port: Option<u16>,
    #[serde(alias = "use_alpn")]
    alpn: Option<bool>,
    certificate: Option<Pem>,
    private_key: Option<Pem>,
    private_key_passphrase: Option<SecretString>,
    private_key_passphrase_file: Option<String>,
    private_key_passphrase_env: Option<String>,
    #[cfg(feature = "pkcs11")]
    pkcs11: Option<brs_iot::Pkcs11>,
    #[cfg(not(feature = "pkcs11"))]
    #[serde(default, rename = "pkcs11", deserialize_with = "refuse_pkcs11")]
    _pkcs11: (),
    #[serde(alias = "ca")]
    trust_store: Option<Pem>,
    region: Option<String>,
    proxy: Option<SecretString>,
    username: Option<SecretString>,
    password: Option<SecretString>,
    #[serde(alias = "keep_alive_secs")]
    keep_alive: Option<Seconds>,
    clean_start: Option<bool>,
    session_expiry: Option<Seconds>,
    last_will: Option<Will>,
    #[serde(default)]
    user_properties: BTreeMap<String, String>,
    connect_timeout: Option<Seconds>,
    defer_connect: Option<bool>,
    reconnect_backoff: Option<Backoff>,
    outbox_messages: Option<usize>,
    outbox_bytes: Option<usize>,
    when_full: Option<WhenFull>,
    hold_at_most_once: Option<bool>,
    when_session_lost: Option<WhenSessionLost>,
    receive_maximum: Option<u16>,
    max_incoming_packet_size: Option<usize>,
    max_outgoing_packet_size: Option<usize>,
    stream_capacity: Option<usize>,
    renew_after: Option<Seconds>,
}

/// A number of seconds.
#[derive(Deserialize)]
#[serde(try_from = "f64")]
struct Seconds(Duration);

impl TryFrom<f64> for Seconds {
    type Error = &'static str;

    fn try_from(seconds: f64) -> Result<Self, Self::Error> {
        Duration::try_from_secs_f64(seconds)
            .map(Self)
            .map_err(|_| "must be a number of seconds, not negative")
    }
}

/// Two waits in seconds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Backoff {
    shortest: Seconds,
    longest: Seconds,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Will {
    topic: String,
    #[serde(default)]
    payload: String,
    #[serde(default, deserialize_with = "level")]
    qos: Qos,
    #[serde(default)]
    retain: bool,
}

impl TryFrom<Data> for Options {
    type Error = &'static str;

    fn try_from(data: Data) -> Result<Self, Self::Error> {
        let mut options = Self::new(data.endpoint, data.client_id);
        let passphrases = [
            data.private_key_passphrase.map(SecretSource::value),
            data.private_key_passphrase_file.map(SecretSource::file),
            data.private_key_passphrase_env.map(SecretSource::env),
        ];
        let mut passphrases = passphrases.into_iter().flatten();
        let passphrase = passphrases.next();
        if passphrases.next().is_some() {
            return Err(
                "give one of `private_key_passphrase`, `private_key_passphrase_file` and \
                        `private_key_passphrase_env`",
            );
        }
        macro_rules! set {
            ($($name:ident $(. $inner:tt)?),* $(,)?) => {$(
                if let Some(value) = data.$name {
                    options = options.$name(value$(.$inner)?);
                }
            )*};
        }
        set!(transport, protocol, port, alpn, certificate, private_key);
        if let Some(passphrase) = passphrase {
            options = options.private_key_passphrase(passphrase);
        }
        #[cfg(feature = "pkcs11")]
        set!(pkcs11);
        set!(trust_store, region, proxy, username, password);
        set!(keep_alive.0, clean_start, session_expiry.0);
        set!(connect_timeout.0, defer_connect);
        set!(
            outbox_messages,
            outbox_bytes,
            when_full,
            hold_at_most_once,
            when_session_lost
        );
        set!(
            receive_maximum,
            max_incoming_packet_size,
            max_outgoing_packet_size
        );
        set!(stream_capacity, renew_after.0);
        if let Some(Backoff { shortest, longest }) = data.reconnect_backoff {
            options = options.reconnect_backoff(shortest.0, longest.0);
        }
        if let Some(will) = data.last_will {
            let publish = Publish::new(will.topic, will.payload);
            options = options.last_will(publish.qos(will.qos).retain(will.retain));
        }
        options.user_properties.extend(data.user_properties);
        Ok(options)
    }
}

fn level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Qos, D::Error> {
    match u8::deserialize(deserializer)? {
        0 => Ok(Qos::AtMostOnce),
        1 => Ok(Qos::AtLeastOnce),
        _ => Err(serde::de::Error::custom(
            "must be 0 or 1: AWS IoT Core has no QoS 2",
        )),
    }
}

#[cfg(not(feature = "pkcs11"))]
fn refuse_pkcs11<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    match Option::<serde::de::IgnoredAny>::deserialize(deserializer)? {
        None => Ok(()),
        Some(_) => Err(serde::de::Error::custom(
            "this build does not support PKCS#11: enable the feature `pkcs11`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn with(mut more: Value) -> Value {
        more["endpoint"] = "a1b2c3-ats.iot.eu-west-1.amazonaws.com".into();
        more["client_id"] = "device-7".into();
        more
    }

    fn device() -> Options {
        Options::new("a1b2c3-ats.iot.eu-west-1.amazonaws.com", "device-7")
    }

    #[test]
    fn the_python_packages_names_are_understood() {
        let python = with(json!({
            "transport": "x509", "certificate": "/c.pem", "private_key": "/k.pem", "ca": "/ca.pem",
            "keep_alive_secs": 30, "clean_start": false, "port": 443, "use_alpn": true, "region": "eu-west-1",
        }));
        let own = device()
            .certificate("/c.pem")
            .private_key("/k.pem")
            .trust_store("/ca.pem")
            .keep_alive(Duration::from_secs(30))
            .clean_start(false)
            .port(443)
            .alpn(true)
            .region("eu-west-1");
        let read = Options::from_data(python).unwrap();
        read.validate().unwrap();
        assert_eq!(format!("{read:?}"), format!("{own:?}"));
        let socket = Options::from_data(with(json!({ "transport": "ws" }))).unwrap();
        assert_eq!(
            format!("{socket:?}"),
            format!("{:?}", device().transport(Transport::WebSocket))
        );
    }

    #[test]
    fn every_option_has_a_name() {
        let read = Options::from_data(with(json!({
            "protocol": "3.1.1", "trust_store": "/ca.pem", "proxy": "http://me:hush@proxy", "session_expiry": 60,
            "clean_start": false, "last_will": { "topic": "gone", "payload": "bye", "qos": 0, "retain": true },
            "connect_timeout": 2.5, "defer_connect": true, "reconnect_backoff": { "shortest": 0.5, "longest": 8 },
            "outbox_messages": 2, "outbox_bytes": 4096, "when_full": "drop_oldest", "hold_at_most_once": true,
            "when_session_lost": "fail", "receive_maximum": 7, "stream_capacity": 9, "renew_after": 3600,
            "username": "me?x-amz-customauthorizer-name=judge", "password": "hush",
            "max_incoming_packet_size": 300_000, "max_outgoing_packet_size": 200_000,
        })));
        let own = device()
            .protocol(Protocol::V311)
            .trust_store("/ca.pem")
            .proxy("http://me:hush@proxy")
            .session_expiry(Duration::from_secs(60))
            .clean_start(false)
            .last_will(
                Publish::new("gone", "bye")
                    .qos(Qos::AtMostOnce)
                    .retain(true),
            )
            .connect_timeout(Duration::from_millis(2500))
            .defer_connect(true)
            .reconnect_backoff(Duration::from_millis(500), Duration::from_secs(8))
            .outbox_messages(2)
            .outbox_bytes(4096)
            .when_full(WhenFull::DropOldest)
            .hold_at_most_once(true)
            .when_session_lost(WhenSessionLost::Fail)
            .receive_maximum(7)
            .stream_capacity(9)
            .renew_after(Duration::from_secs(3600))
            .username("me?x-amz-customauthorizer-name=judge")
            .password("hush")
            .max_incoming_packet_size(300_000)
            .max_outgoing_packet_size(200_000);
        let read = read.unwrap();
        read.validate().unwrap();
        let secrets = [&read, &own].map(|options| {
            let shown = |secret: &Option<SecretString>| {
                secret.as_ref().map(|secret| secret.expose().to_owned())
            };
            (shown(&options.username), shown(&options.password))
        });
        assert_eq!(secrets[0], secrets[1]);
        assert_eq!(format!("{read:?}"), format!("{own:?}"));
        let with_properties =
            Options::from_data(with(json!({ "user_properties": { "unit": "K" } }))).unwrap();
        assert_eq!(
            with_properties.user_properties,
            [("unit".to_owned(), "K".to_owned())]
        );
    }

    #[test]
    fn a_wrong_field_is_named_by_its_path_without_its_value() {
        for (data, param) in [
            (json!({ "keep_alive_secs": "hush" }), "keep_alive_secs"),
            (json!({ "transport": "hush" }), "transport"),
            (json!({ "protocol": "hush" }), "protocol"),
            (
                json!({ "last_will": { "topic": "a", "qos": 2 } }),
                "last_will.qos",
            ),
            (
                json!({ "reconnect_backoff": { "shortest": -1, "longest": 2 } }),
                "reconnect_backoff.shortest",
            ),
            (json!({ "proxy": 4711 }), "proxy"),
            (json!({ "username": 4711 }), "username"),
            (json!({ "password": ["hush"] }), "password"),
            (
                json!({ "max_incoming_packet_size": "hush" }),
                "max_incoming_packet_size",
            ),
            (json!({ "clean_session": true }), "clean_session"),
        ] {
            let error = Options::from_data(with(data.clone())).unwrap_err();
            assert_eq!(error.param(), Some(param), "{data}: {error}");
            assert!(
                !error.to_string().contains("hush") && !error.to_string().contains("4711"),
                "{error}"
            );
        }
        assert!(
            Options::from_data(json!({ "endpoint": "x" }))
                .unwrap_err()
                .to_string()
                .contains("client_id")
        );
    }

    #[test]
    fn a_device_is_whole_or_not_there() {
        for (data, param) in [
            (json!({ "certificate": "/c.pem" }), "private_key"),
            (json!({ "private_key": "/k.pem" }), "certificate"),
            (
                json!({ "transport": "ws", "certificate": "/c.pem", "private_key": "/k.pem" }),
                "certificate",
            ),
        ] {
            let error = Options::from_data(with(data))
                .unwrap()
                .validate()
                .unwrap_err();
            assert_eq!(error.param(), Some(param), "{error}");
        }
    }

    #[cfg(feature = "pkcs11")]
    #[test]
    fn a_token_takes_the_private_keys_place() {
        let token =
            json!({ "pkcs11_lib": "/usr/lib/m.so", "user_pin": "hush", "private_key_label": "k" });
        let data = |mut more: Value| {
            more["certificate"] = "/c.pem".into();
            more["pkcs11"] = token.clone();
            Options::from_data(with(more)).unwrap()
        };
        data(json!({})).validate().unwrap();
        let error = data(json!({ "private_key": "/k.pem" }))
            .validate()
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("`private_key` and `pkcs11` are both given"),
            "{error}"
        );
        assert!(!format!("{:?}", data(json!({}))).contains("hush"));
    }

    #[cfg(not(feature = "pkcs11"))]
    #[test]
    fn a_build_without_tokens_says_so() {
        let error = Options::from_data(with(json!({ "pkcs11": "pkcs11:token=t" }))).unwrap_err();
        assert!(
            error.to_string().contains("the feature `pkcs11`"),
            "{error}"
        );
    }
}
