//! Which credential sets cannot be used at all. Pure.

use crate::credentials::TemporaryCredentials;
use crate::kit::check::is_account_id;

/// What is wrong with a set that no service would accept, or that would not survive being put into
/// a header.
pub(super) fn unusable(credentials: &TemporaryCredentials) -> Option<&'static str> {
    let odd = |text: &str| text.chars().any(|c| c.is_whitespace() || c.is_control());
    let token = credentials.session_token();
    [
        (
            credentials.access_key_id().is_empty(),
            "the access key id is empty",
        ),
        (
            odd(credentials.access_key_id()),
            "the access key id holds white space or control characters",
        ),
        (
            credentials.secret_access_key().is_empty(),
            "the secret access key is empty",
        ),
        (
            odd(credentials.secret_access_key()),
            "the secret access key holds white space or control characters",
        ),
        (
            token.is_some_and(str::is_empty),
            "the session token is empty",
        ),
        (
            token.is_some_and(odd),
            "the session token holds white space or control characters",
        ),
        (
            credentials
                .account_id()
                .is_some_and(|id| !is_account_id(id)),
            "the account id is not 12 digits",
        ),
    ]
    .into_iter()
    .find_map(|(wrong, problem)| wrong.then_some(problem))
}
