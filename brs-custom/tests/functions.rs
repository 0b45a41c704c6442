//! Functions: what they are passed, what becomes of what they return, and what they are called.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use brs_core::test_util::ManualClock;
use brs_core::{Clock, Error, ErrorKind, RefreshContext, RefreshStrategy, TemporaryCredentials};
use brs_custom::{Custom, Params};
use serde_json::json;

fn context() -> RefreshContext {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(UNIX_EPOCH));
    RefreshContext::for_test(clock, Duration::from_secs(30))
}

async fn refresh(params: Params) -> Result<TemporaryCredentials, Error> {
    Custom::new(params).unwrap().refresh(&context()).await
}

fn set(access_key_id: &str) -> TemporaryCredentials {
    TemporaryCredentials::new(access_key_id, "hush", Some("hush-token".into()), None)
}

async fn fetch() -> Result<TemporaryCredentials, std::io::Error> {
    Ok(set("ASIAFETCH"))
}

async fn fetch_for((team, number): (String, u32)) -> Result<TemporaryCredentials, std::io::Error> {
    Ok(set(&format!("{team}{number}")))
}

fn read_file() -> Result<Credentials, String> {
    Ok(Credentials::new("ASIAFILE", "hush", None, None, "file"))
}

#[tokio::test]
async fn async_functions_and_closures_give_credentials() {
    assert_eq!(
        refresh(Params::function(fetch))
            .await
            .unwrap()
            .access_key_id(),
        "ASIAFETCH"
    );
    let shared = Arc::new(String::from("ASIACAPTURED"));
    let closure = move || {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Error>(set(&shared)) }
    };
    assert_eq!(
        refresh(Params::function(closure))
            .await
            .unwrap()
            .access_key_id(),
        "ASIACAPTURED"
    );
}

#[tokio::test]
async fn arguments_are_passed_to_every_call() {
    let strategy = Custom::new(Params::function_with(("TEAM".to_owned(), 7), fetch_for)).unwrap();
    for _ in 0..2 {
        assert_eq!(
            strategy.refresh(&context()).await.unwrap().access_key_id(),
            "TEAM7"
        );
    }
    let params = Params::blocking_function_with("ASIASYNC", |id: &str| Ok::<_, Error>(set(id)));
    assert_eq!(refresh(params).await.unwrap().access_key_id(), "ASIASYNC");
}

#[tokio::test]
async fn a_synchronous_function_may_block_and_its_panic_is_an_error() {
    assert_eq!(
        refresh(Params::blocking_function(read_file))
            .await
            .unwrap()
            .access_key_id(),
        "ASIAFILE"
    );
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let strategy = Custom::new(Params::blocking_function(move || {
        assert!(
            counted.fetch_add(1, Ordering::SeqCst) > 0,
            "the first call panics, as the test wants"
        );
        Ok::<_, Error>(set("ASIASECOND"))
    }))
    .unwrap();
    let error = strategy.refresh(&context()).await.unwrap_err();
    assert_eq!(error.to_string(), "the function panicked");
    assert_eq!(
        strategy.refresh(&context()).await.unwrap().access_key_id(),
        "ASIASECOND"
    );
}

#[tokio::test]
async fn an_abandoned_synchronous_call_is_reported_until_it_returns() {
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let strategy = Custom::new(Params::blocking_function(move || {
        let _ = released.lock().unwrap().recv();
        Ok::<_, Error>(set("ASIALATE"))
    }))
    .unwrap();
    let cx = context();
    let mut abandoned = strategy.refresh(&cx);
    tokio::select! {
        biased;
        _ = &mut abandoned => unreachable!("it waits for the test"),
        () = std::future::ready(()) => {}
    }
    drop(abandoned);
    let error = strategy.refresh(&context()).await.unwrap_err();
    assert!(
        error.is_retryable() && error.to_string().contains("still running"),
        "{error}"
    );
    drop(release);
    while strategy.refresh(&context()).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_value_in_the_python_spelling_is_taken() {
    let params = Params::function(|| async {
        Ok::<_, String>(json!({
            "access_key": "ASIAPYTHON", "secret_key": "hush", "token": "hush",
            "expiry_time": "2030-01-31T12:00:00+00:00",
        }))
    });
    let set = refresh(params).await.unwrap();
    assert_eq!(
        set.expiration(),
        Some(UNIX_EPOCH + Duration::from_secs(1_896_091_200))
    );
}

#[tokio::test]
async fn what_is_missing_in_a_value_is_a_credential_error() {
    let params = Params::blocking_function(|| {
        Ok::<_, String>(json!({ "access_key": "A", "secret_key": "hush" }))
    });
    let error = refresh(params).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.is_unrecoverable()),
        (ErrorKind::Credential, false)
    );
    assert_eq!(
        error.to_string(),
        "what the function returned lacks `token`, `expiry_time`"
    );
    assert_eq!(
        (&*error.details()["problem"], &*error.details()["missing"]),
        ("missing_fields", "token, expiry_time")
    );
}

#[tokio::test]
async fn a_function_s_own_error_is_kept_or_wrapped() {
    async fn fails() -> Result<TemporaryCredentials, std::io::Error> {
        Err(std::io::Error::other("the broker is asleep"))
    }
    let error = refresh(Params::function(fails)).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Credential, "function `fails` failed")
    );
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "the broker is asleep"
    );
    assert!(error.is_retryable());

    let denied = || {
        Err::<TemporaryCredentials, _>(Error::request("denied").unrecoverable().with_status(403))
    };
    let error = refresh(Params::blocking_function(denied))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.status(), error.is_unrecoverable()),
        (ErrorKind::Request, Some(403), true)
    );
}

#[tokio::test]
async fn the_identity_names_the_callable() {
    async fn name_of(params: Params) -> (String, String, &'static str) {
        let strategy = Custom::new(params).unwrap();
        let identity = strategy.identity(&set("ASIA")).await.unwrap();
        assert_eq!(identity.access_key_id, "ASIA");
        (identity.method, identity.source, strategy.source())
    }
    let custom = |name: &str, source| ("custom".to_owned(), name.to_owned(), source);
    assert_eq!(
        name_of(Params::function(fetch)).await,
        custom("fetch", "custom-function")
    );
    assert_eq!(
        name_of(Params::function_with(("A".to_owned(), 1), fetch_for))
            .await
            .1,
        "fetch_for"
    );
    assert_eq!(
        name_of(Params::blocking_function(read_file)).await.1,
        "read_file"
    );
    assert_eq!(
        name_of(Params::blocking_function(|| Ok::<_, Error>(set("ASIA"))))
            .await
            .1,
        "closure in the_identity_names_the_callable"
    );
    assert_eq!(
        name_of(Params::function(fetch).name("the broker")).await.1,
        "the broker"
    );
}

#[test]
fn a_name_has_1_to_128_characters() {
    let (longest, too_long) = ("ü".repeat(128), "x".repeat(129));
    for (name, good) in [
        ("", false),
        ("x", true),
        (&*longest, true),
        (&*too_long, false),
        ("a\nb", false),
    ] {
        let built = Custom::new(Params::function(fetch).name(name));
        assert_eq!(built.is_ok(), good, "{name:?}");
        if let Err(error) = built {
            assert_eq!(
                (error.kind(), error.param()),
                (ErrorKind::Validation, Some("name"))
            );
        }
    }
}

#[test]
fn debug_shows_names_and_no_arguments() {
    let params = || Params::function_with(("hush".to_owned(), 1), fetch_for);
    let shown = format!("{:?} {:?}", params(), Custom::new(params()).unwrap());
    assert!(
        shown.contains("fetch_for") && !shown.contains("hush"),
        "{shown}"
    );
}

#[test]
fn functions_leave_the_time_limit_to_the_session_and_are_not_statically_stable() {
    let strategy = Custom::new(Params::function(fetch)).unwrap();
    assert_eq!(
        (
            strategy.refresh_timeout(),
            strategy.static_stability(),
            strategy.interactive()
        ),
        (None, false, false)
    );
}
