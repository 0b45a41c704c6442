//! Whose a SAML assertion is, by its own words: for the fingerprint.
//!
//! Nothing is checked here, STS does that; it only tells askers apart. AWS makes its session of the
//! assertion's issuer, subject and attributes (role session name, source identity, tags); the ids
//! and times are others in each assertion. The pieces are compared as they are written, so a
//! different spelling of the same counts as somebody else.

use aws_smithy_types::base64;
use brs_core::Fingerprint;
use xmlparser::{ElementEnd, Token, Tokenizer};
use zeroize::Zeroizing;

use crate::request::fingerprint::sha256;

/// Whose assertion it is; `None` if it is not a response with one readable assertion of somebody.
pub(super) fn of(text: &str) -> Option<Fingerprint> {
    let mut packed = Zeroizing::new(String::with_capacity(text.len()));
    packed.extend(text.split_ascii_whitespace());
    let xml = Zeroizing::new(base64::decode(packed.as_str()).ok()?);
    let pieces = pieces(std::str::from_utf8(&xml).ok()?)?;
    let only = |path: &str| {
        let mut found = pieces.iter().filter(|piece| piece.path == path);
        found.next().filter(|_| found.next().is_none())
    };
    let issuer = only("/Response/Assertion/Issuer")?;
    let subject = only("/Response/Assertion/Subject/NameID")?;
    let all: Vec<_> = pieces
        .iter()
        .map(|piece| (&piece.path, piece.text))
        .collect();
    Some(
        Fingerprint::new("saml")
            .with("issuer", issuer.text)
            .with("subject", subject.text)
            .with("pieces_sha256", sha256(&all)?),
    )
}

/// A text of the document, or an attribute of one of its elements.
struct Piece<'a> {
    path: String,
    text: &'a str,
}

/// Everything in the assertion that says whose it is, in the document's order; `None` if the
/// document is cut off or encrypted, or has more than one assertion.
fn pieces(xml: &str) -> Option<Vec<Piece<'_>>> {
    let (mut open, mut pieces, mut assertions) = (Vec::new(), Vec::new(), 0);
    let mut is_closed = false;
    for token in Tokenizer::from(xml) {
        let (name, text) = match token.ok()? {
            Token::ElementStart { local, .. } => {
                open.push(local.as_str());
                assertions += usize::from(open.len() == 2 && open[1] == "Assertion");
                continue;
            }
            Token::ElementEnd { end, .. } => {
                match end {
                    ElementEnd::Open => continue,
                    ElementEnd::Empty => drop(open.pop()?),
                    ElementEnd::Close(_, local) if open.last() == Some(&local.as_str()) => {
                        open.pop();
                    }
                    ElementEnd::Close(..) => return None,
                }
                is_closed = open.is_empty();
                continue;
            }
            Token::Attribute { local, value, .. } => (Some(local.as_str()), value.as_str()),
            Token::Text { text } | Token::Cdata { text, .. } => (None, text.as_str()),
            // A text could mean anything.
            Token::DtdStart { .. } | Token::EmptyDtd { .. } | Token::EntityDeclaration { .. } => {
                return None;
            }
            _ => continue,
        };
        if is_whose(&open) && !text.trim().is_empty() {
            let mut path: String = open.iter().flat_map(|part| ["/", *part]).collect();
            if let Some(name) = name {
                path.extend(["@", name]);
            }
            pieces.push(Piece { path, text });
        }
    }
    (is_closed && assertions == 1).then_some(pieces)
}

/// Whether AWS's session is made of what stands there.
fn is_whose(open: &[&str]) -> bool {
    matches!(
        open,
        ["Response", "Assertion", "Issuer" | "AttributeStatement", ..]
            | ["Response", "Assertion", "Subject", "NameID", ..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(id: &str, subject: &str, name: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><p:Response ID=\"_{id}\"><Issuer>idp</Issuer><a:Assertion ID=\"_{id}\">\n\
             <a:Issuer>https://idp</a:Issuer><a:Subject><a:NameID Format=\"persistent\">{subject}</a:NameID>\
             <a:SubjectConfirmation><a:SubjectConfirmationData NotOnOrAfter=\"{id}\"/></a:SubjectConfirmation>\
             </a:Subject><a:AttributeStatement><a:Attribute Name=\"RoleSessionName\"><a:AttributeValue>{name}\
             </a:AttributeValue></a:Attribute></a:AttributeStatement></a:Assertion></p:Response>"
        )
    }

    fn told(xml: &str) -> Option<String> {
        of(&base64::encode(xml)).map(|told| told.canonical())
    }

    #[test]
    fn subject_and_attributes_tell_assertions_apart_and_ids_and_times_do_not() {
        let one = told(&response("1", "ann", "ann")).unwrap();
        assert!(one.contains(r#""issuer":"https://idp""#), "{one}");
        assert_eq!(told(&response("2", "ann", "ann")).unwrap(), one);
        for other in [
            response("1", "bob", "ann"),
            response("1", "ann", "bob"),
            response("1", "ann", "ann").replace("persistent", "transient"),
            response("1", "ann", "ann").replace("RoleSessionName", "SourceIdentity"),
            response("1", "ann", "ann").replace("https://idp", "https://other"),
        ] {
            assert_ne!(told(&other).unwrap(), one, "{other}");
        }
    }

    #[test]
    fn what_cannot_be_read_as_somebodys_assertion_is_nobodys() {
        let good = response("1", "ann", "ann");
        let assertion = {
            let (begin, end) = (
                good.find("<a:Assertion").unwrap(),
                good.find("</p:").unwrap(),
            );
            &good[begin..end]
        };
        for bad in [
            "",
            "<a:Assertion/>",
            &good[..good.len() - 5],
            &good.replace("a:Assertion", "a:EncryptedAssertion"),
            &good.replace("a:NameID", "a:EncryptedID"),
            &good.replace(assertion, &assertion.repeat(2)),
            &good.replace("</a:Subject>", "</a:Other>"),
            &good.replace(
                "<p:Response",
                "<!DOCTYPE x [<!ENTITY who \"ann\">]><p:Response",
            ),
        ] {
            assert!(told(bad).is_none(), "{bad}");
        }
        assert!(of("not base64!").is_none());
    }
}
