//! MQTT's texts from outside: answers to a WebSocket's handshake, topics, addresses. Whatever they
//! are, reading them ends.

#![no_main]

libfuzzer_sys::fuzz_target!(|texts: (&str, &str, &[u8])| {
    let (one, other, bytes) = texts;
    brs_mqtt::__fuzz::answer(one, bytes);
    brs_mqtt::__fuzz::places(one, other);
    // A filter without wildcards reaches the topic of that name only.
    let reached = brs_mqtt::__fuzz::topic(one, other);
    assert!(!reached || one == other || one.contains(['+', '#']) || one.starts_with("$share/"));
});
