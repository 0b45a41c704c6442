//! No secret in any `Debug`, `Display`, event or log line: a full run at trace level, all of it collected.
//!
//! In a binary of its own, since refreshes run on brs's own threads and only a global subscriber hears those.

#![expect(clippy::unwrap_used, reason = "a helper that panics fails its test, like the test's own body")]

use std::error::Error as _;
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use brs::sts::{AssumeRole, Params, StsClient};
use brs::{Error, RefreshableSession, custom};
use brs_core::test_util::ManualClock;
use brs_tests::EmbeddedAws;
use brs_tests::embedded_aws::Failure;
use futures_util::FutureExt;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

const ROLE: &str = "arn:aws:iam::123456789012:role/demo";
// Each of them looks different in a request's body.
const EXTERNAL_ID: &str = "external:hush/=1";
const ASSERTION: &str = "assertion+hush/1==";
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Sid":"policy-hush"}]}"#;
const TAG: &str = "tag hush/\u{fc}=1";
const HOUR: Duration = Duration::from_secs(3600);

fn show(error: &Error, shown: &mut String) {
    let _ = write!(shown, "{error} {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(shown, "{error} {error:?}");
        source = error.source();
    }
}

#[tokio::test]
async fn no_secret_is_shown_anywhere() {
    let log = Log::default();
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).init();
    let aws = EmbeddedAws::start();
    let clock = ManualClock::new(brs_now());
    let mut shown = String::new();
    let mut secrets =
        ["918273", EXTERNAL_ID, ASSERTION, POLICY, TAG, "policy-hush", "proxy-hush"].map(str::to_owned).to_vec();

    aws.add_mfa_code("arn:aws:iam::123456789012:mfa/me", "918273");
    let role = AssumeRole::new(ROLE)
        .external_id(EXTERNAL_ID)
        .policy(POLICY)
        .tag("team", TAG)
        .serial_number("arn:aws:iam::123456789012:mfa/me")
        .token_code("918273")
        .provided_context("arn:aws:iam::aws:contextProvider/IdentityCenter", ASSERTION);
    let request = role.clone();
    let role = Params::assume_role(role).client(StsClient::new().max_attempts(1).credentials(
        aws.access_key_id(),
        aws.secret_access_key(),
        None,
    ));
    let _ = write!(shown, "{role:?}");
    let builder = RefreshableSession::builder("sts", role)
        .region("eu-west-1")
        .endpoint_url(aws.endpoint_url())
        .base_credentials(aws.credentials())
        .clock(clock.clone());
    let _ = write!(shown, "{builder:?}");
    let session = builder.build().await.unwrap();
    let mut events = session.events();
    let set = session.credentials().await.unwrap();
    let client = aws_sdk_sts::Client::new(session.sdk_config());
    client.get_caller_identity().send().await.unwrap();
    let _ = write!(shown, "{set:?}{session:?}{:?}{:?}", session.status(), session.whoami().await);
    let _ = write!(shown, "{:?}{:?}", session.sdk_config(), session.credentials_provider());
    // The code was used: AWS refuses it, with every other failure after that.
    show(&session.refresh().await.unwrap_err(), &mut shown);
    for failure in [
        Failure::Status(500),
        Failure::AccessDenied,
        Failure::MalformedXml,
        Failure::Truncated,
        Failure::AlreadyExpired,
        Failure::DropConnection,
        Failure::Oversized,
        Failure::Page(403),
    ] {
        aws.fail_next([failure]);
        show(&session.refresh().await.unwrap_err(), &mut shown);
    }
    aws.fail_next_of("GetCallerIdentity", [Failure::Page(403)]);
    show(&session.whoami().await.unwrap_err(), &mut shown);
    clock.advance(HOUR);
    let _ = session.credentials().await;
    // A request that cannot be made, or that goes nowhere, is one that the SDK's own errors like to print.
    for client in [
        StsClient::new().endpoint_url("http://127.0.0.1:99999"),
        StsClient::new().endpoint_url("http://127.0.0.1:1/%zz"),
        StsClient::new().endpoint_url("http://[::1"),
        StsClient::new().endpoint_url("http://me:proxy-hush@127.0.0.1:1"),
        StsClient::new().proxy("http://me:proxy-hush@127.0.0.1:1"),
        StsClient::new().endpoint_url("https://127.0.0.1:1").proxy("http://me:proxy-hush@127.0.0.1:1"),
        StsClient::new().proxy("me:proxy-hush@nowhere"),
    ] {
        let _ = write!(shown, "{client:?}");
        let params = Params::assume_role(request.clone()).client(client.max_attempts(1));
        let builder = RefreshableSession::builder("sts", params)
            .region("eu-west-1")
            .endpoint_url("http://127.0.0.1:1")
            .base_credentials(aws.credentials());
        match builder.build().await {
            Ok(session) => show(&session.credentials().await.unwrap_err(), &mut shown),
            Err(error) => show(&error, &mut shown),
        }
    }
    session.invalidate(set.access_key_id());
    session.report_rejected(set.access_key_id());

    let function = |token, expiry_time| {
        json!({
            "access_key": "ASIAFUNCTION", "secret_key": "function-hush", "token": token, "expiry_time": expiry_time,
        })
    };
    for function in [
        function(json!(4711471147_u64), json!(null)),
        json!({ "access_key": "ASIAFUNCTION", "secret_key": "function-hush" }),
        function(json!("t-hush"), json!("hush-o'clock")),
        function(json!("t-hush"), json!(null)),
    ] {
        let params = custom::Params::function_with(function, async |value: serde_json::Value| Ok::<_, Error>(value));
        let _ = write!(shown, "{params:?}");
        let session = RefreshableSession::new("custom", params).await.unwrap();
        match session.credentials().await {
            Ok(set) => drop(write!(shown, "{set:?}{session:?}")),
            Err(error) => show(&error, &mut shown),
        }
    }
    for command in ["echo '{\"SecretAccessKey\":\"command-hush\"'", "sh -c 'echo command-hush; exit 3'"] {
        let session = RefreshableSession::from_method("custom", json!({ "command": command })).await.unwrap();
        let _ = write!(shown, "{session:?}{:?}", session.strategy::<custom::Custom>());
        show(&session.credentials().await.unwrap_err(), &mut shown);
    }
    let wrong = json!({ "role_arn": ROLE, "TokenCode": 4711471147_u64, "ExternalId": { "x": EXTERNAL_ID } });
    let data = json!({ "assume_role": wrong });
    show(&RefreshableSession::from_method("sts", data).await.unwrap_err(), &mut shown);

    while let Some(Some(event)) = events.next().now_or_never() {
        let _ = write!(shown, "{event:?}");
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    secrets.extend(["function-hush", "t-hush", "hush-o'clock", "command-hush", "4711471147"].map(str::to_owned));
    secrets.extend(aws.issued_secrets());
    assert!(log.contains("refresh failed") && log.contains("refresh succeeded"), "the run was logged");
    let encoded: Vec<_> =
        secrets.iter().map(|secret| form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>()).collect();
    let percent: Vec<_> = encoded.iter().map(|secret| secret.replace('+', "%20")).collect();
    let quoted: Vec<_> = secrets.iter().map(|secret| secret.escape_debug().to_string()).collect();
    for secret in secrets.iter().chain(&encoded).chain(&percent).chain(&quoted) {
        // The secret itself is not repeated here: this is a log, too.
        let start: String = secret.chars().take(4).collect();
        if let Some(at) = shown.find(secret.as_str()) {
            panic!("a secret `{start}…` is shown after: {}", &shown[at.saturating_sub(300)..at]);
        }
        for line in log.lines() {
            let masked = line.replace(secret.as_str(), "***");
            assert!(masked == line, "a secret `{start}…` is logged: {masked}");
        }
    }
}

/// The machine's time, which the SDK client signs with.
fn brs_now() -> std::time::SystemTime {
    brs::Clock::now(&brs::SystemClock::new())
}
