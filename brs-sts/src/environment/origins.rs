//! Which values of a request come from a profile or the environment, so that errors name the key
//! or the variable and not a parameter that the program did not give.

use brs_core::Error;

use super::Place;
use crate::request::validate::Invalid;

/// The parameter and where its value stands, for each value that the program did not give.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins(Vec<(&'static str, Place)>);

impl Origins {
    /// The program gave everything.
    pub(crate) const NONE: Self = Self(Vec::new());

    /// Notes that a parameter's value is the profile's, under that key.
    pub(crate) fn profile_key(&mut self, field: &'static str, profile: &str, key: &str) {
        let place = Place::Profile(Some(profile.to_owned()), key.to_owned());
        self.0.push((field, place));
    }

    /// Notes that a parameter's value is the environment's.
    pub(crate) fn variable(&mut self, field: &'static str, variable: &str) {
        self.0.push((field, Place::variable(variable)));
    }

    /// A parameter in words, for somebody who is to change it.
    pub(crate) fn name(&self, field: &str) -> String {
        self.place(field)
            .map_or_else(|| format!("`{field}`"), Place::to_string)
    }

    /// The error for a wrong value; `param` is the parameter's whole name.
    pub(crate) fn wrong(&self, field: &str, param: &str, invalid: Invalid) -> Error {
        match self.place(field) {
            Some(place) => place.wrong(invalid),
            None => invalid.at(param),
        }
    }

    /// The profile that the role is of.
    pub(crate) fn profile(&self) -> Option<&str> {
        match self.place("role_arn") {
            Some(Place::Profile(profile, _)) => profile.as_deref(),
            _ => None,
        }
    }

    fn place(&self, field: &str) -> Option<&Place> {
        self.0
            .iter()
            .find_map(|(of, place)| (*of == field).then_some(place))
    }
}
