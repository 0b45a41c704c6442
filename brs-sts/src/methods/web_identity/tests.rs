//! The limits at, below and above their edges, and the spelling as data.

use super::*;
use serde_json::json;

const ROLE: &str = "arn:aws:iam::123456789012:role/reader";

#[test]
fn limits_hold_at_their_edges() {
    let base = || Params::new().role_arn(ROLE);
    let seconds = |seconds| base().duration(Duration::from_secs(seconds));
    let arns =
        |count: usize| base().policy_arns(vec!["arn:aws:iam::aws:policy/ReadOnlyAccess"; count]);
    let inline = |length: usize| base().policy(format!("{:length$}", "{}"));
    for (params, field) in [
        (seconds(899), Some("duration")),
        (seconds(900), None),
        (seconds(43_200), None),
        (seconds(43_201), Some("duration")),
        (base().provider_id("abc"), Some("provider_id")),
        (base().provider_id("abcd"), None),
        (base().provider_id("x".repeat(2048)), None),
        (base().provider_id("x".repeat(2049)), Some("provider_id")),
        (base().role_session_name("x"), Some("role_session_name")),
        (base().role_session_name("xy"), None),
        (base().role_session_name("x".repeat(64)), None),
        (
            base().role_session_name("x".repeat(65)),
            Some("role_session_name"),
        ),
        (arns(10), None),
        (arns(11), Some("policy_arns")),
        (base().policy_arns(["short"]), Some("policy_arns[0]")),
        (inline(2048), None),
        (inline(2049), Some("policy")),
        (base().policy("no JSON"), Some("policy")),
        (
            Params::new().role_arn("arn:aws:iam::1:role"),
            Some("role_arn"),
        ),
    ] {
        let error = params.validate().err();
        assert_eq!(error.as_ref().and_then(Error::param), field, "{error:?}");
    }
}

#[test]
fn data_uses_the_names_here_or_awss() {
    let read = |data| brs_core::Params::from(data).take::<Params>();
    let params = read(json!({
        "RoleArn": ROLE, "web_identity_token_file": "/run/token", "RoleSessionName": "pod", "ProviderId": "accounts.x",
        "PolicyArns": [{ "arn": "arn:aws:iam::aws:policy/ReadOnlyAccess" }], "Policy": "{}", "DurationSeconds": 900,
        "client": { "region_name": "eu-west-1" },
    }))
    .unwrap();
    params.validate().unwrap();
    assert_eq!(params.token_file.as_deref(), Some(Path::new("/run/token")));
    assert!(
        read(json!({ "WebIdentityToken": "eyJ.hush" }))
            .unwrap_err()
            .to_string()
            .contains("unknown field")
    );
}

#[test]
fn a_wrong_value_is_blamed_on_the_key_or_variable_that_holds_it() {
    for (profile, named, param) in [
        (
            Some("pod"),
            "`role_arn` of the profile `pod` must be",
            "role_arn",
        ),
        (None, "`AWS_ROLE_ARN` must be", "AWS_ROLE_ARN"),
    ] {
        let role = graph::WebIdentity {
            profile: profile.map(str::to_owned),
            role_arn: "arn:aws:iam::1:role/short".into(),
            token_file: "/token".into(),
            role_session_name: None,
            duration: None,
        };
        let (mut params, mut origins) = (Params::new(), Origins::NONE);
        params.complete(&role, &mut origins);
        let error = params.check_found(&origins).unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
        assert_eq!(error.param(), Some(param), "{error:?}");
        // What the program gives is the program's.
        let (mut params, mut origins) = (
            Params::new().role_arn(role.role_arn.as_str()),
            Origins::NONE,
        );
        params.complete(&role, &mut origins);
        let error = params.check_found(&origins).unwrap_err();
        assert!(
            error.to_string().starts_with("`role_arn` must be"),
            "{error}"
        );
    }
}
