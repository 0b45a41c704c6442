//! What of a request decides its credentials, for the strategies' fingerprints.
//!
//! Values that brs shows nowhere (external id, policy, tags) are there as a digest.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use brs_core::Fingerprint;
use serde::Serialize;

use crate::request::params::AssumeRole;

impl AssumeRole {
    /// Adds what the request asks for; `None` if that cannot be told. The role and the name of its
    /// session are the strategy's.
    pub(crate) fn tell(&self, fingerprint: Fingerprint) -> Option<Fingerprint> {
        // They are tokens of a person's, another one each time.
        if !self.provided_contexts.is_empty() {
            return None;
        }
        let tags: Vec<_> = self.tags.iter().map(|tag| (&tag.key, &tag.value)).collect();
        let unshown = (&self.external_id, &self.policy, tags);
        Some(
            fingerprint
                .with("policy_arns", some(&self.policy_arns))
                .with("duration", seconds(self.duration))
                .with("transitive_tag_keys", some(&self.transitive_tag_keys))
                .with("source_identity", &self.source_identity)
                .with("serial_number", &self.serial_number)
                .with("values_sha256", sha256(&unshown)?),
        )
    }
}

pub(crate) fn seconds(duration: Option<Duration>) -> Option<u64> {
    duration.map(|duration| duration.as_secs())
}

/// `None` for an empty list: the request does not have it.
pub(crate) fn some(texts: &[String]) -> Option<&[String]> {
    (!texts.is_empty()).then_some(texts)
}

/// The digest of values, as hexadecimal.
pub(crate) fn sha256(values: &impl Serialize) -> Option<String> {
    let text = zeroize::Zeroizing::new(serde_json::to_vec(values).ok()?);
    let digest = digest(&SHA256, &text);
    Some(
        digest
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    )
}
