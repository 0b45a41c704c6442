//! Where MFA codes come from: functions, commands, TOTP secrets, a prompt.
//!
//! Owns [`MfaTokenProvider`], what the user says. A provider is asked again at each refresh. Which
//! codes have been sent, and what to do about a code that was, is `device`'s and `used`'s: a code
//! works once at AWS, and no two refreshes, sessions or retries of this process send the same one
//! for one device.

pub(crate) mod code;
pub(crate) mod data;
pub(crate) mod device;
mod prompt;
mod totp;
mod used;

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use brs_core::command::{Command, DEFAULT_TIMEOUT, MAX_TIMEOUT};
use brs_core::{Error, SecretSource, SecretString};

/// How long a prompt waits for a person, unless the provider says otherwise.
pub(crate) const PROMPT_TIMEOUT: Duration = Duration::from_secs(300);

/// Any error of a user's function.
pub(crate) type AnyError = Box<dyn StdError + Send + Sync + 'static>;
pub(crate) type Asked = Result<SecretString, AnyError>;
pub(crate) type AsyncFunction =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Asked> + Send>> + Send + Sync>;
pub(crate) type BlockingFunction = Arc<dyn Fn() -> Asked + Send + Sync>;

/// Where the codes of an MFA device come from; asked again at each refresh.
///
/// Goes together with the device's serial number. A code works once at AWS: brs remembers for 90 s
/// what it has sent, and waits for the device's next code (TOTP, commands) or asks once more
/// (functions, prompt) rather than send one twice. A code that AWS refuses is tried once more with
/// the next one, since another process may have used it.
///
/// ```
/// # mod brs { pub use brs_core::*; pub use brs_sts as sts; }
/// use brs::sts::{MfaTokenProvider, Params};
///
/// # fn example() -> Result<(), brs::Error> {
/// let role = Params::new("arn:aws:iam::123456789012:role/admin")
///     .serial_number("arn:aws:iam::123456789012:mfa/alice");
/// let params = role.mfa_token_provider(MfaTokenProvider::prompt());
/// params.validate()
/// # }
/// # example().unwrap();
/// ```
#[derive(Clone)]
#[must_use]
pub struct MfaTokenProvider {
    pub(crate) source: Source,
    pub(crate) timeout: Option<Duration>,
}

#[derive(Clone)]
pub(crate) enum Source {
    Async(AsyncFunction),
    Blocking(BlockingFunction),
    Command(Command),
    Totp(SecretSource),
    Prompt,
    /// As it was read, to be [checked](MfaTokenProvider::checked).
    Data(Arc<data::Data>, Option<Arc<data::Kwargs>>),
}

impl MfaTokenProvider {
    /// Codes from an async function: six digits, blanks around them do no harm.
    ///
    /// It runs where refreshes run, within [its time limit](Self::timeout), and must not block its
    /// thread. A code that was sent already is asked for once more, and is an error if it comes
    /// again.
    ///
    /// ```
    /// # mod brs { pub use brs_core::*; pub use brs_sts as sts; }
    /// # use brs::sts::MfaTokenProvider;
    /// let provider = MfaTokenProvider::function(|| async {
    ///     // Ask a vault, a phone, a person in a chat.
    ///     Ok::<_, std::io::Error>("123456")
    /// });
    /// ```
    pub fn function<F, R, C, E>(function: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<C, E>> + Send + 'static,
        C: Into<SecretString>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let function: AsyncFunction = Arc::new(move || {
            let asked = function();
            Box::pin(async move { asked.await.map(Into::into).map_err(Into::into) })
        });
        Self::of(Source::Async(function))
    }

    /// Codes from a synchronous function, which may block: it runs on its own thread.
    ///
    /// It cannot be interrupted: while a call still runs past [its time limit](Self::timeout),
    /// further tries fail at once.
    ///
    /// ```
    /// # mod brs { pub use brs_core::*; pub use brs_sts as sts; }
    /// # use brs::sts::MfaTokenProvider;
    /// let provider = MfaTokenProvider::blocking_function(|| std::fs::read_to_string("/run/mfa/code"));
    /// ```
    pub fn blocking_function<F, C, E>(function: F) -> Self
    where
        F: Fn() -> Result<C, E> + Send + Sync + 'static,
        C: Into<SecretString>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let function: BlockingFunction =
            Arc::new(move || function().map(Into::into).map_err(Into::into));
        Self::of(Source::Blocking(function))
    }

    /// Codes that a command prints: the last stand-alone number of six digits on its standard
    /// output.
    ///
    /// `id=000123` yields `000123`; `otp123456` and numbers of five or seven digits yield nothing.
    /// No shell is run. The command's own [time limit](Command::timeout) applies, 30 s unless set.
    ///
    /// ```
    /// # mod brs { pub use brs_core::*; pub use brs_sts as sts; }
    /// # use brs::sts::MfaTokenProvider;
    /// # fn example() -> Result<(), brs::Error> {
    /// use brs::command::Command;
    /// use std::time::Duration;
    ///
    /// let command = Command::new(["ykman", "oath", "accounts", "code", "--single", "aws:alice"])?
    ///     .env("LANG", "C")?
    ///     .timeout(Duration::from_secs(20))?;
    /// let provider = MfaTokenProvider::command(command);
    /// // The same from one text, split as a POSIX shell does.
    /// let provider = MfaTokenProvider::command(Command::parse("ykman oath accounts code --single 'aws:alice'")?);
    /// # Ok(())
    /// # }
    /// # example().unwrap();
    /// ```
    pub fn command(command: Command) -> Self {
        Self::of(Source::Command(command))
    }

    /// Codes made from the device's secret (TOTP, RFC 6238): base32 as AWS shows it when a virtual
    /// device is created, or an `otpauth://totp/…` URI.
    ///
    /// Of base32, blanks, hyphens, padding and case do not matter; it means SHA-1, six digits and
    /// steps of 30 s, as AWS's devices have; a URI's `period` is 1 to 90 s. The secret is
    /// as good as the device: keep it apart from the base credentials.
    ///
    /// The secret is fetched once, when the session is built.
    ///
    /// ```
    /// # mod brs { pub use brs_core::*; pub use brs_sts as sts; }
    /// use brs::SecretSource;
    /// use brs::sts::MfaTokenProvider;
    ///
    /// let provider = MfaTokenProvider::totp("JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP");
    /// let provider = MfaTokenProvider::totp(SecretSource::file("/run/secrets/alice-mfa"));
    /// let provider = MfaTokenProvider::totp(SecretSource::env("ALICE_MFA_SECRET"));
    /// ```
    pub fn totp(secret: impl Into<SecretSource>) -> Self {
        Self::of(Source::Totp(secret.into()))
    }

    /// Codes that a person types at the terminal of this process, without echo; one prompt at a
    /// time per process.
    ///
    /// If there is no terminal, refreshes fail with an error that reports it. A session with a
    /// prompt is interactive: it asks when somebody needs credentials and waits for the answer, and
    /// never asks unless a caller needs credentials; so are the sessions on top of it.
    ///
    /// ```
    /// # mod brs { pub use brs_core::*; pub use brs_sts as sts; }
    /// # use brs::sts::MfaTokenProvider;
    /// let provider = MfaTokenProvider::prompt();
    /// ```
    pub fn prompt() -> Self {
        Self::of(Source::Prompt)
    }

    /// How long one answer may take: above zero, at most 12 h. Default: 30 s for functions, the
    /// command's own limit for commands, 5 minutes in all for prompts; a TOTP needs none.
    ///
    /// A refresh may take this long, and 35 s for the device's next code and 30 s for AWS more.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// With the Python package's arguments for a command.
    pub(crate) fn with_kwargs(mut self, kwargs: data::Kwargs) -> Self {
        if let Source::Data(_, slot) = &mut self.source {
            *slot = Some(Arc::new(kwargs));
        }
        self
    }

    fn of(source: Source) -> Self {
        Self {
            source,
            timeout: None,
        }
    }

    /// The provider with its values checked, what came as data being made into one of the others.
    pub(crate) fn checked(&self) -> Result<Self, Error> {
        if let Source::Data(data, kwargs) = &self.source {
            let provider = data.provider()?;
            return match kwargs {
                Some(kwargs) => kwargs.apply(&provider)?,
                None => provider,
            }
            .checked();
        }
        if self
            .timeout
            .is_some_and(|limit| limit.is_zero() || limit > MAX_TIMEOUT)
        {
            let message =
                "the time limit of an MFA token provider must be above zero and at most 12 hours";
            return Err(Error::validation(message)
                .with_param("mfa_token_provider.timeout")
                .unrecoverable());
        }
        Ok(self.clone())
    }

    /// How long one answer may take.
    pub(crate) fn limit(&self) -> Duration {
        match &self.source {
            Source::Totp(_) => Duration::ZERO,
            Source::Prompt => self.timeout.unwrap_or(PROMPT_TIMEOUT),
            Source::Command(command) => {
                let own = command.time_limit();
                self.timeout.map_or(own, |limit| limit.min(own))
            }
            Source::Async(_) | Source::Blocking(_) | Source::Data(..) => {
                self.timeout.unwrap_or(DEFAULT_TIMEOUT)
            }
        }
    }
}

impl fmt::Debug for MfaTokenProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_tuple("MfaTokenProvider");
        match &self.source {
            Source::Async(_) => out.field(&format_args!("function")),
            Source::Blocking(_) => out.field(&format_args!("blocking function")),
            Source::Command(command) => out.field(command),
            Source::Totp(secret) => out.field(&format_args!("totp, {secret:?}")),
            Source::Prompt => out.field(&format_args!("prompt")),
            Source::Data(data, _) => out.field(data),
        };
        out.finish()
    }
}

#[cfg(test)]
mod tests;
