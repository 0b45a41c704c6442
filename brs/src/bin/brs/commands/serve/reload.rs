//! Reading the configuration again: sessions whose data did not change keep their credentials.

use std::collections::BTreeMap;

use brs::RefreshableSession;

use crate::config::serve::Serve;
use crate::config::{Config, SessionData};
use crate::exit::Failure;
use crate::open::{Context, Opened};

/// What is being served.
pub(super) struct Reload {
    settings: Serve,
    sessions: Vec<Opened>,
    data: BTreeMap<String, SessionData>,
}

impl Reload {
    pub(super) fn new(
        settings: Serve,
        sessions: Vec<Opened>,
        data: BTreeMap<String, SessionData>,
    ) -> Self {
        Self {
            settings,
            sessions,
            data,
        }
    }

    /// The sessions for the server.
    pub(super) fn named(&self) -> Vec<(String, RefreshableSession)> {
        let named = |opened: &Opened| (opened.name.clone(), opened.session.clone());
        self.sessions.iter().map(named).collect()
    }

    /// What the configuration says now.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) async fn read_again(&self, cx: &Context) -> Result<Self, Failure> {
        let config = cx.read_config()?;
        let settings = super::settings(&config)?.clone();
        let mut opener = super::opener(&config, cx);
        for opened in &self.sessions {
            if is_unchanged(&opened.name, &self.data, &config) {
                opener.keep(opened.clone());
            }
        }
        let sessions = super::open(&mut opener, &config).await?;
        if settings != self.settings {
            tracing::warn!(
                "`[serve]` has changed, which counts from the next start: restart `brs serve`"
            );
        }
        Ok(Self::new(settings, sessions, config.sessions().clone()))
    }
}

/// Whether a session and all beneath it are as they were.
fn is_unchanged(name: &str, before: &BTreeMap<String, SessionData>, config: &Config) -> bool {
    let now = config.sessions();
    let mut next = Some(name);
    while let Some(name) = next {
        match (before.get(name), now.get(name)) {
            (Some(before), Some(now)) if before == now => next = now.base.as_deref(),
            _ => return false,
        }
    }
    true
}
