//! What is a PIN and what cannot be one, where it comes from, and which PINs are tried.

use super::*;
use std::io::Write;

fn file(content: &[u8]) -> Result<SecretString, Error> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    Pin::file(file.path()).fetch()
}

#[test]
fn a_file_gives_its_first_line_whatever_follows() {
    for (content, pin) in [
        ("1234", "1234"),
        ("1234\n", "1234"),
        ("1234\r\n", "1234"),
        ("1234\n\n", "1234"),
        ("1234\nthe PIN of the device\n", "1234"),
        ("\u{feff}1234\n", "1234"),
        (" 12 \n", " 12 "),
    ] {
        assert_eq!(file(content.as_bytes()).unwrap().expose(), pin);
    }
    let longest = "9".repeat(MAX_LENGTH);
    assert_eq!(
        file(format!("{longest}\r\n").as_bytes()).unwrap().expose(),
        longest
    );
}

#[test]
fn what_is_no_pin_is_refused_without_showing_it() {
    let too_long = "9".repeat(MAX_LENGTH + 1);
    for (error, words) in [
        (file(b"").unwrap_err(), "is empty"),
        (file(b"\n1234").unwrap_err(), "empty first line"),
        (file(b"\xffhush").unwrap_err(), "not UTF-8"),
        (file(b"hush\t").unwrap_err(), "control character"),
        (file(b"hush\rmore").unwrap_err(), "control character"),
        (file(too_long.as_bytes()).unwrap_err(), "at most 255 bytes"),
        (
            file("9".repeat(1 << 16).as_bytes()).unwrap_err(),
            "more than 4 KiB",
        ),
        (
            Pin::value(too_long).fetch().unwrap_err(),
            "at most 255 bytes",
        ),
        (
            Pin::value("hush\n").fetch().unwrap_err(),
            "control character",
        ),
        (
            Pin::value("hush\0").fetch().unwrap_err(),
            "control character",
        ),
        (
            Pin::file("/does/not/exist").fetch().unwrap_err(),
            "`/does/not/exist` does not exist",
        ),
        (Pin::file("/").fetch().unwrap_err(), "is a folder"),
        (
            Pin::environment("BRS_TEST_NO_SUCH_VARIABLE")
                .fetch()
                .unwrap_err(),
            "is not set",
        ),
        (
            Pin::environment("a=b").fetch().unwrap_err(),
            "no usable name",
        ),
        (
            Pin::function(|| Ok("".into())).fetch().unwrap_err(),
            "is empty",
        ),
        (
            Pin::function(|| Ok("hush\r\n".into())).fetch().unwrap_err(),
            "control character",
        ),
    ] {
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(words), "{words}: {shown}");
        assert!(
            error.is_unrecoverable() && error.param() == Some("pin"),
            "{shown}"
        );
        assert!(!shown.contains("999") && !shown.contains("hush"), "{shown}");
    }
}

#[test]
fn a_pin_of_another_length_than_the_tokens_is_none() {
    for (pin, least, most, words) in [
        (
            "123",
            4,
            8,
            Some("of 4 to 8 bytes, and the one that was given is shorter"),
        ),
        ("123456789", 4, 8, Some("is longer")),
        (
            "1234",
            6,
            0,
            Some("of 6 bytes, and the one that was given is shorter"),
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

#[test]
fn a_functions_error_is_kept() {
    let error = Pin::function(|| Err(Error::connection("no agent")))
        .fetch()
        .unwrap_err();
    assert!(error.is_retryable() && error.to_string() == "no agent");
}

#[test]
fn debug_shows_the_place_and_not_the_pin() {
    assert_eq!(format!("{:?}", Pin::value("hush")), "Pin(** redacted **)");
    assert_eq!(
        format!("{:?}", Pin::file("/run/pin")),
        "Pin(file `/run/pin`)"
    );
    assert_eq!(
        format!("{:?}", Pin::environment("PIN")),
        "Pin(environment `PIN`)"
    );
    assert_eq!(
        format!("{:?}", Pin::function(|| Ok("hush".into()))),
        "Pin(function)"
    );
}

#[test]
fn a_pin_in_the_place_of_a_path_or_a_name_is_not_shown() {
    let (file, variable) = (Pin::file("123456"), Pin::environment("123456"));
    let (one, other) = (file.fetch().unwrap_err(), variable.fetch().unwrap_err());
    let shown = format!("{file:?} {one} {one:?} {variable:?} {other} {other:?}");
    assert!(!shown.contains("123456"), "{shown}");
    assert!(
        one.to_string()
            .starts_with("the PIN's file does not exist in `"),
        "{one}"
    );
    assert_eq!(
        other.to_string(),
        "the environment variable for the PIN is not set"
    );
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
