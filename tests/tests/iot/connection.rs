//! What is kept between refreshes: one connection, one handshake; and the way through a proxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use brs_tests::embedded_iot::TlsVersions;

use super::*;

#[tokio::test]
async fn a_thousand_refreshes_are_one_connection_and_one_handshake() {
    let bench = Bench::new();
    let session = bench.session().await;
    for _ in 0..1000 {
        session.refresh().await.unwrap();
    }
    let iot = &bench.iot;
    assert_eq!(
        (iot.calls(), iot.connections(), iot.full_handshakes()),
        (1000, 1, 1)
    );
}

#[tokio::test]
async fn after_closed_connections_the_tls_session_is_resumed() {
    for versions in [TlsVersions::Tls12, TlsVersions::Tls13] {
        let bench = Bench::with(|builder| builder.tls(versions));
        bench.iot.set_keep_alive(false);
        let session = bench.session().await;
        for _ in 0..50 {
            session.refresh().await.unwrap();
            // Far more than a pool keeps a connection, and what refreshes are usually apart.
            bench.clock.advance(HOUR / 2);
        }
        let iot = &bench.iot;
        assert_eq!(
            (
                iot.connections(),
                iot.full_handshakes(),
                iot.resumed_handshakes()
            ),
            (50, 1, 49),
            "{versions:?}"
        );
    }
}

#[tokio::test]
async fn two_sessions_do_not_share_a_connection() {
    let bench = Bench::new();
    let (one, two) = (bench.session().await, bench.session().await);
    one.refresh().await.unwrap();
    two.refresh().await.unwrap();
    assert_eq!(
        (bench.iot.connections(), bench.iot.full_handshakes()),
        (2, 2)
    );
}

/// A proxy that knows CONNECT and nothing else, and asks for a user and a password.
async fn proxy(tunnels: Arc<AtomicUsize>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let tunnels = Arc::clone(&tunnels);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await?);
                }
                let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
                // `user:hush`.
                if !head.contains("proxy-authorization: basic dxnlcjpodxno") {
                    return client
                        .write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
                        .await;
                }
                let target = head
                    .strip_prefix("connect ")
                    .and_then(|rest| rest.split(' ').next())
                    .unwrap_or_default();
                let mut server =
                    TcpStream::connect(target.replace("localhost", "127.0.0.1")).await?;
                tunnels.fetch_add(1, Ordering::SeqCst);
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                copy_bidirectional(&mut client, &mut server).await.map(drop)
            });
        }
    });
    port
}

#[tokio::test]
async fn a_proxy_opens_a_tunnel_and_its_password_is_not_shown() {
    let bench = Bench::new();
    let tunnels = Arc::new(AtomicUsize::new(0));
    let port = proxy(Arc::clone(&tunnels)).await;
    let params = |user: &str| {
        bench
            .params()
            .max_attempts(1)
            .proxy(format!("http://{user}@127.0.0.1:{port}"))
    };
    let session = bench.builder(params("user:hush")).build().await.unwrap();
    session.refresh().await.unwrap();
    session.refresh().await.unwrap();
    assert_eq!(
        (tunnels.load(Ordering::SeqCst), bench.iot.full_handshakes()),
        (1, 1)
    );
    let error = bench.fails(params("user:wrong-hush")).await;
    assert!(
        error
            .to_string()
            .contains("the proxy opened no tunnel to it"),
        "{error}"
    );
    assert!(!show(&error).contains("hush"), "{error:?}");
}

#[tokio::test]
async fn a_proxy_that_says_nothing_ends_at_the_calls_limit() {
    let bench = Bench::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let params = bench
        .params()
        .max_attempts(1)
        .proxy(format!("http://{}", listener.local_addr().unwrap()));
    let session = bench.builder(params).build().await.unwrap();
    let (asked, was_asked) = oneshot::channel();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        asked.send(head).unwrap();
        // Held open.
        let _ = client.read_u8().await;
    });
    let (result, head) = tokio::join!(session.refresh(), async {
        let head = was_asked.await.unwrap();
        bench.clock.advance(Duration::from_secs(10));
        head
    });
    assert!(
        head.starts_with(b"CONNECT localhost:"),
        "{}",
        String::from_utf8_lossy(&head)
    );
    let error = result.unwrap_err();
    assert!(
        error.to_string().contains("did not answer in time") && error.to_string().contains("proxy"),
        "{error}"
    );
    assert_eq!(bench.iot.connections(), 0);
}

#[tokio::test]
async fn a_refresh_goes_on_when_its_runtime_has_ended() {
    let bench = Bench::new();
    let own = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let session = bench
        .builder(bench.params())
        .runtime(own.handle().clone())
        .build()
        .await
        .unwrap();
    session.refresh().await.unwrap();
    own.shutdown_background();
    session.refresh().await.unwrap();
    assert_eq!(bench.iot.calls(), 2);
}
