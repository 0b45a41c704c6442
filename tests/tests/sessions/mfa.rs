//! MFA: every provider against a server that takes a code once, and never the same code twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use brs::command::Command;
use brs::sts::{AssumeExt as _, MfaTokenProvider, Params, session_token};
use brs::{Clock, ErrorKind, RefreshableSession};
use brs_tests::embedded_aws::{Failure, MfaDevice};

use super::*;
use crate::flowing::Flowing;

/// A device's serial number; each test has its own, since what was sent is remembered by it across
/// the process.
fn serial(name: &str) -> String {
    format!("arn:aws:iam::123456789012:mfa/{name}")
}

fn with_provider(serial_number: &str, provider: MfaTokenProvider) -> Params {
    Params::new(ROLE)
        .serial_number(serial_number)
        .mfa_token_provider(provider)
        .client(StsClient::new().max_attempts(3))
}

/// A session whose role asks for MFA.
async fn mfa_session(aws: &EmbeddedAws, clock: &ManualClock, params: Params) -> RefreshableSession {
    aws.require_mfa(ROLE);
    with_params(aws, clock, params)
        .clock(Flowing(clock.clone()))
        .build()
        .await
        .unwrap()
}

fn accepted(aws: &EmbeddedAws) -> Vec<bool> {
    aws.mfa_attempts()
        .iter()
        .map(|attempt| attempt.accepted)
        .collect()
}

fn totp(device: &MfaDevice) -> MfaTokenProvider {
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

fn latest() -> aws_config::BehaviorVersion {
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

#[tokio::test]
async fn a_command_is_run_for_each_code() {
    let (aws, clock) = aws();
    let serial_number = serial("command");
    let folder = tempfile::tempdir().unwrap();
    let codes = folder.path().join("codes");
    // The second code comes twice, as from a device that has not moved on.
    std::fs::write(&codes, "111111\n222222\n222222\n333333\n").unwrap();
    for code in ["111111", "222222", "333333"] {
        aws.add_mfa_code(&serial_number, code);
    }
    let script = folder.path().join("code.sh");
    std::fs::write(
        &script,
        "head -n 1 codes\nsed -i 1d codes\necho noise >&2\n",
    )
    .unwrap();
    let command = Command::new(["sh".into(), script.into_os_string()])
        .unwrap()
        .current_dir(folder.path());
    // On the flowing clock a time limit within a step is over at once.
    let provider = MfaTokenProvider::command(command.timeout(seconds(40)).unwrap());
    let session = mfa_session(&aws, &clock, with_provider(&serial_number, provider)).await;
    for _ in 0..3 {
        session.refresh().await.unwrap();
    }
    let sent: Vec<_> = aws
        .mfa_attempts()
        .into_iter()
        .map(|attempt| attempt.token_code)
        .collect();
    assert_eq!(sent, ["111111", "222222", "333333"]);
}

#[tokio::test]
async fn a_command_that_never_has_a_new_code_is_an_error_and_no_call() {
    let (aws, clock) = aws();
    let serial_number = serial("same-again");
    aws.add_mfa_code(&serial_number, "123456");
    let command = Command::parse("echo 'the code is 123456'")
        .unwrap()
        .timeout(seconds(40))
        .unwrap();
    let session = mfa_session(
        &aws,
        &clock,
        with_provider(&serial_number, MfaTokenProvider::command(command)),
    )
    .await;
    session.refresh().await.unwrap();
    let error = session.refresh().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.param()),
        (ErrorKind::Configuration, Some("mfa_token_provider"))
    );
    assert!(error.to_string().contains("same code again"), "{error}");
    assert!(
        clock.now() <= start() + seconds(60),
        "two waits between three runs"
    );
    assert_eq!(aws.calls("AssumeRole"), 1);
}

#[tokio::test]
async fn functions_are_asked_anew_and_once_more_for_a_used_code() {
    let (aws, clock) = aws();
    for blocking in [false, true] {
        let serial_number = serial(if blocking {
            "blocking-function"
        } else {
            "function"
        });
        for code in ["100000", "200000"] {
            aws.add_mfa_code(&serial_number, code);
        }
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        // 1: a new code; 2, 3: used, then a new one; 4, 5: used both times.
        let next = move || {
            let code = ["100000", "100000", "200000", "200000", "100000"]
                [counted.fetch_add(1, Ordering::SeqCst)];
            Ok::<_, std::io::Error>(format!(" {code}\n"))
        };
        let provider = if blocking {
            MfaTokenProvider::blocking_function(next)
        } else {
            MfaTokenProvider::function(move || std::future::ready(next()))
        };
        let params = with_provider(&serial_number, provider.timeout(seconds(40)));
        let session = mfa_session(&aws, &clock, params).await;
        session.refresh().await.unwrap();
        session.refresh().await.unwrap();
        let error = session.refresh().await.unwrap_err();
        assert!(
            error.to_string().contains("has been sent before"),
            "{error}"
        );
        assert!(!error.is_unrecoverable() && error.kind() == ErrorKind::Configuration);
        assert_eq!(asked.load(Ordering::SeqCst), 5);
    }
    assert_eq!(accepted(&aws), [true; 4]);
}

#[tokio::test]
async fn what_a_function_does_wrong_is_told_without_what_it_returned() {
    let (aws, clock) = aws();
    let serial_number = serial("wrong-function");
    let own = || Err::<String, _>(brs::Error::connection("the vault sleeps").with_status(503));
    for (provider, kind, message) in [
        (
            MfaTokenProvider::blocking_function(|| Ok::<_, std::io::Error>("hush12")),
            ErrorKind::Configuration,
            "no code",
        ),
        (
            MfaTokenProvider::blocking_function(|| {
                Err::<String, _>(std::io::Error::other("out of paper"))
            }),
            ErrorKind::Configuration,
            "function for MFA codes failed",
        ),
        (
            MfaTokenProvider::function(move || std::future::ready(own())),
            ErrorKind::Connection,
            "the vault sleeps",
        ),
        (
            MfaTokenProvider::function(|| async {
                panic!("hush") as Result<String, std::io::Error>
            }),
            ErrorKind::Credential,
            "panicked",
        ),
    ] {
        let provider = provider.timeout(seconds(40));
        let session = mfa_session(&aws, &clock, with_provider(&serial_number, provider)).await;
        let error = session.refresh().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(
            error.to_string().contains(message) && !format!("{error:?}").contains("hush"),
            "{error:?}"
        );
    }
    assert!(aws.requests().is_empty());
}

#[tokio::test]
async fn a_function_that_hangs_ends_at_the_providers_limit() {
    let (aws, clock) = aws();
    let provider =
        MfaTokenProvider::function(std::future::pending::<Result<String, std::io::Error>>);
    let session = with_params(
        &aws,
        &clock,
        with_provider(&serial("hanging"), provider.timeout(seconds(20))),
    )
    .build()
    .await
    .unwrap();
    assert_eq!(session.as_base().refresh_timeout(), seconds(20 + 35 + 30));
    let call = tokio::spawn({
        let session = session.clone();
        async move { session.credentials().await }
    });
    // The flight's own limit, and the provider's.
    clock.sleepers(2).await;
    clock.advance(seconds(20));
    let error = call.await.unwrap().unwrap_err();
    assert!(
        error.to_string().contains("did not return within 20s") && error.is_retryable(),
        "{error}"
    );
}

#[tokio::test]
async fn the_time_limit_of_a_refresh_follows_the_provider() {
    let (aws, clock) = aws();
    let command = |limit| {
        MfaTokenProvider::command(
            Command::parse("true")
                .unwrap()
                .timeout(seconds(limit))
                .unwrap(),
        )
    };
    for (provider, limit) in [
        (
            MfaTokenProvider::totp("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"),
            65,
        ),
        (command(30), 95),
        (command(100), 165),
        (
            MfaTokenProvider::blocking_function(|| Ok::<_, std::io::Error>("1")),
            95,
        ),
        (MfaTokenProvider::prompt(), 300),
    ] {
        let is_prompt = limit == 300;
        let session = with_params(&aws, &clock, with_provider(&serial("limits"), provider))
            .build()
            .await
            .unwrap();
        assert_eq!(session.as_base().refresh_timeout(), seconds(limit));
        assert_eq!(session.as_base().strategy().interactive(), is_prompt);
    }
}

#[tokio::test]
async fn a_next_code_that_comes_too_late_is_told_at_once() {
    let (aws, clock) = aws();
    let device = aws.add_mfa_device(&serial("too-late"));
    aws.require_mfa(ROLE);
    let params = with_provider(device.serial_number(), totp(&device));
    let session = with_params(&aws, &clock, params)
        .refresh_timeout(seconds(10))
        .build()
        .await
        .unwrap();
    session.refresh().await.unwrap();
    let error = session.refresh().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.param()),
        (ErrorKind::Connection, Some("refresh_timeout"))
    );
    assert!(
        error.to_string().contains("sts-session-token") && error.is_retryable(),
        "{error}"
    );
    assert_eq!(aws.calls("AssumeRole"), 1);
}

#[tokio::test]
async fn a_fixed_code_serves_one_refresh() {
    let (aws, clock) = aws();
    let serial_number = serial("fixed");
    aws.add_mfa_code(&serial_number, "123456");
    let params = Params::new(ROLE)
        .serial_number(&serial_number)
        .token_code("123456");
    let session = with_params(&aws, &clock, params).build().await.unwrap();
    session.refresh().await.unwrap();
    let error = session.refresh().await.unwrap_err();
    assert!(
        error.is_unrecoverable() && error.to_string().contains("mfa_token_provider"),
        "{error}"
    );
    clock.advance(seconds(91));
    let error = session.refresh().await.unwrap_err();
    assert!(
        error.is_unrecoverable() && error.to_string().contains("mfa_token_provider"),
        "for ever: {error}"
    );
    assert_eq!(
        aws.calls("AssumeRole"),
        1,
        "nobody is asked with a used code"
    );
}

#[tokio::test]
async fn a_code_that_was_not_sent_is_not_used_up() {
    let (aws, clock) = aws();
    let serial_number = serial("kept");
    aws.add_mfa_code(&serial_number, "123456");
    aws.require_mfa(ROLE);
    let keys = aws.credentials();
    let calls = Arc::new(AtomicUsize::new(0));
    let provider = provider_of(move || {
        if calls.fetch_add(1, Ordering::SeqCst) == 0 {
            None
        } else {
            Some(keys.clone())
        }
    });
    let params = Params::new(ROLE)
        .serial_number(&serial_number)
        .token_code("123456")
        .client(StsClient::new().credentials_provider(provider));
    let session = with_params(&aws, &clock, params).build().await.unwrap();
    assert!(
        session
            .refresh()
            .await
            .unwrap_err()
            .to_string()
            .contains("no credentials to call STS with")
    );
    session.refresh().await.unwrap();
    assert_eq!(accepted(&aws), [true]);
}

#[tokio::test]
async fn without_a_terminal_a_prompt_is_an_error_that_says_so() {
    // The tests have no terminal of their own, or must not use it: a process of its own has none
    // for sure.
    let aws = EmbeddedAws::start();
    let output = std::process::Command::new("setsid")
        .args([
            "--wait",
            env!("CARGO_BIN_EXE_probe"),
            ROLE,
            &aws.endpoint_url(),
        ])
        .env("AWS_ACCESS_KEY_ID", aws.access_key_id())
        .env("AWS_SECRET_ACCESS_KEY", aws.secret_access_key())
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_CONFIG_FILE", "/nonexistent/config")
        .env("PROBE_MFA", "prompt")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    assert!(
        line.starts_with("configuration unrecoverable error") && line.contains("no terminal"),
        "{line}"
    );
    assert!(aws.requests().is_empty());
}
