//! MQTT's reason codes in words, with what to do about each.
//!
//! Owns the tables for answers to CONNECT, PUBLISH, SUBSCRIBE and UNSUBSCRIBE and for a server's
//! DISCONNECT: MQTT 5, section 2.4, and the five of MQTT 3.1.1, section 3.2.2.3, with AWS's meaning
//! where that is narrower.

use brs_core::Error;
use brs_core::kit::clean;

/// What a reason code means; `None` for codes that servers do not send.
pub(crate) fn in_words(code: u8) -> Option<&'static str> {
    Some(match code {
        0x11 => "there was no such subscription",
        0x80 => "unspecified error",
        0x81 => "malformed packet",
        0x82 => "protocol error",
        0x83 => "implementation specific error",
        0x84 => "unsupported protocol version",
        0x85 => "client identifier not valid",
        0x86 => "bad user name or password",
        0x87 => "not authorized",
        0x88 => "server unavailable",
        0x89 => "server busy",
        0x8A => "banned",
        0x8B => "server shutting down",
        0x8C => "bad authentication method",
        0x8D => "keep alive timeout",
        0x8E => "session taken over",
        0x8F => "topic filter invalid",
        0x90 => "topic name invalid",
        0x91 => "packet identifier in use",
        0x93 => "receive maximum exceeded",
        0x94 => "topic alias invalid",
        0x95 => "packet too large",
        0x96 => "message rate too high",
        0x97 => "quota exceeded",
        0x98 => "administrative action",
        0x99 => "payload format invalid",
        0x9A => "retain not supported",
        0x9B => "QoS not supported",
        0x9C => "use another server",
        0x9D => "server moved",
        0x9E => "shared subscriptions not supported",
        0x9F => "connection rate exceeded",
        0xA0 => "maximum connect time",
        0xA1 => "subscription identifiers not supported",
        0xA2 => "wildcard subscriptions not supported",
        _ => return None,
    })
}

fn words(code: u8) -> String {
    in_words(code).map_or_else(
        || format!("reason 0x{code:02x}"),
        |words| format!("{words} (0x{code:02x})"),
    )
}

/// Only a person can fix these.
fn is_final(code: u8) -> bool {
    matches!(code, 0x84..=0x87 | 0x8A | 0x8C | 0x8F | 0x90 | 0x99..=0x9B | 0x9D | 0x9E | 0xA1 | 0xA2)
}

fn classed(error: Error, code: u8) -> Error {
    let error = error.with_code(format!("0x{code:02x}"));
    match code {
        0x96 | 0x97 | 0x9F => error.throttled(),
        code if is_final(code) => error.unrecoverable(),
        _ => error.retryable(),
    }
}

/// The server refused CONNECT.
pub(crate) fn connect_refused(code: u8, client_id: &str) -> Error {
    let what = match code {
        0x85 => "check the client id: AWS accepts up to 128 bytes, and no `$` at the start",
        0x84 => "set the other `protocol`: the server does not speak this version",
        0x87 | 0x86 => {
            "check that the certificate is active and its policy allows `iot:Connect` for this client id, or for a \
             WebSocket that the role's policy does (`aws iot list-attached-policies`)"
        }
        0x97 | 0x9F => "too many connections, or too many at once: see AWS IoT's quotas",
        0x95 => "the last will is too large",
        0x9A | 0x9B => {
            "check the last will: the server does not support its QoS, or retained messages"
        }
        _ => "try again later",
    };
    classed(
        Error::request(format!(
            "the server rejected the client `{client_id}`: {}: {what}",
            words(code)
        )),
        code,
    )
}

/// MQTT 3.1.1's codes, in MQTT 5's numbers.
pub(crate) fn of_v4(code: u8) -> u8 {
    match code {
        1 => 0x84,
        2 => 0x85,
        3 => 0x88,
        4 => 0x86,
        5 => 0x87,
        _ => 0x80,
    }
}

/// The server refused a PUBLISH.
pub(crate) fn publish_refused(code: u8, topic: &str) -> Error {
    let what = match code {
        0x87 => {
            "check that the policy allows `iot:Publish` to the topic (and `iot:RetainPublish` for a retained message)"
        }
        0x90 => "check the topic",
        0x97 => "too many messages: see AWS IoT's quotas",
        _ => "see AWS IoT's logs in CloudWatch",
    };
    classed(
        Error::request(format!(
            "the server rejected the message to `{topic}`: {}: {what}",
            words(code)
        )),
        code,
    )
    .with_detail("topic", topic)
}

/// The server refused a filter of a SUBSCRIBE.
pub(crate) fn subscribe_refused(code: u8, filter: &str) -> Error {
    let what = match code {
        0x87 | 0x80 => {
            "check that the policy allows `iot:Subscribe` to the topic filter and `iot:Receive` to the topics"
        }
        0x8F => "check the filter",
        0x97 => "too many subscriptions: AWS IoT accepts 50 per connection",
        _ => "see AWS IoT's logs in CloudWatch",
    };
    classed(
        Error::request(format!(
            "the server rejected the subscription to `{filter}`: {}: {what}",
            words(code)
        )),
        code,
    )
    .with_detail("filter", filter)
}

/// The server refused an UNSUBSCRIBE.
pub(crate) fn unsubscribe_refused(code: u8) -> Error {
    classed(
        Error::request(format!(
            "the server rejected the unsubscribe: {}",
            words(code)
        )),
        code,
    )
}

/// Whether a server that closes the connection with this code may mean a message it received.
pub(crate) fn may_be_about_a_message(code: u8) -> bool {
    matches!(code, 0x80..=0x83 | 0x87 | 0x90 | 0x94 | 0x95 | 0x98..=0x9B)
}

/// The server closed the connection with a reason code.
pub(crate) fn disconnected(code: u8, text: Option<&str>) -> Error {
    let what = match code {
        0x87 => ": check that the policy allows what the client publishes and subscribes",
        0x8D => ": the server heard nothing for longer than the keep-alive allows",
        0x95 => ": a message was larger than the server accepts",
        0x93 | 0x96 | 0x97 | 0x9F => ": publish less, or more slowly",
        _ => "",
    };
    let said = text
        .map(|text| format!(", `{}`", clean(text, &[])))
        .unwrap_or_default();
    // The driver reconnects in any case, so the error has no class.
    Error::connection(format!(
        "the server closed the connection: {}{said}{what}",
        words(code)
    ))
    .with_code(format!("0x{code:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_by_policy_names_the_action_that_is_missing() {
        for (error, action) in [
            (connect_refused(0x87, "d"), "iot:Connect"),
            (connect_refused(of_v4(5), "d"), "iot:Connect"),
            (publish_refused(0x87, "a"), "iot:Publish"),
            (subscribe_refused(0x87, "a/#"), "iot:Subscribe"),
            (subscribe_refused(0x80, "a/#"), "iot:Subscribe"),
        ] {
            assert!(error.to_string().contains(action), "{error}");
        }
        assert!(connect_refused(0x87, "d").is_unrecoverable());
    }

    #[test]
    fn what_the_server_says_is_one_line_of_bounded_length() {
        let said = format!("go\n\u{1b}[2J{}", "x".repeat(60_000));
        let error = disconnected(0x87, Some(&said)).to_string();
        assert!(
            error.contains("go") && error.len() < 5000 && !error.contains(['\n', '\u{1b}']),
            "{error}"
        );
    }

    #[test]
    fn every_code_has_words_and_a_class() {
        for code in 0x80..=0xA2 {
            if let Some(words) = in_words(code) {
                let error = disconnected(code, None);
                assert!(error.to_string().contains(words), "{error}");
                assert!(error.is_retryable());
            }
        }
        assert!(publish_refused(0x97, "a").is_throttled());
        assert!(disconnected(0xEE, None).to_string().contains("reason 0xee"));
    }
}
