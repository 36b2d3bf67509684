//! The closed loop over UDP: some sockets, each with some queries under way, asked anew as soon as they are answered. It
//! spins: a client that sleeps would have the server wake it, and pay for it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::{Ids, LOST_AFTER, Load, Slot, Tally, Turn};
use crate::mmsg::{Receiver, Sender, Wait};
use crate::questions::Questions;

/// What a generator keeps under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// Sockets: as from so many resolvers.
    pub(crate) sockets: usize,
    /// Queries under way at each, at most 256.
    pub(crate) each: usize,
    /// What a socket asks at once leaves as one datagram that the kernel cuts: the questions must be of one length.
    pub(crate) joined: bool,
}

impl Window {
    /// More at each socket gain nothing, and 16 overflow a receive buffer of the default size.
    pub(crate) const USUAL: Window = Window {
        sockets: 16,
        each: 8,
        joined: false,
    };
}

/// How often lost ones are looked for.
const LOOK: Duration = Duration::from_millis(50);
/// Below 256 slots in an id.
const IDS: Ids = Ids { bits: 8 };

/// The generator.
pub(crate) struct Udp<'q> {
    questions: &'q Questions,
    turn: Turn,
    window: Window,
    sockets: Vec<Client>,
    receiver: Receiver,
    sender: Sender,
}

struct Client {
    socket: UdpSocket,
    slots: Vec<Slot>,
    sent: Vec<Instant>,
}

impl<'q> Udp<'q> {
    /// Binds its sockets; asks nothing yet.
    pub(crate) fn new(
        server: SocketAddr,
        questions: &'q Questions,
        window: Window,
    ) -> io::Result<Self> {
        let now = Instant::now();
        let client = |_| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect(server)?;
            Ok(Client {
                socket,
                slots: vec![Slot::default(); window.each],
                sent: vec![now; window.each],
            })
        };
        Ok(Self {
            questions,
            turn: Turn::new(questions),
            window,
            sockets: (0..window.sockets).map(client).collect::<io::Result<_>>()?,
            receiver: Receiver::new(window.each),
            sender: Sender::new(window.each),
        })
    }

    /// Takes the answers of one socket and asks anew; true if there were any.
    fn serve(&mut self, client: usize, now: Instant, tally: &mut Tally) -> io::Result<()> {
        let Client {
            socket,
            slots,
            sent,
        } = &mut self.sockets[client];
        let count = self.receiver.receive(&*socket, Wait::No)?;
        for index in 0..count {
            let answer = self.receiver.datagram(index);
            let Some(place) = IDS.slot(slots, answer) else {
                tally.stray += 1;
                continue;
            };
            tally.count(self.questions, slots[place].question as usize, answer);
            let number = self.turn.take();
            ask(&mut slots[place], number);
            sent[place] = now;
            let message = self.questions.message(number);
            self.sender.push(message, IDS.id(place, slots[place].round));
        }
        match (count, self.window.joined) {
            (0, _) => {}
            (_, true) => self.sender.flush_joined(&*socket),
            (_, false) => self.sender.flush(&*socket),
        }
        Ok(())
    }

    /// Gives up what is overdue, and fills every empty slot.
    fn refill(&mut self, now: Instant, tally: &mut Tally) {
        for client in &mut self.sockets {
            for place in 0..self.window.each {
                let slot = &mut client.slots[place];
                if slot.waits && now.duration_since(client.sent[place]) < LOST_AFTER {
                    continue;
                }
                tally.lost += u64::from(slot.waits);
                let number = self.turn.take();
                ask(slot, number);
                client.sent[place] = now;
                let message = self.questions.message(number);
                self.sender.push(message, IDS.id(place, slot.round));
            }
            self.sender.flush(&client.socket);
        }
    }
}

fn ask(slot: &mut Slot, number: usize) {
    *slot = Slot {
        question: number as u32,
        round: slot.round.wrapping_add(1),
        waits: true,
    };
}

impl Load for Udp<'_> {
    fn run_for(&mut self, time: Duration) -> io::Result<Tally> {
        let mut tally = Tally::default();
        let start = Instant::now();
        let mut looked: Option<Instant> = None;
        loop {
            let now = Instant::now();
            tally.elapsed = now - start;
            if tally.elapsed >= time {
                return Ok(tally);
            }
            if looked.is_none_or(|looked| now - looked >= LOOK) {
                self.refill(now, &mut tally);
                looked = Some(now);
            }
            for client in 0..self.sockets.len() {
                self.serve(client, now, &mut tally)?;
            }
        }
    }
}
