//! Which file is the configuration, and whether it may be trusted.

use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::exit::Failure;

/// The file that is named, or the first that exists; or where it was looked for.
pub(super) fn find(
    explicit: Option<&Path>,
    variable: impl Fn(&str) -> Option<OsString>,
    home: Option<PathBuf>,
) -> Result<PathBuf, Vec<PathBuf>> {
    let variable = |name| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    // One that is named is used, or is an error: another one would be a surprise.
    if let Some(path) = explicit
        .map(Path::to_owned)
        .or_else(|| variable("BRS_CONFIG"))
    {
        return Ok(path);
    }
    let below = |directory: PathBuf| directory.join("brs").join("brs.toml");
    // A relative one is to be ignored, by its specification.
    let of_user = variable("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    let candidates: Vec<_> = [
        of_user,
        home.map(|home| home.join(".config")),
        Some("/etc".into()),
    ]
    .into_iter()
    .flatten()
    .map(below)
    .collect();
    // One that cannot be looked at exists: the next is not used in its place.
    let exists = |path: &&PathBuf| !matches!(path.try_exists(), Ok(false));
    match candidates.iter().find(exists) {
        Some(path) => Ok(path.clone()),
        None => Err(candidates),
    }
}

/// Reads the file, unless others may write it.
pub(super) fn read(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let refused = |problem: String| Failure::Usage(format!("{}: {problem}", path.display()));
    let unread = |error: &io::Error| {
        refused(match error.kind() {
            io::ErrorKind::NotFound => {
                "the configuration file does not exist: check the path".to_owned()
            }
            _ => format!("the configuration file cannot be read: {error}"),
        })
    };
    let real = path.canonicalize().map_err(|error| unread(&error))?;
    let metadata = real.metadata().map_err(|error| unread(&error))?;
    if let Some(others) = others(&metadata) {
        return Err(refused(format!(
            "the configuration file is refused, since {others} can write it: run `chmod go-w {}`",
            real.display()
        )));
    }
    // Who may write the directory may put another file in its place. With the sticky bit, as in
    // `/tmp`, only the owner of the file may.
    if let Some(directory) = real.parent() {
        let metadata = directory.metadata().map_err(|error| unread(&error))?;
        let is_sticky = metadata.mode() & 0o1000 != 0;
        if let Some(others) = others(&metadata).filter(|_| !is_sticky) {
            return Err(refused(format!(
                "the configuration file is refused, since {others} can replace it: run `chmod go-w {}`",
                directory.display()
            )));
        }
    }
    let bytes = brs::kit::files::read(&real)
        .map_err(|unread| refused(format!("the configuration file {}", unread.problem())))?;
    // What was read is what was checked.
    let now = real.metadata().map_err(|error| unread(&error))?;
    if (now.ino(), now.dev(), now.mode()) != (metadata.ino(), metadata.dev(), metadata.mode()) {
        return Err(refused(
            "the configuration file was replaced while it was read: try again".to_owned(),
        ));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            Err(Failure::Usage(format!(
                "{}:{line}: the file is not UTF-8",
                path.display()
            )))
        }
    }
}

/// Who but owner and root has write access.
fn others(metadata: &Metadata) -> Option<&'static str> {
    match (metadata.mode() & 0o020 != 0, metadata.mode() & 0o002 != 0) {
        (_, true) => Some("every user"),
        (true, false) => Some("its group"),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_file_that_exists_counts() {
        let home = tempfile::tempdir().unwrap();
        let xdg = home.path().join("xdg");
        let found = |explicit: Option<&str>, variables: &[(&str, &Path)]| {
            let variable = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| value.as_os_str().to_owned())
            };
            find(
                explicit.map(Path::new),
                variable,
                Some(home.path().to_owned()),
            )
        };
        let of_home = home.path().join(".config/brs/brs.toml");
        let of_xdg = xdg.join("brs/brs.toml");
        let all = [
            ("BRS_CONFIG", Path::new("/b.toml")),
            ("XDG_CONFIG_HOME", xdg.as_path()),
        ];

        if !Path::new("/etc/brs/brs.toml").exists() {
            let searched = vec![of_xdg.clone(), of_home.clone(), "/etc/brs/brs.toml".into()];
            assert_eq!(found(None, &all[1..]), Err(searched));
        }
        for path in [&of_home, &of_xdg] {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        assert_eq!(found(Some("/a.toml"), &all), Ok("/a.toml".into()));
        assert_eq!(found(None, &all), Ok("/b.toml".into()));
        assert_eq!(found(None, &all[1..]), Ok(of_xdg.clone()));
        assert_eq!(
            found(None, &[("BRS_CONFIG", Path::new("")), all[1]]),
            Ok(of_xdg)
        );
        assert_eq!(
            found(None, &[("XDG_CONFIG_HOME", Path::new("xdg"))]),
            Ok(of_home)
        );
    }
}
