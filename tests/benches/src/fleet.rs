//! Hosts that share the credentials of many roles by a store: each a process with a pool, started from
//! here, and a Redis.
//!
//! `alone` is the same without the store. Three phases:
//!
//! 1. *Fetch*: all hosts fetch all roles at the same time.
//! 2. *Get*: one host, with sessions that have nothing yet, gets one role after the other, which the
//!    others have already.
//! 3. *Renew*: time moves to where all sets are due, at the same moment for all hosts, while every
//!    session is asked twenty times a second.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead as _, stdin};
use std::process::Command;
use std::time::Duration;

use brs::prelude::*;
use brs::shared::{Fleet, RedisStore, Seal};
use brs::{RoleKey, SessionPool, sts};
use brs_tests::redis::Redis;
use futures_util::FutureExt as _;

use crate::children::Process;
use crate::pool::source_calls;
use crate::stopwatch::{Stopwatch, median, number_of, resident_bytes};
use crate::storm::gate;
use crate::subject::{REGION, Shifted};
use crate::{Failure, Figures, figures};

const SEAL_KEYS: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// To where all advisory windows have begun.
const DUE: Duration = Duration::from_secs(2700);

/// How long a phase may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Hosts, and roles that they all have.
fn scale(is_quick: bool) -> (usize, usize) {
    if is_quick { (4, 25) } else { (8, 100) }
}

/// What a fleet's calls, hits and store cost.
///
/// # Errors
///
/// If there is no Redis, or a host fails.
pub fn fleet(peer: &str, is_quick: bool) -> Result<Figures, Failure> {
    let (many, roles) = scale(is_quick);
    let redis = match peer {
        "brs" => {
            env::var_os("BRS_REDIS_SERVER").ok_or("Redis is not installed")?;
            Some(Redis::start())
        }
        "alone" => None,
        _ => return Err(format!("{peer} has no such measurement").into()),
    };
    let mut hosts = Vec::new();
    for _ in 0..many {
        let mut command = Command::new(env::current_exe()?);
        command
            .args(["case", "fleet_host", peer])
            .args(is_quick.then_some("--quick"));
        if let Some(redis) = &redis {
            command.env("BENCH_REDIS", redis.url());
        }
        hosts.push(Process::start(&mut command)?);
    }
    for host in &mut hosts {
        host.is_ready()?;
    }
    let stored = |redis: &Redis| number_of(&redis.tell(&["INFO", "memory"]), "used_memory:");
    let mut found = figures([("hosts", many as f64), ("roles", roles as f64)]);
    let mut errors = 0.0;
    let empty = redis.as_ref().map(stored);

    let calls = source_calls()?;
    let fetched = all(&mut hosts, "fetch")?;
    let fetch_calls = source_calls()? - calls;
    let mut add = |name: &str, value: f64| found.extend([(name.to_owned(), value)]);
    add("fetch_ms", most(&fetched, "ms"));
    add("fetch_source_calls_each_role", fetch_calls / roles as f64);
    errors += sum(&fetched, "errors");
    if let Some((redis, empty)) = redis.as_ref().zip(empty) {
        add(
            "store_each_kb",
            (stored(redis) - empty) / 1e3 / roles as f64,
        );
    }

    let got = all(&mut hosts[..1], "get")?;
    add("get_p50_us", most(&got, "p50_us"));
    add("get_p99_us", most(&got, "p99_us"));
    errors += sum(&got, "errors");

    gate(DUE)?;
    let calls = source_calls()?;
    let renewed = all(&mut hosts, "renew")?;
    let renew_calls = source_calls()? - calls;
    add("renew_ms", most(&renewed, "ms"));
    add("renew_not_ready", sum(&renewed, "not_ready"));
    add("renew_source_calls_each_role", renew_calls / roles as f64);
    errors += sum(&renewed, "errors");

    let status = all(&mut hosts, "status")?;
    add("errors", errors);
    add("resident_each_kb", most(&status, "resident_each_kb"));
    if redis.is_some() {
        add("store_failures", sum(&status, "store_failures"));
    }
    add("source_calls", fetch_calls + renew_calls);
    Ok(found)
}

/// All hosts do it at the same time; what each found.
fn all(hosts: &mut [Process], command: &str) -> Result<Vec<Figures>, Failure> {
    for host in hosts.iter_mut() {
        host.say(command)?;
    }
    let answer = |host: &mut Process| Ok(serde_json::from_str(&host.line()?)?);
    hosts.iter_mut().map(answer).collect()
}

fn most(found: &[Figures], name: &str) -> f64 {
    found.iter().map(|one| one[name]).fold(0.0, f64::max)
}

fn sum(found: &[Figures], name: &str) -> f64 {
    found.iter().map(|one| one[name]).sum()
}

/// A host: does what its standard input says, a line each.
///
/// # Errors
///
/// If its options are wrong, or a phase takes too long.
///
/// # Cancel safety
///
/// Not cancel safe: it reads its standard input.
pub async fn host(is_quick: bool) -> Result<Figures, Failure> {
    let (_, roles) = scale(is_quick);
    let store = match env::var("BENCH_REDIS") {
        Ok(url) => Some(Fleet::new(
            RedisStore::new(url)?,
            Seal::from_keys(SEAL_KEYS)?,
        )),
        Err(_) => None,
    };
    let host = Host {
        clock: Shifted::default(),
        store,
        keys: (0..roles).map(key).collect(),
    };
    let pool = host.pool()?;
    // What is done once: configuration, HTTP client, threads.
    pool.get(&key(roles))?.credentials().await?;
    let before = resident_bytes();
    println!("ready");
    for line in stdin().lock().lines() {
        let found = match line?.as_str() {
            "fetch" => host.fetch(&pool).await?,
            "get" => host.get().await?,
            "renew" => host.renew(&pool).await?,
            _ => host.status(before),
        };
        println!("{}", serde_json::json!(found));
    }
    Ok(Figures::new())
}

fn key(number: usize) -> RoleKey {
    RoleKey::new(format!("arn:aws:iam::123456789012:role/bench-{number:05}"))
}

struct Host {
    clock: Shifted,
    store: Option<Fleet>,
    keys: Vec<RoleKey>,
}

impl Host {
    fn pool(&self) -> Result<SessionPool<RoleKey>, Failure> {
        let (clock, store) = (self.clock.clone(), self.store.clone());
        let endpoint = env::var("BENCH_ENDPOINT")?;
        let pool = SessionPool::builder(|key: &RoleKey| sts::Params::from(key));
        let pool = pool.options(move |session| {
            let session = session.region(REGION).endpoint_url(endpoint).clock(clock);
            match store {
                Some(store) => session.shared(store),
                None => session,
            }
        });
        Ok(pool.build())
    }

    async fn fetch(&self, pool: &SessionPool<RoleKey>) -> Result<Figures, Failure> {
        let stopwatch = Stopwatch::start();
        let report = pool.prefetch(self.keys.clone(), LIMIT).await;
        Ok(figures([
            ("ms", stopwatch.seconds() * 1e3),
            ("errors", report.failures().count() as f64),
        ]))
    }

    /// Sessions that have nothing get one role after the other.
    async fn get(&self) -> Result<Figures, Failure> {
        let pool = self.pool()?;
        let (mut took, mut errors) = (Vec::new(), 0.0);
        for key in &self.keys {
            let session = pool.get(key)?;
            let stopwatch = Stopwatch::start();
            errors += f64::from(u8::from(session.credentials().await.is_err()));
            took.push(stopwatch.seconds() * 1e6);
        }
        let p50_us = median(&mut took);
        Ok(figures([
            ("p50_us", p50_us),
            ("p99_us", took[(took.len() - 1) * 99 / 100]),
            ("errors", errors),
        ]))
    }

    /// Time moves on, and all sets are replaced.
    async fn renew(&self, pool: &SessionPool<RoleKey>) -> Result<Figures, Failure> {
        const PAUSE: Duration = Duration::from_millis(50);
        let mut left = BTreeMap::new();
        for key in &self.keys {
            let id = pool.get(key)?.status().access_key_id().map(str::to_owned);
            left.insert(key, id);
        }
        self.clock.advance(DUE);
        let (mut not_ready, mut errors, stopwatch) = (0.0, 0.0, Stopwatch::start());
        while !left.is_empty() {
            for key in &self.keys {
                let session = pool.get(key)?;
                match session.credentials().now_or_never() {
                    Some(Ok(set)) => {
                        let is_old =
                            |id: &Option<String>| id.as_deref() == Some(set.access_key_id());
                        if left.get(key).is_some_and(|id| !is_old(id)) {
                            left.remove(key);
                        }
                    }
                    Some(Err(_)) => errors += 1.0,
                    None => not_ready += 1.0,
                }
            }
            if stopwatch.elapsed() > LIMIT {
                return Err("the sets were not renewed in time".into());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(figures([
            ("ms", stopwatch.seconds() * 1e3),
            ("not_ready", not_ready),
            ("errors", errors),
        ]))
    }

    fn status(&self, before: f64) -> Figures {
        let each_kb = (resident_bytes() - before) / 1e3 / self.keys.len() as f64;
        let failures = self
            .store
            .as_ref()
            .map_or(0, |store| store.status().failures);
        figures([
            ("resident_each_kb", each_kb),
            ("store_failures", failures as f64),
        ])
    }
}
