//! What is wrong, or will be, with the keys of a zone: what `check` reports before a validator does.

use std::fmt;

use super::roll::RollPolicy;
use super::schedule::{Scheduled, ZoneKeys};
use crate::name::Text;
use crate::rtype;
use crate::zone::Zone;

/// Something to know about the keys of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// No key signs data now: answers are unsigned.
    NothingSigns,
    /// From a time on no key signs data.
    SigningEnds {
        /// Unix seconds.
        at: u64,
    },
    /// From a time on the key that signs data is not in the DNSKEY RRset, or no key signs that RRset.
    ChainBreaks {
        /// Unix seconds.
        at: u64,
    },
    /// A key that signs keys was never given to the parent, and it will not be asked for it.
    NoDs {
        /// The key.
        tag: u16,
    },
    /// The parent is asked for the DS record of a key, and nobody saw it there yet.
    DsAwaited {
        /// The key.
        tag: u16,
        /// Unix seconds.
        since: u64,
    },
    /// Rolls are planned for a zone whose TTLs are not as long.
    TtlOverPolicy {
        /// The largest TTL of the zone in seconds.
        ttl: u32,
        /// The largest one that rolls wait for.
        ttl_max: u32,
    },
    /// Signatures can end before the records that caches hold with them.
    TtlTooLong {
        /// The largest TTL of the zone in seconds.
        ttl: u32,
        /// How long each signature holds at least, in seconds.
        least: u32,
    },
    /// The zone file has a record that a signed zone makes itself.
    MadeHere {
        /// Wire name.
        owner: Box<[u8]>,
        /// Its type.
        rtype: u16,
    },
}

impl Fault {
    /// True if validators reject answers, now or soon; otherwise it is something to see to.
    pub fn is_error(&self) -> bool {
        matches!(
            self,
            Self::NothingSigns
                | Self::SigningEnds { .. }
                | Self::ChainBreaks { .. }
                | Self::TtlTooLong { .. }
        )
    }

    /// The time it is about, in Unix seconds.
    pub fn at(&self) -> Option<u64> {
        match self {
            Self::SigningEnds { at } | Self::ChainBreaks { at } => Some(*at),
            Self::DsAwaited { since, .. } => Some(*since),
            _ => None,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NothingSigns => "make keys for the zone, or take it out of the signed ones",
            Self::SigningEnds { .. } => "roll the key that signs data before that time",
            Self::ChainBreaks { .. } => "a key has to be published for as long as it signs",
            Self::NoDs { .. } => "give its times a submission of DS, or remove the key",
            Self::DsAwaited { .. } => "give the parent the DS record, then say that it was seen",
            Self::TtlOverPolicy { .. } => "raise the policy's `ttl_max_seconds`, or lower the TTL",
            Self::TtlTooLong { .. } => "lower the TTL, or let signatures hold longer",
            Self::MadeHere { .. } => "remove it: its place is taken by what the keys say",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingSigns => f.write_str("no key signs the zone's data: answers are unsigned"),
            Self::SigningEnds { .. } => f.write_str("from a time on no key signs the zone's data"),
            Self::ChainBreaks { .. } => {
                f.write_str("from a time on validators find no way from a key to the data")
            }
            Self::NoDs { tag } => write!(f, "key {tag} has no DS record and asks for none"),
            Self::DsAwaited { tag, .. } => {
                write!(f, "the DS record of key {tag} is awaited at the parent")
            }
            Self::TtlOverPolicy { ttl, ttl_max } => write!(
                f,
                "a TTL of {ttl} s is longer than the {ttl_max} s that rolls of keys wait for"
            ),
            Self::TtlTooLong { ttl, least } => write!(
                f,
                "a TTL of {ttl} s is longer than the {least} s that a signature holds at least"
            ),
            Self::MadeHere { owner, rtype } => write!(
                f,
                "{} has a {} record of its own, but the zone is signed here",
                Text(owner),
                rtype::text(*rtype)
            ),
        }
    }
}

/// How far ahead an end of signing is worth a word: a month leaves time for a roll.
const AHEAD: u64 = 30 * 86_400;

/// Looks at the keys of a zone at a time, and at the zone if it is there.
pub fn audit(keys: &ZoneKeys, zone: Option<&Zone>, policy: &RollPolicy, now: u64) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !keys.signs(now) {
        faults.push(Fault::NothingSigns);
    }
    let mut times = vec![now];
    while let Some(next) = keys.next_change(times[times.len() - 1])
        && next <= now + AHEAD
    {
        times.push(next);
    }
    if let Some(&at) = times.iter().skip(1).find(|at| !keys.signs(**at)) {
        faults.push(Fault::SigningEnds { at });
    }
    if let Some(&at) = times
        .iter()
        .find(|at| keys.signs(**at) && !holds(keys, **at))
    {
        faults.push(Fault::ChainBreaks { at });
    }
    let entries = keys.keys().iter().filter(|key| key.key.role().signs_keys());
    faults.extend(entries.filter_map(|key| at_parent(key, now)));
    if let Some(zone) = zone {
        faults.extend(of_zone(keys, zone, policy));
    }
    faults
}

/// True if some published key signs the data, and some key the DNSKEY RRset.
fn holds(keys: &ZoneKeys, now: u64) -> bool {
    let mut published = keys
        .keys()
        .iter()
        .filter(|key| key.timing.is_published(now));
    let checks_data = |key: &Scheduled| key.key.role().signs_data() && key.timing.is_active(now);
    published.clone().any(checks_data) && published.any(|key| key.key.role().signs_keys())
}

fn at_parent(scheduled: &Scheduled, now: u64) -> Option<Fault> {
    let (timing, tag) = (&scheduled.timing, scheduled.key.tag());
    let ds = timing.ds;
    if !timing.is_published(now) || ds.seen.is_some() || ds.withdraw.is_some() {
        return None;
    }
    match ds.submit {
        None => Some(Fault::NoDs { tag }),
        Some(since) if since <= now => Some(Fault::DsAwaited { tag, since }),
        Some(_) => None,
    }
}

fn of_zone(keys: &ZoneKeys, zone: &Zone, policy: &RollPolicy) -> Vec<Fault> {
    let validity = keys.validity();
    let least = validity.lifetime.saturating_sub(validity.refresh);
    let mut faults = Vec::new();
    let mut ttl_max = 0;
    for node in zone.authoritative_nodes() {
        for set in node.rrsets() {
            ttl_max = ttl_max.max(set.ttl);
            if super::is_shadowed(set.rtype) {
                faults.push(Fault::MadeHere {
                    owner: node.owner().into(),
                    rtype: set.rtype,
                });
            }
        }
    }
    if ttl_max > policy.ttl_max {
        faults.push(Fault::TtlOverPolicy {
            ttl: ttl_max,
            ttl_max: policy.ttl_max,
        });
    }
    if ttl_max > least {
        faults.push(Fault::TtlTooLong {
            ttl: ttl_max,
            least,
        });
    }
    faults.sort_by_key(ToString::to_string);
    faults
}
