//! Why another server may lawfully say something else. Each rule claims single differences, as few as it can; what
//! no rule claims fails the test.

use conformance::{decode::Record, peer::Kind};

use crate::compare::{
    Aspect::{self, Flag, OnlyOurs, OnlyTheirs, Rcode},
    Pair,
};

/// An explanation.
pub(crate) struct Rule {
    /// In one word or two, for the figures.
    pub(crate) name: &'static str,
    /// Where it is written that both are right, or that we are.
    #[allow(dead_code, reason = "the table is read by people")]
    pub(crate) source: &'static str,
    /// True if it explains this difference.
    pub(crate) explains: fn(&Pair<'_>, &Aspect) -> bool,
}

const ANSWER: usize = 0;
const AUTHORITY: usize = 1;
const ADDITIONAL: usize = 2;
const NS: u16 = 2;
const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const SRV: u16 = 33;
const RRSIG: u16 = 46;
const NSEC: u16 = 47;
const NSEC3: u16 = 50;
const SVCB: u16 = 64;
const HTTPS: u16 = 65;
const ANY: u16 = 255;

/// All of them; the first that applies is counted.
pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "ANY",
        source: "RFC 8482 §4: one record, all records or HINFO, as the server likes",
        explains: |pair, aspect| {
            let behind_an_alias = pair.us.sections[ANSWER]
                .iter()
                .any(|record| record.rtype == CNAME);
            pair.asked.rtype == ANY
                && match aspect {
                    OnlyOurs(..) | OnlyTheirs(..) | Flag("TC") => true,
                    Rcode => behind_an_alias,
                    _ => false,
                }
        },
    },
    Rule {
        name: "cut answers",
        source: "RFC 2181 §9: what is in an answer with TC is to be ignored; ours is empty",
        explains: |pair, aspect| {
            pair.us.is_truncated() && pair.them.is_truncated() && matches!(aspect, OnlyTheirs(..))
        },
    },
    Rule {
        name: "glue that does not fit",
        source: "RFC 9471 §3.1: a referral without all its glue has TC",
        explains: |pair, aspect| {
            let only_theirs_is_whole = pair.us.is_truncated() && !pair.them.is_truncated();
            only_theirs_is_whole
                && lacks_glue(pair)
                && matches!(aspect, Flag("TC") | OnlyTheirs(..))
        },
    },
    Rule {
        name: "name servers beside an answer",
        source: "RFC 1034 §4.3.2 does not ask for the zone's own in an answer that is one",
        explains: |pair, aspect| match aspect {
            OnlyTheirs(AUTHORITY, record) => {
                record.rtype == NS
                    && pair.apexes.contains(&record.owner)
                    && pair.them.has_authority()
                    && !pair.them.sections[ANSWER].is_empty()
            }
            _ => false,
        },
    },
    Rule {
        name: "aliases into other zones",
        source: "RFC 1034 §4.3.2 goes on wherever it can; resolvers take no zone's word for another (RFC 5452 §6)",
        explains: |pair, aspect| {
            let leaves = pair.us.sections[ANSWER]
                .iter()
                .any(|record| record.rtype == CNAME && pair.is_elsewhere(&record.data));
            pair.kind == Kind::Nsd
                && leaves
                && match aspect {
                    OnlyTheirs(_, record) => pair.is_elsewhere(&record.owner),
                    Rcode => true,
                    _ => false,
                }
        },
    },
    Rule {
        name: "denial types of an alias",
        source: "RFC 4035 §2.5 lets them stand beside a CNAME, which RFC 1034 §3.6.2 follows for any type but its own",
        explains: |pair, aspect| {
            let special = match pair.kind {
                Kind::Knot | Kind::Bind => &[RRSIG, NSEC][..],
                Kind::Nsd => &[NSEC3],
            };
            special.contains(&pair.asked.rtype)
                && matches!(aspect, OnlyOurs(..) | OnlyTheirs(..) | Rcode)
                && pair.us.sections[ANSWER]
                    .iter()
                    .any(|record| record.rtype == CNAME)
        },
    },
    Rule {
        name: "names in full",
        source: "RFC 1035 §4.1.4: compression is a choice; BIND points to names in the same case only (RFC 4343 §4.1)",
        explains: |pair, aspect| {
            pair.kind == Kind::Bind
                && pair.them.is_truncated()
                && !pair.us.is_truncated()
                && matches!(aspect, Flag("TC") | OnlyOurs(..))
        },
    },
    Rule {
        name: "records that help",
        source: "RFC 1034 §4.3.2 step 6, RFC 9460 §4.1, RFC 9471 §2: but for glue below the cut, they are a courtesy",
        explains: |pair, aspect| match aspect {
            OnlyOurs(ADDITIONAL, record) | OnlyTheirs(ADDITIONAL, record) => {
                matches!(record.rtype, A | AAAA | SRV | SVCB | HTTPS) && !is_glue(pair, record)
            }
            _ => false,
        },
    },
];

/// True if a record is an address below the cut of a referral.
fn is_glue(pair: &Pair<'_>, record: &Record) -> bool {
    let cuts = pair.us_whole.sections[AUTHORITY]
        .iter()
        .filter(|record| record.rtype == NS);
    let mut within = cuts.map(|cut| record.owner.ends_with(&cut.owner));
    !pair.us_whole.has_authority() && within.any(|within| within)
}

/// True if they leave out glue that we have over TCP.
fn lacks_glue(pair: &Pair<'_>) -> bool {
    let glue = pair.us_whole.sections[ADDITIONAL]
        .iter()
        .filter(|record| is_glue(pair, record));
    glue.into_iter()
        .any(|record| !pair.them.sections[ADDITIONAL].contains(record))
}
