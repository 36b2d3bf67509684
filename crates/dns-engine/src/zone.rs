//! Zones as they are served: frozen tables of lower-cased names, and the look-up of RFC 1034 §4.3.2
//! with the wildcards of RFC 4592.
//!
//! Every empty non-terminal has a node of its own, so "does this name exist" is one probe; each node
//! knows whether a delegation covers it, so an exact hit needs no second one.

use std::sync::OnceLock;

use crate::hash::NameMap;
use crate::name;
use crate::negative::NegativeSoa;
use crate::rrset::{Record, RrSet};
use crate::rtype;

/// A name of a zone with its records; without any it is an empty non-terminal.
#[derive(Debug, Default)]
pub struct Node {
    /// The owner in the case it was written; empty for an empty non-terminal.
    owner: Box<[u8]>,
    rrsets: Vec<RrSet>,
    cut: Cut,
}

/// Where a node lies with respect to delegations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Cut {
    /// The zone itself speaks for it.
    #[default]
    None,
    /// The delegation point.
    At,
    /// Below a delegation point: glue, or hidden data. Below a DNAME record: hidden data (RFC 6672 §2.4),
    /// which no zone file may have but another server's zone may.
    Below,
}

impl Node {
    /// The owner name in the case it was written.
    pub fn owner(&self) -> &[u8] {
        &self.owner
    }

    /// All RRsets of the name.
    pub fn rrsets(&self) -> &[RrSet] {
        &self.rrsets
    }

    /// True for what lies at or below a delegation: the zone does not speak for it, but for NS and DS at the cut.
    pub(crate) fn is_glue(&self) -> bool {
        self.cut != Cut::None
    }

    /// True for a delegation point.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut == Cut::At
    }

    /// The RRset of one type.
    pub fn rrset(&self, rtype: u16) -> Option<&RrSet> {
        self.rrsets.iter().find(|set| set.rtype == rtype)
    }
}

/// One zone, frozen.
#[derive(Debug)]
pub struct Zone {
    origin: Box<[u8]>,
    nodes: NameMap<Node>,
    soa: RrSet,
    negative_ttl: u32,
    negative_soa: NegativeSoa,
    /// The owners in canonical order, made when first asked for.
    ordered: OnceLock<Box<[Box<[u8]>]>>,
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
    /// Freezes checked records; `None` if there is no SOA at `origin`.
    pub(crate) fn build(origin: &[u8], records: Vec<Record>) -> Option<Self> {
        let origin: Box<[u8]> = name::lowered(origin).into();
        let mut owners = NameMap::<Vec<Record>>::default();
        for record in records {
            owners
                .entry(name::lowered(&record.owner).into())
                .or_default()
                .push(record);
        }
        let mut nodes = NameMap::<Node>::default();
        for (key, mut records) in owners {
            add_ancestors(&mut nodes, &key, &origin);
            // Stable: within a type the order of the file stays.
            records.sort_by_key(|record| record.rtype);
            let node = nodes.entry(key).or_default();
            let sets = records.chunk_by(|one, next| one.rtype == next.rtype);
            node.rrsets = sets.filter_map(RrSet::gather).collect();
            node.owner = records
                .into_iter()
                .next()
                .map(|first| first.owner.into())
                .unwrap_or_default();
        }
        mark_delegations(&mut nodes, &origin);
        let soa = nodes.get(&origin)?.rrset(rtype::SOA)?.clone();
        let minimum = soa
            .rdatas()
            .next()?
            .last_chunk::<4>()
            .copied()
            .map(u32::from_be_bytes)?;
        let negative_ttl = minimum.min(soa.ttl);
        let negative_soa = NegativeSoa::compose(&origin, &soa, negative_ttl)?;
        Some(Self {
            origin,
            nodes,
            soa,
            negative_ttl,
            negative_soa,
            ordered: OnceLock::new(),
        })
    }

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
        self.nodes.get(owner)?.rrset(rtype)
    }

    /// Every name of the zone with its records, in no order; empty non-terminals left out.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(|node| !node.rrsets.is_empty())
    }

    /// Every name with records that is not below a delegation, in no order.
    pub(crate) fn authoritative_nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes().filter(|node| node.cut != Cut::Below)
    }

    /// The zone's name in the case it was written.
    pub(crate) fn shown_origin(&self) -> &[u8] {
        self.nodes
            .get(&self.origin)
            .map_or(&self.origin, Node::owner)
    }

    /// The lower-cased owners of all records, the zone's name first, in canonical order (RFC 4034 §6.1).
    pub(crate) fn ordered(&self) -> &[Box<[u8]>] {
        self.ordered.get_or_init(|| {
            let nodes = self
                .nodes
                .iter()
                .filter(|(_, node)| !node.rrsets.is_empty());
            let mut owners: Vec<Box<[u8]>> = nodes.map(|(owner, _)| owner.clone()).collect();
            owners.sort_by_cached_key(|owner| name::sort_key(owner));
            owners.into()
        })
    }

    /// Octets of all owners and data: about what a transfer of the zone weighs.
    pub(crate) fn octets(&self) -> usize {
        let weigh = |node: &Node| -> usize {
            let sets = node.rrsets.iter();
            sets.map(|set| node.owner.len() + set.octets()).sum()
        };
        self.nodes.values().map(weigh).sum()
    }

    /// The owner of the delegation at or above `name` (lower-cased), if one covers it.
    pub fn delegation(&self, name: &[u8]) -> Option<&[u8]> {
        match self.find(name) {
            Found::Delegated(node) => Some(&node.owner),
            _ => None,
        }
    }

    /// The node at exactly this name, glue and hidden data included.
    pub(crate) fn exact(&self, name: &[u8]) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// The node at exactly this name if the zone itself speaks for it.
    pub(crate) fn authoritative(&self, name: &[u8]) -> Option<&Node> {
        self.exact(name).filter(|node| node.cut == Cut::None)
    }

    /// Looks up a lower-cased name at or below the origin.
    pub(crate) fn find(&self, name: &[u8]) -> Found<'_> {
        match self.nodes.get(name) {
            Some(node) if node.cut == Cut::None => Found::Node(node),
            Some(node) if node.cut == Cut::At => Found::Delegated(node),
            _ => self.find_from_above(name),
        }
    }

    /// Walks down from the origin, so that a long invented name costs no more than the zone is deep.
    fn find_from_above(&self, name: &[u8]) -> Found<'_> {
        let mut starts = [0_u8; name::LABELS_MAX];
        let below_origin = name::label_starts(
            name,
            name.len().saturating_sub(self.origin.len()),
            &mut starts,
        );
        let Some(mut node) = self.nodes.get(&self.origin) else {
            return Found::Missing;
        };
        let mut encloser = &self.origin[..];
        for &start in starts[..below_origin].iter().rev() {
            if let Some(set) = node.rrset(rtype::DNAME) {
                return Found::Renamed(node, set);
            }
            let suffix = name.get(usize::from(start)..).unwrap_or(name::ROOT);
            match self.nodes.get(suffix) {
                Some(cut) if cut.cut == Cut::At => return Found::Delegated(cut),
                Some(below) => (node, encloser) = (below, suffix),
                None => return self.wildcard(encloser),
            }
        }
        Found::Missing
    }

    /// The source of synthesis below the closest encloser (RFC 4592 §3.3.1).
    fn wildcard(&self, encloser: &[u8]) -> Found<'_> {
        let mut source = [0; name::NAME_MAX + 2];
        let Some(place) = source.get_mut(2..2 + encloser.len()) else {
            return Found::Missing;
        };
        place.copy_from_slice(encloser);
        source[..2].copy_from_slice(b"\x01*");
        self.nodes
            .get(&source[..2 + encloser.len()])
            .map_or(Found::Missing, Found::Node)
    }
}

/// Gives every name between `owner` and the origin a node.
fn add_ancestors(nodes: &mut NameMap<Node>, owner: &[u8], origin: &[u8]) {
    for ancestor in name::suffixes(owner).skip(1) {
        if ancestor.len() < origin.len() || nodes.contains_key(ancestor) {
            return;
        }
        nodes.insert(ancestor.into(), Node::default());
    }
}

/// Marks delegation points, and everything below them and below DNAME records.
fn mark_delegations(nodes: &mut NameMap<Node>, origin: &[u8]) {
    for (owner, node) in nodes.iter_mut() {
        if node.rrset(rtype::NS).is_some() && **owner != *origin {
            node.cut = Cut::At;
        }
    }
    let covered = |owner: &[u8]| {
        let ancestors = name::suffixes(owner).skip(1);
        let hides = |node: &Node| node.cut == Cut::At || node.rrset(rtype::DNAME).is_some();
        ancestors
            .take_while(|ancestor| ancestor.len() >= origin.len())
            .any(|ancestor| nodes.get(ancestor).is_some_and(hides))
    };
    let hidden: Vec<Box<[u8]>> = nodes
        .keys()
        .filter(|owner| covered(owner))
        .cloned()
        .collect();
    for owner in hidden {
        if let Some(node) = nodes.get_mut(&owner) {
            node.cut = Cut::Below;
        }
    }
}
