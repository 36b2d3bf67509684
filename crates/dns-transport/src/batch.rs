//! Many datagrams per system call: `recvmmsg` and `sendmmsg` behind a safe face.
//!
//! The kernel is given pointers into boxed arrays that this struct owns, never moves and never resizes.

#![allow(
    unsafe_code,
    reason = "the batched system calls have no safe form; each block says why it is sound"
)]

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::control::{
    CONTROL, Control, add_segment_size, forget_interface, local_address, read_address,
};

/// Datagrams per system call: with 64 the call's own cost is below a twentieth of a query's.
pub(crate) const BATCH: usize = 64;
/// Longest query taken; real ones stay below 512 octets.
pub(crate) const QUERY_MAX: usize = 2048;
/// Longest answer over UDP, whatever the client says it takes.
pub(crate) const ANSWER_MAX: usize = 4096;
/// Longest answer that leaves together with others: below what every IPv6 path carries (RFC 8200 §5).
const JOINED_MAX: usize = 1232;
/// Answers that leave as one at most: what every kernel with UDP_SEGMENT cuts (UDP_MAX_SEGMENTS).
const JOINED: usize = 64;
/// Octets of them: what an IP packet holds.
const JOINED_OCTETS: usize = 65_000;

/// Buffers for one batch. It stays on the thread that made it.
pub(crate) struct Batch {
    queries: Box<[[u8; QUERY_MAX]]>,
    answers: Box<[[u8; ANSWER_MAX]]>,
    sources: Box<[libc::sockaddr_storage]>,
    controls: Box<[Control]>,
    receive_slices: Box<[libc::iovec]>,
    send_slices: Box<[libc::iovec]>,
    received: Box<[libc::mmsghdr]>,
    /// How many of `received` hold what the last call wrote.
    count: usize,
    /// The first `queued` are answers to send.
    sending: Box<[libc::mmsghdr]>,
    queued: usize,
    /// The socket tells the address that was asked.
    with_local: bool,
    joined: Joined,
}

/// Answers to one client that stand side by side in a batch, and leave as one message that the kernel cuts (udp(7),
/// UDP_SEGMENT): for a burst, the way through routes and queues is walked once.
struct Joined {
    messages: Box<[libc::mmsghdr]>,
    controls: Box<[Control]>,
    /// For each message, how many answers.
    answers: Box<[usize]>,
    /// False once the kernel or an interface has refused.
    possible: bool,
}

/// One received datagram and the room for its answer.
pub(crate) struct Slot<'b> {
    pub(crate) query: &'b [u8],
    pub(crate) source: Option<SocketAddr>,
    pub(crate) local: Option<IpAddr>,
    /// The datagram was longer than `QUERY_MAX`; `query` is its beginning.
    pub(crate) cut: bool,
    pub(crate) answer: &'b mut [u8],
}

impl Batch {
    /// `with_local`: the socket has IP_PKTINFO or IPV6_RECVPKTINFO set, for a wildcard bind.
    pub(crate) fn new(with_local: bool) -> Self {
        // SAFETY: all-zero octets are a valid value of these plain C structs (null pointers, zero lengths).
        let (storage, slice, header): (libc::sockaddr_storage, libc::iovec, libc::mmsghdr) =
            unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        let mut batch = Self {
            queries: vec![[0; QUERY_MAX]; BATCH].into(),
            answers: vec![[0; ANSWER_MAX]; BATCH].into(),
            sources: vec![storage; BATCH].into(),
            controls: vec![Control([0; CONTROL]); BATCH].into(),
            receive_slices: vec![slice; BATCH].into(),
            send_slices: vec![slice; BATCH].into(),
            received: vec![header; BATCH].into(),
            sending: vec![header; BATCH].into(),
            count: BATCH,
            queued: 0,
            with_local,
            joined: Joined {
                messages: vec![header; BATCH].into(),
                controls: vec![Control([0; CONTROL]); BATCH].into(),
                answers: vec![1; BATCH].into(),
                possible: true,
            },
        };
        for index in 0..BATCH {
            batch.receive_slices[index] = libc::iovec {
                iov_base: batch.queries[index].as_mut_ptr().cast(),
                iov_len: QUERY_MAX,
            };
            let header = &mut batch.received[index].msg_hdr;
            header.msg_name = (&raw mut batch.sources[index]).cast();
            header.msg_iov = &raw mut batch.receive_slices[index];
            header.msg_iovlen = 1;
            if with_local {
                header.msg_control = (&raw mut batch.controls[index]).cast();
            }
        }
        batch
    }

    /// Waits for the first datagram and takes what else is there; returns how many.
    /// Zero-length datagrams count, as does a socket that was shut down.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.queued = 0;
        // The last call wrote no others.
        for message in &mut self.received[..self.count] {
            message.msg_hdr.msg_namelen =
                mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            message.msg_hdr.msg_controllen = if self.with_local { CONTROL } else { 0 };
            message.msg_hdr.msg_flags = 0;
        }
        // SAFETY: `received` holds BATCH headers whose pointers lead to live boxed arrays of the lengths
        // stated; nothing else touches them during the call; the descriptor is borrowed, so open.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.received.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_WAITFORONE as _,
                std::ptr::null_mut(),
            )
        };
        // After an error nothing is certain.
        self.count = usize::try_from(count).unwrap_or(BATCH);
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// The datagram at `index`, below what `receive` returned.
    pub(crate) fn slot(&mut self, index: usize) -> Slot<'_> {
        let message = &self.received[index];
        let length = (message.msg_len as usize).min(QUERY_MAX);
        let local = if self.with_local {
            local_address(&message.msg_hdr)
        } else {
            None
        };
        Slot {
            query: &self.queries[index][..length],
            // The kernel leaves no address if there was no datagram, only the end of the socket.
            source: if message.msg_hdr.msg_namelen == 0 {
                None
            } else {
                read_address(&self.sources[index])
            },
            local,
            cut: message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            answer: &mut self.answers[index],
        }
    }

    /// Lines up the first `length` octets of slot `index`'s answer for its source, from the address asked.
    pub(crate) fn queue(&mut self, index: usize, length: usize) {
        let place = self.queued;
        if place >= BATCH {
            return;
        }
        self.queued += 1;
        self.send_slices[place] = libc::iovec {
            iov_base: self.answers[index].as_mut_ptr().cast(),
            iov_len: length.min(ANSWER_MAX),
        };
        // Name and control message of the query serve the answer as they are.
        let mut header = self.received[index].msg_hdr;
        header.msg_iov = &raw mut self.send_slices[place];
        header.msg_iovlen = 1;
        header.msg_flags = 0;
        if self.with_local {
            forget_interface(&mut header);
        }
        self.sending[place] = libc::mmsghdr {
            msg_hdr: header,
            msg_len: 0,
        };
    }

    /// Answers lined up.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// Sends what is queued without ever waiting; returns how many the kernel did not take.
    pub(crate) fn send(&mut self, socket: BorrowedFd<'_>) -> usize {
        let messages = if self.joined.possible {
            self.join()
        } else {
            self.queued
        };
        let failed = if messages == self.queued {
            send_each(socket, &mut self.sending[..self.queued])
        } else {
            self.send_joined(socket, messages)
        };
        self.queued = 0;
        failed
    }

    /// Lines up the queued answers with those to one client as one message; how many messages that makes.
    fn join(&mut self) -> usize {
        let (mut first, mut made) = (0, 0);
        while first < self.queued {
            let end = self.end_of_burst(first);
            let mut header = self.sending[first].msg_hdr;
            if end - first > 1 {
                header.msg_iovlen = (end - first) as _;
                let size = self.send_slices[first].iov_len as u16;
                let control = &mut self.joined.controls[made];
                header.msg_controllen = add_segment_size(&header, control, size) as _;
                header.msg_control = (&raw mut *control).cast();
            }
            self.joined.messages[made].msg_hdr = header;
            self.joined.answers[made] = end - first;
            (first, made) = (end, made + 1);
        }
        made
    }

    /// Where the answers end that may leave with the one at `first`: to the same client, from the same address, as long, the
    /// last perhaps shorter.
    fn end_of_burst(&self, first: usize) -> usize {
        let size = self.send_slices[first].iov_len;
        let most = first + JOINED.min(JOINED_OCTETS / size.max(1));
        let mut end = first + 1;
        if size == 0 || size > JOINED_MAX {
            return end;
        }
        while end < self.queued.min(most)
            && self.send_slices[end].iov_len <= size
            && self.send_slices[end].iov_len > 0
            && same_ends(&self.sending[first].msg_hdr, &self.sending[end].msg_hdr)
        {
            end += 1;
            if self.send_slices[end - 1].iov_len < size {
                break;
            }
        }
        end
    }

    /// Sends the lined up messages. One that cannot be sent leaves answer by answer. Where it is joining that was refused,
    /// nothing is joined from now on: the kernel is too old, or the interface makes no checksums.
    fn send_joined(&mut self, socket: BorrowedFd<'_>, messages: usize) -> usize {
        let (mut failed, mut answer) = (0, 0);
        let mut at = 0;
        while at < messages {
            let sent = send_some(socket, &mut self.joined.messages[at..messages]);
            answer += self.joined.answers[at..at + sent].iter().sum::<usize>();
            at += sent;
            if at == messages {
                break;
            }
            let refused = matches!(
                io::Error::last_os_error().raw_os_error(),
                Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE | libc::EOPNOTSUPP)
            );
            let answers = self.joined.answers[at];
            let lost = send_each(socket, &mut self.sending[answer..answer + answers]);
            self.joined.possible &= answers == 1 || !refused;
            failed += lost;
            answer += answers;
            at += 1;
        }
        failed
    }
}

/// Sends messages; how many could not be sent. A full queue or an unreachable client loses one, as datagrams may be lost; the
/// others get their own chance.
fn send_each(socket: BorrowedFd<'_>, messages: &mut [libc::mmsghdr]) -> usize {
    let (mut done, mut failed) = (0, 0);
    while done < messages.len() {
        done += send_some(socket, &mut messages[done..]);
        if done < messages.len() {
            done += 1;
            failed += 1;
        }
    }
    failed
}

/// Sends messages up to the first that cannot be sent; how many that were.
fn send_some(socket: BorrowedFd<'_>, messages: &mut [libc::mmsghdr]) -> usize {
    let mut done = 0;
    while done < messages.len() {
        let rest = &mut messages[done..];
        // SAFETY: `rest` are headers of a `Batch`: their pointers lead into live boxed arrays, their lengths are within
        // them; the descriptor is borrowed, so open.
        let count = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                rest.as_mut_ptr(),
                rest.len() as libc::c_uint,
                libc::MSG_DONTWAIT as _,
            )
        };
        match usize::try_from(count) {
            Ok(count @ 1..) => done += count,
            _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            _ => break,
        }
    }
    done
}

/// True if two messages lead from the same address of ours to the same client.
fn same_ends(one: &libc::msghdr, other: &libc::msghdr) -> bool {
    // SAFETY: the names of queued messages are whole `sockaddr_storage`s in a live boxed array.
    let clients = unsafe {
        let storage = |header: &libc::msghdr| &*header.msg_name.cast::<libc::sockaddr_storage>();
        (storage(one), storage(other))
    };
    read_address(clients.0) == read_address(clients.1) && local_address(one) == local_address(other)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::time::Duration;

    use super::*;
    use crate::control::{report_local_address, set_option};

    fn receive_all(batch: &mut Batch, server: &UdpSocket, wanted: usize) -> usize {
        // Loopback delivers within the send call, so all are there.
        let count = batch.receive(server.as_fd()).unwrap();
        assert_eq!(count, wanted);
        count
    }

    #[test]
    fn an_answer_that_cannot_be_sent_does_not_hold_up_the_others() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let mut batch = Batch::new(false);
        for bad in 0..5 {
            for number in 0..5_u8 {
                client
                    .send_to(&[number], server.local_addr().unwrap())
                    .unwrap();
            }
            for index in 0..receive_all(&mut batch, &server, 5) {
                let slot = batch.slot(index);
                assert_eq!(slot.source, client.local_addr().ok());
                slot.answer[0] = slot.query[0];
                batch.queue(index, 1);
            }
            // No datagram can go to port 0: family, then the port in two octets.
            batch.sources[bad] = {
                let mut port_0 = batch.sources[bad];
                // SAFETY: the storage holds a `sockaddr_in`, smaller and no stricter aligned.
                unsafe { (*(&raw mut port_0).cast::<libc::sockaddr_in>()).sin_port = 0 };
                port_0
            };
            assert_eq!(batch.send(server.as_fd()), 1);
            for number in (0..5_u8).filter(|&number| usize::from(number) != bad) {
                let mut answer = [0; 8];
                assert_eq!(client.recv(&mut answer).unwrap(), 1);
                assert_eq!(answer[0], number);
            }
        }
    }

    /// Answers to these clients with these lengths, from a socket on `at`; each client gets its own in order, whole.
    fn answers_arrive(at: &str, batch: &mut Batch, answers: &[(usize, usize)]) {
        let server = UdpSocket::bind(at).unwrap();
        if batch.with_local {
            report_local_address(server.as_fd(), false).unwrap();
        }
        let port = server.local_addr().unwrap().port();
        let client = |_| {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            let patience = Some(Duration::from_secs(5));
            client.set_read_timeout(patience).unwrap();
            client.connect(("127.0.0.1", port)).unwrap();
            client
        };
        let clients: Vec<UdpSocket> = (0..3).map(client).collect();
        for (number, (client, _)) in answers.iter().enumerate() {
            clients[*client].send(&[number as u8]).unwrap();
        }
        for index in 0..receive_all(batch, &server, answers.len()) {
            let slot = batch.slot(index);
            let number = slot.query[0];
            slot.answer.fill(number);
            batch.queue(index, answers[usize::from(number)].1);
        }
        assert_eq!(batch.send(server.as_fd()), 0);
        for (number, (client, length)) in answers.iter().enumerate() {
            let mut answer = [0; ANSWER_MAX];
            let received = clients[*client].recv(&mut answer).unwrap();
            assert_eq!(answer[..received], vec![number as u8; *length]);
        }
    }

    const BURSTS: [(usize, usize); 12] = [
        (0, 100),
        (0, 100),
        (0, 60), // ends the first message
        (0, 100),
        (1, 100),
        (1, 1500), // too long for company
        (1, 1500),
        (1, 0),
        (2, 80),
        (2, 90),
        (2, 90),
        (0, 90),
    ];

    #[test]
    fn answers_to_one_client_leave_together_and_arrive_apart() {
        for (at, with_local) in [("127.0.0.1:0", false), ("0.0.0.0:0", true)] {
            let mut batch = Batch::new(with_local);
            answers_arrive(at, &mut batch, &BURSTS);
            assert!(batch.joined.possible);
            // Three, then one; one; one too long, twice; none; one, then two; one.
            let sizes = &batch.joined.answers[..9];
            assert_eq!(sizes, [3, 1, 1, 1, 1, 1, 1, 2, 1], "{at}");
        }
    }

    #[test]
    fn a_whole_batch_to_one_client_arrives() {
        let answers = [(0, JOINED_MAX); BATCH];
        answers_arrive("127.0.0.1:0", &mut Batch::new(false), &answers);
    }

    #[test]
    fn what_is_refused_together_leaves_answer_by_answer_from_then_on() {
        let mut batch = Batch::new(false);
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        // A socket without checksums stands for an interface without: the kernel does not cut for it.
        let (level, option) = (libc::SOL_SOCKET, libc::SO_NO_CHECK);
        set_option(server.as_fd(), level, option, 1).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..2 {
            for number in 0..4_u8 {
                let to = server.local_addr().unwrap();
                client.send_to(&[number], to).unwrap();
            }
            for index in 0..receive_all(&mut batch, &server, 4) {
                let slot = batch.slot(index);
                slot.answer[0] = slot.query[0];
                batch.queue(index, 1);
            }
            assert_eq!(batch.send(server.as_fd()), 0);
            assert!(!batch.joined.possible);
            for number in 0..4_u8 {
                let mut answer = [0; 8];
                assert_eq!(client.recv(&mut answer).unwrap(), 1);
                assert_eq!(answer[0], number);
            }
        }
    }

    #[test]
    fn a_longer_datagram_is_marked_as_cut() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut batch = Batch::new(false);
        for (length, cut) in [(QUERY_MAX, false), (QUERY_MAX + 1, true), (0, false)] {
            client
                .send_to(&vec![7; length], server.local_addr().unwrap())
                .unwrap();
            receive_all(&mut batch, &server, 1);
            let slot = batch.slot(0);
            assert_eq!((slot.cut, slot.query.len()), (cut, length.min(QUERY_MAX)));
        }
    }
}
