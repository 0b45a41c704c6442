//! Why a server was not reached, for each connection that a device opens.

use std::error::Error as StdError;
use std::io;

use brs_core::kit::{causes, find};

/// Why a server was not reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unreached {
    /// The proxy opened no tunnel.
    Proxy,
    /// The name cannot be resolved.
    Name,
    /// There is no route.
    Route,
    /// Nothing listens there.
    Nobody,
    /// The connection was cut.
    Cut,
    /// Something else.
    Other,
}

impl Unreached {
    /// Examines an error and its sources.
    pub fn of(error: &(dyn StdError + 'static)) -> Self {
        let all = causes(error, &[]);
        // The outermost may name the URL, in which anything may stand.
        if error.to_string().starts_with("tunnel error")
            || all.contains("tunnel")
            || all.contains("proxy")
        {
            return Self::Proxy;
        }
        if all.contains("dns error") || all.contains("failed to lookup address") {
            return Self::Name;
        }
        match find::<io::Error>(error).map(io::Error::kind) {
            Some(
                io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkDown,
            ) => Self::Route,
            Some(io::ErrorKind::ConnectionRefused) => Self::Nobody,
            Some(
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof,
            ) => Self::Cut,
            _ => Self::Other,
        }
    }

    /// The reason and what to check, as the end of a sentence.
    pub fn words(self) -> &'static str {
        match self {
            Self::Proxy => {
                "the proxy opened no tunnel to it: check the proxy's URL, user and password, and \
                 its rules"
            }
            Self::Name => {
                "its name cannot be resolved: check `endpoint` and this machine's DNS \
                           servers"
            }
            Self::Route => "there is no route to it: check this machine's network",
            Self::Nobody => "nothing listens there: check `endpoint`, its port and the proxy",
            Self::Cut => "the connection was cut: check proxies and firewalls on the way",
            Self::Other => "check the network, the proxy and `endpoint`",
        }
    }
}
