//! Systems whose files have no owner and mode: nothing is shared.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use brs_core::{Error, RefreshContext, TemporaryCredentials};

use crate::key::Key;
use crate::shared::{Sharing, Source};

/// A cache that is not there.
#[derive(Debug, Default)]
pub(super) struct Host {
    was_warned: AtomicBool,
}

impl Host {
    pub(super) fn new(_: Option<PathBuf>) -> Self {
        Self::default()
    }
}

#[async_trait]
impl Sharing for Host {
    async fn refresh(
        &self,
        source: &Source,
        _: &Key,
        cx: &RefreshContext,
    ) -> Result<TemporaryCredentials, Error> {
        if !self.was_warned.swap(true, Ordering::Relaxed) {
            let text = "credentials are not shared: on this system it cannot be told who reads the \
                        host cache's files";
            cx.warn("host_cache_unsupported", text, []);
        }
        source.refresh(cx).await
    }
}
