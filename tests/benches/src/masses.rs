//! Thousands of sessions in one process that become due together, and how soon sessions notice that
//! their source is well again.
//!
//! `masses`: this process limits itself to 1,024 descriptors, the usual limit, whatever the
//! machine's is. All sessions have a set; time moves into the last minute of its life, and each is
//! asked for an identity at once.
//!
//! `recovery`: on a clock that is moved by hand, against a source that is dead from a moment before
//! the set's end on, for a minute, ten, or an hour, while a caller asks every second. The figures
//! are simulated seconds from the source's recovery to the first call that gets a new set, over
//! many seeds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_types::SdkConfig;
use brs::test_util::{ManualClock, Scripted, Step};
use brs::{Error, RefreshBackoff, RefreshableSession};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::stopwatch::{Stopwatch, median, number_of, resident_bytes, system_time};
use crate::storm::gate;
use crate::subject::{LIFETIME, Resolver, Shifted, base, sdk_config, session};
use crate::{Failure, Figures, figures};

/// What Linux gives a process.
const DESCRIPTORS: u64 = 1024;

/// Sessions, or the SDK's providers, and what asks them.
pub(crate) struct Masses {
    resolvers: Vec<Arc<Resolver>>,
    _sessions: Vec<RefreshableSession>,
}

impl Masses {
    pub(crate) async fn open(
        peer: &str,
        many: usize,
        base: &SdkConfig,
        clock: &Shifted,
    ) -> Result<Self, Failure> {
        let (mut resolvers, mut sessions) = (Vec::new(), Vec::new());
        for _ in 0..many {
            match peer {
                "brs" => {
                    let session = session(base).clock(clock.clone()).build().await?;
                    resolvers.push(Arc::new(Resolver::new(
                        session.sdk_config(),
                        clock.clone(),
                    )?));
                    sessions.push(session);
                }
                "sdk" => resolvers.push(Arc::new(Resolver::new(
                    &sdk_config(base, None).await,
                    clock.clone(),
                )?)),
                _ => return Err(format!("{peer} has no such measurement").into()),
            }
        }
        Ok(Self {
            resolvers,
            _sessions: sessions,
        })
    }

    /// So many at a time; gives the failures.
    pub(crate) async fn ask(&self, at_a_time: usize) -> Result<usize, Failure> {
        let mut failures = 0;
        for some in self.resolvers.chunks(at_a_time) {
            let ask = |resolver: &Arc<Resolver>| {
                let resolver = Arc::clone(resolver);
                tokio::spawn(async move { resolver.resolve().await.is_err() })
            };
            for one in some.iter().map(ask).collect::<Vec<_>>() {
                failures += usize::from(one.await?);
            }
        }
        Ok(failures)
    }
}

/// The most descriptors and threads that this process has while this lives.
pub(crate) struct Peak {
    is_over: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(usize, f64)>,
}

impl Peak {
    pub(crate) fn watch() -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            let (mut descriptors, mut threads) = (0, 0.0_f64);
            while !over.load(Ordering::Relaxed) {
                // Where there is none left to look with, all are in use.
                let found = std::fs::read_dir("/proc/self/fd")
                    .map_or(DESCRIPTORS as usize, Iterator::count);
                descriptors = descriptors.max(found);
                let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
                threads = threads.max(number_of(&status, "Threads:"));
                std::thread::park_timeout(Duration::from_millis(2));
            }
            (descriptors, threads)
        });
        Self { is_over, thread }
    }

    pub(crate) fn seen(self) -> (usize, f64) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        self.thread.join().unwrap_or_default()
    }
}

/// Gives this process no more descriptors than most have.
pub(crate) fn limit_descriptors() -> Result<(), Failure> {
    let limit = Rlimit {
        current: Some(DESCRIPTORS),
        maximum: Some(DESCRIPTORS),
    };
    Ok(setrlimit(Resource::Nofile, limit)?)
}

/// 2,000 sessions, or as many as the peer's name ends with, that become due together.
///
/// # Errors
///
/// If a session cannot be opened.
pub async fn masses(peer: &str) -> Result<Figures, Failure> {
    let (peer, many) = match peer.strip_suffix("_5000") {
        Some(peer) => (peer, 5000),
        None => (peer, 2000),
    };
    limit_descriptors()?;
    let (base, clock) = (base().await, Shifted::default());
    let warm = Masses::open(peer, 1, &base, &clock).await?;
    warm.ask(1).await?;
    let before = resident_bytes();
    let masses = Masses::open(peer, many, &base, &clock).await?;
    // Gently; a peer may be out of descriptors nevertheless.
    let without_first_set = masses.ask(32).await?;
    let each_kb = (resident_bytes() - before) / 1e3 / many as f64;
    let jump = LIFETIME - Duration::from_secs(4);
    gate(jump)?;
    clock.advance(jump);
    let (peak, stopwatch) = (Peak::watch(), Stopwatch::start());
    let failures = masses.ask(many).await?;
    let wall_s = stopwatch.seconds();
    let (descriptors, threads) = peak.seen();
    let mut found = figures([
        ("failures", failures as f64),
        ("failures_at_the_first_set", without_first_set as f64),
        ("wall_s", wall_s),
        ("descriptors", descriptors as f64),
        ("threads", threads),
        ("resident_each_kb", each_kb),
    ]);
    // Without a descriptor left, memory and threads cannot be looked at.
    found.retain(|name, value| *value > 0.0 || name.starts_with("failures"));
    Ok(found)
}

/// How soon a session that has lost its source has a new set.
///
/// # Errors
///
/// If a session cannot be opened, or finds no new set within an hour of the recovery.
pub async fn recovery(peer: &str, seeds: u64) -> Result<Figures, Failure> {
    let backoff = match peer {
        "brs" => RefreshBackoff::Adaptive,
        "uniform" => RefreshBackoff::uniform(Duration::from_secs(300), Duration::from_secs(600)),
        _ => return Err(format!("{peer} has no such measurement").into()),
    };
    let mut found = Figures::new();
    let (mut worst_of_all, mut calls) = (0.0_f64, 0);
    for (name, dead_s) in [("1_min", 60), ("10_min", 600), ("1_h", 3600)] {
        let mut waits = Vec::new();
        for seed in 0..seeds {
            let (wait, asked) = one_recovery(backoff, seed, Duration::from_secs(dead_s)).await?;
            waits.push(wait.as_secs_f64());
            calls = calls.max(asked);
        }
        found.insert(format!("after_{name}_median_s"), median(&mut waits));
        let worst = waits.iter().copied().fold(0.0, f64::max);
        found.insert(format!("after_{name}_worst_s"), worst);
        worst_of_all = worst_of_all.max(worst);
    }
    found.insert("worst_s".to_owned(), worst_of_all);
    found.insert("most_source_calls".to_owned(), calls as f64);
    Ok(found)
}

/// One outage; gives how long after it the first new set was had, and how often the source was
/// called meanwhile.
async fn one_recovery(
    backoff: RefreshBackoff,
    seed: u64,
    dead: Duration,
) -> Result<(Duration, usize), Failure> {
    const STEP: Duration = Duration::from_secs(1);
    let clock = ManualClock::new(system_time());
    let source = Scripted::statically_stable(Step::Fresh(LIFETIME));
    let session = RefreshableSession::with_strategy(source.shared())
        .refresh_backoff(backoff)
        .seed(seed);
    let session = session
        .clock(clock.clone())
        .static_stability(true)
        .build()
        .await?;
    let first = session.credentials().await?;
    source.otherwise(Step::Fail(Error::connection("the source is dead")));
    clock.advance(LIFETIME);
    // The source is not well again at the same point of a backoff each time.
    let dead = dead + STEP * (seed as u32 * 37 % 60);
    let mut gone = Duration::ZERO;
    while gone < dead {
        let _ = session.credentials().await;
        landed(&session).await;
        clock.advance(STEP);
        gone += STEP;
    }
    let asked = source.calls();
    source.otherwise(Step::Fresh(LIFETIME));
    let mut waited = Duration::ZERO;
    while waited < Duration::from_secs(3600) {
        let set = session.credentials().await;
        landed(&session).await;
        if set.is_ok_and(|set| set.access_key_id() != first.access_key_id()) {
            return Ok((waited, asked - 1));
        }
        clock.advance(STEP);
        waited += STEP;
    }
    Err("no new set within an hour".into())
}

/// Time stands still until the refresh that runs has ended.
async fn landed(session: &RefreshableSession) {
    while session.status().is_refreshing() {
        tokio::task::yield_now().await;
    }
}
