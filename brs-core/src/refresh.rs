//! The engine: when credentials are refreshed, by whom, and what callers get meanwhile.
//!
//! ```text
//!            t0                      advisory            mandatory      E
//!            │  fresh                │  window A         │  window M    │  expired
//! background │  cached set           │  cached set,      │  wait for    │  wait for the flight;
//!            │                       │  one refresh runs │  the flight  │  fallback: static stability
//! ```
//!
//! The parts, and what each may do:
//!
//! - `times`: when a set is due and when it is over, on two clocks. Pure.
//! - `policy`: what a caller gets, as one function of (state, now, policy). Pure: no clock, no
//!   lock, no I/O.
//! - `backoff`, `pace`: how long the source is left alone after a failure or a rejection. Pure.
//! - `flight`: one call to the source and those who wait for it.
//! - `state`, `calls`: what the engine knows, and what each kind of call does to it. Plain data.
//! - `engine`: the lock around the state, and the snapshot that readers look at.
//! - `launch`, `pilot`, `guard`: run a flight in its turn, on a runtime, within its time limit, and
//!   see to it that it lands.
//! - `unusable`: which sets are refused when they arrive. Pure.
//! - `stops`: notices that the process was not there.
//! - `eager`: the task that refreshes without a caller.
//!
//! Invariants; the code cites them by number:
//!
//! 1. `State::flight` is `Some` from before the source is called until its outcome is in the state:
//!    at most one flight.
//! 2. The snapshot is stored only under the state's lock, so that the last store belongs to the
//!    newest state.
//! 3. A snapshot is immutable and holds one set: no reader sees parts of two.
//! 4. While the state's lock is held nothing foreign runs: no strategy, clock, waker, event or
//!    `tracing` subscriber. They run afterwards, from `Effects`.
//! 5. The code that takes a flight out of the state resolves it, and a flight whose task ends by any way
//!    (panic, abort, end of its runtime) is landed by its guard: every waiter is answered.
//! 6. The lock is held for a bounded number of steps and never across an await.
//! 7. Flights and the eager task hold the engine weakly: it is freed with its last handle, and ends
//!    them.
//! 8. Where time is kept nothing foreign is polled, called or dropped: no strategy, clock, span or
//!    subscriber.
//! 9. Waiters are answered before a `tracing` subscriber hears of it.
//! 10. Each process has locks of its own. What a forked child goes on from is published as an
//!     immutable whole at each change, before the snapshot, and read without a lock. Flights and
//!     tasks are not in it: they are the parent's.

mod backoff;
mod calls;
mod eager;
mod engine;
mod flight;
mod guard;
mod launch;
#[cfg(all(test, brs_model))]
mod model;
mod pace;
#[cfg(not(brs_model))]
mod pilot;
mod policy;
#[cfg(all(test, not(brs_model)))]
mod properties;
mod state;
mod status;
#[cfg(not(brs_model))]
mod stops;
pub(crate) mod sync;
mod times;
mod unusable;

pub use backoff::RefreshBackoff;
pub(crate) use engine::{Config, Engine};
pub use policy::AdvisoryRefresh;
pub(crate) use policy::Policy;
pub(crate) use state::{Rejected, Rules};
pub use status::RefreshStatus;
pub(crate) use times::{CachedSet, Windows};
