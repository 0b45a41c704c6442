//! What the builder refuses, before anything is bound.

use brs::serve::{AssumeRule, Consumer};

use super::*;

async fn refused(change: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Error {
    let clock = ManualClock::new(start());
    let builder = Server::builder().session("app", ready(&clock).await);
    change(builder).build().await.unwrap_err()
}

#[tokio::test]
async fn wrong_settings_are_named_with_what_to_do() {
    let clock = ManualClock::new(start());
    let session = ready(&clock).await;
    let loopback: SocketAddr = (std::net::Ipv4Addr::LOCALHOST, 0).into();
    for (error, param, part) in [
        (
            refused(|b| b.session("app", session.clone())).await,
            "session",
            "two sessions",
        ),
        (
            refused(|b| b.session("App", session.clone())).await,
            "session",
            "`App`",
        ),
        (
            refused(|b| b.consumer(Consumer::new(""))).await,
            "consumer",
            "name of a consumer",
        ),
        (
            refused(|b| b.consumer(Consumer::new("web").sessions(["hub"]))).await,
            "consumer.sessions",
            "`app`",
        ),
        (
            refused(|b| b.consumer(Consumer::new("web").roles(["role/x"]))).await,
            "roles",
            "arn:aws:iam",
        ),
        (
            refused(|b| b.consumer(Consumer::new("a")).consumer(Consumer::new("a"))).await,
            "consumer",
            "two consumers",
        ),
        (
            refused(|b| b.consumer(Consumer::new("a").token("short".into()))).await,
            "token",
            "Token::random",
        ),
        (
            refused(|b| {
                b.consumer(Consumer::new("a").token(WRONG.into()))
                    .consumer(Consumer::new("b").token(WRONG.into()))
            })
            .await,
            "consumer.token",
            "one token",
        ),
        (
            refused(|b| {
                b.consumer(Consumer::new("a").token_file("/x/y"))
                    .consumer(Consumer::new("b").token_file("/x/y"))
            })
            .await,
            "consumer.token_file",
            "/x/y",
        ),
        (refused(|b| b.imds(loopback, "hub")).await, "imds", "`app`"),
        (
            refused(|b| b.assume(AssumeRule::new("hub", ["*"]))).await,
            "assume.from",
            "`app`",
        ),
        (
            refused(|b| b.assume(AssumeRule::new("app", ["x"]))).await,
            "assume.roles",
            "arn:aws:iam",
        ),
        (
            refused(|b| b.answer_within(Duration::ZERO)).await,
            "answer_within",
            "60 s",
        ),
        (
            refused(|b| b.listen("0.0.0.0:0".parse().unwrap())).await,
            "listen",
            "danger_listen",
        ),
        (
            refused(|b| b.listen("[::]:0".parse().unwrap())).await,
            "listen",
            "danger_listen",
        ),
        (
            refused(|b| b.admin("192.0.2.1:0".parse().unwrap())).await,
            "listen",
            "danger_listen",
        ),
        (
            refused(|b| b.listener(std::net::TcpListener::bind("0.0.0.0:0").unwrap())).await,
            "listen",
            "danger_listen",
        ),
    ] {
        assert_eq!(error.param(), Some(param), "{error}");
        assert!(error.to_string().contains(part), "{error}");
        assert!(error.is_unrecoverable(), "{error}");
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = refused(|b| b.listen(address)).await;
    assert_eq!(error.param(), Some("listen"));
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[tokio::test]
async fn several_addresses_and_a_ready_socket_are_served() {
    let clock = ManualClock::new(start());
    let ready_socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = ready_socket.local_addr().unwrap();
    let builder = Server::builder()
        .session("app", ready(&clock).await)
        .listener(ready_socket);
    let server = run(builder).await;
    assert_eq!(server.address, address);
    assert_eq!(server.get("/").await.status, 200);
    let builder = Server::builder()
        .session("app", ready(&clock).await)
        .listen("127.0.0.1:0".parse().unwrap())
        .listen("127.0.0.1:0".parse().unwrap());
    let server = run(builder).await;
    assert_eq!(server.get("/").await.status, 200);
}

#[tokio::test]
async fn a_dangerous_address_is_served_once_it_is_asked_for_twice() {
    let clock = ManualClock::new(start());
    let builder = Server::builder()
        .session("app", ready(&clock).await)
        .listen("0.0.0.0:0".parse().unwrap())
        .danger_listen(true);
    let server = run(builder).await;
    let local = SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, server.address.port()));
    let token = [("Authorization", server.token.as_str())];
    assert_eq!(request(local, "GET", "/", &token).await.status, 200);
}

#[tokio::test]
async fn nothing_shown_holds_a_token() {
    let clock = ManualClock::new(start());
    let chosen = "a-token-that-the-program-chose";
    let builder = Server::builder()
        .session("app", ready(&clock).await)
        .consumer(Consumer::new("web").all().token(chosen.into()));
    let before = format!("{builder:?}");
    let server = builder.build().await.unwrap();
    let (shown, handle) = (format!("{server:?}"), format!("{:?}", server.handle()));
    for text in [before, shown, handle] {
        assert!(text.contains("web") && !text.contains(chosen), "{text}");
    }
    assert_eq!(server.token().unwrap().expose(), chosen);
}
