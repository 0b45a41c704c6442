//! A received request taken apart: its parameters and what goes into the log.
//!
//! Both spellings of the query protocol are read, a form in the body of a POST and the query string
//! of a GET.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;

use super::log::RequestLog;
use super::signature::Authorization;
use super::{dynamodb, s3, sso};

/// Parameters whose value is a secret, or as good as one.
const SECRET_PARAMETERS: [&str; 3] = ["TokenCode", "WebIdentityToken", "SAMLAssertion"];

/// Whom a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Sts,
    Portal,
    S3,
    DynamoDb,
}

/// One request.
pub(super) struct Call {
    pub(super) parts: Parts,
    pub(super) body: Bytes,
    parameters: BTreeMap<String, String>,
}

impl Call {
    pub(super) fn new(parts: Parts, body: Bytes) -> Self {
        let query = parts.uri.query().unwrap_or_default().as_bytes();
        let form = if parts.method == http::Method::POST && !body.starts_with(b"{") {
            &body[..]
        } else {
            &[]
        };
        let parameters = [query, form]
            .into_iter()
            .flat_map(|form| form_urlencoded::parse(form).into_owned())
            .collect();
        Self {
            parts,
            body,
            parameters,
        }
    }

    pub(super) fn action(&self) -> &str {
        match self.service() {
            Service::Portal => sso::action(self.parts.uri.path()).unwrap_or_default(),
            Service::S3 => s3::action(self),
            Service::DynamoDb => dynamodb::action(self),
            Service::Sts => self.parameter("Action").unwrap_or_default(),
        }
    }

    /// Whose business this is: IAM Identity Center has paths of its own, for the others requests
    /// are signed.
    pub(super) fn service(&self) -> Service {
        if sso::action(self.parts.uri.path()).is_some() {
            return Service::Portal;
        }
        match Authorization::of(self)
            .ok()
            .as_ref()
            .map(|authorization| authorization.service.as_str())
        {
            Some(s3::SERVICE) => Service::S3,
            Some(dynamodb::SERVICE) => Service::DynamoDb,
            _ => Service::Sts,
        }
    }

    /// Whether this is the business of IAM Identity Center's portal.
    pub(super) fn is_portal(&self) -> bool {
        self.service() == Service::Portal
    }

    pub(super) fn version(&self) -> &str {
        self.parameter("Version").unwrap_or("NO_VERSION_SPECIFIED")
    }

    /// A parameter that is there and not empty.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The members of a list, each with its fields: `Key` and `Value` of `Tags.member.1`. A plain
    /// text's field has no name.
    pub(super) fn members(&self, list: &str) -> Vec<BTreeMap<&str, &str>> {
        let mut members = BTreeMap::<u32, BTreeMap<&str, &str>>::new();
        for (name, value) in &self.parameters {
            let member = name
                .strip_prefix(list)
                .and_then(|rest| rest.strip_prefix(".member."));
            let Some((number, field)) =
                member.map(|member| member.split_once('.').unwrap_or((member, "")))
            else {
                continue;
            };
            if let Ok(number) = number.parse() {
                members.entry(number).or_default().insert(field, value);
            }
        }
        members.into_values().collect()
    }

    /// The bytes of all parameters whose name begins with one of `prefixes`.
    pub(super) fn size_of(&self, prefixes: &[&str]) -> usize {
        let counted = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
        self.parameters
            .iter()
            .filter(|(name, _)| counted(name))
            .map(|(_, value)| value.len())
            .sum()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    pub(super) fn log_entry(&self, time: SystemTime) -> RequestLog {
        let parameters = self
            .parameters
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "Action" | "Version"))
            .map(|(name, value)| {
                let secret = SECRET_PARAMETERS.contains(&name.as_str())
                    || name.eq_ignore_ascii_case("X-Amz-Security-Token");
                (
                    name.clone(),
                    if secret {
                        "(redacted)".to_owned()
                    } else {
                        value.clone()
                    },
                )
            })
            .collect();
        let (access_key_id, region) = Authorization::of(self)
            .map(|authorization| (authorization.access_key_id, authorization.region))
            .ok()
            .unzip();
        RequestLog {
            action: self.action().to_owned(),
            access_key_id,
            region,
            parameters,
            status: None,
            error_code: None,
            user_agent: self.header("x-amz-user-agent").map(str::to_owned),
            time,
        }
    }
}
