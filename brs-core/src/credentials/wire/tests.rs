//! How credentials are read from data.

use super::*;

fn read(text: &str) -> Result<TemporaryCredentials, String> {
    serde_json::from_str(text).map_err(|error: serde_json::Error| error.to_string())
}

#[test]
fn python_and_process_spellings_are_read() {
    let python =
        read(r#"{"access_key":"A","secret_key":"S","token":"T","expiry_time":"2030-01-31T14:00:00+02:00"}"#)
            .unwrap();
    let process = read(
        r#"{"Version":1,"AccessKeyId":"A","SecretAccessKey":"S","SessionToken":"T",
            "Expiration":"2030-01-31T12:00:00Z"}"#,
    )
    .unwrap();
    assert_eq!(python, process);
}

#[test]
fn the_token_of_instances_and_of_json_services_is_not_dropped() {
    for text in [
        r#"{"AccessKeyId":"A","SecretAccessKey":"S","Token":"T","Expiration":"2030-01-31T12:00:00Z"}"#,
        r#"{"accessKeyId":"A","secretAccessKey":"S","sessionToken":"T","expiration":"2030-01-31T12:00:00Z"}"#,
    ] {
        assert_eq!(read(text).unwrap().session_token(), Some("T"), "{text}");
    }
    assert!(
        read(r#"{"AccessKeyId":"A","SecretAccessKey":"S","Token":"T","SessionToken":"T"}"#)
            .is_err()
    );
}

#[test]
fn a_python_datetime_with_a_blank_is_read() {
    assert!(
        read(r#"{"access_key":"A","secret_key":"S","expiry_time":"2030-01-31 12:00:00+00:00"}"#)
            .is_ok()
    );
}

#[test]
fn everything_missing_is_listed_at_once() {
    let error = read(r#"{"token":"T","secret_key":""}"#).unwrap_err();
    assert!(
        error.contains("access_key") && error.contains("secret_key"),
        "{error}"
    );
}

#[test]
fn wrong_values_are_refused_without_being_shown() {
    for (text, hidden) in [
        (r#"{"access_key":"A","secret_key":4711}"#, "4711"),
        (
            r#"{"access_key":"A","secret_key":"S","token":["hush"]}"#,
            "hush",
        ),
        (
            r#"{"access_key":"A","secret_key":"S","expiry_time":"tomorrow-ish"}"#,
            "tomorrow",
        ),
        (
            r#"{"access_key":"A","secret_key":"S","expiry_time":1893456000}"#,
            "1893456000",
        ),
        (
            r#"{"access_key":"A","secret_key":"S","expiry_time":"2030-01-31T12:00:00"}"#,
            "2030-01-31T12:00:00\"",
        ),
    ] {
        let error = read(text).unwrap_err();
        assert!(!error.contains(hidden), "{error}");
    }
}

#[test]
fn another_version_is_refused() {
    for version in [
        "2",
        "0",
        "-1",
        "1.5",
        "4711",
        "\"hush\"",
        "[1]",
        "{\"hush\":1}",
        "true",
    ] {
        let set = format!(r#"{{"Version":{version},"AccessKeyId":"A","SecretAccessKey":"S"}}"#);
        let error = read(&set).unwrap_err();
        assert!(error.contains("only 1 is known"), "{error}");
        assert!(
            !error.contains("hush") && !error.contains("4711"),
            "{error}"
        );
    }
    for version in ["1", "1.0", "1e0", "null"] {
        let set = format!(r#"{{"Version":{version},"AccessKeyId":"A","SecretAccessKey":"S"}}"#);
        assert!(read(&set).is_ok(), "{version}");
    }
}

#[test]
fn only_a_map_is_read() {
    for text in [
        r#"[1,"hush","hush"]"#,
        "[]",
        "\"hush\"",
        "4711",
        "-4711",
        "4711.5",
        "true",
    ] {
        let error = read(text).unwrap_err();
        assert!(
            error.contains("not a map of") && !error.contains("hush") && !error.contains("4711"),
            "{error}"
        );
    }
    assert!(read("null").is_err());
    let value = serde_json::json!([1, "A", "S"]);
    assert!(serde_json::from_value::<TemporaryCredentials>(value).is_err());
}

#[test]
fn a_set_with_a_token_ends_unless_a_process_says_that_it_does_not() {
    for endless in [
        r#"{"access_key":"A","secret_key":"S","token":"T","expiry_time":null}"#,
        r#"{"access_key":"A","secret_key":"S","token":"T"}"#,
        r#"{"access_key_id":"A","secret_access_key":"S","session_token":"T","expiration":null}"#,
        r#"{"aws_access_key_id":"A","aws_secret_access_key":"S","aws_session_token":"T"}"#,
        r#"{"AccessKeyId":"A","SecretAccessKey":"S","SessionToken":"T","expiry_time":null}"#,
    ] {
        let error = read(endless).unwrap_err();
        assert!(
            error.contains("missing `expiry_time` (`Expiration`)") && error.contains("token"),
            "{error}"
        );
    }
    for endless in [
        r#"{"access_key":"A","secret_key":"S","token":null,"expiry_time":null}"#,
        r#"{"AccessKeyId":"A","SecretAccessKey":"S","SessionToken":"T"}"#,
        r#"{"AccessKeyId":"A","SecretAccessKey":"S","SessionToken":"T","Expiration":null}"#,
    ] {
        assert_eq!(read(endless).unwrap().expiration(), None, "{endless}");
    }
}

#[test]
fn what_is_given_in_two_spellings_is_refused() {
    let error = read(r#"{"access_key":"A","secret_key":"S","token":"hush","SessionToken":"hush"}"#)
        .unwrap_err();
    assert!(
        error.contains("`token` (`SessionToken`) is given twice") && !error.contains("hush"),
        "{error}"
    );
    let error =
        read(r#"{"access_key":"A","secret_key":"S","expiration":"hush","expiry_time":null}"#)
            .unwrap_err();
    assert!(
        error.contains("is given twice") && !error.contains("hush"),
        "{error}"
    );
}

#[test]
fn white_space_and_control_characters_are_refused_and_not_trimmed() {
    let set = |id: &str, secret: &str, token: &str| {
        let set = serde_json::json!({ "AccessKeyId": id, "SecretAccessKey": secret, "SessionToken": token });
        let error = read(&set.to_string()).unwrap_err();
        assert!(!error.contains("hush"), "{error}");
        error
    };
    for (error, expected) in [
        (
            set("A", "hush\n", "T"),
            "`secret_key` (`SecretAccessKey`) ends in a line break",
        ),
        (
            set("A", "hush\r\n", "T"),
            "`secret_key` (`SecretAccessKey`) ends in a line break",
        ),
        (
            set("  ", "hush", "T"),
            "`access_key` (`AccessKeyId`) is nothing but white space",
        ),
        (
            set("A", " hush", "T"),
            "`secret_key` (`SecretAccessKey`) holds white space or control",
        ),
        (
            set("A", "hush", "hush\u{7}"),
            "`token` (`SessionToken`) holds white space or control",
        ),
        (set("A B", "hush\n", "T"), "characters, and `secret_key`"),
    ] {
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn an_account_id_is_12_digits() {
    let set =
        |id: &str| format!(r#"{{"AccessKeyId":"A","SecretAccessKey":"S","AccountId":"{id}"}}"#);
    assert_eq!(
        read(&set("123456789012")).unwrap().account_id(),
        Some("123456789012")
    );
    for wrong in [
        "47114711",
        "1234567890123",
        "12345678901x",
        " 123456789012",
        "١٢٣٤٥٦٧٨٩٠١٢",
    ] {
        let error = read(&set(wrong)).unwrap_err();
        assert!(
            error.contains("12 digits") && !error.contains(wrong),
            "{error}"
        );
    }
}

/// What `aws sts assume-role`, AWS IoT and IAM Identity Center answer.
#[test]
fn credentials_in_a_map_within_are_pointed_at() {
    let keys = r#"{"AccessKeyId":"A","SecretAccessKey":"hush","SessionToken":"hush"}"#;
    let iot = r#"{"accessKeyId":"A","secretAccessKey":"hush","sessionToken":"hush"}"#;
    let python = r#"{"access_key":"A","secret_key":"hush","token":"hush"}"#;
    for (text, place) in [
        (
            format!(r#"{{"Credentials":{keys},"AssumedRoleUser":{{"Arn":"hush"}}}}"#),
            "`Credentials`",
        ),
        (format!(r#"{{"credentials":{iot}}}"#), "`credentials`"),
        (
            format!(r#"{{"roleCredentials":{iot}}}"#),
            "`roleCredentials`",
        ),
        (
            format!(r#"{{"Version":1,"Credentials":{keys}}}"#),
            "`Credentials`",
        ),
        (format!(r#"{{"Credentials":[{keys}]}}"#), "`Credentials`"),
        (format!(r#"{{"hush":{python}}}"#), "a map within"),
        (
            format!(r#"{{"AssumeRoleResponse":{{"AssumeRoleResult":{{"Credentials":{keys}}}}}}}"#),
            "a map within",
        ),
    ] {
        for (origin, remedy) in [
            (DataOrigin::Any, "give that map alone"),
            (DataOrigin::Function, "give that map alone"),
            (DataOrigin::Command, "print that map with `Version` 1 in it"),
        ] {
            let mut json = serde_json::Deserializer::from_str(&text);
            let problem = TemporaryCredentials::from_data(&mut json, origin)
                .unwrap()
                .unwrap_err();
            assert_eq!(problem.name, "nested", "{text}: {problem}");
            let expected = format!("has the credentials one level too deep, in {place}: {remedy}");
            let shown = problem.to_string();
            assert!(
                shown.starts_with(&expected) && !shown.contains("hush"),
                "{shown}"
            );
        }
    }
    // Beside keys, what is within does not matter, nor do maps of other things, even odd ones.
    for text in [
        format!(r#"{{"AccessKeyId":"A","SecretAccessKey":"S","Credentials":{keys}}}"#),
        r#"{"AccessKeyId":"A","SecretAccessKey":"S","Tags":{"token":1,"token":[null,1.5,-1,true]}}"#.to_owned(),
    ] {
        assert!(read(&text).is_ok(), "{text}");
    }
    let error = read(r#"{"Credentials":{"Arn":"hush"}}"#).unwrap_err();
    assert!(
        error.contains("missing") && !error.contains("hush"),
        "{error}"
    );
}
