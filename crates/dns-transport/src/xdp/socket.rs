//! One AF_XDP socket: a receive queue of an interface, with frames of its own and the four rings that say whose they are.
//!
//! ```text
//! received frames:  ours ─fill─► kernel ─receive─► ours (one batch) ─► back
//! answers' frames:  at home ─send─► kernel ─completion─► at home
//! ```
//!
//! The two kinds never mix, so each frame has one way round, and a batch that ends by a panic leaves none behind.

#![allow(
    unsafe_code,
    reason = "AF_XDP has no safe form; each block says why it is sound"
)]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use socket2::{Domain, SockRef, Socket, Type};

use super::memory::{Entry, Mapping, Ring};
use crate::batch::BATCH;

/// Octets of a frame: half a page, of which the kernel keeps 256 before what it receives.
pub(super) const FRAME: usize = 2048;
/// Frames to receive into: as many queries as the receive buffer of a worker on sockets holds.
const RECEIVED: u32 = 4096;
/// Frames for answers, on their way together at most.
const ANSWERS: u32 = 2048;
/// Send buffer asked for, in the copying modes: each answer on its way counts with its frame and the kernel's own part.
const SEND_BUFFER: i32 = 16 << 20;
/// The kernel copies 32 answers a call: how often it is called for one batch, also if it has no memory just now.
const CALLS: usize = 8;
/// How often an idle socket is looked at, whether its interface is still there.
const LOOK_MS: i32 = 1000;
/// How long answers that the kernel did not take wait until it is called again.
const RETRY_MS: i32 = 1;

/// The socket.
pub(super) struct XdpSocket {
    socket: OwnedFd,
    frames: Mapping,
    fill: Ring<u64>,
    receive: Ring<libc::xdp_desc>,
    send: Ring<libc::xdp_desc>,
    completion: Ring<u64>,
    /// Answers' frames that are at home.
    home: Vec<u64>,
    /// Entries of `receive` that are this batch.
    batch: u32,
    zero_copy: bool,
}

/// A received frame and the room for its answer's.
pub(super) struct Slot<'s> {
    pub(super) received: &'s [u8],
    pub(super) answer: &'s mut [u8],
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// There may be something to do.
    Woken,
    /// The interface is gone: there will never be anything again.
    Gone,
}

impl XdpSocket {
    /// Binds one to a receive queue; `native` tries without copying first.
    pub(super) fn bind(interface: u32, queue: u32, native: bool) -> io::Result<Self> {
        if native && let Ok(socket) = Self::bind_with(interface, queue, true) {
            return Ok(socket);
        }
        Self::bind_with(interface, queue, false)
    }

    fn bind_with(interface: u32, queue: u32, zero_copy: bool) -> io::Result<Self> {
        let socket = Socket::new(Domain::from(libc::AF_XDP), Type::RAW, None)?;
        let _ = set(
            socket.as_fd(),
            libc::SOL_SOCKET,
            libc::SO_SNDBUFFORCE,
            &SEND_BUFFER,
        );
        let frames = Mapping::anonymous((RECEIVED + ANSWERS) as usize * FRAME)?;
        let memory = libc::xdp_umem_reg {
            addr: frames.address(),
            len: u64::from(RECEIVED + ANSWERS) * FRAME as u64,
            chunk_size: FRAME as u32,
            headroom: 0,
            flags: 0,
            tx_metadata_len: 0,
        };
        let set_up = |option, value: &u32| set(socket.as_fd(), libc::SOL_XDP, option, value);
        set(socket.as_fd(), libc::SOL_XDP, libc::XDP_UMEM_REG, &memory)
            .map_err(|error| locked(&error))?;
        set_up(libc::XDP_UMEM_FILL_RING, &RECEIVED)?;
        set_up(libc::XDP_UMEM_COMPLETION_RING, &ANSWERS)?;
        set_up(libc::XDP_RX_RING, &RECEIVED)?;
        set_up(libc::XDP_TX_RING, &ANSWERS)?;
        let at = ring_offsets(socket.as_fd())?;
        let mut made = Self {
            fill: ring(
                &socket,
                libc::XDP_UMEM_PGOFF_FILL_RING as _,
                at.fr,
                RECEIVED,
            )?,
            receive: ring(&socket, libc::XDP_PGOFF_RX_RING, at.rx, RECEIVED)?,
            send: ring(&socket, libc::XDP_PGOFF_TX_RING, at.tx, ANSWERS)?,
            completion: ring(
                &socket,
                libc::XDP_UMEM_PGOFF_COMPLETION_RING as _,
                at.cr,
                ANSWERS,
            )?,
            socket: socket.into(),
            frames,
            home: (RECEIVED..RECEIVED + ANSWERS)
                .map(|frame| u64::from(frame) * FRAME as u64)
                .collect(),
            batch: 0,
            zero_copy,
        };
        for frame in 0..RECEIVED {
            made.fill.push(u64::from(frame) * FRAME as u64);
        }
        made.fill.publish();
        let mode = if zero_copy {
            libc::XDP_ZEROCOPY
        } else {
            libc::XDP_COPY
        };
        bind(
            made.as_fd(),
            interface,
            queue,
            mode | libc::XDP_USE_NEED_WAKEUP,
        )?;
        Ok(made)
    }

    /// For the map of sockets.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// True if the network card reads and writes the frames itself.
    pub(super) fn is_zero_copy(&self) -> bool {
        self.zero_copy
    }

    /// Ends the batch before, and takes what is there: how many frames, perhaps none. Never waits.
    pub(super) fn receive(&mut self) -> usize {
        self.give_back();
        self.come_home();
        self.batch = self.receive.available(BATCH as u32);
        self.batch as usize
    }

    /// The frame at `index`, below what `receive` returned, with room for an answer; `None` if no frame is at home, or the
    /// kernel told of one that does not exist.
    pub(super) fn slot(&mut self, index: usize) -> Option<Slot<'_>> {
        let entry = self.receive.at(index as u32);
        let (start, answer) = (entry.addr as usize, *self.home.last()? as usize);
        let end = start.checked_add(entry.len as usize)?;
        if end > RECEIVED as usize * FRAME {
            return None;
        }
        let (received, answer) = self.frames.pair(start..end, answer..answer + FRAME)?;
        Some(Slot { received, answer })
    }

    /// Lines up the first `length` octets of the room that `slot` gave last. False if there is no place for it.
    pub(super) fn queue(&mut self, length: usize) -> bool {
        let Some(&address) = self.home.last() else {
            return false;
        };
        let entry = libc::xdp_desc {
            addr: address,
            len: length.min(FRAME) as u32,
            options: 0,
        };
        let queued = self.send.push(entry);
        if queued {
            self.home.pop();
        }
        queued
    }

    /// Has the kernel send what is lined up. What it does not take now goes with the next call. Never waits.
    pub(super) fn send(&mut self) -> io::Result<()> {
        self.send.publish();
        for _ in 0..CALLS {
            if self.send.is_consumed() || !self.send.needs_call() {
                return Ok(());
            }
            match call(self.as_fd()) {
                // The network card has been told, and goes on by itself.
                Ok(()) if self.zero_copy => return Ok(()),
                Ok(()) => {}
                Err(error) => match error.raw_os_error() {
                    // A budget is used up, the queue is full, or memory is short.
                    Some(libc::EAGAIN | libc::EBUSY | libc::ENOBUFS | libc::EINTR) => {}
                    _ => return Err(error),
                },
            }
        }
        Ok(())
    }

    /// Waits until there is something to receive or the other end of `stop` is closed.
    pub(super) fn wait(&mut self, stop: &UnixStream) -> io::Result<Waited> {
        let timeout = match self.send.is_consumed() {
            true => LOOK_MS,
            false => RETRY_MS,
        };
        let [socket, stop] = [self.socket.as_raw_fd(), stop.as_raw_fd()];
        let mut both = [socket, stop].map(|fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        });
        // SAFETY: two live entries; the descriptors are open.
        match unsafe { libc::poll(both.as_mut_ptr(), 2, timeout) } {
            // Nothing wakes a socket whose interface has been removed.
            0 if self.has_failed() => Ok(Waited::Gone),
            0.. => Ok(Waited::Woken),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn has_failed(&self) -> bool {
        !matches!(SockRef::from(&self.socket).take_error(), Ok(None))
    }

    /// Gives the frames of the last batch to the kernel again.
    fn give_back(&mut self) {
        if self.batch == 0 {
            return;
        }
        for index in 0..self.batch {
            // An entry says where the packet is, which is somewhat behind the start of its frame.
            let frame = self.receive.at(index).addr / FRAME as u64 * FRAME as u64;
            // There are as many places as frames.
            self.fill.push(frame);
        }
        self.fill.publish();
        self.receive.release(mem::take(&mut self.batch));
        if self.fill.needs_call() {
            let mut one = libc::pollfd {
                fd: self.socket.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one live entry; the descriptor is open.
            unsafe { libc::poll(&raw mut one, 1, 0) };
        }
    }

    /// Takes back the frames that have been sent.
    fn come_home(&mut self) {
        let count = self.completion.available(ANSWERS);
        for index in 0..count {
            // No more than left: there is room.
            self.home.push(self.completion.at(index));
        }
        if count > 0 {
            self.completion.release(count);
        }
    }
}

fn ring<T: Entry>(
    socket: &Socket,
    page: libc::off_t,
    offsets: libc::xdp_ring_offset,
    entries: u32,
) -> io::Result<Ring<T>> {
    Ring::new(socket.as_fd(), page, offsets, entries)
}

/// The kernel pins the frames, which counts as locked memory.
fn locked(error: &io::Error) -> io::Error {
    let text = match error.raw_os_error() {
        Some(libc::ENOBUFS | libc::ENOMEM) => {
            " (locked memory: LimitMEMLOCK= of the unit, or `ulimit -l`)"
        }
        _ => "",
    };
    io::Error::new(error.kind(), format!("{error}{text}"))
}

fn ring_offsets(socket: BorrowedFd<'_>) -> io::Result<libc::xdp_mmap_offsets> {
    // SAFETY: all-zero octets are a valid value of this plain C struct.
    let mut offsets: libc::xdp_mmap_offsets = unsafe { mem::zeroed() };
    let size = size_of_val(&offsets) as libc::socklen_t;
    let mut length = size;
    // SAFETY: pointer and length describe a live struct that the option fills in; the descriptor is open.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_XDP,
            libc::XDP_MMAP_OFFSETS,
            (&raw mut offsets).cast(),
            &raw mut length,
        )
    };
    match (result, length == size) {
        (0, true) => Ok(offsets),
        // Before Linux 5.4 rings had no flags.
        (0, false) => Err(io::ErrorKind::Unsupported.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn set<T>(socket: BorrowedFd<'_>, level: i32, option: i32, value: &T) -> io::Result<()> {
    // SAFETY: pointer and length describe a live value, which is only read; the descriptor is open.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const *value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn bind(socket: BorrowedFd<'_>, interface: u32, queue: u32, flags: u16) -> io::Result<()> {
    let address = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: flags,
        sxdp_ifindex: interface,
        sxdp_queue_id: queue,
        sxdp_shared_umem_fd: 0,
    };
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: pointer and length describe a live address of the socket's family; the descriptor is open.
    match unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Tells the kernel that there is something to send.
fn call(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no octets and no address are passed; the descriptor is open.
    let result = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            std::ptr::null(),
            0,
            libc::MSG_DONTWAIT,
            std::ptr::null(),
            0,
        )
    };
    match result {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
