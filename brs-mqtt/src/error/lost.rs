//! Why a connection was lost, or an attempt to connect failed.
//!
//! Owns the texts for TCP, proxies and servers that close without a reason. Callers look for TLS's
//! own reason first, since under TLS 1.3 the server rejects the device's certificate only after the
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
    /// The server reported that another connection took over the client id.
    pub(crate) taken_over: bool,
    /// The server closed in an orderly way and gave no reason.
    pub(crate) silent: bool,
    /// A sent message may be the reason.
    pub(crate) may_be_a_message: bool,
}

impl Lost {
    pub(crate) fn with_reason(error: Error) -> Self {
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

/// TCP, the proxy or TLS failed, and TLS gave no reason.
pub(crate) fn unreached(
    endpoint: &str,
    error: &(dyn StdError + 'static),
    hidden: &[&str],
) -> Error {
    let what = match Unreached::of(error) {
        Unreached::Cut => {
            "the connection was cut: check the port, and firewalls that allow only 443 (`alpn`)"
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
        "`{endpoint}` did not answer within {limit:?}: check the network, the port, and firewalls that allow only \
         443 (`alpn`)"
    ))
}

/// The token is still busy with the signature of an earlier attempt.
pub(crate) fn token_busy(endpoint: &str) -> Error {
    Error::connection(format!(
        "`{endpoint}` was not called: the device's token is still busy with the signature of an earlier attempt; \
         check the token, and that `connect_timeout` is longer than its `signature_timeout`"
    ))
}

/// The server closed before it answered CONNECT; `what` is to be checked.
pub(crate) fn closed_at_connect(endpoint: &str, client_id: &str, what: &str) -> Error {
    Error::connection(format!(
        "`{endpoint}` closed the connection instead of accepting the client `{client_id}`: check that {what}, and \
         that this is the account's data endpoint (`aws iot describe-endpoint --endpoint-type iot:Data-ATS`)"
    ))
}

/// The network cut the connection before the server answered CONNECT: that is not a refusal.
pub(crate) fn cut_at_connect(endpoint: &str, error: &(dyn StdError + 'static)) -> Error {
    let message = format!(
        "the connection to `{endpoint}` was cut before the server answered CONNECT: check the network and any \
         firewall or proxy on the way; if only this connection is cut again and again, look for the client in AWS \
         IoT's logs"
    );
    with_cause(Error::connection(message), error, &[])
}

/// The server closed in an orderly way without a reason, which MQTT 3.1.1 cannot send.
pub(crate) fn closed(endpoint: &str) -> Error {
    Error::connection(format!(
        "`{endpoint}` closed the connection without giving a reason"
    ))
}

/// The server answers pings but not what it was sent.
pub(crate) fn unanswered(endpoint: &str, count: usize, waited: Duration) -> Error {
    Outcome::Unanswered.on(Error::connection(format!(
        "`{endpoint}` has not answered {count} publishes, subscribes and unsubscribes for {} s, so the connection is \
         replaced",
        waited.as_secs()
    )))
}

/// The network cut an open connection.
pub(crate) fn cut(endpoint: &str, error: &(dyn StdError + 'static)) -> Error {
    with_cause(
        Error::connection(format!("the connection to `{endpoint}` was cut")),
        error,
        &[],
    )
}

/// The server did not answer a ping, or the network did not deliver what was sent, for too long.
pub(crate) fn dead(endpoint: &str) -> Error {
    Error::connection(format!(
        "`{endpoint}` did not answer within the keep-alive: the line is dead"
    ))
}

/// The server answered something that is not MQTT.
pub(crate) fn not_mqtt(endpoint: &str, error: &(dyn StdError + 'static)) -> Error {
    let message = format!(
        "the answer of `{endpoint}` is not MQTT: check that a broker for MQTT answers there"
    );
    with_cause(
        Error::connection(message).with_detail("said", error),
        error,
        &[],
    )
}

/// ALPN asked for MQTT, and the other side did not agree.
pub(crate) fn alpn_refused(endpoint: &str, wanted: &str) -> Error {
    Error::connection(format!(
        "`{endpoint}` did not agree to `{wanted}` in TLS's ALPN, so the other side is not a broker: a firewall or \
         proxy on the way rewrites TLS; use port 8883, or a WebSocket"
    ))
    .with_param("alpn")
}
