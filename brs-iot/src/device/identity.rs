//! The device's identity for connections other than the credentials endpoint's, such as MQTT.
//!
//! Owns the public view of what `files.rs` keeps: a TLS configuration of what is in use now, and
//! the explanation of a handshake that failed with it.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use brs_core::kit::find;
use brs_core::{Blocking, Clock, Error};
use rustls::ClientConfig;

use crate::device::Device;
use crate::device::files::{Files, Set};
use crate::device::handshake::{Peer, Refused, explain};
use crate::device::params::DeviceParams;
use crate::device::pem::Pem;
use crate::device::server_time::ServerTime;
use crate::device::tls::{Trust, anonymous, config};

/// A device's certificate, key and trusted authorities. Each use adopts files that changed.
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
    /// A configuration error for files that cannot be read, for a certificate and a key that do not
    /// belong together, and for a certificate that is not valid now.
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

    /// The TLS configuration for what the files contain now. Ask again for each new connection.
    ///
    /// # Errors
    ///
    /// A configuration error if TLS cannot be set up. Unusable changed files are not an error: what
    /// was read before stays in use, with a warning.
    pub async fn tls(&self, clock: &Arc<dyn Clock>) -> Result<DeviceTls, Error> {
        let set = Box::pin(self.0.look(clock, None)).await;
        self.configured(&set, clock)
    }

    /// The same for what was read last, without reading the files again: for the first connection
    /// after [`load`](Self::load).
    ///
    /// # Errors
    ///
    /// A configuration error if TLS cannot be set up.
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

    /// The authorities that the device trusts, for connections in which it shows no certificate.
    pub fn trust(&self) -> ServerTrust {
        ServerTrust(self.0.current().trust)
    }

    /// The device that is in use.
    pub fn device(&self) -> Arc<Device> {
        self.0.device()
    }

    /// Reopens a token and reloads the system's authorities at the next use: call it after a failed
    /// handshake for which [`TlsFailure::reload`] is set. Files are read at each use anyway, and
    /// values in memory do not change.
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

/// The trusted authorities, for connections in which the device shows no certificate.
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
    /// A configuration error if TLS cannot be set up.
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
    /// The credentials endpoint's clock, if it has answered.
    server_time: Option<SystemTime>,
}

impl DeviceTls {
    /// The configuration for rustls.
    pub fn config(&self) -> ClientConfig {
        self.config.clone()
    }

    /// Whether the handshake blocks its thread, because a token signs.
    pub fn may_block(&self) -> bool {
        self.device
            .as_ref()
            .is_some_and(|device| device.may_block())
    }

    /// The meaning of a failed handshake, or the token's own error if that was the reason; `None`
    /// if the failure was not TLS's.
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
    /// What failed, and what to check.
    pub error: Error,
    /// Whether reopening the device's token, or reloading the system's authorities, may help
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
