//! Requests that two readers could take for two different ones: each is refused, and nothing that
//! follows on its connection is answered.

use super::*;

/// Sends a first request, then one that must not be answered.
async fn first_and_hidden(server: &Running, first: &str) -> Answer {
    let (host, token) = (server.address, &server.token);
    let hidden =
        format!("GET /session/app HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\n\r\n");
    let first = first.replace("{host}", &host.to_string());
    let first = first.replace("{token}", token);
    raw(server.address, format!("{first}{hidden}").as_bytes()).await
}

#[tokio::test]
async fn nothing_is_hidden_behind_an_ambiguous_request() {
    let clock = ManualClock::new(start());
    let server = run(Server::builder().session("app", ready(&clock).await)).await;
    const HEAD: &str = "Host: {host}\r\nAuthorization: {token}\r\n";
    for (target, headers) in [
        (
            "/",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "/",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        ),
        ("/", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("/", "Transfer-Encoding: chunked, identity\r\n\r\n"),
        ("/", "Transfer-Encoding: xchunked\r\n\r\n"),
        ("/", "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
        ("/", "Transfer-Encoding:\u{b}chunked\r\n\r\n0\r\n\r\n"),
        ("/", "X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("/", "Content-Length: 3\r\n\r\nabc"),
        ("/", "Content-Length: 3\r\nContent-Length: 0\r\n\r\nabc"),
        ("/", "Content-Length: 0\r\nContent-Length: 3\r\n\r\nabc"),
        ("/", "Content-Length: +0\r\n\r\n"),
        ("/", "Content-Length: 0x0\r\n\r\n"),
        ("/", "Content-Length: 0,0\r\n\r\n"),
        ("/", "Content-Length: -1\r\n\r\n"),
        ("/", "Host: evil.example\r\n\r\n"),
        ("/", "Host: {host}\r\n\r\n"),
        ("http://{host}/", "\r\n"),
        ("http://evil.example/", "\r\n"),
        ("//evil.example/session/app", "Content-Length: 1\r\n\r\nx"),
        ("/", "A\0: b\r\n\r\n"),
        ("/", "A: b\0c\r\n\r\n"),
    ] {
        let first = format!("GET {target} HTTP/1.1\r\n{HEAD}{headers}");
        let answer = first_and_hidden(&server, &first).await;
        assert_eq!(answer.status, 400, "{first:?} {answer:?}");
        assert_eq!(answer.more, "", "{first:?}");
    }
}

#[tokio::test]
async fn other_protocols_end_the_connection() {
    let clock = ManualClock::new(start());
    let server = run(Server::builder().session("app", ready(&clock).await)).await;
    for first in [
        "CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: {host}\r\n\r\n",
        "GET /\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0",
        "GET\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
    ] {
        let answer = first_and_hidden(&server, first).await;
        assert!(
            matches!(answer.status, 0 | 400 | 405 | 505),
            "{first:?} {answer:?}"
        );
        assert_eq!(answer.more, "", "{first:?}");
    }
}

#[tokio::test]
async fn an_upgrade_is_an_ordinary_request() {
    let clock = ManualClock::new(start());
    let server = run(Server::builder().session("app", ready(&clock).await)).await;
    let headers = [
        ("Authorization", server.token.as_str()),
        ("Upgrade", "websocket"),
        ("HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA"),
    ];
    assert_eq!(server.request("GET", "/", &headers).await.status, 200);
}

#[tokio::test]
async fn requests_one_after_the_other_are_answered_in_their_order() {
    let clock = ManualClock::new(start());
    let (one, other) = (ready(&clock).await, ready(&clock).await);
    let server = run(Server::builder().session("a", one).session("b", other)).await;
    let (host, token) = (server.address, &server.token);
    let head = format!("Host: {host}\r\nAuthorization: {token}\r\n");
    let text = format!(
        "GET /session/none HTTP/1.1\r\n{head}\r\nGET /session/a HTTP/1.1\r\n{head}Connection: close\r\n\r\n"
    );
    let first = raw(server.address, text.as_bytes()).await;
    assert_eq!(first.status, 404);
    assert_eq!(Answer::parse(first.more.as_bytes()).status, 200);
}
