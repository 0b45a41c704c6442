//! What ended a connection or a try to connect, told apart.
//!
//! Owns the sentences for TCP, proxies and servers that close without a word; what TLS says is
//! looked for first, since a refusal of the device's certificate under TLS 1.3 comes only after the
//! handshake.

use std::error::Error as StdError;
use std::time::Duration;

use brs_core::Error;
use brs_core::kit::with_cause;
use brs_iot::Unreached;

use crate::error::outcome::Outcome;

/// How a connection ended, or why there was none.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) error: Error,
    /// The server has said that another connection took the client id over.
    pub(crate) taken_over: bool,
    /// The server has closed in an orderly way, and has not said why.
    pub(crate) silent: bool,
    /// Something that was sent may have been the reason.
    pub(crate) may_be_a_message: bool,
}

impl Lost {
    pub(crate) fn told(error: Error) -> Self {
        Self {
            error,
            taken_over: false,
            silent: false,
            may_be_a_message: false,
        }
    }

    pub(crate) fn silent(error: Error) -> Self {
        Self {
            error,
            taken_over: false,
            silent: true,
            may_be_a_message: true,
        }
    }
}

/// TCP, the proxy or TLS failed. What TLS has to say is said already.
pub(crate) fn unreached(
    endpoint: &str,
    error: &(dyn StdError + 'static),
    hidden: &[&str],
) -> Error {
    let what = match Unreached::of(error) {
        Unreached::Cut => {
            "the connection was cut: check the port, and firewalls that let only 443 pass (`alpn`)"
        }
        other => other.words(),
    };
    with_cause(
        Error::connection(format!("`{endpoint}` was not reached: {what}")),
        error,
        hidden,
    )
}

pub(crate) fn late(endpoint: &str, limit: Duration) -> Error {
    Error::connection(format!(
        "`{endpoint}` did not answer within {limit:?}: check the network, the port, and firewalls that let only 443 \
         pass (`alpn`)"
    ))
}

/// A token has not ended what an earlier try asked of it.
pub(crate) fn token_busy(endpoint: &str) -> Error {
    Error::connection(format!(
        "`{endpoint}` was not called: the device's token has not ended the signature of an earlier try; check the \
         token, and that `connect_timeout` is longer than its `signature_timeout`"
    ))
}

/// The server closed before it answered CONNECT; `what` may have to be checked.
pub(crate) fn closed_at_connect(endpoint: &str, client_id: &str, what: &str) -> Error {
    Error::connection(format!(
        "`{endpoint}` closed the connection when `{client_id}` introduced itself: check that {what}, and that this \
         is the account's data endpoint (`aws iot describe-endpoint --endpoint-type iot:Data-ATS`)"
    ))
}

/// The network ended the connection before the server answered CONNECT: that is no refusal.
pub(crate) fn cut_at_connect(endpoint: &str, error: &(dyn StdError + 'static)) -> Error {
    let message = format!(
        "the connection to `{endpoint}` was cut before the server answered CONNECT: check the network, and what is on \
         the way; if it happens again and again and nothing else is cut, look into AWS IoT's logs for this client"
    );
    with_cause(Error::connection(message), error, &[])
}

/// The server closed in an orderly way and gave no reason, as MQTT 3.1.1 has none.
pub(crate) fn closed(endpoint: &str) -> Error {
    Error::connection(format!(
        "`{endpoint}` closed the connection without giving a reason"
    ))
}

/// The server is there, and does not answer what it was sent.
pub(crate) fn unanswered(endpoint: &str, count: usize, waited: Duration) -> Error {
    Outcome::Unanswered.on(Error::connection(format!(
        "`{endpoint}` has not answered {count} publishes, subscribes and unsubscribes for {} s, so the connection is \
         replaced",
        waited.as_secs()
    )))
}

/// The network ended the connection while it stood.
pub(crate) fn cut(endpoint: &str, error: &(dyn StdError + 'static)) -> Error {
    with_cause(
        Error::connection(format!("the connection to `{endpoint}` was cut")),
        error,
        &[],
    )
}

/// The server did not answer the keep-alive, or has not taken for as long what was sent.
pub(crate) fn dead(endpoint: &str) -> Error {
    Error::connection(format!(
        "`{endpoint}` did not answer within the keep-alive: the line is dead"
    ))
}

/// The server answered something that is not MQTT.
pub(crate) fn not_mqtt(endpoint: &str, error: &(dyn StdError + 'static)) -> Error {
    let message = format!(
        "what `{endpoint}` says cannot be understood: check that a broker for MQTT answers there"
    );
    with_cause(
        Error::connection(message).with_detail("said", error),
        error,
        &[],
    )
}

/// ALPN asked for MQTT, and nobody took it up.
pub(crate) fn alpn_refused(endpoint: &str, wanted: &str) -> Error {
    Error::connection(format!(
        "`{endpoint}` did not agree to `{wanted}` in TLS's ALPN, so what is behind it is no broker: a firewall or \
         proxy on the way rewrites TLS; use port 8883, or a WebSocket"
    ))
    .with_param("alpn")
}
