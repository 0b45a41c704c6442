//! What all variants happen in: simulated time with its events, STS, those who call, and what is
//! counted.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use super::rules::{Bucket, HOUR, MINUTE, Millis, SECOND};

/// How much is simulated.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    /// Processes, of which `of_a_host` share a host in the variant with a host cache.
    pub(super) processes: u32,
    pub(super) of_a_host: u32,
    /// Each process has a session of each.
    pub(super) roles: u32,
    /// What STS allows, in calls a second; the burst is as large.
    pub(super) sts_rate: f64,
}

/// The day.
pub(super) const DAY: Millis = 24 * HOUR;
/// Processes begin one after the other, as in a deployment.
pub(super) const DEPLOYMENT: Millis = HOUR;
/// STS answers 503.
pub(super) const STS_OUTAGE: Range<Millis> = 10 * HOUR..11 * HOUR;
/// The store answers nothing. What it has kept has expired when it is back.
pub(super) const STORE_OUTAGE: Range<Millis> = 17 * HOUR..18 * HOUR;
/// What happens this long after an outage is counted as its consequence.
const AFTERMATH: Millis = 2 * HOUR;
/// From one call of a session to the next, on average.
pub(super) const CALLS: f64 = 60e3;
/// A host lives so long on average: 1 % die in an hour.
pub(super) const LIFE: f64 = 100.0 * 3600e3;
/// From a host's death until it is there again.
pub(super) const RESTART: Millis = MINUTE;
/// How long STS takes to answer.
const LATENCY: Range<Millis> = 50..150;

/// What happens next to whom: a process, a host or a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Begin,
    Die,
    /// A refresh is due.
    Start,
    /// A caller finds it due.
    StartForCaller,
    /// The limiter gives permits.
    Drive,
    Answer,
    /// At the store, again.
    Look,
    /// Callers begin to wait for it.
    Promote,
}

const KINDS: [Kind; 8] = [
    Kind::Begin,
    Kind::Die,
    Kind::Start,
    Kind::StartForCaller,
    Kind::Drive,
    Kind::Answer,
    Kind::Look,
    Kind::Promote,
];

/// An event in one word, in the order of time: 27 bits of milliseconds, a stamp of 14, the kind,
/// and whose it is in 20.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Packed(u64);

#[derive(Clone, Copy, Debug)]
pub(super) struct Happening {
    pub(super) kind: Kind,
    pub(super) whose: u32,
    /// Which life of the process it belongs to.
    pub(super) stamp: u16,
}

const STAMPS: u16 = 1 << 14;

/// What STS makes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Given,
    Throttled,
    Dead,
}

/// Which part of the day something is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Otherwise,
    StsOutage,
    StoreOutage,
}

/// What is counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// By second.
    pub(super) calls: Vec<u32>,
    pub(super) throttled: u64,
    pub(super) dead: u64,
    pub(super) waited_for_the_first: u64,
    /// By part of the day.
    pub(super) waited: [u64; 3],
    pub(super) errors: [u64; 3],
    pub(super) longest_wait: Millis,
    /// When a caller of a session that had a set last got an error of the outage of STS.
    pub(super) last_error: Millis,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Millis,
    pub(super) rng: fastrand::Rng,
    pub(super) seen: Seen,
    /// The events of the second that it is, and those of later ones, each second's unordered: one
    /// heap of them all would be too large for the processor's cache.
    soon: BinaryHeap<Reverse<Packed>>,
    later: Vec<Vec<Reverse<Packed>>>,
    second: usize,
    sts: Bucket,
}

impl World {
    pub(super) fn new(scale: &Scale, seed: u64) -> Self {
        Self {
            now: 0,
            rng: fastrand::Rng::with_seed(seed),
            seen: Seen {
                calls: vec![0; (DAY / SECOND) as usize],
                ..Seen::default()
            },
            soon: BinaryHeap::new(),
            later: vec![Vec::new(); (DAY / SECOND) as usize],
            second: 0,
            sts: Bucket::full(scale.sts_rate, scale.sts_rate, 0),
        }
    }

    pub(super) fn at(&mut self, time: Millis, kind: Kind, whose: u32, stamp: u16) {
        if time < DAY {
            let stamp = u64::from(stamp % STAMPS);
            let packed = time << 37 | stamp << 23 | (kind as u64) << 20 | u64::from(whose);
            let (second, packed) = ((time / SECOND) as usize, Reverse(Packed(packed)));
            if second <= self.second {
                self.soon.push(packed);
            } else {
                self.later[second].push(packed);
            }
        }
    }

    /// Moves time to the next event.
    pub(super) fn next(&mut self) -> Option<Happening> {
        while self.soon.is_empty() {
            self.second += 1;
            self.soon = std::mem::take(self.later.get_mut(self.second)?).into();
        }
        let Reverse(Packed(packed)) = self.soon.pop()?;
        self.now = packed >> 37;
        Some(Happening {
            kind: KINDS[(packed >> 20 & 7) as usize],
            whose: (packed & 0xF_FFFF) as u32,
            stamp: (packed >> 23) as u16 % STAMPS,
        })
    }

    /// A call to STS, which answers at the time given.
    pub(super) fn call_sts(&mut self) -> (Outcome, Millis) {
        self.seen.calls[(self.now / SECOND) as usize] += 1;
        let outcome = if STS_OUTAGE.contains(&self.now) {
            self.seen.dead += 1;
            Outcome::Dead
        } else {
            self.sts.fill(self.now);
            if self.sts.take() {
                Outcome::Given
            } else {
                self.seen.throttled += 1;
                Outcome::Throttled
            }
        };
        (outcome, self.now + self.rng.u64(LATENCY))
    }

    /// Exponentially distributed.
    pub(super) fn after(&mut self, mean: f64) -> Millis {
        (-mean * (1.0 - self.rng.f64()).ln()).ceil() as Millis
    }

    /// How many calls a session gets in so long a time.
    pub(super) fn calls_in(&mut self, span: Millis) -> u64 {
        let mean = span as f64 / CALLS;
        if mean > 30.0 {
            // Sum of twelve uniform numbers: near enough to a normal one.
            let normal: f64 = (0..12).map(|_| self.rng.f64()).sum::<f64>() - 6.0;
            return (mean + normal * mean.sqrt()).round().max(0.0) as u64;
        }
        let (mut left, mut count) = (self.rng.f64(), 0);
        let end = (-mean).exp();
        while left > end {
            left *= self.rng.f64();
            count += 1;
        }
        count
    }

    pub(super) fn part(&self) -> Part {
        let of =
            |outage: &Range<Millis>| (outage.start..outage.end + AFTERMATH).contains(&self.now);
        match self.now {
            _ if of(&STS_OUTAGE) => Part::StsOutage,
            _ if of(&STORE_OUTAGE) => Part::StoreOutage,
            _ => Part::Otherwise,
        }
    }

    /// Callers waited until now, the first of them since then.
    pub(super) fn waited(&mut self, callers: u64, since: Millis, for_the_first: bool) {
        if callers == 0 {
            return;
        }
        self.seen.longest_wait = self.seen.longest_wait.max(self.now.saturating_sub(since));
        if for_the_first {
            self.seen.waited_for_the_first += callers;
        } else {
            self.seen.waited[self.part() as usize] += callers;
        }
    }

    /// Callers got an error, until then at the latest.
    pub(super) fn failed(&mut self, callers: u64, until: Millis, for_the_first: bool) {
        self.seen.errors[self.part() as usize] += callers;
        if callers > 0 && !for_the_first && self.part() == Part::StsOutage {
            self.seen.last_error = self.seen.last_error.max(until);
        }
    }
}

/// Which life a process is in.
pub(super) fn next_stamp(stamp: u16) -> u16 {
    (stamp + 1) % STAMPS
}
