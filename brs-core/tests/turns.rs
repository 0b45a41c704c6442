//! The limit on flights: who waits, in what order, for how long. One process of its own: the limit
//! is set once.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use brs_core::test_util::{Gate, ManualClock};
use brs_core::{
    Blocking, Error, RefreshContext, RefreshStrategy, RefreshableSession, TemporaryCredentials,
    limit_concurrent_refreshes,
};
use futures_util::FutureExt;
use futures_util::future::join_all;

const LIMIT: usize = 3;
const HOUR: Duration = Duration::from_secs(3600);

/// What a source does when it is asked.
#[derive(Clone, Debug)]
enum Does {
    Answer,
    /// Once the gate is open.
    After(Gate),
    /// On a thread of its own, once the gate is open.
    Block(Gate),
    Hang,
    /// Asks another session first.
    StandsOn(RefreshableSession),
}

/// Writes down who is asked.
#[derive(Clone, Debug, Default)]
struct Asked(Arc<Mutex<Vec<usize>>>);

impl Asked {
    fn all(&self) -> Vec<usize> {
        self.0.lock().unwrap().clone()
    }

    /// Waits until so many have been asked.
    async fn number(&self, number: usize) {
        while self.all().len() < number {
            tokio::task::yield_now().await;
        }
    }
}

#[derive(Debug)]
struct Source {
    method: &'static str,
    number: usize,
    does: Does,
    asked: Asked,
    place: Blocking,
}

#[async_trait]
impl RefreshStrategy for Source {
    fn method(&self) -> &'static str {
        self.method
    }

    fn source(&self) -> &'static str {
        "test"
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        self.asked.0.lock().unwrap().push(self.number);
        match &self.does {
            Does::Answer => {}
            Does::After(gate) => gate.passed().await,
            Does::Block(gate) => {
                let gate = gate.clone();
                self.place.run(move || gate.block()).await?;
            }
            Does::Hang => std::future::pending().await,
            Does::StandsOn(session) => drop(session.credentials().await?),
        }
        Ok(TemporaryCredentials::new(
            format!("ASIA{}", self.number),
            "s",
            None,
            Some(cx.clock().now() + HOUR),
        ))
    }
}

struct Bench {
    method: &'static str,
    asked: Asked,
    clock: ManualClock,
}

impl Bench {
    fn new(method: &'static str) -> Self {
        limit_concurrent_refreshes(NonZeroUsize::new(LIMIT).unwrap()).unwrap();
        let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_900_000_000));
        Self {
            method,
            asked: Asked::default(),
            clock,
        }
    }

    async fn session(&self, number: usize, does: Does) -> RefreshableSession {
        let (method, asked) = (self.method, self.asked.clone());
        let strategy = Source {
            method,
            number,
            does,
            asked,
            place: Blocking::new(),
        };
        RefreshableSession::with_strategy(Arc::new(strategy))
            .clock(self.clock.clone())
            .build()
            .await
            .unwrap()
    }

    /// Sessions numbered from `first` on.
    async fn sessions(&self, first: usize, count: usize, does: &Does) -> Vec<RefreshableSession> {
        join_all((first..first + count).map(|number| self.session(number, does.clone()))).await
    }
}

type Call = futures_util::future::BoxFuture<'static, Result<String, Error>>;

/// Asks each for its credentials, in their order.
fn ask(sessions: &[RefreshableSession]) -> Vec<Call> {
    let each = |session: &RefreshableSession| {
        let session = session.clone();
        let mut call = async move {
            session
                .credentials()
                .await
                .map(|set| set.access_key_id().to_owned())
        }
        .boxed();
        // Begun; a source that answers may have done so already.
        match (&mut call).now_or_never() {
            Some(result) => std::future::ready(result).boxed(),
            None => call,
        }
    };
    sessions.iter().map(each).collect()
}

#[tokio::test]
async fn so_many_are_in_flight_and_the_others_wait_their_turn() {
    let bench = Bench::new("so-many");
    let gate = Gate::new();
    let mut calls = ask(&bench.sessions(0, LIMIT, &Does::After(gate.clone())).await);
    bench.asked.number(LIMIT).await;
    calls.extend(ask(&bench.sessions(LIMIT, 20, &Does::Answer).await));
    bench.clock.sleepers(LIMIT + 20).await;
    assert_eq!(bench.asked.all().len(), LIMIT, "the others have not begun");
    gate.open();
    assert!(join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!(bench.asked.all().len(), LIMIT + 20);
}

#[tokio::test]
async fn those_with_waiting_callers_come_first() {
    let bench = Bench::new("first");
    let background = bench.sessions(100, 3, &Does::Answer).await;
    join_all(ask(&background)).await;
    bench.clock.advance(HOUR - Duration::from_secs(300));
    // One turn is given back at a time, or the order would be that of threads.
    let (first, rest) = (Gate::new(), Gate::new());
    let mut busy = ask(&bench.sessions(0, 1, &Does::After(first.clone())).await);
    busy.extend(ask(&bench
        .sessions(1, LIMIT - 1, &Does::After(rest.clone()))
        .await));
    bench.asked.number(3 + LIMIT).await;
    // Advisory refreshes without waiters; then a caller waits for the last of them.
    for session in &background {
        session.credentials().now_or_never().unwrap().unwrap();
    }
    bench.clock.sleepers(LIMIT + 3).await;
    let wanted = ask(&bench.sessions(200, 1, &Does::Answer).await);
    let mut joined = background[2].refresh().boxed();
    assert!((&mut joined).now_or_never().is_none());
    bench.clock.sleepers(LIMIT + 4).await;
    first.open();
    joined.await.unwrap();
    join_all(wanted).await;
    bench.asked.number(3 + LIMIT + 4).await;
    rest.open();
    join_all(busy).await;
    let order = bench.asked.all()[3 + LIMIT..].to_vec();
    let place = |number| order.iter().position(|asked| *asked == number).unwrap();
    assert!(
        place(102) < place(100) && place(200) < place(100),
        "{order:?}"
    );
    assert!(
        place(102) < place(101) && place(200) < place(101),
        "{order:?}"
    );
}

#[tokio::test]
async fn a_limit_counts_from_the_turn_and_a_slow_source_costs_nobody_a_turn() {
    let bench = Bench::new("slow");
    let gates: Vec<_> = (0..8).map(|_| Gate::new()).collect();
    let mut sessions = Vec::new();
    for (number, gate) in gates.iter().enumerate() {
        for part in 0..LIMIT {
            sessions.push(
                bench
                    .session(number * LIMIT + part, Does::After(gate.clone()))
                    .await,
            );
        }
    }
    let calls = ask(&sessions);
    // Each round takes 25 s of the 30 that a flight has: the last waits for 175 s.
    for (round, gate) in gates.iter().enumerate() {
        bench.asked.number((round + 1) * LIMIT).await;
        bench.clock.sleepers(sessions.len() - round * LIMIT).await;
        bench.clock.advance(Duration::from_secs(25));
        gate.open();
    }
    for result in join_all(calls).await {
        result.unwrap();
    }
}

#[tokio::test]
async fn a_source_that_hangs_costs_everybody_one_time_limit() {
    let bench = Bench::new("hangs");
    let calls = ask(&bench.sessions(0, 4 * LIMIT, &Does::Hang).await);
    bench.asked.number(LIMIT).await;
    bench.clock.sleepers(4 * LIMIT).await;
    bench.clock.advance(Duration::from_secs(30));
    let errors: Vec<_> = join_all(calls)
        .await
        .into_iter()
        .map(|result| result.unwrap_err().to_string())
        .collect();
    assert_eq!(bench.asked.all().len(), LIMIT, "nobody else was asked");
    let slow = errors
        .iter()
        .filter(|error| error.contains("did not answer within 30s"))
        .count();
    let waited = "the refresh did not begin: for 30s none of the 3 refreshes of its method that \
                  run at a time has been answered: ";
    let in_line = errors.iter().filter(|error| error.contains(waited)).count();
    assert_eq!((slow, in_line), (LIMIT, 3 * LIMIT), "{errors:?}");

    // And keeps no other method waiting.
    let other = Bench::new("another");
    join_all(ask(&other.sessions(0, 2 * LIMIT, &Does::Answer).await)).await;
}

#[tokio::test]
async fn a_synchronous_function_keeps_its_turn_until_it_returns() {
    let bench = Bench::new("synchronous");
    let gate = Gate::new();
    let calls = ask(&bench
        .sessions(0, 2 * LIMIT, &Does::Block(gate.clone()))
        .await);
    bench.asked.number(LIMIT).await;
    bench.clock.sleepers(2 * LIMIT).await;
    bench.clock.advance(Duration::from_secs(30));
    for result in join_all(calls).await {
        result.unwrap_err();
    }
    // Their limit is over, their threads are not: who comes now is not asked.
    let calls = ask(&bench.sessions(100, 1, &Does::Answer).await);
    bench.clock.sleepers(1).await;
    assert_eq!(bench.asked.all().len(), LIMIT);
    bench.clock.advance(Duration::from_secs(30));
    let error = join_all(calls).await.remove(0).unwrap_err().to_string();
    assert!(
        error.contains("(3 of them are in synchronous functions that have not returned)"),
        "{error}"
    );
    gate.open();
    let again = ask(&bench.sessions(200, 1, &Does::Answer).await);
    join_all(again).await.remove(0).unwrap();
}

#[tokio::test]
async fn a_flight_that_others_in_flight_wait_for_begins_at_once() {
    let bench = Bench::new("chain");
    // A hub, on a session of its own method, beneath more sessions than there are turns.
    let root = bench.session(0, Does::Answer).await;
    let hub = bench.session(1, Does::StandsOn(root)).await;
    let calls = ask(&bench
        .sessions(10, 10 * LIMIT, &Does::StandsOn(hub.clone()))
        .await);
    for result in join_all(calls).await {
        result.unwrap();
    }

    // The hub's own flight is already in line when others come to wait for it.
    hub.invalidate("ASIA1");
    let gate = Gate::new();
    let busy = ask(&bench
        .sessions(100, LIMIT - 1, &Does::After(gate.clone()))
        .await);
    let nested = bench.sessions(200, 1, &Does::StandsOn(hub.clone())).await;
    let mut nested = ask(&nested);
    nested.extend(ask(&[hub]));
    for result in join_all(nested).await {
        result.unwrap();
    }
    gate.open();
    join_all(busy).await;
}

#[tokio::test]
async fn a_session_that_goes_away_leaves_the_line() {
    let bench = Bench::new("leaves");
    let gate = Gate::new();
    let busy = ask(&bench.sessions(0, LIMIT, &Does::After(gate.clone())).await);
    bench.asked.number(LIMIT).await;
    let leaves = bench.sessions(10, 5, &Does::Answer).await;
    drop(ask(&leaves));
    bench.clock.sleepers(LIMIT + 5).await;
    drop(leaves);
    let stays = ask(&bench.sessions(20, 2, &Does::Answer).await);
    gate.open();
    join_all(busy).await;
    for result in join_all(stays).await {
        result.unwrap();
    }
}

#[tokio::test]
async fn the_limit_is_set_once() {
    Bench::new("limit");
    let error = limit_concurrent_refreshes(NonZeroUsize::new(LIMIT + 1).unwrap()).unwrap_err();
    assert!(error.to_string().contains("is 3 already"), "{error}");
}
