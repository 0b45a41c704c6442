//! Sharing among web identities: by whom the token is of when the source is asked.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use brs::shared::{HostCache, SharedExt as _};
use brs::sts::{AssumeExt as _, web_identity};

use super::*;

fn jwt(claims: &str) -> String {
    format!(
        "e30.{}.c2ln",
        Base64UrlUnpadded::encode_string(claims.as_bytes())
    )
}

fn builder(aws: &EmbeddedAws, clock: &ManualClock, folder: &std::path::Path) -> SessionBuilder {
    let params = web_identity::Params::new()
        .role_arn(ROLE)
        .token_file(folder.join("token"));
    RefreshableSession::with(params)
        .region("eu-west-1")
        .endpoint_url(aws.endpoint_url())
        .clock(clock.clone())
}

async fn open(
    aws: &EmbeddedAws,
    clock: &ManualClock,
    folder: &std::path::Path,
) -> RefreshableSession {
    let cache = HostCache::in_directory(folder.join("cache"));
    let builder = builder(aws, clock, folder).shared(cache);
    builder.build().await.unwrap()
}

/// Makes the token that of this subject.
fn write(aws: &EmbeddedAws, folder: &std::path::Path, who: &str) {
    let token = jwt(&format!(
        r#"{{"iss":"https://idp","sub":"{who}","aud":"sts.amazonaws.com"}}"#
    ));
    aws.add_web_identity(&token, who);
    std::fs::write(folder.join("token"), token).unwrap();
}

#[tokio::test]
async fn a_token_with_other_session_tags_gets_its_own_credentials() {
    let (aws, clock) = aws();
    let folder = tempfile::tempdir().unwrap();
    let of = |team: &str, exp: u32| {
        jwt(&format!(
            r#"{{"iss":"https://idp","sub":"app","aud":"sts.amazonaws.com","exp":400000000{exp},
                "https://aws.amazon.com/tags":{{"principal_tags":{{"team":["{team}"]}}}}}}"#
        ))
    };
    let mut keys = Vec::new();
    for (team, exp) in [("red", 1), ("blue", 1), ("blue", 2)] {
        let token = of(team, exp);
        aws.add_web_identity(&token, "app");
        std::fs::write(folder.path().join("token"), token).unwrap();
        let session = open(&aws, &clock, folder.path()).await;
        keys.push(
            session
                .credentials()
                .await
                .unwrap()
                .access_key_id()
                .to_owned(),
        );
    }
    assert_ne!(keys[0], keys[1]);
    assert_eq!(keys[1], keys[2], "the next token of the same subject");
}

#[tokio::test]
async fn a_session_whose_token_becomes_anothers_stores_nothing_as_the_first_one() {
    let (aws, clock) = aws();
    let folder = tempfile::tempdir().unwrap();
    let write = |who: &str| write(&aws, folder.path(), who);
    write("alice");
    let long_lived = open(&aws, &clock, folder.path()).await;
    write("bob");
    let of_bob = long_lived.credentials().await.unwrap();
    write("alice");
    let session = open(&aws, &clock, folder.path()).await;
    let of_alice = session.credentials().await.unwrap();
    assert_ne!(of_alice.access_key_id(), of_bob.access_key_id());
}

#[tokio::test]
async fn a_role_is_stored_as_that_of_the_set_that_it_was_assumed_with() {
    let (aws, clock) = aws();
    let folder = tempfile::tempdir().unwrap();
    let write = |who: &str| write(&aws, folder.path(), who);
    let hub = async || {
        let hub = builder(&aws, &clock, folder.path()).build().await.unwrap();
        hub.credentials().await.unwrap();
        hub
    };
    let role = async |hub: &RefreshableSession| {
        let params = Params::new("arn:aws:iam::123456789012:role/on-top");
        let cache = HostCache::in_directory(folder.path().join("cache"));
        let builder = hub.assume(params).shared(cache).defer_refresh(true);
        builder.build().await.unwrap()
    };
    write("alice");
    let of_alice = hub().await;
    let on_alice = role(&of_alice).await;
    // The next set beneath is Bob's, this one is still Alice's.
    write("bob");
    on_alice.credentials().await.unwrap();
    let on_bob = role(&hub().await).await;
    on_bob.credentials().await.unwrap();
    assert_eq!(aws.calls("AssumeRole"), 2);
    // Once it is, both are one.
    of_alice.refresh().await.unwrap();
    let set = on_bob.refresh().await.unwrap();
    on_alice.invalidate(on_alice.credentials().await.unwrap().access_key_id());
    assert_eq!(on_alice.credentials().await.unwrap(), set);
    assert_eq!(aws.calls("AssumeRole"), 3);
}
