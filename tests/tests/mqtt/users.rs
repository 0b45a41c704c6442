//! Names and passwords, and the environment's proxy.

use std::process::Command;

use brs::mqtt::{self, Options, Protocol, Publish};
use brs_tests::rough_path::RoughPath;
use brs_tests::tls_door::TlsDoor;

use crate::scripted::{BOTH, CONNECT, Scripted, agree};
use crate::support::{in_time, world};

#[tokio::test(flavor = "multi_thread")]
async fn a_name_and_a_password_are_shown_with_a_certificate_or_without_one() {
    const NAME: &str = "me?x-amz-customauthorizer-name=judge&token=t0ken";
    for protocol in BOTH {
        let broker = Scripted::start(agree).await;
        let options = world()
            .options(broker.endpoint(), "named")
            .protocol(protocol)
            .username(NAME)
            .password("pass word");
        drop(in_time(mqtt::connect(options)).await.unwrap());
        let door =
            TlsDoor::start_without_certificates(&world().iot, &["mqtt"], broker.plain_address());
        let options = Options::new(door.endpoint(), "named")
            .protocol(protocol)
            .trust_store(world().iot.trust_store().as_str())
            .username(NAME)
            .password("pass word")
            .alpn(true);
        assert!(
            !format!("{options:?}").contains("t0ken")
                && !format!("{options:?}").contains("pass word")
        );
        let connection = in_time(mqtt::connect(options)).await.unwrap();
        in_time(connection.publish(Publish::new("a", "x")))
            .await
            .unwrap();
        let shown = door.shown().remove(0);
        assert_eq!(
            (shown.certificate_id.as_str(), shown.protocol.as_deref()),
            ("", Some("mqtt"))
        );
        for connect in broker.seen(CONNECT) {
            // Name and password follow, after a clean start.
            assert_eq!(connect.body[7], 0b1100_0010, "{protocol:?}");
            let expected = [&[0, 48][..], NAME.as_bytes(), &[0, 9], b"pass word"].concat();
            assert!(
                connect.body.ends_with(&expected),
                "{protocol:?}: {connect:?}"
            );
        }
        assert_eq!(broker.seen(CONNECT).len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_as_what_it_is() {
    for (protocol, code) in [(Protocol::V5, 0x86), (Protocol::V311, 4)] {
        let broker = Scripted::start(move |packet| {
            crate::scripted::Deed::SendAndClose(packet.connack(0, code))
        })
        .await;
        let options = world()
            .options(broker.endpoint(), "named")
            .protocol(protocol)
            .username("me")
            .password("hush");
        let error = in_time(mqtt::connect(options)).await.unwrap_err();
        assert!(
            error.to_string().contains("bad user name or password")
                && !error.to_string().contains("hush"),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_of_the_environment_is_gone_through_unless_the_endpoint_is_excepted() {
    let broker = Scripted::start(agree).await;
    let door = TlsDoor::start_without_certificates(&world().iot, &[], broker.plain_address());
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("roots.pem");
    std::fs::write(&store, world().iot.trust_store()).unwrap();
    let proxy = RoughPath::start_tunnel(door.address());
    let address = proxy.address();
    for (variables, through, expected) in [
        (
            vec![("HTTPS_PROXY", format!("http://me:hush@{address}"))],
            1,
            "published",
        ),
        (
            vec![("all_proxy", format!("http://me:hush@{address}"))],
            2,
            "published",
        ),
        (
            vec![
                ("HTTPS_PROXY", format!("http://me:hush@{address}")),
                ("NO_PROXY", "localhost".into()),
            ],
            2,
            "published",
        ),
        (
            vec![("HTTP_PROXY", format!("http://me:hush@{address}"))],
            2,
            "published",
        ),
        (
            vec![("HTTPS_PROXY", format!("http://me:wrong@{address}"))],
            3,
            "the proxy opened no tunnel",
        ),
        (
            vec![("HTTPS_PROXY", format!("https://me:hush@{address}"))],
            3,
            "`HTTPS_PROXY` is not an `http://` proxy",
        ),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mqtt_probe"));
        for (name, _) in std::env::vars() {
            if name.to_ascii_lowercase().ends_with("_proxy") {
                command.env_remove(name);
            }
        }
        command
            .args([door.endpoint().as_str(), store.to_str().unwrap()])
            .envs(variables.clone());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(
            said.contains(expected) && !said.contains("hush"),
            "{variables:?}: {said}"
        );
        assert_eq!(proxy.connections(), through, "{variables:?}");
    }
}
