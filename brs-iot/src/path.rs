//! Paths as people write them: `~` for the home directory.

use std::borrow::Cow;
use std::path::Path;

/// The path with a leading `~` replaced by the home directory, where there is one.
pub(crate) fn expanded(path: &Path) -> Cow<'_, Path> {
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => Cow::Owned(home.join(rest)),
        _ => Cow::Borrowed(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_leading_tilde_stands_for_the_home_directory() {
        let home = std::env::home_dir().unwrap();
        assert_eq!(expanded(Path::new("~/pin")), home.join("pin"));
        for path in ["/a/~/b", "~user/pin", "pin"] {
            assert_eq!(expanded(Path::new(path)), Path::new(path));
        }
    }
}
