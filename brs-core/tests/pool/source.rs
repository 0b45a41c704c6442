//! A source that grants so many calls a second, as AWS does, and can be dead.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use brs_core::test_util::ManualClock;
use brs_core::{
    Error, Limiter, PoolBuilder, RefreshContext, RefreshStrategy, SessionPool, TemporaryCredentials,
};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn clock() -> ManualClock {
    ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_900_000_000))
}

/// What all strategies of a test call.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// When it was called, on the monotonic clock.
    calls: Mutex<Vec<Duration>>,
    /// The calls of the last second; how many are granted in one, if not all.
    window: Mutex<VecDeque<Duration>>,
    a_second: Option<usize>,
    pub(crate) throttled: AtomicUsize,
    pub(crate) is_dead: AtomicBool,
    pub(crate) throttles_next: AtomicUsize,
    pub(crate) breaks_next: AtomicUsize,
}

impl Source {
    /// A source that grants so many calls in any second.
    pub(crate) fn granting(a_second: usize) -> Self {
        Self {
            a_second: Some(a_second),
            ..Self::default()
        }
    }

    pub(crate) fn calls(&self) -> Vec<Duration> {
        self.calls.lock().unwrap().clone()
    }

    fn answer(&self, now: Duration) -> Result<(), Error> {
        self.calls.lock().unwrap().push(now);
        let take = |left: &AtomicUsize| {
            left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            })
            .is_ok()
        };
        if self.is_dead.load(Ordering::SeqCst) || take(&self.breaks_next) {
            return Err(Error::connection("the source is dead").retryable());
        }
        let mut window = self.window.lock().unwrap();
        while window
            .front()
            .is_some_and(|at| *at + Duration::from_secs(1) <= now)
        {
            window.pop_front();
        }
        if take(&self.throttles_next) || self.a_second.is_some_and(|most| window.len() >= most) {
            self.throttled.fetch_add(1, Ordering::SeqCst);
            return Err(Error::request("Rate exceeded")
                .with_code("Throttling")
                .throttled());
        }
        window.push_back(now);
        Ok(())
    }
}

/// The strategy of one key.
#[derive(Debug)]
struct Metered {
    source: Arc<Source>,
    key: u32,
}

#[async_trait]
impl RefreshStrategy for Metered {
    fn method(&self) -> &'static str {
        "metered"
    }

    fn source(&self) -> &'static str {
        "metered"
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        if self.key == DENIED {
            return Err(Error::request("access denied").unrecoverable());
        }
        self.source.answer(cx.clock().monotonic())?;
        let number = self.source.calls.lock().unwrap().len();
        Ok(TemporaryCredentials::new(
            format!("ASIA{}X{number}", self.key),
            "secret",
            None,
            Some(cx.clock().now() + HOUR),
        ))
    }
}

/// The key that the source refuses for good.
pub(crate) const DENIED: u32 = 404;

/// Options of a pool on the source, with a limiter that never makes anything wait.
pub(crate) fn builder(source: &Arc<Source>, clock: &ManualClock) -> PoolBuilder<u32> {
    let source = Arc::clone(source);
    let clock = clock.clone();
    SessionPool::with_strategy(move |key: &u32| Metered {
        source: Arc::clone(&source),
        key: *key,
    })
    .options(|session| session.clock(clock))
    .limiter(Limiter::adaptive(100_000, 100_000))
}
