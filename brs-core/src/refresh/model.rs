//! The engine and its flights under a model-checking scheduler.
//!
//! Built and run with `--cfg brs_model`: shuttle then decides which thread goes on at every lock,
//! spawn and wake, and tries thousands of schedules. A schedule in which a waiter is never answered
//! ends as a deadlock, which shuttle reports with what is needed to replay it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use shuttle::future::block_on;
use shuttle::thread;

use super::backoff::RefreshBackoff;
use super::policy::{AdvisoryRefresh, Policy};
use super::state::Rules;
use super::times::Windows;
use super::{Config, Engine};
use crate::credentials::TemporaryCredentials;
use crate::kit::clock::Clock;
use crate::kit::error::Error;
use crate::method::strategy::{RefreshContext, RefreshStrategy};
use crate::test_util::ManualClock;

/// Schedules for each of the tests below; together more than 10,000.
const SCHEDULES: usize = 3000;

/// Fails at every third call; yields in the middle of each.
#[derive(Debug, Default)]
struct Source {
    calls: AtomicUsize,
    running: AtomicUsize,
}

#[async_trait]
impl RefreshStrategy for Source {
    fn method(&self) -> &'static str {
        "model"
    }

    fn source(&self) -> &'static str {
        "model"
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        assert_eq!(
            self.running.fetch_add(1, Ordering::SeqCst),
            0,
            "two flights at once"
        );
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        shuttle::future::yield_now().await;
        assert_eq!(
            self.running.fetch_sub(1, Ordering::SeqCst),
            1,
            "two flights at once"
        );
        if number % 3 == 0 {
            return Err(Error::connection("every third call fails"));
        }
        let expiration = cx.clock().now() + Duration::from_secs(3600);
        Ok(TemporaryCredentials::new(
            format!("ASIA{number}"),
            format!("secret-{number}"),
            None,
            Some(expiration),
        ))
    }
}

fn engine(
    source: &Arc<Source>,
    clock: &ManualClock,
    advisory_refresh: AdvisoryRefresh,
) -> Arc<Engine> {
    let policy = Policy {
        advisory_refresh,
        static_stability: false,
    };
    let config = Config {
        rules: Rules {
            method: "model",
            is_limited: false,
            policy,
            windows: Windows::default(),
            backoff: RefreshBackoff::Adaptive,
        },
        refresh_timeout: Duration::from_secs(30),
        account_id: None,
        clock: Arc::new(clock.clone()),
        runtime: None,
        limiter: None,
        observer: None,
        seed: Some(7),
    };
    Engine::new(Arc::clone(source) as Arc<dyn RefreshStrategy>, config)
}

fn clock() -> ManualClock {
    ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_900_000_000))
}

/// What a caller got is whole.
fn check(set: &super::CachedSet) {
    let number = set.credentials.access_key_id().trim_start_matches("ASIA");
    assert_eq!(
        set.credentials.secret_access_key(),
        format!("secret-{number}"),
        "a mixed set"
    );
}

/// Each test runs under random schedules and under those of the PCT algorithm, which finds rare
/// orders sooner.
fn explore(test: fn()) {
    shuttle::check_random(test, SCHEDULES);
    shuttle::check_pct(test, SCHEDULES, 3);
}

#[test]
fn model_callers_at_a_cold_start_share_one_flight() {
    explore(|| {
        let (source, clock) = (Arc::new(Source::default()), clock());
        let engine = engine(&source, &clock, AdvisoryRefresh::Background);
        let callers: Vec<_> = (0..4)
            .map(|_| {
                let engine = Arc::clone(&engine);
                thread::spawn(move || {
                    check(&block_on(engine.current()).expect("the first call succeeds"))
                })
            })
            .collect();
        for caller in callers {
            caller.join().unwrap();
        }
        assert_eq!(source.calls.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn model_everybody_is_answered_while_the_clock_moves_and_sets_are_invalidated() {
    for mode in [AdvisoryRefresh::Background, AdvisoryRefresh::Foreground] {
        let test = move || {
            let (source, clock) = (Arc::new(Source::default()), clock());
            let engine = engine(&source, &clock, mode);
            let mut threads: Vec<_> = (0..2)
                .map(|_| {
                    let engine = Arc::clone(&engine);
                    thread::spawn(move || {
                        for _ in 0..3 {
                            if let Ok(set) = block_on(engine.current()) {
                                check(&set);
                            }
                        }
                    })
                })
                .collect();
            let other = Arc::clone(&engine);
            threads.push(thread::spawn(move || {
                for age in [2800, 800, 3000] {
                    clock.advance(Duration::from_secs(age));
                    if let Some(key) = other.status().access_key_id() {
                        other.invalidate(key);
                    }
                    let _ = block_on(other.refresh());
                }
            }));
            for thread in threads {
                thread.join().unwrap();
            }
        };
        shuttle::check_random(test, SCHEDULES);
    }
}

#[test]
fn model_a_caller_that_leaves_cancels_nothing() {
    explore(|| {
        let (source, clock) = (Arc::new(Source::default()), clock());
        let engine = engine(&source, &clock, AdvisoryRefresh::Background);
        let leaving = Arc::clone(&engine);
        let leaves = thread::spawn(move || {
            let first = futures_util::FutureExt::now_or_never(leaving.current());
            assert!(first.is_none_or(|result| result.is_ok()));
        });
        let staying = Arc::clone(&engine);
        let stays = thread::spawn(move || {
            check(&block_on(staying.current()).expect("the first call succeeds"))
        });
        leaves.join().unwrap();
        stays.join().unwrap();
        assert_eq!(source.calls.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn model_closing_answers_who_waits() {
    explore(|| {
        let (source, clock) = (Arc::new(Source::default()), clock());
        let engine = engine(&source, &clock, AdvisoryRefresh::Background);
        let caller = Arc::clone(&engine);
        let waits = thread::spawn(move || block_on(caller.current()).map(|set| check(&set)));
        let closer = Arc::clone(&engine);
        let closes = thread::spawn(move || closer.close());
        let answer = waits.join().unwrap();
        closes.join().unwrap();
        if let Err(error) = answer {
            assert!(error.to_string().contains("closed"), "{error}");
        }
        assert!(
            engine.status().access_key_id().is_none(),
            "no set outlives its session"
        );
    });
}

#[test]
fn model_readers_look_at_the_newest_state() {
    explore(|| {
        let (source, clock) = (Arc::new(Source::default()), clock());
        let engine = engine(&source, &clock, AdvisoryRefresh::Background);
        let key = block_on(engine.current())
            .expect("the first call succeeds")
            .credentials
            .access_key_id()
            .to_owned();
        let (refreshes, invalidates) = (Arc::clone(&engine), Arc::clone(&engine));
        let refreshes = thread::spawn(move || block_on(refreshes.refresh()).is_ok());
        let invalidates = thread::spawn(move || invalidates.invalidate(&key));
        refreshes.join().unwrap();
        invalidates.join().unwrap();
        assert!(
            engine.snapshot_is_current(),
            "an older snapshot was stored over a newer one"
        );
    });
}

#[test]
fn model_the_last_handle_frees_the_engine() {
    explore(|| {
        let (source, clock) = (Arc::new(Source::default()), clock());
        let engine = engine(&source, &clock, AdvisoryRefresh::Background);
        let freed = Arc::downgrade(&engine);
        let caller = Arc::clone(&engine);
        let calls =
            thread::spawn(move || drop(futures_util::FutureExt::now_or_never(caller.current())));
        drop(engine);
        calls.join().unwrap();
        while source.running.load(Ordering::SeqCst) > 0 || freed.strong_count() > 0 {
            thread::yield_now();
        }
    });
}
