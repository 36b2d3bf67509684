//! Many datagrams per system call, for a client of one connected socket and for a server that only answers.
//!
//! The kernel is given pointers into boxed arrays that these structs own, never move and never resize. (rustix has a safe
//! `sendmmsg`, whose headers borrow the buffers and would have to be made anew for every batch, and no `recvmmsg`.)

#![allow(
    unsafe_code,
    reason = "the batched system calls have no safe form; each block says why it is sound"
)]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd};

/// Octets of one datagram, either way; what is longer is cut, and then counted as wrong.
pub(crate) const SIZE: usize = 1536;

/// Buffers that datagrams are received into.
pub(crate) struct Receiver {
    buffers: Box<[[u8; SIZE]]>,
    names: Box<[libc::sockaddr_storage]>,
    slices: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

/// Whether to wait for the first datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// For as long as it takes.
    Yes,
    /// Take what is there.
    No,
}

impl Receiver {
    /// Room for so many datagrams in a call.
    pub(crate) fn new(count: usize) -> Self {
        // SAFETY: all-zero octets are a valid value of these plain C structs (null pointers, zero lengths).
        let (name, slice, header): (libc::sockaddr_storage, libc::iovec, libc::mmsghdr) =
            unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        let mut made = Self {
            buffers: vec![[0; SIZE]; count].into(),
            names: vec![name; count].into(),
            slices: vec![slice; count].into(),
            headers: vec![header; count].into(),
        };
        for index in 0..count {
            made.slices[index].iov_base = made.buffers[index].as_mut_ptr().cast();
            let header = &mut made.headers[index].msg_hdr;
            header.msg_name = (&raw mut made.names[index]).cast();
            header.msg_iov = &raw mut made.slices[index];
            header.msg_iovlen = 1;
        }
        made
    }

    /// Takes what the socket has; returns how many, 0 if there is none and it was not to wait.
    pub(crate) fn receive(&mut self, socket: impl AsFd, wait: Wait) -> io::Result<usize> {
        for (header, slice) in self.headers.iter_mut().zip(&mut self.slices) {
            header.msg_hdr.msg_namelen =
                mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            slice.iov_len = SIZE;
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
                // An answer of a server that is not there; the queries count as lost.
                error if error.kind() == io::ErrorKind::ConnectionRefused => Ok(0),
                error => Err(error),
            },
        }
    }

    /// A datagram of the last `receive`.
    pub(crate) fn datagram(&self, index: usize) -> &[u8] {
        let length = (self.headers[index].msg_len as usize).min(SIZE);
        &self.buffers[index][..length]
    }

    /// Its whole buffer, for an answer to be written over it.
    pub(crate) fn buffer(&mut self, index: usize) -> &mut [u8; SIZE] {
        &mut self.buffers[index]
    }

    /// Sends the first `count` buffers back to where they came from, `length` octets of each.
    pub(crate) fn send_back(&mut self, socket: impl AsFd, count: usize, length: usize) {
        for slice in &mut self.slices[..count] {
            slice.iov_len = length.min(SIZE);
        }
        send(socket, &mut self.headers[..count]);
    }
}

/// Datagrams lined up for one connected socket.
pub(crate) struct Sender {
    buffers: Box<[[u8; SIZE]]>,
    slices: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    queued: usize,
    /// For the control message that has the kernel cut one datagram into several.
    control: Box<[u64; 4]>,
}

impl Sender {
    /// Room for so many datagrams in a call.
    pub(crate) fn new(count: usize) -> Self {
        // SAFETY: all-zero octets are a valid value of these plain C structs (null pointers, zero lengths).
        let (slice, header): (libc::iovec, libc::mmsghdr) =
            unsafe { (mem::zeroed(), mem::zeroed()) };
        let mut made = Self {
            buffers: vec![[0; SIZE]; count].into(),
            slices: vec![slice; count].into(),
            headers: vec![header; count].into(),
            queued: 0,
            control: Box::default(),
        };
        for index in 0..count {
            made.slices[index].iov_base = made.buffers[index].as_mut_ptr().cast();
            let header = &mut made.headers[index].msg_hdr;
            header.msg_iov = &raw mut made.slices[index];
            header.msg_iovlen = 1;
        }
        made
    }

    /// True if nothing more can be lined up.
    pub(crate) fn is_full(&self) -> bool {
        self.queued == self.headers.len()
    }

    /// Lines up a message with this id in its first two octets; does nothing when full.
    pub(crate) fn push(&mut self, message: &[u8], id: u16) {
        let place = self.queued;
        if place < self.headers.len() && (2..=SIZE).contains(&message.len()) {
            self.buffers[place][..message.len()].copy_from_slice(message);
            self.buffers[place][..2].copy_from_slice(&id.to_be_bytes());
            self.slices[place].iov_len = message.len();
            self.queued += 1;
        }
    }

    /// Sends what is lined up. What the kernel does not take is lost, as datagrams may be.
    pub(crate) fn flush(&mut self, socket: impl AsFd) {
        send(socket, &mut self.headers[..self.queued]);
        self.queued = 0;
    }

    /// Sends what is lined up as one datagram that the kernel cuts (udp(7), UDP_SEGMENT); all are as long as the first.
    pub(crate) fn flush_joined(&mut self, socket: impl AsFd) {
        if self.queued > 1 {
            let mut header = self.headers[0];
            header.msg_hdr.msg_iovlen = self.queued as _;
            header.msg_hdr.msg_control = self.control.as_mut_ptr().cast();
            // SAFETY: pure arithmetic on a size.
            let (length, space) = unsafe { (libc::CMSG_LEN(2), libc::CMSG_SPACE(2)) };
            header.msg_hdr.msg_controllen = space as _;
            let message = self.control.as_mut_ptr().cast::<libc::cmsghdr>();
            // SAFETY: the buffer is aligned like a `cmsghdr`, and its 32 octets hold one with two octets of data behind it.
            unsafe {
                (*message).cmsg_level = libc::SOL_UDP;
                (*message).cmsg_type = libc::UDP_SEGMENT;
                (*message).cmsg_len = length as _;
                let size = self.slices[0].iov_len as u16;
                libc::CMSG_DATA(message).cast::<u16>().write_unaligned(size);
            }
            send(socket, &mut [header]);
            self.queued = 0;
        } else {
            self.flush(socket);
        }
    }
}

/// Sends messages; one that cannot be sent does not hold up the others.
fn send(socket: impl AsFd, mut headers: &mut [libc::mmsghdr]) {
    while !headers.is_empty() {
        // SAFETY: the headers are a `Receiver`'s or `Sender`'s: their pointers lead to live boxed arrays of at least the
        // lengths stated, which nothing else touches during the call; the descriptor is borrowed, so open.
        let count = unsafe {
            libc::sendmmsg(
                socket.as_fd().as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT as _,
            )
        };
        let done = match usize::try_from(count) {
            Ok(count @ 1..) => count,
            _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => 0,
            _ => 1,
        };
        headers = &mut headers[done..];
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn what_is_sent_as_one_arrives_as_many() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(server.local_addr().unwrap()).unwrap();
        let (mut sender, mut receiver) = (Sender::new(4), Receiver::new(4));
        for id in 0..3 {
            sender.push(b"..abc", id);
        }
        sender.flush_joined(&client);
        assert_eq!(receiver.receive(&server, Wait::Yes).unwrap(), 3);
        assert_eq!(receiver.datagram(2), b"\0\x02abc");
    }

    #[test]
    fn what_is_sent_comes_back_longer_and_with_its_id() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(server.local_addr().unwrap()).unwrap();
        let (mut sender, mut receiver) = (Sender::new(4), Receiver::new(4));
        assert_eq!(receiver.receive(&client, Wait::No).unwrap(), 0);
        for id in 0..5 {
            sender.push(b"..abc", id); // the fifth has no room
        }
        assert!(sender.is_full());
        sender.flush(&client);
        assert_eq!(receiver.receive(&server, Wait::Yes).unwrap(), 4);
        assert_eq!(receiver.datagram(3), b"\0\x03abc");
        receiver.buffer(3)[5] = b'd';
        receiver.send_back(&server, 4, 6);
        assert_eq!(receiver.receive(&client, Wait::Yes).unwrap(), 4);
        assert_eq!(receiver.datagram(3), b"\0\x03abcd");
    }
}
