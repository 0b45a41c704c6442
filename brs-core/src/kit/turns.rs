//! The limit on calls to the source: so many of one method are in flight in a process, the others
//! wait their turn.
//!
//! Thousands of sessions that become due together would otherwise use up the process's descriptors
//! and threads, and their source's patience. A call begins when it has its [`Turn`], and its time
//! limit counts from then.
//!
//! Invariants:
//!
//! 1. Of one method at most [`limit`] counted turns exist at a time. A turn ends with its flight,
//!    unless code of the call still occupies a thread; then when the last holder drops it: the
//!    call's future, and each thread that synchronous code of the call runs on.
//! 2. A turn that ends goes to the first in line: calls that somebody waits for come before those
//!    no caller waits for, each in the order in which they lined up.
//! 3. A call within a call (a session that stands on another one, of the same method perhaps)
//!    begins at once and is not counted: if it waited for the turn of the call that waits for it,
//!    neither would end.
//! 4. No foreign code runs under the lock, and it is never held across an await.
//! 5. A forked child begins with nothing in flight and an empty line.
//!
//! Each method has a line of its own: one that hangs keeps no other waiting.

use std::collections::BTreeMap;
use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use once_cell::race::{OnceBox, OnceNonZeroUsize};
use tokio::sync::oneshot;

use crate::kit::error::Error;
use crate::kit::limiter::Limiter;
use crate::kit::per_process::PerProcess;

/// Calls of one method in flight at a time, unless the program says otherwise: tried with 2,000 STS
/// sessions under the usual 1,024 descriptors, which then use 86 of them.
const DEFAULT_LIMIT: NonZeroUsize = NonZeroUsize::new(64).unwrap();

static LIMIT: OnceNonZeroUsize = OnceNonZeroUsize::new();
static LINES: PerProcess<Mutex<Lines>> = PerProcess::new();

tokio::task_local! {
    /// The turn of the call that the running code belongs to.
    static CURRENT: Arc<Turn>;
}

/// Sets how many refreshes of one method may run at a time in this process. Default: 64.
///
/// The others wait their turn, those with waiting callers first, and a refresh's time limit counts
/// from its turn. More refreshes at a time need more descriptors (about one a refresh for `sts` and
/// `iot`) and, with synchronous functions, a thread each. Fewer are gentler to a source that limits
/// its rate, and a fleet of sessions takes longer to refresh.
///
/// # Errors
///
/// A configuration error if a refresh has begun already, or if another limit has been set.
pub fn limit_concurrent_refreshes(per_method: NonZeroUsize) -> Result<(), Error> {
    let set = LIMIT.set(per_method);
    if set.is_ok() || LIMIT.get() == Some(per_method) {
        return Ok(());
    }
    Err(Error::configuration(format!(
        "the limit on concurrent refreshes is {} already: set it once, before the first refresh",
        limit()
    ))
    .with_param("limit_concurrent_refreshes"))
}

/// The limit in force; from the first look on it stays.
pub(crate) fn limit() -> usize {
    LIMIT.get_or_init(|| DEFAULT_LIMIT).get()
}

/// How much a call that has no turn yet is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wanted {
    /// A call that is in flight waits for it.
    Within,
    /// A caller waits for it.
    Awaited,
    #[default]
    Unattended,
}

/// All lines of this process.
#[derive(Debug, Default)]
struct Lines {
    methods: BTreeMap<&'static str, Line>,
    /// Numbers given out so far; 0 is none.
    numbers: u64,
}

#[derive(Debug, Default)]
struct Line {
    /// Counted turns.
    in_flight: usize,
    /// All turns, to tell what their code does.
    turns: Vec<Weak<Turn>>,
    waiting: BTreeMap<(Wanted, u64), oneshot::Sender<Arc<Turn>>>,
    answers: u64,
}

fn lines<R>(look: impl FnOnce(&mut Lines) -> R) -> R {
    let lines = LINES.get();
    let mut lines: MutexGuard<'_, Lines> = lines.lock().unwrap_or_else(PoisonError::into_inner);
    look(&mut lines)
}

/// The source has answered a call of the method, if only to refuse: those in line go on waiting.
pub(crate) fn answered(method: &'static str) {
    lines(|lines| lines.methods.entry(method).or_default().answers += 1);
}

/// How many calls of the method have been answered in this process.
pub(crate) fn answers(method: &'static str) -> u64 {
    lines(|lines| lines.methods.get(method).map_or(0, |line| line.answers))
}

/// The right to call the source.
#[derive(Debug)]
pub(crate) struct Turn {
    method: &'static str,
    is_counted: bool,
    /// Whose lines it is counted in: a turn that a fork copied is none of the child's.
    lines: Weak<Mutex<Lines>>,
    /// Whether a thread is inside the call's future.
    is_polled: AtomicBool,
    /// How many threads of its own synchronous code of the call runs on.
    threads: AtomicUsize,
    was_given_back: AtomicBool,
}

impl Turn {
    fn new(method: &'static str, is_counted: bool) -> Arc<Self> {
        Arc::new(Self {
            method,
            is_counted,
            lines: Arc::downgrade(&LINES.get()),
            is_polled: AtomicBool::new(false),
            threads: AtomicUsize::new(0),
            was_given_back: AtomicBool::new(false),
        })
    }

    /// A turn beside the others, for a call that must not wait for one.
    pub(crate) fn uncounted(method: &'static str) -> Arc<Self> {
        lines(|lines| {
            lines
                .methods
                .entry(method)
                .or_default()
                .begin(method, false)
        })
    }

    /// The turn of the call that the running code belongs to.
    pub(crate) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Runs a call in its turn.
    pub(crate) async fn run<F: Future>(self: Arc<Self>, call: F) -> F::Output {
        let mut call = std::pin::pin!(CURRENT.scope(Arc::clone(&self), call));
        std::future::poll_fn(|cx| {
            self.is_polled.store(true, Ordering::Relaxed);
            let leave = Leave(&self.is_polled);
            let polled = call.as_mut().poll(cx);
            drop(leave);
            polled
        })
        .await
    }

    /// Runs synchronous code of a call, on a thread of its own.
    pub(crate) fn run_blocking<R>(self: Arc<Self>, code: impl FnOnce() -> R) -> R {
        self.threads.fetch_add(1, Ordering::Relaxed);
        let _return = Return(&self.threads);
        CURRENT.sync_scope(Arc::clone(&self), code)
    }

    /// Whether code runs that cannot be ended: it has to be waited for.
    pub(crate) fn is_blocked(&self) -> bool {
        self.is_polled.load(Ordering::Relaxed) || self.threads.load(Ordering::Relaxed) > 0
    }
}

/// Counts a thread that has returned, by whatever way.
struct Return<'a>(&'a AtomicUsize);

impl Drop for Return<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Leaves a poll, by whatever way it ends.
struct Leave<'a>(&'a AtomicBool);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Turn {
    /// Gives the turn to the next in line, once. A call that only waits is over when its flight is,
    /// even if its future is never dropped.
    pub(crate) fn give_back(&self) {
        let Some(lines) = self.lines.upgrade() else {
            return;
        };
        // A fork has copied this one: it ends in the parent.
        if self.was_given_back.swap(true, Ordering::AcqRel) || !Arc::ptr_eq(&lines, &LINES.get()) {
            return;
        }
        let mut is_over = self.is_counted;
        loop {
            let next = self::lines(|lines| {
                let line = lines.methods.entry(self.method).or_default();
                line.in_flight -= usize::from(std::mem::take(&mut is_over));
                line.turns.retain(|turn| turn.strong_count() > 0);
                line.next(self.method)
            });
            let Some((first, turn)) = next else { return };
            match first.send(turn) {
                Ok(()) => return,
                // It has just left the line; dropped as it is, its turn would come here again, and
                // again.
                Err(turn) => {
                    is_over = !turn.was_given_back.swap(true, Ordering::AcqRel) && turn.is_counted
                }
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Line {
    /// The next in line with its turn, if there is room for one.
    fn next(&mut self, method: &'static str) -> Option<(oneshot::Sender<Arc<Turn>>, Arc<Turn>)> {
        if self.in_flight >= limit() {
            return None;
        }
        let (_, first) = self.waiting.pop_first()?;
        Some((first, self.begin(method, true)))
    }

    fn begin(&mut self, method: &'static str, is_counted: bool) -> Arc<Turn> {
        let turn = Turn::new(method, is_counted);
        self.in_flight += usize::from(is_counted);
        self.turns.push(Arc::downgrade(&turn));
        turn
    }
}

/// A call's place in line, and how much it is wanted; with the flight from its start to its end.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// 0: not in line, not yet or no longer. Changed under the lock of the lines, as `wanted` is.
    number: AtomicU64,
    wanted: Mutex<Wanted>,
    /// The line before that one, if there is one; set once, before the place is in it.
    limiter: OnceBox<Limiter>,
    /// The number in the limiter's line; changed under its lock.
    permit_number: AtomicU64,
}

impl Place {
    /// Somebody waits for the call: it moves up.
    pub(crate) fn wait_for(&self, method: &'static str) {
        let wanted = if CURRENT.try_with(|_| ()).is_ok() {
            Wanted::Within
        } else {
            Wanted::Awaited
        };
        let moved = lines(|lines| {
            let mut known = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
            if *known <= wanted {
                return None;
            }
            let before = std::mem::replace(&mut *known, wanted);
            let line = lines.methods.entry(method).or_default();
            let number = self.number.load(Ordering::Relaxed);
            let waiter = line.waiting.remove(&(before, number))?;
            if wanted == Wanted::Within {
                return Some((waiter, line.begin(method, false)));
            }
            line.waiting.insert((wanted, number), waiter);
            None
        });
        if let Some((waiter, turn)) = moved {
            // Has it left, its turn is not counted and can just be dropped.
            let _ = waiter.send(turn);
        }
        // A call that lines up from now on sees how much it is wanted.
        if let Some(limiter) = self.limiter.get() {
            limiter.move_up(self);
        }
    }

    /// The place is in the limiter's line from now on.
    pub(crate) fn line_up_in(&self, limiter: &Limiter) {
        self.limiter.get_or_init(|| Box::new(limiter.clone()));
    }

    pub(crate) fn wanted(&self) -> Wanted {
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn permit_number(&self) -> u64 {
        self.permit_number.load(Ordering::Relaxed)
    }

    pub(crate) fn set_permit_number(&self, number: u64) {
        self.permit_number.store(number, Ordering::Relaxed);
    }

    pub(crate) fn take_permit_number(&self) -> u64 {
        self.permit_number.swap(0, Ordering::Relaxed)
    }

    /// Lines up for a turn; at the end again, should it have had one.
    pub(crate) fn line_up(self: &Arc<Self>, method: &'static str) -> Ticket {
        let (sender, receiver) = oneshot::channel();
        let turn = lines(|lines| {
            lines.numbers += 1;
            let number = lines.numbers;
            let wanted = *self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
            let line = lines.methods.entry(method).or_default();
            if wanted == Wanted::Within {
                return Some(line.begin(method, false));
            }
            if line.in_flight < limit() {
                return Some(line.begin(method, true));
            }
            self.number.store(number, Ordering::Relaxed);
            line.waiting.insert((wanted, number), sender);
            None
        });
        Ticket {
            place: Arc::clone(self),
            method,
            turn,
            receiver,
        }
    }
}

/// Is ready when its holder's turn has come; leaves the line when it is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    place: Arc<Place>,
    method: &'static str,
    /// It came at once.
    turn: Option<Arc<Turn>>,
    receiver: oneshot::Receiver<Arc<Turn>>,
}

impl Future for Ticket {
    type Output = Arc<Turn>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Arc<Turn>> {
        if let Some(turn) = self.turn.take() {
            return Poll::Ready(turn);
        }
        match Pin::new(&mut self.receiver).poll(cx) {
            Poll::Ready(Ok(turn)) => Poll::Ready(turn),
            // The line is another process's, and empty here.
            Poll::Ready(Err(_)) => Poll::Ready(Turn::uncounted(self.method)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let left = lines(|lines| {
            let wanted = *self
                .place
                .wanted
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let number = self.place.number.swap(0, Ordering::Relaxed);
            lines
                .methods
                .get_mut(self.method)?
                .waiting
                .remove(&(wanted, number))
        });
        drop(left);
    }
}

/// What is in flight in this process.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    /// Calls of the method in question whose synchronous code still runs.
    pub(crate) blocked_of_method: usize,
    /// The methods whose strategies are inside a poll right now, each named once.
    pub(crate) polled: Vec<&'static str>,
}

/// What is in flight, for the error of a call that did not begin.
pub(crate) fn in_flight(method: &'static str) -> InFlight {
    // Upgraded under the lock, dropped without it: the last one would lock it again.
    let turns: Vec<(&'static str, Arc<Turn>)> = lines(|lines| {
        let each = |(method, line): (&&'static str, &Line)| {
            let method = *method;
            line.turns
                .iter()
                .filter_map(Weak::upgrade)
                .map(move |turn| (method, turn))
                .collect::<Vec<_>>()
        };
        lines.methods.iter().flat_map(each).collect()
    });
    let mut found = InFlight::default();
    for (of, turn) in &turns {
        found.blocked_of_method +=
            usize::from(*of == method && turn.threads.load(Ordering::Relaxed) > 0);
        if turn.is_polled.load(Ordering::Relaxed) && found.polled.last() != Some(of) {
            found.polled.push(of);
        }
    }
    found
}
