//! Logging in to a token, as its user or for one signature: whether a PIN is tried at all, and what
//! came of it.
//!
//! Runs on the token's thread with a PIN that was asked for elsewhere (`asking.rs`). A PIN is not
//! tried if other code in the process is logged in, if the token refused it before (`pin.rs`
//! remembers), where it is shorter or longer than the token's PINs, or on a token's last try.

use brs_core::{Error, SecretString};
use cryptoki::context::Pkcs11 as Module;
use cryptoki::error::{Error as ModuleError, RvError};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;

use super::failure::{Failure, needs_a_pin, refuses_the_pin, says_nothing};
use super::pin::{self, Account};
use super::select::Identity;
use super::token::KeyRef;
use brs_core::SecretSource;

/// The PIN that was accepted, and where it came from.
pub(super) struct Accepted {
    pub(super) pin: SecretString,
    pub(super) source: SecretSource,
}

/// Where to log in.
pub(super) struct At<'a> {
    pub(super) module: &'a Module,
    pub(super) slot: Slot,
    pub(super) session: &'a Session,
    pub(super) token: &'a Identity,
}

/// Logs in as the token wants it and gives the PIN that was accepted.
pub(super) fn login(
    at: &At<'_>,
    info: &TokenInfo,
    key: &KeyRef,
    pin: Option<&SecretString>,
) -> Result<Option<Accepted>, Failure> {
    if !info.login_required() || is_logged_in(at.session) {
        return Ok(None);
    }
    if key.pin.is_some() && pin.is_none() {
        return Err(Failure::PinWanted);
    }
    match at.log_in(UserType::User, info, pin) {
        Ok(()) => Ok(pin.zip(key.pin.as_ref()).map(|(pin, source)| Accepted {
            pin: pin.clone(),
            source: source.clone(),
        })),
        Err(Failure::Module {
            error: ModuleError::Pkcs11(RvError::UserAlreadyLoggedIn, _),
            ..
        }) => Ok(None),
        Err(failure) => Err(failure),
    }
}

impl At<'_> {
    pub(super) fn info(&self) -> Result<TokenInfo, Failure> {
        self.module
            .get_token_info(self.slot)
            .map_err(Failure::while_("reading the token's information"))
    }

    /// Tries a PIN, unless the token has refused it before or would lock itself if it were wrong.
    /// `None`: the person types it at the reader.
    pub(super) fn log_in(
        &self,
        user: UserType,
        info: &TokenInfo,
        pin: Option<&SecretString>,
    ) -> Result<(), Failure> {
        let Some(pin) = pin else {
            if !info.protected_authentication_path() {
                return Err(Failure::Other(needs_a_pin(self.token)));
            }
            return self
                .session
                .login(user, None)
                .map_err(Failure::while_("logging in"));
        };
        if info.user_pin_final_try() && !info.user_pin_locked() {
            let text = format!(
                "{} allows one more try before it locks its PIN: log in once with the token's own tool and the right \
                 PIN, then try again",
                self.token
            );
            return Err(Failure::Other(
                Error::configuration(text).unrecoverable().with_param("pin"),
            ));
        }
        if let Some(problem) = pin::out_of_range(pin, info.min_pin_length(), info.max_pin_length())
        {
            let text = format!("{} {problem}", self.token);
            return Err(Failure::Other(
                Error::configuration(text).unrecoverable().with_param("pin"),
            ));
        }
        let account = Account::new(self.token, matches!(user, UserType::ContextSpecific));
        pin::may_be_tried(&account, pin, self.token).map_err(Failure::Other)?;
        let error = match self
            .session
            .login(user, Some(&AuthPin::new(Box::from(pin.expose()))))
        {
            Ok(()) => {
                pin::accept(&account, pin);
                return Ok(());
            }
            Err(error) => error,
        };
        if refuses_the_pin(&error) {
            pin::refuse(&account, pin);
        } else if says_nothing(&error) {
            match self.info() {
                Ok(now) if !has_lost_a_try(info, &now) => pin::doubt(&account, pin),
                _ => pin::refuse(&account, pin),
            }
        }
        Err(Failure::while_("logging in")(error))
    }
}

/// Whether the token counted a wrong PIN, as far as its flags show.
fn has_lost_a_try(before: &TokenInfo, now: &TokenInfo) -> bool {
    (now.user_pin_count_low() && !before.user_pin_count_low())
        || (now.user_pin_final_try() && !before.user_pin_final_try())
        || (now.user_pin_locked() && !before.user_pin_locked())
}

/// Whether any code in the process is logged in, as the token's user.
pub(super) fn is_logged_in(session: &Session) -> bool {
    let info = session.get_session_info();
    info.is_ok_and(|info| {
        matches!(
            info.session_state(),
            SessionState::RoUser | SessionState::RwUser
        )
    })
}
