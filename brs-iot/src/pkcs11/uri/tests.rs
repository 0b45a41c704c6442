//! What is read from a URI, and what is refused without its value.

use super::*;
use proptest::prelude::*;
use std::path::Path;

fn problem(text: &str) -> String {
    Uri::parse(text).unwrap_err().to_string()
}

#[test]
fn all_parts_are_read() {
    let uri = Uri::parse(
        "pkcs11:token=My%20token%3b;serial=00%2f1;manufacturer=a;model=b%25;slot-id=327;object=device%C3%A9;\
         id=%00%ff;type=private?x-more=1&module-path=/usr/lib/m.so&vendor-b=2&pin-source=file:///run/pin&x-more=3",
    )
    .unwrap();
    assert_eq!(uri.token.label.as_deref(), Some("My token;"));
    assert_eq!(uri.token.serial.as_deref(), Some("00/1"));
    assert_eq!(
        (
            uri.token.manufacturer.as_deref(),
            uri.token.model.as_deref()
        ),
        (Some("a"), Some("b%"))
    );
    assert_eq!(
        (uri.token.slot_id, uri.key.label.as_deref()),
        (Some(327), Some("deviceé"))
    );
    assert_eq!(uri.key.id, Some(Id(vec![0, 255])));
    assert_eq!(uri.module_path.as_deref(), Some(Path::new("/usr/lib/m.so")));
    assert_eq!(uri.pin_file.as_deref(), Some(Path::new("/run/pin")));
    assert!(uri.pin_value.is_none());
}

#[test]
fn an_empty_path_and_an_empty_query_say_nothing() {
    for text in ["pkcs11:", "pkcs11:?", "PKCS11:"] {
        let uri = Uri::parse(text).unwrap();
        assert!(
            uri.token.label.is_none() && uri.module_path.is_none(),
            "{text}"
        );
    }
}

#[test]
fn padding_at_a_names_end_is_no_part_of_it() {
    for padding in ["", "%00", "%00%00", "%20%20", "%20%00"] {
        let text = format!(
            "pkcs11:token=a%20b{padding};serial=1{padding};model=m{padding};object=k{padding}\n"
        );
        let uri = Uri::parse(&text).unwrap();
        let names = [
            uri.token.label,
            uri.token.serial,
            uri.token.model,
            uri.key.label,
        ]
        .map(Option::unwrap);
        assert_eq!(names, ["a b", "1", "m", "k"], "{text}");
    }
    assert_eq!(
        Uri::parse("pkcs11:object=").unwrap().key.label.as_deref(),
        Some("")
    );
    assert_eq!(
        Uri::parse("pkcs11:id=%01%00").unwrap().key.id,
        Some(Id(vec![1, 0]))
    );
}

#[test]
fn files_are_given_as_paths_or_as_uris() {
    for (text, path) in [
        ("pkcs11:?pin-source=/run/pin", "/run/pin"),
        ("pkcs11:?pin-source=file:/run/pin", "/run/pin"),
        ("pkcs11:?pin-source=file:%2Frun%2Fpin", "/run/pin"),
        ("pkcs11:?pin-source=file://localhost/run/pin", "/run/pin"),
    ] {
        assert_eq!(
            Uri::parse(text).unwrap().pin_file.as_deref(),
            Some(Path::new(path)),
            "{text}"
        );
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (text, words) in [
        ("", "must begin with"),
        ("http://example.com", "must begin with"),
        ("pkcs1é:", "must begin with"),
        ("pkcs11:token", "without `=`"),
        ("pkcs11:;", "without `=`"),
        ("pkcs11:=x", "name"),
        ("pkcs11:token=a;token=b", "`token` twice"),
        ("pkcs11:?pin-value=1&pin-value=1", "`pin-value` twice"),
        ("pkcs11:tokn=a", "unknown attribute `tokn`"),
        ("pkcs11:x-muppet=gonzo", "unknown attribute `x-muppet`"),
        ("pkcs11:?x-muppet=%zz", "`%` in `x-muppet`"),
        ("pkcs11:token=%", "`%` in `token`"),
        ("pkcs11:token=%4", "`%` in `token`"),
        ("pkcs11:token=%zz", "`%` in `token`"),
        ("pkcs11:token=a b", "percent-encoded"),
        ("pkcs11:token=é", "percent-encoded"),
        ("pkcs11:token=a/b", "percent-encoded"),
        ("pkcs11:token=%ff", "UTF-8"),
        ("pkcs11:token=a%00b", "`token` with a NUL"),
        ("pkcs11:object=%00", "`object` of blanks and zeros only"),
        ("pkcs11:token=%20%20", "`token` of blanks and zeros only"),
        ("pkcs11:?pin-value=1234%00", "`pin-value` with a NUL"),
        ("pkcs11:?pin-source=/run/pin%00", "`pin-source` with a NUL"),
        ("pkcs11:?module-path=/m.so%00", "`module-path` with a NUL"),
        ("pkcs11:slot-id=", "decimal"),
        ("pkcs11:slot-id=-1", "decimal"),
        ("pkcs11:slot-id=+1", "decimal"),
        ("pkcs11:slot-id=99999999999999999999", "decimal"),
        ("pkcs11:type=cert", "private key"),
        ("pkcs11:library-version=1", "not supported"),
        ("pkcs11:pin-value=1", "after the `?`"),
        ("pkcs11:?module-name=opensc", "module-path"),
        ("pkcs11:?module-path=m.so", "absolute"),
        ("pkcs11:?pin-source=|cat%20/run/pin", "command"),
        ("pkcs11:?pin-source=file:pin", "absolute"),
        ("pkcs11:?pin-source=/run/pin&pin-value=1", "keep one"),
        (
            &format!("pkcs11:token={}", "a".repeat(MAX_LENGTH)),
            "at most 4096",
        ),
    ] {
        assert!(problem(text).contains(words), "{text}: {}", problem(text));
    }
}

#[test]
fn no_error_repeats_a_pin() {
    for text in [
        "pkcs11:?pin-value=hush&pin-value=hush",
        "pkcs11:?pin-value=hush%",
        "pkcs11:?pin-value=hush%ff",
        "pkcs11:?pin-value=hush&pin-source=/x",
        "pkcs11:pin-value=hush",
    ] {
        let error = Uri::parse(text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hush"), "{text}");
    }
    let uri = Uri::parse("pkcs11:?pin-value=hush").unwrap();
    assert_eq!(
        uri.pin_value.as_ref().map(SecretString::expose),
        Some("hush")
    );
    assert!(!format!("{uri:?}").contains("hush"));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        let _ = Uri::parse(&text);
        let _ = Uri::parse(&format!("pkcs11:{text}"));
        let _ = Uri::parse(&format!("pkcs11:token={text}?pin-value={text}"));
    }

    #[test]
    fn attributes_in_any_order_are_read_or_refused(text in "pkcs11:([a-z-]{0,8}[=;?&%|/0-9]{0,3}){0,12}") {
        let _ = Uri::parse(&text);
    }

    #[test]
    fn what_is_percent_encoded_comes_back(
        token in "(\\PC{0,40}[!-~])?",
        id in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let encoded = |bytes: &[u8]| bytes.iter().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let text = format!("pkcs11:token={};id={}", encoded(token.as_bytes()), encoded(&id));
        let uri = Uri::parse(&text).unwrap();
        prop_assert_eq!(uri.token.label, Some(token));
        prop_assert_eq!(uri.key.id, Some(Id(id)));
    }
}
