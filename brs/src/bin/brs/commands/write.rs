//! `brs write`: keeps the keys of a profile in the shared credentials file fresh, for programs that
//! know nothing else.
//!
//! `ini` changes the text, `file` the file. A failure of either, or of the source, is reported and
//! tried again: until then the file has the credentials of before.

mod file;
mod ini;

use std::path::{Path, PathBuf};
use std::time::Duration;

use brs::{Clock as _, Event, SystemClock, TemporaryCredentials};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{SessionChoice, Write as Args};
use crate::exit::{Done, Failure};
use crate::open::{Context, How, Opened};
use crate::profiles;
use file::Outcome;
use ini::Keys;

/// How often the file and the session are looked at if nothing happens, at most and at least: other
/// tools may have changed the keys.
const LOOKS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// How long a failure is waited for, at least and at most.
const RETRIES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What programs use before the keys of a profile.
const BEFORE_KEYS: [&str; 9] = [
    "role_arn",
    "credential_source",
    "web_identity_token_file",
    "sso_session",
    "sso_start_url",
    "sso_account_id",
    "login_session",
    "credential_process",
    // What boto called the session token; botocore reads it first.
    "aws_security_token",
];

pub(super) async fn run(args: Args, cx: &Context) -> Result<Done, Failure> {
    let target = Target::of(&args)?;
    let how = How {
        // In the background there is nobody to ask, and a failure is not the end.
        unattended: !args.once && !cx.terminal.can_ask(),
        ..How::default()
    };
    let mut end = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ]
    .map(signal);
    let opened = cx.open_with(&SessionChoice::named(args.name), how).await?;
    target.warn_of_what_goes_before().await;
    if args.once {
        target.write(&opened.credentials().await?).await?;
        return Ok(Done::Success);
    }
    let [terminate, interrupt, hangup] = end.each_mut();
    let ends = async {
        tokio::select! {
            () = arrival(terminate) => {}
            () = arrival(interrupt) => {}
            () = arrival(hangup) => {}
        }
    };
    tokio::select! {
        never = keep(&opened, &target) => match never {},
        () = ends => Ok(Done::Success),
    }
}

async fn arrival(signal: &mut std::io::Result<tokio::signal::unix::Signal>) {
    match signal {
        Ok(signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

/// Writes each new set, for ever.
async fn keep(opened: &Opened, target: &Target) -> std::convert::Infallible {
    let clock = opened.session.clock();
    let mut events = opened.session.events();
    let mut failures = 0_u32;
    loop {
        let wait = match turn(opened, target).await {
            Ok(set) => {
                failures = 0;
                let left = set
                    .expiration()
                    .map(|at| at.duration_since(clock.now()).unwrap_or_default());
                left.map_or(LOOKS.1, |left| (left / 8).clamp(LOOKS.0, LOOKS.1))
            }
            Err(failure) => {
                let allowed = failure.refresh_allowed_at();
                let allowed = allowed.and_then(|at| at.duration_since(clock.now()).ok());
                let wait = allowed.unwrap_or(RETRIES.0 * 2_u32.saturating_pow(failures.min(6)));
                let wait = wait.clamp(RETRIES.0, RETRIES.1);
                failures = failures.saturating_add(1);
                let profile = &target.profile;
                tracing::warn!(profile, next_try_in = ?wait, "the profile keeps its keys: {failure}");
                wait
            }
        };
        let fresh = async {
            loop {
                match events.next().await {
                    Some(Event::RefreshSucceeded { .. } | Event::Missed { .. }) => return,
                    Some(_) => {}
                    None => std::future::pending().await,
                }
            }
        };
        tokio::select! {
            () = fresh => {}
            () = clock.sleep(wait) => {}
        }
    }
}

async fn turn(opened: &Opened, target: &Target) -> Result<TemporaryCredentials, Failure> {
    let set = opened.credentials().await?;
    // If its source is down, a session may serve an expired set. The file has that, or better.
    if set
        .expiration()
        .is_some_and(|at| at <= SystemClock::new().now())
    {
        return Err(Failure::Machine(
            "the session has only expired credentials".to_owned(),
        ));
    }
    target.write(&set).await?;
    Ok(set)
}

/// The profile of a file.
#[derive(Clone, Debug)]
struct Target {
    path: PathBuf,
    profile: String,
}

impl Target {
    fn of(args: &Args) -> Result<Self, Failure> {
        let profile = args.profile.clone();
        let is_odd = |c: char| c.is_control() || "[]#;\u{feff}".contains(c);
        // `[DEFAULT]` is every profile's to Python.
        if profile.is_empty()
            || profile.trim() != profile
            || profile.contains(is_odd)
            || profile == "DEFAULT"
        {
            return Err(Failure::Usage(
                "the profile of `--profile` has a name that no section can have: use letters, digits, `-`, `_` and \
                 `.`"
                .to_owned(),
            ));
        }
        let path = args
            .file
            .as_deref()
            .map(|path| brs::kit::path::expanded(path).into_owned());
        let path = path.or_else(profiles::credentials_file).ok_or_else(|| {
            Failure::Usage(
                "there is no home directory: name the credentials file with `--file`".to_owned(),
            )
        })?;
        Ok(Self { path, profile })
    }

    async fn write(&self, set: &TemporaryCredentials) -> Result<(), Failure> {
        let (target, set) = (self.clone(), set.clone());
        let written = tokio::task::spawn_blocking(move || target.write_now(&set)).await;
        let written = written.map_err(|error| format!("the file was not changed: {error}"));
        match written.and_then(|written| written) {
            Ok(Outcome::Unchanged) => Ok(()),
            Ok(Outcome::Written) => {
                let (path, profile) = (self.path.display(), &self.profile);
                tracing::info!(%path, profile, "the keys of the profile were replaced");
                Ok(())
            }
            Err(problem) => Err(Failure::Machine(problem)),
        }
    }

    fn write_now(&self, set: &TemporaryCredentials) -> Result<Outcome, file::Problem> {
        let keys = Keys {
            access_key_id: set.access_key_id(),
            secret_access_key: set.secret_access_key(),
            session_token: set.session_token(),
        };
        if !keys.are_writable() {
            return Err(
                "the credentials hold characters that a file cannot have: check their source"
                    .to_owned(),
            );
        }
        file::change(&self.path, |text| ini::set_keys(text, &self.profile, &keys))
    }

    /// What programs use instead of the keys of the profile.
    async fn warn_of_what_goes_before(&self) {
        let files = match profiles::read(Some(&self.path)).await {
            Ok(files) => files,
            Err(failure) => return tracing::warn!("{failure}"),
        };
        let Some(profile) = files.get_profile(&self.profile) else {
            return;
        };
        let config = profiles::config_file();
        let config = config.as_deref().unwrap_or(Path::new("~/.aws/config"));
        for key in BEFORE_KEYS {
            if profile.get(key).is_some_and(|value| !value.is_empty()) {
                tracing::warn!(
                    profile = self.profile,
                    "programs use `{key}` of the profile before its keys: remove it from `{}` or `{}`, or give \
                     another `--profile`",
                    config.display(),
                    self.path.display()
                );
            }
        }
    }
}
