//! The device's identity for connections beside the credentials endpoint: MQTT, and what else a
//! device speaks.
//!
//! Owns the public view of what `files.rs` keeps: a TLS configuration of what is in use at this
//! moment, and the explanation of a handshake that failed with it. What is done over the connection
//! is its user's affair.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use brs_core::shown::find;
use brs_core::{Blocking, Clock, Error};
use rustls::ClientConfig;

use crate::device::Device;
use crate::device::files::{Files, Set};
use crate::device::handshake::{Peer, Refused, explain};
use crate::device::params::DeviceParams;
use crate::device::pem::Pem;
use crate::device::server_time::ServerTime;
use crate::device::tls::{Trust, anonymous, config};

/// A device's certificate and key, and whom it trusts, with files that change taken over at each
/// use.
///
/// Clones share it; `Iot::device_identity` gives that of a session. Its async functions are cancel
/// safe: dropping a future drops what was read.
#[derive(Clone)]
pub struct DeviceIdentity(Arc<Files>);

impl DeviceIdentity {
    /// Reads certificate, key and trust store (`None`: the system's authorities), and checks them.
    ///
    /// # Errors
    ///
    /// A configuration error for what cannot be read, does not belong together, or is not valid
    /// now.
    pub async fn load(
        device: DeviceParams,
        trust_store: Option<Pem>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        device.validate()?;
        Self::reading(device, trust_store, false, clock).await
    }

    async fn reading(
        device: DeviceParams,
        trust: Option<Pem>,
        accept_any: bool,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let server_time = Arc::new(ServerTime::new(Arc::clone(clock)));
        // On the heap: it is much, and part of its callers' futures.
        let files = Box::pin(Files::load(device, trust, accept_any, clock, server_time)).await?;
        Ok(Self::sharing(Arc::new(files)))
    }

    pub(crate) fn sharing(files: Arc<Files>) -> Self {
        Self(files)
    }

    /// The same device, trusting the authorities of another store.
    ///
    /// # Errors
    ///
    /// A configuration error for a store, or a device's files, that cannot be read.
    pub async fn with_trust_store(
        &self,
        trust_store: Pem,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let device = self.0.params().clone();
        Self::reading(device, Some(trust_store), false, clock).await
    }

    /// Another device that trusts the same authorities.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub async fn with_device(
        &self,
        device: DeviceParams,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        device.validate()?;
        let accept_any = matches!(self.0.current().trust, Trust::Anybody);
        Self::reading(device, self.0.trust_store().cloned(), accept_any, clock).await
    }

    /// The TLS configuration of what the files hold now. A connection that is opened later asks
    /// again.
    ///
    /// # Errors
    ///
    /// A configuration error when TLS cannot be set up. Changed files that cannot be used are none:
    /// what was read before stays in use, with a warning.
    pub async fn tls(&self, clock: &Arc<dyn Clock>) -> Result<DeviceTls, Error> {
        let set = Box::pin(self.0.look(clock, None)).await;
        self.configured(&set, clock)
    }

    /// The same of what was read last, without another look at the files: for the first connection
    /// after [`load`](Self::load).
    ///
    /// # Errors
    ///
    /// A configuration error when TLS cannot be set up.
    pub fn tls_as_read(&self, clock: &Arc<dyn Clock>) -> Result<DeviceTls, Error> {
        self.configured(&self.0.current(), clock)
    }

    fn configured(&self, set: &Set, clock: &Arc<dyn Clock>) -> Result<DeviceTls, Error> {
        let device = self.0.device();
        let config = config(&device, &set.trust, clock)?;
        let (clock, server_time) = (Arc::clone(clock), self.0.server_time());
        Ok(DeviceTls {
            config,
            device: Some(device),
            trust: set.trust.clone(),
            clock,
            server_time,
        })
    }

    /// Whom the device trusts, for connections at which it shows no certificate.
    pub fn trust(&self) -> ServerTrust {
        ServerTrust(self.0.current().trust)
    }

    /// The device that is in use.
    pub fn device(&self) -> Arc<Device> {
        self.0.device()
    }

    /// Opens a token anew at the next use, and reads the system's authorities anew: what a failed
    /// handshake is worth. Files are looked at in any case, and what is in memory is what it was.
    pub fn distrust(&self) {
        self.0.reopen();
        self.0.reload_trust();
    }
}

impl fmt::Debug for DeviceIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeviceIdentity")
            .field(&self.device())
            .finish()
    }
}

/// Whose certificates are trusted where no certificate is shown.
#[derive(Clone)]
pub struct ServerTrust(Trust);

impl ServerTrust {
    /// Reads a trust store, or the system's authorities.
    ///
    /// # Errors
    ///
    /// A configuration error for a store that cannot be read or holds no certificate.
    pub async fn load(trust_store: Option<Pem>) -> Result<Self, Error> {
        let read = move || match trust_store {
            Some(pem) => Trust::given(&Trust::read(&pem)?, &pem),
            None => Trust::system(),
        };
        Blocking::new().run(read).await?.map(Self)
    }

    /// The TLS configuration.
    ///
    /// # Errors
    ///
    /// A configuration error when TLS cannot be set up.
    pub fn tls(&self, clock: &Arc<dyn Clock>) -> Result<DeviceTls, Error> {
        let config = anonymous(&self.0, clock)?;
        Ok(DeviceTls {
            config,
            device: None,
            trust: self.0.clone(),
            clock: Arc::clone(clock),
            server_time: None,
        })
    }
}

impl fmt::Debug for ServerTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTrust").finish_non_exhaustive()
    }
}

/// TLS for one connection, and what its failures mean.
pub struct DeviceTls {
    config: ClientConfig,
    device: Option<Arc<Device>>,
    trust: Trust,
    clock: Arc<dyn Clock>,
    /// The credentials endpoint's clock, where that has answered.
    server_time: Option<SystemTime>,
}

impl DeviceTls {
    /// The configuration for rustls.
    pub fn config(&self) -> ClientConfig {
        self.config.clone()
    }

    /// Whether the handshake may block its thread, because a token signs.
    pub fn may_block(&self) -> bool {
        self.device
            .as_ref()
            .is_some_and(|device| device.may_block())
    }

    /// What a failed handshake means, or the token's own error where that was the reason; `None`
    /// where TLS was not what failed.
    pub fn explain(
        &self,
        failure: &(dyn StdError + 'static),
        endpoint: &str,
    ) -> Option<TlsFailure> {
        let found = find::<rustls::Error>(failure)?;
        let peer = Peer {
            endpoint,
            trust: &self.trust,
            now: self.clock.now(),
            server_time: self.server_time,
        };
        let failed = explain(found, failure, &peer, self.device.as_deref());
        let reload = matches!(failed.refused, Refused::Device | Refused::Authority);
        Some(TlsFailure {
            error: failed.error,
            reload,
        })
    }
}

/// Why a handshake failed.
#[derive(Debug)]
#[non_exhaustive]
pub struct TlsFailure {
    /// In words, with what to look at.
    pub error: Error,
    /// Whether opening the device's token, or reading the system's authorities, anew may help
    /// ([`DeviceIdentity::distrust`]).
    pub reload: bool,
}

impl fmt::Debug for DeviceTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceTls")
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}
