//! The schedule is a function of the seed and the time, and leaves everything time to recover.

use std::collections::BTreeSet;

use super::*;

const HOUR: Millis = 3600 * SECOND;

/// The first faults of a seed. A line that changes makes earlier seeds worthless: that is to be
/// said in the commit that does it.
#[test]
fn a_seed_has_the_same_faults_for_ever() {
    let faults = Schedule::new(7).beginning(0, 40 * SECOND);
    let table: Vec<_> = faults
        .iter()
        .map(|fault| {
            format!(
                "{} {} {:?} {:?}",
                fault.from, fault.until, fault.track, fault.kind
            )
        })
        .collect();
    assert_eq!(table, TABLE, "{table:#?}");
}

const TABLE: [&str; 25] = [
    "10305 15385 Broker Away",
    "10462 15465 AssumeRole Source(Expired)",
    "11210 20649 SessionToken Source(Malformed)",
    "12093 14803 Line Slow(120)",
    "13606 15273 Road Slow(54)",
    "14736 22131 Clock Step(3600)",
    "16645 21821 WebIdentity Source(Truncated)",
    "17237 30395 Iot Source(Throttled)",
    "18366 18366 Token Replaced",
    "19209 19209 Line Cut",
    "19993 19993 Road Cut",
    "20000 20000 Rejection Rejected",
    "22074 22074 Certificate Replaced",
    "23967 34201 Metadata Source(Denied)",
    "24265 26840 Anywhere Source(Oversized)",
    "24501 26553 Line Slow(97)",
    "24722 30508 WorkerA Frozen",
    "27704 32800 WorkerB Frozen",
    "27955 27955 Road Cut",
    "30119 35373 Store Away",
    "30432 31830 Line Slow(94)",
    "32594 36964 Clock Step(-3600)",
    "33624 33624 Road Cut",
    "38668 38668 Line Cut",
    "39253 39253 Road Cut",
];

#[test]
fn neither_the_length_of_a_run_nor_the_order_of_questions_changes_a_fault() {
    let schedule = Schedule::new(4711);
    let whole = schedule.beginning(0, HOUR);
    // The last piece is asked for first.
    let mut pieces: Vec<_> = (0..HOUR / 50)
        .rev()
        .map(|piece| schedule.beginning(piece * 50, piece * 50 + 50))
        .collect();
    pieces.reverse();
    assert_eq!(pieces.concat(), whole);
    assert_eq!(Schedule::new(4711).beginning(0, HOUR), whole);
}

#[test]
fn another_seed_has_other_faults() {
    let faults = |seed| Schedule::new(seed).beginning(0, 60 * SECOND);
    for seed in 0..100 {
        assert_ne!(faults(seed), faults(seed + 1), "{seed}");
    }
}

#[test]
fn faults_of_a_track_never_overlap_and_none_is_in_the_calm() {
    for seed in 0..50 {
        let schedule = Schedule::new(seed);
        for track in TRACKS {
            let mut free_from = CALM;
            for fault in schedule.of_track(track, 0, HOUR) {
                assert!(fault.from >= free_from, "{seed}: {fault:?}");
                assert!(fault.until >= fault.from, "{seed}: {fault:?}");
                free_from = fault.until + 1;
            }
        }
    }
}

#[test]
fn a_source_is_well_for_a_while_between_two_faults() {
    for seed in 0..50 {
        for track in [Track::AssumeRole, Track::Iot, Track::Metadata] {
            let faults: Vec<_> = Schedule::new(seed).of_track(track, 0, HOUR).collect();
            for pair in faults.windows(2) {
                assert!(
                    pair[1].from - pair[0].until >= 8 * SECOND,
                    "{seed}: {pair:?}"
                );
            }
        }
    }
}

#[test]
fn every_kind_of_fault_happens_within_an_hour() {
    let faults = Schedule::new(1).beginning(0, HOUR);
    let seen: BTreeSet<_> = faults
        .iter()
        .map(|fault| format!("{:?}", fault.kind))
        .collect();
    for trouble in TROUBLES {
        let name = format!("{:?}", Kind::Source(trouble));
        assert!(seen.contains(&name), "{name}");
    }
    for step in STEPS {
        assert!(seen.contains(&format!("{:?}", Kind::Step(step))), "{step}");
    }
    for kind in [
        Kind::Cut,
        Kind::Away,
        Kind::Replaced,
        Kind::Missing,
        Kind::Rejected,
        Kind::Frozen,
        Kind::Killed,
    ] {
        assert!(seen.contains(&format!("{kind:?}")), "{kind:?}");
    }
    let tracks: BTreeSet<_> = faults.iter().map(|fault| fault.track).collect();
    assert_eq!(tracks.len(), TRACKS.len());
}

#[test]
fn rejections_keep_to_the_pace_at_which_they_are_honoured() {
    let mut honoured_from = 0;
    for number in 0..20 {
        let at = rejection(number);
        assert!(at >= honoured_from, "{number}");
        honoured_from = at + ((5 * SECOND) << number.min(10)).min(300 * SECOND);
    }
}
