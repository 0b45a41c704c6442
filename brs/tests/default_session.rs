//! The process's default session, in a process of its own.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

use std::time::Duration;

use brs::RefreshableSession;
use brs_core::test_util::{Scripted, Step};

#[derive(Clone, Debug, PartialEq)]
struct Client(Option<String>);

impl Client {
    fn new(config: &aws_types::SdkConfig) -> Self {
        Self(config.region().map(ToString::to_string))
    }
}

async fn in_region(region: &str) -> RefreshableSession {
    let strategy = Scripted::always(Step::Fresh(Duration::from_secs(3600)));
    RefreshableSession::with_strategy(strategy.shared())
        .region(region)
        .build()
        .await
        .unwrap()
}

#[tokio::test]
async fn an_unset_default_says_how_to_set_it_and_replacing_it_is_seen_by_all() {
    let error = brs::client(Client::new).unwrap_err();
    assert!(
        error.is_unrecoverable() && error.to_string().contains("brs::set_default_session"),
        "{error}"
    );

    assert!(brs::set_default_session(in_region("eu-west-1").await).is_none());
    let kept = brs::default_session().unwrap();
    assert_eq!(
        brs::client(Client::new).unwrap(),
        Client(Some("eu-west-1".into()))
    );
    assert_eq!(kept.clients().misses, 1, "the session's own cache has it");

    let old = brs::set_default_session(in_region("eu-north-1").await).unwrap();
    assert_eq!(
        brs::client(Client::new).unwrap(),
        Client(Some("eu-north-1".into()))
    );
    assert_eq!(old.clients().hits, 0);
    assert!(
        kept.credentials().await.is_ok(),
        "who holds the old one goes on with it"
    );

    let readers: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(|| {
                for _ in 0..1000 {
                    let region = brs::client(Client::new).unwrap().0.unwrap();
                    assert!(region.starts_with("eu-"), "{region}");
                }
            })
        })
        .collect();
    for number in 0..100 {
        brs::set_default_session(if number % 2 == 0 {
            kept.clone()
        } else {
            old.clone()
        });
    }
    readers
        .into_iter()
        .for_each(|reader| reader.join().unwrap());
}
