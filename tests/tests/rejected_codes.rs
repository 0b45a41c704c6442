//! Where services put the codes of rejected credentials: CloudWatch's CBOR and its header for old
//! clients, EC2's query protocol; and what becomes of calls that the SDK's retry quota has no room
//! for.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_cloudwatch::error::ProvideErrorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::DateTime;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::date_time::Format;
use aws_smithy_types::retry::RetryConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;
use brs::{RefreshableSession, TemporaryCredentials};
use brs_core::test_util::ManualClock;

const HOUR: Duration = Duration::from_secs(3600);

fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_900_000_000)
}

/// A service that rejects every key but the newest with this answer.
#[derive(Clone, Debug)]
struct Service {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    good: Vec<u8>,
    /// The key that is accepted.
    accepted: &'static str,
    keys: Arc<Mutex<Vec<String>>>,
}

impl HttpClient for Service {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Service {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let authorization = request.headers().get("authorization").unwrap_or_default();
        let key = authorization
            .split_once("Credential=")
            .unwrap()
            .1
            .split_once('/')
            .unwrap()
            .0
            .to_owned();
        let accepted = key == self.accepted;
        self.keys.lock().unwrap().push(key);
        let (status, body) = if accepted {
            (200, &self.good)
        } else {
            (self.status, &self.body)
        };
        let mut answer = HttpResponse::new(
            StatusCode::try_from(status).unwrap(),
            SdkBody::from(body.clone()),
        );
        answer
            .headers_mut()
            .insert("smithy-protocol", "rpc-v2-cbor");
        for (name, value) in self.headers.iter().filter(|_| !accepted) {
            answer.headers_mut().insert(*name, value.clone());
        }
        HttpConnectorFuture::ready(Ok(answer))
    }
}

/// A session whose sets are `KEY1`, `KEY2` and so on, an hour each.
async fn session(service: Service, clock: &ManualClock) -> RefreshableSession {
    let (count, now) = (AtomicUsize::new(0), clock.clone());
    let params = brs::custom::Params::blocking_function(move || {
        let key = format!("KEY{}", count.fetch_add(1, Ordering::SeqCst) + 1);
        let end = brs::Clock::now(&now) + HOUR;
        Ok::<_, brs::Error>(TemporaryCredentials::new(
            key,
            "secret",
            Some("token".to_owned()),
            Some(end),
        ))
    });
    let base = SdkConfig::builder()
        .region(Region::new("eu-west-1"))
        .endpoint_url("http://service.invalid")
        .http_client(service)
        .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(1)))
        .build();
    RefreshableSession::builder("custom", params)
        .base(base)
        .clock(clock.clone())
        .build()
        .await
        .unwrap()
}

fn service(status: u16, headers: &[(&'static str, &str)], body: Vec<u8>, good: &[u8]) -> Service {
    let headers = headers
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    Service {
        status,
        headers,
        body,
        good: good.to_vec(),
        accepted: "KEY2",
        keys: Arc::default(),
    }
}

/// A text, in pieces where it is split.
fn text(pieces: &[&str]) -> Vec<u8> {
    let piece = |text: &&str| {
        [
            &[0x78, u8::try_from(text.len()).unwrap()][..],
            text.as_bytes(),
        ]
        .concat()
    };
    match pieces {
        [whole] => piece(whole),
        pieces => [
            vec![0x7f],
            pieces.iter().flat_map(piece).collect(),
            vec![0xff],
        ]
        .concat(),
    }
}

/// A map of that code, of indefinite length, behind a message.
fn cbor(code: &[&str]) -> Vec<u8> {
    [
        &[0xbf][..],
        &text(&["message"]),
        &text(&["m"]),
        &text(&["__type"]),
        &text(code),
        &[0xff],
    ]
    .concat()
}

#[tokio::test]
async fn cloudwatchs_rejections_are_noticed_and_the_call_made_again() {
    let plain = [
        &[0xa1][..],
        &text(&["__type"]),
        &text(&["ExpiredTokenException"]),
    ]
    .concat();
    for (status, headers, body) in [
        (403, &[][..], plain),
        (
            403,
            &[],
            cbor(&["com.amazonaws.cloudwatch.v2010_08_01#ExpiredTokenException"]),
        ),
        (400, &[], cbor(&["Expired", "Token"])),
        (
            403,
            &[("x-amzn-query-error", "ExpiredToken;Sender")],
            cbor(&["com.amazonaws#Odd"]),
        ),
        (
            403,
            &[("x-amzn-query-error", "InvalidToken;Sender")],
            vec![],
        ),
    ] {
        let (clock, service) = (
            ManualClock::new(start()),
            service(status, headers, body, &[0xbf, 0xff]),
        );
        let session = session(service.clone(), &clock).await;
        session
            .client(aws_sdk_cloudwatch::Client::new)
            .list_metrics()
            .send()
            .await
            .unwrap();
        assert_eq!(
            *service.keys.lock().unwrap(),
            ["KEY1", "KEY2"],
            "{status} {headers:?}"
        );
    }
}

#[tokio::test]
async fn cloudwatchs_other_refusals_pass_untouched() {
    for (headers, body) in [
        (&[][..], cbor(&["AccessDeniedException"])),
        (
            &[("x-amzn-query-error", "AccessDenied;Sender")],
            cbor(&["AccessDeniedException"]),
        ),
    ] {
        let (clock, service) = (
            ManualClock::new(start()),
            service(403, headers, body, &[0xbf, 0xff]),
        );
        let session = session(service.clone(), &clock).await;
        let error = session
            .client(aws_sdk_cloudwatch::Client::new)
            .list_metrics()
            .send()
            .await
            .unwrap_err();
        assert!(
            error.code().unwrap().starts_with("AccessDenied"),
            "{error:?}"
        );
        assert_eq!(error.raw_response().unwrap().status().as_u16(), 403);
        assert_eq!(
            (
                service.keys.lock().unwrap().len(),
                session.status().refreshes()
            ),
            (1, 1)
        );
    }
}

const GOOD: &[u8] =
    b"<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn</Arn></GetCallerIdentityResult>\
                      </GetCallerIdentityResponse>";

#[tokio::test]
async fn ec2s_request_expired_counts_only_near_the_sets_expiration_by_the_services_clock() {
    let body = "<Response><Errors><Error><Code>RequestExpired</Code><Message>Request has expired.</Message></Error>\
                </Errors><RequestID>r</RequestID></Response>";
    for (date, cached, refreshes) in [
        (Some(start() + HOUR), false, 2),
        (Some(start() + HOUR * 2), false, 2),
        (Some(start() + HOUR - Duration::from_secs(60)), false, 2),
        (Some(start() + HOUR - Duration::from_secs(61)), false, 1),
        (Some(start()), false, 1),
        (Some(start() + HOUR), true, 1),
        (None, false, 1),
    ] {
        let clock = ManualClock::new(start());
        let mut service = service(400, &[], body.into(), GOOD);
        let date = date.map(|date| DateTime::from(date).fmt(Format::HttpDate).unwrap());
        service.headers.extend(date.map(|date| ("date", date)));
        service
            .headers
            .extend(cached.then(|| ("age", "60".to_owned())));
        let headers = service.headers.clone();
        let session = session(service, &clock).await;
        let answer = session
            .client(aws_sdk_sts::Client::new)
            .get_caller_identity()
            .send()
            .await;
        assert_eq!(
            (answer.is_ok(), session.status().refreshes()),
            (refreshes == 2, refreshes),
            "{headers:?}"
        );
    }
}

#[tokio::test]
async fn a_call_that_the_sdks_quota_has_no_room_for_gets_the_services_own_error() {
    let clock = ManualClock::new(start());
    let body = "<ErrorResponse><Error><Code>ExpiredToken</Code><Message>m</Message></Error></ErrorResponse>";
    let service = Service {
        accepted: "NONE",
        ..service(403, &[], body.into(), GOOD)
    };
    let session = session(service, &clock).await;
    let client = session.client(aws_sdk_sts::Client::new);
    for _ in 0..5 {
        // More at a time than any quota lets through, all signed with the set that is replaced
        // meanwhile.
        let calls = (0..200).map(|_| client.get_caller_identity().send());
        for answer in futures_util::future::join_all(calls).await {
            assert_eq!(answer.unwrap_err().code(), Some("ExpiredToken"));
        }
        clock.advance(Duration::from_secs(301));
    }
}
