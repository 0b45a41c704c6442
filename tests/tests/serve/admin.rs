//! The status page, its data and updates, and metrics.

use base64ct::{Base64, Encoding};
use brs::serve::{AssumeRule, Consumer};
use brs_tests::embedded_aws::Failure;

use super::*;

struct Admin {
    server: Running,
    address: SocketAddr,
    token: String,
}

async fn admin(builder: ServerBuilder) -> Admin {
    let server = builder
        .admin((std::net::Ipv4Addr::LOCALHOST, 0).into())
        .build()
        .await
        .unwrap();
    Admin {
        address: server.admin_addr().unwrap(),
        token: server.admin_token().expose().to_owned(),
        server: running(server),
    }
}

impl Admin {
    async fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[]).await
    }

    async fn get_with(&self, path: &str, more: &[(&str, &str)]) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let headers = [&[("Authorization", bearer.as_str())], more].concat();
        request(self.address, "GET", path, &headers).await
    }
}

/// Three sessions, one of them without credentials, and a rule.
async fn everything() -> (Admin, EmbeddedAws, ManualClock) {
    let (aws, clock) = aws();
    let denied = "arn:aws:iam::123456789012:role/denied";
    aws.deny_role(denied);
    let builder = Server::builder()
        .session("app", session(&aws, &clock).await)
        .session("bad", role(&aws, &clock, denied).build().await.unwrap())
        .session("keys", ready(&clock).await)
        .consumer(Consumer::new("web").sessions(["app"]))
        .consumer(
            Consumer::new("all")
                .all()
                .token("the-token-of-the-second-one".into()),
        )
        .assume(AssumeRule::new("app", ["*"]))
        .clock(clock.clone());
    let admin = admin(builder).await;
    let ask = || admin.get("/status.json");
    until(ask, |answer| {
        let status = answer.json();
        status["sessions"][0]["is_ready"] == true
            && status["sessions"][1]["state"] == "needs_person"
    })
    .await;
    (admin, aws, clock)
}

#[tokio::test]
async fn the_status_says_what_there_is_and_no_secret() {
    let (admin, aws, _clock) = everything().await;
    admin
        .server
        .get_as("the-token-of-the-second-one", "/session/app")
        .await;
    admin
        .server
        .get_as("the-token-of-the-second-one", "/session/bad")
        .await;
    admin.server.get_as(WRONG, "/").await;
    let answer = admin.get("/status.json").await;
    let status = answer.json();
    let sessions = status["sessions"].as_array().unwrap();
    let names: Vec<_> = sessions
        .iter()
        .map(|session| session["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["app", "bad", "keys"]);
    let app = &sessions[0];
    assert_eq!(
        (&app["state"], &app["method"]),
        (&"ready".into(), &"sts".into())
    );
    assert_eq!(
        (&app["left_seconds"], &app["refreshes"]),
        (&3600.into(), &1.into())
    );
    assert_eq!(app["history"][0]["what"], "refresh_succeeded");
    let error = &sessions[1]["last_error"];
    assert_eq!(
        (&error["needs_person"], &error["code"]),
        (&true.into(), &"AccessDenied".into())
    );
    let second = &status["consumers"][1];
    assert_eq!(
        (&second["name"], &second["requests"]),
        (&"all".into(), &2.into())
    );
    assert_eq!(
        (&second["by_code"]["200"], &second["by_code"]["403"]),
        (&1.into(), &1.into())
    );
    let pages = [
        answer.body,
        admin.get("/").await.body,
        admin.get("/metrics").await.body,
    ];
    let mut secrets = aws.issued_secrets();
    secrets.push("the-token-of-the-second-one".into());
    secrets.push(admin.token.clone());
    for (page, secret) in pages
        .iter()
        .flat_map(|page| secrets.iter().map(move |s| (page, s)))
    {
        assert!(!page.contains(secret), "{secret} in {page}");
    }
}

#[tokio::test]
async fn the_page_is_complete_without_a_script() {
    let (admin, _aws, _clock) = everything().await;
    let answer = admin.get("/").await;
    assert_eq!(answer.headers["content-type"], "text/html; charset=utf-8");
    for part in [
        "<h2>app</h2>",
        "needs a person",
        "1 h 00 min left of 1 h 00 min",
        "class=\"plot\"",
        "<td>web</td>",
        "prefers-color-scheme: dark",
        "<noscript><meta http-equiv=\"refresh\"",
        "arn:aws:iam::123456789012:role/path/app",
    ] {
        assert!(answer.body.contains(part), "{part}");
    }
    assert!(!answer.body.contains("{{"));
    let policy = &answer.headers["content-security-policy"];
    assert!(
        policy.starts_with("default-src 'none'; style-src 'nonce-"),
        "{policy}"
    );
    let nonce = policy
        .split("'nonce-")
        .nth(1)
        .unwrap()
        .split('\'')
        .next()
        .unwrap();
    assert_eq!(answer.body.matches("<script").count(), 1);
    assert!(answer.body.contains(&format!("<script nonce=\"{nonce}\">")));
    assert!(
        !answer.body.contains("style=\""),
        "the policy would drop it"
    );
    assert_eq!(answer.headers["x-frame-options"], "DENY");
    let again = admin.get("/").await;
    assert_ne!(again.headers["content-security-policy"], *policy);
}

#[tokio::test]
async fn everything_behind_it_wants_the_token() {
    let (admin, _aws, _clock) = everything().await;
    for path in ["/", "/status.json", "/events", "/metrics", "/nothing"] {
        let none = request(admin.address, "GET", path, &[]).await;
        assert_eq!(none.status, 401, "{path}");
        assert!(none.headers["www-authenticate"].starts_with("Basic "));
        for wrong in [WRONG, "Bearer ", "Basic ", "the-token-of-the-second-one"] {
            let answer = request(admin.address, "GET", path, &[("Authorization", wrong)]).await;
            assert_eq!(answer.status, 401, "{path} {wrong}");
        }
    }
    let basic = Base64::encode_string(format!("anyone:{}", admin.token).as_bytes());
    for right in [
        admin.token.clone(),
        format!("Basic {basic}"),
        format!("bearer {}", admin.token),
    ] {
        let answer = request(admin.address, "GET", "/", &[("Authorization", &right)]).await;
        assert_eq!(answer.status, 200, "{right}");
    }
    assert_eq!(admin.get("/nothing").await.status, 404);
    assert_eq!(
        admin
            .server
            .get_as(&admin.token, "/session/app")
            .await
            .status,
        403
    );
}

#[tokio::test]
async fn browsers_may_look_and_other_pages_may_not() {
    let (admin, _aws, _clock) = everything().await;
    let own = format!("http://{}", admin.address);
    let referer = format!("{own}/");
    for more in [
        &[("User-Agent", "Mozilla/5.0"), ("Sec-Fetch-Site", "none")][..],
        &[
            ("Sec-Fetch-Site", "same-origin"),
            ("Referer", &referer),
            ("Origin", &own),
        ],
    ] {
        assert_eq!(admin.get_with("/", more).await.status, 200, "{more:?}");
    }
    for more in [
        ("Sec-Fetch-Site", "cross-site"),
        ("Origin", "http://evil.example"),
        ("Referer", "http://127.0.0.1:1/"),
        ("X-Forwarded-For", "10.0.0.1"),
    ] {
        for path in ["/", "/status.json", "/events", "/metrics"] {
            assert_eq!(
                admin.get_with(path, &[more]).await.status,
                403,
                "{path} {more:?}"
            );
        }
    }
    let rebound = format!(
        "GET /status.json HTTP/1.1\r\nHost: evil.example\r\nAuthorization: {}\r\nConnection: close\r\n\r\n",
        admin.token
    );
    assert_eq!(raw(admin.address, rebound.as_bytes()).await.status, 403);
    let bearer = [("Authorization", admin.token.as_str())];
    assert_eq!(
        request(admin.address, "POST", "/", &bearer).await.status,
        405
    );
}

#[tokio::test]
async fn metrics_have_the_documented_names() {
    let (admin, aws, clock) = everything().await;
    aws.add_role("arn:aws:iam::123456789012:role/x");
    let arn = "/role-arn/arn:aws:iam::123456789012:role/x";
    admin
        .server
        .get_as("the-token-of-the-second-one", arn)
        .await;
    admin
        .server
        .get_as("the-token-of-the-second-one", "/session/app")
        .await;
    admin.server.get_as(WRONG, "/session/app").await;
    // Other sessions' refreshes fail, too.
    aws.fail_next((0..100).map(|_| Failure::Status(500)));
    clock.advance(Duration::from_secs(2900));
    admin
        .server
        .get_as("the-token-of-the-second-one", "/session/app")
        .await;
    let ask = || admin.get("/metrics");
    let failed = "brs_refreshes_total{session=\"app\",outcome=\"failure\"} 1";
    let answer = until(ask, |answer| answer.body.contains(failed)).await;
    assert!(answer.headers["content-type"].starts_with("application/openmetrics-text"));
    for line in [
        "brs_credentials_expiration_timestamp_seconds{session=\"app\"} 1900003600",
        "brs_refreshes_total{session=\"app\",outcome=\"success\"} 1",
        "brs_refresh_duration_seconds_count{session=\"app\"} 2",
        "brs_refresh_consecutive_failures{session=\"app\"} 1",
        "brs_serving_expired{session=\"app\"} 0",
        "brs_invalidations_total{session=\"app\"} 0",
        "brs_waiters 0",
        "brs_http_requests_total{route=\"/session\",code=\"200\",consumer=\"all\"} 2",
        "brs_http_requests_total{route=\"/session\",code=\"403\",consumer=\"\"} 1",
        "brs_http_requests_total{route=\"/role-arn\",code=\"200\",consumer=\"all\"} 1",
        "brs_http_request_duration_seconds_count 4",
        "brs_pool_sessions{state=\"idle\"} ",
        "brs_limiter_waiting{class=\"awaited\"} 0",
        "brs_build_info{version=",
    ] {
        assert!(answer.body.contains(line), "{line}\n{}", answer.body);
    }
    assert!(answer.body.ends_with("# EOF\n"));
    assert!(
        !answer.body.contains("123456789012"),
        "labels hold nothing that a caller chose"
    );
}

#[tokio::test]
async fn updates_come_when_something_happens() {
    let clock = ManualClock::new(start());
    let session = ready(&clock).await;
    let admin = admin(Server::builder().session("app", session.clone())).await;
    let mut socket = TcpStream::connect(admin.address).await.unwrap();
    let text = format!(
        "GET /events HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nAccept: text/event-stream\r\n\r\n",
        admin.address, admin.token
    );
    socket.write_all(text.as_bytes()).await.unwrap();
    let mut received = String::new();
    let key = |received: &str, key: &str| received.contains(key);
    let mut part = [0; 16 * 1024];
    let first = session.status().access_key_id().unwrap().to_owned();
    let mut renewed: Option<String> = None;
    let reading = async {
        loop {
            let read = socket.read(&mut part).await.unwrap();
            assert_ne!(read, 0, "{received}");
            received += std::str::from_utf8(&part[..read]).unwrap();
            match &renewed {
                None if key(&received, &first) => {
                    let set = session.refresh().await.unwrap();
                    renewed = Some(set.access_key_id().to_owned());
                }
                Some(next) if key(&received, next) => break,
                _ => {}
            }
        }
    };
    tokio::time::timeout(LIMIT, reading).await.unwrap();
    assert!(received.contains("content-type: text/event-stream"));
    assert!(
        received.contains("event: status\ndata: {") && received.contains("event: page\ndata: \"")
    );
    admin.server.shut_down().await;
}

#[tokio::test]
async fn a_token_file_of_the_page_is_there_while_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("admin.token");
    let clock = ManualClock::new(start());
    let builder = Server::builder()
        .session("app", ready(&clock).await)
        .admin_token_file(&file);
    let admin = admin(builder).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), admin.token);
    admin.server.shut_down().await;
    assert!(!file.exists());
}

#[tokio::test]
async fn what_a_source_says_cannot_become_part_of_the_page() {
    let clock = ManualClock::new(start());
    let error = Error::credential("<img src=x onerror=alert(1)> {{main}} \"quoted\"");
    let script = Scripted::always(Step::Fail(error));
    let session = scripted(&script, &clock).await;
    let admin = admin(Server::builder().session("app", session)).await;
    let page = until(|| admin.get("/"), |answer| answer.body.contains("onerror")).await;
    assert!(!page.body.contains("<img"), "{}", page.body);
    assert!(page.body.contains("&lt;img src=x onerror=alert(1)&gt;"));
}
