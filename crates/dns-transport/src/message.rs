//! The little of a DNS message that a transport has to look at: how long an answer may be kept (RFC 8484 §5.1), and
//! whether a query carries an option that its transport forbids.

/// Octets of a header.
const HEADER: usize = 12;
const SOA: u16 = 6;
const OPT: u16 = 41;
/// edns-tcp-keepalive (RFC 7828).
pub(crate) const KEEPALIVE: u16 = 11;

/// Seconds that a cache which does not know DNS may keep an answer: the least TTL of the answer section and, of a
/// negative answer, what its SOA record allows (RFC 2308 §5). 0 for errors and for what cannot be read.
pub(crate) fn freshness(answer: &[u8]) -> u32 {
    seconds(answer).unwrap_or(0)
}

fn seconds(answer: &[u8]) -> Option<u32> {
    let mut records = Records::of(answer)?;
    let (truncated, rcode) = (answer[2] & 2 != 0, answer[3] & 0xF);
    // NOERROR and NXDOMAIN say something about the name; all else is about this moment.
    if truncated || !matches!(rcode, 0 | 3) {
        return None;
    }
    let mut least = None::<u32>;
    for _ in 0..records.answers {
        let record = records.next()?;
        least = Some(least.unwrap_or(u32::MAX).min(record.ttl));
    }
    for _ in 0..records.authorities {
        let record = records.next()?;
        if record.kind == SOA {
            let minimum = record
                .data
                .last_chunk()
                .map(|end| u32::from_be_bytes(*end))?;
            least = Some(least.unwrap_or(u32::MAX).min(record.ttl).min(minimum));
        } else if records.answers == 0 {
            // A referral.
            least = Some(least.unwrap_or(u32::MAX).min(record.ttl));
        }
    }
    // RFC 2181 §8: the first bit set means zero.
    least.map(|ttl| if ttl > i32::MAX as u32 { 0 } else { ttl })
}

/// True if the message's OPT record holds this option. A message that cannot be read so far has none.
pub(crate) fn has_option(message: &[u8], code: u16) -> bool {
    find_option(message, code).is_some()
}

fn find_option(message: &[u8], code: u16) -> Option<()> {
    let mut records = Records::of(message)?;
    for _ in 0..records.answers + records.authorities {
        records.next()?;
    }
    for _ in 0..records.additionals {
        let record = records.next()?;
        let mut options = record.data;
        while record.kind == OPT && !options.is_empty() {
            let (head, rest) = options.split_first_chunk::<4>()?;
            if u16::from_be_bytes([head[0], head[1]]) == code {
                return Some(());
            }
            options = rest.get(usize::from(u16::from_be_bytes([head[2], head[3]]))..)?;
        }
    }
    None
}

/// Walks over a message's records, its questions passed.
struct Records<'m> {
    rest: &'m [u8],
    answers: u16,
    authorities: u16,
    additionals: u16,
}

struct Record<'m> {
    kind: u16,
    ttl: u32,
    data: &'m [u8],
}

impl<'m> Records<'m> {
    fn of(message: &'m [u8]) -> Option<Self> {
        let (header, rest) = message.split_first_chunk::<HEADER>()?;
        let count = |at| u16::from_be_bytes([header[at], header[at + 1]]);
        let mut records = Self {
            rest,
            answers: count(6),
            authorities: count(8),
            additionals: count(10),
        };
        for _ in 0..count(4) {
            records.pass_name()?;
            records.rest = records.rest.get(4..)?;
        }
        Some(records)
    }

    fn next(&mut self) -> Option<Record<'m>> {
        self.pass_name()?;
        let (fixed, rest) = self.rest.split_first_chunk::<10>()?;
        let [k1, k0, _, _, t3, t2, t1, t0, l1, l0] = *fixed;
        let data;
        (data, self.rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([l1, l0])))?;
        Some(Record {
            kind: u16::from_be_bytes([k1, k0]),
            ttl: u32::from_be_bytes([t3, t2, t1, t0]),
            data,
        })
    }

    /// Labels up to the root or a pointer, which ends a name wherever it leads.
    fn pass_name(&mut self) -> Option<()> {
        loop {
            let length = *self.rest.first()?;
            let (octets, ends) = match length {
                0 => (1, true),
                1..=63 => (1 + usize::from(length), false),
                _ => (2, true),
            };
            self.rest = self.rest.get(octets..)?;
            if ends {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Edns, Message, OpCode, Query, ResponseCode};
    use hickory_proto::rr::rdata::opt::EdnsOption;
    use hickory_proto::rr::rdata::{NS, SOA, TXT};
    use hickory_proto::rr::{Name, RData, Record, RecordType};

    use super::*;

    fn name() -> Name {
        "www.zone.test.".parse().unwrap()
    }

    fn text(ttl: u32) -> Record {
        let data = RData::TXT(TXT::new(vec!["text".to_owned()]));
        Record::from_rdata(name(), ttl, data)
    }

    fn soa(ttl: u32, minimum: u32) -> Record {
        let data = RData::SOA(SOA::new(name(), name(), 1, 2, 3, 4, minimum));
        Record::from_rdata(name().base_name(), ttl, data)
    }

    fn ns(ttl: u32) -> Record {
        Record::from_rdata(name(), ttl, RData::NS(NS(name())))
    }

    fn message(answers: &[Record], authorities: &[Record]) -> Message {
        let mut message = Message::response(7, OpCode::Query);
        message.add_query(Query::query(name(), RecordType::TXT));
        message.add_answers(answers.iter().cloned());
        message.add_authorities(authorities.iter().cloned());
        message.add_additional(text(1));
        message.set_edns(Edns::new());
        message
    }

    fn check(answers: &[Record], authorities: &[Record], expected: u32) {
        let octets = message(answers, authorities).to_vec().unwrap();
        assert_eq!(freshness(&octets), expected, "{answers:?} {authorities:?}");
    }

    #[test]
    fn an_answer_is_fresh_as_long_as_its_shortest_record() {
        check(&[text(300)], &[], 300);
        check(&[text(300), text(30), text(600)], &[], 30);
        // Other sections may be gone earlier: they are no answer.
        check(&[text(300)], &[ns(5)], 300);
        check(&[text(300), text(0)], &[], 0);
        check(&[text(0x8000_0000)], &[], 0);
    }

    #[test]
    fn a_negative_answer_is_fresh_as_long_as_its_soa_record_says() {
        check(&[], &[soa(900, 60)], 60);
        check(&[], &[soa(30, 60)], 30);
        // An alias to a name without such records.
        check(&[text(300)], &[soa(900, 60)], 60);
        check(&[], &[ns(120), ns(100)], 100);
        check(&[], &[], 0);
    }

    #[test]
    fn errors_and_cut_answers_are_not_kept() {
        for rcode in [
            ResponseCode::ServFail,
            ResponseCode::Refused,
            ResponseCode::FormErr,
        ] {
            let mut refused = message(&[text(300)], &[]);
            refused.metadata.response_code = rcode;
            assert_eq!(freshness(&refused.to_vec().unwrap()), 0);
        }
        let mut missing = message(&[], &[soa(900, 60)]);
        missing.metadata.response_code = ResponseCode::NXDomain;
        assert_eq!(freshness(&missing.to_vec().unwrap()), 60);
        let mut cut = message(&[text(300)], &[]);
        cut.metadata.truncation = true;
        assert_eq!(freshness(&cut.to_vec().unwrap()), 0);
        let whole = message(&[text(300)], &[soa(900, 60)]).to_vec().unwrap();
        // The additional section does not matter, and is passed by.
        let end = whole.len() - message(&[], &[]).to_vec().unwrap().len();
        for cut in 0..end {
            assert_eq!(freshness(&whole[..cut]), 0, "{cut}");
        }
    }

    #[test]
    fn options_are_found_wherever_they_stand() {
        let mut query = message(&[text(1)], &[ns(1)]);
        let mut edns = Edns::new();
        edns.options_mut()
            .insert(EdnsOption::Unknown(65_001, vec![1, 2, 3]));
        edns.options_mut()
            .insert(EdnsOption::Unknown(65_002, vec![]));
        query.set_edns(edns);
        let octets = query.to_vec().unwrap();
        assert!(has_option(&octets, 65_001) && has_option(&octets, 65_002));
        assert!(!has_option(&octets, KEEPALIVE));
        for cut in 0..octets.len() {
            assert!(!has_option(&octets[..cut], 65_002));
            for octet in [0, 0x3F, 0x80, 0xC0, 0xFF] {
                let mut changed = octets.clone();
                changed[cut] = octet;
                let _ = (has_option(&changed, KEEPALIVE), freshness(&changed));
            }
        }
    }
}
