//! Benchmarks of brs beside its peers, on one machine, in one run, in turns.
//!
//! `cargo xtask bench` builds and starts this. One process, the *conductor*, holds the embedded AWS
//! and starts every measurement as a process of its own, brs's and the peers' alternately: no
//! measurement warms, fragments or disturbs another one, calls to the source are counted where all
//! peers are treated alike, and what disturbs the machine disturbs all. A measurement prints
//! figures; the conductor takes medians over the rounds.
//!
//! - measured processes: [`micro`] (nanoseconds a call), [`storm`] (thousands of callers),
//!   [`sessions`] (what sessions and clients cost), [`masses`] (thousands of sessions due together,
//!   and recovery), [`pool`] (a pool against an STS that throttles), [`host_cache`] (processes of a
//!   host), [`fleet`] (hosts with a store), [`sim`] (a simulated day of a fleet), [`iot`] (refreshes
//!   over mutual TLS), [`mqtt`] (connections and messages); Python's counterparts are in `python/`,
//!   whole programs in `programs/`. [`subject`] opens what is measured, [`stopwatch`] is the only
//!   file that reads clocks.
//! - conductor: [`plan`] says what is measured, how often and beside whom; [`conductor`] runs it;
//!   [`outside`] measures what is no measurement of ours (whole programs, instruction counts,
//!   builds), [`printer`] programs that print credentials; [`results`], [`goals`] and [`report`] are what comes of it.
//!
//! Peers: `sdk` is the AWS SDK for Rust as its documentation says (`AssumeRoleProvider`, lazy
//! identity cache), `python` is boto3-refresh-session, `botocore` the engine beneath it; `bare` is
//! the least code that could do the same thing. For MQTT they are `rumqttc`, which is rumqttc-next
//! alone, and `awscrt`, AWS's own client, through awsiotsdk.

mod children;
pub mod conductor;
pub mod fleet;
pub mod goals;
pub mod host_cache;
pub mod iot;
pub mod masses;
pub mod micro;
pub mod mqtt;
pub mod outside;
pub mod plan;
pub mod pool;
pub mod printer;
pub mod report;
pub mod results;
pub mod sessions;
pub mod sim;
pub mod stopwatch;
pub mod storm;
pub mod subject;

use std::collections::BTreeMap;
use std::error::Error;

/// What can go wrong here ends the run with its text.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The figures of one measured process by name; the name ends with the unit.
pub type Figures = BTreeMap<String, f64>;

/// Figures from a list.
#[must_use]
pub fn figures<const N: usize>(list: [(&str, f64); N]) -> Figures {
    list.into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
