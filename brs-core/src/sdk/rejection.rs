//! Which answers say that the request's credentials are expired or invalid. Pure.
//!
//! AWS's protocols put the error's code in a header, a JSON or CBOR field, or an XML element. The
//! headers `x-amzn-query-error` and `x-amzn-errortype` take precedence over the body, as in the
//! SDK; only the first 64 KiB of a body are looked at, and they may break off anywhere.

use minicbor::data::Type;
use minicbor::decode::Decoder;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

/// What services call credentials that were good once. New credentials do not cure other refusals
/// (a wrong signature, an unknown key, a denied action), and AWS answers `AccessDenied` after an
/// IAM revocation.
const CODES: [&str; 4] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidToken",
    "TokenRefreshRequired",
];
/// EC2 uses it for an expired set, and for a clock that is wrong.
const REQUEST_EXPIRED: &str = "RequestExpired";
/// The fields in which JSON protocols have the code: the SDK reads the first two, botocore the
/// third, too.
const FIELDS: [&str; 3] = ["code", "__type", "Code"];

/// What an answer's code says about the credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// They are rejected.
    Rejection,
    /// They are rejected if they expire at this time; otherwise a clock is wrong.
    RequestExpired,
    /// The code is another one.
    Other,
}

impl Code {
    /// A code as headers and bodies have it: `Code`, `Code:http://…`, `namespace#Code`.
    fn of(text: &str) -> Self {
        let code = text.split(':').next().unwrap_or_default();
        let code = code.rsplit('#').next().unwrap_or_default().trim();
        if CODES.contains(&code) {
            Self::Rejection
        } else if code == REQUEST_EXPIRED {
            Self::RequestExpired
        } else {
            Self::Other
        }
    }

    /// The strongest of several.
    fn or(self, other: Self) -> Self {
        if self == Self::Other { other } else { self }
    }
}

/// Whether an answer with this status may be such a rejection.
pub(super) fn may_be_one(status: u16) -> bool {
    matches!(status, 400 | 401 | 403)
}

/// What the headers say; `None` if the body decides.
pub(super) fn of_headers(error_type: Option<&str>, query_error: Option<&str>) -> Option<Code> {
    let query_error = query_error.map(|text| Code::of(text.split(';').next().unwrap_or_default()));
    let error_type = error_type
        .filter(|text| !text.trim().is_empty())
        .map(Code::of);
    match (query_error, error_type) {
        // A service that has two names for an error may use the older one here.
        (Some(Code::Other), None) => None,
        (Some(query_error), error_type) => Some(query_error.or(error_type.unwrap_or(Code::Other))),
        (None, error_type) => error_type,
    }
}

/// What a body, or the beginning of one, says.
pub(super) fn of_body(body: &[u8]) -> Code {
    if is_cbor_map(body) {
        return cbor(body);
    }
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    match text.chars().next() {
        Some('{') => json(text),
        Some('<') => xml_code(text).map_or(Code::Other, Code::of),
        _ => Code::Other,
    }
}

/// What the fields of the outermost object say, as far as the text goes.
fn json(text: &str) -> Code {
    let mut found = Code::Other;
    // An error is the end of what was read, or of what is JSON: what was found before it counts.
    let _ = serde_json::Deserializer::from_str(text).deserialize_map(Fields(&mut found));
    found
}

struct Fields<'a>(&'a mut Code);

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if FIELDS.contains(&name.as_str()) {
                *self.0 = self.0.or(map.next_value_seed(Text)?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// The code in a value, if that is a text.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Code;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Code, D::Error> {
        let value: serde_json::Value = serde::Deserialize::deserialize(deserializer)?;
        Ok(value.as_str().map_or(Code::Other, Code::of))
    }
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

/// Whether it begins as a CBOR map does, tagged or not. No text in UTF-8 begins so.
fn is_cbor_map(body: &[u8]) -> bool {
    let mut decoder = Decoder::new(body);
    while matches!(decoder.datatype(), Ok(Type::Tag)) && decoder.tag().is_ok() {}
    matches!(decoder.datatype(), Ok(Type::Map | Type::MapIndef))
}

/// What the fields of the outermost map say, as far as the bytes go.
fn cbor(body: &[u8]) -> Code {
    let mut found = Code::Other;
    // As with JSON: what was found before an error counts.
    let _ = cbor_fields(body, &mut found);
    found
}

fn cbor_fields(body: &[u8], found: &mut Code) -> Result<(), minicbor::decode::Error> {
    let mut decoder = Decoder::new(body);
    while decoder.datatype()? == Type::Tag {
        decoder.tag()?;
    }
    let mut left = decoder.map()?;
    while left != Some(0) && decoder.datatype()? != Type::Break {
        left = left.map(|left| left - 1);
        let name = cbor_text(&mut decoder)?;
        let is_code = name.is_some_and(|name| FIELDS.contains(&name.as_str()));
        match cbor_text(&mut decoder)? {
            Some(text) if is_code => *found = found.or(Code::of(&text)),
            _ => {}
        }
    }
    Ok(())
}

/// The next item's text, in one piece or several; `None` if it is something else.
fn cbor_text(decoder: &mut Decoder<'_>) -> Result<Option<String>, minicbor::decode::Error> {
    if !matches!(decoder.datatype()?, Type::String | Type::StringIndef) {
        decoder.skip()?;
        return Ok(None);
    }
    decoder.str_iter()?.collect::<Result<String, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_rejection(body: &str) -> bool {
        of_body(body.as_bytes()) == Code::Rejection
    }

    #[test]
    fn codes_are_read_in_all_their_forms() {
        for (text, code) in [
            ("ExpiredToken", Code::Rejection),
            ("ExpiredTokenException", Code::Rejection),
            ("InvalidToken", Code::Rejection),
            ("TokenRefreshRequired", Code::Rejection),
            (
                "ExpiredTokenException:http://internal.amazon.com/coral/",
                Code::Rejection,
            ),
            (
                "com.amazon.coral.service#ExpiredTokenException",
                Code::Rejection,
            ),
            ("aws.protocoltests#InvalidToken:http://x", Code::Rejection),
            ("#ExpiredToken", Code::Rejection),
            ("RequestExpired", Code::RequestExpired),
            ("AccessDenied", Code::Other),
            ("AccessDeniedException", Code::Other),
            ("SignatureDoesNotMatch", Code::Other),
            ("ExpiredTokens", Code::Other),
            ("", Code::Other),
        ] {
            assert_eq!(Code::of(text), code, "{text}");
        }
    }

    #[test]
    fn headers_decide_before_the_body_does() {
        let rejection = Some(Code::Rejection);
        for (error_type, query_error, code) in [
            (Some("ExpiredTokenException:http://x"), None, rejection),
            (None, Some("ExpiredToken;Sender"), rejection),
            (None, Some("ExpiredToken"), rejection),
            (
                Some("ValidationException"),
                Some("InvalidToken;Sender"),
                rejection,
            ),
            (
                Some("ExpiredTokenException"),
                Some("AWS.SimpleQueueService.Odd;Sender"),
                rejection,
            ),
            (
                None,
                Some("RequestExpired;Sender"),
                Some(Code::RequestExpired),
            ),
            (Some("AccessDenied"), None, Some(Code::Other)),
            (
                Some("AccessDenied"),
                Some("AccessDenied;Sender"),
                Some(Code::Other),
            ),
            (None, Some("Sender;ExpiredToken"), None),
            (Some(""), None, None),
            (None, None, None),
        ] {
            assert_eq!(
                of_headers(error_type, query_error),
                code,
                "{error_type:?} {query_error:?}"
            );
        }
    }

    #[test]
    fn texts_are_read_in_all_protocols() {
        for (body, is) in [
            (
                r#"{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"The security token"}"#,
                true,
            ),
            (
                r#" { "message" : "x", "__type" : "ExpiredTokenException" } "#,
                true,
            ),
            (r#"{"code":"ExpiredToken"}"#, true),
            (r#"{"reason":"code","code":"ExpiredToken"}"#, true),
            (r#"{"Code":"InvalidToken","Message":"m"}"#, true),
            (r#"{"code":403,"__type":"ExpiredTokenException"}"#, true),
            (r#"{"\u005f_type":"Expired\u0054oken"}"#, true),
            (
                r#"{"a":{"b":[1,{}]},"__type":"ExpiredToken","rest":"breaks o"#,
                true,
            ),
            (
                r#"{"__type":"AccessDeniedException","message":"ExpiredToken"}"#,
                false,
            ),
            (r#"{"message":"\"code\" ExpiredToken"}"#, false),
            (r#"{"message":"\"code\":\"ExpiredToken\""}"#, false),
            (
                r#"{"detail":{"code":"ExpiredToken"},"code":"AccessDenied"}"#,
                false,
            ),
            (r#"{"__type":"Expired"#, false),
            (
                "<ErrorResponse xmlns=\"https://x/\"><Error><Type>Sender</Type><Code>ExpiredToken</Code></Error>",
                true,
            ),
            (
                "<?xml version=\"1.0\"?>\n<Error><Code>ExpiredToken</Code><Message>The provided token</Message>",
                true,
            ),
            (
                "<e:Error xmlns:e=\"y\"><e:Code>\n TokenRefreshRequired \n</e:Code></e:Error>",
                true,
            ),
            ("<Error><Code lang=\"en\">InvalidToken</Code></Error>", true),
            (
                "<Response><Errors><Error><Code>ExpiredToken</Code></Error></Errors></Response>",
                true,
            ),
            (
                "<Error><Code>AccessDenied</Code><Message>ExpiredToken</Message></Error>",
                false,
            ),
            ("<Error><CodeName>ExpiredToken</CodeName></Error>", false),
            ("<Error><Code>Expi", false),
            ("ExpiredToken", false),
            ("", false),
        ] {
            assert_eq!(is_rejection(body), is, "{body}");
        }
        assert_eq!(of_body(&[0xff, 0xfe, b'{']), Code::Other);
        let ec2 = "<Response><Errors><Error><Code>RequestExpired</Code><Message>Request has expired.</Message>";
        assert_eq!(of_body(ec2.as_bytes()), Code::RequestExpired);
    }

    /// A text in one piece.
    fn text(text: &str) -> Vec<u8> {
        let mut out = vec![0x78, u8::try_from(text.len()).unwrap()];
        out.extend_from_slice(text.as_bytes());
        out
    }

    /// A text of indefinite length, in two pieces.
    fn split(whole: &str, at: usize) -> Vec<u8> {
        [
            &[0x7f][..],
            &text(&whole[..at]),
            &text(&whole[at..]),
            &[0xff],
        ]
        .concat()
    }

    #[test]
    fn cbor_is_read_in_all_its_forms() {
        let (name, code) = (text("__type"), text("ExpiredTokenException"));
        let message = [
            text("message"),
            text("The security token included in the request is expired"),
        ]
        .concat();
        // Values that must be passed over: a list of indefinite length, a float, nested maps, a key
        // that is no text.
        let others = [
            text("a"),
            vec![0x9f, 1, 0xf9, 0x3c, 0, 0xff],
            text("b"),
            vec![0xa1, 0x61, b'c', 0xbf, 0xff],
        ];
        let others = [others.concat(), vec![0x07, 0xf6]].concat();
        let nested = [text("cause"), vec![0xa1], name.clone(), code.clone()].concat();
        for (body, is) in [
            ([&[0xa1][..], &name, &code].concat(), true),
            ([&[0xbf][..], &name, &code, &[0xff]].concat(), true),
            ([&[0xa2][..], &message, &name, &code].concat(), true),
            (
                [&[0xa5][..], &others, &message, &name, &code].concat(),
                true,
            ),
            (
                [&[0xbf][..], &others, &message, &name, &code, &[0xff]].concat(),
                true,
            ),
            (
                [
                    &[0xa1][..],
                    &name,
                    &text("com.amazonaws.monitoring#ExpiredTokenException"),
                ]
                .concat(),
                true,
            ),
            (
                [
                    &[0xa1][..],
                    &name,
                    &text("com.amazonaws#InvalidToken:http://x"),
                ]
                .concat(),
                true,
            ),
            (
                [&[0xa1][..], &split("__type", 3), &split("ExpiredToken", 7)].concat(),
                true,
            ),
            ([&[0xd9, 0xd9, 0xf7, 0xa1][..], &name, &code].concat(), true),
            // Cut off after the code.
            (
                [
                    &[0xbf][..],
                    &name,
                    &code,
                    &text("message"),
                    &[0x78, 200, b'T'],
                ]
                .concat(),
                true,
            ),
            (
                [&[0xa1][..], &name, &text("AccessDeniedException")].concat(),
                false,
            ),
            ([&[0xa1][..], &nested].concat(), false),
            ([&[0xa1][..], &text("message"), &code].concat(), false),
            ([&[0xa1][..], &name, &code[..5]].concat(), false),
            ([&[0xa1][..], &name, &[0x18, 7]].concat(), false),
            (vec![0xa0], false),
            (vec![0xbf], false),
        ] {
            assert_eq!(of_body(&body) == Code::Rejection, is, "{body:x?}");
        }
    }
}
