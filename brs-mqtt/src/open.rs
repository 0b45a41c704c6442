//! Opening a connection, with a session or without one.
//!
//! Owns the precedence: the device, the trust store and the region come from the options, else from
//! the session.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use brs_core::{Blocking, Clock, Error, RefreshableSession, SystemClock};
use brs_iot::{DeviceIdentity, Iot, ServerTrust};
use tokio::sync::{mpsc, oneshot, watch};

use crate::api::connection::{Connection, Shared};
use crate::api::events::{EventSender, State};
use crate::api::options::{Options, Transport};
use crate::api::outbox::Outbox;
use crate::api::process::Process;
use crate::driver::Driver;
use crate::error;
use crate::transport::websocket::Signer;
use crate::transport::{Connector, Prepared, Proxy, Security};

/// Commands that may wait for the driver.
const COMMANDS: usize = 64;

/// MQTT from a session.
///
/// ```no_run
/// # mod brs { pub use brs_core::*; pub use brs_mqtt as mqtt; }
/// use brs::mqtt::{MqttExt as _, Options, Publish};
///
/// # async fn example(session: brs::RefreshableSession) -> Result<(), brs::Error> {
/// let mqtt = session.mqtt(Options::new("a1b2c3-ats.iot.eu-west-1.amazonaws.com", "device-7")).await?;
/// mqtt.publish(Publish::new("devices/7/state", "up")).await?;
/// mqtt.disconnect(None).await?;
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait MqttExt: sealed::Sealed {
    /// Opens a connection. For mutual TLS, a session of the method `iot` provides its certificate, key
    /// and trust store, unless the options have others. A WebSocket is signed with the credentials of
    /// any session.
    ///
    /// Cancel safe: if the future is dropped, the attempt is cancelled.
    ///
    /// # Errors
    ///
    /// A validation or configuration error for the options, or the error of the first attempt, unless
    /// [`Options::defer_connect`] is set.
    async fn mqtt(&self, options: Options) -> Result<Connection, Error>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for brs_core::RefreshableSession {}
}

#[async_trait]
impl MqttExt for RefreshableSession {
    async fn mqtt(&self, options: Options) -> Result<Connection, Error> {
        open(options, Some(self)).await
    }
}

/// Opens a connection without a session: with a device's certificate, or a user's name and password.
///
/// Cancel safe: if the future is dropped, the attempt is cancelled.
///
/// # Errors
///
/// Those of [`MqttExt::mqtt`], and a configuration error for a WebSocket, which needs a session.
pub async fn connect(options: Options) -> Result<Connection, Error> {
    open(options, None).await
}

async fn open(options: Options, session: Option<&RefreshableSession>) -> Result<Connection, Error> {
    options.validate()?;
    let given = options
        .clock
        .clone()
        .or_else(|| session.map(|session| Arc::clone(session.clock())));
    let clock: Arc<dyn Clock> = given.unwrap_or_else(|| Arc::new(SystemClock::new()));
    let endpoint = options.target()?;
    let security = match options.transport {
        Transport::X509 => security(&options, session, &clock).await?,
        Transport::WebSocket => {
            let session = session.ok_or_else(error::needs_a_session)?;
            let of_session = || session.sdk_config().region().map(ToString::to_string);
            let region = options
                .region
                .clone()
                .or_else(|| endpoint.region.clone())
                .or_else(of_session);
            let region = region.ok_or_else(error::needs_a_region)?;
            let signer = Signer {
                session: session.clone(),
                region,
                clock: Arc::clone(&clock),
            };
            Security::Signed(trust(&options, session).await?, signer)
        }
    };
    let connector = Connector {
        alpn: options.wants_alpn(endpoint.port),
        proxy: Proxy::of(options.proxy.as_ref(), &endpoint)?,
        endpoint,
        security,
        limit: options.connect_timeout,
        keep_alive: options.keep_alive,
        clock: Arc::clone(&clock),
        prepared: Mutex::new(Prepared::default()),
        // A session may have read them long ago.
        is_new: (options.device.is_some() || session.is_none()).into(),
        signer: Blocking::new(),
    };
    start(options, connector, clock).await
}

async fn security(
    options: &Options,
    session: Option<&RefreshableSession>,
    clock: &Arc<dyn Clock>,
) -> Result<Security, Error> {
    let iot = session.and_then(|session| session.strategy::<Iot>());
    let device = options.device.clone();
    let identity = match (iot, device, options.trust_store.clone()) {
        (Some(iot), None, None) => iot.device_identity(),
        (Some(iot), None, Some(store)) => {
            iot.device_identity().with_trust_store(store, clock).await?
        }
        (Some(iot), Some(device), None) => iot.device_identity().with_device(device, clock).await?,
        (_, Some(device), store) => DeviceIdentity::load(device, store, clock).await?,
        (None, None, store) if options.username.is_some() => {
            return ServerTrust::load(store).await.map(Security::Named);
        }
        (None, None, _) => return Err(error::needs_a_device()),
    };
    Ok(Security::Device(identity))
}

async fn trust(options: &Options, session: &RefreshableSession) -> Result<ServerTrust, Error> {
    match (session.strategy::<Iot>(), &options.trust_store) {
        (Some(iot), None) => Ok(iot.device_identity().trust()),
        (_, store) => ServerTrust::load(store.clone()).await,
    }
}

async fn start(
    options: Options,
    connector: Connector,
    clock: Arc<dyn Clock>,
) -> Result<Connection, Error> {
    let runtime = match options.runtime.clone() {
        Some(runtime) => runtime,
        None => brs_core::kit::own_runtime().map_err(|error| {
            Error::connection("the thread for the connection could not be started")
                .with_source(error)
        })?,
    };
    let shared = Arc::new(Shared {
        client_id: options.client_id.clone(),
        is_aws: connector.endpoint.is_aws(),
        outbox: Outbox::new(
            options.outbox_messages,
            options.outbox_bytes,
            options.when_full,
            options.hold_at_most_once,
        ),
        events: EventSender::new(),
        clock,
        protocol: options.protocol,
        stream_capacity: options.stream_capacity,
        process: Process::current(),
    });
    let (commands, of_handles) = mpsc::channel(COMMANDS);
    let (state, watched) = watch::channel(State::Connecting);
    let (first, opened) = oneshot::channel();
    let first = (!options.defer_connect).then_some(first);
    let waits = first.is_some();
    let connection = Connection::new(Arc::clone(&shared), commands, watched);
    runtime.spawn(Driver::new(shared, options, connector, of_handles, state, first).run());
    if waits {
        opened.await.unwrap_or_else(|_| Err(error::closed()))?;
    }
    Ok(connection)
}
