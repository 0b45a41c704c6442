//! A session beneath another one: what it gives, what it never gives, and whose time and errors are
//! whose.

use std::sync::Arc;

use async_trait::async_trait;
use brs_core::test_util::{Scripted, Step};
use brs_core::{
    BaseSession, Error, RefreshContext, RefreshStrategy, RefreshableSession, SessionBuilder,
    TemporaryCredentials,
};

use crate::common::*;

/// Gives what the session beneath gives, under a key of its own.
#[derive(Debug)]
struct Child(BaseSession);

#[async_trait]
impl RefreshStrategy for Child {
    fn method(&self) -> &'static str {
        "child"
    }

    fn source(&self) -> &'static str {
        "child"
    }

    fn role(&self) -> Option<&str> {
        Some("arn:child")
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        let base = self.0.credentials().await?;
        let key = format!("{}-CHILD", base.access_key_id());
        Ok(TemporaryCredentials::new(
            key,
            "s",
            None,
            Some(cx.clock().now() + HOUR),
        ))
    }
}

fn on(parent: &RefreshableSession) -> SessionBuilder {
    RefreshableSession::with_strategy(Arc::new(Child(parent.as_base())))
        .base_session(parent)
        .seed(7)
}

#[tokio::test]
async fn a_child_has_its_parents_clock_and_a_builder_may_be_awaited() {
    let (strategy, clock) = (hourly(), clock());
    let parent = session(&strategy, &clock).await;
    let child = on(&parent).await.unwrap();
    assert_eq!(key(&child).await, format!("{}-CHILD", key_number(1)));
    assert_eq!(child.status().expiration(), Some(start() + HOUR));
    clock.advance(HOUR);
    assert_eq!(key(&child).await, format!("{}-CHILD", key_number(2)));
}

#[tokio::test]
async fn a_childs_time_limit_includes_its_parents() {
    let (strategy, clock) = (hourly(), clock());
    let parent = builder(&strategy, &clock)
        .refresh_timeout(seconds(40))
        .build()
        .await
        .unwrap();
    let child = on(&parent).build().await.unwrap();
    let grandchild = on(&child).build().await.unwrap();
    assert_eq!(
        grandchild.as_base().refresh_timeout(),
        seconds(40 + 30 + 30)
    );
    let bounded = on(&child)
        .refresh_timeout(seconds(5))
        .build()
        .await
        .unwrap();
    assert_eq!(bounded.as_base().refresh_timeout(), seconds(5));
}

#[tokio::test]
async fn an_expired_parent_is_a_recoverable_error_though_it_is_served_to_callers() {
    let strategy =
        Scripted::statically_stable(Step::Fail(dead())).first([Step::Fresh(seconds(600))]);
    let clock = clock();
    let parent = session(&strategy, &clock).await;
    let child = on(&parent).build().await.unwrap();
    key(&parent).await;
    clock.advance(seconds(601));
    assert_eq!(
        key(&parent).await,
        key_number(1),
        "the parent's own callers get the expired set"
    );
    let error = child.credentials().await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("hop `scripted`: the source is dead"),
        "{error}"
    );
    assert!(!error.is_unrecoverable());
    assert_eq!(error.details()["hop"], "`scripted`");
}

#[tokio::test]
async fn the_failing_hop_is_the_one_that_is_named() {
    let (strategy, clock) = (Scripted::always(Step::Fail(denied())), clock());
    let parent = session(&strategy, &clock).await;
    let child = on(&parent).build().await.unwrap();
    let grandchild = on(&child).build().await.unwrap();
    let error = grandchild.credentials().await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("hop `scripted`: access denied"),
        "{error}"
    );
    assert!(error.is_unrecoverable());
    assert_eq!(
        (error.status(), error.method()),
        (Some(403), Some("scripted"))
    );
    assert_eq!(child.as_base().name(), "`child` of role `arn:child`");
}

#[tokio::test]
async fn whoami_tells_every_hop() {
    let (strategy, clock) = (hourly(), clock());
    let parent = session(&strategy, &clock).await;
    let child = on(&parent).build().await.unwrap();
    let grandchild = on(&child).build().await.unwrap();
    let identity = grandchild.whoami().await.unwrap();
    let hops: Vec<_> = identity
        .chain
        .iter()
        .map(|hop| (hop.method.as_str(), hop.access_key_id.clone()))
        .collect();
    assert_eq!(
        hops,
        [
            ("scripted", key_number(1)),
            ("child", format!("{}-CHILD", key_number(1)))
        ]
    );

    strategy.otherwise(Step::Fail(dead()));
    parent.close();
    let identity = grandchild.whoami().await.unwrap();
    assert!(
        identity.chain[0].details["problem"].contains("closed"),
        "{identity:?}"
    );
    assert_eq!(identity.chain[1].method, "child");
}

#[tokio::test]
async fn a_child_keeps_its_parents_engine_alive() {
    let (strategy, clock) = (hourly(), clock());
    let parent = session(&strategy, &clock).await;
    let child = on(&parent).build().await.unwrap();
    drop(parent);
    assert_eq!(key(&child).await, format!("{}-CHILD", key_number(1)));
    let base = child.as_base();
    drop(child);
    assert_eq!(
        base.credentials().await.unwrap().access_key_id(),
        format!("{}-CHILD", key_number(1))
    );
}

#[tokio::test]
async fn a_rejected_base_is_replaced_for_the_next_try() {
    let (strategy, clock) = (hourly(), clock());
    let parent = session(&strategy, &clock).await;
    let base = parent.as_base();
    assert_eq!(
        base.credentials().await.unwrap().access_key_id(),
        key_number(1)
    );
    clock.advance(seconds(120));
    base.report_rejected(&key_number(1));
    assert_eq!(
        base.credentials().await.unwrap().access_key_id(),
        key_number(2)
    );
    base.report_rejected(&key_number(1));
    assert_eq!(
        base.credentials().await.unwrap().access_key_id(),
        key_number(2),
        "replaced already: nothing happens"
    );
}

#[tokio::test]
async fn what_a_session_brings_is_not_given_beside_it() {
    let parent = session(&hourly(), &clock()).await;
    let keys = aws_credential_types::Credentials::new("AKID", "s", None, None, "test");
    for (builder, param) in [
        (on(&parent).base_credentials(keys), "base_credentials"),
        (on(&parent).profile_name("dev"), "profile_name"),
        (
            on(&parent).base(aws_types::SdkConfig::builder().build()),
            "base",
        ),
    ] {
        let error = builder.build().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.param()),
            (brs_core::ErrorKind::Configuration, Some(param))
        );
        assert!(error.to_string().contains("base_session"), "{error}");
    }
}
