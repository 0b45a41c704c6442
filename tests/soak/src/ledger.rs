//! The ledger: what was promised, checked against what was written down and what was done to the
//! sessions.
//!
//! Every rule is a pure function; what it needs is in a [`History`], or in the [`Evidence`] that was
//! gathered from outside. A rule counts what it has looked at, since a rule that looked at nothing
//! says nothing, and what a fault or another rule of brs excuses. The rules restate brs's own
//! (`brs-core`, `refresh/`), with these slacks.

mod calls;
mod messages;
mod refreshes;
mod sharing;
mod story;
mod table;
mod usage;

use std::collections::BTreeMap;

use crate::processes::Sample;
use crate::record::{Record, What};
use crate::schedule::{Kind, Millis, SECOND, Track};
pub(crate) use table::render;

/// How late something may be written down: records come from several tasks of several processes,
/// and the machine has other work. The conductor measures longer standstills of the machine.
const LATE: Millis = 1500;
/// STS and `Date` headers tell whole seconds.
const GRAIN: Millis = SECOND;
/// A set with less left counts as expired: `brs-core`, `refresh/times.rs`, `LEAST_LIFETIME`.
const LEAST_LIFETIME: Millis = SECOND;
/// The longest wait of a source that fails: `brs-core`, `refresh/backoff.rs`, `soon`.
const LONGEST_WAIT: Millis = 60 * SECOND;

/// A fault as it was applied.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Window {
    pub(crate) track: Track,
    pub(crate) kind: Kind,
    pub(crate) from: Millis,
    /// `None`: it still lasts.
    pub(crate) until: Option<Millis>,
    /// The sets that services rejected.
    pub(crate) keys: Vec<String>,
}

impl Window {
    fn until(&self) -> Millis {
        self.until.unwrap_or(Millis::MAX)
    }

    fn overlaps(&self, from: Millis, until: Millis) -> bool {
        self.from <= until && from <= self.until()
    }
}

/// How often a source was called, by its own count.
#[derive(Clone, Debug)]
pub(crate) struct Count {
    /// The sessions that call it.
    pub(crate) sessions: Vec<&'static str>,
    pub(crate) calls: u64,
}

/// One life of a worker process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life {
    from: Millis,
    until: Option<Millis>,
    was_killed: bool,
    /// By what they are of; the worker's own are of nothing.
    records: BTreeMap<String, Vec<Record>>,
}

/// What happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) windows: Vec<Window>,
    /// By their names: `a#2`.
    lives: BTreeMap<String, Life>,
    /// Lines that are no record.
    pub(crate) garbled: Vec<(String, String)>,
    /// From when on there were no faults.
    pub(crate) calm_from: Millis,
    pub(crate) counts: Vec<Count>,
}

impl History {
    pub(crate) fn begin(&mut self, life: &str, at: Millis) {
        self.lives.entry(life.to_owned()).or_default().from = at;
    }

    pub(crate) fn end(&mut self, life: &str, at: Millis, was_killed: bool) {
        let life = self.lives.entry(life.to_owned()).or_default();
        (life.until, life.was_killed) = (Some(at), was_killed);
    }

    pub(crate) fn take_in(&mut self, life: &str, record: Record) {
        let life = self.lives.entry(life.to_owned()).or_default();
        let of = life.records.entry(record.of.clone()).or_default();
        of.push(record);
    }

    /// When a server was really away, in place of when it was told to be.
    pub(crate) fn set_absences(&mut self, track: Track, absences: &[(Millis, Millis)]) {
        self.windows.retain(|window| window.track != track);
        let windows = absences.iter().map(|&(from, until)| Window {
            track,
            kind: Kind::Away,
            from,
            until: Some(until),
            keys: Vec::new(),
        });
        self.windows.extend(windows);
    }

    /// All records as text.
    pub(crate) fn written(&self) -> String {
        let lives = self.lives.values();
        let records = lives.flat_map(|life| life.records.values().flatten());
        records.map(|record| format!("{record:?}\n")).collect()
    }

    /// What has happened so far, in a line.
    pub(crate) fn summary(&self) -> String {
        let (mut answered, mut failed, mut refreshes, mut refused) = (0, 0, 0, 0);
        let records = self.lives.values().flat_map(|life| life.records.values());
        for record in records.flatten() {
            match &record.what {
                What::Answered { calls, .. } => answered += calls,
                What::Failed { .. } => failed += 1,
                What::Got { .. } => refreshes += 1,
                What::Refused { .. } => refused += 1,
                _ => {}
            }
        }
        format!("{answered} calls, {failed} errors; {refreshes} sets, {refused} refreshes failed")
    }
}

/// What was seen from outside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    /// By the lives' names.
    pub(crate) samples: Vec<(String, Vec<Sample>)>,
    /// Where secrets were.
    pub(crate) found: Vec<String>,
    /// How many bytes were searched, for how many secrets.
    pub(crate) searched: u64,
    pub(crate) secrets: u64,
}

/// What a rule found.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    /// What it looked at.
    pub(crate) checked: u64,
    /// What would be wrong, had it no reason.
    pub(crate) excused: u64,
    pub(crate) broken: Vec<String>,
}

impl Tally {
    fn check(&mut self, is_good: bool, words: impl FnOnce() -> String) {
        self.checked += 1;
        if !is_good {
            self.broken.push(words());
        }
    }

    fn add(&mut self, other: Self) {
        self.checked += other.checked;
        self.excused += other.excused;
        self.broken.extend(other.broken);
    }
}

/// A promise, and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) promise: &'static str,
    pub(crate) checked: u64,
    pub(crate) excused: u64,
    pub(crate) broken: Vec<String>,
}

/// Applies every rule.
pub(crate) fn judge(history: &History, evidence: &Evidence) -> Vec<Verdict> {
    type OfStory = fn(&story::Story<'_>) -> Tally;
    let of_stories: [(&'static str, OfStory); 9] = [
        ("no error while a valid set exists", calls::withheld),
        (
            "every error follows a refresh that failed",
            calls::explained,
        ),
        ("expired sets only under static stability", calls::stale),
        ("every call is answered in time", calls::answered),
        (
            "refreshes fail only in a fault of their source",
            refreshes::caused,
        ),
        ("refreshes are as rare as the rules say", refreshes::paced),
        (
            "a refresh asks its source as often as allowed",
            refreshes::counted,
        ),
        ("sessions go on getting sets", refreshes::alive),
        ("sessions are ready again at the end", refreshes::recovered),
    ];
    let stories = history.stories();
    let verdict = |promise, tally: Tally| Verdict {
        promise,
        checked: tally.checked,
        excused: tally.excused,
        // A rule that had nothing to look at has shown nothing.
        broken: match tally.checked {
            0 => vec!["nothing was checked".to_owned()],
            _ => tally.broken,
        },
    };
    let mut verdicts: Vec<_> = of_stories
        .into_iter()
        .map(|(promise, rule)| {
            let mut tally = Tally::default();
            stories.iter().for_each(|story| tally.add(rule(story)));
            // Few errors, or none, are a good run.
            if promise.starts_with("no error") || promise.starts_with("every error") {
                tally.checked = tally.checked.max(1);
            }
            verdict(promise, tally)
        })
        .collect();
    verdicts.push(verdict(
        "sources count no more calls than were made",
        sharing::counted_there(history),
    ));
    verdicts.push(verdict(
        "processes share sets, and so calls",
        sharing::shared(history),
    ));
    if history.has_messages() {
        verdicts.push(verdict(
            "no acknowledged message is lost",
            messages::kept(history),
        ));
    }
    let secrets = Tally {
        checked: evidence.searched.min(evidence.secrets),
        excused: 0,
        broken: evidence.found.clone(),
    };
    verdicts.push(verdict("no secret is shown", secrets));
    verdicts.push(verdict(
        "descriptors, threads and memory are flat",
        usage::flat(&evidence.samples, history.calm_from),
    ));
    verdicts.push(verdict(
        "nothing is missing here",
        sharing::complete(history),
    ));
    verdicts
}
