//! What a role asks for: MFA, an external id, a limit of its sessions' duration.

use super::*;

fn denied() -> (u16, String, String) {
    let message = format!(
        "User: arn:aws:iam::123456789012:user/brs is not authorized to perform: sts:AssumeRole on resource: {ROLE}"
    );
    (403, "AccessDenied".to_owned(), message)
}

#[tokio::test]
async fn a_role_that_asks_for_mfa_wants_a_code() {
    let clock = TestClock::at_present();
    let aws = EmbeddedAws::builder().clock(clock.reader()).start();
    let device = aws.add_mfa_device("arn:aws:iam::123456789012:mfa/brs");
    aws.require_mfa(ROLE);
    assert_eq!(refusal(assume(&aws).await), denied());
    let call = |code: String| {
        role_call(&aws, aws.credentials())
            .serial_number(device.serial_number())
            .token_code(code)
            .send()
    };
    let wrong = device.code_at(clock.now() + Duration::from_secs(3600));
    assert!(
        refusal(call(wrong).await)
            .2
            .starts_with("MultiFactorAuthentication failed")
    );
    let session = issued(&call(device.code_at(clock.now())).await.unwrap());
    let other = client(&aws, aws.credentials())
        .assume_role()
        .role_arn(format!("{ROLE}-2"))
        .role_session_name("me");
    other.send().await.unwrap();
    // A role's session is none that was made with MFA, even if a code opened it.
    assert_eq!(
        refusal(role_call(&aws, session).send().await).1,
        "AccessDenied"
    );
}

#[tokio::test]
async fn a_role_that_asks_for_an_external_id_wants_its_own() {
    let aws = EmbeddedAws::start();
    role_call(&aws, aws.credentials())
        .external_id("unasked")
        .send()
        .await
        .unwrap();
    aws.require_external_id(ROLE, "partner-17");
    assert_eq!(refusal(assume(&aws).await), denied());
    for wrong in ["partner-71", "PARTNER-17", "partner-17 "] {
        let refused = role_call(&aws, aws.credentials())
            .external_id(wrong)
            .send()
            .await;
        assert!(
            matches!(
                refusal(refused).1.as_str(),
                "AccessDenied" | "ValidationError"
            ),
            "{wrong}"
        );
    }
    role_call(&aws, aws.credentials())
        .external_id("partner-17")
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_role_limits_its_sessions() {
    let clock = TestClock::at_present();
    let aws = EmbeddedAws::builder().clock(clock.reader()).start();
    let call = |seconds| {
        role_call(&aws, aws.credentials())
            .duration_seconds(seconds)
            .send()
    };
    aws.set_max_session_duration(ROLE, Duration::from_secs(7200));
    assert_eq!(
        lifetime(&clock, call(7199).await.unwrap().credentials()),
        7199
    );
    assert_eq!(
        lifetime(&clock, call(7200).await.unwrap().credentials()),
        7200
    );
    let message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        .to_owned();
    assert_eq!(
        refusal(call(7201).await),
        (400, "ValidationError".to_owned(), message)
    );
    assert_eq!(
        lifetime(&clock, assume(&aws).await.unwrap().credentials()),
        3600
    );
    aws.set_max_session_duration(ROLE, Duration::from_secs(1800));
    assert_eq!(
        lifetime(&clock, assume(&aws).await.unwrap().credentials()),
        1800
    );
}

#[tokio::test]
async fn a_chained_session_has_both_limits() {
    let aws = EmbeddedAws::start();
    let chained = issued(&assume(&aws).await.unwrap());
    let call = |seconds| {
        role_call(&aws, chained.clone())
            .duration_seconds(seconds)
            .send()
    };
    aws.set_max_session_duration(ROLE, Duration::from_secs(1800));
    call(1800).await.unwrap();
    assert!(refusal(call(1801).await).2.contains("MaxSessionDuration"));
    assert!(refusal(call(3601).await).2.contains("role chaining"));
}

#[tokio::test]
async fn external_ids_and_source_identities_have_lengths_and_characters() {
    let aws = EmbeddedAws::start();
    let call = || role_call(&aws, aws.credentials());
    for good in ["ab", "a+b=c,d.e@f:g/h-i_j", &"x".repeat(1224)] {
        call().external_id(good).send().await.unwrap();
    }
    for good in ["ab", "a+b=c,d.e@f-g_h", &"x".repeat(64)] {
        call().source_identity(good).send().await.unwrap();
    }
    let pattern = "Member must satisfy regular expression pattern: ";
    for (call, member, constraint) in [
        (
            call().external_id("a"),
            "externalId",
            "length greater than or equal to 2",
        ),
        (
            call().external_id("x".repeat(1225)),
            "externalId",
            "length less than or equal to 1224",
        ),
        (
            call().external_id("two words"),
            "externalId",
            &*format!("{pattern}[\\w+=,.@:\\/-]*"),
        ),
        (call().external_id("äö"), "externalId", pattern),
        (
            call().source_identity("a"),
            "sourceIdentity",
            "length greater than or equal to 2",
        ),
        (
            call().source_identity("x".repeat(65)),
            "sourceIdentity",
            "length less than or equal to 64",
        ),
        (
            call().source_identity("a/b"),
            "sourceIdentity",
            &*format!("{pattern}[\\w+=,.@-]*"),
        ),
    ] {
        let (status, code, message) = refusal(call.send().await);
        assert_eq!(
            (status, code.as_str()),
            (400, "ValidationError"),
            "{member}"
        );
        assert!(
            message.contains(&format!("at '{member}' failed")) && message.contains(constraint),
            "{message}"
        );
    }
}

#[test]
#[should_panic(expected = "is not the ARN of a role")]
fn a_condition_of_what_is_no_role_is_a_mistake() {
    EmbeddedAws::start().require_mfa("demo");
}
