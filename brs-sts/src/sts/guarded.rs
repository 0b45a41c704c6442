//! The base credentials' provider, kept from doing harm: it may be anybody's code.
//!
//! A panic becomes an error that names the base credentials, and a key that cannot be a header's
//! part is refused before it is sent: it would fail as an error of the request that quotes more
//! than it explains.

use std::panic::AssertUnwindSafe;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use brs_core::Error;
use futures_util::FutureExt;

/// A provider and where it comes from, in words.
#[derive(Debug)]
pub(crate) struct Guarded {
    pub(crate) provider: SharedCredentialsProvider,
    pub(crate) name: String,
}

impl Guarded {
    async fn load(&self) -> Result<Credentials, CredentialsError> {
        // The provider may panic before it returns a future, too.
        let load = async { self.provider.provide_credentials().await };
        let Ok(loaded) = AssertUnwindSafe(load).catch_unwind().await else {
            return Err(CredentialsError::provider_error(Error::configuration(
                format!(
                    "the credentials to call STS with, of {}, could not be loaded: their provider panicked",
                    self.name
                ),
            )));
        };
        let credentials = loaded?;
        match problem(&credentials) {
            None => Ok(credentials),
            Some(problem) => Err(CredentialsError::invalid_configuration(
                Error::configuration(format!(
                    "the credentials to call STS with, of {}, cannot be used: {problem}; check their source for line \
                     breaks and missing values",
                    self.name
                ))
                .unrecoverable(),
            )),
        }
    }
}

impl ProvideCredentials for Guarded {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.provider.fallback_on_interrupt()
    }
}

/// What keeps credentials from being sent. The key and the token become parts of headers.
fn problem(credentials: &Credentials) -> Option<&'static str> {
    let cannot_be_sent = |text: &str| !text.bytes().all(|byte| byte.is_ascii_graphic());
    if credentials.access_key_id().is_empty() {
        Some("the access key id is empty")
    } else if credentials.secret_access_key().is_empty() {
        Some("the secret access key is empty")
    } else if cannot_be_sent(credentials.access_key_id()) {
        Some("the access key id holds a space, a line break or another character that no key has")
    } else if cannot_be_sent(credentials.secret_access_key()) {
        Some(
            "the secret access key holds a space, a line break or another character that no key has",
        )
    } else if credentials.session_token().is_some_and(cannot_be_sent) {
        Some("the session token holds a space, a line break or another character that no token has")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(id: &str, secret: &str, token: Option<&str>) -> Credentials {
        Credentials::new(id, secret, token.map(str::to_owned), None, "test")
    }

    #[test]
    fn what_cannot_be_sent_is_told_apart() {
        assert_eq!(
            problem(&keys("AKIDEXAMPLE", "hush/+=", Some("IQoJ/+="))),
            None
        );
        assert_eq!(problem(&keys("AKIDEXAMPLE", "hush", None)), None);
        for (credentials, problem_is) in [
            (keys("", "hush", None), "access key id is empty"),
            (keys("AKID", "", None), "secret access key is empty"),
            (keys("AKID\r\nx: y", "hush", None), "access key id holds"),
            (keys("AKID", "hush\n", None), "secret access key holds"),
            (keys("AKID", "hush", Some("token\n")), "session token holds"),
        ] {
            let found = problem(&credentials).unwrap();
            assert!(
                found.contains(problem_is) && !found.contains("hush"),
                "{found}"
            );
        }
    }
}
