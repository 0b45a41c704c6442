//! What sessions share, and what is left when the last handle is gone: nothing.

use std::sync::Arc;

use aws_sdk_sts::Client;
use aws_sdk_sts::error::ProvideErrorMetadata;
use brs::{Event, RefreshableSession};
use brs_tests::embedded_aws::Failure;

use super::*;

#[tokio::test]
async fn sessions_of_one_runtime_share_their_connections_whatever_their_base() {
    let (aws, clock) = aws();
    let shared = hand_made(&aws).build();
    let mut sessions = Vec::new();
    for number in 0..100 {
        let builder = if number % 2 == 0 {
            RefreshableSession::builder("custom", brs::custom::Params::function(keys(&aws)))
                .base(shared.clone())
        } else {
            let params = brs::custom::Params::function(keys(&aws));
            RefreshableSession::builder("custom", params)
                .region("eu-west-1")
                .endpoint_url(aws.endpoint_url())
        };
        let session = builder.clock(clock.clone()).build().await.unwrap();
        session
            .client(Client::new)
            .get_caller_identity()
            .send()
            .await
            .unwrap();
        sessions.push(session);
    }
    assert_eq!(aws.calls("GetCallerIdentity"), 100);
    assert_eq!(
        aws.connections(),
        1,
        "one call after the other needs no second one"
    );
}

/// A source that needs no connection: the user's own keys.
fn keys(
    aws: &EmbeddedAws,
) -> impl Fn() -> std::future::Ready<Result<brs::TemporaryCredentials, Error>> + use<> {
    let keys = aws.credentials();
    move || {
        let (id, secret) = (keys.access_key_id(), keys.secret_access_key());
        std::future::ready(Ok(brs::TemporaryCredentials::new(
            id,
            secret,
            None,
            Some(start() + HOUR),
        )))
    }
}

#[tokio::test]
async fn a_hundred_roles_share_their_connection_to_sts() {
    let (aws, clock) = aws();
    let mut sessions = Vec::new();
    for number in 0..100 {
        let role = Params::new(format!("arn:aws:iam::123456789012:role/number-{number}"));
        let session = with_params(&aws, &clock, role).build().await.unwrap();
        session.credentials().await.unwrap();
        sessions.push(session);
    }
    assert_eq!((aws.calls("AssumeRole"), aws.connections()), (100, 1));
}

#[tokio::test]
async fn dropping_every_handle_frees_engine_strategy_clients_and_connections() {
    let (aws, clock) = aws();
    let held = Arc::new(());
    let (weak, keys) = (Arc::downgrade(&held), aws.credentials());
    let provider = provider_of(move || {
        let _held = &held;
        Some(keys.clone())
    });
    let session = builder(&aws, &clock)
        .base_credentials(provider)
        .build()
        .await
        .unwrap();
    let client = session.client(Client::new);
    let made = Arc::new(());
    let (made_weak, kept) = (Arc::downgrade(&made), Arc::clone(&made));
    session.client_with("kept", move |_| kept);
    drop(made);
    let (config, credentials) = (session.sdk_config().clone(), session.credentials_provider());
    client.get_caller_identity().send().await.unwrap();
    let child = session.as_base();
    assert!(made_weak.upgrade().is_some(), "a session keeps its clients");
    drop(session);
    assert!(made_weak.upgrade().is_none(), "and nobody else does");
    client.get_caller_identity().send().await.unwrap();
    assert!(weak.upgrade().is_some(), "a client keeps the engine");
    drop((client, config, credentials));
    assert!(
        weak.upgrade().is_some(),
        "what stands on the session keeps it, too"
    );
    drop(child);
    // The last of it may be in the hands of a refresh that has just landed, and a connection ends
    // in its own task.
    while weak.upgrade().is_some() || aws.open_connections() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(
        aws.connections() >= 2,
        "one of the strategy's, one of the clients'"
    );
}

#[tokio::test]
async fn on_another_sessions_configuration_each_session_minds_its_own_credentials() {
    let (aws, clock) = aws();
    let below = RefreshableSession::builder("sts", role())
        .base(hand_made(&aws).build())
        .clock(clock.clone())
        .build()
        .await
        .unwrap();
    let above =
        RefreshableSession::builder("sts", Params::new("arn:aws:iam::123456789012:role/above"))
            .base(below.sdk_config().clone())
            .clock(clock.clone())
            .build()
            .await
            .unwrap();
    let mut events = below.events();
    let client = above.client(Client::new);
    client.get_caller_identity().send().await.unwrap();
    clock.advance(seconds(61));

    let (lower, upper) = (key(&below).await, key(&above).await);
    aws.expire(&upper);
    client.get_caller_identity().send().await.unwrap();
    assert_ne!(key(&above).await, upper, "replaced within the call");
    assert_eq!(
        key(&below).await,
        lower,
        "what signed AssumeRole was not rejected"
    );

    // Both at once: the call of the strategy above finds out about the one below.
    let upper = key(&above).await;
    clock.advance(seconds(61));
    aws.expire(&upper);
    aws.expire(&lower);
    client.get_caller_identity().send().await.unwrap();
    assert_ne!(key(&below).await, lower);
    let mut invalidated = 0;
    while let Some(Some(event)) = events.next().now_or_never() {
        invalidated += u32::from(matches!(event, Event::Invalidated { .. }));
    }
    assert_eq!(invalidated, 1);
    assert_eq!(
        aws.calls("AssumeRole"),
        2 + 1 + 3,
        "the last time: once in vain, once for each session"
    );
}

#[tokio::test]
async fn credentials_of_an_operations_own_are_not_the_sessions_business() {
    let (aws, clock) = aws();
    let session = RefreshableSession::builder("sts", role())
        .base(hand_made(&aws).build())
        .clock(clock)
        .build()
        .await
        .unwrap();
    let client = session.client(Client::new);
    let user = aws.add_user("other");
    let expired = Failure::Error {
        status: 403,
        code: "ExpiredToken",
        message: "rejected".into(),
    };
    aws.fail_next_of("GetCallerIdentity", [expired]);
    let other = aws_sdk_sts::config::Builder::default().credentials_provider(user);
    let answer = client
        .get_caller_identity()
        .customize()
        .config_override(other)
        .send()
        .await;
    assert_eq!(
        answer.unwrap_err().code(),
        Some("ExpiredToken"),
        "not tried again: nobody replaces those"
    );
    assert_eq!(aws.calls("GetCallerIdentity"), 1);
}
