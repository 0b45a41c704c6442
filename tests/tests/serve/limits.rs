//! Time, size and number: slow clients, long heads, many connections, many requests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant as WallInstant;

use brs::serve::Consumer;
use tokio::time::Instant;

use super::*;

async fn server(clock: &ManualClock) -> Running {
    let builder = Server::builder().session("app", ready(clock).await);
    run(builder.clock(clock.clone())).await
}

/// Reads until the server closes; how much of tokio's time that took.
async fn closed_after(socket: &mut TcpStream) -> Duration {
    let began = Instant::now();
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest).await;
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_end_is_given_up_after_two_seconds() {
    let clock = ManualClock::new(start());
    let server = server(&clock).await;
    for part in ["G", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", "\r\n"] {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(part.as_bytes()).await.unwrap();
        let took = closed_after(&mut socket).await;
        assert!(
            (Duration::from_millis(1900)..Duration::from_millis(2500)).contains(&took),
            "{part:?} {took:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_in_is_given_up_after_two_seconds() {
    let clock = ManualClock::new(start());
    let server = server(&clock).await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let began = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    for byte in b"GET / HTTP/1.1\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaa" {
        ticks.tick().await;
        if socket.write_all(&[*byte]).await.is_err() {
            break;
        }
    }
    let _ = closed_after(&mut socket).await;
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(server.get("/").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_for_half_a_minute() {
    let clock = ManualClock::new(start());
    let server = server(&clock).await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "Host: {}\r\nAuthorization: {}\r\n\r\n",
        server.address, server.token
    );
    let text = format!("GET / HTTP/1.1\r\n{head}");
    for _ in 0..2 {
        socket.write_all(text.as_bytes()).await.unwrap();
        let mut answer = vec![0; 64 * 1024];
        let read = socket.read(&mut answer).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200 OK\r\n"));
        tokio::time::advance(Duration::from_secs(20)).await;
    }
    let took = closed_after(&mut socket).await;
    assert!(took <= Duration::from_secs(11), "{took:?}");
}

#[tokio::test]
async fn a_head_has_sixteen_kibibytes() {
    let clock = ManualClock::new(start());
    let server = server(&clock).await;
    let (host, token) = (server.address, server.token.clone());
    let with = |length: usize| {
        let fill = "x".repeat(length);
        format!(
            "GET / HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\nConnection: close\r\nX: {fill}\r\n\r\n"
        )
    };
    let around = with(0).len();
    assert_eq!(
        raw(host, with(16_384 - around).as_bytes()).await.status,
        200
    );
    assert_eq!(
        raw(host, with(16_385 - around).as_bytes()).await.status,
        431
    );
    for text in [
        with(1_000_000),
        format!(
            "GET /{} HTTP/1.1\r\nHost: {host}\r\n\r\n",
            "x".repeat(70_000)
        ),
        format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(2000)),
        "x".repeat(100_000),
        "\r\n".repeat(50_000),
    ] {
        let answer = raw(host, text.as_bytes()).await;
        assert!(matches!(answer.status, 0 | 400 | 414 | 431), "{answer:?}");
    }
    assert_eq!(server.get("/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_slow_connections_do_not_stop_it() {
    let clock = ManualClock::new(start());
    let server = server(&clock).await;
    let mut slow = Vec::new();
    for n in 0..1100 {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        if n % 2 == 0 {
            let _ = socket
                .write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
                .await;
        }
        slow.push(socket);
    }
    for _ in 0..20 {
        let answer = tokio::time::timeout(LIMIT, server.get("/")).await.unwrap();
        assert_eq!(answer.status, 200);
    }
    drop(slow);
}

#[tokio::test]
async fn a_consumer_has_a_thousand_requests_a_second_and_others_theirs() {
    let clock = ManualClock::new(start());
    let builder = Server::builder()
        .session("app", ready(&clock).await)
        .consumer(Consumer::new("loud").all().token(WRONG.into()))
        .consumer(
            Consumer::new("quiet")
                .all()
                .token("another-token-of-a-consumer".into()),
        )
        .clock(clock.clone());
    let server = run(builder).await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let one = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nAuthorization: {WRONG}\r\n",
        server.address
    );
    let (mut sent, mut statuses) = (0, Vec::new());
    while sent < 1001 {
        let batch = 143;
        let text = format!("{one}\r\n").repeat(batch);
        socket.write_all(text.as_bytes()).await.unwrap();
        sent += batch;
        let mut received = Vec::new();
        while statuses.len() < sent {
            let mut part = [0; 4096];
            let read = socket.read(&mut part).await.unwrap();
            received.extend_from_slice(&part[..read]);
            let text = String::from_utf8_lossy(&received).into_owned();
            let found: Vec<u16> = text
                .split("HTTP/1.1 ")
                .skip(1)
                .filter_map(|rest| rest.get(..3)?.parse().ok())
                .collect();
            if found.len() == batch {
                statuses.extend(found);
                break;
            }
        }
    }
    assert_eq!(
        statuses.iter().filter(|status| **status == 200).count(),
        1000
    );
    let answer = server.get_as(WRONG, "/").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (429, "TooManyRequests")
    );
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(
        server
            .get_as("another-token-of-a-consumer", "/")
            .await
            .status,
        200
    );
    clock.advance(Duration::from_secs(1));
    assert_eq!(server.get_as(WRONG, "/").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn each_wrong_token_slows_its_connection_and_no_other() {
    let clock = ManualClock::new(start());
    let server = server(&clock).await;
    let began = Instant::now();
    let text = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nAuthorization: {WRONG}\r\n",
        server.address
    );
    let last = format!("{text}Connection: close\r\n\r\n");
    let all = format!("{}{last}", format!("{text}\r\n").repeat(9));
    assert_eq!(raw(server.address, all.as_bytes()).await.status, 403);
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(2),
        "{took:?}"
    );
    let began = Instant::now();
    assert_eq!(server.get("/").await.status, 200);
    assert!(began.elapsed() < Duration::from_millis(100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_consumers_are_answered_thousands_of_times_a_second() {
    const CONSUMERS: usize = 40;
    const EACH: usize = 250;
    let clock = ManualClock::new(start());
    let mut builder = Server::builder().session("app", ready(&clock).await);
    for n in 0..CONSUMERS {
        let token = format!("a-token-of-a-consumer-{n:04}");
        builder = builder.consumer(Consumer::new(format!("c{n}")).all().token(token.into()));
    }
    let server = run(builder).await;
    let answered = std::sync::Arc::new(AtomicUsize::new(0));
    let began = wall();
    let clients = (0..CONSUMERS).map(|n| {
        let (address, answered) = (server.address, std::sync::Arc::clone(&answered));
        tokio::spawn(async move {
            let mut socket = TcpStream::connect(address).await.unwrap();
            let text = format!(
                "GET / HTTP/1.1\r\nHost: {address}\r\nAuthorization: a-token-of-a-consumer-{n:04}\r\n\r\n"
            );
            let mut answer = vec![0; 16 * 1024];
            for _ in 0..EACH {
                socket.write_all(text.as_bytes()).await.unwrap();
                let read = socket.read(&mut answer).await.unwrap();
                assert!(answer[..read].starts_with(b"HTTP/1.1 200 OK\r\n"));
                answered.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    assert_eq!(answered.load(Ordering::Relaxed), CONSUMERS * EACH);
    // A debug build on a busy machine: only what is badly wrong is found here.
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
    println!("{} requests in {:?}", CONSUMERS * EACH, began.elapsed());
}

#[expect(clippy::disallowed_methods, reason = "measures real time")]
fn wall() -> WallInstant {
    WallInstant::now()
}
