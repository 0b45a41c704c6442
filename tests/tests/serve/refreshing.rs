//! Expiries, dead sources and reloads: what clients see of them.

use brs::serve::AssumeRule;
use brs_tests::embedded_aws::Failure;

use super::*;

/// Moves the clock on until the server answers another key.
async fn next_key(server: &Running, clock: &ManualClock, before: &str) -> String {
    let ask = || server.get("/");
    let answer = until(ask, |answer| {
        if answer.status == 200 && answer.key() != before {
            return true;
        }
        clock.advance(Duration::from_secs(10));
        false
    });
    answer.await.key()
}

#[tokio::test]
async fn clients_never_see_a_set_with_less_than_a_quarter_of_an_hour_left() {
    let (aws, clock) = aws();
    let session = session(&aws, &clock).await;
    let server = run(Server::builder().session("app", session.clone())).await;
    let mut key = server.get("/").await.key();
    // Each step lets the server's task and the refresh finish before the next.
    for _ in 0..3 {
        let end = session.status().expiration().unwrap();
        let due = end - Duration::from_secs(20 * 60);
        clock.advance(due.duration_since(clock.now()).unwrap() + Duration::from_secs(1));
        clock.sleepers(1).await;
        let next = until(
            || server.get("/"),
            |answer| {
                if answer.key() != key {
                    return true;
                }
                clock.advance(Duration::from_secs(1));
                false
            },
        )
        .await;
        let left = end.duration_since(clock.now()).unwrap();
        assert!(
            left > Duration::from_secs(15 * 60),
            "{left:?} left of the old set"
        );
        key = next.key();
    }
    assert_eq!(aws.calls("AssumeRole"), 4);
}

#[tokio::test]
async fn a_session_is_kept_fresh_without_requests() {
    let (aws, clock) = aws();
    let session = session(&aws, &clock).await;
    let server = run(Server::builder().session("app", session.clone())).await;
    let fresh = async {
        while aws.calls("AssumeRole") < 4 {
            clock.sleepers(1).await;
            // An answer that comes an hour later by the clock brings a set that is over.
            if !session.status().is_refreshing() {
                clock.advance(Duration::from_secs(30));
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, fresh).await.unwrap();
    until(|| server.get("/"), |answer| answer.status == 200).await;
}

#[tokio::test]
async fn a_source_that_is_dead_while_the_set_is_valid_is_nobodys_error() {
    let (aws, clock) = aws();
    let session = session(&aws, &clock).await;
    let server = run(Server::builder().session("app", session.clone())).await;
    let first = server.get("/").await.key();
    aws.fail_next((0..10_000).map(|_| Failure::Status(503)));
    // In the advisory window for ten minutes.
    clock.advance(Duration::from_secs(2900));
    for _ in 0..60 {
        clock.advance(Duration::from_secs(10));
        assert_eq!(server.get("/").await.key(), first);
    }
    let asked = async {
        while aws.calls("AssumeRole") < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, asked)
        .await
        .expect("the source was asked");
    let ready = server.request("GET", "/readyz", &[]).await;
    assert_eq!(ready.status, 200);
    clock.advance(Duration::from_secs(200));
    let answer = until(|| server.get("/"), |answer| answer.status != 503).await;
    // The method would serve the expired set to those who have nothing better.
    assert!(session.credentials().await.is_ok() && session.status().is_serving_expired());
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (502, "SourceFailed")
    );
    let ready = server.request("GET", "/readyz", &[]).await;
    assert_eq!(
        (ready.status, ready.body.trim()),
        (503, "no usable credentials: app")
    );
}

#[tokio::test]
async fn an_invalidated_set_is_replaced_in_answers() {
    let (aws, clock) = aws();
    let session = session(&aws, &clock).await;
    let server = run(Server::builder().session("app", session.clone())).await;
    let first = server.get("/").await.key();
    session.invalidate(&first);
    let second = next_key(&server, &clock, &first).await;
    assert_eq!(session.status().access_key_id(), Some(second.as_str()));
}

#[tokio::test]
async fn a_reload_keeps_the_sets_of_sessions_that_stay() {
    let (aws, clock) = aws();
    let (stays, goes) = (session(&aws, &clock).await, ready(&clock).await);
    let builder = Server::builder()
        .session("app", stays.clone())
        .session("old", goes);
    let server = run(builder).await;
    let key = server.get("/session/app").await.key();
    let next = [("app", stays), ("new", ready(&clock).await)];
    server.handle.replace_sessions(next).unwrap();
    assert_eq!(server.get("/session/app").await.key(), key);
    assert_eq!(server.get("/session/old").await.status, 404);
    assert_eq!(server.get("/session/new").await.status, 200);
    assert_eq!(aws.calls("AssumeRole"), 1);
}

#[tokio::test]
async fn a_reload_keeps_the_roles_of_a_hub_that_stays() {
    let (aws, clock) = aws();
    let arn = "arn:aws:iam::123456789012:role/deploy";
    aws.add_role(arn);
    let hub = session(&aws, &clock).await;
    let builder = Server::builder()
        .session("hub", hub.clone())
        .assume(AssumeRule::new("hub", ["*"]));
    let server = run(builder).await;
    let path = format!("/role-arn/{arn}");
    let key = server.get(&path).await.key();
    server.handle.replace_sessions([("hub", hub)]).unwrap();
    assert_eq!(server.get(&path).await.key(), key);
    let other = session(&aws, &clock).await;
    server.handle.replace_sessions([("hub", other)]).unwrap();
    assert_ne!(
        server.get(&path).await.key(),
        key,
        "a new hub assumes the role again"
    );
}

#[tokio::test]
async fn a_reload_that_does_not_fit_changes_nothing() {
    let clock = ManualClock::new(start());
    let hub = ready(&clock).await;
    let builder = Server::builder()
        .session("hub", hub.clone())
        .assume(AssumeRule::new("hub", ["*"]));
    let server = run(builder).await;
    let key = server.get("/session/hub").await.key();
    for wrong in [
        vec![("other", hub.clone())],
        vec![("hub", hub.clone()), ("hub", hub.clone())],
        vec![("hub", hub.clone()), ("No Name", hub.clone())],
    ] {
        server.handle.replace_sessions(wrong).unwrap_err();
        assert_eq!(server.get("/session/hub").await.key(), key);
        assert_eq!(server.get("/session/other").await.status, 404);
    }
}

#[tokio::test]
async fn what_is_in_flight_at_the_end_is_answered() {
    let (clock, gate) = (ManualClock::new(start()), Gate::new());
    let slow = Step::After(gate.clone(), Box::new(Step::Fresh(HOUR)));
    let script = Scripted::always(slow);
    let builder = Server::builder()
        .session("app", scripted(&script, &clock).await)
        .answer_within(LIMIT);
    let server = run(builder).await;
    let (address, token) = (server.address, server.token.clone());
    let asking =
        tokio::spawn(
            async move { request(address, "GET", "/", &[("Authorization", &token)]).await },
        );
    script.called(1).await;
    // The request is there once the server counts it as waiting: it has begun to read it.
    let mut idle = TcpStream::connect(address).await.unwrap();
    let half = format!("GET /session/app HTTP/1.1\r\nHost: {address}\r\n");
    idle.write_all(half.as_bytes()).await.unwrap();
    until(
        || server.request("GET", "/healthz", &[]),
        |answer| answer.status == 200,
    )
    .await;
    server.handle.shutdown();
    gate.open();
    let answer = tokio::time::timeout(LIMIT, asking).await.unwrap().unwrap();
    assert_eq!(answer.status, 200);
    server.shut_down().await;
}

#[tokio::test]
async fn a_strict_server_does_not_start_without_credentials() {
    let (aws, clock) = aws();
    aws.deny_role(ROLE);
    let session = session(&aws, &clock).await;
    let error = Server::builder()
        .session("app", session.clone())
        .strict(true)
        .build()
        .await
        .unwrap_err();
    assert_eq!(error.details()["session"], "app");
    assert!(error.is_unrecoverable());
    aws.add_role(ROLE);
    session.refresh().await.unwrap();
    Server::builder()
        .session("app", session)
        .strict(true)
        .build()
        .await
        .unwrap();
}
