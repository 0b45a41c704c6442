//! Which fault happens when: a pure function of the seed and the time since the start.
//!
//! Faults belong to *tracks*, such as a source or the broker. A track's time is cut into slots, and
//! each slot has one fault, drawn from the seed, the track and the number of the slot alone: how
//! long a run lasts, and how often or in which order the schedule is asked, changes nothing. Faults
//! of one track never overlap, and leave it time to recover. Nothing happens in the first seconds.

use serde::{Deserialize, Serialize};

/// Milliseconds since the start of the run.
pub(crate) type Millis = u64;

pub(crate) const SECOND: Millis = 1000;

/// How long the calm at the start lasts: every session gets its first set.
pub(crate) const CALM: Millis = 8 * SECOND;

/// Rejections begin when most sessions have had a second set.
const FIRST_REJECTION: Millis = 20 * SECOND;
/// Sets of a soak never live through the first minute in which brs paces rejections: further ones
/// are honoured after 5 s, then twice as long, up to 5 min (`brs-core`, `refresh/pace.rs`).
const REJECTION_PACE: (Millis, Millis) = (5 * SECOND, 300 * SECOND);

/// What a fault happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Track {
    /// AssumeRole of STS.
    AssumeRole,
    /// GetSessionToken of STS.
    SessionToken,
    /// AssumeRoleWithWebIdentity of STS.
    WebIdentity,
    /// The credentials provider of AWS IoT.
    Iot,
    /// IAM Roles Anywhere.
    Anywhere,
    /// The metadata services of containers and instances.
    Metadata,
    /// The network to STS.
    Road,
    /// The network of devices: to AWS IoT, to Roles Anywhere, to the broker.
    Line,
    /// The wall clock of sessions whose sources tell their own time.
    Clock,
    /// The fleet's store.
    Store,
    /// The MQTT broker.
    Broker,
    /// A device's certificate and key, in files.
    Certificate,
    /// A web identity token, in a file.
    Token,
    /// Services reject sets that have not expired.
    Rejection,
    /// A worker process.
    WorkerA,
    /// Another one.
    WorkerB,
    /// The machine itself: never planned, written down when it stands still.
    Machine,
}

/// All that is planned.
pub(crate) const TRACKS: [Track; 16] = [
    Track::AssumeRole,
    Track::SessionToken,
    Track::WebIdentity,
    Track::Iot,
    Track::Anywhere,
    Track::Metadata,
    Track::Road,
    Track::Line,
    Track::Clock,
    Track::Store,
    Track::Broker,
    Track::Certificate,
    Track::Token,
    Track::Rejection,
    Track::WorkerA,
    Track::WorkerB,
];

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// A source fails.
    Source(Trouble),
    /// Connections are cut.
    Cut,
    /// A network is slow: milliseconds more for each piece.
    Slow(u64),
    /// A wall clock is off by so many seconds.
    Step(i64),
    /// A server ends, and returns.
    Away,
    /// A file's content is replaced.
    Replaced,
    /// A file is missing.
    Missing,
    /// Sets are declared expired by the services.
    Rejected,
    /// A process is stopped, and goes on.
    Frozen,
    /// A process is killed, and started again.
    Killed,
    /// The machine stood still.
    Still,
}

/// How a source fails, hangs or lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Trouble {
    ServerError,
    Unavailable,
    Throttled,
    Denied,
    Hangs,
    Drops,
    Malformed,
    Truncated,
    Empty,
    Expired,
    WrongDate,
    Oversized,
    Page,
}

const TROUBLES: [Trouble; 13] = [
    Trouble::ServerError,
    Trouble::Unavailable,
    Trouble::Throttled,
    Trouble::Denied,
    Trouble::Hangs,
    Trouble::Drops,
    Trouble::Malformed,
    Trouble::Truncated,
    Trouble::Empty,
    Trouble::Expired,
    Trouble::WrongDate,
    Trouble::Oversized,
    Trouble::Page,
];

/// What the embedded metadata services can do.
const METADATA_TROUBLES: [Trouble; 5] = [
    Trouble::ServerError,
    Trouble::Unavailable,
    Trouble::Denied,
    Trouble::Hangs,
    Trouble::Expired,
];

const STEPS: [i64; 6] = [-86_400, -3600, -90, 90, 3600, 86_400];

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) track: Track,
    pub(crate) kind: Kind,
    pub(crate) from: Millis,
    /// Equal to `from` where it is a matter of a moment.
    pub(crate) until: Millis,
}

/// The faults of a seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    seed: u64,
}

impl Schedule {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The faults that begin in this span, in the order of their beginning.
    pub(crate) fn beginning(&self, from: Millis, to: Millis) -> Vec<Fault> {
        let mut faults: Vec<_> = TRACKS
            .into_iter()
            .flat_map(|track| self.of_track(track, from, to))
            .collect();
        faults.sort_by_key(|fault| (fault.from, fault.track));
        faults
    }

    fn of_track(self, track: Track, from: Millis, to: Millis) -> impl Iterator<Item = Fault> {
        let first = match track {
            Track::Rejection => 0,
            _ => from.saturating_sub(CALM + phase(track)) / slot(track),
        };
        (first..)
            .map(move |number| self.fault(track, number))
            .take_while(move |fault| slot_start(fault, track) < to)
            .filter(move |fault| (from..to).contains(&fault.from))
    }

    /// The fault of one slot of a track.
    pub(crate) fn fault(&self, track: Track, number: u64) -> Fault {
        let mut rng = fastrand::Rng::with_seed(mix(self.seed, track as u64, number));
        let start = CALM + phase(track) + number * slot(track);
        let (kind, from, length) = match track {
            Track::AssumeRole
            | Track::SessionToken
            | Track::WebIdentity
            | Track::Iot
            | Track::Anywhere => {
                let kind = Kind::Source(TROUBLES[rng.usize(..TROUBLES.len())]);
                (kind, start + within(&mut rng, 0, 10), outage(&mut rng))
            }
            Track::Metadata => {
                let kind = Kind::Source(METADATA_TROUBLES[rng.usize(..METADATA_TROUBLES.len())]);
                (kind, start + within(&mut rng, 0, 10), outage(&mut rng))
            }
            Track::Road | Track::Line => {
                let from = start + within(&mut rng, 0, 3);
                match rng.bool() {
                    true => (Kind::Cut, from, 0),
                    false => (Kind::Slow(rng.u64(20..=150)), from, within(&mut rng, 1, 3)),
                }
            }
            Track::Clock => {
                let kind = Kind::Step(STEPS[rng.usize(..STEPS.len())]);
                let from = start + within(&mut rng, 0, 4);
                (kind, from, within(&mut rng, 3, 9))
            }
            Track::Store => {
                let from = start + within(&mut rng, 0, 10);
                (Kind::Away, from, within(&mut rng, 1, 8))
            }
            Track::Broker => {
                let from = start + within(&mut rng, 0, 15);
                (Kind::Away, from, within(&mut rng, 1, 6))
            }
            Track::Certificate => (Kind::Replaced, start + within(&mut rng, 0, 15), 0),
            Track::Token => {
                let from = start + within(&mut rng, 0, 8);
                match rng.u8(..4) {
                    0 => (Kind::Missing, from, outage(&mut rng)),
                    _ => (Kind::Replaced, from, 0),
                }
            }
            Track::Rejection => (Kind::Rejected, rejection(number), 0),
            Track::WorkerA | Track::WorkerB => {
                let from = start + within(&mut rng, 0, 15);
                match (rng.u8(..3), rng.u8(..3)) {
                    (0, _) => (Kind::Killed, from, within(&mut rng, 0, 3)),
                    // Longer than a set lives.
                    (_, 0) => (Kind::Frozen, from, within(&mut rng, 16, 20)),
                    _ => (Kind::Frozen, from, within(&mut rng, 2, 7)),
                }
            }
            Track::Machine => (Kind::Still, start, 0),
        };
        Fault {
            track,
            kind,
            from,
            until: from + length,
        }
    }
}

/// Two of three are shorter than what is left of a set when it is due, the third outlasts it.
fn outage(rng: &mut fastrand::Rng) -> Millis {
    match rng.u8(..3) {
        0 => within(rng, 9, 14),
        _ => within(rng, 1, 6),
    }
}

/// Milliseconds between two numbers of seconds.
fn within(rng: &mut fastrand::Rng, least: u64, most: u64) -> Millis {
    rng.u64(least * SECOND..=most * SECOND)
}

/// The length of a track's slots: what a fault lasts at most, and time to recover.
const fn slot(track: Track) -> Millis {
    let seconds = match track {
        Track::AssumeRole
        | Track::SessionToken
        | Track::WebIdentity
        | Track::Iot
        | Track::Anywhere
        | Track::Metadata => 32,
        Track::Road | Track::Line => 7,
        Track::Clock => 15,
        Track::Store => 50,
        Track::Broker => 30,
        Track::Certificate => 20,
        Track::Token => 25,
        Track::WorkerA | Track::WorkerB => 40,
        Track::Rejection | Track::Machine => 3600,
    };
    seconds * SECOND
}

/// Tracks do not move in step.
const fn phase(track: Track) -> Millis {
    match track {
        Track::Rejection | Track::Machine => 0,
        _ => (track as Millis * 1700) % (slot(track) / 2),
    }
}

/// Nothing of a slot begins before it.
fn slot_start(fault: &Fault, track: Track) -> Millis {
    match track {
        Track::Rejection => fault.from,
        _ => fault.from - (fault.from - CALM - phase(track)) % slot(track),
    }
}

/// When services reject sets for the n-th time: far enough from the one before to be honoured.
fn rejection(number: u64) -> Millis {
    (0..number).fold(FIRST_REJECTION, |at, before| {
        let doubled = REJECTION_PACE.0 << before.min(10);
        at + (doubled.min(REJECTION_PACE.1) + 5 * SECOND).max(20 * SECOND)
    })
}

/// A seed for one slot: every bit depends on all three (the finalizer of `SplitMix64`).
fn mix(seed: u64, track: u64, number: u64) -> u64 {
    let step = |value: u64| {
        let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    };
    step(step(step(seed) ^ track) ^ number)
}

#[cfg(test)]
mod tests;
