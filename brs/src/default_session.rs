//! The process's default session, for code that cannot be handed one.
//!
//! Set once at the start of a program, read from anywhere. Replacing it is atomic: a caller
//! gets the old one or the new one, and what was made from the old one goes on working.

use std::sync::{PoisonError, RwLock};

use aws_types::SdkConfig;
use brs_core::{Error, RefreshableSession};

static DEFAULT: RwLock<Option<RefreshableSession>> = RwLock::new(None);

/// Makes a session the process's default and gives back the one that was it before.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), brs::Error> {
/// # let provider = brs_core::test_util::Scripted::always(brs_core::test_util::Step::Hang);
/// let session = brs::RefreshableSession::with_strategy(provider.shared()).build().await?;
/// brs::set_default_session(session);
/// assert!(!brs::default_session()?.ready());
/// # Ok(())
/// # }
/// ```
pub fn set_default_session(session: RefreshableSession) -> Option<RefreshableSession> {
    // The old one is dropped by the caller, not under the lock: it may be the last handle of its
    // engine.
    DEFAULT
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .replace(session)
}

/// The process's default session.
///
/// # Errors
///
/// A configuration error if none has been set.
pub fn default_session() -> Result<RefreshableSession, Error> {
    let session = DEFAULT
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    session.ok_or_else(|| {
        Error::configuration(
            "there is no default session: open one and pass it to `brs::set_default_session` at the start of the \
             program",
        )
        .unrecoverable()
    })
}

/// A client of the default session; see [`RefreshableSession::client`].
///
/// ```
/// # #[derive(Clone)]
/// # struct Client;
/// # impl Client { fn new(_: &aws_types::SdkConfig) -> Self { Self } }
/// # fn example() -> Result<(), brs::Error> {
/// let client = brs::client(Client::new)?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// As [`default_session`].
pub fn client<F, C>(new: F) -> Result<C, Error>
where
    F: Fn(&SdkConfig) -> C + 'static,
    C: Clone + Send + Sync + 'static,
{
    default_session().map(|session| session.client(new))
}
