//! `bench`: the conductor, and the measured processes that it starts from this same program.

use std::process::ExitCode;
use std::time::Duration;

use brs_tests_benches::stopwatch::Effort;
use brs_tests_benches::{
    Failure, Figures, conductor, fleet, host_cache, iot, masses, micro, mqtt, pool, sessions, sim,
    storm,
};
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure everything and write the reports; started by `cargo xtask bench`
    Run(Box<conductor::Options>),
    /// One measurement in this process; started by `run`
    Case(Case),
}

/// What to measure; the environment names the server and holds the user's keys.
#[derive(Debug, clap::Args)]
struct Case {
    name: String,
    peer: String,
    /// Short measurements
    #[arg(long)]
    quick: bool,
    /// Make exactly so many calls, under an instruction counter
    #[arg(long)]
    times: Option<u64>,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(options) => conductor::run(&options),
        Command::Case(case) => measure(&case).map(|figures| {
            println!("@figures {}", serde_json::json!(figures));
            true
        }),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn measure(case: &Case) -> Result<Figures, Failure> {
    let effort = match case.times {
        Some(times) => Effort::Times(times),
        None => Effort::For(micro::length(case.quick)),
    };
    let peer = case.peer.as_str();
    let either = |quick: u64, full: u64| Duration::from_secs(if case.quick { quick } else { full });
    match case.name.as_str() {
        "guard" => micro::guard(peer, effort).await,
        "owned" => micro::owned(peer, effort).await,
        "identity" => micro::identity(peer, effort).await,
        "client" => micro::client(peer, effort).await,
        "cold" => storm::cold(peer, 10_000).await,
        "expiry" => storm::expiry(peer, 1000).await,
        "failing" => storm::failing(peer, 1000, either(3, 30)).await,
        "dying" => storm::dying(peer, 50, Duration::from_millis(5500)).await,
        "providers" => storm::providers(peer, 200, 10).await,
        "session" => sessions::sessions(peer, 1000).await,
        "s3" => sessions::clients(peer, 200).await,
        "masses" => masses::masses(peer).await,
        "pool" => pool::pool(peer, pool::Scale::new(case.quick)).await,
        "host_cache" => host_cache::host_cache(peer, case.quick),
        "fleet" => fleet::fleet(peer, case.quick),
        // One of those that `fleet` starts.
        "fleet_host" => fleet::host(case.quick).await,
        "recovery" => masses::recovery(peer, if case.quick { 50 } else { 500 }).await,
        "simulation" => {
            let folder = std::env::var_os("BENCH_OUT").ok_or("`BENCH_OUT` must name a folder")?;
            sim::simulate(peer, case.quick, folder.as_ref())
        }
        "iot" => iot::refreshes(peer, if case.quick { 20 } else { 100 }).await,
        "mqtt" => mqtt::mqtt(peer, if case.quick { 20 } else { 50 }).await,
        name => Err(format!("there is no measurement {name}").into()),
    }
}
