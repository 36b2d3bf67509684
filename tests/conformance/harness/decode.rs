//! Reads a message with two independent decoders, `domain` and hickory-proto, which have to see the same: every
//! number, every name and the octets of all data.

use domain::{
    base::{Message as Read, ParsedName, UnknownRecordData, iana::Rtype, rdata::ComposeRecordData},
    rdata::AllRecordData,
};
use hickory_proto::{
    op::{Message as Seen, MessageType},
    rr::{Name, RData},
    serialize::binary::{BinEncodable, BinEncoder, NameEncoding},
};

/// A message, as both decoders see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Identifier.
    pub id: u16,
    /// 0 for QUERY.
    pub opcode: u8,
    /// QR AA TC RD RA Z AD CD, from the most significant bit.
    pub flags: u8,
    /// With the upper eight bits from the OPT record.
    pub rcode: u16,
    /// Name in wire form, type, class.
    pub questions: Vec<(Vec<u8>, u16, u16)>,
    /// Answer, authority, additional; OPT and TSIG left out.
    pub sections: [Vec<Record>; 3],
    /// The OPT record.
    pub opt: Option<Opt>,
}

/// A record in wire form without compression.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// Name in wire form, in the case it came.
    pub owner: Vec<u8>,
    /// Type number.
    pub rtype: u16,
    /// Class number.
    pub class: u16,
    /// Seconds.
    pub ttl: u32,
    /// Names in it in full.
    pub data: Vec<u8>,
}

/// What an OPT record says (RFC 6891 §6.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opt {
    /// The UDP payload that the sender takes.
    pub payload: u16,
    /// EDNS version.
    pub version: u8,
    /// DO is the most significant bit.
    pub flags: u16,
    /// Codes and data, in order.
    pub options: Vec<(u16, Vec<u8>)>,
}

impl Message {
    /// Reads octets with both decoders.
    ///
    /// # Errors
    /// What one of them cannot read, or where they differ.
    pub fn read(octets: &[u8]) -> Result<Self, String> {
        let by_domain = domain_reads(octets).map_err(|error| format!("domain: {error}"))?;
        let by_hickory = match hickory_reads(octets) {
            Ok(message) => message,
            // Lawful (RFC 3597 §5 has an example), but hickory takes it for a dynamic update.
            Err(error) if error.contains(EMPTY_DATA) => return Ok(by_domain),
            Err(error) => return Err(format!("hickory: {error}")),
        };
        if by_domain != by_hickory {
            return Err(format!(
                "the decoders disagree:\ndomain  {by_domain:?}\nhickory {by_hickory:?}"
            ));
        }
        Ok(by_domain)
    }

    /// Reads octets with one decoder, for what other people's servers say.
    ///
    /// # Errors
    /// What it cannot read.
    pub fn read_once(octets: &[u8]) -> Result<Self, String> {
        domain_reads(octets)
    }

    /// The data of an option, if there is one.
    pub fn option(&self, code: u16) -> Option<&[u8]> {
        let options = &self.opt.as_ref()?.options;
        let found = options.iter().find(|(has, _)| *has == code);
        found.map(|(_, data)| data.as_slice())
    }

    /// True if the answer was cut.
    pub fn is_truncated(&self) -> bool {
        self.flags & 0x20 != 0
    }
}

/// What hickory says to a record without data.
const EMPTY_DATA: &str = "record with length 0";
const OPT: u16 = 41;
const TSIG: u16 = 250;

fn domain_reads(octets: &[u8]) -> Result<Message, String> {
    let text = |error: domain::base::wire::ParseError| error.to_string();
    let message = Read::from_octets(octets).map_err(|_| "shorter than a header")?;
    let header = message.header();
    let mut questions = Vec::new();
    for question in message.question() {
        let question = question.map_err(text)?;
        let name = wire(question.qname().iter().map(|label| label.as_slice()));
        questions.push((name, question.qtype().to_int(), question.qclass().to_int()));
    }
    let (_, answer, authority, additional) = message.sections().map_err(text)?;
    let mut sections = [Vec::new(), Vec::new(), Vec::new()];
    let mut opt = None;
    for (place, section) in [answer, authority, additional].into_iter().enumerate() {
        for record in section {
            let record = record.map_err(text)?;
            if record.rtype() == Rtype::OPT {
                let data = record.to_record::<UnknownRecordData<_>>().map_err(text)?;
                let data = data.ok_or("an OPT record that is none")?;
                let read = opt_of(
                    record.class().to_int(),
                    record.ttl().as_secs(),
                    data.data().data(),
                );
                if place != 2 || opt.replace(read).is_some() {
                    return Err("an OPT record too many".to_owned());
                }
                continue;
            }
            if record.rtype() == Rtype::TSIG {
                continue;
            }
            let parsed = record.to_any_record::<AllRecordData<_, ParsedName<_>>>();
            let parsed = parsed.map_err(text)?;
            let mut data = Vec::new();
            let composed = parsed.data().compose_rdata(&mut data);
            composed.map_err(|_| "data too long")?;
            sections[place].push(Record {
                owner: wire(record.owner().iter().map(|label| label.as_slice())),
                rtype: record.rtype().to_int(),
                class: record.class().to_int(),
                ttl: record.ttl().as_secs(),
                data,
            });
        }
    }
    let high = opt.as_ref().map_or(0, |(high, _)| u16::from(*high));
    let flags = octets.get(2..4).ok_or("shorter than a header")?;
    Ok(Message {
        id: header.id(),
        opcode: header.opcode().to_int(),
        flags: flag_bits(flags[0], flags[1]),
        rcode: high << 4 | u16::from(header.rcode().to_int()),
        questions,
        sections,
        opt: opt.map(|(_, opt)| opt),
    })
}

/// QR AA TC RD from the first octet of the flags, the rest from the second.
fn flag_bits(first: u8, second: u8) -> u8 {
    first & 0x80 | (first & 0x07) << 4 | second >> 4
}

/// The upper bits of the response code, and the rest.
fn opt_of(payload: u16, ttl: u32, mut data: &[u8]) -> (u8, Opt) {
    let [high, version, flags @ ..] = ttl.to_be_bytes();
    let mut options = Vec::new();
    while let Some((&[c0, c1, l0, l1], rest)) = data.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([l0, l1])).min(rest.len());
        let (option, rest) = rest.split_at(length);
        options.push((u16::from_be_bytes([c0, c1]), option.to_vec()));
        data = rest;
    }
    let opt = Opt {
        payload,
        version,
        flags: u16::from_be_bytes(flags),
        options,
    };
    (high, opt)
}

fn hickory_reads(octets: &[u8]) -> Result<Message, String> {
    let message = Seen::from_vec(octets).map_err(|error| error.to_string())?;
    let head = &message.metadata;
    let flags = [
        head.message_type == MessageType::Response,
        head.authoritative,
        head.truncation,
        head.recursion_desired,
        head.recursion_available,
        false,
        head.authentic_data,
        head.checking_disabled,
    ];
    let of_query = |query: &hickory_proto::op::Query| {
        let name = name_of(query.name());
        (name, query.query_type().into(), query.query_class().into())
    };
    let mut sections = [Vec::new(), Vec::new(), Vec::new()];
    let seen = [&message.answers, &message.authorities, &message.additionals];
    for (section, records) in sections.iter_mut().zip(seen) {
        for record in records {
            let rtype: u16 = record.record_type().into();
            if matches!(rtype, OPT | TSIG) {
                return Err("an OPT or TSIG record where none belongs".to_owned());
            }
            section.push(Record {
                owner: name_of(&record.name),
                rtype,
                class: record.dns_class.into(),
                ttl: record.ttl,
                data: emitted(&record.data)?,
            });
        }
    }
    let opt = match &message.edns {
        None => None,
        Some(edns) => {
            let ttl = u32::from_be_bytes([0, edns.version(), 0, 0]) | u32::from(flags_of(edns));
            let data = emitted(&RData::OPT(edns.options().clone()))?;
            Some(opt_of(edns.max_payload(), ttl, &data).1)
        }
    };
    Ok(Message {
        id: head.id,
        opcode: head.op_code.into(),
        flags: flags.iter().fold(0, |bits, set| bits << 1 | u8::from(*set)),
        rcode: head.response_code.into(),
        questions: message.queries.iter().map(of_query).collect(),
        sections,
        opt,
    })
}

fn flags_of(edns: &hickory_proto::op::Edns) -> u16 {
    let flags = edns.flags();
    u16::from(flags.dnssec_ok) << 15 | flags.z
}

fn emitted(data: &RData) -> Result<Vec<u8>, String> {
    let mut octets = Vec::new();
    let mut encoder = BinEncoder::new(&mut octets);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    data.emit(&mut encoder).map_err(|error| error.to_string())?;
    Ok(octets)
}

fn name_of(name: &Name) -> Vec<u8> {
    wire(name.iter())
}

fn wire<'l>(labels: impl Iterator<Item = &'l [u8]>) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in labels.filter(|label| !label.is_empty()) {
        wire.push(label.len() as u8); // at most 63
        wire.extend(label);
    }
    wire.push(0);
    wire
}
