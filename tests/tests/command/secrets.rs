//! Where no secret may be: command lines, environments, messages, other users' eyes.

use super::exec::Running;
use super::*;
use brs_tests::embedded_aws::Failure;

/// Every process that can be looked at: what `/proc` has of it under this name.
fn of_all_processes(name: &str) -> Vec<(String, String)> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let ids = processes.filter_map(|process| process.file_name().into_string().ok());
    let ids = ids.filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()));
    // Of processes that cannot be read nobody reads a secret.
    let read = |id: String| {
        let bytes = fs::read(format!("/proc/{id}/{name}")).ok()?;
        Some((id, String::from_utf8_lossy(&bytes).into_owned()))
    };
    ids.filter_map(read).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn no_secret_is_in_command_lines_or_environments() {
    let world = World::new();
    let running = Running::start(&mut world.direct(&["exec", "app"]));
    running.asks();
    let token = running.variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"].clone();
    let program = running.variables["pid"].clone();
    let secrets = world.aws.issued_secrets();
    assert!(secrets.len() >= 3, "{}", secrets.len());
    for name in ["cmdline", "environ"] {
        let all = of_all_processes(name);
        assert!(all.iter().any(|(id, _)| *id == program), "{name}");
        for (id, text) in all {
            for secret in &secrets {
                assert!(
                    !text.contains(secret.as_str()),
                    "a secret is in /proc/{id}/{name}"
                );
            }
            // The token is in the program's environment, and nowhere else.
            let holds_token = text.contains(&token);
            assert_eq!(
                holds_token,
                name == "environ" && id == program,
                "/proc/{id}/{name}"
            );
        }
    }
    let limits = fs::read_to_string(format!("/proc/{}/status", running.child.id())).unwrap();
    assert!(limits.contains("Pid:"));
    running.end();
}

#[test]
fn no_secret_is_in_messages_however_many_there_are() {
    let world = World::new();
    let hub = world.session("hub", HUB, "");
    let app = format!("[sessions.app]\nmethod = \"sts\"\nrole_arn = \"{ROLE}\"\nbase = \"hub\"\n");
    world.configure(&format!("{hub}{app}"));
    let mut seen = String::new();
    for format in ["text", "json"] {
        let global = ["-vvv", "--log-format", format];
        for words in [
            &["credential-process", "app", "--force"][..],
            &["whoami", "app"],
            &["exec", "app", "--", "true"],
            &["cache", "list"],
            &["cache", "clear"],
        ] {
            let ran = world.run(&[&global[..], words].concat());
            seen += &ran.stderr;
            if words[0] != "credential-process" {
                seen += &ran.ok();
            }
        }
        world.aws.fail_next([Failure::AccessDenied]);
        seen += &world
            .run(&[&global[..], &["credential-process", "app", "--no-cache"]].concat())
            .stderr;
    }
    assert!(seen.contains("refresh started"), "{seen}");
    for secret in world.aws.issued_secrets() {
        assert!(!seen.contains(&secret), "a secret is in: {seen}");
    }
}

#[test]
fn colours_are_for_terminals() {
    let world = World::new();
    let stderr = world.run(&["credential-process", "none"]).fails(2);
    assert!(!stderr.contains('\u{1b}'), "{stderr}");
    let command = format!("'{}' credential-process none", binary().display());
    for (before, has_colours) in [
        ("TERM=xterm", true),
        ("TERM=xterm NO_COLOR=1", false),
        ("TERM=dumb", false),
    ] {
        let script = format!("{before} {command}; echo ended=$((1+1))");
        let mut terminal = pseudo_terminal::PseudoTerminal::start(&world, "sh", &["-c", &script]);
        let seen = terminal.until("ended=2");
        assert_eq!(seen.contains('\u{1b}'), has_colours, "{before}: {seen:?}");
        terminal.end();
    }
}
