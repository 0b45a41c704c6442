//! brs's pools: every process by itself, with a host cache, or with a fleet's store.
//!
//! A session's life is what `refresh/` of brs-core does with it: its advisory window begins, the
//! pool's task or a caller starts a flight, which lines up at the process's limiter, asks (the
//! store, where there is one, then STS), tries again where that may help, and lands. Callers are
//! not simulated one by one: how many came while there was nothing for them is drawn when the
//! flight lands. Left out are the turns of flights (64 at a time, which calls of 100 ms never fill)
//! and the time that a store or a file takes, as long as it works.

use super::line::Process;
use super::rules::{
    FLEET_WAITS, FLIGHT, HOST_WAITS, JITTER, LEASE, LEAST_LEFT, LIFETIME, Millis, OPERATION,
    PATIENCE, SECOND, SPREAD, STORE_PAUSE, TEND, THROTTLED_TRIES, TRIES, advisory_window,
    due_after, place_of_set, remembered_for, wait_after,
};
use super::session::{Entry, Session, Sharing, State};
use super::world::{
    CALLS, DEPLOYMENT, Happening, Kind, LIFE, Outcome, RESTART, STORE_OUTAGE, Scale, World,
    next_stamp,
};

/// How long after its start a process tries again to fetch its first sets by itself.
const PREFETCH: Millis = 300 * SECOND;

pub(super) fn run(world: &mut World, scale: &Scale, sharing: Sharing) {
    let of_a_host = match sharing {
        Sharing::Host => scale.of_a_host,
        _ => 1,
    };
    let hosts = scale.processes / of_a_host;
    let groups = match sharing {
        Sharing::Nothing => 0,
        Sharing::Host => hosts,
        Sharing::Fleet => 1,
    };
    let mut fleet = Fleet {
        sharing,
        roles: scale.roles,
        of_a_host,
        processes: vec![Process::default(); scale.processes as usize],
        sessions: vec![Session::default(); (scale.processes * scale.roles) as usize],
        entries: vec![Entry::default(); (groups * scale.roles) as usize],
    };
    for host in 0..hosts {
        let begins = world.rng.u64(0..DEPLOYMENT);
        world.at(begins, Kind::Begin, host, 0);
    }
    while let Some(happening) = world.next() {
        fleet.happens(world, happening);
    }
}

struct Fleet {
    sharing: Sharing,
    roles: u32,
    of_a_host: u32,
    processes: Vec<Process>,
    sessions: Vec<Session>,
    entries: Vec<Entry>,
}

impl Fleet {
    fn happens(&mut self, world: &mut World, Happening { kind, whose, stamp }: Happening) {
        match kind {
            Kind::Begin => return self.begin(world, whose),
            Kind::Die => return self.die(world, whose),
            Kind::Drive if stamp == self.processes[whose as usize].stamp => {
                return self.drive(world, whose);
            }
            Kind::Drive => return,
            _ => {}
        }
        if stamp != self.process(whose).stamp {
            return;
        }
        match kind {
            Kind::Start => self.start(world, whose, false),
            Kind::StartForCaller => self.start(world, whose, true),
            Kind::Answer => self.answer(world, whose),
            Kind::Look if self.sessions[whose as usize].state == State::AtStore => {
                self.look(world, whose);
            }
            Kind::Look => self.call(world, whose),
            Kind::Promote => self.promote(world, whose),
            Kind::Begin | Kind::Die | Kind::Drive => {}
        }
    }

    fn number(&self, session: u32) -> u32 {
        session / self.roles
    }

    fn process(&mut self, session: u32) -> &mut Process {
        let number = self.number(session);
        &mut self.processes[number as usize]
    }

    fn entry(&mut self, session: u32) -> &mut Entry {
        let host = match self.sharing {
            Sharing::Host => self.number(session) / self.of_a_host,
            _ => 0,
        };
        &mut self.entries[(host * self.roles + session % self.roles) as usize]
    }

    fn begin(&mut self, world: &mut World, host: u32) {
        for process in host * self.of_a_host..(host + 1) * self.of_a_host {
            self.processes[process as usize].begin(world.now);
            for session in process * self.roles..(process + 1) * self.roles {
                self.sessions[session as usize] = Session {
                    spread: true,
                    place: world.rng.f32(),
                    ..Session::default()
                };
                // The prefetch.
                self.start(world, session, false);
            }
        }
        let dies = world.now + world.after(LIFE);
        world.at(dies, Kind::Die, host, 0);
    }

    fn die(&mut self, world: &mut World, host: u32) {
        for process in host * self.of_a_host..(host + 1) * self.of_a_host {
            let process = &mut self.processes[process as usize];
            process.stamp = next_stamp(process.stamp);
        }
        if self.sharing == Sharing::Host {
            let entries = (host * self.roles) as usize..((host + 1) * self.roles) as usize;
            self.entries[entries].fill(Entry::default());
        }
        world.at(world.now + RESTART, Kind::Begin, host, 0);
    }

    fn start(&mut self, world: &mut World, whose: u32, for_caller: bool) {
        let session = &mut self.sessions[whose as usize];
        if session.state != State::Idle {
            return;
        }
        session.began = world.now as u32;
        session.tries = 0;
        session.for_caller = for_caller;
        self.line_up(world, whose);
    }

    fn line_up(&mut self, world: &mut World, whose: u32) {
        let session = &mut self.sessions[whose as usize];
        session.state = State::InLine;
        session.lined_up = world.now as u32;
        session.awaited = session.waits_from() <= world.now;
        let (awaited, promoted) = (session.awaited, session.waits_from() + TEND / 2);
        let number = self.number(whose);
        let process = &mut self.processes[number as usize];
        let stamp = process.stamp;
        match process.line_up(world.now, whose, awaited) {
            None => return self.granted(world, whose),
            Some((number_in_line, drive)) => {
                self.sessions[whose as usize].number = number_in_line;
                if let Some(drive) = drive {
                    world.at(drive, Kind::Drive, number, stamp);
                }
            }
        }
        if !awaited {
            world.at(promoted, Kind::Promote, whose, stamp);
        }
    }

    /// Callers wait for what is in line for none.
    fn promote(&mut self, world: &mut World, whose: u32) {
        let session = &mut self.sessions[whose as usize];
        let is_due = session.waits_from() <= world.now;
        if session.state == State::InLine && !session.awaited && is_due {
            session.awaited = true;
            let number = session.number;
            self.process(whose).move_up(number, whose);
            self.drive_again(world, whose);
        }
    }

    /// The line may go on sooner than was thought.
    fn drive_again(&mut self, world: &mut World, whose: u32) {
        let number = self.number(whose);
        let process = &mut self.processes[number as usize];
        let stamp = process.stamp;
        if let Some(drive) = process.drive_again(world.now) {
            world.at(drive, Kind::Drive, number, stamp);
        }
    }

    /// A call with a permit is over; `None`: the source was not asked.
    fn shown(&mut self, world: &mut World, whose: u32, outcome: Option<Outcome>) {
        self.process(whose).shown(whose, outcome, world.now);
        self.drive_again(world, whose);
    }

    fn drive(&mut self, world: &mut World, number: u32) {
        let now = world.now;
        if !self.processes[number as usize].is_driven(now) {
            return;
        }
        loop {
            let process = &mut self.processes[number as usize];
            // In vain for as long as a refresh may take: it fails.
            let is_vain = process.last_success + FLIGHT <= now;
            let late = process.first_of_each().find(|whose| {
                is_vain && Millis::from(self.sessions[*whose as usize].lined_up) + FLIGHT <= now
            });
            if let Some(whose) = late {
                let session = &self.sessions[whose as usize];
                process.leave(session.awaited, session.number, whose);
                self.fail(world, whose);
                continue;
            }
            match process.next(now) {
                Some(whose) => self.granted(world, whose),
                None => break,
            }
        }
        let process = &mut self.processes[number as usize];
        let stamp = process.stamp;
        if let Some(drive) = process.drive_again(now) {
            world.at(drive, Kind::Drive, number, stamp);
        }
    }

    fn granted(&mut self, world: &mut World, whose: u32) {
        let now = world.now;
        let was_down = self.process(whose).is_down();
        let session = &mut self.sessions[whose as usize];
        session.was_down = was_down;
        session.granted = now as u32;
        session.looked = now as u32;
        session.wait = match self.sharing {
            Sharing::Nothing => return self.call(world, whose),
            Sharing::Host => HOST_WAITS.0 as u16,
            Sharing::Fleet => FLEET_WAITS.0 as u16,
        };
        session.state = State::AtStore;
        if self.sharing == Sharing::Fleet && STORE_OUTAGE.contains(&now) {
            let process = self.process(whose);
            let (stamp, is_left_alone) = (process.stamp, now < process.store_left_alone);
            if is_left_alone {
                return self.call(world, whose);
            }
            // Goes on by itself after the time of an operation.
            process.store_left_alone = now + OPERATION + STORE_PAUSE;
            self.sessions[whose as usize].state = State::Called;
            return world.at(now + OPERATION, Kind::Look, whose, stamp);
        }
        self.look(world, whose);
    }

    /// What the entry answers; else the lock, else another look.
    fn look(&mut self, world: &mut World, whose: u32) {
        let (now, writer) = (world.now, self.number(whose));
        if self.sharing == Sharing::Fleet && STORE_OUTAGE.contains(&now) {
            return self.call(world, whose);
        }
        let longest = match self.sharing {
            Sharing::Fleet => FLEET_WAITS.1,
            _ => HOST_WAITS.1,
        };
        let stamp = self.process(whose).stamp;
        let entry = self.entry(whose);
        let (expires, generation) = (Millis::from(entry.expires), entry.generation);
        let (is_held, failure) = (Millis::from(entry.held_until) > now, entry.failure);
        let session = &mut self.sessions[whose as usize];
        if generation != session.generation && expires > now + advisory_window(LIFETIME) {
            self.shown(world, whose, None);
            return self.adopt(world, whose, expires, generation, true);
        }
        if let Some((until, by, outcome)) = failure
            && Millis::from(until) > now
            && by != writer
        {
            session.outcome = Some(outcome);
            self.shown(world, whose, None);
            return self.failed(world, whose, outcome);
        }
        if !is_held {
            session.holds = true;
            self.entry(whose).held_until = (now + LEASE) as u32;
            return self.call(world, whose);
        }
        if Millis::from(session.looked) + PATIENCE <= now {
            return self.call(world, whose);
        }
        let wait = f64::from(session.wait) * (0.5 + 0.5 * world.rng.f64());
        session.wait = (session.wait * 2).min(longest as u16);
        world.at(now + wait as Millis, Kind::Look, whose, stamp);
    }

    fn call(&mut self, world: &mut World, whose: u32) {
        let (outcome, at) = world.call_sts();
        let session = &mut self.sessions[whose as usize];
        (session.outcome, session.state) = (Some(outcome), State::Called);
        let stamp = self.process(whose).stamp;
        world.at(at, Kind::Answer, whose, stamp);
    }

    fn answer(&mut self, world: &mut World, whose: u32) {
        let (now, writer) = (world.now, self.number(whose));
        let session = &mut self.sessions[whose as usize];
        let outcome = session.outcome.unwrap_or(Outcome::Dead);
        let holds = std::mem::take(&mut session.holds);
        let mut generation = session.generation;
        self.shown(world, whose, Some(outcome));
        // What the store does not get is lost; a lease ends by itself.
        let is_there = self.sharing != Sharing::Fleet || !STORE_OUTAGE.contains(&now);
        if holds && is_there {
            let entry = self.entry(whose);
            entry.held_until = 0;
            if outcome == Outcome::Given {
                entry.generation += 1;
                generation = entry.generation;
                entry.expires = (now + LIFETIME) as u32;
                (entry.failures, entry.failure) = (0, None);
            } else {
                entry.failures += 1;
                let until = now + remembered_for(entry.failures);
                entry.failure = Some((until as u32, writer, outcome));
            }
        }
        match outcome {
            Outcome::Given => self.adopt(world, whose, now + LIFETIME, generation, false),
            outcome => self.failed(world, whose, outcome),
        }
    }

    fn adopt(
        &mut self,
        world: &mut World,
        whose: u32,
        expires: Millis,
        generation: u32,
        is_stored: bool,
    ) {
        let now = world.now;
        self.account(world, whose, true);
        let process = self.process(whose);
        process.last_success = now;
        let (begun, stamp) = (process.begun, process.stamp);
        let session = &mut self.sessions[whose as usize];
        // `State::early`.
        let role = whose % self.roles;
        let is_one_of_many = std::mem::take(&mut session.spread) || session.failures > 0;
        let early = match is_stored {
            true => SPREAD * f64::midpoint(place_of_set(role, generation), session.place.into()),
            false if is_one_of_many => SPREAD * world.rng.f64(),
            false => JITTER * world.rng.f64(),
        };
        (session.expires, session.generation) = (expires as u32, generation);
        (session.failures, session.failures_expired) = (0, 0);
        session.state = State::Idle;
        let due = now + due_after(expires - now, early);
        next_start(world, whose, stamp, begun, due);
    }

    /// The source, or the memory of the store, has answered with an error.
    fn failed(&mut self, world: &mut World, whose: u32, outcome: Outcome) {
        let now = world.now;
        let granted = Millis::from(self.sessions[whose as usize].granted);
        let most = match outcome {
            Outcome::Throttled => {
                self.process(whose).bucket.slow_down(granted, now);
                THROTTLED_TRIES
            }
            _ => TRIES,
        };
        if self.sharing != Sharing::Nothing {
            let entry = self.entry(whose);
            let (expires, generation) = (Millis::from(entry.expires), entry.generation);
            let is_another = generation != self.sessions[whose as usize].generation;
            if is_another && expires > now + LEAST_LEFT {
                return self.adopt(world, whose, expires, generation, true);
            }
        }
        let session = &mut self.sessions[whose as usize];
        session.tries += 1;
        let is_probe = outcome == Outcome::Dead && session.was_down && session.tries == 1;
        if session.tries < most && !is_probe {
            return self.line_up(world, whose);
        }
        self.fail(world, whose);
    }

    /// The flight has failed.
    fn fail(&mut self, world: &mut World, whose: u32) {
        let now = world.now;
        self.account(world, whose, false);
        let process = self.process(whose);
        let (begun, stamp) = (process.begun, process.stamp);
        let session = &mut self.sessions[whose as usize];
        session.state = State::Idle;
        session.failures = session.failures.saturating_add(1);
        let unusable = session.unusable_from();
        let left = (unusable > now).then(|| Millis::from(session.expires) - now);
        let failures = match left {
            None if session.expires > 0 => {
                session.failures_expired = session.failures_expired.saturating_add(1);
                session.failures_expired
            }
            _ => session.failures,
        };
        let rolls = (world.rng.f64(), world.rng.f64());
        let held = now + wait_after(left, u32::from(failures), rolls).unwrap_or(0);
        // Those who come meanwhile hear the same.
        let errors = world.calls_in(held.saturating_sub(now.max(unusable)));
        let is_first = self.sessions[whose as usize].expires == 0;
        world.failed(errors, held, is_first);
        if !is_first {
            return next_start(world, whose, stamp, begun, held);
        }
        // The pool leaves a session alone that never had a set; the prefetch does not.
        let (again, caller) = (held.max(now + SECOND), held + world.after(CALLS));
        if again < caller && again < begun + PREFETCH {
            world.at(again, Kind::Start, whose, stamp);
        } else {
            world.at(caller, Kind::StartForCaller, whose, stamp);
        }
    }

    /// Who has waited for the flight that lands now.
    fn account(&mut self, world: &mut World, whose: u32, is_given: bool) {
        let session = &self.sessions[whose as usize];
        let (now, for_the_first) = (world.now, session.expires == 0);
        let (began, waits_from) = (Millis::from(session.began), session.waits_from());
        let (unusable, starts) = (
            session.unusable_from(),
            session.for_caller && waits_from <= began,
        );
        let from = began.max(waits_from);
        let first = from + world.after(CALLS);
        let others = if first < now {
            1 + world.calls_in(now - first)
        } else {
            0
        };
        world.waited(others, first, for_the_first);
        world.waited(u64::from(starts), began, for_the_first);
        if !is_given && now >= unusable {
            world.failed(others + u64::from(starts), now, for_the_first);
        }
    }
}

/// The pool's task, or a caller, starts the next flight.
fn next_start(world: &mut World, whose: u32, stamp: u16, begun: Millis, from: Millis) {
    let task = begun + (from - begun).div_ceil(TEND) * TEND;
    let caller = from + world.after(CALLS);
    if task < caller {
        world.at(task, Kind::Start, whose, stamp);
    } else {
        world.at(caller, Kind::StartForCaller, whose, stamp);
    }
}
