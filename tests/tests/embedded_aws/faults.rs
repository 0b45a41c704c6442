//! Failures on purpose, answers kept back, and the log that shows what arrived.

use super::*;
use brs_tests::embedded_aws::Failure;

#[tokio::test]
async fn failures_with_a_code_answer_as_aws_words_them() {
    let aws = EmbeddedAws::start();
    for (failure, status, code) in [
        (Failure::Status(400), 400, "InvalidRequest"),
        (Failure::Status(500), 500, "InternalFailure"),
        (Failure::Status(503), 503, "ServiceUnavailable"),
        (Failure::Throttled, 400, "Throttling"),
        (Failure::AccessDenied, 403, "AccessDenied"),
    ] {
        aws.fail_next([failure]);
        let (answered, answered_code, message) = refusal(assume(&aws).await);
        assert_eq!((answered, answered_code.as_str()), (status, code));
        assert!(!message.is_empty());
    }
    assume(&aws).await.unwrap();
}

#[tokio::test]
async fn answers_that_are_none_give_the_client_no_code() {
    let aws = EmbeddedAws::start();
    for failure in [
        Failure::MalformedXml,
        Failure::EmptyBody,
        Failure::Oversized,
        Failure::DropConnection,
    ] {
        let dropped = failure == Failure::DropConnection;
        aws.fail_next([failure.clone()]);
        let (status, code, _) = refusal(assume(&aws).await);
        assert_eq!(
            (status, code.as_str()),
            (if dropped { 0 } else { 200 }, ""),
            "{failure:?}"
        );
        assert_eq!(
            aws.requests().last().unwrap().status,
            (!dropped).then_some(200),
            "{failure:?}"
        );
    }
    assume(&aws).await.unwrap();
}

#[tokio::test]
async fn a_truncated_answer_passes_for_credentials_without_a_secret() {
    let aws = EmbeddedAws::start();
    aws.fail_next([Failure::Truncated]);
    let output = assume(&aws).await.unwrap();
    let credentials = output.credentials().unwrap();
    assert_eq!(credentials.access_key_id(), "ASIATRUNCATED");
    assert_eq!(
        (credentials.secret_access_key(), credentials.session_token()),
        ("", "")
    );
    assert_eq!(credentials.expiration().secs(), 0);
}

#[tokio::test]
async fn credentials_can_be_dead_on_arrival() {
    let clock = TestClock::at_present();
    let aws = EmbeddedAws::builder().clock(clock.reader()).start();
    aws.fail_next([Failure::AlreadyExpired]);
    let output = assume(&aws).await.unwrap();
    let expiration = SystemTime::try_from(*output.credentials().unwrap().expiration()).unwrap();
    assert_eq!(
        clock.now().duration_since(expiration).unwrap().as_secs(),
        60
    );
    assert_eq!(
        refusal(identify(&aws, issued(&output)).await).1,
        "ExpiredToken"
    );
}

#[tokio::test]
async fn planned_failures_come_in_order_and_before_the_permanent_one() {
    let aws = EmbeddedAws::start();
    aws.fail_always(Some(Failure::Throttled));
    aws.fail_next([Failure::Status(500), Failure::Status(503)]);
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(refusal(assume(&aws).await).1);
    }
    assert_eq!(
        codes,
        [
            "InternalFailure",
            "ServiceUnavailable",
            "Throttling",
            "Throttling"
        ]
    );
    aws.fail_always(None);
    assume(&aws).await.unwrap();
}

#[tokio::test]
async fn failures_can_be_planned_for_another_action() {
    let aws = EmbeddedAws::start();
    aws.fail_next_of(
        "GetCallerIdentity",
        [Failure::Throttled, Failure::Page(403), Failure::Oversized],
    );
    assume(&aws).await.unwrap();
    for (status, code) in [(400, "Throttling"), (403, ""), (200, "")] {
        let (answered, answered_code, _) = refusal(identify(&aws, aws.credentials()).await);
        assert_eq!((answered, answered_code.as_str()), (status, code));
    }
    identify(&aws, aws.credentials()).await.unwrap();
}

#[tokio::test]
async fn a_badly_signed_request_uses_up_no_failure() {
    let aws = EmbeddedAws::start();
    aws.fail_next([Failure::Throttled]);
    let wrong = client(
        &aws,
        Credentials::new(aws.access_key_id(), "guess", None, None, "test"),
    );
    let refused = wrong
        .assume_role()
        .role_arn(ROLE)
        .role_session_name("me")
        .send()
        .await;
    assert_eq!(refusal(refused).1, "SignatureDoesNotMatch");
    assert_eq!(refusal(assume(&aws).await).1, "Throttling");
}

#[test]
#[should_panic(expected = "not an HTTP status")]
fn a_status_that_http_does_not_know_is_a_mistake() {
    EmbeddedAws::start().fail_next([Failure::Status(99)]);
}

#[tokio::test]
async fn a_hanging_call_is_answered_once_released() {
    let aws = Arc::new(EmbeddedAws::start());
    aws.fail_next([Failure::Hang]);
    let call = tokio::spawn({
        let aws = Arc::clone(&aws);
        async move { assume(&aws).await }
    });
    aws.wait_for_calls("AssumeRole", 1).await;
    assume(&aws).await.unwrap();
    let log = aws.requests();
    assert_eq!((log[0].status, log[1].status), (None, Some(200)));
    aws.release_hangs();
    call.await.unwrap().unwrap();
    assert_eq!(aws.requests()[0].status, Some(200));
}

#[tokio::test]
async fn a_client_may_leave_a_hanging_call() {
    let aws = Arc::new(EmbeddedAws::start());
    aws.fail_next([Failure::Hang]);
    let call = tokio::spawn({
        let aws = Arc::clone(&aws);
        async move { assume(&aws).await }
    });
    aws.wait_for_calls("AssumeRole", 1).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    assume(&aws).await.unwrap();
    assert_eq!(aws.requests()[0].status, None);
}

#[tokio::test]
async fn held_calls_wait_for_the_hold_they_met() {
    let aws = Arc::new(EmbeddedAws::start());
    let start = || {
        let aws = Arc::clone(&aws);
        tokio::spawn(async move { assume(&aws).await })
    };
    let first_hold = aws.hold();
    let first = start();
    aws.wait_for_calls("AssumeRole", 1).await;
    let second_hold = aws.hold();
    let second = start();
    aws.wait_for_calls("AssumeRole", 2).await;
    assert!(
        aws.requests()
            .iter()
            .all(|request| request.status.is_none())
    );
    identify(&aws, aws.credentials()).await.unwrap();

    first_hold.release();
    first.await.unwrap().unwrap();
    assert!(!second.is_finished());
    drop(second_hold);
    second.await.unwrap().unwrap();
    assume(&aws).await.unwrap();
}

#[tokio::test]
async fn a_late_answer_is_late_for_a_client_that_does_not_wait() {
    let aws = EmbeddedAws::start();
    aws.set_latency(Duration::from_secs(3600));
    let left = tokio::select! {
        biased;
        () = aws.wait_for_calls("AssumeRole", 1) => true,
        _ = assume(&aws) => false,
    };
    assert!(left);
    aws.set_latency(Duration::ZERO);
    assume(&aws).await.unwrap();
}

#[tokio::test]
async fn the_log_shows_what_was_asked_and_no_secrets() {
    let clock = TestClock::at_present();
    let aws = EmbeddedAws::builder().clock(clock.reader()).start();
    aws.add_mfa_code("device-1", "123456");
    let client = client(&aws, aws.credentials());
    let call = client
        .assume_role()
        .role_arn(ROLE)
        .role_session_name("me")
        .external_id("x1");
    call.serial_number("device-1")
        .token_code("123456")
        .send()
        .await
        .unwrap();
    aws.deny_role(ROLE);
    refusal(assume(&aws).await);

    let log = aws.requests();
    assert_eq!(log.len(), 2);
    let parameters: Vec<(&str, &str)> = log[0]
        .parameters
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    let expected = [
        ("ExternalId", "x1"),
        ("RoleArn", ROLE),
        ("RoleSessionName", "me"),
        ("SerialNumber", "device-1"),
        ("TokenCode", "(redacted)"),
    ];
    assert_eq!(parameters, expected);
    assert_eq!(log[0].action, "AssumeRole");
    assert_eq!(log[0].access_key_id.as_deref(), Some(aws.access_key_id()));
    assert_eq!(log[0].time, clock.now());
    assert!(
        log[0]
            .user_agent
            .as_deref()
            .unwrap()
            .contains("aws-sdk-rust")
    );
    assert_eq!(
        (log[0].status, log[0].error_code.as_deref()),
        (Some(200), None)
    );
    assert_eq!(
        (log[1].status, log[1].error_code.as_deref()),
        (Some(403), Some("AccessDenied"))
    );
    assert_eq!(
        (aws.calls("AssumeRole"), aws.calls("GetCallerIdentity")),
        (2, 0)
    );
}

#[tokio::test]
async fn debug_shows_no_secret() {
    let aws = EmbeddedAws::start();
    let output = assume(&aws).await.unwrap();
    identify(&aws, issued(&output)).await.unwrap();
    let shown = format!(
        "{aws:#?} {:#?} {:#?}",
        aws.requests(),
        EmbeddedAws::builder()
    );
    assert!(shown.contains(aws.access_key_id()));
    for secret in aws.issued_secrets() {
        assert!(!shown.contains(&secret), "a secret is shown");
    }
}

#[tokio::test]
async fn answers_carry_the_servers_date_and_a_request_id() {
    let aws = EmbeddedAws::builder()
        .clock(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045))
        .allowed_skew(Duration::MAX)
        .start();
    aws.fail_next([Failure::Throttled]);
    let error = assume(&aws).await.unwrap_err();
    let headers = error.raw_response().unwrap().headers();
    assert_eq!(headers.get("date"), Some("Fri, 02 Jan 2026 03:04:05 GMT"));
    assert_eq!(headers.get("x-amzn-requestid").map(str::len), Some(36));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_calls_does_not_move_with_paused_time() {
    let aws = EmbeddedAws::start();
    let call = std::thread::spawn({
        let endpoint = aws.endpoint_url();
        move || std::net::TcpStream::connect(endpoint.trim_start_matches("http://")).unwrap()
    });
    let mut stream = call.join().unwrap();
    std::io::Write::write_all(
        &mut stream,
        b"GET /?Action=Ping HTTP/1.1\r\nhost: x\r\n\r\n",
    )
    .unwrap();
    aws.wait_for_calls("Ping", 1).await;
}

#[test]
fn a_dropped_server_is_gone_even_with_calls_in_flight() {
    let aws = EmbeddedAws::start();
    let address = aws.endpoint_url().trim_start_matches("http://").to_owned();
    let mut open = std::net::TcpStream::connect(&address).unwrap();
    std::io::Write::write_all(
        &mut open,
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf",
    )
    .unwrap();
    drop(aws);
    assert!(std::net::TcpStream::connect(&address).is_err());
    // Whatever is left of the connection ends; a read that blocked for ever would fail the test by
    // its time limit.
    open.set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let ended = std::io::Read::read(&mut open, &mut [0; 1]);
    assert!(
        matches!(&ended, Ok(0))
            || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
    );
}
