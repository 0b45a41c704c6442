//! Thousands of callers in every state of the credentials; calls are counted at the server.

use brs_tests::embedded_aws::Failure;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_callers_at_a_cold_start_cost_one_call() {
    let (aws, clock) = aws();
    let session = session(&aws, &clock).await;
    let hold = aws.hold();
    let callers: Vec<_> = (0..10_000)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move { key(&session).await })
        })
        .collect();
    aws.wait_for_calls("AssumeRole", 1).await;
    hold.release();
    let mut keys = Vec::new();
    for caller in callers {
        keys.push(caller.await.unwrap());
    }
    keys.dedup();
    assert_eq!((keys.len(), aws.calls("AssumeRole")), (1, 1));
}

#[tokio::test]
async fn in_the_advisory_window_every_future_is_ready_and_one_call_is_made() {
    let (aws, clock) = aws();
    let session = session(&aws, &clock).await;
    let first = key(&session).await;
    let hold = aws.hold();
    clock.advance(ADVISORY);
    for _ in 0..10_000 {
        assert_eq!(at_once(&session).unwrap(), first);
    }
    aws.wait_for_calls("AssumeRole", 2).await;
    for _ in 0..10_000 {
        assert_eq!(at_once(&session).unwrap(), first);
    }
    hold.release();
    until_landed(&session).await;
    assert_ne!(at_once(&session).unwrap(), first);
    assert_eq!(aws.calls("AssumeRole"), 2);
}

#[tokio::test]
async fn in_the_mandatory_window_all_callers_wait_for_one_call() {
    let (aws, clock) = aws();
    let session = session(&aws, &clock).await;
    let first = key(&session).await;
    let hold = aws.hold();
    clock.advance(MANDATORY);
    let mut callers: Vec<_> = (0..10_000).map(|_| Box::pin(key(&session))).collect();
    for caller in &mut callers {
        assert!(caller.as_mut().now_or_never().is_none());
    }
    aws.wait_for_calls("AssumeRole", 2).await;
    hold.release();
    for caller in callers {
        assert_ne!(caller.await, first);
    }
    assert_eq!(aws.calls("AssumeRole"), 2);
}

/// Lets 1,000 callers ask in each of 84 steps of ten seconds, the whole advisory window; nobody
/// waits, nobody fails.
async fn an_outage(failure: Failure) -> usize {
    let (aws, clock) = aws();
    let session = session(&aws, &clock).await;
    let first = key(&session).await;
    aws.fail_always(Some(failure.clone()));
    clock.advance(ADVISORY);
    let (mut flying_for, mut aws_calls) = (0, aws.calls("AssumeRole"));
    for _ in 0..84 {
        for _ in 0..1000 {
            assert_eq!(at_once(&session).unwrap(), first, "{failure:?}");
        }
        if !matches!(failure, Failure::Hang) {
            until_landed(&session).await;
        }
        // A flight that hangs lands by the manual clock, after thirty seconds of it, and not before
        // its request is out.
        let flying = session.status().is_refreshing();
        if flying && flying_for == 0 {
            aws.wait_for_calls("AssumeRole", aws_calls + 1).await;
            aws_calls += 1;
        }
        clock.advance(seconds(10));
        flying_for = if flying { flying_for + 10 } else { 0 };
        if flying_for == 30 {
            until_landed(&session).await;
            flying_for = 0;
        }
    }
    if flying_for > 0 {
        clock.advance(seconds(30 - flying_for));
        until_landed(&session).await;
    }
    assert!(
        session.status().consecutive_failures() > 0,
        "{failure:?}: the source did fail"
    );
    aws.fail_always(None);
    clock.advance(seconds(600));
    assert_ne!(
        key(&session).await,
        first,
        "{failure:?}: and once it works again, so does the session"
    );
    aws.calls("AssumeRole") - 2
}

#[tokio::test]
async fn a_source_that_fails_for_the_whole_advisory_window_is_nobodys_error() {
    for failure in [
        Failure::Status(403),
        Failure::Status(500),
        Failure::AccessDenied,
    ] {
        let calls = an_outage(failure.clone()).await;
        assert!(
            (1..=12).contains(&calls),
            "{failure:?}: {calls} calls under 84,000 requests"
        );
    }
}

#[tokio::test]
async fn a_source_that_hangs_for_the_whole_advisory_window_is_nobodys_error() {
    let calls = an_outage(Failure::Hang).await;
    assert!(
        (1..=12).contains(&calls),
        "{calls} calls under 84,000 requests"
    );
}

#[tokio::test]
async fn past_the_end_the_expired_set_is_served_while_sts_is_in_trouble() {
    let (aws, clock) = aws();
    let session = session(&aws, &clock).await;
    let first = key(&session).await;
    aws.fail_always(Some(Failure::Status(503)));
    clock.advance(2 * HOUR);
    assert_eq!(
        key(&session).await,
        first,
        "static stability is on for `sts`"
    );
    aws.fail_always(Some(Failure::AccessDenied));
    clock.advance(seconds(600));
    assert!(
        session.credentials().await.unwrap_err().is_unrecoverable(),
        "but not when a person must act"
    );
}
