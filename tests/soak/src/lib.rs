//! A soak of brs: sessions of every method, SDK clients, a pool, shared stores and MQTT, together,
//! while a seeded schedule of faults runs, and a ledger of what was promised.
//!
//! Three kinds of processes. The *conductor* owns the servers, applies the faults and keeps the
//! ledger. *Workers* hold the sessions and their callers and write down what they see, a line each;
//! they are the ones that are frozen and killed, and whose memory is looked at. The third is the
//! command of the method `custom`, which prints credentials.
//!
//! - `schedule`: which fault happens when, a pure function of the seed and the time;
//! - `roster`: which sessions there are, and on which sources each depends;
//! - `world`: the servers and files, and how a fault is applied to them;
//! - `conductor`, `processes`: the run itself;
//! - `worker`: sessions, callers, MQTT; `record` is what they write down;
//! - `ledger`: the rules, pure functions of the records and of the faults that were applied;
//! - `issue`: the command.
//!
//! A further way to hand out credentials joins by one more row of the `roster`, the code in
//! `worker::sessions` that opens it, and, if it is a process of its own, one more row of
//! `conductor::WORKERS`.

pub mod conductor;
pub mod issue;
mod ledger;
mod processes;
mod record;
mod roster;
mod schedule;
mod secrets;
pub mod worker;
mod world;

/// Whatever went wrong in the soak itself.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
