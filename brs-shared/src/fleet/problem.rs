//! What can be wrong with a fleet's store, as warnings. Each kind has a name of its own.

use brs_core::Error;

use super::seal::Unopened;
use super::store::{Notice, StoreError};
use crate::entry::Unusable;

/// Something that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) name: &'static str,
    pub(super) text: String,
}

impl Problem {
    fn new(name: &'static str, text: impl Into<String>) -> Self {
        Self {
            name,
            text: text.into(),
        }
    }

    /// The store is left alone from now on.
    pub(super) fn failed(error: &StoreError, pause: u64) -> Self {
        let text = format!(
            "{error}; for {pause} s this host asks its sources by itself, then it tries the store \
             again"
        );
        Self::new("fleet_store_failed", text)
    }

    /// Sealed bytes did not open.
    pub(super) fn unopened(why: Unopened) -> Self {
        let name = match why {
            Unopened::Oversized => "fleet_entry_oversized",
            Unopened::Malformed => "fleet_entry_malformed",
            Unopened::UnknownKey => "fleet_entry_unknown_key",
            Unopened::Tampered => "fleet_entry_tampered",
        };
        Self::of_entry(name, &why)
    }

    /// They did, and are no entry.
    pub(super) fn unusable(why: Unusable) -> Self {
        let name = match why {
            Unusable::Oversized => "fleet_entry_oversized",
            Unusable::Malformed => "fleet_entry_malformed",
            Unusable::OtherVersion => "fleet_entry_other_version",
            Unusable::Foreign => "fleet_entry_foreign",
            Unusable::Replayed => "fleet_entry_replayed",
        };
        Self::of_entry(name, &why)
    }

    fn of_entry(name: &'static str, why: &dyn std::fmt::Display) -> Self {
        let text = format!("an entry of the fleet's store {why}; it is ignored and replaced");
        Self::new(name, text)
    }

    /// Another host has had the lease for all the time there was.
    pub(super) fn busy() -> Self {
        let text = "another host has held the lease of an entry for too long: this host asks its \
                    source by itself";
        Self::new("fleet_lease_busy", text)
    }

    /// A set that is about to expire is given, since the source failed.
    pub(super) fn source_failed(error: &Error) -> Self {
        let text = format!("the source failed ({error}): the fleet's set is used until it expires");
        Self::new("fleet_source_failed", text)
    }

    /// Others can read the file of the seal keys.
    pub(super) fn mode(text: String) -> Self {
        Self::new("fleet_seal_keys_mode", text)
    }

    /// The file of the seal keys has changed and cannot be read.
    pub(super) fn unread(error: &Error) -> Self {
        Self::new(
            "fleet_seal_keys_unread",
            format!("{error}; the keys that were read before stay in use"),
        )
    }

    /// What the engine has to say.
    pub(super) fn notice(notice: Notice) -> Self {
        Self::new(notice.name, notice.message)
    }
}
