//! The method `imds` beside the AWS SDK's own client, each at a metadata service of its own: what
//! both ask, and where they differ, on purpose.
//!
//! What both make of their environment is a table in `brs-sts`, and so is the container's.

use aws_config::imds::Client;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use brs::RefreshableSession;
use brs::sts::imds;
use brs_tests::machine_metadata::{MachineMetadata, ROLE_NAME};

use super::*;

/// A state of the service.
type State = fn(&MachineMetadata);

fn usual(_: &MachineMetadata) {}

fn sdk(machine: &MachineMetadata, role_name: Option<&str>) -> ImdsCredentialsProvider {
    let client = Client::builder().endpoint(machine.url()).unwrap().build();
    let provider = ImdsCredentialsProvider::builder().imds_client(client);
    match role_name {
        Some(name) => provider.profile(name).build(),
        None => provider.build(),
    }
}

async fn brs(machine: &MachineMetadata, role_name: Option<&str>) -> RefreshableSession {
    let params = imds::Params::new().endpoint(machine.url());
    let params = match role_name {
        Some(name) => params.role_name(name),
        None => params,
    };
    RefreshableSession::with(params)
        .region("eu-west-1")
        .build()
        .await
        .unwrap()
}

/// What one of them has then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Has {
    New,
    /// What it had before.
    Former,
    Nothing,
}

use Has::{Former, New, Nothing};

const SERVES: &str = "a refresh reports it, and the engine serves the set that there is";

/// What a row of the table says, in the order of its head.
type Said = (
    &'static str,
    Option<State>,
    State,
    Option<&'static str>,
    [Has; 2],
    &'static str,
);

/// Each row: the state of the service, before a first set if there is to be one and then; the
/// role's name if it is given; what the SDK's client and a refresh of brs then have, and why they
/// differ.
const ROWS: [Said; 13] = [
    ("a role", None, usual, None, [New; 2], ""),
    ("its name", None, usual, Some(ROLE_NAME), [New; 2], ""),
    (
        "another name",
        None,
        usual,
        Some("absent"),
        [Nothing; 2],
        "",
    ),
    (
        "no role",
        None,
        |service| service.set_role(None),
        None,
        [Nothing; 2],
        "",
    ),
    (
        "a role that EC2 may not assume",
        None,
        |service| service.set_code(Some(("AssumeRoleUnauthorizedAccess", "EC2 cannot assume"))),
        None,
        [Nothing; 2],
        "",
    ),
    (
        "a service that is off",
        None,
        |service| service.set_enabled(false),
        None,
        [Nothing; 2],
        "",
    ),
    (
        "one failure on the way",
        None,
        |service| service.fail_next([500]),
        None,
        [New; 2],
        "",
    ),
    (
        "expired credentials",
        None,
        |service| service.set_lifetime(Duration::ZERO),
        None,
        [New, Nothing],
        "the SDK says that they live ten minutes more; services would refuse them",
    ),
    ("a second set", Some(usual), usual, None, [New; 2], ""),
    (
        "tokens that were forgotten",
        Some(usual),
        MachineMetadata::end_sessions,
        None,
        [Former, New],
        "the SDK sends the forgotten token until the end that was announced for it; brs asks for a new one",
    ),
    (
        "another role",
        Some(usual),
        |service| service.set_role(Some("other")),
        None,
        [New; 2],
        "",
    ),
    (
        "an outage",
        Some(usual),
        |service| service.fail_next([503; 100]),
        None,
        [Former, Nothing],
        SERVES,
    ),
    (
        "a role that was taken away",
        Some(usual),
        |service| service.set_role(None),
        None,
        [Former, Nothing],
        SERVES,
    ),
];

fn has<E>(key: Result<String, E>, former: Option<&String>) -> Has {
    match key {
        Ok(key) if Some(&key) == former => Former,
        Ok(_) => New,
        Err(_) => Nothing,
    }
}

#[tokio::test]
async fn both_ask_the_same_and_differ_where_the_table_says_why() {
    for (case, before, then, role_name, expected, why) in ROWS {
        assert_eq!(expected[0] == expected[1], why.is_empty(), "{case}");
        let aws = EmbeddedAws::start();
        let services = [MachineMetadata::start(&aws), MachineMetadata::start(&aws)];
        let [of_sdk, of_brs] = &services;
        let (provider, session) = (sdk(of_sdk, role_name), brs(of_brs, role_name).await);
        let by_sdk = async || {
            let set = provider.provide_credentials().await;
            set.map(|set| set.access_key_id().to_owned())
        };
        let by_brs = async || {
            let set = session.refresh().await;
            set.map(|set| set.access_key_id().to_owned())
        };
        let mut former = [None, None];
        if let Some(before) = before {
            services.iter().for_each(before);
            former = [by_sdk().await.ok(), by_brs().await.ok()];
        }
        services.iter().for_each(then);
        let found = [
            has(by_sdk().await, former[0].as_ref()),
            has(by_brs().await, former[1].as_ref()),
        ];
        assert_eq!(found, expected, "{case}");
        if before.is_some() {
            let served = session.credentials().await;
            assert!(served.is_ok(), "{case}: the engine serves what it has");
        }
        if why.is_empty() {
            assert_eq!(of_sdk.asked(), of_brs.asked(), "{case}");
        }
    }
}
