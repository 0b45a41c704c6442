//! One session in one life of a worker: its records, and the faults that may explain them.

use super::{GRAIN, History, LATE, LEAST_LIFETIME, LONGEST_WAIT, Life, Window};
use crate::record::{Record, What};
use crate::roster::{self, Role, Shape};
use crate::schedule::{Kind, Millis, SECOND, Track};

/// What the rules of sessions look at.
#[derive(Clone, Debug)]
pub(super) struct Story<'a> {
    pub(super) role: &'static Role,
    /// For people: `a#2/host`.
    pub(super) name: String,
    pub(super) from: Millis,
    pub(super) until: Millis,
    pub(super) was_killed: bool,
    pub(super) records: &'a [Record],
    pub(super) windows: &'a [Window],
    /// When the session's wall clock was stepped.
    pub(super) steps: Vec<Millis>,
    /// What is done to the process.
    pub(super) process: Option<Track>,
}

/// A set that a refresh brought.
#[derive(Clone, Copy, Debug)]
pub(super) struct Set<'a> {
    pub(super) key: &'a str,
    pub(super) at: Millis,
    pub(super) took: Millis,
    pub(super) expires: Option<Millis>,
}

impl Set<'_> {
    /// Until when it is certainly served: the local deadline counts from when the source was
    /// asked, by times in whole seconds.
    pub(super) fn usable_until(&self) -> Millis {
        let expires = self.expires.unwrap_or(Millis::MAX);
        expires.saturating_sub(LEAST_LIFETIME + GRAIN + self.took)
    }
}

impl History {
    /// The sessions of all lives.
    pub(super) fn stories(&self) -> Vec<Story<'_>> {
        let lives = self.lives.iter();
        lives
            .flat_map(|(name, life)| self.stories_of(name, life))
            .collect()
    }

    fn stories_of<'a>(&'a self, name: &str, life: &'a Life) -> Vec<Story<'a>> {
        let worker = name.split('#').next().unwrap_or_default();
        let process = match worker {
            "a" => Some(Track::WorkerA),
            "b" => Some(Track::WorkerB),
            _ => None,
        };
        let own = life.records.get("").into_iter().flatten();
        let steps: Vec<_> = own
            .filter(|record| matches!(record.what, What::Stepped { .. }))
            .map(|record| record.at)
            .collect();
        let roles = roster::of(process.is_none()).iter();
        let stories = roles.filter_map(|role| {
            Some(Story {
                role,
                name: format!("{name}/{}", role.name),
                from: life.from,
                until: life.until.unwrap_or(Millis::MAX),
                was_killed: life.was_killed,
                records: life.records.get(role.name)?,
                windows: &self.windows,
                steps: if role.is_stepped {
                    steps.clone()
                } else {
                    Vec::new()
                },
                process,
            })
        });
        stories.collect()
    }
}

impl<'a> Story<'a> {
    pub(super) fn sets(&self) -> impl DoubleEndedIterator<Item = Set<'a>> {
        let records = self.records;
        records.iter().filter_map(|record| match &record.what {
            What::Got { key, expires, took } => Some(Set {
                key,
                at: record.at,
                took: *took,
                expires: *expires,
            }),
            _ => None,
        })
    }

    /// The set that was there at that time.
    pub(super) fn set_at(&self, at: Millis) -> Option<Set<'a>> {
        self.sets().rev().find(|set| set.at <= at)
    }

    /// The faults of the session's sources, and of the machine, each with how long it is felt.
    pub(super) fn faults(&self) -> impl Iterator<Item = (&'a Window, Millis)> {
        let (windows, role) = (self.windows, self.role);
        windows
            .iter()
            .filter(|window| window.track == Track::Machine || role.sources.contains(&window.track))
            // A file that is replaced is no trouble.
            .filter(|window| window.kind != Kind::Replaced)
            .map(|window| (window, window.until().saturating_add(felt(window, role))))
    }

    /// Whether a fault of a source may be felt in this span.
    pub(super) fn is_in_trouble(&self, from: Millis, until: Millis) -> bool {
        self.faults().any(|(window, felt_until)| {
            window.from.saturating_sub(LATE) <= until && from <= felt_until
        })
    }

    /// For how much of this span the process or the machine stood still.
    pub(super) fn stopped(&self, from: Millis, until: Millis) -> Millis {
        let stops = self.windows.iter().filter(|window| self.is_stop(window));
        let stops = stops.filter(|window| window.overlaps(from, until));
        stops
            .map(|window| window.until().min(until) - window.from.max(from))
            .sum()
    }

    /// How often that has happened.
    pub(super) fn stops(&self) -> u64 {
        let stops = self.windows.iter().filter(|window| self.is_stop(window));
        stops.count() as u64
    }

    fn is_stop(&self, window: &Window) -> bool {
        window.track == Track::Machine
            || (Some(window.track) == self.process && window.kind == Kind::Frozen)
    }

    pub(super) fn at(&self, at: Millis, words: impl std::fmt::Display) -> String {
        let (seconds, rest) = (at / SECOND, at % SECOND);
        format!("{} at {seconds}.{rest:03} s: {words}", self.name)
    }
}

/// For how long after its end a fault may make a refresh fail.
///
/// A session's own failures are not: each try asks. What is repeated from memory is: by a base
/// session, whose backoff past the end of its set is at most as long as it has failed so far and a
/// second more (doubling from one second, `brs-core`, `refresh/backoff.rs`); and by what processes
/// share, where several of them may have failed in turns (`brs-shared`, `entry.rs`, `Failure`).
fn felt(window: &Window, role: &Role) -> Millis {
    let length = window.until().saturating_sub(window.from);
    let remembered = match role.shape {
        Shape::Plain | Shape::Pooled => 0,
        Shape::Chained => length + SECOND,
        Shape::Shared => 2 * length + 2 * SECOND,
    };
    remembered.min(LONGEST_WAIT) + LATE
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The session of the roster with that name, in the first worker.
    pub(in super::super) fn story<'a>(
        name: &str,
        records: &'a [Record],
        windows: &'a [Window],
    ) -> Story<'a> {
        let roles = || roster::MAIN.iter();
        Story {
            role: roles().find(|role| role.name == name).unwrap(),
            name: format!("main#1/{name}"),
            from: 0,
            until: 120_000,
            was_killed: false,
            records,
            windows,
            steps: Vec::new(),
            process: None,
        }
    }

    pub(in super::super) fn record(at: Millis, what: What) -> Record {
        Record {
            of: "sts".to_owned(),
            at,
            what,
        }
    }

    pub(in super::super) fn window(track: Track, from: Millis, until: Millis) -> Window {
        Window {
            track,
            kind: Kind::Cut,
            from,
            until: Some(until),
            keys: Vec::new(),
        }
    }

    pub(in super::super) fn started(at: Millis) -> Record {
        let reason = "Advisory".to_owned();
        record(at, What::Started { reason })
    }

    pub(in super::super) fn got(key: &str, at: Millis, expires: Millis) -> Record {
        let what = What::Got {
            key: key.to_owned(),
            expires: Some(expires),
            took: 10,
        };
        record(at, what)
    }

    pub(in super::super) fn refused(at: Millis, next_try: Millis) -> Record {
        let what = What::Refused {
            text: "no".to_owned(),
            took: 10,
            next_try: Some(next_try),
            is_for_a_person: false,
        };
        record(at, what)
    }

    #[test]
    fn a_fault_is_felt_for_longer_where_failures_are_remembered() {
        let windows = [window(Track::AssumeRole, 10_000, 20_000)];
        let until = |name| {
            let story = story(name, &[], &windows);
            let (_, until) = story.faults().next().unwrap();
            until
        };
        assert_eq!(until("sts"), 20_000 + LATE);
        assert_eq!(until("chain"), 31_000 + LATE);
        assert_eq!(until("host"), 42_000 + LATE);
        assert_eq!(story("iot", &[], &windows).faults().count(), 0);
    }

    #[test]
    fn only_what_overlaps_a_stop_counts_as_one() {
        let windows = [window(Track::Machine, 10_000, 13_000)];
        let story = story("sts", &[], &windows);
        assert_eq!(story.stopped(0, 9_000), 0);
        assert_eq!(story.stopped(12_000, 20_000), 1_000);
    }
}
