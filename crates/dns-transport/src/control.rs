//! What goes along with a datagram: its addresses, control messages (cmsg(3)) and the options of its socket.

#![allow(
    unsafe_code,
    reason = "control messages are C structs in a run of octets; each block says why it is sound"
)]

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Room for one control message with the address that was asked (`in6_pktinfo` is the larger, 40 octets).
pub(crate) const CONTROL: usize = 64;

/// Control messages must be aligned like their header.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(crate) struct Control(pub(crate) [u8; CONTROL]);

/// Copies a message's control messages, and adds the one that has the kernel cut it into answers of this size; the length of
/// both.
pub(crate) fn add_segment_size(header: &libc::msghdr, control: &mut Control, size: u16) -> usize {
    // SAFETY: pure arithmetic on a size.
    let (length, space) = unsafe { (libc::CMSG_LEN(2), libc::CMSG_SPACE(2)) };
    // What the kernel wrote, aligned as it aligns the next one: at most 40 octets of `CONTROL`.
    let before = match header.msg_control.is_null() {
        true => 0,
        false => header
            .msg_controllen
            .next_multiple_of(mem::align_of::<Control>()),
    };
    if before + space as usize > CONTROL {
        return 0;
    }
    // SAFETY: `before` octets are there in the message's own `Control`, another than this one; behind them is room for a
    // header and two octets, aligned, as just seen.
    unsafe {
        let to = control.0.as_mut_ptr();
        if before > 0 {
            std::ptr::copy_nonoverlapping(header.msg_control.cast::<u8>(), to, before);
        }
        let message = to.add(before).cast::<libc::cmsghdr>();
        (*message).cmsg_level = libc::SOL_UDP;
        (*message).cmsg_type = libc::UDP_SEGMENT;
        (*message).cmsg_len = length as _;
        libc::CMSG_DATA(message).cast::<u16>().write_unaligned(size);
    }
    before + space as usize
}

/// Reads the address the kernel wrote.
pub(crate) fn read_address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is a `sockaddr_in`, which is smaller than the storage
            // and needs no stricter alignment.
            let address = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(address.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for `sockaddr_in6`.
            let address = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
            let port = u16::from_be(address.sin6_port);
            Some(SocketAddrV6::new(ip, port, address.sin6_flowinfo, address.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// The first control message as (level, type, start of its data), if it has room for `T`.
fn control_data<T>(header: &libc::msghdr, level: i32, kind: i32) -> Option<*mut T> {
    // SAFETY: the header's control pointer and length describe a live, aligned buffer, which is all that
    // the macro reads to find the first message; it returns null if there is none.
    let first = unsafe { libc::CMSG_FIRSTHDR(header) };
    if first.is_null() {
        return None;
    }
    // SAFETY: not null, so a whole `cmsghdr` lies inside the control buffer.
    let message = unsafe { &*first };
    // SAFETY: pure arithmetic on a size.
    let needed = unsafe { libc::CMSG_LEN(mem::size_of::<T>() as u32) } as usize;
    let fits = message.cmsg_len >= needed && header.msg_controllen >= needed;
    if message.cmsg_level != level || message.cmsg_type != kind || !fits {
        return None;
    }
    // SAFETY: `first` points to a message long enough to have data behind its header.
    Some(unsafe { libc::CMSG_DATA(first) }.cast())
}

/// The address a datagram was sent to.
pub(crate) fn local_address(header: &libc::msghdr) -> Option<IpAddr> {
    if let Some(info) = control_data::<libc::in_pktinfo>(header, libc::IPPROTO_IP, libc::IP_PKTINFO)
    {
        // SAFETY: `control_data` checked kind and length; the read copes with any alignment.
        let info = unsafe { info.read_unaligned() };
        return Some(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr)).into());
    }
    let info = control_data::<libc::in6_pktinfo>(header, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO)?;
    // SAFETY: as above.
    let info = unsafe { info.read_unaligned() };
    Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into())
}

/// Keeps the address that was asked as the sender's, but lets the routes choose the way back;
/// link-local addresses mean nothing without their interface and keep it.
pub(crate) fn forget_interface(header: &mut libc::msghdr) {
    if let Some(info) = control_data::<libc::in_pktinfo>(header, libc::IPPROTO_IP, libc::IP_PKTINFO)
    {
        // SAFETY: `control_data` checked kind and length; nothing else refers to the buffer.
        unsafe {
            let mut value = info.read_unaligned();
            value.ipi_ifindex = 0;
            info.write_unaligned(value);
        }
    }
    let info = control_data::<libc::in6_pktinfo>(header, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO);
    if let Some(info) = info {
        // SAFETY: as above.
        unsafe {
            let mut value = info.read_unaligned();
            if !Ipv6Addr::from(value.ipi6_addr.s6_addr).is_unicast_link_local() {
                value.ipi6_ifindex = 0;
                info.write_unaligned(value);
            }
        }
    }
}

/// Asks the kernel to tell the address each datagram was sent to (RFC 3542 §6.2 for IPv6).
pub(crate) fn report_local_address(socket: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    let (level, option) = if v6 {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
    } else {
        (libc::IPPROTO_IP, libc::IP_PKTINFO)
    };
    set_option(socket, level, option, 1)
}

/// Answers never carry "don't fragment": path MTU messages can be forged (RFC 9715 §3.1, appendix A).
pub(crate) fn ignore_path_mtu(socket: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    if v6 {
        set_option(
            socket,
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_OMIT,
        )
    } else {
        set_option(
            socket,
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_OMIT,
        )
    }
}

pub(crate) fn set_option(
    socket: BorrowedFd<'_>,
    level: i32,
    option: i32,
    value: i32,
) -> io::Result<()> {
    let value = MaybeUninit::new(value);
    // SAFETY: pointer and length describe one live `c_int`; the descriptor is borrowed, so open.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            value.as_ptr().cast(),
            mem::size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
