//! The rules of refreshes: when they may fail, how often they happen, and that they go on.

use super::story::Story;
use super::{GRAIN, Tally};
use crate::record::{Record, What};
use crate::roster::{LIFETIME_MS, Shape};
use crate::schedule::{Millis, SECOND};

/// The start of the advisory window of a set that lives less than ten minutes, moved earlier by up
/// to a tenth of the window: `brs-core`, `refresh/times.rs`.
const DUE_PERCENT: u64 = 45;
/// The same of a pool's set whose refresh had failed before: moved earlier by up to half of it
/// (`ADVISORY_SPREAD`).
const SPREAD_PERCENT: u64 = 25;
/// How much earlier than planned something may look, since times are taken where events are read.
const EARLY: Millis = SECOND / 2;
/// How long a failure that only a person can fix is repeated from memory: `refresh/backoff.rs`.
const MEMORY: Millis = 5 * SECOND;
/// What has been done to a session makes a refresh due, which may begin this much later.
const NUDGE: Millis = 2 * SECOND;

/// A refresh fails only in a fault of its source, or while that is still felt.
pub(super) fn caused(story: &Story<'_>) -> Tally {
    let mut tally = Tally::default();
    for record in story.records {
        let What::Refused { text, took, .. } = &record.what else {
            continue;
        };
        let began = record.at.saturating_sub(*took);
        tally.check(story.is_in_trouble(began, record.at), || {
            story.at(
                record.at,
                format!("a refresh failed without a fault: {text}"),
            )
        });
    }
    tally
}

/// What happened to a session last.
#[derive(Clone, Copy, Debug)]
enum Last {
    Nothing,
    Got {
        asked: Millis,
        /// From its arrival on.
        life: Option<Millis>,
        due_percent: u64,
    },
    /// The past failures are those since the set's end.
    Refused {
        at: Millis,
        left: Option<Millis>,
        past: u32,
        is_for_a_person: bool,
    },
}

impl Last {
    /// Before that no refresh may start.
    fn earliest(self) -> Millis {
        let lifetime = LIFETIME_MS;
        match self {
            Self::Nothing | Self::Got { life: None, .. } => 0,
            Self::Got {
                asked,
                life: Some(life),
                due_percent,
            } => (asked + life * due_percent / 100).saturating_sub(GRAIN),
            // Half of what is left, at least a twentieth of the lifetime.
            Self::Refused {
                at,
                left: Some(left),
                ..
            } => at + (left / 2).saturating_sub(GRAIN).max(lifetime / 20),
            Self::Refused {
                at,
                is_for_a_person: true,
                ..
            } => at + MEMORY,
            // The first failure starts no wait, the others double it from a second on, less a fifth.
            Self::Refused { at, past: ..2, .. } => at,
            Self::Refused { at, past, .. } => {
                at + (SECOND << (past - 2).min(10)).min(60 * SECOND) * 4 / 5
            }
        }
    }
}

/// A refresh starts when its set is due, or when the backoff of the failure before it has ended.
/// A rejected set and a stepped wall clock make it due at once.
pub(super) fn paced(story: &Story<'_>) -> Tally {
    let mut tally = Tally::default();
    let (mut last, mut end, mut past) = (Last::Nothing, None, 0);
    // Events may be read late; when the source answered was written down by the refresh itself.
    let mut answered = None;
    for record in story.records {
        match &record.what {
            What::Started { reason } => {
                let earliest = last.earliest().saturating_sub(EARLY);
                tally.checked += 1;
                if record.at >= earliest {
                    continue;
                }
                if is_nudged(story, record) {
                    tally.excused += 1;
                } else {
                    let words =
                        format!("a refresh ({reason}) {} ms too early", earliest - record.at);
                    tally.broken.push(story.at(record.at, words));
                }
            }
            What::Asked { .. } => answered = Some(record.at),
            What::Got { expires, took, .. } => {
                let at = answered.take().unwrap_or(record.at);
                let asked = at.saturating_sub(*took);
                // What a slow or stopped flight took is not counted as lifetime: `times.rs`.
                (end, past) = (expires.map(|expires| expires.saturating_sub(*took)), 0);
                let is_spread =
                    story.role.shape == Shape::Pooled && matches!(last, Last::Refused { .. });
                last = Last::Got {
                    asked,
                    life: expires.map(|expires| expires.saturating_sub(at)),
                    due_percent: if is_spread {
                        SPREAD_PERCENT
                    } else {
                        DUE_PERCENT
                    },
                };
            }
            What::Refused {
                is_for_a_person, ..
            } => {
                let at = answered.take().unwrap_or(record.at);
                let left = end.map(|end: Millis| end.saturating_sub(at));
                // Near its end it may or may not count as expired.
                let left = left.filter(|left| *left > 2 * SECOND + GRAIN);
                past = if left.is_some() { 0 } else { past + 1 };
                let is_at_the_end = end.is_some_and(|end| at < end);
                last = Last::Refused {
                    at,
                    left,
                    past: if is_at_the_end { 0 } else { past },
                    is_for_a_person: *is_for_a_person && !is_at_the_end,
                };
                if is_at_the_end {
                    past = 0;
                }
            }
            _ => {}
        }
    }
    tally
}

fn is_nudged(story: &Story<'_>, started: &Record) -> bool {
    let just_before = |at: Millis| at <= started.at + EARLY && started.at <= at + NUDGE;
    let is_invalidated = story
        .records
        .iter()
        .any(|record| matches!(record.what, What::Invalidated { .. }) && just_before(record.at));
    is_invalidated || story.steps.iter().copied().any(just_before)
}

/// A flight asks its source once; behind a limiter it tries again, and so it does where the process
/// was stopped meanwhile.
pub(super) fn counted(story: &Story<'_>) -> Tally {
    let mut tally = Tally::default();
    let count = |is_such: fn(&What) -> bool| {
        let such = story.records.iter().filter(|record| is_such(&record.what));
        such.count() as u64
    };
    let asked = count(|what| matches!(what, What::Asked { .. }));
    let started = count(|what| matches!(what, What::Started { .. }));
    let allowed = started * story.role.tries() + story.stops();
    tally.checked = asked;
    if asked > allowed {
        let words = format!("{asked} calls to the source in {started} refreshes");
        tally.broken.push(story.at(story.until, words));
    }
    tally
}

/// While its source is well a session gets a set in every lifetime; half as many will do.
pub(super) fn alive(story: &Story<'_>) -> Tally {
    let until = story
        .until
        .min(story.records.last().map_or(0, |last| last.at));
    let span = until.saturating_sub(story.from);
    let trouble: Millis = story
        .faults()
        .map(|(window, felt_until)| felt_until.min(until).saturating_sub(window.from))
        .sum();
    let well = span.saturating_sub(trouble + story.stopped(story.from, until));
    let (sets, least) = (story.sets().count() as u64, well / LIFETIME_MS / 2);
    let mut tally = Tally::default();
    tally.check(sets >= least, || {
        let words = format!(
            "{sets} sets in {} s, at least {least} expected",
            span / SECOND
        );
        story.at(until, words)
    });
    tally
}

/// A session that was not killed is ready again when there are no more faults.
pub(super) fn recovered(story: &Story<'_>) -> Tally {
    let mut tally = Tally::default();
    if !story.was_killed {
        let is_ready = |record: &Record| record.what == What::Ready { is_ready: true };
        tally.check(story.records.iter().any(is_ready), || {
            story.at(story.until, "not ready again")
        });
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::super::story::tests::*;
    use super::*;
    use crate::schedule::Track;

    fn asked(at: Millis) -> Record {
        record(
            at,
            What::Asked {
                began: at,
                key: Some("A".to_owned()),
            },
        )
    }

    fn breaks(records: &[Record]) -> usize {
        paced(&story("sts", records, &[])).broken.len()
    }

    #[test]
    fn a_refresh_that_fails_without_a_fault_is_found() {
        let records = [refused(20_000, 21_000)];
        let caused_by = |windows: &[_]| caused(&story("sts", &records, windows)).broken.len();
        assert_eq!(caused_by(&[]), 1);
        assert_eq!(caused_by(&[window(Track::Iot, 19_000, 21_000)]), 1);
        assert_eq!(caused_by(&[window(Track::AssumeRole, 10_000, 15_000)]), 1);
        assert_eq!(caused_by(&[window(Track::AssumeRole, 19_000, 21_000)]), 0);
        assert_eq!(caused_by(&[window(Track::Machine, 19_000, 21_000)]), 0);
    }

    #[test]
    fn a_refresh_before_the_set_is_due_is_found() {
        let after = |at| [started(1_000), got("A", 1_000, 16_000), started(at)];
        assert_eq!(breaks(&after(3_000)), 1);
        assert_eq!(breaks(&after(7_800)), 0);
    }

    #[test]
    fn a_pools_set_is_due_earlier_after_a_failure() {
        let records = [refused(900, 900), got("A", 1_000, 16_000), started(5_000)];
        assert_eq!(breaks(&records), 1);
        let of_pool = |records: &[Record]| paced(&story("pool-1", records, &[])).broken.len();
        assert_eq!(of_pool(&records), 0);
        assert_eq!(of_pool(&records[1..]), 1);
    }

    #[test]
    fn a_refresh_is_early_for_a_reason_after_a_rejection_and_a_step() {
        let invalidated = What::Invalidated {
            key: "A".to_owned(),
        };
        let records = [
            got("A", 1_000, 16_000),
            record(2_900, invalidated),
            started(3_000),
        ];
        let found = paced(&story("sts", &records, &[]));
        assert_eq!((found.excused, found.broken.len()), (1, 0));
        let records = [got("A", 1_000, 16_000), started(3_000)];
        let mut stepped = story("sts", &records, &[]);
        stepped.steps = vec![2_800];
        assert_eq!(paced(&stepped).excused, 1);
        stepped.steps = vec![500];
        assert_eq!(paced(&stepped).broken.len(), 1);
    }

    #[test]
    fn a_refresh_within_the_backoff_of_a_valid_set_is_found() {
        // Seven seconds are left: the source is left alone for three and a half.
        let after = |at| [got("A", 1_000, 16_000), refused(9_000, 12_500), started(at)];
        assert_eq!(breaks(&after(10_000)), 1);
        assert_eq!(breaks(&after(12_500)), 0);
    }

    #[test]
    fn what_a_flight_took_is_no_part_of_its_sets_life() {
        let slow = What::Got {
            key: "A".to_owned(),
            expires: Some(16_000),
            took: 6_000,
        };
        let records = [
            record(7_000, slow),
            refused(11_000, 11_000),
            started(11_100),
        ];
        assert_eq!(breaks(&records), 0);
        let records = [
            got("A", 1_000, 16_000),
            refused(11_000, 11_000),
            started(11_100),
        ];
        assert_eq!(breaks(&records), 1);
    }

    #[test]
    fn events_that_are_read_late_are_judged_by_when_the_source_answered() {
        let late = |asked: Option<Record>| {
            let mut records = vec![got("A", 1_000, 16_000)];
            for (answered, read) in [(16_500, 16_600), (16_700, 18_000)] {
                records.push(started(answered - 50));
                records.extend(asked.clone());
                if let Some(asked) = records.last_mut()
                    && matches!(asked.what, What::Asked { .. })
                {
                    asked.at = answered;
                }
                records.push(refused(read, read));
            }
            records.push(started(18_000));
            breaks(&records)
        };
        assert_eq!(late(Some(asked(0))), 0);
        assert_eq!(late(None), 1);
    }

    #[test]
    fn refreshes_that_do_not_wait_longer_and_longer_are_found() {
        let mut records = vec![got("A", 1_000, 16_000)];
        // Waits past the end: none, 1 s, 2 s, 4 s.
        for at in [16_500, 16_600, 17_700, 19_800] {
            records.push(started(at));
            records.push(refused(at + 50, at + 50));
        }
        records.push(started(23_900));
        assert_eq!(breaks(&records), 0);
        records.push(refused(23_950, 23_950));
        records.push(started(26_000));
        assert_eq!(breaks(&records), 1);
    }

    #[test]
    fn what_only_a_person_can_fix_is_not_asked_for_five_seconds() {
        let for_a_person = What::Refused {
            text: "no".to_owned(),
            took: 10,
            next_try: Some(22_000),
            is_for_a_person: true,
        };
        let after = |at| {
            let refused = record(17_000, for_a_person.clone());
            [got("A", 1_000, 16_000), refused, started(at)]
        };
        assert_eq!(breaks(&after(19_000)), 1);
        assert_eq!(breaks(&after(22_000)), 0);
    }

    #[test]
    fn more_calls_than_refreshes_allow_are_found() {
        let records = [started(1_000), asked(1_100), asked(1_200)];
        assert_eq!(counted(&story("sts", &records, &[])).broken.len(), 1);
        let stop = [window(Track::Machine, 1_150, 3_000)];
        assert!(counted(&story("sts", &records, &stop)).broken.is_empty());
        assert!(counted(&story("pool-1", &records, &[])).broken.is_empty());
        let many: Vec<_> = std::iter::once(started(1_000))
            .chain((0..11).map(|n| asked(1_100 + n)))
            .collect();
        assert_eq!(counted(&story("pool-1", &many, &[])).broken.len(), 1);
    }

    #[test]
    fn a_session_that_gets_no_more_sets_is_found() {
        let records = [got("A", 1_000, 16_000), started(119_000)];
        assert_eq!(alive(&story("sts", &records, &[])).broken.len(), 1);
        let outage = [window(Track::AssumeRole, 10_000, 110_000)];
        assert!(alive(&story("sts", &records, &outage)).broken.is_empty());
    }

    #[test]
    fn a_session_that_is_not_ready_at_the_end_is_found() {
        for (is_ready, broken) in [(true, 0), (false, 1)] {
            let records = [record(119_000, What::Ready { is_ready })];
            assert_eq!(recovered(&story("sts", &records, &[])).broken.len(), broken);
        }
        assert_eq!(recovered(&story("sts", &[], &[])).broken.len(), 1);
        let mut killed = story("sts", &[], &[]);
        killed.was_killed = true;
        assert_eq!(recovered(&killed), Tally::default());
    }
}
