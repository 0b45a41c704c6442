//! What keeps out requests that no SDK on this machine sends: those of browsers, proxies, names that
//! were rebound to loopback, and other machines. Pure.
//!
//! It comes before routes and tokens: a page in a browser may know the port, and a container that
//! is reached through a proxy may hold a token. What can smuggle a second request past somebody on
//! the way (a body, two lengths, two hosts, a target with a host) ends its connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::header::{
    CONTENT_LENGTH, FORWARDED, HOST, HeaderMap, HeaderName, ORIGIN, REFERER, TRANSFER_ENCODING,
    USER_AGENT, VIA,
};
use http::request::Parts;

use super::answer::Refusal;

/// Where ECS tasks and EKS pods find their credentials.
const CONTAINER: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
];
/// Where EC2 instances find their metadata.
const METADATA: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// Whether an address may be listened on without saying so twice.
pub(super) fn is_harmless(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || CONTAINER.contains(&address)
}

/// What a listener answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// The container credentials endpoint.
    Endpoint,
    /// The metadata service.
    Metadata,
    /// The status page and metrics, which browsers may see.
    Admin,
}

/// The ends of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    /// Whether the address was chosen in spite of its danger.
    pub(super) is_open: bool,
}

/// Looks at a request's head.
pub(super) fn check(parts: &Parts, ends: Ends, door: Door) -> Result<(), Refusal> {
    let headers = &parts.headers;
    peer(ends)?;
    shape(parts)?;
    host(headers, ends, door)?;
    forwarded(headers)?;
    match door {
        Door::Endpoint | Door::Metadata => no_browser(headers),
        Door::Admin => own_page(headers),
    }
}

fn peer(ends: Ends) -> Result<(), Refusal> {
    let (peer, local) = (
        ends.peer.ip().to_canonical(),
        ends.local.ip().to_canonical(),
    );
    let is_link_local = |address: IpAddr| match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => {
            address.is_unicast_link_local() || address.segments()[..2] == [0xfd00, 0xec2]
        }
    };
    let is_near = is_link_local(local) && is_link_local(peer);
    if ends.is_open || peer.is_loopback() || peer == local || is_near {
        return Ok(());
    }
    Err(
        Refusal::denied("requests from other machines and other networks are not answered")
            .closing(),
    )
}

/// An ordinary request without a body.
fn shape(parts: &Parts) -> Result<(), Refusal> {
    let headers = &parts.headers;
    if parts.uri.scheme().is_some() || parts.uri.authority().is_some() {
        return Err(Refusal::malformed(
            "the target has a host, as in a request to a proxy: add this address to `NO_PROXY`",
        ));
    }
    let lengths = headers.get_all(CONTENT_LENGTH);
    let is_empty = lengths.iter().all(|length| length.as_bytes() == b"0");
    if headers.contains_key(TRANSFER_ENCODING) || !is_empty || lengths.iter().count() > 1 {
        return Err(Refusal::malformed("requests have no body here"));
    }
    if headers.get_all(HOST).iter().count() > 1 {
        return Err(Refusal::malformed("there is more than one `Host`"));
    }
    Ok(())
}

/// A page whose name was rebound to this address has its own name in `Host`.
fn host(headers: &HeaderMap, ends: Ends, door: Door) -> Result<(), Refusal> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    if host.is_some_and(|host| is_own(host, ends, door)) {
        return Ok(());
    }
    Err(Refusal::denied(format_args!(
        "the `Host` of a request must be this endpoint's address, {} for example: ask for it by address and port",
        ends.local
    )))
}

fn is_own(host: &str, ends: Ends, door: Door) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        // The colons of an IPv6 address are within brackets.
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse() == Ok(ends.local.port())
    };
    if !port.is_none_or(is_port) {
        return false;
    }
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let address: Option<IpAddr> = match name.strip_prefix('[') {
        Some(address) => address
            .strip_suffix(']')
            .and_then(|address| address.parse::<Ipv6Addr>().ok())
            .map(IpAddr::V6),
        None => name.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    };
    let own = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    address.is_some_and(|address| {
        own.contains(&address)
            || CONTAINER.contains(&address)
            || (door == Door::Metadata && METADATA.contains(&address))
            || (ends.is_open && address == ends.local.ip().to_canonical())
    })
}

fn forwarded(headers: &HeaderMap) -> Result<(), Refusal> {
    let is_of_a_proxy = |name: &HeaderName| {
        name == VIA || name == FORWARDED || name.as_str().starts_with("x-forwarded-")
    };
    match headers.keys().find(|name| is_of_a_proxy(name)) {
        Some(name) => Err(Refusal::denied(format_args!(
            "the request came through a proxy (`{name}`): ask directly"
        ))),
        None => Ok(()),
    }
}

fn no_browser(headers: &HeaderMap) -> Result<(), Refusal> {
    let is_of_a_browser = |name: &HeaderName| {
        name == ORIGIN || name == REFERER || name.as_str().starts_with("sec-fetch-")
    };
    let is_browser = headers.keys().any(is_of_a_browser)
        || headers.get_all(USER_AGENT).iter().any(|agent| {
            let agent = agent.as_bytes().to_ascii_lowercase();
            agent.windows(7).any(|part| part == b"mozilla")
        });
    if is_browser {
        return Err(Refusal::denied("browsers get no credentials here"));
    }
    Ok(())
}

/// A browser may show the page and ask for its updates; no other page may.
fn own_page(headers: &HeaderMap) -> Result<(), Refusal> {
    let host = headers.get(HOST).map(|host| host.as_bytes());
    let is_own = |url: &[u8]| {
        let rest = url.strip_prefix(b"http://");
        rest.zip(host).is_some_and(|(rest, host)| {
            rest.strip_prefix(host)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        })
    };
    let is_from_elsewhere = [ORIGIN, REFERER]
        .iter()
        .flat_map(|name| headers.get_all(name))
        .any(|url| !is_own(url.as_bytes()))
        || headers
            .get_all("sec-fetch-site")
            .iter()
            .any(|site| !matches!(site.as_bytes(), b"none" | b"same-origin"));
    if is_from_elsewhere {
        return Err(Refusal::denied("the request comes from another page"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Method, Request};

    const LOCAL: &str = "127.0.0.1:9912";

    fn ends(peer: &str, local: &str) -> Ends {
        Ends {
            peer: peer.parse().unwrap(),
            local: local.parse().unwrap(),
            is_open: false,
        }
    }

    /// A request with these headers, lines of `Name: value`.
    fn status(door: Door, ends: Ends, target: &str, headers: &str) -> u16 {
        let mut request = Request::builder().method(Method::GET).uri(target);
        for line in headers.lines() {
            let (name, value) = line.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        check(&parts, ends, door).map_or_else(|refusal| refusal.status.as_u16(), |()| 200)
    }

    fn of_headers(headers: &str) -> u16 {
        status(Door::Endpoint, ends("127.0.0.1:40000", LOCAL), "/", headers)
    }

    #[test]
    fn hosts_are_this_machine_and_nothing_else() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:9912",
            "localhost",
            "LOCALHOST:9912",
            "[::1]",
            "[::1]:9912",
            "169.254.170.2",
            "169.254.170.2:9912",
            "169.254.170.23",
            "[fd00:ec2::23]",
            "[fd00:ec2::23]:9912",
        ] {
            assert_eq!(of_headers(&format!("Host: {host}")), 200, "{host}");
        }
        for host in [
            "",
            ":",
            ":9912",
            "127.0.0.1:",
            "127.0.0.1:+9912",
            "127.0.0.1:80",
            "127.0.0.1:9912:9912",
            "127.0.0.1.",
            "127.0.0.1.nip.io",
            "127.0.0.2",
            "127.1",
            "0",
            "0.0.0.0",
            "2130706433",
            "0x7f000001",
            "localhost.",
            "localhost.evil.example",
            "evil.example",
            "evil.example:9912",
            "evil.example#127.0.0.1",
            "user@127.0.0.1",
            "::1",
            "[::1",
            "[::1]x",
            "[::ffff:127.0.0.1]",
            "[fd00:ec2::24]",
            "169.254.169.254",
            "127.0.0.1, evil.example",
        ] {
            assert_eq!(of_headers(&format!("Host: {host}")), 403, "{host}");
        }
        assert_eq!(of_headers(""), 403);
        let metadata = |host: &str| {
            let headers = format!("Host: {host}");
            status(Door::Metadata, ends("127.0.0.1:1", LOCAL), "/", &headers)
        };
        assert_eq!(metadata("169.254.169.254"), 200);
    }

    #[test]
    fn what_may_hide_a_second_request_is_malformed() {
        for headers in [
            "Host: 127.0.0.1\nHost: 127.0.0.1",
            "Host: 127.0.0.1\nHost: evil.example",
            "Host: 127.0.0.1\nContent-Length: 5",
            "Host: 127.0.0.1\nContent-Length: 0\nContent-Length: 0",
            "Host: 127.0.0.1\nContent-Length: 00",
            "Host: 127.0.0.1\nContent-Length: 0, 0",
            "Host: 127.0.0.1\nTransfer-Encoding: chunked",
            "Host: 127.0.0.1\nContent-Length: 0\nTransfer-Encoding: chunked",
            "Host: 127.0.0.1\nTransfer-Encoding: identity",
        ] {
            assert_eq!(of_headers(headers), 400, "{headers}");
        }
        assert_eq!(of_headers("Host: 127.0.0.1\nContent-Length: 0"), 200);
        for target in ["http://127.0.0.1:9912/", "http://evil.example/"] {
            let ends = ends("127.0.0.1:40000", LOCAL);
            assert_eq!(status(Door::Endpoint, ends, target, "Host: 127.0.0.1"), 400);
        }
    }

    #[test]
    fn proxies_and_browsers_are_refused() {
        for header in [
            "X-Forwarded-For: 10.0.0.1",
            "X-Forwarded-For: ",
            "x-forwarded-host: 127.0.0.1",
            "Forwarded: for=10.0.0.1",
            "Via: 1.1 squid",
            "Origin: http://evil.example",
            "Origin: null",
            "Origin: http://127.0.0.1:9912",
            "Referer: http://127.0.0.1:9912/",
            "Sec-Fetch-Site: none",
            "sec-fetch-mode: cors",
            "User-Agent: Mozilla/5.0 (X11; Linux x86_64)",
            "User-Agent: x mozilla y",
        ] {
            assert_eq!(
                of_headers(&format!("Host: 127.0.0.1\n{header}")),
                403,
                "{header}"
            );
        }
        let sdk = "Host: 127.0.0.1:9912\nUser-Agent: Boto3/1.44 md/Botocore#1.44 ua/2.0 os/linux#6.1\nAccept: */*\n\
                   Accept-Encoding: identity\nConnection: keep-alive\nAuthorization: x";
        assert_eq!(of_headers(sdk), 200);
    }

    #[test]
    fn peers_are_near() {
        for (peer, local, expected) in [
            ("127.0.0.1:1", LOCAL, 200),
            ("127.9.9.9:1", LOCAL, 200),
            ("[::1]:1", "[::1]:9912", 200),
            ("[::ffff:127.0.0.1]:1", "[::]:9912", 200),
            ("10.0.0.1:1", LOCAL, 403),
            ("169.254.1.1:1", LOCAL, 403),
            ("169.254.170.3:1", "169.254.170.2:9912", 200),
            ("172.17.0.2:1", "169.254.170.2:9912", 403),
            ("[fe80::1]:1", "[fd00:ec2::23]:9912", 200),
            ("[2001:db8::1]:1", "[fd00:ec2::23]:9912", 403),
        ] {
            let found = status(Door::Endpoint, ends(peer, local), "/", "Host: 127.0.0.1");
            assert_eq!(found, expected, "{peer} {local}");
        }
    }

    #[test]
    fn an_address_that_was_opened_is_asked_for_by_address() {
        let open = Ends {
            is_open: true,
            ..ends("10.0.0.9:1", "10.0.0.5:9912")
        };
        let of = |host: &str| status(Door::Endpoint, open, "/", &format!("Host: {host}"));
        assert_eq!(
            [of("10.0.0.5:9912"), of("10.0.0.6:9912"), of("evil.example")],
            [200, 403, 403]
        );
    }

    #[test]
    fn the_status_page_is_for_browsers_but_not_for_other_pages() {
        let of = |header: &str| {
            let headers = format!("Host: 127.0.0.1:9912\nUser-Agent: Mozilla/5.0\n{header}");
            status(Door::Admin, ends("127.0.0.1:1", LOCAL), "/", &headers)
        };
        for header in [
            "Sec-Fetch-Site: none",
            "Sec-Fetch-Site: same-origin\nReferer: http://127.0.0.1:9912/",
            "Origin: http://127.0.0.1:9912",
        ] {
            assert_eq!(of(header), 200, "{header}");
        }
        for header in [
            "Sec-Fetch-Site: cross-site",
            "Sec-Fetch-Site: same-site",
            "Origin: null",
            "Origin: http://evil.example",
            "Origin: http://127.0.0.1:99",
            "Referer: http://127.0.0.1:9912.evil.example/",
            "Referer: http://127.0.0.1:99123/",
            "Via: 1.1 x",
        ] {
            assert_eq!(of(header), 403, "{header}");
        }
    }

    #[test]
    fn harmless_addresses_are_loopback_and_those_of_containers() {
        let is = |address: &str| is_harmless(address.parse().unwrap());
        for address in [
            "127.0.0.1",
            "127.1.2.3",
            "::1",
            "169.254.170.2",
            "169.254.170.23",
            "fd00:ec2::23",
        ] {
            assert!(is(address), "{address}");
        }
        for address in [
            "0.0.0.0",
            "::",
            "10.0.0.1",
            "169.254.169.254",
            "fd00:ec2::254",
            "::ffff:10.0.0.1",
        ] {
            assert!(!is(address), "{address}");
        }
    }
}
