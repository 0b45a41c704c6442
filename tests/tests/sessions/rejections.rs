//! Services that reject credentials before their time: noticed, replaced, and tried again within
//! the call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_sts::Client;
use aws_sdk_sts::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::get_caller_identity::{
    GetCallerIdentityError, GetCallerIdentityOutput,
};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use brs::RefreshableSession;
use brs_tests::embedded_aws::Failure;
use futures_util::future::join_all;

use super::*;

type Answer = Result<GetCallerIdentityOutput, SdkError<GetCallerIdentityError, HttpResponse>>;

async fn who(client: &Client) -> Answer {
    client.get_caller_identity().send().await
}

/// A session whose clients retry without waiting.
async fn quick(aws: &EmbeddedAws, clock: &ManualClock, retry: bool) -> RefreshableSession {
    let builder = RefreshableSession::builder("sts", role())
        .base(hand_made(aws).build())
        .clock(clock.clone())
        .seed(7);
    builder.retry_rejected(retry).build().await.unwrap()
}

#[tokio::test]
async fn a_set_that_is_ended_early_is_replaced_within_the_call_and_none_fails() {
    let (aws, clock) = aws();
    let session = quick(&aws, &clock, true).await;
    let client = session.client(Client::new);
    for round in 1..=5 {
        let old = key(&session).await;
        clock.advance(seconds(61));
        aws.expire(&old);
        // The SDK's own retry quota, 500 tokens for a process and service, has no room for many
        // more at a time.
        let answers = join_all((0..10).map(|_| who(&client))).await;
        for answer in answers {
            answer.unwrap_or_else(|error| panic!("{}", DisplayErrorContext(error)));
        }
        assert_eq!(
            aws.calls("AssumeRole"),
            round + 1,
            "one call to the source, however many were rejected"
        );
        for _ in 0..100 {
            who(&client).await.unwrap();
        }
    }
}

#[tokio::test]
async fn after_a_revocation_services_deny_access_until_the_session_is_refreshed() {
    let (aws, clock) = aws();
    let session = quick(&aws, &clock, true).await;
    let client = session.client(Client::new);
    let old = key(&session).await;
    aws.revoke(&old);
    // It is no rejection: AWS says the same of a missing permission.
    let assume = || {
        client
            .assume_role()
            .role_arn(ROLE)
            .role_session_name("another")
            .send()
    };
    let denied = assume().await.unwrap_err();
    assert_eq!(denied.code(), Some("AccessDenied"));
    let says = denied.message().unwrap_or_default();
    assert!(
        says.contains("with an explicit deny in an identity-based policy"),
        "{says}"
    );
    assert_eq!(
        (key(&session).await, aws.calls("AssumeRole")),
        (old.clone(), 2)
    );
    // Who one is may be asked all the same.
    who(&client).await.unwrap();
    session.refresh().await.unwrap();
    assert_ne!(key(&session).await, old);
    assume().await.unwrap();
}

#[tokio::test]
async fn without_the_retry_a_call_fails_with_the_services_own_error_and_the_next_succeeds() {
    let (aws, clock) = aws();
    let session = quick(&aws, &clock, false).await;
    let client = session.client(Client::new);
    let old = key(&session).await;
    clock.advance(seconds(61));
    aws.expire(&old);
    let error = who(&client).await.unwrap_err();
    assert_eq!(error.code(), Some("ExpiredToken"));
    who(&client).await.unwrap();
    assert_eq!(aws.calls("AssumeRole"), 2);
}

#[tokio::test]
async fn a_rejection_of_a_set_that_has_been_replaced_costs_no_refresh() {
    let (aws, clock) = aws();
    let session = quick(&aws, &clock, true).await;
    let old = session.credentials().await.unwrap();
    let late = aws_sdk_sts::config::Credentials::new(
        old.access_key_id(),
        old.secret_access_key(),
        old.session_token().map(str::to_owned),
        None,
        "late",
    );
    session.refresh().await.unwrap();
    aws.expire(old.access_key_id());
    // Signed with the old set on purpose: a request that was on its way.
    let other = aws_sdk_sts::config::Builder::default().credentials_provider(late);
    let client = session.client(Client::new);
    let answer = client
        .get_caller_identity()
        .customize()
        .config_override(other)
        .send()
        .await;
    assert_eq!(answer.unwrap_err().code(), Some("ExpiredToken"));
    who(&client).await.unwrap();
    assert_eq!(aws.calls("AssumeRole"), 2);
}

#[tokio::test]
async fn what_is_no_rejection_passes_untouched() {
    let (aws, clock) = aws();
    let session = quick(&aws, &clock, true).await;
    let client = session.client(Client::new);
    key(&session).await;
    clock.advance(seconds(61));
    for (status, code) in [
        (403, "AccessDenied"),
        (400, "ValidationError"),
        (404, "NotFound"),
    ] {
        aws.fail_next_of(
            "GetCallerIdentity",
            [Failure::Error {
                status,
                code,
                message: "ExpiredToken".into(),
            }; 1],
        );
        let error = who(&client).await.unwrap_err();
        assert_eq!(error.code(), Some(code));
    }
    assert_eq!(aws.calls("AssumeRole"), 1);
    assert_eq!(session.status().refreshes(), 1);
}

/// A service that answers as it is told, once it has been told.
#[derive(Clone, Debug)]
struct Told {
    answer: Arc<dyn Tell>,
}

trait Tell: std::fmt::Debug + Send + Sync {
    fn tell(&self, request: &HttpRequest) -> HttpResponse;
}

impl HttpClient for Told {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Told {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready(Ok(self.answer.tell(&request)))
    }
}

/// The body of a 403, once; then a good answer.
#[derive(Debug)]
struct OnceRefused {
    header: Option<&'static str>,
    body: fn() -> SdkBody,
    refused: AtomicBool,
}

const GOOD: &str = "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn</Arn></GetCallerIdentityResult>\
                    </GetCallerIdentityResponse>";

impl Tell for OnceRefused {
    fn tell(&self, _: &HttpRequest) -> HttpResponse {
        if self.refused.swap(true, Ordering::SeqCst) {
            return HttpResponse::new(StatusCode::try_from(200).unwrap(), SdkBody::from(GOOD));
        }
        let mut answer = HttpResponse::new(StatusCode::try_from(403).unwrap(), (self.body)());
        if let Some(header) = self.header {
            answer.headers_mut().insert("x-amzn-errortype", header);
        }
        answer
    }
}

/// A body that comes in pieces: these, then an error, or nothing ever again, or its end.
struct Pieces {
    pieces: Vec<bytes::Bytes>,
    end: End,
}

#[derive(Clone, Copy)]
enum End {
    Proper,
    BrokenOff,
    Never,
}

impl http_body::Body for Pieces {
    type Data = bytes::Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, std::io::Error>>> {
        use std::task::Poll;
        match (self.pieces.pop(), self.end) {
            (Some(piece), _) => Poll::Ready(Some(Ok(http_body::Frame::data(piece)))),
            (None, End::Proper) => Poll::Ready(None),
            (None, End::BrokenOff) => {
                self.end = End::Proper;
                Poll::Ready(Some(Err(std::io::Error::other("broken off"))))
            }
            (None, End::Never) => Poll::Pending,
        }
    }
}

fn pieces(beginning: &'static str, further: usize, end: End) -> SdkBody {
    let mut pieces = vec![bytes::Bytes::from(vec![b' '; 10_000]); further];
    pieces.push(bytes::Bytes::from_static(beginning.as_bytes()));
    SdkBody::from_body_1_x(Pieces { pieces, end })
}

const EXPIRED: &str =
    "<ErrorResponse><Error><Code>ExpiredToken</Code><Message>m</Message></Error></ErrorResponse>";
const DENIED: &str =
    "<ErrorResponse><Error><Code>AccessDenied</Code><Message>m</Message></Error></ErrorResponse>";

/// A call whose first answer is refused in that way; how many refreshes there were in the end.
async fn refused_with(header: Option<&'static str>, body: fn() -> SdkBody) -> (Answer, u64) {
    let (aws, clock) = aws();
    let session = quick(&aws, &clock, true).await;
    key(&session).await;
    clock.advance(seconds(61));
    let told = Told {
        answer: Arc::new(OnceRefused {
            header,
            body,
            refused: AtomicBool::new(false),
        }),
    };
    // The service's answers are the test's; STS stays the embedded one.
    let strategy = session.clone();
    let provider = brs::custom::Params::function(move || {
        let session = strategy.clone();
        async move { session.refresh().await }
    });
    let service = RefreshableSession::builder("custom", provider)
        .base(hand_made(&aws).http_client(told).build())
        .clock(clock.clone())
        .build()
        .await
        .unwrap();
    key(&service).await;
    clock.advance(seconds(61));
    let answer = who(&service.client(Client::new)).await;
    (answer, service.status().refreshes())
}

#[tokio::test]
async fn rejections_are_found_wherever_services_put_them() {
    for (header, body) in [
        (
            Some(
                "ExpiredTokenException:http://internal.amazon.com/coral/com.amazon.coral.service/",
            ),
            (|| SdkBody::from("{}")) as fn() -> SdkBody,
        ),
        (None, || SdkBody::from(EXPIRED)),
        (None, || {
            SdkBody::from("{\"__type\":\"com.amazon.coral.service#ExpiredTokenException\"}")
        }),
        (None, || pieces(EXPIRED, 0, End::Proper)),
        (None, || pieces(EXPIRED, 1000, End::Proper)),
        (None, || pieces(EXPIRED, 0, End::BrokenOff)),
        (None, || pieces(EXPIRED, 7, End::Never)),
    ] {
        let (answer, refreshes) = refused_with(header, body).await;
        assert_eq!(answer.unwrap().arn(), Some("arn"));
        assert_eq!(refreshes, 2);
    }
}

#[tokio::test]
async fn a_body_that_is_none_of_ours_reaches_the_sdk_as_it_is() {
    let header = Some("AccessDenied");
    for (header, body, code) in [
        (
            header,
            (|| SdkBody::from(EXPIRED)) as fn() -> SdkBody,
            Some("ExpiredToken"),
        ),
        (None, || SdkBody::from(DENIED), Some("AccessDenied")),
        (
            None,
            || pieces(DENIED, 1000, End::Proper),
            Some("AccessDenied"),
        ),
        (None, || SdkBody::empty(), None),
    ] {
        let (answer, refreshes) = refused_with(header, body).await;
        let error = answer.unwrap_err();
        assert_eq!((error.code(), refreshes), (code, 1), "{error:?}");
    }
    let (answer, refreshes) = refused_with(None, || pieces(DENIED, 3, End::BrokenOff)).await;
    // A broken connection is what the SDK tries again by itself.
    assert!(answer.is_ok() || format!("{:?}", answer.unwrap_err()).contains("broken off"));
    assert_eq!(refreshes, 1);
}

#[tokio::test]
async fn a_rejected_set_that_cannot_be_replaced_is_sent_once_a_call() {
    let (aws, clock) = aws();
    let session = quick(&aws, &clock, true).await;
    let client = session.client(Client::new);
    let old = key(&session).await;
    clock.advance(seconds(61));
    aws.expire(&old);
    aws.fail_always(Some(Failure::Status(500)));
    // The first call finds out that the source is in trouble; from then on the backoff keeps
    // everybody from asking.
    assert_eq!(who(&client).await.unwrap_err().code(), Some("ExpiredToken"));
    let before = aws.calls("GetCallerIdentity");
    for _ in 0..5 {
        assert_eq!(who(&client).await.unwrap_err().code(), Some("ExpiredToken"));
    }
    assert_eq!(aws.calls("GetCallerIdentity") - before, 5);
}
