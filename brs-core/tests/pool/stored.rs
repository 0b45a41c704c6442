//! Sets that come from a store beside the source: when they are replaced.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use brs_core::test_util::ManualClock;
use brs_core::{
    Clock as _, Error, RefreshContext, RefreshStrategy, RefreshableSession, TemporaryCredentials,
};
use futures_util::future::join_all;

use crate::outages::until;
use crate::source::*;

/// A store beside a source: everybody gets its set.
#[derive(Debug)]
struct Stored(Arc<Mutex<TemporaryCredentials>>);

#[async_trait::async_trait]
impl RefreshStrategy for Stored {
    fn method(&self) -> &'static str {
        "stored"
    }

    fn source(&self) -> &'static str {
        "stored"
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        cx.source_was_not_asked();
        Ok(self.0.lock().unwrap().clone())
    }
}

impl Stored {
    async fn session(&self, clock: &ManualClock, seed: u64) -> RefreshableSession {
        let session = RefreshableSession::with_strategy(Self(Arc::clone(&self.0)));
        session
            .clock(clock.clone())
            .seed(seed)
            .build()
            .await
            .unwrap()
    }
}

fn set(number: usize, clock: &ManualClock) -> TemporaryCredentials {
    let end = clock.now() + HOUR;
    TemporaryCredentials::new(format!("ASIA{number}"), "hush", None, Some(end))
}

/// From where the first sets of an hour may be replaced, in steps of ten seconds: the step at which
/// each session replaces its set.
async fn replaced(sessions: &[RefreshableSession], clock: &ManualClock) -> Vec<i32> {
    let before: Vec<_> = sessions
        .iter()
        .map(|one| one.status().refreshes())
        .collect();
    let mut steps = vec![None; sessions.len()];
    for step in 0..46 {
        for (number, session) in sessions.iter().enumerate() {
            session.credentials().await.unwrap();
            until(|| !session.status().is_refreshing()).await;
            if session.status().refreshes() > before[number] {
                steps[number].get_or_insert(step);
            }
        }
        clock.advance(seconds(10));
    }
    steps.into_iter().map(Option::unwrap).collect()
}

/// In how many of the steps there is one.
fn different(steps: &[i32]) -> usize {
    steps.iter().collect::<BTreeSet<_>>().len()
}

#[tokio::test]
async fn those_who_share_a_set_replace_it_at_different_times_and_in_the_same_order() {
    let clock = clock();
    let store = Stored(Arc::new(Mutex::new(set(0, &clock))));
    let mut hosts = Vec::new();
    for seed in 0..100 {
        hosts.push(store.session(&clock, seed).await);
    }
    join_all(hosts.iter().map(|host| host.credentials())).await;
    let mut rounds = Vec::new();
    for number in 1..=2 {
        // Less what has passed since the set was there: a round.
        let passed = if number == 1 { 0 } else { 460 };
        clock.advance(seconds(2700 - 451 - passed));
        *store.0.lock().unwrap() = set(number, &clock);
        rounds.push(replaced(&hosts, &clock).await);
    }
    // A tenth of the window is 9 steps, and half of it 45.
    assert!(different(&rounds[0]) > 18, "{rounds:?}");
    let moved = rounds[1][0] - rounds[0][0];
    for (first, second) in rounds[0].iter().zip(&rounds[1]) {
        assert!((second - first - moved).abs() <= 1, "{rounds:?}");
    }
}

#[tokio::test]
async fn sets_that_were_fetched_together_and_shared_are_not_replaced_together() {
    let clock = clock();
    let mut sessions = Vec::new();
    for role in 0..100 {
        let store = Stored(Arc::new(Mutex::new(set(role, &clock))));
        // The same place among those who share.
        sessions.push((store.session(&clock, 7).await, store));
    }
    join_all(sessions.iter().map(|(session, _)| session.credentials())).await;
    clock.advance(seconds(2700 - 451));
    for (role, (_, store)) in sessions.iter().enumerate() {
        *store.0.lock().unwrap() = set(100 + role, &clock);
    }
    let sessions: Vec<_> = sessions.into_iter().map(|(session, _)| session).collect();
    let steps = replaced(&sessions, &clock).await;
    assert!(different(&steps) > 18, "{steps:?}");
}
