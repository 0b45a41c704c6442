//! A terminal at which a person sits: the person's end is the test's.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::World;

/// How long a program may take to say something.
const LIMIT: Duration = Duration::from_secs(30);

/// A terminal with a program on it.
pub(crate) struct PseudoTerminal {
    person: File,
    seen: Arc<(Mutex<String>, Condvar)>,
    child: Child,
    /// Up to where `until` has looked.
    read: usize,
}

impl PseudoTerminal {
    /// Starts a program of this world, with the terminal as its own.
    pub(crate) fn start(world: &World, program: &str, words: &[&str]) -> Self {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let path = ptsname(&person, Vec::new()).unwrap().into_string().unwrap();
        let program_end = || File::options().read(true).write(true).open(&path).unwrap();
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", program]).args(words);
        world.in_here(&mut command);
        command.env("TERM", "dumb").env("PS1", "$ ");
        let (stdin, stdout, stderr) = (program_end(), program_end(), program_end());
        let child = command
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .unwrap();
        // The program's ends are its own: the person's reads an error once it has ended.
        drop(command);
        let person = File::from(person);
        let seen = Arc::new((Mutex::new(String::new()), Condvar::new()));
        let (mut reader, written) = (person.try_clone().unwrap(), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                written.0.lock().unwrap().push_str(&text);
                written.1.notify_all();
            }
        });
        Self {
            person,
            seen,
            child,
            read: 0,
        }
    }

    /// A shell with job control.
    pub(crate) fn shell(world: &World) -> Self {
        let mut shell = Self::start(world, "bash", &["--norc", "--noprofile", "-i"]);
        // What is typed is shown, too: only what is computed can be told from it.
        shell.send(
            "set +o history; bind 'set enable-bracketed-paste off' 2>/dev/null; echo up=$((1+1))\n",
        );
        shell.until("up=2");
        shell
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.person.write_all(text.as_bytes()).unwrap();
    }

    /// Waits for a text that was not there before, and gives what came until then.
    #[track_caller]
    pub(crate) fn until(&mut self, text: &str) -> String {
        let (seen, more) = &*self.seen;
        let mut seen = seen.lock().unwrap();
        loop {
            if let Some(place) = seen[self.read..].find(text) {
                let end = self.read + place + text.len();
                let found = seen[self.read..end].to_owned();
                self.read = end;
                return found;
            }
            let (now, waited) = more.wait_timeout(seen, LIMIT).unwrap();
            seen = now;
            assert!(
                !waited.timed_out(),
                "no `{text}` in: {}",
                &seen[self.read..]
            );
        }
    }

    pub(crate) fn everything(&self) -> String {
        self.seen.0.lock().unwrap().clone()
    }

    pub(crate) fn resize(&self, columns: u16) {
        let size = Winsize {
            ws_row: 40,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&self.person, size).unwrap();
    }

    /// The terminal's settings, seen from the person's end.
    pub(crate) fn echoes(&self) -> bool {
        let settings = rustix::termios::tcgetattr(&self.person).unwrap();
        settings
            .local_modes
            .contains(rustix::termios::LocalModes::ECHO)
    }

    /// Waits for the program's end.
    pub(crate) fn end(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for PseudoTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
