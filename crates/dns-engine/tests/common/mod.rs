//! Builds queries by hand and decodes every answer with two independent decoders.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::net::SocketAddr;

use dns_engine::{
    Meta, Outcome, Scratch, Snapshot, Tailor, Transport, Zones, ZonesOnly, name, respond, rtype,
    zonefile,
};
use domain::base::iana::Class;
use domain::base::{Message, ParsedName};
use domain::rdata::AllRecordData;

pub const ZONE: &str = include_str!("example.zone");

pub fn zones(texts: &[&str]) -> Zones {
    let mut zones = Zones::new();
    for text in texts {
        let zone = zonefile::parse("test.zone", text, None).unwrap_or_else(|findings| {
            panic!(
                "{}",
                findings
                    .iter()
                    .map(|f| format!("{f}\n"))
                    .collect::<String>()
            )
        });
        assert!(zones.insert(zone).is_ok());
    }
    zones
}

pub fn example() -> Snapshot {
    Snapshot::of_zones(zones(&[ZONE]))
}

pub fn example_with(tailor: impl Tailor + 'static) -> Snapshot {
    Snapshot::new(zones(&[ZONE]), tailor)
}

pub fn only(text: &str) -> Snapshot {
    Snapshot::new(zones(&[text]), ZonesOnly)
}

pub fn meta(transport: Transport) -> Meta {
    let source: SocketAddr = "192.0.2.99:40000".parse().unwrap();
    let local = "192.0.2.53:53".parse().unwrap();
    Meta {
        source,
        local,
        transport,
        now: 1_800_000_000,
        now_ms: 0,
    }
}

/// A query under construction.
#[derive(Clone, Debug)]
pub struct Query {
    pub head: [u8; 4],
    pub question: Vec<u8>,
    pub edns: Option<(u16, u32, Vec<u8>)>,
}

impl Query {
    pub fn new(qname: &str, qtype: &str) -> Self {
        let mut question = name::parse(qname, Some(name::ROOT)).unwrap();
        question.extend(rtype::parse(qtype).unwrap().to_be_bytes());
        question.extend([0, 1]);
        Self {
            head: [0xAB, 0xCD, 0x01, 0x00],
            question,
            edns: None,
        }
    }

    pub fn class(mut self, class: u16) -> Self {
        let at = self.question.len() - 2;
        self.question[at..].copy_from_slice(&class.to_be_bytes());
        self
    }

    pub fn edns(mut self, payload: u16) -> Self {
        self.edns.get_or_insert_default().0 = payload;
        self
    }

    /// Extended rcode, version and flags of the OPT record.
    pub fn edns_flags(mut self, flags: u32) -> Self {
        self.edns.get_or_insert((1232, 0, Vec::new())).1 = flags;
        self
    }

    pub fn option(mut self, code: u16, data: &[u8]) -> Self {
        let options = &mut self.edns.get_or_insert((1232, 0, Vec::new())).2;
        options.extend(code.to_be_bytes());
        options.extend((data.len() as u16).to_be_bytes());
        options.extend(data);
        self
    }

    pub fn subnet(self, data: &[u8]) -> Self {
        self.option(8, data)
    }

    pub fn wire(&self) -> Vec<u8> {
        let mut wire = self.head.to_vec();
        wire.extend([0, 1, 0, 0, 0, 0, 0, u8::from(self.edns.is_some())]);
        wire.extend(&self.question);
        if let Some((payload, flags, options)) = &self.edns {
            wire.extend([0, 0, 41]);
            wire.extend(payload.to_be_bytes());
            wire.extend(flags.to_be_bytes());
            wire.extend((options.len() as u16).to_be_bytes());
            wire.extend(options);
        }
        wire
    }

    pub fn ask(&self, snapshot: &Snapshot) -> Answer {
        self.ask_over(snapshot, Transport::Udp)
    }

    pub fn ask_over(&self, snapshot: &Snapshot, transport: Transport) -> Answer {
        ask_wire(snapshot, &self.wire(), transport)
    }
}

/// Sends octets and decodes the answer, which must exist.
pub fn ask_wire(snapshot: &Snapshot, wire: &[u8], transport: Transport) -> Answer {
    let mut out = vec![0xEE; 65_535];
    let mut scratch = Scratch::new();
    match respond(snapshot, wire, &meta(transport), &mut scratch, &mut out) {
        Outcome::Send(length) => Answer::decode(&out[..length]),
        other => panic!("{other:?}"),
    }
}

/// An answer as both decoders see it.
#[derive(Debug)]
pub struct Answer {
    pub octets: Vec<u8>,
    pub rcode: u16,
    pub flags: String,
    pub answers: Vec<String>,
    pub authority: Vec<String>,
    pub additional: Vec<String>,
    /// Extended rcode, version, flags and options of the OPT record.
    pub opt: Option<(u16, u32, Vec<u8>)>,
}

impl Answer {
    /// Decodes with `domain`, then with `hickory-proto`, and compares what they saw.
    pub fn decode(octets: &[u8]) -> Self {
        let message = Message::from_octets(octets).expect("domain reads the header");
        let (question, answers, authority, additional) =
            message.sections().expect("domain finds the sections");
        assert_eq!(question.count() as u16, message.header_counts().qdcount());
        let asked = message
            .sole_question()
            .map_or(Class::IN, |one| one.qclass());
        let mut opt = None;
        let mut texts = [Vec::new(), Vec::new(), Vec::new()];
        let mut owners = Vec::new();
        for (place, section) in [answers, authority, additional].into_iter().enumerate() {
            for record in section {
                let record = record.expect("domain reads the record");
                let parsed = record
                    .to_any_record::<AllRecordData<_, ParsedName<_>>>()
                    .expect("domain reads the data");
                if let AllRecordData::Opt(data) = parsed.data() {
                    // OPT stands last, so its data is the end of the message.
                    let data = octets[octets.len() - data.len()..].to_vec();
                    let seen = (record.class().to_int(), record.ttl().as_secs(), data);
                    assert!(opt.replace(seen).is_none(), "two OPT records");
                    assert_eq!(place, 2);
                    continue;
                }
                if record.rtype() == domain::base::iana::Rtype::TSIG {
                    continue;
                }
                assert!([Class::IN, asked].contains(&record.class()));
                let owner = parsed.owner().to_string() + ".";
                let ttl = parsed.ttl().as_secs();
                let labels = wire(parsed.owner().iter().map(|label| label.as_slice()));
                owners.push((place, labels, parsed.rtype().to_int(), ttl));
                texts[place].push(format!(
                    "{owner} {ttl} {} {}",
                    parsed.rtype(),
                    parsed.data()
                ));
            }
        }
        same_in_hickory(octets, &owners);
        let header = message.header();
        let flags = [
            (header.qr(), "qr"),
            (header.aa(), "aa"),
            (header.tc(), "tc"),
            (header.rd(), "rd"),
            (header.ra(), "ra"),
            (header.ad(), "ad"),
            (header.cd(), "cd"),
        ];
        let flags: Vec<&str> = flags
            .into_iter()
            .filter(|(set, _)| *set)
            .map(|(_, name)| name)
            .collect();
        let extended = opt.as_ref().map_or(0, |(_, flags, _)| (flags >> 24) as u16);
        let [answers, authority, additional] = texts;
        Self {
            octets: octets.to_vec(),
            rcode: extended << 4 | u16::from(header.rcode().to_int()),
            flags: flags.join(" "),
            answers,
            authority,
            additional,
            opt,
        }
    }

    /// The client-subnet option of the answer.
    pub fn subnet(&self) -> Option<&[u8]> {
        self.option(8)
    }

    /// Code and text of the extended error.
    pub fn extended_error(&self) -> Option<(u16, String)> {
        let (&[c0, c1], text) = self.option(15)?.split_first_chunk::<2>()?;
        Some((
            u16::from_be_bytes([c0, c1]),
            String::from_utf8(text.to_vec()).unwrap(),
        ))
    }

    /// The data of an option of the answer.
    pub fn option(&self, wanted: u16) -> Option<&[u8]> {
        let found = |(code, data)| (code == wanted).then_some(data);
        self.options().into_iter().find_map(found)
    }

    /// All options of the answer in order; panics if they are malformed.
    pub fn options(&self) -> Vec<(u16, &[u8])> {
        let mut rest = self.opt.as_ref().map_or(&[][..], |(_, _, options)| options);
        let mut options = Vec::new();
        while let Some((&[c0, c1, l0, l1], after)) = rest.split_first_chunk::<4>() {
            let (data, after) = after.split_at(usize::from(u16::from_be_bytes([l0, l1])));
            options.push((u16::from_be_bytes([c0, c1]), data));
            rest = after;
        }
        assert!(rest.is_empty(), "a cut option");
        options
    }
}

/// A lower-cased wire name, as texts differ between the decoders.
fn wire<'l>(labels: impl Iterator<Item = &'l [u8]>) -> Vec<u8> {
    let labels = labels.filter(|label| !label.is_empty());
    labels
        .flat_map(|label| [&[label.len() as u8], label].concat())
        .collect::<Vec<_>>()
        .to_ascii_lowercase()
}

fn same_in_hickory(octets: &[u8], owners: &[(usize, Vec<u8>, u16, u32)]) {
    let message = hickory_proto::op::Message::from_vec(octets).expect("hickory reads the message");
    let mut seen = Vec::new();
    for (place, records) in [&message.answers, &message.authorities, &message.additionals]
        .into_iter()
        .enumerate()
    {
        for record in records {
            if u16::from(record.record_type()) == rtype::TSIG {
                continue;
            }
            let owner = wire(record.name.iter());
            seen.push((place, owner, u16::from(record.record_type()), record.ttl));
        }
    }
    assert_eq!(seen, owners, "the decoders disagree");
}
