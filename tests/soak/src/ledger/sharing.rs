//! The rules that look at all processes: what the sources have counted, how few calls those that
//! share make, and whether everything was written down.

use super::{Count, History, LATE, Life, Tally};
use crate::record::What;
use crate::roster::LIFETIME_MS;
use crate::schedule::{Kind, Millis, SECOND, Track};

/// A call to a source is made three times at most (the AWS SDK's default, which the other methods
/// have too).
const ATTEMPTS: u64 = 3;
/// A store that failed is left alone for so long: `brs-shared`, `fleet.rs`.
const LEFT_ALONE: Millis = 30 * SECOND;

/// A source has counted no more calls than the sessions have made, each in so many attempts. What
/// a killed process was about to write down is missing.
pub(super) fn counted_there(history: &History) -> Tally {
    let mut tally = Tally::default();
    for Count { sessions, calls } in &history.counts {
        let made: u64 = sessions.iter().map(|name| asked(history, name).0).sum();
        let killed = history.lives.values().filter(|life| life.was_killed);
        let unwritten = killed.count() as u64;
        tally.checked += calls;
        if *calls > (made + unwritten) * ATTEMPTS {
            let words = format!(
                "{}: {calls} calls there, {made} made here",
                sessions.join(", ")
            );
            tally.broken.push(words);
        }
    }
    tally
}

/// How often the sessions of that name have asked their source, and with success.
fn asked(history: &History, name: &str) -> (u64, u64) {
    let records = history
        .lives
        .values()
        .filter_map(|life| life.records.get(name));
    let keys = records.flatten().filter_map(|record| match &record.what {
        What::Asked { key, .. } => Some(u64::from(key.is_some())),
        _ => None,
    });
    keys.fold((0, 0), |(asked, got), key| (asked + 1, got + key))
}

/// Processes that share get a set together in the time in which one of them alone would get one.
/// More are allowed for what keeps them from sharing: a process that is stopped with the lease, a
/// store that is away.
pub(super) fn shared(history: &History) -> Tally {
    /// A set is replaced at the earliest at this part of its life.
    const CYCLE: Millis = LIFETIME_MS * 45 / 100;
    let mut tally = Tally::default();
    let span = history.lives.values().filter_map(|life| life.until).max();
    let span = span.unwrap_or_default();
    let (mut at_once, mut stops, mut alone) = (0, 0, 0);
    for window in &history.windows {
        match (window.track, window.kind) {
            (Track::WorkerA | Track::WorkerB | Track::Machine, _) => stops += 1,
            (Track::Store, Kind::Away) => {
                let length = window.until().min(span).saturating_sub(window.from);
                alone += (length + LEFT_ALONE) / CYCLE + 1;
            }
            _ => {}
        }
    }
    let names = ["main", "a", "b"];
    at_once += names
        .iter()
        .filter(|name| {
            history
                .lives
                .keys()
                .any(|life| life.split('#').next() == Some(**name))
        })
        .count() as u64;
    for name in ["host", "fleet"] {
        let (_, got) = asked(history, name);
        let without_store = if name == "fleet" {
            alone * at_once.saturating_sub(1)
        } else {
            0
        };
        let allowed = span / CYCLE + 1 + at_once + 2 * stops + without_store;
        tally.checked += got;
        if got > allowed {
            tally.broken.push(format!(
                "{name}: {got} sets were fetched in {} s, at most {allowed} expected",
                span / SECOND
            ));
        }
    }
    tally
}

/// Every worker that was not killed has ended by itself, and all that was written was read.
pub(super) fn complete(history: &History) -> Tally {
    let mut tally = Tally::default();
    for (name, life) in &history.lives {
        let ended = |life: &Life| {
            let own = life.records.get("").into_iter().flatten();
            own.clone().any(|record| record.what == What::Ended)
        };
        tally.check(life.was_killed || ended(life), || {
            format!("{name} has not ended by itself")
        });
        let missed = life.records.values().flatten().filter_map(|record| {
            let What::Missed { count } = record.what else {
                return None;
            };
            Some(format!("{name}/{}: {count} events were missed", record.of))
        });
        tally.broken.extend(missed);
        // One line may be cut short by the end.
        let lines = history.garbled.iter().filter(|(of, _)| of == name);
        let garbled = lines.count().saturating_sub(usize::from(life.was_killed));
        if garbled > 0 {
            tally
                .broken
                .push(format!("{name}: {garbled} lines are no records"));
        }
    }
    // Late records of a life that is over would be lost on the rules.
    let late = history.lives.iter().filter(|(_, life)| {
        let until = life.until.unwrap_or(Millis::MAX);
        let mut records = life.records.values().flatten();
        records.any(|record| record.at > until.saturating_add(LATE))
    });
    for (name, _) in late {
        tally.broken.push(format!("{name} goes on after its end"));
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    fn record(of: &str, at: Millis, what: What) -> Record {
        Record {
            of: of.to_owned(),
            at,
            what,
        }
    }

    /// Three workers that end after two minutes, and have asked so often.
    fn history(name: &str, asked: u64) -> History {
        let mut history = History::default();
        for life in ["main#1", "a#1", "b#1"] {
            history.begin(life, 0);
            history.end(life, 120_000, false);
            history.take_in(life, record("", 119_900, What::Ended));
        }
        for number in 0..asked {
            let key = Some(format!("K{number}"));
            let at = number * 1_000;
            history.take_in("a#1", record(name, at, What::Asked { began: at, key }));
        }
        history
    }

    #[test]
    fn more_calls_than_were_made_are_found() {
        let mut history = history("plain", 10);
        let count = |calls| {
            let sessions = vec!["plain"];
            vec![Count { sessions, calls }]
        };
        history.counts = count(30);
        assert!(counted_there(&history).broken.is_empty());
        history.counts = count(31);
        assert_eq!(counted_there(&history).broken.len(), 1);
        // A process that was killed in a call has not written it down.
        history.end("a#1", 120_000, true);
        assert!(counted_there(&history).broken.is_empty());
    }

    #[test]
    fn processes_that_do_not_share_are_found() {
        // A set every seven seconds is one for all; three times as many are one for each.
        assert!(shared(&history("host", 18)).broken.is_empty());
        assert_eq!(shared(&history("host", 54)).broken.len(), 1);
        assert_eq!(shared(&history("fleet", 54)).broken.len(), 1);
        let mut away = history("fleet", 33);
        away.set_absences(Track::Store, &[(20_000, 26_000)]);
        assert!(shared(&away).broken.is_empty());
    }

    #[test]
    fn a_worker_that_has_not_ended_and_what_was_missed_are_found() {
        assert!(complete(&history("host", 1)).broken.is_empty());
        let mut missing = history("host", 1);
        missing.begin("b#2", 50_000);
        assert_eq!(complete(&missing).broken, ["b#2 has not ended by itself"]);
        missing.end("b#2", 60_000, true);
        assert!(complete(&missing).broken.is_empty());
        missing.garbled.push(("b#2".to_owned(), "cut".to_owned()));
        assert!(complete(&missing).broken.is_empty());
        missing
            .garbled
            .push(("main#1".to_owned(), "cut".to_owned()));
        assert_eq!(complete(&missing).broken.len(), 1);
        let mut missed = history("host", 1);
        missed.take_in("a#1", record("host", 9_000, What::Missed { count: 3 }));
        assert_eq!(complete(&missed).broken, ["a#1/host: 3 events were missed"]);
        let mut late = history("host", 1);
        late.take_in("a#1", record("host", 130_000, What::Ended));
        assert_eq!(complete(&late).broken, ["a#1 goes on after its end"]);
    }
}
