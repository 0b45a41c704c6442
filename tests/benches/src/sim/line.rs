//! A process of brs: its limiter, and those in line at it.

use std::collections::BTreeSet;

use super::rules::{BURST, Bucket, Millis, RATE};

#[derive(Clone, Debug)]
pub(super) struct Process {
    /// Which of its lives it is in.
    pub(super) stamp: u16,
    pub(super) begun: Millis,
    pub(super) bucket: Bucket,
    pub(super) is_driven: bool,
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
            is_driven: false,
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
        if self.line.is_empty() && self.bucket.take() {
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
        if self.line.is_empty() || !self.bucket.take() {
            return None;
        }
        self.line.pop_first().map(|(_, _, whose)| whose)
    }

    pub(super) fn drive_again(&mut self, now: Millis) -> Option<Millis> {
        let is_to_be = !self.line.is_empty() && !self.is_driven;
        self.is_driven |= is_to_be;
        is_to_be.then(|| now + self.bucket.until_next())
    }
}
