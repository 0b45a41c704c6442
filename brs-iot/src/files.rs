//! Rotation: files that changed are taken over at the next refresh, when what is in them is whole.
//!
//! Owns the current device and trust. Files are read anew at each refresh and compared by their content: they are
//! small, refreshes are rare, and time stamps miss changes. A pair of certificate and key is taken only when it is
//! whole, matches and is valid; otherwise the one in use stays, with a warning and a detail in errors. The content
//! itself is not kept, only its SHA-256.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use brs_core::{Blocking, Clock, Error};
use zeroize::Zeroizing;

use crate::device::{Contents, Device, DeviceParams};
use crate::pem::Pem;
use crate::tls::Trust;

/// What files are read, and what was made of them last.
pub(crate) struct Files {
    device: DeviceParams,
    trust_store: Option<Pem>,
    /// Reading may hang, on a network's file system: on threads of its own.
    place: Blocking,
    current: Mutex<Current>,
}

struct Current {
    set: Set,
    device_digest: Digest,
    trust_digest: Digest,
    /// The device is to be opened anew, whatever its files say.
    stale: bool,
}

/// A device and whom it trusts.
#[derive(Clone)]
pub(crate) struct Set {
    pub(crate) device: Arc<Device>,
    pub(crate) trust: Trust,
    /// Another number, another TLS configuration.
    pub(crate) generation: u64,
    /// Why newer files have not been taken over.
    pub(crate) problem: Option<Error>,
}

type Digest = [u8; 32];
type Bytes = Zeroizing<Vec<u8>>;

impl Files {
    /// Reads everything for the first time.
    pub(crate) async fn load(
        device: DeviceParams,
        trust_store: Option<Pem>,
        accept_any: bool,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let place = Blocking::new();
        let (contents, trust) = read(&place, &device, trust_store.clone()).await?;
        let trust_digest = digest([trust.as_ref()]);
        let trust = match (&trust_store, trust) {
            (Some(pem), Some(bytes)) => Trust::given(&bytes, pem)?,
            _ if accept_any => Trust::Anybody,
            _ => place.run(Trust::system).await??,
        };
        let device_digest = contents.digest();
        let opened = device.open(contents, &place).await?;
        opened.check_validity(clock.now())?;
        let set = Set { device: Arc::new(opened), trust, generation: 0, problem: None };
        let current = Mutex::new(Current { set, device_digest, trust_digest, stale: false });
        Ok(Self { device, trust_store, place, current })
    }

    /// What is read for the device.
    pub(crate) fn params(&self) -> &DeviceParams {
        &self.device
    }

    /// What is in use.
    pub(crate) fn current(&self) -> Set {
        self.lock().set.clone()
    }

    /// The device is opened anew at the next look.
    pub(crate) fn distrust_device(&self) {
        self.lock().stale = true;
    }

    /// Takes over what changed since the last look.
    pub(crate) async fn look(&self, clock: &Arc<dyn Clock>) -> Set {
        let stale = self.lock().stale;
        if !stale && !self.device.has_files() && !self.trust_store.as_ref().is_some_and(Pem::is_file) {
            return self.current();
        }
        let result = self.take_over(clock).await;
        let mut current = self.lock();
        if let Err(error) = &result {
            tracing::warn!(%error, "changed files are not used yet, what was read before is");
        }
        current.set.problem = result.err();
        current.set.clone()
    }

    async fn take_over(&self, clock: &Arc<dyn Clock>) -> Result<(), Error> {
        let (contents, trust) = read(&self.place, &self.device, self.trust_store.clone()).await?;
        let (device_digest, trust_digest) = (contents.digest(), digest([trust.as_ref()]));
        let (new_device, new_trust) = {
            let current = self.lock();
            (current.stale || current.device_digest != device_digest, current.trust_digest != trust_digest)
        };
        if let (true, Some(pem), Some(bytes)) = (new_trust, &self.trust_store, trust) {
            let trust = Trust::given(&bytes, pem)?;
            let mut current = self.lock();
            current.set.trust = trust;
            current.set.generation += 1;
            current.trust_digest = trust_digest;
        }
        if new_device {
            let device = self.device.open(contents, &self.place).await?;
            device.check_validity(clock.now())?;
            tracing::info!(
                subject = device.certificate_subject(),
                sha256 = device.certificate_sha256(),
                "certificate and key were read anew"
            );
            let mut current = self.lock();
            current.set.device = Arc::new(device);
            current.set.generation += 1;
            current.device_digest = device_digest;
            current.stale = false;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(
    place: &Blocking,
    device: &DeviceParams,
    trust_store: Option<Pem>,
) -> Result<(Contents, Option<Bytes>), Error> {
    let device = device.clone();
    place
        .run(move || {
            let trust = trust_store.as_ref().map(Trust::read).transpose()?;
            Ok((device.read()?, trust))
        })
        .await?
}

impl Contents {
    fn digest(&self) -> Digest {
        digest([self.certificate.as_ref(), self.private_key.as_ref()])
    }
}

fn digest<const N: usize>(parts: [Option<&Bytes>; N]) -> Digest {
    let mut context = Context::new(&SHA256);
    for part in parts {
        let part = part.map(|bytes| bytes.as_slice()).unwrap_or_default();
        // With its length before it, no two lists of parts are the same text.
        context.update(&part.len().to_be_bytes());
        context.update(part);
    }
    let mut digest = Digest::default();
    digest.copy_from_slice(context.finish().as_ref());
    digest
}
