//! W1, W3, W4 and W6: a static zone of SRV records, asked for names that exist and for names that do not.

use std::fmt::Write;

use super::{Srv, decode, same, srv};
use crate::questions::{NO_ERROR, NX_DOMAIN, Oracle, Question, Questions, SRV};
use crate::random::Random;

/// The zone.
pub(crate) const ZONE: &str = "media.test.";
/// Names in the zone of the works.
pub(crate) const NAMES: usize = 1000;
/// Records of a name.
const RECORDS: u16 = 3;
/// Names that do not exist: so many that no cache of answers holds them all.
const INVENTED: usize = 1 << 17;

/// The zone file, with so many names; the `serial` tells versions apart and is the weight of every record.
pub(crate) fn zone(names: usize, serial: u16) -> String {
    let mut text = format!(
        "$ORIGIN {ZONE}\n$TTL 300\n@ IN SOA ns1 hostmaster {serial} 3600 900 1209600 60\n@ IN NS ns1\n\
         ns1 IN A 192.0.2.53\n"
    );
    for name in 0..names {
        for (priority, weight, port, target) in records(name, serial) {
            writeln!(
                text,
                "_rtsp._tcp.s{name} IN SRV {priority} {weight} {port} {target}"
            )
            .expect("a string takes all");
        }
    }
    text
}

/// The records of a name. Their targets are in another zone: no server looks for their addresses.
fn records(name: usize, serial: u16) -> impl Iterator<Item = Srv> {
    (0..RECORDS).map(move |rank| {
        let target = format!("e{}.edges.test.", (name + usize::from(rank)) % 100);
        (rank, serial, 554 + (name % 1000) as u16, target)
    })
}

fn owner(name: usize) -> String {
    format!("_rtsp._tcp.s{name}.{ZONE}")
}

/// Every name of a zone with so many, in a random order, up to a thousand of them; `serials` are the versions that may answer.
pub(crate) fn names(names: usize, serials: &'static [u16], cookie: &[u8]) -> Questions {
    let mut random = Random(1);
    let mut asked: Vec<usize> = (0..names.min(NAMES))
        .map(|at| at * names.div_ceil(NAMES))
        .collect();
    asked.retain(|name| *name < names);
    for at in 0..asked.len() {
        let other = at + random.below(asked.len() - at);
        asked.swap(at, other);
    }
    let mut questions = Questions::new(NO_ERROR, RECORDS);
    for name in &asked {
        questions.push(&Question {
            cookie,
            ..Question::new(&owner(*name), SRV)
        });
    }
    questions.judged_by(Names { asked, serials })
}

struct Names {
    asked: Vec<usize>,
    serials: &'static [u16],
}

impl Oracle for Names {
    fn judge(&self, question: usize, answer: &[u8]) -> Result<(), String> {
        // Some servers turn the records round.
        let mut found: Vec<Srv> = decode(answer)?.answers.iter().filter_map(srv).collect();
        found.sort();
        let name = self.asked[question];
        let expected = |serial: &u16| records(name, *serial).collect::<Vec<_>>();
        match self.serials.iter().any(|serial| found == expected(serial)) {
            true => Ok(()),
            false => Err(format!("{found:?} for {}", owner(name))),
        }
    }
}

/// Names that do not exist.
pub(crate) fn invented() -> Questions {
    let mut random = Random(3);
    let mut questions = Questions::new(NX_DOMAIN, 0);
    for _ in 0..INVENTED {
        let name = format!("_rtsp._tcp.x{:012x}.{ZONE}", random.next() >> 16);
        questions.push(&Question::new(&name, SRV));
    }
    questions.judged_by(Denial)
}

struct Denial;

impl Oracle for Denial {
    fn judge(&self, _: usize, answer: &[u8]) -> Result<(), String> {
        let message = decode(answer)?;
        let soas: Vec<String> = message
            .authorities
            .iter()
            .map(|record| format!("{} {}", record.name, record.record_type()))
            .collect();
        same(soas, vec![format!("{ZONE} SOA")])
    }
}
