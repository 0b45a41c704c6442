//! Programs with the AWS SDKs of other languages, as tests and the demo start them.
//!
//! Owns where each of them is and its command line; `cargo xtask` installs them and says where by
//! variables. Does not know where they get their credentials. Each makes a number of calls in one
//! process, with its own default chain, and fails if one of them fails. It sets no pace: that does
//! the server that answers.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Client {
    /// boto3.
    Boto3,
    /// The AWS CLI v1, with `s3transfer` for more than one call.
    AwsCli,
    /// The AWS SDK for Rust.
    Rust,
    /// The AWS SDK for JavaScript v3.
    JavaScript,
    /// The AWS SDK for JavaScript v2.
    JavaScriptV2,
    /// The AWS CLI v2.
    AwsCliV2,
    /// The AWS SDK for C++, within pyarrow.
    Cpp,
    /// The AWS Common Runtime, which is written in C, from Python.
    Crt,
    /// The AWS SDK for Go v1, within s5cmd.
    GoV1,
    /// The AWS SDK for Go v2, within rclone.
    Go,
}

/// The variable that names the virtual environment with boto3 and the AWS CLI.
const VENV: &str = "BRS_CLIENTS_VENV";
/// The same with the Python packages of a conformance run.
const MORE_VENV: &str = "BRS_CONFORMANCE_VENV";

impl Client {
    /// The command line of a process that makes this many calls to the AWS at `endpoint_url`;
    /// files that it works with are made in `folder`.
    ///
    /// # Panics
    ///
    /// If the client is not installed or files cannot be made: the message says what installs it.
    #[must_use]
    pub fn command_line(self, calls: usize, endpoint_url: &str, folder: &Path) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        let mut add = |word: &dyn AsRef<std::ffi::OsStr>| words.push(word.as_ref().to_owned());
        match self {
            Self::Boto3 => {
                add(&program(VENV, "python"));
                // Nothing is written beside the scripts.
                add(&"-B");
                add(&script("python/boto3_calls.py"));
                add(&calls.to_string());
            }
            Self::Crt | Self::Cpp => {
                add(&program(MORE_VENV, "python"));
                add(&"-B");
                add(&script(match self {
                    Self::Crt => "python/awscrt_calls.py",
                    _ => "python/pyarrow_calls.py",
                }));
                add(&calls.to_string());
            }
            Self::Rust => {
                add(&beside("client_probe"));
                add(&calls.to_string());
            }
            Self::JavaScript | Self::JavaScriptV2 => {
                let (variable, path) = match self {
                    Self::JavaScript => ("BRS_JAVASCRIPT", "javascript/sts.mjs"),
                    _ => ("BRS_JAVASCRIPT_V2", "javascript_v2/sts.mjs"),
                };
                add(&"env");
                add(&format!("BRS_TESTS_PACKAGES={}", named(variable).display()));
                add(&"node");
                add(&script(path));
                add(&calls.to_string());
            }
            Self::AwsCli | Self::AwsCliV2 => {
                add(&match self {
                    Self::AwsCli => program(VENV, "aws"),
                    _ => named("BRS_AWS_CLI_V2"),
                });
                // Older ones of v2 do not read it from the environment.
                add(&"--endpoint-url");
                add(&endpoint_url);
                if calls == 1 {
                    ["sts", "get-caller-identity"]
                        .iter()
                        .for_each(|word| add(word));
                } else {
                    // A call an object: there is nothing else that it does often in one process.
                    ["s3", "cp", "--recursive", "--no-progress"]
                        .iter()
                        .for_each(|word| add(word));
                    add(&objects(folder, calls));
                    add(&"s3://demo/objects");
                }
            }
            Self::GoV1 => {
                add(&program(MORE_VENV, "s5cmd"));
                ["--numworkers", "1", "--endpoint-url", endpoint_url, "run"]
                    .iter()
                    .for_each(|word| add(word));
                let list = folder.join("commands");
                fs::write(&list, "ls\n".repeat(calls)).expect("the folder can be written to");
                add(&list);
            }
            Self::Go => {
                add(&program(MORE_VENV, "rclone"));
                let remote = format!(
                    ":s3,provider=Other,env_auth=true,endpoint='{endpoint_url}',region=eu-west-1:"
                );
                let one_by_one = [
                    "--config",
                    "",
                    "--transfers",
                    "1",
                    "--checkers",
                    "1",
                    "--retries",
                    "1",
                ];
                one_by_one.iter().for_each(|word| add(word));
                if calls == 1 {
                    add(&"lsd");
                    add(&remote);
                } else {
                    let plainly = [
                        "copy",
                        "--no-traverse",
                        "--no-check-dest",
                        "--s3-no-check-bucket",
                        "--s3-no-head",
                    ];
                    plainly.iter().for_each(|word| add(word));
                    add(&objects(folder, calls));
                    add(&format!("{remote}demo/objects"));
                }
            }
        }
        words
    }
}

/// A folder with so many files.
fn objects(folder: &Path, number: usize) -> PathBuf {
    let objects = folder.join("objects");
    fs::create_dir_all(&objects).expect("the folder can be written to");
    for number in 0..number {
        fs::write(objects.join(format!("{number}.txt")), "an object")
            .expect("the folder can be written to");
    }
    objects
}

/// What a variable of `cargo xtask` names.
fn named(variable: &str) -> PathBuf {
    env::var_os(variable).map(PathBuf::from).unwrap_or_else(|| {
        panic!(
            "`{variable}` is not set: `cargo xtask test` installs the client and sets it, for some \
             with `--conformance`"
        )
    })
}

fn program(variable: &str, name: &str) -> PathBuf {
    named(variable).join("bin").join(name)
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("clients")
        .join(name)
}

/// A program of this package, which cargo builds beside tests and programs.
fn beside(name: &str) -> PathBuf {
    let this = env::current_exe().expect("the system tells this program's path");
    let folders = this.ancestors().skip(1).take(2);
    let found = folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("`{name}` is missing: cargo builds it with the tests of brs-tests")
    })
}

/// The command `brs`: what `BRS_COMMAND` names, or what was built beside this program.
///
/// # Panics
///
/// If there is none.
#[must_use]
pub fn brs_command() -> PathBuf {
    env::var_os("BRS_COMMAND").map_or_else(|| beside("brs"), PathBuf::from)
}
