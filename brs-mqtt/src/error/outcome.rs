//! What became of a call, for programs to match on.
//!
//! An error carries its [`Outcome`] as its source, since [`Error::code`] is for codes of servers.

use std::error::Error as StdError;
use std::fmt;

use brs_core::Error;
use brs_core::kit::find;

/// Why a call failed on this side of the connection, or why a connection was lost.
///
/// A server's own refusal has none: its reason code is [`Error::code`], as `0x87`.
///
/// ```
/// # mod brs { pub use brs_core::*; pub use brs_mqtt as mqtt; }
/// use brs::mqtt::{Connection, Outcome, Publish};
///
/// async fn report(mqtt: &Connection) -> Result<(), brs::Error> {
///     match mqtt.publish(Publish::new("state", "up")).await {
///         Err(error) if Outcome::of(&error) == Some(Outcome::Dropped) => Ok(()),
///         result => result,
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The outbox is full, and [`WhenFull`](crate::WhenFull) does not let the message wait.
    Full,
    /// The message was dropped from a full outbox ([`WhenFull::DropOldest`](crate::WhenFull)).
    Dropped,
    /// A message of QoS 0 found no connection, or lost it while it was sent.
    Offline,
    /// The session was lost before the acknowledgement
    /// ([`WhenSessionLost::Fail`](crate::WhenSessionLost)). The message may have arrived.
    SessionLost,
    /// The connection is closed, or closed before the call was finished.
    Closed,
    /// The server closed four connections in a row at this message and never acknowledged it. This
    /// is how AWS IoT refuses a publish in MQTT 3.1.1.
    NotTaken,
    /// The subscription was ended by an unsubscribe before the server had granted it.
    Unsubscribed,
    /// The connection was lost because another client uses the same client id.
    DuplicateClientId,
    /// The connection was replaced because the server did not answer publishes, subscribes or
    /// unsubscribes.
    Unanswered,
}

impl Outcome {
    /// The outcome that an error carries, if any.
    pub fn of(error: &Error) -> Option<Self> {
        find::<Carried>(error).map(|carried| carried.outcome)
    }

    /// Adds the outcome to an error.
    pub(crate) fn on(self, error: Error) -> Error {
        error.with_source(Carried {
            outcome: self,
            cause: None,
        })
    }

    /// Adds the outcome to an error that has a cause.
    pub(crate) fn on_with_cause(self, error: Error, cause: Error) -> Error {
        error.with_source(Carried {
            outcome: self,
            cause: Some(cause),
        })
    }
}

/// An outcome on its way within an error.
#[derive(Debug)]
struct Carried {
    outcome: Outcome,
    cause: Option<Error>,
}

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.outcome {
            Outcome::Full => "outbox full",
            Outcome::Dropped => "message dropped",
            Outcome::Offline => "offline",
            Outcome::SessionLost => "session lost",
            Outcome::Closed => "connection closed",
            Outcome::NotTaken => "message not accepted",
            Outcome::Unsubscribed => "unsubscribed",
            Outcome::DuplicateClientId => "duplicate client id",
            Outcome::Unanswered => "server did not answer",
        })
    }
}

impl StdError for Carried {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_found_in_its_error_and_is_no_code() {
        let error = Outcome::Full.on(Error::request("no room"));
        assert_eq!(
            (Outcome::of(&error), error.code()),
            (Some(Outcome::Full), None)
        );
        let around = Error::connection("around").with_source(error);
        assert_eq!(Outcome::of(&around), Some(Outcome::Full));
        assert_eq!(
            Outcome::of(&Error::request("refused").with_code("Full")),
            None
        );
    }

    #[test]
    fn the_outermost_outcome_counts_and_its_cause_stays_readable() {
        let cause = Outcome::Unanswered.on(Error::connection("silence"));
        let error =
            Outcome::DuplicateClientId.on_with_cause(Error::connection("twin"), cause.clone());
        assert_eq!(Outcome::of(&error), Some(Outcome::DuplicateClientId));
        let texts = brs_core::kit::causes(&error, &[]);
        assert!(texts.contains("silence"), "{texts}");
    }
}
