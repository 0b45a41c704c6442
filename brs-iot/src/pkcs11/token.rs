//! What a token's thread owns: one session, logged in, and the keys that were found.
//!
//! A session dies when the token is unplugged, when someone else in the process finalises the
//! module or logs out. Then it is given up, and the work is tried once more in a new one: module
//! initialised, token found by what makes it that token, logged in, key found again. Modules stay
//! loaded for the life of the process and are never finalised, which is not for a library to do.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use brs_core::kit::PerProcess;
use brs_core::{Error, SecretString};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11 as Module};
use cryptoki::error::{Error as ModuleError, RvError};
use cryptoki::mechanism::MechanismType;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use rustls::SignatureScheme;
use rustls::pki_types::CertificateDer;

use super::certificates::{self, OnToken};
use super::failure::{Failure, needs_a_pin};
use super::find::{self, FoundKey};
use super::login::{Accepted, At, is_logged_in, login};
use super::select::{Identity, ObjectSelector, TokenSelector};
use super::sign;
use super::thread::Place;
use brs_core::SecretSource;

/// A user's key on a token.
#[derive(Clone, Debug)]
pub(super) struct KeyRef {
    pub(super) selector: ObjectSelector,
    pub(super) pin: Option<SecretSource>,
}

/// What belongs to a token's thread.
pub(super) struct Desk {
    place: Place,
    open: Option<Open>,
}

struct Open {
    module: Module,
    slot: Slot,
    session: Session,
    mechanisms: Vec<MechanismType>,
    needs_login: bool,
    /// `None` if there is no PIN, or if someone else in the process had logged in before.
    accepted: Option<Accepted>,
    keys: HashMap<(Option<String>, Option<Vec<u8>>), FoundKey>,
}

/// Loaded modules. Unloading one that is initialised leaves its threads and exit handlers without
/// code. A forked child initialises its own, as PKCS#11 demands.
static MODULES: PerProcess<Mutex<HashMap<PathBuf, Module>>> = PerProcess::new();

impl Desk {
    pub(super) fn new(place: Place) -> Self {
        Self { place, open: None }
    }

    /// Closes the session.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// Looks which token is meant.
    pub(super) fn find_token(&self, selector: &TokenSelector) -> Result<Identity, Error> {
        let what = &self.place;
        module(&what.module)
            .and_then(|module| find::token(&module, selector, what))
            .map_err(|f| f.into_error(what))
    }

    /// Looks which key is meant.
    pub(super) fn find_key(
        &mut self,
        key: &KeyRef,
        pin: Option<&SecretString>,
    ) -> Result<FoundKey, Failure> {
        self.check_pin(key, pin)?;
        self.twice(key, pin, |_, found, _| Ok(found.clone()))
    }

    /// Reads the key's certificates and what may lead from them to their root.
    pub(super) fn find_certificates(
        &mut self,
        key: &KeyRef,
        pin: Option<&SecretString>,
        selector: &ObjectSelector,
    ) -> Result<OnToken, Failure> {
        self.twice(key, pin, |open, found, place| {
            certificates::read(&open.session, selector, found, place)
        })
    }

    /// Signs a message and checks the signature.
    pub(super) fn sign(
        &mut self,
        key: &KeyRef,
        pin: Option<&SecretString>,
        scheme: SignatureScheme,
        message: &[u8],
        certificate: &CertificateDer<'_>,
    ) -> Result<Vec<u8>, Failure> {
        self.twice(key, pin, |open, found, place| {
            open.checked_signature(place, (key, pin), found, scheme, (message, certificate))
        })
    }

    /// Does the work, and repeats it in a new session if the current one may be the reason for a
    /// failure.
    fn twice<T>(
        &mut self,
        key: &KeyRef,
        pin: Option<&SecretString>,
        work: impl Fn(&Open, &FoundKey, &Place) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let was_open = self.open.is_some();
        match self.once(key, pin, &work) {
            Err(failure) if failure.may_be_stale() => {
                if !was_open {
                    self.close();
                    return Err(failure);
                }
                if failure.is_about_what_was_found()
                    && let Some(open) = self.open.as_mut().filter(|open| open.is_in_order())
                {
                    // Others use this session: it is not closed because one of them looks for
                    // something else.
                    open.keys.clear();
                    return self.once(key, pin, &work);
                }
                // If the session may not be at fault, a PIN that was accepted a moment ago is not
                // fetched again.
                let accepted = self
                    .open
                    .take()
                    .and_then(|open| open.accepted)
                    .filter(|accepted| {
                        failure.is_unclear()
                            && key
                                .pin
                                .as_ref()
                                .is_some_and(|source| source.is(&accepted.source))
                    });
                tracing::debug!(token = %self.place, "the token's session is no longer usable: \
                                                      opening another");
                let again = self.once(
                    key,
                    pin.or(accepted.as_ref().map(|accepted| &accepted.pin)),
                    &work,
                );
                if again
                    .as_ref()
                    .is_err_and(|again| again.may_be_stale() && !again.is_about_what_was_found())
                {
                    self.close();
                }
                again
            }
            other => other,
        }
    }

    fn once<T>(
        &mut self,
        key: &KeyRef,
        pin: Option<&SecretString>,
        work: impl Fn(&Open, &FoundKey, &Place) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(Open::new(&self.place, key, pin)?),
        };
        let name = (
            key.selector.label.clone(),
            key.selector.id.as_ref().map(|id| id.0.clone()),
        );
        let found = match open.keys.get(&name) {
            Some(found) => found.clone(),
            None => {
                let found = find::key(&open.session, &key.selector, &self.place)?;
                open.keys.insert(name, found.clone());
                found
            }
        };
        let result = work(open, &found, &self.place);
        if found.always_authenticate
            && result
                .as_ref()
                .is_err_and(|failure| !matches!(failure, Failure::PinWanted))
        {
            // A signature without its login stays begun, and the session takes no other.
            self.close();
        }
        result
    }

    /// A session that uses a token which another one logged in to must have its PIN, too.
    fn check_pin(&mut self, key: &KeyRef, pin: Option<&SecretString>) -> Result<(), Failure> {
        let Some(open) = &self.open else {
            return Ok(());
        };
        let Open {
            needs_login: true,
            accepted: Some(accepted),
            ..
        } = open
        else {
            return Ok(());
        };
        let token = &self.place;
        let Some(source) = &key.pin else {
            return Err(Failure::Other(needs_a_pin(token)));
        };
        if source.is(&accepted.source) {
            return Ok(());
        }
        let Some(pin) = pin else {
            return Err(Failure::PinWanted);
        };
        if verify_slices_are_equal(pin.expose().as_bytes(), accepted.pin.expose().as_bytes())
            .is_ok()
        {
            return Ok(());
        }
        if !open.is_in_order() {
            // Then the login to come shows whose PIN is right.
            self.close();
            return Ok(());
        }
        Err(Failure::Other(
            Error::configuration(format!(
                "another session uses {token} with another PIN, which the token accepted: this one \
                 was not tried; give the right PIN or, if it was changed meanwhile, give the new \
                 one to all sessions"
            ))
            .retryable()
            .with_param("pin"),
        ))
    }
}

impl Open {
    /// Opens a session on the place's token and logs in.
    fn new(place: &Place, key: &KeyRef, pin: Option<&SecretString>) -> Result<Self, Failure> {
        let Some(token) = &place.token else {
            return Err(Failure::Other(Error::configuration(format!(
                "{place} is not a token"
            ))));
        };
        let module = module(&place.module)?;
        let slot = find::slot(&module, token)?;
        let info = module
            .get_token_info(slot)
            .map_err(Failure::while_("reading the token's information"))?;
        let mechanisms = module
            .get_mechanism_list(slot)
            .map_err(Failure::while_("listing the mechanisms"))?;
        let session = module
            .open_ro_session(slot)
            .map_err(Failure::while_("opening a session"))?;
        let at = At {
            module: &module,
            slot,
            session: &session,
            token,
        };
        let accepted = login(&at, &info, key, pin)?;
        let needs_login = info.login_required();
        Ok(Self {
            module,
            slot,
            session,
            mechanisms,
            needs_login,
            accepted,
            keys: HashMap::new(),
        })
    }

    /// A signature as TLS wants it, which fits the certificate.
    fn checked_signature(
        &self,
        place: &Place,
        login: (&KeyRef, Option<&SecretString>),
        found: &FoundKey,
        scheme: SignatureScheme,
        (message, certificate): (&[u8], &CertificateDer<'_>),
    ) -> Result<Vec<u8>, Failure> {
        let signature = self.sign(place, login, found, scheme, message)?;
        if found.is_rsa && !(2048..=4096).contains(&(signature.len() * 8)) {
            let bits = signature.len() * 8;
            let text = format!(
                "{place}: an RSA key of {bits} bits is not supported: use one of 2048 to 4096 bits"
            );
            return Err(Failure::Other(Error::configuration(text).unrecoverable()));
        }
        let signature = sign::encoded(scheme, signature).ok_or(Failure::Mismatch)?;
        // A replaced key, another object under an old handle or a faulty token is noticed here, not
        // by the server.
        if sign::fits(scheme, message, &signature, certificate) {
            Ok(signature)
        } else {
            Err(Failure::Mismatch)
        }
    }

    fn sign(
        &self,
        place: &Place,
        (key, pin): (&KeyRef, Option<&SecretString>),
        found: &FoundKey,
        scheme: SignatureScheme,
        message: &[u8],
    ) -> Result<Vec<u8>, Failure> {
        let in_steps = found.always_authenticate;
        let recipe =
            sign::recipe(scheme, message, &self.mechanisms, in_steps).ok_or_else(|| {
                Failure::Other(Error::configuration(format!(
                    "{place} was asked for an unknown signature: {scheme:?}"
                )))
            })?;
        if !in_steps {
            return self
                .session
                .sign(&recipe.mechanism, found.handle, &recipe.data)
                .map_err(Failure::while_("signing"));
        }
        let pin = match (&self.accepted, pin, &key.pin) {
            (Some(accepted), ..) => Some(&accepted.pin),
            // Before the signature begins: nothing can be asked in its middle.
            (None, None, Some(_)) => return Err(Failure::PinWanted),
            (None, pin, _) => pin,
        };
        self.session
            .sign_init(&recipe.mechanism, found.handle)
            .map_err(Failure::while_("beginning a signature"))?;
        self.log_in_for_the_signature(place, pin)?;
        self.session
            .sign_update(&recipe.data)
            .map_err(|error| match error {
                ModuleError::Pkcs11(
                    RvError::OperationNotInitialized | RvError::FunctionNotSupported,
                    _,
                ) => Failure::Other(no_steps(
                    place,
                    found,
                    &recipe.mechanism.mechanism_type().to_string(),
                    &sign::wanted_in_steps(scheme),
                )),
                error => Failure::while_("signing in steps")(error),
            })?;
        self.session
            .sign_final()
            .map_err(Failure::while_("ending a signature"))
    }

    /// The login that a key with `CKA_ALWAYS_AUTHENTICATE` wants for each signature.
    fn log_in_for_the_signature(
        &self,
        place: &Place,
        pin: Option<&SecretString>,
    ) -> Result<(), Failure> {
        let Some(token) = &place.token else {
            return Ok(());
        };
        let at = At {
            module: &self.module,
            slot: self.slot,
            session: &self.session,
            token,
        };
        at.log_in(UserType::ContextSpecific, &at.info()?, pin)
    }

    /// Whether the session is alive and logged in: a failure is not its fault.
    fn is_in_order(&self) -> bool {
        if self.needs_login {
            return is_logged_in(&self.session);
        }
        self.session.get_session_info().is_ok()
    }
}

/// The error for a key that wants a login for each signature, on a module that leaves no room for
/// one.
fn no_steps(place: &Place, key: &FoundKey, taken: &str, wanted: &str) -> Error {
    let other = if taken == wanted {
        String::new()
    } else {
        format!(", or a module that has {wanted}")
    };
    Error::configuration(format!(
        "{place}: {key} requires a login within each signature (CKA_ALWAYS_AUTHENTICATE), but the \
         module signs with {taken} in one step only: use a key without that attribute{other}"
    ))
    .unrecoverable()
}

/// The module at a path, loaded once and initialised now.
fn module(path: &Path) -> Result<Module, Failure> {
    // Not held while a module is loaded or initialised: that runs foreign code, which may hang.
    let modules = MODULES.get();
    let known = modules
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(path)
        .cloned();
    let module = match known {
        Some(module) => module,
        None => {
            let module = Module::new(path).map_err(Failure::while_("loading the module"))?;
            let mut modules = modules.lock().unwrap_or_else(PoisonError::into_inner);
            modules.entry(path.to_owned()).or_insert(module).clone()
        }
    };
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(ModuleError::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(module),
        Err(error) => Err(Failure::while_("initialising the module")(error)),
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk")
            .field("place", &self.place)
            .field("open", &self.open.is_some())
            .finish()
    }
}
