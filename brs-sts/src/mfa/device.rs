//! One MFA device of a session: its serial number, and codes that have not been sent yet.
//!
//! Invariants:
//!
//! 1. A [`Taken`] code is recorded as sent before anybody has it, so no two calls of this process
//!    carry the same one (`two_sessions_share_a_device_and_no_code`, tests of whole sessions).
//! 2. Waiting goes through the session's clock and never beyond the refresh's time limit: where the
//!    next code comes later than that, the error says so at once.
//! 3. What asks does so within the provider's own limit.
//!
//! What differs between providers is what a used or refused code costs: a TOTP and a command are
//! simply read again in the device's next step, a function and a person are asked once more.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use brs_core::command::Command;
use brs_core::{Blocking, Error, RefreshContext};

use super::code::Code;
use super::totp::{self, Totp};
use super::{
    AnyError, Asked, AsyncFunction, BlockingFunction, MfaTokenProvider, Source, prompt, used,
};
use crate::clock::Time;

/// The step of AWS's devices, for providers that do not say theirs.
const STEP: Duration = Duration::from_secs(30);
/// How often a command is run in one go before it counts as one that always prints the same code.
const RUNS: usize = 3;
/// What has to be left for the call itself when a wait for the next code ends.
const FOR_THE_CALL: Duration = Duration::from_secs(1);
/// What a refresh may take beyond the provider's limit: a step, with some slack, and the call.
const BEYOND: Duration = Duration::from_secs(35 + 30);
const PARAM: &str = "mfa_token_provider";

/// The device of a session.
pub(crate) struct Device {
    serial_number: String,
    source: Ready,
    limit: Duration,
}

/// A provider with all it needs.
enum Ready {
    Async(AsyncFunction),
    Blocking(BlockingFunction, Blocking),
    Command(Command),
    Totp(Totp),
    Prompt,
    /// The one code that the user gave, and whether it is spent: AWS would not take it later
    /// either.
    Fixed(Code, AtomicBool),
}

/// A code that is recorded as sent.
#[derive(Debug)]
pub(crate) struct Taken {
    code: Code,
    serial_number: String,
    at: SystemTime,
}

impl Taken {
    pub(crate) fn code(&self) -> &str {
        self.code.expose()
    }

    pub(crate) fn serial_number(&self) -> &str {
        &self.serial_number
    }
}

/// Why a code is asked for.
pub(crate) enum Reason<'a> {
    First,
    /// The call with this code failed: AWS refused it, or trouble came between.
    Again(&'a Taken),
}

impl Device {
    /// The device with its provider, whose values have been checked. Reads the secret of a TOTP.
    pub(crate) async fn new(
        serial_number: &str,
        provider: &MfaTokenProvider,
    ) -> Result<Self, Error> {
        let source = match &provider.source {
            Source::Async(function) => Ready::Async(AsyncFunction::clone(function)),
            Source::Blocking(function) => {
                Ready::Blocking(BlockingFunction::clone(function), Blocking::new())
            }
            Source::Command(command) => Ready::Command(command.clone()),
            Source::Totp(source) => Ready::Totp(totp::load(source).await?),
            Source::Prompt => Ready::Prompt,
            Source::Data(..) => {
                return Box::pin(Self::new(serial_number, &provider.checked()?)).await;
            }
        };
        Ok(Self {
            serial_number: serial_number.to_owned(),
            source,
            limit: provider.limit(),
        })
    }

    /// The device with the one code that the user gave.
    pub(crate) fn fixed(serial_number: &str, code: &str) -> Option<Self> {
        let source = Ready::Fixed(Code::parse(code)?, AtomicBool::new(false));
        Some(Self {
            serial_number: serial_number.to_owned(),
            source,
            limit: Duration::ZERO,
        })
    }

    pub(crate) fn serial_number(&self) -> &str {
        &self.serial_number
    }

    /// How long a refresh with this device may take.
    pub(crate) fn refresh_timeout(&self) -> Option<Duration> {
        match self.source {
            // A fixed code costs no time.
            Ready::Fixed(..) => None,
            Ready::Prompt => Some(self.limit),
            _ => Some(self.limit + BEYOND),
        }
    }

    pub(crate) fn is_prompt(&self) -> bool {
        matches!(self.source, Ready::Prompt)
    }

    /// Whether a refused code may be followed by another one.
    pub(crate) fn has_more(&self) -> bool {
        !matches!(self.source, Ready::Fixed(..))
    }

    /// A code that this process has not sent for the device.
    ///
    /// # Cancel safety
    ///
    /// A code that was taken and then dropped counts as sent.
    pub(crate) async fn code(
        &self,
        reason: Reason<'_>,
        time: &Time,
        cx: &RefreshContext,
    ) -> Result<Taken, Error> {
        match &self.source {
            Ready::Fixed(code, spent) => {
                if spent.swap(true, Ordering::AcqRel) {
                    return Err(self.fixed_is_used());
                }
                self.take(code.clone(), time.now(), cx)
                    .map_err(|_| self.fixed_is_used())
            }
            Ready::Totp(totp) => loop {
                let now = time.now();
                let code = totp.at(now).ok_or_else(|| self.no_code("the TOTP"))?;
                match self.take(code, now, cx) {
                    Ok(taken) => return Ok(taken),
                    Err(_) => self.next_step(now, totp.step(), time, cx).await?,
                }
            },
            Ready::Command(command) => {
                self.after(&reason, time, cx).await?;
                for run in 1..=RUNS {
                    let began = time.now();
                    match self.take(self.run(command, cx).await?, began, cx) {
                        Ok(taken) => return Ok(taken),
                        Err(_) if run < RUNS => self.next_step(began, STEP, time, cx).await?,
                        Err(_) => {}
                    }
                }
                Err(self.used("the command prints the same code again and again"))
            }
            Ready::Async(_) | Ready::Blocking(..) => {
                self.after(&reason, time, cx).await?;
                for _ in 0..2 {
                    if let Ok(taken) = self.take(self.call(cx).await?, time.now(), cx) {
                        return Ok(taken);
                    }
                }
                Err(self.used("the function returns it again"))
            }
            Ready::Prompt => self.ask(&reason, time, cx).await,
        }
    }

    /// A code was not sent after all.
    pub(crate) fn give_back(&self, taken: &Taken) {
        used::give_back(&taken.serial_number, &taken.code);
        if let Ready::Fixed(_, spent) = &self.source {
            spent.store(false, Ordering::Release);
        }
    }

    fn take(&self, code: Code, at: SystemTime, cx: &RefreshContext) -> Result<Taken, Code> {
        if used::take(&self.serial_number, &code, cx.clock()) {
            Ok(Taken {
                code,
                serial_number: self.serial_number.clone(),
                at,
            })
        } else {
            Err(code)
        }
    }

    /// Before a provider is asked again, its device must have moved on.
    async fn after(
        &self,
        reason: &Reason<'_>,
        time: &Time,
        cx: &RefreshContext,
    ) -> Result<(), Error> {
        match reason {
            Reason::First => Ok(()),
            Reason::Again(sent) => self.next_step(sent.at, STEP, time, cx).await,
        }
    }

    /// Waits for the end of the step that `since` was in.
    async fn next_step(
        &self,
        since: SystemTime,
        step: Duration,
        time: &Time,
        cx: &RefreshContext,
    ) -> Result<(), Error> {
        let number = |at: SystemTime| {
            at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() / step.as_nanos()
        };
        loop {
            let now = time.now();
            if number(now) != number(since) {
                return Ok(());
            }
            let into = now
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_nanos()
                % step.as_nanos();
            let left = step - Duration::from_nanos(u64::try_from(into).unwrap_or(0));
            if cx.time_left() < left + FOR_THE_CALL {
                return Err(Error::connection(format!(
                    "the code of MFA device `{}` has been used, and its next one comes in {} s, too late for this \
                     refresh: allow it more with `refresh_timeout`, or use one MFA session (`sts-session-token`) for \
                     many roles",
                    self.serial_number,
                    left.as_secs() + 1,
                ))
                .with_param("refresh_timeout"));
            }
            cx.clock().sleep(left).await;
        }
    }

    async fn run(&self, command: &Command, cx: &RefreshContext) -> Result<Code, Error> {
        let output = command
            .run(cx.clock(), self.limit.min(cx.time_left()))
            .await
            .map_err(|error| of_command(&error))?;
        Code::last_in(output.stdout()).ok_or_else(|| {
            self.no_code(&format!("the command `{}`", command.name()))
                .with_detail("command", command.name())
                .with_detail("problem", "no_code")
                .with_detail("stderr", output.stderr())
        })
    }

    /// Calls the function.
    async fn call(&self, cx: &RefreshContext) -> Result<Code, Error> {
        let limit = self.limit.min(cx.time_left());
        let asked = async {
            match &self.source {
                Ready::Blocking(function, place) => {
                    let function = BlockingFunction::clone(function);
                    place.run(move || function()).await
                }
                Ready::Async(function) => Ok::<Asked, Error>(function().await),
                _ => Ok(Err("not a function".into())),
            }
        };
        let code = tokio::select! {
            biased;
            asked = asked => asked?.map_err(of_function)?,
            () = cx.clock().sleep(limit) => {
                return Err(Error::configuration(format!(
                    "the function for MFA codes did not return within {limit:?}: check the function, or allow it \
                     more time with `timeout`"
                ))
                .with_param(PARAM)
                .retryable());
            }
        };
        Code::parse(code.expose()).ok_or_else(|| self.no_code("the function"))
    }

    /// Asks the person, twice at most.
    async fn ask(
        &self,
        reason: &Reason<'_>,
        time: &Time,
        cx: &RefreshContext,
    ) -> Result<Taken, Error> {
        let device = &self.serial_number;
        let mut text = match reason {
            Reason::First => format!("MFA code for {device}: "),
            Reason::Again(_) => format!("That code was refused. MFA code for {device}: "),
        };
        let mut problem = None;
        for _ in 0..2 {
            let typed = prompt::ask(text).await?;
            let Some(code) = Code::parse(&typed) else {
                text = format!("A code has six digits. MFA code for {device}: ");
                problem = Some(self.no_code("the person at the terminal"));
                continue;
            };
            match self.take(code, time.now(), cx) {
                Ok(taken) => return Ok(taken),
                Err(_) => {
                    text = format!(
                        "That code has been used, wait for the next one. MFA code for {device}: "
                    );
                    problem = Some(self.used("it was typed again"));
                }
            }
        }
        Err(problem.unwrap_or_else(|| self.no_code("the person at the terminal")))
    }

    fn no_code(&self, who: &str) -> Error {
        Error::configuration(format!(
            "{who} gave no code for MFA device `{}`: a code is a number of six digits that stands alone",
            self.serial_number
        ))
        .with_param(PARAM)
    }

    fn used(&self, how: &str) -> Error {
        Error::configuration(format!(
            "the code for MFA device `{}` has been sent before, and {how}: AWS accepts a code once, give the device's \
             next one",
            self.serial_number
        ))
        .with_param(PARAM)
    }

    fn fixed_is_used(&self) -> Error {
        Error::configuration(format!(
            "the fixed `token_code` for MFA device `{}` has been used, and AWS accepts a code once: give an \
             `mfa_token_provider` for a session that refreshes",
            self.serial_number
        ))
        .with_param(PARAM)
        .unrecoverable()
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match self.source {
            Ready::Async(_) => "function",
            Ready::Blocking(..) => "blocking function",
            Ready::Command(_) => "command",
            Ready::Totp(_) => "totp",
            Ready::Prompt => "prompt",
            Ready::Fixed(..) => "fixed code",
        };
        f.debug_struct("Device")
            .field("serial_number", &self.serial_number)
            .field("source", &source)
            .finish()
    }
}

/// A command that fails is a matter of configuration here, whatever its failure is elsewhere.
fn of_command(error: &Error) -> Error {
    let mut out = Error::configuration(format!("no MFA code: {error}"))
        .with_param(PARAM)
        .with_source(error.clone());
    for (name, value) in error.details() {
        out = out.with_detail(name.as_str(), value);
    }
    if error.is_unrecoverable() {
        out = out.unrecoverable();
    } else if error.is_retryable() {
        out = out.retryable();
    }
    out
}

fn of_function(error: AnyError) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => *own,
        Err(other) => Error::configuration("the function for MFA codes failed")
            .with_param(PARAM)
            .with_source(other),
    }
}
