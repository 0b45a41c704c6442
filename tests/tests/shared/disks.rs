//! What a file system does: a full one, and directories that are not this user's.

use super::*;

#[test]
fn on_a_full_file_system_the_session_goes_on_by_itself() {
    let cache = Cache::new();
    let mut command = Command::new("sh");
    // Writing fails instead of ending the process.
    let script = "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"";
    command
        .env_clear()
        .args(["-c", script, env!("CARGO_BIN_EXE_shared_probe")])
        .arg(cache.path())
        .arg("local");
    let mut full = Probe::start(&mut command);
    full.say("answer");
    full.say("answer");
    let key = full.key("get");
    assert!(
        full.printed.contains("warning host_cache_not_written"),
        "{}",
        full.printed
    );
    assert_ne!(full.key("reject"), key);
    let printed = full.end();
    assert_eq!(printed.matches("warning").count(), 1, "{printed}");
    assert_eq!(
        (cache.files("json").len(), cache.files("tmp").len()),
        (0, 0)
    );
}

/// As a file system of the network without a lock daemon answers.
const NO_LOCKS: &str =
    "#include <errno.h>\nint flock(int fd, int how) { errno = ENOLCK; return -1; }\n";

#[test]
fn on_a_file_system_without_locks_the_session_goes_on_by_itself() {
    let cache = Cache::new();
    let (source, library) = (cache.0.path().join("no.c"), cache.0.path().join("no.so"));
    std::fs::write(&source, NO_LOCKS).unwrap();
    let compiler = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .output()
        .unwrap();
    assert!(compiler.status.success(), "{compiler:?}");
    let mut command = probe(&cache.path());
    let mut probe = Probe::start(command.arg("local").env("LD_PRELOAD", &library));
    probe.say("answer");
    probe.say("answer");
    let key = probe.key("get");
    assert!(
        probe.printed.contains("warning host_cache_no_locks"),
        "{}",
        probe.printed
    );
    assert_ne!(probe.key("reject"), key);
    let printed = probe.end();
    assert_eq!(printed.matches("warning").count(), 1, "{printed}");
    assert_eq!(cache.files("json").len(), 0);
}

#[test]
fn the_directory_of_another_user_is_not_used() {
    let cache = Cache::new();
    std::fs::create_dir(cache.path()).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(cache.path(), mode).unwrap();
    // A user without rights has no other's directory to give away, but those of the system.
    let directory = match std::os::unix::fs::chown(cache.path(), Some(65_534), None) {
        Ok(()) => cache.path(),
        Err(_) => "/".into(),
    };
    let mut command = probe(&directory);
    let mut probe = Probe::start(command.arg("local"));
    probe.say("answer");
    probe.key("get");
    let printed = probe.end();
    assert!(
        printed.contains("warning host_cache_directory_owner"),
        "{printed}"
    );
    assert_eq!(printed.matches("warning").count(), 1, "{printed}");
}

#[test]
fn the_environment_names_the_directory() {
    let cache = Cache::new();
    let session = |variables: &[(&str, &Path)]| {
        let mut command = probe(Path::new("environment"));
        command.envs(variables.iter().copied());
        let mut probe = Probe::start(command.arg("local"));
        probe.say("answer");
        probe.key("get");
        probe.end()
    };
    let printed = session(&[]);
    assert!(printed.contains("warning host_cache_unset"), "{printed}");
    let printed = session(&[("XDG_RUNTIME_DIR", cache.0.path())]);
    assert!(!printed.contains("warning"), "{printed}");
    assert!(cache.0.path().join("brs").is_dir());
    let printed = session(&[
        ("BRS_CACHE_DIR", &cache.path()),
        ("XDG_RUNTIME_DIR", cache.0.path()),
    ]);
    assert!(!printed.contains("warning"), "{printed}");
    cache.file("json");
}
