//! A store in DynamoDB.
//!
//! One item a key: `pk`; the entry's `blob`, `gen` and `expires` (seconds, the attribute of the
//! table's time to live, which is always checked since DynamoDB deletes late); `lease_owner` and
//! `lease_until` (milliseconds). A conditional `UpdateItem` takes the lease and gives the item back
//! in one round trip, whether the condition holds or not. Leases are by the hosts' clocks: one that
//! is ahead takes a lease too early, which costs a call, and leaves leases that are too long, which
//! are not minded.
//!
//! `client` has the client and its credentials, `refusal` the texts of what went wrong.

mod client;
mod refusal;

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure, TimeToLiveStatus,
};
use aws_types::SdkConfig;

use self::client::Client;
use super::store::{
    CredentialStore, Entry, LEASE_SKEW, LONGEST_LEASE, Lease, Notice, StoreError, Stored,
};

/// How long an item with a lease and no entry outlives the lease.
const BEYOND: Duration = Duration::from_secs(60);

/// A store in a DynamoDB table, with a partition key `pk` of type string and no sort key; `expires`
/// should be its attribute for time to live.
///
/// The identity needs `dynamodb:GetItem` and `dynamodb:UpdateItem` on the table. With
/// `dynamodb:DescribeTimeToLive` it is looked whether the table forgets what has expired; if it
/// does not, there is a [warning](brs_core::Event::Warning) `fleet_table_without_ttl`.
///
/// ```no_run
/// # async fn f(config: &aws_types::SdkConfig) -> Result<(), brs_core::Error> {
/// use brs_shared::{DynamoDbStore, Fleet, Seal};
///
/// let store = DynamoDbStore::new("brs-credentials", config);
/// let fleet = Fleet::new(store, Seal::from_file("/run/secrets/seal-keys")?);
/// # Ok(())
/// # }
/// ```
pub struct DynamoDbStore {
    table: String,
    client: Client,
}

type Item = HashMap<String, AttributeValue>;

impl DynamoDbStore {
    /// In this table, with the region and credentials of `config`: base credentials, never those of
    /// a session that shares through this store.
    pub fn new(table: impl Into<String>, config: &SdkConfig) -> Self {
        Self {
            table: table.into(),
            client: Client::new(config),
        }
    }

    /// Another endpoint than the configuration's.
    #[must_use]
    pub fn endpoint_url(mut self, url: impl Into<String>) -> Self {
        self.client.set_endpoint_url(url.into());
        self
    }

    /// Another region than the configuration's.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.client.set_region(region.into());
        self
    }

    fn refused(&self, error: &refusal::Refused<'_>) -> StoreError {
        if error.is_of_credentials() {
            self.client.forget_credentials();
        }
        refusal::of(&self.table, self.client.region(), error)
    }
}

#[async_trait]
impl CredentialStore for DynamoDbStore {
    async fn load(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let client = self.client.get();
        let asked = client
            .get_item()
            .table_name(&self.table)
            .key("pk", AttributeValue::S(key.to_owned()))
            .consistent_read(true)
            .send();
        match asked.await {
            Ok(answer) => Ok(answer.item().and_then(entry)),
            Err(error) => Err(self.refused(&refusal::Refused::of(&error))),
        }
    }

    async fn lease(&self, key: &str, owner: &str, ttl: Duration) -> Result<Lease, StoreError> {
        let (now, ttl) = (now(), ttl.min(LONGEST_LEASE));
        let until = now + ttl;
        let client = self.client.get();
        let asked = client
            .update_item()
            .table_name(&self.table)
            .key("pk", AttributeValue::S(key.to_owned()))
            .update_expression("SET #o = :o, #u = :u, #e = if_not_exists(#e, :e)")
            .condition_expression("attribute_not_exists(#u) OR #u <= :n OR #u > :m OR #o = :o")
            .expression_attribute_names("#o", "lease_owner")
            .expression_attribute_names("#u", "lease_until")
            .expression_attribute_names("#e", "expires")
            .expression_attribute_values(":o", AttributeValue::S(owner.to_owned()))
            .expression_attribute_values(":u", number(millis(until)))
            .expression_attribute_values(":n", number(millis(now)))
            .expression_attribute_values(":m", number(millis(until + LEASE_SKEW)))
            .expression_attribute_values(":e", number(seconds(until + BEYOND)))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send();
        let error = match asked.await {
            Ok(answer) => return Ok(Lease::Held(answer.attributes().and_then(entry))),
            Err(error) => error,
        };
        match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(taken)) => {
                let item = taken.item();
                let until = item.and_then(|item| read_number(item, "lease_until"));
                let left = until.map_or(ttl, |until| {
                    Duration::from_millis(until.saturating_sub(millis(now)))
                });
                Ok(Lease::Taken(left.min(ttl), item.and_then(entry)))
            }
            _ => Err(self.refused(&refusal::Refused::of(&error))),
        }
    }

    async fn store(
        &self,
        key: &str,
        owner: &str,
        generation: u64,
        bytes: &[u8],
        expiry: SystemTime,
    ) -> Result<Stored, StoreError> {
        let client = self.client.get();
        let asked = client
            .update_item()
            .table_name(&self.table)
            .key("pk", AttributeValue::S(key.to_owned()))
            .update_expression("SET #b = :b, #g = :g, #e = :e")
            .condition_expression("#o = :o")
            .expression_attribute_names("#b", "blob")
            .expression_attribute_names("#g", "gen")
            .expression_attribute_names("#e", "expires")
            .expression_attribute_names("#o", "lease_owner")
            .expression_attribute_values(":b", AttributeValue::B(Blob::new(bytes)))
            .expression_attribute_values(":g", number(generation))
            .expression_attribute_values(":e", number(seconds(expiry)))
            .expression_attribute_values(":o", AttributeValue::S(owner.to_owned()))
            .send();
        match asked.await {
            Ok(_) => Ok(Stored::Done),
            Err(error) if is_condition(error.as_service_error()) => Ok(Stored::Lost),
            Err(error) => Err(self.refused(&refusal::Refused::of(&error))),
        }
    }

    async fn release(&self, key: &str, owner: &str) -> Result<(), StoreError> {
        let client = self.client.get();
        let asked = client
            .update_item()
            .table_name(&self.table)
            .key("pk", AttributeValue::S(key.to_owned()))
            .update_expression("REMOVE #o, #u")
            .condition_expression("#o = :o")
            .expression_attribute_names("#o", "lease_owner")
            .expression_attribute_names("#u", "lease_until")
            .expression_attribute_values(":o", AttributeValue::S(owner.to_owned()))
            .send();
        match asked.await {
            Ok(_) => Ok(()),
            Err(error) if is_condition(error.as_service_error()) => Ok(()),
            Err(error) => Err(self.refused(&refusal::Refused::of(&error))),
        }
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.client.resolve_credentials().await.map_err(|error| {
            StoreError::new(format!(
                "the credentials for the DynamoDB table `{}` are not to be had: {}",
                self.table,
                brs_core::kit::causes(&error, &[])
            ))
            .with_source(error)
        })
    }

    async fn notices(&self) -> Vec<Notice> {
        let client = self.client.get();
        let asked = client.describe_time_to_live().table_name(&self.table);
        // Who may not ask, or gets no answer, uses the table all the same.
        let Ok(answer) = asked.send().await else {
            return Vec::new();
        };
        let told = answer.time_to_live_description();
        let is_on = told.is_some_and(|told| {
            let status = told.time_to_live_status();
            matches!(
                status,
                Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
            ) && told.attribute_name() == Some("expires")
        });
        if is_on {
            return Vec::new();
        }
        let text = format!(
            "the DynamoDB table `{0}` has no time to live on `expires`: entries that have expired \
             stay in it and cost; `aws dynamodb update-time-to-live --table-name {0} \
             --time-to-live-specification Enabled=true,AttributeName=expires` changes that",
            self.table
        );
        vec![Notice::new("fleet_table_without_ttl", text)]
    }
}

fn is_condition(error: Option<&UpdateItemError>) -> bool {
    matches!(
        error,
        Some(UpdateItemError::ConditionalCheckFailedException(_))
    )
}

/// The entry in an item. Attributes that are there and not as brs writes them are an entry that
/// does not open.
fn entry(item: &Item) -> Option<Entry> {
    let blob = item.get("blob")?;
    let expires = read_number(item, "expires")
        .and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
    Some(Entry {
        bytes: blob
            .as_b()
            .map_or(Vec::new(), |blob| blob.clone().into_inner()),
        generation: read_number(item, "gen").unwrap_or_default(),
        expiry: expires.unwrap_or_else(|| now() + BEYOND),
    })
}

fn read_number(item: &Item, name: &str) -> Option<u64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// Leases are between hosts: the session's clock, which may be a test's, says nothing to them.
fn now() -> SystemTime {
    brs_core::Clock::now(&brs_core::SystemClock::new())
}

fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Not earlier.
fn seconds(at: SystemTime) -> u64 {
    millis(at).div_ceil(1000)
}

impl fmt::Debug for DynamoDbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoDbStore")
            .field("table", &self.table)
            .field("region", &self.client.region())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(values: &[(&str, AttributeValue)]) -> Item {
        let values = values.iter().cloned();
        values
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    #[test]
    fn an_item_without_a_blob_has_no_entry() {
        let lease = item(&[
            ("pk", AttributeValue::S("v1-a".into())),
            ("expires", number(9)),
        ]);
        assert_eq!(entry(&lease), None);
    }

    #[test]
    fn an_item_is_read_as_it_was_written_and_what_is_foreign_does_not_open() {
        let written = item(&[
            ("blob", AttributeValue::B(Blob::new("sealed"))),
            ("gen", number(u64::MAX)),
            ("expires", number(9)),
        ]);
        let read = entry(&written).unwrap();
        assert_eq!((read.generation, &*read.bytes), (u64::MAX, &b"sealed"[..]));
        assert_eq!(read.expiry, UNIX_EPOCH + Duration::from_secs(9));
        let foreign = item(&[
            ("blob", AttributeValue::S("text".into())),
            ("gen", AttributeValue::N("-1".into())),
            ("expires", number(u64::MAX)),
        ]);
        let read = entry(&foreign).unwrap();
        assert!(read.bytes.is_empty() && read.generation == 0 && read.expiry > now());
    }

    #[test]
    fn an_entry_does_not_expire_before_its_time() {
        assert_eq!(seconds(UNIX_EPOCH + Duration::from_millis(1001)), 2);
        assert_eq!(seconds(UNIX_EPOCH + Duration::from_secs(1)), 1);
    }

    #[test]
    fn debug_shows_the_table_and_no_credentials() {
        let store = DynamoDbStore::new("t", &SdkConfig::builder().build()).region("eu-west-1");
        let shown = format!("{store:?}");
        assert!(
            shown.contains(r#"table: "t""#) && shown.contains("eu-west-1"),
            "{shown}"
        );
    }
}
