//! Private keys out of files, each content opened once.
//!
//! Owns the thread that decrypts and asks for pass phrases, and what came of it last: a key whose
//! opening outlives the look that began it is there for the next one, and a person is not asked
//! twice about the same content. A function for a pass phrase that failed is called again; an error
//! about a key stays until the key changes. No lock is needed, so a forked child waits for none.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use brs_core::{Blocking, Error};
use rustls::sign::SigningKey;

use super::{Bytes, Digest};
use crate::device::params::DeviceParams;

type Opened = Result<Arc<dyn SigningKey>, Error>;

/// What was opened last, of which content.
pub(super) struct Keys {
    place: Blocking,
    last: Arc<ArcSwapOption<(Digest, Opened)>>,
}

impl Keys {
    pub(super) fn new() -> Self {
        Self {
            place: Blocking::new(),
            last: Arc::default(),
        }
    }

    /// The key in `bytes`. `digest` is that of everything the outcome depends on.
    pub(super) async fn open(&self, device: &DeviceParams, bytes: Bytes, digest: Digest) -> Opened {
        if let Some(opened) = self.remembered(digest) {
            return opened;
        }
        let (device, last) = (device.clone(), Arc::clone(&self.last));
        let opening = move || {
            let opened = device.open_key(&bytes);
            if opened.as_ref().err().is_none_or(Error::is_unrecoverable) {
                last.store(Some(Arc::new((digest, opened.clone()))));
            }
            opened
        };
        match self.place.run(opening).await {
            Ok(opened) => opened,
            // One that was begun for an earlier look may have ended while this one waited for it.
            Err(busy) => self.remembered(digest).unwrap_or(Err(busy)),
        }
    }

    /// Forgets what is in use by now.
    pub(super) fn forget(&self) {
        self.last.store(None);
    }

    #[cfg(test)]
    pub(super) fn is_busy(&self) -> bool {
        self.place.is_busy()
    }

    fn remembered(&self, digest: Digest) -> Option<Opened> {
        let last = self.last.load_full();
        last.filter(|last| last.0 == digest)
            .map(|last| last.1.clone())
    }
}
