//! The open loop over UDP: queries at a fixed rate, whatever the server does meanwhile. A latency counts from the moment
//! the query was due, so that a pause of the server is seen by every query that it delays, not by the first one only.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::{Ids, LOST_AFTER, Slot, Tally, Turn};
use crate::histogram::Histogram;
use crate::mmsg::{Receiver, Sender, Wait};
use crate::questions::Questions;

const SOCKETS: usize = 16;
/// Slots of a socket: at 300,000 queries a second, 200 ms of silence fit into all of them.
const SLOTS: usize = 1 << IDS.bits;
const IDS: Ids = Ids { bits: 12 };
/// Queries of a socket sent at once at most, and answers taken.
const BATCH: usize = 32;
const LOOK: Duration = Duration::from_millis(20);
/// Answers that the client's own socket can hold while it looks elsewhere.
const RECEIVE_BUFFER: usize = 4 << 20;

/// What an open loop saw.
pub(crate) struct Paced {
    pub(crate) tally: Tally,
    pub(crate) latency: Histogram,
    /// Queries that were due and not sent, as every slot waited: lost as well.
    pub(crate) unsent: u64,
}

struct Client {
    socket: UdpSocket,
    slots: Vec<Slot>,
    due: Vec<Instant>,
    free: Vec<u16>,
}

/// Asks at `rate` queries a second until `done` says so (it is called a few hundred times a second), and waits for the
/// last answers.
pub(crate) fn ask(
    server: SocketAddr,
    questions: &Questions,
    rate: f64,
    done: &mut dyn FnMut(Duration) -> bool,
) -> io::Result<Paced> {
    let start = Instant::now();
    let mut clients = (0..SOCKETS)
        .map(|_| client(server, start))
        .collect::<io::Result<Vec<_>>>()?;
    let mut turn = Turn::new(questions);
    let (mut receiver, mut sender) = (Receiver::new(BATCH), Sender::new(BATCH));
    let mut seen = Paced {
        tally: Tally::default(),
        latency: Histogram::new(),
        unsent: 0,
    };
    let interval = Duration::from_secs_f64(1.0 / rate);
    let (mut due, mut looked, mut at) = (start, start, 0);
    let mut until = None;
    loop {
        let now = Instant::now();
        if now - looked >= LOOK {
            looked = now;
            clients
                .iter_mut()
                .for_each(|client| give_up(client, now, &mut seen));
            if until.is_none() && done(now - start) {
                until = Some(now + LOST_AFTER + 2 * LOOK);
            }
        }
        if until.is_some_and(|until| now >= until) {
            seen.tally.elapsed = now - start;
            return Ok(seen);
        }
        let client = &mut clients[at];
        at = (at + 1) % SOCKETS;
        // A socket is given what became due since the one before was served.
        while until.is_none() && due <= now && !sender.is_full() {
            match client.free.pop() {
                Some(place) => {
                    let place = usize::from(place);
                    let (slot, number) = (&mut client.slots[place], turn.take());
                    *slot = Slot {
                        question: number as u32,
                        round: slot.round.wrapping_add(1),
                        waits: true,
                    };
                    client.due[place] = due;
                    sender.push(questions.message(number), IDS.id(place, slot.round));
                }
                None => seen.unsent += 1,
            }
            due += interval;
        }
        sender.flush(&client.socket);
        for index in 0..receiver.receive(&client.socket, Wait::No)? {
            let answer = receiver.datagram(index);
            let Some(place) = IDS.slot(&client.slots, answer) else {
                seen.tally.stray += 1;
                continue;
            };
            let slot = &mut client.slots[place];
            slot.waits = false;
            seen.tally.count(questions, slot.question as usize, answer);
            seen.latency
                .add(now.saturating_duration_since(client.due[place]));
            client.free.push(place as u16);
        }
    }
}

fn client(server: SocketAddr, now: Instant) -> io::Result<Client> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(server)?;
    // The kernel gives what `net.core.rmem_max` allows.
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
    Ok(Client {
        socket,
        slots: vec![Slot::default(); SLOTS],
        due: vec![now; SLOTS],
        free: (0..SLOTS as u16).rev().collect(),
    })
}

fn give_up(client: &mut Client, now: Instant, seen: &mut Paced) {
    for (place, slot) in client.slots.iter_mut().enumerate() {
        if slot.waits && now.saturating_duration_since(client.due[place]) >= LOST_AFTER {
            slot.waits = false;
            seen.tally.lost += 1;
            client.free.push(place as u16);
        }
    }
}
