//! Asking a person: at the terminal, wherever stdin and stdout lead, or not at all.

use super::pseudo_terminal::PseudoTerminal;
use super::*;

/// With a session `mfa` that asks for a code, and `app` on top of it.
fn asking() -> World {
    let world = World::new();
    world.aws.add_mfa_code(DEVICE, "864213");
    let asks = format!(
        "mfa_token_provider = {{ prompt = true }}\n\
         assume_role = {{ role_arn = \"{HUB}\", serial_number = \"{DEVICE}\" }}\n"
    );
    let mfa = format!("[sessions.mfa]\nmethod = \"sts\"\n{}{asks}", world.keys());
    let app = format!("[sessions.app]\nmethod = \"sts\"\nrole_arn = \"{ROLE}\"\nbase = \"mfa\"\n");
    world.configure(&format!("{mfa}{app}"));
    world
}

#[test]
fn without_a_terminal_it_names_what_to_run() {
    let world = asking();
    for (words, named) in [
        (
            &["credential-process", "mfa"][..],
            "run `brs whoami mfa` once in a terminal",
        ),
        (
            &["credential-process", "app"],
            "run `brs whoami app` once in a terminal",
        ),
        (
            &["whoami", "app"],
            "run `brs whoami app` once in a terminal",
        ),
        (
            &["exec", "app", "--", "true"],
            "run `brs whoami app` once in a terminal",
        ),
        (
            &["exec", "--env", "app", "--", "true"],
            "run `brs whoami app` once in a terminal",
        ),
    ] {
        let stderr = world.run(words).fails(3);
        assert!(stderr.contains(named), "{words:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
    assert_eq!(world.aws.requests().len(), 0);
}

#[test]
fn the_prompt_is_on_the_terminal_while_stdin_and_stdout_are_pipes() {
    let world = asking();
    // A wrong code on stdin, which must not be read.
    let script = format!(
        "printf '000000\\n' | \"{}\" credential-process app 2>\"$HOME/errors\" | \
         cat >\"$HOME/printed\"; echo ended=$((1+1))",
        binary().display()
    );
    let mut terminal = PseudoTerminal::start(&world, "sh", &["-c", &script]);
    terminal.until(DEVICE);
    while terminal.echoes() {
        std::thread::yield_now();
    }
    terminal.send("864213\n");
    terminal.until("ended=2");
    terminal.end();
    let printed = fs::read_to_string(world.path("printed")).unwrap();
    assert!(key_in(&printed).starts_with("ASIA"), "{printed}");
    assert_eq!(fs::read_to_string(world.path("errors")).unwrap(), "");
    assert!(
        !terminal.everything().contains("864213"),
        "the code was shown"
    );
    // The set of the one that could ask serves those that cannot.
    let key = world.run(&["credential-process", "app"]).key();
    assert_eq!((key, world.calls()), (key_in(&printed), 2));
}

#[test]
fn a_prompt_that_nobody_answers_gives_the_echo_back() {
    let world = asking();
    let script = format!(
        "\"{}\" credential-process mfa --timeout 1s; echo status=$?",
        binary().display()
    );
    let mut terminal = PseudoTerminal::start(&world, "sh", &["-c", &script]);
    terminal.until(DEVICE);
    terminal.until("status=1");
    assert!(terminal.echoes());
    terminal.end();
}

#[test]
fn a_login_that_has_expired_is_3() {
    let world = World::new();
    let config = "[sso-session corp]\nsso_start_url = https://corp.awsapps.com/start\nsso_region = us-east-1\n\
                  [profile sso]\nregion = eu-west-1\nsso_session = corp\n\
                  sso_account_id = 123456789012\nsso_role_name = app\n";
    world.write(".aws/config", config);
    let stderr = world
        .run(&["credential-process", "--profile", "sso"])
        .fails(3);
    assert!(
        stderr.contains("run `aws sso login --profile sso`"),
        "{stderr}"
    );
}
