//! Messages that no client would send, at both running servers over loopback: whatever comes, the server says something
//! lawful or nothing, goes on at once, and neither memory nor open files grow.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "mutations/generator.rs"]
mod generator;
#[path = "mutations/process.rs"]
mod process;

use std::{
    collections::BTreeMap,
    env,
    io::Write,
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use conformance::{
    question::Question,
    routed::{Routed, Rules},
    site::Server,
    tap::{read_message, write_message},
};
use signpost_tests::random::Random;

use crate::{generator::Generator, process::Watch};

const SEED: u64 = 10;
/// Datagrams sent before the next sign of life is waited for: their answers fit into a socket's buffer.
const BURST: usize = 32;
/// A server that takes longer for a burst hangs.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn a_server_survives_whatever_is_sent_to_it() {
    fire(SEED, 100_000, 1_500);
}

#[test]
#[ignore = "a quarter of an hour; cargo xtask nightly runs it"]
fn a_server_survives_fifty_million_bad_packets() {
    let seed = env::var("SIGNPOST_SEED").map_or(SEED, |seed| seed.parse().unwrap());
    fire(seed, 50_000_000, 100_000);
}

/// So many datagrams and so many connections for each server.
fn fire(seed: u64, datagrams: usize, connections: usize) {
    let mut random = Random(seed);
    let rules = Rules::random(&mut random);
    let routed = Routed::start(&rules.map());
    let watch = Watch::begin();
    for server in &routed.site.servers {
        let mut gun = Gun::new(server, &routed, random.number());
        // What is made once, such as buffers and caches, is made before memory is looked at.
        gun.fire_datagrams(datagrams / 10);
        gun.fire_streams(connections / 10);
        let before = process::Use::now();
        gun.fire_datagrams(datagrams - datagrams / 10);
        gun.fire_streams(connections - connections / 10);
        gun.report();
        process::Use::returns_to(&before);
    }
    watch.nobody_panicked();
}

/// Fires at one server.
struct Gun {
    name: &'static str,
    server: SocketAddr,
    socket: UdpSocket,
    generator: Generator,
    random: Random,
    sent: usize,
    over_tcp: usize,
    answered: BTreeMap<u8, usize>,
    closed: usize,
    signs: u64,
}

impl Gun {
    fn new(server: &Server, routed: &Routed, seed: u64) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect(server.dns).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            name: server.name,
            server: server.dns,
            socket,
            generator: Generator::new(routed, seed),
            random: Random(seed ^ 1),
            sent: 0,
            over_tcp: 0,
            answered: BTreeMap::new(),
            closed: 0,
            signs: 0,
        }
    }

    /// A good query that no other is like, so that its answer shows that all before it have been dealt with.
    fn sign_of_life(&mut self) -> Vec<u8> {
        self.signs += 1;
        let name = format!("alive-{}.stream.test.", self.signs);
        Question::new(&name, 16).octets(self.signs as u16)
    }

    fn fire_datagrams(&mut self, count: usize) {
        let mut buffer = [0; 65_535];
        for _ in 0..count / BURST {
            for _ in 0..BURST {
                let message = self.generator.message();
                self.socket.send(&message).unwrap();
                self.sent += 1;
            }
            let sign = self.sign_of_life();
            let began = Instant::now();
            self.socket.send(&sign).unwrap();
            loop {
                assert!(began.elapsed() < PATIENCE, "{} hangs", self.name);
                let length = self
                    .socket
                    .recv(&mut buffer)
                    .unwrap_or_else(|error| panic!("{} hangs: {error}", self.name));
                let answer = &buffer[..length];
                self.note(answer);
                if is_answer_to(answer, &sign) {
                    break;
                }
            }
        }
    }

    fn fire_streams(&mut self, count: usize) {
        for _ in 0..count {
            let stream = TcpStream::connect(self.server).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_nodelay(true).unwrap();
            self.fire_stream(&stream);
        }
    }

    /// Some messages on one connection, then a good one; or a frame that never ends.
    fn fire_stream(&mut self, mut stream: &TcpStream) {
        for _ in 0..1 + self.random.below(4) {
            let message = self.generator.message();
            self.over_tcp += 1;
            // The server may close the connection at any of them.
            let _ = write_message(stream, &message);
        }
        if self.random.below(8) == 0 {
            let cut = [0xff, 0xff, 0, 1];
            let _ = stream.write_all(&cut[..1 + self.random.index(4)]);
            return;
        }
        let sign = self.sign_of_life();
        let _ = write_message(stream, &sign);
        loop {
            match read_message(stream) {
                Ok(answer) => {
                    self.note(&answer);
                    if is_answer_to(&answer, &sign) {
                        return;
                    }
                }
                Err(error) => {
                    let waited = [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut];
                    assert!(!waited.contains(&error.kind()), "{} hangs", self.name);
                    self.closed += 1;
                    return;
                }
            }
        }
    }

    /// Every answer is one: QR is set, the rest of the header is in range.
    fn note(&mut self, answer: &[u8]) {
        assert!(
            answer.len() >= 12 && answer[2] & 0x80 != 0,
            "{}: {answer:02x?}",
            self.name
        );
        assert_eq!(
            answer[3] & 0xf0,
            0,
            "{}: RA, Z, AD, CD: {answer:02x?}",
            self.name
        );
        *self.answered.entry(answer[3] & 0xf).or_default() += 1;
    }

    fn report(&self) {
        let answered: usize = self.answered.values().sum();
        println!(
            "{}: {} datagrams and {} messages over TCP, {} signs of life; {answered} answers by response code {:?}, the \
             rest dropped; {} connections closed by the server",
            self.name, self.sent, self.over_tcp, self.signs, self.answered, self.closed
        );
    }
}

/// True if identifier and question are those of the query.
fn is_answer_to(answer: &[u8], query: &[u8]) -> bool {
    answer.get(..2) == query.get(..2) && answer.get(12..query.len()) == query.get(12..)
}
