//! Finding token, key and certificates by what the user said, and telling what is there when that is not enough.
//!
//! Nothing is guessed: what is not there, or not only once, is an error with a list of labels, serial numbers and ids.

use std::fmt;

use brs_core::Error;
use brs_core::shown::clean;
use cryptoki::context::Pkcs11 as Module;
use cryptoki::error::Error as ModuleError;
use cryptoki::object::{Attribute, AttributeType, CertificateType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::slot::Slot;
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use super::failure::Failure;

/// More objects than any device's token holds.
const MAX_OBJECTS: usize = 256;
/// How many of them an error lists.
const MAX_LISTED: usize = 16;
/// How many certificates lead from a device to its root at most; AWS IoT takes chains of up to 5.
const MAX_CHAIN: usize = 8;

/// What makes a token that very token, wherever it is plugged in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) label: String,
    pub(super) serial: String,
    pub(super) manufacturer: String,
    pub(super) model: String,
    /// Only where the rest does not tell two tokens apart.
    pub(super) slot_id: Option<u64>,
}

/// Which token the user means.
#[derive(Clone, Debug, Default)]
pub(super) struct TokenSelector {
    pub(super) slot_id: Option<u64>,
    pub(super) label: Option<String>,
    pub(super) serial: Option<String>,
    pub(super) manufacturer: Option<String>,
    pub(super) model: Option<String>,
}

/// Which object of a token the user means.
#[derive(Clone, Debug, Default)]
pub(super) struct ObjectSelector {
    pub(super) label: Option<String>,
    pub(super) id: Option<Id>,
}

/// An object's `CKA_ID`, shown in hexadecimal.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Id(pub(super) Vec<u8>);

/// A key or certificate, as far as it can be seen.
struct Seen {
    handle: ObjectHandle,
    label: String,
    id: Id,
}

/// A private key that can sign.
#[derive(Clone, Debug)]
pub(super) struct FoundKey {
    pub(super) handle: ObjectHandle,
    pub(super) label: String,
    pub(super) id: Id,
    pub(super) is_rsa: bool,
    /// Each signature needs the PIN again.
    pub(super) always_authenticate: bool,
}

/// The token that is meant among those that are there now.
pub(super) fn token(module: &Module, selector: &TokenSelector, what: &dyn fmt::Display) -> Result<Identity, Failure> {
    let seen = tokens(module)?;
    let mut matching = seen.iter().filter(|(slot, token)| selector.matches(slot.id(), token));
    let (chosen, more) = (matching.next(), matching.next());
    let (problem, remedy) = match (chosen, more) {
        (Some((_, token)), None) => return Ok(token.clone()),
        (None, _) => ("has no token", "plug it in, or choose one of"),
        (Some(_), Some(_)) => ("has several tokens", "choose one by slot id, label or serial number from"),
    };
    let list = listed(seen.iter().map(|(slot, token)| {
        format!(
            "slot id {slot}: label `{}`, serial `{}`, model `{}`",
            clean(&token.label, &[]),
            clean(&token.serial, &[]),
            clean(&token.model, &[])
        )
    }));
    let text = format!("{what} {problem} with {selector}: {remedy}: {list}");
    // A token that is not there may come back; several do not become one.
    Err(Failure::Other(match more {
        None => Error::connection(text),
        Some(_) => Error::configuration(text).unrecoverable(),
    }))
}

/// The slot in which a known token is now.
pub(super) fn slot(module: &Module, token: &Identity) -> Result<Slot, Failure> {
    let is_it = |seen: &Identity, slot: Slot| {
        seen.label == token.label
            && seen.serial == token.serial
            && seen.manufacturer == token.manufacturer
            && seen.model == token.model
            && token.slot_id.is_none_or(|id| id == slot.id())
    };
    let mut found = tokens(module)?.into_iter().filter(|(slot, seen)| is_it(seen, *slot)).map(|(slot, _)| slot);
    match (found.next(), found.next()) {
        (Some(slot), None) => Ok(slot),
        (None, _) => Err(Failure::Other(Error::connection(format!("{token} is not there any more: plug it in again")))),
        (Some(_), Some(_)) => Err(Failure::Other(
            Error::configuration(format!("{token} is there twice by now: unplug one, or choose one by slot id"))
                .unrecoverable(),
        )),
    }
}

/// The initialised tokens. One that cannot be read, such as in another reader, is as if it were not there.
fn tokens(module: &Module) -> Result<Vec<(Slot, Identity)>, Failure> {
    let slots = module.get_slots_with_token().map_err(Failure::while_("listing the slots"))?;
    let mut seen: Vec<(Slot, Identity)> = Vec::new();
    for slot in slots.into_iter().take(MAX_OBJECTS) {
        if let Ok(info) = module.get_token_info(slot)
            && info.token_initialized()
        {
            let identity = Identity {
                label: bare(info.label()).to_owned(),
                serial: bare(info.serial_number()).to_owned(),
                manufacturer: bare(info.manufacturer_id()).to_owned(),
                model: bare(info.model()).to_owned(),
                slot_id: None,
            };
            seen.push((slot, identity));
        }
    }
    let plain: Vec<Identity> = seen.iter().map(|(_, token)| token.clone()).collect();
    for (slot, token) in &mut seen {
        if token.serial.is_empty() || plain.iter().filter(|other| **other == *token).count() > 1 {
            token.slot_id = Some(slot.id());
        }
    }
    Ok(seen)
}

/// The private key that is meant.
pub(super) fn key(session: &Session, selector: &ObjectSelector, token: &dyn fmt::Display) -> Result<FoundKey, Failure> {
    let class = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Token(true)];
    let Seen { handle, label, id } = one(session, &class, selector, token, "private key")?;
    let flag = |kind| match attribute(session, handle, kind) {
        Ok(Some(Attribute::Sign(flag) | Attribute::AlwaysAuthenticate(flag))) => Ok(Some(flag)),
        Ok(_) => Ok(None),
        Err(failure) => Err(failure),
    };
    let key_type = match attribute(session, handle, AttributeType::KeyType)? {
        Some(Attribute::KeyType(key_type)) => Some(key_type),
        _ => None,
    };
    let wrong = |problem: &str| {
        let text = format!("{token}: private key `{label}` (id {id}) {problem}");
        Err(Failure::Other(Error::configuration(text).unrecoverable()))
    };
    if flag(AttributeType::Sign)? == Some(false) {
        return wrong("is not made for signing (CKA_SIGN is false): choose another key");
    }
    let is_rsa = match key_type {
        Some(KeyType::RSA) => true,
        Some(KeyType::EC) => false,
        _ => return wrong("is of an unsupported kind: keys are RSA of 2048 to 4096 bits, P-256 or P-384"),
    };
    let always_authenticate = flag(AttributeType::AlwaysAuthenticate)? == Some(true);
    Ok(FoundKey { handle, label, id, is_rsa, always_authenticate })
}

/// The certificate that is meant (unless that is said: of the key's id, or else of its label) and what leads from it to
/// its root, as far as the token has it.
pub(super) fn certificates(
    session: &Session,
    selector: &ObjectSelector,
    key: &FoundKey,
    token: &dyn fmt::Display,
) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let class = [
        Attribute::Class(ObjectClass::CERTIFICATE),
        Attribute::CertificateType(CertificateType::X_509),
        Attribute::Token(true),
    ];
    let named = selector.label.is_some() || selector.id.is_some();
    let of_key =
        |label: Option<&str>, id: Option<&Id>| ObjectSelector { label: label.map(str::to_owned), id: id.cloned() };
    let leaf = if named {
        one(session, &class, selector, token, "certificate")?
    } else if key.id.0.is_empty() {
        one(session, &class, &of_key(Some(&key.label), None), token, "certificate")?
    } else {
        match one(session, &class, &of_key(None, Some(&key.id)), token, "certificate") {
            Err(Failure::Missing(_)) if !key.label.is_empty() => {
                one(session, &class, &of_key(Some(&key.label), None), token, "certificate")?
            }
            other => other?,
        }
    };
    let leaf = value(session, leaf.handle)?.ok_or_else(|| {
        let text = format!("{token}: certificate `{}` (id {}) cannot be read", leaf.label, leaf.id);
        Failure::Other(Error::configuration(text).unrecoverable())
    })?;
    let mut others = Vec::new();
    for handle in handles(session, &class)? {
        // Another's certificate that cannot be read is not missed until the chain is checked.
        others.extend(value(session, handle).ok().flatten());
    }
    Ok(chain(leaf, &others))
}

/// From the leaf upwards, without a root: whoever checks the chain has that.
fn chain(leaf: CertificateDer<'static>, others: &[CertificateDer<'static>]) -> Vec<CertificateDer<'static>> {
    let mut chain = vec![leaf];
    while chain.len() < MAX_CHAIN {
        let next = {
            let Some(last) = chain.last().and_then(|last| EndEntityCert::try_from(last).ok()) else { break };
            others.iter().find(|other| {
                !chain.contains(other)
                    && EndEntityCert::try_from(*other)
                        .is_ok_and(|other| other.subject() == last.issuer() && other.subject() != other.issuer())
            })
        };
        match next {
            Some(next) => chain.push(next.clone()),
            None => break,
        }
    }
    chain
}

/// The one object of a class that fits.
fn one(
    session: &Session,
    class: &[Attribute],
    selector: &ObjectSelector,
    token: &dyn fmt::Display,
    what: &str,
) -> Result<Seen, Failure> {
    let mut seen = Vec::new();
    for handle in handles(session, class)? {
        let label = match attribute(session, handle, AttributeType::Label)? {
            Some(Attribute::Label(label)) => String::from_utf8_lossy(&label).into_owned(),
            _ => String::new(),
        };
        let id = match attribute(session, handle, AttributeType::Id)? {
            Some(Attribute::Id(id)) => Id(id),
            _ => Id::default(),
        };
        seen.push(Seen { handle, label, id });
    }
    let matching: Vec<usize> = (0..seen.len()).filter(|&index| selector.matches(&seen[index])).collect();
    if let [only] = matching[..] {
        return Ok(seen.swap_remove(only));
    }
    let list = listed(seen.iter().map(|Seen { label, id, .. }| format!("label `{}`, id {id}", clean(label, &[]))));
    let text = match matching.len() {
        0 => format!("{token} has no {what} with {selector}: there are: {list}"),
        count => format!("{token} has {count} {what}s with {selector}: choose by label and id from: {list}"),
    };
    let error = Error::configuration(text).unrecoverable();
    Err(if matching.is_empty() { Failure::Missing(error) } else { Failure::Other(error) })
}

fn handles(session: &Session, class: &[Attribute]) -> Result<Vec<ObjectHandle>, Failure> {
    let objects = session.iter_objects(class).map_err(Failure::while_("searching"))?;
    objects.take(MAX_OBJECTS).collect::<Result<_, _>>().map_err(Failure::while_("searching"))
}

/// An attribute, or `None` if the object has none that can be read.
fn attribute(session: &Session, handle: ObjectHandle, kind: AttributeType) -> Result<Option<Attribute>, Failure> {
    match session.get_attributes(handle, &[kind]) {
        Ok(attributes) => Ok(attributes.into_iter().next()),
        Err(error @ ModuleError::Pkcs11(..)) => Err(Failure::while_("reading an attribute")(error)),
        // A value that `cryptoki` has no name for.
        Err(_) => Ok(None),
    }
}

fn value(session: &Session, handle: ObjectHandle) -> Result<Option<CertificateDer<'static>>, Failure> {
    Ok(match attribute(session, handle, AttributeType::Value)? {
        Some(Attribute::Value(value)) if !value.is_empty() => Some(CertificateDer::from(value)),
        _ => None,
    })
}

impl TokenSelector {
    fn matches(&self, slot_id: u64, token: &Identity) -> bool {
        let is = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| bare(wanted) == is);
        self.slot_id.is_none_or(|wanted| wanted == slot_id)
            && is(&self.label, &token.label)
            && is(&self.serial, &token.serial)
            && is(&self.manufacturer, &token.manufacturer)
            && is(&self.model, &token.model)
    }
}

impl ObjectSelector {
    fn matches(&self, object: &Seen) -> bool {
        self.label.as_ref().is_none_or(|wanted| bare(wanted) == bare(&object.label))
            && self.id.as_ref().is_none_or(|wanted| *wanted == object.id)
    }
}

/// Without the padding that PKCS#11 has for fixed fields, whether by the standard's spaces or by zeros.
fn bare(text: &str) -> &str {
    text.trim_end_matches([' ', '\0'])
}

/// A list for an error; of many, the first.
fn listed(mut items: impl ExactSizeIterator<Item = String>) -> String {
    if items.len() == 0 {
        return "none".into();
    }
    let more = items.len().saturating_sub(MAX_LISTED);
    let list = items.by_ref().take(MAX_LISTED).collect::<Vec<_>>().join("; ");
    if more == 0 { list } else { format!("{list}; and {more} more") }
}

/// `label `a`, serial `1``, or `any name` if nothing is said.
fn said(f: &mut fmt::Formatter<'_>, parts: &[(&str, Option<&dyn fmt::Display>)]) -> fmt::Result {
    let mut first = true;
    for (name, value) in parts {
        if let Some(value) = value {
            write!(f, "{}{name} `{value}`", if first { "" } else { ", " })?;
            first = false;
        }
    }
    if first { f.write_str("any name") } else { Ok(()) }
}

fn shown<T: fmt::Display>(value: &Option<T>) -> Option<&dyn fmt::Display> {
    value.as_ref().map(|value| value as &dyn fmt::Display)
}

impl fmt::Display for TokenSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        said(
            f,
            &[
                ("slot id", shown(&self.slot_id)),
                ("label", shown(&self.label)),
                ("serial", shown(&self.serial)),
                ("manufacturer", shown(&self.manufacturer)),
                ("model", shown(&self.model)),
            ],
        )
    }
}

impl fmt::Display for ObjectSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        said(f, &[("label", shown(&self.label)), ("id", shown(&self.id))])
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token `{}`", clean(&self.label, &[]))?;
        if self.serial.is_empty() { Ok(()) } else { write!(f, " (serial {})", clean(&self.serial, &[])) }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_say_what_they_look_for() {
        assert_eq!(TokenSelector::default().to_string(), "any name");
        let token = TokenSelector { slot_id: Some(3), label: Some("a".into()), ..TokenSelector::default() };
        assert_eq!(token.to_string(), "slot id `3`, label `a`");
        let object = ObjectSelector { label: None, id: Some(Id(vec![0, 171])) };
        assert_eq!(object.to_string(), "id `00ab`");
    }

    #[test]
    fn padding_is_no_part_of_a_name_and_control_characters_are_not_shown() {
        let token = Identity { label: "device".into(), serial: "1\u{1b}[2J".into(), ..Identity::default() };
        for label in ["device", "device  ", "device\0\0"] {
            let selector = TokenSelector { label: Some(label.into()), ..TokenSelector::default() };
            assert!(selector.matches(0, &token));
        }
        assert!(!token.to_string().contains('\u{1b}'), "{token}");
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(listed([].into_iter()), "none");
        let list = listed((0..20).map(|number| number.to_string()));
        assert!(list.ends_with("15; and 4 more"), "{list}");
    }
}
