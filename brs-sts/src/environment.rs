//! Settings from environment variables and from the selected profile, as the SDK names them.
//!
//! Owns the rules for all of them: white space around a value does not count, an empty value counts
//! as absent, and a wrong one is an error that names the variable, or the profile and the key, and
//! what is allowed. Values are never shown: some hold passwords. aws-config panics for some wrong
//! values, ignores others with a log line, and takes an empty value for a wrong one, so `settings`
//! reads everything that it would read and hands it the results. `checks` judges what its providers
//! read later, `machine` builds those of the container and the instance, `files` finds the profile
//! files, and `endpoints` answers SDK clients that ask for an endpoint URL.

use std::ffi::OsString;
use std::fmt;

use aws_config::profile::ProfileSet;
use brs_core::Error;

pub(crate) mod checks;
pub(crate) mod endpoints;
pub(crate) mod files;
mod headers;
pub(crate) mod machine;
pub(crate) mod missing;
pub(crate) mod origins;
pub(crate) mod settings;

/// The environment variables of the process, or a test's.
#[derive(Clone, Debug)]
pub(crate) enum Variables {
    Process,
    #[cfg(test)]
    Fixed(Vec<(&'static str, OsString)>),
}

impl Variables {
    fn raw(&self, name: &str) -> Option<OsString> {
        match self {
            Self::Process => std::env::var_os(name),
            #[cfg(test)]
            Self::Fixed(all) => all
                .iter()
                .find(|(of, _)| *of == name)
                .map(|(_, value)| value.clone()),
        }
    }

    /// Whether a variable is there, be it empty.
    fn is_set(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    /// The names that begin so; names that are not UTF-8 are no settings.
    fn names(&self, prefix: &str) -> Vec<String> {
        let names: Vec<OsString> = match self {
            Self::Process => std::env::vars_os().map(|(name, _)| name).collect(),
            #[cfg(test)]
            Self::Fixed(all) => all.iter().map(|(name, _)| name.into()).collect(),
        };
        names
            .into_iter()
            .filter_map(|name| name.into_string().ok())
            .filter(|name| name.starts_with(prefix))
            .collect()
    }

    /// A variable's value; `None` if it is absent or empty.
    pub(crate) fn get(&self, name: &str) -> Result<Option<String>, Error> {
        let Some(raw) = self.raw(name) else {
            return Ok(None);
        };
        let value = raw
            .into_string()
            .map_err(|_| Place::variable(name).wrong("is not UTF-8"))?;
        let value = value.trim();
        Ok((!value.is_empty()).then(|| value.to_owned()))
    }
}

/// Where a setting stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Variable(String),
    /// The profile's name, if it is known, and the key.
    Profile(Option<String>, String),
}

impl Place {
    pub(crate) fn variable(name: &str) -> Self {
        Self::Variable(name.to_owned())
    }

    /// What an error calls the parameter.
    pub(crate) fn param(&self) -> &str {
        match self {
            Self::Variable(name) | Self::Profile(_, name) => name,
        }
    }

    /// The error for a value that stands here.
    pub(crate) fn wrong(&self, problem: impl fmt::Display) -> Error {
        let error = Error::configuration(format!("{self} {problem}"))
            .with_param(self.param())
            .unrecoverable();
        match self {
            Self::Profile(Some(profile), _) => {
                error.with_detail("profile", crate::environment::profiles::shown_name(profile))
            }
            _ => error,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "`{name}`"),
            Self::Profile(Some(profile), key) => {
                write!(
                    f,
                    "`{key}` of the profile `{}`",
                    crate::environment::profiles::shown_name(profile)
                )
            }
            Self::Profile(None, key) => write!(f, "the profile's `{key}`"),
        }
    }
}

/// A value that is there, and where.
pub(crate) type Found = (String, Place);

/// Variables and profile, read in the SDK's order: the variable takes precedence.
pub(crate) struct Reader<'a> {
    pub(crate) variables: &'a Variables,
    pub(crate) profiles: &'a ProfileSet,
    pub(crate) profile: &'a str,
}

impl Reader<'_> {
    /// The first of the variables that is set, else the first of the profile's keys.
    pub(crate) fn find(&self, variables: &[&str], keys: &[&str]) -> Result<Option<Found>, Error> {
        for name in variables {
            if let Some(value) = self.variables.get(name)? {
                return Ok(Some((value, Place::variable(name))));
            }
        }
        Ok(keys.iter().find_map(|key| self.of_profile(key)))
    }

    fn of_profile(&self, key: &str) -> Option<Found> {
        let value = self.profiles.get_profile(self.profile)?.get(key)?.trim();
        (!value.is_empty()).then(|| {
            (
                value.to_owned(),
                Place::Profile(Some(self.profile.to_owned()), key.to_owned()),
            )
        })
    }
}

/// The profile that the environment names, and the variable that does.
///
/// `AWS_PROFILE` takes precedence over `AWS_DEFAULT_PROFILE`, unlike in botocore: SDK clients that
/// the program makes by itself know only the former, and sessions and they must not use two
/// profiles in one process.
pub(crate) fn profile(variables: &Variables) -> Result<Option<(String, &'static str)>, Error> {
    let (usual, other) = (
        variables.get("AWS_PROFILE")?,
        variables.get("AWS_DEFAULT_PROFILE")?,
    );
    match (usual, other) {
        (Some(usual), other) => {
            if other.is_some_and(|other| other != usual) {
                tracing::warn!(
                    "`AWS_DEFAULT_PROFILE` is ignored: `AWS_PROFILE` names another profile"
                );
            }
            Ok(Some((usual, "AWS_PROFILE")))
        }
        (None, other) => Ok(other.map(|name| (name, "AWS_DEFAULT_PROFILE"))),
    }
}

pub(crate) mod profiles;
#[cfg(test)]
mod tests;
