//! The order of a refresh: look, take the lease, look again, call, store, give back.
//!
//! - Looking comes first and takes no lease: a set that is good enough is the usual case.
//! - Who finds the lease taken asks for it again, more and more rarely: each answer brings the
//!   entry, so the holder's set or failure ends the wait, and the end of the lease does.
//! - A rejected set is marked before the source is asked, so that no host gets it meanwhile.
//! - Whatever the store does wrong ends its part: the source is asked without it.
//! - The lease is given back however the refresh ends; if the process ends it ends by itself.

use std::time::{Duration, SystemTime};

use brs_core::{Error, RefreshContext, TemporaryCredentials};

use super::access::{Access, Alone, Limit};
use super::problem::Problem;
use super::store::{self, LONGEST_LEASE, Lease, Stored};
use crate::entry::{Entry, Owner, Wanted};
use crate::key::Key;
use crate::shared::{Source, patience};

/// The first wait between two tries; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// What a lease lasts beyond the time limit of its refresh.
const BEYOND: Duration = Duration::from_secs(5);

/// How long the store keeps a set that does not expire.
const ENDLESS: Duration = Duration::from_secs(24 * 3600);

/// A refresh with a fleet's store.
pub(super) async fn refresh(
    access: &Access,
    source: &Source,
    key: &Key,
    cx: &RefreshContext,
) -> Answer {
    let run = Run {
        access,
        source,
        key,
        cx,
        all: cx.time_left(),
    };
    match run.shared().await {
        Ok(answer) => answer,
        Err(Alone) => {
            access.count(|counts| &counts.alone);
            source.refresh(cx).await
        }
    }
}

type Answer = Result<TemporaryCredentials, Error>;

/// What came of the wait for the lease.
enum Waited<'a> {
    Held(Held<'a>, Option<Entry>),
    /// The answer was there before.
    Answered(Answer),
    /// The time is up.
    TimeIsUp(Option<Entry>),
}

/// The lease. Dropping it gives it back in the background.
struct Held<'a> {
    run: &'a Run<'a>,
    owner: String,
    /// Whether it may be held.
    is_held: bool,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let run = self.run;
        if !self.is_held {
            return;
        }
        run.access.release_later(run.cx, run.key, &self.owner);
    }
}

struct Run<'a> {
    access: &'a Access,
    source: &'a Source,
    key: &'a Key,
    cx: &'a RefreshContext,
    /// How much time it had.
    all: Duration,
}

impl Run<'_> {
    /// The answer; or the store cannot be used.
    async fn shared(&self) -> Result<Answer, Alone> {
        self.access.enter(self.cx).await?;
        let least = self.access.generations.highest(self.key);
        let key = self.key.clone();
        let loaded = self.access.ask(self.cx, self.limit(), |store| async move {
            store.load(key.as_str()).await
        });
        let entry = self.open(loaded.await?, least);
        if let Some(answer) = self.answer_in(entry.as_ref()) {
            return Ok(answer);
        }
        match self.wait(entry).await? {
            Waited::Held(held, entry) => self.with_lease(&held, entry).await,
            Waited::Answered(answer) => Ok(answer),
            Waited::TimeIsUp(entry) => self.without_lease(entry.as_ref()),
        }
    }

    /// Waits for the lease, and for an answer in the entry.
    async fn wait(&self, mut entry: Option<Entry>) -> Result<Waited<'_>, Alone> {
        let patience = if self.source.interactive() {
            // A person here is not asked later because another one is asked elsewhere.
            Duration::ZERO
        } else {
            patience(self.cx.time_left(), entry.as_ref().and_then(Entry::took))
        };
        let until = self.cx.clock().monotonic().saturating_add(patience);
        let owner = owner();
        let mut wait = FIRST_WAIT;
        loop {
            let least = self.access.generations.highest(self.key);
            let (key, asker) = (self.key.clone(), owner.clone());
            let ttl = self
                .cx
                .time_left()
                .saturating_add(BEYOND)
                .min(LONGEST_LEASE);
            // If this is dropped before the answer, the lease may be granted all the same.
            let mut held = Held {
                run: self,
                owner: owner.clone(),
                is_held: true,
            };
            let leased = self.access.ask(self.cx, self.limit(), |store| async move {
                store.lease(key.as_str(), &asker, ttl).await
            });
            let (taken, stored) = match leased.await? {
                Lease::Held(stored) => (None, stored),
                Lease::Taken(left, stored) => {
                    held.is_held = false;
                    (Some(left), stored)
                }
            };
            entry = self.open(stored, least);
            if let Some(answer) = self.answer_in(entry.as_ref()) {
                return Ok(Waited::Answered(answer));
            }
            let Some(taken) = taken else {
                return Ok(Waited::Held(held, entry));
            };
            let left = until.saturating_sub(self.cx.clock().monotonic());
            if left.is_zero() {
                return Ok(Waited::TimeIsUp(entry));
            }
            // Hosts that wait for one lease do not ask in step.
            let jittered = wait.mul_f64(0.5 + 0.5 * fastrand::f64());
            let pause = jittered.min(left).min(taken.max(FIRST_WAIT));
            self.cx.clock().sleep(pause).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// With the lease and without an answer: mark what was rejected, call, store.
    async fn with_lease(&self, held: &Held<'_>, mut entry: Option<Entry>) -> Result<Answer, Alone> {
        let mut is_well = true;
        let rejected = entry
            .as_ref()
            .filter(|entry| entry.is_to_be_marked(self.wanted()));
        if let Some(rejected) = rejected {
            let marked = rejected.rejected(self.next_generation(), &Owner::this());
            is_well = self.store(held, &marked, self.limit()).await;
            entry = Some(marked);
            // A failure held no answer back but for the mark.
            if let Some(answer) = self.answer_in(entry.as_ref()) {
                return Ok(answer);
            }
        }
        self.access.count(|counts| &counts.asked);
        self.access.holds.end(self.key);
        let generation = || self.next_generation();
        let asked = self.source.ask(self.cx, entry.as_ref(), generation);
        let (answer, new) = asked.await;
        if let Some(new) = new.filter(|_| is_well) {
            let limit = Limit::after_the_source(self.all, self.cx.time_left());
            self.store(held, &new, limit).await;
        }
        Ok(match answer {
            Ok(set) => Ok(set),
            Err(error) => self.in_place_of(error, entry.as_ref()),
        })
    }

    /// The time is up, and another host still has the lease.
    fn without_lease(&self, entry: Option<&Entry>) -> Result<Answer, Alone> {
        if self.source.interactive() {
            return Err(Alone);
        }
        if let Some(set) = entry.and_then(|entry| entry.still_valid(self.wanted())) {
            return Ok(Ok(set));
        }
        self.access.warn(self.cx, Some(self.key), Problem::busy());
        Err(Alone)
    }

    /// What the entry answers by itself. A rejection is written down first.
    fn answer_in(&self, entry: Option<&Entry>) -> Option<Answer> {
        let entry = entry?;
        let wanted = self.wanted();
        if let Some(set) = entry.usable(wanted) {
            self.access.count(|counts| &counts.taken);
            self.access.holds.end(self.key);
            return Some(Ok(set));
        }
        if entry.is_to_be_marked(wanted) {
            return None;
        }
        let was_held = |until| self.access.holds.were(self.key, until, wanted.now);
        let error = entry.holding(&Owner::this(), wanted, was_held)?;
        Some(self.in_place_of(error, Some(entry)))
    }

    /// What is given when the source has failed.
    fn in_place_of(&self, error: Error, entry: Option<&Entry>) -> Answer {
        match entry.and_then(|entry| entry.fallback(self.wanted())) {
            Some(set) => {
                let problem = Problem::source_failed(&error);
                self.access.warn(self.cx, Some(self.key), problem);
                Ok(set)
            }
            None => Err(error),
        }
    }

    /// The entry in what the store gave; `None` if it is none, after a warning.
    fn open(&self, stored: Option<store::Entry>, least: u64) -> Option<Entry> {
        let stored = stored.filter(|stored| stored.expiry > self.cx.clock().now())?;
        let generation = stored.generation;
        let plain = self.access.seal.open(self.key, generation, &stored.bytes);
        let problem = match plain {
            Err(why) => Problem::unopened(why),
            Ok(plain) => match Entry::from_bytes(&plain, self.key, least) {
                Ok(entry) => {
                    self.access.generations.saw(self.key, entry.generation);
                    self.access.is_well(self.key);
                    return Some(entry);
                }
                Err(why) => Problem::unusable(why),
            },
        };
        self.access.warn_of_entry(self.cx, self.key, problem);
        None
    }

    /// Stores an entry; `false` if the store cannot be used.
    async fn store(&self, held: &Held<'_>, entry: &Entry, limit: Limit) -> bool {
        let generation = entry.generation;
        let plain = entry.to_bytes(self.key);
        let sealed = plain.map(|plain| self.access.seal.seal(self.key, generation, &plain));
        let bytes = match sealed {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return false,
            Err(why) => {
                let problem = Problem::unusable(why);
                self.access.warn_of_entry(self.cx, self.key, problem);
                return false;
            }
        };
        let (key, owner) = (self.key.clone(), held.owner.clone());
        let expiry = self.expiry(entry);
        let stored = self.access.ask(self.cx, limit, |store| async move {
            let (key, owner) = (key.as_str(), owner.as_str());
            store.store(key, owner, generation, &bytes, expiry).await
        });
        match stored.await {
            Ok(Stored::Done) => {
                self.access.generations.saw(self.key, generation);
                true
            }
            Ok(Stored::Lost) => {
                self.access.count(|counts| &counts.lost);
                true
            }
            Err(Alone) => false,
        }
    }

    /// How long the store keeps it: for as long as the set or the failure says something.
    fn expiry(&self, entry: &Entry) -> SystemTime {
        let now = self.cx.clock().now();
        let end_of_set = || entry.expiration().unwrap_or(now + ENDLESS);
        let of_set = entry.set.as_ref().map(|_| end_of_set());
        let of_failure = entry.failure.as_ref().map(|failure| failure.until);
        // A write at its very end would be none.
        let least = now + FIRST_WAIT;
        of_set.max(of_failure).unwrap_or(least).max(least)
    }

    fn limit(&self) -> Limit {
        Limit::before_the_source(self.all, self.cx.time_left())
    }

    fn next_generation(&self) -> u64 {
        let now = self.cx.clock().now();
        self.access.generations.next(self.key, now)
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted::of(self.cx)
    }
}

/// A name for the lease of one refresh: no two of a process, nor of a fleet, have the same.
fn owner() -> String {
    format!("{}-{:x}", Owner::this().id(), fastrand::u64(..) >> 16)
}
