//! What is DynamoDB's own.

use super::*;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    TimeToLiveSpecification,
};
use aws_types::SdkConfig;
use aws_types::region::Region;
use brs::shared::DynamoDbStore;
use brs_tests::moto::Moto;

pub(crate) fn config(moto: &Moto) -> SdkConfig {
    let keys = Credentials::new("AKIAFLEET", "hush", None, None, "test");
    SdkConfig::builder()
        .region(Region::new("eu-west-1"))
        .endpoint_url(moto.endpoint_url())
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .behavior_version(aws_config::BehaviorVersion::latest())
        .build()
}

pub(crate) async fn create_table(config: &SdkConfig, name: &str, key: &str, has_ttl: bool) {
    let client = Client::new(config);
    client
        .create_table()
        .table_name(name)
        .attribute_definitions(
            AttributeDefinition::builder()
                .attribute_name(key)
                .attribute_type(ScalarAttributeType::S)
                .build()
                .unwrap(),
        )
        .key_schema(
            KeySchemaElement::builder()
                .attribute_name(key)
                .key_type(KeyType::Hash)
                .build()
                .unwrap(),
        )
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await
        .unwrap();
    if has_ttl {
        let setting = TimeToLiveSpecification::builder()
            .enabled(true)
            .attribute_name("expires")
            .build()
            .unwrap();
        client
            .update_time_to_live()
            .table_name(name)
            .time_to_live_specification(setting)
            .send()
            .await
            .unwrap();
    }
}

#[tokio::test]
#[ignore = "needs moto"]
async fn dynamodb_keeps_the_contract() {
    let _machine = MACHINE.lock().await;
    let moto = Moto::start();
    let config = config(&moto);
    create_table(&config, "fleet", "pk", true).await;
    let store = DynamoDbStore::new("fleet", &config);
    contract::check(&store, "v1-a").await;
    assert!(store.notices().await.is_empty());
    assert!(store.ready().await.is_ok());
}

#[tokio::test]
#[ignore = "needs moto"]
async fn hosts_share_by_a_table_and_nothing_in_it_is_unsealed() {
    let _machine = MACHINE.lock().await;
    let moto = Moto::start();
    let config = config(&moto);
    create_table(&config, "fleet", "pk", true).await;
    let script = hourly();
    let host = Host::new(DynamoDbStore::new("fleet", &config));
    let other = Host::new(DynamoDbStore::new("fleet", &config));
    let set = host
        .session(&script, "x")
        .await
        .credentials()
        .await
        .unwrap();
    let same = other.session(&script, "x").await;
    let shared = same.credentials().await.unwrap();
    assert_eq!(shared.secret_access_key(), set.secret_access_key());
    assert_eq!(shared.session_token(), set.session_token());
    assert_eq!(script.calls(), 1);
    new_key_id(&same).await;
    assert_eq!(script.calls(), 2);

    let scan = Client::new(&config)
        .scan()
        .table_name("fleet")
        .send()
        .await
        .unwrap();
    assert_eq!(scan.count(), 1);
    let mut dump = format!("{scan:?}").into_bytes();
    for item in scan.items() {
        dump.extend_from_slice(item["blob"].as_b().unwrap().as_ref());
    }
    for secret in [
        set.secret_access_key(),
        set.session_token().unwrap(),
        set.access_key_id(),
        "ASIASCRIPTED00000002",
    ] {
        assert!(!holds(&dump, secret), "{secret}");
    }
}

#[tokio::test]
#[ignore = "needs moto"]
async fn a_table_without_a_time_to_live_is_told() {
    let _machine = MACHINE.lock().await;
    let moto = Moto::start();
    let config = config(&moto);
    create_table(&config, "fleet", "pk", false).await;
    let host = Host::new(DynamoDbStore::new("fleet", &config));
    let session = host.session(&hourly(), "x").await;
    let mut events = session.events();
    key_id(&session).await;
    loop {
        let event = events.next().await.unwrap();
        if let Event::Warning { name, message, .. } = event {
            assert_eq!(name, "fleet_table_without_ttl");
            assert!(message.contains("update-time-to-live"), "{message}");
            break;
        }
    }
}

#[tokio::test]
#[ignore = "needs moto"]
async fn a_missing_table_and_one_with_another_key_are_told_with_a_remedy() {
    let _machine = MACHINE.lock().await;
    let moto = Moto::start();
    let config = config(&moto);
    create_table(&config, "other", "id", true).await;
    for (table, words) in [
        (
            "absent",
            "does not exist: create it with a partition key `pk`",
        ),
        ("other", "give it a partition key `pk` of type string"),
    ] {
        let host = Host::new(DynamoDbStore::new(table, &config));
        let script = hourly();
        let session = host.session(&script, "x").await;
        let mut events = session.events();
        key_id(&session).await;
        assert_eq!(script.calls(), 1);
        let message = loop {
            match events.next().await.unwrap() {
                Event::Warning { name, message, .. } => {
                    assert_eq!(name, "fleet_store_failed");
                    break message;
                }
                _ => continue,
            }
        };
        assert!(message.contains(words), "{message}");
    }
}
