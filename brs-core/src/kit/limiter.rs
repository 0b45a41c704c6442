//! The rate at which a source is called: a token bucket that adapts to the source's throttling.
//!
//! Sessions that share a limiter line up in it before they line up for a turn (`turns`). Calls that
//! somebody waits for come before those no caller waits for, each in the order in which they lined
//! up. When the source throttles, the rate is halved and then grows back by one call a second each
//! second.
//!
//! Invariants:
//!
//! 1. In any span of time `t` at most `burst + rate × t` permits are given, `rate` being the
//!    configured one.
//! 2. A permit goes to the first in line; one whose call has left goes to the next.
//! 3. Calls that were under way when the rate was halved do not halve it again.
//! 4. The clock and wakers are foreign: they run without the lock, and never where time is kept.
//! 5. A forked child begins with a full bucket and an empty line.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::kit::clock::Clock;
use crate::kit::per_process::PerProcess;
use crate::kit::runtime;
use crate::kit::turns::{Place, Wanted};

/// The default rate, in calls a second. AWS's quota on AssumeRole is 600 a second for an account
/// and region, which other programs need too.
pub(crate) const DEFAULT_RATE: u32 = 50;
/// The default burst.
pub(crate) const DEFAULT_BURST: u32 = 100;
/// The lowest rate, in calls a second.
const FLOOR: f64 = 1.0;
/// By how much the rate grows each second, in calls a second.
const GROWTH: f64 = 1.0;

/// A limit on the rate at which a source is called, shared by all sessions that have it.
///
/// A token bucket: `burst` calls at once, then `per_second` calls a second. When the source
/// throttles a call the rate is halved, down to one call a second, and then grows by one call a
/// second each second until it is what was configured. Waiting for a permit is not part of a
/// refresh's time limit.
///
/// Clones share the limit. Share one between pools whose sessions call the same endpoint with
/// credentials of the same account: AWS counts calls by account and region.
#[derive(Clone)]
pub struct Limiter(Arc<Shared>);

struct Shared {
    rate: f64,
    burst: f64,
    state: PerProcess<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    bucket: Option<Bucket>,
    waiting: BTreeMap<(Wanted, u64), oneshot::Sender<Granted>>,
    numbers: u64,
    /// Whether a task hands out permits.
    is_driven: bool,
    /// Until when that task sleeps.
    handed_out_until: Duration,
    throttled: u64,
    granted: u64,
    recent: Recent,
}

/// How many calls there are in a second: an average that forgets.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    calls: f64,
    at: Duration,
}

impl Recent {
    /// Over how many seconds the average is taken.
    const SECONDS: f64 = 10.0;

    fn at(self, now: Duration) -> f64 {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.calls * (-passed / Self::SECONDS).exp()
    }

    fn count(&mut self, now: Duration) {
        self.calls = self.at(now) + 1.0;
        self.at = self.at.max(now);
    }
}

/// A permit to call the source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Granted {
    /// When, on the monotonic clock.
    pub(crate) at: Duration,
}

/// What a [`Limiter`] does at the moment.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LimiterStatus {
    /// The rate in force, in calls a second.
    pub calls_per_second: f64,
    /// Refreshes in line that callers wait for.
    pub awaited: usize,
    /// Refreshes in line that no caller waits for.
    pub unattended: usize,
    /// Permits given so far.
    pub calls: u64,
    /// How many of them the source throttled.
    pub throttled: u64,
}

impl Limiter {
    /// At most `burst` calls at once, and `per_second` calls a second; zero counts as one.
    pub fn adaptive(per_second: u32, burst: u32) -> Self {
        Self(Arc::new(Shared {
            rate: f64::from(per_second.max(1)),
            burst: f64::from(burst.max(1)),
            state: PerProcess::new(),
        }))
    }

    /// What the limiter does at the moment, as of the last permit.
    pub fn status(&self) -> LimiterStatus {
        let state = self.0.state.get();
        let state = lock(&state);
        let awaited = state
            .waiting
            .keys()
            .filter(|(wanted, _)| *wanted != Wanted::Unattended)
            .count();
        LimiterStatus {
            calls_per_second: state
                .bucket
                .as_ref()
                .map_or(self.0.rate, |bucket| bucket.rate),
            awaited,
            unattended: state.waiting.len() - awaited,
            calls: state.granted,
            throttled: state.throttled,
        }
    }

    /// Whether nothing happens in line until time goes on.
    #[cfg(feature = "test-util")]
    pub(crate) fn is_at_rest(&self, now: Duration) -> bool {
        let state = self.0.state.get();
        let state = lock(&state);
        state.waiting.is_empty() || now < state.handed_out_until
    }

    /// Permits in a second, on average over the last ten.
    pub(crate) fn recent_rate(&self, clock: &Arc<dyn Clock>) -> f64 {
        let now = clock.monotonic();
        lock(&self.0.state.get()).recent.at(now) / Recent::SECONDS
    }

    /// Lines up for a permit.
    pub(crate) fn line_up(&self, place: &Arc<Place>, clock: &Arc<dyn Clock>) -> Permit {
        place.line_up_in(self);
        let now = clock.monotonic();
        let (sender, receiver) = oneshot::channel();
        let state = self.0.state.get();
        let mut locked = lock(&state);
        let is_first = locked.waiting.is_empty();
        if is_first && self.0.bucket(&mut locked.bucket, now).take() {
            locked.granted += 1;
            locked.recent.count(now);
            return Permit {
                limiter: self.clone(),
                place: Arc::clone(place),
                granted: Some(Granted { at: now }),
                receiver,
            };
        }
        locked.numbers += 1;
        let number = locked.numbers;
        place.set_permit_number(number);
        locked.waiting.insert((place.wanted(), number), sender);
        let is_driven = std::mem::replace(&mut locked.is_driven, true);
        drop(locked);
        if !is_driven {
            self.drive(&state, Arc::clone(clock));
        }
        Permit {
            limiter: self.clone(),
            place: Arc::clone(place),
            granted: None,
            receiver,
        }
    }

    /// Somebody waits for the call: it moves up.
    pub(crate) fn move_up(&self, place: &Place) {
        let state = self.0.state.get();
        let mut state = lock(&state);
        let (number, wanted) = (place.permit_number(), place.wanted());
        let sender = [Wanted::Awaited, Wanted::Unattended]
            .into_iter()
            .find_map(|before| state.waiting.remove(&(before, number)));
        if let Some(sender) = sender {
            state.waiting.insert((wanted, number), sender);
        }
    }

    /// The source has throttled a call. Gives the new rate, if this slows the calls down.
    pub(crate) fn throttled(&self, granted: Granted, now: Duration) -> Option<f64> {
        let state = self.0.state.get();
        let mut state = lock(&state);
        state.throttled += 1;
        let bucket = self.0.bucket(&mut state.bucket, now);
        bucket.slow_down(granted, now).then_some(bucket.rate)
    }

    /// Hands out permits for as long as somebody waits for one.
    fn drive(&self, state: &Arc<Mutex<State>>, clock: Arc<dyn Clock>) {
        let limiter = self.clone();
        let driven = Driven(Arc::clone(state));
        match runtime::own() {
            Ok(own) => drop(own.spawn(async move {
                let driven = driven;
                while let Some(wait) = limiter.hand_out(&driven.0, clock.monotonic()) {
                    clock.sleep(wait).await;
                }
            })),
            // Without threads there is nobody to wait: the calls will fail for the same reason.
            Err(_) => {
                let waiting = std::mem::take(&mut lock(state).waiting);
                drop(waiting);
            }
        }
    }

    /// Gives what permits there are; returns how long the next one takes, if somebody waits for it.
    fn hand_out(&self, state: &Mutex<State>, now: Duration) -> Option<Duration> {
        loop {
            let (next, wait) = {
                let mut state = lock(state);
                let is_wanted = !state.waiting.is_empty();
                let bucket = self.0.bucket(&mut state.bucket, now);
                let is_there = is_wanted && bucket.take();
                let wait = bucket.until_next();
                let next = is_there.then(|| state.waiting.pop_first()).flatten();
                if next.is_some() {
                    state.granted += 1;
                    state.recent.count(now);
                }
                state.is_driven = next.is_some() || !state.waiting.is_empty();
                if next.is_none() {
                    state.handed_out_until = now.saturating_add(wait);
                }
                (next, state.is_driven.then_some(wait))
            };
            let Some((_, sender)) = next else { return wait };
            // Without the lock: it wakes.
            if sender.send(Granted { at: now }).is_err() {
                let mut state = lock(state);
                state.granted -= 1;
                if let Some(bucket) = &mut state.bucket {
                    bucket.give_back();
                }
            }
        }
    }
}

/// Marks the line as not driven when its task ends by any way: a clock of the user's may panic.
struct Driven(Arc<Mutex<State>>);

impl Drop for Driven {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let waiting = {
                let mut state = lock(&self.0);
                state.is_driven = false;
                std::mem::take(&mut state.waiting)
            };
            // Those in line go on without a permit.
            drop(waiting);
        }
    }
}

impl Shared {
    /// The bucket as it is now.
    fn bucket<'a>(&self, bucket: &'a mut Option<Bucket>, now: Duration) -> &'a mut Bucket {
        let bucket = bucket.get_or_insert_with(|| Bucket::full(self.rate, self.burst, now));
        bucket.fill(now);
        bucket
    }
}

/// The bucket of tokens. Pure: instants are given to it.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    tokens: f64,
    burst: f64,
    /// In force, and configured.
    rate: f64,
    most: f64,
    filled_at: Duration,
    slowed_at: Option<Duration>,
}

impl Bucket {
    pub(crate) fn full(rate: f64, burst: f64, now: Duration) -> Self {
        Self {
            tokens: burst,
            burst,
            rate,
            most: rate,
            filled_at: now,
            slowed_at: None,
        }
    }

    /// Adds what has come together since.
    pub(crate) fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.filled_at).as_secs_f64();
        self.filled_at = self.filled_at.max(now);
        // The rate grows, and then stays what was configured.
        let growing = passed.min((self.most - self.rate) / GROWTH);
        self.tokens += self.rate * growing + GROWTH * growing * growing / 2.0;
        self.rate = (self.rate + GROWTH * growing).min(self.most);
        self.tokens = (self.tokens + self.most * (passed - growing)).min(self.burst);
    }

    pub(crate) fn take(&mut self) -> bool {
        let there = self.tokens >= 1.0;
        if there {
            self.tokens -= 1.0;
        }
        there
    }

    fn give_back(&mut self) {
        self.tokens = (self.tokens + 1.0).min(self.burst);
    }

    /// How long until the next token, at the latest.
    pub(crate) fn until_next(&self) -> Duration {
        Duration::from_secs_f64(((1.0 - self.tokens) / self.rate).max(0.0))
            .max(Duration::from_millis(1))
    }

    /// The source has throttled a call; says whether that halves the rate.
    pub(crate) fn slow_down(&mut self, granted: Granted, now: Duration) -> bool {
        // What was under way then says nothing about the rate since.
        if self.slowed_at.is_some_and(|slowed| granted.at <= slowed) {
            return false;
        }
        self.rate = (self.rate / 2.0).max(FLOOR.min(self.most));
        self.tokens = self.tokens.min(0.0);
        self.slowed_at = Some(now);
        true
    }
}

/// A permit that a call has.
#[derive(Debug)]
pub(crate) struct Used {
    limiter: Limiter,
    granted: Granted,
    was_given_back: AtomicBool,
}

impl Used {
    pub(crate) fn new((limiter, granted): (Limiter, Granted)) -> Arc<Self> {
        Arc::new(Self {
            limiter,
            granted,
            was_given_back: AtomicBool::new(false),
        })
    }

    /// The source was not called.
    pub(crate) fn give_back(&self) {
        if self.was_given_back.swap(true, Ordering::Relaxed) {
            return;
        }
        let state = self.limiter.0.state.get();
        let mut state = lock(&state);
        state.granted = state.granted.saturating_sub(1);
        if let Some(bucket) = &mut state.bucket {
            bucket.give_back();
        }
    }

    /// The source has throttled the call. Gives the new rate, if this slows the calls down.
    pub(crate) fn throttled(&self, now: Duration) -> Option<f64> {
        if self.was_given_back.load(Ordering::Relaxed) {
            return None;
        }
        self.limiter.throttled(self.granted, now)
    }
}

/// Is ready when its holder may call the source; leaves the line when it is dropped.
pub(crate) struct Permit {
    limiter: Limiter,
    place: Arc<Place>,
    /// It came at once.
    granted: Option<Granted>,
    receiver: oneshot::Receiver<Granted>,
}

impl Future for Permit {
    /// `None`: nobody hands out permits.
    type Output = Option<Granted>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Granted>> {
        if let Some(granted) = self.granted.take() {
            return Poll::Ready(Some(granted));
        }
        Pin::new(&mut self.receiver).poll(cx).map(Result::ok)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let left = {
            let state = self.limiter.0.state.get();
            let mut state = lock(&state);
            let number = self.place.take_permit_number();
            [Wanted::Within, Wanted::Awaited, Wanted::Unattended]
                .into_iter()
                .find_map(|wanted| state.waiting.remove(&(wanted, number)))
        };
        drop(left);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter")
            .field("per_second", &self.0.rate)
            .field("burst", &self.0.burst)
            .finish_non_exhaustive()
    }
}

impl Default for Limiter {
    /// 50 calls a second, 100 at once.
    fn default() -> Self {
        Self::adaptive(DEFAULT_RATE, DEFAULT_BURST)
    }
}

#[cfg(all(test, feature = "test-util", not(brs_model)))]
mod tests {
    use std::time::UNIX_EPOCH;

    use futures_util::FutureExt;

    use super::*;
    use crate::test_util::ManualClock;

    fn seconds(n: f64) -> Duration {
        Duration::from_secs_f64(n)
    }

    fn taken(bucket: &mut Bucket, now: Duration) -> usize {
        bucket.fill(now);
        std::iter::repeat_with(|| bucket.take())
            .take_while(|taken| *taken)
            .count()
    }

    #[test]
    fn a_burst_then_the_rate() {
        let mut bucket = Bucket::full(50.0, 100.0, seconds(7.0));
        assert_eq!(taken(&mut bucket, seconds(7.0)), 100);
        assert_eq!(taken(&mut bucket, seconds(8.0)), 50);
        assert_eq!(taken(&mut bucket, seconds(1008.0)), 100);
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_gives_nothing() {
        let mut bucket = Bucket::full(50.0, 1.0, seconds(7.0));
        assert_eq!(taken(&mut bucket, seconds(7.0)), 1);
        assert_eq!(taken(&mut bucket, seconds(3.0)), 0);
        assert_eq!(taken(&mut bucket, seconds(7.01)), 0);
        assert_eq!(taken(&mut bucket, seconds(7.02)), 1);
    }

    #[test]
    fn throttling_halves_the_rate_which_grows_back_by_one_each_second() {
        let mut bucket = Bucket::full(50.0, 1000.0, seconds(0.0));
        let granted = Granted { at: seconds(0.5) };
        assert!(bucket.slow_down(granted, seconds(1.0)));
        assert_eq!((bucket.rate, bucket.tokens), (25.0, 0.0));
        assert!(
            !bucket.slow_down(granted, seconds(1.1)),
            "it was under way when the rate was halved"
        );
        // 25 and 26 in the first two seconds, on average.
        bucket.filled_at = seconds(1.0);
        assert_eq!(taken(&mut bucket, seconds(3.0)), 52);
        assert_eq!(bucket.rate, 27.0);
        bucket.fill(seconds(1000.0));
        assert_eq!(bucket.rate, 50.0);
    }

    #[test]
    fn the_rate_never_falls_below_one_a_second() {
        let mut bucket = Bucket::full(50.0, 100.0, seconds(0.0));
        for n in 1..20 {
            let at = Duration::from_millis(n);
            assert!(bucket.slow_down(Granted { at }, at));
        }
        assert_eq!(bucket.rate, 1.0);
    }

    fn place(wanted: Wanted) -> Arc<Place> {
        let place = Arc::new(Place::default());
        if wanted != Wanted::Unattended {
            place.wait_for("limiter-test");
        }
        place
    }

    /// Lets the driver of the line run until it sleeps.
    async fn settle(clock: &ManualClock) {
        clock.sleepers(1).await;
    }

    #[tokio::test]
    async fn awaited_calls_come_before_unattended_ones_and_a_call_moves_up() {
        let manual = ManualClock::new(UNIX_EPOCH);
        let clock: Arc<dyn Clock> = Arc::new(manual.clone());
        let limiter = Limiter::adaptive(1, 1);
        let mut first = limiter.line_up(&place(Wanted::Unattended), &clock);
        assert!((&mut first).now_or_never().is_some());
        let moved = place(Wanted::Unattended);
        let mut permits = [
            (
                "unattended",
                limiter.line_up(&place(Wanted::Unattended), &clock),
            ),
            ("moved", limiter.line_up(&moved, &clock)),
            ("awaited", limiter.line_up(&place(Wanted::Awaited), &clock)),
        ];
        moved.wait_for("limiter-test");
        assert_eq!(
            (limiter.status().awaited, limiter.status().unattended),
            (2, 1)
        );
        let mut order = Vec::new();
        for _ in 0..3 {
            settle(&manual).await;
            manual.advance(Duration::from_secs(1));
            settle_or_done(&manual, &limiter).await;
            for (name, permit) in &mut permits {
                if !order.contains(name) && permit.now_or_never().is_some() {
                    order.push(*name);
                }
            }
        }
        assert_eq!(order, ["moved", "awaited", "unattended"]);
        assert_eq!(limiter.status().calls, 4);
    }

    async fn settle_or_done(clock: &ManualClock, limiter: &Limiter) {
        let is_empty = || {
            let status = limiter.status();
            status.awaited + status.unattended == 0
        };
        while !is_empty() && clock.sleeping() == 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_call_that_leaves_the_line_takes_no_permit() {
        let manual = ManualClock::new(UNIX_EPOCH);
        let clock: Arc<dyn Clock> = Arc::new(manual.clone());
        let limiter = Limiter::adaptive(1, 1);
        let mut first = limiter.line_up(&place(Wanted::Awaited), &clock);
        assert!((&mut first).now_or_never().is_some());
        let leaves = limiter.line_up(&place(Wanted::Awaited), &clock);
        let stays = limiter.line_up(&place(Wanted::Awaited), &clock);
        drop(leaves);
        settle(&manual).await;
        manual.advance(Duration::from_secs(1));
        assert!(stays.await.is_some());
        assert_eq!(limiter.status().calls, 2);
    }
}
