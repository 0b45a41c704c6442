//! The documents of the AWS query protocol.
//!
//! Owns the envelopes and the escaping. What a result holds is `sts`'s business.

use super::error::AwsError;

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// Appends `<name>value</name>` with the value escaped.
pub(super) fn element(out: &mut String, name: &str, value: &str) {
    out.push('<');
    out.push_str(name);
    out.push('>');
    escape(out, value);
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

/// Appends `<name>…</name>` around what `inner` appends.
pub(super) fn nested(out: &mut String, name: &str, inner: impl FnOnce(&mut String)) {
    out.push('<');
    out.push_str(name);
    out.push('>');
    inner(out);
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

/// The document of a successful action, around the elements of its result.
pub(super) fn response(action: &str, result: &str, request_id: &str) -> String {
    let mut out = format!(
        "<{action}Response xmlns=\"{NAMESPACE}\"><{action}Result>{result}</{action}Result>"
    );
    nested(&mut out, "ResponseMetadata", |out| {
        element(out, "RequestId", request_id)
    });
    out.push_str(&format!("</{action}Response>"));
    out
}

/// The document of a refusal.
pub(super) fn error(error: &AwsError, request_id: &str) -> String {
    let mut out = format!("<ErrorResponse xmlns=\"{NAMESPACE}\">");
    nested(&mut out, "Error", |out| {
        element(out, "Type", error.fault());
        element(out, "Code", error.code);
        element(out, "Message", &error.message);
    });
    element(&mut out, "RequestId", request_id);
    out.push_str("</ErrorResponse>");
    out
}

fn escape(out: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            _ => out.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_close_their_element() {
        let mut out = String::new();
        element(&mut out, "Message", "</Message>&\"'");
        assert_eq!(out, "<Message>&lt;/Message&gt;&amp;&quot;&apos;</Message>");
    }
}
