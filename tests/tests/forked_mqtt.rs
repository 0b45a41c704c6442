//! A forked child and its parent's MQTT connection: calls on it fail at once there, and the parent
//! goes on.
//!
//! One process of its own, and one test: a fork copies the thread that forks, and what others hold
//! locked.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

use brs::mqtt::{self, Connection, Event, Outcome, Publish, State};
use brs_core::Error;
use forking::{block_on, in_a_fork};
use scripted::{PUBLISH, Scripted, agree_and_live};
use support::{in_time, world};

#[path = "../../brs-core/tests/forking/mod.rs"]
mod forking;
#[expect(dead_code, reason = "shared with the tests of MQTT")]
#[path = "mqtt/scripted.rs"]
mod scripted;
#[expect(dead_code, reason = "shared with the tests of MQTT")]
#[path = "mqtt/support.rs"]
mod support;

fn is_forked(result: Result<(), Error>) {
    let error = result.unwrap_err();
    assert_eq!(Outcome::of(&error), Some(Outcome::Closed), "{error}");
    assert!(
        error.is_unrecoverable() && error.to_string().contains("open another one here"),
        "{error}"
    );
}

async fn every_call_fails(connection: &Connection) {
    is_forked(connection.publish(Publish::new("a", "x")).await);
    is_forked(connection.subscribe("a").await.map(drop));
    is_forked(connection.unsubscribe(["a"]).await);
    is_forked(connection.connected().await);
    is_forked(connection.disconnect(None).await);
    connection.reconnect().await;
    assert_eq!(connection.state(), State::Closed);
    assert!(connection.messages().await.next().await.is_none());
    let mut events = connection.events();
    assert!(matches!(events.next().await, Some(Event::Closed)));
    assert!(events.next().await.is_none());
    assert!(format!("{connection:?}").contains("Closed"));
    drop(connection.clone());
}

#[test]
fn a_childs_calls_fail_at_once_and_the_parent_goes_on() {
    let servers = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let (broker, connection) = servers.block_on(async {
        let broker = Scripted::start(agree_and_live).await;
        let options = world().options(broker.endpoint(), "parent");
        let connection = in_time(mqtt::connect(options)).await.unwrap();
        (broker, connection)
    });
    let mut subscription = block_on(connection.subscribe("a")).unwrap();
    let (mut messages, mut events) = (block_on(connection.messages()), connection.events());
    in_a_fork("the child", || {
        block_on(async {
            every_call_fails(&connection).await;
            assert!(subscription.next().await.is_none());
            assert!(messages.next().await.is_none());
            assert!(matches!(events.next().await, Some(Event::Closed)));
            assert!(events.next().await.is_none());
        });
        Ok(())
    });
    servers.block_on(async {
        let publish = connection.publish(Publish::new("a", "x"));
        in_time(publish).await.unwrap();
        assert_eq!(broker.seen(PUBLISH).len(), 1);
        in_time(connection.disconnect(None)).await.unwrap();
    });
}
