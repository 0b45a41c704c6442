//! Opening sessions with all that is around their sources.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use brs::shared::{HostCache, SharedExt as _};
use brs::{Error, ErrorKind, SessionBuilder};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::guard::{Asking, Guard};
use super::{How, Opened, Share, profile};
use crate::config::{Config, Data, SessionData, is_name};
use crate::exit::Failure;
use crate::terminal::Terminal;

/// Opens sessions of one configuration; each once, however many stand on it.
#[derive(Debug)]
pub(crate) struct Opener<'a> {
    config: &'a Config,
    how: How,
    asking: Asking,
    opened: BTreeMap<String, Opened>,
}

impl<'a> Opener<'a> {
    pub(crate) fn new(config: &'a Config, how: How, terminal: &Terminal) -> Self {
        let asking = match (how.unattended, terminal.can_ask()) {
            (true, _) => Asking::Fails,
            (false, true) => Asking::Allowed,
            (false, false) => Asking::Ends,
        };
        Self {
            config,
            asking,
            how,
            opened: BTreeMap::new(),
        }
    }

    /// Takes a session as open that was opened before.
    pub(crate) fn keep(&mut self, opened: Opened) {
        self.opened.insert(opened.name.clone(), opened);
    }

    /// Opens a session of the configuration, after those beneath it.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] with the line of what is wrong.
    pub(crate) fn named<'b>(&'b mut self, name: &'b str) -> BoxFuture<'b, Result<Opened, Failure>> {
        Box::pin(async move {
            if let Some(opened) = self.opened.get(name) {
                return Ok(opened.clone());
            }
            let SessionData { method, base, data } = self.config.named(name)?;
            let base = match base {
                Some(base) => Some(self.named(base).await?),
                None => None,
            };
            let config = self.config;
            let wrong = |error: Error| match error.kind() {
                ErrorKind::Validation | ErrorKind::Configuration => {
                    config.wrong_session(name, &error)
                }
                _ => Failure::of_opening(error),
            };
            let builder = SessionBuilder::from_data(method, data.0.clone()).map_err(wrong)?;
            let opened = self.build(name, builder, base).await.map_err(wrong)?;
            self.opened.insert(name.to_owned(), opened.clone());
            Ok(opened)
        })
    }

    /// Opens the session of a profile: the role that it leads to, or the credentials that it has.
    pub(super) async fn of_profile(
        &self,
        profile: &str,
        role_arn: Option<&str>,
    ) -> Result<Opened, Failure> {
        let name = slug(&[Some(profile), role_arn.map(role_name)]);
        let mut data = json!({ "profile_name": profile });
        if let Some(role_arn) = role_arn {
            data["role_arn"] = role_arn.into();
        }
        match self.of_data(&name, "sts", data).await {
            // The profile has no role.
            Err(error) if role_arn.is_none() && error.param() == Some("assume_role.role_arn") => {
                let data = json!({ "profile_name": profile });
                self.of_data(&name, profile::METHOD, data)
                    .await
                    .map_err(Failure::of_opening)
            }
            opened => opened.map_err(Failure::of_opening),
        }
    }

    pub(super) async fn of_method(&self, method: &str, data: Data) -> Result<Opened, Failure> {
        let name = slug(&[Some(method)]);
        let opened = self.of_data(&name, method, data.0.clone());
        opened.await.map_err(Failure::of_opening)
    }

    async fn of_data(&self, name: &str, method: &str, data: Value) -> Result<Opened, Error> {
        self.build(name, SessionBuilder::from_data(method, data)?, None)
            .await
    }

    /// A role on top of a session.
    pub(super) async fn assumed(&self, base: Opened, role_arn: &str) -> Result<Opened, Failure> {
        let name = slug(&[Some(&base.name), Some(role_name(role_arn))]);
        let data = json!({ "role_arn": role_arn });
        let builder = SessionBuilder::from_data("sts", data).map_err(Failure::of_opening)?;
        self.build(&name, builder, Some(base))
            .await
            .map_err(Failure::of_opening)
    }

    async fn build(
        &self,
        name: &str,
        builder: SessionBuilder,
        base: Option<Opened>,
    ) -> Result<Opened, Error> {
        let guard = match &base {
            Some(base) => base.guard.clone(),
            None => Guard::new(self.asking, self.how.before.clone(), name),
        };
        let source = Arc::new(OnceLock::new());
        let (seen, around) = (Arc::clone(&source), guard.clone());
        let mut builder = builder.wrap_strategy(move |strategy| {
            let _ = seen.set(Arc::clone(&strategy));
            Ok(around.around(strategy))
        });
        if let Some(base) = &base {
            builder = builder.base_session(&base.session);
        }
        if self.shares() {
            builder = builder.shared(HostCache::new());
        }
        let session = builder.build().await?;
        let source = source.get().cloned();
        let source = source.ok_or_else(|| Error::configuration("the session has no source"))?;
        let beneath = base.map_or_else(Vec::new, |base| {
            [(base.name, base.session)]
                .into_iter()
                .chain(base.beneath)
                .collect()
        });
        Ok(Opened {
            name: name.to_owned(),
            session,
            beneath,
            source,
            guard,
        })
    }

    fn shares(&self) -> bool {
        let names = |variable| std::env::var_os(variable).is_some_and(|value| !value.is_empty());
        match self.how.share {
            Share::Always => true,
            Share::IfPossible => names("BRS_CACHE_DIR") || names("XDG_RUNTIME_DIR"),
            Share::Never => false,
        }
    }
}

/// The last part of a role's ARN.
fn role_name(role_arn: &str) -> &str {
    role_arn.rsplit('/').next().unwrap_or(role_arn)
}

/// A name for a session that has none.
fn slug(parts: &[Option<&str>]) -> String {
    let parts: Vec<_> = parts.iter().copied().flatten().collect();
    let fits = |c: char| {
        let c = c.to_ascii_lowercase();
        if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' {
            c
        } else {
            '-'
        }
    };
    let name: String = parts.join("-").chars().map(fits).collect();
    let name: String = name
        .trim_start_matches(['-', '_'])
        .chars()
        .take(64)
        .collect();
    if is_name(&name) {
        name
    } else {
        "session".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_name_is_one_of_a_session() {
        for (parts, name) in [
            (&[Some("Dev.Admin"), None][..], "dev-admin"),
            (&[Some("dev"), Some("App")], "dev-app"),
            (&[Some("--x")], "x"),
            (&[Some("größe")], "gr--e"),
            (&[Some("")], "session"),
        ] {
            assert_eq!(slug(parts), name);
        }
        assert_eq!(slug(&[Some(&"a".repeat(80))]).len(), 64);
    }
}
