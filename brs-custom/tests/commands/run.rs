//! Commands as real processes: what they are given, what is taken from them, and that they end.

use std::time::Duration;

use crate::support::{LONG, Place, TestClock, eventually, exists, is_running, problem};
use brs_core::ErrorKind;
use brs_core::command::{LEFTOVER_GRACE, STDOUT_LIMIT};
use brs_custom::Command;

/// A script whose grandchild ignores SIGTERM and keeps both pipes open; both tell their process
/// ids.
const STUBBORN: &str = r#"
    /bin/sh -c 'trap "" TERM HUP INT; echo $$ > grandchild; while :; do sleep 1000; done' &
    echo $$ > leader
    while :; do sleep 1000; done
"#;

async fn run(command: Command) -> Result<String, brs_core::Error> {
    let command = command.timeout(LONG).unwrap();
    let output = command.run(&TestClock::new().shared(), LONG).await?;
    Ok(String::from_utf8(output.stdout().to_vec()).unwrap())
}

async fn all_gone(place: &Place) {
    let (leader, grandchild) = (place.pid("leader").await, place.pid("grandchild").await);
    eventually(|| (!exists(leader) && !is_running(grandchild)).then_some(())).await;
}

#[tokio::test]
async fn arguments_arrive_unchanged_and_unexpanded() {
    let args = [
        "a b",
        "",
        "$HOME",
        "`id`",
        "; rm -rf x",
        "*",
        "\"q\" 'q' \\",
        "ü☂",
        "--flag=1 2",
        "#no comment",
    ];
    let printed = run(Place::new().sh_with(r#"for arg; do printf '[%s]' "$arg"; done"#, &args))
        .await
        .unwrap();
    assert_eq!(printed, args.map(|arg| format!("[{arg}]")).concat());
    let parsed = Command::parse(r#"printf '[%s]' $HOME ';' 'a  b' "c\"d" e\ f # g"#).unwrap();
    assert_eq!(
        run(parsed).await.unwrap(),
        r#"[$HOME][;][a  b][c"d][e f][#][g]"#
    );
}

#[tokio::test]
async fn the_command_runs_in_its_directory_with_its_environment() {
    let place = Place::new();
    let command = place.sh(
        "pwd -P; printf '%s|%s|%s' \"$GIVEN\" \"${CARGO_PKG_NAME-gone}\" \"$CARGO_PKG_VERSION\"",
    );
    let command = command
        .env("GIVEN", "a $HOME b")
        .unwrap()
        .env_remove("CARGO_PKG_NAME");
    let here = place.path().canonicalize().unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        run(command).await.unwrap(),
        format!("{}\na $HOME b|gone|{version}", here.display())
    );
}

#[tokio::test]
async fn a_cleared_environment_holds_what_was_set_afterwards() {
    let command = Command::new(["/usr/bin/env"]).unwrap();
    let command = command
        .env("BEFORE", "1")
        .unwrap()
        .env_clear()
        .env("AFTER", "2")
        .unwrap();
    assert_eq!(run(command).await.unwrap(), "AFTER=2\n");
}

#[tokio::test]
async fn there_is_nothing_on_standard_input() {
    assert_eq!(
        run(Place::new().sh("cat; echo read")).await.unwrap(),
        "read\n"
    );
}

#[test]
fn no_runtime_of_the_caller_is_needed() {
    // This one has neither a timer nor a reactor.
    let bare = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    assert_eq!(
        bare.block_on(run(Place::new().sh("echo here"))).unwrap(),
        "here\n"
    );
}

#[tokio::test]
async fn a_failing_command_shows_the_end_of_its_standard_error_and_never_its_output() {
    let script = "echo hush; printf 'warming up\\n\\033[31mno access\\033[0m\\n' >&2; exit 3";
    let error = run(Place::new().sh(script)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "command `/bin/sh` failed with exit status 3: warming up; no access"
    );
    assert_eq!(
        (error.kind(), problem(&error)),
        (ErrorKind::Configuration, "failed")
    );
    assert_eq!(
        (
            &*error.details()["exit_status"],
            &*error.details()["command"]
        ),
        ("3", "/bin/sh")
    );
    assert!(error.is_retryable() && !error.is_unrecoverable());
}

#[tokio::test]
async fn what_a_command_was_given_is_masked_in_its_error() {
    let ls = || {
        Command::new(["ls", "--password=hush"])
            .unwrap()
            .env("LC_ALL", "C")
            .unwrap()
    };
    let xtrace = || {
        Command::new(["/bin/sh", "-xc", "echo $PIN"])
            .unwrap()
            .env("PIN", "hush")
            .unwrap()
    };
    let quoted = || {
        Command::new([
            "/bin/sh",
            "-c",
            "echo \"$0: no ${0#*=} here\" >&2; exit 1",
            "pin=hush",
        ])
        .unwrap()
    };
    for command in [ls(), quoted()] {
        let error = run(command).await.unwrap_err();
        assert_eq!(problem(&error), "failed");
        assert!(
            error.to_string().contains("***") && error.details()["stderr"].contains("***"),
            "{error}"
        );
    }
    // Of one that succeeds it is shown, too, where what it printed is of no use.
    let output = xtrace()
        .run(&TestClock::new().shared(), LONG)
        .await
        .unwrap();
    assert_eq!(
        (output.stderr(), output.stdout()),
        ("+ echo ***", &b"hush\n"[..])
    );
}

#[tokio::test]
async fn what_stands_behind_a_secrets_name_is_masked_in_its_error() {
    let script = r#"echo '{"AccessKeyId": "AKIAEXAMPLE", "SecretAccessKey": "hush/4+2",
        "SessionToken": "hush/4+3' >&2; exit 1"#;
    let error = run(Place::new().sh(script)).await.unwrap_err();
    let shown = format!("{error} {:?}", error.details());
    assert!(
        !shown.contains("hush") && shown.contains("AKIAEXAMPLE") && shown.contains("***"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_secret_that_is_longer_than_what_is_kept_is_masked() {
    let secret = "hush-".repeat(4000);
    let place = Place::new();
    let command = place
        .sh("printf '%s\\nno access\\n' \"$SECRET\" >&2; exit 1")
        .env("SECRET", secret)
        .unwrap();
    let error = run(command).await.unwrap_err();
    assert_eq!(
        (problem(&error), &*error.details()["stderr"]),
        ("failed", "…no access")
    );
}

#[tokio::test]
async fn a_text_that_is_no_program_says_how_to_give_it_and_shows_no_value() {
    for (words, name, expected, shown) in [
        (
            &["TOKEN=hush /opt/tool"][..],
            "variable_for_program",
            "set variables with `env`",
            "`TOKEN=…`",
        ),
        (
            &["TOKEN=hush", "/opt/tool"],
            "variable_for_program",
            "set variables with `env`",
            "`TOKEN=…`",
        ),
        (
            &["/bin/sh -c 'echo hush'"],
            "line_for_program",
            "one text in a list: give a text, or one word per",
            "`/bin/sh …`",
        ),
        (
            &["sh --pin=hush"],
            "line_for_program",
            "one text in a list",
            "`sh …`",
        ),
        (
            &["/no/such tool", "hush"],
            "line_for_program",
            "one word per element",
            "`/no/such …`",
        ),
    ] {
        let command = Command::new(words).unwrap();
        assert!(
            !format!("{command:?} {}", command.name()).contains("hush"),
            "{command:?}"
        );
        let error = run(command).await.unwrap_err();
        assert_eq!(
            (error.kind(), problem(&error)),
            (ErrorKind::Configuration, name),
            "{error}"
        );
        assert!(
            error.is_unrecoverable() && error.to_string().contains(expected),
            "{error}"
        );
        assert!(error.to_string().contains(shown), "{error}");
    }
}

#[tokio::test]
async fn a_program_may_have_blanks_in_its_path() {
    let place = Place::new();
    let path = place.file("my tool=1");
    run(place.sh("printf '#!/bin/sh\necho here\n' > 'my tool=1'; chmod 755 'my tool=1'"))
        .await
        .unwrap();
    let command = Command::new([&path]).unwrap();
    assert_eq!(command.name(), "my tool=1");
    assert_eq!(run(command).await.unwrap(), "here\n");
}

#[tokio::test]
async fn a_command_ended_by_a_signal_is_reported_as_that() {
    let error = run(Place::new().sh("kill -9 $$")).await.unwrap_err();
    assert_eq!(
        (problem(&error), &*error.details()["signal"]),
        ("failed", "9")
    );
    assert!(
        error.to_string().contains("signal 9: it wrote nothing"),
        "{error}"
    );
}

#[tokio::test]
async fn as_much_output_as_allowed_is_taken() {
    let printed = run(Place::new().sh(&format!("head -c {STDOUT_LIMIT} /dev/zero")))
        .await
        .unwrap();
    assert_eq!(printed.len(), STDOUT_LIMIT);
}

#[tokio::test]
async fn one_byte_more_than_allowed_is_refused() {
    let script = format!("head -c {} /dev/zero", STDOUT_LIMIT + 1);
    let error = run(Place::new().sh(&script)).await.unwrap_err();
    assert_eq!(
        (error.kind(), problem(&error)),
        (ErrorKind::Credential, "output_too_long")
    );
}

#[tokio::test]
async fn a_command_that_prints_without_end_is_ended_with_its_group() {
    let place = Place::new();
    let script = "echo $$ > leader; /bin/sh -c 'echo $$ > grandchild; exec yes hush' & wait";
    let error = run(place.sh(script)).await.unwrap_err();
    assert_eq!(
        (problem(&error), &*error.details()["limit_bytes"]),
        ("output_too_long", "65536")
    );
    assert!(error.to_string().contains("64 KiB"), "{error}");
    all_gone(&place).await;
}

#[tokio::test]
async fn megabytes_on_standard_error_do_not_stall_the_command() {
    let place = Place::new();
    let command = place.sh("yes x | head -c 3000000 >&2; echo the end >&2; echo printed");
    let output = command.run(&TestClock::new().shared(), LONG).await.unwrap();
    assert_eq!(output.stdout(), b"printed\n");
    assert!(
        output.stderr().ends_with("x; x; the end") && output.stderr().chars().count() == 500,
        "{}",
        output.stderr()
    );
}

#[tokio::test]
async fn standard_error_without_end_is_ended() {
    let error = run(Place::new().sh("yes hush >&2")).await.unwrap_err();
    assert_eq!(problem(&error), "output_too_long");
    assert!(error.to_string().contains("standard error"), "{error}");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_unrecoverable_and_named() {
    for program in [
        "brs-no-such-program",
        "/no/such/program",
        "./no-such-program",
    ] {
        let error = run(Command::new([program, "hush"]).unwrap())
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), problem(&error)),
            (ErrorKind::Configuration, "not_found"),
            "{program}"
        );
        assert!(
            error.is_unrecoverable() && error.to_string().contains(program),
            "{error}"
        );
        assert!(
            error.to_string().contains("`PATH`") && error.details()["os_error"] == "2",
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_script_without_its_interpreter_says_so() {
    let place = Place::new();
    // Written by a process of its own: a file that another thread's child still holds open for
    // writing cannot be run.
    run(place.sh("printf '#!/no/such/interpreter\\n' > tool; chmod 755 tool"))
        .await
        .unwrap();
    let error = run(Command::new([place.file("tool")]).unwrap())
        .await
        .unwrap_err();
    assert_eq!(problem(&error), "not_found");
    assert!(
        error.is_unrecoverable() && error.to_string().contains("interpreter"),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_not_executable_is_unrecoverable_and_named() {
    let place = Place::new();
    std::fs::write(place.file("data.txt"), "hush").unwrap();
    for path in [place.file("data.txt"), place.path().to_owned()] {
        let error = run(Command::new([path.clone()]).unwrap())
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), problem(&error)),
            (ErrorKind::Configuration, "permission_denied")
        );
        assert!(
            error.is_unrecoverable() && error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
        assert!(error.to_string().contains("chmod +x"), "{error}");
    }
}

#[tokio::test]
async fn a_missing_working_directory_is_not_taken_for_a_missing_program() {
    let place = Place::new();
    std::fs::write(place.file("a-file"), "").unwrap();
    for path in [place.file("nowhere"), place.file("a-file")] {
        let error = run(place.sh("echo here").current_dir(&path))
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), problem(&error)),
            (ErrorKind::Configuration, "working_directory")
        );
        assert!(
            error.is_unrecoverable() && error.details()["current_dir"] == path.to_str().unwrap(),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn another_refusal_of_the_system_is_passed_on() {
    let error = run(Command::new(["/bin/true", &"hush".repeat(100_000)]).unwrap())
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), problem(&error)),
        (ErrorKind::Configuration, "os_error")
    );
    assert!(
        !error.is_unrecoverable() && std::error::Error::source(&error).is_some(),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_hanging_command_is_ended_with_its_grandchild() {
    let (place, clock) = (Place::new(), TestClock::new());
    let command = place.sh(STUBBORN).timeout(Duration::from_secs(10)).unwrap();
    let shared = clock.shared();
    let (result, ()) = tokio::join!(command.run(&shared, LONG), async {
        let pids = (place.pid("leader").await, place.pid("grandchild").await);
        assert!(is_running(pids.0) && is_running(pids.1));
        clock.advance(Duration::from_secs(10));
    });
    let error = result.unwrap_err();
    assert_eq!(
        (error.kind(), problem(&error)),
        (ErrorKind::Connection, "timed_out")
    );
    assert!(
        error.is_retryable()
            && error.to_string().contains("10s")
            && error.details()["limit"] == "10s",
        "{error}"
    );
    // The leader has been reaped before the error was given.
    assert!(!exists(place.pid("leader").await));
    all_gone(&place).await;
}

#[tokio::test]
async fn the_shorter_of_both_limits_counts() {
    let (place, clock) = (Place::new(), TestClock::new());
    let command = place.sh("sleep 1000");
    let shared = clock.shared();
    let limit = Duration::from_secs(2);
    let (result, ()) = tokio::join!(command.run(&shared, limit), async {
        clock.asked_for(limit).await;
        clock.advance(limit);
    });
    assert_eq!(result.unwrap_err().details()["limit"], "2s");
}

#[tokio::test]
async fn without_any_time_left_nothing_is_started() {
    let place = Place::new();
    let error = place
        .sh("echo > started")
        .run(&TestClock::new().shared(), Duration::ZERO)
        .await
        .unwrap_err();
    assert_eq!(problem(&error), "timed_out");
    assert!(!place.file("started").exists());
}

#[tokio::test]
async fn dropping_the_future_ends_the_group() {
    let place = Place::new();
    let command = place.sh(STUBBORN);
    let shared = TestClock::new().shared();
    tokio::select! {
        _ = command.run(&shared, LONG) => unreachable!("the command never ends by itself"),
        _ = async { (place.pid("leader").await, place.pid("grandchild").await) } => {}
    }
    all_gone(&place).await;
}

#[tokio::test]
async fn output_counts_though_a_descendant_keeps_it_open() {
    let (place, clock) = (Place::new(), TestClock::new());
    let script = "echo $$ > leader
        /bin/sh -c 'trap \"\" TERM; echo $$ > grandchild; while :; do sleep 1000; done' &
        while ! test -s grandchild; do :; done
        echo printed";
    let command = place.sh(script);
    let shared = clock.shared();
    let (output, ()) = tokio::join!(command.run(&shared, LONG), async {
        clock.asked_for(LEFTOVER_GRACE).await;
        clock.advance(LEFTOVER_GRACE);
    });
    assert_eq!(output.unwrap().stdout(), b"printed\n");
    all_gone(&place).await;
}

#[tokio::test]
async fn the_leader_is_not_reaped_while_its_group_may_be_killed() {
    let (place, clock) = (Place::new(), TestClock::new());
    // The one that keeps the pipe open has left the group, which is empty but for the leader.
    let script = "echo $$ > leader
        setsid /bin/sh -c 'echo $$ > away; exec sleep 1000' &
        while ! test -s away; do :; done
        echo printed; exit 7";
    let command = place.sh(script);
    let shared = clock.shared();
    let (error, (leader, away)) = tokio::join!(command.run(&shared, LONG), async {
        let pids = (place.pid("leader").await, place.pid("away").await);
        clock.asked_for(LEFTOVER_GRACE).await;
        assert!(
            exists(pids.0) && !is_running(pids.0),
            "it has exited and keeps its number"
        );
        clock.advance(LEFTOVER_GRACE);
        pids
    });
    assert_eq!(error.unwrap_err().details()["exit_status"], "7");
    assert!(!exists(leader) && is_running(away));
    run(Command::new(["kill", &away.to_string()]).unwrap())
        .await
        .unwrap();
    eventually(|| (!is_running(away)).then_some(())).await;
}

#[tokio::test]
async fn what_a_descendant_prints_shortly_after_counts_too() {
    let script = "(echo late) & echo early";
    let mut lines: Vec<_> = run(Place::new().sh(script))
        .await
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    assert_eq!(lines, ["early", "late"]);
}

#[tokio::test]
async fn a_descendant_that_holds_no_pipe_is_left_alone() {
    let printed = run(Place::new().sh("sleep 1000 < /dev/null > /dev/null 2>&1 & echo $!"))
        .await
        .unwrap();
    let pid = printed.trim().parse().unwrap();
    assert!(is_running(pid));
    run(Command::new(["kill", printed.trim()]).unwrap())
        .await
        .unwrap();
    eventually(|| (!is_running(pid)).then_some(())).await;
}
