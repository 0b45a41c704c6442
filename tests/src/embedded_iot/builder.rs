//! Starting the server, with what it must know before.

use super::*;

/// Settings that a server must know before it starts.
#[derive(Debug)]
#[must_use]
pub struct Builder<'a> {
    pub(super) aws: &'a EmbeddedAws,
    pub(super) versions: TlsVersions,
    pub(super) certificate: ServerCertificate,
}

impl Builder<'_> {
    /// Which versions of TLS the server speaks. Default: both.
    pub fn tls(mut self, versions: TlsVersions) -> Self {
        self.versions = versions;
        self
    }

    /// What is right or wrong with the server's certificate. Default: a good one.
    pub fn certificate(mut self, certificate: ServerCertificate) -> Self {
        self.certificate = certificate;
        self
    }

    /// Starts the server.
    ///
    /// # Panics
    ///
    /// As [`EmbeddedIot::start`].
    #[must_use]
    pub fn start(self) -> EmbeddedIot {
        let aws = Arc::clone(&self.aws.state);
        let (servers, devices) = (Authority::new("Server"), Authority::new("Device"));
        let tls = tls::config(&aws, &servers, &devices, self.versions, self.certificate);
        let shared = Arc::new(Shared {
            aws,
            registry: Mutex::new(Registry::default()),
            faults: Faults::new(provider::ACTION),
            journal: Journal::new(),
            counts: Counts::default(),
            tls: Mutex::new(Arc::new(tls)),
            ended: watch::Sender::new(0),
            silent: watch::Sender::new(false),
            manners: Manners::default(),
        });
        let server = Server::start("embedded-iot", {
            let shared = Arc::clone(&shared);
            move |listener| server::accept_tls(listener, shared)
        })
        .expect("a port of 127.0.0.1 can be bound");
        EmbeddedIot {
            shared,
            server,
            back_door: OnceLock::new(),
            servers,
            devices,
            versions: self.versions,
        }
    }
}
