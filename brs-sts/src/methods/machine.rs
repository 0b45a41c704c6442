//! What the methods `container` and `imds` share: reading the credentials that this machine's
//! endpoints answer with, and telling this machine from others.

use brs_core::kit::{clean, zeroize_value};
use brs_core::{Error, TemporaryCredentials};
use serde::Deserialize as _;
use serde_json::Value;

/// The credentials in an answer; `place` begins the sentence of an error.
pub(crate) fn credentials(body: &[u8], place: &str) -> Result<TemporaryCredentials, Error> {
    let unusable = || {
        Error::credential(format!(
            "{place} gave an answer that is not credentials as JSON"
        ))
    };
    let mut body: Value = serde_json::from_slice(body).map_err(|_| unusable())?;
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let code = text("Code").or_else(|| text("code"));
    let result = match code {
        Some(code) if code != "Success" => {
            let message = text("Message").or_else(|| text("message"));
            Err(refused(place, code, message.unwrap_or_default()))
        }
        // The error may quote a value.
        _ => match TemporaryCredentials::deserialize(&body) {
            Ok(set) if set.expiration().is_none() => Err(Error::credential(format!(
                "{place} gave credentials without `Expiration`"
            ))),
            Ok(set) => Ok(set),
            Err(error) => Err(Error::credential(format!(
                "{place} gave credentials that cannot be used: {}",
                clean(&error.to_string(), &[])
            ))),
        },
    };
    zeroize_value(&mut body);
    result
}

/// What tells this machine, since it was started, and this network of its own from all others: the
/// ids that the Linux kernel gives them. `None` on other systems. A host's name would not do: many
/// hosts have the same.
pub(crate) fn told() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let network = std::fs::read_link("/proc/self/ns/net").ok()?;
    let (boot, network) = (boot.trim(), network.to_str()?);
    (!boot.is_empty()).then(|| format!("{boot} {network}"))
}

fn refused(place: &str, code: &str, message: &str) -> Error {
    let (code, message) = (clean(code, &[]), clean(message, &[]));
    let hint = match code.as_str() {
        "AssumeRoleUnauthorizedAccess" => {
            "check that the role's trust policy names the service (`ec2.amazonaws.com`), and that the role still exists"
        }
        _ => "check the role of this machine",
    };
    let said = if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    };
    Error::request(format!(
        "{place} gives no credentials ({code}{said}): {hint}"
    ))
    .with_code(code)
}

#[cfg(test)]
mod beside_the_sdk;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_instances_and_containers_are_read() {
        let read = |body: &str| credentials(body.as_bytes(), "the place");
        let keys = r#""AccessKeyId":"ASIAEXAMPLE","SecretAccessKey":"hush""#;
        let rest = r#""Token":"hush-token","Expiration":"2030-01-31T12:00:00Z""#;
        for good in [
            format!("{{{keys},{rest}}}"),
            format!(
                r#"{{"Code":"Success","LastUpdated":"2030-01-31T06:00:00Z","Type":"AWS-HMAC",{keys},{rest}}}"#
            ),
            format!(
                r#"{{"RoleArn":"arn:aws:iam::123456789012:role/a","AccountId":"123456789012",{keys},{rest}}}"#
            ),
        ] {
            let set = read(&good).unwrap();
            assert_eq!(
                (set.access_key_id(), set.session_token()),
                ("ASIAEXAMPLE", Some("hush-token"))
            );
        }
        for (bad, words, code) in [
            ("".to_owned(), "not credentials as JSON", None),
            ("<html>hush".to_owned(), "not credentials as JSON", None),
            (format!("{{{keys}}}"), "without `Expiration`", None),
            (format!(r#"{{{rest},"AccessKeyId":7,"SecretAccessKey":"hush"}}"#), "cannot be used", None),
            (
                r#"{"Code":"AssumeRoleUnauthorizedAccess","Message":"EC2 cannot assume the role web."}"#.to_owned(),
                "ec2.amazonaws.com",
                Some("AssumeRoleUnauthorizedAccess"),
            ),
            (
                r#"{"code":"CredentialsNotFound","message":"no such\u0007 task"}"#.to_owned(),
                "no such",
                Some("CredentialsNotFound"),
            ),
        ] {
            let error = read(&bad).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.code(), code);
            assert!(!format!("{error:?}").contains("hush"), "{error:?}");
        }
    }
}
