//! A strategy that does what a script says, and counts.
//!
//! A forked child goes on with the script; what calls were told is each process's own.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::sync::{Notify, watch};

use crate::credentials::TemporaryCredentials;
use crate::kit::clock::Clock;
use crate::kit::error::Error;
use crate::kit::per_process::PerProcess;
use crate::method::strategy::{RefreshContext, RefreshReason, RefreshStrategy};

/// What one call to a [`Scripted`] strategy does.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Step {
    /// Gives a new set that lives this long.
    Fresh(Duration),
    /// Gives this set.
    Give(TemporaryCredentials),
    /// Fails.
    Fail(Error),
    /// Never answers.
    Hang,
    /// Panics.
    Panic,
    /// Waits until the gate is open, then does the other step.
    After(Gate, Box<Step>),
    /// Blocks its thread until the gate is open, then does the other step: what a strategy must not
    /// do.
    Block(Gate, Box<Step>),
}

/// Holds calls back until it is opened.
#[derive(Clone, Debug)]
pub struct Gate(Arc<GateInner>);

#[derive(Debug)]
struct GateInner {
    open: watch::Sender<bool>,
    blocking: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self(Arc::new(GateInner {
            open: watch::Sender::new(false),
            blocking: Mutex::new(false),
            opened: Condvar::new(),
        }))
    }

    /// Lets everybody through, from now on.
    pub fn open(&self) {
        *self
            .0
            .blocking
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.0.opened.notify_all();
        self.0.open.send_replace(true);
    }

    /// Is ready when the gate is open.
    pub async fn passed(&self) {
        // The sender lives as long as `self`.
        let _ = self.0.open.subscribe().wait_for(|open| *open).await;
    }

    /// Blocks the thread until the gate is open.
    pub fn block(&self) {
        let mut open = self
            .0
            .blocking
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        while !*open {
            open = self
                .0
                .opened
                .wait(open)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

/// A strategy for tests: does what its script says, then the same step for ever. Clones are the
/// same strategy.
#[derive(Clone)]
pub struct Scripted(Arc<Inner>);

struct Inner {
    steps: ArcSwap<VecDeque<Step>>,
    otherwise: ArcSwap<Step>,
    told: PerProcess<Mutex<Vec<Told>>>,
    issued: AtomicUsize,
    calls: AtomicUsize,
    called: PerProcess<Notify>,
    running: AtomicUsize,
    most_running: AtomicUsize,
    interactive: bool,
    static_stability: bool,
}

/// What a call was told.
struct Told {
    reason: RefreshReason,
    attempt: u32,
    previous_access_key_id: Option<String>,
}

impl Scripted {
    /// Does `otherwise` at every call.
    pub fn always(otherwise: Step) -> Self {
        Self::build(otherwise, false, false)
    }

    /// As [`Scripted::always`], of a strategy that asks a person.
    pub fn interactive(otherwise: Step) -> Self {
        Self::build(otherwise, true, false)
    }

    /// As [`Scripted::always`], of a strategy whose expired sets may be served.
    pub fn statically_stable(otherwise: Step) -> Self {
        Self::build(otherwise, false, true)
    }

    fn build(otherwise: Step, interactive: bool, static_stability: bool) -> Self {
        Self(Arc::new(Inner {
            steps: ArcSwap::default(),
            otherwise: ArcSwap::from_pointee(otherwise),
            told: PerProcess::new(),
            issued: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            called: PerProcess::new(),
            running: AtomicUsize::new(0),
            most_running: AtomicUsize::new(0),
            interactive,
            static_stability,
        }))
    }

    /// Puts these steps before what it does otherwise.
    #[must_use]
    pub fn first(self, steps: impl IntoIterator<Item = Step>) -> Self {
        self.then(steps);
        self
    }

    /// Adds steps to those that come before what it does otherwise.
    pub fn then(&self, steps: impl IntoIterator<Item = Step>) {
        let added: Vec<Step> = steps.into_iter().collect();
        self.0.steps.rcu(|steps| {
            let mut steps = VecDeque::clone(steps);
            steps.extend(added.iter().cloned());
            steps
        });
    }

    /// Changes what it does when the other steps are used up.
    pub fn otherwise(&self, step: Step) {
        self.0.otherwise.store(Arc::new(step));
    }

    /// How many calls have begun.
    pub fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }

    /// Is ready once `least` calls have begun.
    pub async fn called(&self, least: usize) {
        let called = self.0.called.get();
        loop {
            let mut next = std::pin::pin!(called.notified());
            // Registered before the look, or a call that begins in between would be missed.
            next.as_mut().enable();
            if self.calls() >= least {
                return;
            }
            next.await;
        }
    }

    /// Why each call was made.
    pub fn reasons(&self) -> Vec<RefreshReason> {
        self.told(|told| told.reason)
    }

    /// Which attempt each call was told to be.
    pub fn attempts(&self) -> Vec<u32> {
        self.told(|told| told.attempt)
    }

    /// The key that each call was told to replace.
    pub fn previous_access_key_ids(&self) -> Vec<Option<String>> {
        self.told(|told| told.previous_access_key_id.clone())
    }

    /// How many calls ran at the same time, at the most.
    pub fn most_running(&self) -> usize {
        self.0.most_running.load(Ordering::SeqCst)
    }

    /// How many calls are running.
    pub fn running(&self) -> usize {
        self.0.running.load(Ordering::SeqCst)
    }

    /// The strategy as sessions take it.
    pub fn shared(&self) -> Arc<dyn RefreshStrategy> {
        Arc::new(self.clone())
    }

    fn told<T>(&self, look: impl Fn(&Told) -> T) -> Vec<T> {
        self.0
            .told
            .get()
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(look)
            .collect()
    }

    fn next_step(&self) -> Step {
        let mut next = None;
        if !self.0.steps.load().is_empty() {
            self.0.steps.rcu(|steps| {
                let mut steps = VecDeque::clone(steps);
                next = steps.pop_front();
                steps
            });
        }
        next.unwrap_or_else(|| Step::clone(&self.0.otherwise.load()))
    }

    fn fresh(&self, lifetime: Duration, clock: &dyn Clock) -> TemporaryCredentials {
        let number = self.0.issued.fetch_add(1, Ordering::SeqCst) + 1;
        // Each part carries the number, so that a test can tell a set mixed from two.
        TemporaryCredentials::new(
            format!("ASIASCRIPTED{number:08}"),
            format!("scripted-secret-{number:08}"),
            Some(format!("scripted-token-{number:08}")),
            Some(clock.now() + lifetime),
        )
    }
}

/// Counts a call as running until it is over or dropped.
struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl RefreshStrategy for Scripted {
    fn method(&self) -> &'static str {
        "scripted"
    }

    fn source(&self) -> &'static str {
        "scripted"
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        let running = self.0.running.fetch_add(1, Ordering::SeqCst) + 1;
        let _running = Running(&self.0.running);
        self.0.most_running.fetch_max(running, Ordering::SeqCst);
        self.0
            .told
            .get()
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Told {
                reason: cx.reason(),
                attempt: cx.attempt(),
                previous_access_key_id: cx.previous_access_key_id().map(str::to_owned),
            });
        let mut step = self.next_step();
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        self.0.called.get().notify_waiters();
        loop {
            step = match step {
                Step::Fresh(lifetime) => return Ok(self.fresh(lifetime, &**cx.clock())),
                Step::Give(credentials) => return Ok(credentials),
                Step::Fail(error) => return Err(error),
                Step::Hang => return std::future::pending().await,
                Step::Panic => panic!("as the script wants"),
                Step::After(gate, next) => {
                    gate.passed().await;
                    *next
                }
                Step::Block(gate, next) => {
                    gate.block();
                    *next
                }
            };
        }
    }

    fn static_stability(&self) -> bool {
        self.0.static_stability
    }

    fn interactive(&self) -> bool {
        self.0.interactive
    }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripted")
            .field("calls", &self.calls())
            .finish_non_exhaustive()
    }
}
