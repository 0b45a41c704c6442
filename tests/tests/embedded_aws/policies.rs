//! Session policies, tags and source identities, and what a chain of roles inherits.

use super::*;
use aws_sdk_sts::types::{PolicyDescriptorType, Tag};

fn call(aws: &EmbeddedAws) -> AssumeRoleFluentBuilder {
    role_call(aws, aws.credentials())
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build().unwrap()
}

fn policy_arns(count: usize) -> Vec<PolicyDescriptorType> {
    let arn = |number| format!("arn:aws:iam::aws:policy/P{number}");
    (0..count)
        .map(|number| PolicyDescriptorType::builder().arn(arn(number)).build())
        .collect()
}

#[expect(
    deprecated,
    reason = "STS still sends the packed size beside its successor"
)]
fn packed(output: &AssumeRoleOutput) -> i32 {
    output.packed_policy_size().unwrap()
}

/// A policy of exactly that many bytes.
fn policy_of(bytes: usize) -> String {
    format!("{:bytes$}", r#"{"Version":"2012-10-17","Statement":[]}"#)
}

#[tokio::test]
async fn a_policy_is_an_object_with_statements() {
    let aws = EmbeddedAws::start();
    for good in [
        r#"{"Version":"2012-10-17","Statement":[]}"#,
        r#"{"Statement":{"Effect":"Deny"}}"#,
    ] {
        call(&aws).policy(good).send().await.unwrap();
    }
    let not_json = "The policy is not in the valid JSON format.";
    let not_a_policy = "Syntax errors in policy.";
    for (bad, message) in [
        ("Statement", not_json),
        (r#"{"Statement":[]"#, not_json),
        ("{}", not_a_policy),
        (r#"[{"Statement":[]}]"#, not_a_policy),
        (r#""Statement""#, not_a_policy),
        (r#"{"Statement":"allow"}"#, not_a_policy),
        ("null", not_a_policy),
    ] {
        let expected = (
            400,
            "MalformedPolicyDocument".to_owned(),
            message.to_owned(),
        );
        assert_eq!(
            refusal(call(&aws).policy(bad).send().await),
            expected,
            "{bad}"
        );
    }
}

#[tokio::test]
async fn policies_and_tags_share_one_allotment() {
    let aws = EmbeddedAws::start();
    assert_eq!(packed(&call(&aws).send().await.unwrap()), 0);
    assert_eq!(
        packed(&call(&aws).policy(policy_of(41)).send().await.unwrap()),
        3
    );
    assert_eq!(
        packed(&call(&aws).policy(policy_of(2048)).send().await.unwrap()),
        100
    );
    let tagged = call(&aws).policy(policy_of(2040)).tags(tag("key", "value"));
    assert_eq!(packed(&tagged.send().await.unwrap()), 100);
    for (too_large, percent) in [
        (call(&aws).policy(policy_of(2049)), 101),
        (
            call(&aws).policy(policy_of(2041)).tags(tag("key", "value")),
            101,
        ),
        (
            call(&aws)
                .policy(policy_of(2048))
                .set_policy_arns(Some(policy_arns(1))),
            102,
        ),
        (call(&aws).policy(policy_of(3800)), 186),
    ] {
        let message = format!("Packed policy consumes {percent}% of allotted space");
        assert_eq!(
            refusal(too_large.send().await),
            (400, "PackedPolicyTooLarge".to_owned(), message)
        );
    }
}

#[tokio::test]
async fn lists_have_a_longest_length() {
    let aws = EmbeddedAws::start();
    let tags = |count| {
        Some(
            (0..count)
                .map(|number| tag(&format!("k{number}"), ""))
                .collect(),
        )
    };
    let keys = |count| {
        Some(
            (0..count)
                .map(|number| format!("k{}", number % 50))
                .collect(),
        )
    };
    call(&aws)
        .set_policy_arns(Some(policy_arns(10)))
        .send()
        .await
        .unwrap();
    call(&aws)
        .set_tags(tags(50))
        .set_transitive_tag_keys(keys(50))
        .send()
        .await
        .unwrap();
    for (call, start, end) in [
        (
            call(&aws).set_policy_arns(Some(policy_arns(11))),
            "Value '[PolicyDescriptorType(arn=arn:aws:iam::aws:policy/P0), ",
            "at 'policyArns' failed to satisfy constraint: Member must have length less than or equal to 10",
        ),
        (
            call(&aws).set_tags(tags(51)),
            "Value '[Tag(key=k0, value=), ",
            "at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50",
        ),
        (
            call(&aws)
                .set_tags(tags(50))
                .set_transitive_tag_keys(keys(51)),
            "Value '[k0, ",
            "at 'transitiveTagKeys' failed to satisfy constraint: Member must have length less than or equal to 50",
        ),
    ] {
        let (status, code, message) = refusal(call.send().await);
        assert_eq!(
            (status, code.as_str()),
            (400, "ValidationError"),
            "{message}"
        );
        assert!(
            message.starts_with(&format!("1 validation error detected: {start}")),
            "{message}"
        );
        assert!(message.ends_with(end), "{message}");
    }
}

#[tokio::test]
async fn keys_and_values_of_tags_have_lengths() {
    let aws = EmbeddedAws::start();
    call(&aws)
        .tags(tag(&"ä".repeat(128), &"ö".repeat(256)))
        .send()
        .await
        .unwrap();
    for (bad, member) in [
        (tag(&"k".repeat(129), ""), "tags.2.member.key"),
        (tag("", "v"), "tags.2.member.key"),
        (tag("k", &"v".repeat(257)), "tags.2.member.value"),
    ] {
        let (_, code, message) = refusal(call(&aws).tags(tag("a", "")).tags(bad).send().await);
        assert_eq!(code, "ValidationError");
        assert!(
            message.contains(&format!("at '{member}' failed")),
            "{message}"
        );
    }
}

#[tokio::test]
async fn keys_of_tags_are_unique_in_either_case() {
    let aws = EmbeddedAws::start();
    call(&aws)
        .tags(tag("team", "blue"))
        .tags(tag("teams", "blue"))
        .send()
        .await
        .unwrap();
    let message =
        "Duplicate tag keys found. Please note that Tag keys are case insensitive.".to_owned();
    let expected = (400, "InvalidParameterValue".to_owned(), message);
    for again in ["team", "Team", "TEAM"] {
        let refused = call(&aws)
            .tags(tag("team", "blue"))
            .tags(tag(again, "red"))
            .send()
            .await;
        assert_eq!(refusal(refused), expected, "{again}");
    }
}

#[tokio::test]
async fn what_is_passed_on_is_among_the_tags() {
    let aws = EmbeddedAws::start();
    call(&aws)
        .tags(tag("Team", "blue"))
        .transitive_tag_keys("team")
        .send()
        .await
        .unwrap();
    let message =
        "The specified transitive tag key must be included in the requested tags.".to_owned();
    let refused = call(&aws)
        .tags(tag("team", "blue"))
        .transitive_tag_keys("unit")
        .send()
        .await;
    assert_eq!(
        refusal(refused),
        (400, "InvalidParameterValue".to_owned(), message)
    );
}

#[tokio::test]
async fn transitive_tags_stay_as_they_are_along_a_chain() {
    let aws = EmbeddedAws::start();
    let first = call(&aws)
        .tags(tag("team", "blue"))
        .tags(tag("unit", "a"))
        .transitive_tag_keys("team");
    let mut session = issued(&first.send().await.unwrap());
    let message = "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag \
                   key from the calling session.";
    for _ in 0..3 {
        for key in ["team", "Team"] {
            let refused = role_call(&aws, session.clone())
                .tags(tag(key, "blue"))
                .send()
                .await;
            assert_eq!(
                refusal(refused),
                (400, "InvalidParameterValue".to_owned(), message.to_owned())
            );
        }
        // A tag that was not passed on is as free as a new one, and one that was may be named
        // again.
        let next = role_call(&aws, session)
            .tags(tag("unit", "b"))
            .transitive_tag_keys("team");
        session = issued(&next.send().await.unwrap());
    }
}

#[tokio::test]
async fn a_source_identity_stays_what_it_is_along_a_chain() {
    let aws = EmbeddedAws::start();
    let first = call(&aws).source_identity("alice").send().await.unwrap();
    let second = role_call(&aws, issued(&first)).send().await.unwrap();
    let again = role_call(&aws, issued(&second))
        .source_identity("alice")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (first.source_identity(), again.source_identity()),
        (Some("alice"), Some("alice"))
    );
    for session in [&first, &second, &again] {
        let (status, code, _) = refusal(
            role_call(&aws, issued(session))
                .source_identity("bob")
                .send()
                .await,
        );
        assert_eq!((status, code.as_str()), (403, "AccessDenied"));
    }
    let none = issued(&assume(&aws).await.unwrap());
    role_call(&aws, none)
        .source_identity("bob")
        .send()
        .await
        .unwrap();
}
