//! MFA: every provider against a server that takes a code once, and never the same code twice.

use std::sync::Arc;
use std::time::Duration;

use brs::sts::{AssumeExt as _, MfaTokenProvider, Params, session_token};
use brs::{Clock, RefreshableSession};
use brs_tests::embedded_aws::{Failure, MfaDevice};

use super::*;
use crate::flowing::Flowing;

/// A device's serial number; each test has its own, since what was sent is remembered by it across
/// the process.
pub(super) fn serial(name: &str) -> String {
    format!("arn:aws:iam::123456789012:mfa/{name}")
}

pub(super) fn with_provider(serial_number: &str, provider: MfaTokenProvider) -> Params {
    Params::new(ROLE)
        .serial_number(serial_number)
        .mfa_token_provider(provider)
        .client(StsClient::new().max_attempts(3))
}

/// A session whose role asks for MFA.
pub(super) async fn mfa_session(
    aws: &EmbeddedAws,
    clock: &ManualClock,
    params: Params,
) -> RefreshableSession {
    aws.require_mfa(ROLE);
    with_params(aws, clock, params)
        .clock(Flowing(clock.clone()))
        .build()
        .await
        .unwrap()
}

pub(super) fn accepted(aws: &EmbeddedAws) -> Vec<bool> {
    aws.mfa_attempts()
        .iter()
        .map(|attempt| attempt.accepted)
        .collect()
}

pub(super) fn totp(device: &MfaDevice) -> MfaTokenProvider {
    MfaTokenProvider::totp(device.secret())
}

#[tokio::test]
async fn a_thousand_refreshes_with_totp_never_send_one_code_twice() {
    let (aws, clock) = aws();
    let device = aws.add_mfa_device(&serial("thousand"));
    let session = mfa_session(
        &aws,
        &clock,
        with_provider(device.serial_number(), totp(&device)),
    )
    .await;
    let mut rng = 7_u64;
    for _ in 0..1000 {
        session.refresh().await.unwrap();
        // 0 to 45 s: within a step, into the next, past it.
        rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        clock.advance(Duration::from_millis((rng >> 33) % 45_000));
    }
    assert_eq!(accepted(&aws), vec![true; 1000]);
    assert_eq!(session.status().refreshes(), 1000);
}

#[tokio::test]
async fn two_sessions_share_a_device_and_no_code() {
    let (aws, clock) = aws();
    let device = aws.add_mfa_device(&serial("shared"));
    let one = mfa_session(
        &aws,
        &clock,
        with_provider(device.serial_number(), totp(&device)),
    )
    .await;
    let two = mfa_session(
        &aws,
        &clock,
        with_provider(
            device.serial_number(),
            MfaTokenProvider::totp(device.otpauth_uri()),
        ),
    )
    .await;
    for _ in 0..20 {
        let (first, second) = tokio::join!(one.refresh(), two.refresh());
        first.unwrap();
        second.unwrap();
    }
    assert_eq!(accepted(&aws), vec![true; 40]);
}

#[tokio::test]
async fn a_code_that_another_process_has_used_is_followed_by_the_next() {
    let (aws, clock) = aws();
    let device = aws.add_mfa_device(&serial("elsewhere"));
    let session = mfa_session(
        &aws,
        &clock,
        with_provider(device.serial_number(), totp(&device)),
    )
    .await;
    let elsewhere = aws_sdk_sts::Client::new(&hand_made(&aws).behavior_version(latest()).build());
    let code = device.code_at(clock.now());
    let call = elsewhere
        .get_session_token()
        .serial_number(device.serial_number())
        .token_code(code);
    call.send().await.unwrap();
    session.refresh().await.unwrap();
    assert_eq!(accepted(&aws), [true, false, true]);
}

pub(super) fn latest() -> aws_config::BehaviorVersion {
    aws_config::BehaviorVersion::latest()
}

#[tokio::test]
async fn a_call_that_met_trouble_is_made_again_with_another_code() {
    let (aws, clock) = aws();
    let device = aws.add_mfa_device(&serial("trouble"));
    let session = mfa_session(
        &aws,
        &clock,
        with_provider(device.serial_number(), totp(&device)),
    )
    .await;
    for failure in [
        Failure::Status(500),
        Failure::Throttled,
        Failure::DropConnection,
    ] {
        aws.fail_next([failure]);
        session.refresh().await.unwrap();
    }
    let attempts = aws.mfa_attempts();
    assert_eq!(accepted(&aws), [false, true, false, true, false, true]);
    for pair in attempts.windows(2) {
        assert_ne!(pair[0].token_code, pair[1].token_code);
    }
}

#[tokio::test]
async fn codes_that_are_refused_twice_name_the_device() {
    let (aws, clock) = aws();
    let device = aws.add_mfa_device(&serial("other-secret"));
    let other = aws.add_mfa_device(&serial("whose-secret"));
    let session = mfa_session(
        &aws,
        &clock,
        with_provider(device.serial_number(), totp(&other)),
    )
    .await;
    let error = session.refresh().await.unwrap_err();
    assert_eq!(
        (error.code(), error.status()),
        (Some("AccessDenied"), Some(403))
    );
    assert!(
        error.is_unrecoverable() && error.to_string().contains(device.serial_number()),
        "{error}"
    );
    assert_eq!(accepted(&aws), [false, false]);
    for attempt in aws.mfa_attempts() {
        assert!(
            !format!("{error} {error:?}").contains(&attempt.token_code),
            "{error:?}"
        );
    }
    let nobody = serial("nobodys");
    let session = mfa_session(&aws, &clock, with_provider(&nobody, totp(&other))).await;
    let error = session.refresh().await.unwrap_err();
    assert!(
        error.is_unrecoverable() && error.to_string().contains("list-mfa-devices"),
        "{error}"
    );
}

#[tokio::test]
async fn a_machine_whose_clock_is_hours_off_still_gets_in() {
    // Two minutes are fine for a signature, and not for a code.
    for off in [seconds(120), 3 * HOUR, seconds(86_400)] {
        let clock = ManualClock::new(start());
        let server = clock.clone();
        let aws = EmbeddedAws::builder()
            .clock(move || server.now() - off)
            .start();
        let device = aws.add_mfa_device(&serial(&format!("off-{}", off.as_secs())));
        let session = mfa_session(
            &aws,
            &clock,
            with_provider(device.serial_number(), totp(&device)),
        )
        .await;
        session.refresh().await.unwrap();
        session.refresh().await.unwrap();
        assert_eq!(
            accepted(&aws).iter().filter(|accepted| **accepted).count(),
            2
        );
        assert_eq!(aws.calls("AssumeRole"), 3, "the first call told the time");
    }
}

#[tokio::test]
async fn a_clock_that_is_put_right_later_is_right_from_then_on() {
    let clock = ManualClock::new(start());
    let off = Arc::new(std::sync::Mutex::new(3 * HOUR));
    let (server, behind) = (clock.clone(), Arc::clone(&off));
    let aws = EmbeddedAws::builder()
        .clock(move || server.now() - *behind.lock().unwrap())
        .start();
    let device = aws.add_mfa_device(&serial("put-right"));
    let session = mfa_session(
        &aws,
        &clock,
        with_provider(device.serial_number(), totp(&device)),
    )
    .await;
    session.refresh().await.unwrap();
    // The machine's clock jumps back by what it was ahead, and the server's time goes on.
    *off.lock().unwrap() = Duration::ZERO;
    clock.step_wall(clock.now() - 3 * HOUR + seconds(31));
    for _ in 0..3 {
        session.refresh().await.unwrap();
        clock.advance(seconds(600));
    }
    // And once more, the other way.
    clock.step_wall(clock.now() + 2 * HOUR);
    *off.lock().unwrap() = 2 * HOUR;
    session.refresh().await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_reached_costs_neither_a_code_nor_a_wait() {
    let (aws, clock) = aws();
    let device = aws.add_mfa_device(&serial("unreached"));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let params = with_provider(device.serial_number(), totp(&device));
    let session = with_params(&aws, &clock, params.clone())
        .endpoint_url(endpoint)
        .build()
        .await
        .unwrap();
    // On a clock that stands still a wait would never end.
    let error = session.refresh().await.unwrap_err();
    assert!(
        error.is_retryable() && error.to_string().contains("nothing listens"),
        "{error}"
    );
    let session = with_params(&aws, &clock, params).build().await.unwrap();
    session.refresh().await.unwrap();
    assert_eq!(aws.mfa_attempts()[0].token_code, device.code_at(start()));
}

#[tokio::test]
async fn a_next_code_that_comes_too_late_is_not_hidden_behind_the_refused_one() {
    let (aws, clock) = aws();
    let device = aws.add_mfa_device(&serial("refused-then-late"));
    let elsewhere = aws_sdk_sts::Client::new(&hand_made(&aws).behavior_version(latest()).build());
    let call = elsewhere
        .get_session_token()
        .serial_number(device.serial_number())
        .token_code(device.code_at(clock.now()));
    call.send().await.unwrap();
    let params = with_provider(device.serial_number(), totp(&device));
    let session = with_params(&aws, &clock, params)
        .refresh_timeout(seconds(10))
        .build()
        .await
        .unwrap();
    let error = session.refresh().await.unwrap_err();
    assert!(
        error.is_retryable() && error.to_string().contains("too late for this refresh"),
        "{error}"
    );
    let refused = std::error::Error::source(&error).unwrap().to_string();
    assert!(refused.contains("AWS refused the code"), "{refused}");
}

#[tokio::test]
async fn expired_keys_of_a_provider_cost_no_second_code() {
    let (aws, clock) = aws();
    let device = aws.add_mfa_device(&serial("expired-provider"));
    let hub = with_params(
        &aws,
        &clock,
        Params::new("arn:aws:iam::123456789012:role/hub"),
    )
    .build()
    .await
    .unwrap();
    let set = hub.credentials().await.unwrap();
    let token = set.session_token().map(str::to_owned);
    let keys = aws_credential_types::Credentials::new(
        set.access_key_id(),
        set.secret_access_key(),
        token,
        None,
        "test",
    );
    aws.expire(set.access_key_id());
    let params = with_provider(device.serial_number(), totp(&device));
    let stale = with_params(&aws, &clock, params.clone())
        .base_credentials(provider_of(move || Some(keys.clone())));
    let error = stale.build().await.unwrap().refresh().await.unwrap_err();
    assert!(
        error.code() == Some("ExpiredToken") && !error.is_unrecoverable(),
        "{error:?}"
    );
    assert!(
        aws.mfa_attempts().is_empty(),
        "AWS looks at the signature first"
    );
    assert_eq!(aws.calls("AssumeRole"), 2);
    // Nor is a code asked for where there is nothing to sign with.
    let nothing = with_params(&aws, &clock, params)
        .base_credentials(provider_of(|| None))
        .build()
        .await
        .unwrap();
    let error = nothing.refresh().await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no credentials to call STS with"),
        "{error}"
    );
}

#[tokio::test]
async fn what_stands_on_a_session_that_asks_a_person_asks_one_too() {
    let (aws, _) = aws();
    let params = session_token::Params::new().mfa(serial("person"), MfaTokenProvider::prompt());
    let user = RefreshableSession::builder("sts-session-token", params)
        .region("eu-west-1")
        .endpoint_url(aws.endpoint_url())
        .base_credentials(aws.credentials())
        .await
        .unwrap();
    let hub = user
        .assume("arn:aws:iam::123456789012:role/hub")
        .await
        .unwrap();
    let spoke = hub
        .assume("arn:aws:iam::123456789012:role/spoke")
        .await
        .unwrap();
    assert!(user.as_base().is_interactive() && spoke.as_base().is_interactive());
    assert!(
        !spoke.as_base().strategy().interactive(),
        "though not by itself"
    );
}

#[tokio::test]
async fn one_mfa_session_serves_two_hundred_roles_with_one_code() {
    let (aws, clock) = aws();
    let device = aws.add_mfa_device(&serial("many-roles"));
    let params = session_token::Params::new().mfa(device.serial_number(), totp(&device));
    let mfa = RefreshableSession::builder("sts-session-token", params)
        .region("eu-west-1")
        .endpoint_url(aws.endpoint_url())
        .base_credentials(aws.credentials())
        .clock(Flowing(clock.clone()))
        .build()
        .await
        .unwrap();
    let mut roles = Vec::new();
    for number in 0..200 {
        let role = format!("arn:aws:iam::123456789012:role/role-{number}");
        aws.require_mfa(&role);
        roles.push(mfa.assume(role).await.unwrap());
    }
    let calls = roles.iter().map(|role| role.credentials());
    for result in futures_util::future::join_all(calls).await {
        result.unwrap();
    }
    assert_eq!(
        (
            accepted(&aws),
            aws.calls("GetSessionToken"),
            aws.calls("AssumeRole")
        ),
        (vec![true], 1, 200)
    );
    // Eleven hours of use: the MFA session lives twelve, and each of the roles has been refreshed
    // all along.
    for _ in 0..22 {
        clock.advance(Duration::from_secs(1800));
        roles[7].refresh().await.unwrap();
    }
    until_landed(&mfa).await;
    assert_eq!(
        accepted(&aws).len(),
        2,
        "the second code, an hour before the twelve are over"
    );
    let arn = mfa.whoami().await.unwrap().caller.unwrap().arn;
    assert_eq!(arn, "arn:aws:iam::123456789012:user/brs");
}
