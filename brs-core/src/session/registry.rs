//! The methods that crates have registered, found by name.
//!
//! Crates register with [`register_method!`](crate::register_method), before `main` runs. The order
//! of what the linker collected differs between builds, so everything here sorts. Two crates with
//! one name are an error that names both. A crate that nothing names is not linked and therefore
//! not here: `use my_method as _;` is enough.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use schemars::Schema;
use serde::de::DeserializeOwned;

use crate::base::setup::Setup;
use crate::kit::error::Error;
use crate::method::params::Params;
use crate::method::strategy::RefreshStrategy;

/// A registered method.
pub struct Method {
    name: &'static str,
    summary: &'static str,
    crate_name: &'static str,
    crate_version: &'static str,
    schema: fn() -> Schema,
    build: BuildFn,
}

/// Builds a method's strategy.
type BuildFn = fn(Params, Setup) -> BoxFuture<'static, Result<Arc<dyn RefreshStrategy>, Error>>;

impl Method {
    /// What [`register_method!`](crate::register_method) calls.
    #[doc(hidden)]
    pub const fn new(
        name: &'static str,
        summary: &'static str,
        (crate_name, crate_version): (&'static str, &'static str),
        schema: fn() -> Schema,
        build: BuildFn,
    ) -> Self {
        Self {
            name,
            summary,
            crate_name,
            crate_version,
            schema,
            build,
        }
    }

    /// The name by which sessions ask for it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// One line on what it does.
    pub fn summary(&self) -> &'static str {
        self.summary
    }

    /// The crate that registers it.
    pub fn crate_name(&self) -> &'static str {
        self.crate_name
    }

    /// That crate's version.
    pub fn crate_version(&self) -> &'static str {
        self.crate_version
    }

    /// The JSON schema of its parameters as data, by brs's own names.
    ///
    /// Data may use the other names that a method accepts too, and the options of
    /// [`SessionConfig`](crate::SessionConfig) beside the parameters; the schema lists neither.
    pub fn schema(&self) -> Schema {
        (self.schema)()
    }

    pub(crate) async fn build(
        &self,
        params: Params,
        setup: Setup,
    ) -> Result<Arc<dyn RefreshStrategy>, Error> {
        (self.build)(params, setup)
            .await
            .map_err(|error| error.or_method(self.name))
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Method")
            .field("name", &self.name)
            .field("summary", &self.summary)
            .field(
                "crate",
                &format_args!("{} {}", self.crate_name, self.crate_version),
            )
            .finish_non_exhaustive()
    }
}

inventory::collect!(Method);

/// Registers a method.
///
/// `params` is the method's parameter type (`serde::de::DeserializeOwned + schemars::JsonSchema +
/// Send + 'static`), `build` an `async fn(params, Setup) -> Result<impl RefreshStrategy, Error>`
/// that validates them. The method's name is that of the parameters
/// ([`MethodParams`](crate::MethodParams)); parameters without one, such as `()`, need a `name`
/// before the `summary`. A parameter with the name of a session's option
/// ([`SessionConfig`](crate::SessionConfig)) is the method's where data is read.
///
/// ```
/// # use brs_core::{Error, MethodParams, RefreshContext, RefreshStrategy, Setup};
/// # use brs_core::{TemporaryCredentials, register_method};
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Params { vault: String }
///
/// impl MethodParams for Params {
///     const METHOD: &'static str = "vault";
/// }
///
/// #[derive(Debug)]
/// struct Vault { address: String }
///
/// #[async_trait::async_trait]
/// impl RefreshStrategy for Vault {
///     fn method(&self) -> &'static str { Params::METHOD }
///     fn source(&self) -> &'static str { "vault-aws-engine" }
///     async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
///         Err(Error::connection(format!("no vault at {}", self.address)))
///     }
/// }
///
/// async fn build(params: Params, _: Setup) -> Result<Vault, Error> {
///     Ok(Vault { address: params.vault })
/// }
///
/// register_method! {
///     summary: "credentials from a vault",
///     params: Params,
///     build: build,
/// }
/// # fn main() {
/// let methods = brs_core::RefreshableSession::available_methods().unwrap();
/// assert!(methods.iter().any(|method| method.name() == "vault"));
/// # }
/// ```
#[macro_export]
macro_rules! register_method {
    (summary: $summary:expr, params: $params:ty, build: $build:path $(,)?) => {
        $crate::register_method! {
            name: <$params as $crate::MethodParams>::METHOD,
            summary: $summary,
            params: $params,
            build: $build,
        }
    };
    (name: $name:expr, summary: $summary:expr, params: $params:ty, build: $build:path $(,)?) => {
        $crate::__private::inventory::submit! {
            $crate::Method::new(
                $name,
                $summary,
                (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
                $crate::__private::schema_of::<$params>,
                |params, setup| {
                    ::std::boxed::Box::pin(async move {
                        let params = $crate::__private::take::<$params>(params)?;
                        let strategy = $build(params, setup).await?;
                        ::core::result::Result::Ok(
                            ::std::sync::Arc::new(strategy) as ::std::sync::Arc<dyn $crate::RefreshStrategy>
                        )
                    })
                },
            )
        }
    };
}

/// The schema of a parameter type; what the macro names.
#[doc(hidden)]
pub fn schema_of<T: schemars::JsonSchema>() -> Schema {
    schemars::schema_for!(T)
}

/// [`Params::take`] for the macro.
#[doc(hidden)]
pub fn take<T: DeserializeOwned + Any>(params: Params) -> Result<T, Error> {
    params.take()
}

/// Says which feature would bring a method that is known but not in this build.
#[doc(hidden)]
#[derive(Debug)]
pub struct AbsentMethod {
    /// The method's name.
    pub name: &'static str,
    /// What to do about it, as the end of a sentence: ``enable the feature `iot` of `brs` ``.
    pub remedy: &'static str,
}

inventory::collect!(AbsentMethod);

/// All registered methods, sorted by name.
pub(crate) fn methods() -> Result<Vec<&'static Method>, Error> {
    sorted(inventory::iter::<Method>)
}

fn sorted(
    registered: impl IntoIterator<Item = &'static Method>,
) -> Result<Vec<&'static Method>, Error> {
    let mut by_name: BTreeMap<&str, &'static Method> = BTreeMap::new();
    for method in registered {
        if let Some(other) = by_name.insert(method.name, method) {
            let mut crates =
                [other, method].map(|m| format!("`{} {}`", m.crate_name, m.crate_version));
            crates.sort();
            return Err(Error::configuration(format!(
                "the method `{}` is registered twice, by {} and by {}: link only one of them",
                method.name, crates[0], crates[1]
            )));
        }
    }
    Ok(by_name.into_values().collect())
}

/// The method of that name.
pub(crate) fn method(name: &str) -> Result<&'static Method, Error> {
    let methods = methods()?;
    methods
        .iter()
        .find(|method| method.name == name)
        .copied()
        .ok_or_else(|| unknown(name, &methods))
}

fn unknown(name: &str, methods: &[&Method]) -> Error {
    let names: Vec<_> = methods
        .iter()
        .map(|method| format!("`{}`", method.name))
        .collect();
    let registered = if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    };
    let absent = inventory::iter::<AbsentMethod>
        .into_iter()
        .find(|absent| absent.name == name);
    let remedy = match absent {
        Some(absent) => absent.remedy.to_owned(),
        None => {
            "check the name; a method of a crate that nothing names is not linked: `use the_crate as _;`".to_owned()
        }
    };
    // A name comes from outside; a long one is somebody's mistake and not worth repeating in full.
    let shown: String = name.chars().take(64).collect();
    Error::validation(format!(
        "unknown method `{shown}`, registered: {registered}; {remedy}"
    ))
    .with_param("method")
    .with_detail("registered", registered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_method(name: &'static str, crate_name: &'static str) -> &'static Method {
        let build: BuildFn =
            |_, _| Box::pin(async { Err(Error::configuration("not built in this test")) });
        Box::leak(Box::new(Method::new(
            name,
            "summary",
            (crate_name, "1.0.0"),
            schema_of::<()>,
            build,
        )))
    }

    #[test]
    fn methods_are_sorted_whatever_the_linker_did() {
        let methods = sorted([a_method("sts", "b"), a_method("custom", "a")]).unwrap();
        assert_eq!(
            methods.iter().map(|m| m.name()).collect::<Vec<_>>(),
            ["custom", "sts"]
        );
    }

    #[test]
    fn one_name_in_two_crates_names_both() {
        let error = sorted([a_method("sts", "zulu"), a_method("sts", "alpha")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the method `sts` is registered twice, by `alpha 1.0.0` and by `zulu 1.0.0`: link only one of them"
        );
    }

    #[test]
    fn an_unknown_method_lists_what_is_registered() {
        let error = unknown("stss", &[a_method("custom", "a"), a_method("sts", "b")]);
        assert!(
            error
                .to_string()
                .starts_with("unknown method `stss`, registered: `custom`, `sts`;"),
            "{error}"
        );
        assert_eq!(error.param(), Some("method"));
    }
}
