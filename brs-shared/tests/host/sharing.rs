//! One set for all, and when it is not.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use brs_core::{Clock, Sleep};

/// A clock on which the waits between two tries for a lock pass at once.
#[derive(Clone, Debug)]
struct Hasty(ManualClock);

impl Clock for Hasty {
    fn now(&self) -> SystemTime {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        if duration <= Duration::from_millis(200) {
            self.0.advance(duration);
        }
        self.0
            .sleep(duration.saturating_sub(Duration::from_millis(200)))
    }
}

#[tokio::test]
async fn the_second_session_makes_no_call() {
    let cache = Cache::new();
    let (first, second) = (hourly(), hourly());
    let one = cache.session(&first).await.credentials().await.unwrap();
    let other = cache.session(&second).await.credentials().await.unwrap();
    assert_eq!((first.calls(), second.calls()), (1, 0));
    assert_eq!(one, other);
}

#[tokio::test]
async fn other_credentials_are_not_shared_and_unknown_ones_never() {
    let cache = Cache::new();
    let scripts = [hourly(), hourly(), hourly(), hourly()];
    for (script, name) in scripts.iter().zip([Some("x"), Some("y"), None, None]) {
        let session = cache.session_at(&cache.path(), script, name).await;
        session.credentials().await.unwrap();
        assert_eq!(script.calls(), 1, "{name:?}");
    }
    // An entry and a lock of each that can be told.
    assert_eq!(cache.files().len(), 4);
}

#[tokio::test]
async fn many_sessions_of_a_process_make_one_call() {
    let cache = Cache::new();
    let script = hourly();
    let mut sessions = Vec::new();
    // With one store nobody polls.
    let store = cache.store();
    for _ in 0..20 {
        sessions.push(cache.session_with(&store, &script).await);
    }
    let asked = sessions.iter().map(RefreshableSession::credentials);
    let sets = futures_util::future::join_all(asked).await;
    let first = sets[0].as_ref().unwrap();
    assert!(sets.iter().all(|set| set.as_ref().unwrap() == first));
    assert_eq!(script.calls(), 1);
}

#[tokio::test]
async fn in_its_advisory_window_one_session_renews_the_set_for_all() {
    let cache = Cache::new();
    let script = hourly();
    let sessions = [cache.session(&script).await, cache.session(&script).await];
    for session in &sessions {
        session.credentials().await.unwrap();
    }
    cache.clock.advance(Duration::from_secs(3300));
    let late = cache.session(&script).await;
    assert_eq!(
        late.credentials().await.unwrap().access_key_id(),
        "ASIASCRIPTED00000002"
    );
    for session in &sessions {
        let set = session.refresh().await.unwrap();
        assert_eq!(set.access_key_id(), "ASIASCRIPTED00000002");
    }
    assert_eq!(script.calls(), 2);
}

#[tokio::test]
async fn a_rejected_set_is_marked_and_replaced() {
    let cache = Cache::new();
    let script = hourly();
    let (one, other) = (cache.session(&script).await, cache.session(&script).await);
    let rejected = one.credentials().await.unwrap();
    other.credentials().await.unwrap();

    // The call fails: the mark stays, and nobody gets the set any more.
    script.otherwise(Step::Fail(Error::connection("no answer")));
    one.invalidate(rejected.access_key_id());
    one.refresh().await.unwrap_err();
    assert_eq!(cache.entry()["set"]["invalidated"], true);
    let late = cache.session(&script).await;
    late.credentials().await.unwrap_err();

    script.otherwise(Step::Fresh(HOUR));
    let new = one.refresh().await.unwrap();
    assert_ne!(new.access_key_id(), rejected.access_key_id());
    // Another session that is told so later has nothing to ask.
    let calls = script.calls();
    other.invalidate(rejected.access_key_id());
    assert_eq!(other.refresh().await.unwrap(), new);
    assert_eq!(script.calls(), calls);
}

#[tokio::test]
async fn a_failed_call_leaves_the_set_which_is_given_until_it_expires() {
    let cache = Cache::new();
    let script = hourly();
    let set = cache.session(&script).await.credentials().await.unwrap();
    script.otherwise(Step::Fail(Error::request("slow down").throttled()));
    cache.clock.advance(Duration::from_secs(3300));

    let late = cache.session(&script).await;
    let mut events = late.events();
    assert_eq!(late.credentials().await.unwrap(), set);
    assert_eq!(warnings(&mut events), ["host_cache_source_failed"]);
    assert_eq!(cache.entry()["failure"]["message"], "slow down");

    cache.clock.advance(Duration::from_secs(300));
    let error = cache.session(&script).await.credentials().await;
    assert_eq!(error.unwrap_err().to_string(), "slow down");
}

#[tokio::test]
async fn a_refresh_that_is_dropped_frees_the_lock() {
    let cache = Cache::new();
    let script = hourly().first([Step::Hang]);
    let store = cache.store();
    let hanging = cache.session_with(&store, &script).await;
    assert!(hanging.credentials().now_or_never().is_none());
    script.called(1).await;
    hanging.close();
    let next = cache.session_with(&store, &script).await;
    next.credentials().await.unwrap();
    assert_eq!(script.calls(), 2);
}

#[tokio::test]
async fn while_one_asks_a_person_the_others_wait_and_say_for_whom() {
    let cache = Cache::new();
    let gate = brs_core::test_util::Gate::new();
    let step = Step::After(gate.clone(), Step::Fresh(HOUR).into());
    let (asks, waits) = (
        Scripted::interactive(step),
        Scripted::interactive(Step::Hang),
    );
    // With one store nobody polls.
    let store = cache.store();
    let session = async |script| cache.session_with(&store, script).await;
    let (one, other) = (session(&asks).await, session(&waits).await);
    let mut events = other.events();
    let mut asking = Box::pin(one.credentials());
    assert!(asking.as_mut().now_or_never().is_none());
    asks.called(1).await;
    let mut waiting = Box::pin(other.credentials());
    assert!(waiting.as_mut().now_or_never().is_none());
    // It has found the lock taken.
    let named = loop {
        match events.next().await.unwrap() {
            Event::Warning { name, message, .. } => break (name, message),
            _ => continue,
        }
    };
    assert_eq!(named.0, "host_cache_waiting");
    assert!(
        named
            .1
            .starts_with(&format!("process {} is asking", std::process::id()))
    );
    gate.open();
    let set = asking.await.unwrap();
    assert_eq!((waiting.await.unwrap(), waits.calls()), (set, 0));
}

#[tokio::test]
async fn a_lock_that_is_not_to_be_had_costs_a_warning() {
    let cache = Cache::new();
    let hasty = Hasty(cache.clock.clone());
    let late_session = async |script| {
        let shared = Shared::new(Told(Scripted::shared(script), Some("x")), cache.store());
        let builder = RefreshableSession::with_strategy(shared);
        builder.clock(hasty.clone()).build().await.unwrap()
    };
    let script = hourly();
    cache.session(&script).await.credentials().await.unwrap();
    let lock = std::fs::File::open(cache.file("lock")).unwrap();
    lock.lock().unwrap();

    // Enough is left: no lock is needed.
    cache.session(&script).await.credentials().await.unwrap();
    assert_eq!(script.calls(), 1);

    // In its window it is still given, ...
    cache.clock.advance(Duration::from_secs(3300));
    let late = late_session(&script).await;
    let mut events = late.events();
    assert!(late.credentials().await.is_ok());
    assert_eq!((script.calls(), warnings(&mut events)), (1, vec![]));

    // ... and then the source is asked without the lock.
    cache.clock.advance(Duration::from_secs(300));
    let late = late_session(&script).await;
    let mut events = late.events();
    assert!(late.credentials().await.is_ok());
    assert_eq!(
        (script.calls(), warnings(&mut events)),
        (2, vec!["host_cache_lock_busy"])
    );
}

/// A strategy that another one asks through than at first, as one with a token's file.
#[derive(Debug)]
struct Changing(Arc<dyn RefreshStrategy>, Arc<AtomicUsize>);

#[async_trait]
impl RefreshStrategy for Changing {
    fn method(&self) -> &'static str {
        self.0.method()
    }

    fn source(&self) -> &'static str {
        self.0.source()
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        self.0.refresh(cx).await
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        Some(Fingerprint::new("changing").with("asker", self.1.load(Ordering::SeqCst)))
    }
}

#[tokio::test]
async fn what_another_subjects_token_gives_is_not_shared_as_the_first_ones() {
    let cache = Cache::new();
    let open = async |script: &Scripted, asker: &Arc<AtomicUsize>| {
        let changing = Changing(script.shared(), Arc::clone(asker));
        let shared = Shared::new(changing, cache.store());
        let builder = RefreshableSession::with_strategy(shared);
        builder.clock(cache.clock.clone()).build().await.unwrap()
    };
    let (asker, steady) = (Arc::new(AtomicUsize::new(1)), Arc::new(AtomicUsize::new(1)));
    let (first, second) = (hourly(), hourly());
    let session = open(&first, &asker).await;
    let set = session.credentials().await.unwrap();
    asker.store(2, Ordering::SeqCst);
    let of_next = session.refresh().await.unwrap();
    assert_eq!(first.calls(), 2);
    let other = open(&second, &steady).await;
    assert_eq!(other.credentials().await.unwrap(), set);
    assert_ne!(set, of_next);
    assert_eq!(second.calls(), 0);
}
