//! Identity tokens that are asked for over HTTP: from GitHub Actions, Google Cloud, Azure, and
//! wherever a URL leads.
//!
//! | source | request | answer |
//! |---|---|---|
//! | GitHub Actions | `$ACTIONS_ID_TOKEN_REQUEST_URL&audience=…`, `Authorization: bearer …` | JSON, `value` |
//! | Google Cloud | the metadata server's `…/identity?audience=…`, `Metadata-Flavor: Google` | the token |
//! | Azure | the metadata service's `…/oauth2/token?resource=…`, `Metadata: true` | JSON, `access_token` |
//! | App Service | `$IDENTITY_ENDPOINT?resource=…`, `X-IDENTITY-HEADER: …` | the same |
//! | HTTP | the URL with its headers | the body, or what a JSON pointer leads to |
//!
//! As asked and answered by actions/toolkit (`oidc-utils.ts`), google-auth (`_metadata.py`) and
//! azure-identity (`imds.py`, `app_service.py`).

use std::fmt;

use aws_smithy_runtime_api::client::http::SharedHttpClient;
use brs_core::kit::{origin, zeroize_value};
use brs_core::{Error, SecretString};
use http::Uri;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::get::{Answer, Get, local};
use crate::sts::http_client;

const URL_VARIABLE: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const TOKEN_VARIABLE: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";

/// A source and what it needs to know.
#[derive(Clone)]
pub(crate) struct Remote {
    pub(crate) issuer: Issuer,
    /// The client for what is beyond this machine: the user's, or the environment's.
    pub(crate) client: Option<SharedHttpClient>,
}

#[derive(Clone)]
pub(crate) enum Issuer {
    GitHub {
        audience: String,
    },
    Gcp {
        audience: String,
        service_account: Option<String>,
        endpoint: Option<String>,
    },
    Azure {
        audience: String,
        client_id: Option<String>,
        endpoint: Option<String>,
    },
    Http {
        url: SecretString,
        headers: Vec<(String, SecretString)>,
        pointer: Option<String>,
    },
}

impl Remote {
    /// The issuer in words.
    pub(crate) fn name(&self) -> String {
        match &self.issuer {
            Issuer::GitHub { .. } => "GitHub Actions".into(),
            Issuer::Gcp { .. } => "Google Cloud".into(),
            Issuer::Azure { .. } => "Azure".into(),
            Issuer::Http { url, .. } => format!("`{}`", origin(url.expose())),
        }
    }

    /// The request as it would be sent now; what is missing for it is an error.
    pub(crate) fn request(&self) -> Result<Get, Error> {
        match &self.issuer {
            Issuer::GitHub { audience } => self.github(audience),
            Issuer::Gcp {
                audience,
                service_account,
                endpoint,
            } => {
                let account = service_account.as_deref().unwrap_or("default");
                let base = match endpoint {
                    Some(url) => url.clone(),
                    None => match variable("GCE_METADATA_HOST") {
                        Some(host) => format!("http://{host}"),
                        None => "http://metadata.google.internal".into(),
                    },
                };
                let url = format!(
                    "{}/computeMetadata/v1/instance/service-accounts/{}/identity?audience={}&format=full",
                    base.trim_end_matches('/'),
                    encoded(account),
                    encoded(audience)
                );
                Ok(Get::new(
                    local(),
                    parsed(
                        &url,
                        "the metadata server of Google Cloud",
                        "GCE_METADATA_HOST",
                    )?,
                    vec![("metadata-flavor", "Google".into())],
                ))
            }
            Issuer::Azure {
                audience,
                client_id,
                endpoint,
            } => azure(audience, client_id.as_deref(), endpoint.as_deref()),
            Issuer::Http { url, headers, .. } => Ok(Get {
                own_headers: headers.clone(),
                ..Get::new(
                    self.beyond(),
                    parsed(url.expose(), "the token", "token_source.http")?,
                    Vec::new(),
                )
            }),
        }
    }

    fn beyond(&self) -> SharedHttpClient {
        http_client::plain(self.client.clone())
    }

    fn github(&self, audience: &str) -> Result<Get, Error> {
        let (Some(url), Some(token)) = (variable(URL_VARIABLE), variable(TOKEN_VARIABLE)) else {
            return Err(Error::configuration(format!(
                "GitHub Actions issues no identity token to this process: `{URL_VARIABLE}` and `{TOKEN_VARIABLE}` \
                 are not both set; give the job `permissions: id-token: write`, and pass both on where another \
                 program starts this one"
            ))
            .unrecoverable());
        };
        let separator = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{separator}audience={}", encoded(audience));
        Ok(Get::new(
            self.beyond(),
            parsed(&url, "the tokens of GitHub Actions", URL_VARIABLE)?,
            vec![
                ("authorization", format!("bearer {token}").into()),
                ("accept", "application/json; api-version=2.0".into()),
            ],
        ))
    }

    /// Asks for a token; `what` names it in errors.
    pub(crate) async fn fetch(&self, what: &str) -> Result<SecretString, Error> {
        let request = self.request()?;
        let place = request.place();
        let answer = request.send(what).await?;
        if !answer.is_success() {
            return Err(self.refused(&answer, what, &place));
        }
        let unusable = |problem: &str| {
            Error::credential(format!("the answer of `{place}` is not {what}: {problem}"))
                .with_status(answer.status)
        };
        let pointer = match &self.issuer {
            Issuer::GitHub { .. } => Some("/value"),
            Issuer::Azure { .. } => Some("/access_token"),
            Issuer::Gcp { .. } if answer.flavor.as_deref() != Some("Google") => {
                return Err(unusable(
                    "it lacks `Metadata-Flavor: Google`, so it is not the metadata server's",
                ));
            }
            Issuer::Gcp { .. } => None,
            Issuer::Http { pointer, .. } => pointer.as_deref(),
        };
        let Some(pointer) = pointer else {
            return std::str::from_utf8(&answer.body)
                .map(Into::into)
                .map_err(|_| unusable("it is not text"));
        };
        let mut body: Value =
            serde_json::from_slice(&answer.body).map_err(|_| unusable("it is not JSON"))?;
        let token = body
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(SecretString::from);
        zeroize_value(&mut body);
        token.ok_or_else(|| unusable(&format!("it has no text at `{pointer}`")))
    }

    fn refused(&self, answer: &Answer, what: &str, place: &str) -> Error {
        match &self.issuer {
            Issuer::GitHub { .. } => answer.refusal(
                what,
                place,
                &["message"],
                "check that the job still runs, and its `permissions: id-token: write`",
            ),
            Issuer::Gcp { .. } if answer.status == 404 => answer.refusal(
                what,
                place,
                &[],
                "no such service account is attached to this machine: attach one, or check `service_account`",
            ),
            Issuer::Gcp { .. } => answer.refusal(
                what,
                place,
                &[],
                "check `audience` and the service account of this machine",
            ),
            Issuer::Azure { .. } => {
                let refused = answer.refusal(
                    what,
                    place,
                    &["error_description", "message", "error"],
                    "check that a managed identity is assigned to this machine, `client_id`, and that `audience` is \
                     an application's ID URI of its tenant",
                );
                // Microsoft's guidance: an identity that was just assigned, and a service that is
                // being updated.
                match answer.status {
                    404 | 410 => refused.retryable(),
                    _ => refused,
                }
            }
            Issuer::Http { .. } => answer.refusal(
                what,
                place,
                &["message", "error_description", "error"],
                "check its URL and headers",
            ),
        }
    }
}

/// From App Service and its relatives if they name their endpoint, else from instance metadata.
fn azure(audience: &str, client_id: Option<&str>, endpoint: Option<&str>) -> Result<Get, Error> {
    let service = match endpoint {
        None => variable("IDENTITY_ENDPOINT").zip(variable("IDENTITY_HEADER")),
        Some(_) => None,
    };
    let (base, version, header, named) = match service {
        Some((url, secret)) => (
            url,
            "2019-08-01",
            ("x-identity-header", secret.into()),
            "IDENTITY_ENDPOINT",
        ),
        None => {
            let named = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
            let host = endpoint.map(str::to_owned).or_else(|| variable(named));
            let host = host.as_deref().unwrap_or("http://169.254.169.254");
            let url = format!(
                "{}/metadata/identity/oauth2/token",
                host.trim_end_matches('/')
            );
            (url, "2018-02-01", ("metadata", "true".into()), named)
        }
    };
    let mut url = format!(
        "{base}?api-version={version}&resource={}",
        encoded(audience)
    );
    if let Some(client_id) = client_id {
        url = format!("{url}&client_id={}", encoded(client_id));
    }
    Ok(Get::new(
        local(),
        parsed(&url, "the managed identity of Azure", named)?,
        vec![header],
    ))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn parsed(url: &str, what: &str, named: &str) -> Result<Uri, Error> {
    is_url(url).ok_or_else(|| {
        Error::configuration(format!(
            "the URL for {what} is not one: check `{named}`, which must begin with `http://` or `https://`"
        ))
        .unrecoverable()
    })
}

/// The URL, if it is one of HTTP's and holds no user or password.
pub(crate) fn is_url(text: &str) -> Option<Uri> {
    let url: Uri = text.parse().ok()?;
    let is_http = matches!(url.scheme_str(), Some("http" | "https"));
    let authority = url.authority()?.as_str();
    (is_http && !authority.is_empty() && !authority.contains('@')).then_some(url)
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}
