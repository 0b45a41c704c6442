//! A person at a terminal of their own, and a program that asks them for a code.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use brs_tests::EmbeddedAws;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

const SERIAL_NUMBER: &str = "arn:aws:iam::123456789012:mfa/probe";
const ROLE: &str = "arn:aws:iam::123456789012:role/demo";

/// A terminal: the person's end, and the program's.
fn terminal() -> (File, File) {
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&person).unwrap();
    unlockpt(&person).unwrap();
    let path = ptsname(&person, Vec::new()).unwrap().into_string().unwrap();
    (
        File::from(person),
        File::options().read(true).write(true).open(path).unwrap(),
    )
}

/// A program that asks at that terminal: in a session of its own, which the terminal controls.
fn start(aws: &EmbeddedAws, terminal: &File) -> Child {
    Command::new("setsid")
        .args([
            "--ctty",
            "--wait",
            env!("CARGO_BIN_EXE_probe"),
            ROLE,
            &aws.endpoint_url(),
        ])
        .env("AWS_ACCESS_KEY_ID", aws.access_key_id())
        .env("AWS_SECRET_ACCESS_KEY", aws.secret_access_key())
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_CONFIG_FILE", "/nonexistent/config")
        .env("PROBE_MFA", "prompt")
        .stdin(terminal.try_clone().unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Reads the screen up to the question, and answers once nobody sees what is typed.
fn answer(person: &mut File, terminal: &File, question: &str, typed: &str) -> String {
    let (mut screen, mut byte) = (String::new(), [0]);
    while !screen.ends_with(question) {
        person.read_exact(&mut byte).unwrap();
        screen.push(char::from(byte[0]));
    }
    while tcgetattr(terminal)
        .unwrap()
        .local_modes
        .contains(LocalModes::ECHO)
    {
        std::thread::yield_now();
    }
    writeln!(person, "{typed}").unwrap();
    screen
}

#[test]
fn a_person_types_the_code_and_is_asked_again_for_what_is_no_good() {
    let aws = EmbeddedAws::start();
    aws.require_mfa(ROLE);
    aws.add_mfa_code(SERIAL_NUMBER, "271828");
    let (mut person, terminal) = terminal();
    let program = start(&aws, &terminal);
    let question = format!("MFA code for {SERIAL_NUMBER}: ");
    let mut screen = answer(&mut person, &terminal, &question, "314159");
    // AWS does not know this one; what is no code, and what was sent, are noticed before.
    screen += &answer(
        &mut person,
        &terminal,
        &format!("That code was refused. {question}"),
        "314159",
    );
    screen += &answer(
        &mut person,
        &terminal,
        &format!("wait for the next one. {question}"),
        "271828",
    );
    let output = program.wait_with_output().unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        line,
        "eu-west-1 arn:aws:sts::123456789012:assumed-role/demo/brs-session\n"
    );
    assert!(
        !screen.contains("314159") && !screen.contains("271828"),
        "what was typed is seen: {screen}"
    );
    let sent: Vec<_> = aws
        .mfa_attempts()
        .into_iter()
        .map(|attempt| (attempt.token_code, attempt.accepted))
        .collect();
    assert_eq!(
        sent,
        [("314159".to_owned(), false), ("271828".to_owned(), true)]
    );
}

#[test]
fn a_person_is_not_asked_again_because_of_trouble_at_aws() {
    let aws = EmbeddedAws::start();
    aws.fail_always(Some(brs_tests::embedded_aws::Failure::Status(500)));
    let (mut person, terminal) = terminal();
    let program = start(&aws, &terminal);
    answer(
        &mut person,
        &terminal,
        &format!("MFA code for {SERIAL_NUMBER}: "),
        "271828",
    );
    let output = program.wait_with_output().unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    assert!(
        line.starts_with("request error") && line.contains("an error on its side"),
        "{line}"
    );
    assert_eq!(aws.calls("AssumeRole"), 1);
}
