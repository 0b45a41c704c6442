//! The profile files: where they are, and whether they can be read.
//!
//! aws-config takes a file that it cannot read for an empty one, and an empty variable for a file
//! that does not exist.

use std::env::home_dir;
use std::io;
use std::path::{Path, PathBuf};

use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use brs_core::kit::files::no_file;
use brs_core::{Blocking, Error};

use super::Variables;

const FILES: [(EnvConfigFileKind, &str, &str); 2] = [
    (EnvConfigFileKind::Config, "AWS_CONFIG_FILE", "config"),
    (
        EnvConfigFileKind::Credentials,
        "AWS_SHARED_CREDENTIALS_FILE",
        "credentials",
    ),
];

/// One of them, if there is a place for it, and the variable that names it.
pub(super) type Place = (EnvConfigFileKind, Option<PathBuf>, Option<&'static str>);

/// Checks the files that variables name, and that the usual ones are text. One that does not exist
/// is an empty one: tools name one so to have none.
pub(crate) async fn check(variables: &Variables) -> Result<(), Error> {
    let places = places(variables)?;
    let check = move || {
        places.iter().try_for_each(|(_, path, variable)| {
            path.as_ref()
                .map_or(Ok(()), |path| check_file(path, *variable))
        })
    };
    Blocking::new().run(check).await?
}

/// What to give to aws-config; its own rules do where no variable is empty or has white space
/// around its value.
pub(crate) fn for_loader(variables: &Variables) -> EnvConfigFiles {
    let as_it_is = |name: &str| match variables.raw(name) {
        None => true,
        Some(raw) => matches!(variables.get(name), Ok(Some(value)) if raw == *value),
    };
    let Ok(places) = places(variables) else {
        return EnvConfigFiles::default();
    };
    if FILES.iter().all(|(_, variable, _)| as_it_is(variable)) {
        return EnvConfigFiles::default();
    }
    let mut files = EnvConfigFiles::builder();
    for (kind, path, _) in places {
        files = match path.filter(|path| path.exists()) {
            Some(path) => files.with_file(kind, path),
            None => files.with_contents(kind, ""),
        };
    }
    files.build()
}

/// The profile files, in words.
pub(crate) fn shown(variables: &Variables) -> String {
    let places = places(variables).unwrap_or_default();
    let shown = places.iter().map(|(_, path, variable)| {
        let path = match path {
            Some(path) => format!("`{}`", path.display()),
            None => "no file".to_owned(),
        };
        match variable {
            Some(variable) => format!("{path} (`{variable}`)"),
            None => path,
        }
    });
    shown.collect::<Vec<_>>().join(" and ")
}

pub(super) fn places(variables: &Variables) -> Result<Vec<Place>, Error> {
    let place = |(kind, variable, usual)| {
        Ok(match variables.get(variable)? {
            Some(path) => (kind, Some(expanded(&path)), Some(variable)),
            None => (
                kind,
                home_dir().map(|home| home.join(".aws").join(usual)),
                None,
            ),
        })
    };
    FILES.into_iter().map(place).collect()
}

fn expanded(path: &str) -> PathBuf {
    match path
        .strip_prefix("~/")
        .and_then(|rest| Some(home_dir()?.join(rest)))
    {
        Some(path) => path,
        None => path.into(),
    }
}

fn check_file(path: &Path, variable: Option<&'static str>) -> Result<(), Error> {
    let content = match endless(path) {
        Some(problem) => Err(problem),
        None => Ok(std::fs::read(path)),
    };
    let problem = match content {
        Err(problem) => problem.to_owned(),
        Ok(Ok(bytes)) if std::str::from_utf8(&bytes).is_ok() => return Ok(()),
        Ok(Ok(_)) => "is not UTF-8".to_owned(),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(Err(error)) if variable.is_some() => {
            format!("cannot be read ({error}): check the path and its permissions")
        }
        // The home directory of somebody else is no place for settings.
        Ok(Err(_)) => return Ok(()),
    };
    let by = variable
        .map(|variable| format!(", which `{variable}` names,"))
        .unwrap_or_default();
    let error = Error::configuration(format!(
        "the profile file `{}`{by} {problem}",
        path.display()
    ));
    Err(error
        .with_param(variable.unwrap_or("profile_name"))
        .unrecoverable())
}

/// What is wrong with a pipe, a device or a socket, as the end of a sentence: reading one may never
/// end. The null device is an empty file.
fn endless(path: &Path) -> Option<&'static str> {
    let metadata = std::fs::metadata(path).ok().filter(|it| !it.is_dir())?;
    let problem = no_file(&metadata)?;
    let is_null = std::fs::canonicalize(path).is_ok_and(|real| real == Path::new("/dev/null"));
    (!is_null).then_some(problem)
}
