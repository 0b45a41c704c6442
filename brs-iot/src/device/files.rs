//! Rotation: the next refresh adopts files that changed, if their content is complete.
//!
//! Owns the current device and trust, which are read and adopted separately, so an error in one
//! does not block the other. Files are read again at each refresh and compared by their content:
//! they are small, refreshes are rare, and time stamps miss changes. A pair of certificate and key
//! is adopted only if it is complete, matches and is valid; otherwise the one in use stays, with a
//! warning and a detail in errors. If the endpoint refuses a new device, the previous one is still
//! there. The content itself is not kept, only its SHA-256; [`keys`] opens each key once. A look
//! has a time limit: a file system that hangs costs a refresh a little, but not its call.
//!
//! 1. Changes are made one after another, each to a copy that then takes the place of what was
//!    there: readers wait for nobody, and see all of a change or nothing. While one is made, no file
//!    is read, no key is opened and nothing is awaited. Whose turn it is, is each process's own: a
//!    forked child goes on from what was there last, and waits for no thread of its parent.
//! 2. A set's number is given out once, in the change of its device or trust: sets with the same
//!    number have the same device and trust.
//! 3. A set's acceptance or refusal counts only while its number is the one in use: an answer that
//!    comes late says nothing about what was adopted meanwhile.
//! 4. A digest is kept together with what was made of that content. Content that could not be
//!    adopted leaves none: the next look tries again.

use std::error::Error as _;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use brs_core::kit::{PerProcess, causes};
use brs_core::{Blocking, Clock, Error};
use zeroize::Zeroizing;

use crate::device::Device;
use crate::device::params::{Contents, DeviceParams};
use crate::device::pem::Pem;
use crate::device::server_time::ServerTime;
use crate::device::tls::Trust;

mod keys;
mod read;

use keys::Keys;
use read::{bounded, digest, joined, read_device, read_trust, system};

/// How long files may take when the session is built: nothing can be had without them.
const FIRST_LOOK: Duration = Duration::from_secs(30);
/// How long a later look may take at most.
const LOOK: Duration = Duration::from_secs(5);

/// What files are read, and what was made of them last.
pub struct Files {
    device: DeviceParams,
    trust_store: Option<Pem>,
    /// Reading may hang on a network file system, so it has its own threads.
    device_place: Blocking,
    trust_place: Blocking,
    keys: Keys,
    server_time: Arc<ServerTime>,
    current: ArcSwap<Current>,
    /// Whose turn it is to change it, by 1.
    changes: PerProcess<Mutex<()>>,
}

#[derive(Clone)]
struct Current {
    set: Set,
    device_digest: Digest,
    key_digest: Digest,
    trust_digest: Digest,
    /// The token is to be reopened, whatever the files contain.
    stale: bool,
    /// The system's authorities are to be reloaded.
    trust_stale: bool,
    /// Whether the endpoint has refused the device that is in use.
    refused: bool,
    /// The previous device, until the endpoint has accepted the one in use.
    previous: Option<Arc<Device>>,
    /// The previous device, while it is the one that the endpoint accepts.
    acting: Option<Arc<Device>>,
    /// The last number that was given out.
    generations: u64,
}

/// A device and whom it trusts.
#[derive(Clone, Debug)]
pub struct Set {
    /// Certificate and key.
    pub device: Arc<Device>,
    /// Whose certificates the device trusts.
    pub trust: Trust,
    /// Another number, another TLS configuration.
    pub generation: u64,
    /// Why newer files were not adopted.
    pub problem: Option<Error>,
}

type Digest = [u8; 32];
type Bytes = Zeroizing<Vec<u8>>;

impl Files {
    /// Reads everything for the first time.
    pub async fn load(
        device: DeviceParams,
        trust_store: Option<Pem>,
        accept_any: bool,
        clock: &Arc<dyn Clock>,
        server_time: Arc<ServerTime>,
    ) -> Result<Self, Error> {
        let (device_place, trust_place) = (Blocking::new(), Blocking::new());
        let mut contents = read_device(&device_place, &device, clock, FIRST_LOOK).await?;
        let bytes = bounded(
            clock,
            FIRST_LOOK,
            "the trust store",
            read_trust(&trust_place, trust_store.as_ref()),
        );
        let bytes = bytes.await??;
        let trust_digest = digest([bytes.as_ref()]);
        let trust = match (&trust_store, bytes) {
            (Some(pem), Some(bytes)) => Trust::given(&bytes, pem)?,
            _ if accept_any => Trust::Anybody,
            _ => {
                bounded(
                    clock,
                    FIRST_LOOK,
                    "the system's CA certificates",
                    system(&trust_place),
                )
                .await??
            }
        };
        // Without a limit: a function for a pass phrase or a PIN may ask a person.
        let now = clock.now();
        let opened = match device.open(&contents, &device_place, now, None).await {
            Err(error) if device.has_files() && error.is_unrecoverable() => {
                let again = read_device(&device_place, &device, clock, FIRST_LOOK).await?;
                contents = contents.replaced_by(again, error)?;
                device.open(&contents, &device_place, now, None).await?
            }
            opened => opened?,
        };
        opened.check_validity(clock.now())?;
        let current = Current {
            set: Set {
                device: Arc::new(opened),
                trust,
                generation: 0,
                problem: None,
            },
            device_digest: contents.digest(),
            key_digest: contents.key_digest(),
            trust_digest,
            stale: false,
            trust_stale: false,
            refused: false,
            previous: None,
            acting: None,
            generations: 0,
        };
        Ok(Self {
            device,
            trust_store,
            device_place,
            trust_place,
            keys: Keys::new(),
            server_time,
            current: ArcSwap::from_pointee(current),
            changes: PerProcess::new(),
        })
    }

    /// What is read for the device.
    pub(crate) fn params(&self) -> &DeviceParams {
        &self.device
    }

    pub(crate) fn trust_store(&self) -> Option<&Pem> {
        self.trust_store.as_ref()
    }

    /// What certificates are judged by: the endpoint's clock, and until that has answered this
    /// machine's.
    pub fn now(&self, clock: &Arc<dyn Clock>) -> SystemTime {
        self.server_time.now().unwrap_or_else(|| clock.now())
    }

    /// What the endpoint's clock shows.
    pub fn server_time(&self) -> Option<SystemTime> {
        self.server_time.now()
    }

    /// What is in use.
    pub fn current(&self) -> Set {
        self.current.load().set.clone()
    }

    /// A token is reopened at the next look. Files and values in memory are what they were.
    pub fn reopen(&self) {
        let stale = self.device.has_external_key();
        self.change(|current| current.stale = stale);
    }

    /// The next look reloads the system's authorities, if those are trusted.
    pub fn reload_trust(&self) {
        self.change(|current| {
            current.trust_stale = matches!(current.set.trust, Trust::System(_));
        });
    }

    /// The endpoint accepted the device of that set: the previous one is no longer needed.
    pub fn accepted(&self, set: &Set) {
        self.change(|current| {
            // By 3.
            if current.set.generation == set.generation {
                current.refused = false;
                current.previous = None;
                current.acting = None;
            }
        });
    }

    /// The endpoint refused the device of that set. Returns the previous one, if it may still be
    /// accepted.
    pub fn refused(&self, set: &Set, clock: &Arc<dyn Clock>) -> Option<Set> {
        let now = self.now(clock);
        self.change(|current| {
            // By 3.
            if current.set.generation != set.generation {
                return None;
            }
            current.refused = true;
            let device = current
                .previous
                .clone()
                .filter(|device| device.check_validity(now).is_ok())?;
            let generation = current.next_generation();
            Some(Set {
                device,
                generation,
                ..set.clone()
            })
        })
    }

    /// The endpoint refused the previous device, too.
    pub fn forget_previous(&self) {
        self.change(|current| {
            current.previous = None;
            current.acting = None;
        });
    }

    /// The endpoint accepted the previous device, that of this set.
    pub fn went_back_to(&self, set: &Set) {
        self.change(|current| current.acting = Some(Arc::clone(&set.device)));
    }

    /// The device that the endpoint accepts, as far as is known: the newest, or the previous one.
    pub fn device(&self) -> Arc<Device> {
        let current = self.current.load();
        Arc::clone(current.acting.as_ref().unwrap_or(&current.set.device))
    }

    /// Adopts what changed since the last look, within the time that is `left` of something larger:
    /// a token has all of it, files have half of it and at most 5 s.
    pub async fn look(&self, clock: &Arc<dyn Clock>, left: Option<Duration>) -> Set {
        let limit = left.map_or(LOOK, |left| LOOK.min(left / 2));
        let (stale, trust_stale) = {
            let current = self.current.load();
            let stale = current.stale || self.may_have_more(&current.set.device, clock);
            (stale, current.trust_stale)
        };
        let device = async {
            match (
                stale || self.device.has_files(),
                self.device.has_external_key(),
            ) {
                (false, _) => Ok(()),
                (true, true) => self.take_over_device(clock, limit, left).await,
                (true, false) => {
                    let taking = self.take_over_device(clock, limit, left);
                    bounded(clock, limit, "certificate and private key", taking)
                        .await
                        .flatten()
                }
            }
        };
        let trust = async {
            if trust_stale {
                bounded(
                    clock,
                    limit,
                    "the system's CA certificates",
                    self.take_over_system(),
                )
                .await
                .flatten()
            } else if self.trust_store.as_ref().is_some_and(Pem::is_file) {
                bounded(clock, limit, "the trust store", self.take_over_trust())
                    .await
                    .flatten()
            } else {
                Ok(())
            }
        };
        let (device, trust) = tokio::join!(device, trust);
        let problems: Vec<Error> = [device, trust]
            .into_iter()
            .filter_map(Result::err)
            .collect();
        for error in &problems {
            let cause = error.source().map(|_| causes(error, &[]));
            tracing::warn!(%error, cause, "changed files are not used yet: what was read before \
                                           stays in use");
        }
        let problem = joined(problems);
        self.change(|current| {
            current.set.problem = problem;
            current.set.clone()
        })
    }

    /// Whether an external key, opened again, may be able to do more, or have a renewed
    /// certificate.
    fn may_have_more(&self, device: &Device, clock: &Arc<dyn Clock>) -> bool {
        let is_beside_the_key = self.device.has_external_key() && self.device.certificate.is_none();
        device.is_provisional() || is_beside_the_key && device.is_near_its_end(self.now(clock))
    }

    async fn take_over_trust(&self) -> Result<(), Error> {
        let bytes = read_trust(&self.trust_place, self.trust_store.as_ref()).await?;
        let digest = digest([bytes.as_ref()]);
        let (Some(pem), Some(bytes)) = (&self.trust_store, bytes) else {
            return Ok(());
        };
        if self.current.load().trust_digest == digest {
            return Ok(());
        }
        let trust = Trust::given(&bytes, pem)?;
        // One change for all of it, by 2 and 4.
        self.change(|current| {
            current.trust_digest = digest;
            current.use_trust(trust);
        });
        Ok(())
    }

    async fn take_over_system(&self) -> Result<(), Error> {
        let trust = system(&self.trust_place).await?;
        self.change(|current| {
            current.trust_stale = false;
            if !trust.is_same(&current.set.trust) {
                current.use_trust(trust);
            }
        });
        Ok(())
    }

    async fn take_over_device(
        &self,
        clock: &Arc<dyn Clock>,
        limit: Duration,
        left: Option<Duration>,
    ) -> Result<(), Error> {
        let mut contents = read_device(&self.device_place, &self.device, clock, limit).await?;
        let is_same = {
            let current = self.current.load();
            !current.stale && current.device_digest == contents.digest()
        };
        let in_use = self.current().device;
        if is_same && !self.may_have_more(&in_use, clock) {
            return Ok(());
        }
        let device = if self.device.has_external_key() {
            self.device
                .open(&contents, &self.device_place, self.now(clock), left)
                .await?
        } else {
            match self.open(&contents).await {
                Err(error) if error.is_unrecoverable() => {
                    let again = read_device(&self.device_place, &self.device, clock, limit).await?;
                    contents = contents.replaced_by(again, error)?;
                    self.open(&contents).await?
                }
                opened => opened?,
            }
        };
        let is_other = device.certificate_sha256() != in_use.certificate_sha256();
        if is_same && !is_other && device.is_provisional() == in_use.is_provisional() {
            // It has nothing more by now.
            return Ok(());
        }
        // The one in use may have expired meanwhile: the server decides.
        if is_other {
            self.check_new(&device, clock)?;
        }
        tracing::info!(
            subject = device.certificate_subject(),
            sha256 = device.certificate_sha256(),
            "certificate and key were reloaded"
        );
        self.keys.forget();
        // One change for all of it, by 2 and 4.
        self.change(|current| {
            let before = std::mem::replace(&mut current.set.device, Arc::new(device));
            if is_other {
                let was_refused = std::mem::take(&mut current.refused);
                // Two changes before a call: the device that the endpoint last accepted is still the
                // one to go back to.
                if current.previous.is_none() {
                    current.previous = (!was_refused).then_some(before);
                }
            }
            current.set.generation = current.next_generation();
            current.device_digest = contents.digest();
            current.key_digest = contents.key_digest();
            current.stale = false;
        });
        Ok(())
    }

    /// A new pair is judged by the endpoint's clock. What carries that on may have stood still, in
    /// a machine that was paused, but is never ahead: "has expired" is certain, "not valid yet"
    /// counts only if this machine's clock agrees that the certificate is not valid.
    fn check_new(&self, device: &Device, clock: &Arc<dyn Clock>) -> Result<(), Error> {
        let local = device.check_validity(clock.now());
        match self.server_time.now() {
            Some(now) if now < device.not_before() && local.is_ok() => Ok(()),
            Some(now) => device.check_validity_by(now, "the endpoint's clock"),
            None => local,
        }
    }

    /// The device of those contents, with the key in use where its file did not change.
    async fn open(&self, contents: &Contents) -> Result<Device, Error> {
        let chain = self.device.chain(contents)?;
        let in_use = {
            let current = self.current.load();
            (current.key_digest == contents.key_digest()).then(|| current.set.device.certified())
        };
        let key = match (in_use, &contents.private_key) {
            (Some(certified), _) => Arc::clone(&certified.key),
            (None, Some(bytes)) => {
                let digest = digest([Some(bytes), contents.passphrase.as_ref()]);
                self.keys.open(&self.device, bytes.clone(), digest).await?
            }
            (None, None) => {
                return self
                    .device
                    .validate()
                    .and_then(|()| Err(crate::device::params::no_certificate()));
            }
        };
        self.device.with_key(chain, key)
    }

    /// Makes a change, by 1.
    fn change<T>(&self, change: impl FnOnce(&mut Current) -> T) -> T {
        let turn = self.changes.get();
        let turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut current = Current::clone(&self.current.load());
        let result = change(&mut current);
        let before = self.current.swap(Arc::new(current));
        drop(turn);
        // Perhaps the last of a device, which may have a token to leave.
        drop(before);
        result
    }
}

impl Current {
    fn next_generation(&mut self) -> u64 {
        self.generations += 1;
        self.generations
    }

    fn use_trust(&mut self, trust: Trust) {
        self.set.trust = trust;
        self.set.generation = self.next_generation();
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files")
            .field("device", &self.current().device)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
