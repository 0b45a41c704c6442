//! Whose failures others are told, and for how long they mind them.

use super::*;
use brs_core::Clock as _;

/// Two processes on one cache: what one of them has written is another process's to the other.
struct Two {
    cache: Cache,
    one: RefreshableSession,
    other: RefreshableSession,
}

impl Two {
    async fn new(one: &Scripted, other: &Scripted) -> Self {
        let cache = Cache::new();
        let (one, other) = (cache.session(one).await, cache.session(other).await);
        Self { cache, one, other }
    }

    /// What the first one says now, which the other one sees as that of a process 1.
    async fn one_fails(&self) {
        self.one.credentials().await.unwrap_err();
        self.seen_by_the_other();
    }

    /// The entry is that of a process 1.
    fn seen_by_the_other(&self) {
        let files = self.cache.files();
        if files
            .iter()
            .any(|path| path.extension().is_some_and(|found| found == "json"))
        {
            let mut entry = self.cache.entry();
            entry["owner"] = "f".repeat(32).into();
            entry["pid"] = 1.into();
            std::fs::write(self.cache.file("json"), entry.to_string()).unwrap();
        }
    }
}

#[tokio::test]
async fn a_process_with_a_fault_of_its_own_keeps_no_other_from_the_source() {
    for fault in [
        Error::configuration("the token file `/run/token` cannot be read: check its permissions"),
        Error::validation("a parameter is wrong: correct it"),
        Error::connection("the proxy does not answer: check it"),
        Error::credential("the answer cannot be read: check the URL"),
        Error::request("the signature is too old: set the clock").with_code("RequestExpired"),
    ] {
        let (broken, healthy) = (Scripted::always(Step::Fail(fault)), hourly());
        let two = Two::new(&broken, &healthy).await;
        two.one_fails().await;
        two.other.credentials().await.unwrap();
        assert_eq!(healthy.calls(), 1);
    }
}

#[tokio::test]
async fn a_process_is_held_once_by_anothers_refusal_and_then_asks_by_itself() {
    let refused = Error::request("denied")
        .unrecoverable()
        .with_code("AccessDenied");
    let (refused, granted) = (Scripted::always(Step::Fail(refused)), hourly());
    let two = Two::new(&refused, &granted).await;
    let mut errors = Vec::new();
    let set = loop {
        two.one_fails().await;
        match two.other.credentials().await {
            Ok(set) => break set,
            Err(error) => errors.push(error),
        }
        two.cache.clock.advance(Duration::from_millis(200));
        assert!(errors.len() < 100, "{:?}", errors.last());
    };
    assert_eq!((errors.len(), granted.calls()), (25, 1), "five seconds");
    let said = errors[0].to_string();
    assert!(said.contains("process 1, which shares"), "{said}");
    // The set is for both.
    two.cache.clock.advance(Duration::from_secs(6));
    assert_eq!(two.one.credentials().await.unwrap(), set);
}

#[tokio::test]
async fn a_refresh_that_a_user_asks_for_is_not_held_by_anothers_refusal() {
    let refused = Error::request("denied")
        .unrecoverable()
        .with_code("AccessDenied");
    let (refused, granted) = (Scripted::always(Step::Fail(refused)), hourly());
    let two = Two::new(&refused, &granted).await;
    let set = two.other.credentials().await.unwrap();
    assert_eq!(two.one.credentials().await.unwrap(), set);
    two.one.refresh().await.unwrap_err();
    two.seen_by_the_other();
    assert_ne!(two.other.refresh().await.unwrap(), set);
}

#[tokio::test]
async fn a_source_that_throttles_is_left_alone_by_all() {
    let throttled = Error::request("slow down").throttled();
    let (throttled, other) = (Scripted::always(Step::Fail(throttled)), hourly());
    let two = Two::new(&throttled, &other).await;
    for _ in 0..100 {
        two.one_fails().await;
        let entry = two.cache.entry();
        let held = entry["failure"]["until"].as_u64().unwrap();
        let error = two.other.credentials().await.unwrap_err();
        assert!(error.is_throttled(), "{error}");
        let now = two.cache.clock.now().duration_since(UNIX_EPOCH).unwrap();
        let left = Duration::from_millis(held).saturating_sub(now);
        two.cache.clock.advance(left / 2);
    }
    assert_eq!(other.calls(), 0);
    two.cache.clock.advance(Duration::from_secs(61));
    two.other.credentials().await.unwrap();
}

/// One flight behind a limiter asks up to ten times.
#[tokio::test(flavor = "multi_thread")]
async fn one_throttled_flight_of_a_pool_holds_others_for_a_second() {
    let cache = Cache::new();
    let script = Scripted::always(Step::Fail(Error::request("slow down").throttled()));
    let (of, path) = (script.clone(), cache.path());
    let pool = brs_core::SessionPool::with_strategy(move |_: &u32| {
        let store = HostCache::in_directory(path.clone());
        Shared::new(Told(of.shared(), Some("x")), store)
    })
    .limiter(brs_core::Limiter::adaptive(100_000, 100_000))
    .build();
    pool.get(&1).unwrap().credentials().await.unwrap_err();
    assert!(script.calls() > 1);
    assert_eq!(cache.entry()["failure"]["count"], 1);
}
