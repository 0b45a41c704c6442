//! The run: starts the world and the workers, applies the schedule, takes in what the workers write
//! down, and hands everything to the ledger.
//!
//! One thread decides; what it waits for is the next record or the next tick. The faults that were
//! applied are kept as they happened, since a broker that starts again takes its time; what the
//! schedule planned is told by the seed. A machine that stands still for a moment is a fault of its
//! own kind, written down like the others.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use crate::Failure;
use crate::ledger::{self, Evidence, History, Window};
use crate::processes::{Line, Worker};
use crate::record::{Order, Start, What};
use crate::schedule::{Fault, Kind, Millis, SECOND, Schedule, Track};
use crate::world::World;

const TICK: Duration = Duration::from_millis(50);
/// From how late a tick on the machine counts as having stood still.
const STILL: Millis = SECOND;
const LOOK_EVERY: Millis = SECOND;
const LOOK_INTO_STORES_EVERY: Millis = 15 * SECOND;
const TELL_EVERY: Millis = 10 * SECOND;
/// How long the workers may take to end: sessions to be ready, messages to arrive, calls to end.
const END: Millis = 150 * SECOND;

/// The workers: the name, and the track of what happens to the process. The first one lives as
/// long as the run and has the sessions of every method.
const WORKERS: [(&str, Option<Track>); 3] = [
    ("main", None),
    ("a", Some(Track::WorkerA)),
    ("b", Some(Track::WorkerB)),
];

/// The sessions whose sets services reject.
const REJECTED: [&str; 4] = ["sts", "web-identity", "iot", "pool-1"];

/// What `cargo xtask soak` says.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// How long faults happen; the end takes up to a minute more
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// Repeat the faults of an earlier run
    #[arg(long)]
    seed: Option<u64>,
    /// Where logs and the ledger go
    #[arg(long)]
    out: PathBuf,
    /// Without the fleet's store
    #[arg(long)]
    no_store: bool,
    /// Without MQTT
    #[arg(long)]
    no_broker: bool,
}

/// Runs the soak, prints the ledger, and tells whether every line of it holds.
///
/// # Errors
///
/// If something of the soak itself does not work.
pub fn run(options: &Options) -> Result<bool, Failure> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..1 << 48));
    println!("seed {seed}: `--seed {seed}` repeats its faults");
    if options.out.exists() {
        fs::remove_dir_all(&options.out)?;
    }
    fs::create_dir_all(&options.out)?;
    let world = World::start(!options.no_store, !options.no_broker)?;
    let start = Start::now();
    world.count_from(start);
    let (lines, taken) = mpsc::channel();
    let mut conductor = Conductor {
        world,
        start,
        out: options.out.clone(),
        lines,
        workers: Vec::new(),
        lives: BTreeMap::new(),
        standing: Vec::new(),
        history: History::default(),
        evidence: Evidence::default(),
        command_lines: Vec::new(),
        keys: BTreeMap::new(),
    };
    for (name, _) in WORKERS {
        conductor.begin(name)?;
    }
    let end = options.minutes * 60 * SECOND;
    conductor.go_through(&Schedule::new(seed), end, &taken)?;
    conductor.finish(&taken)?;
    let Conductor {
        history, evidence, ..
    } = conductor;
    let verdicts = ledger::judge(&history, &evidence);
    let text = ledger::render(seed, &history, &verdicts);
    fs::write(options.out.join("ledger.txt"), &text)?;
    println!("\n{text}");
    Ok(verdicts.iter().all(|verdict| verdict.broken.is_empty()))
}

struct Conductor {
    world: World,
    start: Start,
    out: PathBuf,
    lines: Sender<Line>,
    workers: Vec<Worker>,
    /// How many lives each worker has had.
    lives: BTreeMap<&'static str, u32>,
    /// The faults that last at the moment, and the windows of the history that are theirs.
    standing: Vec<(Fault, usize)>,
    history: History,
    evidence: Evidence,
    /// Of workers and their children, since they were last searched.
    command_lines: Vec<u8>,
    /// The sets that the sessions of the first worker have, by the sessions' names.
    keys: BTreeMap<String, String>,
}

impl Conductor {
    fn begin(&mut self, name: &'static str) -> Result<(), Failure> {
        let number = self.lives.entry(name).or_default();
        *number += 1;
        let life = format!("{name}#{number}");
        let settings = self.world.settings(name == WORKERS[0].0, self.start);
        let worker = Worker::start(life.clone(), &settings, &self.out, self.lines.clone())?;
        self.history.begin(&life, self.start.elapsed());
        self.workers.push(worker);
        Ok(())
    }

    fn worker(&mut self, name: &str) -> Option<&mut Worker> {
        let of_name = |worker: &&mut Worker| worker.life.split('#').next() == Some(name);
        self.workers.iter_mut().find(of_name)
    }

    /// The time of faults.
    fn go_through(
        &mut self,
        schedule: &Schedule,
        end: Millis,
        taken: &Receiver<Line>,
    ) -> Result<(), Failure> {
        let (mut before, mut looked, mut looked_into, mut told) = (0, 0, 0, 0);
        while before < end {
            self.take_in_for(TICK, taken);
            let now = self.start.elapsed();
            if now - before > STILL + SECOND / 20 {
                self.history.windows.push(Window {
                    track: Track::Machine,
                    kind: Kind::Still,
                    from: before,
                    until: Some(now),
                    keys: Vec::new(),
                });
            }
            for fault in schedule.beginning(before, now.min(end)) {
                self.apply(fault)?;
            }
            for at in (0..self.standing.len()).rev() {
                if self.standing[at].0.until <= now {
                    let (fault, window) = self.standing.swap_remove(at);
                    self.lift(&fault, window)?;
                }
            }
            if now - looked >= LOOK_EVERY {
                looked = now;
                self.look(now)?;
            }
            if now - looked_into >= LOOK_INTO_STORES_EVERY {
                looked_into = now;
                self.look_into_stores();
            }
            if now - told >= TELL_EVERY {
                told = now;
                let troubles: Vec<_> = self
                    .standing
                    .iter()
                    .map(|(fault, _)| format!("{:?}", fault.track))
                    .collect();
                println!(
                    "{:5} s  {}  in trouble: {}",
                    now / SECOND,
                    self.history.summary(),
                    troubles.join(" ")
                );
            }
            before = now;
        }
        Ok(())
    }

    fn take_in_for(&mut self, limit: Duration, taken: &Receiver<Line>) {
        let until = self.start.elapsed() + crate::record::millis(limit);
        loop {
            let left = until.saturating_sub(self.start.elapsed());
            match taken.recv_timeout(Duration::from_millis(left)) {
                Ok(line) => self.take_in(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
            // Many lines must not hold up the next tick.
            if left == 0 {
                return;
            }
        }
    }

    fn take_in(&mut self, (life, record): Line) {
        match record {
            Ok(record) => {
                if let What::Got { key, .. } = &record.what
                    && life.starts_with(WORKERS[0].0)
                {
                    self.keys.insert(record.of.clone(), key.clone());
                }
                self.history.take_in(&life, record);
            }
            Err(why) => self.history.garbled.push((life, why)),
        }
    }

    fn apply(&mut self, fault: Fault) -> Result<(), Failure> {
        let keys: Vec<_> = match fault.kind {
            Kind::Rejected => REJECTED
                .iter()
                .filter_map(|name| self.keys.get(*name).cloned())
                .collect(),
            _ => Vec::new(),
        };
        let from = self.start.elapsed();
        let process = WORKERS
            .iter()
            .find(|(_, track)| *track == Some(fault.track));
        match (fault.kind, process) {
            (Kind::Frozen, Some((name, _))) => {
                if let Some(worker) = self.worker(name) {
                    worker.freeze();
                }
            }
            (Kind::Killed, Some((name, _))) => {
                let of_name = |worker: &Worker| worker.life.split('#').next() == Some(*name);
                if let Some(at) = self.workers.iter().position(of_name) {
                    let mut worker = self.workers.swap_remove(at);
                    worker.kill();
                    self.retire(&worker, true);
                }
            }
            (Kind::Step(seconds), _) => {
                for worker in &mut self.workers {
                    worker.tell(Order::Step { seconds })?;
                }
            }
            _ => self.world.apply(&fault, &keys)?,
        }
        let lasts = fault.until > fault.from || fault.kind == Kind::Killed;
        self.history.windows.push(Window {
            track: fault.track,
            kind: fault.kind,
            from,
            until: (!lasts).then(|| self.start.elapsed()),
            keys,
        });
        if lasts {
            self.standing.push((fault, self.history.windows.len() - 1));
        }
        Ok(())
    }

    fn lift(&mut self, fault: &Fault, window: usize) -> Result<(), Failure> {
        let process = WORKERS
            .iter()
            .find(|(_, track)| *track == Some(fault.track));
        match (fault.kind, process) {
            (Kind::Frozen, Some((name, _))) => {
                if let Some(worker) = self.worker(name) {
                    worker.thaw();
                }
            }
            (Kind::Killed, Some((name, _))) => self.begin(name)?,
            (Kind::Step(_), _) => {
                for worker in &mut self.workers {
                    worker.tell(Order::Step { seconds: 0 })?;
                }
            }
            _ => self.world.lift(fault)?,
        }
        self.history.windows[window].until = Some(self.start.elapsed());
        Ok(())
    }

    /// What a worker's life came to.
    fn retire(&mut self, worker: &Worker, was_killed: bool) {
        self.history
            .end(&worker.life, self.start.elapsed(), was_killed);
        self.evidence
            .samples
            .push((worker.life.clone(), worker.samples.clone()));
    }

    fn look(&mut self, now: Millis) -> Result<(), Failure> {
        for worker in &mut self.workers {
            if let Some(is_good) = worker.ended()? {
                let how = if is_good { "ended" } else { "failed" };
                let life = &worker.life;
                return Err(format!("worker {life} {how} by itself: see its log").into());
            }
            self.command_lines.extend(worker.look(now));
        }
        Ok(())
    }

    fn look_into_stores(&mut self) {
        let needles = self.world.needles();
        let (found, bytes) = self.world.look_into_stores(&needles);
        self.evidence.found.extend(found);
        let shown = std::mem::take(&mut self.command_lines);
        self.evidence.searched += bytes + shown.len() as u64;
        let found = needles.find("the workers' command lines", &shown);
        self.evidence.found.extend(found);
    }

    /// Ends all faults, lets everything recover and the workers end, and gathers the rest.
    fn finish(&mut self, taken: &Receiver<Line>) -> Result<(), Failure> {
        for (fault, window) in std::mem::take(&mut self.standing) {
            self.lift(&fault, window)?;
        }
        self.history.calm_from = self.start.elapsed();
        self.look_into_stores();
        for worker in &mut self.workers {
            worker.tell(Order::Finish)?;
        }
        let until = self.start.elapsed() + END;
        while !self.workers.is_empty() {
            self.take_in_for(TICK, taken);
            let now = self.start.elapsed();
            for at in (0..self.workers.len()).rev() {
                let has_ended = self.workers[at].ended()?;
                if has_ended.is_some() || now > until {
                    // Killing what has ended takes in the rest of what it has written.
                    let mut worker = self.workers.swap_remove(at);
                    worker.kill();
                    taken.try_iter().for_each(|line| self.take_in(line));
                    self.retire(&worker, false);
                }
            }
        }
        taken.try_iter().for_each(|line| self.take_in(line));
        for (track, absences) in self.world.absences() {
            self.history.set_absences(track, &absences);
        }
        self.history.counts = self.world.counts();
        // What they wrote down is searched for secrets, too.
        fs::write(self.out.join("records.txt"), self.history.written())?;
        let needles = self.world.needles();
        self.evidence.secrets = needles.count() as u64;
        for file in fs::read_dir(&self.out)?.flatten() {
            let content = fs::read(file.path())?;
            let place = file.file_name().to_string_lossy().into_owned();
            self.evidence.searched += content.len() as u64;
            self.evidence.found.extend(needles.find(&place, &content));
        }
        Ok(())
    }
}
