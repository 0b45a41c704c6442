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

use async_trait::async_trait;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::SdkConfig;
use aws_types::region::Region;
use futures_util::future::BoxFuture;
use schemars::Schema;
use serde::de::DeserializeOwned;

use crate::clock::Clock;
use crate::error::Error;
use crate::identity::CallerIdentity;
use crate::params::Params;
use crate::session::{BaseSession, RefreshableSession};
use crate::strategy::RefreshStrategy;

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
/// that validates them. A parameter with the name of a session's option
/// ([`SessionConfig`](crate::SessionConfig)) is the method's where data is read.
///
/// ```
/// # use brs_core::{Error, RefreshContext, RefreshStrategy, Setup, TemporaryCredentials, register_method};
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Params { vault: String }
///
/// #[derive(Debug)]
/// struct Vault { address: String }
///
/// #[async_trait::async_trait]
/// impl RefreshStrategy for Vault {
///     fn method(&self) -> &'static str { "vault" }
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
///     name: "vault",
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

/// What a method's constructor gets of the session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Setup {
    pub(crate) base: Arc<SdkConfig>,
    pub(crate) profile_name: Option<String>,
    pub(crate) base_credentials: BaseCredentials,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Where the credentials of a base configuration come from.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum BaseCredentials {
    /// They were looked up: in the profile, the environment, the container, the instance.
    #[default]
    Found,
    /// The user gave a key pair that never changes.
    Keys,
    /// The user gave a provider, or a base configuration that has one.
    Provider,
    /// They are another session's.
    Session(BaseSession),
}

impl Setup {
    /// The base configuration: region, base credentials, endpoint, HTTP client, retries.
    pub fn base(&self) -> &SdkConfig {
        &self.base
    }

    /// The same, to keep: it is shared with the session.
    pub fn shared_base(&self) -> Arc<SdkConfig> {
        Arc::clone(&self.base)
    }

    /// The region, where one was found.
    pub fn region(&self) -> Option<&Region> {
        self.base.region()
    }

    /// The profile the base configuration was loaded from, where the user named one.
    pub fn profile_name(&self) -> Option<&str> {
        self.profile_name.as_deref()
    }

    /// Where the base configuration's credentials come from.
    pub fn base_credentials(&self) -> &BaseCredentials {
        &self.base_credentials
    }

    /// The same set-up on top of a session, for a strategy that puts one beneath itself; see
    /// [`RefreshStrategy::base_session`].
    #[must_use]
    pub fn on_session(mut self, session: &RefreshableSession) -> Self {
        let session = session.as_base();
        self.base = Arc::new(session.config());
        self.base_credentials = BaseCredentials::Session(session);
        self
    }

    /// The same set-up with the base credentials of a profile.
    #[must_use]
    pub fn on_profile(mut self, name: String, provider: impl ProvideCredentials + 'static) -> Self {
        self.profile_name = Some(name);
        self.on_provider(provider)
    }

    /// The same set-up with base credentials that come from there.
    #[must_use]
    pub fn on_provider(mut self, provider: impl ProvideCredentials + 'static) -> Self {
        let provider = SharedCredentialsProvider::new(provider);
        self.base = Arc::new(
            self.base
                .to_builder()
                .credentials_provider(provider)
                .build(),
        );
        self
    }

    /// A set-up on a base configuration, for a session that a base loader puts beneath what it
    /// loads.
    #[doc(hidden)]
    pub fn of_base(base: Arc<SdkConfig>, clock: Arc<dyn Clock>) -> Self {
        Self {
            base,
            profile_name: None,
            base_credentials: BaseCredentials::default(),
            clock,
        }
    }

    /// The session's clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// A set-up for calling a method's constructor directly in a test of its own.
    #[cfg(feature = "test-util")]
    pub fn for_test(base: SdkConfig, clock: Arc<dyn Clock>) -> Self {
        Self::of_base(Arc::new(base), clock)
    }
}

/// What the user said about the base configuration.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct BaseRequest {
    /// The region; otherwise environment and profile are asked, never instance metadata.
    pub region: Option<Region>,
    /// The profile; otherwise `AWS_PROFILE`, `AWS_DEFAULT_PROFILE`, `default`.
    pub profile_name: Option<String>,
    /// The base credentials; otherwise the profile's or the default chain's.
    pub credentials: Option<SharedCredentialsProvider>,
    /// One endpoint for every service.
    pub endpoint_url: Option<String>,
    /// The HTTP client; otherwise one that trusts the environment's CA bundle, or the SDK's
    /// default.
    pub http_client: Option<SharedHttpClient>,
    /// The behaviour version; otherwise the latest.
    pub behavior_version: Option<BehaviorVersion>,
}

/// What only `aws-config` and `aws-sdk-sts` can do, offered to every method by the crate that has
/// them.
///
/// Loading contacts neither AWS nor any other source of credentials or metadata: it reads
/// environment and files.
#[async_trait]
pub trait BaseLoader: Send + Sync {
    /// The base configuration: profiles, SSO, the default chain.
    ///
    /// # Errors
    ///
    /// A configuration error, for example for a profile that does not exist.
    async fn load(&self, request: BaseRequest) -> Result<SdkConfig, Error>;

    /// The HTTP client that a base configuration of the program's, which has none, needs because of
    /// the environment: one that trusts a CA bundle, for instance. `None` means the SDK's default.
    ///
    /// # Errors
    ///
    /// A configuration error for a setting that cannot be used.
    async fn http_client(&self, config: &SdkConfig) -> Result<Option<SharedHttpClient>, Error> {
        let _ = config;
        Ok(None)
    }

    /// STS GetCallerIdentity with the credentials of `config`, reached as `strategy` reaches STS if
    /// it does, and otherwise as `config` says. `None` if there is no region to ask in.
    ///
    /// # Errors
    ///
    /// Whatever STS or the way to it gave.
    async fn caller_identity(
        &self,
        config: &SdkConfig,
        strategy: &dyn RefreshStrategy,
    ) -> Result<Option<CallerIdentity>, Error>;
}

/// The registration of a [`BaseLoader`]: `inventory::submit! { RegisteredBaseLoader(&MyLoader) }`.
pub struct RegisteredBaseLoader(pub &'static dyn BaseLoader);

impl fmt::Debug for RegisteredBaseLoader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RegisteredBaseLoader")
    }
}

inventory::collect!(RegisteredBaseLoader);

/// The base loader of this build, if a linked crate has one.
pub(crate) fn base_loader() -> Result<Option<&'static dyn BaseLoader>, Error> {
    let mut registered = inventory::iter::<RegisteredBaseLoader>.into_iter();
    let loader = registered.next().map(|registered| registered.0);
    if registered.next().is_some() {
        // Which of them came first is the linker's affair.
        return Err(Error::configuration(
            "two crates that load base configurations are linked: link only one of them",
        ));
    }
    Ok(loader)
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
