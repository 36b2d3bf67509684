//! W5: answers with signatures. Warm ones come from the server's cache; cold ones, denials of names that nobody has asked
//! for before, have to be made. A sample of them is verified, by an implementation that is not ours, with the keys that the
//! zone's DS records lead to.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, RRSIG};
use hickory_proto::dnssec::{DigestType, Verifier};
use hickory_proto::op::Message;
use hickory_proto::rr::{DNSClass, Name, RData, Record};

use super::tokens::ZONE;
use super::{decode, same};
use crate::process::ask;
use crate::questions::{self, NO_ERROR, Oracle, Question, Questions, SRV};
use crate::random::Random;

/// Denials asked for: many times what the server's cache holds in this work.
const INVENTED: usize = 1 << 17;
/// One in so many answers that are looked at in full is verified as well: a verification takes a tenth of a millisecond,
/// which the generator must not spend on all of them.
const VERIFIED: u64 = 16;

/// The question for the zone's keys: one of them, and its signature.
pub(crate) fn keys() -> Questions {
    let mut questions = Questions::new(NO_ERROR, 2);
    questions.push(&Question {
        dnssec: true,
        ..Question::new(ZONE, questions::DNSKEY)
    });
    questions
}

/// Verifies signatures of the zone's.
pub(crate) struct Validator {
    keys: Vec<DNSKEY>,
    seen: Cell<u64>,
}

impl Validator {
    /// Asks a server for the zone's keys; `ds` are the parent's DS records, as lines of a zone file. An error if a key is
    /// none that they name.
    pub(crate) fn new(server: SocketAddr, ds: &str) -> anyhow::Result<Rc<Self>> {
        let answer = ask(server, keys().message(0), Duration::from_secs(1))?;
        let message = Message::from_vec(&answer.context("no answer with keys")?)?;
        let keys: Vec<DNSKEY> = message.answers.iter().filter_map(dnskey).collect();
        let (zone, ds) = (Name::from_ascii(ZONE)?, ds.to_uppercase());
        for key in &keys {
            let digest = key.to_digest(&zone, DigestType::SHA256)?;
            let octets = digest.as_ref().iter();
            let digest: String = octets.map(|octet| format!("{octet:02X}")).collect();
            anyhow::ensure!(ds.contains(&digest), "the parent does not know the key");
        }
        anyhow::ensure!(!keys.is_empty(), "no keys");
        let seen = Cell::new(0);
        Ok(Rc::new(Self { keys, seen }))
    }

    /// An error if an answer has no signature, or, where it is this answer's turn, one that does not verify.
    pub(crate) fn judge(&self, message: &Message) -> Result<(), String> {
        let sections = [&message.answers, &message.authorities];
        let signed = |records: &[Record]| records.iter().any(|record| rrsig(record).is_some());
        if !sections.iter().any(|records| signed(records)) {
            return Err("no signature in the answer".to_owned());
        }
        let seen = self.seen.replace(self.seen.get() + 1);
        if !seen.is_multiple_of(VERIFIED) {
            return Ok(());
        }
        for records in sections {
            for (record, rrsig) in records.iter().filter_map(|r| Some((r, rrsig(r)?))) {
                self.verify(record, rrsig, records)?;
            }
        }
        Ok(())
    }

    fn verify(&self, record: &Record, rrsig: &RRSIG, records: &[Record]) -> Result<(), String> {
        let input = rrsig.input();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs()) as u32;
        if !(input.sig_inception.get()..input.sig_expiration.get()).contains(&now) {
            return Err(format!("{record} does not hold now"));
        }
        let covered = |other: &&Record| {
            other.name == record.name && other.record_type() == input.type_covered
        };
        let set: Vec<&Record> = records.iter().filter(covered).collect();
        let verified = self.keys.iter().any(|key| {
            let set = set.iter().copied();
            let verified = key.verify_rrsig(&record.name, DNSClass::IN, rrsig, set);
            verified.is_ok()
        });
        match verified && !set.is_empty() {
            true => Ok(()),
            false => Err(format!("{record} does not verify")),
        }
    }
}

fn rrsig(record: &Record) -> Option<&RRSIG> {
    match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => Some(rrsig),
        _ => None,
    }
}

fn dnskey(record: &Record) -> Option<DNSKEY> {
    match &record.data {
        RData::DNSSEC(DNSSECRData::DNSKEY(key)) => Some(key.clone()),
        _ => None,
    }
}

/// Names that do not exist in the services' zone. A compact denial (RFC 9824) has NOERROR, and a signed NSEC record at the
/// name itself.
pub(crate) fn denials(validator: &Rc<Validator>) -> Questions {
    let mut random = Random(9);
    let mut questions = Questions::new(NO_ERROR, 0);
    for _ in 0..INVENTED {
        let name = format!("x{:012x}.{ZONE}", random.next() >> 16);
        questions.push(&Question {
            dnssec: true,
            ..Question::new(&name, SRV)
        });
    }
    questions.judged_by(Denials(Rc::clone(validator)))
}

struct Denials(Rc<Validator>);

impl Oracle for Denials {
    fn judge(&self, _: usize, answer: &[u8]) -> Result<(), String> {
        let message = decode(answer)?;
        let records = message.authorities.iter();
        let mut types: Vec<String> = records.map(|one| one.record_type().to_string()).collect();
        types.sort();
        let expected = ["NSEC", "RRSIG", "RRSIG", "SOA"].map(String::from);
        same(types, expected.to_vec())?;
        self.0.judge(&message)
    }
}

#[cfg(test)]
mod tests {
    use service::shutdown;

    use super::*;
    use crate::site::{Level, Site};
    use crate::world::SMALL;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_signature_that_does_not_verify_is_a_wrong_answer() {
        let folder = tempfile::tempdir().unwrap();
        let site = Site::new(folder.path(), &SMALL, 1).unwrap();
        let (table, anywhere) = (site.sign(1).unwrap(), ([127, 0, 0, 1], 0).into());
        site.configure(Level::L1, "signed.toml", anywhere, anywhere, &table)
            .unwrap();
        let config = nameserver_l1::Config::load(&site.path("signed.toml")).unwrap();
        let (trigger, shutdown) = shutdown::channel();
        let running = nameserver_l1::start(config, shutdown).await.unwrap();
        let (dns, patience) = (running.dns[0], Duration::from_secs(10));
        assert!(Validator::new(dns, "of another key").is_err());
        let validator = || Validator::new(dns, &site.ds().unwrap()).unwrap();
        let mut answer = ask(dns, denials(&validator()).message(0), patience)
            .unwrap()
            .unwrap();
        assert_eq!(denials(&validator()).judge(0, &answer), Ok(()));
        let at = answer.len() - 12; // the last octet of the last signature, before OPT
        answer[at] ^= 1;
        let judged = denials(&validator()).judge(0, &answer);
        assert!(judged.unwrap_err().ends_with("does not verify"));
        trigger.fire();
        running.wait().await.unwrap();
    }
}
