//! The profile files: which there are, which profile is meant, and whether it is there.
//!
//! Files are read again each time, so that rotated keys and a new login are seen. What a profile
//! says is `profile_graph.rs`'s.

use std::env::{VarError, var};
use std::path::PathBuf;

use aws_config::profile::ProfileSet;
use aws_types::os_shim_internal::{Env, Fs};
use brs_core::Error;

use crate::environment::{self, Variables};
use brs_core::kit::with_cause;

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
    let looked_at = files();
    let profiles = load(name).await.map_err(|error| error.with_param(param))?;
    if profiles.get_profile(name).is_some() {
        return Ok(profiles);
    }
    let by = match named_by {
        NamedBy::User => String::new(),
        NamedBy::Environment(variable) => format!(", which `{variable}` names"),
    };
    Err(Error::configuration(format!(
        "there is no profile `{}`{by}: looked at {looked_at}; `aws configure list-profiles` lists what there is",
        shown_name(name)
    ))
    .with_param(param)
    .unrecoverable())
}

/// Reads the profile files.
pub(crate) async fn load(name: &str) -> Result<ProfileSet, Error> {
    let found = environment::files::for_loader(&Variables::Process);
    aws_config::profile::load(
        &Fs::real(),
        &Env::real(),
        &found,
        Some(name.to_owned().into()),
    )
    .await
    .map_err(|error| {
        let out = Error::configuration(format!(
            "the profile files cannot be read: check {}",
            files()
        ));
        with_cause(out.with_param("profile_name"), &error, &[]).unrecoverable()
    })
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
    let files = [
        file("AWS_CONFIG_FILE", "~/.aws/config"),
        file("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
    ];
    files
        .map(|file| format!("`{}`", file.display()))
        .join(" and ")
}

fn file(variable: &str, default: &str) -> PathBuf {
    match var(variable) {
        Ok(path) => path.into(),
        Err(VarError::NotUnicode(path)) => path.into(),
        Err(VarError::NotPresent) => default.into(),
    }
}
