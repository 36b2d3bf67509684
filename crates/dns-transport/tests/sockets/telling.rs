//! An answerer that speaks DNS, for clients that do not belong to us.

use dns_transport::{Answerer, Answers, Arrival, Reply, Worker};
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{SOA, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

/// Tells who asked, where and how: see [`Telling::answer`].
#[derive(Clone, Default)]
pub(crate) struct Telling;

/// Records of a zone transfer, one message each, between the two SOA records.
pub(crate) const ZONE: u32 = 500;
/// TTLs of the answers: the second record of each has the shorter.
pub(crate) const TTLS: [u32; 2] = [300, 120];
/// TTL and minimum of the SOA record in a negative answer.
pub(crate) const NEGATIVE: (u32, u32) = (900, 60);

impl Answerer for Telling {
    type Worker = Self;

    fn worker(&self) -> Self {
        Self
    }
}

impl Worker for Telling {
    fn begin_batch(&mut self) {}

    /// Any name has two TXT records: `source ip|local|transport` and the query's size; `big` has 60,000 octets of them,
    /// `nothing` a negative answer, `broken` SERVFAIL; AXFR gives [`ZONE`] records. What is no query gets silence.
    fn answer(&mut self, query: &[u8], from: &Arrival, out: &mut [u8]) -> Reply {
        let Ok(query_read) = Message::from_vec(query) else {
            return Reply::Silent;
        };
        if query_read.metadata.message_type == MessageType::Response {
            return Reply::Silent;
        }
        let Some(question) = query_read.queries.first().cloned() else {
            return Reply::Silent;
        };
        let mut answer = query_read.clone().into_response();
        answer.metadata.authoritative = true;
        let name = question.name().clone();
        if question.query_type() == RecordType::AXFR {
            return Reply::Stream(Box::new(Transfer { answer, next: 0 }));
        }
        let first = name.iter().next().unwrap_or_default().to_ascii_lowercase();
        match &first[..] {
            b"big" => {
                for number in 0..240 {
                    answer.add_answer(text(&name, 300, &format!("{number:0240}")));
                }
            }
            b"nothing" => {
                answer.add_authority(soa(&name));
            }
            b"broken" => answer.metadata.response_code = ResponseCode::ServFail,
            _ => {
                let transport = format!("{:?}", from.transport).to_lowercase();
                let told = format!("{}|{}|{transport}", from.source.ip(), from.local);
                answer.add_answer(text(&name, TTLS[0], &told));
                answer.add_answer(text(&name, TTLS[1], &query.len().to_string()));
            }
        }
        send(&answer, out)
    }
}

fn send(answer: &Message, out: &mut [u8]) -> Reply {
    let octets = answer.to_vec().unwrap();
    if octets.len() > out.len() {
        let cut = answer.truncate().to_vec().unwrap();
        out[..cut.len()].copy_from_slice(&cut);
        return Reply::Send(cut.len());
    }
    out[..octets.len()].copy_from_slice(&octets);
    Reply::Send(octets.len())
}

struct Transfer {
    answer: Message,
    next: u32,
}

impl Answers for Transfer {
    fn next(&mut self, out: &mut [u8]) -> Option<usize> {
        let name = self.answer.queries[0].name().clone();
        let record = match self.next {
            0 => soa(&name),
            number if number <= ZONE => {
                text(&name.prepend_label(format!("n{number}")).unwrap(), 60, "x")
            }
            number if number == ZONE + 1 => soa(&name),
            _ => return None,
        };
        self.next += 1;
        self.answer.answers = vec![record];
        match send(&self.answer, out) {
            Reply::Send(length) => Some(length),
            _ => None,
        }
    }
}

fn text(name: &Name, ttl: u32, text: &str) -> Record {
    let data = RData::TXT(TXT::new(vec![text.to_owned()]));
    Record::from_rdata(name.clone(), ttl, data)
}

fn soa(name: &Name) -> Record {
    let data = RData::SOA(SOA::new(name.clone(), name.clone(), 1, 2, 3, 4, NEGATIVE.1));
    let mut record = Record::from_rdata(name.clone(), NEGATIVE.0, data);
    record.dns_class = DNSClass::IN;
    record
}
