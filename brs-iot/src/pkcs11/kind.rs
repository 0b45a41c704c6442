//! What a private key is beside its label and its id, in words: for keys that share both.

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectHandle};
use cryptoki::session::Session;

use super::find::attribute;

/// What is known of a key beside its label and its id.
pub(super) fn kind(session: &Session, handle: ObjectHandle) -> String {
    let of = |kind| attribute(session, handle, kind).ok().flatten();
    let kind = match (
        of(AttributeType::KeyType),
        of(AttributeType::Modulus),
        of(AttributeType::EcParams),
    ) {
        (Some(Attribute::KeyType(KeyType::RSA)), Some(Attribute::Modulus(modulus)), _) => {
            format!("RSA of {} bits", modulus.len() * 8)
        }
        (Some(Attribute::KeyType(KeyType::RSA)), ..) => "RSA".into(),
        (Some(Attribute::KeyType(KeyType::EC)), _, Some(Attribute::EcParams(curve))) => {
            match &curve[..] {
                [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7] => "EC P-256".into(),
                [6, 5, 0x2b, 0x81, 4, 0, 0x22] => "EC P-384".into(),
                [6, 5, 0x2b, 0x81, 4, 0, 0x23] => "EC P-521".into(),
                _ => "EC of another curve".into(),
            }
        }
        (Some(Attribute::KeyType(KeyType::EC)), ..) => "EC".into(),
        _ => "of another kind".to_owned(),
    };
    let may_sign = !matches!(of(AttributeType::Sign), Some(Attribute::Sign(false)));
    let for_each = matches!(
        of(AttributeType::AlwaysAuthenticate),
        Some(Attribute::AlwaysAuthenticate(true))
    );
    let notes = [
        (!may_sign).then_some(", not for signing"),
        for_each.then_some(", with a login for each signature"),
    ];
    notes
        .into_iter()
        .flatten()
        .fold(kind, |kind, note| kind + note)
}
