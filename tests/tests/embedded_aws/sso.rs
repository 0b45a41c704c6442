//! The portal of IAM Identity Center: what a login is good for.

use super::*;
use brs_tests::embedded_aws::Failure;
use serde_json::Value;

const LOGIN: &str = "sso-access-token";
const PATH: &str = "/federation/credentials?role_name=Reader&account_id=123456789012";

/// Head and document of the portal's answer.
async fn get(aws: &EmbeddedAws, path: &str, login: Option<&str>) -> (String, Value) {
    let headers: Vec<_> = login
        .map(|login| ("x-amz-sso_bearer_token".to_owned(), login.to_owned()))
        .into_iter()
        .collect();
    let answer = raw(aws, &format!("GET {path}"), &headers, "").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (
        head.to_owned(),
        serde_json::from_str(body).unwrap_or(Value::Null),
    )
}

fn assert_refused((head, body): &(String, Value), status: u16, code: &str, message: &str) {
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    assert!(
        head.contains(&format!("\r\nx-amzn-errortype: {code}\r\n")),
        "{head}"
    );
    assert_eq!(body["message"], message);
}

#[tokio::test]
async fn a_login_is_good_for_a_roles_credentials() {
    let clock = TestClock::at_present();
    let aws = EmbeddedAws::builder().clock(clock.reader()).start();
    aws.add_sso_login(LOGIN);
    let (head, body) = get(&aws, PATH, Some(LOGIN)).await;
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.contains("content-type: application/json"),
        "{head}"
    );
    let set = &body["roleCredentials"];
    let since = (clock.now() + Duration::from_secs(3600))
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    assert_eq!(
        set["expiration"].as_u64().map(u128::from),
        Some(since.as_millis())
    );
    let text = |name: &str| set[name].as_str().unwrap().to_owned();
    assert!(text("accessKeyId").starts_with("ASIA"));
    let session = Credentials::new(
        text("accessKeyId"),
        text("secretAccessKey"),
        Some(text("sessionToken")),
        None,
        "test",
    );
    let identity = identify(&aws, session.clone()).await.unwrap();
    assert_eq!(
        identity.arn(),
        Some("arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Reader/brs")
    );
    let chained = role_call(&aws, session).duration_seconds(3601).send().await;
    assert!(refusal(chained).2.contains("role chaining"));
    aws.set_lifetime(Some(Duration::from_secs(5)));
    let (_, body) = get(&aws, PATH, Some(LOGIN)).await;
    assert_eq!(
        body["roleCredentials"]["expiration"]
            .as_u64()
            .map(u128::from),
        Some(since.as_millis() - 3_595_000)
    );
}

#[tokio::test]
async fn who_is_not_logged_in_is_unauthorized() {
    let aws = EmbeddedAws::start();
    let unauthorized = "Session token not found or invalid";
    for login in [None, Some(""), Some("guess")] {
        assert_refused(
            &get(&aws, PATH, login).await,
            401,
            "UnauthorizedException",
            unauthorized,
        );
    }
    aws.add_sso_login(LOGIN);
    get(&aws, PATH, Some(LOGIN)).await.1["roleCredentials"]
        .as_object()
        .unwrap();
    aws.end_sso_login(LOGIN);
    assert_refused(
        &get(&aws, PATH, Some(LOGIN)).await,
        401,
        "UnauthorizedException",
        unauthorized,
    );
}

#[tokio::test]
async fn the_log_has_the_request_and_not_the_login() {
    let aws = EmbeddedAws::start();
    aws.add_sso_login(LOGIN);
    get(&aws, PATH, Some(LOGIN)).await;
    get(&aws, PATH, Some("guessed-token")).await;
    assert_eq!(aws.calls("GetRoleCredentials"), 2);
    let log = aws.requests();
    assert_eq!(
        (log[0].status, log[0].error_code.as_deref()),
        (Some(200), None)
    );
    assert_eq!(
        (log[1].status, log[1].error_code.as_deref()),
        (Some(401), Some("UnauthorizedException"))
    );
    assert_eq!(
        (
            &*log[0].parameters["role_name"],
            &*log[0].parameters["account_id"]
        ),
        ("Reader", "123456789012")
    );
    let shown = format!("{aws:?} {log:?}");
    assert!(
        !shown.contains(LOGIN) && !shown.contains("guessed-token"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_role_must_be_named_and_allowed() {
    let aws = EmbeddedAws::start();
    aws.add_sso_login(LOGIN);
    for path in [
        "",
        "?role_name=Reader",
        "?account_id=123456789012",
        "?role_name=&account_id=123456789012",
    ] {
        let answer = get(&aws, &format!("/federation/credentials{path}"), Some(LOGIN)).await;
        assert_refused(
            &answer,
            400,
            "InvalidRequestException",
            "role_name and account_id are required",
        );
    }
    for query in [
        "role_name=Reader&account_id=210987654321",
        "role_name=two+words&account_id=123456789012",
    ] {
        let answer = get(
            &aws,
            &format!("/federation/credentials?{query}"),
            Some(LOGIN),
        )
        .await;
        assert_refused(&answer, 403, "ForbiddenException", "No access");
    }
    let role =
        "arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Reader";
    aws.deny_role(role);
    assert_refused(
        &get(&aws, PATH, Some(LOGIN)).await,
        403,
        "ForbiddenException",
        "No access",
    );
    aws.add_role(role);
    get(&aws, PATH, Some(LOGIN)).await.1["roleCredentials"]
        .as_object()
        .unwrap();
}

#[tokio::test]
async fn planned_failures_speak_json() {
    let aws = EmbeddedAws::start();
    aws.add_sso_login(LOGIN);
    let own = Failure::Error {
        status: 400,
        code: "InvalidRequestException",
        message: "\"no\"".into(),
    };
    for (failure, status, code, message) in [
        (
            Failure::Status(500),
            500,
            "InternalFailure",
            "An internal error occurred.",
        ),
        (
            Failure::Throttled,
            429,
            "TooManyRequestsException",
            "Too many requests",
        ),
        (
            Failure::AccessDenied,
            403,
            "ForbiddenException",
            "No access",
        ),
        (own, 400, "InvalidRequestException", "\"no\""),
    ] {
        aws.fail_next_of("GetRoleCredentials", [failure]);
        assert_refused(&get(&aws, PATH, Some(LOGIN)).await, status, code, message);
    }
    for failure in [
        Failure::MalformedXml,
        Failure::Truncated,
        Failure::EmptyBody,
        Failure::Page(200),
    ] {
        aws.fail_next_of("GetRoleCredentials", [failure.clone()]);
        let (head, body) = get(&aws, PATH, Some(LOGIN)).await;
        assert!(
            head.starts_with("HTTP/1.1 200 ") && body.is_null(),
            "{failure:?}: {head} {body}"
        );
    }
    aws.fail_next_of(
        "GetRoleCredentials",
        [Failure::Oversized, Failure::DropConnection],
    );
    let (_, body) = get(&aws, PATH, Some(LOGIN)).await;
    assert!(
        body.is_object() && body.get("roleCredentials").is_none(),
        "well formed, and no result"
    );
    assert_eq!(
        get(&aws, PATH, Some(LOGIN)).await,
        (String::new(), Value::Null)
    );
    aws.fail_next_of("GetRoleCredentials", [Failure::AlreadyExpired]);
    let set = get(&aws, PATH, Some(LOGIN)).await.1["roleCredentials"].clone();
    let text = |name: &str| set[name].as_str().unwrap().to_owned();
    let session = Credentials::new(
        text("accessKeyId"),
        text("secretAccessKey"),
        Some(text("sessionToken")),
        None,
        "test",
    );
    assert_eq!(refusal(identify(&aws, session).await).1, "ExpiredToken");
}
