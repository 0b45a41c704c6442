//! Whom profiles tell, and what leaves a doubt.

use super::*;
use aws_types::os_shim_internal::{Env, Fs};

async fn told(config: &str, name: &str) -> Option<String> {
    told_with(config, name, Path::new("/absent")).await
}

/// With the logins in that folder.
async fn told_with(config: &str, name: &str, logins: &Path) -> Option<String> {
    let env = Env::from_slice(&[
        ("AWS_CONFIG_FILE", "/config"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/credentials"),
    ]);
    let fs = Fs::from_slice(&[("/config", config)]);
    let profiles = aws_config::profile::load(&fs, &env, &Default::default(), None)
        .await
        .unwrap();
    of_profile(&profiles, name, true, logins).map(|told| told.canonical())
}

#[tokio::test]
async fn keys_are_told_by_their_id() {
    let config = "[profile a]\naws_access_key_id = AKIDA\naws_secret_access_key = hush\n";
    assert_eq!(
        told(config, "a").await.unwrap(),
        r#"{"access_key_id":"AKIDA","method":"keys"}"#
    );
}

#[tokio::test]
async fn a_login_is_told_by_its_settings_and_token() {
    let folder = tempfile::tempdir().unwrap();
    // printf https://x | sha1sum, and printf team | sha1sum
    let names = [
        "98383e6608d65e46b24bbd92582bc8d916605a21",
        "d25187dc137f35c88bc80ec8c3ffbdb17b5eb873",
    ];
    let log_in = |token: &str| {
        for name in names {
            let text = format!(
                r#"{{"accessToken":"{token}","expiresAt":"2030-01-01T00:00:00Z","startUrl":"https://x"}}"#
            );
            std::fs::write(folder.path().join(format!("{name}.json")), text).unwrap();
        }
    };
    let config = |role: &str| {
        format!(
            "[profile a]\nsso_start_url = https://x\nsso_region = eu-west-1\n\
             sso_account_id = 123456789012\nsso_role_name = {role}\n"
        )
    };
    let with_session = "[profile a]\nsso_session = team\nsso_account_id = 123456789012\n\
         sso_role_name = reader\n[sso-session team]\nsso_region = eu-west-1\n\
         sso_start_url = https://x\n";
    let told = async |config: &str| told_with(config, "a", folder.path()).await;
    assert_eq!(told(&config("reader")).await, None, "nobody has logged in");

    log_in("hush-of-alice");
    let alice = told(&config("reader")).await.unwrap();
    for part in ["https://x", "eu-west-1", "123456789012", "reader"] {
        assert!(alice.contains(part), "{alice}");
    }
    assert!(!alice.contains("hush"), "{alice}");
    assert_ne!(told(&config("admin")).await.unwrap(), alice);
    assert_eq!(told(with_session).await.unwrap(), alice);

    log_in("hush-of-bob");
    assert_ne!(told(&config("reader")).await.unwrap(), alice);
    assert_ne!(told(with_session).await.unwrap(), alice);
}

#[tokio::test]
async fn what_leaves_a_doubt_is_not_told() {
    let keys = "aws_access_key_id = AKIDA\naws_secret_access_key = hush\n";
    for (config, why) in [
        (String::new(), "nothing is known"),
        (
            "[profile a]\ncredential_process = /bin/x --token hush\n".into(),
            "a process",
        ),
        (
            format!(
                "[profile a]\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = a\n{keys}"
            ),
            "keys or role",
        ),
        (
            "[profile a]\nrole_arn = arn:aws:iam::123456789012:role/x\n\
             web_identity_token_file = /token\n"
                .into(),
            "a web identity",
        ),
        (
            format!("[profile a]\ncredential_process = /bin/x\n{keys}"),
            "keys or process",
        ),
        (
            "[profile a]\nrole_arn = arn:aws:iam::123456789012:role/x\n\
             credential_source = Ec2InstanceMetadata\n"
                .into(),
            "an instance",
        ),
    ] {
        assert_eq!(told(&config, "a").await, None, "{why}");
    }
}
