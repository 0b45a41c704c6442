//! What each path answers, and what each error says.

use brs::serve::{AssumeRule, Consumer};
use brs_tests::embedded_aws::Failure;

use super::*;

#[tokio::test]
async fn the_only_session_is_the_root_in_every_spelling() {
    let (aws, clock) = aws();
    let session = session(&aws, &clock).await;
    let server = run(Server::builder().session("app", session.clone())).await;
    let key = session
        .credentials()
        .await
        .unwrap()
        .access_key_id()
        .to_owned();
    for path in [
        "/",
        "/creds",
        "/creds/",
        "/session/app",
        "/session/app/",
        "/session/%61pp",
        "/role/app",
        "/?applicationName=test2024",
    ] {
        assert_eq!(server.get(path).await.key(), key, "{path}");
    }
    assert_eq!(aws.calls("AssumeRole"), 1);
}

#[tokio::test]
async fn an_answer_has_all_that_sdks_read() {
    let (aws, clock) = aws();
    let session = session(&aws, &clock).await;
    let server = run(Server::builder().session("app", session.clone())).await;
    let answer = server.get("/").await;
    let (body, set) = (answer.json(), session.credentials().await.unwrap());
    assert_eq!(body["AccessKeyId"], set.access_key_id());
    assert_eq!(body["SecretAccessKey"], set.secret_access_key());
    assert_eq!(body["Token"], set.session_token().unwrap());
    assert_eq!(body["Expiration"], "2030-03-17T18:46:40Z");
    assert_eq!(
        (&body["RoleArn"], &body["AccountId"]),
        (&ROLE.into(), &"123456789012".into())
    );
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let order = [
        "AccessKeyId",
        "SecretAccessKey",
        "Token",
        "Expiration",
        "RoleArn",
        "AccountId",
    ];
    let places = order.map(|name| answer.body.find(&format!("\"{name}\":")).unwrap());
    assert!(places.is_sorted(), "{}", answer.body);
}

#[tokio::test]
async fn a_set_without_token_and_end_says_so_in_a_way_that_clients_take() {
    let clock = ManualClock::new(start());
    let static_keys = brs::TemporaryCredentials::new("AKIAIOSFODNN7EXAMPLE", "hush", None, None);
    let session = scripted(&Scripted::always(Step::Give(static_keys)), &clock).await;
    let server = run(Server::builder().session("keys", session)).await;
    let body = server.get("/").await.json();
    assert_eq!(
        (&body["Token"], &body["Expiration"]),
        (&"".into(), &"2030-03-17T18:16:40Z".into())
    );
    clock.advance(Duration::from_secs(60));
    let body = server.get("/").await.json();
    assert_eq!(body["Expiration"], "2030-03-17T18:17:40Z");
    assert!(body.get("RoleArn").is_none() && body.get("AccountId").is_none());
}

#[tokio::test]
async fn several_sessions_are_asked_for_by_name() {
    let clock = ManualClock::new(start());
    let (one, other) = (ready(&clock).await, ready(&clock).await);
    let server = run(Server::builder().session("app", one).session("hub", other)).await;
    for path in ["/", "/creds"] {
        let answer = server.get(path).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "NoSuchSession")
        );
        assert!(answer.message().contains("`app`, `hub`"), "{answer:?}");
    }
    assert_eq!(server.get("/session/hub").await.status, 200);
    let answer = server.get("/session/nope").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (404, "NoSuchSession")
    );
    assert!(answer.message().contains("`app`, `hub`"), "{answer:?}");
}

#[tokio::test]
async fn a_consumer_gets_its_own_sessions_only() {
    let clock = ManualClock::new(start());
    let (one, other) = (ready(&clock).await, ready(&clock).await);
    let builder = Server::builder()
        .session("app", one)
        .session("hub", other)
        .consumer(Consumer::new("web").sessions(["app"]));
    let server = run(builder).await;
    let own = server.get("/").await.key();
    assert_eq!(server.get("/session/app").await.key(), own);
    for path in ["/session/hub", "/role/hub"] {
        let answer = server.get(path).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (403, "AccessDenied")
        );
        assert!(answer.message().contains("only `app`"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_role_name_finds_the_session_of_that_role() {
    let (aws, clock) = aws();
    let session = session(&aws, &clock).await;
    let server = run(Server::builder().session("worker", session)).await;
    assert_eq!(server.get("/role/app").await.status, 200);
    assert_eq!(server.get("/role/worker").await.status, 200);
    assert_eq!(server.get("/role/other").await.status, 404);
}

/// A server that assumes roles from a hub.
async fn assuming(aws: &EmbeddedAws, clock: &ManualClock, consumer: Consumer) -> Running {
    let hub = role(aws, clock, "arn:aws:iam::123456789012:role/hub");
    let hub = hub.build().await.unwrap();
    let rule = AssumeRule {
        from: "hub".into(),
        roles: vec!["arn:aws:iam::*:role/deploy-*".into()],
        region: Some("eu-central-1".into()),
    };
    let builder = Server::builder().session("hub", hub).assume(rule);
    run(builder.consumer(consumer)).await
}

#[tokio::test]
async fn a_role_is_asked_for_by_its_arn_encoded_or_not() {
    let (aws, clock) = aws();
    let arn = "arn:aws:iam::123456789012:role/deploy-web/eu";
    aws.add_role(arn);
    let roles = ["arn:aws:iam::123456789012:role/*"];
    let server = assuming(&aws, &clock, Consumer::new("ci").roles(roles)).await;
    let first = server.get(&format!("/role-arn/{arn}")).await;
    assert_eq!(first.json()["RoleArn"], arn);
    assert_eq!(first.json()["AccountId"], "123456789012");
    for path in [
        format!("/role-arn/{arn}/"),
        format!("/role-arn/{}", arn.replace(':', "%3A").replace('/', "%2F")),
        format!("/role-arn/{}", arn.replace(':', "%3a")),
    ] {
        assert_eq!(server.get(&path).await.key(), first.key(), "{path}");
    }
    assert_eq!(aws.calls("AssumeRole"), 2, "the hub's and one of the role");
}

#[tokio::test]
async fn a_role_needs_the_consumers_pattern_and_a_rule() {
    let (aws, clock) = aws();
    for name in ["deploy-web", "deploy-db", "admin"] {
        aws.add_role(&format!("arn:aws:iam::123456789012:role/{name}"));
    }
    let roles = ["arn:aws:iam::*:role/deploy-w*", "arn:aws:iam::*:role/admin"];
    let server = assuming(&aws, &clock, Consumer::new("ci").roles(roles)).await;
    for (arn, status) in [
        ("arn:aws:iam::123456789012:role/deploy-web", 200),
        ("arn:aws:iam::123456789012:role/deploy-db", 403),
        ("arn:aws:iam::123456789012:role/admin", 403),
        ("arn:aws:iam::123456789012:role/deploy-web:x", 403),
        ("arn:aws:iam::12345678901:role/deploy-web", 403),
        ("arn:aws:iam::123456789012:user/deploy-web", 403),
        ("deploy-web", 403),
        ("arn:aws:iam::123456789012:role/../deploy-web", 403),
        ("arn:aws:iam::123456789012:role/deploy-w%0d%0aeb", 403),
    ] {
        let answer = server.get(&format!("/role-arn/{arn}")).await;
        assert_eq!(answer.status, status, "{arn} {answer:?}");
        if status == 403 {
            assert_eq!(answer.code(), "AccessDenied");
        }
    }
    let other = assuming(&aws, &clock, Consumer::new("web").sessions(["hub"])).await;
    let answer = other
        .get("/role-arn/arn:aws:iam::123456789012:role/deploy-web")
        .await;
    assert_eq!(answer.status, 403);
    let all = assuming(&aws, &clock, Consumer::new("all").all()).await;
    let answer = all
        .get("/role-arn/arn:aws:iam::123456789012:role/deploy-db")
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = all
        .get("/role-arn/arn:aws:iam::123456789012:role/admin")
        .await;
    assert_eq!(answer.status, 403, "{answer:?}");
}

#[tokio::test]
async fn health_and_readiness_ask_for_no_token_and_tell_no_arn() {
    let (aws, clock) = aws();
    aws.deny_role(ROLE);
    let (bad, good) = (session(&aws, &clock).await, ready(&clock).await);
    let server = run(Server::builder().session("bad", bad).session("good", good)).await;
    let health = server.request("GET", "/healthz", &[]).await;
    assert_eq!((health.status, health.body.trim()), (200, "ok"));
    let ask = || server.request("GET", "/readyz/", &[]);
    let ready = until(ask, |answer| {
        answer.body.trim() == "no usable credentials: bad"
    })
    .await;
    assert_eq!(ready.status, 503);
    aws.add_role(ROLE);
    let renewed = until(
        || server.get("/session/bad"),
        |answer| {
            clock.advance(Duration::from_secs(60));
            answer.status == 200
        },
    )
    .await;
    assert_eq!(renewed.status, 200);
    let ready = server.request("GET", "/readyz", &[]).await;
    assert_eq!((ready.status, ready.body.trim()), (200, "ok"));
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let clock = ManualClock::new(start());
    let server = run(Server::builder().session("app", ready(&clock).await)).await;
    let token = [("Authorization", server.token.as_str())];
    for path in ["/", "/session/app", "/healthz", "/nothing"] {
        let head = server.request("HEAD", path, &token).await;
        assert_eq!((head.status, head.body.as_str()), (404, ""), "{path}");
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"] {
            let answer = server.request(method, path, &token).await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (405, "MethodNotAllowed")
            );
            assert_eq!(answer.headers["allow"], "GET");
        }
    }
    for path in [
        "/nothing",
        "/session",
        "/session/",
        "/latest/api/token",
        "/metrics",
        "/status.json",
    ] {
        let answer = server.get(path).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "NotFound"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn what_only_a_person_can_fix_is_no_server_error() {
    let (aws, clock) = aws();
    aws.deny_role(ROLE);
    let server = run(Server::builder().session("app", session(&aws, &clock).await)).await;
    let answer = server.get("/").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (403, "NeedsPerson")
    );
    assert!(answer.message().contains("`brs whoami app`"), "{answer:?}");
}

#[tokio::test]
async fn a_source_that_fails_is_a_bad_gateway() {
    let (aws, clock) = aws();
    aws.fail_next([Failure::Status(500)]);
    let server = run(Server::builder().session("app", session(&aws, &clock).await)).await;
    let answer = server.get("/").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (502, "SourceFailed")
    );
    for secret in aws.issued_secrets() {
        assert!(!answer.body.contains(&secret));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_takes_longer_goes_on_without_the_request() {
    let (clock, gate) = (ManualClock::new(start()), Gate::new());
    let slow = Step::After(gate.clone(), Box::new(Step::Fresh(HOUR)));
    let script = Scripted::always(slow);
    let server = run(Server::builder().session("app", scripted(&script, &clock).await)).await;
    for _ in 0..3 {
        let answer = server.get("/").await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (503, "RefreshInProgress")
        );
        assert_eq!(answer.headers["retry-after"], "1");
    }
    script.called(1).await;
    gate.open();
    let answer = until(|| server.get("/"), |answer| answer.status == 200).await;
    assert_eq!((answer.status, script.calls()), (200, 1));
}

#[tokio::test]
async fn a_session_that_asks_a_person_is_never_asked_by_a_request() {
    let clock = ManualClock::new(start());
    let script = Scripted::interactive(Step::Fresh(HOUR));
    let session = scripted(&script, &clock).await;
    session.credentials().await.unwrap();
    let server = run(Server::builder().session("mfa", session.clone())).await;
    let first = until(|| server.get("/"), |answer| answer.status == 200)
        .await
        .key();
    // In its advisory window a caller would start the refresh, and wait for the person.
    clock.advance(Duration::from_secs(3000));
    assert_eq!(server.get("/").await.key(), first);
    clock.advance(Duration::from_secs(600));
    let answer = server.get("/").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (403, "NeedsPerson")
    );
    assert!(answer.message().contains("`brs whoami mfa`"), "{answer:?}");
    assert_eq!(script.calls(), 1);
    // The person comes by a program of their own.
    session.refresh().await.unwrap();
    let renewed = until(|| server.get("/"), |answer| answer.status == 200)
        .await
        .key();
    assert_ne!(renewed, first);
    assert_eq!(script.calls(), 2);
}
