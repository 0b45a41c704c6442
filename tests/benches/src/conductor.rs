//! Runs the plan: the source, the measured processes in turns, and the reports.
//!
//! A measured process speaks on its standard output: `@gate SECONDS` when the source's time is to
//! move and its behaviour to change, answered with a line; `@limit RATE BURST` and `@source dead` or
//! `well`, the same; `@calls`, answered with how often the source was called; `@figures JSON` at the
//! end. A
//! measurement that fails is named in the report, and the others go on. None lasts longer than
//! `LIMIT`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use brs::Clock as _;
use brs_tests::EmbeddedAws;
use brs_tests::embedded_aws::Failure as Fault;

use crate::plan::{By, ROWS, Row};
use crate::results::{Results, RowResults};
use crate::sim::plot;
use crate::stopwatch::Stopwatch;
use crate::subject::{REGION, Shifted};
use crate::{Failure, Figures, goals, outside, printer, report};

/// How long one measured process may last.
const LIMIT: Duration = Duration::from_secs(300);
/// The rows' last measurements, beside the summary.
const KEPT: &str = "results.json";
/// The action that sources are asked for.
const ACTION: &str = "AssumeRole";

/// What `cargo xtask bench` says.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Few rounds, short measurements
    #[arg(long)]
    pub quick: bool,
    /// Fail where a checked goal is missed
    #[arg(long)]
    pub check: bool,
    /// Only rows with one of these names
    #[arg(long)]
    pub row: Vec<String>,
    /// Where the reports go
    #[arg(long)]
    pub out: PathBuf,
    /// The summary to write, of all rows that are kept beside it
    #[arg(long)]
    pub summary: Option<PathBuf>,
    /// The profile that this was built with
    #[arg(long)]
    pub profile: String,
    /// The folder of the programs built from `programs/`
    #[arg(long)]
    pub programs: PathBuf,
    /// The workspace's root
    #[arg(long)]
    pub root: PathBuf,
    /// The interpreter with the peers installed
    #[arg(long)]
    pub python: Option<PathBuf>,
    /// The AWS CLI v2
    #[arg(long)]
    pub aws_cli: Option<PathBuf>,
    /// For the report's head: `NAME=VALUE`
    #[arg(long)]
    pub fact: Vec<String>,
    /// What could not be set up: a line for the report
    #[arg(long)]
    pub missing: Vec<String>,
}

/// Measures, writes the reports, and tells whether the checked goals are reached, where that is
/// asked for.
///
/// # Errors
///
/// If the reports cannot be written.
pub fn run(options: &Options) -> Result<bool, Failure> {
    fs::create_dir_all(&options.out)?;
    plot::forget(&options.out)?;
    let mut machine = outside::machine();
    machine.extend(
        options
            .fact
            .iter()
            .filter_map(|fact| fact.split_once('='))
            .map(owned),
    );
    let mut results = Results {
        quick: options.quick,
        profile: options.profile.clone(),
        machine,
        rows: Vec::new(),
        left_out: options.missing.clone(),
    };
    let kept = options
        .summary
        .as_ref()
        .map(|file| file.with_file_name(KEPT));
    for row in ROWS.iter().filter(|row| is_wanted(row, options)) {
        if rounds(row, options.quick) == 0 {
            let reason = format!("`{}`: only in a full run", row.id);
            results.left_out.push(reason);
            continue;
        }
        results.take(measure_row(options, row));
        // At once: a run that is stopped has not measured in vain.
        if let (Some(kept), Some(row)) = (&kept, results.row(row.id)) {
            let mut all = Results::kept(kept)?;
            all.take(row.clone());
            all.keep(kept)?;
        }
    }

    let verdicts = goals::judge(&results);
    let text = report::render(&results, &verdicts);
    fs::write(
        options.out.join("report.json"),
        serde_json::to_string_pretty(&results)?,
    )?;
    fs::write(options.out.join("report.md"), &text)?;
    let is_drawn = plot::draw(&options.out)?;
    if let (Some(summary), Some(kept)) = (&options.summary, &kept) {
        let all = Results {
            rows: Results::kept(kept)?.rows,
            ..results
        };
        fs::write(summary, report::render(&all, &goals::judge(&all)))?;
        if is_drawn {
            let (from, to) = (
                options.out.join(plot::PICTURE),
                summary.with_file_name(plot::PICTURE),
            );
            fs::copy(from, to)?;
        }
    }
    println!("\n{text}");
    if !options.check {
        return Ok(true);
    }
    // What was asked for and could not be measured is no success.
    let missed = verdicts.iter().filter(|verdict| {
        let asked = ROWS
            .iter()
            .any(|row| row.id == verdict.goal.row && rounds(row, options.quick) > 0);
        let asked = asked
            && (options.row.is_empty() || options.row.iter().any(|id| id == verdict.goal.row));
        verdict.goal.checked && asked && verdict.met != Some(true)
    });
    let missed: Vec<_> = missed.collect();
    for verdict in &missed {
        let (goal, value) = (verdict.goal, verdict.value);
        println!(
            "missed: {} {} of {}: {:?}, measured {value:?}",
            goal.row, goal.figure, goal.peer, goal.limit
        );
    }
    Ok(missed.is_empty())
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn rounds(row: &Row, quick: bool) -> usize {
    if quick { row.rounds.0 } else { row.rounds.1 }
}

fn is_wanted(row: &Row, options: &Options) -> bool {
    options.row.is_empty() || options.row.iter().any(|id| id == row.id)
}

/// All rounds of a row; within a round the peers take turns, and each round begins with another one.
fn measure_row(options: &Options, row: &Row) -> RowResults {
    let (stopwatch, date, load) = (Stopwatch::start(), outside::date(), outside::load());
    let mut results = RowResults {
        id: row.id.to_owned(),
        ..RowResults::default()
    };
    let mut given_up = BTreeSet::new();
    for round in 0..rounds(row, options.quick) {
        let mut turns: Vec<_> = row.measured.iter().enumerate().collect();
        if round > 0 {
            turns.rotate_left(round % row.measured.len());
        }
        for (index, &(peer, by)) in turns {
            // Instructions are the same each time, and what cannot be measured once need not be
            // tried again.
            if given_up.contains(&index) || (round > 0 && by == By::Instructions) {
                continue;
            }
            println!("{} {peer} ({by:?}), round {}", row.id, round + 1);
            let stopwatch = Stopwatch::start();
            let measured = measure(options, row, peer, by);
            println!("  {:.1} s", stopwatch.seconds());
            match measured {
                Ok(figures) => results.add(peer, figures),
                Err(failure) => {
                    println!("  left out: {failure}");
                    let reason = format!("`{}` of {peer} ({by:?}): {failure}", row.id);
                    results.left_out.push(reason);
                    given_up.insert(index);
                }
            }
        }
    }
    let commit = options
        .fact
        .iter()
        .find_map(|fact| fact.strip_prefix("commit="));
    results.taken = format!(
        "Measured {date}, commit {}, load before {load}, {:.0} s",
        commit.unwrap_or("unknown"),
        stopwatch.seconds()
    );
    results
}

fn measure(options: &Options, row: &Row, peer: &str, by: By) -> Result<Figures, Failure> {
    let this = std::env::current_exe()?;
    if let By::Instructions = by {
        return outside::instructions(&this, row.id, peer, &options.out);
    }
    if let By::Build(feature) = by {
        return outside::build(&options.root, feature, &options.out.join("clean"));
    }
    let clock = Shifted::default();
    let time = clock.clone();
    let aws = EmbeddedAws::builder()
        .clock(move || time.now())
        .allowed_skew(Duration::MAX)
        .start();
    (row.before)(&aws);
    if by == By::Printer {
        return printer::measure(peer, options, &aws);
    }
    // Of criterion's earlier figures none is to be taken for this one's.
    let criterion = options.out.join("criterion");
    if criterion.exists() {
        fs::remove_dir_all(&criterion)?;
    }
    let mut command = match by {
        By::Case => Command::new(this),
        By::Allocations => Command::new(this.with_file_name("bench_allocations")),
        By::Program(name) => Command::new(options.programs.join(name)),
        _ => Command::new(
            options
                .python
                .as_ref()
                .ok_or("the Python peers are not installed")?,
        ),
    };
    let scripts = options.root.join("tests/benches/python");
    match by {
        By::Case => command
            .args(["case", row.id, peer])
            .args(options.quick.then_some("--quick")),
        By::Allocations => command.args([row.id, peer]),
        By::Python => {
            let length = if options.quick { "quick" } else { "full" };
            command
                .arg(scripts.join("cases.py"))
                .args([row.id, peer, length])
        }
        By::PythonProgram => command.arg(scripts.join("process.py")),
        _ => &mut command,
    };
    // What a user has set for AWS must not change what is measured.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    command
        .env("BENCH_OUT", &options.out)
        .env("BENCH_PROGRAMS", &options.programs)
        .env("BENCH_SCRIPTS", &scripts)
        .envs(options.python.iter().map(|path| ("BENCH_PYTHON", path)))
        .env("BENCH_ENDPOINT", aws.endpoint_url())
        .env("CRITERION_HOME", &criterion)
        .env("AWS_ENDPOINT_URL_STS", aws.endpoint_url())
        .env("AWS_ACCESS_KEY_ID", aws.access_key_id())
        .env("AWS_SECRET_ACCESS_KEY", aws.secret_access_key())
        .env("AWS_REGION", REGION)
        .env("AWS_DEFAULT_REGION", REGION)
        .env("AWS_CONFIG_FILE", options.out.join("none"))
        .env("AWS_SHARED_CREDENTIALS_FILE", options.out.join("none"))
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("NO_PROXY", "127.0.0.1,localhost");
    let _device = match row.id {
        "iot" => Some(outside::Device::new(
            &aws,
            &mut command,
            peer.ends_with("token"),
        )?),
        "mqtt" => Some(outside::Device::new(&aws, &mut command, false)?.with_broker(&mut command)),
        _ => None,
    };
    match by {
        By::Program(name) => {
            outside::program(command, Some(&options.programs.join(name)), &options.out)
        }
        By::PythonProgram => outside::program(command, None, &options.out),
        _ => talk(command, row, &aws, &clock),
    }
}

/// Ends a process that is not through, whatever happens.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a measured process, opens its gate, and takes its figures.
fn talk(
    mut command: Command,
    row: &Row,
    aws: &EmbeddedAws,
    clock: &Shifted,
) -> Result<Figures, Failure> {
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut child = Running(child);
    let mut stdin = child.0.stdin.take().ok_or("no standard input")?;
    let stdout = child.0.stdout.take().ok_or("no standard output")?;
    let stderr = child.0.stderr.take().ok_or("no standard error")?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        BufReader::new(stdout)
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| sender.send(line))
    });
    // Read along, or a process with much to say would stand still.
    let complaints =
        thread::spawn(move || BufReader::new(stderr).lines().map_while(Result::ok).last());

    let (mut found, mut asked_before) = (None, None);
    loop {
        match lines.recv_timeout(LIMIT) {
            Ok(line) => {
                if let Some(seconds) = line.strip_prefix("@gate ") {
                    clock.advance(Duration::from_secs(seconds.parse()?));
                    (row.at_gate)(aws);
                    asked_before.get_or_insert_with(|| aws.calls(ACTION));
                    stdin.write_all(b"\n")?;
                } else if let Some(limit) = line.strip_prefix("@limit ") {
                    let (rate, burst) = limit.split_once(' ').ok_or("no burst")?;
                    aws.limit_rate(rate.parse()?, burst.parse()?);
                    stdin.write_all(b"\n")?;
                } else if let Some(state) = line.strip_prefix("@source ") {
                    aws.fail_always((state == "dead").then_some(Fault::Status(503)));
                    stdin.write_all(b"\n")?;
                } else if line == "@calls" {
                    writeln!(stdin, "{}", aws.calls(ACTION))?;
                } else if let Some(figures) = line.strip_prefix("@figures ") {
                    found = Some(serde_json::from_str::<Figures>(figures)?);
                    break;
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                return Err(format!("no end within {LIMIT:?}").into());
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    let calls = aws.calls(ACTION);
    drop(child);
    let complaint = complaints.join().ok().flatten().unwrap_or_default();
    let mut found = found.ok_or_else(|| format!("ended without figures: {complaint}"))?;
    if let Some(before) = asked_before {
        found
            .entry("source_calls".to_owned())
            .or_insert((calls - before) as f64);
    }
    Ok(found)
}
