//! The order of a refresh: look, lock, look again, call, write, let go.
//!
//! - Looking comes first and takes no lock: a set that is good enough is the usual case.
//! - Who waits for the lock looks at each try: the holder's set or failure ends the wait.
//! - A rejected set is marked before the source is asked, so that nobody gets it meanwhile, however
//!   the call ends.
//! - Files are read and written on threads of their own, within [`LOOK`]. If the refresh is dropped
//!   while it holds the lock, the lock is freed with it.
//!
//! The tests are beside this file and, with processes, in `tests/tests/shared`.

use std::sync::Arc;
use std::time::Duration;

use brs_core::{Error, RefreshContext, TemporaryCredentials};
use futures_util::future::{Either, select};
use tokio::sync::OwnedMutexGuard;

use super::busy::{Busy, FIRST_WAIT, next_wait};
use super::cache::{Host, OfKey};
use super::files::{self, Lock, Look, Tried};
use super::problem::{Problem, named};

use crate::entry::{Entry, Owner, Wanted};
use crate::key::Key;
use crate::shared::{Source, patience};

/// How long the file system may take.
const LOOK: Duration = Duration::from_secs(5);

/// What an interactive refresh leaves of its time, so that its own error is the one that is seen.
const MARGIN: Duration = Duration::from_secs(1);

/// A refresh with a host cache.
pub(super) async fn refresh(
    host: &Host,
    source: &Source,
    key: &Key,
    cx: &RefreshContext,
) -> Answer {
    let of_key = host.of_key(key);
    let run = Run {
        host,
        source,
        key,
        cx,
        of_key,
        all: cx.time_left(),
    };
    match run.shared().await {
        Ok(answer) => answer,
        Err(problem) => {
            host.warn_once(cx, key, &problem);
            source.refresh(cx).await
        }
    }
}

type Answer = Result<TemporaryCredentials, Error>;

/// This process's turn at a lock.
type Turn = OwnedMutexGuard<()>;

/// The lock, and with it this process's turn at it. The lock is freed first.
struct Held {
    lock: Lock,
    _turn: Turn,
}

/// What came of the wait for the lock.
enum Waited {
    Held(Held, Option<Entry>),
    /// The answer was there before the lock.
    Answered(Answer),
    /// The time is up.
    TimeIsUp(Busy, Option<Entry>),
}

struct Run<'a> {
    host: &'a Host,
    source: &'a Source,
    key: &'a Key,
    cx: &'a RefreshContext,
    of_key: Arc<OfKey>,
    /// How much time it had.
    all: Duration,
}

impl Run<'_> {
    /// The answer; or why the cache cannot be used.
    async fn shared(&self) -> Result<Answer, Problem> {
        let path = self.host.place.directory()?.to_owned();
        let (key, least) = (self.key.clone(), self.host.generations.highest(self.key));
        let look = self.look(move || files::look(&path, &key, least)).await?;
        let entry = self.take_in(look);
        if let Some(answer) = self.answer_in(entry.as_ref()) {
            return Ok(answer);
        }
        Ok(match self.wait(entry).await? {
            Waited::Held(held, entry) => self.with_lock(held, entry).await,
            Waited::Answered(answer) => answer,
            Waited::TimeIsUp(busy, entry) => self.without_lock(busy, entry.as_ref()).await,
        })
    }

    /// Waits for the lock, and for an answer in the entry.
    async fn wait(&self, mut entry: Option<Entry>) -> Result<Waited, Problem> {
        let left = self.cx.time_left();
        let patience = if self.source.interactive() {
            left.saturating_sub(MARGIN)
        } else {
            patience(left, entry.as_ref().and_then(Entry::took))
        };
        let until = self.cx.clock().monotonic().saturating_add(patience);
        let mut was_told = false;
        let Some(mut turn) = self.turn(patience, &mut was_told).await else {
            let own = Busy::of_this_process();
            return Ok(Waited::TimeIsUp(own, entry));
        };
        let mut wait = FIRST_WAIT;
        loop {
            let path = self.host.place.directory()?.to_owned();
            let (key, least) = (self.key.clone(), self.host.generations.highest(self.key));
            // The turn goes along: if this refresh is dropped, it lasts until the lock is free.
            let locked = self.look(move || {
                let (tried, look) = files::try_lock(&path, &key, least)?;
                let tried = match tried {
                    Tried::Held(lock) => Ok(Held { lock, _turn: turn }),
                    Tried::Busy(busy) => Err((busy, turn)),
                };
                Ok((tried, look))
            });
            let (tried, look) = locked.await?;
            entry = self.take_in(look);
            if let Some(answer) = self.answer_in(entry.as_ref()) {
                return Ok(Waited::Answered(answer));
            }
            let busy = match tried {
                Ok(held) => return Ok(Waited::Held(held, entry)),
                Err((busy, kept)) => {
                    turn = kept;
                    busy
                }
            };
            self.tell_for_whom(busy, &mut was_told);
            let left = until.saturating_sub(self.cx.clock().monotonic());
            if left.is_zero() {
                return Ok(Waited::TimeIsUp(busy, entry));
            }
            self.cx.clock().sleep(wait.min(left)).await;
            wait = next_wait(wait);
        }
    }

    /// This process's turn at the lock, if it comes in time.
    async fn turn(&self, patience: Duration, was_told: &mut bool) -> Option<Turn> {
        let turn = Arc::clone(&self.of_key.turn);
        if let Ok(turn) = Arc::clone(&turn).try_lock_owned() {
            return Some(turn);
        }
        self.tell_for_whom(Busy::of_this_process(), was_told);
        let turn = std::pin::pin!(turn.lock_owned());
        match select(turn, self.cx.clock().sleep(patience)).await {
            Either::Left((turn, _)) => Some(turn),
            Either::Right(_) => None,
        }
    }

    /// Says once a refresh for whom it waits, if that one asks a person.
    fn tell_for_whom(&self, busy: Busy, was_told: &mut bool) {
        if self.source.interactive() && !std::mem::replace(was_told, true) {
            let waiting = Problem::waiting(busy.holder);
            self.host.warn(self.cx, self.key, &waiting);
        }
    }

    /// With the lock and without an answer: mark what was rejected, call, write.
    async fn with_lock(&self, held: Held, mut entry: Option<Entry>) -> Answer {
        let mut held = Some(held);
        let rejected = entry
            .as_ref()
            .filter(|entry| entry.is_to_be_marked(self.wanted()));
        if let Some(rejected) = rejected {
            let marked = rejected.rejected(self.next_generation(), &Owner::this());
            if let Some(lock) = held.take() {
                held = self.write(lock, marked.clone()).await;
            }
            entry = Some(marked);
            // A failure held no answer back but for the mark.
            if let Some(answer) = self.answer_in(entry.as_ref()) {
                return answer;
            }
        }
        self.host.holds.end(self.key);
        let generation = || self.next_generation();
        let asked = self.source.ask(self.cx, entry.as_ref(), generation);
        let (answer, new) = asked.await;
        if let (Some(held), Some(new)) = (held, new) {
            // Dropping what comes back frees the lock.
            drop(self.write(held, new).await);
        }
        match answer {
            Ok(set) => Ok(set),
            Err(error) => self.in_place_of(error, entry.as_ref()),
        }
    }

    /// The time is up, and somebody else still holds the lock.
    async fn without_lock(&self, busy: Busy, entry: Option<&Entry>) -> Answer {
        if let Some(set) = entry.and_then(|entry| entry.still_valid(self.wanted())) {
            return Ok(set);
        }
        if self.source.interactive() {
            return Err(Error::connection(format!(
                "{} is asking a person for these credentials and has no answer yet: answer it, or \
                 end that process",
                named(busy.holder)
            )));
        }
        self.host
            .warn(self.cx, self.key, &Problem::busy(busy.holder));
        self.source.refresh(self.cx).await
    }

    /// What the entry answers by itself. A rejection is written down first.
    fn answer_in(&self, entry: Option<&Entry>) -> Option<Answer> {
        let entry = entry?;
        let wanted = self.wanted();
        if let Some(set) = entry.usable(wanted) {
            self.host.holds.end(self.key);
            return Some(Ok(set));
        }
        if entry.is_to_be_marked(wanted) {
            return None;
        }
        let was_held = |until| self.host.holds.were(self.key, until, wanted.now);
        let error = entry.holding(&Owner::this(), wanted, was_held)?;
        Some(self.in_place_of(error, Some(entry)))
    }

    /// What is given when the source has failed.
    fn in_place_of(&self, error: Error, entry: Option<&Entry>) -> Answer {
        match entry.and_then(|entry| entry.fallback(self.wanted())) {
            Some(set) => {
                self.host
                    .warn(self.cx, self.key, &Problem::served_old(&error));
                Ok(set)
            }
            None => Err(error),
        }
    }

    fn next_generation(&self) -> u64 {
        let now = self.cx.clock().now();
        self.host.generations.next(self.key, now)
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted::of(self.cx)
    }

    /// Takes in what a look gave: its entry, and warnings.
    fn take_in(&self, look: Look) -> Option<Entry> {
        for problem in &look.problems {
            self.host.warn_once(self.cx, self.key, problem);
        }
        if let Some(entry) = &look.entry {
            self.host.generations.saw(self.key, entry.generation);
            if look.problems.is_empty() {
                self.host.is_well(self.key);
            }
        }
        look.entry
    }

    /// Looks at files, one look of this process at a time.
    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let looks = async { self.of_key.looks.lock().await.run(look).await };
        let limit = LOOK.min(self.cx.time_left() / 4);
        self.in_time(limit, looks).await?
    }

    /// Writes an entry, and gives the lock back; `None` if the file system does not answer.
    async fn write(&self, held: Held, entry: Entry) -> Option<Held> {
        let (key, generation) = (self.key.clone(), entry.generation);
        let now = self.cx.clock().now();
        let sweeps = self.host.sweeps(now);
        let write = self.of_key.writes.run(move || {
            let written = held.lock.write(&key, &entry, now);
            if sweeps {
                held.lock.sweep(&key, now);
            }
            (held, written)
        });
        // A set is worth the time that is left.
        let (usual, left) = (LOOK.min(self.all / 4), self.cx.time_left() / 4 * 3);
        let (held, problem) = match self.in_time(usual.min(left), write).await {
            Ok((held, Ok(()))) => {
                self.host.generations.saw(self.key, generation);
                return Some(held);
            }
            Ok((held, Err(problem))) => (Some(held), problem),
            // A limit that is shorter than usual says nothing about the file system. The write
            // goes on.
            Err(_) if left < usual => return None,
            Err(problem) => (None, problem),
        };
        self.host.warn_once(self.cx, self.key, &problem);
        held
    }

    /// What the file system answers within its time.
    async fn in_time<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Problem> {
        match select(std::pin::pin!(call), self.cx.clock().sleep(limit)).await {
            Either::Left((Ok(answer), _)) => Ok(answer),
            Either::Left((Err(_), _)) | Either::Right(_) => Err(Problem::slow()),
        }
    }
}
