//! What reaches which stream: messages that are too large, filters that overlap, readers that do
//! not read.

use brs::mqtt::{self, Event, Publish, Qos, Subscribe};
use brs_tests::mosquitto::Mosquitto;

use crate::scripted::{BOTH, CONNECT, Deed, PUBACK, SUBSCRIBE, Scripted, agree};
use crate::support::{LIMIT, in_time, lasting, world};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn a_large_message_of_another_broker_is_read() {
    let broker = Mosquitto::start(&world().iot);
    for protocol in BOTH {
        let options = lasting(world().options(broker.endpoint(), "reader"), protocol);
        let connection = in_time(mqtt::connect(options)).await.unwrap();
        let mut stream = in_time(connection.subscribe("l")).await.unwrap();
        // More than AWS IoT takes, in both directions.
        in_time(connection.publish(Publish::new("l", vec![7; 300_000])))
            .await
            .unwrap();
        let message = in_time(stream.next()).await.unwrap();
        assert!(
            message.payload().len() == 300_000 && message.payload().iter().all(|byte| *byte == 7),
            "{protocol:?}"
        );
        in_time(connection.disconnect(None)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn a_message_that_is_too_large_is_told_and_what_follows_is_read_over_the_same_connection() {
    let broker = Mosquitto::start(&world().iot);
    for (protocol, qos) in BOTH
        .into_iter()
        .flat_map(|p| [(p, Qos::AtMostOnce), (p, Qos::AtLeastOnce)])
    {
        let options = lasting(world().options(broker.endpoint(), "reader"), protocol);
        let connection = in_time(mqtt::connect(options.max_incoming_packet_size(100_000)))
            .await
            .unwrap();
        let mut stream = in_time(connection.subscribe("l")).await.unwrap();
        let mut events = connection.events();
        for size in [300_000, 5] {
            in_time(connection.publish(Publish::new("l", vec![7; size]).qos(qos)))
                .await
                .unwrap();
        }
        assert_eq!(
            in_time(stream.next()).await.unwrap().payload().len(),
            5,
            "{protocol:?} {qos:?}"
        );
        // Over another connection of the session it does not come again.
        connection.reconnect().await;
        let mut told = Vec::new();
        loop {
            match in_time(events.next()).await.unwrap() {
                Event::TooLarge { topic, size, limit } => told.push((topic, size, limit)),
                Event::Connected {
                    session_present: true,
                } => break,
                Event::Lost { error, .. } => panic!("{protocol:?} {qos:?}: {error}"),
                _ => {}
            }
        }
        in_time(connection.publish(Publish::new("l", "last").qos(qos)))
            .await
            .unwrap();
        assert_eq!(
            &in_time(stream.next()).await.unwrap().payload()[..],
            b"last"
        );
        // A server of MQTT 5 knows the limit, and sends nothing that is larger.
        let expected = protocol == mqtt::Protocol::V311;
        assert_eq!(
            told.len(),
            usize::from(expected),
            "{protocol:?} {qos:?}: {told:?}"
        );
        assert!(
            told.iter()
                .all(|(topic, size, limit)| topic == "l" && *size > 300_000 && *limit == 100_000)
        );
        in_time(connection.disconnect(None)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_and_not_told_so_by_the_servers_version_is_acknowledged_once() {
    for protocol in BOTH {
        let broker = Scripted::start(|packet| match packet.kind() {
            SUBSCRIBE => {
                let payload = vec![b'x'; 2000];
                let head = if packet.v5 {
                    &[0, 1, b'l', 0, 9, 0][..]
                } else {
                    &[0, 1, b'l', 0, 9]
                };
                let length = head.len() + payload.len();
                let message = [
                    &[0x32, u8::try_from(length & 0x7F).unwrap() | 0x80],
                    &[u8::try_from(length >> 7).unwrap()][..],
                ];
                Deed::Send([&packet.suback(1), &message.concat()[..], head, &payload].concat())
            }
            _ => agree(packet),
        })
        .await;
        let options = world()
            .options(broker.endpoint(), "small")
            .protocol(protocol)
            .max_incoming_packet_size(1024);
        let connection = in_time(mqtt::connect(options)).await.unwrap();
        let mut events = connection.events();
        let _stream = in_time(connection.subscribe("l")).await.unwrap();
        while !matches!(
            in_time(events.next()).await.unwrap(),
            Event::TooLarge { limit: 1024, .. }
        ) {}
        in_time(connection.publish(Publish::new("later", "x")))
            .await
            .unwrap();
        let acknowledged = broker.seen(PUBACK);
        assert!(
            acknowledged.len() == 1 && acknowledged[0].id() == [0, 9],
            "{protocol:?}: {acknowledged:?}"
        );
        assert_eq!(broker.seen(CONNECT).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn filters_that_overlap_get_each_message_once() {
    // Few enough for all that the broker sends of them to be within its window.
    const COUNT: usize = 3;
    let broker = Mosquitto::start(&world().iot);
    for protocol in BOTH {
        let connection = in_time(mqtt::connect(
            world()
                .options(broker.endpoint(), "over")
                .protocol(protocol),
        ))
        .await
        .unwrap();
        let mut all = connection.messages().await;
        let asked = ["o/+", "o/x", "#"].map(Subscribe::new);
        let mut streams: Vec<_> = in_time(connection.subscribe_all(asked))
            .await
            .unwrap()
            .into_iter()
            .map(Result::unwrap)
            .collect();
        // Once more, alone, and another stream of one of them.
        streams.push(in_time(connection.subscribe("+/x")).await.unwrap());
        streams.push(in_time(connection.subscribe("o/x")).await.unwrap());
        for number in 0..COUNT {
            broker.publish("o/x", &number.to_string());
        }
        broker.publish("end", "");
        for stream in &mut streams[..2] {
            for number in 0..COUNT {
                let message = in_time(stream.next()).await.unwrap();
                assert_eq!(
                    &message.payload()[..],
                    number.to_string().as_bytes(),
                    "{protocol:?} {}",
                    stream.filter()
                );
            }
        }
        // Those that hear the end have heard each of the others once.
        let mut heard = 0;
        while in_time(all.next()).await.unwrap().topic() != "end" {
            heard += 1;
        }
        assert_eq!(heard, COUNT, "{protocol:?}");
        let mut heard = 0;
        while in_time(streams[2].next()).await.unwrap().topic() != "end" {
            heard += 1;
        }
        assert_eq!(heard, COUNT, "{protocol:?}");
        in_time(connection.disconnect(LIMIT)).await.unwrap();
        for stream in [0, 1, 3, 4] {
            let expected = if stream < 2 { 0 } else { COUNT };
            let mut left = 0;
            while in_time(streams[stream].next()).await.is_some() {
                left += 1;
            }
            assert_eq!(left, expected, "{protocol:?} {}", streams[stream].filter());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_that_fills_the_servers_window_is_named() {
    for protocol in BOTH {
        let broker = Scripted::start(|packet| match packet.kind() {
            SUBSCRIBE if packet.holds("unread") => {
                let messages: Vec<u8> = (1..=9)
                    .flat_map(|id| packet.publish("unread", id))
                    .collect();
                Deed::Send([packet.suback(1), messages, packet.publish("read", 10)].concat())
            }
            _ => agree(packet),
        })
        .await;
        let options = world()
            .options(broker.endpoint(), "slow")
            .protocol(protocol)
            .receive_maximum(10);
        let connection = in_time(mqtt::connect(options)).await.unwrap();
        let mut events = connection.events();
        let _read = in_time(connection.subscribe("read")).await.unwrap();
        let _unread = in_time(connection.subscribe("unread")).await.unwrap();
        loop {
            if let Event::WindowFull { filter, count } = in_time(events.next()).await.unwrap() {
                assert_eq!((filter.as_str(), count), ("unread", 9), "{protocol:?}");
                break;
            }
        }
    }
}
