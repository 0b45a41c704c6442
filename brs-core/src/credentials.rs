//! One set of temporary credentials, and the spellings in which the outside world writes it.
//!
//! Owns the secrets: they sit in one shared allocation that is zeroised when its last holder drops
//! it, `Debug` shows none of them, and there is no `Serialize`. They leave through
//! [`TemporaryCredentials::expose_python`] and [`TemporaryCredentials::expose_process_json`], and
//! through the getters a signer needs. Reading ([`wire`]) accepts the Python names and those of
//! `credential_process`, lists everything that is missing at once, and never echoes a value.

mod expiration;
mod sdk_error;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use zeroize::Zeroizing;

use crate::kit::iso8601::iso8601;
pub(crate) use sdk_error::to_sdk;
pub use wire::{DataOrigin, UnusableData};

/// One immutable set of temporary credentials.
///
/// Cheap to clone: clones share one inner value, whose secrets are zeroised when the last of them
/// is dropped. What has been handed to somebody else (the AWS SDK's own types, TLS buffers, strings
/// from `expose_…`) is beyond that.
#[derive(Clone, PartialEq, Eq)]
pub struct TemporaryCredentials(Arc<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    access_key_id: String,
    secret_access_key: Zeroizing<String>,
    session_token: Option<Zeroizing<String>>,
    expiration: Option<SystemTime>,
    account_id: Option<String>,
    server_time: Option<SystemTime>,
}

impl TemporaryCredentials {
    /// A set as its source gave it.
    ///
    /// `expiration` is the instant from which AWS refuses the set, by the source's clock; `None`
    /// means that it does not end by itself, and such a set is replaced only after it has been
    /// invalidated.
    pub fn new(
        access_key_id: impl Into<String>,
        secret_access_key: impl Into<String>,
        session_token: Option<String>,
        expiration: Option<SystemTime>,
    ) -> Self {
        Self(Arc::new(Inner {
            access_key_id: access_key_id.into(),
            secret_access_key: Zeroizing::new(secret_access_key.into()),
            session_token: session_token.map(Zeroizing::new),
            expiration,
            account_id: None,
            server_time: None,
        }))
    }

    /// The 12-digit account the credentials belong to; the SDK uses it for account-based endpoints.
    #[must_use]
    pub fn with_account_id(mut self, account_id: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).account_id = Some(account_id.into());
        self
    }

    /// The source's clock when it answered (an HTTP `Date`).
    ///
    /// With it the set's lifetime is counted from the source's clock, so that a machine whose own
    /// clock is wrong still refreshes in time.
    #[must_use]
    pub fn with_server_time(mut self, server_time: SystemTime) -> Self {
        Arc::make_mut(&mut self.0).server_time = Some(server_time);
        self
    }

    /// The access key id, `ASIA…`. Not a secret.
    pub fn access_key_id(&self) -> &str {
        &self.0.access_key_id
    }

    /// The secret access key.
    pub fn secret_access_key(&self) -> &str {
        &self.0.secret_access_key
    }

    /// The session token.
    pub fn session_token(&self) -> Option<&str> {
        self.0.session_token.as_deref().map(String::as_str)
    }

    /// When AWS begins to refuse the set, as its source said.
    pub fn expiration(&self) -> Option<SystemTime> {
        self.0.expiration
    }

    /// The account, where it is known.
    pub fn account_id(&self) -> Option<&str> {
        self.0.account_id.as_deref()
    }

    /// The source's clock when it answered, where it is known.
    pub fn server_time(&self) -> Option<SystemTime> {
        self.0.server_time
    }

    /// The set with the names of the Python package: `access_key`, `secret_key`, `token`,
    /// `expiry_time` (ISO 8601).
    ///
    /// The returned value holds the secrets in the clear; what becomes of it is the caller's
    /// concern.
    pub fn expose_python(&self) -> serde_json::Value {
        serde_json::json!({
            "access_key": self.access_key_id(),
            "secret_key": self.secret_access_key(),
            "token": self.session_token(),
            "expiry_time": self.expiration().map(iso8601),
        })
    }

    /// The set as a `credential_process` prints it: JSON with `Version` 1.
    ///
    /// The returned text holds the secrets in the clear; what becomes of it is the caller's
    /// concern.
    pub fn expose_process_json(&self) -> String {
        let mut out = serde_json::json!({
            "Version": 1,
            "AccessKeyId": self.access_key_id(),
            "SecretAccessKey": self.secret_access_key(),
        });
        for (name, value) in [
            ("SessionToken", self.session_token().map(str::to_owned)),
            ("Expiration", self.expiration().map(iso8601)),
            ("AccountId", self.account_id().map(str::to_owned)),
        ] {
            if let Some(value) = value {
                out[name] = value.into();
            }
        }
        let text = out.to_string();
        crate::kit::secret::zeroize_value(&mut out);
        text
    }

    /// The SDK's own type, with the given provider name and expiry.
    pub(crate) fn to_sdk(
        &self,
        provider_name: &'static str,
        expiry: Option<SystemTime>,
    ) -> Credentials {
        let mut builder = Credentials::builder()
            .access_key_id(self.access_key_id())
            .secret_access_key(self.secret_access_key())
            .provider_name(provider_name);
        builder.set_session_token(self.session_token().map(str::to_owned));
        builder.set_expiry(expiry);
        builder.set_account_id(self.account_id().map(Into::into));
        builder.build()
    }
}

impl From<&Credentials> for TemporaryCredentials {
    /// Takes over what an SDK provider returned.
    fn from(credentials: &Credentials) -> Self {
        let set = Self::new(
            credentials.access_key_id(),
            credentials.secret_access_key(),
            credentials.session_token().map(str::to_owned),
            credentials.expiry(),
        );
        match credentials.account_id() {
            Some(account_id) => set.with_account_id(account_id.as_str()),
            None => set,
        }
    }
}

impl fmt::Debug for TemporaryCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TemporaryCredentials")
            .field("access_key_id", &self.access_key_id())
            .field("secret_access_key", &"** redacted **")
            .field(
                "session_token",
                &self.session_token().map(|_| "** redacted **"),
            )
            .field("expiration", &self.expiration().map(iso8601))
            .field("account_id", &self.account_id())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn set() -> TemporaryCredentials {
        TemporaryCredentials::new(
            "ASIAEXAMPLE",
            "very-secret",
            Some("long-token".into()),
            Some(UNIX_EPOCH + Duration::from_secs(1_800_000_000)),
        )
        .with_account_id("123456789012")
    }

    #[test]
    fn secrets_are_of_types_that_wipe_themselves() {
        fn wipes_itself<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        let set = set();
        wipes_itself(&set.0.secret_access_key);
        set.0.session_token.as_ref().map(wipes_itself).unwrap();
    }

    #[test]
    fn debug_shows_the_key_id_and_no_secret() {
        let shown = format!("{:?}", set());
        assert!(shown.contains("ASIAEXAMPLE"));
        assert!(!shown.contains("very-secret") && !shown.contains("long-token"));
    }

    #[test]
    fn what_is_exposed_can_be_read_back() {
        let python: TemporaryCredentials = serde_json::from_value(set().expose_python()).unwrap();
        assert_eq!(python.secret_access_key(), "very-secret");
        assert_eq!(python.expiration(), set().expiration());
        let process: TemporaryCredentials =
            serde_json::from_str(&set().expose_process_json()).unwrap();
        assert_eq!(process, set());
    }

    #[test]
    fn exposed_python_names_are_the_original_ones() {
        let value = set().expose_python();
        let names: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, ["access_key", "expiry_time", "secret_key", "token"]);
        assert_eq!(value["expiry_time"], "2027-01-15T08:00:00Z");
    }

    #[test]
    fn the_sdk_type_carries_everything() {
        let sdk = set().to_sdk("custom", None);
        assert_eq!(
            (sdk.access_key_id(), sdk.secret_access_key()),
            ("ASIAEXAMPLE", "very-secret")
        );
        assert_eq!(
            (sdk.session_token(), sdk.expiry()),
            (Some("long-token"), None)
        );
        assert_eq!(
            TemporaryCredentials::from(&sdk).account_id(),
            Some("123456789012")
        );
    }
}
