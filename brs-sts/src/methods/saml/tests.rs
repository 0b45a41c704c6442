//! The limits at, below and above their edges, and the spelling as data.

use super::*;
use serde_json::json;

const ROLE: &str = "arn:aws:iam::123456789012:role/reader";
const PROVIDER: &str = "arn:aws:iam::123456789012:saml-provider/idp";

#[test]
fn limits_hold_at_their_edges() {
    let of = |role: &str, provider: &str| Params::new(role, provider, AssertionSource::file("/a"));
    let base = || of(ROLE, PROVIDER);
    let seconds = |seconds| base().duration(Duration::from_secs(seconds));
    let arns =
        |count: usize| base().policy_arns(vec!["arn:aws:iam::aws:policy/ReadOnlyAccess"; count]);
    let inline = |length: usize| base().policy(format!("{:length$}", "{}"));
    let longest = |length: usize| {
        let begin = "arn:aws:iam::123456789012:saml-provider/";
        of(
            ROLE,
            &format!("{begin}{}", "x".repeat(length - begin.len())),
        )
    };
    for (params, field) in [
        (base(), None),
        (
            of(ROLE, "arn:aws-cn:iam::123456789012:saml-provider/a"),
            None,
        ),
        (
            of(ROLE, "arn:aws:iam::123456789012:saml-provider/"),
            Some("provider_arn"),
        ),
        (
            of(ROLE, "arn:aws:iam::12345678901:saml-provider/a"),
            Some("provider_arn"),
        ),
        (of(ROLE, ROLE), Some("provider_arn")),
        (of(ROLE, ""), Some("provider_arn")),
        (longest(2048), None),
        (longest(2049), Some("provider_arn")),
        (of(PROVIDER, PROVIDER), Some("role_arn")),
        (seconds(899), Some("duration")),
        (seconds(900), None),
        (seconds(43_200), None),
        (seconds(43_201), Some("duration")),
        (arns(10), None),
        (arns(11), Some("policy_arns")),
        (inline(2048), None),
        (inline(2049), Some("policy")),
        (base().policy("no JSON"), Some("policy")),
    ] {
        let error = params.validate().err();
        assert_eq!(error.as_ref().and_then(Error::param), field, "{error:?}");
    }
}

#[test]
fn data_uses_the_names_here_or_awss() {
    let read = |data| brs_core::Params::from(data).take::<Params>();
    let source =
        json!({ "command": ["login", "--saml"], "interactive": true, "env": { "A": "hush" } });
    let params = read(json!({
        "RoleArn": ROLE, "PrincipalArn": PROVIDER, "assertion_source": source,
        "PolicyArns": [{ "arn": "arn:aws:iam::aws:policy/ReadOnlyAccess" }], "Policy": "{}", "DurationSeconds": 900,
        "client": { "region_name": "eu-west-1" },
    }))
    .unwrap();
    params.validate().unwrap();
    assert!(params.assertion_source.is_interactive());
    assert!(!format!("{params:?}").contains("hush"));
    for (source, words) in [
        (json!({}), "exactly one of"),
        (json!({ "file": "/a", "command": "b" }), "exactly one of"),
        (
            json!({ "file": "/a", "env": { "A": "hush" } }),
            "settings of `command`",
        ),
        (json!({ "assertion": "hush" }), "unknown field"),
    ] {
        let data =
            json!({ "role_arn": ROLE, "provider_arn": PROVIDER, "assertion_source": source });
        let error = read(data).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(!format!("{error:?}").contains("hush"));
    }
    for missing in ["role_arn", "provider_arn", "assertion_source"] {
        let mut data = json!({ "role_arn": ROLE, "provider_arn": PROVIDER, "assertion_source": { "file": "/a" } });
        data.as_object_mut().unwrap().remove(missing);
        assert!(read(data).unwrap_err().to_string().contains(missing));
    }
}

#[test]
fn a_person_is_given_more_time_than_a_program() {
    let command = || brs_core::command::Command::parse("login").unwrap();
    let seconds = Duration::from_secs;
    let limited = || command().timeout(seconds(60)).unwrap();
    for (source, limit) in [
        (AssertionSource::file("/a"), 30),
        (AssertionSource::command(command()), 30),
        (AssertionSource::command(command()).interactive(), 300),
        (AssertionSource::command(limited()).interactive(), 60),
        (AssertionSource::command(limited()).timeout(seconds(90)), 90),
    ] {
        assert_eq!(
            source.fetcher().unwrap().limit,
            seconds(limit),
            "{source:?}"
        );
    }
    let params = Params::new(ROLE, PROVIDER, AssertionSource::file("/a").interactive());
    assert_eq!(
        params.validate().unwrap_err().param(),
        Some("assertion_source.interactive")
    );
    let params = Params::new(
        ROLE,
        PROVIDER,
        AssertionSource::file("/a").timeout(Duration::ZERO),
    );
    assert_eq!(
        params.validate().unwrap_err().param(),
        Some("assertion_source.timeout")
    );
}
