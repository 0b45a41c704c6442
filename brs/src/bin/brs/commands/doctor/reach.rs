//! The first steps to an endpoint: its name, a connection, and a proxy's way on.

use std::net::SocketAddr;
use std::time::Duration;

use http::HeaderValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::report::Report;

/// How long each step may take.
pub(super) const STEP: Duration = Duration::from_secs(10);

/// The longest answer of a proxy.
const MAX_HEAD: usize = 16 << 10;

pub(super) async fn name(host: &str, port: u16, report: &mut Report) -> Option<Vec<SocketAddr>> {
    let remedy = "check the name, the region in it, and the name servers in `/etc/resolv.conf`";
    let found = tokio::time::timeout(STEP, tokio::net::lookup_host((host, port))).await;
    match found {
        Ok(Ok(addresses)) => {
            let addresses: Vec<_> = addresses.collect();
            let shown: Vec<_> = addresses
                .iter()
                .take(3)
                .map(|address| address.ip().to_string())
                .collect();
            if addresses.is_empty() {
                report.fail("dns", &format!("`{host}` has no address"), remedy);
                return None;
            }
            report.ok("dns", &format!("`{host}` is {}", shown.join(", ")));
            return Some(addresses);
        }
        Ok(Err(error)) => report.fail("dns", &format!("`{host}` has no address: {error}"), remedy),
        Err(_) => report.fail("dns", &format!("no answer about `{host}`"), remedy),
    }
    None
}

pub(super) async fn connection(
    addresses: &[SocketAddr],
    named: &str,
    report: &mut Report,
) -> Option<TcpStream> {
    let mut last = "no answer".to_owned();
    for address in addresses.iter().take(3) {
        match tokio::time::timeout(STEP, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                report.ok("tcp", &format!("{named} accepts connections at {address}"));
                return Some(stream);
            }
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => "no answer".clone_into(&mut last),
        }
    }
    let remedy = "check firewalls and routes, and whether a proxy is needed (`HTTPS_PROXY`)";
    report.fail(
        "tcp",
        &format!("{named} does not accept connections: {last}"),
        remedy,
    );
    None
}

/// Asks a proxy for a connection (RFC 9110, section 9.3.6).
pub(super) async fn tunnel(
    stream: &mut TcpStream,
    host: &str,
    port: u16,
    login: Option<&HeaderValue>,
) -> Result<(), String> {
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let mut request =
        format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
    if let Some(login) = login {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(login.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    let exchange = async {
        stream.write_all(&request).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD {
            // One by one: what follows the head is the endpoint's.
            head.push(stream.read_u8().await?);
        }
        Ok::<_, std::io::Error>(head)
    };
    let head = match tokio::time::timeout(STEP, exchange).await {
        Ok(Ok(head)) => head,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("no answer".to_owned()),
    };
    let head = String::from_utf8_lossy(&head);
    let status = head.split(' ').nth(1).unwrap_or_default();
    match status {
        "200" => Ok(()),
        "407" => Err("it wants a user and a password (407)".to_owned()),
        other => Err(format!("it answers {}", brs::kit::clean(other, &[]))),
    }
}
