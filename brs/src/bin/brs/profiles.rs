//! The profile files of AWS, as its SDK reads them.

use std::path::{Path, PathBuf};

use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_runtime::env_config::section::EnvConfigSections;
use aws_runtime::env_config::source;
use aws_types::os_shim_internal::{Env, Fs};

use crate::exit::Failure;

/// The profile that is used if none is named.
pub(crate) const DEFAULT: &str = "default";

/// `~/.aws/config`, or the file that the environment names.
pub(crate) fn config_file() -> Option<PathBuf> {
    file("AWS_CONFIG_FILE", "config")
}

/// `~/.aws/credentials`, or the file that the environment names.
pub(crate) fn credentials_file() -> Option<PathBuf> {
    file("AWS_SHARED_CREDENTIALS_FILE", "credentials")
}

fn file(variable: &str, name: &str) -> Option<PathBuf> {
    match std::env::var_os(variable).filter(|value| !value.is_empty()) {
        Some(path) => Some(brs::kit::path::expanded(Path::new(&path)).into_owned()),
        None => Some(std::env::home_dir()?.join(".aws").join(name)),
    }
}

/// Reads both files; one that is missing is empty.
///
/// # Errors
///
/// [`Failure::Usage`] for a file that is not one of profiles.
pub(crate) async fn load() -> Result<EnvConfigSections, Failure> {
    read(credentials_file().as_deref()).await
}

/// Reads the config file, and this credentials file.
///
/// # Errors
///
/// As [`load`].
pub(crate) async fn read(credentials: Option<&Path>) -> Result<EnvConfigSections, Failure> {
    let config = config_file();
    let both = [
        (EnvConfigFileKind::Config, config.as_deref()),
        (EnvConfigFileKind::Credentials, credentials),
    ];
    let mut files = EnvConfigFiles::builder();
    for (kind, path) in both {
        files = match path.filter(|path| path.exists()) {
            Some(path) => files.with_file(kind, path),
            None => files.with_contents(kind, ""),
        };
    }
    let unread = |problem: String| {
        let shown = both.into_iter().filter_map(|(_, path)| path);
        let shown: Vec<_> = shown.map(|path| format!("`{}`", path.display())).collect();
        Failure::Usage(format!(
            "the profiles of {} cannot be read: {problem}",
            shown.join(" and ")
        ))
    };
    let found = source::load(&Env::real(), &Fs::real(), &files.build()).await;
    let found = found.map_err(|error| unread(brs::kit::causes(&error, &[])))?;
    EnvConfigSections::parse(found).map_err(|error| unread(error.to_string()))
}
