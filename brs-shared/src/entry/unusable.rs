//! Why bytes are no entry.

/// Why bytes are no entry. Holds none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    /// More than [`MAX_BYTES`](super::MAX_BYTES).
    #[error("has more than 64 KiB")]
    Oversized,
    /// Not JSON, cut short, or JSON of something else.
    #[error("is not an entry of brs, or is cut short")]
    Malformed,
    /// Another version of the format.
    #[error("has another version than 1")]
    OtherVersion,
    /// The entry of another key.
    #[error("belongs to another key")]
    Foreign,
    /// Older than one that this process has seen.
    #[error("is older than one that was there before")]
    Replayed,
}

impl Unusable {
    /// The end of a warning's name.
    #[cfg(test)]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Oversized => "oversized",
            Self::Malformed => "malformed",
            Self::OtherVersion => "other_version",
            Self::Foreign => "foreign",
            Self::Replayed => "replayed",
        }
    }
}
