//! The store and the broker, each with a thread that ends and starts them.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use brs_tests::mosquitto::Mosquitto;
use brs_tests::redis::Redis;

use crate::record::Start;
use crate::schedule::Millis;

/// From when to when it was away.
pub(crate) type Absence = (Millis, Millis);

enum Turn {
    End,
    Start,
    Dump(Sender<Vec<u8>>),
}

/// A server outside of this process that dies and returns. It ends with the handle.
pub(crate) struct Keeper {
    turns: Option<Sender<Turn>>,
    thread: Option<JoinHandle<()>>,
    log: Arc<Mutex<Log>>,
}

#[derive(Default)]
struct Log {
    start: Option<Start>,
    absences: Vec<Absence>,
    is_away: bool,
}

/// What can be kept.
trait Kept: Send + 'static {
    fn end(&mut self);
    fn start(&mut self);
    fn dump(&self) -> Vec<u8>;
}

impl Kept for Redis {
    fn end(&mut self) {
        self.kill();
    }

    fn start(&mut self) {
        self.start_again();
    }

    fn dump(&self) -> Vec<u8> {
        Redis::dump(self)
    }
}

/// Mosquitto acknowledges before it has persisted: killed, it would lose what it acknowledged.
impl Kept for Mosquitto {
    fn end(&mut self) {
        self.stop();
    }

    fn start(&mut self) {
        self.start_again();
    }

    fn dump(&self) -> Vec<u8> {
        Vec::new()
    }
}

impl Keeper {
    pub(crate) fn of_store(redis: Redis) -> Self {
        Self::of(redis)
    }

    pub(crate) fn of_broker(broker: Mosquitto) -> Self {
        Self::of(broker)
    }

    fn of(kept: impl Kept) -> Self {
        let (turns, taken) = mpsc::channel();
        let log = Arc::<Mutex<Log>>::default();
        let written = Arc::clone(&log);
        let thread = thread::spawn(move || keep(kept, &taken, &written));
        Self {
            turns: Some(turns),
            thread: Some(thread),
            log,
        }
    }

    /// Absences are told by this start.
    pub(crate) fn count_from(&self, start: Start) {
        lock(&self.log).start = Some(start);
    }

    pub(crate) fn end(&self) {
        self.take(Turn::End);
    }

    pub(crate) fn start(&self) {
        self.take(Turn::Start);
    }

    /// All that it has; `None` while it is away.
    pub(crate) fn dump(&self) -> Option<Vec<u8>> {
        if lock(&self.log).is_away {
            return None;
        }
        let (sender, dump) = mpsc::channel();
        self.take(Turn::Dump(sender));
        dump.recv().ok()
    }

    pub(crate) fn absences(&self) -> Vec<Absence> {
        lock(&self.log).absences.clone()
    }

    fn take(&self, turn: Turn) {
        if let Some(turns) = &self.turns {
            // A thread that has panicked has said why.
            let _ = turns.send(turn);
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.turns.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn keep(mut kept: impl Kept, turns: &Receiver<Turn>, log: &Mutex<Log>) {
    let now = || lock(log).start.map_or(0, Start::elapsed);
    let mut away_since = None;
    for turn in turns {
        match turn {
            Turn::End if away_since.is_none() => {
                away_since = Some(now());
                lock(log).is_away = true;
                kept.end();
            }
            Turn::Start => {
                if let Some(since) = away_since.take() {
                    kept.start();
                    let until = now();
                    let mut log = lock(log);
                    log.absences.push((since, until));
                    log.is_away = false;
                }
            }
            Turn::Dump(reply) if away_since.is_none() => {
                let _ = reply.send(kept.dump());
            }
            Turn::End | Turn::Dump(_) => {}
        }
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}
