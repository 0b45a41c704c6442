//! What brs's simulated processes keep: sessions, and what they share of a role.

use super::rules::{LEAST_LIFETIME, MANDATORY, Millis};
use super::world::Outcome;

/// What is shared, by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    Nothing,
    /// The processes of a host, by a directory that dies with it.
    Host,
    /// All, by a store.
    Fleet,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Idle,
    InLine,
    AtStore,
    Called,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    /// Of the set; zero: there is none.
    pub(super) expires: u32,
    /// Of the entry that the set is.
    pub(super) generation: u32,
    /// When the flight began, lined up last, was given its permit, and began to look.
    pub(super) began: u32,
    pub(super) lined_up: u32,
    pub(super) granted: u32,
    pub(super) looked: u32,
    /// Its place in line.
    pub(super) number: u32,
    /// The next wait at the store.
    pub(super) wait: u16,
    pub(super) failures: u16,
    pub(super) failures_expired: u16,
    pub(super) tries: u8,
    pub(super) state: State,
    pub(super) for_caller: bool,
    pub(super) awaited: bool,
    pub(super) spread: bool,
    /// Among those who share a store.
    pub(super) place: f32,
    /// STS was down when the permit was given.
    pub(super) was_down: bool,
    /// It has the lock or lease.
    pub(super) holds: bool,
    pub(super) outcome: Option<Outcome>,
}

/// What sharing processes know of a role.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    pub(super) expires: u32,
    pub(super) generation: u32,
    pub(super) held_until: u32,
    pub(super) failures: u32,
    pub(super) failure: Option<(u32, u32, Outcome)>,
}

impl Session {
    /// From when on callers wait for a flight.
    pub(super) fn waits_from(&self) -> Millis {
        Millis::from(self.expires).saturating_sub(MANDATORY)
    }

    pub(super) fn unusable_from(&self) -> Millis {
        Millis::from(self.expires).saturating_sub(LEAST_LIFETIME)
    }
}
