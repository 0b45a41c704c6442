//! Finding token, key and certificates by the user's selection, and listing what is there if that
//! is not enough.
//!
//! Owns the search; `certificates.rs` decides which certificate is used. Nothing is guessed: a
//! missing or ambiguous object is an error with a list of labels, serial numbers and ids. Keys with
//! the same label and id are listed with what else is known of them; only the token's owner can
//! make them distinguishable.

use std::fmt;

use brs_core::Error;
use brs_core::kit::clean;
use cryptoki::context::Pkcs11 as Module;
use cryptoki::error::Error as ModuleError;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::slot::Slot;

use super::failure::{Failure, reason};
use super::kind::kind;
use super::select::{Id, Identity, ObjectSelector, TokenSelector, bare};

/// More objects of a kind than any device's token has. A selection by label and id works among any
/// number.
const MAX_OBJECTS: usize = 1024;
/// How many of them an error lists.
const MAX_LISTED: usize = 16;

/// A key or certificate, as far as it can be seen.
pub(super) struct Seen {
    pub(super) handle: ObjectHandle,
    pub(super) label: String,
    pub(super) id: Id,
    /// An unreadable object matches nothing, and does not make the search fail.
    readable: bool,
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

impl fmt::Display for FoundKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "private key `{}` (id {})",
            clean(&self.label, &[]),
            self.id
        )
    }
}

/// The token that is meant among those that are there now.
pub(super) fn token(
    module: &Module,
    selector: &TokenSelector,
    what: &dyn fmt::Display,
) -> Result<Identity, Failure> {
    let Tokens { seen, unreadable } = tokens(module)?;
    let mut matching = seen
        .iter()
        .filter(|(slot, token)| selector.matches(slot.id(), token));
    let (chosen, more) = (matching.next(), matching.next());
    let (problem, remedy) = match (chosen, more) {
        (Some((_, token)), None) => return Ok(token.clone()),
        (None, _) => ("has no token", "plug it in, or choose one of"),
        (Some(_), Some(_)) => (
            "has several tokens",
            "choose one by slot id, label or serial number from",
        ),
    };
    let seen = seen.iter().map(|(slot, token)| {
        format!(
            "slot id {slot}: label `{}`, serial `{}`, model `{}`",
            clean(&token.label, &[]),
            clean(&token.serial, &[]),
            clean(&token.model, &[])
        )
    });
    let unreadable = unreadable
        .iter()
        .map(|(slot, why)| format!("slot id {slot}: one that cannot be read ({why})"));
    let list = listed(seen.chain(unreadable).collect::<Vec<_>>().into_iter());
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
        let here = Identity {
            slot_id: token.slot_id,
            ..seen.clone()
        };
        here == *token && token.slot_id.is_none_or(|id| id == slot.id())
    };
    let mut found = tokens(module)?
        .seen
        .into_iter()
        .filter(|(slot, seen)| is_it(seen, *slot))
        .map(|(slot, _)| slot);
    match (found.next(), found.next()) {
        (Some(slot), None) => Ok(slot),
        (None, _) => Err(Failure::Other(Error::connection(format!(
            "{token} is gone: plug it in again"
        )))),
        (Some(_), Some(_)) => Err(Failure::Other(
            Error::configuration(format!(
                "{token} is present twice: unplug one, or choose one by slot id"
            ))
            .unrecoverable(),
        )),
    }
}

/// The initialised tokens.
struct Tokens {
    seen: Vec<(Slot, Identity)>,
    /// With the reason.
    unreadable: Vec<(Slot, String)>,
}

/// A token that cannot be read, such as one in another reader, does not stand in the way of those
/// that can.
fn tokens(module: &Module) -> Result<Tokens, Failure> {
    let slots = module
        .get_slots_with_token()
        .map_err(Failure::while_("listing the slots"))?;
    let mut seen: Vec<(Slot, Identity)> = Vec::new();
    let mut unreadable = Vec::new();
    for slot in slots {
        match module.get_token_info(slot) {
            Ok(info) if info.token_initialized() => {
                let identity = Identity {
                    label: bare(info.label()).to_owned(),
                    serial: bare(info.serial_number()).to_owned(),
                    manufacturer: bare(info.manufacturer_id()).to_owned(),
                    model: bare(info.model()).to_owned(),
                    slot_id: None,
                };
                seen.push((slot, identity));
            }
            Ok(_) => {}
            Err(error) => unreadable.push((slot, reason(&error))),
        }
    }
    let plain: Vec<Identity> = seen.iter().map(|(_, token)| token.clone()).collect();
    for (slot, token) in &mut seen {
        if token.serial.is_empty() || plain.iter().filter(|other| **other == *token).count() > 1 {
            token.slot_id = Some(slot.id());
        }
    }
    Ok(Tokens { seen, unreadable })
}

/// The private key that is meant.
pub(super) fn key(
    session: &Session,
    selector: &ObjectSelector,
    token: &dyn fmt::Display,
) -> Result<FoundKey, Failure> {
    let class = [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::Token(true),
    ];
    let Seen {
        handle, label, id, ..
    } = one(session, &class, selector, token, "private key")?;
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
        let text = format!(
            "{token}: private key `{}` (id {id}) {problem}",
            clean(&label, &[])
        );
        Err(Failure::Other(Error::configuration(text).unrecoverable()))
    };
    if flag(AttributeType::Sign)? == Some(false) {
        return wrong("is not for signing (CKA_SIGN is false): choose another key");
    }
    let is_rsa = match key_type {
        Some(KeyType::RSA) => true,
        Some(KeyType::EC) => false,
        _ => {
            return wrong(
                "is of an unsupported kind: keys are RSA of 2048 to 4096 bits, P-256 or P-384",
            );
        }
    };
    let always_authenticate = flag(AttributeType::AlwaysAuthenticate)? == Some(true);
    Ok(FoundKey {
        handle,
        label,
        id,
        is_rsa,
        always_authenticate,
    })
}

/// The one object of a class that fits.
fn one(
    session: &Session,
    class: &[Attribute],
    selector: &ObjectSelector,
    token: &dyn fmt::Display,
    what: &str,
) -> Result<Seen, Failure> {
    let mut matching = several(session, class, selector, token, what)?;
    if matching.len() == 1
        && let Some(only) = matching.pop()
    {
        return Ok(only);
    }
    let (seen, _) = every(session, class)?;
    let list = listed(seen.iter().map(Seen::to_string));
    let text = match matching.len() {
        0 => format!("{token} has no {what} with {selector}: there are: {list}"),
        count if are_alike(matching.iter().map(|seen| (&*seen.label, &seen.id))) => {
            let kinds = listed(
                matching
                    .iter()
                    .map(|seen| format!("{seen}, {}", kind(session, seen.handle))),
            );
            format!(
                "{token} has {count} {what}s with the same label and id, which cannot tell them \
                 apart: change one's label or id with the token's own tool, or remove it: {kinds}"
            )
        }
        count => format!(
            "{token} has {count} {what}s with {selector}: choose by label and id from: {list}"
        ),
    };
    let error = Error::configuration(text).unrecoverable();
    Err(if matching.is_empty() {
        Failure::Missing(error)
    } else {
        Failure::Other(error)
    })
}

/// Whether labels and ids are the same of all.
pub(super) fn are_alike<'a>(mut names: impl Iterator<Item = (&'a str, &'a Id)>) -> bool {
    names
        .next()
        .is_some_and(|(label, id)| names.all(|other| other == (label, id)))
}

/// All objects of a class that fit: those the token finds by label and id, else those that fit but
/// for padding.
pub(super) fn several(
    session: &Session,
    class: &[Attribute],
    selector: &ObjectSelector,
    token: &dyn fmt::Display,
    what: &str,
) -> Result<Vec<Seen>, Failure> {
    let named = selector
        .label
        .as_ref()
        .map(|label| Attribute::Label(label.as_bytes().to_vec()));
    let named = named
        .into_iter()
        .chain(selector.id.as_ref().map(|id| Attribute::Id(id.0.clone())));
    let template: Vec<Attribute> = class.iter().cloned().chain(named).collect();
    let too_many = |problem: String| {
        Failure::Other(
            Error::configuration(format!("{token} has {problem}: choose by label and id"))
                .unrecoverable(),
        )
    };
    let (found, more) = every(session, &template)?;
    if more {
        return Err(too_many(format!(
            "more than {} {what}s with {selector}",
            max_objects()
        )));
    }
    if !found.is_empty() || template.len() == class.len() {
        return Ok(found.into_iter().filter(|seen| seen.readable).collect());
    }
    let (all, more) = every(session, class)?;
    let found: Vec<Seen> = all
        .into_iter()
        .filter(|seen| seen.readable && selector.matches(&seen.label, &seen.id))
        .collect();
    if found.is_empty() && more {
        return Err(too_many(format!(
            "no {what} with exactly {selector}, and more than {} others",
            max_objects()
        )));
    }
    Ok(found)
}

/// All objects that fit a template, and whether there are more of them than are looked at.
pub(super) fn every(
    session: &Session,
    template: &[Attribute],
) -> Result<(Vec<Seen>, bool), Failure> {
    let (handles, more) = handles(session, template)?;
    Ok((
        handles
            .into_iter()
            .map(|handle| Seen::read(session, handle))
            .collect(),
        more,
    ))
}

/// The same without looking at them.
pub(super) fn handles(
    session: &Session,
    template: &[Attribute],
) -> Result<(Vec<ObjectHandle>, bool), Failure> {
    let objects = session
        .iter_objects(template)
        .map_err(Failure::while_("searching"))?;
    let found: Result<Vec<_>, _> = objects.take(max_objects() + 1).collect();
    let mut found = found.map_err(Failure::while_("searching"))?;
    let more = found.len() > max_objects();
    found.truncate(max_objects());
    Ok((found, more))
}

fn max_objects() -> usize {
    #[cfg(feature = "test-util")]
    return super::hook::max_objects().unwrap_or(MAX_OBJECTS);
    #[cfg(not(feature = "test-util"))]
    MAX_OBJECTS
}

/// An attribute, or `None` if the object has none that can be read.
pub(super) fn attribute(
    session: &Session,
    handle: ObjectHandle,
    kind: AttributeType,
) -> Result<Option<Attribute>, Failure> {
    match session.get_attributes(handle, &[kind]) {
        Ok(attributes) => Ok(attributes.into_iter().next()),
        Err(error @ ModuleError::Pkcs11(..)) => Err(Failure::while_("reading an attribute")(error)),
        // A value that `cryptoki` has no name for.
        Err(_) => Ok(None),
    }
}

impl Seen {
    fn read(session: &Session, handle: ObjectHandle) -> Self {
        let label = attribute(session, handle, AttributeType::Label);
        let id = attribute(session, handle, AttributeType::Id);
        let readable = label.is_ok() && id.is_ok();
        let label = match label {
            Ok(Some(Attribute::Label(label))) => String::from_utf8_lossy(&label).into_owned(),
            _ => String::new(),
        };
        let id = match id {
            Ok(Some(Attribute::Id(id))) => Id(id),
            _ => Id::default(),
        };
        Self {
            handle,
            label,
            id,
            readable,
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.readable {
            true => write!(f, "label `{}`, id {}", clean(&self.label, &[]), self.id),
            false => f.write_str("one that cannot be read"),
        }
    }
}

/// A list for an error; of many, the first.
pub(super) fn listed(mut items: impl ExactSizeIterator<Item = String>) -> String {
    if items.len() == 0 {
        return "none".into();
    }
    let more = items.len().saturating_sub(MAX_LISTED);
    let list = items
        .by_ref()
        .take(MAX_LISTED)
        .collect::<Vec<_>>()
        .join("; ");
    if more == 0 {
        list
    } else {
        format!("{list}; and {more} more")
    }
}

#[cfg(test)]
mod tests;
