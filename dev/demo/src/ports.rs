//! Which ports the show uses: the documented ones, or free ones so that it never collides with anything.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use anyhow::bail;

/// The addresses of the worked example are 127.0.1.1 and following; this many are tried.
const EDGE_ADDRESSES: u8 = 16;
/// Free ports are looked for from here, so that they stay clear of those the system gives out (32768 and up).
const SEARCH: std::ops::Range<u16> = 20_000..32_000;

/// The ports of one show. 0 lets the program choose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    /// First level, UDP and TCP.
    pub(crate) l1: u16,
    /// Second level, UDP and TCP.
    pub(crate) l2: u16,
    /// Admin of L1, L2 and (+100 and up) edges; 0 for all if the show ends by itself.
    pub(crate) admin: u16,
    /// RTSP of every edge: SRV answers carry one port.
    pub(crate) rtsp: u16,
    /// QUIC of every edge.
    pub(crate) handoff: u16,
}

/// DESIGN's ports.
pub(crate) fn documented() -> anyhow::Result<Ports> {
    let ports = Ports {
        l1: 5301,
        l2: 5302,
        admin: 9301,
        rtsp: 8554,
        handoff: 8555,
    };
    let mut wanted = vec![
        (Ipv4Addr::LOCALHOST, ports.l1),
        (Ipv4Addr::LOCALHOST, ports.l2),
        (Ipv4Addr::LOCALHOST, ports.admin),
    ];
    wanted.extend(edge_addresses().map(|address| (address, ports.rtsp)));
    for (address, port) in wanted {
        if !is_free(address, port) {
            bail!(
                "{address}:{port} is in use: is another demo running? (`-- --once` takes free ports)"
            );
        }
    }
    Ok(ports)
}

/// Ports that nobody uses now: chosen once for all edges, and by each program for the rest.
pub(crate) fn free() -> anyhow::Result<Ports> {
    // Start anywhere, so that shows that run side by side seldom try the same.
    let start: u16 = rand::random_range(SEARCH);
    let candidates = (start..SEARCH.end).chain(SEARCH.start..start).step_by(2);
    for rtsp in candidates {
        let handoff = rtsp + 1;
        if edge_addresses().all(|edge| is_free(edge, rtsp) && is_free(edge, handoff)) {
            return Ok(Ports {
                l1: 0,
                l2: 0,
                admin: 0,
                rtsp,
                handoff,
            });
        }
    }
    bail!("no port is free on all of 127.0.1.1 to 127.0.1.{EDGE_ADDRESSES}")
}

fn edge_addresses() -> impl Iterator<Item = Ipv4Addr> {
    (1..=EDGE_ADDRESSES).map(|last| Ipv4Addr::new(127, 0, 1, last))
}

fn is_free(address: Ipv4Addr, port: u16) -> bool {
    let address = SocketAddr::new(IpAddr::V4(address), port);
    TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
}
