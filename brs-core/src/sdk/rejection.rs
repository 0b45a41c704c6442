//! Which answers say that credentials have expired or were revoked. Pure.
//!
//! AWS's protocols put the error's code into a header, a JSON field, or an XML element; each service has its own.
//! Looked at are the first 64 KiB of an answer, which may break off anywhere: what is searched for is the code's place,
//! not a whole document.

/// What services call credentials that were good once. Others (a wrong signature, a key nobody knows) are not mended by
/// new credentials.
const CODES: [&str; 4] = ["ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"];

/// Whether an answer with this status may be such a rejection.
pub(super) fn may_be_one(status: u16) -> bool {
    matches!(status, 400 | 401 | 403)
}

/// Whether an error type, as the header `x-amzn-errortype` has it, is one: `Code`, `Code:http://…`, `namespace#Code`.
pub(super) fn is_error_type(text: &str) -> bool {
    let code = text.split(':').next().unwrap_or_default();
    let code = code.rsplit('#').next().unwrap_or_default().trim();
    CODES.contains(&code)
}

/// Whether a body, or the beginning of one, is.
pub(super) fn is_body(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    match text.trim_start_matches('\u{feff}').trim_start().chars().next() {
        Some('{') => json_code(&text).is_some_and(is_error_type),
        Some('<') => xml_code(&text).is_some_and(is_error_type),
        _ => false,
    }
}

/// The text of the first of the fields in which JSON protocols have the code.
fn json_code(text: &str) -> Option<&str> {
    ["\"__type\"", "\"code\"", "\"Code\""].into_iter().find_map(|field| {
        // The same text may be a value, too.
        text.match_indices(field).find_map(|(at, _)| {
            let rest = text[at + field.len()..].trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
            rest.split_once('"').map(|(code, _)| code)
        })
    })
}

/// The text of the first element `Code`, with or without a namespace's prefix.
fn xml_code(text: &str) -> Option<&str> {
    text.split('<').skip(1).find_map(|piece| {
        let (tag, content) = piece.split_once('>')?;
        let name = tag.split(char::is_whitespace).next()?;
        let name = name.rsplit(':').next()?;
        (name == "Code").then(|| content.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_types_are_read_in_all_their_forms() {
        for (text, is) in [
            ("ExpiredToken", true),
            ("ExpiredTokenException", true),
            ("InvalidToken", true),
            ("TokenRefreshRequired", true),
            ("ExpiredTokenException:http://internal.amazon.com/coral/", true),
            ("com.amazon.coral.service#ExpiredTokenException", true),
            ("aws.protocoltests#InvalidToken:http://x", true),
            ("AccessDenied", false),
            ("SignatureDoesNotMatch", false),
            ("ExpiredTokens", false),
            ("", false),
        ] {
            assert_eq!(is_error_type(text), is, "{text}");
        }
    }

    #[test]
    fn bodies_are_read_in_all_protocols() {
        for (body, is) in [
            (r#"{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"The security token"}"#, true),
            (r#" { "message" : "x", "__type" : "ExpiredTokenException" } "#, true),
            (r#"{"code":"ExpiredToken"}"#, true),
            (r#"{"reason":"code","code":"ExpiredToken"}"#, true),
            (r#"{"Code":"InvalidToken","Message":"m"}"#, true),
            (r#"{"__type":"AccessDeniedException","message":"ExpiredToken"}"#, false),
            (r#"{"message":"\"code\" ExpiredToken"}"#, false),
            ("<ErrorResponse xmlns=\"https://x/\"><Error><Type>Sender</Type><Code>ExpiredToken</Code></Error>", true),
            ("<?xml version=\"1.0\"?>\n<Error><Code>ExpiredToken</Code><Message>The provided token</Message>", true),
            ("<e:Error xmlns:e=\"y\"><e:Code>\n TokenRefreshRequired \n</e:Code></e:Error>", true),
            ("<Error><Code lang=\"en\">InvalidToken</Code></Error>", true),
            ("<Response><Errors><Error><Code>ExpiredToken</Code></Error></Errors></Response>", true),
            ("<Error><Code>AccessDenied</Code><Message>ExpiredToken</Message></Error>", false),
            ("<Error><CodeName>ExpiredToken</CodeName></Error>", false),
            ("<Error><Code>Expi", false),
            ("ExpiredToken", false),
            ("", false),
        ] {
            assert_eq!(is_body(body.as_bytes()), is, "{body}");
        }
        assert!(!is_body(&[0xff, 0xfe, b'{']));
    }
}
