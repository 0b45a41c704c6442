//! The method `shared`: as data, a store and the method whose credentials it shares.
//!
//! `{"store": {"kind": "host"}, "of": {"method": "sts", "role_arn": "…"}}`. What is wrong in one of
//! the two is named by its path: `of.role_arn`, `store.directory`. A further kind of store is one
//! more type of parameters and one more arm of [`store`].

use std::path::PathBuf;

use brs_core::kit::zeroize_value;
use brs_core::{Error, ErrorKind, Params, Setup, register_method};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde_json::Value;

#[cfg(feature = "dynamodb")]
use crate::fleet::DynamoDbParams;
#[cfg(feature = "redis")]
use crate::fleet::RedisParams;
use crate::host::HostCache;
use crate::shared::{Shared, Store};

/// The kinds of stores of this build.
const KINDS: &str = match (cfg!(feature = "redis"), cfg!(feature = "dynamodb")) {
    (false, false) => "`host`",
    (true, false) => "`host` or `redis`",
    (false, true) => "`host` or `dynamodb`",
    (true, true) => "`host`, `redis` or `dynamodb`",
};

/// The kinds that a feature would bring, with its name.
const ABSENT: &[(&str, &str)] = &[
    #[cfg(not(feature = "redis"))]
    ("redis", "redis"),
    #[cfg(not(feature = "dynamodb"))]
    ("dynamodb", "dynamodb"),
];

/// One credential set for all that would get the same.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct SharedParams {
    /// Where the credentials are shared.
    #[serde(deserialize_with = "by_kind")]
    #[schemars(with = "StoreSchema")]
    store: Map,
    /// Whose credentials are shared: a `method`, with its parameters beside it.
    #[serde(deserialize_with = "by_method")]
    #[schemars(with = "OfSchema")]
    of: Map,
}

/// The kinds of stores, for the schema.
#[derive(schemars::JsonSchema)]
#[schemars(tag = "kind", rename_all = "lowercase")]
#[expect(dead_code, reason = "the reader takes each kind by its name")]
enum StoreSchema {
    /// Files, for the processes of one user on one host.
    Host(HostParams),
    /// Redis or Valkey, for the hosts of a fleet.
    #[cfg(feature = "redis")]
    Redis(RedisParams),
    /// A DynamoDB table, for the hosts of a fleet.
    #[cfg(feature = "dynamodb")]
    DynamoDb(DynamoDbParams),
}

/// A method with its parameters, for the schema.
#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "the reader takes the method out of the map")]
struct OfSchema {
    /// The method's name.
    method: String,
}

/// The store of the kind `host`.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct HostParams {
    /// The directory: absolute, or below the home directory (`~`); otherwise `$BRS_CACHE_DIR`,
    /// then `$XDG_RUNTIME_DIR/brs`.
    directory: Option<PathBuf>,
}

/// A map one of whose texts says how the others are read.
struct Map {
    name: Option<String>,
    others: Params,
}

fn by_kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map, D::Error> {
    Map::by("kind", deserializer)
}

fn by_method<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map, D::Error> {
    Map::by("method", deserializer)
}

impl Map {
    fn by<'de, D: Deserializer<'de>>(name: &str, deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        let taken = value.as_object_mut().map(|map| map.remove(name));
        // Wiped when it is dropped.
        let others = Params::from(value);
        let problem = match taken {
            Some(None) => return Ok(Self { name: None, others }),
            Some(Some(Value::String(text))) => {
                let name = Some(text);
                return Ok(Self { name, others });
            }
            Some(Some(mut other)) => {
                zeroize_value(&mut other);
                format!("its `{name}` must be a text")
            }
            None => "must be a map".to_owned(),
        };
        Err(D::Error::custom(problem))
    }
}

/// The store of that kind.
async fn store(kind: Option<&str>, params: Params, setup: &Setup) -> Result<Store, Error> {
    // Only DynamoDB is called with the session's base credentials.
    let _ = setup;
    match kind {
        Some("host") => {
            let HostParams { directory } = params.take()?;
            Ok(directory
                .map_or_else(HostCache::new, HostCache::in_directory)
                .into())
        }
        #[cfg(feature = "redis")]
        Some("redis") => params.take::<RedisParams>()?.store().await,
        #[cfg(feature = "dynamodb")]
        Some("dynamodb") => params.take::<DynamoDbParams>()?.store(setup).await,
        Some(kind) => {
            let absent = ABSENT.iter().find(|(absent, _)| *absent == kind);
            Err(Error::validation(match absent {
                Some((kind, feature)) => format!(
                    "parameter `kind`: `{kind}` is not in this build: enable the feature \
                     `{feature}` of `brs`"
                ),
                None => format!("parameter `kind`: unknown value, expected {KINDS}"),
            })
            .with_param("kind"))
        }
        None => Err(
            Error::validation(format!("parameter `kind`: missing, expected {KINDS}"))
                .with_param("kind"),
        ),
    }
}

async fn build(params: SharedParams, setup: Setup) -> Result<Shared, Error> {
    let SharedParams { store: kept, of } = params;
    let store = store(kept.name.as_deref(), kept.others, &setup).await;
    let store = store.map_err(|error| error.under_param("store"))?;
    let Some(method) = of.name else {
        let message =
            "parameter `of.method`: missing: name the method whose credentials are shared";
        return Err(Error::validation(message).with_param("of.method"));
    };
    let strategy = setup.strategy(method, of.others).await;
    let strategy = strategy.map_err(|error| match error.kind() {
        ErrorKind::Validation => error.under_param("of"),
        _ => error,
    })?;
    Ok(Shared::new(strategy, store))
}

register_method! {
    name: "shared",
    summary: "another method's credentials, one set for all processes that would get the same",
    params: SharedParams,
    build: build,
}

#[cfg(test)]
mod tests {
    use super::*;
    use brs_core::RefreshableSession;
    use serde_json::json;

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct InnerParams {
        #[expect(dead_code, reason = "it is read, that is all")]
        number: u32,
    }

    #[derive(Debug)]
    struct Inner;

    #[async_trait::async_trait]
    impl brs_core::RefreshStrategy for Inner {
        fn method(&self) -> &'static str {
            "inner"
        }

        fn source(&self) -> &'static str {
            "inner"
        }

        async fn refresh(
            &self,
            _: &brs_core::RefreshContext,
        ) -> Result<brs_core::TemporaryCredentials, Error> {
            Err(Error::connection("no answer"))
        }
    }

    async fn inner(_: InnerParams, _: Setup) -> Result<Inner, Error> {
        Ok(Inner)
    }

    register_method! {
        name: "inner",
        summary: "for the tests",
        params: InnerParams,
        build: inner,
    }

    #[tokio::test]
    async fn a_session_is_opened_from_data() {
        let data = json!({
            "store": { "kind": "host", "directory": "/nowhere" },
            "of": { "method": "inner", "number": 1 },
        });
        let session = RefreshableSession::from_method("shared", data)
            .await
            .unwrap();
        assert_eq!(session.method(), "inner");
        assert!(session.strategy::<Shared>().is_some() && session.strategy::<Inner>().is_some());
    }

    #[tokio::test]
    async fn an_error_names_the_path_and_no_value() {
        let host = || json!({ "kind": "host" });
        let good = || json!({ "method": "inner", "number": 1 });
        for (store, of, param) in [
            (json!({}), good(), "store.kind"),
            (json!({ "kind": "hush" }), good(), "store.kind"),
            (json!({ "kind": 4711 }), good(), "store"),
            (json!("hush"), good(), "store"),
            (
                json!({ "kind": "host", "directory": 4711 }),
                good(),
                "store.directory",
            ),
            (
                json!({ "kind": "host", "folder": "hush" }),
                good(),
                "store.folder",
            ),
            (host(), json!({ "number": 1 }), "of.method"),
            (host(), json!({ "method": "hish" }), "of.method"),
            (host(), json!(["hush"]), "of"),
            (
                host(),
                json!({ "method": "inner", "number": "hush" }),
                "of.number",
            ),
            (host(), json!({ "method": "inner" }), "of"),
        ] {
            let data = json!({ "store": store, "of": of });
            let error = RefreshableSession::new("shared", data.clone()).await;
            let error = error.unwrap_err();
            assert_eq!(error.param(), Some(param), "{data}: {error}");
            let text = error.to_string();
            assert!(
                !text.contains("hush") && !text.contains("4711"),
                "{data}: {text}"
            );
        }
    }
}
