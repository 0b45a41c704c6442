//! The one place that reads the system's clocks.
//!
//! Everything in brs takes time from a [`Clock`]: wall time (what AWS's expirations are written
//! in), monotonic time (which no one can step) and sleeping. Keeping each instant on both is what
//! makes a stepped clock harmless; a manual implementation (`test_util::ManualClock`) is what makes
//! tests exact. The monotonic clock counts suspended time where the system has such a clock:
//! `CLOCK_BOOTTIME` on Linux and Android, `CLOCK_MONOTONIC` on Apple systems; elsewhere it is
//! [`std::time::Instant`].

#![expect(
    clippy::disallowed_methods,
    reason = "this is the file that may read the system's clocks"
)]

use std::any::Any;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;

/// The future of [`Clock::sleep`].
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// A source of time: wall, monotonic, and sleeping.
///
/// Called from any thread, with or without an async runtime, and often: `coarse` at every read of
/// credentials.
pub trait Clock: Any + Debug + Send + Sync {
    /// The wall clock.
    fn now(&self) -> SystemTime;

    /// Time since a fixed, arbitrary point; never goes back. Should count time spent suspended.
    fn monotonic(&self) -> Duration;

    /// Both at once, at millisecond precision, as cheaply as the system can: what every read of
    /// credentials calls.
    fn coarse(&self) -> (SystemTime, Duration) {
        (self.now(), self.monotonic())
    }

    /// Is ready once `duration` has passed. The future must work on any runtime and on none.
    fn sleep(&self, duration: Duration) -> Sleep;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> SystemTime {
        (**self).now()
    }

    fn monotonic(&self) -> Duration {
        (**self).monotonic()
    }

    fn coarse(&self) -> (SystemTime, Duration) {
        (**self).coarse()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        (**self).sleep(duration)
    }
}

/// The system's clocks. Sleeping uses the timer of brs's own runtime, so it works wherever it is
/// awaited.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemClock;

impl SystemClock {
    /// The system's clocks.
    pub fn new() -> Self {
        Self
    }
}

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn monotonic(&self) -> Duration {
        system::monotonic()
    }

    fn coarse(&self) -> (SystemTime, Duration) {
        system::coarse()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        match crate::kit::runtime::keeper() {
            Ok(handle) => Box::pin(Timer(
                handle.spawn(async move { tokio::time::sleep(duration).await }),
            )),
            // Without threads there is no timer: never early is the safe answer, callers have
            // limits of their own.
            Err(_) => Box::pin(std::future::pending()),
        }
    }
}

/// Sleeps on a session's clock, wherever the future is awaited.
///
/// Only the system's clock sleeps where time is kept: what another one does there would hold up
/// everybody's limits. The second value ends the sleep at once; dropping the future only asks for
/// that.
pub(crate) fn sleep_on(
    clock: &Arc<dyn Clock>,
    duration: Duration,
) -> (Sleep, Option<ForeignSleep>) {
    let inner: &dyn Any = &**clock;
    if inner.is::<SystemClock>() {
        return (clock.sleep(duration), None);
    }
    let Ok(clocks) = crate::kit::runtime::clocks() else {
        return (Box::pin(std::future::pending()), None);
    };
    let (foreign, clock) = (ForeignSleep::default(), Arc::clone(clock));
    let polled = foreign.clone();
    let task = clocks.spawn(std::future::poll_fn(move |cx| {
        polled.poll(&clock, duration, cx)
    }));
    (Box::pin(Timer(task)), Some(foreign))
}

/// The sleep of a clock that is not the system's.
#[derive(Clone, Default)]
pub(crate) struct ForeignSleep(Arc<Mutex<Stage>>);

#[derive(Default)]
enum Stage {
    #[default]
    New,
    Sleeping(Sleep),
    Over,
}

impl ForeignSleep {
    fn poll(&self, clock: &Arc<dyn Clock>, duration: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let mut stage = self.lock();
        if let Stage::New = *stage {
            *stage = Stage::Sleeping(clock.sleep(duration));
        }
        let polled = match &mut *stage {
            Stage::Sleeping(sleep) => sleep.as_mut().poll(cx),
            Stage::New | Stage::Over => Poll::Ready(()),
        };
        if polled.is_ready() {
            *stage = Stage::Over;
        }
        polled
    }

    /// Drops the clock's future here and now, unless the clock is just being polled: it may take
    /// its time.
    pub(crate) fn end(&self) {
        if let Ok(mut stage) = self.0.try_lock() {
            *stage = Stage::Over;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Debug for ForeignSleep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ForeignSleep").finish_non_exhaustive()
    }
}

/// A sleep on the keeper's runtime, as a task: a waker of the waiter's that panics ends in there,
/// and not in the timer of everybody.
struct Timer(JoinHandle<()>);

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    //! Linux: coarse clocks cost a quarter of the precise ones, but there is no coarse clock that
    //! counts suspended time. The coarse reading is therefore `CLOCK_MONOTONIC_COARSE` plus the
    //! time suspended so far as the last precise reading found it. Right after a resume it may lag
    //! by that suspension until somebody reads precisely; the wall clock has moved on, and a
    //! refresh is due when either clock has reached its time.

    use rustix::time::{ClockId, Timespec, clock_gettime};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    /// Nanoseconds spent suspended, as last seen. A statistic that guards nothing: relaxed is
    /// enough.
    static SUSPENDED: AtomicU64 = AtomicU64::new(0);

    pub(super) fn monotonic() -> Duration {
        let total = since_zero(clock_gettime(ClockId::Boottime));
        let suspended = total.saturating_sub(since_zero(clock_gettime(ClockId::Monotonic)));
        SUSPENDED.fetch_max(
            u64::try_from(suspended.as_nanos()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
        total
    }

    pub(super) fn coarse() -> (SystemTime, Duration) {
        let wall = UNIX_EPOCH + since_zero(clock_gettime(ClockId::RealtimeCoarse));
        let awake = since_zero(clock_gettime(ClockId::MonotonicCoarse));
        (
            wall,
            awake + Duration::from_nanos(SUSPENDED.load(Ordering::Relaxed)),
        )
    }

    fn since_zero(at: Timespec) -> Duration {
        Duration::new(
            u64::try_from(at.tv_sec).unwrap_or(0),
            u32::try_from(at.tv_nsec).unwrap_or(0),
        )
    }
}

#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
mod system {
    //! Other Unix systems; on Apple's, `CLOCK_MONOTONIC` counts suspended time.

    use rustix::time::{ClockId, clock_gettime};
    use std::time::{Duration, SystemTime};

    pub(super) fn monotonic() -> Duration {
        let at = clock_gettime(ClockId::Monotonic);
        Duration::new(
            u64::try_from(at.tv_sec).unwrap_or(0),
            u32::try_from(at.tv_nsec).unwrap_or(0),
        )
    }

    pub(super) fn coarse() -> (SystemTime, Duration) {
        (SystemTime::now(), monotonic())
    }
}

#[cfg(not(unix))]
mod system {
    //! Elsewhere: the standard library's clocks.

    use std::sync::OnceLock;
    use std::time::{Duration, Instant, SystemTime};

    pub(super) fn monotonic() -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }

    pub(super) fn coarse() -> (SystemTime, Duration) {
        (SystemTime::now(), monotonic())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The coarse clocks tick with the kernel's timer, at worst every 10 ms; a second is far beyond
    /// that.
    const TICK: Duration = Duration::from_secs(1);

    #[test]
    fn coarse_and_precise_readings_agree() {
        let clock = SystemClock::new();
        let (wall, monotonic) = clock.coarse();
        let apart = clock
            .now()
            .duration_since(wall)
            .unwrap_or_else(|error| error.duration());
        assert!(apart < TICK, "{apart:?}");
        let (low, high) = (monotonic.saturating_sub(TICK), monotonic + TICK);
        assert!((low..high).contains(&clock.monotonic()));
    }

    #[test]
    fn a_waker_that_panics_does_not_end_everybodys_time() {
        struct Panics;
        impl std::task::Wake for Panics {
            fn wake(self: Arc<Self>) {
                panic!("as the test wants");
            }
        }
        let clock = SystemClock::new();
        let waker = Arc::new(Panics).into();
        let mut sleep = clock.sleep(Duration::from_millis(1));
        assert!(
            sleep
                .as_mut()
                .poll(&mut std::task::Context::from_waker(&waker))
                .is_pending()
        );
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        for _ in 0..3 {
            runtime.block_on(clock.sleep(Duration::from_millis(5)));
        }
    }

    #[test]
    fn sleeping_needs_no_runtime() {
        futures_util::future::FutureExt::now_or_never(
            SystemClock::new().sleep(Duration::from_secs(3600)),
        );
    }
}
