//! The rules of callers: what they get, and when they may get nothing.

use super::story::{Set, Story};
use super::{LATE, Tally, Window};
use crate::record::{Caller, What};
use crate::schedule::{Kind, Millis, SECOND, Track};

/// An SDK call makes three attempts, and resolves the credentials for each; the rest is its own.
const ATTEMPTS: u64 = 3;
const CALL: Millis = 5 * SECOND;

/// No caller's error while a valid set exists: one that was there before the call began, is valid
/// until after it ended, and, where a service was called, was not rejected by it.
pub(super) fn withheld(story: &Story<'_>) -> Tally {
    let mut tally = Tally::default();
    for record in story.records {
        let What::Failed {
            caller,
            began,
            text,
            ..
        } = &record.what
        else {
            continue;
        };
        let set = story.set_at(*began);
        let is_valid = set.is_some_and(|set| {
            set.usable_until() > record.at
                && !(*caller == Caller::Client && is_rejected(story.windows, set, record.at))
        });
        tally.check(!is_valid, || {
            let key = set.map_or("", |set| set.key);
            story.at(record.at, format!("{caller:?} had the valid {key}: {text}"))
        });
    }
    tally
}

fn is_rejected(windows: &[Window], set: Set<'_>, at: Millis) -> bool {
    windows.iter().any(|window| {
        window.kind == Kind::Rejected
            && window.from <= at + LATE
            && window.keys.iter().any(|key| key == set.key)
    })
}

/// Every caller's error follows a refresh that failed since the last one that succeeded, and is not
/// repeated for longer than that one's backoff lasts. Services' rejections are excused while brs
/// says that they come too soon after the one before.
pub(super) fn explained(story: &Story<'_>) -> Tally {
    let mut tally = Tally::default();
    for record in story.records {
        let What::Failed {
            began,
            text,
            is_rejection,
            ..
        } = &record.what
        else {
            continue;
        };
        let at = record.at;
        let is_passed_over = *is_rejection
            && story.records.iter().any(|other| {
                matches!(other.what, What::PassedOver { until, .. }
                    if other.at <= at + LATE && *began <= until + LATE)
            });
        if is_passed_over {
            tally.checked += 1;
            tally.excused += 1;
            continue;
        }
        let got_at = story.set_at(*began).map_or(0, |set| set.at);
        // The last one that counts: a call's error may be written down before its refresh's.
        let mut held_until = story.records.iter().filter_map(|other| match other.what {
            What::Refused { next_try, .. } if other.at <= at + LATE && other.at >= got_at => {
                Some(other.at.max(next_try.unwrap_or_default()))
            }
            _ => None,
        });
        let last = held_until.next_back();
        tally.check(
            last.is_some_and(|held_until| at <= held_until + LATE),
            || story.at(at, format!("no failed refresh explains: {text}")),
        );
    }
    tally
}

/// A set is given out past its end only by a session that is statically stable, and after a refresh
/// that failed in a way that may pass. A set that had a stepped wall clock, and whose refresh failed
/// in any way, is valid until both clocks say that it is over. No set comes from nowhere.
pub(super) fn stale(story: &Story<'_>) -> Tally {
    let mut tally = Tally::default();
    for record in story.records {
        let What::Answered {
            key: Some(key),
            calls,
            ..
        } = &record.what
        else {
            continue;
        };
        tally.checked += calls;
        let Some(set) = story.sets().find(|set| set.key == key) else {
            let words = format!("{key} was given out, and no refresh brought it");
            tally.broken.push(story.at(record.at, words));
            continue;
        };
        if set.expires.is_none_or(|expires| record.at <= expires) {
            continue;
        }
        let since = set.at..=record.at + LATE;
        let failures = story.records.iter().filter_map(|other| match other.what {
            What::Refused {
                is_for_a_person, ..
            } if since.contains(&other.at) => Some(is_for_a_person),
            _ => None,
        });
        let failures: Vec<_> = failures.collect();
        let was_stepped = story.role.is_stepped
            && story.windows.iter().any(|window| {
                window.track == Track::Clock
                    && window.overlaps(set.at.saturating_sub(LATE), record.at)
            });
        if story.role.is_stable && failures.contains(&false) || was_stepped && !failures.is_empty()
        {
            tally.excused += 1;
        } else {
            let words = format!("{key} was given out past its end");
            tally.broken.push(story.at(record.at, words));
        }
    }
    tally
}

/// Every call ends within what its refresh may take; an SDK's makes several attempts. The time in
/// which the process stood still does not count.
pub(super) fn answered(story: &Story<'_>) -> Tally {
    let mut tally = Tally::default();
    for record in story.records {
        let (caller, began, longest) = match record.what {
            What::Answered {
                caller,
                from,
                longest,
                ..
            } => (caller, from.saturating_sub(longest), longest),
            What::Failed { caller, began, .. } => (caller, began, record.at - began),
            _ => continue,
        };
        let limit = match caller {
            Caller::Reader => story.role.longest_flight() + 2 * LATE,
            Caller::Client => ATTEMPTS * (story.role.longest_flight() + LATE) + CALL,
        };
        let stopped = story.stopped(began, record.at);
        tally.check(longest <= limit + stopped, || {
            story.at(record.at, format!("{caller:?} waited {longest} ms"))
        });
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::super::story::tests::*;
    use super::*;

    fn error(caller: Caller, began: Millis, at: Millis) -> crate::record::Record {
        record(
            at,
            What::Failed {
                caller,
                began,
                text: "no".to_owned(),
                is_rejection: caller == Caller::Client,
            },
        )
    }

    fn read(key: &str, at: Millis) -> crate::record::Record {
        let what = What::Answered {
            caller: Caller::Reader,
            key: Some(key.to_owned()),
            from: at - 900,
            calls: 10,
            longest: 3,
        };
        record(at, what)
    }

    #[test]
    fn an_error_beside_a_valid_set_is_found() {
        let outage = [window(Track::AssumeRole, 5_000, 40_000)];
        let mut records = vec![got("A", 1_000, 16_000), refused(9_000, 12_000)];
        records.push(error(Caller::Reader, 10_000, 10_010));
        let found = withheld(&story("sts", &records, &outage));
        assert_eq!((found.checked, found.broken.len()), (1, 1), "{found:?}");
        // Past the set's end there is none.
        records.pop();
        records.push(error(Caller::Reader, 16_500, 17_000));
        assert!(withheld(&story("sts", &records, &outage)).broken.is_empty());
    }

    #[test]
    fn a_services_error_beside_a_valid_set_is_found_unless_the_service_rejected_it() {
        let records = [got("A", 1_000, 16_000), error(Caller::Client, 5_000, 5_100)];
        assert_eq!(withheld(&story("sts", &records, &[])).broken.len(), 1);
        let mut rejected = window(Track::Rejection, 4_900, 4_900);
        (rejected.kind, rejected.keys) = (Kind::Rejected, vec!["A".to_owned()]);
        let windows = [rejected];
        assert!(
            withheld(&story("sts", &records, &windows))
                .broken
                .is_empty()
        );
        // A reader still has it.
        let records = [got("A", 1_000, 16_000), error(Caller::Reader, 5_000, 5_100)];
        assert_eq!(withheld(&story("sts", &records, &windows)).broken.len(), 1);
    }

    #[test]
    fn an_error_without_a_failed_refresh_before_it_is_found() {
        let late = error(Caller::Reader, 20_000, 20_100);
        let alone = [got("A", 1_000, 16_000), late.clone()];
        assert_eq!(explained(&story("sts", &alone, &[])).broken.len(), 1);
        // One that failed before the set was there explains nothing.
        let before = [refused(900, 900), got("A", 1_000, 16_000), late.clone()];
        assert_eq!(explained(&story("sts", &before, &[])).broken.len(), 1);
        let since = [got("A", 1_000, 16_000), refused(19_500, 20_200), late];
        assert!(explained(&story("sts", &since, &[])).broken.is_empty());
    }

    #[test]
    fn an_error_that_is_repeated_after_the_backoff_is_found() {
        let records = |at| [refused(10_000, 11_000), error(Caller::Reader, at, at)];
        assert!(
            explained(&story("sts", &records(11_000), &[]))
                .broken
                .is_empty()
        );
        let found = explained(&story("sts", &records(13_000), &[]));
        assert_eq!(found.broken.len(), 1, "{found:?}");
    }

    #[test]
    fn a_rejection_that_comes_too_soon_is_excused_for_as_long_as_that_lasts() {
        let passed_over = record(
            5_000,
            What::PassedOver {
                key: "A".to_owned(),
                until: 9_000,
            },
        );
        let at = |at| {
            let records = [
                got("A", 1_000, 16_000),
                passed_over.clone(),
                error(Caller::Client, at, at),
            ];
            explained(&story("sts", &records, &[]))
        };
        assert_eq!((at(6_000).excused, at(6_000).broken.len()), (1, 0));
        assert_eq!((at(12_000).excused, at(12_000).broken.len()), (0, 1));
    }

    #[test]
    fn an_expired_set_is_found_unless_the_session_is_stable_and_its_refresh_failed() {
        let records = [got("A", 1_000, 16_000), read("A", 17_000)];
        assert_eq!(stale(&story("sts", &records, &[])).broken.len(), 1);
        let records = [
            got("A", 1_000, 16_000),
            refused(15_000, 15_000),
            read("A", 17_000),
        ];
        let found = stale(&story("sts", &records, &[]));
        assert_eq!((found.excused, found.broken.len()), (1, 0));
        assert_eq!(stale(&story("function", &records, &[])).broken.len(), 1);
    }

    #[test]
    fn a_stepped_clock_excuses_an_expired_set_while_its_source_fails() {
        let step = [window(Track::Clock, 8_000, 12_000)];
        let records = [
            got("A", 1_000, 16_000),
            refused(15_000, 15_000),
            read("A", 17_000),
        ];
        // Not statically stable, with a clock of its own.
        assert_eq!(stale(&story("anywhere", &records, &[])).broken.len(), 1);
        assert_eq!(stale(&story("anywhere", &records, &step)).excused, 1);
        assert_eq!(stale(&story("command", &records, &step)).broken.len(), 1);
        let records = [got("A", 1_000, 16_000), read("A", 17_000)];
        assert_eq!(stale(&story("anywhere", &records, &step)).broken.len(), 1);
    }

    #[test]
    fn a_set_from_nowhere_is_found() {
        let records = [got("A", 1_000, 16_000), read("B", 2_000)];
        let found = stale(&story("sts", &records, &[]));
        assert_eq!((found.checked, found.broken.len()), (10, 1));
    }

    #[test]
    fn a_call_that_waits_for_too_long_is_found_unless_the_process_stood_still() {
        let waited = error(Caller::Reader, 1_000, 9_000);
        let records = [waited];
        assert_eq!(answered(&story("sts", &records, &[])).broken.len(), 1);
        let stop = [window(Track::Machine, 2_000, 8_000)];
        assert!(answered(&story("sts", &records, &stop)).broken.is_empty());
        // On top of another session there is more time.
        let records = [error(Caller::Reader, 1_000, 9_000)];
        assert!(answered(&story("chain", &records, &[])).broken.is_empty());
    }
}
