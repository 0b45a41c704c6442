//! The profile files: which there are, which profile is meant, and whether it is there.
//!
//! Files are read again each time, so that rotated keys and a new login are seen. What a profile
//! says is `profile_graph.rs`'s.

use aws_config::profile::ProfileSet;
use aws_types::os_shim_internal::{Env, Fs};
use brs_core::{Blocking, Error};

use super::missing::{reasons, unreadable};
use crate::environment::{self, Variables, files};
use brs_core::kit::{causes, with_cause};

pub(crate) const DEFAULT: &str = "default";

/// The profile that is used if the user names none.
pub(crate) fn default_name() -> String {
    // What is wrong there was an error when the base configuration was loaded.
    let named = environment::profile(&Variables::Process).ok().flatten();
    named.map_or_else(|| DEFAULT.to_owned(), |(name, _)| name)
}

/// Checks that a profile is there; `named_by` says who asks for it, and how an error names that.
pub(crate) async fn check(name: &str, named_by: NamedBy) -> Result<ProfileSet, Error> {
    let param = named_by.param();
    let profiles = load(name).await.map_err(|error| error.with_param(param))?;
    if profiles.get_profile(name).is_some() {
        return Ok(profiles);
    }
    let by = match named_by {
        NamedBy::User => String::new(),
        NamedBy::Environment(variable) => format!(", which `{variable}` names"),
    };
    let missing = name.to_owned();
    let reasons = move || reasons(&Variables::Process, &missing);
    let reasons = Blocking::new().run(reasons).await?;
    Err(Error::configuration(format!(
        "there is no profile `{}`{by}, {reasons}",
        shown_name(name)
    ))
    .with_param(param)
    .unrecoverable())
}

/// Reads the profile files.
pub(crate) async fn load(name: &str) -> Result<ProfileSet, Error> {
    let found = files::for_loader(&Variables::Process);
    let (fs, env, named) = (Fs::real(), Env::real(), Some(name.to_owned().into()));
    let error = match aws_config::profile::load(&fs, &env, &found, named).await {
        Ok(profiles) => return Ok(profiles),
        Err(error) => error,
    };
    let told = Blocking::new()
        .run(|| unreadable(&Variables::Process))
        .await?;
    let told = told.unwrap_or_else(|| match causes(&error, &[]) {
        cause if cause.is_empty() => format!("check {}", files()),
        cause => format!("check {}: {cause}", files()),
    });
    let out = Error::configuration(format!("the profile files cannot be read: {told}"));
    Err(with_cause(out.with_param("profile_name"), &error, &[]).unrecoverable())
}

/// Who named a profile.
#[derive(Clone, Copy)]
pub(crate) enum NamedBy {
    User,
    /// This variable.
    Environment(&'static str),
}

impl NamedBy {
    fn param(self) -> &'static str {
        match self {
            Self::User => "profile_name",
            Self::Environment(variable) => variable,
        }
    }
}

pub(crate) fn shown_name(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// The profile files, in words.
pub(crate) fn files() -> String {
    files::shown(&Variables::Process)
}
