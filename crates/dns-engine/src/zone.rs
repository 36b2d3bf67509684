//! Zones as they are served: frozen tables of lower-cased names, and the look-up of RFC 1034 §4.3.2
//! with the wildcards of RFC 4592.
//!
//! Every empty non-terminal is among the names, so "does this name exist" is one probe; each node knows
//! whether a delegation covers it, so an exact hit needs no second one.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::hashed::{HashedName, Suffix};
use crate::name;
use crate::names::Names;
use crate::negative::NegativeSoa;
use crate::rrset::{Octets, RrSet};
use crate::rtype;

mod build;

pub(crate) use build::Entry;

/// A name of a zone with its records; without any it is an empty non-terminal.
pub struct Node {
    shelf: Arc<Shelf>,
    owner_at: u32,
    sets_at: u32,
    set_count: u16,
    owner_length: u8,
    /// The owner was written in lower case, so that it is among the names already.
    is_lower: bool,
    cut: Cut,
    /// Some of its records name hosts of the zone, whose addresses go along.
    leads: bool,
}

/// What the nodes of a zone share, so that a million of them are few allocations.
struct Shelf {
    /// Owners in the case they were written, if that is not the lower one, and data.
    octets: Arc<Octets>,
    names: Arc<Names>,
    sets: Box<[RrSet]>,
}

/// Where a node lies with respect to delegations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// The zone itself speaks for it.
    None,
    /// The delegation point.
    At,
    /// Below a delegation point: glue, or hidden data. Below a DNAME record: hidden data (RFC 6672 §2.4),
    /// which no zone file may have but another server's zone may.
    Below,
}

impl Node {
    /// The owner name in the case it was written; empty for an empty non-terminal.
    pub fn owner(&self) -> &[u8] {
        let start = self.owner_at as usize;
        let range = start..start + usize::from(self.owner_length);
        let octets = match self.is_lower {
            true => self.shelf.names.octets(),
            false => &self.shelf.octets.0,
        };
        octets.get(range).unwrap_or_default()
    }

    /// All RRsets of the name.
    pub fn rrsets(&self) -> &[RrSet] {
        let start = self.sets_at as usize;
        let range = start..start + usize::from(self.set_count);
        self.shelf.sets.get(range).unwrap_or_default()
    }

    /// True for what lies at or below a delegation: the zone does not speak for it, but for NS and DS at the cut.
    pub(crate) fn is_glue(&self) -> bool {
        self.cut != Cut::None
    }

    /// False if no record here names a host of the zone.
    pub(crate) fn leads(&self) -> bool {
        self.leads
    }

    /// True for a delegation point.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut == Cut::At
    }

    /// The RRset of one type.
    pub fn rrset(&self, rtype: u16) -> Option<&RrSet> {
        self.rrsets().iter().find(|set| set.rtype == rtype)
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owner = name::Text(self.owner());
        write!(f, "{owner} {:?} {:?}", self.cut, self.rrsets())
    }
}

/// One zone, frozen.
pub struct Zone {
    origin: Box<[u8]>,
    /// Labels of it.
    depth: u8,
    /// The number of its name.
    apex: u32,
    /// Some name begins with an asterisk.
    has_wildcards: bool,
    names: Arc<Names>,
    /// By the number of their names. If nothing is delegated, those of empty non-terminals are left out.
    nodes: Box<[Node]>,
    /// In the place of those.
    empty: Node,
    soa: RrSet,
    negative_ttl: u32,
    negative_soa: NegativeSoa,
    /// The numbers of owners in canonical order, made when first asked for.
    ordered: OnceLock<Box<[u32]>>,
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (origin, nodes) = (name::Text(&self.origin), self.names.len());
        write!(f, "Zone({origin} with {nodes} names)")
    }
}

/// What a zone knows about a name.
pub(crate) enum Found<'z> {
    /// The name exists, by itself or by a wildcard; maybe without records.
    Node(&'z Node),
    /// The name is at or below this delegation point.
    Delegated(&'z Node),
    /// The name is below this DNAME owner.
    Renamed(&'z Node, &'z RrSet),
    /// No such name.
    Missing,
}

impl Zone {
    /// The lower-cased wire name of the zone.
    pub fn origin(&self) -> &[u8] {
        &self.origin
    }

    /// The start of authority.
    pub fn soa(&self) -> &RrSet {
        &self.soa
    }

    /// The zone's serial number (RFC 1035 §3.3.13).
    pub fn serial(&self) -> u32 {
        let numbers = self
            .soa
            .rdatas()
            .next()
            .and_then(|data| data.last_chunk::<20>());
        numbers.map_or(0, |&[a, b, c, d, ..]| u32::from_be_bytes([a, b, c, d]))
    }

    /// TTL of the SOA record in negative answers: min(SOA TTL, MINIMUM) (RFC 2308 §3).
    pub fn negative_ttl(&self) -> u32 {
        self.negative_ttl
    }

    /// The SOA record as negative answers have it.
    pub(crate) fn negative_soa(&self) -> &NegativeSoa {
        &self.negative_soa
    }

    /// The RRset at exactly this lower-cased wire name, glue included.
    pub fn rrset(&self, owner: &[u8], rtype: u16) -> Option<&RrSet> {
        self.exact(owner)?.rrset(rtype)
    }

    /// Every name of the zone with its records, in no order; empty non-terminals left out.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.set_count > 0)
    }

    /// Every name with records that is not below a delegation, in no order.
    pub(crate) fn authoritative_nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes().filter(|node| node.cut != Cut::Below)
    }

    /// The zone's name in the case it was written.
    pub(crate) fn shown_origin(&self) -> &[u8] {
        self.exact(&self.origin).map_or(&self.origin, Node::owner)
    }

    /// The lower-cased owners of all records with their nodes, the zone's own first, in canonical order
    /// (RFC 4034 §6.1).
    pub(crate) fn ordered(&self) -> impl ExactSizeIterator<Item = (&[u8], &Node)> {
        let numbers = self.in_order().iter();
        numbers.map(|number| (self.names.name(*number), &self.nodes[*number as usize]))
    }

    /// The node at a place of that order.
    pub(crate) fn ordered_at(&self, place: usize) -> Option<&Node> {
        let number = self.in_order().get(place)?;
        self.nodes.get(*number as usize)
    }

    fn in_order(&self) -> &[u32] {
        self.ordered.get_or_init(|| {
            let nodes = self.nodes.iter().enumerate();
            let owners = nodes.filter(|(_, node)| node.set_count > 0);
            let mut numbers: Vec<u32> = owners.map(|(number, _)| number as u32).collect();
            numbers.sort_by_cached_key(|number| name::sort_key(self.names.name(*number)));
            numbers.into()
        })
    }

    /// Octets of all owners and data: about what a transfer of the zone weighs.
    pub(crate) fn octets(&self) -> usize {
        let weigh = |node: &Node| -> usize {
            let sets = node.rrsets().iter();
            sets.map(|set| usize::from(node.owner_length) + set.octets())
                .sum()
        };
        self.nodes.iter().map(weigh).sum()
    }

    /// The owner of the delegation at or above `name` (lower-cased), if one covers it.
    pub fn delegation(&self, name: &[u8]) -> Option<&[u8]> {
        match self.find_plain(name) {
            Found::Delegated(node) => Some(node.owner()),
            _ => None,
        }
    }

    /// The node at exactly this name, glue and hidden data included.
    pub(crate) fn exact(&self, name: &[u8]) -> Option<&Node> {
        let number = self.names.find_plain(name)?;
        Some(self.nodes.get(number as usize).unwrap_or(&self.empty))
    }

    /// The node at exactly this name if the zone itself speaks for it.
    pub(crate) fn authoritative(&self, name: &[u8]) -> Option<&Node> {
        self.exact(name).filter(|node| node.cut == Cut::None)
    }

    #[inline(always)]
    fn node(&self, name: Suffix<'_>) -> Option<&Node> {
        let number = self.names.find(name)?;
        Some(self.nodes.get(number as usize).unwrap_or(&self.empty))
    }

    /// Looks up a lower-cased name at or below the origin whose hashes nobody knows yet.
    pub(crate) fn find_plain(&self, name: &[u8]) -> Found<'_> {
        self.find(&HashedName::new(name))
    }

    /// Looks up a name at or below the origin.
    #[inline(always)]
    pub(crate) fn find(&self, name: &HashedName) -> Found<'_> {
        match self.node(name.whole()) {
            Some(node) if node.cut == Cut::None => Found::Node(node),
            Some(node) if node.cut == Cut::At => Found::Delegated(node),
            _ => self.find_from_above(name),
        }
    }

    /// Walks down from the origin, so that a long invented name costs no more than the zone is deep.
    fn find_from_above(&self, name: &HashedName) -> Found<'_> {
        let Some(mut node) = self.nodes.get(self.apex as usize) else {
            return Found::Missing;
        };
        let below_origin = name.label_count().saturating_sub(self.depth.into());
        for labels in (0..below_origin).rev() {
            if let Some(set) = node.rrset(rtype::DNAME) {
                return Found::Renamed(node, set);
            }
            match self.node(name.suffix(labels)) {
                Some(cut) if cut.cut == Cut::At => return Found::Delegated(cut),
                Some(below) => node = below,
                None if self.has_wildcards => return self.wildcard(name, labels + 1),
                None => return Found::Missing,
            }
        }
        Found::Missing
    }

    /// The source of synthesis below the closest encloser (RFC 4592 §3.3.1), which is what so many labels from the left
    /// leave of the name.
    fn wildcard(&self, name: &HashedName, labels: usize) -> Found<'_> {
        let mut source = name.clone();
        if !source.replace_front(labels, b"*") {
            return Found::Missing;
        }
        self.node(source.whole())
            .map_or(Found::Missing, Found::Node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_set_of_records_take_few_octets() {
        // A million more octets each would be felt (`examples/load.rs`).
        assert!(size_of::<Node>() <= 24 && size_of::<RrSet>() <= 24);
    }
}
