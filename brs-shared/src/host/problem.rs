//! What can be wrong with the cache, as warnings. Each kind has a name of its own.

use std::io;

use crate::entry::Unusable;

/// A reason not to use the cache, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) name: &'static str,
    pub(super) text: String,
    /// It is about one key, not about all of the cache.
    pub(super) is_of_key: bool,
}

impl Problem {
    /// For those who asked for the cache itself.
    pub(super) fn into_error(self) -> brs_core::Error {
        brs_core::Error::configuration(self.text)
    }

    pub(super) fn of_directory(name: &'static str, text: impl Into<String>) -> Self {
        Self {
            name,
            text: text.into(),
            is_of_key: false,
        }
    }

    pub(super) fn of_key(name: &'static str, text: impl Into<String>) -> Self {
        Self {
            name,
            text: text.into(),
            is_of_key: true,
        }
    }

    /// The bytes of an entry are none.
    pub(super) fn of_entry(unusable: Unusable) -> Self {
        let name = match unusable {
            Unusable::Oversized => "host_cache_entry_oversized",
            Unusable::Malformed => "host_cache_entry_malformed",
            Unusable::OtherVersion => "host_cache_entry_other_version",
            Unusable::Foreign => "host_cache_entry_foreign",
            Unusable::Replayed => "host_cache_entry_replayed",
        };
        let text = format!("an entry of the host cache {unusable}: it is ignored and replaced");
        Self::of_key(name, text)
    }

    /// The file system did not answer in time, or no thread could ask it.
    pub(super) fn slow() -> Self {
        let text = "the host cache does not answer: this session asks its source by itself; check \
                    the file system of its directory";
        Self::of_directory("host_cache_slow", text)
    }

    /// Another process has held the lock for all the time there was.
    pub(super) fn busy(holder: Option<u32>) -> Self {
        let text = format!(
            "{} has held the lock of a host cache's entry for too long: this session asks its \
             source by itself",
            named(holder)
        );
        Self::of_key("host_cache_lock_busy", text)
    }

    /// The lock is held by a process that asks a person.
    pub(super) fn waiting(holder: Option<u32>) -> Self {
        let text = format!(
            "{} is asking a person for these credentials: this one waits for them",
            named(holder)
        );
        Self::of_key("host_cache_waiting", text)
    }

    /// Locks of files are not to be had.
    pub(super) fn no_locks(error: &io::Error) -> Self {
        let text = format!(
            "the file system of the host cache has no locks ({error}): this session asks its \
             source by itself; put the directory on a local file system"
        );
        Self::of_directory("host_cache_no_locks", text)
    }

    /// The set is not in the cache.
    pub(super) fn not_written(why: &str) -> Self {
        let text = format!(
            "an entry of the host cache was not written ({why}): other processes ask the source \
             by themselves"
        );
        Self::of_directory("host_cache_not_written", text)
    }

    /// A set that is about to expire is given, since the source failed.
    pub(super) fn served_old(error: &brs_core::Error) -> Self {
        let text =
            format!("the source failed ({error}): the host cache's set is used until it expires");
        Self::of_key("host_cache_source_failed", text)
    }
}

/// A holder in words.
pub(super) fn named(holder: Option<u32>) -> String {
    match holder {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_bad_entry_has_a_warning_of_its_own() {
        for unusable in [
            Unusable::Oversized,
            Unusable::Malformed,
            Unusable::OtherVersion,
            Unusable::Foreign,
            Unusable::Replayed,
        ] {
            let name = Problem::of_entry(unusable).name;
            assert_eq!(name, format!("host_cache_entry_{}", unusable.name()));
        }
    }
}
