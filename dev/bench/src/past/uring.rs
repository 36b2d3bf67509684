//! A responder on io_uring: one receive that goes on for ever (multishot) into buffers that the kernel chooses from a ring,
//! and a request to send for each answer; one system call for all that is there.

#![allow(
    unsafe_code,
    reason = "requests hold pointers and have no safe form; each block says why it is sound"
)]

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::io;
use std::mem;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::{BufRingEntry, Fd, RecvMsgOut};
use io_uring::{IoUring, cqueue, opcode, squeue};

use crate::null::Shape;

/// Buffers; a power of two.
const BUFFERS: u16 = 512;
/// Octets of each.
const ROOM: usize = 2048;
/// Octets in front of a datagram in its buffer: the kernel's account of it, then the address.
const ADDRESS: usize = 16;
/// Marks the receive among the completions; others are numbers of buffers.
const RECEIVE: u64 = u64::MAX;
/// The group that the buffers are known by.
const GROUP: u16 = 0;

/// Answers until there is an error.
pub(super) fn serve(socket: &UdpSocket, shape: Shape) -> io::Result<()> {
    let mut ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_cqsize(4 * u32::from(BUFFERS))
        .build(2 * u32::from(BUFFERS))?;
    let mut buffers = Buffers::new();
    // SAFETY: the ring of buffers is page-aligned, has as many entries as stated and lives until the process ends.
    unsafe {
        let address = buffers.ring.as_ptr() as u64;
        let submitter = ring.submitter();
        submitter.register_buf_ring_with_flags(address, BUFFERS, GROUP, 0)?;
    }
    // SAFETY: all-zero octets are a valid value of this plain C struct.
    let mut receive: libc::msghdr = unsafe { mem::zeroed() };
    receive.msg_namelen = ADDRESS as libc::socklen_t;
    let fd = Fd(socket.as_raw_fd());
    let mut armed = false;
    let mut completed = Vec::new();
    loop {
        if !armed {
            let request = opcode::RecvMsgMulti::new(fd, &raw const receive, GROUP);
            push(&mut ring, &request.build().user_data(RECEIVE))?;
            armed = true;
        }
        ring.submit_and_wait(1)?;
        completed.extend(ring.completion());
        for completion in completed.drain(..) {
            if completion.user_data() != RECEIVE {
                buffers.give(completion.user_data() as u16);
                continue;
            }
            // Without a free buffer the receive ends, and is asked for anew.
            armed = cqueue::more(completion.flags());
            let (Ok(length), Some(buffer)) = (
                usize::try_from(completion.result()),
                cqueue::buffer_select(completion.flags()),
            ) else {
                continue;
            };
            match buffers.answer(buffer, length, &receive, shape) {
                Some(header) => {
                    let request = opcode::SendMsg::new(fd, header);
                    push(&mut ring, &request.build().user_data(buffer.into()))?;
                }
                None => buffers.give(buffer),
            }
        }
    }
}

/// Lines a request up; where there is no room, what is there is handed over first.
fn push(ring: &mut IoUring, request: &squeue::Entry) -> io::Result<()> {
    loop {
        // SAFETY: what the requests point to, headers, buffers and the socket, lives until the process ends, and a buffer
        // is not touched between the request to send it and that request's completion.
        if unsafe { ring.submission().push(request) }.is_ok() {
            return Ok(());
        }
        ring.submit()?;
    }
}

/// What datagrams are received into and answers sent from.
struct Buffers {
    octets: Box<[[u8; ROOM]]>,
    slices: Box<[libc::iovec]>,
    headers: Box<[libc::msghdr]>,
    /// Shared with the kernel: the free ones.
    ring: NonNull<BufRingEntry>,
    tail: u16,
}

impl Buffers {
    fn new() -> Self {
        let count = usize::from(BUFFERS);
        let layout = Layout::array::<BufRingEntry>(count).and_then(|array| array.align_to(4096));
        let layout = layout.expect("a few kilobytes");
        // SAFETY: the layout is not empty.
        let ring = NonNull::new(unsafe { alloc_zeroed(layout) }.cast());
        // SAFETY: all-zero octets are a valid value of these plain C structs.
        let (slice, header) = unsafe { (mem::zeroed(), mem::zeroed()) };
        let mut made = Self {
            octets: vec![[0; ROOM]; count].into(),
            slices: vec![slice; count].into(),
            headers: vec![header; count].into(),
            ring: ring.unwrap_or_else(|| handle_alloc_error(layout)),
            tail: 0,
        };
        for buffer in 0..BUFFERS {
            made.give(buffer);
        }
        made
    }

    /// Hands a buffer to the kernel.
    fn give(&mut self, buffer: u16) {
        let place = usize::from(self.tail & (BUFFERS - 1));
        let octets = &mut self.octets[usize::from(buffer)];
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the place is within the ring, which is ours up to the tail; the tail is an aligned `u16` in the first
        // entry that the kernel reads with the same ordering.
        unsafe {
            let entry = &mut *self.ring.as_ptr().add(place);
            entry.set_addr(octets.as_mut_ptr() as u64);
            entry.set_len(ROOM as u32);
            entry.set_bid(buffer);
            let tail = BufRingEntry::tail(self.ring.as_ptr()).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }

    /// Makes a received buffer into an answer; what to send, `None` if nothing is in it.
    fn answer(
        &mut self,
        buffer: u16,
        length: usize,
        receive: &libc::msghdr,
        shape: Shape,
    ) -> Option<*const libc::msghdr> {
        let buffer = usize::from(buffer);
        let octets = &mut self.octets[buffer];
        let parsed = RecvMsgOut::parse(octets.get(..length)?, receive).ok()?;
        let front = length - parsed.payload_data().len();
        let answer = octets.get_mut(front..front + shape.size)?;
        shape.mark(answer);
        self.slices[buffer] = libc::iovec {
            iov_base: answer.as_mut_ptr().cast(),
            iov_len: shape.size,
        };
        let header = &mut self.headers[buffer];
        header.msg_name = octets[front - ADDRESS..].as_mut_ptr().cast();
        header.msg_namelen = ADDRESS as libc::socklen_t;
        header.msg_iov = &raw mut self.slices[buffer];
        header.msg_iovlen = 1;
        Some(&raw const *header)
    }
}
