//! What is measured: the rows of the report, beside whom, how often, and what the source does
//! meanwhile.

use std::time::Duration;

use brs_tests::EmbeddedAws;
use brs_tests::embedded_aws::Failure as Fault;

/// How one peer's figures are had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// `bench case`.
    Case,
    /// `bench_allocations`.
    Allocations,
    /// `bench case` under callgrind.
    Instructions,
    /// `python/cases.py`.
    Python,
    /// A program of `programs/` from its start to its end.
    Program(&'static str),
    /// `python/process.py`, the same.
    PythonProgram,
    /// A program that prints credentials, many times from its start to its end.
    Printer,
    /// A build from clean of the program with that feature.
    Build(&'static str),
}

/// One row of the report.
#[derive(Debug)]
pub struct Row {
    /// The measurement's name.
    pub id: &'static str,
    /// What it is, in words.
    pub title: &'static str,
    /// Peers and how each is measured; the figures of one peer are put together.
    pub measured: &'static [(&'static str, By)],
    /// In a quick run and in a full one; none leaves the row out.
    pub rounds: (usize, usize),
    /// The source before the process starts.
    pub before: fn(&EmbeddedAws),
    /// The source from the gate on.
    pub at_gate: fn(&EmbeddedAws),
    /// What a reader must know to read the figures.
    pub note: &'static str,
}

/// How long the source takes to answer.
const SLOW: Duration = Duration::from_millis(200);
/// Credentials about to expire.
const SHORT: Duration = Duration::from_secs(5);

fn at_once(_: &EmbeddedAws) {}

fn slow(aws: &EmbeddedAws) {
    aws.set_latency(SLOW);
}

fn fails(aws: &EmbeddedAws) {
    aws.fail_always(Some(Fault::Status(503)));
}

fn slow_and_short(aws: &EmbeddedAws) {
    slow(aws);
    aws.set_lifetime(Some(SHORT));
}

/// All rows in the report's order.
pub const ROWS: [Row; 22] = [
    Row {
        id: "guard",
        title: "Current set, looked at in place",
        measured: &[
            ("brs", By::Case),
            ("bare", By::Case),
            ("brs", By::Instructions),
            ("bare", By::Instructions),
        ],
        rounds: (2, 9),
        before: at_once,
        at_gate: at_once,
        note: "`bare` is an arc-swap guard and one exact clock. Two threads: calls a second of two over \
               those of one. Under valgrind there is no vDSO: reading a clock is a system call.",
    },
    Row {
        id: "owned",
        title: "Current set, owned",
        measured: &[
            ("brs", By::Case),
            ("python", By::Python),
            ("botocore", By::Python),
            ("brs", By::Instructions),
        ],
        rounds: (2, 9),
        before: at_once,
        at_gate: at_once,
        note: "`credentials()` and `refreshable_credentials()`; for botocore `get_frozen_credentials()`. Two threads \
               clone one shared `Arc`.",
    },
    Row {
        id: "identity",
        title: "Identity as an SDK client resolves it",
        measured: &[
            ("brs", By::Case),
            ("sdk", By::Case),
            ("brs", By::Allocations),
            ("sdk", By::Allocations),
            ("brs", By::Instructions),
            ("sdk", By::Instructions),
        ],
        rounds: (2, 9),
        before: at_once,
        at_gate: at_once,
        note: "Through the identity cache of the configuration, as a client's orchestrator does.",
    },
    Row {
        id: "cold",
        title: "Cold start: 10,000 callers, source 200 ms",
        measured: &[("brs", By::Case), ("sdk", By::Case), ("python", By::Python)],
        rounds: (1, 7),
        before: slow,
        at_gate: at_once,
        note: "Python: 50 threads. `longest_over_source_ms` is the longest wait less that of a caller who is alone.",
    },
    Row {
        id: "expiry",
        title: "Credentials become due under load: 1,000 tasks, source 200 ms",
        measured: &[
            ("brs", By::Case),
            ("sdk", By::Case),
            ("python", By::Python),
            ("python_mandatory", By::Python),
            ("brs_mandatory", By::Case),
        ],
        rounds: (1, 7),
        before: slow,
        at_gate: at_once,
        note: "Time moves to just inside the window in which each peer refreshes; `…_mandatory`: to where nobody may \
               have the old set any more, as after a long rest. Each task calls every 100 ms. Python: 50 threads.",
    },
    Row {
        id: "failing",
        title: "Refresh fails while the old set is valid: 1,000 tasks",
        measured: &[
            ("brs", By::Case),
            ("sdk", By::Case),
            ("python", By::Python),
            ("python_mandatory", By::Python),
        ],
        rounds: (1, 3),
        before: slow,
        at_gate: fails,
        note: "The source answers 503 after 200 ms. 30 s, in a quick run 3 s. The SDK's buffer is 120 s here, so that \
               its old set stays valid all the while. Python: 50 threads. A call still waiting at the end counts with \
               its wait until then.",
    },
    Row {
        id: "dying",
        title: "The source's credentials are always about to expire: 50 tasks, 5.5 s",
        measured: &[("brs", By::Case), ("sdk", By::Case), ("python", By::Python)],
        rounds: (1, 3),
        before: slow_and_short,
        at_gate: at_once,
        note: "They live 5 s. The window rule: half of that, so a call every 2.25 s at the most.",
    },
    Row {
        id: "session",
        title: "One session",
        measured: &[
            ("brs", By::Case),
            ("sdk", By::Case),
            ("python", By::Python),
            ("brs", By::Allocations),
            ("sdk", By::Allocations),
        ],
        rounds: (2, 9),
        before: at_once,
        at_gate: at_once,
        note: "On a shared base configuration; for the SDK `load()` with its AssumeRoleProvider.",
    },
    Row {
        id: "s3",
        title: "Session with one S3 client, 200 of them",
        measured: &[
            ("brs", By::Case),
            ("sdk", By::Case),
            ("sdk_shared", By::Case),
            ("python", By::Python),
            ("brs", By::Allocations),
            ("sdk", By::Allocations),
            ("sdk_shared", By::Allocations),
        ],
        rounds: (1, 5),
        before: at_once,
        at_gate: at_once,
        note: "`sdk_shared`: one loaded configuration, of which only the provider is replaced.",
    },
    Row {
        id: "client",
        title: "Client from the cache",
        measured: &[("brs", By::Case), ("sdk", By::Case), ("python", By::Python)],
        rounds: (2, 9),
        before: at_once,
        at_gate: at_once,
        note: "The SDK has no cache of clients: it builds a new one.",
    },
    Row {
        id: "providers",
        title: "200 providers on one configuration, ten rounds of calls",
        measured: &[("brs", By::Case), ("sdk", By::Case)],
        rounds: (1, 3),
        before: at_once,
        at_gate: at_once,
        note: "",
    },
    Row {
        id: "masses",
        title: "2,000 and 5,000 sessions become due together, at 1,024 descriptors",
        measured: &[
            ("brs", By::Case),
            ("sdk", By::Case),
            ("brs_5000", By::Case),
            ("sdk_5000", By::Case),
        ],
        rounds: (1, 3),
        before: at_once,
        at_gate: at_once,
        note: "`sdk`: as many configurations with its AssumeRoleProvider. Every session has a set, and all are asked \
               at once when it is about to expire. The first sets are fetched 32 at a \
               time. A peer without a descriptor left cannot tell its memory and threads.",
    },
    Row {
        id: "pool",
        title: "A pool of 10,000 sessions, STS allows 50 calls a second and 100 at once",
        measured: &[("brs", By::Case), ("sdk", By::Case)],
        rounds: (1, 1),
        before: at_once,
        at_gate: at_once,
        note: "At 1,024 descriptors; in a quick run 1,000 sessions and 200 calls a second. `prefetch_over_least` is \
               the time of the prefetch over (sessions − 100) ÷ 50, which is the least that STS allows. `steady_…`: \
               time moves through the advisory window of all sets, and every session is asked several times a \
               second; not ready is a caller that has to wait. `dead_…`: the source answers 503 for ten simulated \
               minutes, in which most sets come due again. `recovery_…`: the pauses of the failed refreshes end at \
               once, and the calls to the source are counted for a minute, the most in a second and that over burst \
               plus rate. Where time is moved, STS allows as many calls more as time goes faster; in a quick run it \
               allows a tenth more than the limiter. `resident_each_kb` is what the process grows by from before the \
               prefetch to after it, for each session: connections, the allocator's arenas and the prefetch's own \
               memory are in it. `sdk`: 2,000 of the SDK's AssumeRoleProviders (in a quick run 500) on \
               configurations of their own, 32 at a time, for the first sets only: at 1,024 descriptors no more than \
               half of them get one.",
    },
    Row {
        id: "host_cache",
        title: "Processes of a host that want the same role",
        measured: &[
            ("brs", By::Case),
            ("sdk", By::Case),
            ("botocore", By::Case),
            ("brs_200", By::Case),
        ],
        rounds: (1, 3),
        before: at_once,
        at_gate: at_once,
        note: "Whole programs. `together_…`: 50 of them, in a quick run 20 (`brs_200`: 200), with an empty cache ask \
               at the same time; keys are the different ones that they print. `first_ms`: one, with an empty cache; \
               `next_…`: one that finds the set of another one, from its start to its end. `botocore` has the AWS \
               CLI's cache (`~/.aws/cli/cache`), which is botocore's `JSONFileCache`; `sdk` is the bare program, \
               without a cache.",
    },
    Row {
        id: "fleet",
        title: "8 hosts × 100 roles by a Redis, source 200 ms",
        measured: &[("brs", By::Case), ("alone", By::Case)],
        rounds: (1, 3),
        before: slow,
        at_gate: at_once,
        note: "In a quick run 4 × 25. Each host is a process with a pool; `alone`: without the store. `fetch_…`: all \
               hosts fetch all roles at the same time. `get_…`: sessions that have nothing get one role after the \
               other, which the store has; `alone` calls the source. `renew_…`: all sets are due at one moment, and \
               every session is asked twenty times a second; not ready is a caller that has to wait. An operation of \
               the store may take half a second: `store_failures` took longer. `store_each_kb` is the memory of \
               Redis for each role, `resident_each_kb` that of a host.",
    },
    Row {
        id: "recovery",
        title: "From the source's recovery to the first usable set",
        measured: &[("brs", By::Case), ("uniform", By::Case)],
        rounds: (1, 1),
        before: at_once,
        at_gate: at_once,
        note: "Simulated seconds over 500 seeds, in a quick run 50: the source dies at the end of the set and is dead \
               for the time in the name and up to a minute more; a caller asks every second. `uniform` is brs with a \
               backoff of 300–600 s, as in the AWS SDKs.",
    },
    Row {
        id: "simulation",
        title: "A fleet's day, simulated: 1,000 processes × 1,000 roles",
        measured: &[
            ("brs", By::Case),
            ("sdk", By::Case),
            ("brs_host", By::Case),
            ("brs_fleet", By::Case),
        ],
        rounds: (1, 1),
        before: at_once,
        at_gate: at_once,
        note: "Discrete events on simulated time, one seed. A session is called once a minute on average; processes \
               begin one after the other in the first hour; of a hundred hosts one dies in an hour and is back a \
               minute later; STS allows 600 calls a second, answers 503 from hour 10 to 11, and the store is gone \
               from 17 to 18. `sdk` and `brs`: each process by itself. `brs_host`: ten processes of a host share a \
               cache. `brs_fleet`: all share a store. Rules and constants are those of brs and of the SDK \
               (`src/sim/rules.rs` names where each comes from; tests hold brs's against brs). Simulated are \
               `simulated_sessions` of the million, with their part of what STS allows, and the counts are those of \
               all: half of the processes, for `brs_fleet` of the roles. Callers that waited and callers' errors are \
               counted in each outage and the two hours after it, and otherwise; a wait of the first set is one of a \
               process that has just begun. Callers never give up. `source_calls_given` got a set, those \
               `to_dead_sts` were made in its outage.\n\n\
               ![Calls to STS a minute over the day, by variant](simulation.svg)",
    },
    Row {
        id: "process",
        title: "Whole process: assume a role, print the key's name",
        measured: &[
            ("brs", By::Program("program_sts")),
            ("sdk", By::Program("program_sdk")),
            ("python", By::PythonProgram),
        ],
        rounds: (5, 40),
        before: at_once,
        at_gate: at_once,
        note: "`sdk` is the bare program on aws-config with its default features, which brs uses, too. Symbols: what a \
               binary holds of each.",
    },
    Row {
        id: "command",
        title: "`brs credential-process` with a warm cache of the host",
        measured: &[
            ("brs", By::Printer),
            ("file", By::Printer),
            ("aws_cli", By::Printer),
        ],
        rounds: (3, 9),
        before: at_once,
        at_gate: at_once,
        note: "`file` is a bare program that prints a file as long. `aws_cli` is `aws configure export-credentials` of \
               the AWS CLI v2, for keys in the credentials file. Each is run once, and then thirty times; the median \
               counts.",
    },
    Row {
        id: "iot",
        title: "`iot`: refresh over mutual TLS",
        measured: &[
            ("brs", By::Case),
            ("python", By::Python),
            ("brs_token", By::Case),
            ("python_token", By::Python),
        ],
        rounds: (1, 5),
        before: at_once,
        at_gate: at_once,
        note: "RSA of 2048 bits, key in a file, and in a SoftHSM2 token. Python opens a connection at every refresh.",
    },
    Row {
        id: "mqtt",
        title: "MQTT 5 over mutual TLS: 10,000 messages of 1 kB, QoS 1",
        measured: &[
            ("brs", By::Case),
            ("rumqttc", By::Case),
            ("awscrt", By::Python),
        ],
        rounds: (3, 9),
        before: at_once,
        at_gate: at_once,
        note: "To mosquitto with AWS IoT's window of 100; RSA of 2048 bits. 1,000 callers wait for their \
               acknowledgements; `rumqttc` has one publisher and counts acknowledgements, which is the least that can \
               be done, and awscrt as many futures as messages, without its limit of 100 publishes a second. To \
               connect is to read the device's files, shake hands and be accepted. To reconnect is `reconnect()`, for \
               rumqttc `clean()`, for awscrt stop and start.",
    },
    Row {
        id: "build",
        title: "Clean build of a program",
        measured: &[
            ("sdk", By::Build("sdk")),
            ("brs", By::Build("sts")),
            ("brs_iot", By::Build("iot")),
            ("brs_anywhere", By::Build("anywhere")),
            ("brs_custom", By::Build("custom")),
        ],
        rounds: (0, 1),
        before: at_once,
        at_gate: at_once,
        note: "One round. `sdk` is aws-config without its default features, and what its AssumeRoleProvider needs. \
               Units are runs of compilers and build scripts, two at a time: their seconds in both builds, by whose \
               crates they are.",
    },
];
