//! One thread per token (and one per module while tokens are looked for), shared by everyone in the
//! process.
//!
//! Token modules are synchronous, may take arbitrarily long and cannot be interrupted. So each
//! token has a thread that owns everything that belongs to it; callers queue a job and wait with a
//! time limit, and the thread is never joined. `brs_core::Blocking` does not serve here: it has no
//! queue, and it starts a thread for each call, while a module may keep state for each thread.
//!
//! 1. Jobs run one at a time, in order. A job whose caller has left before it began is not run.
//! 2. A thread is *hung* while the running job has itself run for longer than its limit, and for 10
//!    s at least, whatever the limits of those who wait. Then further jobs fail at once, until that
//!    job returns: a hung token costs one thread, not one per attempt. A caller whose limit has
//!    passed takes its own job out of the queue and no other.
//! 3. The thread ends when its last user is gone; what it owns is closed before, on the thread.
//!    Whether it ends is decided under the registry's lock: a user who comes before that finds it,
//!    and it stays.
//! 4. Locks are taken in the order registry, state, and never held while a job runs.
//!
//! A job panics: `a_panic_is_an_error_and_the_thread_goes_on`. Its caller leaves:
//! `an_async_caller_may_leave_and_has_its_limit`,
//! `a_job_that_begins_late_is_not_hung_when_its_caller_leaves`. It hangs:
//! `a_hung_job_fails_all_that_come_after_at_once_until_it_returns`,
//! `a_hung_thread_without_users_is_found_again`.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use brs_core::kit::PerProcess;
use brs_core::{Clock as _, Error, SystemClock};
use futures_util::future::{Either, select};
use tokio::sync::oneshot;

use super::select::Identity;
use super::token::Desk;

/// What a thread is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) module: PathBuf,
    /// `None`: for looking at what tokens there are.
    pub(super) token: Option<Identity>,
}

/// A user's handle on a thread.
pub(super) struct TokenThread(Arc<Shared>);

struct Shared {
    place: Place,
    /// The process that its thread is in.
    process: u32,
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    users: usize,
    last_id: u64,
    running: Option<Running>,
}

#[derive(Clone, Copy)]
struct Running {
    /// From when on it counts as hung, on the monotonic clock.
    hung_from: Duration,
}

struct Job {
    id: u64,
    limit: Duration,
    run: Box<dyn FnOnce(&mut Desk) + Send>,
}

/// A slow token is not a hung one: how long a job runs at least before it counts as hung.
#[cfg(not(test))]
const PATIENCE: Duration = Duration::from_secs(10);
#[cfg(test)]
const PATIENCE: Duration = Duration::from_millis(20);

/// A forked child has none of its parent's.
static THREADS: PerProcess<Mutex<HashMap<Place, Arc<Shared>>>> = PerProcess::new();

impl TokenThread {
    /// Becomes a user of the place's thread, starting it if there is none.
    pub(super) fn enter(place: Place) -> Result<Self, Error> {
        let threads = THREADS.get();
        let mut threads = threads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = threads.get(&place).filter(|shared| shared.is_here()) {
            shared.lock().users += 1;
            return Ok(Self(Arc::clone(shared)));
        }
        let state = Mutex::new(State {
            users: 1,
            ..State::default()
        });
        let process = std::process::id();
        let shared = Arc::new(Shared {
            place: place.clone(),
            process,
            state,
            woken: Condvar::new(),
        });
        let on_thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("brs-pkcs11".into())
            .spawn(move || on_thread.work())
            .map_err(|error| {
                Error::connection("no thread could be started for a token").with_source(error)
            })?;
        threads.insert(place, Arc::clone(&shared));
        Ok(Self(shared))
    }

    /// Runs `job` on the thread and gives its result, needing no runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves a job that has begun running; one that has not begun is taken out
    /// of the queue.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        limit: Duration,
        job: impl FnOnce(&mut Desk) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let id = self.queue(
            limit,
            Box::new(move |desk| {
                if !answer.is_closed() {
                    let _ = answer.send(job(desk));
                }
            }),
        )?;
        let _leaving = Leaving {
            shared: &self.0,
            id,
        };
        match select(answered, SystemClock::new().sleep(limit)).await {
            Either::Left((Ok(result), _)) => Ok(result),
            Either::Left((Err(_), _)) => Err(self.0.panicked()),
            Either::Right((_, mut answered)) => answered
                .try_recv()
                .map_err(|_| self.0.time_is_up(id, limit)),
        }
    }

    /// Queues a job and gives its number.
    fn queue(&self, limit: Duration, run: Box<dyn FnOnce(&mut Desk) + Send>) -> Result<u64, Error> {
        if !self.0.is_here() {
            return Err(self.0.forked());
        }
        let mut state = self.0.lock();
        if state.is_hung() {
            drop(state);
            return Err(self.0.hung());
        }
        state.last_id += 1;
        let id = state.last_id;
        state.queue.push_back(Job { id, limit, run });
        drop(state);
        self.0.woken.notify_one();
        Ok(id)
    }
}

/// Takes a job that has not begun out of the queue when its caller leaves.
struct Leaving<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.shared.take_out(self.id);
    }
}

impl Running {
    fn new(limit: Duration) -> Self {
        #[cfg(feature = "test-util")]
        let patience = super::hook::patience().unwrap_or(PATIENCE);
        #[cfg(not(feature = "test-util"))]
        let patience = PATIENCE;
        Self {
            hung_from: SystemClock::new()
                .monotonic()
                .saturating_add(limit.max(patience)),
        }
    }
}

impl State {
    fn is_hung(&self) -> bool {
        self.running
            .is_some_and(|running| SystemClock::new().monotonic() >= running.hung_from)
    }
}

impl Clone for TokenThread {
    fn clone(&self) -> Self {
        // In a forked child nobody counts, and the parent's thread may hold the lock.
        if self.0.is_here() {
            self.0.lock().users += 1;
        }
        Self(Arc::clone(&self.0))
    }
}

impl Drop for TokenThread {
    fn drop(&mut self) {
        if self.0.is_here() {
            self.0.lock().users -= 1;
            self.0.woken.notify_one();
        }
    }
}

impl fmt::Display for TokenThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.place, f)
    }
}

impl fmt::Debug for TokenThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenThread").field(&self.0.place).finish()
    }
}

impl Shared {
    /// Whether its thread is in this process: threads do not follow a fork.
    fn is_here(&self) -> bool {
        self.process == std::process::id()
    }

    fn forked(&self) -> Error {
        let what = &self.place;
        Error::connection(format!(
            "{what} was opened before this process was forked, and a PKCS#11 module does not work across a fork: open \
             the session in the child"
        ))
        .unrecoverable()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(self: Arc<Self>) {
        let mut desk = Desk::new(self.place.clone());
        while let Some(job) = self.next(&mut desk) {
            // A panic may have left half of something behind: a new start closes it, which calls
            // the module, too.
            if catch_unwind(AssertUnwindSafe(|| (job.run)(&mut desk))).is_err() {
                let fresh = Desk::new(self.place.clone());
                let left = std::mem::replace(&mut desk, fresh);
                let _ = catch_unwind(AssertUnwindSafe(|| drop(left)));
            }
            self.done();
        }
    }

    /// The next job, or `None` if the thread is to end.
    fn next(&self, desk: &mut Desk) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.queue.pop_front() {
                state.running = Some(Running::new(job.limit));
                return Some(job);
            }
            if state.users > 0 {
                state = self
                    .woken
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            // Closing calls the module and may hang like any call: new users wait for it as for a
            // job.
            state.running = Some(Running::new(Duration::ZERO));
            drop(state);
            let _ = catch_unwind(AssertUnwindSafe(|| desk.close()));
            self.done();
            let threads = THREADS.get();
            let mut threads = threads.lock().unwrap_or_else(PoisonError::into_inner);
            state = self.lock();
            if state.users == 0 && state.queue.is_empty() {
                threads.remove(&self.place);
                return None;
            }
        }
    }

    fn done(&self) {
        self.lock().running = None;
    }

    /// Forgets a job that has not begun. Whether there was one.
    fn take_out(&self, id: u64) -> bool {
        let mut state = self.lock();
        let place = state.queue.iter().position(|job| job.id == id);
        let job = place.and_then(|place| state.queue.remove(place));
        // Dropped without the lock: a job owns what its caller put into it.
        drop(state);
        job.is_some()
    }

    /// The limit of the caller whose job has this number has passed.
    fn time_is_up(&self, id: u64, limit: Duration) -> Error {
        if !self.take_out(id) {
            let what = &self.place;
            return Error::connection(format!(
                "{what} has not answered within {limit:?}: check it, or raise `signature_timeout`"
            ));
        }
        if self.lock().is_hung() {
            return self.hung();
        }
        let what = &self.place;
        Error::connection(format!(
            "{what} was busy with other calls for {limit:?}: raise `signature_timeout`"
        ))
    }

    fn hung(&self) -> Error {
        Error::connection(format!(
            "{} does not answer: an earlier call is still running, and no other is started until it returns",
            self.place
        ))
    }

    fn panicked(&self) -> Error {
        Error::connection(format!("the call to {} panicked", self.place))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.token {
            Some(token) => write!(f, "{token}"),
            None => write!(f, "PKCS#11 module `{}`", self.module.display()),
        }
    }
}
