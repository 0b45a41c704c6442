//! MFA devices: which codes the server takes, how often, and what it remembers of the others.

use super::*;
use brs_tests::embedded_aws::Failure;

const DEVICE: &str = "arn:aws:iam::123456789012:mfa/brs";
const WRONG: &str = "MultiFactorAuthentication failed with invalid MFA one time pass code. ";

fn started() -> (TestClock, EmbeddedAws) {
    let clock = TestClock::at_present();
    let aws = EmbeddedAws::builder().clock(clock.reader()).start();
    (clock, aws)
}

async fn with_code(
    aws: &EmbeddedAws,
    serial_number: &str,
    code: impl Into<String>,
) -> AssumeRoleResult {
    role_call(aws, aws.credentials())
        .serial_number(serial_number)
        .token_code(code)
        .send()
        .await
}

/// Codes as they were presented, and whether each was taken.
fn attempts(aws: &EmbeddedAws) -> Vec<(String, bool)> {
    aws.mfa_attempts()
        .into_iter()
        .map(|attempt| (attempt.token_code, attempt.accepted))
        .collect()
}

#[tokio::test]
async fn a_code_is_good_once_and_up_to_a_step_off() {
    let (clock, aws) = started();
    let device = aws.add_mfa_device(DEVICE);
    let now = clock.now();
    let (before, after) = (
        |seconds| now - Duration::from_secs(seconds),
        |seconds| now + Duration::from_secs(seconds),
    );
    let mut expected = Vec::new();
    for (shown, taken) in [
        (now, true),
        (now, false),
        (before(30), true),
        (before(30), false),
        (after(30), true),
        (after(30), false),
        (before(60), false),
        (after(60), false),
    ] {
        let code = device.code_at(shown);
        let result = with_code(&aws, DEVICE, &code).await;
        assert_eq!(result.is_ok(), taken, "{shown:?}");
        if !taken {
            assert_eq!(
                refusal(result),
                (403, "AccessDenied".to_owned(), WRONG.to_owned())
            );
        }
        expected.push((code, taken));
    }
    assert_eq!(attempts(&aws), expected);
}

#[tokio::test]
async fn time_makes_new_codes_and_no_old_one_good_again() {
    let (clock, aws) = started();
    let device = aws.add_mfa_device(DEVICE);
    let first = device.code_at(clock.now());
    with_code(&aws, DEVICE, &first).await.unwrap();
    clock.advance(30);
    with_code(&aws, DEVICE, &first).await.unwrap_err();
    with_code(&aws, DEVICE, device.code_at(clock.now()))
        .await
        .unwrap();
    clock.rewind(30);
    with_code(&aws, DEVICE, &first).await.unwrap_err();
}

#[tokio::test]
async fn of_two_calls_at_once_one_has_the_code() {
    let (clock, aws) = started();
    let device = aws.add_mfa_device(DEVICE);
    let code = device.code_at(clock.now());
    let (one, other) = tokio::join!(
        with_code(&aws, DEVICE, &code),
        with_code(&aws, DEVICE, &code)
    );
    assert!(one.is_ok() != other.is_ok());
    assert_eq!(attempts(&aws), [(code.clone(), true), (code, false)]);
}

#[tokio::test]
async fn a_device_may_have_steps_of_another_length() {
    let (clock, aws) = started();
    let device = aws.add_mfa_device_with_step(DEVICE, Duration::from_secs(7));
    assert!(device.otpauth_uri().ends_with("&period=7"));
    for (off, taken) in [(14, false), (7, true), (0, true)] {
        let code = device.code_at(clock.now() - Duration::from_secs(off));
        assert_eq!(with_code(&aws, DEVICE, code).await.is_ok(), taken, "{off}");
    }
}

#[test]
#[should_panic(expected = "whole seconds")]
fn a_step_of_no_time_is_a_mistake() {
    EmbeddedAws::start().add_mfa_device_with_step(DEVICE, Duration::ZERO);
}

#[test]
fn a_device_is_what_an_authenticator_takes() {
    let aws = EmbeddedAws::start();
    let device = aws.add_mfa_device(DEVICE);
    let secret = device.secret();
    assert_eq!((device.serial_number(), secret.len()), (DEVICE, 64));
    assert!(
        secret
            .bytes()
            .all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7')),
        "{secret}"
    );
    assert_eq!(
        device.otpauth_uri(),
        format!("otpauth://totp/AWS:brs?secret={secret}&issuer=AWS&digits=6&period=30")
    );
    assert_ne!(aws.add_mfa_device("another").secret(), secret);
    let shown = format!("{device:?} {:?} {aws:?}", device.clone());
    assert!(
        shown.contains(DEVICE) && !shown.contains(&secret),
        "{shown}"
    );
}

#[tokio::test]
async fn what_is_no_code_of_a_known_device_has_the_words_of_aws() {
    let aws = EmbeddedAws::start();
    aws.add_mfa_device(DEVICE);
    let denied = |message: &str| (403, "AccessDenied".to_owned(), message.to_owned());
    let call = || role_call(&aws, aws.credentials());
    let unknown = "MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial \
                   number is valid and associated with this user.";
    assert_eq!(
        refusal(with_code(&aws, "another", "123456").await),
        denied(unknown)
    );
    let half = "MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code. ";
    assert_eq!(
        refusal(call().serial_number(DEVICE).send().await),
        denied(half)
    );
    assert_eq!(
        refusal(call().token_code("123456").send().await),
        denied(half)
    );
    for (code, constraint) in [
        (
            "12345",
            "Member must have length greater than or equal to 6",
        ),
        ("1234567", "Member must have length less than or equal to 6"),
        (
            "12345a",
            "Member must satisfy regular expression pattern: [\\d]*",
        ),
        (
            "１２３４５６",
            "Member must satisfy regular expression pattern: [\\d]*",
        ),
    ] {
        let (status, error_code, message) = refusal(with_code(&aws, DEVICE, code).await);
        assert_eq!((status, error_code.as_str()), (400, "ValidationError"));
        let expected =
            format!("Value '{code}' at 'tokenCode' failed to satisfy constraint: {constraint}");
        assert!(message.ends_with(&expected), "{message}");
    }
    let log = aws.mfa_attempts();
    let serials: Vec<_> = log
        .iter()
        .map(|attempt| attempt.serial_number.as_str())
        .collect();
    assert_eq!(serials, ["another", "", DEVICE, DEVICE, DEVICE, DEVICE]);
    assert!(
        log.iter()
            .all(|attempt| !attempt.accepted && attempt.action == "AssumeRole")
    );
}

#[tokio::test]
async fn a_code_in_a_call_that_was_made_to_fail_is_on_record_and_still_good() {
    let (clock, aws) = started();
    let device = aws.add_mfa_device(DEVICE);
    let code = device.code_at(clock.now());
    let failures = [
        Failure::Status(500),
        Failure::Throttled,
        Failure::DropConnection,
        Failure::EmptyBody,
    ];
    let count = failures.len();
    aws.fail_next(failures);
    for _ in 0..count {
        with_code(&aws, DEVICE, &code).await.unwrap_err();
    }
    with_code(&aws, DEVICE, &code).await.unwrap();
    let mut expected = vec![(code.clone(), false); count];
    expected.push((code, true));
    assert_eq!(attempts(&aws), expected);
}

#[tokio::test]
async fn a_code_is_on_record_while_its_call_hangs() {
    let (clock, aws) = started();
    let aws = Arc::new(aws);
    let code = aws.add_mfa_device(DEVICE).code_at(clock.now());
    aws.fail_next([Failure::Hang]);
    let call = tokio::spawn({
        let (aws, code) = (Arc::clone(&aws), code.clone());
        async move { with_code(&aws, DEVICE, code).await }
    });
    aws.wait_for_calls("AssumeRole", 1).await;
    assert_eq!(attempts(&aws), [(code.clone(), false)]);
    aws.release_hangs();
    call.await.unwrap().unwrap();
    assert_eq!(attempts(&aws), [(code, true)]);
}

#[tokio::test]
async fn a_call_that_is_refused_for_another_reason_leaves_its_code_good() {
    let (clock, aws) = started();
    let device = aws.add_mfa_device(DEVICE);
    let code = device.code_at(clock.now());
    let call = || {
        role_call(&aws, aws.credentials())
            .serial_number(DEVICE)
            .token_code(&code)
    };
    aws.deny_role(ROLE);
    assert_eq!(refusal(call().send().await).1, "AccessDenied");
    aws.add_role(ROLE);
    aws.require_external_id(ROLE, "partner");
    assert_eq!(refusal(call().send().await).1, "AccessDenied");
    let call = || call().external_id("partner");
    assert_eq!(
        refusal(call().duration_seconds(899).send().await).1,
        "ValidationError"
    );
    aws.set_max_session_duration(ROLE, Duration::from_secs(3600));
    assert_eq!(
        refusal(call().duration_seconds(3601).send().await).1,
        "ValidationError"
    );
    call().send().await.unwrap();
    let accepted: Vec<_> = attempts(&aws)
        .into_iter()
        .map(|(_, accepted)| accepted)
        .collect();
    assert_eq!(accepted, [false, false, false, false, true]);
}

#[tokio::test]
async fn a_badly_signed_code_was_presented_by_nobody() {
    let (clock, aws) = started();
    let device = aws.add_mfa_device(DEVICE);
    let code = device.code_at(clock.now());
    let wrong = Credentials::new(aws.access_key_id(), "guess", None, None, "test");
    let call = role_call(&aws, wrong)
        .serial_number(DEVICE)
        .token_code(&code);
    assert_eq!(refusal(call.send().await).1, "SignatureDoesNotMatch");
    assert_eq!(attempts(&aws), []);
    with_code(&aws, DEVICE, code).await.unwrap();
}

#[tokio::test]
async fn one_device_serves_both_actions_and_each_code_only_one_of_them() {
    let (clock, aws) = started();
    let device = aws.add_mfa_device(DEVICE);
    let code = device.code_at(clock.now());
    let call = client(&aws, aws.credentials())
        .get_session_token()
        .serial_number(DEVICE)
        .token_code(&code);
    call.send().await.unwrap();
    assert_eq!(refusal(with_code(&aws, DEVICE, &code).await).2, WRONG);
    let actions: Vec<_> = aws
        .mfa_attempts()
        .into_iter()
        .map(|attempt| (attempt.action, attempt.accepted))
        .collect();
    assert_eq!(
        actions,
        [
            ("GetSessionToken".to_owned(), true),
            ("AssumeRole".to_owned(), false)
        ]
    );
}

#[tokio::test]
async fn a_device_may_show_fixed_codes_besides_its_own() {
    let (clock, aws) = started();
    let device = aws.add_mfa_device(DEVICE);
    let code = device.code_at(clock.now());
    // Not one of the three that the device is good for at present.
    let fixed = (0..)
        .map(|number| format!("{number:06}"))
        .find(|fixed| {
            [-30, 0, 30]
                .iter()
                .all(|off| device.code_at(shifted(clock.now(), *off)) != *fixed)
        })
        .unwrap();
    aws.add_mfa_code(DEVICE, &fixed);
    for (code, taken) in [(&fixed, true), (&fixed, false), (&code, true)] {
        assert_eq!(with_code(&aws, DEVICE, code).await.is_ok(), taken, "{code}");
    }
    aws.add_mfa_code(DEVICE, &fixed);
    with_code(&aws, DEVICE, &fixed).await.unwrap();
}

fn shifted(time: SystemTime, seconds: i64) -> SystemTime {
    let by = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { time - by } else { time + by }
}
