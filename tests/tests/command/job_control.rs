//! Signals and terminals: a program under `exec` behaves as it does without.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;

use rustix::process::{Pid, Signal, kill_process};

use super::pseudo_terminal::PseudoTerminal;
use super::*;

/// A shell in which `brs exec app --` is `x`.
fn shell(world: &World) -> PseudoTerminal {
    let mut shell = PseudoTerminal::shell(world);
    shell.send(&format!(
        "x() {{ '{}' exec app -- \"$@\"; }}; echo set=$((1+1))\n",
        binary().display()
    ));
    shell.until("set=2");
    shell
}

#[test]
fn ctrl_c_is_the_programs() {
    let world = World::new();
    let mut shell = shell(&world);
    shell.send(
        "x sh -c 'trap \"echo caught=$((2+2)); exit 5\" INT; echo ready=$((1+2)); \
         while :; do sleep 0.05; done'\n",
    );
    shell.until("ready=3");
    shell.send("\u{3}");
    shell.until("caught=4");
    shell.send("echo status=$?=\n");
    shell.until("status=5=");
    // A program that does not catch it ends, and brs by the same signal.
    shell.send("x sh -c 'echo ready=$((1+2)); exec sleep 60'\n");
    shell.until("ready=3");
    shell.send("\u{3}");
    shell.send("echo status=$?=\n");
    shell.until("status=130=");
    shell.send("exit\n");
    shell.end();
}

#[test]
fn ctrl_backslash_is_the_programs() {
    let world = World::new();
    let mut shell = shell(&world);
    shell.send(
        "x sh -c 'trap \"echo caught=$((2+2)); exit 6\" QUIT; echo ready=$((1+2)); \
         while :; do sleep 0.05; done'\n",
    );
    shell.until("ready=3");
    shell.send("\u{1c}");
    shell.until("caught=4");
    shell.send("echo status=$?=\n");
    shell.until("status=6=");
    shell.send("exit\n");
    shell.end();
}

#[test]
fn ctrl_z_and_fg_stop_and_continue_both() {
    let world = World::new();
    let mut shell = shell(&world);
    for _ in 0..3 {
        shell.send("x sh -c 'echo ready=$((1+2)); while read -r line; do echo got=$line=; done'\n");
        shell.until("ready=3");
        shell.send("\u{1a}");
        shell.until("Stopped");
        shell.send("echo shell=$((3+4))\n");
        shell.until("shell=7");
        shell.send("fg\n");
        shell.send("hello\n");
        shell.until("got=hello=");
        shell.send("\u{4}");
        shell.send("echo status=$?=\n");
        shell.until("status=0=");
    }
    shell.send("exit\n");
    shell.end();
}

#[test]
fn a_program_that_stops_itself_gives_the_terminal_back() {
    let world = World::new();
    let mut shell = shell(&world);
    shell.send("x sh -c 'echo ready=$((1+2)); kill -STOP $$; echo back=$((4+5))'\n");
    shell.until("ready=3");
    shell.until("Stopped");
    shell.send("fg\n");
    shell.until("back=9");
    shell.send("echo status=$?=\n");
    shell.until("status=0=");
    shell.send("exit\n");
    shell.end();
}

#[test]
fn the_window_s_size_reaches_the_program() {
    let world = World::new();
    let mut shell = shell(&world);
    shell.send("x bash -c 'trap \"stty size; exit 0\" WINCH; echo ready=$((1+2)); while :; do sleep 0.05; done'\n");
    shell.until("ready=3");
    shell.resize(123);
    shell.until("40 123");
    shell.send("exit\n");
    shell.end();
}

#[test]
fn an_interactive_shell_has_the_terminal() {
    let world = World::new();
    let mut shell = shell(&world);
    shell.send("x bash --norc --noprofile -i\n");
    shell.send("echo in=$BRS_SESSION=\n");
    shell.until("in=app=");
    shell.send("sh -c 'echo ready=$((1+2)); exec sleep 60'\n");
    shell.until("ready=3");
    shell.send("\u{1a}");
    shell.until("Stopped");
    shell.send("kill %1; exit 4\n");
    shell.send("exit 4\n");
    shell.send("echo status=$?=\n");
    shell.until("status=4=");
    shell.send("exit\n");
    shell.end();
}

#[test]
fn stdin_is_the_programs() {
    let world = World::new();
    let mut command = world.direct(&["exec", "app", "--", "cat"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"hello").unwrap();
    assert_eq!(Ran::from(child.wait_with_output().unwrap()).stdout, "hello");
}

#[test]
fn signals_are_passed_on() {
    let world = World::new();
    for (name, signal) in [
        ("TERM", Signal::TERM),
        ("HUP", Signal::HUP),
        ("USR1", Signal::USR1),
        ("USR2", Signal::USR2),
        ("CONT", Signal::CONT),
        ("WINCH", Signal::WINCH),
    ] {
        let script = format!("trap 'exit 9' {name}; echo ready; sleep 60 & wait; kill $!");
        let mut child = world
            .direct(&["exec", "app", "--", "bash", "-c", &script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(9), "{name}");
    }
}

#[test]
fn interrupts_of_this_process_alone_do_nothing() {
    let world = World::new();
    let mut child = world
        .direct(&[
            "exec",
            "app",
            "--",
            "sh",
            "-c",
            "echo ready; read -r go; exit 8",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    for signal in [Signal::INT, Signal::QUIT] {
        kill_process(Pid::from_child(&child), signal).unwrap();
    }
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(8));
}

#[test]
fn the_program_s_end_is_brs_s() {
    let world = World::new();
    let status = |script: &str| {
        world
            .direct(&["exec", "app", "--", "sh", "-c", script])
            .status()
            .unwrap()
    };
    for code in [0, 1, 2, 3, 77, 126, 127, 255] {
        assert_eq!(status(&format!("exit {code}")).code(), Some(code));
    }
    for (name, number) in [
        ("TERM", 15),
        ("KILL", 9),
        ("INT", 2),
        ("HUP", 1),
        ("SEGV", 11),
        ("USR1", 10),
    ] {
        let status = status(&format!("kill -{name} $$"));
        assert_eq!(status.signal(), Some(number), "{name}");
        // A core file of brs would hold credentials.
        assert!(!status.core_dumped(), "{name}");
    }
}

#[test]
fn what_was_ignored_stays_ignored() {
    let world = World::new();
    let script = format!(
        "trap '' HUP INT; '{}' exec app -- sh -c 'kill -HUP $$; kill -INT $$; kill -HUP $PPID; echo alive'",
        binary().display()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    world.in_here(&mut command);
    assert_eq!(Ran::of(&mut command).ok(), "alive\n");
}

#[test]
fn a_program_that_goes_into_the_background_does_not_hold_brs_up() {
    let world = World::new();
    let script = "setsid sleep 60 >/dev/null 2>&1 & echo $!";
    let ran = Ran::of(&mut world.direct(&["exec", "app", "--", "sh", "-c", script]));
    let daemon = ran
        .ok()
        .trim()
        .parse()
        .ok()
        .and_then(Pid::from_raw)
        .unwrap();
    kill_process(daemon, Signal::KILL).unwrap();
}
