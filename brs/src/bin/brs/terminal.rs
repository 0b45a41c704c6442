//! The terminal that controls this process, if there is one: where people are asked.

use std::fs::File;
use std::io::IsTerminal as _;

use rustix::process::getpgrp;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

/// The terminal, with its settings as this process found them.
#[derive(Debug)]
pub(crate) struct Terminal {
    device: Option<(File, Termios)>,
}

impl Terminal {
    /// Opens `/dev/tty`, which is the terminal wherever stdin and stdout lead.
    pub(crate) fn of_this_process() -> Self {
        let device = File::options().read(true).write(true).open("/dev/tty");
        let device = device.ok().and_then(|device| {
            let settings = tcgetattr(&device).ok()?;
            Some((device, settings))
        });
        Self { device }
    }

    /// Whether a person can be asked: there is a terminal, and this process is in its foreground.
    pub(crate) fn can_ask(&self) -> bool {
        let device = self.device.as_ref();
        // Reading from the background would stop this process.
        device.is_some_and(|(device, _)| tcgetpgrp(device).is_ok_and(|group| group == getpgrp()))
    }

    /// Puts the settings back that an open prompt has changed: the echo.
    pub(crate) fn restore(&self) {
        if let Some((device, settings)) = &self.device
            && self.can_ask()
            && tcgetattr(device).is_ok_and(|now| now.local_modes != settings.local_modes)
        {
            let _ = tcsetattr(device, OptionalActions::Now, settings);
        }
    }
}

/// Whether stderr shows colours: it is a terminal, and nobody has asked for none.
pub(crate) fn has_colours() -> bool {
    let is_unset = |name| std::env::var_os(name).is_none_or(|value| value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stderr().is_terminal() && is_unset("NO_COLOR") && !is_dumb
}
