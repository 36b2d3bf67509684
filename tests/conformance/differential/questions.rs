//! What is asked about the zones: names that are there, beside, above and below them, each with types that are there
//! and others.

use conformance::question::{DNSSEC_OK, Question};
use domain::base::iana::Rtype;
use signpost_tests::random::Random;

use crate::zones::Zone;

/// How much EDNS a question has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Edns {
    /// None.
    No,
    /// An OPT record.
    Plain,
    /// An OPT record with DO.
    Dnssec,
}

impl Edns {
    pub(crate) const ALL: [Self; 3] = [Self::No, Self::Plain, Self::Dnssec];
}

/// A question without EDNS, as text and in octets.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// As zone files write it, absolute.
    pub(crate) name: String,
    pub(crate) rtype: u16,
    pub(crate) question: Question,
    /// UDP payload, for those with EDNS.
    payload: u16,
}

impl Asked {
    /// With EDNS as said.
    pub(crate) fn with(&self, edns: Edns) -> Question {
        let question = self.question.clone();
        match edns {
            Edns::No => question,
            Edns::Plain => question.edns(self.payload, 0),
            Edns::Dnssec => question.edns(self.payload, DNSSEC_OK),
        }
    }

    /// What to type to ask again.
    pub(crate) fn as_dig(&self, edns: Edns) -> String {
        let edns = match edns {
            Edns::No => "+noedns".to_owned(),
            Edns::Plain => format!("+bufsize={}", self.payload),
            Edns::Dnssec => format!("+dnssec +bufsize={}", self.payload),
        };
        let rtype = Rtype::from_int(self.rtype);
        format!("dig +norec +nocookie {edns} '{}' {rtype}", self.name)
    }
}

/// Types by number: those in the zones, those of DNSSEC, and some that nobody has.
const TYPES: &[u16] = &[
    1, 28, 2, 6, 5, 12, 15, 16, 33, 35, 39, 43, 13, 17, 18, 44, 52, 64, 65, 256, 257, 29, 65300,
    65400, 46, 47, 48, 50, 51, 59, 60, 62, 99, 731, 65534, 255,
];
/// Labels to put in front or instead.
const LABELS: &[&str] = &[
    "a", "b", "c", "*", "www", "x", "_tcp", "ns", "zz", "ent", "wild", "target",
];

/// The n-th question about these zones; the seed decides.
pub(crate) fn question(zones: &[Zone], random: &mut Random) -> Asked {
    // Half about the zone by hand, which is bigger.
    let zone = &zones[if random.below(2) == 0 {
        0
    } else {
        random.index(zones.len())
    }];
    let owners: Vec<_> = zone.owners.iter().collect();
    let (owner, types) = owners[random.index(owners.len())];
    let name = near(owner, &zone.origin, random);
    let there: Rtype = types[random.index(types.len())].parse().expect("a type");
    let rtype = match random.below(2) {
        0 => there.to_int(),
        _ => TYPES[random.index(TYPES.len())],
    };
    let spelt = spelling(&name, random);
    let mut question = Question::new(&spelt, rtype);
    question.flags = if random.below(4) == 0 { 0x0100 } else { 0 };
    Asked {
        name: spelt,
        rtype,
        question,
        payload: [1232, 1232, 512, 4096][random.index(4)],
    }
}

/// A name that the owner leads to: itself, one above, one below, one beside.
fn near(owner: &str, origin: &str, random: &mut Random) -> String {
    let label = LABELS[random.index(LABELS.len())];
    let name = match random.below(8) {
        0 | 1 => owner.to_owned(),
        2 => format!("{label}.{owner}"),
        3 => format!("{label}.{}.{owner}", LABELS[random.index(LABELS.len())]),
        4 => above(owner).to_owned(),
        5 => format!("{label}.{}", above(owner)),
        6 => owner.replace('*', label),
        _ => format!("{label}.{origin}"),
    };
    if name.len() < 250 {
        name
    } else {
        owner.to_owned()
    }
}

/// Without the first label; the top for the top.
fn above(name: &str) -> &str {
    let mut escaped = false;
    for (at, c) in name.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '.' if at + 1 < name.len() => return &name[at + 1..],
            _ => {}
        }
    }
    "."
}

/// A third of the names have letters in both cases.
fn spelling(name: &str, random: &mut Random) -> String {
    if random.below(3) > 0 {
        return name.to_owned();
    }
    let mut turned = |c: char| {
        if random.below(2) == 0 {
            c.to_ascii_uppercase()
        } else {
            c
        }
    };
    name.chars().map(&mut turned).collect()
}
