//! What is measured from outside: whole programs, instruction counts, builds, the machine; and a
//! device for `iot`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use brs::Clock as _;
use brs_tests::embedded_iot::KeyKind;
use brs_tests::mosquitto::Mosquitto;
use brs_tests::token::{Kind, Module, PIN, PublicKey};
use brs_tests::{EmbeddedAws, EmbeddedIot};
use serde::Deserialize;

use crate::iot::{ALIAS, LABEL, THING};
use crate::mqtt::WINDOW;
use crate::stopwatch::{Stopwatch, number_of};
use crate::subject::{ROLE, Shifted};
use crate::{Failure, Figures, figures};

/// A program from its start to its end, and its peak memory in a second run; its size where it is a
/// binary.
pub(crate) fn program(
    mut command: Command,
    binary: Option<&Path>,
    out: &Path,
) -> Result<Figures, Failure> {
    let stopwatch = Stopwatch::start();
    let output = command.output()?;
    let wall_ms = stopwatch.seconds() * 1e3;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let output = command.env("BENCH_MEMORY", "yes").output()?;
    let status = String::from_utf8_lossy(&output.stdout);
    let peak = number_of(&status, "VmHWM:") * 1024.0;
    let mut found = figures([
        ("wall_ms", wall_ms),
        ("peak_mb", peak / 1e6),
        ("threads", number_of(&status, "Threads:")),
    ]);
    if let Some(binary) = binary {
        let stripped = out.join("stripped");
        let strip = Command::new("strip")
            .arg("-o")
            .arg(&stripped)
            .arg(binary)
            .status();
        if strip.is_ok_and(|status| status.success()) {
            found.insert(
                "binary_mb".to_owned(),
                fs::metadata(&stripped)?.len() as f64 / 1e6,
            );
        }
        found.extend(symbols(binary));
    }
    Ok(found)
}

/// What a binary is made of, where that is what tells two apart: kilobytes of code and data by
/// whose they are.
fn symbols(binary: &Path) -> Figures {
    const PARTS: [(&str, &[&str]); 3] = [
        ("symbols_of_brs_kb", &["brs_core::", "brs_sts::"]),
        (
            "symbols_of_sso_kb",
            &["aws_sdk_sso::", "aws_sdk_ssooidc::", "aws_config::sso"],
        ),
        ("symbols_of_data_kb", &["schemars::", "serde"]),
    ];
    let output = Command::new("nm")
        .args(["--print-size", "--demangle"])
        .arg(binary)
        .output();
    let listed = output
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    let mut found = Figures::new();
    for line in listed.lines() {
        // Address, size, kind, name; what has no size has a field less.
        let mut fields = line.splitn(4, ' ').skip(1);
        let size = fields
            .next()
            .and_then(|size| u64::from_str_radix(size, 16).ok());
        let (Some(size), Some(name)) = (size, fields.nth(1)) else {
            continue;
        };
        let part = PARTS
            .iter()
            .find(|(_, names)| names.iter().any(|of| name.contains(of)));
        *found
            .entry(
                part.map_or("symbols_of_others_kb", |(part, _)| part)
                    .to_owned(),
            )
            .or_default() += size as f64 / 1e3;
    }
    found
}

/// Instructions of one call, and whose code they are: what more calls cost than fewer, divided by
/// how many more they are.
pub(crate) fn instructions(
    this: &Path,
    case: &str,
    peer: &str,
    out: &Path,
) -> Result<Figures, Failure> {
    const FEW: u64 = 1000;
    const MANY: u64 = 21_000;
    let log = out.join(format!("callgrind.{case}.{peer}"));
    let count = |times: u64| -> Result<Figures, Failure> {
        let output = Command::new("valgrind")
            .args([
                "--tool=callgrind",
                &format!("--callgrind-out-file={}", log.display()),
            ])
            .arg(this)
            .args(["case", case, peer, "--times", &times.to_string()])
            .output()
            .map_err(|error| {
                format!("valgrind cannot be started ({error}): apt-get install valgrind")
            })?;
        let said = String::from_utf8_lossy(&output.stderr);
        let collected = said
            .lines()
            .find_map(|line| line.split_once("Collected : "))
            .map(|(_, count)| count.trim());
        let collected = collected
            .filter(|_| output.status.success())
            .ok_or("callgrind has collected nothing")?;
        let annotated = Command::new("callgrind_annotate")
            .arg("--threshold=100")
            .arg(&log)
            .output()?;
        let mut found = functions(&String::from_utf8_lossy(&annotated.stdout));
        found.insert("instructions".to_owned(), collected.parse()?);
        Ok(found)
    };
    let (few, many) = (count(FEW)?, count(MANY)?);
    let each = |(name, count): (String, f64)| {
        let more = count - few.get(&name).copied().unwrap_or_default();
        (name, (more / (MANY - FEW) as f64).round())
    };
    Ok(many
        .into_iter()
        .map(each)
        .filter(|(_, each)| *each > 0.0)
        .collect())
}

/// What `callgrind_annotate` says of each function, by whose it is.
fn functions(annotated: &str) -> Figures {
    const PARTS: [(&str, &[&str]); 4] = [
        (
            "instructions_of_clock",
            &["::coarse", "clock_gettime", "SystemTime", "vdso"],
        ),
        ("instructions_of_swap", &["arc_swap::"]),
        ("instructions_of_brs", &["brs_core::", "brs_sts::"]),
        ("instructions_of_sdk", &["aws_"]),
    ];
    let mut found = Figures::new();
    for line in annotated.lines() {
        // `12,345 ( 1.23%)  file:function [object]`.
        let Some((count, function)) = line.trim_start().split_once(" (") else {
            continue;
        };
        let Ok(count) = count.replace(',', "").parse::<f64>() else {
            continue;
        };
        if function.contains("PROGRAM TOTALS") {
            continue;
        }
        let part = PARTS
            .iter()
            .find(|(_, names)| names.iter().any(|of| function.contains(of)));
        *found
            .entry(
                part.map_or("instructions_of_others", |(part, _)| part)
                    .to_owned(),
            )
            .or_default() += count;
    }
    found
}

/// A program built from clean, in debug and in release, and what Cargo says its crates took; what
/// was there is removed.
pub(crate) fn build(root: &Path, feature: &str, target: &Path) -> Result<Figures, Failure> {
    let selection = [
        "--locked",
        "--package",
        "brs-tests-programs",
        "--no-default-features",
        "--features",
        feature,
    ];
    let mut found = Figures::new();
    for (name, profile) in [("debug_s", "dev"), ("release_s", "release")] {
        if target.exists() {
            fs::remove_dir_all(target)?;
        }
        let stopwatch = Stopwatch::start();
        let mut cargo = Command::new("cargo");
        cargo.arg("build").args(selection).args([
            "--bin",
            &format!("program_{feature}"),
            "--profile",
            profile,
        ]);
        cargo
            .args(["--quiet", "--timings", "--target-dir"])
            .arg(target)
            .current_dir(root);
        let status = cargo.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        if !status.success() {
            return Err(format!("the program with {feature} does not build").into());
        }
        found.insert(name.to_owned(), stopwatch.seconds());
        let report = fs::read_to_string(target.join("cargo-timings/cargo-timing.html"))?;
        for unit in units(&report)? {
            *found
                .entry(format!("units_of_{}_s", whose(&unit.name)))
                .or_default() += unit.duration;
        }
    }
    fs::remove_dir_all(target)?;
    let mut cargo = Command::new("cargo");
    cargo.arg("tree").args(selection).args([
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--no-dedupe",
    ]);
    let tree = cargo.current_dir(root).output()?;
    let tree = String::from_utf8_lossy(&tree.stdout).into_owned();
    let mut crates: Vec<_> = tree
        .lines()
        .map(|line| line.trim_end_matches(" (proc-macro)"))
        .collect();
    crates.sort_unstable();
    crates.dedup();
    // The programs' own package is none that a user would have.
    found.insert("crates".to_owned(), crates.len().saturating_sub(1) as f64);
    Ok(found)
}

/// One run of a compiler or a build script.
#[derive(Debug, Deserialize)]
struct Unit {
    name: String,
    /// In seconds, of which two run at a time on two processors.
    duration: f64,
}

/// All of them, out of the page that `cargo build --timings` writes: a stable Cargo says it nowhere
/// else.
fn units(page: &str) -> Result<Vec<Unit>, Failure> {
    let data = page
        .split_once("const UNIT_DATA = ")
        .ok_or("Cargo's timings have another form")?
        .1;
    let mut data = serde_json::Deserializer::from_str(data).into_iter::<Vec<Unit>>();
    Ok(data.next().ok_or("Cargo's timings are empty")??)
}

/// What a crate is there for, as far as it is of interest why a build takes its time.
fn whose(name: &str) -> &'static str {
    const BEGINNINGS: [(&str, &[&str]); 4] = [
        ("brs", &["brs"]),
        ("tls", &["aws-lc", "rustls"]),
        ("aws", &["aws-"]),
        (
            "http_and_tokio",
            &[
                "tokio", "hyper", "h2", "http", "tower", "reqwest", "mio", "url", "idna", "icu_",
                "zero",
            ],
        ),
    ];
    const MACROS: [&str; 5] = ["derive", "macro", "impl", "attributes", "async-trait"];
    if ["syn", "quote", "proc-macro2"].contains(&name)
        || MACROS.iter().any(|part| name.contains(part))
    {
        return "macros";
    }
    let found = BEGINNINGS
        .iter()
        .find(|(_, beginnings)| beginnings.iter().any(|of| name.starts_with(of)));
    found.map_or("others", |(whose, _)| whose)
}

/// What the machine tells about itself.
pub(crate) fn machine() -> Vec<(String, String)> {
    let read = |path: &str| {
        fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let cpu = read("/proc/cpuinfo");
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    [
        (
            "processor",
            format!(
                "{}, {cores} cores",
                model.trim_start_matches([' ', '\t', ':'])
            ),
        ),
        (
            "system",
            format!(
                "{} {}",
                std::env::consts::OS,
                read("/proc/sys/kernel/osrelease")
            ),
        ),
        ("load at the start", load()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Today.
pub(crate) fn date() -> String {
    DateTime::from(Shifted::default().now())
        .fmt(Format::DateTime)
        .unwrap_or_default()
}

/// How busy the machine is.
pub(crate) fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace()
        .take(3)
        .collect::<Vec<_>>()
        .join(" ")
}

/// A device, its provider, and its files for one measured process.
#[derive(Debug)]
pub(crate) struct Device {
    provider: EmbeddedIot,
    broker: Option<Mosquitto>,
    _files: tempfile::TempDir,
}

impl Device {
    /// Tells the process where everything is; with `in_token` there is a key in a SoftHSM2 token,
    /// too.
    pub(crate) fn new(
        aws: &EmbeddedAws,
        command: &mut Command,
        in_token: bool,
    ) -> Result<Self, Failure> {
        let provider = EmbeddedIot::start(aws);
        provider.add_role_alias(ALIAS, ROLE, None);
        let device = provider.add_device(THING, KeyKind::Rsa2048);
        let files = tempfile::tempdir()?;
        fs::write(files.path().join("authority.pem"), provider.trust_store())?;
        fs::write(files.path().join("device.pem"), &device.certificate_pem)?;
        fs::write(files.path().join("device.key"), &device.private_key_pem)?;
        if in_token {
            let module =
                std::env::var("BRS_SOFTHSM2_MODULE").map_err(|_| "SoftHSM2 is not installed")?;
            let key = token_key(&PathBuf::from(module));
            fs::write(files.path().join("token.pem"), provider.certify(THING, key))?;
            command.env("BENCH_IOT_PIN", PIN);
        }
        command
            .env("BENCH_IOT_ENDPOINT", provider.endpoint())
            .env("BENCH_IOT_FOLDER", files.path());
        Ok(Self {
            provider,
            broker: None,
            _files: files,
        })
    }

    /// With a broker for it, whose window is AWS IoT's.
    pub(crate) fn with_broker(mut self, command: &mut Command) -> Self {
        let broker =
            Mosquitto::start_with(&self.provider, &format!("max_inflight_messages {WINDOW}"));
        command.env("BENCH_MQTT_ENDPOINT", broker.endpoint());
        self.broker = Some(broker);
        self
    }
}

/// The public key of the one token of this run.
fn token_key(module: &Path) -> &'static PublicKey {
    static KEY: OnceLock<PublicKey> = OnceLock::new();
    KEY.get_or_init(|| {
        Module::load(module)
            .token(LABEL)
            .key(Kind::Rsa(2048), LABEL, &[1])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_timings_are_read() {
        let page = "<script>\nconst UNIT_DATA = [\n{\"i\": 0, \"name\": \"syn\", \"duration\": 2.5}];\nconst X = 1;";
        let units = units(page).unwrap();
        assert_eq!(
            (units.len(), units[0].name.as_str(), units[0].duration),
            (1, "syn", 2.5)
        );
        assert!(super::units("<html>").is_err());
    }

    #[test]
    fn instructions_are_counted_by_whose_they_are() {
        let annotated = "1,000 (100.0%)  PROGRAM TOTALS\n\n  123 ( 6.70%)  ???:<brs_core::X as aws_y::Z>::f [/b]\n 51 \
                         ( 2.78%)  ???:aws_y::g\n 9 ( 0.1%)  ???:main\nIr   file:function\n";
        let expected = [
            ("instructions_of_brs", 123.0),
            ("instructions_of_sdk", 51.0),
            ("instructions_of_others", 9.0),
        ];
        assert_eq!(functions(annotated), figures(expected));
    }

    #[test]
    fn every_crate_is_somebodys() {
        for (name, of) in [
            ("brs-core", "brs"),
            ("aws-lc-sys", "tls"),
            ("aws-smithy-runtime-api-macros", "macros"),
            ("aws-config", "aws"),
            ("serde_derive", "macros"),
            ("hyper-util", "http_and_tokio"),
            ("time", "others"),
        ] {
            assert_eq!(whose(name), of, "{name}");
        }
    }
}
