//! Each limit of the request at its edges.

use super::*;
use crate::request::params::Params;
use brs_core::ErrorKind;

const ROLE: &str = "arn:aws:iam::123456789012:role/reader";

fn base() -> Params {
    Params::new(ROLE)
}

fn many(count: usize) -> Vec<String> {
    (0..count)
        .map(|index| format!("arn:aws:iam::aws:policy/p{index}"))
        .collect()
}

fn tags(count: usize) -> Params {
    (0..count).fold(base(), |role, index| {
        role.tag(format!("key{index}"), "value")
    })
}

fn contexts(count: usize) -> Params {
    (0..count).fold(base(), |role, _| {
        role.provided_context("arn:aws:iam::aws:contextProvider/x", "signed")
    })
}

/// A role's ARN of that many characters.
fn role_arn_of(length: usize) -> String {
    let mut arn = String::from("arn:aws:iam::123456789012:role/");
    while arn.len() < length {
        arn.push('r');
    }
    arn
}

/// A JSON object of that many characters.
fn policy_of(length: usize) -> String {
    format!(r#"{{"Id":"{}"}}"#, "i".repeat(length - 9))
}

#[test]
fn what_is_just_inside_the_limits_is_accepted() {
    let seconds = Duration::from_secs;
    for (what, role) in [
        ("defaults", base()),
        ("longest role", Params::new(role_arn_of(2048))),
        (
            "path",
            Params::new("arn:aws:iam::123456789012:role/service-role/deep/reader"),
        ),
        (
            "china",
            Params::new("arn:aws-cn:iam::123456789012:role/reader"),
        ),
        (
            "us-gov",
            Params::new("arn:aws-us-gov:iam::123456789012:role/reader"),
        ),
        (
            "iso",
            Params::new("arn:aws-iso-b:iam::123456789012:role/reader"),
        ),
        ("shortest session name", base().role_session_name("ab")),
        (
            "longest session name",
            base().role_session_name("a".repeat(64)),
        ),
        (
            "session name's characters",
            base().role_session_name("Az09_+=,.@-"),
        ),
        ("shortest duration", base().duration(seconds(900))),
        ("longest duration", base().duration(seconds(43_200))),
        ("shortest external id", base().external_id("ab")),
        ("longest external id", base().external_id("a".repeat(1224))),
        (
            "external id's characters",
            base().external_id("Az09_+=,.@:/-"),
        ),
        ("shortest policy", base().policy("{}")),
        ("longest policy", base().policy(policy_of(2048))),
        (
            "policy counted in characters",
            base().policy(policy_of(2048).replace("iii", "éée")),
        ),
        ("most policy arns", base().policy_arns(many(10))),
        (
            "shortest policy arn",
            base().policy_arns(["arn:aws:iam::aws:pol"]),
        ),
        ("most tags", tags(50)),
        ("longest tag", base().tag("k".repeat(128), "v".repeat(256))),
        ("empty tag value", base().tag("k", "")),
        ("tag's characters", base().tag("Ünï code_.:/=+-@", "日本")),
        ("most transitive keys", base().transitive_tag_keys(many(50))),
        (
            "inherited transitive key",
            base().tag("a", "1").transitive_tag_keys(["b"]),
        ),
        ("source identity", base().source_identity("al")),
        (
            "longest source identity",
            base().source_identity("a".repeat(64)),
        ),
        (
            "source identity that only looks like AWS's",
            base().source_identity("aws.user"),
        ),
        (
            "shortest serial",
            base().serial_number("GAHT12345").token_code("000000"),
        ),
        (
            "longest serial",
            base().serial_number("a".repeat(256)).token_code("999999"),
        ),
        (
            "serial's characters",
            base()
                .serial_number("arn:aws:iam::123456789012:mfa/a+b=c,d.e@f-g")
                .token_code("123456"),
        ),
        ("most contexts", contexts(5)),
    ] {
        if let Err(error) = role.request.validate(false) {
            panic!("{what}: {error}");
        }
    }
}

#[test]
fn what_is_just_outside_the_limits_names_its_field() {
    let seconds = Duration::from_secs;
    for (field, role) in [
        ("role_arn", Params::new("arn:aws:iam::1:role")),
        ("role_arn", Params::new(role_arn_of(2049))),
        (
            "role_arn",
            Params::new("arn:aws:iam::12345678901:role/reader"),
        ),
        (
            "role_arn",
            Params::new("arn:aws:iam::12345678901x:role/reader"),
        ),
        (
            "role_arn",
            Params::new("arn:aws:iam::123456789012:user/reader"),
        ),
        ("role_arn", Params::new("arn:aws:iam::123456789012:role/")),
        (
            "role_arn",
            Params::new("arn:aws:iam::123456789012:role/path/"),
        ),
        (
            "role_arn",
            Params::new("arn:aws:iam::123456789012:role/with space"),
        ),
        (
            "role_arn",
            Params::new("arn:aws:sts::123456789012:assumed-role/reader/me"),
        ),
        (
            "role_arn",
            Params::new("arn:aws:iam:eu-west-1:123456789012:role/reader"),
        ),
        (
            "role_arn",
            Params::new("arn:awsx:iam::123456789012:role/reader"),
        ),
        (
            "role_arn",
            Params::new("arn:aws-:iam::123456789012:role/reader"),
        ),
        ("role_session_name", base().role_session_name("a")),
        (
            "role_session_name",
            base().role_session_name("a".repeat(65)),
        ),
        ("role_session_name", base().role_session_name("with space")),
        ("role_session_name", base().role_session_name("ümlaut")),
        ("role_session_name", base().role_session_name("a/b")),
        ("duration", base().duration(seconds(899))),
        ("duration", base().duration(seconds(43_201))),
        ("duration", base().duration(Duration::from_millis(900_500))),
        ("external_id", base().external_id("a")),
        ("external_id", base().external_id("a".repeat(1225))),
        ("external_id", base().external_id("a b")),
        ("policy", base().policy("")),
        ("policy", base().policy(policy_of(2049))),
        ("policy", base().policy("not json")),
        ("policy", base().policy("[]")),
        ("policy", base().policy("{\"Id\":\"\u{100}\"}")),
        ("policy_arns", base().policy_arns(many(11))),
        (
            "policy_arns[0]",
            base().policy_arns(["arn:aws:iam::aws:po"]),
        ),
        ("policy_arns[0]", base().policy_arns(["a".repeat(2049)])),
        (
            "policy_arns[0]",
            base().policy_arns(["ReadOnlyAccess-is-not-an-arn"]),
        ),
        ("tags", tags(51)),
        ("tags[0].key", base().tag("", "v")),
        ("tags[0].key", base().tag("k".repeat(129), "v")),
        ("tags[0].key", base().tag("aws:team", "v")),
        ("tags[0].key", base().tag("AWS:team", "v")),
        ("tags[0].key", base().tag("k!", "v")),
        ("tags[1].key", base().tag("Team", "v").tag("tEAM", "v")),
        ("tags[0].value", base().tag("k", "v".repeat(257))),
        ("tags[0].value", base().tag("k", "line\nbreak")),
        ("transitive_tag_keys", base().transitive_tag_keys(many(51))),
        ("transitive_tag_keys[0]", base().transitive_tag_keys([""])),
        (
            "transitive_tag_keys[0]",
            base().transitive_tag_keys(["k".repeat(129)]),
        ),
        ("source_identity", base().source_identity("a")),
        ("source_identity", base().source_identity("a".repeat(65))),
        ("source_identity", base().source_identity("aws:user")),
        (
            "serial_number",
            base().serial_number("GAHT1234").token_code("123456"),
        ),
        (
            "serial_number",
            base().serial_number("a".repeat(257)).token_code("123456"),
        ),
        (
            "serial_number",
            base().serial_number("with a space").token_code("123456"),
        ),
        (
            "token_code",
            base().serial_number("GAHT12345").token_code("12345"),
        ),
        (
            "token_code",
            base().serial_number("GAHT12345").token_code("1234567"),
        ),
        (
            "token_code",
            base().serial_number("GAHT12345").token_code("12345a"),
        ),
        (
            "token_code",
            base().serial_number("GAHT12345").token_code("１２"),
        ),
        ("provided_contexts", contexts(6)),
        (
            "provided_contexts[0].provider_arn",
            base().provided_context("arn:aws:iam::aws:co", "signed"),
        ),
        (
            "provided_contexts[0].context_assertion",
            base().provided_context("arn:aws:iam::aws:contextProvider/x", "abc"),
        ),
        (
            "provided_contexts[0].context_assertion",
            base().provided_context("arn:aws:iam::aws:contextProvider/x", "a".repeat(2049)),
        ),
    ] {
        let Err(error) = role.request.validate(false) else {
            panic!("{field} is accepted: {role:?}")
        };
        assert_eq!(error.kind(), ErrorKind::Validation, "{error}");
        let param = format!("assume_role.{field}");
        assert_eq!(error.param(), Some(param.as_str()), "{error}");
        assert!(
            error.to_string().starts_with(&format!("`{param}` ")),
            "{error}"
        );
    }
}

#[test]
fn an_mfa_device_and_its_code_go_together() {
    for (missing, role) in [
        ("token_code", base().serial_number("GAHT12345")),
        ("serial_number", base().token_code("123456")),
    ] {
        let error = role.request.validate(false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert_eq!(
            error.param(),
            Some(format!("assume_role.{missing}").as_str())
        );
    }
}

#[test]
fn errors_show_limits_and_lengths_but_no_values() {
    let hush = "hush hush".repeat(300);
    let error = base()
        .external_id(&hush)
        .request
        .validate(false)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`assume_role.external_id` must have 2 to 1224 characters, not 2700"
    );
    let error = base()
        .duration(Duration::from_secs(60))
        .request
        .validate(false)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`assume_role.duration` must be 900 to 43200 seconds, not 60"
    );
    for role in [
        base().external_id("hush hush"),
        base().policy("hush hush"),
        base().serial_number("GAHT12345").token_code("hush"),
        base().provided_context("hush", "hush"),
        base().tag("k", "hush!hush"),
    ] {
        assert!(!format!("{:?}", role.request.validate(false).unwrap_err()).contains("hush"));
    }
}
