//! What goes wrong on purpose: failures, latency, held and hanging answers.
//!
//! Owns the queues of failures, one an action, and the holds that answers wait at. Which request
//! meets them is decided in `gate`: those that are authenticated, or need not be. A request waits
//! only for the holds that existed when it arrived, so a test can release one call and keep the
//! next.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// The action that [`fail_next`](super::EmbeddedAws::fail_next) and its like are about.
pub(crate) const ASSUME_ROLE: &str = "AssumeRole";

/// How a call fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// This status (200 to 599) with an error body as AWS writes it.
    Status(u16),
    /// 400 `Throttling`, as STS throttles; 429 `TooManyRequestsException` for `GetRoleCredentials`,
    /// 429 `ThrottlingException` for a device.
    Throttled,
    /// 403 `AccessDenied` for the caller and the role of the request, in the action's words; 403
    /// `ForbiddenException` for `GetRoleCredentials`; 403 `AccessDeniedException` for a device.
    AccessDenied,
    /// No answer until the client leaves or the hang is released; then the usual one.
    Hang,
    /// The connection is closed without an answer.
    DropConnection,
    /// 200 with a document that no parser accepts: XML for STS, JSON for the portal and for a
    /// device.
    MalformedXml,
    /// 200 with a document that breaks off after the access key id. The SDK takes it for complete
    /// and fills in empty strings and 1970.
    Truncated,
    /// 200 without a body.
    EmptyBody,
    /// A well-formed answer whose credentials expired a minute ago by the server's clock.
    AlreadyExpired,
    /// 200 with a well-formed document of 8 MiB that holds no result.
    Oversized,
    /// Exactly this error of AWS's, in the document that the action's errors have.
    Error {
        /// From 200 to 599.
        status: u16,
        /// AWS's code.
        code: &'static str,
        /// AWS's message.
        message: String,
    },
    /// This status (200 to 599) with exactly this body, without any code.
    Body {
        /// From 200 to 599.
        status: u16,
        /// Whatever it is.
        body: String,
    },
    /// This status (200 to 599) with a page as proxies and networks that want a login write it,
    /// without any code.
    Page(u16),
}

/// Keeps the answers that follow it back, those to AssumeRole or to a device; they go out when it
/// is released or dropped.
#[derive(Debug)]
#[must_use = "the hold ends when it is dropped"]
pub struct Hold {
    _open: watch::Sender<()>,
}

impl Hold {
    /// Lets the held answers go.
    pub fn release(self) {}
}

/// The faults of one server.
#[derive(Debug)]
pub(crate) struct Faults {
    /// The action whose answers [`Hold`] keeps back.
    held: &'static str,
    plan: Mutex<Plan>,
    hangs_released: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Plan {
    next: HashMap<String, VecDeque<Failure>>,
    always: HashMap<String, Failure>,
    latency: Duration,
    holds: Vec<watch::Receiver<()>>,
    rates: HashMap<String, Rate>,
}

/// A token bucket, in real time: how AWS limits the calls of an account in a region.
#[derive(Debug)]
struct Rate {
    per_second: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl Rate {
    fn take(&mut self) -> bool {
        let now = Instant::now();
        let passed = now.duration_since(self.at).as_secs_f64();
        self.at = now;
        self.tokens = (self.tokens + passed * self.per_second).min(self.burst);
        let there = self.tokens >= 1.0;
        if there {
            self.tokens -= 1.0;
        }
        there
    }
}

/// What one request has to go through before it is answered.
pub(crate) struct Passage {
    pub(crate) failure: Option<Failure>,
    latency: Duration,
    holds: Vec<watch::Receiver<()>>,
    hangs_released: watch::Receiver<u64>,
}

impl Faults {
    pub(crate) fn new(held: &'static str) -> Self {
        Self {
            held,
            plan: Mutex::default(),
            hangs_released: watch::Sender::new(0),
        }
    }

    pub(crate) fn fail_next(&self, action: &str, failures: impl IntoIterator<Item = Failure>) {
        // The caller's iterator and the check may panic, which must not happen under the lock.
        let failures: Vec<Failure> = failures.into_iter().inspect(Failure::check).collect();
        self.plan()
            .next
            .entry(action.to_owned())
            .or_default()
            .extend(failures);
    }

    pub(crate) fn fail_always(&self, action: &str, failure: Option<Failure>) {
        match failure.inspect(Failure::check) {
            Some(failure) => self.plan().always.insert(action.to_owned(), failure),
            None => self.plan().always.remove(action),
        };
    }

    pub(crate) fn set_latency(&self, latency: Duration) {
        self.plan().latency = latency;
    }

    /// Throttles the calls of an action beyond a rate.
    pub(crate) fn limit(&self, action: &str, per_second: u32, burst: u32) {
        let rate = Rate {
            per_second: per_second.into(),
            burst: burst.into(),
            tokens: burst.into(),
            at: Instant::now(),
        };
        self.plan().rates.insert(action.to_owned(), rate);
    }

    pub(crate) fn hold(&self) -> Hold {
        let (open, held) = watch::channel(());
        self.plan().holds.push(held);
        Hold { _open: open }
    }

    pub(crate) fn release_hangs(&self) {
        self.hangs_released.send_modify(|times| *times += 1);
    }

    /// Takes an action's next failure and notes the holds of this moment.
    pub(crate) fn enter(&self, action: &str) -> Passage {
        let mut plan = self.plan();
        plan.holds.retain(|held| held.has_changed().is_ok());
        let is_too_many = plan.rates.get_mut(action).is_some_and(|rate| !rate.take());
        let throttled = is_too_many.then_some(Failure::Throttled);
        let always = throttled.or_else(|| plan.always.get(action).cloned());
        Passage {
            failure: plan
                .next
                .get_mut(action)
                .and_then(VecDeque::pop_front)
                .or(always),
            latency: plan.latency,
            holds: if action == self.held {
                plan.holds.clone()
            } else {
                Vec::new()
            },
            hangs_released: self.hangs_released.subscribe(),
        }
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan
            .lock()
            .expect("nothing panics while it holds the plan")
    }
}

impl Passage {
    /// Waits for latency, holds and a hang, in this order.
    pub(crate) async fn pass(&mut self) {
        tokio::time::sleep(self.latency).await;
        for held in &mut self.holds {
            while held.changed().await.is_ok() {}
        }
        if self.failure == Some(Failure::Hang) {
            // An error means that the server is going away, which ends this request too.
            let _ = self.hangs_released.changed().await;
        }
    }
}

impl Failure {
    /// Rejects a status that HTTP has no room for here, where the test that asked for it can see
    /// the panic.
    fn check(&self) {
        if let Self::Status(status)
        | Self::Page(status)
        | Self::Error { status, .. }
        | Self::Body { status, .. } = self
        {
            assert!(
                (200..600).contains(status),
                "{self:?} is not an HTTP status from 200 to 599"
            );
        }
    }
}
