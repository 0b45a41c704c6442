//! What a session is narrowed and marked with: policies, tags, source identity.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::call::Call;
use super::directory::{Inherited, Principal};
use super::error::AwsError;
use super::validate::{SOURCE_IDENTITY, check_count, check_length, missing};

/// STS packs into this many bytes and reports the percentage in use. This server packs nothing: a
/// byte is a byte.
const PACKED_BYTES: usize = 2048;
const MAX_TAGS: usize = 50;
const MAX_POLICIES: usize = 10;

/// Checks the session policies and gives the packed size of policies and tags in percent, rounded
/// up.
pub(super) fn check_policies(call: &Call) -> Result<usize, AwsError> {
    let arns: Vec<String> = call
        .members("PolicyArns")
        .iter()
        .map(|policy| {
            format!(
                "PolicyDescriptorType(arn={})",
                policy.get("arn").unwrap_or(&"null")
            )
        })
        .collect();
    check_count("policyArns", &arns, MAX_POLICIES)?;
    if let Some(policy) = call.parameter("Policy") {
        let malformed = |message: &str| AwsError::new(400, "MalformedPolicyDocument", message);
        let policy: Value = serde_json::from_str(policy)
            .map_err(|_| malformed("The policy is not in the valid JSON format."))?;
        if !policy
            .get("Statement")
            .is_some_and(|statement| statement.is_array() || statement.is_object())
        {
            return Err(malformed("Syntax errors in policy."));
        }
    }
    let percent = (call.size_of(&["Policy", "Tags."]) * 100).div_ceil(PACKED_BYTES);
    if percent > 100 {
        let message = format!("Packed policy consumes {percent}% of allotted space");
        return Err(AwsError::new(400, "PackedPolicyTooLarge", message));
    }
    Ok(percent)
}

/// Checks tags and source identity against those of the caller, and gives what the session hands
/// on.
pub(super) fn check_marks(call: &Call, caller: &Principal) -> Result<Inherited, AwsError> {
    let keys = tag_keys(call)?;
    let transitive: Vec<String> = call
        .members("TransitiveTagKeys")
        .iter()
        .filter_map(|key| key.get("").map(|key| (*key).to_owned()))
        .collect();
    check_count("transitiveTagKeys", &transitive, MAX_TAGS)?;
    let source_identity = SOURCE_IDENTITY.optional(call)?.map(str::to_owned);

    let refused = |message: &str| AwsError::new(400, "InvalidParameterValue", message);
    let distinct: HashSet<String> = keys.iter().map(|key| key.to_lowercase()).collect();
    if distinct.len() < keys.len() {
        return Err(refused(
            "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
        ));
    }
    let mut transitive_tags = caller.inherited.transitive_tags.clone();
    if !distinct.is_disjoint(&transitive_tags) {
        return Err(refused(
            "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from \
             the calling session.",
        ));
    }
    for key in transitive.iter().map(|key| key.to_lowercase()) {
        if !distinct.contains(&key) && !transitive_tags.contains(&key) {
            return Err(refused(
                "The specified transitive tag key must be included in the requested tags.",
            ));
        }
        transitive_tags.insert(key);
    }
    match (&caller.inherited.source_identity, &source_identity) {
        (Some(old), Some(new)) if old != new => Err(AwsError::new(
            403,
            "AccessDenied",
            "The source identity of the calling session cannot be changed by role chaining",
        )),
        (old, new) => Ok(Inherited {
            transitive_tags,
            source_identity: new.clone().or_else(|| old.clone()),
        }),
    }
}

fn tag_keys(call: &Call) -> Result<Vec<String>, AwsError> {
    let tags = call.members("Tags");
    let field =
        |tag: &BTreeMap<&str, &str>, name| tag.get(name).copied().unwrap_or("null").to_owned();
    let shown: Vec<String> = tags
        .iter()
        .map(|tag| {
            format!(
                "Tag(key={}, value={})",
                field(tag, "Key"),
                field(tag, "Value")
            )
        })
        .collect();
    check_count("tags", &shown, MAX_TAGS)?;
    let mut keys = Vec::new();
    for (number, tag) in (1..).zip(&tags) {
        let (key, value) = (
            format!("tags.{number}.member.key"),
            format!("tags.{number}.member.value"),
        );
        check_length(
            &key,
            tag.get("Key").ok_or_else(|| missing(&key))?,
            &(1..=128),
        )?;
        check_length(
            &value,
            tag.get("Value").ok_or_else(|| missing(&value))?,
            &(0..=256),
        )?;
        keys.push(field(tag, "Key"));
    }
    Ok(keys)
}
