//! What a pool costs and how it calls its source: thousands of sessions in one process, against an
//! STS that throttles.
//!
//! This process limits itself to 1,024 descriptors, the usual limit. Four phases, one after the
//! other on the same pool:
//!
//! 1. *Prefetch*, in real time, since the source's rate is one of real seconds.
//! 2. *Renewal*: time moves through the window in which all sets are to be replaced, while every
//!    session is asked several times a second.
//! 3. *Dead*: the source answers 503 for ten simulated minutes, in which most sets come due again.
//! 4. *Recovery*: the source is well again, the pauses after failures end, and calls are counted in
//!    real time.
//!
//! `sdk` is fewer of the SDK's own providers that ask for their first sets, 32 at a time; what
//! becomes of them when they are due is the business of [`masses`](crate::masses).

use std::fs::File;
use std::io::{BufRead as _, Read as _, Seek as _, Write as _, stdin, stdout};
use std::sync::Arc;
use std::time::Duration;

use brs::{Limiter, RoleKey, SessionPool, sts};
use futures_util::{FutureExt as _, StreamExt as _};

use crate::masses::{Masses, Peak, limit_descriptors};
use crate::stopwatch::{Stopwatch, number_of, resident_bytes};
use crate::storm::gate;
use crate::subject::{Shifted, base};
use crate::{Failure, Figures, figures};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    sessions: usize,
    sdk_sessions: usize,
    /// What the limiter allows.
    rate: u32,
    burst: u32,
    /// What STS allows beyond that, in per cent.
    more: u32,
    /// While sets come due, time moves by so much beside each such pause.
    step: Duration,
    pause: Duration,
    /// How long the source's calls are counted after its recovery.
    after: Duration,
}

impl Scale {
    /// For a quick run or a full one.
    #[must_use]
    pub fn new(quick: bool) -> Self {
        if quick {
            Self {
                sessions: 1000,
                sdk_sessions: 500,
                rate: 200,
                burst: 100,
                // To be throttled once costs more than so short a prefetch takes.
                more: 10,
                step: Duration::from_secs(5),
                pause: Duration::from_millis(50),
                after: Duration::from_secs(5),
            }
        } else {
            Self {
                sessions: 10_000,
                sdk_sessions: 2000,
                rate: 50,
                burst: 100,
                more: 0,
                step: Duration::from_secs(1),
                pause: Duration::from_millis(250),
                after: Duration::from_secs(60),
            }
        }
    }

    /// The least time in which the source gives so many sets.
    fn least_s(self, many: usize) -> f64 {
        (many as f64 - f64::from(self.burst)) / f64::from(self.rate)
    }

    /// STS allows so much while time goes at its usual speed.
    fn limit_sts(self) -> Result<(), Failure> {
        let more = |number: u32| number + number * self.more / 100;
        limit(more(self.rate), more(self.burst))
    }

    /// The same while it is moved by steps: the limiter goes by that time, STS by the real one.
    fn limit_moved_sts(self) -> Result<(), Failure> {
        let faster = (self.step + self.pause).as_secs_f64() / self.pause.as_secs_f64();
        limit((f64::from(self.rate) * faster) as u32, self.burst * 2)
    }
}

fn limit(rate: u32, burst: u32) -> Result<(), Failure> {
    ask(&format!("@limit {rate} {burst}")).map(drop)
}

/// How long the source is dead.
const DEAD: Duration = Duration::from_secs(600);
/// The failed refreshes' pauses: half of what was left of a set.
const PAUSES: Duration = Duration::from_secs(240);
/// From a set's arrival to the earliest start of its advisory window, which is 15 minutes long: a
/// half of it earlier after a prefetch, a tenth otherwise.
const FIRST_DUE: Duration = Duration::from_secs(2700 - 450);
const DUE: Duration = Duration::from_secs(2700 - 90);

/// What the conductor says to a line of the protocol.
fn ask(line: &str) -> Result<String, Failure> {
    println!("{line}");
    stdout().flush()?;
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer)?;
    Ok(answer)
}

/// How often the source was called.
pub(crate) fn source_calls() -> Result<f64, Failure> {
    Ok(ask("@calls")?.trim().parse()?)
}

/// Thousands of sessions, or of the SDK's providers.
///
/// # Errors
///
/// If a session cannot be opened, or the conductor does not answer.
pub async fn pool(peer: &str, scale: Scale) -> Result<Figures, Failure> {
    limit_descriptors()?;
    scale.limit_sts()?;
    match peer {
        "brs" => of_brs(scale).await,
        "sdk" => of_sdk(scale).await,
        _ => Err(format!("{peer} has no such measurement").into()),
    }
}

async fn of_sdk(scale: Scale) -> Result<Figures, Failure> {
    const AT_A_TIME: usize = 32;
    let (base, clock, many) = (base().await, Shifted::default(), scale.sdk_sessions);
    let warm = Masses::open("sdk", 1, &base, &clock).await?;
    warm.ask(1).await?;
    let (mut memory, calls) = (Memory::open()?, source_calls()?);
    let before = memory.resident_bytes()?;
    let masses = Masses::open("sdk", many, &base, &clock).await?;
    let (peak, stopwatch) = (Peak::watch(), Stopwatch::start());
    let failures = masses.ask(AT_A_TIME).await? as f64;
    let wall_s = stopwatch.seconds();
    let each_kb = (memory.resident_bytes()? - before) / 1e3 / many as f64;
    let (descriptors, _) = peak.seen();
    let sets = many as f64 - failures;
    let mut found = figures([
        ("sessions", many as f64),
        ("failures", failures),
        ("prefetch_s", wall_s),
        ("prefetch_over_least", wall_s / scale.least_s(sets as usize)),
        ("descriptors", descriptors as f64),
        ("resident_each_kb", each_kb),
    ]);
    let calls = source_calls()? - calls;
    let throttled = calls - sets;
    found.insert("source_calls".to_owned(), calls);
    found.insert("throttled_per_cent".to_owned(), throttled / calls * 100.0);
    Ok(found)
}

async fn of_brs(scale: Scale) -> Result<Figures, Failure> {
    let (base, clock, many) = (base().await, Shifted::default(), scale.sessions);
    let keys: Arc<Vec<_>> = Arc::new(
        (0..many)
            .map(|n| RoleKey::new(format!("arn:aws:iam::123456789012:role/bench-{n:05}")))
            .collect(),
    );
    let limiter = Limiter::adaptive(scale.rate, scale.burst);
    let (of_clock, of_base) = (clock.clone(), base);
    let pool = SessionPool::builder(|key: &RoleKey| sts::Params::from(key))
        .options(move |session| session.base(of_base).clock(of_clock))
        .limiter(limiter)
        .build();
    let pooled = Pooled { pool, keys, clock };
    // What is done once: configuration, HTTP client, threads.
    pooled.pool.get(&pooled.keys[0])?.credentials().await?;
    let mut found = pooled.prefetch(scale).await?;
    let throttled_at_first = pooled.pool.status().throttled;
    found.extend(pooled.renew(scale).await?);
    found.extend(pooled.outlive(scale).await?);
    found.insert(
        "throttled_later".to_owned(),
        (pooled.pool.status().throttled - throttled_at_first) as f64,
    );
    Ok(found)
}

/// Looks at this process's memory, be there a descriptor left or not.
struct Memory(File);

impl Memory {
    fn open() -> Result<Self, Failure> {
        Ok(Self(File::open("/proc/self/status")?))
    }

    fn resident_bytes(&mut self) -> Result<f64, Failure> {
        let mut status = String::new();
        self.0.rewind()?;
        self.0.read_to_string(&mut status)?;
        Ok(number_of(&status, "VmRSS:") * 1024.0)
    }
}

struct Pooled {
    pool: SessionPool<RoleKey>,
    keys: Arc<Vec<RoleKey>>,
    clock: Shifted,
}

/// What callers got that did not want to wait.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    calls: usize,
    not_ready: usize,
    errors: usize,
}

impl Pooled {
    /// Moves time on, here and at the source.
    fn advance(&self, by: Duration) -> Result<(), Failure> {
        gate(by)?;
        self.clock.advance(by);
        Ok(())
    }

    /// Asks every session once.
    fn sweep(&self, seen: &mut Seen) -> Result<(), Failure> {
        for key in self.keys.iter() {
            seen.calls += 1;
            match self.pool.get(key)?.credentials().now_or_never() {
                Some(Ok(_)) => {}
                Some(Err(_)) => seen.errors += 1,
                None => seen.not_ready += 1,
            }
        }
        Ok(())
    }

    async fn prefetch(&self, scale: Scale) -> Result<Figures, Failure> {
        let (many, keys) = (self.keys.len(), Arc::clone(&self.keys));
        let least_s = scale.least_s(many);
        let before = resident_bytes();
        let (peak, stopwatch) = (Peak::watch(), Stopwatch::start());
        let mut outcomes = self.pool.prefetch(
            (1..many).map(move |n| keys[n].clone()),
            Duration::from_secs_f64(least_s * 2.0 + 30.0),
        );
        let mut failures = 0;
        // One by one: a report of them all would be counted as memory of the sessions.
        while let Some((_, outcome)) = outcomes.next().await {
            failures += usize::from(outcome.is_err());
        }
        let wall_s = stopwatch.seconds();
        let each_kb = (resident_bytes() - before) / 1e3 / (many - 1) as f64;
        let (descriptors, threads) = peak.seen();
        let limiter = self.pool.limiter().status();
        Ok(figures([
            ("sessions", many as f64),
            ("failures", failures as f64),
            ("prefetch_s", wall_s),
            ("prefetch_over_least", wall_s / least_s),
            ("source_calls", source_calls()?),
            (
                "throttled_per_cent",
                limiter.throttled as f64 / limiter.calls as f64 * 100.0,
            ),
            ("descriptors", descriptors as f64),
            ("threads", threads),
            ("resident_each_kb", each_kb),
        ]))
    }

    /// Time moves through the window of all sets.
    async fn renew(&self, scale: Scale) -> Result<Figures, Failure> {
        let many = self.keys.len() as u64;
        let limiter = self.pool.limiter();
        let sets = || {
            let status = limiter.status();
            status.calls - status.throttled
        };
        let fetched_s = scale.least_s(self.keys.len());
        let so_far = sets();
        // Those that were fetched first are due first.
        let since = Duration::from_secs_f64(fetched_s * 1.1 + 5.0);
        self.advance(FIRST_DUE.saturating_sub(since))?;
        scale.limit_moved_sts()?;
        let (mut seen, stopwatch) = (Seen::default(), Stopwatch::start());
        let (mut moved, until) = (Duration::ZERO, Duration::from_secs(800));
        while sets() < so_far + many || self.pool.status().refreshing > 0 {
            if moved < until {
                self.advance(scale.step)?;
                moved += scale.step;
            }
            self.sweep(&mut seen)?;
            tokio::time::sleep(scale.pause).await;
            if stopwatch.seconds() > fetched_s * 2.0 + 120.0 {
                return Err("the pool did not renew all sets in time".into());
            }
        }
        // The first of the renewed sets is due next.
        let took = moved + stopwatch.elapsed();
        self.advance(DUE.saturating_sub(took))?;
        Ok(figures([
            ("steady_calls", seen.calls as f64),
            ("steady_not_ready", seen.not_ready as f64),
            ("steady_errors", seen.errors as f64),
        ]))
    }

    /// The source dies while sets come due, and is well again.
    async fn outlive(&self, scale: Scale) -> Result<Figures, Failure> {
        let mut seen = Seen::default();
        ask("@source dead")?;
        let calls = source_calls()?;
        let mut gone = Duration::ZERO;
        while gone < DEAD {
            self.advance(scale.step)?;
            gone += scale.step;
            self.sweep(&mut seen)?;
            tokio::time::sleep(scale.pause).await;
        }
        let calls_while_dead = source_calls()? - calls;
        let (waiting, while_dead) = (self.pool.status().refreshing, seen);
        ask("@source well")?;
        scale.limit_sts()?;
        let most_a_second = self.count_calls(scale.after, &mut seen).await?;
        Ok(figures([
            ("dead_errors", while_dead.errors as f64),
            ("dead_not_ready", while_dead.not_ready as f64),
            ("recovery_errors", (seen.errors - while_dead.errors) as f64),
            ("dead_source_calls", calls_while_dead),
            ("dead_refreshing", waiting as f64),
            ("recovery_most_calls_a_second", most_a_second),
            (
                "recovery_over_limit",
                most_a_second / f64::from(scale.burst + scale.rate),
            ),
        ]))
    }

    /// The most calls to the source in a second.
    async fn count_calls(&self, length: Duration, seen: &mut Seen) -> Result<f64, Failure> {
        const LOOKS: Duration = Duration::from_millis(20);
        let (stopwatch, mut counts) = (Stopwatch::start(), vec![(0.0, source_calls()?)]);
        let mut swept = 0;
        // The pauses of nearly all that have failed end at once.
        self.advance(PAUSES)?;
        while stopwatch.elapsed() < length {
            counts.push((stopwatch.seconds(), source_calls()?));
            if stopwatch.elapsed().as_secs() > swept {
                swept += 1;
                self.sweep(seen)?;
            }
            tokio::time::sleep(LOOKS).await;
        }
        Ok(most_in_a_second(&counts))
    }
}

/// The greatest increase of a count within a second.
fn most_in_a_second(counts: &[(f64, f64)]) -> f64 {
    let (mut first, mut most) = (0, 0.0_f64);
    for (at, count) in counts {
        while at - counts[first].0 > 1.0 {
            first += 1;
        }
        most = most.max(count - counts[first].1);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_calls_in_a_second_are_those_of_no_more_than_a_second() {
        let counts = [
            (0.0, 0.0),
            (0.4, 3.0),
            (1.0, 10.0),
            (1.4, 13.0),
            (2.5, 14.0),
        ];
        assert_eq!(most_in_a_second(&counts), 10.0);
        assert_eq!(most_in_a_second(&[]), 0.0);
    }
}
