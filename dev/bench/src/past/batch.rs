//! Batches with what a plain responder leaves out: the address that was asked (IP_PKTINFO), several datagrams of one sender
//! taken as one (UDP_GRO), and several answers to one client sent as one (UDP_SEGMENT, "GSO"); and socket options without a
//! safe form.
//!
//! The kernel is given pointers into boxed arrays that the struct owns, never moves and never resizes.

#![allow(
    unsafe_code,
    reason = "batched system calls, control messages and options have no safe form; each block says why it is sound"
)]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd};

use crate::mmsg::Wait;
use crate::null::Shape;

/// Octets of a buffer that holds one datagram.
const ONE: usize = 2048;
/// Octets of one that may hold many: the longest that the kernel joins.
const MANY: usize = 1 << 16;
/// Answers that may leave as one: what the kernel cuts at most is 64, and 64 KiB in all (udp(7), UDP_MAX_SEGMENTS).
const TOGETHER: usize = 64;
/// Octets that may leave as one.
const TOGETHER_OCTETS: usize = 65_000;
/// Room for a control message.
const CONTROL: usize = 64;

/// Control messages must be aligned like their header.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL]);

/// Room for any address.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Name([u8; 128]);

/// What a batch does beside receiving and sending.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extras {
    /// The socket reports the address that was asked: answers are sent from it.
    pub(super) pktinfo: bool,
    /// The socket joins datagrams of one sender.
    pub(super) gro: bool,
    /// Answers to one client that stand side by side leave as one.
    pub(super) gso: bool,
}

/// Buffers for one batch.
pub(super) struct Batch {
    extras: Extras,
    room: usize,
    buffers: Box<[u8]>,
    names: Box<[Name]>,
    controls: Box<[Control]>,
    slices: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    /// Datagrams in each buffer.
    datagrams: Box<[usize]>,
    joined: Box<[libc::mmsghdr]>,
    joined_controls: Box<[Control]>,
}

impl Batch {
    pub(super) fn new(count: usize, extras: Extras) -> Self {
        // SAFETY: all-zero octets are a valid value of these plain C structs (null pointers, zero lengths).
        let (slice, header): (libc::iovec, libc::mmsghdr) =
            unsafe { (mem::zeroed(), mem::zeroed()) };
        let room = if extras.gro { MANY } else { ONE };
        let mut made = Self {
            extras,
            room,
            buffers: vec![0; room * count].into(),
            names: vec![Name([0; 128]); count].into(),
            controls: vec![Control([0; CONTROL]); count].into(),
            slices: vec![slice; count].into(),
            headers: vec![header; count].into(),
            datagrams: vec![1; count].into(),
            joined: vec![header; count].into(),
            joined_controls: vec![Control([0; CONTROL]); count].into(),
        };
        for (index, buffer) in made.buffers.chunks_mut(room).enumerate() {
            made.slices[index].iov_base = buffer.as_mut_ptr().cast();
            let header = &mut made.headers[index].msg_hdr;
            header.msg_name = (&raw mut made.names[index]).cast();
            header.msg_iov = &raw mut made.slices[index];
            header.msg_iovlen = 1;
            if extras.pktinfo || extras.gro {
                header.msg_control = (&raw mut made.controls[index]).cast();
            }
        }
        made
    }

    /// Takes what the socket has; how many buffers that fills.
    pub(super) fn receive(&mut self, socket: impl AsFd, wait: Wait) -> io::Result<usize> {
        for (header, slice) in self.headers.iter_mut().zip(&mut self.slices) {
            let header = &mut header.msg_hdr;
            header.msg_namelen = mem::size_of::<Name>() as libc::socklen_t;
            header.msg_controllen = match header.msg_control.is_null() {
                true => 0,
                false => CONTROL,
            };
            slice.iov_len = self.room;
        }
        let flags = match wait {
            Wait::Yes => libc::MSG_WAITFORONE,
            Wait::No => libc::MSG_DONTWAIT,
        };
        // SAFETY: every header's pointers lead to live boxed arrays of the lengths stated; nothing else touches them
        // during the call; the descriptor is borrowed, so open.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_fd().as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as libc::c_uint,
                flags as _,
                std::ptr::null_mut(),
            )
        };
        match usize::try_from(count) {
            Ok(count) => Ok(count),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                error => Err(error),
            },
        }
    }

    /// Writes answers over the first `count` buffers and sends them.
    pub(super) fn answer(&mut self, socket: impl AsFd, count: usize, shape: Shape) {
        for index in 0..count {
            self.write(index, shape);
        }
        if self.extras.gso {
            let joined = self.join(count, shape.size);
            send(socket, &mut self.joined[..joined]);
        } else {
            send(socket, &mut self.headers[..count]);
        }
    }

    /// Makes the datagrams of a buffer into answers, in place: from the last on, as answers are longer.
    fn write(&mut self, index: usize, shape: Shape) {
        let (header, length) = (
            &mut self.headers[index].msg_hdr,
            self.headers[index].msg_len as usize,
        );
        let each = match self.extras.gro {
            true => joined_size(header).unwrap_or(length),
            false => length,
        };
        if self.extras.pktinfo {
            forget_interface(header);
        } else {
            header.msg_controllen = 0;
        }
        let each = each.max(1);
        let buffer = &mut self.buffers[index * self.room..][..self.room];
        let datagrams = length.div_ceil(each).min(self.room / shape.size.max(1));
        for number in (0..datagrams).rev() {
            let (from, to) = (number * each, number * shape.size);
            buffer.copy_within(from..(from + each.min(shape.size)).min(length), to);
            shape.mark(&mut buffer[to..to + shape.size]);
        }
        self.datagrams[index] = datagrams;
        self.slices[index].iov_len = datagrams * shape.size;
    }

    /// Lines up the answers, those to one client side by side as one; how many that makes.
    fn join(&mut self, count: usize, size: usize) -> usize {
        let most = TOGETHER.min(TOGETHER_OCTETS / size.max(1));
        let (mut at, mut made) = (0, 0);
        while at < count {
            let (mut end, mut datagrams) = (at + 1, self.datagrams[at]);
            while end < count
                && self.names[end].0[..16] == self.names[at].0[..16]
                && datagrams + self.datagrams[end] <= most
            {
                datagrams += self.datagrams[end];
                end += 1;
            }
            let mut header = self.headers[at].msg_hdr;
            header.msg_iovlen = (end - at) as _;
            if datagrams > 1 {
                let control = &mut self.joined_controls[made];
                header.msg_controllen = cut_into(control, size as u16);
                header.msg_control = (&raw mut *control).cast();
            }
            self.joined[made].msg_hdr = header;
            (at, made) = (end, made + 1);
        }
        made
    }
}

/// Sends messages; one that cannot be sent does not hold up the others.
fn send(socket: impl AsFd, mut headers: &mut [libc::mmsghdr]) {
    while !headers.is_empty() {
        // SAFETY: the headers are a `Batch`'s: their pointers lead to live boxed arrays of at least the lengths stated,
        // which nothing else touches during the call; the descriptor is borrowed, so open.
        let count = unsafe {
            libc::sendmmsg(
                socket.as_fd().as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT as _,
            )
        };
        let done = usize::try_from(count).map_or(1, |count| count.max(1));
        headers = &mut headers[done..];
    }
}

/// The size of the datagrams that were joined into one, where they were.
fn joined_size(header: &libc::msghdr) -> Option<usize> {
    // SAFETY: the header's control pointer and length describe a live, aligned buffer, which is all that the macro reads;
    // it returns null if no whole header of a message is in it.
    let first = unsafe { libc::CMSG_FIRSTHDR(header).as_ref() }?;
    if (first.cmsg_level, first.cmsg_type) != (libc::SOL_UDP, libc::UDP_GRO) {
        return None;
    }
    // SAFETY: the kernel puts one `int` behind the header; the read copes with any alignment.
    let size = unsafe {
        libc::CMSG_DATA(first)
            .cast::<libc::c_int>()
            .read_unaligned()
    };
    usize::try_from(size).ok()
}

/// Lets the routes choose the way back.
fn forget_interface(header: &libc::msghdr) {
    // SAFETY: as above.
    let Some(first) = (unsafe { libc::CMSG_FIRSTHDR(header).as_ref() }) else {
        return;
    };
    if (first.cmsg_level, first.cmsg_type) == (libc::IPPROTO_IP, libc::IP_PKTINFO) {
        // SAFETY: the kernel puts one `in_pktinfo` behind the header; nothing else refers to the buffer.
        unsafe {
            let place = libc::CMSG_DATA(first).cast::<libc::in_pktinfo>();
            let mut info = place.read_unaligned();
            info.ipi_ifindex = 0;
            place.write_unaligned(info);
        }
    }
}

/// Writes the control message that has the kernel cut what is sent into datagrams of this size; its length.
fn cut_into(control: &mut Control, size: u16) -> usize {
    // SAFETY: pure arithmetic on a size; both are far below `CONTROL`.
    let (length, space) = unsafe { (libc::CMSG_LEN(2), libc::CMSG_SPACE(2)) };
    // SAFETY: the buffer is aligned like a `cmsghdr` and longer than one with two octets of data behind it.
    unsafe {
        let header = (&raw mut *control).cast::<libc::cmsghdr>();
        (*header).cmsg_level = libc::SOL_UDP;
        (*header).cmsg_type = libc::UDP_SEGMENT;
        (*header).cmsg_len = length as _;
        libc::CMSG_DATA(header).cast::<u16>().write_unaligned(size);
    }
    space as usize
}

/// Sets an option that is one number.
pub(super) fn set_option(
    socket: impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: pointer and length describe one live `c_int`; the descriptor is borrowed, so open.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            mem::size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    done(result)
}

/// Of the sockets that share this one's port, the one whose place is the number of the core at work is given the datagram.
pub(super) fn steer_by_core(socket: impl AsFd) -> io::Result<()> {
    // A = the core; return A. (Classic BPF; the kernel's include/uapi/linux/filter.h.)
    let mut program = [
        libc::sock_filter {
            code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16,
            jt: 0,
            jf: 0,
            k: (libc::SKF_AD_OFF + libc::SKF_AD_CPU) as u32,
        },
        libc::sock_filter {
            code: (libc::BPF_RET | libc::BPF_A) as u16,
            jt: 0,
            jf: 0,
            k: 0,
        },
    ];
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: pointer and length describe one live `sock_fprog`, whose pointer and length describe a live array; the
    // kernel copies both.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            mem::size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    done(result)
}

fn done(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
