//! What is a PIN and what cannot be one, where it comes from, and which PINs are tried.

use super::*;

#[tokio::test]
async fn what_is_no_pin_is_refused_without_showing_it() {
    let longest = "9".repeat(MAX_LENGTH);
    assert!(ask(&longest.as_str().into()).await.is_ok());
    for (pin, words) in [
        ("", "is empty"),
        ("hush\t", "control character"),
        ("hush\rmore", "control character"),
        ("hush\n", "control character"),
        ("hush\0", "control character"),
        (&format!("{longest}9"), "at most 255 bytes"),
        ("-----BEGIN PRIVATE KEY-----", "holds PEM"),
        ("ssh-ed25519 AAAAC3hush", "holds a key"),
        (
            "MIIJqQIBAzCCCW8GCSqGSIb3DQEHAaCCCWAEgglcMIIJWDCCBA8Ghush",
            "PKCS#12 container",
        ),
    ] {
        let function = {
            let pin = SecretString::from(pin);
            SecretSource::blocking_function(move || Ok::<_, Error>(pin.clone()))
        };
        assert!(at_hand(&pin.into()).is_none());
        for source in [pin.into(), function] {
            let error = ask(&source).await.unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(words), "{words}: {shown}");
            assert!(
                error.is_unrecoverable() && error.param() == Some("pin"),
                "{shown}"
            );
            assert!(!shown.contains("999") && !shown.contains("hush"), "{shown}");
        }
    }
}

#[tokio::test]
async fn a_pins_file_and_variable_are_named_in_errors() {
    for (source, text) in [
        (
            SecretSource::file("/does/not/exist"),
            "the PIN's file `/does/not/exist` does not exist: check the path",
        ),
        (
            SecretSource::env("BRS_TEST_NO_SUCH_VARIABLE"),
            "the environment variable `BRS_TEST_NO_SUCH_VARIABLE` for the PIN is not set",
        ),
    ] {
        let error = ask(&source).await.unwrap_err();
        assert_eq!(error.to_string(), text);
        assert!(error.is_unrecoverable() && error.param() == Some("pin"));
    }
}

#[test]
fn a_pin_of_another_length_than_the_tokens_is_none() {
    for (pin, least, most, words) in [
        (
            "123",
            4,
            8,
            Some("of 4 to 8 bytes, and the given one is shorter"),
        ),
        ("123456789", 4, 8, Some("is longer")),
        (
            "1234",
            6,
            0,
            Some("of 6 bytes, and the given one is shorter"),
        ),
        ("1234", 4, 8, None),
        ("12345678", 4, 8, None),
        // In bytes.
        ("ää", 4, 8, None),
        // What a token does not know.
        ("1", 0, 0, None),
        ("1", usize::MAX, usize::MAX, None),
        ("1", 8, 4, None),
    ] {
        let problem = out_of_range(&pin.into(), least, most);
        assert_eq!(problem.is_some(), words.is_some(), "{pin}");
        assert!(
            problem
                .unwrap_or_default()
                .contains(words.unwrap_or_default()),
            "{pin}"
        );
    }
}

fn account(serial: &str, slot_id: Option<u64>) -> (Account, Identity) {
    let token = Identity {
        serial: serial.into(),
        label: "label".into(),
        slot_id,
        ..Identity::default()
    };
    (Account::new(&token, false), token)
}

#[test]
fn refused_pins_stay_refused_whatever_else_is_accepted() {
    let ((one, token), (other, _)) = (account("refused-1", None), account("refused-2", None));
    let may = |account: &Account, pin: &str| may_be_tried(account, &pin.into(), &token).is_ok();
    for pin in ["1111", "2222"] {
        assert!(may(&one, pin));
        refuse(&one, &pin.into());
    }
    accept(&one, &"3333".into());
    assert!(!may(&one, "1111") && !may(&one, "2222") && may(&one, "3333") && may(&other, "1111"));
}

#[test]
fn what_one_user_was_refused_with_the_other_tries_only_if_it_was_accepted_before() {
    let (user, token) = account("refused-3", None);
    let signer = Account::new(&token, true);
    let may = |account: &Account, pin: &str| may_be_tried(account, &pin.into(), &token).is_ok();
    refuse(&user, &"1111".into());
    assert!(!may(&signer, "1111") && may(&signer, "2222"));
    accept(&user, &"3333".into());
    refuse(&signer, &"3333".into());
    assert!(may(&user, "3333") && !may(&signer, "3333"));
    // One doubt for both.
    doubt(&user, &"4444".into());
    assert!(may(&signer, "4444"));
    doubt(&signer, &"4444".into());
    assert!(!may(&signer, "4444") && !may(&user, "4444"));
}

#[test]
fn a_token_is_known_in_every_slot() {
    assert_eq!(account("", Some(1)).0, account("", Some(2)).0);
    assert_eq!(account("3", None).0, account("3", Some(2)).0);
    assert_ne!(account("3", None).0, account("", None).0);
}

#[test]
fn an_unclear_failure_allows_one_more_try() {
    let (account, token) = account("unclear", None);
    let may = || may_be_tried(&account, &"1111".into(), &token).is_ok();
    doubt(&account, &"1111".into());
    assert!(may());
    accept(&account, &"1111".into());
    doubt(&account, &"1111".into());
    assert!(may());
    doubt(&account, &"1111".into());
    assert!(!may());
}
