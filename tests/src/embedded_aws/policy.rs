//! What a session is narrowed and marked with: policies, tags, source identity.

use std::collections::HashSet;

use serde_json::Value;

use super::call::Call;
use super::directory::Principal;
use super::error::AwsError;

/// STS packs into this many bytes and reports the percentage in use.
const PACKED_BYTES: usize = 2048;
const MAX_TAGS: usize = 50;
const MAX_POLICIES: usize = 10;

/// Checks the session policies and gives the packed size in percent.
pub(super) fn check(call: &Call) -> Result<usize, AwsError> {
    if let Some(policy) = call.parameter("Policy") {
        let malformed = |message: &str| AwsError::new(400, "MalformedPolicyDocument", message);
        let policy: Value =
            serde_json::from_str(policy).map_err(|_| malformed("The policy is not in the valid JSON format."))?;
        if policy.get("Statement").is_none() {
            return Err(malformed("Syntax errors in policy."));
        }
    }
    if call.list("PolicyArns", "arn").len() > MAX_POLICIES {
        let constraint = format!("Member must have length less than or equal to {MAX_POLICIES}");
        return Err(AwsError::constraint("policyArns", None, &constraint));
    }
    let packed = call.size_of(&["Policy", "Tags."]) * 100 / PACKED_BYTES;
    if packed > 100 {
        let message = format!("Packed policy consumes {packed}% of allotted space");
        return Err(AwsError::new(400, "PackedPolicyTooLarge", message));
    }
    Ok(packed)
}

/// Checks tags and source identity against those the caller has, and gives what the session passes on.
pub(super) fn check_tags(call: &Call, caller: &Principal) -> Result<(Vec<String>, Option<String>), AwsError> {
    let refused = |message: &str| AwsError::new(400, "InvalidParameterValue", message);
    let keys: Vec<String> = call.list("Tags", "Key");
    if keys.len() > MAX_TAGS {
        return Err(AwsError::constraint("tags", None, "Member must have length less than or equal to 50"));
    }
    let distinct: HashSet<String> = keys.iter().map(|key| key.to_lowercase()).collect();
    if distinct.len() < keys.len() {
        return Err(refused("Duplicate tag keys found. Please note that Tag keys are case insensitive."));
    }
    if caller.transitive_tags.iter().any(|key| distinct.contains(&key.to_lowercase())) {
        return Err(refused(
            "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from \
             the calling session.",
        ));
    }
    let mut transitive = caller.transitive_tags.clone();
    transitive.extend(call.list("TransitiveTagKeys", ""));
    let source_identity = call.parameter("SourceIdentity").map(str::to_owned);
    match (&caller.source_identity, &source_identity) {
        (Some(old), Some(new)) if old != new => Err(AwsError::new(
            403,
            "AccessDenied",
            "The source identity of the calling session cannot be changed by role chaining",
        )),
        (old, new) => Ok((transitive, new.clone().or_else(|| old.clone()))),
    }
}
