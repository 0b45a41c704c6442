//! Whom profiles tell, and what leaves a doubt.

use super::*;
use aws_types::os_shim_internal::{Env, Fs};

async fn told(config: &str, name: &str) -> Option<String> {
    let env = Env::from_slice(&[
        ("AWS_CONFIG_FILE", "/config"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/credentials"),
    ]);
    let fs = Fs::from_slice(&[("/config", config)]);
    let profiles = aws_config::profile::load(&fs, &env, &Default::default(), None)
        .await
        .unwrap();
    of_profile(&profiles, name, true).map(|told| told.canonical())
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
async fn a_login_is_told_by_its_settings_and_this_host() {
    let config = |role: &str| {
        format!(
            "[profile a]\nsso_start_url = https://x\nsso_region = eu-west-1\n\
             sso_account_id = 123456789012\nsso_role_name = {role}\n"
        )
    };
    let reader = told(&config("reader"), "a").await.unwrap();
    for part in [
        "https://x",
        "eu-west-1",
        "123456789012",
        "reader",
        "\"host\"",
        "\"config\"",
    ] {
        assert!(reader.contains(part), "{reader}");
    }
    assert_ne!(told(&config("admin"), "a").await.unwrap(), reader);
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
