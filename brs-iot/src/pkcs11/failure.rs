//! What goes wrong at a token, and the error a user sees.
//!
//! Owns the wording for PKCS#11's return values. The text that `cryptoki` has for them is the
//! specification's prose and is left out; the value's name (`CKR_…`) is the error's code.

use brs_core::Error;
use cryptoki::error::{Error as ModuleError, RvError};

/// A failed step on a token's thread.
#[derive(Debug)]
pub(super) enum Failure {
    /// The module failed while `doing` something.
    Module {
        error: ModuleError,
        doing: &'static str,
    },
    /// Something that was asked for is not there, or not only once.
    Missing(Error),
    /// The signature does not fit the certificate.
    Mismatch,
    /// A login is due, and its PIN has to be asked for first: nothing was tried.
    PinWanted,
    /// Anything that a new session cannot fix.
    Other(Error),
}

impl Failure {
    /// For `map_err`: the module failed while `doing` something.
    pub(super) fn while_(doing: &'static str) -> impl Fn(ModuleError) -> Self {
        move |error| Self::Module { error, doing }
    }

    /// Whether a new session may do better: the old one is dead, logged out, or another's by now.
    pub(super) fn may_be_stale(&self) -> bool {
        match self {
            Self::Module {
                error: ModuleError::Pkcs11(value, _),
                ..
            } => !is_about_the_pin(*value) && !is_about_the_mechanism(*value),
            Self::Missing(_) | Self::Mismatch => true,
            Self::Module { .. } | Self::PinWanted | Self::Other(_) => false,
        }
    }

    /// Whether another key or another certificate would fix it.
    pub(super) fn is_about_what_was_found(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::Mismatch)
    }

    /// Whether the token cannot do what it was asked to with this key.
    pub(super) fn is_incapable(&self) -> bool {
        match self {
            Self::Module {
                error: ModuleError::Pkcs11(value, _),
                ..
            } => is_about_the_mechanism(*value),
            Self::Module { error, .. } => {
                matches!(
                    error,
                    ModuleError::NotSupported | ModuleError::NullFunctionPointer
                )
            }
            Self::Mismatch => true,
            Self::Missing(_) | Self::PinWanted | Self::Other(_) => false,
        }
    }

    /// Whether it may be that the token cannot do this, or that it was something passing.
    pub(super) fn is_unclear(&self) -> bool {
        let Self::Module {
            error: ModuleError::Pkcs11(value, _),
            ..
        } = self
        else {
            return false;
        };
        matches!(
            value,
            RvError::FunctionFailed | RvError::GeneralError | RvError::ArgumentsBad
        )
    }

    /// The error a user sees; `what` is the token or module.
    pub(super) fn into_error(self, what: &dyn std::fmt::Display) -> Error {
        match self {
            Self::Module { error, doing } => module_error(error, doing, what),
            Self::Missing(error) | Self::Other(error) => error,
            Self::PinWanted => needs_a_pin(what),
            Self::Mismatch => Error::configuration(format!(
                "{what}: the key's signature does not match the certificate: give the certificate \
                 that was issued for this key"
            ))
            .unrecoverable(),
        }
    }
}

/// The error for a login without a PIN.
pub(super) fn needs_a_pin(token: &dyn std::fmt::Display) -> Error {
    let text = format!("{token} needs a PIN: give it as a value, a file, a variable or a function");
    Error::configuration(text).unrecoverable().with_param("pin")
}

fn is_about_the_pin(value: RvError) -> bool {
    matches!(
        value,
        RvError::PinIncorrect
            | RvError::PinInvalid
            | RvError::PinLenRange
            | RvError::PinExpired
            | RvError::PinLocked
            | RvError::UserPinNotInitialized
            // A person who cancelled, perhaps at a PIN pad, is not asked again at once.
            | RvError::FunctionCanceled
            | RvError::Cancel
    )
}

fn is_about_the_mechanism(value: RvError) -> bool {
    matches!(
        value,
        RvError::MechanismInvalid
            | RvError::MechanismParamInvalid
            | RvError::KeyTypeInconsistent
            | RvError::KeySizeRange
            | RvError::KeyFunctionNotPermitted
            | RvError::FunctionNotSupported
            | RvError::DataInvalid
            | RvError::DataLenRange
    )
}

/// Whether a refused login means that this PIN is not the token's.
pub(super) fn refuses_the_pin(error: &ModuleError) -> bool {
    let ModuleError::Pkcs11(value, _) = error else {
        return false;
    };
    matches!(
        value,
        RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange
    )
}

/// Whether a failed login may or may not have been for the PIN.
pub(super) fn says_nothing(error: &ModuleError) -> bool {
    let ModuleError::Pkcs11(value, _) = error else {
        return false;
    };
    matches!(
        value,
        RvError::GeneralError | RvError::FunctionFailed | RvError::DeviceError
    )
}

fn module_error(error: ModuleError, doing: &str, what: &dyn std::fmt::Display) -> Error {
    let value = match error {
        ModuleError::Pkcs11(value, _) => value,
        ModuleError::LibraryLoading(error) => {
            return Error::configuration(format!(
                "{what} cannot be loaded: it must be a PKCS#11 library for this machine's \
                 architecture, and the libraries that it needs must be installed"
            ))
            .unrecoverable()
            .with_source(error);
        }
        ModuleError::MissingSymbol(symbol) => {
            return Error::configuration(format!(
                "{what} is not a PKCS#11 library: it has no `{symbol}`"
            ))
            .unrecoverable();
        }
        error => return Error::connection(format!("{what}: {doing} failed")).with_source(error),
    };
    let code = code(value);
    let person = |text: String| Error::configuration(text).unrecoverable();
    match value {
        RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => person(format!(
            "{what} refused the PIN ({code}): it is not tried again, since tokens lock after wrong \
             PINs; give another PIN"
        ))
        .with_param("pin"),
        RvError::PinLocked => person(format!(
            "{what} has locked its PIN ({code}): unlock it with the token's own tool (security officer's PIN or PUK)"
        ))
        .with_param("pin"),
        RvError::PinExpired => {
            person(format!("{what} requires its PIN to be changed ({code}): change it with the \
                            token's own tool")).with_param("pin")
        }
        RvError::UserPinNotInitialized => {
            person(format!("{what} has no user PIN yet ({code}): set it with the token's own tool")).with_param("pin")
        }
        RvError::FunctionCanceled | RvError::Cancel => {
            person(format!("{what}: {doing} was cancelled ({code}): refresh again to get another \
                            prompt")).with_param("pin")
        }
        RvError::UserAnotherAlreadyLoggedIn | RvError::SessionReadWriteSoExists => person(format!(
            "{what}: {doing} failed ({code}): the security officer is logged in; let that program log out"
        )),
        RvError::DeviceRemoved | RvError::TokenNotPresent | RvError::TokenNotRecognized => {
            Error::connection(format!("{what} was removed: {doing} failed ({code}); plug it in again"))
        }
        value if is_about_the_mechanism(value) => {
            person(format!("{what} cannot do this with the key: {doing} failed ({code})"))
        }
        _ => Error::connection(format!("{what}: {doing} failed ({code})")),
    }
    .with_code(code)
}

/// A module's error in a word or two, for lists.
pub(super) fn reason(error: &ModuleError) -> String {
    match error {
        ModuleError::Pkcs11(value, _) => code(*value),
        _ => "not a PKCS#11 error".into(),
    }
}

/// `PinIncorrect` as PKCS#11 spells it.
fn code(value: RvError) -> String {
    if let RvError::UnknownErrorCode(number) = value {
        return format!("CKR {number:#x}");
    }
    let mut code = "CKR".to_owned();
    for c in format!("{value:?}").chars() {
        if c.is_ascii_uppercase() {
            code.push('_');
        }
        code.push(c.to_ascii_uppercase());
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use cryptoki::context::Function;

    fn failure(value: RvError) -> Failure {
        Failure::while_("signing")(ModuleError::Pkcs11(value, Function::Sign))
    }

    #[test]
    fn errors_name_token_step_and_pkcs11_code() {
        let error = failure(RvError::FunctionFailed).into_error(&"token `x`");
        assert_eq!(
            error.to_string(),
            "token `x`: signing failed (CKR_FUNCTION_FAILED)"
        );
        assert_eq!(
            (error.code(), error.is_retryable()),
            (Some("CKR_FUNCTION_FAILED"), true)
        );
        assert_eq!(
            code(RvError::UnknownErrorCode(0x8000_0001)),
            "CKR 0x80000001"
        );
    }

    #[test]
    fn only_a_person_mends_a_pin() {
        for value in [
            RvError::PinIncorrect,
            RvError::PinLocked,
            RvError::PinExpired,
            RvError::UserPinNotInitialized,
            RvError::FunctionCanceled,
            RvError::Cancel,
        ] {
            let failure = failure(value);
            // Neither tried again in a new session nor taken for a passing failure of a signature.
            assert!(!failure.may_be_stale() && !failure.is_unclear() && !failure.is_incapable());
            assert!(failure.into_error(&"token `x`").is_unrecoverable());
        }
    }

    #[test]
    fn a_failure_without_a_reason_is_not_taken_for_inability() {
        for value in [
            RvError::GeneralError,
            RvError::FunctionFailed,
            RvError::ArgumentsBad,
        ] {
            assert!(failure(value).is_unclear() && !failure(value).is_incapable());
        }
        assert!(!failure(RvError::MechanismInvalid).is_unclear());
    }

    #[test]
    fn a_dead_session_is_worth_a_new_one_and_an_impossible_mechanism_is_not() {
        for value in [
            RvError::SessionHandleInvalid,
            RvError::CryptokiNotInitialized,
            RvError::DeviceRemoved,
        ] {
            assert!(failure(value).may_be_stale() && !failure(value).is_incapable());
        }
        assert!(
            !failure(RvError::MechanismInvalid).may_be_stale()
                && failure(RvError::MechanismInvalid).is_incapable()
        );
    }
}
