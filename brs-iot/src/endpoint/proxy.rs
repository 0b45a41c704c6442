//! The proxy on the way to the endpoint: the one that was given, or that of the environment.
//!
//! Owns the choice, made once, when the session is built. TLS with the proxy itself would show it
//! the device's certificate, since a client has one TLS configuration for both: only plain
//! `http://` proxies are used. The rules of the environment's variables are those of hyper-util,
//! which are curl's.

use std::env;

use brs_core::{Error, SecretString};
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::ClientBuilder;
use reqwest::header::HeaderValue;

/// Of each pair the first that is set counts; of those that can be used, too.
const VARIABLES: [[&str; 2]; 2] = [["HTTPS_PROXY", "https_proxy"], ["ALL_PROXY", "all_proxy"]];
const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];
/// Set for a CGI program, whose environment is partly its client's.
const CGI: &str = "REQUEST_METHOD";

/// How the endpoint is reached.
pub(crate) enum Proxy {
    Direct,
    Given(SecretString),
    Environment {
        url: String,
        authorization: Option<HeaderValue>,
    },
}

impl Proxy {
    /// The proxy of that URL.
    pub(crate) fn given(url: SecretString) -> Self {
        Self::Given(url)
    }

    /// The way to `url` according to this process's environment; `shows_device`: TLS shows the
    /// device's certificate, to the proxy, too.
    pub(crate) fn of_environment(url: &str, shows_device: bool) -> Result<Self, Error> {
        Self::of(|name| env::var(name).ok(), url, shows_device)
    }

    fn of(
        variable: impl Fn(&str) -> Option<String>,
        url: &str,
        shows_device: bool,
    ) -> Result<Self, Error> {
        let Ok(url) = url.parse() else {
            return Ok(Self::Direct);
        };
        if variable(CGI).is_some() {
            return Ok(Self::Direct);
        }
        let exceptions = EXCEPTIONS
            .iter()
            .find_map(|name| variable(name))
            .unwrap_or_default();
        for pair in VARIABLES {
            let Some((name, value)) = pair.iter().find_map(|name| Some((name, variable(name)?)))
            else {
                continue;
            };
            let matcher = Matcher::builder()
                .https(value)
                .no(exceptions.clone())
                .build();
            let Some(proxy) = matcher.intercept(&url) else {
                continue;
            };
            if proxy.uri().scheme_str() != Some("http") {
                let problem = if shows_device {
                    " and would see the device's certificate"
                } else {
                    ", the only kind that is supported"
                };
                return Err(Error::configuration(format!(
                    "the proxy in the environment variable `{name}` is not an `http://` \
                     proxy{problem}: list the endpoint in `NO_PROXY`, or give \
                     an `http://` proxy there or in `proxy`"
                ))
                .with_param("proxy")
                .unrecoverable());
            }
            return Ok(Self::Environment {
                url: proxy.uri().to_string(),
                authorization: proxy.basic_auth().cloned(),
            });
        }
        Ok(Self::Direct)
    }

    /// The builder of a client that goes this way, whatever the environment contains later.
    pub(crate) fn apply(&self, builder: ClientBuilder) -> Result<ClientBuilder, Error> {
        let refused = |_| {
            Error::validation("`proxy` is not a URL")
                .with_param("proxy")
                .unrecoverable()
        };
        Ok(match self {
            Self::Direct => builder.no_proxy(),
            Self::Given(url) => {
                builder.proxy(reqwest::Proxy::https(url.expose()).map_err(refused)?)
            }
            Self::Environment { url, authorization } => {
                let proxy = reqwest::Proxy::https(url).map_err(refused)?;
                builder.proxy(match authorization {
                    Some(header) => proxy.custom_http_auth(header.clone()),
                    None => proxy,
                })
            }
        })
    }
}

/// For MQTT, which goes the same way: the URL of the environment's proxy to `url`, and what the
/// proxy is to know of the user.
///
/// # Errors
///
/// A configuration error for a proxy that would be shown the device's certificate.
pub fn proxy_of_environment(url: &str) -> Result<Option<(String, Option<HeaderValue>)>, Error> {
    Ok(match Proxy::of_environment(url, true)? {
        Proxy::Environment { url, authorization } => Some((url, authorization)),
        Proxy::Direct | Proxy::Given(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: &str =
        "https://c2abc.credentials.iot.eu-west-1.amazonaws.com/role-aliases/demo/credentials";

    fn chosen(variables: &[(&str, &str)]) -> Result<Option<(String, bool)>, Error> {
        let variable = |name: &str| {
            variables
                .iter()
                .find(|(of, _)| *of == name)
                .map(|(_, value)| value.to_string())
        };
        Ok(match Proxy::of(variable, ENDPOINT, true)? {
            Proxy::Environment { url, authorization } => Some((url, authorization.is_some())),
            Proxy::Direct | Proxy::Given(_) => None,
        })
    }

    #[test]
    fn a_plain_proxy_of_the_environment_is_used_unless_the_endpoint_is_excepted() {
        for (variables, expected) in [
            (&[][..], None),
            (&[("HTTP_PROXY", "http://web:80")], None),
            (
                &[
                    ("HTTPS_PROXY", "http://me:hush@one:3128"),
                    ("https_proxy", "http://two"),
                ],
                Some(("one:3128", true)),
            ),
            (&[("https_proxy", "two:3128")], Some(("two:3128", false))),
            (
                &[("HTTPS_PROXY", ""), ("all_proxy", "http://three:80")],
                Some(("three:80", false)),
            ),
            (
                &[
                    ("ALL_PROXY", "http://one:80"),
                    ("NO_PROXY", "example.com,.amazonaws.com"),
                ],
                None,
            ),
            (&[("HTTPS_PROXY", "http://one:80"), ("no_proxy", "*")], None),
            (
                &[("HTTPS_PROXY", "http://one:80"), ("REQUEST_METHOD", "GET")],
                None,
            ),
        ] {
            let expected =
                expected.map(|(host, authorized)| (format!("http://{host}/"), authorized));
            assert_eq!(chosen(variables).unwrap(), expected, "{variables:?}");
        }
    }

    #[test]
    fn a_proxy_that_would_be_shown_the_certificate_is_refused_by_its_variable() {
        for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            for url in ["https://me:hush@proxy:443", "socks5://me:hush@proxy:1080"] {
                let error = chosen(&[(name, url)]).unwrap_err();
                assert!(
                    error.to_string().contains(&format!("`{name}`")) && error.is_unrecoverable(),
                    "{error}"
                );
                assert!(
                    error.param() == Some("proxy") && !format!("{error:?}").contains("hush"),
                    "{error:?}"
                );
                assert_eq!(
                    chosen(&[(name, url), ("NO_PROXY", "amazonaws.com")]).unwrap(),
                    None
                );
            }
        }
    }
}
