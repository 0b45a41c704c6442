//! The kinds of stores of a fleet as data.

use std::path::PathBuf;

#[cfg(feature = "dynamodb")]
use brs_core::Setup;
use brs_core::{Blocking, Error};
#[cfg(feature = "redis")]
use brs_core::{SecretSource, SecretString};

use super::{CredentialStore, Fleet, Seal};
use crate::shared::Store;

/// The store of the kind `redis`: Redis or Valkey.
#[cfg(feature = "redis")]
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RedisParams {
    /// One server: `redis://HOST:PORT/DATABASE`, `rediss://` for TLS, or `unix:///PATH`.
    url: Option<SecretString>,
    /// A cluster, by URLs of some of its nodes, in place of `url`.
    cluster: Option<Vec<SecretString>>,
    /// The user. Default: the one in the URL, else the server's `default`.
    user: Option<String>,
    /// The password. Default: the one in the URL, else none.
    password: Option<SecretString>,
    /// A file whose first line is the password.
    password_file: Option<String>,
    /// An environment variable that holds the password.
    password_env: Option<String>,
    /// A PEM file with the authorities that the server's certificate may be of, for `rediss://`.
    /// Default: the system's.
    trust_store: Option<PathBuf>,
    /// The file of the seal keys, lines `kid:base64`: the first seals, all open.
    seal_keys: PathBuf,
}

#[cfg(feature = "redis")]
impl RedisParams {
    pub(crate) async fn store(self) -> Result<Store, Error> {
        let mut store = match (self.url, self.cluster) {
            (Some(url), None) => super::RedisStore::new(url.expose())?,
            (None, Some(urls)) => super::RedisStore::cluster(urls.iter().map(SecretString::expose))
                .map_err(|error| error.with_param("cluster"))?,
            _ => {
                return Err(invalid(
                    "give `url`, or `cluster` with URLs of its nodes",
                    "url",
                ));
            }
        };
        let passwords = [
            self.password.map(SecretSource::value),
            self.password_file.map(SecretSource::file),
            self.password_env.map(SecretSource::env),
        ];
        let mut passwords = passwords.into_iter().flatten();
        if let Some(password) = passwords.next() {
            store = store.password(password);
        }
        if passwords.next().is_some() {
            let text = "give one of `password`, `password_file` and `password_env`";
            return Err(invalid(text, "password"));
        }
        if let Some(user) = self.user {
            store = store.user(user);
        }
        if let Some(path) = self.trust_store {
            store = store.trust_store(path);
        }
        store.check()?;
        fleet(store, self.seal_keys).await
    }
}

/// The store of the kind `dynamodb`: a DynamoDB table, called with the base credentials.
#[cfg(feature = "dynamodb")]
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DynamoDbParams {
    /// The table, with a partition key `pk` of type string.
    table: String,
    /// The table's region. Default: the session's.
    region: Option<String>,
    /// The endpoint of DynamoDB. Default: AWS's in that region.
    endpoint_url: Option<String>,
    /// The file of the seal keys, lines `kid:base64`: the first seals, all open.
    seal_keys: PathBuf,
}

#[cfg(feature = "dynamodb")]
impl DynamoDbParams {
    pub(crate) async fn store(self, setup: &Setup) -> Result<Store, Error> {
        use brs_core::kit::{is_endpoint_url, is_region};

        if !is_table(&self.table) {
            let text = "the name of the table must have 3 to 255 letters, digits, `_`, `-` and `.`";
            return Err(invalid(text, "table"));
        }
        let mut store = super::DynamoDbStore::new(self.table, setup.base());
        if let Some(region) = self.region {
            if !is_region(&region) {
                let text = "the region of the table is none: give one such as `eu-west-1`";
                return Err(invalid(text, "region"));
            }
            store = store.region(region);
        } else if setup.region().is_none() {
            let text = "the table's region is not known: give `region`, or the session one";
            return Err(invalid(text, "region"));
        }
        if let Some(url) = self.endpoint_url {
            if !is_endpoint_url(&url) {
                let text = "the endpoint of DynamoDB is no URL: give one such as \
                            `https://dynamodb.eu-west-1.amazonaws.com`";
                return Err(invalid(text, "endpoint_url"));
            }
            store = store.endpoint_url(url);
        }
        fleet(store, self.seal_keys).await
    }
}

/// As DynamoDB's API says.
#[cfg(feature = "dynamodb")]
fn is_table(name: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    (3..=255).contains(&name.len()) && name.bytes().all(is_allowed)
}

async fn fleet(store: impl CredentialStore + 'static, seal_keys: PathBuf) -> Result<Store, Error> {
    let seal = Blocking::new()
        .run(move || Seal::from_file(seal_keys))
        .await??;
    Ok(Fleet::new(store, seal).into())
}

fn invalid(text: &'static str, param: &'static str) -> Error {
    Error::validation(text).with_param(param)
}
