//! Which directory the cache is in.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use brs_core::kit::path::expanded;

use super::problem::Problem;

/// The directory, as far as it is known.
#[derive(Debug)]
pub(super) struct Place(Result<PathBuf, Problem>);

impl Place {
    /// The one that was named, or that of the environment.
    pub(super) fn of(named: Option<PathBuf>) -> Self {
        Self::from(named, |name| std::env::var_os(name))
    }

    fn from(named: Option<PathBuf>, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        let named = named.or_else(|| variable("BRS_CACHE_DIR").map(PathBuf::from));
        Self(match named {
            Some(named) => {
                let path = expanded(&named);
                if path.is_absolute() {
                    // A slash at the end would lead through a link.
                    Ok(path.components().collect())
                } else {
                    Err(relative(&named))
                }
            }
            // One that is not absolute is to be ignored, by its specification.
            None => match variable("XDG_RUNTIME_DIR").map(PathBuf::from) {
                Some(runtime) if runtime.is_absolute() => Ok(runtime.join("brs")),
                _ => Err(unset()),
            },
        })
    }

    /// The directory.
    pub(super) fn directory(&self) -> Result<&Path, Problem> {
        match &self.0 {
            Ok(path) => Ok(path),
            Err(problem) => Err(problem.clone()),
        }
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.0.as_deref().ok()
    }
}

fn unset() -> Problem {
    let text = "credentials are not shared: neither `BRS_CACHE_DIR` nor `XDG_RUNTIME_DIR` names a \
                directory: set `BRS_CACHE_DIR`, or name a directory for the host cache";
    Problem::of_directory("host_cache_unset", text)
}

fn relative(path: &Path) -> Problem {
    let text = format!(
        "credentials are not shared: the directory `{}` is a relative path, which is another \
         directory in each process: give an absolute one",
        path.display()
    );
    Problem::of_directory("host_cache_relative", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(named: Option<&str>, variables: &[(&str, &str)]) -> Result<PathBuf, &'static str> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let place = Place::from(named.map(PathBuf::from), variable);
        place.0.map_err(|problem| problem.name)
    }

    #[cfg(unix)]
    #[test]
    fn the_named_directory_counts_then_that_of_the_environment() {
        let home = std::env::home_dir().unwrap();
        let both = [("BRS_CACHE_DIR", "/b"), ("XDG_RUNTIME_DIR", "/run/user/1")];
        for (named, variables, expected) in [
            (Some("/a/"), &both[..], Ok("/a".into())),
            (Some("~/.cache/brs"), &both, Ok(home.join(".cache/brs"))),
            (None, &both, Ok("/b".into())),
            (None, &both[1..], Ok("/run/user/1/brs".into())),
            (
                None,
                &[("BRS_CACHE_DIR", ""), both[1]],
                Ok("/run/user/1/brs".into()),
            ),
            (None, &[], Err("host_cache_unset")),
            (None, &[("XDG_RUNTIME_DIR", "run")], Err("host_cache_unset")),
            (None, &[("XDG_RUNTIME_DIR", "")], Err("host_cache_unset")),
            (Some("a"), &both, Err("host_cache_relative")),
            (
                None,
                &[("BRS_CACHE_DIR", "b"), both[1]],
                Err("host_cache_relative"),
            ),
        ] {
            assert_eq!(place(named, variables), expected, "{named:?} {variables:?}");
        }
    }
}
