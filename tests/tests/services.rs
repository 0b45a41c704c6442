//! The SDK's clients of several services, and `object_store`, on one session: against the embedded
//! AWS, which lets credentials end, and against moto, which shares no code with this workspace.
//!
//! The one binary that the large service crates are linked into.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_types::retry::RetryConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;
use aws_types::sdk_config::SharedCredentialsProvider;
use brs::sts::Params;
use brs::{RefreshableSession, SessionBuilder};
use brs_core::test_util::ManualClock;
use brs_tests::EmbeddedAws;
use brs_tests::moto::Moto;
use futures_util::future::join_all;
use object_store::aws::AmazonS3Builder;
use object_store::{ObjectStoreExt as _, PutPayload};

const ROLE: &str = "arn:aws:iam::123456789012:role/demo";

fn aws() -> (EmbeddedAws, ManualClock) {
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_900_000_000));
    let server = clock.clone();
    // SDK clients sign with the machine's own clock; only the expirations follow the manual one.
    let aws = EmbeddedAws::builder()
        .clock(move || brs::Clock::now(&server))
        .allowed_skew(Duration::MAX)
        .start();
    (aws, clock)
}

fn builder(aws: &EmbeddedAws, clock: &ManualClock, role: Params) -> SessionBuilder {
    let base = SdkConfig::builder()
        .region(Region::new("eu-west-1"))
        .endpoint_url(aws.endpoint_url())
        .credentials_provider(SharedCredentialsProvider::new(aws.credentials()))
        .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(1)))
        .build();
    RefreshableSession::with(role)
        .base(base)
        .clock(clock.clone())
        .seed(7)
}

async fn until_landed(session: &RefreshableSession) {
    while session.status().is_refreshing() {
        tokio::task::yield_now().await;
    }
}

/// One call of one of three services; each writes and reads something of its own.
async fn call(session: &RefreshableSession, task: usize, round: usize) {
    let id = format!("{task}");
    match (task + round) % 3 {
        0 => {
            let client = session.client(aws_sdk_s3::Client::new);
            let key = format!("reports/{id} ä.txt");
            if round.is_multiple_of(2) {
                let body = ByteStream::from_static(b"a report");
                client
                    .put_object()
                    .bucket("demo")
                    .key(&key)
                    .body(body)
                    .send()
                    .await
                    .unwrap();
            }
            let names = client.list_buckets().send().await.unwrap();
            assert_eq!(names.buckets()[0].name(), Some("demo"));
        }
        1 => {
            let client = session.client(aws_sdk_dynamodb::Client::new);
            let item = AttributeValue::S(id);
            client
                .put_item()
                .table_name("demo")
                .item("id", item.clone())
                .send()
                .await
                .unwrap();
            let found = client
                .get_item()
                .table_name("demo")
                .key("id", item.clone())
                .send()
                .await
                .unwrap();
            assert_eq!(found.item().unwrap()["id"], item);
        }
        _ => {
            let client = session.client(aws_sdk_sts::Client::new);
            let identity = client.get_caller_identity().send().await.unwrap();
            assert!(identity.arn().unwrap().contains("assumed-role/demo/"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_tasks_call_three_services_across_dozens_of_expiries_and_none_waits_or_fails() {
    const TASKS: usize = 100;
    const ROUNDS: usize = 72;
    let (aws, clock) = aws();
    let quarter = Duration::from_secs(900);
    let session = builder(&aws, &clock, Params::new(ROLE).duration(quarter))
        .build()
        .await
        .unwrap();
    session.credentials().await.unwrap();
    for round in 0..ROUNDS {
        // While a round lasts the source does not answer: a caller that waited for it would wait for
        // ever.
        let hold = aws.hold();
        let tasks = (0..TASKS).map(|task| {
            let session = session.clone();
            tokio::spawn(async move { call(&session, task, round).await })
        });
        for ended in join_all(tasks).await {
            ended.unwrap();
        }
        hold.release();
        until_landed(&session).await;
        clock.advance(quarter / 3);
    }
    let requests = aws.requests();
    assert!(requests.len() > TASKS * ROUNDS);
    assert!(
        requests.iter().all(|request| request.status == Some(200)),
        "none was refused"
    );
    let refreshes = aws.calls("AssumeRole");
    assert!(
        (ROUNDS / 2..=ROUNDS / 2 + 1).contains(&refreshes),
        "{refreshes} sets, each used for two rounds"
    );
    assert_eq!(session.clients().misses, 3, "a client for each service");
}

#[tokio::test]
async fn a_revoked_set_is_replaced_within_the_call_in_every_protocol() {
    let (aws, clock) = aws();
    let session = builder(&aws, &clock, Params::new(ROLE))
        .build()
        .await
        .unwrap();
    for task in 0..3 {
        let old = session.credentials().await.unwrap();
        clock.advance(Duration::from_secs(61));
        aws.expire(old.access_key_id());
        call(&session, task, 0).await;
        assert_ne!(
            session.credentials().await.unwrap().access_key_id(),
            old.access_key_id()
        );
        assert_eq!(aws.calls("AssumeRole"), task + 2);
    }
    let refused: Vec<_> = aws
        .requests()
        .iter()
        .filter_map(|request| request.error_code.clone())
        .collect();
    assert_eq!(
        refused,
        ["ExpiredToken", "ExpiredTokenException", "ExpiredToken"]
    );
}

#[tokio::test]
async fn a_head_request_that_is_refused_without_a_word_is_the_sdks_own_error() {
    let (aws, clock) = aws();
    let session = builder(&aws, &clock, Params::new(ROLE))
        .build()
        .await
        .unwrap();
    let client = session.client(aws_sdk_s3::Client::new);
    client
        .put_object()
        .bucket("demo")
        .key("a")
        .body(ByteStream::from_static(b"b"))
        .send()
        .await
        .unwrap();
    clock.advance(Duration::from_secs(61));
    aws.expire(session.credentials().await.unwrap().access_key_id());
    let error = client
        .head_object()
        .bucket("demo")
        .key("a")
        .send()
        .await
        .unwrap_err();
    assert_eq!(
        (
            error.raw_response().unwrap().status().as_u16(),
            error.code()
        ),
        (400, None),
        "{error:?}"
    );
    assert_eq!(aws.calls("AssumeRole"), 1, "it may mean anything");
    let body = client
        .get_object()
        .bucket("demo")
        .key("a")
        .send()
        .await
        .unwrap()
        .body
        .collect()
        .await
        .unwrap();
    assert_eq!(body.into_bytes(), "b");
    client
        .head_object()
        .bucket("demo")
        .key("a")
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn an_upload_that_cannot_be_sent_again_fails_with_the_services_own_error() {
    let (aws, clock) = aws();
    let session = builder(&aws, &clock, Params::new(ROLE))
        .build()
        .await
        .unwrap();
    let client = session.client(aws_sdk_s3::Client::new);
    clock.advance(Duration::from_secs(61));
    session.credentials().await.unwrap();
    clock.advance(Duration::from_secs(61));
    aws.expire(session.credentials().await.unwrap().access_key_id());
    let once =
        http_body_util::StreamBody::new(futures_util::stream::iter([Ok::<_, std::io::Error>(
            http_body::Frame::data(bytes::Bytes::from_static(b"once")),
        )]));
    let body = ByteStream::from_body_1_x(once);
    let upload = client
        .put_object()
        .bucket("demo")
        .key("a")
        .body(body)
        .content_length(4);
    let error = upload
        .customize()
        .disable_payload_signing()
        .send()
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some("ExpiredToken"), "{error:?}");
    client.list_buckets().send().await.unwrap();
    assert_eq!(aws.calls("AssumeRole"), 2);
}

#[tokio::test]
async fn object_store_gets_each_set_and_waits_for_none_while_one_is_valid() {
    let (aws, clock) = aws();
    let session = builder(&aws, &clock, Params::new(ROLE))
        .build()
        .await
        .unwrap();
    let provider = session.object_store_credentials();
    let first = provider.get_credential().await.unwrap();
    assert_eq!(
        first.key_id,
        session.credentials().await.unwrap().access_key_id()
    );
    assert!(
        Arc::ptr_eq(&first, &provider.get_credential().await.unwrap()),
        "converted once"
    );
    let hold = aws.hold();
    clock.advance(Duration::from_secs(2700));
    assert!(Arc::ptr_eq(
        &first,
        &provider.get_credential().await.unwrap()
    ));
    hold.release();
    until_landed(&session).await;
    let second = provider.get_credential().await.unwrap();
    assert_ne!(first.key_id, second.key_id);
    assert!(!format!("{second:?}{provider:?}").contains(&second.secret_key));

    session.close();
    let error = provider.get_credential().await.unwrap_err();
    assert!(error.to_string().contains("closed"), "{error}");
}

/// A session of the checking server's role.
async fn moto_session(moto: &Moto, user: &brs_tests::moto::MotoUser) -> RefreshableSession {
    RefreshableSession::builder("sts", Params::new(user.role_arn.clone()))
        .region("eu-west-1")
        .endpoint_url(moto.endpoint_url())
        .base_credentials(user.credentials.clone())
        .build()
        .await
        .unwrap()
}

#[tokio::test]
#[ignore = "needs moto"]
async fn s3_and_dynamodb_take_the_signatures_of_each_set_at_moto() {
    let (moto, user) = Moto::start_with_auth();
    let session = moto_session(&moto, &user).await;
    let s3 = session.client(aws_sdk_s3::Client::new);
    let location = aws_sdk_s3::types::CreateBucketConfiguration::builder()
        .location_constraint(aws_sdk_s3::types::BucketLocationConstraint::EuWest1)
        .build();
    s3.create_bucket()
        .bucket("reports")
        .create_bucket_configuration(location)
        .send()
        .await
        .unwrap();
    let dynamodb = session.client(aws_sdk_dynamodb::Client::new);
    for round in 0..5 {
        let key = format!("round {round}");
        let body = ByteStream::from(key.clone().into_bytes());
        s3.put_object()
            .bucket("reports")
            .key(&key)
            .body(body)
            .send()
            .await
            .unwrap();
        let object = s3
            .get_object()
            .bucket("reports")
            .key(&key)
            .send()
            .await
            .unwrap();
        assert_eq!(object.body.collect().await.unwrap().into_bytes(), key);
        assert!(
            dynamodb
                .list_tables()
                .send()
                .await
                .unwrap()
                .table_names()
                .is_empty()
        );
        session.refresh().await.unwrap();
    }
    let stranger =
        aws_sdk_s3::config::Credentials::new("AKIAIOSFODNN7EXAMPLE", "guess", None, None, "test");
    let config = session
        .sdk_config()
        .to_builder()
        .credentials_provider(SharedCredentialsProvider::new(stranger));
    let error = aws_sdk_s3::Client::new(&config.build())
        .list_buckets()
        .send()
        .await
        .unwrap_err();
    assert_eq!(
        error.raw_response().unwrap().status().as_u16(),
        403,
        "signatures are checked: {error:?}"
    );
}

#[tokio::test]
#[ignore = "needs moto"]
async fn object_store_reads_and_writes_at_moto() {
    let (moto, user) = Moto::start_with_auth();
    let session = moto_session(&moto, &user).await;
    let s3 = session.client_in("us-east-1", aws_sdk_s3::Client::new);
    s3.create_bucket().bucket("reports").send().await.unwrap();
    let store = AmazonS3Builder::new()
        .with_region("us-east-1")
        .with_endpoint(moto.endpoint_url())
        .with_allow_http(true)
        .with_bucket_name("reports")
        .with_credentials(session.object_store_credentials())
        .build()
        .unwrap();
    for round in 0..5 {
        let path = object_store::path::Path::from(format!("round/{round}"));
        store
            .put(&path, PutPayload::from_static(b"a report"))
            .await
            .unwrap();
        assert_eq!(
            store.get(&path).await.unwrap().bytes().await.unwrap(),
            "a report"
        );
        session.refresh().await.unwrap();
    }
    session.close();
    let error = store
        .get(&object_store::path::Path::from("round/0"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("closed"), "{error}");
}
