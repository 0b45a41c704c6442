//! Why a profile is missing, or its file unreadable: what the profile files hold in its place.
//!
//! Used for errors only. The files are read once more, since aws-config does not report what it
//! ignores.

use std::io;

use super::Variables;
use super::files::{self, Place};
use super::headers::{Wanted, broken, near_miss};

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

/// What the files hold in the place of an `sso-session`, as the end of a sentence.
pub(crate) fn sso_session(variables: &Variables, name: &str) -> String {
    let found = texts(variables).find_map(|((kind, ..), file, text)| {
        near_miss(Wanted::SsoSession, &kind, &file, &text, name)
    });
    found.map(|found| format!(": {found}")).unwrap_or_default()
}

/// Why the SDK cannot read a profile file, if that can be told.
pub(crate) fn unreadable(variables: &Variables) -> Option<String> {
    texts(variables).find_map(|(_, file, text)| broken(&file, &text))
}

/// The files that can be read.
fn texts(variables: &Variables) -> impl Iterator<Item = (Place, String, String)> {
    let places = files::places(variables).unwrap_or_default().into_iter();
    places.filter_map(|place| {
        let path = place.1.as_ref()?;
        let (file, text) = (
            path.display().to_string(),
            std::fs::read_to_string(path).ok()?,
        );
        Some((place, file, text))
    })
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
        Ok(bytes) => {
            let (file, text) = (file.to_string(), String::from_utf8_lossy(&bytes));
            near_miss(Wanted::Profile, kind, &file, &text, name).map(|reason| (reason, true))
        }
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
