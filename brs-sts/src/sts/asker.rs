//! Who calls STS, for the strategies' fingerprints.

use brs_core::{Asker, Fingerprint, Setup};

use crate::request::client::StsClient;

/// Who signs the calls, as far as that can be told.
pub(crate) enum WhoAsks {
    /// The keys in the client's settings, by their id.
    Keys(String),
    /// The base credentials.
    Base(Asker),
    /// A provider of the program's.
    Provider,
    /// Nobody: the request brings its own proof.
    Nobody,
}

impl WhoAsks {
    pub(crate) fn of(settings: &StsClient, setup: &Setup) -> Self {
        match (&settings.aws_access_key_id, &settings.credentials_provider) {
            (Some(id), _) => Self::Keys(id.clone()),
            (None, Some(_)) => Self::Provider,
            (None, None) => Self::Base(setup.asker()),
        }
    }

    /// Adds who asks; `None` if that cannot be told.
    pub(crate) fn tell(&self, fingerprint: Fingerprint) -> Option<Fingerprint> {
        let asker = match self {
            Self::Keys(id) => Fingerprint::new("keys").with("access_key_id", id),
            Self::Base(asker) => asker.fingerprint()?,
            Self::Provider => return None,
            Self::Nobody => return Some(fingerprint),
        };
        Some(fingerprint.with("asker", asker))
    }
}
