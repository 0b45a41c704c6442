//! Requests that a browser, a proxy, a rebound name, another process and another container would
//! send, and those of SDKs, which are answered.

use brs::serve::AssumeRule;

use super::*;

async fn server() -> Running {
    let clock = ManualClock::new(start());
    run(Server::builder().session("app", ready(&clock).await)).await
}

/// With the right token: what refuses it is the guard.
async fn with(server: &Running, head: &str) -> Answer {
    let text = format!(
        "GET / HTTP/1.1\r\nAuthorization: {}\r\nConnection: close\r\n{head}\r\n\r\n",
        server.token
    );
    raw(server.address, text.as_bytes()).await
}

#[tokio::test]
async fn the_requests_of_sdks_are_answered() {
    let server = server().await;
    let (host, token) = (server.address.to_string(), server.token.clone());
    let port = server.address.port();
    for head in [
        // boto3
        format!(
            "GET / HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\nUser-Agent: Boto3/1.44.0 md/Botocore#1.44.0 \
             ua/2.1 os/linux#6.1 md/arch#x86_64 lang/python#3.12 cfg/retry-mode#legacy Botocore/1.44.0\r\n\
             Authorization: {token}\r\nAccept-Encoding: identity\r\n"
        ),
        // JavaScript v3
        format!(
            "GET / HTTP/1.1\r\naccept: application/json\r\nauthorization: {token}\r\nHost: localhost:{port}\r\n\
             Connection: close\r\n"
        ),
        // Rust
        format!(
            "GET / HTTP/1.1\r\naccept: application/json\r\nauthorization: {token}\r\nuser-agent: aws-sdk-rust/1.3 \
             os/linux lang/rust/1.95\r\nx-amz-user-agent: aws-sdk-rust/1.3\r\namz-sdk-request: attempt=1; max=3\r\n\
             host: 127.0.0.1:{port}\r\n"
        ),
        // Go
        format!(
            "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: aws-sdk-go-v2/1.36 ua/2.1\r\n\
             Accept: application/json\r\nAmz-Sdk-Invocation-Id: 1\r\n\
             Authorization: Bearer {token}\r\nAccept-Encoding: gzip\r\n"
        ),
        // Java, and a client that asks for the container's address through a redirect
        format!(
            "GET / HTTP/1.1\r\nAccept: */*\r\nauthorization: {token}\r\nHost: 169.254.170.2\r\n"
        ),
        format!("GET / HTTP/1.0\r\nHost: {host}\r\nAuthorization: {token}\r\n"),
        format!(
            "GET / HTTP/1.1\r\nHost: [::1]:{port}\r\nAuthorization: {token}\r\nContent-Length: 0\r\n"
        ),
    ] {
        let head = if head.contains("lose") || head.contains("HTTP/1.0") {
            head
        } else {
            format!("{head}Connection: close\r\n")
        };
        let answer = raw(server.address, format!("{head}\r\n").as_bytes()).await;
        assert_eq!(answer.status, 200, "{head} {answer:?}");
    }
}

#[tokio::test]
async fn a_name_that_was_rebound_to_loopback_is_refused() {
    let server = server().await;
    let port = server.address.port();
    for host in [
        "evil.example".to_owned(),
        format!("evil.example:{port}"),
        format!("127.0.0.1.nip.io:{port}"),
        format!("localhost.evil.example:{port}"),
        "0.0.0.0".to_owned(),
        "127.1".to_owned(),
        "2130706433".to_owned(),
        "127.0.0.1:1".to_owned(),
        "169.254.169.254".to_owned(),
        String::new(),
    ] {
        let answer = with(&server, &format!("Host: {host}")).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (403, "AccessDenied"),
            "{host}"
        );
    }
    let none = raw(
        server.address,
        format!("GET / HTTP/1.0\r\nAuthorization: {}\r\n\r\n", server.token).as_bytes(),
    )
    .await;
    assert_eq!(none.status, 403);
}

#[tokio::test]
async fn a_page_in_a_browser_is_refused_whatever_it_knows() {
    let server = server().await;
    let host = format!("Host: {}", server.address);
    for header in [
        "Origin: http://evil.example",
        "Origin: null",
        "Referer: http://evil.example/",
        "Sec-Fetch-Mode: no-cors",
        "Sec-Fetch-Site: none",
        "Sec-Fetch-Dest: image",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/142.0 Safari/537.36",
    ] {
        let answer = with(&server, &format!("{host}\r\n{header}")).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (403, "AccessDenied"),
            "{header}"
        );
        assert!(
            !answer
                .headers
                .keys()
                .any(|name| name.starts_with("access-control"))
        );
    }
    // What comes before a cross-origin request with a token.
    let preflight = [
        ("Origin", "http://evil.example"),
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "authorization"),
    ];
    let answer = server.request("OPTIONS", "/", &preflight).await;
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn a_proxy_is_refused() {
    let server = server().await;
    let host = format!("Host: {}", server.address);
    for header in [
        "X-Forwarded-For: 10.0.0.1",
        "X-Forwarded-For:",
        "X-Forwarded-Proto: https",
        "Forwarded: for=10.0.0.1;host=127.0.0.1",
        "Via: 1.1 varnish",
    ] {
        let answer = with(&server, &format!("{host}\r\n{header}")).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (403, "AccessDenied"),
            "{header}"
        );
    }
}

#[tokio::test]
async fn another_process_without_the_token_gets_nothing() {
    let server = server().await;
    let cut = server.token[..server.token.len() - 1].to_owned();
    let long = format!("{}x", server.token);
    let other_case = server.token.to_uppercase();
    for token in [
        "",
        "x",
        "Bearer",
        "Bearer ",
        WRONG,
        &cut,
        &long,
        &other_case,
        "Basic eDp5",
    ] {
        let answer = server.get_as(token, "/").await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (403, "AccessDenied"),
            "{token}"
        );
    }
    assert_eq!(server.request("GET", "/", &[]).await.status, 403);
    let two = [
        ("Authorization", server.token.as_str()),
        ("Authorization", WRONG),
    ];
    assert_eq!(server.request("GET", "/", &two).await.status, 400);
    for token in [
        server.token.clone(),
        format!("Bearer {}", server.token),
        format!("bearer   {}  ", server.token),
    ] {
        assert_eq!(server.get_as(&token, "/").await.status, 200, "{token}");
    }
}

#[tokio::test]
async fn a_wrong_token_tells_nothing_about_what_there_is() {
    let clock = ManualClock::new(start());
    let rule = AssumeRule::new("app", ["*"]);
    let builder = Server::builder()
        .session("app", ready(&clock).await)
        .assume(rule);
    let server = run(builder).await;
    let mut bodies = Vec::new();
    for path in [
        "/",
        "/creds",
        "/session/app",
        "/session/nope",
        "/role/app",
        "/role-arn/arn:aws:iam::123456789012:role/app",
    ] {
        bodies.push(server.get_as(WRONG, path).await.body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
}

/// Another network namespace's address is not to be had in a test; the machine's own, where it has
/// one, is another interface's.
#[tokio::test]
async fn another_interface_of_the_machine_is_not_listened_on() {
    let server = server().await;
    let probe = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    // Sends nothing: it chooses the interface.
    if probe.connect("192.0.2.1:9").is_ok()
        && let Ok(own) = probe.local_addr()
        && !own.ip().is_loopback()
    {
        let address = SocketAddr::new(own.ip(), server.address.port());
        assert!(TcpStream::connect(address).await.is_err());
    }
    assert!(server.address.ip().is_loopback());
}
