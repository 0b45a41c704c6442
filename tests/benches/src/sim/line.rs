//! A process of brs: its limiter, and those in line at it.

use std::collections::BTreeSet;

use super::rules::{BURST, Bucket, Millis, Outage, RATE};
use super::world::Outcome;

#[derive(Clone, Debug)]
pub(super) struct Process {
    /// Which of its lives it is in.
    pub(super) stamp: u16,
    pub(super) begun: Millis,
    pub(super) bucket: Bucket,
    outage: Option<Outage>,
    /// When the line is driven next.
    drives_at: Option<Millis>,
    pub(super) last_success: Millis,
    pub(super) store_left_alone: Millis,
    /// Those that callers wait for first, then in the order in which they lined up.
    line: BTreeSet<(bool, u32, u32)>,
    numbers: u32,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            stamp: 0,
            begun: 0,
            bucket: Bucket::full(RATE, BURST, 0),
            outage: None,
            drives_at: None,
            last_success: 0,
            store_left_alone: 0,
            line: BTreeSet::new(),
            numbers: 0,
        }
    }
}

impl Process {
    pub(super) fn begin(&mut self, now: Millis) {
        *self = Self {
            stamp: self.stamp,
            begun: now,
            bucket: Bucket::full(RATE, BURST, now),
            last_success: now,
            ..Self::default()
        };
    }

    /// A permit at once, or a number in line and when the line is to be driven, unless it is.
    pub(super) fn line_up(
        &mut self,
        now: Millis,
        whose: u32,
        awaited: bool,
    ) -> Option<(u32, Option<Millis>)> {
        self.bucket.fill(now);
        let is_next = self.line.is_empty() && self.until_asked(awaited, now) == 0;
        if is_next && self.bucket.take() {
            self.granted(now, whose);
            return None;
        }
        self.numbers += 1;
        self.line.insert((!awaited, self.numbers, whose));
        Some((self.numbers, self.drive_again(now)))
    }

    pub(super) fn move_up(&mut self, number: u32, whose: u32) {
        if self.line.remove(&(true, number, whose)) {
            self.line.insert((false, number, whose));
        }
    }

    pub(super) fn leave(&mut self, awaited: bool, number: u32, whose: u32) {
        self.line.remove(&(!awaited, number, whose));
    }

    /// The first that callers wait for, and the first that none waits for.
    pub(super) fn first_of_each(&self) -> impl Iterator<Item = u32> {
        let first = self.line.first();
        let first_unattended = self.line.range((true, 0, 0)..).next();
        [first, first_unattended]
            .into_iter()
            .flatten()
            .map(|(_, _, whose)| *whose)
            .collect::<Vec<_>>()
            .into_iter()
    }

    pub(super) fn next(&mut self, now: Millis) -> Option<u32> {
        self.bucket.fill(now);
        let (unawaited, _, whose) = *self.line.first()?;
        if self.until_asked(!unawaited, now) > 0 || !self.bucket.take() {
            return None;
        }
        self.line.pop_first();
        self.granted(now, whose);
        Some(whose)
    }

    fn granted(&mut self, now: Millis, whose: u32) {
        if let Some(outage) = &mut self.outage {
            outage.probe(whose, now);
        }
    }

    /// How long a call has to wait since the source is down.
    fn until_asked(&self, awaited: bool, now: Millis) -> Millis {
        self.outage.map_or(0, |outage| outage.wait(awaited, now))
    }

    pub(super) fn is_down(&self) -> bool {
        self.outage.is_some()
    }

    /// A call with a permit is over; `None`: the source was not asked.
    pub(super) fn shown(&mut self, whose: u32, outcome: Option<Outcome>, now: Millis) {
        self.outage = Outage::after(self.outage, whose, outcome, now);
    }

    /// Whether the line is to be driven now. An event that an earlier one has overtaken is not one.
    pub(super) fn is_driven(&mut self, now: Millis) -> bool {
        let is_now = self.drives_at == Some(now);
        if is_now {
            self.drives_at = None;
        }
        is_now
    }

    /// When the line is to be driven next, unless that is known already.
    pub(super) fn drive_again(&mut self, now: Millis) -> Option<Millis> {
        let (unawaited, ..) = *self.line.first()?;
        let wait = self.until_asked(!unawaited, now);
        let at = now + self.bucket.until_next().max(wait);
        if self.drives_at.is_some_and(|drives_at| drives_at <= at) {
            return None;
        }
        self.drives_at = Some(at);
        Some(at)
    }
}
