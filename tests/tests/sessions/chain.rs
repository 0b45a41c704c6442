//! Sessions on top of sessions: role chains, what is inherited, and whose failure it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use brs::sts::{AssumeExt as _, Params, StsClient, session_token};
use brs::{ErrorKind, RefreshableSession};
use brs_tests::embedded_aws::Failure;

use super::*;

fn role_arn(name: &str) -> String {
    format!("arn:aws:iam::123456789012:role/{name}")
}

/// A role on top of a session, without retries inside the SDK.
fn on(parent: &RefreshableSession, name: &str) -> SessionBuilder {
    parent
        .assume(Params::new(role_arn(name)).client(StsClient::new().max_attempts(1)))
        .seed(7)
}

fn calls_for(aws: &EmbeddedAws, name: &str) -> usize {
    let role = role_arn(name);
    aws.requests()
        .iter()
        .filter(|request| request.parameters.get("RoleArn") == Some(&role))
        .count()
}

#[tokio::test]
async fn a_chain_of_five_works_while_every_hop_expires_at_another_time() {
    let (aws, clock) = aws();
    let names = ["one", "two", "three", "four", "five"];
    let mut hops: Vec<RefreshableSession> = Vec::new();
    for (name, minutes) in names.into_iter().zip([60, 17, 44, 23, 31]) {
        aws.set_lifetime(Some(seconds(minutes * 60)));
        let hop = match hops.last() {
            None => with_params(&aws, &clock, Params::new(role_arn(name)))
                .build()
                .await
                .unwrap(),
            Some(parent) => on(parent, name).await.unwrap(),
        };
        hop.credentials().await.unwrap();
        hops.push(hop);
    }
    // From now on each lives as long as it asks for, an hour: they go on to expire at five
    // different times.
    aws.set_lifetime(None);
    let last = &hops[4];
    for _ in 0..8 * 12 {
        clock.advance(seconds(300));
        let set = last.credentials().await.unwrap();
        assert!(set.expiration().unwrap() > brs::Clock::now(&clock));
        // Asked with the credentials of every hop.
        let who = last.whoami().await.unwrap();
        assert!(
            who.caller
                .as_ref()
                .unwrap()
                .arn
                .ends_with("assumed-role/five/brs-session")
        );
        assert!(
            who.chain.len() == 4 && who.chain.iter().all(|hop| hop.caller.is_some()),
            "{who:#?}"
        );
        // Time is not to pass in the middle of a call.
        for hop in &hops {
            until_landed(hop).await;
        }
    }
    for name in names {
        assert!(
            (8..=12).contains(&calls_for(&aws, name)),
            "{name}: {} calls in eight hours",
            calls_for(&aws, name)
        );
    }
    assert!(
        aws.requests()
            .iter()
            .all(|request| request.status == Some(200)),
        "no call was refused"
    );
}

#[tokio::test]
async fn whoami_tells_the_arn_of_each_hop() {
    let (aws, clock) = aws();
    let hub = with_params(&aws, &clock, Params::new(role_arn("hub")))
        .build()
        .await
        .unwrap();
    let spoke = on(&hub, "spoke").await.unwrap();
    let leaf = on(&spoke, "leaf").await.unwrap();
    let identity = leaf.whoami().await.unwrap();
    let arn = |name: &str| format!("arn:aws:sts::123456789012:assumed-role/{name}/brs-session");
    assert_eq!(identity.caller.unwrap().arn, arn("leaf"));
    let hops: Vec<_> = identity
        .chain
        .into_iter()
        .map(|hop| hop.caller.unwrap().arn)
        .collect();
    assert_eq!(hops, [arn("hub"), arn("spoke")]);
}

#[tokio::test]
async fn region_and_endpoint_are_inherited_and_can_be_overridden() {
    let (aws, clock) = aws();
    let client = StsClient::new()
        .endpoint_url(aws.endpoint_url())
        .region("eu-north-1");
    let parent = RefreshableSession::builder("sts", Params::new(role_arn("hub")).client(client))
        .region("eu-west-1")
        .base_credentials(aws.credentials())
        .clock(clock)
        .build()
        .await
        .unwrap();
    let child = on(&parent, "spoke").await.unwrap();
    child.credentials().await.unwrap();
    assert_eq!(child.sdk_config().region().unwrap().as_ref(), "eu-west-1");
    let regions: Vec<_> = aws
        .requests()
        .iter()
        .map(|request| request.region.clone().unwrap())
        .collect();
    assert_eq!(
        regions,
        ["eu-north-1", "eu-north-1"],
        "the settings of the STS client, too"
    );

    let elsewhere = on(&parent, "far")
        .region("ap-south-1")
        .endpoint_url(aws.endpoint_url())
        .await
        .unwrap();
    elsewhere.credentials().await.unwrap();
    assert_eq!(
        aws.requests().last().unwrap().region.as_deref(),
        Some("ap-south-1")
    );
}

#[tokio::test]
async fn a_parents_revoked_credentials_are_replaced_within_the_childs_refresh() {
    let (aws, clock) = aws();
    let parent = with_params(&aws, &clock, Params::new(role_arn("hub")))
        .build()
        .await
        .unwrap();
    let child = on(&parent, "spoke").await.unwrap();
    let first = key(&parent).await;
    clock.advance(seconds(120));
    aws.expire(&first);
    child.credentials().await.unwrap();
    assert_ne!(key(&parent).await, first);
    assert_eq!((calls_for(&aws, "hub"), calls_for(&aws, "spoke")), (2, 2));
    assert_eq!(child.status().refreshes(), 1);
}

/// A session whose every set of credentials has been revoked by the time it is used.
async fn revoked_at_once(aws: &Arc<EmbeddedAws>, clock: &ManualClock) -> RefreshableSession {
    let hub = with_params(aws, clock, Params::new(role_arn("hub")))
        .build()
        .await
        .unwrap();
    let aws_of_parent = Arc::clone(aws);
    let params = brs::custom::Params::function(move || {
        let (hub, aws) = (hub.clone(), Arc::clone(&aws_of_parent));
        async move {
            let set = hub.refresh().await?;
            aws.expire(set.access_key_id());
            Ok::<_, brs::Error>(set)
        }
    });
    let builder = RefreshableSession::builder("custom", params)
        .region("eu-west-1")
        .endpoint_url(aws.endpoint_url());
    builder.clock(clock.clone()).build().await.unwrap()
}

#[tokio::test]
async fn a_server_that_rejects_every_base_is_no_storm() {
    let (aws, clock) = aws();
    let aws = Arc::new(aws);
    let parent = revoked_at_once(&aws, &clock).await;
    for number in 0..50 {
        let child = on(&parent, &format!("spoke-{number}")).await.unwrap();
        let error = child.credentials().await.unwrap_err();
        assert!(
            !error.is_unrecoverable() && error.code() == Some("ExpiredToken"),
            "{error:?}"
        );
    }
    assert!(
        calls_for(&aws, "hub") <= 3,
        "{} calls",
        calls_for(&aws, "hub")
    );
}

#[tokio::test]
async fn a_child_makes_no_call_with_an_expired_parent() {
    let (aws, clock) = aws();
    let params = Params::new(role_arn("hub")).client(StsClient::new().max_attempts(1));
    let parent = with_params(&aws, &clock, params).build().await.unwrap();
    let child = on(&parent, "spoke").await.unwrap();
    key(&parent).await;
    aws.fail_always(Some(Failure::Status(500)));
    clock.advance(HOUR + seconds(1));
    assert!(
        parent.credentials().await.is_ok(),
        "callers are served the expired set"
    );
    let error = child.credentials().await.unwrap_err();
    assert!(
        !error.is_unrecoverable() && error.status() == Some(500),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .starts_with("hop `sts` of role `arn:aws:iam::123456789012:role/hub`: "),
        "{error}"
    );
    assert_eq!(calls_for(&aws, "spoke"), 0);
}

#[tokio::test]
async fn the_failing_hop_is_named_whichever_it_is() {
    let (aws, clock) = aws();
    let hub = with_params(&aws, &clock, Params::new(role_arn("hub")))
        .build()
        .await
        .unwrap();
    let spoke = on(&hub, "spoke").await.unwrap();
    let leaf = on(&spoke, "leaf").await.unwrap();
    aws.deny_role(&role_arn("spoke"));
    let error = leaf.credentials().await.unwrap_err();
    assert!(error.is_unrecoverable() && error.code() == Some("AccessDenied"));
    assert!(
        error
            .to_string()
            .starts_with("hop `sts` of role `arn:aws:iam::123456789012:role/spoke`: "),
        "{error}"
    );
    let own = spoke.credentials().await.unwrap_err();
    assert!(
        own.to_string()
            .starts_with("role `arn:aws:iam::123456789012:role/spoke` cannot be assumed"),
        "{own}"
    );
}

#[tokio::test]
async fn more_than_an_hour_on_top_of_a_role_is_refused_with_the_reason() {
    let (aws, clock) = aws();
    let two_hours = || Params::new(role_arn("spoke")).duration(2 * HOUR);
    let parent = with_params(&aws, &clock, Params::new(role_arn("hub")))
        .build()
        .await
        .unwrap();
    let error = parent.assume(two_hours()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.param()),
        (ErrorKind::Validation, Some("assume_role.duration"))
    );
    assert!(
        error.to_string().contains("7200") && error.to_string().contains("role/hub"),
        "{error}"
    );
    assert!(aws.requests().is_empty());
    for (seconds, fine) in [(3600, true), (3601, false)] {
        let params = Params::new(role_arn("spoke")).duration(Duration::from_secs(seconds));
        assert_eq!(parent.assume(params).await.is_ok(), fine, "{seconds}");
    }

    // A user's session is no role's.
    let user = RefreshableSession::builder("sts-session-token", session_token::Params::new())
        .region("eu-west-1")
        .endpoint_url(aws.endpoint_url())
        .base_credentials(aws.credentials())
        .clock(clock.clone())
        .await
        .unwrap();
    user.assume(two_hours())
        .await
        .unwrap()
        .credentials()
        .await
        .unwrap();

    // Where nobody knows, AWS's own answer is explained.
    let credentials = parent.credentials_provider();
    let child = with_params(&aws, &clock, two_hours())
        .base_credentials(credentials)
        .build()
        .await
        .unwrap();
    let error = child.credentials().await.unwrap_err();
    assert_eq!(error.code(), Some("ValidationError"));
    assert!(
        error.is_unrecoverable() && error.to_string().contains("an hour at most"),
        "{error}"
    );
}

#[tokio::test]
async fn expired_keys_that_never_change_are_for_a_person_and_a_provider_is_asked_once_more() {
    let (aws, clock) = aws();
    let parent = with_params(&aws, &clock, Params::new(role_arn("hub")))
        .build()
        .await
        .unwrap();
    let set = parent.credentials().await.unwrap();
    let keys = |set: &brs::TemporaryCredentials| {
        Credentials::new(
            set.access_key_id(),
            set.secret_access_key(),
            set.session_token().map(str::to_owned),
            None,
            "test",
        )
    };
    let (old, new) = (keys(&set), keys(&parent.refresh().await.unwrap()));
    aws.expire(set.access_key_id());
    let before = aws.calls("AssumeRole");

    let fixed = with_params(&aws, &clock, role())
        .base_credentials(old.clone())
        .build()
        .await
        .unwrap();
    let error = fixed.credentials().await.unwrap_err();
    assert!(
        error.is_unrecoverable() && error.code() == Some("ExpiredToken"),
        "{error:?}"
    );
    assert_eq!(aws.calls("AssumeRole") - before, 1);

    let asked = Arc::new(AtomicUsize::new(0));
    let provider = {
        let (asked, old) = (Arc::clone(&asked), old.clone());
        provider_of(move || {
            Some(if asked.fetch_add(1, Ordering::SeqCst) == 0 {
                old.clone()
            } else {
                new.clone()
            })
        })
    };
    let session = with_params(&aws, &clock, role())
        .base_credentials(provider)
        .build()
        .await
        .unwrap();
    session.credentials().await.unwrap();
    assert_eq!(
        (
            asked.load(Ordering::SeqCst),
            aws.calls("AssumeRole") - before
        ),
        (2, 3)
    );

    let stale = provider_of(move || Some(old.clone()));
    let session = with_params(&aws, &clock, role())
        .base_credentials(stale)
        .build()
        .await
        .unwrap();
    let error = session.credentials().await.unwrap_err();
    assert!(
        !error.is_unrecoverable() && error.code() == Some("ExpiredToken"),
        "{error:?}"
    );
    assert_eq!(
        aws.calls("AssumeRole") - before,
        5,
        "once more, and no oftener"
    );
}

#[tokio::test]
async fn tags_and_source_identity_go_along_the_chain() {
    let (aws, clock) = aws();
    let hub = Params::new(role_arn("hub"))
        .tag("team", "blue")
        .transitive_tag_keys(["team"])
        .source_identity("alice");
    let hub = with_params(&aws, &clock, hub).build().await.unwrap();
    on(&hub, "spoke")
        .await
        .unwrap()
        .credentials()
        .await
        .unwrap();
    let other = hub
        .assume(Params::new(role_arn("spoke")).tag("Team", "red"))
        .await
        .unwrap();
    let error = other.credentials().await.unwrap_err();
    assert!(
        error.code() == Some("InvalidParameterValue") && error.is_unrecoverable(),
        "{error:?}"
    );
    assert!(!error.to_string().contains("red"), "{error}");
    let other = hub
        .assume(Params::new(role_arn("spoke")).source_identity("bob"))
        .await
        .unwrap();
    assert_eq!(
        other.credentials().await.unwrap_err().code(),
        Some("AccessDenied")
    );
}
