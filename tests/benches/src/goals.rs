//! What brs is to reach, row by row.
//!
//! A *checked* goal is a ratio within the run, a count, or a number of instructions or of allocated
//! bytes: what holds on a slow or busy machine, too. The others are absolute times and resident
//! sizes; the report shows them, `--check` leaves them alone.

use crate::results::Results;

/// One goal of brs's.
#[derive(Debug)]
pub struct Goal {
    /// The row.
    pub row: &'static str,
    /// Whose figure it is.
    pub peer: &'static str,
    /// Which figure.
    pub figure: &'static str,
    /// What it is to be.
    pub limit: Limit,
    /// Whether `--check` looks at it.
    pub checked: bool,
    /// What stands in the way where it is known to be missed; figures of the row tell how much.
    pub because: &'static str,
}

impl Goal {
    const fn because(mut self, reason: &'static str) -> Self {
        self.because = reason;
        self
    }
}

/// What a figure is to be.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// No more.
    AtMost(f64),
    /// No less.
    AtLeast(f64),
    /// No more than this part of the peer's figure in the same run.
    OfPeer(&'static str, f64),
    /// No less than it.
    AtLeastOfPeer(&'static str, f64),
}

/// A goal held against a run.
#[derive(Debug)]
pub struct Verdict {
    /// The goal.
    pub goal: &'static Goal,
    /// The figure, or its ratio to the peer's; none if it was not measured.
    pub value: Option<f64>,
    /// Whether it is reached; none if it was not measured.
    pub met: Option<bool>,
}

const fn goal(row: &'static str, figure: &'static str, limit: Limit, checked: bool) -> Goal {
    of("brs", row, figure, limit, checked)
}

const fn of(
    peer: &'static str,
    row: &'static str,
    figure: &'static str,
    limit: Limit,
    checked: bool,
) -> Goal {
    Goal {
        row,
        peer,
        figure,
        limit,
        checked,
        because: "",
    }
}

use Limit::{AtLeast, AtLeastOfPeer, AtMost, OfPeer};

const IDENTITY: &str = "beyond the set itself (row `guard`) a call clones and drops the SDK's `SharedIdentityResolver` \
                        and `Identity`, three `Arc`s, as its interface asks of every cache: six atomic operations \
                        within `instructions_of_sdk` and `…_of_others`, which is the resolving client; the SDK's own \
                        cache, of which the goal is a part, has become faster than it was when the goal was set";
const LINKED: &str = "a registered method is linked with all that it can do, used or not: MFA, web identity, session \
                      tokens, the parameters' schemas and their reading from data, a runtime of its own; `symbols_…` \
                      tell how much, `…_of_others` what generic code of others is made for it";
const STARTED: &str = "the first refresh starts the threads that keep callers from waiting for strategies, and \
                       strategies from one another (`threads`), and their memory is not the main thread's; a program \
                       that waits for one answer and ends has no use for them";
const CLIENT: &str =
    "the SDK's client is most of it: what `allocated_each_kb` is beyond that of row `session`";
const BUILT: &str = "`units_of_…_s` tell what takes the time, all compilers' seconds of both builds: beside `sdk`, \
                     brs's own crates, whose async code and readers of data are generated in them, the macros \
                     (serde, schemars, two versions of syn), and SSO, which the method has and a lean `sdk` does not";
const STORE: &str = "hosts that share a set share its end: when the store is gone each is due for all roles, and a \
                     million calls take STS 28 minutes, which is longer than the window; spreading the renewals of \
                     shared sets over half of it leaves what hosts lose by being throttled";
const BUILT_IOT: &str = "`units_of_…_s` tell what takes the time: TLS alone, AWS-LC's C code most of it, is about as \
                         much as in `sdk`, of which it is the largest part; then an HTTP client, tokio, the SDK's \
                         vocabulary and runtime crates, and encrypted keys and certificates";
const BUILT_CUSTOM: &str = "`units_of_…_s` tell what takes the time: tokio, the macros (serde, schemars, two versions \
                            of syn), and the SDK's vocabulary and runtime crates that `SdkConfig` and its identity \
                            cache are made of, all of which `sdk` has, too; brs-core; commands in process groups";

/// All goals; instructions are what was counted when they were set and a little more; ratios are
/// the goal over what was measured for the peer when it was set.
pub const GOALS: &[Goal] = &[
    goal("guard", "call_ns", AtMost(25.0), false),
    goal("guard", "call_ns", OfPeer("bare", 25.0 / 31.0), true),
    goal("guard", "two_threads_over_one", AtLeastOfPeer("bare", 0.95), true),
    goal("guard", "two_threads_over_one", AtLeast(1.9), false).because(
        "readers share nothing that is written; where `bare`, which does not either, has less than 1.9, the machine's \
         second processor is not a whole one",
    ),
    goal("guard", "instructions", AtMost(215.0), true),
    goal("owned", "call_ns", AtMost(60.0), false),
    goal("owned", "call_ns", OfPeer("python", 60.0 / 12_500.0), true),
    goal("owned", "instructions", AtMost(300.0), true),
    goal("identity", "call_ns", AtMost(60.0), false).because(IDENTITY),
    goal("identity", "call_ns", OfPeer("sdk", 60.0 / 257.0), true).because(IDENTITY),
    goal("identity", "allocations", AtMost(0.0), true),
    goal("identity", "instructions", AtMost(500.0), true),
    goal("cold", "source_calls", AtMost(1.0), true),
    goal("cold", "errors", AtMost(0.0), true),
    goal("cold", "longest_over_source_ms", AtMost(10.0), false),
    goal("expiry", "calls_not_ready", AtMost(0.0), true),
    goal("expiry", "longest_wait_ms", AtMost(5.0), false),
    goal("failing", "errors", AtMost(0.0), true),
    goal("failing", "calls_not_ready", AtMost(0.0), true),
    goal("failing", "longest_wait_ms", AtMost(5.0), false),
    goal("failing", "source_calls", AtMost(10.0), true),
    goal("dying", "source_calls", AtMost(4.0), true),
    goal("session", "each_us", AtMost(20.0), false),
    goal("session", "each_us", OfPeer("sdk", 20.0 / 209.0), true),
    goal("session", "allocated_each_kb", AtMost(4.0), true),
    goal("s3", "each_us", AtMost(150.0), false),
    goal("s3", "each_us", OfPeer("sdk_shared", 150.0 / 140.0), true),
    goal("s3", "resident_each_kb", AtMost(30.0), false).because(CLIENT),
    goal("s3", "resident_each_after_request_kb", AtMost(60.0), false),
    goal("s3", "resident_each_after_request_kb", OfPeer("sdk_shared", 60.0 / 158.0), true),
    goal("client", "call_ns", AtMost(100.0), false),
    goal("client", "call_ns", OfPeer("sdk", 100.0 / 120_000.0), true),
    goal("providers", "source_calls", AtMost(200.0), true),
    goal("masses", "failures", AtMost(0.0), true),
    goal("masses", "descriptors", AtMost(256.0), true),
    of("brs_5000", "masses", "failures", AtMost(0.0), true),
    of("brs_5000", "masses", "descriptors", AtMost(256.0), true),
    goal("pool", "failures", AtMost(0.0), true),
    goal("pool", "prefetch_over_least", AtMost(1.05), true),
    goal("pool", "throttled_per_cent", AtMost(1.0), true),
    goal("pool", "descriptors", AtMost(256.0), true),
    goal("pool", "resident_each_kb", AtMost(8.0), false).because(
        "connections and threads are in it, which in a quick run only 1,000 sessions share",
    ),
    goal("pool", "steady_not_ready", AtMost(0.0), true),
    goal("pool", "steady_errors", AtMost(0.0), true),
    goal("pool", "dead_errors", AtMost(0.0), true),
    goal("pool", "dead_not_ready", AtMost(0.0), true),
    // Calls may arrive a little closer together than they left.
    goal("pool", "recovery_over_limit", AtMost(1.05), true),
    goal("host_cache", "together_source_calls", AtMost(1.0), true),
    goal("host_cache", "together_keys", AtMost(1.0), true),
    of("brs_200", "host_cache", "together_source_calls", AtMost(1.0), true),
    of("brs_200", "host_cache", "together_keys", AtMost(1.0), true),
    goal("host_cache", "next_source_calls", AtMost(0.0), true),
    goal("host_cache", "next_ms", OfPeer("sdk", 1.1), true),
    goal("fleet", "fetch_source_calls_each_role", AtMost(1.0), true),
    goal("fleet", "renew_source_calls_each_role", AtMost(1.0), true),
    goal("fleet", "renew_not_ready", AtMost(0.0), true),
    goal("fleet", "errors", AtMost(0.0), true),
    goal("recovery", "worst_s", AtMost(61.0), true),
    goal("simulation", "waited_otherwise", AtMost(0.0), true),
    goal("simulation", "errors_otherwise", AtMost(0.0), true),
    of("brs_host", "simulation", "waited_otherwise", AtMost(0.0), true),
    of("brs_host", "simulation", "errors_otherwise", AtMost(0.0), true),
    // A tenth, a ninth more often: those who share a set spread its renewals.
    of("brs_host", "simulation", "source_calls_given", OfPeer("brs", 0.115), true),
    of("brs_fleet", "simulation", "waited_otherwise", AtMost(0.0), true),
    of("brs_fleet", "simulation", "errors_otherwise", AtMost(0.0), true),
    of("brs_fleet", "simulation", "source_calls_given", OfPeer("brs", 0.05), true),
    of("brs_fleet", "simulation", "errors_store_outage", AtMost(0.0), false).because(STORE),
    goal("process", "wall_ms", OfPeer("sdk", 1.1), true).because(STARTED),
    goal("process", "peak_mb", OfPeer("sdk", 1.1), true).because(LINKED),
    goal("process", "binary_mb", OfPeer("sdk", 1.1), true).because(LINKED),
    goal("command", "source_calls", AtMost(0.0), true),
    goal("command", "wall_ms", OfPeer("file", 1.1), true),
    goal("iot", "kept_connection_ms", AtMost(3.0), false),
    goal("iot", "new_connection_ms", AtMost(15.0), false),
    goal("iot", "new_connection_ms", OfPeer("python", 15.0 / 96.0), true),
    of("brs_token", "iot", "kept_connection_ms", AtMost(3.0), false),
    of("brs_token", "iot", "new_connection_ms", AtMost(15.0), false),
    of("brs_token", "iot", "new_connection_ms", OfPeer("python_token", 15.0 / 52.0), true),
    goal("mqtt", "publish_wall_ms", OfPeer("rumqttc", 1.25), true),
    goal("mqtt", "publish_cpu_ms", OfPeer("rumqttc", 1.25), true),
    goal("mqtt", "connect_ms", OfPeer("rumqttc", 2.0), true),
    goal("build", "debug_s", OfPeer("sdk", 1.15), true).because(BUILT),
    goal("build", "release_s", OfPeer("sdk", 1.15), true).because(BUILT),
    of("brs_iot", "build", "debug_s", OfPeer("sdk", 0.6), true).because(BUILT_IOT),
    of("brs_iot", "build", "release_s", OfPeer("sdk", 0.6), true).because(BUILT_IOT),
    of("brs_custom", "build", "debug_s", OfPeer("sdk", 0.3), true).because(BUILT_CUSTOM),
    of("brs_custom", "build", "release_s", OfPeer("sdk", 0.3), true).because(BUILT_CUSTOM),
];

/// Holds all goals against a run.
#[must_use]
pub fn judge(results: &Results) -> Vec<Verdict> {
    GOALS.iter().map(|goal| verdict(goal, results)).collect()
}

fn verdict(goal: &'static Goal, results: &Results) -> Verdict {
    let figure = |peer: &str| {
        results
            .row(goal.row)
            .and_then(|row| row.median(peer, goal.figure))
    };
    let value = match goal.limit {
        AtMost(_) | AtLeast(_) => figure(goal.peer),
        OfPeer(peer, _) | AtLeastOfPeer(peer, _) => figure(goal.peer)
            .zip(figure(peer))
            .map(|(own, theirs)| own / theirs),
    };
    let met = value.map(|value| match goal.limit {
        AtMost(limit) | OfPeer(_, limit) => value <= limit,
        AtLeast(limit) | AtLeastOfPeer(_, limit) => value >= limit,
    });
    Verdict { goal, value, met }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures;
    use crate::plan::ROWS;
    use crate::results::RowResults;

    fn results(brs: f64, bare: f64) -> Results {
        let mut row = RowResults {
            id: "guard".to_owned(),
            ..RowResults::default()
        };
        row.add("brs", figures([("call_ns", brs)]));
        row.add("bare", figures([("call_ns", bare)]));
        Results {
            rows: vec![row],
            ..Results::default()
        }
    }

    #[test]
    fn a_ratio_is_of_the_same_run() {
        let met = |brs, bare| {
            let results = results(brs, bare);
            judge(&results)
                .iter()
                .find(|verdict| verdict.goal.checked)
                .and_then(|verdict| verdict.met)
        };
        assert_eq!(
            met(250.0, 400.0),
            Some(true),
            "a slow machine is slow for both"
        );
        assert_eq!(met(25.0, 20.0), Some(false));
    }

    #[test]
    fn what_was_not_measured_is_neither_met_nor_missed() {
        let results = results(1.0, 1.0);
        assert!(
            judge(&results)
                .iter()
                .filter(|verdict| verdict.goal.row == "cold")
                .all(|verdict| verdict.met.is_none())
        );
    }

    #[test]
    fn every_goal_belongs_to_a_peer_of_its_row() {
        for goal in GOALS {
            let row = ROWS.iter().find(|row| row.id == goal.row).unwrap();
            let has = |peer: &str| row.measured.iter().any(|(name, _)| *name == peer);
            assert!(has(goal.peer), "{goal:?}");
            if let OfPeer(peer, _) | AtLeastOfPeer(peer, _) = goal.limit {
                assert!(has(peer), "{goal:?}");
            }
        }
    }
}
