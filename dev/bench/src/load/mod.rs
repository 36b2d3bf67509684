//! Load generators: closed ones, that keep so many queries under way (the server is the limit), and an open one, that asks
//! at a fixed rate (latency while something else goes on).

pub(crate) mod paced;
pub(crate) mod stream;
pub(crate) mod udp;

use std::io;
use std::time::Duration;

use crate::questions::Questions;

/// A query without an answer for so long is lost.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(1);
/// One in so many answers is looked at in full.
const JUDGED: u64 = 64;

/// Something that asks a server.
pub(crate) trait Load {
    /// Asks for so long. What was under way before goes on; what is under way at the end is not counted.
    fn run_for(&mut self, time: Duration) -> io::Result<Tally>;
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Right answers.
    pub(crate) answered: u64,
    /// Queries without an answer.
    pub(crate) lost: u64,
    /// Answers that nobody waited for (any more).
    pub(crate) stray: u64,
    /// Answers with another question, code or content.
    pub(crate) wrong: u64,
    /// What was wrong first.
    pub(crate) first_wrong: Option<String>,
    /// How long it took.
    pub(crate) elapsed: Duration,
    seen: u64,
}

impl Tally {
    /// Counts an answer that came for a question.
    fn count(&mut self, questions: &Questions, number: usize, answer: &[u8]) {
        self.seen += 1;
        let verdict = match questions.fits(number, answer) {
            false => Err(format!("header {:02x?}", &answer[..answer.len().min(12)])),
            true if self.seen.is_multiple_of(JUDGED) => questions.judge(number, answer),
            true => Ok(()),
        };
        match verdict {
            Ok(()) => self.answered += 1,
            Err(reason) => {
                self.wrong += 1;
                self.first_wrong.get_or_insert(reason);
            }
        }
    }
}

/// Walks through the questions again and again.
struct Turn {
    next: usize,
    count: usize,
}

impl Turn {
    fn new(questions: &Questions) -> Self {
        Self {
            next: 0,
            count: questions.len(),
        }
    }

    fn take(&mut self) -> usize {
        let number = self.next;
        self.next = if number + 1 == self.count {
            0
        } else {
            number + 1
        };
        number
    }
}

/// A query under way: its place is the low part of the id, its round the high part, so that an answer that comes after it
/// was given up is told from one for its successor.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    question: u32,
    round: u16,
    waits: bool,
}

/// Ids of `1 << bits` slots.
#[derive(Clone, Copy)]
struct Ids {
    bits: u32,
}

impl Ids {
    fn id(self, slot: usize, round: u16) -> u16 {
        round.wrapping_shl(self.bits) | slot as u16
    }

    /// The slot that an answer is for, if that waits for it.
    fn slot(self, slots: &[Slot], answer: &[u8]) -> Option<usize> {
        let id = u16::from_be_bytes([*answer.first()?, *answer.get(1)?]);
        let place = usize::from(id) & ((1 << self.bits) - 1);
        let slot = slots.get(place)?;
        (slot.waits && self.id(place, slot.round) == id).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, UdpSocket};
    use std::time::{Duration, Instant};
    use std::{io, thread};

    use super::*;
    use crate::null::{Shape, serve_streams};
    use crate::questions::{A, NO_ERROR, Question};

    /// Longest wait for something that must happen; only a failing test takes that long.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn questions() -> Questions {
        let mut questions = Questions::new(NO_ERROR, 1);
        for name in ["a.test", "b.test", "c.test"] {
            questions.push(&Question::new(name, A));
        }
        questions
    }

    /// Serves for the rest of the test; for each query, by its number, how often it is answered and with which code.
    fn server(behave: impl Fn(usize) -> (usize, u8) + Send + 'static) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        thread::spawn(move || -> io::Result<()> {
            let mut message = [0; 512];
            for number in 0.. {
                let (length, client) = socket.recv_from(&mut message)?;
                let (times, code) = behave(number);
                (message[2], message[3], message[7]) = (0x84, code, 1);
                for _ in 0..times {
                    // A client that has gone away is not waited for.
                    let _ = socket.send_to(&message[..length], client);
                }
            }
            Ok(())
        });
        address
    }

    #[test]
    fn lost_wrong_and_stray_answers_are_told_from_right_ones() {
        let server = server(|number| match number % 10 {
            3 => (0, 0),
            5 => (1, 2),
            7 => (2, 0),
            _ => (1, 0),
        });
        let questions = questions();
        let mut load = udp::Udp::new(server, &questions, udp::Window::USUAL).unwrap();
        let (mut all, began) = (Tally::default(), Instant::now());
        while all.answered * all.lost * all.wrong * all.stray == 0 {
            let tally = load.run_for(Duration::from_millis(200)).unwrap();
            all.answered += tally.answered;
            all.lost += tally.lost;
            all.wrong += tally.wrong;
            all.stray += tally.stray;
            assert!(began.elapsed() < PATIENCE, "{all:?}");
        }
    }

    #[test]
    fn a_latency_counts_from_when_the_query_was_due() {
        let pause = Duration::from_millis(30);
        let server = server(move |number| {
            if number == 50 {
                thread::sleep(pause); // the server's pause is what is to be seen
            }
            (1, 0)
        });
        let mut done = |now| now >= Duration::from_millis(300);
        let seen = paced::ask(server, &questions(), 1000.0, &mut done).unwrap();
        assert!(seen.tally.answered >= 100, "{:?}", seen.tally);
        assert_eq!(seen.tally.wrong, 0);
        assert!(seen.latency.worst() >= pause.mul_f64(0.9));
        // All that were due in the pause were late, not the first only: some thirty of some three hundred.
        assert!(seen.latency.quantile(0.97) >= pause / 10);
    }

    #[test]
    fn pipelined_answers_are_judged_one_by_one() {
        let serve = |rcode| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let shape = Shape {
                size: 100,
                rcode,
                answers: 1,
            };
            thread::spawn(move || serve_streams(&listener, shape));
            address
        };
        let questions = questions();
        let ask = |server| {
            let mut load = stream::tcp(server, &questions).unwrap();
            load.run_for(Duration::from_millis(200)).unwrap()
        };
        let (right, wrong) = (ask(serve(0)), ask(serve(3)));
        assert!(right.answered > 0 && right.wrong == 0, "{right:?}");
        assert!(wrong.wrong > 0 && wrong.answered == 0, "{wrong:?}");
    }
}
