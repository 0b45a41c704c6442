//! MFA: commands, functions, fixed codes and prompts, and their time limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use brs::command::Command;
use brs::sts::{MfaTokenProvider, Params};
use brs::{Clock, ErrorKind};

use super::mfa::{accepted, mfa_session, serial, totp, with_provider};
use super::*;

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
