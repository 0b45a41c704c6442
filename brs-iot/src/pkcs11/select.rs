//! Which token and which object the user means, and what makes a token that very token.

use std::fmt;

use brs_core::kit::clean;

/// What makes a token that very token, wherever it is plugged in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) label: String,
    pub(super) serial: String,
    pub(super) manufacturer: String,
    pub(super) model: String,
    /// Set only if the rest does not distinguish two tokens.
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

impl TokenSelector {
    pub(super) fn matches(&self, slot_id: u64, token: &Identity) -> bool {
        let is = |wanted: &Option<String>, is: &str| {
            wanted.as_ref().is_none_or(|wanted| bare(wanted) == is)
        };
        self.slot_id.is_none_or(|wanted| wanted == slot_id)
            && is(&self.label, &token.label)
            && is(&self.serial, &token.serial)
            && is(&self.manufacturer, &token.manufacturer)
            && is(&self.model, &token.model)
    }
}

impl ObjectSelector {
    pub(super) fn matches(&self, label: &str, id: &Id) -> bool {
        let is_label = |wanted: &String| bare(wanted) == bare(label);
        self.label.as_ref().is_none_or(is_label)
            && self.id.as_ref().is_none_or(|wanted| wanted == id)
    }
}

/// Without the padding that PKCS#11 has for fixed fields, whether by the standard's spaces or by
/// zeros.
pub(super) fn bare(text: &str) -> &str {
    text.trim_end_matches([' ', '\0'])
}

/// `label `a`, serial `1``, or `any name` without a selection.
fn selection<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    parts: [(&str, Option<String>); N],
) -> fmt::Result {
    let parts = parts
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name} `{}`", clean(&value?, &[]))));
    let text = parts.collect::<Vec<_>>().join(", ");
    f.write_str(if text.is_empty() { "any name" } else { &text })
}

impl fmt::Display for TokenSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("slot id", self.slot_id.map(|id| id.to_string())),
            ("label", self.label.clone()),
            ("serial", self.serial.clone()),
            ("manufacturer", self.manufacturer.clone()),
            ("model", self.model.clone()),
        ];
        selection(f, parts)
    }
}

impl fmt::Display for ObjectSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id.as_ref().map(Id::to_string);
        selection(f, [("label", self.label.clone()), ("id", id)])
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token `{}`", clean(&self.label, &[]))?;
        if self.serial.is_empty() {
            Ok(())
        } else {
            write!(f, " (serial {})", clean(&self.serial, &[]))
        }
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
mod tests;
