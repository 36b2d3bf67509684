//! Ports for programs that cannot be told "any free one, and say which": other people's servers.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// Where the kernel takes no ports of its own accord (`net.ipv4.ip_local_port_range` begins at 32,768): what was free a
/// moment ago is not some client's a moment later.
const FIRST: u16 = 20_000;
const COUNT: u64 = 12_000;

/// An address of this machine whose port is free for UDP and TCP.
///
/// # Errors
/// When none of many is.
pub fn free() -> io::Result<SocketAddr> {
    let any = || {
        let random = RandomState::new().hash_one(());
        let port = FIRST + (random % COUNT) as u16; // below `COUNT`, so it fits
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    };
    let is_free = |address: &SocketAddr| {
        UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok()
    };
    let tries = std::iter::repeat_with(any).take(1000);
    let none = || io::ErrorKind::AddrInUse.into();
    tries.into_iter().find(is_free).ok_or_else(none)
}
