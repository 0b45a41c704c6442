//! What the programs share: the settings that they read, and what they print.
//!
//! Each program is what a user would write with one library: it assumes a role once and ends. They
//! are measured from outside: time, peak memory, size of the binary, time to build.

use std::env;

/// The role that is assumed.
pub const ROLE: &str = "arn:aws:iam::123456789012:role/bench";
/// The region of all programs.
pub const REGION: &str = "eu-west-1";

/// The server to call; everything else, the keys included, is read from the environment by the
/// libraries themselves.
#[must_use]
pub fn endpoint() -> String {
    env::var("BENCH_ENDPOINT").unwrap_or_default()
}

/// Waits for a line, where programs are to ask at the same time: all is ready then.
pub fn wait() {
    if env::var_os("BENCH_GATE").is_some() {
        println!("ready");
        let _ = std::io::stdin().read_line(&mut String::new());
    }
}

/// Prints what a program has got, and its peak memory and threads where that is asked for.
pub fn print(access_key_id: &str) {
    println!("{access_key_id}");
    if env::var_os("BENCH_MEMORY").is_some() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let wanted = |line: &&str| {
            ["VmHWM:", "Threads:"]
                .iter()
                .any(|name| line.starts_with(name))
        };
        status
            .lines()
            .filter(wanted)
            .for_each(|line| println!("{line}"));
    }
}
