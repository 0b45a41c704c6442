//! Every process by itself with the SDK's providers: the identity cache refreshes when a caller
//! finds less left than its buffer, and that caller waits.

use super::rules::{
    LIFETIME, Millis, SDK_ATTEMPTS, SDK_BACKOFF, SDK_BUFFER, SDK_COST, SDK_JITTER, SDK_QUOTA,
};
use super::world::{DEPLOYMENT, Happening, Kind, LIFE, Outcome, RESTART, Scale, World, next_stamp};

#[derive(Clone, Debug, Default)]
struct Session {
    /// When the load began that is under way, those who wait for it with its caller, and since
    /// when.
    began: u32,
    waiting: u32,
    since: u32,
    attempts: u8,
    had_set: bool,
    outcome: Option<Outcome>,
}

#[derive(Clone, Debug)]
struct Process {
    stamp: u16,
    /// Shared by all clients of a process that call STS in one region.
    quota: u16,
}

pub(super) fn run(world: &mut World, scale: &Scale) {
    let fresh = Process {
        stamp: 0,
        quota: SDK_QUOTA,
    };
    let mut fleet = Fleet {
        roles: scale.roles,
        processes: vec![fresh; scale.processes as usize],
        sessions: vec![Session::default(); (scale.processes * scale.roles) as usize],
    };
    for process in 0..scale.processes {
        let begins = world.rng.u64(0..DEPLOYMENT);
        world.at(begins, Kind::Begin, process, 0);
    }
    while let Some(happening) = world.next() {
        fleet.happens(world, happening);
    }
}

struct Fleet {
    roles: u32,
    processes: Vec<Process>,
    sessions: Vec<Session>,
}

impl Fleet {
    fn happens(&mut self, world: &mut World, Happening { kind, whose, stamp }: Happening) {
        match kind {
            Kind::Begin => return self.begin(world, whose),
            Kind::Die => {
                let process = &mut self.processes[whose as usize];
                process.stamp = next_stamp(process.stamp);
                let again = world.now + RESTART;
                return world.at(again, Kind::Begin, whose, 0);
            }
            _ => {}
        }
        if stamp != self.process(whose).stamp {
            return;
        }
        match kind {
            Kind::StartForCaller => self.load(world, whose, 0, world.now),
            Kind::Start => self.attempt(world, whose),
            Kind::Answer => self.answer(world, whose),
            _ => {}
        }
    }

    fn process(&mut self, session: u32) -> &mut Process {
        &mut self.processes[(session / self.roles) as usize]
    }

    fn begin(&mut self, world: &mut World, process: u32) {
        let stamp = self.processes[process as usize].stamp;
        self.processes[process as usize].quota = SDK_QUOTA;
        for session in process * self.roles..(process + 1) * self.roles {
            self.sessions[session as usize] = Session::default();
            self.next_call(world, session, world.now, stamp);
        }
        let dies = world.now + world.after(LIFE);
        world.at(dies, Kind::Die, process, 0);
    }

    /// The next caller that finds nothing to use.
    fn next_call(&mut self, world: &mut World, session: u32, from: Millis, stamp: u16) {
        let at = from + world.after(super::world::CALLS);
        world.at(at, Kind::StartForCaller, session, stamp);
    }

    fn load(&mut self, world: &mut World, whose: u32, waiting: u32, since: Millis) {
        let session = &mut self.sessions[whose as usize];
        session.began = world.now as u32;
        session.since = since as u32;
        session.attempts = 0;
        session.waiting = waiting;
        self.attempt(world, whose);
    }

    fn attempt(&mut self, world: &mut World, whose: u32) {
        let (outcome, at) = world.call_sts();
        let stamp = self.process(whose).stamp;
        self.sessions[whose as usize].outcome = Some(outcome);
        world.at(at, Kind::Answer, whose, stamp);
    }

    fn answer(&mut self, world: &mut World, whose: u32) {
        let process = self.process(whose);
        let (stamp, quota) = (process.stamp, process.quota);
        let session = &mut self.sessions[whose as usize];
        session.attempts += 1;
        let (began, since) = (Millis::from(session.began), Millis::from(session.since));
        let first = !session.had_set;
        let (cost, backoff) = match session.outcome {
            Some(Outcome::Given) | None => {
                let waited = 1 + u64::from(session.waiting) + world.calls_in(world.now - began);
                let retried = session.attempts > 1;
                session.had_set = true;
                world.waited(waited, since, first);
                // What the last retry took of the quota, or one.
                let back = if retried { SDK_COST.0 } else { 1 };
                self.process(whose).quota = (quota + back).min(SDK_QUOTA);
                let jitter = SDK_BUFFER as f64 * SDK_JITTER * world.rng.f64();
                let usable = world.now + LIFETIME - SDK_BUFFER + jitter as Millis;
                return self.next_call(world, whose, usable, stamp);
            }
            Some(Outcome::Throttled) => (SDK_COST.0, SDK_BACKOFF.0),
            Some(Outcome::Dead) => (SDK_COST.1, SDK_BACKOFF.1),
        };
        if session.attempts < SDK_ATTEMPTS && quota >= cost {
            let doubled = backoff * f64::from(1 << (session.attempts - 1));
            let wait = (doubled * world.rng.f64()) as Millis;
            self.process(whose).quota -= cost;
            return world.at(world.now + wait, Kind::Start, whose, stamp);
        }
        // The caller's error; those who have waited load one after the other.
        let waiting = u64::from(session.waiting) + world.calls_in(world.now - began);
        world.waited(1, since, first);
        world.failed(1, world.now, first);
        match waiting {
            0 => self.next_call(world, whose, world.now, stamp),
            _ => self.load(world, whose, (waiting - 1) as u32, since),
        }
    }
}
