//! The proxy on the way to STS: which one it is, and what errors say about it.
//!
//! Owns the choice. That of the environment follows the rules of the HTTP client, whose matcher is
//! asked again for an error; an HTTP client of the user's may have any.

use aws_smithy_http_client::proxy::{ProxyConfig, ProxyError};
use aws_types::SdkConfig;
use brs_core::SecretString;
use brs_core::kit;
use hyper_util::client::proxy::matcher::Matcher;

use crate::request::client::{StsClient, Verify};
use crate::sts::ca;

/// Which proxy a client of STS uses.
#[derive(Clone, Debug)]
pub(crate) enum Proxy {
    /// The settings name proxies, but none for this endpoint.
    Disabled,
    /// The one of the settings.
    Given(SecretString),
    /// What the environment says about the endpoint.
    Environment,
    /// The user's own HTTP client decides.
    Unknown,
}

impl Proxy {
    /// As botocore does: with proxies given, the environment's are ignored.
    pub(crate) fn choose(settings: &StsClient, base: &SdkConfig, is_plain: bool) -> Self {
        let proxies = &settings.config.proxies;
        match (&proxies.http, &proxies.https) {
            // Made for the bundle.
            (None, None) if matches!(settings.verify, Some(Verify::Bundle(_))) => Self::Environment,
            (None, None) => Self::of_base(base),
            (Some(url), _) if is_plain => Self::Given(url.clone()),
            (_, Some(url)) if !is_plain => Self::Given(url.clone()),
            _ => Self::Disabled,
        }
    }

    /// That of a base configuration's HTTP client.
    pub(crate) fn of_base(base: &SdkConfig) -> Self {
        if base.http_client().is_some() && !ca::is_environments(base) {
            Self::Unknown
        } else {
            Self::Environment
        }
    }

    /// What the HTTP client is built with; `None` for the environment's.
    pub(crate) fn config(&self) -> Result<Option<ProxyConfig>, ProxyError> {
        match self {
            Self::Disabled => Ok(Some(ProxyConfig::disabled())),
            Self::Given(url) => ProxyConfig::all(url.expose()).map(Some),
            Self::Environment | Self::Unknown => Ok(None),
        }
    }

    /// How a request to that URL went.
    pub(crate) fn way(&self, url: Option<&str>) -> Way {
        match self {
            Self::Disabled => Way::Direct,
            Self::Given(url) => Way::Through(Used {
                url: shown(url.expose()),
                set_in: "`client.config.proxies`",
            }),
            Self::Environment => {
                let Some(url) = url.and_then(|url| url.parse::<http::Uri>().ok()) else {
                    return Way::Unknown;
                };
                let is_plain = url.scheme_str() == Some("http");
                match Matcher::from_env().intercept(&url) {
                    Some(proxy) => Way::Through(Used {
                        url: shown(&proxy.uri().to_string()),
                        set_in: if is_plain {
                            "`HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`"
                        } else {
                            "`HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`"
                        },
                    }),
                    None => Way::Direct,
                }
            }
            Self::Unknown => Way::Unknown,
        }
    }
}

/// How a request went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Direct,
    Through(Used),
    /// Through whatever the user's HTTP client uses.
    Unknown,
}

/// A proxy that was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Used {
    /// Without user and password.
    pub(crate) url: String,
    set_in: &'static str,
}

/// Why STS was not reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    NoRoute,
    Refused,
    Cut,
    /// A host name is unknown.
    Name,
    /// The proxy wants to know who connects.
    Login,
    /// The proxy did not connect.
    Tunnel,
    Other,
}

impl Way {
    /// What is wrong and what to do, as the end of a sentence.
    pub(crate) fn problem(&self, problem: Problem) -> String {
        let text = match self {
            Self::Through(proxy) => return proxy.problem(problem),
            Self::Direct => match problem {
                Problem::NoRoute => "there is no route to it: check this machine's network",
                Problem::Refused => "nothing listens there: check the endpoint URL and its port",
                Problem::Cut => "the connection was cut: check the firewalls on the way",
                Problem::Name => {
                    "its host name is not known: check the region, the endpoint URL and this machine's name servers"
                }
                Problem::Login | Problem::Tunnel | Problem::Other => {
                    "check the network and the endpoint URL"
                }
            },
            Self::Unknown => match problem {
                Problem::NoRoute => "there is no route to it: check this machine's network",
                Problem::Refused => {
                    "nothing listens there: check the endpoint URL, its port, and the HTTP client's proxy"
                }
                Problem::Cut => {
                    "the connection was cut: check the HTTP client's proxy and the firewalls on the way"
                }
                Problem::Name => {
                    "its host name is not known, or that of the HTTP client's proxy: check the region, the endpoint \
                     URL, the proxy and this machine's name servers"
                }
                Problem::Login | Problem::Tunnel => {
                    "the HTTP client's proxy did not connect to it: check the proxy"
                }
                Problem::Other => "check the network, the HTTP client's proxy and the endpoint URL",
            },
        };
        text.to_owned()
    }
}

/// Scheme, host and port.
fn shown(url: &str) -> String {
    kit::origin(url).replace("***@", "")
}

impl Used {
    fn problem(&self, problem: Problem) -> String {
        let (url, set_in) = (&self.url, self.set_in);
        match problem {
            Problem::NoRoute => format!(
                "there is no route to the proxy `{url}`: check {set_in} and this machine's network"
            ),
            Problem::Refused => {
                format!(
                    "nothing listens at the proxy `{url}`: check {set_in}, and the proxy's port"
                )
            }
            Problem::Cut => format!(
                "the connection through the proxy `{url}` was cut: check {set_in}, the proxy and the firewalls"
            ),
            Problem::Name => format!(
                "the host name of the proxy `{url}` is not known: check {set_in} and this machine's name servers"
            ),
            Problem::Login => format!(
                "the proxy `{url}` requires a user and a password: add them to its URL, see {set_in}"
            ),
            Problem::Tunnel => format!(
                "the proxy `{url}` did not connect to it: check {set_in}, the endpoint URL, and what the proxy allows"
            ),
            Problem::Other => {
                format!("check the proxy `{url}` ({set_in}), the network and the endpoint URL")
            }
        }
    }
}
