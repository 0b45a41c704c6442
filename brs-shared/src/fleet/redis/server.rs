//! Where Redis is and how it is entered: URLs, user, password, authorities.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use brs_core::kit::{Purpose, clean, files, path::expanded};
use brs_core::{Blocking, Clock as _, Error, SecretSource, SecretString, SystemClock};
use futures_util::future::{Either, select};
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::fleet::store::StoreError;

/// Where it is. `Display` shows addresses, never a user or a password.
pub(super) struct Server {
    nodes: Vec<ConnectionInfo>,
    pub(super) is_cluster: bool,
    pub(super) user: Option<String>,
    pub(super) password: Option<SecretSource>,
    pub(super) trust_store: Option<PathBuf>,
    /// Where the trust store is read.
    place: Blocking,
}

/// What one connection is made with.
pub(super) struct Way {
    /// With user and password.
    pub(super) nodes: Vec<ConnectionInfo>,
    pub(super) authorities: Option<TlsCertificates>,
    pub(super) hidden: Hidden,
}

/// User and password of one connection: no text shows them.
#[derive(Clone)]
pub(super) struct Hidden {
    user: Option<String>,
    password: Option<SecretString>,
}

impl Hidden {
    pub(super) fn clean(&self, text: &str) -> String {
        let values = [
            self.password.as_ref().map(SecretString::expose),
            self.user.as_deref(),
        ];
        clean(text, &values.map(Option::unwrap_or_default))
    }
}

const PASSWORD: Purpose = Purpose {
    what: "the password of Redis",
    param: "password",
};

impl Server {
    pub(super) fn one(url: &str) -> Result<Self, Error> {
        Self::of(vec![url], false)
    }

    pub(super) fn cluster<U: AsRef<str>>(urls: impl IntoIterator<Item = U>) -> Result<Self, Error> {
        let urls: Vec<U> = urls.into_iter().collect();
        let urls: Vec<&str> = urls.iter().map(AsRef::as_ref).collect();
        if urls.is_empty() {
            return Err(invalid(
                "a cluster of Redis needs the URL of one node at least",
            ));
        }
        let server = Self::of(urls, true)?;
        let is_socket = |node: &ConnectionInfo| matches!(node.addr(), ConnectionAddr::Unix(_));
        if server.nodes.iter().any(is_socket) {
            return Err(invalid(
                "a cluster of Redis has no Unix sockets: give `redis://` or `rediss://` URLs",
            ));
        }
        Ok(server)
    }

    fn of(urls: Vec<&str>, is_cluster: bool) -> Result<Self, Error> {
        let mut user = None;
        let mut password = None;
        let mut nodes = Vec::new();
        for url in urls {
            let node = node(url)?;
            let settings = node.redis_settings();
            user = user.or_else(|| settings.username().map(str::to_owned));
            password = password.or_else(|| {
                let password = settings.password()?;
                Some(SecretSource::value(SecretString::new(password)))
            });
            // The password stays where it is never shown. Other settings, such as `protocol`, are
            // not taken over: RESP 2 is all that is needed.
            let settings = redis::RedisConnectionInfo::default().set_db(settings.db());
            nodes.push(node.set_redis_settings(settings));
        }
        Ok(Self {
            nodes,
            is_cluster,
            user,
            password,
            trust_store: None,
            place: Blocking::new(),
        })
    }

    /// Whether the settings fit together.
    ///
    /// # Errors
    ///
    /// A validation error for a trust store without TLS.
    pub(super) fn check(&self) -> Result<(), Error> {
        let is_tls = |node: &ConnectionInfo| matches!(node.addr(), ConnectionAddr::TcpTls { .. });
        if self.trust_store.is_some() && !self.nodes.iter().all(is_tls) {
            let text = "`trust_store` is for TLS: begin the URL with `rediss://`, or leave it out";
            return Err(Error::validation(text).with_param("trust_store"));
        }
        Ok(())
    }

    /// What a connection needs. The password may take `limit`.
    pub(super) async fn enter(&self, limit: Duration) -> Result<Way, StoreError> {
        let failed = |error: Error| StoreError::new(format!("Redis at {self}: {error}"));
        self.check().map_err(failed)?;
        let mut nodes = self.nodes.clone();
        let password = match &self.password {
            Some(source) => match source.as_value() {
                Some(value) => Some(value.clone()),
                None => {
                    let asked = std::pin::pin!(source.ask(PASSWORD));
                    let Either::Left((password, _)) =
                        select(asked, SystemClock::new().sleep(limit)).await
                    else {
                        return Err(StoreError::new(format!(
                            "Redis at {self}: the password did not come within {} ms: check the \
                             file or function that gives it",
                            limit.as_millis()
                        )));
                    };
                    Some(password.map_err(failed)?)
                }
            },
            None => None,
        };
        for node in &mut nodes {
            let mut settings = node.redis_settings().clone();
            if let Some(user) = &self.user {
                settings = settings.set_username(user);
            }
            if let Some(password) = &password {
                settings = settings.set_password(password.expose());
            }
            *node = node.clone().set_redis_settings(settings);
        }
        Ok(Way {
            nodes,
            authorities: self.authorities().await.map_err(failed)?,
            hidden: Hidden {
                user: self.user.clone(),
                password,
            },
        })
    }

    async fn authorities(&self) -> Result<Option<TlsCertificates>, Error> {
        let Some(path) = &self.trust_store else {
            return Ok(None);
        };
        let path = expanded(path).into_owned();
        let pem = self.place.run(move || {
            let named = format!("the trust store `{}`", path.display());
            let pem =
                files::read(&path).map_err(|unread| unread.into_error(&named, "trust_store"))?;
            let mut authorities = CertificateDer::pem_slice_iter(&pem).peekable();
            if authorities.peek().is_none() || authorities.any(|authority| authority.is_err()) {
                let text = format!("{named} holds no certificates in PEM: name another file");
                return Err(Error::configuration(text).with_param("trust_store"));
            }
            Ok(pem)
        });
        Ok(Some(TlsCertificates {
            client_tls: None,
            root_cert: Some(pem.await??.to_vec()),
        }))
    }

    /// An answer that Redis does not give.
    pub(super) fn unexpected(&self) -> StoreError {
        StoreError::new(format!(
            "what answers at {self} is not Redis or Valkey as brs knows it: check the URL"
        ))
    }
}

fn node(url: &str) -> Result<ConnectionInfo, Error> {
    let wrong = "the URL of Redis is none of brs's: give `redis://HOST:PORT`, `rediss://HOST:PORT` \
                 for TLS, or `unix:///PATH`";
    // What is wrong in detail might be told with a part of the password.
    let node = url.into_connection_info().map_err(|_| invalid(wrong))?;
    if let ConnectionAddr::TcpTls { insecure: true, .. } = node.addr() {
        return Err(invalid(
            "the URL of Redis asks for TLS without checks (`#insecure`): leave that out, and name \
             the server's authority as trust store",
        ));
    }
    Ok(node)
}

fn invalid(text: &'static str) -> Error {
    Error::validation(text).with_param("url")
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (node, at) in self.nodes.iter().zip(0..) {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}`{}`", node.addr())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_give_addresses_and_nothing_shows_a_password() {
        let url = "rediss://me:hush@cache.example.com:6380/2";
        let server = Server::one(url).unwrap();
        assert_eq!(server.to_string(), "`cache.example.com:6380`");
        assert_eq!(server.user.as_deref(), Some("me"));
        assert_eq!(
            server.password.unwrap().as_value().unwrap().expose(),
            "hush"
        );
        assert_eq!(server.nodes[0].redis_settings().db(), 2);
        assert!(!format!("{:?}", server.nodes).contains("hush"));

        let socket = Server::one("unix:///run/redis.sock?pass=hush").unwrap();
        assert_eq!(socket.to_string(), "`/run/redis.sock`");
        let cluster = Server::cluster(["redis://a:1", "valkey://b"]).unwrap();
        assert_eq!(cluster.to_string(), "`a:1`, `b:6379`");
    }

    #[test]
    fn what_is_no_url_is_refused_without_being_shown() {
        for url in [
            "",
            "hush",
            "http://me:hush@a",
            "redis://me:hush@a:99999999",
            "redis://me:hush@",
            "redis://me:hush@a/hush",
            "rediss://me:hush@a/#insecure",
        ] {
            let error = Server::one(url).map(|_| ()).unwrap_err();
            assert!(!format!("{error:?} {error}").contains("hush"), "{url}");
            assert_eq!(error.param(), Some("url"));
        }
        assert!(Server::cluster([""; 0]).is_err());
        assert!(Server::cluster(["unix:///run/redis.sock"]).is_err());
    }
}
