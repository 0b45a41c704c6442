//! MQTT over mutual TLS, beside the library whose packets brs sends, driven as its documentation
//! says.
//!
//! The conductor has started the broker and written the device's files. Both sides read these files
//! for each connection, and have as many messages in flight as AWS IoT takes.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use brs::mqtt::{self, Connection, Event, Options, Publish};
use futures_util::StreamExt as _;
use rumqttc_v5::mqttbytes::QoS;
use rumqttc_v5::mqttbytes::v5::Packet;
use rumqttc_v5::{AsyncClient, EventLoop, MqttOptions, PublishOptions};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use crate::stopwatch::{Stopwatch, cpu_seconds, median, resident_bytes};
use crate::{Failure, Figures, figures};

/// What is published, and how large each is.
const MESSAGES: usize = 10_000;
const SIZE: usize = 1024;
/// AWS IoT's window, which the broker has, too.
pub const WINDOW: u16 = 100;
/// Callers at a time, as many as an outbox holds.
const CALLERS: usize = 1000;
const TOPIC: &str = "bench/messages";

/// Connections, messages and replacements of one connection.
///
/// # Errors
///
/// If the broker does not take part.
pub async fn mqtt(peer: &str, many: usize) -> Result<Figures, Failure> {
    match peer {
        "brs" => brs(many).await,
        "rumqttc" => rumqttc(many).await,
        _ => Err(format!("{peer} has no such measurement").into()),
    }
}

fn file(name: &str) -> Result<PathBuf, Failure> {
    Ok(PathBuf::from(env::var("BENCH_IOT_FOLDER")?).join(name))
}

/// Medians in milliseconds, messages by wall and processor time, and memory.
struct Measured {
    connect: Vec<f64>,
    reconnect: Vec<f64>,
    wall: f64,
    cpu: f64,
    resident: f64,
}

impl Measured {
    fn figures(mut self) -> Figures {
        figures([
            ("connect_ms", median(&mut self.connect)),
            ("reconnect_ms", median(&mut self.reconnect)),
            ("publish_wall_ms", self.wall * 1e3),
            ("publish_cpu_ms", self.cpu * 1e3),
            ("messages_a_second", MESSAGES as f64 / self.wall),
            ("resident_each_kb", self.resident / 1e3),
        ])
    }
}

async fn open_brs(number: usize) -> Result<Connection, Failure> {
    let options = Options::new(env::var("BENCH_MQTT_ENDPOINT")?, format!("brs-{number}"))
        .certificate(file("device.pem")?)
        .private_key(file("device.key")?)
        .trust_store(file("authority.pem")?)
        .reconnect_backoff(Duration::from_millis(1), Duration::from_millis(1));
    Ok(mqtt::connect(options).await?)
}

async fn brs(many: usize) -> Result<Figures, Failure> {
    let connection = open_brs(0).await?;
    let mut connect = Vec::new();
    let (mut kept, before) = (Vec::new(), resident_bytes());
    for number in 1..=many {
        let stopwatch = Stopwatch::start();
        kept.push(open_brs(number).await?);
        connect.push(stopwatch.seconds() * 1e3);
    }
    let resident = (resident_bytes() - before) / many as f64;
    let payload = bytes::Bytes::from(vec![b'x'; SIZE]);
    let (stopwatch, cpu) = (Stopwatch::start(), cpu_seconds());
    let publish = |_| connection.publish(Publish::new(TOPIC, payload.clone()));
    let mut published = futures_util::stream::iter(0..MESSAGES)
        .map(publish)
        .buffer_unordered(CALLERS);
    while let Some(result) = published.next().await {
        result?;
    }
    let (wall, cpu) = (stopwatch.seconds(), cpu_seconds() - cpu);
    let (mut reconnect, mut events) = (Vec::new(), connection.events());
    for _ in 0..many {
        let stopwatch = Stopwatch::start();
        connection.reconnect().await;
        while !matches!(events.next().await, Some(Event::Connected { .. })) {}
        reconnect.push(stopwatch.seconds() * 1e3);
    }
    Ok(Measured {
        connect,
        reconnect,
        wall,
        cpu,
        resident,
    }
    .figures())
}

fn tls() -> Result<TlsConnector, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&fs::read(file(
        "authority.pem",
    )?)?)?)?;
    let chain = fs::read(file("device.pem")?)?;
    let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(&fs::read(file("device.key")?)?)?;
    let config =
        ClientConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn open_rumqttc(number: usize) -> Result<(AsyncClient, EventLoop), Failure> {
    let endpoint = env::var("BENCH_MQTT_ENDPOINT")?;
    let (host, port) = endpoint
        .split_once(':')
        .ok_or("an endpoint without a port")?;
    let mut options = MqttOptions::new(
        format!("rumqttc-{number}"),
        (host.to_owned(), port.parse()?),
    );
    let (tls, name) = (tls()?, ServerName::try_from(host.to_owned())?);
    options.set_transport(rumqttc_v5::Transport::Tcp);
    options.set_socket_connector(move |_, _| {
        let (tls, name, endpoint) = (tls.clone(), name.clone(), endpoint.clone());
        async move {
            let stream = TcpStream::connect(&endpoint).await?;
            stream.set_nodelay(true)?;
            tls.connect(name, stream).await
        }
    });
    options.set_outgoing_inflight_upper_limit(WINDOW);
    let (client, mut events) = AsyncClient::builder(options).capacity(CALLERS).build();
    connected(&mut events).await?;
    Ok((client, events))
}

async fn connected(events: &mut EventLoop) -> Result<(), Failure> {
    while !matches!(
        events.poll().await?,
        rumqttc_v5::Event::Incoming(Packet::ConnAck(_))
    ) {}
    Ok(())
}

async fn rumqttc(many: usize) -> Result<Figures, Failure> {
    let (client, mut events) = open_rumqttc(0).await?;
    let mut connect = Vec::new();
    let (mut kept, before) = (Vec::new(), resident_bytes());
    for number in 1..=many {
        let stopwatch = Stopwatch::start();
        kept.push(open_rumqttc(number).await?);
        connect.push(stopwatch.seconds() * 1e3);
    }
    let resident = (resident_bytes() - before) / many as f64;
    let payload = bytes::Bytes::from(vec![b'x'; SIZE]);
    let (stopwatch, cpu) = (Stopwatch::start(), cpu_seconds());
    let publisher = tokio::spawn(async move {
        for _ in 0..MESSAGES {
            client
                .publish(
                    TOPIC,
                    payload.clone(),
                    PublishOptions::new(QoS::AtLeastOnce),
                )
                .await?;
        }
        Ok::<_, rumqttc_v5::ClientError>(client)
    });
    let mut acknowledged = 0;
    while acknowledged < MESSAGES {
        if let rumqttc_v5::Event::Incoming(Packet::PubAck(_)) = events.poll().await? {
            acknowledged += 1;
        }
    }
    let (wall, cpu) = (stopwatch.seconds(), cpu_seconds() - cpu);
    let _client = publisher.await??;
    let mut reconnect = Vec::new();
    for _ in 0..many {
        let stopwatch = Stopwatch::start();
        events.clean();
        connected(&mut events).await?;
        reconnect.push(stopwatch.seconds() * 1e3);
    }
    Ok(Measured {
        connect,
        reconnect,
        wall,
        cpu,
        resident,
    }
    .figures())
}
