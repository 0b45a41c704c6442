//! What a path of the endpoint asks for. Pure.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::tally::Route;

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted<'a> {
    /// The consumer's only session.
    Only,
    Session(Cow<'a, str>),
    /// A role by its name, as amazon-ecs-local-container-endpoints has it: the session of that name,
    /// or the one whose role has it.
    RoleName(Cow<'a, str>),
    RoleArn(Cow<'a, str>),
    Health,
    Ready,
    Unknown,
}

/// Reads a path, and tells under which name it is counted.
pub(super) fn read(path: &str) -> (Route, Wanted<'_>) {
    let path = match path.strip_suffix('/') {
        Some("") | None => path,
        Some(shorter) => shorter,
    };
    match path {
        "/" => return (Route::Root, Wanted::Only),
        "/creds" => return (Route::Creds, Wanted::Only),
        "/healthz" => return (Route::Health, Wanted::Health),
        "/readyz" => return (Route::Ready, Wanted::Ready),
        _ => {}
    }
    let one = |rest: &str| !rest.is_empty() && !rest.contains('/');
    if let Some(rest) = path.strip_prefix("/session/")
        && one(rest)
    {
        return (
            Route::Session,
            decoded(rest).map_or(Wanted::Unknown, Wanted::Session),
        );
    }
    if let Some(rest) = path.strip_prefix("/role/")
        && one(rest)
    {
        return (
            Route::Role,
            decoded(rest).map_or(Wanted::Unknown, Wanted::RoleName),
        );
    }
    if let Some(rest) = path.strip_prefix("/role-arn/")
        && !rest.is_empty()
    {
        return (
            Route::RoleArn,
            decoded(rest).map_or(Wanted::Unknown, Wanted::RoleArn),
        );
    }
    (Route::Other, Wanted::Unknown)
}

/// Some clients encode the colons and slashes of an ARN, some do not.
fn decoded(text: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(text).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:iam::123456789012:role/path/app";

    #[test]
    fn paths_are_read_encoded_or_not_with_or_without_a_last_slash() {
        for (path, expected) in [
            ("/", Wanted::Only),
            ("/creds", Wanted::Only),
            ("/creds/", Wanted::Only),
            ("/session/app", Wanted::Session("app".into())),
            ("/session/app/", Wanted::Session("app".into())),
            ("/session/%61pp", Wanted::Session("app".into())),
            ("/role/app", Wanted::RoleName("app".into())),
            (
                "/role-arn/arn:aws:iam::123456789012:role/path/app",
                Wanted::RoleArn(ARN.into()),
            ),
            (
                "/role-arn/arn:aws:iam::123456789012:role/path/app/",
                Wanted::RoleArn(ARN.into()),
            ),
            (
                "/role-arn/arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fpath%2Fapp",
                Wanted::RoleArn(ARN.into()),
            ),
            ("/healthz", Wanted::Health),
            ("/readyz/", Wanted::Ready),
        ] {
            assert_eq!(read(path).1, expected, "{path}");
        }
    }

    #[test]
    fn other_paths_are_unknown() {
        for path in [
            "",
            "*",
            "/session",
            "/session/",
            "/session//app",
            "/session/a/b",
            "/session/%ff",
            "/role/",
            "/role-arn/",
            "/Session/app",
            "/healthz/x",
            "/creds//",
            "/%73ession/app",
            "/../session/app",
            "/metrics",
            "/latest/api/token",
        ] {
            assert_eq!(read(path).1, Wanted::Unknown, "{path}");
        }
    }
}
