//! `brs credential-process`: one call for all processes, and what is printed when.

use std::time::Duration;

use super::*;
use brs_tests::embedded_aws::Failure;

/// As an SDK waits for it.
fn piped(command: &mut Command) -> std::process::Child {
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn prints_one_object_in_its_order() {
    let world = World::new();
    let json = world.run(&["credential-process", "app"]).ok();
    let names = [
        "Version",
        "AccessKeyId",
        "SecretAccessKey",
        "SessionToken",
        "Expiration",
    ];
    let places: Vec<_> = names
        .iter()
        .map(|name| json.find(&format!("\"{name}\"")).unwrap())
        .collect();
    assert!(places.is_sorted(), "{json}");
    assert!(json.ends_with("}\n") && json.lines().count() == 1);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["Version"], 1);
    let expiration = value["Expiration"].as_str().unwrap();
    assert!(
        expiration.len() == 20 && expiration.ends_with('Z'),
        "{expiration}"
    );
}

#[test]
fn the_second_process_makes_no_call() {
    let world = World::new();
    let first = world.run(&["credential-process", "app"]).key();
    let second = world.run(&["credential-process", "app"]);
    assert_eq!(second.stderr, "");
    assert_eq!((second.key(), world.calls()), (first.clone(), 1));
    // Unless it is told to, or has no cache.
    assert_ne!(
        world
            .run(&["credential-process", "app", "--no-cache"])
            .key(),
        first
    );
    let forced = world.run(&["credential-process", "app", "--force"]).key();
    assert_eq!(world.calls(), 3);
    assert_eq!(world.run(&["credential-process", "app"]).key(), forced);
}

#[test]
fn two_hundred_processes_make_one_call() {
    let world = World::new();
    let processes: Vec<_> = (0..200)
        .map(|_| piped(&mut world.direct(&["credential-process", "app"])))
        .collect();
    let keys: std::collections::BTreeSet<String> = processes
        .into_iter()
        .map(|process| Ran::from(process.wait_with_output().unwrap()).ok())
        .collect();
    assert_eq!((keys.len(), world.calls()), (1, 1));
}

#[test]
fn a_holder_that_is_killed_holds_up_no_other() {
    let world = World::new();
    world.aws.fail_next([Failure::Hang]);
    let mut holder = piped(&mut world.direct(&["credential-process", "app"]));
    block_on(world.aws.wait_for_calls("AssumeRole", 1));
    let others: Vec<_> = (0..10)
        .map(|_| piped(&mut world.direct(&["credential-process", "app"])))
        .collect();
    holder.kill().unwrap();
    holder.wait().unwrap();
    let keys: std::collections::BTreeSet<String> = others
        .into_iter()
        .map(|process| Ran::from(process.wait_with_output().unwrap()).key())
        .collect();
    assert_eq!((keys.len(), world.calls()), (1, 2));
}

#[test]
fn a_failure_prints_nothing_and_is_1() {
    let world = World::new();
    world.aws.fail_always(Some(Failure::AccessDenied));
    let stderr = world.run(&["credential-process", "app"]).fails(1);
    assert!(
        stderr.starts_with("brs: error: ") && stderr.contains("role/app"),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    let json = world
        .run(&["--log-format", "json", "credential-process", "app"])
        .fails(1);
    let line: serde_json::Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert_eq!(line["level"], "ERROR");
    assert!(
        line["message"].as_str().unwrap().contains("role/app"),
        "{json}"
    );
}

#[test]
fn a_source_that_fails_costs_a_warning_while_the_cached_set_is_valid() {
    let world = World::new();
    let first = world.run(&["credential-process", "app"]).key();
    world.aws.fail_always(Some(Failure::Status(503)));
    // More than the set has left, and a set that is asked for in any case.
    for words in [
        &["credential-process", "app", "--min-validity", "2h"][..],
        &["credential-process", "app", "--force"],
    ] {
        let ran = world.run(words);
        let warned =
            "brs: warning: new credentials are not available, the current ones are still valid: ";
        assert!(ran.stderr.contains(warned), "{ran:?}");
        assert_eq!(ran.key(), first);
    }
    world
        .run(&["credential-process", "app", "--no-cache"])
        .fails(1);
}

#[test]
fn a_set_that_is_about_to_expire_is_printed_if_the_source_fails() {
    let world = World::new();
    world.aws.allow_short_durations(true);
    world.aws.set_lifetime(Some(Duration::from_secs(14 * 60)));
    let first = world
        .run(&["credential-process", "app", "--min-validity", "1m"])
        .key();
    world.aws.fail_always(Some(Failure::DropConnection));
    let ran = world.run(&["credential-process", "app"]);
    assert!(ran.stderr.contains("still valid"), "{ran:?}");
    assert_eq!(ran.key(), first);
}

#[test]
fn sets_that_never_live_long_enough_are_printed_with_a_warning() {
    let world = World::new();
    world.aws.allow_short_durations(true);
    world.aws.set_lifetime(Some(Duration::from_secs(600)));
    let ran = world.run(&["credential-process", "app"]);
    assert!(ran.stderr.contains("`--min-validity`"), "{ran:?}");
    ran.key();
    // Enough is left for this one.
    let calls = world.calls();
    let ran = world.run(&["credential-process", "app", "--min-validity", "5m"]);
    assert_eq!((ran.stderr.as_str(), world.calls()), ("", calls));
}

#[test]
fn the_time_limit_holds() {
    let world = World::new();
    world.aws.fail_always(Some(Failure::Hang));
    let words = ["credential-process", "app", "--timeout", "1s"];
    let stderr = world.run(&words).fails(1);
    assert!(stderr.contains("no credentials within 1 s"), "{stderr}");
    world.aws.fail_always(None);
    world.aws.release_hangs();
    let key = world.run(&["credential-process", "app"]).key();
    world.aws.fail_always(Some(Failure::Hang));
    let ran = world.run(&["credential-process", "app", "--timeout", "1s", "--force"]);
    assert!(ran.stderr.contains("still valid"), "{ran:?}");
    assert_eq!(ran.key(), key);
}

#[test]
fn shells_read_what_is_printed() {
    let world = World::new();
    let json = world.run(&["credential-process", "app"]).ok();
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let text = |name: &str| value[name].as_str().unwrap().to_owned();
    let expected = format!(
        "{}|{}|{}|{}",
        text("AccessKeyId"),
        text("SecretAccessKey"),
        text("SessionToken"),
        text("Expiration")
    );
    for format in ["env", "env-no-export"] {
        let script = format!(
            "eval \"$(\"{}\" credential-process app --format {format})\"\n\
             printf %s \"$AWS_ACCESS_KEY_ID|$AWS_SECRET_ACCESS_KEY|$AWS_SESSION_TOKEN|$AWS_CREDENTIAL_EXPIRATION\"",
            binary().display()
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]);
        world.in_here(&mut shell);
        assert_eq!(Ran::of(&mut shell).ok(), expected, "{format}");
    }
    for (format, begin) in [
        ("fish", "set -gx AWS_ACCESS_KEY_ID ASIA"),
        ("powershell", "$Env:AWS_ACCESS_KEY_ID=\"ASIA"),
        ("windows-cmd", "set AWS_ACCESS_KEY_ID=ASIA"),
        ("process", "{\"Version\":1,"),
    ] {
        let printed = world
            .run(&["credential-process", "app", "--format", format])
            .ok();
        assert!(
            printed.starts_with(begin) && printed.ends_with('\n'),
            "{format}: {printed}"
        );
    }
    assert_eq!(world.calls(), 1);
}

#[test]
fn processes_that_call_each_other_are_an_error_with_the_chain() {
    let world = World::new();
    let url = world.aws.endpoint_url();
    let brs = binary();
    let config = format!(
        "[profile a]\nregion = eu-west-1\nendpoint_url = {url}\ncredential_process = {brs} credential-process app\n\
         [profile b]\nregion = eu-west-1\nendpoint_url = {url}\ncredential_process = {brs} credential-process hub\n",
        brs = brs.display()
    );
    world.write(".aws/config", &config);
    let session = |name: &str, role: &str, profile: &str| {
        format!(
            "[sessions.{name}]\nmethod = \"sts\"\nrole_arn = \"{role}\"\nprofile_name = \"{profile}\"\n"
        )
    };
    world.configure(&format!(
        "{}{}",
        session("app", ROLE, "b"),
        session("hub", HUB, "a")
    ));
    let stderr = world.run(&["credential-process", "app"]).fails(2);
    assert!(
        stderr.ends_with("another source): app → hub → app\n"),
        "{stderr}"
    );
    assert_eq!(world.calls(), 0);
    // A chain that ends is none.
    world.configure(&format!(
        "{}{}",
        session("app", ROLE, "b"),
        world.session("hub", HUB, "")
    ));
    world.run(&["credential-process", "app"]).ok();
    assert_eq!(world.calls(), 2);
}

#[test]
fn without_a_directory_for_the_cache_it_goes_on_with_a_warning() {
    let world = World::new();
    let mut command = world.brs(&["credential-process", "app"]);
    let ran = Ran::of(command.env_remove("XDG_RUNTIME_DIR"));
    assert!(ran.stderr.contains("credentials are not shared"), "{ran:?}");
    ran.key();
}
