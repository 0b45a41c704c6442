//! Asking a person at the terminal: one prompt at a time in a process, without echo.
//!
//! A prompt cannot be interrupted. When its refresh has given up it stays on the terminal until
//! somebody presses Enter, and further prompts fail at once and say so. Ctrl-C is SIGINT to this
//! process, as ever; where that ends it, the shell puts the terminal's echo back.

use brs_core::kit::PerProcess;
use brs_core::{Blocking, Error};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// Whose turn it is: others wait for theirs, within their own time limits.
static TURN: PerProcess<Mutex<()>> = PerProcess::new();
/// Where prompts run, the abandoned one included.
static PLACE: PerProcess<Blocking> = PerProcess::new();

/// Asks for a code and gives what was typed.
pub(super) async fn ask(text: String) -> Result<Zeroizing<String>, Error> {
    ask_at(text, None).await
}

/// Asks at that terminal; `None`: at the one that controls this process.
async fn ask_at(text: String, terminal: Option<String>) -> Result<Zeroizing<String>, Error> {
    let turns = TURN.get();
    let _turn = turns.lock().await;
    let place = PLACE.get();
    if place.is_busy() {
        return Err(Error::connection(
            "an earlier prompt for an MFA code is still open on the terminal: press Enter there, then try again",
        ));
    }
    place.run(move || read(&text, terminal.as_deref())).await?
}

fn read(text: &str, terminal: Option<&str>) -> Result<Zeroizing<String>, Error> {
    let mut config = rpassword::ConfigBuilder::new();
    if let Some(path) = terminal {
        config = config.input_file_path(path).output_file_path(path);
    }
    rpassword::prompt_password_with_config(text, config.build()).map(Zeroizing::new).map_err(|error| {
        let message = match error.kind() {
            std::io::ErrorKind::Interrupted | std::io::ErrorKind::UnexpectedEof => {
                "the prompt for the MFA code was left without an answer"
            }
            _ => {
                "there is no terminal to ask for an MFA code: start the program in one, or use another MFA token \
                 provider (TOTP, a command, a function)"
            }
        };
        Error::configuration(message).with_param("mfa_token_provider").with_source(error).unrecoverable()
    })
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, Write as _};

    use futures_util::FutureExt as _;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{LocalModes, tcgetattr};

    use super::*;

    /// The end of a terminal at which a person sits, the other, which keeps it alive, and that
    /// one's path.
    fn terminal() -> (File, File, String) {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let path = ptsname(&person, Vec::new()).unwrap().into_string().unwrap();
        let other = File::options().read(true).write(true).open(&path).unwrap();
        (File::from(person), other, path)
    }

    fn read_until(person: &mut File, end: &str) -> String {
        let (mut seen, mut byte) = (String::new(), [0]);
        while !seen.ends_with(end) {
            person.read_exact(&mut byte).unwrap();
            seen.push(char::from(byte[0]));
        }
        seen
    }

    /// One test, since a process has one prompt at a time.
    #[tokio::test]
    async fn a_person_is_asked_without_echo_one_at_a_time() {
        let (mut person, other, path) = terminal();
        let watched = other.try_clone().unwrap();
        let typing = std::thread::spawn(move || {
            for code in ["123456\n", "654321\n"] {
                read_until(&mut person, "Code: ");
                // The prompt is on the screen a moment before the echo is off.
                while tcgetattr(&watched)
                    .unwrap()
                    .local_modes
                    .contains(LocalModes::ECHO)
                {
                    std::thread::yield_now();
                }
                person.write_all(code.as_bytes()).unwrap();
            }
            person
        });
        let (first, second) = tokio::join!(
            ask_at("Code: ".into(), Some(path.clone())),
            ask_at("Code: ".into(), Some(path.clone()))
        );
        assert_eq!(
            (first.unwrap().as_str(), second.unwrap().as_str()),
            ("123456", "654321")
        );
        let mut person = typing.join().unwrap();

        // A refresh that gives up leaves its prompt behind; nobody asks beside it.
        let mut given_up = Box::pin(ask_at("Code: ".into(), Some(path.clone())));
        assert!(given_up.as_mut().now_or_never().is_none());
        let seen = read_until(&mut person, "Code: ");
        assert!(
            !seen.contains("654321"),
            "the terminal showed what was typed: {seen}"
        );
        drop(given_up);
        let error = ask_at("Code: ".into(), Some(path.clone()))
            .await
            .unwrap_err();
        assert!(
            error.is_retryable() && error.to_string().contains("press Enter"),
            "{error}"
        );
        person.write_all(b"\n").unwrap();
        while PLACE.get().is_busy() {
            tokio::task::yield_now().await;
        }

        let error = ask_at("Code: ".into(), Some("/nonexistent/terminal".into()))
            .await
            .unwrap_err();
        assert!(
            error.is_unrecoverable() && error.to_string().contains("no terminal"),
            "{error}"
        );
        drop((person, other));
    }
}
