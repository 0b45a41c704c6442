//! Processes of brs that call each other by profiles, found before they do so for ever.
//!
//! A profile with `credential_process = brs credential-process a`, on which the session `a` stands,
//! would start brs without end. A variable holds the sessions that wait for each other: a session
//! that is among them already is a mistake, which is shown with the whole chain.
//!
//! The environment of a process cannot be changed safely once it has threads, so a process that is
//! about to ask its source starts itself again in its own place, with its name in the variable. The
//! process id beside the names tells it from a process that it started. With a credential set in
//! the cache, nothing is asked, and nothing starts again.

use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crate::args::SessionChoice;
use crate::exit::Failure;
use crate::open::Before;

/// Holds `PID:name,name…`: the sessions that wait for each other, and the process of the last.
const VARIABLE: &str = "BRS_CHAIN";

/// What is said of a repeat, between the session's name and the chain.
const CIRCLE: &str =
    " needs itself, by profiles whose `credential_process` is brs (give one another source): ";

/// The failure of a process that this one has started: a repeat is reported as it is.
pub(super) fn reported_in(failure: Failure) -> Failure {
    let Failure::Credentials(error) = &failure else {
        return failure;
    };
    let causes = brs::kit::causes(error, &[]);
    let reported = causes.split_once(CIRCLE).and_then(|(before, chain)| {
        let (_, name) = before.rsplit_once("the session `")?;
        Some(format!("the session `{name}{CIRCLE}{}", chain.trim_end()))
    });
    reported.map_or(failure, Failure::Usage)
}

/// The sessions that wait for each other, this process's last.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    names: Vec<String>,
    /// The variable says so already.
    is_in_variable: bool,
}

impl Chain {
    /// The chain that this process is a part of.
    pub(super) fn of_environment(
        choice: &SessionChoice,
        config: Option<&Path>,
    ) -> Result<Self, Failure> {
        let value = std::env::var(VARIABLE).unwrap_or_default();
        Self::of(&value, std::process::id(), &name(choice, config))
    }

    fn of(value: &str, process: u32, name: &str) -> Result<Self, Failure> {
        let (writer, names) = value.split_once(':').unwrap_or(("", ""));
        let mut names: Vec<String> = names
            .split(',')
            .filter(|name| !name.is_empty())
            .map(|name| brs::kit::clean(name, &[]))
            .collect();
        let is_in_variable =
            writer.parse() == Ok(process) && names.last().is_some_and(|last| last == name);
        if !is_in_variable {
            let is_repeated = names.iter().any(|known| known == name);
            names.push(name.to_owned());
            if is_repeated {
                return Err(Failure::Usage(format!(
                    "the session `{name}`{CIRCLE}{}",
                    names.join(" → ")
                )));
            }
        }
        Ok(Self {
            names,
            is_in_variable,
        })
    }

    /// Whether this process has started itself again, or another one of brs waits for it.
    pub(super) fn has_begun(&self) -> bool {
        self.is_in_variable || self.is_waited_for()
    }

    /// Whether another process of brs waits for this one.
    pub(super) fn is_waited_for(&self) -> bool {
        self.names.len() > 1
    }

    /// What runs before the source is asked.
    pub(super) fn before(&self) -> Before {
        let chain = self.clone();
        Before(Arc::new(move || {
            if chain.is_in_variable {
                return None;
            }
            Some(chain.start_again())
        }))
    }

    /// Starts this process again in its own place; comes back with what went wrong.
    fn start_again(&self) -> String {
        let mut words = std::env::args_os();
        let name = words.next().unwrap_or_else(|| OsString::from("brs"));
        // The running file, even if another one has its name by now.
        let program = if cfg!(target_os = "linux") {
            Ok("/proc/self/exe".into())
        } else {
            std::env::current_exe()
        };
        let error = match program {
            Ok(program) => Command::new(program)
                .arg0(name)
                .args(words)
                .env(
                    VARIABLE,
                    format!("{}:{}", std::process::id(), self.names.join(",")),
                )
                .exec(),
            Err(error) => error,
        };
        format!("brs was not started again, with its session in the variable `{VARIABLE}`: {error}")
    }
}

/// What tells this session from others.
fn name(choice: &SessionChoice, config: Option<&Path>) -> String {
    let mut name = match (&choice.name, &choice.profile, &choice.method) {
        (Some(name), _, _) => name.clone(),
        (_, Some(profile), _) => format!("profile {profile}"),
        (_, _, method) => {
            // The parameters may hold secrets: what tells them apart is enough.
            let mut digest = DefaultHasher::new();
            choice.params.hash(&mut digest);
            format!(
                "{} {:08x}",
                method.as_deref().unwrap_or_default(),
                digest.finish() >> 32
            )
        }
    };
    if let Some(role_arn) = &choice.role_arn {
        name += &format!(" as {role_arn}");
    }
    if let (Some(_), Some(config)) = (&choice.name, config) {
        name += &format!(" of {}", config.display());
    }
    brs::kit::clean(&name.replace(',', " "), &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeat_shows_the_chain() {
        let Err(Failure::Usage(text)) = Chain::of("7:app,hub", 8, "app") else {
            panic!("accepted");
        };
        assert!(text.ends_with(": app → hub → app"), "{text}");
    }

    #[test]
    fn a_process_that_started_itself_again_is_no_repeat() {
        let chain = Chain::of("8:hub,app", 8, "app").unwrap();
        assert!(chain.is_in_variable);
        assert_eq!(chain.names, ["hub", "app"]);
        assert!(Chain::of("9:hub,app", 8, "app").is_err());
        let chain = Chain::of("9:hub", 8, "app").unwrap();
        assert!(!chain.is_in_variable);
        assert_eq!(chain.names, ["hub", "app"]);
    }

    #[test]
    fn what_others_left_in_the_variable_does_no_harm() {
        for value in ["", ":", "x", "x:", "-1:,,", ",,,", "app"] {
            let chain = Chain::of(value, 8, "app").unwrap();
            assert_eq!(chain.names, ["app"], "{value}");
        }
    }

    #[test]
    fn a_repeat_is_reported_through_the_processes_between() {
        let Err(Failure::Usage(text)) = Chain::of("7:app,hub", 8, "app") else {
            panic!("accepted");
        };
        let cause =
            std::io::Error::other(format!("exited with code 2. Stderr: brs: error: {text}\n"));
        let failed = Failure::Credentials(brs::Error::credential("not loaded").with_source(cause));
        assert_eq!(reported_in(failed).to_string(), text);
        let other = Failure::Credentials(brs::Error::credential("not loaded"));
        assert_eq!(reported_in(other).to_string(), "not loaded");
    }

    #[test]
    fn sessions_are_told_apart() {
        let named = |name: &str| SessionChoice::named(name);
        let method = |params: &str| SessionChoice {
            method: Some("sts".to_owned()),
            params: Some(params.to_owned()),
            ..SessionChoice::default()
        };
        let config = Path::new("/c.toml");
        let names = [
            name(&named("a"), None),
            name(&named("a"), Some(config)),
            name(&method("{}"), None),
            name(&method("{\"x\":1}"), None),
            name(
                &SessionChoice {
                    profile: Some("a".to_owned()),
                    ..SessionChoice::default()
                },
                None,
            ),
        ];
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
    }
}
