//! `[serve]`: what `brs serve` listens on, and who gets what.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{Config, Data};
use crate::args;
use crate::exit::Failure;

/// `[serve]`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Serve {
    pub(crate) listen: Option<SocketAddr>,
    #[serde(default)]
    pub(crate) danger_listen: bool,
    #[serde(default, deserialize_with = "duration")]
    pub(crate) answer_within: Option<Duration>,
    pub(crate) admin: Option<SocketAddr>,
    /// The file for the token of `admin`.
    admin_token_file: Option<PathBuf>,
    pub(crate) imds: Option<Imds>,
    #[serde(default)]
    pub(crate) assume: Vec<Assume>,
    #[serde(default)]
    pub(crate) consumers: BTreeMap<String, Consumer>,
}

/// The metadata mode.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Imds {
    pub(crate) listen: SocketAddr,
    pub(crate) session: String,
}

/// Which roles `/role-arn/` may ask for.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Assume {
    pub(crate) from: String,
    pub(crate) roles: Vec<String>,
    pub(crate) region: Option<String>,
}

/// `[serve.consumers.NAME]`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Consumer {
    #[serde(default)]
    pub(crate) sessions: Vec<String>,
    #[serde(default)]
    pub(crate) roles: Vec<String>,
    #[serde(default)]
    pub(crate) all: bool,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) user: Option<String>,
}

impl Serve {
    /// The file for the token of `admin`: the one that is named, or `admin.token` in the directory
    /// that the service manager or the login session has made for this user alone.
    pub(crate) fn admin_token_file(&self) -> Option<PathBuf> {
        if let Some(path) = &self.admin_token_file {
            return Some(brs::kit::path::expanded(path).into_owned());
        }
        let directory = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let of_service = directory("RUNTIME_DIRECTORY").map(PathBuf::from);
        let of_login = directory("XDG_RUNTIME_DIR").map(|path| PathBuf::from(path).join("brs"));
        Some(of_service.or(of_login)?.join("admin.token"))
    }

    /// Reads the table, and checks that the sessions that it names exist.
    pub(super) fn read(value: Value, config: &Config) -> Result<Self, Failure> {
        let serve: Self = Data(value).take().map_err(|error| {
            let text = error.to_string();
            match error.param() {
                Some(param) => {
                    let prefix = format!("parameter `{param}`: ");
                    let problem = text.strip_prefix(&prefix).unwrap_or(&text);
                    config.wrong(&format!("serve.{param}"), problem)
                }
                None => config.wrong("serve", text.strip_prefix("parameters: ").unwrap_or(&text)),
            }
        })?;
        let exists = |key: &str, name: &str| match config.sessions().contains_key(name) {
            true => Ok(()),
            false => {
                let shown = brs::kit::clean(name, &[]);
                let names = super::listed(config.sessions().keys());
                Err(config.wrong(
                    key,
                    format!("names no session: there is no `{shown}`, only {names}"),
                ))
            }
        };
        if let Some(imds) = &serve.imds {
            exists("serve.imds.session", &imds.session)?;
        }
        for (index, rule) in serve.assume.iter().enumerate() {
            exists(&format!("serve.assume[{index}].from"), &rule.from)?;
        }
        for (name, consumer) in &serve.consumers {
            let key = format!("serve.consumers.{name}");
            config.check_name(&key, name)?;
            for (index, session) in consumer.sessions.iter().enumerate() {
                exists(&format!("{key}.sessions[{index}]"), session)?;
            }
            if consumer.sessions.is_empty() && consumer.roles.is_empty() && !consumer.all {
                let problem = "may use nothing: give it `sessions`, `roles` or `all = true`";
                return Err(config.wrong(&key, problem));
            }
            if consumer.token_file.is_none() {
                let problem = "has no `token_file`: name the file that its token is written to";
                return Err(config.wrong(&key, problem));
            }
        }
        Ok(serve)
    }
}

fn duration<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    args::positive_duration(&text)
        .map(Some)
        .map_err(serde::de::Error::custom)
}
