//! What the kernel knows of a network interface: its number, link address, packet size, receive queues and addresses.

#![allow(
    unsafe_code,
    reason = "ioctl and getifaddrs have no safe form; each block says why it is sound"
)]

use std::ffi::{CStr, CString};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

/// `ETHTOOL_GCHANNELS` (linux/ethtool.h).
const CHANNELS: u32 = 0x3c;

/// An Ethernet interface, as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) index: u32,
    pub(super) link_address: [u8; 6],
    /// Octets of the largest packet.
    pub(super) mtu: usize,
    /// Receive queues, one at least.
    pub(super) queues: u32,
    /// Its own and the loopback interface's, which are this host's whatever the way; nothing that is only local.
    pub(super) addresses: Vec<IpAddr>,
}

/// `struct ethtool_channels`.
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    most: [u32; 4],
    receiving: u32,
    sending: u32,
    other: u32,
    combined: u32,
}

impl Interface {
    /// Looks at it, in the network namespace of this thread.
    pub(super) fn look(name: &str) -> io::Result<Self> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("no interface {name}"));
        let named = CString::new(name).map_err(|_| missing())?;
        // SAFETY: a string that ends with a zero.
        let index = unsafe { libc::if_nametoindex(named.as_ptr()) };
        if index == 0 || name.len() >= libc::IFNAMSIZ {
            return Err(missing());
        }
        // Any socket will do for the questions.
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let mut request = ask(&socket, name, libc::SIOCGIFHWADDR as _, ptr::null_mut())?;
        // SAFETY: the kernel has filled in the union's link address, whose octets are all valid.
        let link = unsafe { request.ifr_ifru.ifru_hwaddr };
        if link.sa_family != libc::ARPHRD_ETHER {
            let message = format!("{name} is no Ethernet interface");
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        let link_address = std::array::from_fn(|at| link.sa_data[at] as u8);
        request = ask(&socket, name, libc::SIOCGIFMTU as _, ptr::null_mut())?;
        // SAFETY: the kernel has filled in the union's number.
        let mtu = unsafe { request.ifr_ifru.ifru_mtu };
        Ok(Self {
            index,
            link_address,
            mtu: mtu.max(0) as usize,
            queues: queues(&socket, name),
            addresses: addresses(name)?,
        })
    }
}

/// Receive queues; a driver that does not say how many has one.
fn queues(socket: &UdpSocket, name: &str) -> u32 {
    let mut channels = Channels {
        command: CHANNELS,
        ..Channels::default()
    };
    let answered = ask(
        socket,
        name,
        libc::SIOCETHTOOL as _,
        (&raw mut channels).cast(),
    );
    match answered {
        Ok(_) => (channels.receiving + channels.combined).max(1),
        Err(_) => 1,
    }
}

/// One question about an interface. `data` is null, or what this kind of question fills in besides.
fn ask(
    socket: &UdpSocket,
    name: &str,
    question: libc::Ioctl,
    data: *mut libc::c_char,
) -> io::Result<libc::ifreq> {
    // SAFETY: all-zero octets are a valid value of this plain C struct.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    if !data.is_null() {
        request.ifr_ifru.ifru_data = data;
    }
    // SAFETY: the request is live and its name ends with a zero, as it is shorter than the array; `data` is null or the struct
    // that belongs to the question; the socket is open.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), question, &raw mut request) };
    match result {
        0 => Ok(request),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The addresses of this interface and of the loopback interface, but for those that mean this host on every host.
fn addresses(name: &str) -> io::Result<Vec<IpAddr>> {
    let mut first = ptr::null_mut();
    // SAFETY: the pointer is live; the list that it gets is freed below.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut next = first;
    // SAFETY: entries of the list are live until it is freed, and the last has no next one.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.ifa_next;
        // SAFETY: every entry has a name that ends with a zero.
        let of = unsafe { CStr::from_ptr(entry.ifa_name) };
        let is_loopback = entry.ifa_flags & libc::IFF_LOOPBACK as u32 != 0;
        if of.to_bytes() != name.as_bytes() && !is_loopback {
            continue;
        }
        // SAFETY: an address, where there is one, is as long as its family says, and aligned.
        let address = unsafe { entry.ifa_addr.as_ref().and_then(|address| read(address)) };
        found.extend(address.filter(|ip| !ip.is_loopback()));
    }
    // SAFETY: the list is the one that was given, and no entry is used any more.
    unsafe { libc::freeifaddrs(first) };
    found.sort();
    found.dedup();
    Ok(found)
}

/// # Safety
/// The address is as long as its family says.
unsafe fn read(address: &libc::sockaddr) -> Option<IpAddr> {
    let start = &raw const *address;
    match i32::from(address.sa_family) {
        libc::AF_INET => {
            // SAFETY: the family says what it is; the read copes with any alignment.
            let address = unsafe { start.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let address = unsafe { start.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(address.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_ethernet_interface_is_named() {
        let error = Interface::look("nowhere0").unwrap_err();
        assert_eq!(error.to_string(), "no interface nowhere0");
        for name in ["a\0b", "much-too-long-for-a-name", ""] {
            assert_eq!(
                Interface::look(name).unwrap_err().kind(),
                io::ErrorKind::NotFound
            );
        }
        let error = Interface::look("lo").unwrap_err();
        assert_eq!(error.to_string(), "lo is no Ethernet interface");
    }
}
