//! W5: answers with signatures. Warm ones come from the server's cache; cold ones, denials of names that nobody has asked
//! for before, have to be made. That the signatures verify is for `tests/journey_dnssec.rs` to say; here they are counted.

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;

use super::tokens::ZONE;
use super::{decode, same};
use crate::questions::{NO_ERROR, Oracle, Question, Questions, SRV};
use crate::random::Random;

/// Denials asked for: many times what the server's cache holds in this work.
const INVENTED: usize = 1 << 17;

/// True if the answer's records have a signature of the zone.
pub(crate) fn is_signed(message: &Message) -> Result<(), String> {
    let mut types = message.answers.iter().map(|record| record.record_type());
    match types.any(|rtype| rtype == RecordType::RRSIG) {
        true => Ok(()),
        false => Err("no signature in the answer".to_owned()),
    }
}

/// Names that do not exist in the services' zone. A compact denial (RFC 9824) has NOERROR, and a signed NSEC record at the
/// name itself.
pub(crate) fn denials() -> Questions {
    let mut random = Random(9);
    let mut questions = Questions::new(NO_ERROR, 0);
    for _ in 0..INVENTED {
        let name = format!("x{:012x}.{ZONE}", random.next() >> 16);
        questions.push(&Question {
            dnssec: true,
            ..Question::new(&name, SRV)
        });
    }
    questions.judged_by(Denials)
}

struct Denials;

impl Oracle for Denials {
    fn judge(&self, _: usize, answer: &[u8]) -> Result<(), String> {
        let message = decode(answer)?;
        let mut types: Vec<String> = message
            .authorities
            .iter()
            .map(|record| record.record_type().to_string())
            .collect();
        types.sort();
        same(
            types,
            ["NSEC", "RRSIG", "RRSIG", "SOA"].map(String::from).to_vec(),
        )
    }
}
