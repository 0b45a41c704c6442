//! The method `container`: the role of an ECS task, an EKS pod (Pod Identity), or whatever else
//! names its endpoint as they do.
//!
//! Each refresh asks the endpoint once more, with the authorization token as it is in its file at
//! that moment. Unlike the AWS SDK's own provider, which has the same credentials, the session
//! replaces them in the background before they expire, serves them through an outage of the
//! endpoint, looks a host name up again each time, and reports what the endpoint says.
//!
//! ```no_run
//! # mod brs { pub use brs_core::*; pub use brs_sts as sts; }
//! # async fn example() -> Result<(), brs::Error> {
//! // Everything comes from the environment of the task or pod.
//! let session = brs::RefreshableSession::open(brs::sts::container::Params::new()).await?;
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};
use std::path::PathBuf;

use async_trait::async_trait;
use brs_core::{
    Blocking, Error, Fingerprint, Identity, RefreshContext, RefreshStrategy, SecretString, Setup,
    TemporaryCredentials,
};
use http::Uri;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::environment::Variables;
use crate::methods::machine;
use crate::proof::get::{Get, local};
use crate::proof::remote::is_url;
use crate::proof::{Fetcher, Kind, Source, USUAL_LIMIT, jwt};
use crate::request::fingerprint::sha256;
use crate::request::validate::Invalid;

const METHOD: &str = <Params as brs_core::MethodParams>::METHOD;
const SOURCE: &str = "EcsContainer";
const RELATIVE_URI: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL_URI: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
const TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
/// Of ECS: what a relative URI is relative to.
const ECS: &str = "http://169.254.170.2";
/// Without TLS, botocore and the AWS SDK send the token to these hosts and to loopback only.
const HOSTS: [IpAddr; 3] = [IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)), EKS[0], EKS[1]];
/// Of the EKS Pod Identity agent.
const EKS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x23)),
];
/// A token of EKS is a JSON web token of some 1 KiB.
const AUTHORIZATION: Kind = Kind {
    what: "container authorization token",
    least: 1,
    most: 16_384,
};

/// The parameters of the method `container`; what is not given comes from the environment, where
/// an empty variable counts as absent.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "ContainerParams", default)]
#[must_use = "parameters do nothing until a session is opened with them"]
pub struct Params {
    /// A path at `http://169.254.170.2`; otherwise `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`.
    relative_uri: Option<String>,
    /// A whole URL; otherwise `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
    full_uri: Option<SecretString>,
    /// What is sent as `Authorization`; otherwise `AWS_CONTAINER_AUTHORIZATION_TOKEN`.
    authorization_token: Option<SecretString>,
    /// A file that holds it; otherwise `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`.
    authorization_token_file: Option<PathBuf>,
}

impl Params {
    /// Everything from the environment.
    pub fn new() -> Self {
        Self::default()
    }

    /// A path at `http://169.254.170.2`, as ECS gives it; begins with `/`. It takes precedence over
    /// a full URI of the environment. Default: `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`.
    pub fn relative_uri(mut self, path: impl Into<String>) -> Self {
        self.relative_uri = Some(path.into());
        self
    }

    /// A whole URL, as EKS gives it: of `https`, or of `http` with a host that is loopback,
    /// 169.254.170.2 (ECS), 169.254.170.23 or fd00:ec2::23 (EKS). Default:
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI`, if there is no relative URI.
    pub fn full_uri(mut self, url: impl Into<SecretString>) -> Self {
        self.full_uri = Some(url.into());
        self
    }

    /// What is sent as `Authorization`. Default: the file, or `AWS_CONTAINER_AUTHORIZATION_TOKEN`.
    pub fn authorization_token(mut self, token: impl Into<SecretString>) -> Self {
        self.authorization_token = Some(token.into());
        self
    }

    /// A file that holds what is sent as `Authorization`, read again at each refresh; white space
    /// around it is not sent. Default: `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`.
    pub fn authorization_token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.authorization_token_file = Some(path.into());
        self
    }

    /// Checks the values that are given here.
    ///
    /// # Errors
    ///
    /// A validation error that names the field, or a configuration error for values that contradict
    /// each other. What a host name stands for is not looked up.
    pub fn validate(&self) -> Result<(), Error> {
        for (one, other, given) in [
            (
                "relative_uri",
                "full_uri",
                self.relative_uri.is_some() && self.full_uri.is_some(),
            ),
            (
                "authorization_token",
                "authorization_token_file",
                self.authorization_token.is_some() && self.authorization_token_file.is_some(),
            ),
        ] {
            if given {
                return Err(Error::configuration(format!(
                    "`{one}` and `{other}` contradict each other: set only one"
                ))
                .with_param(one)
                .unrecoverable());
            }
        }
        if let Some(path) = &self.relative_uri {
            relative(path).map_err(|invalid| invalid.at("relative_uri"))?;
        }
        if let Some(url) = &self.full_uri {
            full(url.expose()).map_err(|invalid| invalid.at("full_uri"))?;
        }
        if let Some(token) = &self.authorization_token {
            sendable(token).map_err(|invalid| invalid.at("authorization_token"))?;
        }
        Ok(())
    }

    /// Where the endpoint is.
    fn endpoint(&self, variables: &Variables) -> Result<Uri, Error> {
        if let Some(path) = &self.relative_uri {
            return relative(path).map_err(|invalid| invalid.at("relative_uri"));
        }
        if let Some(url) = &self.full_uri {
            return full(url.expose()).map_err(|invalid| invalid.at("full_uri"));
        }
        if let Some(path) = variables.get(RELATIVE_URI)? {
            return relative(&path).map_err(named(RELATIVE_URI));
        }
        match variables.get(FULL_URI)? {
            Some(url) => full(&url).map_err(named(FULL_URI)),
            None => Err(Error::configuration(format!(
                "no variable says where the container's credentials are: set `{RELATIVE_URI}` or `{FULL_URI}`, as ECS \
                 and EKS Pod Identity do, or give `full_uri`"
            ))
            .with_param("full_uri")
            .unrecoverable()),
        }
    }

    /// What fetches the authorization token, if there is one.
    fn authorization(&self, variables: &Variables) -> Result<Option<Authorization>, Error> {
        if let Some(token) = &self.authorization_token {
            return Ok(Some(Authorization::Fixed(token.clone())));
        }
        let (file, param) = match &self.authorization_token_file {
            Some(path) => (Some(path.clone()), "authorization_token_file"),
            None => (variables.get(TOKEN_FILE)?.map(PathBuf::from), TOKEN_FILE),
        };
        if let Some(path) = file {
            let fetcher = Fetcher::new(Source::File(path), AUTHORIZATION, param, USUAL_LIMIT);
            return Ok(Some(Authorization::File(Box::new(fetcher))));
        }
        let Some(token) = variables.get(TOKEN)? else {
            return Ok(None);
        };
        let token = SecretString::from(token);
        sendable(&token).map_err(named(TOKEN))?;
        Ok(Some(Authorization::Fixed(token)))
    }
}

/// The error for a variable's value.
fn named(name: &'static str) -> impl Fn(Invalid) -> Error {
    move |invalid| {
        Error::configuration(format!("`{name}` {invalid}"))
            .with_param(name)
            .unrecoverable()
    }
}

fn sendable(token: &SecretString) -> Result<(), Invalid> {
    let good = http::HeaderValue::from_str(token.expose()).is_ok() && !token.expose().is_empty();
    good.then_some(()).ok_or(Invalid::Shape(
        "is empty or holds a line break or another character that no header has",
    ))
}

fn relative(path: &str) -> Result<Uri, Invalid> {
    let begins = path.starts_with('/') && !path.starts_with("//");
    let url = begins.then(|| format!("{ECS}{path}"));
    url.and_then(|url| is_url(&url)).ok_or(Invalid::Shape(
        "must be a path that begins with one `/`, relative to `http://169.254.170.2`",
    ))
}

/// A URL whose host is not known to be forbidden; a name is looked up before it is used.
fn full(url: &str) -> Result<Uri, Invalid> {
    let uri = is_url(url).ok_or(Invalid::Shape(
        "must be a URL of `http` or `https` with a host, without user and password",
    ))?;
    match address(&uri) {
        Some(address) if !is_allowed(&uri, address) => Err(Invalid::Shape(FORBIDDEN)),
        _ => Ok(uri),
    }
}

const FORBIDDEN: &str = "leads to a host that must be asked by `https`: without it only loopback, 169.254.170.2 (ECS), \
                         169.254.170.23 and fd00:ec2::23 (EKS) are allowed";

fn address(uri: &Uri) -> Option<IpAddr> {
    let host = uri.host()?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    host.parse().ok()
}

fn is_allowed(uri: &Uri, address: IpAddr) -> bool {
    uri.scheme_str() == Some("https") || address.is_loopback() || HOSTS.contains(&address)
}

/// Whether the credentials there are one task's: ECS gives each a UUID.
fn is_task(endpoint: &Uri) -> bool {
    let is_ecs = endpoint.scheme_str() == Some("http") && endpoint.host() == Some("169.254.170.2");
    let id = endpoint.path().strip_prefix("/v2/credentials/");
    is_ecs
        && id.is_some_and(|id| {
            id.len() == 36
                && id
                    .bytes()
                    .all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
        })
}

/// Whose a pod's token is: all that Kubernetes says in it, but when. AWS names and tags the session
/// by the pod.
fn pod(token: &str) -> Option<Fingerprint> {
    let mut claims: Map<String, Value> = jwt::claims(token)?;
    for when in ["exp", "iat", "nbf", "jti"] {
        claims.remove(when);
    }
    let kubernetes = claims.get_mut("kubernetes.io")?.as_object_mut()?;
    kubernetes.remove("warnafter");
    kubernetes.get("pod")?.get("uid")?.as_str()?;
    claims.get("iss")?.as_str()?;
    Some(Fingerprint::new("pod").with("claims", claims))
}

enum Authorization {
    Fixed(SecretString),
    File(Box<Fetcher>),
}

impl brs_core::MethodParams for Params {
    const METHOD: &'static str = "container";
}

/// The strategy of the method `container`.
pub struct Container {
    endpoint: Uri,
    authorization: Option<Authorization>,
    /// Where host names are looked up: a dead name server costs one thread, not one for each try.
    place: Blocking,
}

impl Container {
    /// Where the endpoint is, without path and query.
    fn shown(&self) -> String {
        brs_core::kit::origin(&self.endpoint.to_string())
    }

    /// The request for one credential set, with the token as it is now.
    pub(super) async fn request(&self, cx: &RefreshContext) -> Result<Get, Error> {
        self.check_host().await?;
        let token = match &self.authorization {
            Some(Authorization::File(fetcher)) => {
                let token = fetcher.fetch(cx).await?;
                sendable(&token).map_err(|invalid| {
                    Error::configuration(format!("{} {invalid}", fetcher.named()))
                        .with_param(fetcher.param)
                })?;
                Some(token)
            }
            Some(Authorization::Fixed(token)) => Some(token.clone()),
            None => None,
        };
        let mut headers = vec![("accept", "application/json".into())];
        headers.extend(token.map(|token| ("authorization", token)));
        Ok(Get::new(local(), self.endpoint.clone(), headers))
    }

    /// Refuses a name that leads elsewhere; its address could change at any time.
    async fn check_host(&self) -> Result<(), Error> {
        if self.endpoint.scheme_str() == Some("https") || address(&self.endpoint).is_some() {
            return Ok(());
        }
        let host = self.endpoint.host().unwrap_or_default().to_owned();
        let port = self.endpoint.port_u16().unwrap_or(80);
        let looked_up = self.place.run(move || {
            (host.as_str(), port)
                .to_socket_addrs()
                .map(|found| found.map(|one| one.ip()).collect::<Vec<_>>())
        });
        let found = looked_up.await?.map_err(|error| {
            Error::connection(format!(
                "the host name of the container's endpoint `{}` is not known",
                self.shown()
            ))
            .with_source(error)
        })?;
        match found.iter().all(|one| is_allowed(&self.endpoint, *one)) {
            true if !found.is_empty() => Ok(()),
            _ => Err(Error::configuration(format!(
                "the container's endpoint `{}` {FORBIDDEN}",
                self.shown()
            ))
            .with_param("full_uri")),
        }
    }
}

pub(super) async fn build(params: Params, _: Setup) -> Result<Container, Error> {
    params.validate()?;
    let variables = &Variables::Process;
    Ok(Container {
        endpoint: params.endpoint(variables)?,
        authorization: params.authorization(variables)?,
        place: Blocking::new(),
    })
}

brs_core::register_method! {
    summary: "the role of an ECS task or an EKS pod, from the container's endpoint",
    params: Params,
    build: build,
}

#[async_trait]
impl RefreshStrategy for Container {
    fn method(&self) -> &'static str {
        METHOD
    }

    fn source(&self) -> &'static str {
        SOURCE
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        let what = "the container's credentials";
        let answer = self.request(cx).await?.send(what).await?;
        if !answer.is_success() {
            return Err(answer.refusal(
                what,
                &self.shown(),
                &["message", "Message"],
                "check the role of this task or pod, and the authorization token",
            ));
        }
        machine::credentials(
            &answer.body,
            &format!("the container's endpoint `{}`", self.shown()),
        )
    }

    async fn identity(&self, credentials: &TemporaryCredentials) -> Result<Identity, Error> {
        Ok(Identity::new(METHOD, SOURCE, credentials.access_key_id())
            .with_detail("endpoint", self.shown()))
    }

    /// A task of ECS, by the id of its credentials, which no other task has; a pod of EKS, by its
    /// token. Another endpoint may give out whatever it likes, and a token that is fixed may be
    /// anybody's.
    fn fingerprint(&self) -> Option<Fingerprint> {
        let told =
            Fingerprint::new(METHOD).with("endpoint_sha256", sha256(&self.endpoint.to_string())?);
        match &self.authorization {
            None if is_task(&self.endpoint) => Some(told),
            Some(Authorization::File(file))
                if address(&self.endpoint).is_some_and(|address| EKS.contains(&address)) =>
            {
                Some(told.with("asker", pod(file.at_hand()?.expose())?))
            }
            _ => None,
        }
    }

    fn static_stability(&self) -> bool {
        true
    }
}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Container")
            .field("endpoint", &self.shown())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
