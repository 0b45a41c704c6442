//! The demo program, started as a user starts it, with everything it has: what it prints last, and
//! its exit code.

use std::fs;
use std::process::Command;

#[test]
#[ignore = "needs mosquitto"]
fn the_demo_of_all_methods_ends_without_a_failed_call_or_a_lost_message() {
    let store = tempfile::tempdir().unwrap();
    let (tokens, settings) = (
        store.path().join("tokens"),
        store.path().join("softhsm2.conf"),
    );
    fs::create_dir(&tokens).unwrap();
    fs::write(
        &settings,
        format!(
            "directories.tokendir = {}\nobjectstore.backend = file\n",
            tokens.display()
        ),
    )
    .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_demo"))
        .args([
            "--mfa",
            "--iot",
            "--pkcs11",
            "--anywhere",
            "--mqtt",
            "--seconds",
            "8",
            "--lifetime",
            "3",
        ])
        .env("SOFTHSM2_CONF", settings)
        .output()
        .unwrap();
    let (said, complaints) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{said}\n{complaints}");
    for expected in [
        "no call failed and no message was lost",
        "iot",
        "pkcs11",
        "anywhere",
    ] {
        assert!(said.contains(expected), "`{expected}` is not in:\n{said}");
    }
    // Messages came through while connections and the credentials that sign for them were replaced.
    for link in ["mqtts", "wss"] {
        let numbers = numbers(&said, &format!("{link}: "), "messages acknowledged");
        let [acknowledged, received, _, failed, connections] = numbers[..] else {
            panic!("{numbers:?}:\n{said}")
        };
        assert!(
            acknowledged > 0 && received >= acknowledged && failed == 0 && connections > 1,
            "{numbers:?}:\n{said}"
        );
    }
    assert!(
        numbers(&said, "wss: ", "different access keys")[0] > 1,
        "{said}"
    );
}

#[test]
#[ignore = "needs boto3 and javascript"]
fn the_demo_of_serve_and_javascript_ends_without_a_failed_call() {
    let output = Command::new(env!("CARGO_BIN_EXE_demo"))
        .args(["--serve", "--seconds", "12", "--lifetime", "5"])
        .output()
        .unwrap();
    let (said, complaints) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{said}\n{complaints}");
    assert!(
        said.contains("Its status page: http://127.0.0.1:"),
        "{said}"
    );
    let sets = numbers(&said, "signed with ", "sets of credentials");
    // Three sessions, each through at least one expiration.
    assert!(sets[0] >= 6 && sets[1] == 0, "{said}");
}

/// Those in the line that begins and goes on so.
fn numbers(said: &str, beginning: &str, words: &str) -> Vec<u64> {
    let lines = said.lines().map(str::trim_start);
    let line = lines
        .filter_map(|line| line.strip_prefix(beginning))
        .find(|line| line.contains(words));
    let words = line
        .unwrap_or_default()
        .split(|c: char| !c.is_ascii_digit());
    words.filter_map(|word| word.parse().ok()).collect()
}
