//! Paths as people write them: `~` for the home directory; and texts that are none, which may be a
//! key.

use std::borrow::Cow;
use std::path::Path;

/// The path with a leading `~` replaced by the home directory, if there is one.
pub fn expanded(path: &Path) -> Cow<'_, Path> {
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => Cow::Owned(home.join(rest)),
        _ => Cow::Borrowed(path),
    }
}

/// What no file system allows in one name, and Linux in a whole path.
const MAX_NAME: usize = 255;
const MAX_PATH: usize = 4096;
/// A line of PEM; a shorter text is not a key.
const KEY_LENGTH: usize = 64;
/// A name without a dot or dash that is longer is hardly one, but for AWS's certificate ids, which
/// are hexadecimal.
const USUAL_NAME: usize = 32;

/// Whether a text may be shown as a path, and not rather a key that lost its PEM lines.
pub fn is_plausible(text: &str) -> bool {
    let names = || text.split(['/', '\\']);
    if text.is_empty() || text.len() > MAX_PATH || text.chars().any(char::is_control) {
        return false;
    }
    if text.contains("PRIVATE KEY") || names().any(|name| name.len() > MAX_NAME) {
        return false;
    }
    // Base64, of URLs too; a backslash may be what is left of a line break.
    let packed = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '_' | '\\' | ' ')
    };
    if text.len() < KEY_LENGTH || !text.chars().all(packed) {
        return true;
    }
    let is_rooted = text.starts_with('/') || text.starts_with("~/");
    let is_usual =
        |name: &str| name.len() <= USUAL_NAME || name.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_rooted && names().all(is_usual)
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

    #[test]
    fn a_key_without_its_pem_lines_is_no_path() {
        let line = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg/T5k+Q2x9rS7nVtY";
        for text in [
            line.to_owned(),
            format!("{line}\n{line}"),
            format!("{line} {line}"),
            format!("{line}\\n{line}"),
            format!("/{line}"),
            format!("{line}==").replace(['/', '+'], "-"),
            "a/b\nc".to_owned(),
            "BEGIN PRIVATE KEY".to_owned(),
            format!("/a/{}.pem", "x".repeat(252)),
            "0".repeat(64),
            String::new(),
        ] {
            assert!(!is_plausible(&text), "{text}");
        }
        for text in [
            "/etc/device/certificate.pem",
            "~/device/private.key",
            "certificate",
            "C:\\device\\private.key",
            "/var/lib/greengrass/ipc/certificates/production/device/certificate",
            "certificates/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef-private.pem.key",
            "/d/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "/gerät/schlüssel mit leerzeichen.pem",
        ] {
            assert!(is_plausible(text), "{text}");
        }
    }
}
