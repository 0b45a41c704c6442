//! What the service answers: a credential set, or an error in AWS's words.
//!
//! The parsers accept any bytes: errors use their own words and repeat nothing of the body except
//! AWS's message and code.

use brs_core::TemporaryCredentials;
use brs_iot::__private::{Fields, FromMap, is_code, read_json};

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    credential_set: Option<Vec<FromMap<Entry>>>,
}

#[derive(serde::Deserialize)]
struct Entry {
    credentials: Option<FromMap<Fields>>,
}

/// Reads a success; or what is wrong with it, as the end of a sentence that begins with "an answer
/// that".
pub(crate) fn credentials(body: &[u8]) -> Result<TemporaryCredentials, String> {
    let FromMap(answer) = read_json::<FromMap<Answer>>(
        body,
        "`credentialSet` must be a list of maps with `credentials`",
    )?;
    let Some(sets) = answer.credential_set else {
        return Err("has no `credentialSet`".into());
    };
    match sets.into_iter().next() {
        None => Err("has an empty `credentialSet`".into()),
        Some(FromMap(Entry {
            credentials: Some(FromMap(fields)),
        })) => fields.into_credentials(),
        Some(_) => Err("has no `credentials` in its `credentialSet`".into()),
    }
}

/// The code in an error's body, where no header has it: `__type`, perhaps with a name's space, or
/// `code`.
pub(crate) fn code(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Refusal {
        #[serde(rename = "__type")]
        kind: Option<String>,
        code: Option<String>,
    }
    let FromMap(refusal) = serde_json::from_slice::<FromMap<Refusal>>(body).ok()?;
    let code = refusal.kind.or(refusal.code)?;
    let code = code.split(':').next()?.rsplit('#').next()?;
    is_code(code).then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const GOOD: &str = r#"{"credentialSet":[{"assumedRoleUser":{"arn":"a","assumedRoleId":"b"},"credentials":{
        "accessKeyId":"ASIAX","secretAccessKey":"hush/1","sessionToken":"hush+2",
        "expiration":"2026-01-01T00:00:00Z"},"packedPolicySize":10,"roleArn":"r","sourceIdentity":"s"}],
        "subjectArn":"x"}"#;

    #[test]
    fn the_first_set_is_read() {
        let set = credentials(GOOD.as_bytes()).unwrap();
        assert_eq!(
            (
                set.access_key_id(),
                set.secret_access_key(),
                set.session_token()
            ),
            ("ASIAX", "hush/1", Some("hush+2"))
        );
        let expiration = UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        assert_eq!(set.expiration(), Some(expiration));
    }

    #[test]
    fn what_is_wrong_is_told_and_nothing_of_the_body_is_shown() {
        for (body, problem) in [
            (String::new(), "is empty"),
            (GOOD[..100].to_owned(), "is cut off"),
            ("<html>hush</html>".into(), "is not JSON but HTML"),
            ("[\"hush\"]".into(), "another shape"),
            ("{}".into(), "has no `credentialSet`"),
            (r#"{"credentialSet":null}"#.into(), "has no `credentialSet`"),
            (r#"{"credentialSet":[]}"#.into(), "an empty `credentialSet`"),
            (r#"{"credentialSet":{"hush":1}}"#.into(), "another shape"),
            (r#"{"credentialSet":["hush"]}"#.into(), "another shape"),
            (
                r#"{"credentialSet":[{}]}"#.into(),
                "has no `credentials` in",
            ),
            (
                r#"{"credentialSet":[{"credentials":{"secretAccessKey":"hush"}}]}"#.into(),
                "lacks `accessKeyId`",
            ),
            (GOOD.replace("hush/1", ""), "lacks `secretAccessKey`"),
            (GOOD.replace("hush/1", "hush 1"), "white space"),
            (
                GOOD.replace("2026-01-01T00:00:00Z", "soon"),
                "not an ISO 8601 time",
            ),
        ] {
            let found = credentials(body.as_bytes()).unwrap_err();
            assert!(found.contains(problem), "{body}: {found}");
            assert!(!found.contains("hush"), "{found}");
        }
    }

    #[test]
    fn a_code_may_be_in_the_body() {
        for (body, expected) in [
            (
                r#"{"__type":"com.amazonaws.rolesanywhere#AccessDeniedException"}"#,
                Some("AccessDeniedException"),
            ),
            (
                r#"{"__type":"ValidationException:http://x"}"#,
                Some("ValidationException"),
            ),
            (
                r#"{"code":"ResourceNotFoundException"}"#,
                Some("ResourceNotFoundException"),
            ),
            (r#"{"code":"not a code!"}"#, None),
            (r#"{"message":"m"}"#, None),
            ("<html>", None),
            ("", None),
        ] {
            assert_eq!(code(body.as_bytes()).as_deref(), expected, "{body}");
        }
    }
}
