//! Puts a zone together from its records.

use std::sync::{Arc, OnceLock};

use super::{Cut, Node, Shelf, Zone};
use crate::gather::{Gathered, Has};
use crate::name;
use crate::negative::NegativeSoa;
use crate::rdata;
use crate::rrset::{Octets, Part, Record, RrSet};
use crate::rtype;

/// A record that someone else keeps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'r> {
    /// In the case it was written.
    pub(crate) owner: &'r [u8],
    pub(crate) rtype: u16,
    pub(crate) ttl: u32,
    /// Names uncompressed.
    pub(crate) data: &'r [u8],
}

impl Zone {
    /// Freezes checked records; those outside the zone are left out. `None` if there is no SOA at `origin`.
    pub(crate) fn build(origin: &[u8], records: Vec<Record>) -> Option<Self> {
        let origin = name::lowered(origin);
        let entry = |place: u32| {
            let record = &records[place as usize];
            Entry {
                owner: &record.owner,
                rtype: record.rtype,
                ttl: record.ttl,
                data: &record.data,
            }
        };
        let gathered = Gathered::of(&origin, records.len(), |place| {
            let entry = entry(place);
            (entry.owner, entry.rtype)
        })?;
        Self::freeze(&origin, &gathered, entry)
    }

    /// Freezes gathered records of a lower-cased origin; `record` gives the one at a place. `None` if there is no SOA
    /// at `origin`, or if they take more than 4 GiB.
    pub(crate) fn freeze<'r>(
        origin: &[u8],
        gathered: &Gathered,
        record: impl Fn(u32) -> Entry<'r>,
    ) -> Option<Self> {
        let names = &gathered.names;
        let mut octets = Vec::with_capacity(data_octets(gathered, &record));
        let mut parts = Vec::with_capacity(gathered.numbers().len());
        let mut drafts = Vec::with_capacity(gathered.numbers().len());
        for number in gathered.numbers() {
            let places = gathered.records(number);
            let owner = places.first().map_or(&[][..], |place| record(*place).owner);
            let is_lower = owner == names.name(number);
            let owner_at = match is_lower {
                true => names.start(number)?,
                false => u32::try_from(octets.len()).ok()?,
            };
            if !is_lower {
                octets.extend_from_slice(owner);
            }
            let sets_at = parts.len();
            let sets = places.chunk_by(|one, next| record(*one).rtype == record(*next).rtype);
            let mut leads = false;
            for set in sets {
                let records = set.iter().map(|place| record(*place));
                let rtype = records.clone().next()?.rtype;
                leads |= records
                    .clone()
                    .filter_map(|record| rdata::additional_target(rtype, record.data))
                    .any(|host| name::is_within(host, origin));
                let records = records.map(|record| (record.ttl, record.data));
                parts.push(Part::pack(rtype, records, &mut octets)?);
            }
            drafts.push(Draft {
                owner_at,
                sets_at: u32::try_from(sets_at).ok()?,
                set_count: (parts.len() - sets_at) as u16, // one a type
                owner_length: owner.len() as u8,           // a name has at most 255 octets
                leads,
                is_lower,
            });
        }
        let octets = Arc::new(Octets(octets.into()));
        let sets = parts.into_iter().map(|part| RrSet::shared(&octets, part));
        let sets = sets.collect();
        let shelf = Arc::new(Shelf {
            octets,
            names: Arc::clone(names),
            sets,
        });
        let cuts = Cuts::of(origin, gathered);
        if cuts.any {
            drafts.resize(names.len(), Draft::default()); // they may be hidden
        }
        let nodes = drafts.into_iter().zip(0..);
        let nodes = nodes.map(|(draft, number)| draft.node(&shelf, cuts.at(number)));
        let empty = Draft::default().node(&shelf, Cut::None);
        Self::of_nodes(origin, gathered, nodes.collect(), empty)
    }

    fn of_nodes(
        origin: &[u8],
        gathered: &Gathered,
        nodes: Box<[Node]>,
        empty: Node,
    ) -> Option<Self> {
        let names = &gathered.names;
        let apex = names.find_plain(origin)?;
        let soa = nodes.get(apex as usize)?.rrset(rtype::SOA)?.clone();
        let minimum = soa.rdatas().next()?.last_chunk::<4>().copied()?;
        let negative_ttl = u32::from_be_bytes(minimum).min(soa.ttl);
        let negative_soa = NegativeSoa::compose(origin, &soa, negative_ttl)?;
        Some(Self {
            origin: origin.into(),
            depth: name::label_count(origin) as u8, // at most 127
            apex,
            has_wildcards: (0..names.len() as u32).any(|number| names.is_wildcard(number)),
            names: Arc::clone(names),
            nodes,
            empty,
            soa,
            negative_ttl,
            negative_soa,
            ordered: OnceLock::new(),
        })
    }
}

/// How many octets the data of all records takes with its lengths, so that it is given room once.
fn data_octets<'r>(gathered: &Gathered, record: impl Fn(u32) -> Entry<'r>) -> usize {
    let places = gathered
        .numbers()
        .flat_map(|number| gathered.records(number));
    places.map(|place| 2 + record(*place).data.len()).sum()
}

/// A node that has no shelf yet.
#[derive(Clone, Default)]
struct Draft {
    owner_at: u32,
    sets_at: u32,
    set_count: u16,
    owner_length: u8,
    leads: bool,
    is_lower: bool,
}

impl Draft {
    fn node(self, shelf: &Arc<Shelf>, cut: Cut) -> Node {
        let Self {
            owner_at,
            sets_at,
            set_count,
            owner_length,
            leads,
            is_lower,
        } = self;
        Node {
            shelf: Arc::clone(shelf),
            owner_at,
            sets_at,
            set_count,
            owner_length,
            is_lower,
            cut,
            leads,
        }
    }
}

/// Delegation points, and everything below them and below DNAME records.
struct Cuts<'g> {
    origin: &'g [u8],
    gathered: &'g Gathered,
    apex: Option<u32>,
    /// There is something to hide and to be hidden.
    any: bool,
}

impl<'g> Cuts<'g> {
    fn of(origin: &'g [u8], gathered: &'g Gathered) -> Self {
        let apex = gathered.names.find_plain(origin);
        let mut cuts = Self {
            origin,
            gathered,
            apex,
            any: gathered.below.any(Has::NS.and(Has::DNAME)),
        };
        cuts.any |= apex.is_some_and(|apex| cuts.hides(apex));
        cuts
    }

    fn is_delegated(&self, number: u32) -> bool {
        self.gathered.has(number).any(Has::NS) && Some(number) != self.apex
    }

    /// True if nothing below this name is the zone's to say.
    fn hides(&self, number: u32) -> bool {
        self.is_delegated(number) || self.gathered.has(number).any(Has::DNAME)
    }

    fn at(&self, number: u32) -> Cut {
        if !self.any {
            return Cut::None;
        }
        let above = self
            .gathered
            .above(number, self.origin, |above| self.hides(above));
        match above {
            Some(_) => Cut::Below,
            None if self.is_delegated(number) => Cut::At,
            None => Cut::None,
        }
    }
}
