//! Two answers to one question, and every single thing in which they differ.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use conformance::{
    decode::{Message, Record},
    peer::Kind,
};
use domain::base::{
    Name,
    iana::{Rcode, Rtype},
};

use crate::{
    explained::RULES,
    questions::{Asked, Edns},
};

/// An answer and its records as sets.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) message: Message,
    pub(crate) sections: [BTreeSet<Record>; 3],
}

impl Seen {
    pub(crate) fn of(message: Message) -> Self {
        let sections = message.sections.clone();
        let set = |section: Vec<Record>| section.into_iter().map(without_case).collect();
        Self {
            message,
            sections: sections.map(set),
        }
    }

    pub(crate) fn is_truncated(&self) -> bool {
        self.message.is_truncated()
    }

    pub(crate) fn has_authority(&self) -> bool {
        self.message.flags & AUTHORITATIVE != 0
    }
}

const AUTHORITATIVE: u8 = 0x40;
/// The flags that are compared, by name.
const FLAGS: [(u8, &str); 5] = [
    (AUTHORITATIVE, "AA"),
    (0x20, "TC"),
    (0x10, "RD"),
    (0x08, "RA"),
    (0x07, "Z AD CD"),
];
/// Types whose data has names: their letters may point into the question and lose their case (RFC 4343 §4.1).
const WITH_NAMES: &[u16] = &[2, 5, 6, 12, 15, 17, 18, 33, 35, 39, 64, 65];

fn without_case(mut record: Record) -> Record {
    record.owner.make_ascii_lowercase();
    if WITH_NAMES.contains(&record.rtype) {
        record.data.make_ascii_lowercase();
    }
    record
}

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Aspect {
    Rcode,
    Flag(&'static str),
    Question,
    /// Version and flags of the OPT record, or that there is one.
    Opt,
    /// A record that only we have, in the section of this number.
    OnlyOurs(usize, Record),
    /// A record that only they have.
    OnlyTheirs(usize, Record),
}

/// Both answers to a question.
pub(crate) struct Pair<'a> {
    pub(crate) asked: &'a Asked,
    pub(crate) edns: Edns,
    pub(crate) us: &'a Seen,
    /// What we say over TCP, where nothing is cut; the same as `us` if that was not cut.
    pub(crate) us_whole: &'a Seen,
    pub(crate) them: &'a Seen,
    pub(crate) kind: Kind,
    /// The zones that all serve, in wire form.
    pub(crate) apexes: &'a BTreeSet<Vec<u8>>,
}

impl Pair<'_> {
    /// True if a name is in another zone than the one asked.
    pub(crate) fn is_elsewhere(&self, name: &[u8]) -> bool {
        let zone = |name: &[u8]| {
            self.apexes
                .iter()
                .find(|apex| name.ends_with(apex))
                .cloned()
        };
        zone(name) != zone(&self.asked.question.name.to_ascii_lowercase())
    }

    pub(crate) fn aspects(&self) -> Vec<Aspect> {
        let (us, them) = (&self.us.message, &self.them.message);
        let mut aspects = Vec::new();
        if us.rcode != them.rcode || us.opcode != them.opcode || us.id != them.id {
            aspects.push(Aspect::Rcode);
        }
        let differs = |bit: &u8| us.flags & bit != them.flags & bit;
        aspects.extend(
            FLAGS
                .iter()
                .filter(|(bit, _)| differs(bit))
                .map(|(_, name)| Aspect::Flag(name)),
        );
        if us.questions != them.questions {
            aspects.push(Aspect::Question);
        }
        let head = |message: &Message| message.opt.as_ref().map(|opt| (opt.version, opt.flags));
        if head(us) != head(them) {
            aspects.push(Aspect::Opt);
        }
        for (place, (ours, theirs)) in self.us.sections.iter().zip(&self.them.sections).enumerate()
        {
            let only_ours = ours.difference(theirs).cloned();
            aspects.extend(only_ours.map(|record| Aspect::OnlyOurs(place, record)));
            let only_theirs = theirs.difference(ours).cloned();
            aspects.extend(only_theirs.map(|record| Aspect::OnlyTheirs(place, record)));
        }
        aspects
    }
}

/// How often each rule explained something, and what none did.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) compared: usize,
    pub(crate) equal: usize,
    pub(crate) explained: BTreeMap<(&'static str, Kind), usize>,
    pub(crate) unexplained: BTreeMap<String, Vec<String>>,
}

impl Tally {
    pub(crate) fn add(&mut self, pair: &Pair<'_>) {
        self.compared += 1;
        let aspects = pair.aspects();
        self.equal += usize::from(aspects.is_empty());
        let mut used = BTreeSet::new();
        for aspect in &aspects {
            match RULES.iter().find(|rule| (rule.explains)(pair, aspect)) {
                Some(rule) => {
                    used.insert(rule.name);
                }
                None => {
                    let class = format!("{:?} {}", pair.kind, kind_of(aspect));
                    self.unexplained
                        .entry(class)
                        .or_default()
                        .push(pair.to_string());
                }
            }
        }
        for name in used {
            *self.explained.entry((name, pair.kind)).or_default() += 1;
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.compared += other.compared;
        self.equal += other.equal;
        for (rule, count) in other.explained {
            *self.explained.entry(rule).or_default() += count;
        }
        for (class, pairs) in other.unexplained {
            self.unexplained.entry(class).or_default().extend(pairs);
        }
    }
}

fn kind_of(aspect: &Aspect) -> String {
    let record = |section: &usize, record: &Record| {
        format!(
            "{} in {}",
            Rtype::from_int(record.rtype),
            SECTIONS[*section]
        )
    };
    match aspect {
        Aspect::OnlyOurs(section, one) => format!("lacks our {}", record(section, one)),
        Aspect::OnlyTheirs(section, one) => format!("has another {}", record(section, one)),
        other => format!("differs in {other:?}"),
    }
}

const SECTIONS: [&str; 3] = ["answer", "authority", "additional"];

impl fmt::Display for Pair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.asked.as_dig(self.edns))?;
        write!(f, "  ours   {}", self.us)?;
        write!(f, "  {:<6} {}", format!("{:?}", self.kind), self.them)
    }
}

/// Records shown of a section.
const SHOWN: usize = 8;

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = FLAGS
            .iter()
            .filter(|(bit, _)| self.message.flags & bit != 0);
        let flags: Vec<&str> = flags.map(|(_, name)| *name).collect();
        let rcode = Rcode::masked_from_int(self.message.rcode as u8);
        writeln!(f, "{rcode} {}", flags.join(" "))?;
        for (section, name) in self.message.sections.iter().zip(SECTIONS) {
            for record in section.iter().take(SHOWN) {
                let owner = Name::from_octets(&record.owner[..]).map_err(|_| fmt::Error)?;
                let rtype = Rtype::from_int(record.rtype);
                let data = record.data.escape_ascii().to_string();
                writeln!(f, "    {name} {owner}. {} {rtype} {data:.60}", record.ttl)?;
            }
            if section.len() > SHOWN {
                writeln!(f, "    {name} … {} records", section.len())?;
            }
        }
        Ok(())
    }
}
