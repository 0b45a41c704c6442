//! The one error type of brs: cloneable, since all waiters of a flight share its failure.
//!
//! An [`Error`] has a [kind](ErrorKind), a message that names the thing and the remedy, and the
//! structured fields a program may want to look at: AWS's code and status, the method, the
//! parameter, further details. Strategies build errors with one of the five constructors and the
//! `with_…` methods; its [`Recovery`] decides how the engine paces further tries. Messages and details
//! never hold a secret key, a session token, a PIN or a one-time code; `Display` never repeats what
//! `source()` says.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// The detail that names the session in which a chain of sessions failed.
const HOP: &str = "hop";

/// What went wrong, where, and what to do about it.
///
/// Cheap to clone; all clones share one inner value.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

/// The five kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A value given to brs is wrong: outside its limits, of the wrong type, an unknown name.
    Validation,
    /// What brs was told to use does not fit together or does not exist: files, commands, profiles,
    /// features.
    Configuration,
    /// The source answered, but not with usable credentials.
    Credential,
    /// The source was not reached, or did not answer in time.
    Connection,
    /// The source answered with an error of its own.
    Request,
}

/// What may help after a failure: it decides how the engine paces further tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Recovery {
    /// An immediate retry may succeed: a time-out, a lost connection, trouble at the service.
    Soon,
    /// The source wants fewer calls.
    Throttled,
    /// An immediate retry would fail the same way, but the condition may clear without
    /// intervention.
    Later,
    /// Only a person can fix it: access denied, an expired login, a wrong PIN or parameter.
    Person,
}

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    code: Option<String>,
    status: Option<u16>,
    method: Option<Cow<'static, str>>,
    param: Option<String>,
    details: BTreeMap<String, String>,
    recovery: Recovery,
    refresh_allowed_at: Option<SystemTime>,
    source: Option<Arc<dyn StdError + Send + Sync + 'static>>,
}

/// For authors of strategies: building errors.
impl Error {
    /// A value given to brs is wrong.
    pub fn validation(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Validation, message)
    }

    /// What brs was told to use does not fit together or does not exist.
    pub fn configuration(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Configuration, message)
    }

    /// The source answered, but not with usable credentials.
    pub fn credential(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Credential, message)
    }

    /// The source was not reached or did not answer in time; retryable unless said otherwise.
    pub fn connection(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Connection, message)
    }

    /// The source answered with an error of its own.
    pub fn request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Request, message)
    }

    fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner {
            kind,
            message: message.into(),
            code: None,
            status: None,
            method: None,
            param: None,
            details: BTreeMap::new(),
            recovery: match kind {
                ErrorKind::Connection => Recovery::Soon,
                ErrorKind::Validation => Recovery::Person,
                _ => Recovery::Later,
            },
            refresh_allowed_at: None,
            source: None,
        }))
    }

    /// What may help. Default: [`Recovery::Soon`] for connection errors, [`Recovery::Person`] for
    /// validation errors, else [`Recovery::Later`].
    #[must_use]
    pub fn with_recovery(self, recovery: Recovery) -> Self {
        self.change(|inner| inner.recovery = recovery)
    }

    /// [`Recovery::Person`]: access denied, an expired login, a wrong PIN.
    #[must_use]
    pub fn unrecoverable(self) -> Self {
        self.with_recovery(Recovery::Person)
    }

    /// [`Recovery::Soon`]: a time-out, trouble at the service.
    #[must_use]
    pub fn retryable(self) -> Self {
        self.with_recovery(Recovery::Soon)
    }

    /// [`Recovery::Throttled`]: the source wants fewer calls.
    #[must_use]
    pub fn throttled(self) -> Self {
        self.with_recovery(Recovery::Throttled)
    }

    /// The source's own error code, such as `AccessDenied`.
    #[must_use]
    pub fn with_code(self, code: impl Into<String>) -> Self {
        self.change(|inner| inner.code = Some(code.into()))
    }

    /// The HTTP status of the source's answer.
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        self.change(|inner| inner.status = Some(status))
    }

    /// The method (registry name) that failed. The session fills it in where a strategy does not.
    #[must_use]
    pub fn with_method(self, method: impl Into<Cow<'static, str>>) -> Self {
        self.change(|inner| inner.method = Some(method.into()))
    }

    /// The parameter at fault, as a path: `assume_role.duration`.
    #[must_use]
    pub fn with_param(self, param: impl Into<String>) -> Self {
        self.change(|inner| inner.param = Some(param.into()))
    }

    /// The same error of a map of parameters that stands under this name in another one: its
    /// parameter's path begins there.
    #[must_use]
    pub fn under_param(self, outer: &str) -> Self {
        let Some(param) = &self.0.param else {
            return self.with_param(outer);
        };
        let path = format!("{outer}.{param}");
        let named = |path: &str| format!("parameter `{path}`");
        let message = match self.0.message.strip_prefix(&named(param)) {
            Some(rest) => format!("{}{rest}", named(&path)).into(),
            None => self.0.message.clone(),
        };
        self.change(|inner| inner.message = message)
            .with_param(path)
    }

    /// One more structured detail. Never a secret: details are shown by `Debug` and in events.
    #[must_use]
    pub fn with_detail(self, key: impl Into<String>, value: impl fmt::Display) -> Self {
        self.change(|inner| {
            inner.details.insert(key.into(), value.to_string());
        })
    }

    /// The error beneath this one.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn StdError + Send + Sync + 'static>>) -> Self {
        self.change(|inner| inner.source = Some(Arc::from(source.into())))
    }

    /// The error is raised from memory, without asking the source, which may be asked again at `at`.
    /// `Display` adds that.
    #[must_use]
    pub fn with_refresh_allowed_at(self, at: SystemTime) -> Self {
        self.change(|inner| inner.refresh_allowed_at = Some(at))
    }

    pub(crate) fn or_method(self, method: &'static str) -> Self {
        if self.0.method.is_some() {
            self
        } else {
            self.with_method(method)
        }
    }

    /// Says in which of the sessions beneath each other the failure was, unless that is said
    /// already.
    pub(crate) fn at_hop(self, hop: &str) -> Self {
        if self.0.details.contains_key(HOP) {
            return self;
        }
        let message = format!("hop {hop}: {}", self.0.message);
        self.change(|inner| inner.message = message.into())
            .with_detail(HOP, hop)
    }

    fn change(mut self, edit: impl FnOnce(&mut Inner)) -> Self {
        edit(Arc::make_mut(&mut self.0));
        self
    }
}

/// Looking at an error.
impl Error {
    /// The brs error within another error, such as that of a failed SDK call.
    ///
    /// An SDK client reports credentials that could not be loaded as an error of its own; what went
    /// wrong and what to do is in the brs error beneath it.
    ///
    /// ```
    /// # mod brs { pub use brs_core::*; }
    /// use brs::{Error, Recovery};
    ///
    /// fn alert(error: &(dyn std::error::Error + 'static)) {
    ///     match Error::find(error) {
    ///         Some(error) if error.recovery() == Recovery::Person => eprintln!("act: {error}"),
    ///         Some(error) => eprintln!("credentials: {error}"),
    ///         None => eprintln!("the call itself failed: {error}"),
    ///     }
    /// }
    /// ```
    pub fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        crate::kit::shown::find(error)
    }

    /// Which of the five kinds this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The source's own error code, such as `AccessDenied`.
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// The HTTP status of the source's answer.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// The method (registry name) that failed.
    pub fn method(&self) -> Option<&str> {
        self.0.method.as_deref()
    }

    /// The parameter at fault, as a path.
    pub fn param(&self) -> Option<&str> {
        self.0.param.as_deref()
    }

    /// Further details by name: what was missing, a request id, what is registered.
    pub fn details(&self) -> &BTreeMap<String, String> {
        &self.0.details
    }

    /// What may help.
    pub fn recovery(&self) -> Recovery {
        self.0.recovery
    }

    /// Whether an immediate retry may succeed: [`Recovery::Soon`] and [`Recovery::Throttled`].
    pub fn is_retryable(&self) -> bool {
        matches!(self.0.recovery, Recovery::Soon | Recovery::Throttled)
    }

    /// Whether only a person can fix this: [`Recovery::Person`].
    pub fn is_unrecoverable(&self) -> bool {
        self.0.recovery == Recovery::Person
    }

    /// Whether the source wants fewer calls: [`Recovery::Throttled`].
    pub fn is_throttled(&self) -> bool {
        self.0.recovery == Recovery::Throttled
    }

    /// For an error raised from memory, without asking the source: when the source may be asked
    /// again.
    pub fn refresh_allowed_at(&self) -> Option<SystemTime> {
        self.0.refresh_allowed_at
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(at) = self.0.refresh_allowed_at {
            write!(
                f,
                " (remembered from the last refresh; the next one is allowed at {})",
                crate::kit::iso8601::iso8601(at)
            )?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        let mut out = f.debug_struct("Error");
        out.field("kind", &inner.kind)
            .field("message", &inner.message);
        for (name, value) in [
            ("code", inner.code.as_deref()),
            ("method", inner.method.as_deref()),
            ("param", inner.param.as_deref()),
        ] {
            if let Some(value) = value {
                out.field(name, &value);
            }
        }
        if let Some(status) = inner.status {
            out.field("status", &status);
        }
        if !inner.details.is_empty() {
            out.field("details", &inner.details);
        }
        out.field("recovery", &inner.recovery);
        if let Some(source) = &inner.source {
            // Display, not Debug: foreign errors may hold more in their fields than they mean to
            // say.
            out.field("source", &format_args!("{source}"));
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Validation => "validation",
            Self::Configuration => "configuration",
            Self::Credential => "credential",
            Self::Connection => "connection",
            Self::Request => "request",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn fields_are_what_the_author_said() {
        let error = Error::request("role `x` may not be assumed: check its trust policy")
            .unrecoverable()
            .with_code("AccessDenied")
            .with_status(403)
            .with_method("sts")
            .with_param("role_arn")
            .with_detail("request_id", "abc")
            .with_source(std::io::Error::other("beneath"));
        assert_eq!(error.kind(), ErrorKind::Request);
        assert_eq!(
            (error.code(), error.status()),
            (Some("AccessDenied"), Some(403))
        );
        assert_eq!(
            (error.method(), error.param()),
            (Some("sts"), Some("role_arn"))
        );
        assert_eq!(error.details()["request_id"], "abc");
        assert!(error.is_unrecoverable() && !error.is_retryable());
        assert_eq!(error.source().unwrap().to_string(), "beneath");
    }

    #[test]
    fn display_does_not_repeat_its_source() {
        let error = Error::connection("no answer").with_source(std::io::Error::other("refused"));
        assert_eq!(error.to_string(), "no answer");
        assert!(format!("{error:?}").contains("refused"));
    }

    #[test]
    fn the_innermost_hop_is_the_one_that_is_named() {
        let error = Error::request("denied")
            .unrecoverable()
            .at_hop("`sts` of role `b`")
            .at_hop("`sts` of role `a`");
        assert_eq!(error.to_string(), "hop `sts` of role `b`: denied");
        assert!(error.is_unrecoverable() && error.details()["hop"] == "`sts` of role `b`");
    }

    #[test]
    fn an_error_of_inner_parameters_names_the_whole_path() {
        let error = Error::validation("parameter `role_arn`: wrong").with_param("role_arn");
        let error = error.under_param("of");
        assert_eq!(error.to_string(), "parameter `of.role_arn`: wrong");
        assert_eq!(error.param(), Some("of.role_arn"));
        let error = Error::validation("`a` and `b` differ").with_param("a");
        let error = error.under_param("of").under_param("of");
        assert_eq!(error.to_string(), "`a` and `b` differ");
        assert_eq!(error.param(), Some("of.of.a"));
        let error = Error::validation("parameters: wrong").under_param("of");
        assert_eq!(error.param(), Some("of"));
    }

    #[test]
    fn the_last_word_on_recovery_counts() {
        let error = Error::request("slow down").unrecoverable().throttled();
        assert!(error.is_throttled() && error.is_retryable() && !error.is_unrecoverable());
        let error = error.unrecoverable();
        assert!(!error.is_throttled() && !error.is_retryable() && error.is_unrecoverable());
        let error = Error::connection("not trusted").with_recovery(Recovery::Later);
        assert!(!error.is_retryable() && !error.is_unrecoverable());
    }

    #[test]
    fn an_error_is_found_within_those_of_others() {
        let own = Error::credential("log in").unrecoverable();
        let foreign = std::io::Error::other(std::io::Error::other(own));
        assert_eq!(Error::find(&foreign).unwrap().recovery(), Recovery::Person);
        assert!(Error::find(&std::io::Error::other("x")).is_none());
    }

    #[test]
    fn changing_a_clone_leaves_the_original_alone() {
        let shared = Error::connection("no answer");
        let changed = shared.clone().unrecoverable();
        assert!(shared.is_retryable() && !changed.is_retryable());
    }

    #[test]
    fn a_remembered_error_says_when_the_source_may_be_asked_again() {
        let error = Error::connection("no answer")
            .with_refresh_allowed_at(UNIX_EPOCH + Duration::from_secs(90));
        assert!(
            error.to_string().contains("1970-01-01T00:01:30Z"),
            "{error}"
        );
    }
}
