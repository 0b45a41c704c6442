//! Where web identity tokens come from: what the user says, typed and as data.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::SharedHttpClient;
use brs_core::command::{Command, CommandLine};
use brs_core::{Error, SecretString};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::data;
use crate::proof::remote::{Issuer, Remote, is_url};
use crate::proof::{Fetcher, Kind, Source, USUAL_LIMIT, check_limit, limit};
use crate::request::validate::{self, Invalid};

pub(super) const PARAM: &str = "token_source";
/// AWS's, in the reference of AssumeRoleWithWebIdentity, in characters.
const TOKEN: Kind = Kind {
    what: "web identity token",
    least: 4,
    most: 20_000,
};
/// What IAM's guides tell every OpenID Connect provider to put into tokens for AWS.
const AUDIENCE: &str = "sts.amazonaws.com";

/// Where the tokens of [`Params`](super::Params) come from; asked again for each refresh.
///
/// A token that says that it has expired (the claim `exp` of a JSON web token) is not sent: it is
/// fetched once more, then the refresh fails with an error that reports it. Tokens are at most
/// 20000 characters, and white space around them is not sent.
///
/// ```
/// # mod brs { pub use brs_core::*; pub use brs_sts as sts; }
/// use brs::sts::web_identity::{Params, TokenSource};
///
/// # fn example() -> Result<(), brs::Error> {
/// // A job of GitHub Actions with `permissions: id-token: write`.
/// let params = Params::new()
///     .role_arn("arn:aws:iam::123456789012:role/deploy")
///     .token_source(TokenSource::github());
/// params.validate()
/// # }
/// # example().unwrap();
/// ```
///
/// As data, a map with exactly one of `file`, `variable`, `command`, `github`, `gcp`, `azure` and
/// `http`, and the settings of that source:
///
/// ```
/// # mod brs { pub use brs_core::*; pub use brs_sts as sts; }
/// # fn example() -> Result<(), brs::Error> {
/// for source in [
///     serde_json::json!({ "github": true, "audience": "sts.amazonaws.com" }),
///     serde_json::json!({ "gcp": true, "service_account": "deploy@example.iam.gserviceaccount.com" }),
///     serde_json::json!({ "azure": true, "audience": "api://aws", "timeout": 10 }),
///     serde_json::json!({ "http": "https://ci.example.com/token", "headers": { "x-job": "7" }, "pointer": "/jwt" }),
///     serde_json::json!({ "command": "vault read -field=token identity/oidc/token/aws" }),
/// ] {
///     let data = serde_json::json!({ "role_arn": "arn:aws:iam::123456789012:role/deploy", "token_source": source });
///     let params: brs::sts::web_identity::Params = brs::Params::data(data)?.take()?;
///     params.validate()?;
/// }
/// # Ok(())
/// # }
/// # example().unwrap();
/// ```
#[derive(Clone, Deserialize)]
#[serde(try_from = "Data")]
#[must_use]
pub struct TokenSource {
    from: From,
    audience: Option<String>,
    service_account: Option<String>,
    client_id: Option<String>,
    endpoint: Option<String>,
    headers: Vec<(String, SecretString)>,
    pointer: Option<String>,
    timeout: Option<Duration>,
}

#[derive(Clone)]
enum From {
    Local(Source),
    GitHub,
    Gcp,
    Azure,
    Http(SecretString),
}

impl TokenSource {
    /// The content of a file, as [`Params::token_file`](super::Params::token_file).
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::of(From::Local(Source::File(path.into())))
    }

    /// The value of an environment variable of this process, such as GitLab's `id_tokens` set.
    pub fn env(name: impl Into<String>) -> Self {
        Self::of(From::Local(Source::Variable(name.into())))
    }

    /// What a command prints. No shell is run; its own [time limit](Command::timeout) applies.
    pub fn command(command: Command) -> Self {
        Self::of(From::Local(Source::Command(command)))
    }

    /// What an async function returns. It runs where refreshes run and must not block its thread.
    ///
    /// ```
    /// # mod brs { pub use brs_core::*; pub use brs_sts as sts; }
    /// # use brs::sts::web_identity::TokenSource;
    /// let source = TokenSource::function(|| async {
    ///     // Ask an identity provider.
    ///     Ok::<_, std::io::Error>("eyJ…")
    /// });
    /// ```
    pub fn function<F, R, T, E>(function: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<SecretString>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        Self::of(From::Local(Source::Async(Arc::new(move || {
            let asked = function();
            Box::pin(async move { asked.await.map(Into::into).map_err(Into::into) })
        }))))
    }

    /// What a synchronous function returns, which may block: it runs on its own thread.
    ///
    /// It cannot be interrupted: while a call still runs past [its time limit](Self::timeout),
    /// further tries fail at once.
    pub fn blocking_function<F, T, E>(function: F) -> Self
    where
        F: Fn() -> Result<T, E> + Send + Sync + 'static,
        T: Into<SecretString>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        Self::of(From::Local(Source::Blocking(Arc::new(move || {
            function().map(Into::into).map_err(Into::into)
        }))))
    }

    /// The identity of a job of GitHub Actions: needs `permissions: id-token: write`.
    ///
    /// GitHub's tokens live some minutes and name the job; what the job may ask for them with lives
    /// as long as the job. Settings: [`audience`](Self::audience), by default `sts.amazonaws.com`.
    pub fn github() -> Self {
        Self::of(From::GitHub)
    }

    /// The identity of a service account, from the metadata server of Google Cloud.
    ///
    /// Settings: [`audience`](Self::audience), by default `sts.amazonaws.com`;
    /// [`service_account`](Self::service_account); [`endpoint`](Self::endpoint), by default
    /// `GCE_METADATA_HOST` or `http://metadata.google.internal`.
    pub fn gcp() -> Self {
        Self::of(From::Gcp)
    }

    /// The managed identity of an Azure machine, App Service, Function or Container App.
    ///
    /// Azure issues a token for an application of the tenant, whose ID URI is the `audience`. More
    /// settings: [`client_id`](Self::client_id); [`endpoint`](Self::endpoint), by default
    /// `IDENTITY_ENDPOINT` (with `IDENTITY_HEADER`), `AZURE_POD_IDENTITY_AUTHORITY_HOST` or
    /// `http://169.254.169.254`.
    pub fn azure(audience: impl Into<String>) -> Self {
        Self::of(From::Azure).audience(audience)
    }

    /// What a URL answers to a GET: the whole body, or the text that [`pointer`](Self::pointer)
    /// leads to.
    ///
    /// Only the URL's origin appears in errors: its path and query may be secrets. Redirects are
    /// not followed. Settings: [`header`](Self::header), [`pointer`](Self::pointer).
    pub fn http(url: impl Into<SecretString>) -> Self {
        Self::of(From::Http(url.into()))
    }

    /// Whom the token is for: 1–1000 characters. Default: `sts.amazonaws.com`; none for Azure.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// The service account of Google Cloud, by its mail address. Default: the machine's `default`.
    pub fn service_account(mut self, service_account: impl Into<String>) -> Self {
        self.service_account = Some(service_account.into());
        self
    }

    /// The client id of one of several managed identities. Default: the machine's only one.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    /// Where the metadata server of Google Cloud or Azure is: `http://host:port`.
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// A header for the URL of [`http`](Self::http); its value is not shown.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<SecretString>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Where in the JSON that the URL of [`http`](Self::http) answers the token is: a JSON pointer
    /// (RFC 6901) such as `/data/token`. Default: the whole body is the token.
    pub fn pointer(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self
    }

    /// How long one answer may take: above zero, at most 12 h. Default: 30 s, or the command's own
    /// limit if that is shorter.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    fn of(from: From) -> Self {
        Self {
            from,
            audience: None,
            service_account: None,
            client_id: None,
            endpoint: None,
            headers: Vec::new(),
            pointer: None,
            timeout: None,
        }
    }

    /// Checks the settings, and that they are this source's.
    pub(super) fn validate(&self) -> Result<(), Error> {
        check_limit(self.timeout, "token_source.timeout")?;
        let is = |wanted: bool, given: bool, field: &str, whose: &str| match given && !wanted {
            true => Err(Error::configuration(format!(
                "`{PARAM}.{field}` is a setting of {whose} only: remove it"
            ))
            .with_param(format!("{PARAM}.{field}"))
            .unrecoverable()),
            false => Ok(()),
        };
        let (github, gcp) = (
            matches!(self.from, From::GitHub),
            matches!(self.from, From::Gcp),
        );
        let (azure, http) = (
            matches!(self.from, From::Azure),
            matches!(self.from, From::Http(_)),
        );
        for (wanted, given, field, whose) in [
            (
                github || gcp || azure,
                self.audience.is_some(),
                "audience",
                "`github`, `gcp` and `azure`",
            ),
            (
                gcp,
                self.service_account.is_some(),
                "service_account",
                "`gcp`",
            ),
            (azure, self.client_id.is_some(), "client_id", "`azure`"),
            (
                gcp || azure,
                self.endpoint.is_some(),
                "endpoint",
                "`gcp` and `azure`",
            ),
            (http, !self.headers.is_empty(), "headers", "`http`"),
            (http, self.pointer.is_some(), "pointer", "`http`"),
        ] {
            is(wanted, given, field, whose)?;
        }
        let at = |field: &str| format!("{PARAM}.{field}");
        if azure && self.audience.is_none() {
            return Err(Invalid::Shape(
                "is missing: Azure issues tokens for an application, give its ID URI",
            )
            .at(at("audience")));
        }
        for (field, value, most) in [
            ("audience", &self.audience, 1000),
            ("service_account", &self.service_account, 320),
            ("client_id", &self.client_id, 100),
        ] {
            validate::check(&at(field), value.as_deref(), |text| {
                validate::length(text, 1, most)
            })?;
        }
        if let Some(url) = &self.endpoint
            && !brs_core::kit::is_endpoint_url(url)
        {
            return Err(Invalid::Shape(
                "must look like `http://host:port`, without user, password or query",
            )
            .at(at("endpoint")));
        }
        self.validate_http()
    }

    fn validate_http(&self) -> Result<(), Error> {
        let at = |field: &str| format!("{PARAM}.{field}");
        if let From::Http(url) = &self.from
            && is_url(url.expose()).is_none()
        {
            return Err(Invalid::Shape(
                "must be a URL of `http` or `https` with a host, without user and password",
            )
            .at(at("http")));
        }
        for (index, (name, value)) in self.headers.iter().enumerate() {
            let good = http::HeaderName::from_bytes(name.as_bytes()).is_ok()
                && http::HeaderValue::from_str(value.expose()).is_ok();
            if !good {
                return Err(Invalid::Text(format!(
                    "cannot be sent: name or value of the header number {} has a \
                                                  character that none has",
                    index + 1
                ))
                .at(at("headers")));
            }
        }
        match &self.pointer {
            Some(pointer) if !pointer.starts_with('/') => Err(Invalid::Shape(
                "must be a JSON pointer, which begins with `/`",
            )
            .at(at("pointer"))),
            _ => Ok(()),
        }
    }

    /// What fetches the tokens; `param` is the setting that this source is.
    pub(super) fn fetcher(self, param: &'static str, client: Option<SharedHttpClient>) -> Fetcher {
        let audience = self.audience.unwrap_or_else(|| AUDIENCE.into());
        let issuer = match self.from {
            From::Local(source) => {
                let limit = limit(&source, self.timeout, USUAL_LIMIT);
                return Fetcher::new(source, TOKEN, param, limit);
            }
            From::GitHub => Issuer::GitHub { audience },
            From::Gcp => Issuer::Gcp {
                audience,
                service_account: self.service_account,
                endpoint: self.endpoint,
            },
            From::Azure => Issuer::Azure {
                audience,
                client_id: self.client_id,
                endpoint: self.endpoint,
            },
            From::Http(url) => Issuer::Http {
                url,
                headers: self.headers,
                pointer: self.pointer,
            },
        };
        let remote = Remote { issuer, client };
        let limit = self.timeout.unwrap_or(USUAL_LIMIT);
        Fetcher::new(Source::Remote(Arc::new(remote)), TOKEN, param, limit)
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_tuple("TokenSource");
        match &self.from {
            From::Local(source) => out.field(source),
            From::GitHub => out.field(&format_args!("github")),
            From::Gcp => out.field(&format_args!("gcp")),
            From::Azure => out.field(&format_args!("azure")),
            From::Http(_) => out.field(&format_args!("http")),
        };
        out.finish()
    }
}

/// A source as data: exactly one of the first seven.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Data {
    /// A file that holds the token.
    file: Option<PathBuf>,
    /// An environment variable that holds the token.
    variable: Option<String>,
    /// A command that prints the token: a list of words, or one text that is split by the rules of
    /// a POSIX shell.
    command: Option<CommandLine>,
    /// `true`: the identity of a job of GitHub Actions.
    github: Option<bool>,
    /// `true`: the identity of a service account of Google Cloud.
    gcp: Option<bool>,
    /// `true`: the managed identity of an Azure machine or service.
    azure: Option<bool>,
    /// A URL that answers with the token.
    http: Option<SecretString>,
    /// Whom the token is for: `github`, `gcp`, `azure`.
    audience: Option<String>,
    /// The service account: `gcp`.
    service_account: Option<String>,
    /// One of several managed identities: `azure`.
    client_id: Option<String>,
    /// Where the metadata server is: `gcp`, `azure`.
    endpoint: Option<String>,
    /// Headers for the URL: `http`.
    headers: BTreeMap<String, SecretString>,
    /// Where in the answer the token is, as a JSON pointer: `http`.
    pointer: Option<String>,
    /// Environment variables to set for the command, beside those of this process.
    env: BTreeMap<String, SecretString>,
    /// The directory the command runs in; otherwise that of this process.
    #[serde(alias = "cwd")]
    current_dir: Option<PathBuf>,
    /// How many seconds one answer may take: above 0, at most 43200; 30 unless set.
    #[serde(deserialize_with = "data::seconds")]
    #[schemars(with = "Option<f64>")]
    timeout: Option<Duration>,
}

impl TryFrom<Data> for TokenSource {
    type Error = Error;

    fn try_from(data: Data) -> Result<Self, Error> {
        let yes = |flag: Option<bool>| flag.filter(|on| *on).map(|_| ());
        let is_command = data.command.is_some();
        let given = [
            data.file.map(Self::file),
            data.variable.map(Self::env),
            match data.command {
                Some(line) => {
                    let command =
                        command(&line, &data.env, data.current_dir.as_ref(), data.timeout)?;
                    Some(Self::command(command))
                }
                None => None,
            },
            yes(data.github).map(|()| Self::github()),
            yes(data.gcp).map(|()| Self::gcp()),
            yes(data.azure).map(|()| Self::of(From::Azure)),
            data.http.map(Self::http),
        ];
        let mut given = given.into_iter().flatten();
        let (Some(mut source), None) = (given.next(), given.next()) else {
            return Err(Error::configuration(
                "must have exactly one of `file`, `variable`, `command`, `github: true`, `gcp: true`, `azure: true` \
                 and `http`",
            ));
        };
        if !is_command && (!data.env.is_empty() || data.current_dir.is_some()) {
            return Err(Error::configuration(
                "`env` and `current_dir` are settings of `command` only",
            ));
        }
        source.audience = data.audience;
        source.service_account = data.service_account;
        source.client_id = data.client_id;
        source.endpoint = data.endpoint;
        source.headers = data.headers.into_iter().collect();
        source.pointer = data.pointer;
        source.timeout = data.timeout;
        Ok(source)
    }
}

/// A command with its settings as data.
pub(in crate::methods) fn command(
    line: &CommandLine,
    env: &BTreeMap<String, SecretString>,
    current_dir: Option<&PathBuf>,
    timeout: Option<Duration>,
) -> Result<Command, Error> {
    let mut command = line.to_command()?;
    for (name, value) in env {
        command = command.env(name, value.expose())?;
    }
    if let Some(path) = current_dir {
        command = command.current_dir(path);
    }
    match timeout {
        Some(limit) => command.timeout(limit),
        None => Ok(command),
    }
}
