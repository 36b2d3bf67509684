//! Messages built like DNS messages and wrong like none: each part is made right or wrong by chance, and in the end
//! some octets are changed, cut off, doubled or put in.

use conformance::routed::{OWNER, Routed, TOKENS};
use domain::base::Name;
use signpost_tests::random::Random;

use std::str::FromStr;

/// Makes messages.
pub(crate) struct Generator {
    random: Random,
    /// Wire names that the servers know, or nearly.
    names: Vec<Vec<u8>>,
}

/// Types that code looks at, and some that none does.
const TYPES: &[u16] = &[
    1, 2, 5, 6, 12, 15, 16, 24, 28, 33, 35, 39, 41, 43, 46, 47, 48, 50, 64, 65, 128, 249, 250, 251,
    252, 253, 254, 255, 0, 65_535,
];
/// EDNS options that have a meaning here or elsewhere.
const OPTIONS: &[u16] = &[
    3, 5, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 0, 65_001, 65_535,
];
const OPT: u16 = 41;
const TSIG: u16 = 250;
const SIG: u16 = 24;

impl Generator {
    pub(crate) fn new(routed: &Routed, seed: u64) -> Self {
        let label = routed.keys.seal(&route_token::Payload::default());
        let texts = [
            ".",
            "test.",
            "stream.test.",
            OWNER,
            "_tcp.live.stream.test.",
            "_rtsp._tcp.ip4-198-51-100-0-24.live.stream.test.",
            "_rtsp._tcp.ip6-2001-db8-40-0-0-0-0-0-48.live.stream.test.",
            "ns1.edge.stream.test.",
            "x.edge.stream.test.",
            TOKENS,
            "id.server.",
            "version.bind.",
            &format!("{label}.{TOKENS}"),
            &format!("{}.{TOKENS}", "0".repeat(27)),
        ];
        let wire = |text: &&str| {
            Name::<Vec<u8>>::from_str(text)
                .expect("a name")
                .as_slice()
                .to_vec()
        };
        Self {
            random: Random(seed),
            names: texts.iter().map(wire).collect(),
        }
    }

    /// The next message.
    pub(crate) fn message(&mut self) -> Vec<u8> {
        let mut message = match self.one_in(40) {
            true => self.octets(300),
            false => self.built(),
        };
        for _ in 0..[0, 0, 1, 1, 2, 8][self.random.index(6)] {
            self.mutate(&mut message);
        }
        message
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.random.below(n) == 0
    }

    fn octets(&mut self, below: u64) -> Vec<u8> {
        let count = self.random.below(below);
        (0..count).map(|_| self.random.number() as u8).collect()
    }

    fn built(&mut self) -> Vec<u8> {
        let mut message = Vec::with_capacity(512);
        message.extend((self.random.number() as u16).to_be_bytes());
        message.extend(self.flags().to_be_bytes());
        let questions = [1, 1, 1, 1, 1, 1, 0, 2, 3][self.random.index(9)];
        let records = [(0, 0), (0, 0), (0, 0), (1, 0), (0, 1), (2, 2)][self.random.index(6)];
        let additional = [1, 1, 1, 0, 2, 3][self.random.index(6)];
        for count in [questions, records.0, records.1, additional] {
            // The head may say something else than what follows.
            let said = if self.one_in(20) {
                self.random.number() as u16
            } else {
                count
            };
            message.extend(said.to_be_bytes());
        }
        for _ in 0..questions {
            self.name(&mut message);
            message.extend(self.rtype().to_be_bytes());
            let class =
                [1, 1, 1, 1, 3, 254, 255, 0, self.random.number() as u16][self.random.index(9)];
            message.extend(class.to_be_bytes());
        }
        for _ in 0..records.0 + records.1 {
            self.record(&mut message);
        }
        for n in 0..additional {
            match self.random.below(8) {
                0 => self.record(&mut message),
                1 => self.signature(&mut message),
                _ if n == 0 || self.one_in(4) => self.opt(&mut message),
                _ => self.record(&mut message),
            }
        }
        message
    }

    fn flags(&mut self) -> u16 {
        match self.random.below(10) {
            0 => self.random.number() as u16,
            1 => 0x8000,
            2 => 0x2000 | 0x0400, // NOTIFY
            3 => 0x2800,          // UPDATE
            4 => 0x3000,          // DSO
            5 => 0x0130,
            _ => [0, 0x0100][self.random.index(2)],
        }
    }

    fn rtype(&mut self) -> u16 {
        match self.random.below(12) {
            0 => self.random.number() as u16,
            _ => TYPES[self.random.index(TYPES.len())],
        }
    }

    fn name(&mut self, message: &mut Vec<u8>) {
        let known = self.names[self.random.index(self.names.len())].clone();
        match self.random.below(16) {
            // A pointer: to the question, to itself, ahead, anywhere.
            0 => message.extend([0xC0, 12]),
            1 => message.extend((0xC000 | message.len() as u16).to_be_bytes()),
            2 => message.extend((0xC000 | self.random.number() as u16 >> 4).to_be_bytes()),
            // Labels in front, then a pointer into the middle of something.
            3 => {
                message.extend(&known[..known.len() - 1]);
                message.extend([0xC0, self.random.number() as u8 & 0x3f]);
            }
            // Kinds of labels that are none, labels that run out, names too long.
            4 => message.extend([0x40 | self.random.number() as u8 & 0x3f, 1, 2, 3, 0]),
            5 => message.extend([0x80, 0]),
            6 => {
                for _ in 0..self.random.below(140) {
                    message.extend([1, b'a']);
                }
                message.push(0);
            }
            7 => {
                for _ in 0..self.random.below(6) {
                    message.push(63);
                    message.extend(std::iter::repeat_n(self.random.number() as u8, 63));
                }
                message.extend(known);
            }
            8 => {
                let label = self.octets(64);
                message.push(label.len() as u8);
                message.extend(label);
                message.extend(known);
            }
            9 => {
                let turned = known.iter().map(|octet| match octet.is_ascii_alphabetic() {
                    true => octet ^ (self.random.number() as u8 & 0x20),
                    false => *octet,
                });
                message.extend(turned.collect::<Vec<_>>());
            }
            _ => message.extend(known),
        }
    }

    fn record(&mut self, message: &mut Vec<u8>) {
        self.name(message);
        message.extend(self.rtype().to_be_bytes());
        message.extend([0, 1]);
        message.extend((self.random.number() as u32).to_be_bytes());
        let data = self.octets(48);
        self.data(message, &data);
    }

    /// Data with its length in front, which is wrong now and then.
    fn data(&mut self, message: &mut Vec<u8>, data: &[u8]) {
        let length = match self.random.below(16) {
            0 => self.random.number() as u16,
            1 => (data.len() as u16).wrapping_sub(1),
            2 => data.len() as u16 + 1,
            _ => data.len() as u16,
        };
        message.extend(length.to_be_bytes());
        message.extend(data);
    }

    fn opt(&mut self, message: &mut Vec<u8>) {
        match self.random.below(12) {
            0 => self.name(message),
            _ => message.push(0),
        }
        message.extend(OPT.to_be_bytes());
        let payload = [1232, 512, 0, 4096, 65_535, 1][self.random.index(6)];
        message.extend(u16::to_be_bytes(payload));
        let ttl = [
            0,
            0,
            0x8000,
            0x8000,
            0x0001_0000,
            self.random.number() as u32,
        ][self.random.index(6)];
        message.extend(u32::to_be_bytes(ttl));
        let mut options = Vec::new();
        for _ in 0..self.random.below(4) {
            self.option(&mut options);
        }
        self.data(message, &options);
    }

    fn option(&mut self, options: &mut Vec<u8>) {
        let code = OPTIONS[self.random.index(OPTIONS.len())];
        options.extend(code.to_be_bytes());
        let data = match code {
            8 => {
                let mut subnet = vec![0, self.random.below(4) as u8];
                let source =
                    [0, 24, 32, 56, 64, 96, 128, self.random.number() as u8][self.random.index(8)];
                let scope = if self.one_in(8) {
                    self.random.number() as u8
                } else {
                    0
                };
                subnet.extend([source, scope]);
                let octets = usize::from(source).div_ceil(8);
                let octets = if self.one_in(6) {
                    self.random.index(20)
                } else {
                    octets
                };
                subnet.extend((0..octets).map(|_| self.random.number() as u8));
                subnet
            }
            10 => {
                let length = [8, 8, 16, 24, 32, 40, 7, 41][self.random.index(8)];
                (0..length).map(|_| self.random.number() as u8).collect()
            }
            _ => self.octets(24),
        };
        self.data(options, &data);
    }

    /// TSIG (RFC 8945) or SIG(0) with fields that look right.
    fn signature(&mut self, message: &mut Vec<u8>) {
        self.name(message);
        let rtype = if self.one_in(4) { SIG } else { TSIG };
        message.extend(rtype.to_be_bytes());
        message.extend([0, 255, 0, 0, 0, 0]);
        let mut data = b"\x0bhmac-sha256\0".to_vec();
        data.extend(&self.random.number().to_be_bytes()[2..]);
        data.extend([1, 44]);
        let mac = self.octets(70);
        data.extend((mac.len() as u16).to_be_bytes());
        data.extend(mac);
        data.extend((self.random.number() as u16).to_be_bytes());
        data.extend([0, 0]);
        let other = self.octets(8);
        data.extend((other.len() as u16).to_be_bytes());
        data.extend(other);
        self.data(message, &data);
    }

    fn mutate(&mut self, message: &mut Vec<u8>) {
        if message.is_empty() {
            return;
        }
        let at = self.random.index(message.len());
        match self.random.below(7) {
            0 => message[at] ^= 1 << self.random.below(8),
            1 => message[at] = self.random.number() as u8,
            2 => message[at] = [0, 0xff, 0xc0, 0x3f, 0x40][self.random.index(5)],
            3 => message.truncate(at),
            4 => {
                let more = self.octets(20);
                message.extend(more);
            }
            5 => {
                let end = at + self.random.index(message.len() - at);
                let piece = message[at..end].to_vec();
                message.splice(at..at, piece);
            }
            _ => {
                message.remove(at);
            }
        }
    }
}
