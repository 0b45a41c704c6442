//! Why a profile is missing: what the profile files hold in its place.
//!
//! Used for errors only. The files are read once more, since aws-config does not report what it
//! ignores.

use std::io;
use std::path::Path;

use aws_runtime::env_config::file::EnvConfigFileKind;

use super::Variables;
use super::files::{self, Place};
use super::profiles::shown_name;

/// Where a profile was looked for and why it is not there, as the end of a sentence.
pub(crate) fn reasons(variables: &Variables, name: &str) -> String {
    let places = files::places(variables).unwrap_or_default();
    let reasons: Vec<_> = places
        .iter()
        .filter_map(|place| reason(place, name))
        .collect();
    let remedy = if reasons.iter().any(|(_, is_remedy)| *is_remedy) {
        ""
    } else {
        "; correct the name or add the profile, `aws configure list-profiles` lists those that exist"
    };
    let reasons: Vec<_> = reasons.into_iter().map(|(reason, _)| reason).collect();
    let reasons = match reasons.is_empty() {
        true => String::new(),
        false => format!(": {}", reasons.join(", and ")),
    };
    format!("in {}{reasons}{remedy}", files::shown(variables))
}

/// What is wrong with one file, and whether that says what to do.
fn reason((kind, path, variable): &Place, name: &str) -> Option<(String, bool)> {
    let Some(path) = path else {
        return Some((
            "this user has no home directory, set `HOME`".to_owned(),
            true,
        ));
    };
    let file = path.display();
    match std::fs::read(path) {
        Ok(bytes) => of_content(kind, path, &String::from_utf8_lossy(&bytes), name),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let by = variable
                .map(|variable| format!(", check `{variable}`"))
                .unwrap_or_default();
            Some((format!("`{file}` does not exist{by}"), false))
        }
        Err(error) => Some((
            format!(
                "`{file}` cannot be read ({}), check its permissions",
                error.kind()
            ),
            true,
        )),
    }
}

fn of_content(
    kind: &EnvConfigFileKind,
    path: &Path,
    text: &str,
    name: &str,
) -> Option<(String, bool)> {
    let in_config = matches!(kind, EnvConfigFileKind::Config);
    text.lines().filter_map(section).find_map(|section| {
        let prefixed = section
            .strip_prefix("profile")
            .filter(|rest| rest.starts_with([' ', '\t']))
            .map(str::trim);
        let (file, shown) = (path.display(), shown_name(name));
        let reason = match (in_config, prefixed) {
            (true, None) if section == name => {
                format!("rename the section `[{shown}]` in `{file}` to `[profile {shown}]`")
            }
            (false, Some(of)) if of == name => {
                format!("rename the section `[profile {shown}]` in `{file}` to `[{shown}]`")
            }
            // The readers of AWS ignore it.
            (true, Some(of)) if of == name => {
                format!(
                    "the section `[profile {shown}]` in `{file}` is ignored, its name may hold only letters, digits \
                     and any of `_-/.%@:+`"
                )
            }
            (false, None) if section == name => {
                format!(
                    "the section `[{shown}]` in `{file}` is ignored, its name may hold only letters, digits and any \
                     of `_-/.%@:+`"
                )
            }
            _ => return None,
        };
        Some((reason, true))
    })
}

/// The name of the section that a line begins.
fn section(line: &str) -> Option<&str> {
    let (name, _) = line.trim().strip_prefix('[')?.split_once(']')?;
    Some(name.trim())
}
