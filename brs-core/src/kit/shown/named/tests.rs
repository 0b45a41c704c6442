//! Foreign texts with and without secrets.

use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY=";

#[test]
fn a_value_behind_a_secrets_name_is_hidden_however_it_is_written() {
    for form in [
        r#"{"AccessKeyId":"AKIA","SecretAccessKey":"S","SessionToken":"S"}"#,
        r#"{"SecretAccessKey" : "S", "x": 1}"#,
        r#"{'secret_access_key': 'S'}"#,
        r#"{\"SecretAccessKey\": \"S\"}"#,
        r#""{\\\"SecretAccessKey\\\":\\\"S\\\"}""#,
        "aws_secret_access_key = S",
        "export AWS_SECRET_ACCESS_KEY=S",
        "AWS_SESSION_TOKEN='S' aws s3 ls",
        "secretAccessKey: S",
        "password: hunter-S",
        "<SecretAccessKey>S</SecretAccessKey>",
        "https://host/?X-Amz-Security-Token=S&x=1",
        "tool --session-token S --verbose",
        "tool --password=S",
        r#"{"SecretAccessKey":"S"#,
        r#"{"password":"a\"S"}"#,
        "Authorization: Bearer S",
        "token=S",
        r#"{"token": "S"}"#,
        "PIN: 1234S",
        "-----BEGIN EC PRIVATE KEY----- S -----END EC PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nS",
        "-----BEGIN PRIVATE KEY-----\nS\n-----END PRIVATE KEY-----\n-----BEGIN RSA PRIVATE KEY-----\nS",
        "S\n-----END RSA PRIVATE KEY-----\nno access",
        "password: (S-S",
        "password=ab,S",
        "password=ab&S",
        "passphrase: correct horse S",
        "pwd: correct horse S",
        "SecretAccessKey:\n  S",
        "password: |\n  S\n  S",
        "password: >-\n  S",
        r#"Options { password: Some("S"), host: "h" }"#,
        r#"Options { password: Some(\"S\"), host: "h" }"#,
        r#"{"password" => "S"}"#,
        "password => S",
        r#"("password", "S")"#,
        r#"[["token", "S"]]"#,
        "env['PASSWORD'] = 'S'",
        "login me password S",
        "password := S",
        "password=$'S x'",
        r#"<Password xsi:type="xsd:string">S</Password>"#,
        "<aws:SessionToken>S</aws:SessionToken>",
        "&lt;SessionToken&gt;S&lt;/SessionToken&gt;",
        "Action=x&Token%3DS%26x",
        "%7B%22password%22%3A%22S%22%7D",
        "Set-Cookie: id=S; secure",
        "aws_credentials=S",
        "one-time passcode: S",
        "Authorization: AWS4-HMAC-SHA256 Credential=x, Signature=S",
        "token: S",
        r#"{"name": "AWS_SECRET_ACCESS_KEY", "value": "S"}"#,
        r#"[{\"Name\":\"password\",\"Value\":\"S\"}]"#,
        "- name: DB_PASSWORD\n  value: S",
        "DB_PASS=S",
        "userPin: S",
        "password1=S",
        "PASSWORD_2: S",
        "secrets: S",
        "SAMLAssertion=S",
        "deviceCode: S",
        r#"{"secret": {"a": "S"}}"#,
        "{\"password\": [\n  \"S\"\n]}",
        r#""password": ["x", "S"]"#,
        "\"password\"\n: \"S\"",
        "password = \"\"\"\nS\n\"\"\"",
        "password = '''S'''",
        "<Password><![CDATA[S]]></Password>",
        "<Password><Value>S</Value></Password>",
        r"{\u0022password\u0022:\u0022S\u0022}",
        "|  SecretAccessKey |  S |",
        "│  SecretAccessKey │  S │",
        "AWS Secret Access Key [None]: S",
        "Secret Access Key: S",
        "pass phrase: S",
        "password (hidden): S",
        "{password=correct horse S, user=b}",
        "PASSWORD=correct horse S",
        "+ export 'AWS_SECRET_ACCESS_KEY=x S'",
        "Password=a S;",
        r"password='a'\''S'",
        "password='x' 'S'",
        r#"password="a""S""#,
        "password: |2\n  S",
        "password: &pw\n  S",
        "password: !!binary |\n  S",
        "password = <<EOF\nS\nEOF",
        "token:\n  S",
        "SecretAccessKey : wJal\n      S",
        "Authorization: Basic\n  S",
        "password: error+S",
        "{password,\"S\"}",
        r#"s:8:"password";s:40:"S";"#,
        "**Password**: S",
        "`password`: `S`",
        "password\u{a0}: S",
        "password：S",
        r#""password" -> "S""#,
    ] {
        let text = with_secret(form);
        let shown = without_values(&text, "***");
        assert!(
            !shown.contains(&SECRET[..8]) && shown.contains("***"),
            "{text}: {shown}"
        );
    }
    // Letters alone are a value, too.
    for text in [
        "pin: hush",
        "secret: hushhush",
        "password: correct horse hush",
        "token: hush",
        "otp=hush",
    ] {
        assert!(!without_values(text, "***").contains("hush"), "{text}");
    }
}

#[test]
fn what_follows_a_value_is_shown_where_its_end_is_known() {
    for (text, expected) in [
        (
            "GET /?X-Amz-Security-Token=x&y=1 returned 403",
            "GET /?X-Amz-Security-Token=*** returned 403",
        ),
        (
            r#"{"SecretAccessKey": "x"}: no access"#,
            r#"{"SecretAccessKey": "***"}: no access"#,
        ),
        ("password: x y\nno access", "password: ***\nno access"),
        (
            "x\n-----END PRIVATE KEY-----\nno access",
            "***PRIVATE KEY-----\nno access",
        ),
        (
            "<Password>x</Password> no access",
            "<Password>***</Password> no access",
        ),
    ] {
        assert_eq!(without_values(text, "***"), expected);
    }
}

/// Puts the secret where the letter `S` stands alone.
fn with_secret(form: &str) -> String {
    let chars: Vec<char> = form.chars().collect();
    let mut out = String::new();
    for (at, c) in chars.iter().enumerate() {
        let next = chars.get(at + 1).is_some_and(|c| c.is_ascii_alphanumeric());
        let before = at > 0 && chars[at - 1].is_ascii_alphabetic();
        if *c == 'S' && !next && !before {
            out.push_str(SECRET)
        } else {
            out.push(*c)
        }
    }
    out
}

#[test]
fn sentences_stay_readable() {
    for text in [
        "The security token included in the request is invalid",
        "ExpiredToken: The provided token has expired.",
        "could not refresh the SSO token: InvalidGrantException",
        "wrong PIN",
        "the token: expired",
        "MultiFactorAuthentication failed with invalid MFA one time pass code",
        "AccessKeyId: AKIAIOSFODNN7EXAMPLE",
        "could not read the password: No such file or directory (os error 2)",
        "PIN: CKR_PIN_INCORRECT",
        "could not load credentials: the instance has none",
        "The request signature we calculated does not match the signature you provided.",
        "Signature expired: 20260101T000000Z is now earlier than 20260101T000100Z",
        "SignatureDoesNotMatch: check the secret access key",
        "the password is wrong, and the pin as well",
        "InvalidToken: The provided token is malformed",
        "spin: 3",
        "PIN: locked after three attempts",
        "passphrase: too short",
        "password: authentication failed",
        "failed to get secret: rpc error: code = Unavailable",
        "secret \"prod/db\" was not found",
        "required option --secret-key missing",
        "--password must not be empty",
        "Unexpected token '‹' in line 1",
        "unable to get the API key: timeout",
        "bypass: on",
        "could not load credentials: no such host",
    ] {
        assert_eq!(without_values(text, "***"), text);
    }
}
