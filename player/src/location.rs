//! Where a server may send us: redirects (302) and handoffs name another server, and a hostile one could
//! aim us at a neighbour's printer. The rule: `rtsp://` without user information, no port of another
//! service, no address that is nobody's, and never *inwards*: a public server may not name a private,
//! link-local or loopback address, a private one no loopback address. A handoff must give an address;
//! a redirect may give a name, whose addresses then have to pass the same rule.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rtsp::Url;

/// The port of a URL without one (RFC 2326 §3.2).
const RTSP_PORT: u16 = 554;
/// Ports below this belong to other services, RTSP's own excepted.
const REGISTERED_PORTS: u16 = 1024;

/// The address an `rtsp://` URL names literally, if `from` may send us there; else why not.
pub fn literal(from: IpAddr, to: &Url) -> Result<SocketAddr, String> {
    let address = match host(to)? {
        Host::Address(address) => address,
        Host::Name(name) => return Err(format!("`{name}` is a name, not an address")),
    };
    allowed(from, address)?;
    Ok(address)
}

/// The address of an `rtsp://` URL, names looked up with the system's resolver. With `from`, only where
/// that server may send us.
pub async fn look_up(from: Option<IpAddr>, to: &Url) -> Result<SocketAddr, String> {
    let permitted = |address: &SocketAddr| from.map_or(Ok(()), |from| allowed(from, *address));
    match host(to)? {
        Host::Address(address) => permitted(&address).map(|()| address),
        Host::Name(name) => {
            let port = to.port().unwrap_or(RTSP_PORT);
            let found = tokio::net::lookup_host((name.as_str(), port)).await;
            let mut found = found.map_err(|error| format!("{name}: {error}"))?;
            let first = found
                .next()
                .ok_or_else(|| format!("{name} has no address"))?;
            permitted(&first).map(|()| first)
        }
    }
}

enum Host {
    Address(SocketAddr),
    Name(String),
}

fn host(url: &Url) -> Result<Host, String> {
    if url.scheme() != "rtsp" {
        return Err(format!("`{}` is not rtsp", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("user information in a URL is not used".into());
    }
    let host = url
        .host_str()
        .filter(|host| !host.is_empty())
        .ok_or("a URL without a host")?;
    let port = url.port().unwrap_or(RTSP_PORT);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    Ok(match bare.parse() {
        Ok(address) => Host::Address(SocketAddr::new(address, port)),
        Err(_) => Host::Name(host.to_owned()),
    })
}

fn allowed(from: IpAddr, to: SocketAddr) -> Result<(), String> {
    let port = to.port();
    if port != RTSP_PORT && port < REGISTERED_PORTS {
        return Err(format!("port {port} belongs to another service"));
    }
    match (reach(from), reach(to.ip())) {
        (_, None) => Err(format!("{} is no server's address", to.ip())),
        (Some(from), Some(to)) if to >= from => Ok(()),
        _ => Err(format!("{from} may not send us inwards, to {}", to.ip())),
    }
}

/// From the inside out.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Loopback,
    Link,
    Private,
    Public,
}

/// How far an address reaches; `None` for those that are no single host's.
fn reach(address: IpAddr) -> Option<Reach> {
    match address.to_canonical() {
        IpAddr::V4(v4) => reach_v4(v4),
        IpAddr::V6(v6) => reach_v6(v6),
    }
}

fn reach_v4(address: Ipv4Addr) -> Option<Reach> {
    let [first, second, ..] = address.octets();
    let shared = first == 100 && second & 0xc0 == 64; // RFC 6598
    match () {
        () if first == 0 || first >= 224 => None, // this network, multicast, reserved, broadcast
        () if address.is_loopback() => Some(Reach::Loopback),
        () if address.is_link_local() => Some(Reach::Link),
        () if address.is_private() || shared => Some(Reach::Private),
        () => Some(Reach::Public),
    }
}

fn reach_v6(address: Ipv6Addr) -> Option<Reach> {
    match () {
        () if address.is_unspecified() || address.is_multicast() => None,
        () if address.is_loopback() => Some(Reach::Loopback),
        () if address.is_unicast_link_local() => Some(Reach::Link),
        () if address.is_unique_local() => Some(Reach::Private),
        () => Some(Reach::Public),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(from: &str, to: &str, allowed: bool) {
        let result = literal(from.parse().unwrap(), &Url::parse(to).unwrap());
        assert_eq!(result.is_ok(), allowed, "{from} → {to}: {result:?}");
    }

    #[test]
    fn a_server_may_send_us_outwards_but_never_inwards() {
        check("127.0.1.1", "rtsp://127.0.1.2:8554/live?mdc=1", true);
        check("127.0.1.1", "rtsp://198.51.100.7:8554/live", true);
        check("198.51.100.7", "rtsp://203.0.113.9/live", true);
        check("198.51.100.7", "rtsp://127.0.0.1:8554/live", false);
        check("198.51.100.7", "rtsp://[::ffff:127.0.0.1]:8554/live", false);
        check("198.51.100.7", "rtsp://192.168.1.1:8554/live", false);
        check("198.51.100.7", "rtsp://169.254.169.254:8554/live", false);
        check("10.0.0.1", "rtsp://[::1]:8554/live", false);
        check("10.0.0.1", "rtsp://[fd00::2]:8554/live", true);
    }

    #[test]
    fn only_rtsp_at_ports_of_its_own_and_at_somebodys_address() {
        check("127.0.1.1", "rtsp://127.0.1.2:25/live", false);
        check("127.0.1.1", "http://127.0.1.2:8554/live", false);
        check("127.0.1.1", "rtsps://127.0.1.2:8554/live", false);
        check("127.0.1.1", "rtsp://edge.example:8554/live", false);
        check("127.0.1.1", "rtsp://user:secret@127.0.1.2:8554/live", false);
        for address in [
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "[::]",
            "[ff02::1]",
        ] {
            check("127.0.1.1", &format!("rtsp://{address}:8554/live"), false);
        }
    }
}
